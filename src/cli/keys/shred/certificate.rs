//! What is kept of keys that were destroyed: a file that names them, for whoever has to show that they are gone.

use super::super::super::session::Failure;
use super::super::custody::Custody;
use crate::keyring::store::{KeyRow, keyset};
use crate::seal::crypto::sha256;
use crate::seal::{KeyId, Purpose, Scope};
use data_encoding::HEXLOWER;
use jiff::{Timestamp, tz::TimeZone};
use serde_json::{Value, json};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// What the first member of a certificate says.
const FORMAT: &str = "sealgate-shred-certificate-1";

/// A key that is gone.
pub(super) struct Destroyed {
    pub(super) id: KeyId,
    purpose: Purpose,
    created_at: Timestamp,
    shredded_at: Timestamp,
    /// Of the keyset of its row alone, as it was exported; none if an earlier command destroyed it.
    row_sha256: Option<String>,
}

impl Destroyed {
    /// By this command.
    pub(super) fn now(row: &KeyRow, tombstone: &KeyRow) -> Self {
        let digest = sha256(&[keyset::write(std::slice::from_ref(row)).as_bytes()]);
        Self { row_sha256: Some(HEXLOWER.encode(&digest)), ..Self::before(tombstone) }
    }

    /// By an earlier one, as its tombstone tells.
    pub(super) fn before(tombstone: &KeyRow) -> Self {
        Self {
            id: tombstone.id(),
            purpose: tombstone.purpose,
            created_at: tombstone.created_at,
            shredded_at: tombstone.changed_at,
            row_sha256: None,
        }
    }

    fn as_json(&self) -> Value {
        json!({
            "id": self.id.to_string(),
            "purpose": self.purpose.as_str(),
            "created_at": self.created_at.to_string(),
            "shredded_at": self.shredded_at.to_string(),
            "row_sha256": self.row_sha256,
        })
    }
}

/// What a certificate says.
pub(super) struct Certificate<'a> {
    pub(super) scope: Scope,
    pub(super) custody: &'a Custody,
    pub(super) destroyed: &'a [Destroyed],
    /// Whether no key of the scope is left.
    pub(super) complete: bool,
    /// Why the gate on this machine did not drop its keys; none if it did.
    pub(super) purged: Option<&'a str>,
    pub(super) at: Timestamp,
}

impl Certificate<'_> {
    fn as_json(&self) -> Value {
        let bound = jiff::SignedDuration::try_from(self.custody.revocation_bound).unwrap_or(jiff::SignedDuration::MAX);
        let until = self.at.checked_add(bound).unwrap_or(Timestamp::MAX);
        json!({
            "format": FORMAT,
            "scope": self.scope.as_str(),
            "store": self.custody.place.name(),
            "at": self.at.to_string(),
            "by_uid": self.custody.session.uid,
            "operation": self.custody.session.operation.to_string(),
            "complete": self.complete,
            "keys": self.destroyed.iter().map(Destroyed::as_json).collect::<Vec<_>>(),
            "in_memory_until": until.to_string(),
            "gate_purged": self.purged.is_none(),
            "gate_not_purged_because": self.purged,
            "not_covered": "exports and backups of the key store made before; values that were opened before; what was sealed inline: on routes that are gone from the config, by `sealgate seal`, by the library, and every stream",
        })
    }
}

/// A certificate's file, made before anything is destroyed: that it cannot be written shows in time.
pub(super) struct Draft {
    path: PathBuf,
    file: File,
}

impl Draft {
    pub(super) fn create(path: Option<PathBuf>, scope: Scope) -> Result<Self, Failure> {
        let path = path.unwrap_or_else(|| {
            let now = Timestamp::now().to_zoned(TimeZone::UTC).strftime("%Y%m%dT%H%M%SZ").to_string();
            format!("shred-{scope}-{now}.json").into()
        });
        let file = OpenOptions::new().write(true).create_new(true).mode(0o644).open(&path);
        match file {
            Ok(file) => Ok(Self { path, file }),
            Err(error) => Err(Failure::new(format!("certificate {}: {error}; nothing was changed", path.display()))),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes it, and returns once it is on disk.
    pub(super) fn write(mut self, certificate: &Certificate<'_>) -> Result<(), Failure> {
        let text = format!("{:#}\n", certificate.as_json());
        let mut write = || -> io::Result<()> {
            self.file.write_all(text.as_bytes())?;
            self.file.sync_all()?;
            let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
            File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
        };
        write().map_err(|error| Failure::new(format!("certificate {}: {error}", self.path.display())))
    }
}
