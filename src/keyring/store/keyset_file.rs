//! A keyset file that commands write. Whoever serves reads it as a [`Keyset`](super::keyset::Keyset), and writes nothing.

use super::keyset::{self, KEYSET_BYTES_MAX};
use super::rules::{self, Activation};
use super::{Imported, KeyRow, KeyState, KeyStore, StoreError};
use crate::seal::Purpose;
use crate::seal::{KeyId, Scope};
use futures_util::future::BoxFuture;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A keyset file as a store that is written: each write is a new file in the place of the old one, synced before it is
/// renamed. Writers of one folder wait for each other. Calls block; this is for commands, not for a gate.
pub struct KeysetFile {
    name: Arc<str>,
    path: PathBuf,
}

impl KeysetFile {
    /// The keyset in that file, which need not be there; a link to it stays one.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if its folder is not there or the file cannot be read, [`StoreError::Broken`] if it is
    /// no keyset.
    pub fn new(path: &Path) -> Result<Self, StoreError> {
        let name: Arc<str> = path.to_string_lossy().into();
        let path = super::file::resolve(path).map_err(|error| StoreError::unavailable(&name, error.to_string()))?;
        let file = Self { name, path };
        file.rows().map(|_| file)
    }

    /// Writes an empty keyset where there is no file yet; whether it did.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if it cannot be written.
    pub fn init(&self) -> Result<bool, StoreError> {
        let _lock = self.lock()?;
        let absent = !fs::exists(&self.path).map_err(|error| self.unavailable(&error))?;
        if absent {
            self.write(&[])?;
        }
        Ok(absent)
    }

    fn unavailable(&self, error: &io::Error) -> StoreError {
        StoreError::unavailable(&self.name, error.to_string())
    }

    fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("/"))
    }

    /// One writer at a time; a lock file of its own would be left lying beside what is under version control.
    fn lock(&self) -> Result<File, StoreError> {
        let folder = File::open(self.folder()).and_then(|folder| folder.lock().map(|()| folder));
        folder.map_err(|error| self.unavailable(&error))
    }

    fn rows(&self) -> Result<Vec<KeyRow>, StoreError> {
        let mut text = String::new();
        match File::open(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(self.unavailable(&error)),
            Ok(file) => {
                let most = u64::try_from(KEYSET_BYTES_MAX).unwrap_or(u64::MAX).saturating_add(1);
                let read = file.take(most).read_to_string(&mut text);
                read.map_err(|error| self.unavailable(&error))?;
            }
        }
        keyset::read(&text).map_err(|error| StoreError::broken(&self.name, error.to_string()))
    }

    fn write(&self, rows: &[KeyRow]) -> Result<(), StoreError> {
        let mut new = OsString::from(&self.path);
        new.push(".new");
        let new = PathBuf::from(new);
        let write = || -> io::Result<()> {
            // What an earlier one has left is not worth keeping: it was never in use.
            match fs::remove_file(&new) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o644).open(&new)?;
            file.write_all(keyset::write(rows).as_bytes())?;
            file.sync_all()?;
            fs::rename(&new, &self.path)?;
            File::open(self.folder())?.sync_all()
        };
        write().map_err(|error| self.unavailable(&error))
    }

    fn change<'a, T: Send + 'a>(
        &'a self,
        act: impl FnOnce(&mut Vec<KeyRow>) -> Result<(T, bool), StoreError> + Send + 'a,
    ) -> BoxFuture<'a, Result<T, StoreError>> {
        Box::pin(async move {
            let _lock = self.lock()?;
            let mut rows = self.rows()?;
            let (result, changed) = act(&mut rows)?;
            if changed {
                self.write(&rows)?;
            }
            Ok(result)
        })
    }

    fn look<'a, T: Send + 'a>(
        &'a self,
        find: impl FnOnce(Vec<KeyRow>) -> T + Send + 'a,
    ) -> BoxFuture<'a, Result<T, StoreError>> {
        Box::pin(async move { self.rows().map(find) })
    }
}

fn active_in(rows: &[KeyRow], scope: Scope, purpose: Purpose) -> Option<KeyRow> {
    rows.iter().find(|row| (row.state, row.scope, row.purpose) == (KeyState::Active, scope, purpose)).cloned()
}

fn put(rows: &mut Vec<KeyRow>, row: KeyRow) {
    rows.retain(|other| other.id() != row.id());
    rows.push(row);
}

impl KeyStore for KeysetFile {
    fn name(&self) -> &str {
        &self.name
    }

    fn active(&self, scope: Scope, purpose: Purpose) -> BoxFuture<'_, Result<Option<KeyRow>, StoreError>> {
        self.look(move |rows| active_in(&rows, scope, purpose))
    }

    fn row(&self, id: KeyId) -> BoxFuture<'_, Result<Option<KeyRow>, StoreError>> {
        self.look(move |rows| rows.into_iter().find(|row| row.id() == id))
    }

    fn activate(&self, row: KeyRow, instead_of: Option<KeyId>) -> BoxFuture<'_, Result<KeyRow, StoreError>> {
        self.change(move |rows| {
            rules::may_activate(&self.name, &row)?;
            let active = active_in(rows, row.scope, row.purpose);
            match rules::activation(&self.name, &row, instead_of, active)? {
                Activation::Stands(active) => Ok((active, false)),
                Activation::Adds(_) if rows.iter().any(|there| there.id() == row.id()) => {
                    Err(rules::there_already(&self.name, row.id()))
                }
                Activation::Adds(demoted) => {
                    if let Some(demoted) = demoted {
                        put(rows, demoted);
                    }
                    put(rows, row.clone());
                    Ok((row, true))
                }
            }
        })
    }

    fn replace(&self, seen: KeyRow, row: KeyRow) -> BoxFuture<'_, Result<bool, StoreError>> {
        self.change(move |rows| {
            rules::may_replace(&self.name, &seen, &row)?;
            if !rows.contains(&seen) {
                return Ok((false, false));
            }
            put(rows, row);
            Ok((true, true))
        })
    }

    fn import(&self, row: KeyRow) -> BoxFuture<'_, Result<Imported, StoreError>> {
        self.change(move |rows| {
            rules::may_import(&self.name, &row)?;
            if let Some(there) = rows.iter().find(|there| there.id() == row.id()) {
                return Ok((rules::imported_over(there, &row), false));
            }
            let taken = row.state == KeyState::Active && active_in(rows, row.scope, row.purpose).is_some();
            put(rows, if taken { rules::decrypt_only(&row) } else { row });
            Ok((if taken { Imported::AddedDecryptOnly } else { Imported::Added }, true))
        })
    }

    fn list(&self, after: Option<KeyId>, count: usize) -> BoxFuture<'_, Result<Vec<KeyRow>, StoreError>> {
        self.look(move |mut rows| {
            rows.retain(|row| after.is_none_or(|after| row.id() > after));
            rows.sort_by_key(KeyRow::id);
            rows.truncate(count);
            rows
        })
    }
}
