//! Keyring and key stores, put together from the config; for the gate and for the commands that work on keys.

use super::StartError;
use crate::config::checked::{self, Kek as KekConfig, Store as StoreConfig};
use crate::keyring::aws_kms::AwsKms;
use crate::keyring::store::KeyStore;
#[cfg(feature = "dynamodb")]
use crate::keyring::store::dynamodb::DynamoDb;
use crate::keyring::store::file::FileStore;
use crate::keyring::store::postgres::Postgres;
use crate::keyring::{Kek, Several};
use crate::seal::CryptoProvider;
use std::sync::Arc;

/// What keys are made by, and where they are kept.
pub struct Assembled {
    /// All KEKs.
    pub keyring: Arc<Several>,
    /// The keyset file.
    pub keyset: Option<Arc<dyn KeyStore>>,
    /// The key store.
    pub store: Option<Arc<dyn KeyStore>>,
}

/// Puts them together. A file store is opened; nothing else is connected to.
///
/// # Errors
/// [`StartError`].
pub async fn assemble(
    provider: &'static dyn CryptoProvider,
    keyring: checked::Keyring,
) -> Result<Assembled, StartError> {
    let checked::Keyring { first, also, old, keyset, keyset_path: _, store } = keyring;
    let store = match store {
        Some(settings) => Some(self::store(provider, settings, StoreIs::There).await?),
        None => None,
    };
    let keyset = keyset.map(|keyset| Arc::new(keyset) as Arc<dyn KeyStore>);
    let keyring = self::keyring(provider, first, (also, old)).await?;
    Ok(Assembled { keyring: Arc::new(keyring), keyset, store })
}

/// Whether a store may be made. One that were made in passing would hide that the right one is somewhere else.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StoreIs {
    /// It must be there.
    There,
    /// A file, or a table of PostgreSQL, is made where there is none.
    Made,
}

/// The key store. A file store is opened; nothing else is connected to unless it is to be made.
///
/// # Errors
/// [`StartError`].
pub async fn store(
    provider: &'static dyn CryptoProvider,
    settings: StoreConfig,
    wanted: StoreIs,
) -> Result<Arc<dyn KeyStore>, StartError> {
    Ok(match settings {
        StoreConfig::File(path) if wanted == StoreIs::Made => Arc::new(FileStore::create(&path).await?),
        StoreConfig::File(path) => Arc::new(FileStore::open(&path).await?),
        StoreConfig::Postgres(settings) => {
            let store = Postgres::new(provider, settings)?;
            if wanted == StoreIs::Made {
                store.make_table().await?;
            }
            Arc::new(store)
        }
        #[cfg(feature = "dynamodb")]
        StoreConfig::DynamoDb(settings) => Arc::new(DynamoDb::new(provider, &settings).await?),
    })
}

/// The keyring of `first` and those that wrap as well or only open. Connects to nothing.
///
/// # Errors
/// [`StartError`].
pub async fn keyring(
    provider: &'static dyn CryptoProvider,
    first: KekConfig,
    (also, old): (Vec<KekConfig>, Vec<KekConfig>),
) -> Result<Several, StartError> {
    let first = kek(provider, first).await?;
    Ok(Several::new(first, keks(provider, also).await?, keks(provider, old).await?)?)
}

async fn keks(provider: &'static dyn CryptoProvider, keks: Vec<KekConfig>) -> Result<Vec<Box<dyn Kek>>, StartError> {
    let mut all = Vec::with_capacity(keks.len());
    for one in keks {
        all.push(kek(provider, one).await?);
    }
    Ok(all)
}

async fn kek(provider: &'static dyn CryptoProvider, kek: KekConfig) -> Result<Box<dyn Kek>, StartError> {
    Ok(match kek {
        KekConfig::Local(local) => {
            tracing::warn!(kek = %Kek::name(&local), "local keyring: whoever reads the key file opens everything");
            Box::new(local)
        }
        KekConfig::AwsKms(settings) => {
            let endpoint = settings.endpoint_url.as_deref().unwrap_or("the region's own");
            tracing::info!(kek = settings.key_arn.as_str(), endpoint, "AWS KMS keyring");
            Box::new(AwsKms::new(provider, &settings).await?)
        }
        KekConfig::Recovery(recovery) => {
            tracing::info!(kek = %Kek::name(&recovery), "recovery key");
            Box::new(recovery)
        }
    })
}
