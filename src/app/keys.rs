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
    let checked::Keyring { first, also, old, keyset, store } = keyring;
    let first = kek(provider, first).await?;
    let also = keks(provider, also).await?;
    let old = keks(provider, old).await?;
    let store: Option<Arc<dyn KeyStore>> = match store {
        None => None,
        Some(StoreConfig::File(path)) => Some(Arc::new(FileStore::open(&path).await?)),
        Some(StoreConfig::Postgres(settings)) => Some(Arc::new(Postgres::new(provider, settings)?)),
        #[cfg(feature = "dynamodb")]
        Some(StoreConfig::DynamoDb(settings)) => Some(Arc::new(DynamoDb::new(provider, &settings).await?)),
    };
    let keyset = keyset.map(|keyset| Arc::new(keyset) as Arc<dyn KeyStore>);
    Ok(Assembled { keyring: Arc::new(Several::new(first, also, old)?), keyset, store })
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
