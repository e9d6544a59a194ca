//! What a config was read from: its file and all files that it names, so that it shows when one of them changes.

use crate::seal::crypto::sha256;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The files of one reading, in its order.
#[derive(Clone, Default, Debug)]
pub struct Sources {
    files: Vec<(PathBuf, Option<Stamp>)>,
    /// A digest of each content, or of nothing where there was none to be had.
    contents: Vec<[u8; 32]>,
}

/// By what it shows that a file is another one, or was written to: whatever it is reached by, symbolic links are followed.
type Stamp = (u64, u64, u64, (i64, i64), (i64, i64));

fn stamp(file: &Path) -> Option<Stamp> {
    let meta = std::fs::metadata(file).ok()?;
    let (modified, changed) = ((meta.mtime(), meta.mtime_nsec()), (meta.ctime(), meta.ctime_nsec()));
    Some((meta.dev(), meta.ino(), meta.size(), modified, changed))
}

impl Sources {
    /// Reads a file, and remembers it as it was just before.
    pub(super) fn read<C: AsRef<[u8]>, E>(
        &mut self,
        file: &Path,
        read: impl FnOnce(&Path) -> Result<C, E>,
    ) -> Result<C, E> {
        self.files.push((file.to_owned(), stamp(file)));
        let content = read(file);
        self.contents.push(content.as_ref().map_or([0; 32], |content| sha256(&[content.as_ref()])));
        content
    }

    /// Whether the config that is read now may be another one: something was written, put in place or taken away.
    #[must_use]
    pub fn have_changed(&self) -> bool {
        self.files.iter().any(|(file, before)| stamp(file) != *before)
    }

    /// SHA-256 of all that was read: of two readings that have the same, the configs are alike.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        self.digest_from(0)
    }

    /// SHA-256 of the config file alone.
    #[must_use]
    pub fn config_digest(&self) -> [u8; 32] {
        self.contents.first().copied().unwrap_or_default()
    }

    /// How many files were read so far.
    pub(super) fn count(&self) -> usize {
        self.contents.len()
    }

    /// As [`Sources::digest`], without the first `from` files.
    pub(super) fn digest_from(&self, from: usize) -> [u8; 32] {
        let parts: Vec<&[u8]> = self.contents.iter().skip(from).map(<[u8; 32]>::as_slice).collect();
        sha256(&parts)
    }
}

/// Reads a config file itself.
pub(super) fn text(sources: &mut Sources, file: &Path) -> io::Result<String> {
    sources.read(file, |file| std::fs::read_to_string(file))
}
