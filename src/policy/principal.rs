//! Who asks: the identity that a certificate or the operating system proves, and the roles that the config gives it.

use super::decision::Denied;
use crate::seal::Scope;
use std::fmt;
use std::sync::Arc;

/// The name that a verified client certificate proves, or the user as whom a command runs.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Identity {
    /// The only URI SAN, a SPIFFE id.
    Spiffe(Arc<str>),
    /// The only DNS SAN, in lower case.
    Dns(Arc<str>),
    /// The subject (RFC 4514 order as issued), where there is no SAN.
    Subject(Arc<str>),
    /// Nobody that is known: a client without a certificate, where it may come without one.
    Anonymous,
    /// The real user id of a process: of one who works with commands on the machine itself. No certificate proves it.
    Uid(u32),
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Spiffe(id) => f.write_str(id),
            Self::Dns(name) => write!(f, "dns:{name}"),
            Self::Subject(name) => write!(f, "subject:{name}"),
            Self::Anonymous => f.write_str("anonymous"),
            Self::Uid(uid) => write!(f, "uid:{uid}"),
        }
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A client whose identity the config knows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Principal {
    /// Who.
    pub identity: Identity,
    /// In which roles it acts.
    pub roles: Roles,
    /// The scopes that it may act in.
    pub scopes: Arc<[Scope]>,
}

/// Names of roles, the first one first.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Roles {
    /// The principal's own, in every exchange.
    Own(Arc<[Arc<str>]>),
    /// Those that its users may have. It has none without a user.
    OfUsers(Arc<[Arc<str>]>),
}

impl Principal {
    /// The roles that it has without a user.
    #[must_use]
    pub fn own_roles(&self) -> &[Arc<str>] {
        match &self.roles {
            Roles::Own(roles) => roles,
            Roles::OfUsers(_) => &[],
        }
    }

    /// Whether it acts for users alone, in their roles.
    #[must_use]
    pub const fn speaks_for_users(&self) -> bool {
        matches!(self.roles, Roles::OfUsers(_))
    }

    /// The principal in the roles of one exchange. `of_user`: those that its user was proven to have, in any order; they mean
    /// nothing where the principal has its own.
    ///
    /// # Errors
    /// [`Denied::NoRole`] if its user has none that its users may have.
    pub fn acting(&self, of_user: &[Arc<str>]) -> Result<Acting<'_>, Denied> {
        let roles = match &self.roles {
            Roles::Own(roles) => Arc::clone(roles),
            Roles::OfUsers(roles) => roles.iter().filter(|role| of_user.contains(role)).map(Arc::clone).collect(),
        };
        if roles.is_empty() { Err(Denied::NoRole) } else { Ok(Acting { principal: self, roles }) }
    }
}

/// A principal in the roles of one exchange. Only [`Principal::acting`] makes one.
#[derive(Debug)]
pub struct Acting<'p> {
    principal: &'p Principal,
    roles: Arc<[Arc<str>]>,
}

impl Acting<'_> {
    /// Who.
    #[must_use]
    pub const fn principal(&self) -> &Principal {
        self.principal
    }

    /// In which roles, the first one first.
    #[must_use]
    pub const fn roles(&self) -> &Arc<[Arc<str>]> {
        &self.roles
    }
}
