//! Routes as the proxy takes them.

use super::files::Files;
use super::policy::Classes;
use super::raw;
use super::source::{item, key};
use crate::document::json::Rules;
use crate::document::path::FieldPath;
use crate::proxy::route::{FieldRule, Protected, Protection, Route, Routes, Template};
use crate::seal::Scope;
use http::Method;
use rustls_pki_types::ServerName;
use std::collections::HashSet;
use std::net::Ipv6Addr;
use std::sync::Arc;

/// What a route may refer to.
pub(super) struct Known<'a> {
    pub(super) scope: Option<Scope>,
    pub(super) upstreams: &'a [String],
    pub(super) classes: &'a Classes,
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
        record,
        query_allowed,
        protect,
        unsealed,
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
    let scope = match scope {
        Some(text) => Scope::parse(&text).map_err(|error| files.problem(&at("scope"), error.to_string())).ok(),
        None => known.scope,
    };
    if let (Some(name), Some(template)) = (&record, &template)
        && !template.has(name)
    {
        let message = format!("the path has no parameter {}", files.quoted(&at("record"), name));
        files.problem_of(&at("record"), &[&at("path")], message);
    }
    let patches = methods.contains(&Method::PATCH);
    let protection = protection(files, known, path, Bodies { patches, query_allowed, protect, unsealed, rules });
    let (host, template) = (host?, template?);
    let quoted = files.quoted(&at("name"), &name);
    let requests = Taken { quoted, host: host.clone(), template: template.clone(), methods: methods.clone() };
    take(files, taken, path, requests);
    Some(Route {
        name: name.into(),
        host,
        template,
        methods,
        upstream: index?,
        scope: scope?,
        record,
        protection: protection?,
    })
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
    patches: bool,
    query_allowed: Vec<String>,
    protect: Option<raw::Protect>,
    unsealed: Option<raw::Unsealed>,
    rules: Vec<raw::Rule>,
}

fn protection(files: &mut Files<'_>, known: &Known<'_>, path: &str, raw: Bodies) -> Option<Protection> {
    let Bodies { patches, query_allowed, protect, unsealed, rules } = raw;
    let at = |name| key(path, name);
    match (protect, rules.is_empty()) {
        (Some(raw::Protect::None), true) => {
            let causes = [at("rules"), at("protect")];
            let causes = causes.each_ref().map(String::as_str);
            if !query_allowed.is_empty() {
                let message = "has no meaning with `protect: none`: every query passes";
                files.problem_of(&at("query_allowed"), &causes, message);
            }
            if unsealed.is_some() {
                files.problem_of(&at("unsealed"), &causes, "has no meaning with `protect: none`");
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
    if patches {
        let message = "PATCH on a route with rules: a patch names its places in values, which no rule reads";
        files.problem_of(&at("methods"), &[&at("rules")], message);
    }
    let mut fields = Vec::new();
    let mut seen = HashSet::new();
    for (index, rule) in rules.into_iter().enumerate() {
        fields.extend(self::rule(files, known, &mut seen, &item(&at("rules"), index), &rule));
    }
    let paths: Vec<FieldPath> = fields.iter().map(|rule| rule.path.clone()).collect();
    let automaton =
        Rules::compile(&paths).map_err(|error| files.problem(&key(path, "rules"), error.to_string())).ok()?;
    let mut classes: Vec<_> = fields.iter().map(|rule| rule.class).collect();
    classes.sort_unstable();
    classes.dedup();
    Some(Protection::Rules(Protected {
        automaton: Arc::new(automaton),
        fields,
        classes,
        query_allowed: query_allowed.into_iter().collect(),
        shows_unsealed: matches!(unsealed, Some(raw::Unsealed::Show)),
    }))
}

fn rule(
    files: &mut Files<'_>,
    known: &Known<'_>,
    seen: &mut HashSet<FieldPath>,
    path: &str,
    raw: &raw::Rule,
) -> Option<FieldRule> {
    let at = key(path, "class");
    let quoted = files.quoted(&at, &raw.class);
    let class = known.classes.find(files, &at, &raw.class, &quoted);
    let at = key(path, "path");
    let quoted = files.quoted(&at, &raw.path);
    let field = FieldPath::parse(&raw.path).map_err(|error| {
        let offset = raw.path.chars().take(error.column().saturating_sub(1)).map(char::len_utf8).sum();
        files.problem_in(&at, offset, format!("field path {quoted}: {error}"));
    });
    let field = field.ok()?;
    if !files.is_mended(&at) && !seen.insert(field.clone()) {
        files.problem(&at, format!("field path {quoted} stands twice"));
    }
    let (class, mask) = class?;
    Some(FieldRule { path: field, class, mask })
}
