//! Where data keys come from: KEKs that wrap and unwrap them, metered and cached.
//!
//! There are two seams. [`Kek`] is one key-encryption key; [`Keyring`] is one or [`Several`] of them, and all that
//! [`Keys`] knows. What stands on a keyring is composed in [`Keys::new`] and nowhere else.
//! A keyring that is away never means plaintext; it means an error.

mod aws;
pub mod aws_kms;
mod bounded;
mod cached;
mod failures;
mod flight;
mod former;
mod life;
pub mod local;
mod metered;
mod opening;
pub mod recovery;
mod rows;
mod sealing;
mod settings;
pub mod several;
mod silence;
pub mod store;

pub use cached::{Held, Keys, Parts};
pub use settings::{CacheSettings, STALE_MAX};
pub use several::Several;

use crate::seal::{DataKey, EncryptedDataKey, EncryptionContext, KekTag, KeyId, Purpose, Scope};
use futures_util::future::BoxFuture;
use std::sync::Arc;
use store::StoreError;

/// One key-encryption key, or the door to it.
pub trait Kek: Send + Sync {
    /// What it is called: an ARN, or `local:` or `recovery:` and a fingerprint. Public.
    fn name(&self) -> &Arc<str>;

    /// The tag that its encrypted data keys carry: [`KekTag::of`] its name.
    fn tag(&self) -> KekTag;

    /// Makes a data key and wraps it, bound to `context`.
    fn generate_data_key(&self, context: EncryptionContext) -> BoxFuture<'_, Result<(DataKey, Wrapped), KeyringError>>;

    /// Wraps a data key that another KEK made, bound to `context`.
    fn encrypt_data_key<'a>(
        &'a self,
        key: &'a DataKey,
        context: EncryptionContext,
    ) -> BoxFuture<'a, Result<Wrapped, KeyringError>>;

    /// Unwraps a data key that this KEK wrapped for `context`. [`KeyringError::UnknownKek`] if it is another one's, and
    /// if this process holds no key that unwraps.
    fn decrypt_data_key(
        &self,
        edk: EncryptedDataKey,
        context: EncryptionContext,
    ) -> BoxFuture<'_, Result<Decrypted, KeyringError>>;

    /// Wraps under this KEK what the KEK named `source` wrapped for `context`, without the data key leaving the place
    /// where both are kept. `None` if there is no such place.
    fn re_encrypt<'a>(
        &'a self,
        edk: EncryptedDataKey,
        source: &'a str,
        context: EncryptionContext,
    ) -> Option<BoxFuture<'a, Result<Wrapped, KeyringError>>>;
}

/// What a [`Kek`] gives that wrapped a data key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrapped {
    /// The key, wrapped.
    pub edk: EncryptedDataKey,
    /// For the audit record.
    pub call: KmsCall,
}

/// Something that holds one KEK, or several.
pub trait Keyring: Send + Sync {
    /// Makes a data key and wraps it under every KEK that new keys are wrapped under, all bound to `context`.
    fn generate_data_key(&self, context: EncryptionContext) -> BoxFuture<'_, Result<Generated, KeyringError>>;

    /// Unwraps a data key that was made for `context`.
    fn decrypt_data_key(
        &self,
        edk: EncryptedDataKey,
        context: EncryptionContext,
    ) -> BoxFuture<'_, Result<Decrypted, KeyringError>>;

    /// Whether the KEK of that tag gave no answer a moment ago, so that others are asked first.
    fn is_silent(&self, _kek: KekTag) -> bool {
        false
    }

    /// The encrypted forms of one key in the order in which they are best asked for: as they stand, but those last whose
    /// KEK gave no answer a moment ago.
    fn in_order<'e>(&self, edks: &'e [EncryptedDataKey]) -> Vec<&'e EncryptedDataKey> {
        let mut order: Vec<_> = edks.iter().collect();
        order.sort_by_cached_key(|edk| self.is_silent(edk.kek));
        order
    }
}

/// One KEK is a keyring of one.
impl<K: Kek> Keyring for K {
    fn generate_data_key(&self, context: EncryptionContext) -> BoxFuture<'_, Result<Generated, KeyringError>> {
        Box::pin(async move {
            let (key, wrapped) = Kek::generate_data_key(self, context).await?;
            Ok(Generated { key, edks: vec![wrapped.edk], calls: vec![wrapped.call] })
        })
    }

    fn decrypt_data_key(
        &self,
        edk: EncryptedDataKey,
        context: EncryptionContext,
    ) -> BoxFuture<'_, Result<Decrypted, KeyringError>> {
        Kek::decrypt_data_key(self, edk, context)
    }
}

/// What [`Keyring::generate_data_key`] gives.
pub struct Generated {
    /// The key in the clear.
    pub key: DataKey,
    /// The same key, wrapped; more than once where there are several KEKs.
    pub edks: Vec<EncryptedDataKey>,
    /// One for each of them, in the same order. For the audit record.
    pub calls: Vec<KmsCall>,
}

/// What [`Keyring::decrypt_data_key`] and [`Kek::decrypt_data_key`] give.
pub struct Decrypted {
    /// The key in the clear.
    pub key: DataKey,
    /// For the audit record.
    pub call: KmsCall,
}

/// One call to a KEK, as the audit record names it. CloudTrail is joined on the request id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KmsCall {
    /// The KEK's name: an ARN, or `local:` or `recovery:` and a fingerprint.
    pub kek: Arc<str>,
    /// The KMS request id; a KEK of this process has none.
    pub request_id: Option<Arc<str>>,
}

/// Why there is no key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyringError {
    /// No answer, throttled, or a fault at the other side: it may work later.
    #[error("keyring: KEK {kek} is unavailable: {why}")]
    Unavailable {
        /// Which KEK.
        kek: Arc<str>,
        /// The service's code or the kind of failure.
        why: Arc<str>,
        /// Of the call, if the service answered it.
        request_id: Option<Arc<str>>,
    },
    /// The KEK may not be used: permission, disabled, pending deletion, unknown.
    #[error("keyring: use of KEK {kek} is denied: {why}")]
    Denied {
        /// Which KEK.
        kek: Arc<str>,
        /// The service's code.
        why: Arc<str>,
        /// Of the call.
        request_id: Option<Arc<str>>,
    },
    /// The encrypted data key is not one of this KEK and context, or the key in it is not what the token commits to.
    #[error("keyring: encrypted data key is rejected: {why}")]
    Rejected {
        /// The service's code or our own check.
        why: Arc<str>,
        /// Of the call.
        request_id: Option<Arc<str>>,
    },
    /// None of the encrypted data keys is of a KEK that the config names.
    #[error("keyring: no encrypted data key is of a configured KEK")]
    UnknownKek,
    /// No key was made for it yet, and none may be made in passing: what a keyset or no store at all keeps.
    #[error("keyring: scope {scope} has no key for purpose {}; make one with `sealgate keys create`", purpose.as_str())]
    NoKey {
        /// Whose data it would seal.
        scope: Scope,
        /// What it would be for.
        purpose: Purpose,
    },
    /// The key's row says that it is used for nothing.
    #[error("keyring: key {id} is revoked")]
    Revoked {
        /// Which key.
        id: KeyId,
    },
    /// The key's row says that its encrypted forms were deleted.
    #[error("keyring: key {id} is shredded")]
    Shredded {
        /// Which key.
        id: KeyId,
    },
    /// Neither store nor keyset has a row of the key.
    #[error("keyring: no row of key {id} is in the key store")]
    UnknownKey {
        /// Which key.
        id: KeyId,
    },
    /// The key store is there, but what it has is of no use, or it does not take what it must.
    #[error("keyring: {why}")]
    Store {
        /// What it says.
        why: Arc<str>,
    },
}

impl KeyringError {
    /// The request id of the call that failed, if a service answered it.
    #[must_use]
    pub fn request_id(&self) -> Option<Arc<str>> {
        match self {
            Self::Unavailable { request_id, .. }
            | Self::Denied { request_id, .. }
            | Self::Rejected { request_id, .. } => request_id.clone(),
            Self::UnknownKek
            | Self::NoKey { .. }
            | Self::Revoked { .. }
            | Self::Shredded { .. }
            | Self::UnknownKey { .. }
            | Self::Store { .. } => None,
        }
    }

    /// Whether it is said of the key or its token, for good or until somebody changes it, and not of whoever keeps keys.
    #[must_use]
    pub fn is_about_the_key(&self) -> bool {
        match self {
            Self::Rejected { .. }
            | Self::UnknownKek
            | Self::Revoked { .. }
            | Self::Shredded { .. }
            | Self::UnknownKey { .. } => true,
            // The KEK was disabled, is to be deleted, or is gone.
            Self::Denied { why, .. } => {
                matches!(&**why, "DisabledException" | "KMSInvalidStateException" | "NotFoundException")
            }
            Self::Unavailable { .. } | Self::NoKey { .. } | Self::Store { .. } => false,
        }
    }

    /// What became of the call, in metrics.
    const fn outcome(&self) -> &'static str {
        match self {
            Self::Unavailable { .. } | Self::Store { .. } => "unavailable",
            Self::Denied { .. } => "denied",
            Self::Rejected { .. }
            | Self::UnknownKek
            | Self::NoKey { .. }
            | Self::Revoked { .. }
            | Self::Shredded { .. }
            | Self::UnknownKey { .. } => "rejected",
        }
    }
}

impl From<StoreError> for KeyringError {
    /// A store that is down is as a KEK that is down.
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable { store, why } => {
                Self::Unavailable { kek: format!("key store {store}").into(), why, request_id: None }
            }
            error => Self::Store { why: error.to_string().into() },
        }
    }
}

#[cfg(test)]
mod tests;
