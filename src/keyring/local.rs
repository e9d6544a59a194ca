//! A KEK in a file: for development and the demo. Whoever reads the file opens everything.

use super::{Decrypted, Kek, KeyringError, KmsCall, Wrapped, bound_to};
use crate::seal::crypto::{Aead, CryptoFailed, NONCE_BYTES};
use crate::seal::{CryptoProvider, DataKey, EncryptedDataKey, EncryptionContext, KekTag};
use data_encoding::{BASE64, HEXLOWER};
use futures_util::future::{BoxFuture, ready};
use std::sync::Arc;
use zeroize::Zeroizing;

/// Why a text is no local KEK.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("local KEK: wanted the base64 of 32 random bytes (`openssl rand -base64 32`)")]
pub struct NotAKek;

/// Bytes of a wrapped data key: nonce, key, tag.
pub const EDK_BYTES: usize = NONCE_BYTES + 32 + 16;

/// AES-256-GCM under a KEK that this process holds.
///
/// A wrapped key is nonce (12) ‖ ciphertext (32) ‖ tag (16), with the encryption context as AAD, each part with its length
/// before it: lp(`sealgate/v1/local-wrap`) ‖ lp(`app`) ‖ lp(`sealgate`) ‖ lp(`scope`) ‖ lp(scope) ‖ lp(`purpose`) ‖ lp(purpose).
pub struct Local {
    provider: &'static dyn CryptoProvider,
    aead: Box<dyn Aead>,
    tag: KekTag,
    name: Arc<str>,
}

impl Local {
    /// Takes the KEK from the text of its file.
    ///
    /// # Errors
    /// [`NotAKek`] unless it is the base64 of 32 bytes.
    pub fn read(provider: &'static dyn CryptoProvider, text: &str) -> Result<Self, NotAKek> {
        let bytes = Zeroizing::new(BASE64.decode(text.trim().as_bytes()).map_err(|_| NotAKek)?);
        let kek: &[u8; 32] = bytes.as_slice().try_into().map_err(|_| NotAKek)?;
        let aead = provider.aes_256_gcm(kek).map_err(|_| NotAKek)?;
        let print = provider.sha256(&[b"sealgate/v1/local-kek", kek]);
        let name: Arc<str> = format!("local:{}", HEXLOWER.encode(print.first_chunk::<8>().unwrap_or(&[0; 8]))).into();
        Ok(Self { provider, aead, tag: KekTag::of(provider, &name), name })
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
        let key = DataKey::generate(self.provider)?;
        let wrapped = self.wrap(&key, context)?;
        Ok((key, wrapped))
    }

    fn wrap(&self, key: &DataKey, context: &EncryptionContext) -> Result<Wrapped, CryptoFailed> {
        let mut nonce = [0; NONCE_BYTES];
        self.provider.fill_random(&mut nonce)?;
        let mut text = Zeroizing::new(*key.expose());
        let tag = self.aead.seal(nonce, &aad(context), text.as_mut())?;
        let blob = [&nonce, text.as_slice(), &tag].concat();
        Ok(Wrapped { edk: EncryptedDataKey { kek: self.tag, blob }, call: self.call() })
    }

    fn unwrap(&self, edk: &EncryptedDataKey, context: &EncryptionContext) -> Result<Decrypted, KeyringError> {
        if edk.kek != self.tag {
            return Err(KeyringError::UnknownKek);
        }
        let rejected = || KeyringError::Rejected { why: "it does not authenticate".into(), request_id: None };
        let (nonce, text) = edk.blob.split_first_chunk::<NONCE_BYTES>().ok_or_else(rejected)?;
        let mut text = Zeroizing::new(text.to_vec());
        let length = self.aead.open(*nonce, &aad(context), &mut text).map_err(|_| rejected())?;
        let key = DataKey::take(text.get(..length).unwrap_or_default().to_vec()).map_err(|_| rejected())?;
        Ok(Decrypted { key, call: self.call() })
    }
}

fn aad(context: &EncryptionContext) -> Vec<u8> {
    bound_to(b"sealgate/v1/local-wrap", context)
}

impl Kek for Local {
    fn name(&self) -> &Arc<str> {
        &self.name
    }

    fn tag(&self) -> KekTag {
        self.tag
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
