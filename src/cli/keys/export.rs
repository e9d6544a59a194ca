//! `sealgate keys export`.

use super::super::session::{self, Failure};
use super::super::{ConfigFile, Exit, say};
use super::custody::{self, rows};
use crate::app::keys::StoreIs;
use crate::config::Config;
use crate::keyring::store::keyset;

/// How often rows are read anew because one was made active meanwhile.
const READS_MAX: usize = 5;

pub(super) async fn export(file: ConfigFile) -> Result<Exit, Failure> {
    let Config { provider, keyring, .. } = session::config(&file.config)?;
    let store = custody::store(provider, keyring.store, StoreIs::There).await?;
    for _ in 0..READS_MAX {
        let text = keyset::write(&rows(&*store, None).await?);
        // Pages are read one by one: where a key was rotated in between, two would be active.
        if keyset::read(&text).is_ok() {
            return Ok(say(&text));
        }
    }
    Err(Failure::new(format!("key store {}: its keys change while they are read; try again", store.name())))
}
