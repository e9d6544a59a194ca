//! Rows as text: one JSON document, for files that the config names, for exports, and row by row for the other stores.
//!
//! ```json
//! {
//!   "format": "sealgate-keyset-1",
//!   "keys": [
//!     {
//!       "id": "32 lower-case hex digits: the first 16 bytes of the commitment",
//!       "commitment": "base64 of 32 bytes",
//!       "scope": "clinic-7",
//!       "purpose": "field, lookup, format or stream",
//!       "state": "active, decrypt-only, revoked or shredded",
//!       "created_at": "2026-01-02T03:04:05Z",
//!       "changed_at": "2026-01-02T03:04:05Z",
//!       "edks": [
//!         {
//!           "kek": "16 lower-case hex digits: the KEK tag",
//!           "blob": "base64 of 1 to 6144 bytes"
//!         }
//!       ]
//!     }
//!   ]
//! }
//! ```
//!
//! A value has one spelling: base64 is RFC 4648 section 4 with padding, a time is RFC 3339 in UTC with `Z` and no more
//! digits than it takes. A shredded key has no encrypted data key, every other one has 1 to 4. Nothing else may stand in it.

use super::{Imported, KeyRow, KeyState, KeyStore, StoreError};
use crate::seal::Purpose;
use crate::seal::envelope::{EDK_BYTES_MAX, EDKS_MAX};
use crate::seal::{Commitment, EncryptedDataKey, KekTag, KeyId, Scope};
use data_encoding::{BASE64, Encoding, HEXLOWER};
use futures_util::future::{BoxFuture, ready};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

/// What the first member of a keyset says.
pub const FORMAT: &str = "sealgate-keyset-1";
/// The longest keyset that is read, in bytes.
pub const KEYSET_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Why a text is no keyset. It holds nothing of the text: somebody may have named the wrong file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeysetError {
    /// It is above [`KEYSET_BYTES_MAX`].
    #[error("keyset: wanted at most {KEYSET_BYTES_MAX} bytes, got {got}")]
    TooLong {
        /// How many bytes there were.
        got: usize,
    },
    /// It is no JSON text.
    #[error("keyset: no JSON at line {line}, column {column}")]
    NotJson {
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
    },
    /// It is JSON of another shape.
    #[error("keyset: a member is unknown, missing, there twice or of another type before line {line}, column {column}")]
    Shape {
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
    },
    /// Another build may know it.
    #[error("keyset: format is not {FORMAT}")]
    UnknownFormat,
    /// A key has a value that it cannot have.
    #[error("keyset: key {number}: {why}")]
    Key {
        /// Which, from 1.
        number: usize,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A key stands in it twice.
    #[error("keyset: key {0} is there twice")]
    Twice(KeyId),
    /// Two keys are active where one may be.
    #[error("keyset: scope {scope} has two active keys for purpose {}", purpose.as_str())]
    TwoActive {
        /// Of both.
        scope: Scope,
        /// Of both.
        purpose: Purpose,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeysetText {
    format: String,
    keys: Vec<RowText>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RowText {
    id: String,
    commitment: String,
    scope: String,
    purpose: String,
    state: String,
    created_at: String,
    changed_at: String,
    edks: Vec<EdkText>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EdkText {
    kek: String,
    blob: String,
}

impl RowText {
    fn of(row: &KeyRow) -> Self {
        let edk =
            |edk: &EncryptedDataKey| EdkText { kek: edk.kek.to_string(), blob: BASE64.encode(edk.blob.as_slice()) };
        Self {
            id: row.id().to_string(),
            commitment: BASE64.encode(row.commitment.as_bytes()),
            scope: row.scope.to_string(),
            purpose: row.purpose.as_str().to_owned(),
            state: row.state.as_str().to_owned(),
            created_at: row.created_at.to_string(),
            changed_at: row.changed_at.to_string(),
            edks: row.edks.iter().map(edk).collect(),
        }
    }

    fn row(&self) -> Result<KeyRow, &'static str> {
        let commitment = bytes(&BASE64, &self.commitment).ok_or("commitment: wanted the base64 of 32 bytes")?;
        let row = KeyRow {
            commitment: Commitment::from_bytes(commitment),
            scope: Scope::parse(&self.scope).map_err(|_| "scope: wanted 1 to 16 characters of [A-Za-z0-9_-]")?,
            purpose: Purpose::parse(&self.purpose).ok_or("purpose: wanted field, lookup, format or stream")?,
            state: KeyState::parse(&self.state).ok_or("state: wanted active, decrypt-only, revoked or shredded")?,
            edks: self.edks.iter().map(EdkText::edk).collect::<Result<_, _>>()?,
            created_at: time(&self.created_at).ok_or("created_at: wanted a time such as 2026-01-02T03:04:05Z")?,
            changed_at: time(&self.changed_at).ok_or("changed_at: wanted a time such as 2026-01-02T03:04:05Z")?,
        };
        if bytes(&HEXLOWER, &self.id).map(KeyId::from_bytes) != Some(row.id()) {
            return Err("id: wanted the first 16 bytes of the commitment in lower-case hex");
        }
        check(&row).map(|()| row)
    }
}

impl EdkText {
    fn edk(&self) -> Result<EncryptedDataKey, &'static str> {
        let kek = bytes(&HEXLOWER, &self.kek).ok_or("kek: wanted 8 bytes in lower-case hex")?;
        let blob = BASE64.decode(self.blob.as_bytes()).map_err(|_| "blob: wanted base64")?;
        Ok(EncryptedDataKey { kek: KekTag::from_bytes(kek), blob })
    }
}

fn bytes<const N: usize>(encoding: &Encoding, text: &str) -> Option<[u8; N]> {
    encoding.decode(text.as_bytes()).ok()?.try_into().ok()
}

fn time(text: &str) -> Option<Timestamp> {
    text.parse().ok().filter(|time: &Timestamp| time.to_string() == text)
}

/// Whether a store may hold this row.
pub(super) fn check(row: &KeyRow) -> Result<(), &'static str> {
    let shredded = row.state == KeyState::Shredded;
    if shredded && !row.edks.is_empty() {
        return Err("edks: a shredded key has none");
    }
    if !shredded && (row.edks.is_empty() || row.edks.len() > EDKS_MAX) {
        return Err("edks: wanted 1 to 4");
    }
    if row.edks.iter().any(|edk| edk.blob.is_empty() || edk.blob.len() > EDK_BYTES_MAX) {
        return Err("blob: wanted 1 to 6144 bytes");
    }
    Ok(())
}

/// A row as one line: the object that [`write()`] puts among the keys.
pub(super) fn write_row(row: &KeyRow) -> String {
    serde_json::to_string(&RowText::of(row)).expect("texts and lists of them are JSON")
}

/// Reads what [`write_row`] wrote.
pub(super) fn read_row(text: &str) -> Result<KeyRow, &'static str> {
    serde_json::from_str::<RowText>(text).map_err(|_| "not the JSON object of a key")?.row()
}

/// Rows as a keyset, ordered by their ids. Nothing in it is secret.
#[must_use]
pub fn write(rows: &[KeyRow]) -> String {
    let mut keys: Vec<RowText> = rows.iter().map(RowText::of).collect();
    keys.sort_by(|one, other| one.id.cmp(&other.id));
    let keyset = KeysetText { format: FORMAT.to_owned(), keys };
    serde_json::to_string_pretty(&keyset).expect("texts and lists of them are JSON") + "\n"
}

/// The rows of a keyset, ordered by their ids.
///
/// # Errors
/// [`KeysetError`] unless it is what [`write()`] could have written, but for white space and order.
pub fn read(text: &str) -> Result<Vec<KeyRow>, KeysetError> {
    if text.len() > KEYSET_BYTES_MAX {
        return Err(KeysetError::TooLong { got: text.len() });
    }
    let keyset: KeysetText = serde_json::from_str(text).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        match error.classify() {
            serde_json::error::Category::Data => KeysetError::Shape { line, column },
            _ => KeysetError::NotJson { line, column },
        }
    })?;
    if keyset.format != FORMAT {
        return Err(KeysetError::UnknownFormat);
    }
    let numbered = (1..).zip(&keyset.keys);
    let rows = numbered.map(|(number, key)| key.row().map_err(|why| KeysetError::Key { number, why }));
    Ok(arrange(rows.collect::<Result<Vec<_>, _>>()?)?.into_values().collect())
}

/// Rows by their ids, if they can stand in one store.
fn arrange(rows: Vec<KeyRow>) -> Result<BTreeMap<KeyId, KeyRow>, KeysetError> {
    let mut active = BTreeSet::new();
    let mut arranged = BTreeMap::new();
    for row in rows {
        let (id, scope, purpose) = (row.id(), row.scope, row.purpose);
        if row.state == KeyState::Active && !active.insert((scope, purpose)) {
            return Err(KeysetError::TwoActive { scope, purpose });
        }
        if arranged.insert(id, row).is_some() {
            return Err(KeysetError::Twice(id));
        }
    }
    Ok(arranged)
}

/// A keyset as a store that is read-only.
pub struct Keyset {
    name: Arc<str>,
    rows: BTreeMap<KeyId, KeyRow>,
}

impl Keyset {
    /// The store of the rows in `text`; errors name it `name`.
    ///
    /// # Errors
    /// As [`read`].
    pub fn read(name: &str, text: &str) -> Result<Self, KeysetError> {
        Ok(Self { name: name.into(), rows: arrange(read(text)?)? })
    }

    fn read_only<T: Send + 'static>(&self) -> BoxFuture<'_, Result<T, StoreError>> {
        Box::pin(ready(Err(StoreError::ReadOnly { store: Arc::clone(&self.name) })))
    }
}

impl KeyStore for Keyset {
    fn name(&self) -> &str {
        &self.name
    }

    fn active(&self, scope: Scope, purpose: Purpose) -> BoxFuture<'_, Result<Option<KeyRow>, StoreError>> {
        let wanted = (KeyState::Active, scope, purpose);
        let row = self.rows.values().find(|row| (row.state, row.scope, row.purpose) == wanted);
        Box::pin(ready(Ok(row.cloned())))
    }

    fn row(&self, id: KeyId) -> BoxFuture<'_, Result<Option<KeyRow>, StoreError>> {
        Box::pin(ready(Ok(self.rows.get(&id).cloned())))
    }

    fn activate(&self, _: KeyRow, _: Option<KeyId>) -> BoxFuture<'_, Result<KeyRow, StoreError>> {
        self.read_only()
    }

    fn replace(&self, _: KeyRow, _: KeyRow) -> BoxFuture<'_, Result<bool, StoreError>> {
        self.read_only()
    }

    fn import(&self, _: KeyRow) -> BoxFuture<'_, Result<Imported, StoreError>> {
        self.read_only()
    }

    fn list(&self, after: Option<KeyId>, count: usize) -> BoxFuture<'_, Result<Vec<KeyRow>, StoreError>> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let rows = self.rows.range((from, Bound::Unbounded)).take(count);
        Box::pin(ready(Ok(rows.map(|(_, row)| row.clone()).collect())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// A key whose commitment begins with `first`.
    fn row(first: u8, state: KeyState) -> KeyRow {
        let mut commitment = [7; 32];
        commitment[0] = first;
        let edk = |kek, bytes| EncryptedDataKey { kek: KekTag::from_bytes([kek; 8]), blob: vec![first; bytes] };
        KeyRow {
            commitment: Commitment::from_bytes(commitment),
            scope: Scope::parse("clinic").unwrap(),
            purpose: Purpose::Field,
            state,
            edks: if state == KeyState::Shredded { vec![] } else { vec![edk(1, 184), edk(2, EDK_BYTES_MAX)] },
            created_at: "2026-01-02T03:04:05Z".parse().unwrap(),
            changed_at: "2026-01-02T03:04:05.000000001Z".parse().unwrap(),
        }
    }

    #[test]
    fn what_is_written_is_read_in_the_order_of_ids() {
        let rows = [row(3, KeyState::Revoked), row(1, KeyState::Active), row(2, KeyState::Shredded)];
        let text = write(&rows);
        let back = read(&text).unwrap();
        assert_eq!(back, [rows[1].clone(), rows[2].clone(), rows[0].clone()]);
        assert_eq!(write(&back), text, "one text for one set of rows");
        assert_eq!(read(&write(&[])), Ok(vec![]));
        for row in rows {
            assert_eq!(read_row(&write_row(&row)), Ok(row));
        }
    }

    /// The documented shape, byte for byte: commitment and ids were encoded with coreutils' base64 and od.
    #[test]
    fn the_text_is_the_documented_one() {
        let mut row = row(1, KeyState::DecryptOnly);
        row.edks = vec![EncryptedDataKey { kek: KekTag::from_bytes([0xab; 8]), blob: b"blob".to_vec() }];
        let expect = r#"{
  "format": "sealgate-keyset-1",
  "keys": [
    {
      "id": "01070707070707070707070707070707",
      "commitment": "AQcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=",
      "scope": "clinic",
      "purpose": "field",
      "state": "decrypt-only",
      "created_at": "2026-01-02T03:04:05Z",
      "changed_at": "2026-01-02T03:04:05.000000001Z",
      "edks": [
        {
          "kek": "abababababababab",
          "blob": "YmxvYg=="
        }
      ]
    }
  ]
}
"#;
        assert_eq!(write(&[row]), expect);
    }

    #[test]
    fn a_changed_keyset_is_refused() {
        let good: Value = serde_json::from_str(&write(&[row(1, KeyState::Active)])).unwrap();
        let check = |path: &str, value: Value, expect: &str| {
            let mut changed = good.clone();
            let (parent, member) = path.rsplit_once('/').unwrap();
            match (changed.pointer_mut(parent).unwrap(), member.parse::<usize>()) {
                (Value::Array(list), Ok(place)) => list[place] = value,
                (object, _) => object[member] = value,
            }
            let error = read(&changed.to_string()).unwrap_err().to_string();
            assert!(error.contains(expect), "{path}: {error}");
        };
        for (path, value, expect) in [
            ("/format", json!("sealgate-keyset-2"), "format is not sealgate-keyset-1"),
            ("/format", json!(1), "of another type"),
            ("/comment", json!("mine"), "unknown"),
            ("/keys", json!(null), "of another type"),
            ("/keys/0/note", json!("mine"), "unknown"),
            ("/keys/0/id", json!("02070707070707070707070707070707"), "key 1: id: wanted the first 16 bytes"),
            ("/keys/0/id", json!("0107070707070707070707070707070A"), "id: wanted"),
            ("/keys/0/id", json!(""), "id: wanted"),
            ("/keys/0/commitment", json!("AQcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc"), "commitment: wanted"),
            ("/keys/0/commitment", json!("AQcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwd="), "commitment: wanted"),
            ("/keys/0/commitment", json!("AQcHBw=="), "commitment: wanted"),
            ("/keys/0/scope", json!("seventeen_letters"), "scope: wanted"),
            ("/keys/0/scope", json!("a b"), "scope: wanted"),
            ("/keys/0/purpose", json!("Field"), "purpose: wanted"),
            ("/keys/0/state", json!("gone"), "state: wanted"),
            ("/keys/0/state", json!("shredded"), "edks: a shredded key has none"),
            ("/keys/0/created_at", json!("2026-01-02T03:04:05+00:00"), "created_at: wanted"),
            ("/keys/0/created_at", json!("2026-01-02 03:04:05Z"), "created_at: wanted"),
            ("/keys/0/changed_at", json!("2026-01-02T03:04:05.0Z"), "changed_at: wanted"),
            ("/keys/0/changed_at", json!("yesterday"), "changed_at: wanted"),
            ("/keys/0/changed_at", json!(1_767_323_045), "of another type"),
            ("/keys/0/edks", json!([]), "edks: wanted 1 to 4"),
            ("/keys/0/edks", json!(vec![good["keys"][0]["edks"][0].clone(); 5]), "edks: wanted 1 to 4"),
            ("/keys/0/edks/0", json!("AQ=="), "of another type"),
            ("/keys/0/edks/0/kek", json!("0101"), "kek: wanted"),
            ("/keys/0/edks/0/kek", json!("ABABABABABABABAB"), "kek: wanted"),
            ("/keys/0/edks/0/blob", json!(""), "blob: wanted 1 to 6144 bytes"),
            ("/keys/0/edks/0/blob", json!("A Q=="), "blob: wanted base64"),
            ("/keys/0/edks/0/blob", json!(BASE64.encode(&[1; EDK_BYTES_MAX + 1])), "blob: wanted 1 to 6144 bytes"),
            ("/keys/0/edks/0/more", json!(1), "unknown"),
        ] {
            check(path, value, expect);
        }
    }

    #[test]
    fn what_is_no_keyset_is_told_by_its_place_and_not_by_its_text() {
        for (text, expect) in [
            ("", "no JSON at line 1, column 0"),
            ("{", "no JSON at line 1, column 1"),
            ("c2VjcmV0IHRoYXQgbXVzdCBub3QgYmUgc2hvd24=", "no JSON at line 1, column 1"),
            ("{}", "before line 1, column 2"),
            ("[]", "before line 1"),
            (r#"{"format":"sealgate-keyset-1","format":"sealgate-keyset-1","keys":[]}"#, "there twice"),
            (r#"{"format":"sealgate-keyset-1","keys":[]} x"#, "no JSON at line 1, column 42"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(expect), "{text}: {error}");
        }
        let error = read(r#"{"s3cret":1}"#).unwrap_err();
        assert!(!format!("{error}{error:?}").contains("s3cret"), "{error}");
    }

    #[test]
    fn a_key_stands_once_and_a_scope_has_one_active_key_for_a_purpose() {
        let twice = write(&[row(1, KeyState::DecryptOnly), row(1, KeyState::Revoked)]);
        assert_eq!(read(&twice), Err(KeysetError::Twice(row(1, KeyState::Revoked).id())));
        let (scope, purpose) = (Scope::parse("clinic").unwrap(), Purpose::Field);
        let two = write(&[row(1, KeyState::Active), row(2, KeyState::Active)]);
        assert_eq!(read(&two), Err(KeysetError::TwoActive { scope, purpose }));
        let other_purpose = KeyRow { purpose: Purpose::Lookup, ..row(2, KeyState::Active) };
        let other_scope = KeyRow { scope: Scope::parse("other").unwrap(), ..row(3, KeyState::Active) };
        assert_eq!(read(&write(&[row(1, KeyState::Active), other_purpose, other_scope])).map(|rows| rows.len()), Ok(3));
    }
}
