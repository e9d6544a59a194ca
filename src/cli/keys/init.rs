//! `sealgate keys init`.

use super::super::session::{self, Failure};
use super::super::{ConfigFile, Exit, say};
use super::custody;
use crate::app::keys::StoreIs;
use crate::config::Config;
use crate::keyring::store::keyset_file::KeysetFile;

pub(super) async fn init(file: ConfigFile) -> Result<Exit, Failure> {
    let Config { provider, keyring, .. } = session::config_before_keys(&file.config)?;
    let mut said = String::new();
    if let Some(path) = &keyring.keyset_path {
        let made = KeysetFile::new(path)?.init()?;
        said += &format!("keyset file {}: {}\n", path.display(), if made { "made" } else { "there" });
    }
    if keyring.store.is_some() {
        let store = custody::store(provider, keyring.store, StoreIs::Made).await?;
        let empty = store.list(None, 1).await?.is_empty();
        said += &format!("key store {}: {}\n", store.name(), if empty { "there, without a key" } else { "there" });
    }
    if said.is_empty() {
        return Err(Failure::new("the config has neither keyring.store nor keyring.keyset_file"));
    }
    Ok(say(&said))
}
