//! Opening a directory that a journal was in before: takes the lock, finds the head, sets a torn tail aside.
//! Never destroys a byte, and never goes on over damage that a crash does not explain.
//!
//! # Where a tear ends and damage begins
//!
//! A batch is written and synced before the next one is begun, and nothing in it is acknowledged before that. So a
//! crash touches one batch, the last one, in the last segment, and what it leaves there is a beginning of that batch:
//! whole records, which count, then at most bytes that are no record, which are the *tear*. From the first line that
//! does not continue the chain on, a tail is a tear only if **not one line of it is spelt as a record**. Otherwise it
//! is damage, and opening is refused:
//!
//! - a line spelt as a record that does not match its hash or its place was written whole once, and changed since;
//! - a line that is no record, with a record anywhere behind it, was not the last thing that was written.
//!
//! Two things follow. Somebody who spoils the very last record beyond its spelling leaves what looks like a tear: it
//! is set aside, kept and reported, and a [`Head`] kept elsewhere shows what was lost. And a file system that, losing
//! power, keeps a later page of one unsynced write and not an earlier one leaves what looks like damage: that is
//! refused, for from the bytes alone the two cannot be told apart, and the operator has the last word.
//!
//! Read at open are the last segment, whole, and the last record of the one before. The rest is left to `verify`.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::segment::{Lines, Segment};
use super::storage::{Disk, Storage, sync_directory};
use super::{OpenError, Recovered};
use crate::audit::chain::{Digest, Fault, Head, LINE_BYTES_MAX, Record};

/// A directory that is ours, and where to go on in it.
pub(crate) struct Opened {
    pub(crate) lock: Lock,
    pub(crate) disk: Disk,
    /// The length of the current segment.
    pub(crate) length: u64,
    pub(crate) recovered: Recovered,
}

/// The directory is ours for as long as this lives.
pub(crate) struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing alone would leave it to a child process that is just being started, with a copy of the descriptor.
        drop(self.0.unlock());
    }
}

pub(crate) fn open(directory: &Path, digest: Digest) -> Result<Opened, OpenError> {
    make_directory(directory).map_err(at(directory))?;
    let lock = lock(directory)?;
    let segments = Segment::list(directory).map_err(at(directory))?;
    let Some((last, earlier)) = segments.split_last() else {
        let disk = Disk::begin(directory, 1).map_err(at(directory))?;
        let recovered = Recovered { head: Head::EMPTY, segments: 1, torn_bytes: 0, torn: None };
        return Ok(Opened { lock, disk, length: 0, recovered });
    };
    let before = match earlier.last() {
        Some(segment) => Some(last_record(segment, last.first, digest)?),
        None => (last.first == 1).then_some(Head::EMPTY),
    };
    let gap = |wanted| OpenError::Gap { segment: last.path.clone(), wanted, got: last.first };
    if let Some(before) = before.filter(|before| before.seq + 1 != last.first) {
        return Err(gap(before.seq + 1));
    }
    let Scan { head, length, torn_bytes } = scan(last, before, digest)?;
    // With nothing in front of it and nothing in it, a segment does not say what its first record is to chain on.
    let head = head.ok_or_else(|| gap(1))?;
    let torn =
        (torn_bytes > 0).then(|| set_aside(directory, &last.path, length)).transpose().map_err(at(&last.path))?;
    let mut disk = Disk::open(directory, last.first).map_err(at(&last.path))?;
    // Records that the crash let through to the page cache alone count from here on: a head may be signed over them.
    disk.sync().map_err(at(&last.path))?;
    let recovered = Recovered { head, segments: segments.len(), torn_bytes, torn };
    Ok(Opened { lock, disk, length, recovered })
}

fn make_directory(directory: &Path) -> io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    match directory.parent() {
        Some(parent) if parent != Path::new("") => sync_directory(parent),
        _ => Ok(()),
    }
}

fn lock(directory: &Path) -> Result<Lock, OpenError> {
    let path = directory.join("audit.lock");
    let file =
        OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path).map_err(at(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(Lock(file)),
        Err(TryLockError::WouldBlock) => Err(OpenError::Locked { directory: directory.to_owned() }),
        Err(TryLockError::Error(source)) => Err(OpenError::Io { path, source }),
    }
}

/// The head that a finished segment leaves. It was synced before the next one was begun: it has no tear.
fn last_record(segment: &Segment, next: u64, digest: Digest) -> Result<Head, OpenError> {
    let mut tail = Vec::new();
    let read = |tail: &mut Vec<u8>| {
        let mut file = File::open(&segment.path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(LINE_BYTES_MAX as u64 + 2)))?;
        file.read_to_end(tail)
    };
    read(&mut tail).map_err(at(&segment.path))?;
    let line = tail.strip_suffix(b"\n").and_then(|lines| lines.rsplit(|&byte| byte == b'\n').next());
    let head = line.ok_or(Fault::Unended).and_then(Record::parse).and_then(|record| {
        let before = Head { seq: record.seq.saturating_sub(1), hash: record.prev };
        record.follow(digest, &before)
    });
    head.map_err(|fault| OpenError::Damaged { segment: segment.path.clone(), seq: next.saturating_sub(1), fault })
}

struct Scan {
    /// `None` when neither a record nor what was before says.
    head: Option<Head>,
    /// Where the last good record ends.
    length: u64,
    torn_bytes: u64,
}

fn scan(segment: &Segment, before: Option<Head>, digest: Digest) -> Result<Scan, OpenError> {
    let failed = |source| OpenError::Io { path: segment.path.clone(), source };
    let damaged = |seq, fault| OpenError::Damaged { segment: segment.path.clone(), seq, fault };
    let mut lines = segment.lines().map_err(failed)?;
    let (mut head, mut length) = (before, 0);
    while lines.advance().map_err(failed)? {
        let wanted = head.map_or(segment.first, |head| head.seq + 1);
        let record = match lines.whole().ok_or(Fault::Unended).and_then(Record::parse) {
            Ok(record) => record,
            Err(fault) => {
                let end = torn(&mut lines).map_err(failed)?.ok_or_else(|| damaged(wanted, fault))?;
                return Ok(Scan { head, length, torn_bytes: end - length });
            }
        };
        // Where the earlier segments were archived elsewhere, the name of this one says where it begins.
        let before = head.unwrap_or(Head { seq: wanted.saturating_sub(1), hash: record.prev });
        head = Some(record.follow(digest, &before).map_err(|fault| damaged(wanted, fault))?);
        length = lines.offset();
    }
    Ok(Scan { head, length, torn_bytes: 0 })
}

/// Reads on behind a line that is no record; where the file ends, or `None` when there is a record.
pub(crate) fn torn(lines: &mut Lines) -> io::Result<Option<u64>> {
    while lines.advance()? {
        if lines.whole().is_some_and(|line| Record::parse(line).is_ok()) {
            return Ok(None);
        }
    }
    Ok(Some(lines.offset()))
}

/// Copies what is behind `length` to a file of its own, makes that durable, and only then cuts the segment.
fn set_aside(directory: &Path, segment: &Path, length: u64) -> io::Result<PathBuf> {
    let mut source = OpenOptions::new().read(true).write(true).open(segment)?;
    source.seek(SeekFrom::Start(length))?;
    let (path, mut kept) = (1_u32..)
        .find_map(|n| {
            let mut path = segment.as_os_str().to_owned();
            path.push(format!(".torn-{n}"));
            let path = PathBuf::from(path);
            match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => None,
                opened => Some(opened.map(|file| (path, file))),
            }
        })
        .unwrap_or_else(|| Err(io::ErrorKind::AlreadyExists.into()))?;
    io::copy(&mut source, &mut kept)?;
    kept.sync_all()?;
    sync_directory(directory)?;
    source.set_len(length)?;
    source.sync_all()?;
    Ok(path)
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> OpenError {
    move |source| OpenError::Io { path: path.to_owned(), source }
}
