//! Routes as the proxy takes them.

use super::files::Files;
use super::policy::{Classes, unknown_class};
use super::raw;
use super::source::{item, key};
use crate::document::json::Rules;
use crate::document::path::FieldPath;
use crate::proxy::route::{FieldRule, Protected, Protection, Route, Routes, Template};
use crate::seal::Scope;
use http::Method;
use std::collections::HashSet;
use std::sync::Arc;

/// What a route may refer to.
pub(super) struct Known<'a> {
    pub(super) scope: Option<Scope>,
    pub(super) upstreams: &'a [String],
    pub(super) classes: &'a Classes,
}

pub(super) fn routes(files: &mut Files<'_>, known: &Known<'_>, raw: Vec<raw::Route>) -> Routes {
    let mut routes: Vec<Route> = Vec::new();
    let mut names = HashSet::new();
    if raw.is_empty() {
        files.problem("routes", "wanted at least one route");
    }
    for (index, raw) in raw.into_iter().enumerate() {
        let path = item("routes", index);
        if !names.insert(raw.name.clone()) {
            files.problem(&key(&path, "name"), "this route name stands twice");
        }
        let Some(route) = route(files, known, &path, raw) else {
            continue;
        };
        let clash = |other: &&Route| {
            other.host == route.host
                && other.template.same_paths(&route.template)
                && other.methods.iter().any(|method| route.methods.contains(method))
        };
        if let Some(other) = routes.iter().find(clash) {
            files.problem(&key(&path, "path"), format!("takes the same requests as route {:?}", other.name));
        }
        routes.push(route);
    }
    Routes::new(routes)
}

fn route(files: &mut Files<'_>, known: &Known<'_>, path: &str, raw: raw::Route) -> Option<Route> {
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
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.')) {
        files.problem(&key(path, "name"), "wanted a name of [A-Za-z0-9_.-]");
    }
    let template = Template::parse(&template).map_err(|error| files.problem(&key(path, "path"), error.to_string()));
    let methods = self::methods(files, &key(path, "methods"), &methods);
    let index = known.upstreams.iter().position(|known| *known == upstream);
    if index.is_none() {
        files.problem(
            &key(path, "upstream"),
            format!(
                "unknown upstream {}; upstreams are named under `upstreams`",
                files.quoted(&key(path, "upstream"), &upstream)
            ),
        );
    }
    let scope = match scope {
        Some(text) => Scope::parse(&text).map_err(|error| files.problem(&key(path, "scope"), error.to_string())).ok(),
        None => known.scope,
    };
    if let (Some(name), Ok(template)) = (&record, &template)
        && !template.has(name)
    {
        let at = key(path, "record");
        files.problem(&at, format!("the path has no parameter {}", files.quoted(&at, name)));
    }
    let patches = methods.contains(&Method::PATCH);
    let protection = protection(files, known, path, Bodies { patches, query_allowed, protect, unsealed, rules })?;
    Some(Route {
        name: name.into(),
        host: host.map(|host| host.to_ascii_lowercase()),
        template: template.ok()?,
        methods,
        upstream: index?,
        scope: scope?,
        record,
        protection,
    })
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
    match (protect, rules.is_empty()) {
        (Some(raw::Protect::None), true) => {
            if !query_allowed.is_empty() {
                files.problem(&key(path, "query_allowed"), "has no meaning with `protect: none`: every query passes");
            }
            if unsealed.is_some() {
                files.problem(&key(path, "unsealed"), "has no meaning with `protect: none`");
            }
            return Some(Protection::None);
        }
        (Some(raw::Protect::None), false) => {
            files.problem(&key(path, "protect"), "a route with rules is protected; take one of the two away");
            return None;
        }
        (None, true) => {
            files.problem(path, "has no rules; if its bodies are to pass unread, say `protect: none`");
            return None;
        }
        (None, false) => {}
    }
    if patches {
        files.problem(
            &key(path, "methods"),
            "PATCH on a route with rules: a patch names its places in values, which no rule reads",
        );
    }
    let mut fields = Vec::new();
    for (index, rule) in rules.into_iter().enumerate() {
        fields.extend(self::rule(files, known, &item(&key(path, "rules"), index), &rule));
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

fn rule(files: &mut Files<'_>, known: &Known<'_>, path: &str, raw: &raw::Rule) -> Option<FieldRule> {
    let class = known.classes.get(&raw.class);
    if class.is_none() {
        let at = key(path, "class");
        files.problem(&at, unknown_class(&files.quoted(&at, &raw.class)));
    }
    let field = FieldPath::parse(&raw.path).map_err(|error| {
        let offset = raw.path.chars().take(error.column().saturating_sub(1)).map(char::len_utf8).sum();
        let message = format!("field path {}: {error}", files.quoted(&key(path, "path"), &raw.path));
        files.problems.push(files.places.problem_in(&key(path, "path"), offset, message));
    });
    let (class, mask) = *class?;
    Some(FieldRule { path: field.ok()?, class, mask })
}
