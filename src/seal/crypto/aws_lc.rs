//! The aws-lc-rs provider.

use super::{Aead, CryptoFailed, CryptoProvider, KEY_BYTES, NONCE_BYTES, Oaep, RsaKey, RsaRefused, Sealed, TAG_BYTES};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, RandomizedNonceKey, UnboundKey};
use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use aws_lc_rs::rsa::{
    OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey, OaepPublicEncryptingKey, PrivateDecryptingKey,
    PublicEncryptingKey,
};
use aws_lc_rs::{digest, hkdf};
use zeroize::Zeroizing;

#[derive(Debug)]
pub(super) struct AwsLc;

impl CryptoProvider for AwsLc {
    fn name(&self) -> &'static str {
        "aws-lc-rs"
    }

    #[cfg(feature = "fips")]
    fn fips_module(&self) -> Option<&'static str> {
        aws_lc_rs::try_fips_mode().is_ok().then(aws_lc_rs::awslc_version)
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
        // No salt is a salt of zeros (RFC 5869 2.2), and FIPS 140 wants it spelled out.
        let salt = if salt.is_empty() { &[0; 32] } else { salt };
        let key = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(secret);
        let info = [info];
        let okm = key.expand(&info, Length(out.len())).map_err(|_| CryptoFailed)?;
        okm.fill(out).map_err(|_| CryptoFailed)
    }

    fn aes_256_gcm(&self, key: &[u8; KEY_BYTES]) -> Result<Box<dyn Aead>, CryptoFailed> {
        let drawing = RandomizedNonceKey::new(&AES_256_GCM, key).map_err(|_| CryptoFailed)?;
        let key = UnboundKey::new(&AES_256_GCM, key).map_err(|_| CryptoFailed)?;
        Ok(Box::new(Gcm { key: LessSafeKey::new(key), drawing }))
    }

    fn rsa_oaep_sha256(&self, key: RsaKey<'_>) -> Result<Box<dyn Oaep>, RsaRefused> {
        let (public, private) = match key {
            RsaKey::Public(der) => (PublicEncryptingKey::from_der(der).map_err(|_| RsaRefused::NotAKey)?, None),
            RsaKey::Private(der) => {
                let private = PrivateDecryptingKey::from_pkcs8(der).map_err(|_| RsaRefused::NotAKey)?;
                (private.public_key(), Some(private))
            }
        };
        let public_der = public.as_der().map_err(|_| RsaRefused::NotAKey)?.as_ref().to_vec();
        let public = OaepPublicEncryptingKey::new(public).map_err(|_| RsaRefused::NotAKey)?;
        let private = private.map(OaepPrivateDecryptingKey::new).transpose().map_err(|_| RsaRefused::NotAKey)?;
        Ok(Box::new(RsaOaep { public, public_der, private }))
    }
}

struct Gcm {
    key: LessSafeKey,
    /// The same key, for seals under nonces that are drawn inside: the only ones that FIPS 140 approves of.
    drawing: RandomizedNonceKey,
}

impl Aead for Gcm {
    fn seal(&self, nonce: [u8; NONCE_BYTES], aad: &[u8], in_out: &mut [u8]) -> Result<[u8; TAG_BYTES], CryptoFailed> {
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = self.key.seal_in_place_separate_tag(nonce, Aad::from(aad), in_out).map_err(|_| CryptoFailed)?;
        tag.as_ref().try_into().map_err(|_| CryptoFailed)
    }

    fn seal_drawing(&self, aad: &[u8], in_out: &mut [u8]) -> Result<Sealed, CryptoFailed> {
        let (nonce, tag) = self.drawing.seal_in_place_separate_tag(Aad::from(aad), in_out).map_err(|_| CryptoFailed)?;
        Ok((*nonce.as_ref(), tag.as_ref().try_into().map_err(|_| CryptoFailed)?))
    }

    fn open(&self, nonce: [u8; NONCE_BYTES], aad: &[u8], in_out: &mut [u8]) -> Result<usize, CryptoFailed> {
        let nonce = Nonce::assume_unique_for_key(nonce);
        self.key.open_in_place(nonce, Aad::from(aad), in_out).map(|plain| plain.len()).map_err(|_| CryptoFailed)
    }
}

struct RsaOaep {
    public: OaepPublicEncryptingKey,
    public_der: Vec<u8>,
    private: Option<OaepPrivateDecryptingKey>,
}

impl Oaep for RsaOaep {
    fn bits(&self) -> usize {
        self.public.key_size_bits()
    }

    fn public_der(&self) -> &[u8] {
        &self.public_der
    }

    fn decrypts(&self) -> bool {
        self.private.is_some()
    }

    fn encrypt(&self, message: &[u8], label: &[u8]) -> Result<Vec<u8>, CryptoFailed> {
        let mut out = vec![0; self.public.ciphertext_size()];
        let length = self.public.encrypt(&OAEP_SHA256_MGF1SHA256, message, &mut out, Some(label));
        let length = length.map_err(|_| CryptoFailed)?.len();
        out.truncate(length);
        Ok(out)
    }

    fn decrypt(&self, ciphertext: &[u8], label: &[u8]) -> Result<Zeroizing<Vec<u8>>, CryptoFailed> {
        let private = self.private.as_ref().ok_or(CryptoFailed)?;
        let mut out = Zeroizing::new(vec![0; private.min_output_size()]);
        let length = private.decrypt(&OAEP_SHA256_MGF1SHA256, ciphertext, &mut out, Some(label));
        let length = length.map_err(|_| CryptoFailed)?.len();
        out.truncate(length);
        Ok(out)
    }
}
