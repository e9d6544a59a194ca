//! Classes, roles and principals as the policy takes them.

use super::files::Files;
use super::raw;
use super::source::{item, key};
use super::warnings;
use crate::policy::{Identity, Policy, Principal, Role, Roles, View};
use crate::proxy::is_spiffe_id;
use crate::proxy::rule::{ClassRule, Treatment};
use crate::seal::crypto::fips;
use crate::seal::format::Alphabet;
use crate::seal::{Class, Kind, Placement, Scope, Suite};
use crate::view::MaskRule;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

/// The classes by name.
pub(super) struct Classes {
    rules: HashMap<String, Option<ClassRule>>,
    /// Those of which the config says how many values they have.
    known_sizes: HashSet<String>,
}

impl Classes {
    /// The class that the text at `path` names; `quoted` is how a problem may say the name.
    pub(super) fn find(&self, files: &mut Files<'_>, path: &str, name: &str, quoted: &str) -> Option<ClassRule> {
        if let Some(class) = self.rules.get(name) {
            return *class;
        }
        let message = format!("unknown class {quoted}; classes are named under `classes`");
        files.problem_of(path, &["classes"], message);
        None
    }

    /// Every class that is right.
    pub(super) fn all(&self) -> Arc<[ClassRule]> {
        self.rules.values().flatten().copied().collect()
    }

    /// Whether the config says how many values a class has.
    pub(super) fn has_known_size(&self, name: &str) -> bool {
        self.known_sizes.contains(name)
    }
}

/// What the config has for keys that stand in no token.
#[derive(Clone, Copy)]
pub(super) struct Kept {
    pub(super) store: bool,
    pub(super) keyset: bool,
}

pub(super) fn classes(files: &mut Files<'_>, raw: BTreeMap<String, raw::Class>, kept: Kept) -> Classes {
    let (mut classes, mut known_sizes) = (HashMap::new(), HashSet::new());
    for (name, raw) in raw {
        let path = key("classes", &name);
        if matches!(raw.suite, Some(raw::Suite::Deterministic)) {
            warnings::deterministic(files, &path, &name, raw.distinct_values);
        }
        if raw.distinct_values.is_some() {
            known_sizes.insert(name.clone());
        }
        let mask = raw.mask.as_ref();
        let mask = mask
            .map_or_else(MaskRule::default, |mask| MaskRule { keep_first: mask.keep_first, keep_last: mask.keep_last });
        let treatment = treatment(files, &path, &raw);
        let method = match treatment {
            Some(Treatment::Deterministic { .. }) => fips::Method::Siv,
            Some(Treatment::Format(_)) => fips::Method::Ff1,
            Some(Treatment::Random { .. }) | None => fips::Method::RandomNonce,
        };
        if let Err(error) = method.permit() {
            files.problem(&key(&path, "suite"), error.to_string());
        }
        let store = matches!(treatment.and_then(|treatment| treatment.key()), Some((Suite::Random, Placement::Stored)));
        let long_lived = matches!(treatment, Some(Treatment::Deterministic { .. } | Treatment::Format(_)));
        if store && !kept.store {
            let at = key(&path, "placement");
            files.problem_of(&at, &["keyring.store"], "a stored key needs keyring.store");
        }
        if long_lived && !kept.store && !kept.keyset {
            let causes = ["keyring.store", "keyring.keyset_file"];
            files.problem_of(&key(&path, "suite"), &causes, "its key needs keyring.store or keyring.keyset_file");
        }
        let class = Class::parse(&name).map_err(|error| files.problem(&path, format!("class: {error}"))).ok();
        classes.insert(name, class.zip(treatment).map(|(class, treatment)| ClassRule { class, mask, treatment }));
    }
    Classes { rules: classes, known_sizes }
}

/// How the values of a class are sealed; what is said of another suite than its own is a problem.
fn treatment(files: &mut Files<'_>, path: &str, raw: &raw::Class) -> Option<Treatment> {
    let suite = raw.suite.unwrap_or(raw::Suite::Random);
    let said = [
        ("placement", raw.placement.is_some(), &[raw::Suite::Random][..], "random"),
        (
            "pad_bytes",
            raw.pad_bytes.is_some(),
            &[raw::Suite::Random, raw::Suite::Deterministic],
            "random or deterministic",
        ),
        ("type", raw.kind.is_some(), &[raw::Suite::Deterministic], "deterministic"),
        ("fold_case", raw.fold_case.is_some(), &[raw::Suite::Deterministic], "deterministic"),
        ("normalize", raw.normalize.is_some(), &[raw::Suite::Deterministic], "deterministic"),
        ("distinct_values", raw.distinct_values.is_some(), &[raw::Suite::Deterministic], "deterministic"),
        ("alphabet", raw.alphabet.is_some(), &[raw::Suite::Format], "format"),
        ("accept_small_domain", raw.accept_small_domain.is_some(), &[raw::Suite::Format], "format"),
    ];
    for (name, is_said, suites, wanted) in said {
        if is_said && !suites.contains(&suite) {
            let (at, suite) = (key(path, name), key(path, "suite"));
            files.problem_of(&at, &[&suite], format!("only with `suite: {wanted}`"));
        }
    }
    let pad_bytes = raw.pad_bytes.unwrap_or_default();
    match suite {
        raw::Suite::Random => {
            let placement = match raw.placement {
                Some(raw::Placement::Stored) => Placement::Stored,
                Some(raw::Placement::Inline) | None => Placement::Inline,
            };
            Some(Treatment::Random { placement, pad_bytes })
        }
        raw::Suite::Deterministic => {
            let kind = match raw.kind {
                Some(raw::ValueType::Number) => Kind::Literal,
                Some(raw::ValueType::Text) | None => Kind::Text,
            };
            let (folds_case, normalizes) = (raw.fold_case.unwrap_or_default(), raw.normalize.unwrap_or_default());
            Some(Treatment::Deterministic { kind, pad_bytes, folds_case, normalizes })
        }
        raw::Suite::Format => {
            let Some(alphabet) = raw.alphabet else {
                let at = key(path, "alphabet");
                files.problem_of(path, &[&at], "`suite: format` needs an alphabet");
                return None;
            };
            let alphabet = self::alphabet(alphabet);
            if alphabet.is_small() && raw.accept_small_domain != Some(true) {
                let message = "there are fewer than a million days, so that they can be told apart by counting; if that is \
                               accepted, say `accept_small_domain: true`";
                files.problem_of(&key(path, "alphabet"), &[&key(path, "accept_small_domain")], message);
            }
            if alphabet.is_small() && raw.accept_small_domain == Some(true) {
                warnings::small_domain(files, path);
            }
            Some(Treatment::Format(alphabet))
        }
    }
}

const fn alphabet(raw: raw::Alphabet) -> Alphabet {
    match raw {
        raw::Alphabet::Digits => Alphabet::Digits,
        raw::Alphabet::Uppercase => Alphabet::Uppercase,
        raw::Alphabet::Alphanumeric => Alphabet::Alphanumeric,
        raw::Alphabet::Date => Alphabet::Date,
        raw::Alphabet::DateMonthFirst => Alphabet::DateMonthFirst,
        raw::Alphabet::DateDayFirst => Alphabet::DateDayFirst,
    }
}

pub(super) fn policy(
    files: &mut Files<'_>,
    classes: &Classes,
    roles: BTreeMap<String, raw::Role>,
    principals: Vec<raw::Principal>,
    (scope, given): (Option<Scope>, Option<&HashSet<Arc<str>>>),
) -> Policy {
    let mut checked: HashMap<Arc<str>, Role> = HashMap::new();
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
        let roles = self::roles(files, &path, &checked, &principal);
        if let Some(names) = &principal.user_roles {
            user_roles(files, &key(&path, "user_roles"), names, given);
        }
        let Some(identity) = identity(files, &path, &principal) else {
            continue;
        };
        let is_sure = identities(&path).iter().all(|path| !files.is_mended(path));
        if is_sure && !seen.insert(identity.clone()) {
            files.problem(&path, "this identity stands twice; give all its roles in one entry");
        }
        let scopes = scopes(files, &path, principal.scopes.as_deref(), scope);
        known.extend(roles.map(|roles| Principal { identity, roles, scopes }));
    }
    Policy::new(checked, known)
}

/// The roles of a principal, or of its users. What holds for all of them together holds for any that a user may have of them.
fn roles(files: &mut Files<'_>, path: &str, known: &HashMap<Arc<str>, Role>, raw: &raw::Principal) -> Option<Roles> {
    let paths = ["roles", "user_roles"].map(|name| key(path, name));
    let [own_path, user_path] = &paths;
    let (at, names) = match (&raw.roles, &raw.user_roles) {
        (Some(names), None) => (own_path, names),
        (None, Some(names)) => (user_path, names),
        _ => {
            files.problem_of(path, &[own_path, user_path], "wanted exactly one of roles and user_roles");
            return None;
        }
    };
    for (index, name) in names.iter().enumerate() {
        if !known.contains_key(name.as_str()) {
            let at = item(at, index);
            let said = format!("unknown role {}; roles are named under `roles`", files.quoted(&at, name));
            files.problem_of(&at, &["roles"], said);
        }
    }
    let of_roles = || names.iter().filter_map(|name| known.get(name.as_str()));
    if of_roles().any(Role::removes) && !of_roles().all(|role| role.read_only) {
        let message = "a role that removes values stands beside one that may write: what is left would be written back";
        files.problem_of(at, &["roles"], message);
    }
    if raw.user_roles.is_some() && raw.uid.is_some() {
        files.problem(user_path, "a command brings no bearer token; wanted `roles`");
    }
    let names = names.iter().map(|name| Arc::from(name.as_str())).collect();
    Some(if raw.user_roles.is_some() { Roles::OfUsers(names) } else { Roles::Own(names) })
}

/// Which of the roles a user has, the claims of its token say.
fn user_roles(files: &mut Files<'_>, path: &str, names: &[String], given: Option<&HashSet<Arc<str>>>) {
    let Some(given) = given else {
        let message = "which of them a user has, `bearer.roles` says, and it is not there";
        return files.problem_of(path, &["bearer", "bearer.roles"], message);
    };
    for (index, _) in names.iter().enumerate().filter(|(_, name)| !given.contains(name.as_str())) {
        files.warn(&item(path, index), "no value in `bearer.roles.map` gives this role: no user has it");
    }
}

fn scopes(files: &mut Files<'_>, path: &str, raw: Option<&[String]>, default: Option<Scope>) -> Arc<[Scope]> {
    let Some(raw) = raw else { return default.into_iter().collect() };
    let mut scopes = Vec::with_capacity(raw.len());
    for (index, text) in raw.iter().enumerate() {
        let at = item(&key(path, "scopes"), index);
        match Scope::parse(text) {
            Ok(scope) => scopes.push(scope),
            Err(error) => files.problem(&at, error.to_string()),
        }
    }
    scopes.into()
}

fn role(files: &mut Files<'_>, classes: &Classes, path: &str, raw: raw::Role) -> Role {
    let raw::Role { default_view, views, writes, read_only } = raw;
    let mut role = Role { default_view: default_view.map(view), read_only, ..Role::default() };
    for (name, raw) in views {
        let at = key(&key(path, "views"), &name);
        if let Some(rule) = classes.find(files, &at, &name, &format!("{name:?}")) {
            role.views.insert(rule.class, view(raw));
        }
    }
    if role.removes() && !read_only {
        let message = "who sees values removed would delete them by writing back what is left: say `read_only: true`";
        files.problem_of(path, &[&key(path, "read_only")], message);
    }
    if read_only && !writes.is_empty() {
        files.problem_of(&key(path, "writes"), &[&key(path, "read_only")], "a read-only role writes nothing");
    }
    let mut written = Vec::with_capacity(writes.len());
    for (at, name) in writes.into_iter().enumerate() {
        let at = item(&key(path, "writes"), at);
        let quoted = files.quoted(&at, &name);
        written.extend(classes.find(files, &at, &name, &quoted));
    }
    role.writes.extend(written.iter().map(|rule| rule.class));
    warnings::guesses(files, path, &role, &written);
    role
}

const fn view(raw: raw::View) -> View {
    match raw {
        raw::View::Plain => View::Plain,
        raw::View::Mask => View::Mask,
        raw::View::Redact => View::Redact,
        raw::View::Remove => View::Remove,
        raw::View::Sealed => View::Sealed,
        raw::View::Deny => View::Deny,
    }
}

fn identity(files: &mut Files<'_>, path: &str, raw: &raw::Principal) -> Option<Identity> {
    let raw::Principal { spiffe, dns, subject, uid, anonymous, .. } = raw;
    let paths = identities(path);
    let [spiffe_path, ..] = &paths;
    if let Some(id) = spiffe
        && !is_spiffe_id(id)
    {
        files.problem(spiffe_path, "wanted a SPIFFE id such as spiffe://example.org/billing");
    }
    match (spiffe, dns, subject, uid, anonymous) {
        (Some(id), None, None, None, None) if is_spiffe_id(id) => Some(Identity::Spiffe(id.as_str().into())),
        (None, Some(name), None, None, None) => Some(Identity::Dns(name.to_ascii_lowercase().into())),
        (None, None, Some(name), None, None) => Some(Identity::Subject(name.as_str().into())),
        (None, None, None, Some(uid), None) => Some(Identity::Uid(*uid)),
        (None, None, None, None, Some(true)) => Some(Identity::Anonymous),
        (Some(_), None, None, None, None) => None,
        _ => {
            let causes: Vec<&str> = paths.iter().map(String::as_str).collect();
            files.problem_of(path, &causes, "wanted exactly one of spiffe, dns, subject, uid and anonymous: true");
            None
        }
    }
}

/// The keys of which a principal has one.
fn identities(path: &str) -> [String; 5] {
    ["spiffe", "dns", "subject", "uid", "anonymous"].map(|name| key(path, name))
}
