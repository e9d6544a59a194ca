//! Keys in one file of this machine, for one gateway: an embedded database (redb), durable at every write.
//!
//! Beside the file stands `NAME.lock`, locked by the process that has it open for as long as it has; never delete it.
//! `NAME.new` is a rewrite that did not finish: it is removed at the next start. All three are made with mode 0600.
//!
//! Shredding rewrites the whole file and renames the new one into place, in one step with the change itself: no byte of
//! a shredded key's encrypted forms is left in it. What file system, disk and backups keep of the old file is theirs:
//! wiping it is not provided.
//!
//! After an I/O error, such as a full disk, the file is closed and opened again, checked, by the next call.

use super::{Imported, KeyRow, KeyState, KeyStore, StoreError, rules};
use crate::seal::Purpose;
use crate::seal::{KeyId, Scope};
use futures_util::future::BoxFuture;
use redb::backends::FileBackend;
use redb::{Builder, Database, ReadableDatabase, StorageError, WriteTransaction};
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

mod tables;

use tables::{ACTIVE, KEYS, active_in, put, row_in};

/// The database's own cache: rows are small and the keyring has a cache already.
const CACHE_BYTES: usize = 16 * 1024 * 1024;

/// A file of keys. One process has it open at a time.
///
/// Its calls need a tokio runtime: they block, on the threads that are there for that.
pub struct FileStore {
    inner: Arc<Inner>,
}

struct Inner {
    name: Arc<str>,
    path: PathBuf,
    /// None while a call has it, and after one that failed.
    database: Mutex<Option<Database>>,
    /// Which file it was opened from.
    identity: Mutex<Option<(u64, u64)>>,
    /// Held as long as this is: no other process has the file, not even while it is being replaced by a new one.
    _lock: File,
}

/// Why a call failed, before the store's name is put to it.
enum Failed {
    Database(Box<redb::Error>),
    Content(String),
    Store(StoreError),
}

impl<E: Into<redb::Error>> From<E> for Failed {
    fn from(error: E) -> Self {
        Self::Database(Box::new(error.into()))
    }
}

impl FileStore {
    /// Opens the file. The path is followed once: a link stays one.
    ///
    /// # Errors
    /// [`StoreError::Missing`] if there is none: it may be on a volume that is not mounted, and in a new one keys would be
    /// made that hide the old ones. [`StoreError::Locked`] if it is open already, [`StoreError::Broken`] if it is damaged,
    /// empty or something else, which is left as it is, [`StoreError::Unavailable`] if it cannot be read.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        Self::open_or(path, |inner| Err(Failed::Store(StoreError::Missing { store: Arc::clone(&inner.name) }))).await
    }

    /// Opens the file, or makes it where there is none; its folder must be there.
    ///
    /// # Errors
    /// As [`open`](Self::open), but for [`StoreError::Missing`]; [`StoreError::Unavailable`] also if it cannot be made.
    pub async fn create(path: &Path) -> Result<Self, StoreError> {
        Self::open_or(path, |inner| inner.write_anew(tables::make)).await
    }

    async fn open_or(
        path: &Path,
        missing: impl FnOnce(&Inner) -> Result<Database, Failed> + Send + 'static,
    ) -> Result<Self, StoreError> {
        let name: Arc<str> = path.to_string_lossy().into();
        let path = path.to_owned();
        let inner = blocking(&name, {
            let name = Arc::clone(&name);
            move || Inner::open(name, &path, missing)
        });
        Ok(Self { inner: Arc::new(inner.await?) })
    }

    async fn call<T: Send + 'static>(
        &self,
        act: impl FnOnce(&Inner, &mut Database) -> Result<T, Failed> + Send + 'static,
    ) -> Result<T, StoreError> {
        let inner = Arc::clone(&self.inner);
        blocking(&self.inner.name, move || inner.call(act)).await
    }
}

/// Runs `act` where it may block. The database gives errors, but a panic in it must not take more along than the call.
async fn blocking<T: Send + 'static>(
    name: &Arc<str>,
    act: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    match tokio::task::spawn_blocking(act).await {
        Ok(result) => result,
        Err(error) if error.is_panic() => Err(StoreError::broken(name, "the database gave up on its content")),
        Err(_) => Err(StoreError::unavailable(name, "the process is ending")),
    }
}

/// Device and number of a file; none if it is not there.
fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::metadata(path).ok().map(|meta| (meta.dev(), meta.ino()))
}

impl Inner {
    fn open(
        name: Arc<str>,
        path: &Path,
        missing: impl FnOnce(&Self) -> Result<Database, Failed>,
    ) -> Result<Self, StoreError> {
        let io = |error: io::Error| StoreError::unavailable(&name, error.to_string());
        let path = resolve(path).map_err(io)?;
        let lock_path = beside(&path, ".lock");
        let mut options = OpenOptions::new();
        let lock = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(lock_path);
        let lock = lock.map_err(io)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StoreError::Locked { store: name }),
            Err(TryLockError::Error(error)) => return Err(io(error)),
        }
        let inner = Self { name, path, database: Mutex::new(None), identity: Mutex::new(None), _lock: lock };
        match fs::remove_file(inner.new_path()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(StoreError::unavailable(&inner.name, error.to_string()));
            }
            _ => {}
        }
        let database = match fs::symlink_metadata(&inner.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => missing(&inner),
            _ => open_database(&inner.path),
        };
        let database = database.map_err(|failed| inner.error(failed))?;
        inner.note_identity();
        *inner.database.lock().unwrap_or_else(PoisonError::into_inner) = Some(database);
        Ok(inner)
    }

    fn call<T>(&self, act: impl FnOnce(&Self, &mut Database) -> Result<T, Failed>) -> Result<T, StoreError> {
        // A call that panicked has left none in it.
        let mut slot = self.database.lock().unwrap_or_else(PoisonError::into_inner);
        let opened = match slot.take() {
            Some(database) => Ok(database),
            None => open_database(&self.path),
        };
        let mut database = opened.map_err(|failed| self.error(failed))?;
        self.is_in_place()?;
        let result = act(self, &mut database);
        if !matches!(result, Err(Failed::Database(_))) {
            *slot = Some(database);
        }
        result.map_err(|failed| self.error(failed))
    }

    fn note_identity(&self) {
        *self.identity.lock().unwrap_or_else(PoisonError::into_inner) = identity(&self.path);
    }

    /// A file that somebody has put another one in the place of would take rows that nobody finds again.
    fn is_in_place(&self) -> Result<(), StoreError> {
        let known = *self.identity.lock().unwrap_or_else(PoisonError::into_inner);
        if identity(&self.path) == known {
            return Ok(());
        }
        Err(StoreError::broken(&self.name, "another file was put in its place while it was open; restart"))
    }

    fn error(&self, failed: Failed) -> StoreError {
        let error = match failed {
            Failed::Store(error) => return error,
            Failed::Content(why) => return StoreError::broken(&self.name, why),
            Failed::Database(error) => *error,
        };
        match error {
            redb::Error::DatabaseAlreadyOpen | redb::Error::LockProtocolMismatch => {
                StoreError::Locked { store: Arc::clone(&self.name) }
            }
            redb::Error::Io(error) => match error.kind() {
                io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
                    StoreError::broken(&self.name, "it is no file of keys, or it is damaged")
                }
                _ => StoreError::unavailable(&self.name, error.to_string()),
            },
            redb::Error::PreviousIo | redb::Error::DatabaseClosed | redb::Error::LockPoisoned(_) => {
                StoreError::unavailable(&self.name, "an earlier call failed")
            }
            // The database's words for its pages and tables; no row is in them.
            error => StoreError::broken(&self.name, error.to_string()),
        }
    }

    fn new_path(&self) -> PathBuf {
        beside(&self.path, ".new")
    }

    /// Writes a database of its own and renames it into the place of the file: either all of it is there, or the old
    /// one still.
    fn write_anew(&self, fill: impl FnOnce(&WriteTransaction) -> Result<(), Failed>) -> Result<Database, Failed> {
        let new_path = self.new_path();
        match fs::remove_file(&new_path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io_failed(error)),
            _ => {}
        }
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&new_path);
        let backend = FileBackend::new(file.map_err(io_failed)?)?;
        let database = builder().create_with_backend(backend)?;
        let transaction = database.begin_write()?;
        fill(&transaction)?;
        transaction.commit()?;
        fs::rename(&new_path, &self.path).map_err(io_failed)?;
        self.note_identity();
        let folder = self.path.parent().unwrap_or(Path::new("/"));
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(io_failed)?;
        Ok(database)
    }

    fn replace(&self, database: &mut Database, seen: &KeyRow, row: &KeyRow) -> Result<bool, Failed> {
        let transaction = database.begin_write()?;
        let there = row_in(&transaction.open_table(KEYS)?, row.id())?;
        if there.as_ref() != Some(seen) {
            return Ok(false);
        }
        if row.state == KeyState::Shredded {
            transaction.abort()?;
            return self.rewrite(database, row).map(|()| true);
        }
        put(&transaction, row)?;
        transaction.commit()?;
        Ok(true)
    }
    /// Puts `row` into a file without any other form of it.
    fn rewrite(&self, database: &mut Database, row: &KeyRow) -> Result<(), Failed> {
        let transaction = database.begin_read()?;
        let (keys, active) = (transaction.open_table(KEYS)?, transaction.open_table(ACTIVE)?);
        let new = self.write_anew(|new| tables::copy_but(&keys, &active, row, new));
        // Should only its folder not have been synced, the next call opens the one that is in place.
        *database = new?;
        Ok(())
    }
}

fn io_failed(error: io::Error) -> Failed {
    StorageError::Io(error).into()
}

/// The path without links, so that a rename replaces the file and not the link to it.
pub(super) fn resolve(path: &Path) -> io::Result<PathBuf> {
    match fs::canonicalize(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let name = path.file_name().ok_or(error)?;
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            Ok(fs::canonicalize(folder)?.join(name))
        }
        path => path,
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    // An altered file is an error at once; unchecked, it might panic later.
    builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true);
    builder
}

fn open_database(path: &Path) -> Result<Database, Failed> {
    // An empty file would be taken for a new one. It is what is left of a store that was cut off.
    if fs::metadata(path).map_err(io_failed)?.len() == 0 {
        return Err(Failed::Content("the file is empty".to_owned()));
    }
    let database = builder().open(path)?;
    let transaction = database.begin_read()?;
    transaction.open_table(KEYS)?;
    transaction.open_table(ACTIVE)?;
    drop(transaction);
    Ok(database)
}

impl KeyStore for FileStore {
    fn name(&self) -> &str {
        &self.inner.name
    }

    fn active(&self, scope: Scope, purpose: Purpose) -> BoxFuture<'_, Result<Option<KeyRow>, StoreError>> {
        Box::pin(self.call(move |_, database| {
            let transaction = database.begin_read()?;
            active_in(&transaction.open_table(KEYS)?, &transaction.open_table(ACTIVE)?, (scope, purpose))
        }))
    }

    fn row(&self, id: KeyId) -> BoxFuture<'_, Result<Option<KeyRow>, StoreError>> {
        Box::pin(self.call(move |_, database| row_in(&database.begin_read()?.open_table(KEYS)?, id)))
    }

    fn activate(&self, row: KeyRow, instead_of: Option<KeyId>) -> BoxFuture<'_, Result<KeyRow, StoreError>> {
        Box::pin(async move {
            rules::may_activate(&self.inner.name, &row)?;
            self.call(move |inner, database| tables::activate(&inner.name, database, row, instead_of)).await
        })
    }

    fn replace(&self, seen: KeyRow, row: KeyRow) -> BoxFuture<'_, Result<bool, StoreError>> {
        Box::pin(async move {
            rules::may_replace(&self.inner.name, &seen, &row)?;
            self.call(move |inner, database| inner.replace(database, &seen, &row)).await
        })
    }

    fn import(&self, row: KeyRow) -> BoxFuture<'_, Result<Imported, StoreError>> {
        Box::pin(async move {
            rules::may_import(&self.inner.name, &row)?;
            self.call(move |_, database| tables::import(database, &row)).await
        })
    }

    fn list(&self, after: Option<KeyId>, count: usize) -> BoxFuture<'_, Result<Vec<KeyRow>, StoreError>> {
        Box::pin(self.call(move |_, database| tables::list(database, after, count)))
    }
}
