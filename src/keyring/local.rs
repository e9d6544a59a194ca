//! A KEK in a file: for development and the demo. Whoever reads the file opens everything.

use super::{Decrypted, Kek, KeyringError, KmsCall, Wrapped};
use crate::seal::crypto::CryptoFailed;
use crate::seal::local::{LocalKek, NotAKek, UnwrapError};
use crate::seal::{CryptoProvider, DataKey, EncryptedDataKey, EncryptionContext, KekTag};
use futures_util::future::{BoxFuture, ready};
use std::sync::Arc;

/// A [`LocalKek`] as one of a keyring.
pub struct Local {
    kek: LocalKek,
    name: Arc<str>,
}

impl Local {
    /// Takes the KEK from the text of its file.
    ///
    /// # Errors
    /// [`NotAKek`] unless it is the base64 of 32 bytes.
    pub fn read(provider: &'static dyn CryptoProvider, text: &str) -> Result<Self, NotAKek> {
        let kek = LocalKek::read(provider, text)?;
        let name = kek.name().into();
        Ok(Self { kek, name })
    }

    /// `local:` and a fingerprint.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    fn call(&self) -> KmsCall {
        KmsCall { kek: Arc::clone(&self.name), request_id: None }
    }

    fn no_randomness(&self) -> KeyringError {
        KeyringError::Unavailable { kek: Arc::clone(&self.name), why: "no randomness".into(), request_id: None }
    }

    fn generate(&self, context: &EncryptionContext) -> Result<(DataKey, Wrapped), CryptoFailed> {
        let key = self.kek.generate()?;
        let wrapped = self.wrap(&key, context)?;
        Ok((key, wrapped))
    }

    fn wrap(&self, key: &DataKey, context: &EncryptionContext) -> Result<Wrapped, CryptoFailed> {
        Ok(Wrapped { edk: self.kek.wrap(key, context)?, call: self.call() })
    }

    fn unwrap(&self, edk: &EncryptedDataKey, context: &EncryptionContext) -> Result<Decrypted, KeyringError> {
        let key = self.kek.unwrap(edk, context).map_err(|error| match error {
            UnwrapError::OtherKek => KeyringError::UnknownKek,
            UnwrapError::Unauthentic => {
                KeyringError::Rejected { why: "it does not authenticate".into(), request_id: None }
            }
        })?;
        Ok(Decrypted { key, call: self.call() })
    }
}

impl Kek for Local {
    fn name(&self) -> &Arc<str> {
        &self.name
    }

    fn tag(&self) -> KekTag {
        self.kek.tag()
    }

    fn generate_data_key(&self, context: EncryptionContext) -> BoxFuture<'_, Result<(DataKey, Wrapped), KeyringError>> {
        Box::pin(ready(self.generate(&context).map_err(|_| self.no_randomness())))
    }

    fn encrypt_data_key<'a>(
        &'a self,
        key: &'a DataKey,
        context: EncryptionContext,
    ) -> BoxFuture<'a, Result<Wrapped, KeyringError>> {
        Box::pin(ready(self.wrap(key, &context).map_err(|_| self.no_randomness())))
    }

    fn decrypt_data_key(
        &self,
        edk: EncryptedDataKey,
        context: EncryptionContext,
    ) -> BoxFuture<'_, Result<Decrypted, KeyringError>> {
        Box::pin(ready(self.unwrap(&edk, &context)))
    }

    /// Never: nothing keeps its keys but this process.
    fn re_encrypt<'a>(
        &'a self,
        _: EncryptedDataKey,
        _: &'a str,
        _: EncryptionContext,
    ) -> Option<BoxFuture<'a, Result<Wrapped, KeyringError>>> {
        None
    }
}
