//! Routes as the proxy takes them.

use super::files::Files;
use super::packs::{Pack, Packs};
use super::policy::Classes;
use super::raw;
use super::rules;
use super::source::{item, key};
use crate::proxy::goes_on;
use crate::proxy::meters::Meters;
use crate::proxy::route::{Protection, Route, Routes, Template};
use crate::proxy::rule::ScopeSource;
use crate::seal::Scope;
use http::{HeaderName, Method};
use rustls_pki_types::ServerName;
use std::collections::HashSet;
use std::net::Ipv6Addr;
use std::sync::Arc;

/// What a route may refer to.
pub(super) struct Known<'a> {
    pub(super) scope: Option<Scope>,
    pub(super) upstreams: &'a [String],
    pub(super) classes: &'a Classes,
    pub(super) packs: &'a Packs,
    /// Whether there is a `bearer` at the top.
    pub(super) has_bearer: bool,
    pub(super) sizes: rules::Sizes<'a>,
}

pub(super) fn routes(files: &mut Files<'_>, known: &Known<'_>, raw: Vec<raw::Route>) -> Routes {
    if raw.is_empty() {
        files.problem("routes", "wanted at least one route");
    }
    let mut names = HashSet::new();
    let mut taken = Vec::new();
    let mut routes = Vec::new();
    for (index, raw) in raw.into_iter().enumerate() {
        let path = item("routes", index);
        let at = key(&path, "name");
        if !files.is_mended(&at) && !names.insert(raw.name.clone()) {
            files.problem(&at, "this route name stands twice");
        }
        routes.extend(route(files, known, &mut taken, &path, raw));
    }
    Routes::new(routes)
}

fn route(
    files: &mut Files<'_>,
    known: &Known<'_>,
    taken: &mut Vec<Taken>,
    path: &str,
    raw: raw::Route,
) -> Option<Route> {
    let raw::Route {
        name,
        host,
        path: template,
        methods,
        upstream,
        scope,
        scope_from,
        record,
        query_allowed,
        protect,
        unsealed,
        open,
        packs,
        resources_allowed,
        csv_delimiter,
        rules,
    } = raw;
    let at = |name| key(path, name);
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.')) {
        files.problem(&at("name"), "wanted a name of [A-Za-z0-9_.-]");
    }
    let host = host.map_or(Some(None), |text| self::host(files, &at("host"), &text).map(Some));
    let template = Template::parse(&template).map_err(|error| files.problem_quoting(&at("path"), &error)).ok();
    let methods = self::methods(files, &at("methods"), &methods);
    let index = self::upstream(files, known, &at("upstream"), &upstream);
    let scope = self::scope(files, known, path, scope.as_deref(), scope_from.as_ref(), template.as_ref());
    if let (Some(name), Some(template)) = (&record, &template)
        && !template.has(name)
    {
        let message = format!("the path has no parameter {}", files.quoted(&at("record"), name));
        files.problem_of(&at("record"), &[&at("path")], message);
    }
    let patches = methods.contains(&Method::PATCH);
    let told = [record.clone(), scope_from.as_ref().and_then(|from| from.parameter.clone())];
    let told = told.into_iter().flatten().collect();
    let bodies = Bodies {
        told,
        patches,
        query_allowed,
        protect,
        unsealed,
        open,
        packs,
        resources_allowed,
        csv_delimiter,
        rules,
    };
    let protection = protection(files, known, path, template.as_ref(), bodies);
    let (host, template) = (host?, template?);
    let quoted = files.quoted(&at("name"), &name);
    let requests = Taken { quoted, host: host.clone(), template: template.clone(), methods: methods.clone() };
    take(files, taken, path, requests);
    let name: Arc<str> = name.into();
    Some(Route {
        meters: Arc::new(Meters::of(Arc::clone(&name))),
        name,
        host,
        template,
        methods,
        upstream: index?,
        scope: scope?,
        record,
        protection: protection?,
    })
}

fn scope(
    files: &mut Files<'_>,
    known: &Known<'_>,
    path: &str,
    fixed: Option<&str>,
    from: Option<&raw::ScopeFrom>,
    template: Option<&Template>,
) -> Option<ScopeSource> {
    let at = key(path, "scope_from");
    let Some(raw::ScopeFrom { parameter, header, identity, claim }) = from else {
        return match fixed {
            Some(text) => {
                Scope::parse(text).map_err(|error| files.problem(&key(path, "scope"), error.to_string())).ok()
            }
            None => known.scope,
        }
        .map(ScopeSource::Fixed);
    };
    if fixed.is_some() {
        files.problem_of(&at, &[&key(path, "scope")], "instead of `scope`, not with it");
    }
    match (parameter, header, identity, claim) {
        (Some(name), None, None, None) => {
            if template.is_some_and(|template| !template.has(name)) {
                let at = key(&at, "parameter");
                let message = format!("the path has no parameter {}", files.quoted(&at, name));
                files.problem_of(&at, &[&key(path, "path")], message);
            }
            Some(ScopeSource::Parameter(name.clone()))
        }
        (None, Some(name), None, None) => {
            let name = HeaderName::from_bytes(name.to_ascii_lowercase().as_bytes()).ok();
            // The upstream must hear of the scope what the gate heard.
            let name = name.filter(goes_on);
            if name.is_none() {
                files.problem(&key(&at, "header"), "wanted the name of a header field that the gate lets through");
            }
            name.map(ScopeSource::Header)
        }
        (None, None, Some(true), None) => Some(ScopeSource::Identity),
        (None, None, None, Some(name)) => {
            if !known.has_bearer {
                files.problem_of(&key(&at, "claim"), &["bearer"], "claims are those of tokens that `bearer` speaks of");
            }
            Some(ScopeSource::Claim(name.clone()))
        }
        _ => {
            let causes = ["parameter", "header", "identity", "claim"].map(|name| key(&at, name));
            let causes = causes.each_ref().map(String::as_str);
            files.problem_of(&at, &causes, "wanted exactly one of parameter, header, claim and `identity: true`");
            None
        }
    }
}

/// A host as requests are compared with it: in lower case, an IPv6 address in brackets.
fn host(files: &mut Files<'_>, path: &str, text: &str) -> Option<String> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    if let Ok(address) = bare.unwrap_or(text).parse::<Ipv6Addr>() {
        return Some(format!("[{address}]"));
    }
    // Names of one spelling only: requests are compared without port and final dot.
    if ServerName::try_from(text).is_err() || text.ends_with('.') {
        files.problem(path, "wanted a host name or an IP address and nothing else: no port, no user, no final dot");
        return None;
    }
    Some(text.to_ascii_lowercase())
}

fn upstream(files: &mut Files<'_>, known: &Known<'_>, path: &str, name: &str) -> Option<usize> {
    let index = known.upstreams.iter().position(|known| known == name);
    if index.is_none() {
        let quoted = files.quoted(path, name);
        let message = format!("unknown upstream {quoted}; upstreams are named under `upstreams`");
        files.problem_of(path, &["upstreams"], message);
    }
    index
}

/// The requests that a route takes, and its name as a problem may tell it.
struct Taken {
    quoted: String,
    host: Option<String>,
    template: Template,
    methods: Vec<Method>,
}

/// Notes the requests of the route at `path`; a problem if an earlier route has some of them.
fn take(files: &mut Files<'_>, taken: &mut Vec<Taken>, path: &str, requests: Taken) {
    if ["host", "path"].iter().any(|name| files.is_mended(&key(path, name))) {
        return;
    }
    let clash = |other: &&Taken| {
        other.host == requests.host
            && other.template.same_paths(&requests.template)
            && other.methods.iter().any(|method| requests.methods.contains(method))
    };
    if let Some(Taken { quoted, .. }) = taken.iter().find(clash) {
        files.problem(&key(path, "path"), format!("takes the same requests as route {quoted}"));
    }
    taken.push(requests);
}

/// CONNECT asks for a tunnel and TRACE shows headers: neither is for what stands behind a gate.
fn methods(files: &mut Files<'_>, path: &str, raw: &[String]) -> Vec<Method> {
    const KNOWN: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    let mut methods = Vec::new();
    for (index, name) in raw.iter().enumerate() {
        match Method::from_bytes(name.as_bytes()) {
            Ok(method) if KNOWN.contains(&name.as_str()) => methods.push(method),
            _ => files.problem(&item(path, index), format!("wanted one of {}", KNOWN.join(", "))),
        }
    }
    methods
}

struct Bodies {
    told: Vec<String>,
    patches: bool,
    query_allowed: Vec<String>,
    protect: Option<raw::Protect>,
    unsealed: Option<raw::Unsealed>,
    open: Option<raw::Open>,
    packs: Vec<String>,
    resources_allowed: Vec<String>,
    csv_delimiter: Option<String>,
    rules: Vec<raw::Rule>,
}

fn protection(
    files: &mut Files<'_>,
    known: &Known<'_>,
    path: &str,
    template: Option<&Template>,
    raw: Bodies,
) -> Option<Protection> {
    let Bodies {
        told,
        patches,
        query_allowed,
        protect,
        unsealed,
        open,
        packs,
        resources_allowed,
        csv_delimiter,
        rules,
    } = raw;
    let at = |name| key(path, name);
    match (protect, rules.is_empty() && packs.is_empty()) {
        (Some(raw::Protect::None), true) => {
            let causes = [at("rules"), at("protect")];
            let causes = causes.each_ref().map(String::as_str);
            if !query_allowed.is_empty() {
                let message = "has no meaning with `protect: none`: every query passes";
                files.problem_of(&at("query_allowed"), &causes, message);
            }
            for (name, is_said) in [("unsealed", unsealed.is_some()), ("open", open.is_some())] {
                if is_said {
                    files.problem_of(&at(name), &causes, "has no meaning with `protect: none`");
                }
            }
            return Some(Protection::None);
        }
        (None, true) => {
            let message = "has no rules; if its bodies are to pass unread, say `protect: none`";
            files.problem_of(path, &[&at("rules"), &at("protect")], message);
            return None;
        }
        (Some(raw::Protect::None), false) => {
            let message = "a route with rules is protected; take one of the two away";
            files.problem_of(&at("protect"), &[&at("rules")], message);
        }
        (None, false) => {}
    }
    let shows_unsealed = matches!(unsealed, Some(raw::Unsealed::Show));
    let packs: Vec<&Pack> = packs.iter().filter_map(|name| known.packs.find(name)).collect();
    let csv_delimiter = delimiter(files, &at("csv_delimiter"), csv_delimiter.as_deref());
    let given = rules::Given {
        template,
        shows_unsealed,
        packs: &packs,
        resources_allowed,
        query_allowed,
        told: told.iter().map(String::as_str).collect(),
        csv_delimiter,
        opens_anywhere: matches!(open, Some(raw::Open::Anywhere)).then(|| known.classes.all()),
        rules,
        sizes: known.sizes,
    };
    let protected = rules::rules(files, known.classes, path, &given)?;
    if patches && protected.formats.json.is_none() {
        let message =
            "PATCH on a route with rules: only JSON can be patched, which rules with `path` or `fhir` are for";
        files.problem_of(&at("methods"), &[&at("rules")], message);
    }
    Some(Protection::Rules(Box::new(protected)))
}

fn delimiter(files: &mut Files<'_>, path: &str, text: Option<&str>) -> u8 {
    match text.map(str::as_bytes) {
        None => b',',
        Some([delimiter]) => *delimiter,
        Some(_) => {
            files.problem(path, "wanted one ASCII character");
            b','
        }
    }
}
