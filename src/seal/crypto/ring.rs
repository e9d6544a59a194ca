//! The ring provider.

use super::{Aead, CryptoFailed, CryptoProvider, KEY_BYTES, NONCE_BYTES, TAG_BYTES};
use ::ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ::ring::rand::{SecureRandom, SystemRandom};
use ::ring::{digest, hkdf};

#[derive(Debug)]
pub(super) struct Ring;

impl CryptoProvider for Ring {
    fn name(&self) -> &'static str {
        "ring"
    }

    fn fill_random(&self, out: &mut [u8]) -> Result<(), CryptoFailed> {
        SystemRandom::new().fill(out).map_err(|_| CryptoFailed)
    }

    fn sha256(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut context = digest::Context::new(&digest::SHA256);
        for part in parts {
            context.update(part);
        }
        let mut out = [0; 32];
        out.copy_from_slice(context.finish().as_ref());
        out
    }

    fn hkdf_sha256(&self, salt: &[u8], secret: &[u8], info: &[u8], out: &mut [u8]) -> Result<(), CryptoFailed> {
        struct Length(usize);
        impl hkdf::KeyType for Length {
            fn len(&self) -> usize {
                self.0
            }
        }
        let key = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(secret);
        let info = [info];
        let okm = key.expand(&info, Length(out.len())).map_err(|_| CryptoFailed)?;
        okm.fill(out).map_err(|_| CryptoFailed)
    }

    fn aes_256_gcm(&self, key: &[u8; KEY_BYTES]) -> Result<Box<dyn Aead>, CryptoFailed> {
        let key = UnboundKey::new(&AES_256_GCM, key).map_err(|_| CryptoFailed)?;
        Ok(Box::new(Gcm(LessSafeKey::new(key))))
    }
}

struct Gcm(LessSafeKey);

impl Aead for Gcm {
    fn seal(&self, nonce: [u8; NONCE_BYTES], aad: &[u8], in_out: &mut [u8]) -> Result<[u8; TAG_BYTES], CryptoFailed> {
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = self.0.seal_in_place_separate_tag(nonce, Aad::from(aad), in_out).map_err(|_| CryptoFailed)?;
        tag.as_ref().try_into().map_err(|_| CryptoFailed)
    }

    fn open(&self, nonce: [u8; NONCE_BYTES], aad: &[u8], in_out: &mut [u8]) -> Result<usize, CryptoFailed> {
        let nonce = Nonce::assume_unique_for_key(nonce);
        self.0.open_in_place(nonce, Aad::from(aad), in_out).map(|plain| plain.len()).map_err(|_| CryptoFailed)
    }
}
