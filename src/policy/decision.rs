//! The decision: a permit, which is proof, or a denial, which says why.

use super::principal::{Acting, Identity, Principal};
use super::rule::{Role, View};
use crate::seal::{Class, Scope};
use std::collections::HashMap;
use std::sync::Arc;

/// Whether an exchange only reads (safe methods, RFC 9110 9.2.1) or may change something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// GET, HEAD, OPTIONS, TRACE.
    Read,
    /// Every other method.
    Write,
}

/// Everything that a decision depends on.
#[derive(Clone, Copy, Debug)]
pub struct Query<'a> {
    /// Who asks, in which roles; `None` if the config knows no such identity.
    pub acting: Option<&'a Acting<'a>>,
    /// Reads or writes.
    pub action: Action,
    /// The classes of the route's rules.
    pub classes: &'a [Class],
    /// Whose data the exchange is about.
    pub scope: Scope,
}

/// Why an exchange is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Denied {
    /// The identity is in no `principals` entry.
    #[error("principal is unknown")]
    UnknownPrincipal,
    /// The user has none of the roles that users of the principal may have.
    #[error("user has no role that users of the principal may have")]
    NoRole,
    /// The scope is not among those of the principal.
    #[error("principal may not act in scope {0}")]
    Scope(Scope),
    /// Every role of the principal is read-only.
    #[error("principal may not write")]
    ReadOnly,
    /// No role grants a view of this class.
    #[error("principal has no view of class {0}")]
    Class(Class),
}

/// Proof that an exchange is allowed, and how far. Only [`Policy::authorize`] makes one.
///
/// ```compile_fail
/// let permit = sealgate::policy::Permit { scope: todo!(), grants: todo!() };
/// ```
#[derive(Debug)]
pub struct Permit {
    scope: Scope,
    grants: HashMap<Class, Grant>,
    roles: Arc<[Arc<str>]>,
    policy: Arc<Roles>,
}

#[derive(Clone, Copy, Debug)]
struct Grant {
    view: View,
    writes: bool,
}

impl Permit {
    /// Whose data it is about.
    #[must_use]
    pub const fn scope(&self) -> Scope {
        self.scope
    }

    /// How values of a class are shown. Also for a class of no rule of the route, as a stray token may have.
    #[must_use]
    pub fn view(&self, class: Class) -> View {
        self.grants.get(&class).map_or_else(|| self.policy.grant(&self.roles, class).view, |grant| grant.view)
    }

    /// Whether a value of a class may be written in the clear by this principal (to be sealed on its way).
    #[must_use]
    pub fn writes(&self, class: Class) -> bool {
        self.grants.get(&class).is_some_and(|grant| grant.writes)
    }
}

type RolesByName = HashMap<Arc<str>, Role>;

#[derive(Debug)]
struct Roles(RolesByName);

impl Roles {
    /// The first role that speaks of a class decides.
    fn grant(&self, roles: &[Arc<str>], class: Class) -> Grant {
        let speaks = roles.iter().filter_map(|name| self.0.get(name)).find(|role| role.view(class).is_some());
        match speaks {
            Some(role) => Grant { view: role.view(class).unwrap_or(View::Deny), writes: role.writes(class) },
            None => Grant { view: View::Deny, writes: false },
        }
    }
}

/// The roles, and who has them.
#[derive(Clone, Debug)]
pub struct Policy {
    roles: Arc<Roles>,
    principals: HashMap<Identity, Principal>,
}

impl Policy {
    /// A policy of these roles and principals.
    #[must_use]
    pub fn new(roles: RolesByName, principals: impl IntoIterator<Item = Principal>) -> Self {
        let principals = principals.into_iter().map(|principal| (principal.identity.clone(), principal)).collect();
        Self { roles: Arc::new(Roles(roles)), principals }
    }

    /// The principal of an identity.
    #[must_use]
    pub fn principal(&self, identity: &Identity) -> Option<&Principal> {
        self.principals.get(identity)
    }

    /// Every scope that some principal may act in.
    pub fn scopes(&self) -> impl Iterator<Item = Scope> {
        self.principals.values().flat_map(|principal| principal.scopes.iter().copied())
    }

    /// Whether some principal acts for its users alone.
    #[must_use]
    pub fn asks_for_users(&self) -> bool {
        self.principals.values().any(Principal::speaks_for_users)
    }

    /// Decides.
    ///
    /// # Errors
    /// [`Denied`] unless all of it is granted.
    pub fn authorize(&self, query: Query<'_>) -> Result<Permit, Denied> {
        let acting = query.acting.ok_or(Denied::UnknownPrincipal)?;
        if !acting.principal().scopes.contains(&query.scope) {
            return Err(Denied::Scope(query.scope));
        }
        let mut roles = acting.roles().iter().filter_map(|name| self.roles.0.get(name));
        if query.action == Action::Write && roles.all(|role| role.read_only) {
            return Err(Denied::ReadOnly);
        }
        let mut grants = HashMap::with_capacity(query.classes.len());
        for class in query.classes {
            let grant = self.roles.grant(acting.roles(), *class);
            if grant.view == View::Deny {
                return Err(Denied::Class(*class));
            }
            grants.insert(*class, grant);
        }
        let roles = Arc::clone(acting.roles());
        Ok(Permit { scope: query.scope, grants, roles, policy: Arc::clone(&self.roles) })
    }
}

#[cfg(test)]
mod tests {
    use super::super::principal::Roles;
    use super::*;

    fn class(text: &str) -> Class {
        Class::parse(text).unwrap()
    }

    fn policy() -> Policy {
        let role = |default_view, views: &[(&str, View)], writes: &[&str], read_only| Role {
            views: views.iter().map(|(name, view)| (class(name), *view)).collect(),
            default_view,
            writes: writes.iter().map(|name| class(name)).collect(),
            read_only,
        };
        let roles = [
            ("clinician", role(Some(View::Plain), &[], &[], false)),
            ("billing", role(None, &[("ssn", View::Mask), ("name", View::Plain)], &[], false)),
            ("desk", role(Some(View::Redact), &[], &["ssn"], false)),
            ("auditor", role(Some(View::Plain), &[], &["ssn"], true)),
        ];
        let principals = [
            ("clinician", vec!["clinician"]),
            ("billing", vec!["billing"]),
            ("both", vec!["billing", "desk"]),
            ("desk", vec!["desk"]),
            ("auditor", vec!["auditor"]),
        ]
        .map(|(name, roles)| (name, Roles::Own(named(&roles))));
        let portal = ("portal", Roles::OfUsers(named(&["desk", "billing", "auditor"])));
        let roles = roles.into_iter().map(|(name, role)| (name.into(), role)).collect();
        Policy::new(
            roles,
            principals.into_iter().chain([portal]).map(|(name, roles)| Principal {
                identity: Identity::Dns(name.into()),
                roles,
                scopes: [Scope::parse("main").unwrap()].into(),
            }),
        )
    }

    fn named(roles: &[&str]) -> Arc<[Arc<str>]> {
        roles.iter().map(|role| Arc::from(*role)).collect()
    }

    fn decide(who: &str, action: Action, classes: &[&str]) -> Result<Permit, Denied> {
        decide_for(who, &[], action, classes)
    }

    fn decide_for(who: &str, of_user: &[&str], action: Action, classes: &[&str]) -> Result<Permit, Denied> {
        let (policy, classes) = (policy(), classes.iter().map(|name| class(name)).collect::<Vec<_>>());
        let principal = policy.principal(&Identity::Dns(who.into()));
        let acting = principal.map(|principal| principal.acting(&named(of_user))).transpose()?;
        let acting = acting.as_ref();
        policy.authorize(Query { acting, action, classes: &classes, scope: Scope::parse("main").unwrap() })
    }

    #[test]
    fn what_is_not_granted_is_denied() {
        let denied = |who, action, classes: &[&str]| decide(who, action, classes).err();
        assert_eq!(denied("stranger", Action::Read, &[]), Some(Denied::UnknownPrincipal));
        assert_eq!(denied("billing", Action::Read, &["ssn", "dob"]), Some(Denied::Class(class("dob"))));
        assert_eq!(denied("auditor", Action::Write, &[]), Some(Denied::ReadOnly));
        assert_eq!(denied("billing", Action::Read, &["ssn", "name"]), None);
    }

    #[test]
    fn a_scope_that_is_not_the_principals_is_denied_whatever_its_roles() {
        let (policy, other) = (policy(), Scope::parse("other").unwrap());
        let acting = policy.principal(&Identity::Dns("clinician".into())).unwrap().acting(&[]).unwrap();
        let query = Query { acting: Some(&acting), action: Action::Read, classes: &[], scope: other };
        assert_eq!(policy.authorize(query).err(), Some(Denied::Scope(other)));
    }

    #[test]
    fn the_first_role_that_speaks_of_a_class_decides() {
        let permit = decide("both", Action::Write, &["ssn", "dob"]).unwrap();
        assert_eq!(permit.view(class("ssn")), View::Mask);
        assert!(!permit.writes(class("ssn")), "the grant of the second role does not reach over the first");
        assert_eq!(permit.view(class("dob")), View::Redact);
        assert_eq!(permit.view(class("never-heard-of")), View::Redact);
    }

    #[test]
    fn who_speaks_for_users_has_the_roles_of_its_user_and_no_others() {
        let denied = |of_user: &[&str]| decide_for("portal", of_user, Action::Read, &["ssn"]).err();
        assert_eq!(denied(&[]), Some(Denied::NoRole));
        assert_eq!(denied(&["clinician"]), Some(Denied::NoRole), "its users may not have this one");
        let view = |of_user: &[&str]| decide_for("portal", of_user, Action::Read, &["ssn"]).unwrap().view(class("ssn"));
        assert_eq!(view(&["billing"]), View::Mask);
        assert_eq!(view(&["billing", "clinician"]), View::Mask);
        for order in [["billing", "desk"], ["desk", "billing"]] {
            assert_eq!(view(&order), View::Redact, "the principal's order decides");
        }
        let write = |of_user: &[&str]| decide_for("portal", of_user, Action::Write, &["ssn"]).err();
        assert_eq!((write(&["auditor"]), write(&["desk"])), (Some(Denied::ReadOnly), None));
        assert_eq!(
            decide_for("billing", &["clinician"], Action::Read, &["dob"]).err(),
            Some(Denied::Class(class("dob")))
        );
    }

    #[test]
    fn what_one_does_not_see_one_writes_only_by_grant() {
        let clinician = decide("clinician", Action::Write, &["ssn", "name"]).unwrap();
        assert!(clinician.writes(class("ssn")) && clinician.writes(class("name")));
        let desk = decide("desk", Action::Write, &["ssn", "name"]).unwrap();
        assert!(desk.writes(class("ssn")) && !desk.writes(class("name")));
    }
}
