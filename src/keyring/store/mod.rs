//! Key stores: encrypted data keys that stand in no token, kept where a whole fleet finds them.
//!
//! A row holds public bytes only. It is durable before the first token that names it leaves the process. Losing the store
//! loses the data: back it up with the database that it serves.
//!
//! [`keyset`] is the text form of rows; every store keeps a row as the JSON object that it has there.

#[cfg(feature = "dynamodb")]
pub mod dynamodb;
pub mod file;
pub mod keyset;
pub mod keyset_file;
pub mod postgres;
mod rules;

use crate::seal::Purpose;
use crate::seal::{Commitment, EncryptedDataKey, KeyId, Scope};
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use std::sync::Arc;

/// A data key as a store keeps it.
#[derive(Clone, Debug)]
pub struct KeyRow {
    /// Commits to the data key; its first 16 bytes are the key id.
    pub commitment: Commitment,
    /// Whose data it seals.
    pub scope: Scope,
    /// What it is for.
    pub purpose: Purpose,
    /// What it may be used for now.
    pub state: KeyState,
    /// The key, wrapped; none once it is shredded.
    pub edks: Vec<EncryptedDataKey>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When the row last changed.
    pub changed_at: Timestamp,
}

impl KeyRow {
    /// What names the key.
    #[must_use]
    pub fn id(&self) -> KeyId {
        self.commitment.key_id()
    }
}

impl PartialEq for KeyRow {
    fn eq(&self, other: &Self) -> bool {
        self.commitment.matches(&other.commitment)
            && (self.scope, self.purpose, self.state) == (other.scope, other.purpose, other.state)
            && self.edks == other.edks
            && (self.created_at, self.changed_at) == (other.created_at, other.changed_at)
    }
}

impl Eq for KeyRow {}

/// What a stored data key may be used for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum KeyState {
    /// Seals and opens; one for each scope and purpose.
    Active,
    /// Opens what it sealed.
    DecryptOnly,
    /// Is used for nothing until somebody makes it decrypt-only again.
    Revoked,
    /// Is gone: its encrypted forms were deleted.
    Shredded,
}

impl KeyState {
    /// All of them.
    pub const ALL: &[Self] = &[Self::Active, Self::DecryptOnly, Self::Revoked, Self::Shredded];

    /// As rows and exports have it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::DecryptOnly => "decrypt-only",
            Self::Revoked => "revoked",
            Self::Shredded => "shredded",
        }
    }

    /// The state of that name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|state| state.as_str() == text)
    }
}

/// How many rows are read at a time where all are looked through.
const PAGE: usize = 256;

/// Where rows are. Every write is one conditional write, durable when it returns.
pub trait KeyStore: Send + Sync {
    /// What logs and errors call it.
    fn name(&self) -> &str;

    /// The active key of a scope and purpose.
    fn active(&self, scope: Scope, purpose: Purpose) -> BoxFuture<'_, Result<Option<KeyRow>, StoreError>>;

    /// The row of a key.
    fn row(&self, id: KeyId) -> BoxFuture<'_, Result<Option<KeyRow>, StoreError>>;

    /// Makes `row` the active key of its scope and purpose if the active one still is `instead_of`, which becomes
    /// decrypt-only in the same write. Returns the row that is active now: `row`, or the one that another process made.
    fn activate(&self, row: KeyRow, instead_of: Option<KeyId>) -> BoxFuture<'_, Result<KeyRow, StoreError>>;

    /// Puts `row` in the place of the row that was read as `seen`; `false` if that has changed since. Both have the same
    /// key, scope and purpose. Not for making a row active.
    fn replace(&self, seen: KeyRow, row: KeyRow) -> BoxFuture<'_, Result<bool, StoreError>>;

    /// Adds a row as it was exported.
    fn import(&self, row: KeyRow) -> BoxFuture<'_, Result<Imported, StoreError>>;

    /// The rows after that of `after`, in the order of their ids, at most `count`.
    fn list(&self, after: Option<KeyId>, count: usize) -> BoxFuture<'_, Result<Vec<KeyRow>, StoreError>>;

    /// All rows of a scope and purpose, in the order of their ids.
    fn of(&self, scope: Scope, purpose: Purpose) -> BoxFuture<'_, Result<Vec<KeyRow>, StoreError>> {
        Box::pin(async move {
            let (mut found, mut after) = (Vec::new(), None);
            loop {
                let page = self.list(after, PAGE).await?;
                after = page.last().map(KeyRow::id);
                let is_last = page.len() < PAGE;
                found.extend(page.into_iter().filter(|row| (row.scope, row.purpose) == (scope, purpose)));
                if is_last {
                    return Ok(found);
                }
            }
        })
    }
}

/// What became of an imported row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Imported {
    /// It was not there.
    Added,
    /// It was not there; it was active, but another key of its scope and purpose is, so it is decrypt-only now.
    AddedDecryptOnly,
    /// It was there, the same.
    Present,
    /// A row of the same key was there with another content, which stays.
    Different,
}

/// Why a store did not do it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// No answer, or none in time: it may work later.
    #[error("key store {store} is unavailable: {why}")]
    Unavailable {
        /// Which.
        store: Arc<str>,
        /// What happened, without values.
        why: Arc<str>,
    },
    /// What is in it is no row of ours.
    #[error("key store {store}: {why}")]
    Broken {
        /// Which.
        store: Arc<str>,
        /// What is wrong.
        why: Arc<str>,
    },
    /// It cannot be written, such as a keyset file.
    #[error("key store {store} is read-only")]
    ReadOnly {
        /// Which.
        store: Arc<str>,
    },
    /// There is none where it should be.
    #[error("key store {store} is not there; if it is to be a new one, make it with `sealgate keys init`")]
    Missing {
        /// Which.
        store: Arc<str>,
    },
    /// Another process has it open.
    #[error("key store {store} is in use by another process")]
    Locked {
        /// Which.
        store: Arc<str>,
    },
}
