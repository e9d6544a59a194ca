//! A KEK in a file: for development and the demo. Whoever reads the file opens everything. No I/O: the text is handed
//! in.
//!
//! An encrypted data key is nonce (12, random) ‖ ciphertext (32) ‖ tag (16) of AES-256-GCM under the KEK, with
//! lp(`sealgate/v1/local-wrap`) and then lp(name) ‖ lp(value) of each pair of the encryption context as AAD. The KEK's
//! name is `local:` and the first 8 bytes of SHA-256(`sealgate/v1/local-kek` ‖ KEK) in hex.

use super::context::EncryptionContext;
use super::crypto::{Aead, CryptoFailed, CryptoProvider, NONCE_BYTES};
use super::key::{DataKey, EncryptedDataKey, KekTag};
use data_encoding::{BASE64, HEXLOWER};
use std::fmt;
use zeroize::Zeroizing;

/// Bytes of an encrypted data key: nonce, key, tag.
pub const EDK_BYTES: usize = NONCE_BYTES + 32 + 16;

/// Why a text is no local KEK.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("local KEK: wanted the base64 of 32 random bytes (`openssl rand -base64 32`)")]
pub struct NotAKek;

/// Why a local KEK did not unwrap a data key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UnwrapError {
    /// Another KEK wrapped it.
    #[error("encrypted data key: not wrapped by this KEK")]
    OtherKek,
    /// Changed, or made for another scope or purpose.
    #[error("encrypted data key: does not authenticate")]
    Unauthentic,
}

/// A KEK that this process holds.
pub struct LocalKek {
    provider: &'static dyn CryptoProvider,
    aead: Box<dyn Aead>,
    name: String,
    tag: KekTag,
}

impl fmt::Debug for LocalKek {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalKek").field("name", &self.name).finish_non_exhaustive()
    }
}

impl LocalKek {
    /// Takes the KEK from the text of its file.
    ///
    /// # Errors
    /// [`NotAKek`] unless it is the base64 of 32 bytes.
    pub fn read(provider: &'static dyn CryptoProvider, text: &str) -> Result<Self, NotAKek> {
        let bytes = Zeroizing::new(BASE64.decode(text.trim().as_bytes()).map_err(|_| NotAKek)?);
        let kek: &[u8; 32] = bytes.as_slice().try_into().map_err(|_| NotAKek)?;
        let aead = provider.aes_256_gcm(kek).map_err(|_| NotAKek)?;
        let print = provider.sha256(&[b"sealgate/v1/local-kek", kek]);
        let name = format!("local:{}", HEXLOWER.encode(print.first_chunk::<8>().unwrap_or(&[0; 8])));
        let tag = KekTag::of(provider, &name);
        Ok(Self { provider, aead, name, tag })
    }

    /// `local:` and a fingerprint.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What names it in the data keys that it wraps.
    #[must_use]
    pub const fn tag(&self) -> KekTag {
        self.tag
    }

    /// Makes a data key.
    ///
    /// # Errors
    /// [`CryptoFailed`] if there is no entropy.
    pub fn generate(&self) -> Result<DataKey, CryptoFailed> {
        DataKey::generate(self.provider)
    }

    /// Wraps a data key, bound to `context`.
    ///
    /// # Errors
    /// [`CryptoFailed`] if there is no entropy.
    pub fn wrap(&self, key: &DataKey, context: &EncryptionContext) -> Result<EncryptedDataKey, CryptoFailed> {
        let mut nonce = [0; NONCE_BYTES];
        self.provider.fill_random(&mut nonce)?;
        let mut text = Zeroizing::new(*key.expose());
        let tag = self.aead.seal(nonce, &context.aad(LABEL), text.as_mut())?;
        Ok(EncryptedDataKey { kek: self.tag, blob: [&nonce, text.as_slice(), &tag].concat() })
    }

    /// Unwraps a data key that was wrapped for `context`.
    ///
    /// # Errors
    /// [`UnwrapError`]; nothing of the key is told then.
    pub fn unwrap(&self, edk: &EncryptedDataKey, context: &EncryptionContext) -> Result<DataKey, UnwrapError> {
        if edk.kek != self.tag {
            return Err(UnwrapError::OtherKek);
        }
        let (nonce, text) = edk.blob.split_first_chunk::<NONCE_BYTES>().ok_or(UnwrapError::Unauthentic)?;
        let mut text = Zeroizing::new(text.to_vec());
        let unauthentic = |_| UnwrapError::Unauthentic;
        let length = self.aead.open(*nonce, &context.aad(LABEL), &mut text).map_err(unauthentic)?;
        DataKey::take(text.get(..length).unwrap_or_default().to_vec()).map_err(|_| UnwrapError::Unauthentic)
    }
}

const LABEL: &[u8] = b"sealgate/v1/local-wrap";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::crypto::providers;
    use crate::seal::{Purpose, Scope};

    fn context(scope: &str, purpose: Purpose) -> EncryptionContext {
        EncryptionContext { scope: Scope::parse(scope).unwrap(), purpose }
    }

    #[test]
    fn what_one_provider_wraps_the_other_unwraps_for_the_same_context_only() {
        let here = context("clinic", Purpose::Field);
        for wrapper in providers() {
            let kek = LocalKek::read(*wrapper, &BASE64.encode(&[7; 32])).unwrap();
            let key = kek.generate().unwrap();
            let edk = kek.wrap(&key, &here).unwrap();
            for unwrapper in providers() {
                let kek = LocalKek::read(*unwrapper, &format!("{}\n", BASE64.encode(&[7; 32]))).unwrap();
                assert_eq!(kek.unwrap(&edk, &here).unwrap().expose(), key.expose());
                for there in [context("other", Purpose::Field), context("clinic", Purpose::Stream)] {
                    assert_eq!(kek.unwrap(&edk, &there).err(), Some(UnwrapError::Unauthentic), "{there:?}");
                }
                for at in 0..edk.blob.len() {
                    let mut changed = edk.clone();
                    changed.blob[at] ^= 1;
                    assert_eq!(kek.unwrap(&changed, &here).err(), Some(UnwrapError::Unauthentic), "{at}");
                }
                let other = LocalKek::read(*unwrapper, &BASE64.encode(&[8; 32])).unwrap();
                assert_eq!(other.unwrap(&edk, &here).err(), Some(UnwrapError::OtherKek));
            }
        }
    }

    #[test]
    fn a_text_of_another_length_is_no_kek() {
        let provider = providers()[0];
        for text in ["", "AAAA", &BASE64.encode(&[7; 31]), &BASE64.encode(&[7; 33]), "BwcHBwcH not base64"] {
            assert_eq!(LocalKek::read(provider, text).err(), Some(NotAKek), "{text}");
        }
    }
}
