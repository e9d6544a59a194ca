//! Who asks: the identity that a certificate or the operating system proves, and the roles that the config gives it.

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
    /// Names of its roles, the first one first.
    pub roles: Arc<[Arc<str>]>,
    /// The scopes that it may act in.
    pub scopes: Arc<[Scope]>,
}
