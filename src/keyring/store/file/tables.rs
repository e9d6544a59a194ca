//! The two tables of the file, and what is done to them.

use super::super::rules::{self, Activation};
use super::super::{Imported, KeyRow, KeyState, keyset};
use super::Failed;
use crate::seal::Purpose;
use crate::seal::{KeyId, Scope};
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction};
use std::ops::Bound;
use std::sync::Arc;

/// Rows by key id, each as the JSON object of [`keyset`](super::super::keyset).
pub(super) const KEYS: TableDefinition<'_, &[u8; 16], &str> = TableDefinition::new("sealgate-keys-1");
/// Ids of the active keys by scope and purpose.
pub(super) const ACTIVE: TableDefinition<'_, (&str, &str), &[u8; 16]> = TableDefinition::new("sealgate-active-1");

/// Makes the tables.
pub(super) fn make(transaction: &WriteTransaction) -> Result<(), Failed> {
    transaction.open_table(KEYS)?;
    transaction.open_table(ACTIVE)?;
    Ok(())
}

pub(super) fn row_in(
    keys: &impl ReadableTable<&'static [u8; 16], &'static str>,
    id: KeyId,
) -> Result<Option<KeyRow>, Failed> {
    let Some(text) = keys.get(id.as_bytes())? else { return Ok(None) };
    rules::row_of(id, text.value()).map(Some).map_err(Failed::Content)
}

pub(super) fn active_in(
    keys: &impl ReadableTable<&'static [u8; 16], &'static str>,
    active: &impl ReadableTable<(&'static str, &'static str), &'static [u8; 16]>,
    (scope, purpose): (Scope, Purpose),
) -> Result<Option<KeyRow>, Failed> {
    let Some(id) = active.get((scope.as_str(), purpose.as_str()))? else { return Ok(None) };
    let id = KeyId::from_bytes(*id.value());
    let row = row_in(keys, id)?.ok_or_else(|| Failed::Content(format!("row {id} is active and not there")))?;
    rules::active_row(row, scope, purpose).map(Some).map_err(Failed::Content)
}

pub(super) fn put(transaction: &WriteTransaction, row: &KeyRow) -> Result<(), Failed> {
    let (id, text) = (row.id(), keyset::write_row(row));
    transaction.open_table(KEYS)?.insert(id.as_bytes(), text.as_str())?;
    let mut active = transaction.open_table(ACTIVE)?;
    let place = (row.scope.as_str(), row.purpose.as_str());
    if row.state == KeyState::Active {
        active.insert(place, id.as_bytes())?;
    } else if active.get(place)?.is_some_and(|active| active.value() == id.as_bytes()) {
        active.remove(place)?;
    }
    Ok(())
}

pub(super) fn activate(
    store: &Arc<str>,
    database: &Database,
    row: KeyRow,
    instead_of: Option<KeyId>,
) -> Result<KeyRow, Failed> {
    let transaction = database.begin_write()?;
    let (active, there) = {
        let (keys, active) = (transaction.open_table(KEYS)?, transaction.open_table(ACTIVE)?);
        (active_in(&keys, &active, (row.scope, row.purpose))?, row_in(&keys, row.id())?)
    };
    match rules::activation(store, &row, instead_of, active).map_err(Failed::Store)? {
        Activation::Stands(active) => return Ok(active),
        Activation::Adds(_) if there.is_some() => {
            return Err(Failed::Store(rules::there_already(store, row.id())));
        }
        Activation::Adds(None) => {}
        Activation::Adds(Some(demoted)) => put(&transaction, &demoted)?,
    }
    put(&transaction, &row)?;
    transaction.commit()?;
    Ok(row)
}

pub(super) fn import(database: &Database, row: &KeyRow) -> Result<Imported, Failed> {
    let transaction = database.begin_write()?;
    let (there, active) = {
        let (keys, active) = (transaction.open_table(KEYS)?, transaction.open_table(ACTIVE)?);
        (row_in(&keys, row.id())?, active_in(&keys, &active, (row.scope, row.purpose))?)
    };
    if let Some(there) = there {
        return Ok(rules::imported_over(&there, row));
    }
    let imported = if row.state == KeyState::Active && active.is_some() {
        put(&transaction, &rules::decrypt_only(row))?;
        Imported::AddedDecryptOnly
    } else {
        put(&transaction, row)?;
        Imported::Added
    };
    transaction.commit()?;
    Ok(imported)
}

/// The rows after that of `after`.
pub(super) fn list(database: &Database, after: Option<KeyId>, count: usize) -> Result<Vec<KeyRow>, Failed> {
    let keys = database.begin_read()?.open_table(KEYS)?;
    let from = after.as_ref().map_or(Bound::Unbounded, |id| Bound::Excluded(id.as_bytes()));
    let mut rows = Vec::new();
    for entry in keys.range::<&[u8; 16]>((from, Bound::Unbounded))?.take(count) {
        let (id, text) = entry?;
        let id = KeyId::from_bytes(*id.value());
        rows.push(rules::row_of(id, text.value()).map_err(Failed::Content)?);
    }
    Ok(rows)
}

/// Copies all rows, with `row` in the place of that of its key, which is active no more.
pub(super) fn copy_but(
    keys: &impl ReadableTable<&'static [u8; 16], &'static str>,
    active: &impl ReadableTable<(&'static str, &'static str), &'static [u8; 16]>,
    row: &KeyRow,
    to: &WriteTransaction,
) -> Result<(), Failed> {
    let id = row.id();
    let (mut new_keys, mut new_active) = (to.open_table(KEYS)?, to.open_table(ACTIVE)?);
    for entry in keys.iter()? {
        let (key, text) = entry?;
        if key.value() != id.as_bytes() {
            new_keys.insert(key.value(), text.value())?;
        }
    }
    new_keys.insert(id.as_bytes(), keyset::write_row(row).as_str())?;
    for entry in active.iter()? {
        let (place, key) = entry?;
        if key.value() != id.as_bytes() {
            new_active.insert(place.value(), key.value())?;
        }
    }
    Ok(())
}
