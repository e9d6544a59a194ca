//! Classes, roles and principals as the policy takes them.

use super::files::Files;
use super::raw;
use super::source::{item, key};
use crate::policy::{Identity, Policy, Principal, Role, View};
use crate::proxy::is_spiffe_id;
use crate::seal::Class;
use crate::view::MaskRule;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

/// The classes by name, with their masks.
pub(super) type Classes = HashMap<String, (Class, MaskRule)>;

pub(super) fn classes(files: &mut Files<'_>, raw: BTreeMap<String, raw::Class>) -> Classes {
    let mut classes = Classes::new();
    for (name, raw::Class { mask }) in raw {
        let rule = mask
            .map_or_else(MaskRule::default, |raw::Mask { keep_first, keep_last }| MaskRule { keep_first, keep_last });
        match Class::parse(&name) {
            Ok(class) => drop(classes.insert(name, (class, rule))),
            Err(error) => files.problem(&key("classes", &name), format!("class: {error}")),
        }
    }
    classes
}

pub(super) fn policy(
    files: &mut Files<'_>,
    classes: &Classes,
    roles: BTreeMap<String, raw::Role>,
    principals: Vec<raw::Principal>,
) -> Policy {
    let mut checked = HashMap::new();
    for (name, role) in roles {
        let role = self::role(files, classes, &key("roles", &name), role);
        checked.insert(Arc::from(name), role);
    }
    let mut seen = HashSet::new();
    let mut known = Vec::new();
    for (index, principal) in principals.into_iter().enumerate() {
        let path = item("principals", index);
        for (at, role) in principal.roles.iter().enumerate() {
            if !checked.contains_key(role.as_str()) {
                let at = item(&key(&path, "roles"), at);
                let said = format!("unknown role {}; roles are named under `roles`", files.quoted(&at, role));
                files.problem(&at, said);
            }
        }
        let Some(identity) = identity(files, &path, &principal) else {
            continue;
        };
        if !seen.insert(identity.clone()) {
            files.problem(&path, "this identity stands twice; give all its roles in one entry");
        }
        known.push(Principal { identity, roles: principal.roles.into_iter().map(Into::into).collect() });
    }
    Policy::new(checked, known)
}

fn role(files: &mut Files<'_>, classes: &Classes, path: &str, raw: raw::Role) -> Role {
    let raw::Role { default_view, views, writes, read_only } = raw;
    let mut role = Role { default_view: default_view.map(view), read_only, ..Role::default() };
    for (name, raw) in views {
        match classes.get(&name) {
            Some((class, _)) => drop(role.views.insert(*class, view(raw))),
            None => files.problem(&key(&key(path, "views"), &name), unknown_class(&format!("{name:?}"))),
        }
    }
    for (at, name) in writes.into_iter().enumerate() {
        match classes.get(&name) {
            Some((class, _)) => drop(role.writes.insert(*class)),
            None => {
                let at = item(&key(path, "writes"), at);
                files.problem(&at, unknown_class(&files.quoted(&at, &name)));
            }
        }
    }
    if read_only && !role.writes.is_empty() {
        files.problem(&key(path, "writes"), "a read-only role writes nothing");
    }
    role
}

pub(super) fn unknown_class(quoted: &str) -> String {
    format!("unknown class {quoted}; classes are named under `classes`")
}

const fn view(raw: raw::View) -> View {
    match raw {
        raw::View::Plain => View::Plain,
        raw::View::Mask => View::Mask,
        raw::View::Redact => View::Redact,
        raw::View::Sealed => View::Sealed,
        raw::View::Deny => View::Deny,
    }
}

fn identity(files: &mut Files<'_>, path: &str, raw: &raw::Principal) -> Option<Identity> {
    match (&raw.spiffe, &raw.dns, &raw.subject) {
        (Some(id), None, None) if is_spiffe_id(id) => Some(Identity::Spiffe(id.as_str().into())),
        (Some(_), None, None) => {
            files.problem(&key(path, "spiffe"), "wanted a SPIFFE id such as spiffe://example.org/billing");
            None
        }
        (None, Some(name), None) => Some(Identity::Dns(name.to_ascii_lowercase().into())),
        (None, None, Some(name)) => Some(Identity::Subject(name.as_str().into())),
        _ => {
            files.problem(path, "wanted exactly one of spiffe, dns and subject");
            None
        }
    }
}
