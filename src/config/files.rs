//! Files that the config names: certificates, keys, CAs. Secrets are in files and nowhere else.

use super::source::{Places, Problem};
use super::sources::Sources;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use std::fs::{File, Metadata};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Whether the keyset file has to be there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum KeysetFile {
    /// As for everything that serves.
    Needed,
    /// For the commands that make it.
    ToBeMade,
}

/// Looks files up from the config's own directory and keeps what is wrong with them.
pub(super) struct Files<'a> {
    pub(super) directory: &'a Path,
    pub(super) places: &'a Places,
    pub(super) keyset: KeysetFile,
    pub(super) sources: &'a mut Sources,
    pub(super) problems: Vec<Problem>,
    pub(super) warnings: Vec<Problem>,
}

impl Files<'_> {
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    pub(super) fn problem(&mut self, path: &str, message: impl Into<String>) {
        if !self.is_mended(path) {
            self.problems.push(self.places.problem(path, message));
        }
    }

    /// Something that is no problem and should be known.
    pub(super) fn warn(&mut self, path: &str, message: &str) {
        if !self.is_mended(path) {
            self.warnings.push(self.places.problem(path, message));
        }
    }

    /// A problem with the text at `path`, for which `error` may quote it.
    pub(super) fn problem_quoting(&mut self, path: &str, error: &impl ToString) {
        let message = if self.places.is_filled(path) {
            "what came from a variable is not accepted here".to_owned()
        } else {
            error.to_string()
        };
        self.problem(path, message);
    }

    /// A problem `offset` bytes into the text at `path`.
    pub(super) fn problem_in(&mut self, path: &str, offset: usize, message: impl Into<String>) {
        if !self.is_mended(path) {
            self.problems.push(self.places.problem_in(path, offset, message));
        }
    }

    /// A problem that is one only if each of `causes` is, or is absent, as the file has it.
    pub(super) fn problem_of(&mut self, path: &str, causes: &[&str], message: impl Into<String>) {
        if causes.iter().all(|cause| self.places.is_whole(cause)) {
            self.problem(path, message);
        }
    }

    /// Whether the value at `path` stands in for one that a problem was made of already.
    pub(super) fn is_mended(&self, path: &str) -> bool {
        self.places.is_mended(path)
    }

    /// The certificates of a PEM file, at least one.
    pub(super) fn certificates(&mut self, path: &str, name: &str) -> Option<Vec<CertificateDer<'static>>> {
        let bytes = self.public(path, name)?;
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
        match certificates {
            Ok(certificates) if !certificates.is_empty() => Some(certificates),
            Ok(_) => self.wrong(path, name, "wanted PEM certificates, found none"),
            Err(error) => self.wrong(path, name, &format!("wanted PEM certificates: {error}")),
        }
    }

    /// The certificate revocation lists of a PEM file, or the one of a DER file.
    pub(super) fn revocation_lists(
        &mut self,
        path: &str,
        name: &str,
    ) -> Option<Vec<CertificateRevocationListDer<'static>>> {
        let bytes = self.public(path, name)?;
        // A SEQUENCE; no PEM file starts so.
        if bytes.first() == Some(&0x30) {
            return Some(vec![bytes.into()]);
        }
        match CertificateRevocationListDer::pem_slice_iter(&bytes).collect::<Result<Vec<_>, _>>() {
            Ok(lists) if !lists.is_empty() => Some(lists),
            Ok(_) => self.wrong(path, name, "wanted revocation lists in PEM or DER, found none"),
            Err(error) => self.wrong(path, name, &format!("wanted revocation lists in PEM or DER: {error}")),
        }
    }

    /// The private key of a PEM file.
    pub(super) fn private_key(&mut self, path: &str, name: &str) -> Option<PrivateKeyDer<'static>> {
        let bytes = self.secret(path, name)?;
        match PrivateKeyDer::from_pem_slice(&bytes) {
            Ok(key) => Some(key),
            Err(error) => self.wrong(path, name, &format!("wanted a PEM private key: {error}")),
        }
    }

    /// A file that anyone may read.
    pub(super) fn public(&mut self, path: &str, name: &str) -> Option<Vec<u8>> {
        match self.sources.read(&self.path(name), |file| std::fs::read(file)) {
            Ok(bytes) => Some(bytes),
            Err(error) => self.wrong(path, name, &error.to_string()),
        }
    }

    /// The keyset file; an empty keyset where it is not there and need not be.
    pub(super) fn keyset(&mut self, path: &str, name: &str) -> Option<Vec<u8>> {
        let absent = matches!(std::fs::exists(self.path(name)), Ok(false));
        if absent && self.keyset == KeysetFile::ToBeMade {
            return Some(crate::keyring::store::keyset::write(&[]).into());
        }
        self.public(path, name)
    }

    /// A file that only its owner may read.
    pub(super) fn secret(&mut self, path: &str, name: &str) -> Option<Zeroizing<Vec<u8>>> {
        match self.sources.read(&self.path(name), read_secret) {
            Ok(bytes) => Some(bytes),
            Err(NoSecret::Exposed { mode }) => {
                let name_told = self.quoted(path, name).trim_matches('"').to_owned();
                self.wrong(path, name, &NoSecret::Exposed { mode }.told(&name_told))
            }
            Err(NoSecret::Unreadable(error)) => self.wrong(path, name, &error.to_string()),
        }
    }

    /// A text of the config as a problem may tell it.
    pub(super) fn quoted(&self, path: &str, text: &str) -> String {
        self.places.quoted(path, text)
    }

    fn wrong<T>(&mut self, path: &str, name: &str, why: &str) -> Option<T> {
        let file = self.path(name);
        self.problem(path, format!("file {}: {why}", self.quoted(path, &file.display().to_string())));
        None
    }
}

/// Why a secret was not taken from its file.
pub(super) enum NoSecret {
    /// More than its owner may read it.
    Exposed { mode: u32 },
    /// It cannot be read.
    Unreadable(std::io::Error),
}

impl NoSecret {
    /// `name` is how the file may be told.
    pub(super) fn told(&self, name: &str) -> String {
        match self {
            Self::Exposed { mode } => {
                format!("readable by group or others (mode {mode:o}); run: chmod 600 {name}")
            }
            Self::Unreadable(error) => error.to_string(),
        }
    }
}

/// What is in a file that only its owner may read.
pub(super) fn read_secret(path: &Path) -> Result<Zeroizing<Vec<u8>>, NoSecret> {
    let read = || -> std::io::Result<(Metadata, Zeroizing<Vec<u8>>)> {
        let mut file = File::open(path)?;
        let meta = file.metadata()?;
        // Room for all of it at once, so that no copy is left behind by a vector that grows.
        let room = usize::try_from(meta.len()).unwrap_or_default().saturating_add(1);
        let mut bytes = Zeroizing::new(Vec::with_capacity(room));
        file.read_to_end(&mut bytes)?;
        Ok((meta, bytes))
    };
    match read() {
        Ok((meta, _)) if is_exposed(&meta) => Err(NoSecret::Exposed { mode: meta.mode() & 0o777 }),
        Ok((_, bytes)) => Ok(bytes),
        Err(error) => Err(NoSecret::Unreadable(error)),
    }
}

/// Whether more than its owner may use it. A group may read what is root's: so Kubernetes (`fsGroup`) and systemd (an ACL,
/// whose mask shows as the group's bits) hand a secret to a process that is not root. PostgreSQL draws the same line.
fn is_exposed(meta: &Metadata) -> bool {
    let refused = if meta.uid() == 0 { 0o037 } else { 0o077 };
    meta.mode() & refused != 0
}
