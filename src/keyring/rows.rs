//! Rows of the keyset and of the key store: found, judged, made.

use super::cached::Inner;
use super::failures::Failure;
use super::store::{KeyRow, KeyState};
use super::{Generated, KeyringError};
use crate::seal::envelope::EDKS_MAX;
use crate::seal::{Commitment, EncryptedDataKey, EncryptionContext, KeyId, Purpose};
use jiff::Timestamp;
use std::time::Duration;

/// Whether keys of that purpose are for life: another one would seal the same value to something else.
pub(super) const fn is_long_lived(purpose: Purpose) -> bool {
    matches!(purpose, Purpose::Lookup | Purpose::Format)
}

/// How old the key is by the clocks of the machines that made it and that ask.
pub(super) fn age(row: &KeyRow) -> Duration {
    let age = Timestamp::now().duration_since(row.created_at);
    // One that is made in the future by another clock is new.
    Duration::try_from(age).unwrap_or_default()
}

/// Whether the row is one that may open what was sealed in `context`.
pub(super) fn may_open(row: &KeyRow, context: EncryptionContext) -> Result<(), Failure> {
    match row.state {
        KeyState::Active | KeyState::DecryptOnly => is_of(row, context),
        KeyState::Revoked => Err(KeyringError::Revoked { id: row.id() }.into()),
        KeyState::Shredded => Err(KeyringError::Shredded { id: row.id() }.into()),
    }
}

/// Whether the row is one that may seal in `context`.
pub(super) fn may_seal(row: &KeyRow, context: EncryptionContext) -> Result<(), Failure> {
    if row.state != KeyState::Active {
        let why = format!("key {} was given as active, but it is {}", row.id(), row.state.as_str()).into();
        return Err(KeyringError::Store { why }.into());
    }
    is_of(row, context)
}

fn is_of(row: &KeyRow, context: EncryptionContext) -> Result<(), Failure> {
    if (row.scope, row.purpose) == (context.scope, context.purpose) {
        return Ok(());
    }
    let why = "its row is of another scope or purpose".into();
    Err(KeyringError::Rejected { why, request_id: None }.into())
}

/// Whether as many KEKs wrapped the key as an envelope has room for.
pub(super) fn are_wrapped(generated: &Generated) -> Result<(), Failure> {
    if (1..=EDKS_MAX).contains(&generated.edks.len()) {
        return Ok(());
    }
    let why = format!("a new key came with {} encrypted data keys", generated.edks.len()).into();
    Err(KeyringError::Rejected { why, request_id: None }.into())
}

/// The row of a key that was made a moment ago.
pub(super) fn new_row(commitment: Commitment, context: EncryptionContext, edks: Vec<EncryptedDataKey>) -> KeyRow {
    let EncryptionContext { scope, purpose } = context;
    let now = Timestamp::now();
    KeyRow { commitment, scope, purpose, state: KeyState::Active, edks, created_at: now, changed_at: now }
}

impl Inner {
    /// The row of a key, from the keyset if it is there, else from the store.
    pub(super) async fn row(&self, id: KeyId) -> Result<KeyRow, Failure> {
        for store in [&self.keyset, &self.store].into_iter().flatten() {
            match store.row(id).await? {
                Some(row) if row.id() == id => return Ok(row),
                Some(row) => {
                    let why = format!("key store {}: asked for key {id}, got {}", store.name(), row.id()).into();
                    return Err(KeyringError::Store { why }.into());
                }
                None => {}
            }
        }
        Err(KeyringError::UnknownKey { id }.into())
    }

    /// The row that seals now. Long-lived keys stand in the keyset, if there is one that has them.
    pub(super) async fn active_row(&self, context: EncryptionContext) -> Result<Option<KeyRow>, Failure> {
        let keyset = self.keyset.as_ref().filter(|_| is_long_lived(context.purpose));
        for store in [keyset, self.store.as_ref()].into_iter().flatten() {
            if let Some(row) = store.active(context.scope, context.purpose).await? {
                may_seal(&row, context)?;
                return Ok(Some(row));
            }
        }
        Ok(None)
    }
}
