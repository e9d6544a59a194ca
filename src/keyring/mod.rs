//! Where data keys come from: a KEK that wraps and unwraps them, metered and cached.
//!
//! The seam is [`Keyring`]: two calls. What stands on it is composed in [`Keys::new`] and nowhere else.
//! A keyring that is away never means plaintext; it means an error.

pub mod aws_kms;
mod cached;
mod flight;
pub mod local;
mod metered;
pub mod store;

pub use cached::{CacheSettings, Held, Keys};

use crate::seal::{DataKey, EncryptedDataKey, EncryptionContext};
use futures_util::future::BoxFuture;
use std::sync::Arc;

/// Something that holds one KEK, or several.
pub trait Keyring: Send + Sync {
    /// Makes a data key and wraps it, both bound to `context`.
    fn generate_data_key(&self, context: EncryptionContext) -> BoxFuture<'_, Result<Generated, KeyringError>>;

    /// Unwraps a data key that was made for `context`.
    fn decrypt_data_key(
        &self,
        edk: EncryptedDataKey,
        context: EncryptionContext,
    ) -> BoxFuture<'_, Result<Decrypted, KeyringError>>;
}

/// What [`Keyring::generate_data_key`] gives.
pub struct Generated {
    /// The key in the clear.
    pub key: DataKey,
    /// The same key, wrapped; more than once where there are several KEKs.
    pub edks: Vec<EncryptedDataKey>,
    /// For the audit record.
    pub call: KmsCall,
}

/// What [`Keyring::decrypt_data_key`] gives.
pub struct Decrypted {
    /// The key in the clear.
    pub key: DataKey,
    /// For the audit record.
    pub call: KmsCall,
}

/// One call to a KEK, as the audit record names it. CloudTrail is joined on the request id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KmsCall {
    /// The KEK's name: an ARN, or `local:` and a fingerprint.
    pub kek: Arc<str>,
    /// The KMS request id; a local KEK has none.
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
}

impl KeyringError {
    /// The request id of the call that failed, if a service answered it.
    #[must_use]
    pub fn request_id(&self) -> Option<Arc<str>> {
        match self {
            Self::Unavailable { request_id, .. }
            | Self::Denied { request_id, .. }
            | Self::Rejected { request_id, .. } => request_id.clone(),
            Self::UnknownKek => None,
        }
    }
}
