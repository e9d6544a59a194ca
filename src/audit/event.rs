//! What is recorded. Adding a member is a compatible change; removing or renaming one is not.

use crate::keyring::KmsCall;
use crate::policy::View;
use crate::seal::{Class, KeyId};
use serde::{Serialize, Serializer};
use std::net::SocketAddr;
use std::sync::Arc;

/// How many data keys one event names: a record has a longest length, and no response may exceed it.
pub const KEYS_MAX: usize = 500;

/// One audit event, tagged by `event`.
#[derive(Serialize, Debug)]
#[serde(tag = "event")]
#[non_exhaustive]
pub enum AuditEvent {
    /// A write is about to be sent to the upstream.
    ExchangeIntended(Arc<Exchange>),
    /// The response is about to be sent to the client; what it shows is in `fields`.
    ExchangeAnswered(Arc<Exchange>),
    /// The gate refused the exchange; `code` says why, `sent_upstream` whether the upstream had it already.
    ExchangeRefused(Arc<Exchange>),
    /// The client went away before there was an answer.
    ExchangeAbandoned(Arc<Exchange>),
    /// A streamed response came to its end, whole or not (`code`).
    BodyCompleted(Arc<Exchange>),
    /// TLS handshakes that failed since the last such event.
    HandshakesRefused {
        /// What went wrong, see [`super::handshakes::Reason`].
        reason: &'static str,
        /// The address they came from; `None`: from addresses too many to be told apart.
        source: Option<std::net::IpAddr>,
        /// How many, exactly.
        count: u64,
    },
    /// Requests of a client that were over its rate, since the last such event.
    RequestsLimited {
        /// The verified identity; `None`: of those that have none, or of clients too many to be told apart.
        principal: Option<String>,
        /// How many, exactly.
        count: u64,
    },
    /// The gate started and serves from now on.
    GateStarted {
        /// Its version.
        version: &'static str,
        /// SHA-256 of the config file, in hex.
        config: String,
        /// SHA-256 over the digests of all files that were read: of equal ones all is equal.
        files: String,
    },
    /// Another config, or other certificates, keys or lists that it names, are in force from now on.
    ConfigChanged {
        /// SHA-256 of the config file, in hex.
        config: String,
        /// SHA-256 over the digests of all files that were read: of equal ones all is equal.
        files: String,
        /// 2 for the first change since the start, and so on.
        generation: u64,
        /// The part of the config that is in force, where that is not all of it.
        #[serde(skip_serializing_if = "Option::is_none")]
        only: Option<&'static str>,
    },
    /// A changed config, or a file that it names, was not taken: what was in force before still is.
    ConfigRefused {
        /// SHA-256 of the config file, in hex.
        config: String,
        /// What is wrong, as the log says it: the first few.
        problems: Vec<String>,
    },
    /// The gate has drained and stops.
    GateStopped,
    /// Somebody had the gate drop every data key that it held.
    KeysPurged {
        /// The peer of the admin listener.
        from: SocketAddr,
    },
    /// A command is about to show values that it has opened; its journal is that of commands, not the gate's.
    ValuesOpened(Operation),
    /// A command is about to give out the tokens of values that it has sealed.
    ValuesSealed(Operation),
    /// A command was refused, or what it was given could not be opened or sealed; `code` says why.
    OperationRefused(Operation),
    /// A command is about to change keys, or to unwrap them to see that they open.
    KeyChangeIntended(KeyChange),
    /// What became of that; with a `code` where it went wrong. A long one is recorded in parts.
    KeysChanged(KeyChange),
    /// Records that the disk did not take, now that it takes records again.
    RecordsMissed {
        /// Records whose exchanges were refused for it.
        refused: u64,
        /// Records that nobody waited for and that there was no room left to keep.
        given_up: u64,
    },
    /// The journal's last segment ended in a torn record when it was opened. It had been acknowledged to nobody.
    JournalRecovered {
        /// How many bytes were set aside.
        torn_bytes: u64,
    },
}

/// The user that a bearer token proves.
#[derive(Clone, PartialEq, Eq, Serialize, Debug)]
pub struct User {
    /// `iss`.
    pub issuer: String,
    /// `sub`.
    pub subject: String,
}

/// One exchange as far as it has come.
#[derive(Clone, Serialize, Debug)]
pub struct Exchange {
    /// Shared by all records of the exchange.
    pub exchange: uuid::Uuid,
    /// The client's request id if it gave a usable one, else the exchange's.
    pub request_id: Arc<str>,
    /// The verified identity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub principal: Option<String>,
    /// The user behind it, where a bearer token was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<User>,
    /// Its roles.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<Arc<str>>,
    /// SHA-256 of the client's certificate, in hex.
    pub certificate: Arc<str>,
    /// The peer's address and port.
    pub from: SocketAddr,
    /// The request method, or `-` for one that is not of the usual ones.
    pub method: &'static str,
    /// The route's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<Arc<str>>,
    /// Whose data it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// The record that the exchange is about, where the route says which part of the path names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record: Option<String>,
    /// Which classes, in which view, how many values.
    pub fields: Vec<FieldCount>,
    /// How many FHIR resources of each type the response holds, where it is JSON and rules go by types.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<ResourceCount>,
    /// The data keys that were used, and the KEK calls that brought them: the first [`KEYS_MAX`] of them.
    pub keys: Vec<KeyUse>,
    /// How many more there were.
    #[serde(skip_serializing_if = "is_zero")]
    pub keys_omitted: u64,
    /// The status that the upstream answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream_status: Option<u16>,
    /// The status that the client gets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The error code, where something was refused or broke off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<&'static str>,
    /// What more there is to know of it: public parts of a token, what the key service said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// The request id of the KMS call that failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kms_request_id: Option<Arc<str>>,
    /// Whether the upstream was sent the request.
    pub sent_upstream: bool,
}

/// One command that opens or seals values, as far as it has come.
#[derive(Clone, Serialize, Debug)]
pub struct Operation {
    /// Shared by all records of one command.
    pub operation: uuid::Uuid,
    /// What was called.
    pub command: &'static str,
    /// The real user id of who called it.
    pub uid: u32,
    /// The identity, if the config knows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub principal: Option<String>,
    /// Its roles.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<Arc<str>>,
    /// What for, as the caller said.
    pub reason: String,
    /// Whose data it is; one event for each scope.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// Which classes, in which view, how many values.
    pub fields: Vec<FieldCount>,
    /// The data keys that were used, and the KEK calls that brought them: the first [`KEYS_MAX`] of them.
    pub keys: Vec<KeyUse>,
    /// How many more there were.
    #[serde(skip_serializing_if = "is_zero")]
    pub keys_omitted: u64,
    /// The error code, where it was refused or failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<&'static str>,
    /// What more there is to know of it: public parts of a token, what the key service said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// The request id of the KMS call that failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kms_request_id: Option<Arc<str>>,
}

impl Operation {
    /// Notes that a data key was used, and the call that brought it.
    pub fn key(&mut self, new: KeyUse) {
        if self.keys.contains(&new) {
            return;
        }
        if self.keys.len() < KEYS_MAX {
            self.keys.push(new);
        } else {
            self.keys_omitted += 1;
        }
    }

    /// Notes what was done with a value.
    pub fn field(&mut self, class: Class, action: FieldAction) {
        let same = |count: &&mut FieldCount| count.class == class && count.action == action;
        match self.fields.iter_mut().find(same) {
            Some(count) => count.count += 1,
            None => self.fields.push(FieldCount { class, action, count: 1 }),
        }
    }
}

/// One command that changes keys, as far as it has come.
#[derive(Clone, Serialize, Debug)]
pub struct KeyChange {
    /// Shared by all records of one command.
    pub operation: uuid::Uuid,
    /// What was called: `create`, `rotate`, `rewrap`, `revoke`, `restore`, `shred`, `import`, or `verify`,
    /// which unwraps them and changes nothing.
    pub change: &'static str,
    /// The real user id of who called it.
    pub uid: u32,
    /// Which key store or keyset file.
    pub store: String,
    /// Whose keys, if it is about those of one scope.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// What for, if it is about keys for one purpose.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub purpose: Option<&'static str>,
    /// How many keys.
    pub count: u64,
    /// Which keys: the first [`KEYS_MAX`] of them.
    #[serde(serialize_with = "display_all")]
    pub ids: Vec<KeyId>,
    /// The KEK calls that it took, those that failed among them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<KeyUse>,
    /// How many keys failed.
    #[serde(skip_serializing_if = "is_zero")]
    pub failed: u64,
    /// Why, of the last that did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
}

/// How many resources of a type there are; those contained in others are not counted.
#[derive(Clone, PartialEq, Eq, Serialize, Debug)]
pub struct ResourceCount {
    /// The type.
    #[serde(rename = "type")]
    pub kind: Box<str>,
    /// How many.
    pub count: u64,
}

/// How many values of a class were treated in one way.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Debug)]
pub struct FieldCount {
    /// The class.
    #[serde(serialize_with = "display")]
    pub class: Class,
    /// What was done.
    pub action: FieldAction,
    /// How many.
    pub count: u64,
}

/// What was done with a ruled value.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Debug)]
#[serde(rename_all = "snake_case")]
pub enum FieldAction {
    /// Request: replaced by a token.
    Sealed,
    /// Request: a token that was passed on as it was; response: a token that was left as it was.
    Left,
    /// Response: shown in the clear.
    Plain,
    /// Response: shown masked.
    Masked,
    /// Response: shown as redacted, or not at all.
    Redacted,
    /// Response: found in the clear at the upstream and shown in the clear.
    Unsealed,
    /// Response: could not be opened; marked as such, and the rest delivered.
    Unopenable,
}

impl FieldAction {
    /// What a view does with a token.
    #[must_use]
    pub const fn of_view(view: View) -> Self {
        match view {
            View::Plain => Self::Plain,
            View::Mask => Self::Masked,
            View::Redact | View::Remove | View::Deny => Self::Redacted,
            View::Sealed => Self::Left,
        }
    }

    /// Its name in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sealed => "sealed",
            Self::Left => "left",
            Self::Plain => "plain",
            Self::Masked => "masked",
            Self::Redacted => "redacted",
            Self::Unsealed => "unsealed",
            Self::Unopenable => "unopenable",
        }
    }
}

/// A data key and the call that brought it.
#[derive(Clone, PartialEq, Eq, Serialize, Debug)]
pub struct KeyUse {
    /// The data key.
    #[serde(serialize_with = "display")]
    pub id: KeyId,
    /// The KEK.
    pub kek: Arc<str>,
    /// The KMS request id, on which CloudTrail is joined.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kms_request_id: Option<Arc<str>>,
    /// Whether it was used beyond its time because KEK or key store gave no answer.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub stale: bool,
}

impl KeyUse {
    /// The use of a key that `call` brought.
    #[must_use]
    pub fn new(id: KeyId, call: &KmsCall, stale: bool) -> Self {
        Self { id, kek: Arc::clone(&call.kek), kms_request_id: call.request_id.clone(), stale }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
const fn is_zero(count: &u64) -> bool {
    *count == 0
}

fn display_all<S: Serializer>(ids: &[KeyId], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(ids.iter().map(ToString::to_string))
}

fn display<S: Serializer>(what: &impl std::fmt::Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(what)
}
