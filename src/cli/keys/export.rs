//! `sealgate keys export`.

use super::super::session::{self, Failure};
use super::super::{ConfigFile, Exit, say};
use super::custody::{self, parse_scope, rows};
use crate::app::keys::StoreIs;
use crate::config::Config;
use crate::keyring::store::keyset::{self, KeysetError};
use crate::seal::Scope;
use clap::Args;

/// How often rows are read anew because one was made active meanwhile.
const READS_MAX: usize = 5;

#[derive(Args)]
pub(in crate::cli) struct Export {
    #[command(flatten)]
    config: ConfigFile,
    /// Only keys of this scope.
    #[arg(long, value_parser = parse_scope)]
    scope: Option<Scope>,
}

pub(super) async fn export(arguments: Export) -> Result<Exit, Failure> {
    let Export { config, scope } = arguments;
    let Config { provider, keyring, .. } = session::config(&config.config)?;
    let store = custody::store(provider, keyring.store, StoreIs::There).await?;
    for _ in 0..READS_MAX {
        let text = keyset::write(&rows(&*store, scope).await?);
        if is_whole(keyset::read(&text).map(drop))? {
            return Ok(say(&text));
        }
    }
    Err(Failure::new(format!("key store {}: its keys change while they are read; try again", store.name())))
}

/// Whether what was read back can be imported; if not, whether reading the rows anew may help.
fn is_whole(read: Result<(), KeysetError>) -> Result<bool, Failure> {
    match read {
        Ok(()) => Ok(true),
        // Pages are read one by one: where a key was rotated in between, two would be active.
        Err(KeysetError::TwoActive { .. } | KeysetError::Twice(_)) => Ok(false),
        Err(error @ KeysetError::TooLong { .. }) => {
            Err(Failure::new(format!("{error}, which no import takes; export scope by scope, by --scope")))
        }
        Err(error) => Err(Failure::new(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyring::store::keyset::KEYSET_BYTES_MAX;
    use crate::seal::{KeyId, Purpose};

    #[test]
    fn what_no_import_takes_is_refused_and_what_changed_is_read_anew() {
        assert!(is_whole(Ok(())).unwrap());
        let scope = Scope::parse("clinic").unwrap();
        for changed in
            [KeysetError::TwoActive { scope, purpose: Purpose::Field }, KeysetError::Twice(KeyId::from_bytes([1; 16]))]
        {
            assert!(!is_whole(Err(changed)).unwrap());
        }
        let long = " ".repeat(KEYSET_BYTES_MAX + 1);
        let refused = is_whole(keyset::read(&long).map(drop)).unwrap_err();
        assert_eq!(refused.exit, Exit::Failure);
        assert!(refused.text.starts_with("keyset: wanted at most 268435456 bytes, got 268435457"), "{}", refused.text);
        assert!(refused.text.ends_with("export scope by scope, by --scope"), "{}", refused.text);
    }
}
