//! What of a config takes effect at a start only. A reload that would change any of it is refused as a whole.

use super::raw;
use data_encoding::HEXLOWER;

/// The settings that are fixed while the gate runs, by their place in the config, each as a text to be compared.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Fixed(Vec<(&'static str, String)>);

impl Fixed {
    pub(super) fn of(raw: &raw::Config) -> Self {
        let raw::Config { dev_mode, crypto_provider, server, admin, keyring, audit, log, .. } = raw;
        Self(vec![
            ("dev_mode", format!("{dev_mode:?}")),
            ("crypto_provider", format!("{crypto_provider:?}")),
            ("server.listen", format!("{:?}", server.listen)),
            ("server.workers", format!("{:?}", server.workers)),
            ("server.drain", format!("{:?}", server.drain)),
            ("admin", format!("{admin:?}")),
            ("keyring", format!("{keyring:?}")),
            ("audit", format!("{audit:?}")),
            ("log", format!("{log:?}")),
        ])
    }

    /// The files that the keyring names belong to it.
    pub(super) fn add_files(&mut self, digest: [u8; 32]) {
        self.0.push(("a file of keyring", HEXLOWER.encode(&digest)));
    }

    /// What is not the same in another.
    #[must_use]
    pub fn differences(&self, other: &Self) -> Vec<&'static str> {
        let pairs = self.0.iter().zip(&other.0);
        pairs.filter(|(one, another)| one != another).map(|((name, _), _)| *name).collect()
    }
}
