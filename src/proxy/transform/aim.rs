//! What a request says outside of its body: path, query and header fields. What a rule names there is sealed; no other part may
//! hold a token or, of a query, go unnamed.

use super::super::headers;
use super::super::rescue::{Code, Refusal};
use super::super::route::Route;
use super::super::rule::{FieldRule, Treatment};
use super::super::search::{Asks, Item, Pair, encoded};
use super::super::target;
use super::mark::is_mark;
use super::sealing::Sealing;
use crate::keyring::KeyringError;
use crate::policy::View;
use crate::seal::Context;
use crate::seal::token::holds_token;
use crate::view::looks_hidden;
use http::request::Parts;
use http::{HeaderValue, Uri};

impl Sealing<'_> {
    /// Makes path, query and header fields those that the upstream gets.
    pub(super) async fn aim(&mut self, route: &Route, head: &mut Parts) -> Result<(), Refusal> {
        headers::judge(&head.headers, self.protected)?;
        let path = self.path(route, head.uri.path()).await?;
        let query = match head.uri.query() {
            // No URI has it bare (RFC 3986 3.4), where documents do.
            Some(query) => Some(self.query(query, resource(head.uri.path())).await?.replace('|', "%7C")),
            None => None,
        };
        let target = query.map_or_else(|| path.clone(), |query| format!("{path}?{query}"));
        let mut parts = std::mem::take(&mut head.uri).into_parts();
        parts.path_and_query = Some(target.parse().map_err(|_| Code::Internal)?);
        head.uri = Uri::from_parts(parts).map_err(|_| Code::Internal)?;
        self.headers(head).await
    }

    async fn path(&mut self, route: &Route, path: &str) -> Result<String, Refusal> {
        let mut sealed = path.to_owned();
        for (name, field) in &self.protected.segments {
            let Some(value) = route.template.parameter(name, path) else { continue };
            let text = String::from_utf8(target::decode(value)).map_err(|_| Code::TargetNotCanonical)?;
            let value = self.looked_for(*field, &text, &format!("path parameter {name}")).await?;
            // What is sealed here needs no look for tokens: it is one, or keeps its format.
            sealed = route.template.with(name, &sealed, &encoded(&value)).ok_or(Code::Internal)?;
        }
        let rest = self
            .protected
            .segments
            .iter()
            .fold(path.to_owned(), |path, (name, _)| route.template.with(name, &path, "-").unwrap_or(path));
        if target::may_hold_token(rest.as_bytes()) {
            return Err(Refusal::with_detail(Code::TokenNotAccepted, "path"));
        }
        Ok(sealed)
    }

    /// A query, or a form that is one.
    pub(super) async fn query(&mut self, query: &str, resource: Option<&str>) -> Result<String, Refusal> {
        let mut sealed = Vec::new();
        let pairs = self.protected.searches.read(query, resource).map_err(|refusal| {
            // Whoever sends a token is told of it, wherever it stands.
            let is_token = target::may_hold_token(query.as_bytes());
            if is_token { Refusal::with_detail(Code::TokenNotAccepted, "query") } else { refusal }
        })?;
        for pair in pairs {
            sealed.push(match pair {
                Pair::Kept(pair) if target::may_hold_token(pair.as_bytes()) => {
                    return Err(Refusal::with_detail(Code::TokenNotAccepted, "query"));
                }
                Pair::Kept(pair) => pair.to_owned(),
                Pair::Sealed { name, asks, items } => {
                    let mut values = Vec::new();
                    for item in items {
                        values.push(self.item(item, asks).await?);
                    }
                    asked(&name, asks, &values)
                }
            });
        }
        Ok(sealed.join("&"))
    }

    /// All that the value may have been sealed to.
    async fn item(&mut self, Item { prefix, text, fields }: Item, asks: Asks) -> Result<Vec<String>, Refusal> {
        if target::may_hold_token(prefix.as_bytes()) {
            return Err(Refusal::with_detail(Code::TokenNotAccepted, "query"));
        }
        let prefix = encoded(&prefix);
        if fields.is_empty() && text.is_empty() {
            return Ok(vec![prefix]);
        }
        let mut values: Vec<String> = Vec::new();
        // It could have been sealed as any of them; a token says itself as what.
        for field in &fields {
            let mut sealed = vec![self.looked_for(*field, &text, "query").await?];
            if holds_token(text.as_bytes()) {
                return Ok(vec![format!("{prefix}{}", encoded(&text))]);
            }
            if asks != Asks::One {
                sealed.extend(self.formerly(*field, &text).await?);
            }
            for value in sealed.into_iter().map(|value| format!("{prefix}{}", encoded(&value))) {
                if !values.contains(&value) {
                    values.push(value);
                }
            }
        }
        // No rule is for that system.
        if fields.is_empty() { Err(Code::QueryNotAllowed.into()) } else { Ok(values) }
    }

    /// A URL or a search in a document: `Patient?identifier=…`, `identifier=…`.
    pub(super) async fn expression(&mut self, text: &str) -> Result<String, Refusal> {
        let (path, query) = match text.split_once('?') {
            Some((path, query)) => (Some(path), query),
            // No name of a parameter has a slash.
            None if text.split_once('=').is_some_and(|(name, _)| !name.contains('/')) => (None, text),
            None => (Some(text), ""),
        };
        // A `?` that is escaped may be none any more where it is read.
        if path.is_some_and(|path| target::decode(path).contains(&b'?')) {
            return Err(Code::QueryNotAllowed.into());
        }
        if path.is_some_and(|path| target::may_hold_token(path.as_bytes())) {
            return Err(Code::TokenNotAccepted.into());
        }
        let sealed = self.query(query, path.and_then(resource)).await?;
        Ok(match path {
            Some(path) if query.is_empty() => path.to_owned(),
            Some(path) => format!("{path}?{sealed}"),
            None => sealed,
        })
    }

    async fn headers(&mut self, head: &mut Parts) -> Result<(), Refusal> {
        if let Some(expression) = head.headers.get(headers::IF_NONE_EXIST) {
            let expression = expression.to_str().map_err(|_| Code::HeaderNotAllowed)?.to_owned();
            let sealed = self.expression(&expression).await?;
            head.headers.insert(headers::IF_NONE_EXIST, value(sealed)?);
        }
        for (name, field) in &self.protected.headers {
            let texts: Vec<String> = head
                .headers
                .get_all(name)
                .iter()
                .map(|value| value.to_str().map(str::to_owned).map_err(|_| Code::HeaderNotAllowed))
                .collect::<Result<_, _>>()?;
            head.headers.remove(name);
            for text in texts {
                let sealed = self.written(*field, &text, &format!("header {name}")).await?;
                head.headers.append(name, value(sealed)?);
            }
        }
        Ok(())
    }

    /// A value that the upstream is to find again. Whoever may not see the class may not look for its values either: answers would
    /// tell whether a guess is right.
    async fn looked_for(&mut self, field: usize, text: &str, place: &str) -> Result<String, Refusal> {
        let protected = self.protected;
        let rule = protected.field(field).ok_or(Code::Internal)?;
        let view = self.permit.view(rule.class.class);
        if !holds_token(text.as_bytes()) && view != View::Plain {
            return Err(Refusal::with_detail(Code::SearchNotAllowed, place));
        }
        if matches!(rule.class.treatment, Treatment::Random { .. }) {
            return Err(Refusal::with_detail(Code::SearchNotPossible, place));
        }
        self.outside(rule, text, place).await
    }

    /// What the value was sealed to by keys that another one took over from.
    async fn formerly(&mut self, field: usize, text: &str) -> Result<Vec<String>, Refusal> {
        let protected = self.protected;
        let class = protected.field(field).ok_or(Code::Internal)?.class;
        if text.is_empty() || !matches!(class.treatment, Treatment::Deterministic { .. }) {
            return Ok(Vec::new());
        }
        let context = Context { class: class.class, scope: self.permit.scope(), bind: &[] };
        let (suite, placement) = class.treatment.key().ok_or(Code::Internal)?;
        let active = self.gate.sealing_key(context.scope, suite, placement).await?.key.id();
        // One that does not open leaves what it sealed out: a create that is to come about only once would come about twice.
        let former = self.gate.former_keys(context.scope, active).await.map_err(|error| match error {
            KeyringError::Rejected { .. } | KeyringError::UnknownKek | KeyringError::UnknownKey { .. } => {
                Refusal::from(Code::KeyDenied).because(error)
            }
            error => error.into(),
        })?;
        let (kind, value) = class.treatment.canonical_outside(text)?;
        let manner = class.treatment.manner(kind).ok_or(Code::Internal)?;
        let mut sealed = Vec::new();
        for held in former {
            let token = held.key.seal(&mut self.workspace, &context, manner, &value).map_err(|_| Code::Internal)?;
            self.ledger.key(held.key.id(), &held);
            sealed.push(token.as_str().to_owned());
        }
        Ok(sealed)
    }

    /// A value that the upstream is to keep.
    async fn written(&mut self, field: usize, text: &str, place: &str) -> Result<String, Refusal> {
        let protected = self.protected;
        let rule = protected.field(field).ok_or(Code::Internal)?;
        if !holds_token(text.as_bytes()) && !self.permit.writes(rule.class.class) {
            return Err(Refusal::with_detail(Code::FieldNotWritable, place));
        }
        self.outside(rule, text, place).await
    }

    async fn outside(&mut self, rule: &FieldRule, text: &str, place: &str) -> Result<String, Refusal> {
        let about = |refusal: Refusal| Refusal { detail: Some(place.to_owned()), ..refusal };
        if text.is_empty() {
            return Ok(String::new());
        }
        if holds_token(text.as_bytes()) {
            self.accept_token(text.as_bytes(), Some(rule), &[]).await.map_err(about)?;
            return Ok(text.to_owned());
        }
        let is_hidden = self.permit.view(rule.class.class) != View::Plain && looks_hidden(text.as_bytes());
        if is_hidden || is_mark(text.as_bytes()) {
            return Err(about(Code::FieldHidden.into()));
        }
        let (kind, value) = rule.class.treatment.canonical_outside(text)?;
        let sealed = self.sealed(rule, &[], kind, &value).await.map_err(about)?;
        rule.keeps(&sealed).map_err(|code| about(code.into()))?;
        String::from_utf8(sealed).map_err(|_| Code::Internal.into())
    }
}

/// A pair that asks for values, of each of which there may be several forms.
fn asked(name: &str, asks: Asks, values: &[Vec<String>]) -> String {
    if asks != Asks::None {
        return format!("{name}={}", values.concat().join(","));
    }
    // Servers differ in what a list excludes. Of parameters that are repeated each one holds.
    let most = values.iter().map(Vec::len).max().unwrap_or_default();
    let pairs = (0..most).map(|number| {
        let values: Vec<&str> = values.iter().filter_map(|forms| forms.get(number)).map(String::as_str).collect();
        format!("{name}={}", values.join(","))
    });
    pairs.collect::<Vec<_>>().join("&")
}

/// The type of resource that a path names: `/fhir/Patient`, `/fhir/Patient/_search`.
pub(super) fn resource(path: &str) -> Option<&str> {
    let path = path.strip_suffix("/_search").unwrap_or(path);
    path.rsplit('/').next().filter(|last| last.starts_with(|c: char| c.is_ascii_uppercase()))
}

fn value(text: String) -> Result<HeaderValue, Refusal> {
    HeaderValue::try_from(text).map_err(|_| Code::HeaderNotAllowed.into())
}
