//! What every store refuses and decides in the same way, whatever it is made of.

use super::keyset::{check, read_row};
use super::{Imported, KeyRow, KeyState, StoreError};
use crate::seal::Purpose;
use crate::seal::{KeyId, Scope};
use std::sync::Arc;

impl StoreError {
    pub(super) fn unavailable(store: &Arc<str>, why: impl Into<Arc<str>>) -> Self {
        Self::Unavailable { store: Arc::clone(store), why: why.into() }
    }

    pub(super) fn broken(store: &Arc<str>, why: impl Into<Arc<str>>) -> Self {
        Self::Broken { store: Arc::clone(store), why: why.into() }
    }
}

/// A row that was asked for by its id, out of its text.
pub(super) fn row_of(id: KeyId, text: &str) -> Result<KeyRow, String> {
    let row = read_row(text).map_err(|why| format!("row {id}: {why}"))?;
    if row.id() == id { Ok(row) } else { Err(format!("row {id}: it is that of another key")) }
}

/// A row that was found as the active one, if it is.
pub(super) fn active_row(row: KeyRow, scope: Scope, purpose: Purpose) -> Result<KeyRow, String> {
    if (row.state, row.scope, row.purpose) == (KeyState::Active, scope, purpose) {
        return Ok(row);
    }
    Err(format!("row {}: it stands as the active key of scope {scope}, which it is not", row.id()))
}

/// What there is to do for [`KeyStore::activate`](super::KeyStore::activate).
#[derive(Debug)]
pub(super) enum Activation {
    /// Nothing: this one is active.
    Stands(KeyRow),
    /// The row is added, and the one that was active is put as it is here.
    Adds(Option<KeyRow>),
}

/// Judges a row that is to be activated before anything is asked.
pub(super) fn may_activate(store: &Arc<str>, row: &KeyRow) -> Result<(), StoreError> {
    let refused = |why| StoreError::broken(store, format!("key {} is refused: {why}", row.id()));
    check(row).map_err(refused)?;
    if row.state == KeyState::Active { Ok(()) } else { Err(refused("state: wanted active")) }
}

/// Decides by the active row of the same scope and purpose.
pub(super) fn activation(
    store: &Arc<str>,
    row: &KeyRow,
    instead_of: Option<KeyId>,
    active: Option<KeyRow>,
) -> Result<Activation, StoreError> {
    let Some(seen) = active else {
        // Somebody revoked it: whether there is to be another is for the caller to ask again.
        let gone = || StoreError::unavailable(store, "the active key was taken away meanwhile");
        return if instead_of.is_none() { Ok(Activation::Adds(None)) } else { Err(gone()) };
    };
    if seen.id() == row.id() || Some(seen.id()) != instead_of {
        return Ok(Activation::Stands(seen));
    }
    // Another machine's clock may be behind.
    let changed_at = seen.changed_at.max(row.changed_at);
    Ok(Activation::Adds(Some(KeyRow { state: KeyState::DecryptOnly, changed_at, ..seen })))
}

/// A key that is there already, in another state than active, is not activated again.
pub(super) fn there_already(store: &Arc<str>, id: KeyId) -> StoreError {
    StoreError::broken(store, format!("key {id} is refused: it is there already and not active"))
}

/// Judges a replacement before anything is asked.
pub(super) fn may_replace(store: &Arc<str>, seen: &KeyRow, row: &KeyRow) -> Result<(), StoreError> {
    let refused = |why| StoreError::broken(store, format!("key {} is refused: {why}", row.id()));
    check(row).map_err(refused)?;
    let same = seen.commitment.matches(&row.commitment) && (seen.scope, seen.purpose) == (row.scope, row.purpose);
    if !same {
        return Err(refused("it is not the key that it replaces"));
    }
    if row.state == KeyState::Active && seen.state != KeyState::Active {
        return Err(refused("state: a key is not made active by replacing its row"));
    }
    if seen.state == KeyState::Shredded && row != seen {
        return Err(refused("state: a shredded key stays so"));
    }
    Ok(())
}

/// Judges an imported row before anything is asked.
pub(super) fn may_import(store: &Arc<str>, row: &KeyRow) -> Result<(), StoreError> {
    check(row).map_err(|why| StoreError::broken(store, format!("key {} is refused: {why}", row.id())))
}

/// What an import comes to where a row of the same key is there.
pub(super) fn imported_over(there: &KeyRow, row: &KeyRow) -> Imported {
    if there == row { Imported::Present } else { Imported::Different }
}

/// The row as it is added where another key is active.
pub(super) fn decrypt_only(row: &KeyRow) -> KeyRow {
    KeyRow { state: KeyState::DecryptOnly, ..row.clone() }
}
