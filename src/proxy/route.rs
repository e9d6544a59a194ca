//! Which route a request takes. The most specific template wins, and wins for every method: a method that it does not
//! name is refused, never served by a wider route.

use super::meters::Meters;
use super::rule::{Protected, ScopeSource};
use super::target::{self, NotCanonical};
use http::Method;
use std::collections::HashSet;
use std::sync::Arc;

/// What a request meets on its way.
pub struct Route {
    /// Its name in audit events, metrics and logs.
    pub name: Arc<str>,
    /// What is counted of its exchanges.
    pub meters: Arc<Meters>,
    /// The host that it is for, in lower case; every host if `None`.
    pub host: Option<String>,
    /// Its path.
    pub template: Template,
    /// Its methods.
    pub methods: Vec<Method>,
    /// Index of its upstream.
    pub upstream: usize,
    /// Whose data a request is about.
    pub scope: ScopeSource,
    /// The path parameter that names the record.
    pub record: Option<String>,
    /// What is done with bodies.
    pub protection: Protection,
}

/// What is done with bodies.
pub enum Protection {
    /// They pass unread, as the config says aloud.
    None,
    /// Ruled values are sealed and opened; what cannot be understood is refused.
    Rules(Box<Protected>),
}

/// A path with parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Vec<Segment>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    Literal(String),
    Parameter(String),
    Rest(String),
}

/// Why a text is no template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TemplateError {
    /// The literal parts must be written in the spelling that requests must have.
    #[error(transparent)]
    NotCanonical(#[from] NotCanonical),
    /// `{name}` stands for a whole segment.
    #[error("segment {0:?}: wanted a literal, {{name}} or, at the end, {{name*}}")]
    Segment(String),
    /// A name may stand once.
    #[error("parameter {0:?} stands twice")]
    Twice(String),
}

impl Template {
    /// Reads a template such as `/fhir/Patient/{id}` or `/files/{path*}`.
    ///
    /// # Errors
    /// [`TemplateError`], with the segment.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let literal: String = text.chars().filter(|c| !matches!(c, '{' | '}')).collect();
        let count = target::segments(&literal)?.len();
        let mut segments = Vec::with_capacity(count);
        let mut names = HashSet::new();
        for (at, part) in text.split('/').skip(1).enumerate() {
            let segment = Segment::parse(part, at + 1 == count).ok_or_else(|| TemplateError::Segment(part.into()))?;
            if let Segment::Parameter(name) | Segment::Rest(name) = &segment
                && !names.insert(name.clone())
            {
                return Err(TemplateError::Twice(name.clone()));
            }
            segments.push(segment);
        }
        Ok(Self(segments))
    }

    /// Whether the template has a parameter of that name.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|segment| matches!(segment, Segment::Parameter(n) | Segment::Rest(n) if n == name))
    }

    /// Whether both match the same paths.
    #[must_use]
    pub fn same_paths(&self, other: &Self) -> bool {
        self.rank() == other.rank()
            && self.0.iter().zip(&other.0).all(|pair| match pair {
                (Segment::Literal(a), Segment::Literal(b)) => a.eq_ignore_ascii_case(b),
                _ => true,
            })
    }

    /// The parameter's value in a path that the template matches, as written there.
    #[must_use]
    pub fn parameter<'p>(&self, name: &str, path: &'p str) -> Option<&'p str> {
        let mut rest = path.strip_prefix('/')?;
        for segment in &self.0 {
            let (value, after) = rest.split_once('/').unwrap_or((rest, ""));
            match segment {
                Segment::Parameter(n) if n == name => return Some(value),
                Segment::Rest(n) if n == name => return Some(rest),
                _ => rest = after,
            }
        }
        None
    }

    /// The path with another value of the parameter.
    #[must_use]
    pub fn with(&self, name: &str, path: &str, value: &str) -> Option<String> {
        let old = self.parameter(name, path)?;
        let start = old.as_ptr().addr().checked_sub(path.as_ptr().addr())?;
        Some([path.get(..start)?, value, path.get(start + old.len()..)?].concat())
    }

    /// Literals before parameters before the rest, from the left.
    fn rank(&self) -> Vec<u8> {
        let rank = |segment: &Segment| match segment {
            Segment::Literal(_) => 0,
            Segment::Parameter(_) => 1,
            Segment::Rest(_) => 2,
        };
        self.0.iter().map(rank).collect()
    }

    /// Whether it matches; literals are compared without regard to case, see [`Routes::find`].
    fn matches(&self, path: &[&str]) -> bool {
        let mut path = path.iter();
        for segment in &self.0 {
            match segment {
                Segment::Rest(_) => {
                    return path.len() > 0 && path.all(|part| !part.is_empty());
                }
                Segment::Literal(text) if path.next().is_some_and(|part| part.eq_ignore_ascii_case(text)) => {}
                Segment::Parameter(_) if path.next().is_some_and(|part| !part.is_empty()) => {}
                Segment::Literal(_) | Segment::Parameter(_) => return false,
            }
        }
        path.next().is_none()
    }

    fn spelled_as(&self, path: &[&str]) -> bool {
        self.0.iter().zip(path).all(|pair| match pair {
            (Segment::Literal(text), part) => text == part,
            _ => true,
        })
    }
}

impl Segment {
    fn parse(part: &str, last: bool) -> Option<Self> {
        let Some(name) = part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) else {
            return (!part.contains(['{', '}'])).then(|| Self::Literal(part.to_owned()));
        };
        let (name, rest) = name.strip_suffix('*').map_or((name, false), |name| (name, true));
        let good = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        match (good, rest) {
            (true, false) => Some(Self::Parameter(name.to_owned())),
            (true, true) if last => Some(Self::Rest(name.to_owned())),
            _ => None,
        }
    }
}

/// Why no route takes a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoRoute {
    /// No template matches.
    #[error("no route matches")]
    Unknown,
    /// One does, but not for this method.
    #[error("the route does not take this method")]
    Method,
    /// The path is in no spelling that can be judged.
    #[error(transparent)]
    Target(#[from] NotCanonical),
}

/// All routes, the most specific first.
#[derive(Clone)]
pub struct Routes(Vec<Arc<Route>>);

impl Routes {
    /// Takes the routes in any order.
    #[must_use]
    pub fn new(mut routes: Vec<Route>) -> Self {
        // A path that is more specific wins over a host: the client chooses the host freely.
        routes.sort_by_key(|route| (route.template.rank(), route.host.is_none()));
        Self(routes.into_iter().map(Arc::new).collect())
    }

    /// Every route.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Route>> {
        self.0.iter()
    }

    /// The first route whose template matches a path and that seals something in it, whatever host and method it is for.
    pub(super) fn of_path(&self, path: &str) -> Option<(&Route, &Protected)> {
        let segments = target::segments(path).ok()?;
        self.0.iter().filter(|route| route.template.matches(&segments)).find_map(|route| match &route.protection {
            Protection::Rules(protected) if !protected.segments.is_empty() => Some((&**route, &**protected)),
            _ => None,
        })
    }

    /// The route of a request. `host` is in lower case and without a port.
    ///
    /// A path that differs from a template by case alone is unknown: an upstream that takes it for the same would
    /// otherwise be reached by a wider route.
    ///
    /// # Errors
    /// [`NoRoute`].
    pub fn find(&self, host: &str, method: &Method, path: &str) -> Result<&Arc<Route>, NoRoute> {
        let segments = target::segments(path)?;
        let on_host = |route: &&Arc<Route>| route.host.as_deref().is_none_or(|wanted| wanted == host);
        let best = self.0.iter().filter(on_host).find(|route| route.template.matches(&segments));
        let best = best.filter(|route| route.template.spelled_as(&segments)).ok_or(NoRoute::Unknown)?;
        let mut group =
            self.0.iter().filter(|route| route.host == best.host && route.template.same_paths(&best.template));
        group.find(|route| route.methods.contains(method)).ok_or(NoRoute::Method)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routes(list: &[(&str, Option<&str>, &str, &[Method])]) -> Routes {
        let route = |(name, host, path, methods): &(&str, Option<&str>, &str, &[Method])| Route {
            name: (*name).into(),
            meters: Arc::new(Meters::of((*name).into())),
            host: host.map(Into::into),
            template: Template::parse(path).unwrap(),
            methods: methods.to_vec(),
            upstream: 0,
            scope: ScopeSource::Fixed(crate::seal::Scope::parse("main").unwrap()),
            record: None,
            protection: Protection::None,
        };
        Routes::new(list.iter().map(route).collect())
    }

    #[test]
    fn the_most_specific_template_wins_for_every_method() {
        let routes = routes(&[
            ("rest", None, "/{rest*}", &[Method::GET, Method::PATCH]),
            ("patient", None, "/Patient/{id}", &[Method::GET]),
            ("put", None, "/Patient/{other}", &[Method::PUT]),
            ("me", None, "/Patient/me", &[Method::GET]),
            ("host", Some("a.example"), "/Patient/{id}", &[Method::GET]),
            ("wide", Some("a.example"), "/{all*}", &[Method::GET]),
        ]);
        let find = |host, method, path| routes.find(host, &method, path).map(|route| route.name.to_string());
        let named = |name: &str| Ok(name.to_owned());
        assert_eq!(find("b.example", Method::GET, "/Patient/1"), named("patient"));
        assert_eq!(find("a.example", Method::GET, "/Patient/1"), named("host"));
        assert_eq!(find("a.example", Method::GET, "/Patient/me"), named("me"), "a path before a host");
        assert_eq!(find("a.example", Method::GET, "/x"), named("wide"));
        assert_eq!(find("", Method::PUT, "/Patient/1"), named("put"));
        assert_eq!(find("", Method::GET, "/Patient/me"), named("me"));
        assert_eq!(find("", Method::GET, "/Patient/1/history"), named("rest"));
        assert_eq!(find("", Method::PATCH, "/Patient/1"), Err(NoRoute::Method), "not the wider route");
        assert_eq!(find("", Method::PUT, "/Patient/me"), Err(NoRoute::Method));
        assert_eq!(find("", Method::GET, "/patient/1"), Err(NoRoute::Unknown), "not by case");
        assert_eq!(find("", Method::GET, "/Patient/"), Err(NoRoute::Unknown), "not by a slash");
        assert_eq!(find("", Method::GET, "/"), Err(NoRoute::Unknown));
        assert!(matches!(find("", Method::GET, "/x/../Patient/1"), Err(NoRoute::Target(_))));
    }

    #[test]
    fn templates_are_read_or_refused() {
        for (text, good) in [
            ("/", true),
            ("/Patient/{id}", true),
            ("/a/{rest*}", true),
            ("Patient", false),
            ("/{rest*}/a", false),
            ("/{a}/{a}", false),
            ("/x{a}", false),
            ("/{}", false),
            ("/{a b}", false),
            ("/a//b", false),
        ] {
            assert_eq!(Template::parse(text).is_ok(), good, "{text}");
        }
        let template = Template::parse("/a/{id}/c/{rest*}").unwrap();
        assert_eq!(template.parameter("id", "/a/42/c/d/e"), Some("42"));
        assert_eq!(template.parameter("rest", "/a/42/c/d/e"), Some("d/e"));
        assert_eq!(template.parameter("no", "/a/42/c/d/e"), None);
        assert_eq!(template.with("id", "/a/42/c/42/e", "x").as_deref(), Some("/a/x/c/42/e"));
        assert_eq!(template.with("rest", "/a/42/c/d/e", "x").as_deref(), Some("/a/42/c/x"));
        assert_eq!(template.with("no", "/a/42/c/d/e", "x"), None);
    }
}
