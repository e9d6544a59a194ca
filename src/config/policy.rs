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
pub(super) struct Classes(HashMap<String, Option<(Class, MaskRule)>>);

impl Classes {
    /// The class that the text at `path` names; `quoted` is how a problem may say the name.
    pub(super) fn find(
        &self,
        files: &mut Files<'_>,
        path: &str,
        name: &str,
        quoted: &str,
    ) -> Option<(Class, MaskRule)> {
        if let Some(class) = self.0.get(name) {
            return *class;
        }
        let message = format!("unknown class {quoted}; classes are named under `classes`");
        files.problem_of(path, &["classes"], message);
        None
    }
}

pub(super) fn classes(files: &mut Files<'_>, raw: BTreeMap<String, raw::Class>) -> Classes {
    let mut classes = HashMap::new();
    for (name, raw::Class { mask }) in raw {
        let rule = mask
            .map_or_else(MaskRule::default, |raw::Mask { keep_first, keep_last }| MaskRule { keep_first, keep_last });
        let class =
            Class::parse(&name).map_err(|error| files.problem(&key("classes", &name), format!("class: {error}"))).ok();
        classes.insert(name, class.map(|class| (class, rule)));
    }
    Classes(classes)
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
    if principals.is_empty() {
        files.problem("principals", "wanted at least one principal; nobody else gets in");
    }
    let mut seen = HashSet::new();
    let mut known = Vec::new();
    for (index, principal) in principals.into_iter().enumerate() {
        let path = item("principals", index);
        for (at, role) in principal.roles.iter().enumerate() {
            if !checked.contains_key(role.as_str()) {
                let at = item(&key(&path, "roles"), at);
                let said = format!("unknown role {}; roles are named under `roles`", files.quoted(&at, role));
                files.problem_of(&at, &["roles"], said);
            }
        }
        let Some(identity) = identity(files, &path, &principal) else {
            continue;
        };
        let is_sure = identities(&path).iter().all(|path| !files.is_mended(path));
        if is_sure && !seen.insert(identity.clone()) {
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
        let at = key(&key(path, "views"), &name);
        if let Some((class, _)) = classes.find(files, &at, &name, &format!("{name:?}")) {
            role.views.insert(class, view(raw));
        }
    }
    if read_only && !writes.is_empty() {
        files.problem_of(&key(path, "writes"), &[&key(path, "read_only")], "a read-only role writes nothing");
    }
    for (at, name) in writes.into_iter().enumerate() {
        let at = item(&key(path, "writes"), at);
        let quoted = files.quoted(&at, &name);
        if let Some((class, _)) = classes.find(files, &at, &name, &quoted) {
            role.writes.insert(class);
        }
    }
    role
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
    let raw::Principal { spiffe, dns, subject, roles: _ } = raw;
    let [spiffe_path, dns_path, subject_path] = &identities(path);
    if let Some(id) = spiffe
        && !is_spiffe_id(id)
    {
        files.problem(spiffe_path, "wanted a SPIFFE id such as spiffe://example.org/billing");
    }
    match (spiffe, dns, subject) {
        (Some(id), None, None) if is_spiffe_id(id) => Some(Identity::Spiffe(id.as_str().into())),
        (None, Some(name), None) => Some(Identity::Dns(name.to_ascii_lowercase().into())),
        (None, None, Some(name)) => Some(Identity::Subject(name.as_str().into())),
        (Some(_), None, None) => None,
        _ => {
            let causes = [spiffe_path.as_str(), dns_path, subject_path];
            files.problem_of(path, &causes, "wanted exactly one of spiffe, dns and subject");
            None
        }
    }
}

/// The keys of which a principal has one.
fn identities(path: &str) -> [String; 3] {
    ["spiffe", "dns", "subject"].map(|name| key(path, name))
}
