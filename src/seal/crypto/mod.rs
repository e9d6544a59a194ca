//! The seam to the cryptographic library: AEAD, HKDF, SHA-256 and random bytes, each from the provider, never our own.
//!
//! One file a provider, and that file alone names its crate. The tests at the foot are mounted on each.

#[cfg(feature = "aws-lc")]
mod aws_lc;
pub mod fips;
#[cfg(feature = "ring")]
mod ring;
mod rsa;
pub(crate) mod rustcrypto;

pub use rsa::{Oaep, RsaKey, RsaRefused};

use std::fmt;

/// Bytes of an AES-256 key.
pub const KEY_BYTES: usize = 32;
/// Bytes of a GCM nonce (SP 800-38D 5.2.1.1, the recommended 96 bits).
pub const NONCE_BYTES: usize = 12;
/// Bytes of a GCM tag, always the full 128 bits.
pub const TAG_BYTES: usize = 16;

/// The provider could not do its work: no entropy, or a message beyond what the algorithm takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("crypto provider failed")]
pub struct CryptoFailed;

/// What sealing needs of a cryptographic library.
pub trait CryptoProvider: Send + Sync + fmt::Debug {
    /// The name that logs and `sealgate version` show.
    fn name(&self) -> &'static str;

    /// The version of the FIPS 140 module that does its work, if one does and has passed its self-tests.
    fn fips_module(&self) -> Option<&'static str> {
        None
    }

    /// Fills `out` from the provider's generator, which the operating system seeds.
    ///
    /// # Errors
    /// [`CryptoFailed`] if there is no entropy; nothing may then be sealed.
    fn fill_random(&self, out: &mut [u8]) -> Result<(), CryptoFailed>;

    /// SHA-256 of the parts one after the other.
    fn sha256(&self, parts: &[&[u8]]) -> [u8; 32];

    /// HKDF-SHA-256 (RFC 5869), extract then expand, into `out` (at most 255 × 32 bytes).
    ///
    /// # Errors
    /// [`CryptoFailed`] if `out` is longer than that.
    fn hkdf_sha256(&self, salt: &[u8], secret: &[u8], info: &[u8], out: &mut [u8]) -> Result<(), CryptoFailed>;

    /// AES-256-GCM under `key`, its schedule computed once.
    ///
    /// # Errors
    /// [`CryptoFailed`] if the library refuses the key.
    fn aes_256_gcm(&self, key: &[u8; KEY_BYTES]) -> Result<Box<dyn Aead>, CryptoFailed>;

    /// RSAES-OAEP with SHA-256, and MGF1 with SHA-256 (RFC 8017 7.1), under an RSA key.
    ///
    /// # Errors
    /// [`RsaRefused`] if the library has no RSA encryption, which is so unless the provider says otherwise, or if it
    /// refuses the key.
    fn rsa_oaep_sha256(&self, _: RsaKey<'_>) -> Result<Box<dyn Oaep>, RsaRefused> {
        Err(RsaRefused::Unsupported { provider: self.name() })
    }
}

/// The nonce that a provider drew, and the tag.
pub type Sealed = ([u8; NONCE_BYTES], [u8; TAG_BYTES]);

/// AES-256-GCM under one key.
pub trait Aead: Send + Sync {
    /// Encrypts `in_out` in place and returns the tag. The caller never uses a nonce twice under one key.
    ///
    /// # Errors
    /// [`CryptoFailed`] beyond GCM's length limit.
    fn seal(&self, nonce: [u8; NONCE_BYTES], aad: &[u8], in_out: &mut [u8]) -> Result<[u8; TAG_BYTES], CryptoFailed>;

    /// Encrypts `in_out` in place under a random nonce that the provider itself draws, and returns it with the tag.
    ///
    /// # Errors
    /// [`CryptoFailed`] if there is no entropy, and beyond GCM's length limit.
    fn seal_drawing(&self, aad: &[u8], in_out: &mut [u8]) -> Result<Sealed, CryptoFailed>;

    /// Decrypts `in_out` (ciphertext, then tag) in place and returns how many of its first bytes are plaintext.
    ///
    /// # Errors
    /// [`CryptoFailed`] if it does not authenticate; `in_out` then holds nothing of use.
    fn open(&self, nonce: [u8; NONCE_BYTES], aad: &[u8], in_out: &mut [u8]) -> Result<usize, CryptoFailed>;
}

/// The providers that this build has, the default first.
#[must_use]
pub fn providers() -> &'static [&'static dyn CryptoProvider] {
    &[
        #[cfg(feature = "aws-lc")]
        &aws_lc::AwsLc,
        #[cfg(feature = "ring")]
        &ring::Ring,
    ]
}

/// The default provider of this build: aws-lc-rs, or ring where that is the only one.
#[must_use]
pub fn default_provider() -> &'static dyn CryptoProvider {
    #[cfg(feature = "aws-lc")]
    return &aws_lc::AwsLc;
    #[cfg(all(feature = "ring", not(feature = "aws-lc")))]
    return &ring::Ring;
    #[cfg(not(any(feature = "aws-lc", feature = "ring")))]
    compile_error!("sealgate needs a crypto provider: enable feature `aws-lc` or `ring`");
}

/// SHA-256 of the parts one after the other, by the default provider: for names and chains, where every provider gives
/// the same.
#[must_use]
pub fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    default_provider().sha256(parts)
}

#[cfg(test)]
mod wycheproof_tests;

#[cfg(test)]
mod tests {
    use super::*;
    use data_encoding::HEXLOWER_PERMISSIVE;

    fn hex(text: &str) -> Vec<u8> {
        HEXLOWER_PERMISSIVE.decode(text.as_bytes()).unwrap()
    }

    fn on_each(check: fn(&dyn CryptoProvider)) {
        assert_eq!(providers().len(), 2, "tests are built with both providers");
        for provider in providers() {
            check(*provider);
        }
    }

    #[test]
    fn sha256_gives_the_published_digest() {
        // FIPS 180-4, example "abc".
        on_each(|p| {
            let want = hex("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
            assert_eq!(p.sha256(&[b"a", b"", b"bc"]).as_slice(), want, "{}", p.name());
        });
    }

    #[test]
    fn hkdf_gives_the_published_key() {
        // RFC 5869 A.1.
        on_each(|p| {
            let mut out = [0; 42];
            let (salt, info) = (hex("000102030405060708090a0b0c"), hex("f0f1f2f3f4f5f6f7f8f9"));
            p.hkdf_sha256(&salt, &[0x0b; 22], &info, &mut out).unwrap();
            let want = hex("3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865");
            assert_eq!(out.as_slice(), want, "{}", p.name());
            assert!(p.hkdf_sha256(b"", b"k", b"", &mut vec![0; 255 * 32 + 1]).is_err());
            // RFC 5869 A.3: neither salt nor info.
            p.hkdf_sha256(b"", &[0x0b; 22], b"", &mut out).unwrap();
            let want = hex("8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8");
            assert_eq!(out.as_slice(), want, "{}", p.name());
        });
    }

    #[test]
    fn gcm_gives_the_published_ciphertext() {
        // McGrew and Viega, "The Galois/Counter Mode of Operation", test case 16.
        on_each(|p| {
            let key: [u8; 32] =
                hex("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308").try_into().unwrap();
            let nonce: [u8; 12] = hex("cafebabefacedbaddecaf888").try_into().unwrap();
            let aad = hex("feedfacedeadbeeffeedfacedeadbeefabaddad2");
            let plain = hex(concat!(
                "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525",
                "b16aedf5aa0de657ba637b39"
            ));
            let mut text = plain.clone();
            let aead = p.aes_256_gcm(&key).unwrap();
            let tag = aead.seal(nonce, &aad, &mut text).unwrap();
            let want = hex(concat!(
                "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838",
                "c5f61e6393ba7a0abcc9f662"
            ));
            assert_eq!(text, want, "{}", p.name());
            assert_eq!(tag.as_slice(), hex("76fc6ece0f4e1768cddf8853bb2d551b"), "{}", p.name());

            text.extend_from_slice(&tag);
            let sealed = text.clone();
            let length = aead.open(nonce, &aad, &mut text).unwrap();
            assert_eq!(&text[..length], plain);
            for bit in 0..sealed.len() * 8 {
                let mut changed = sealed.clone();
                changed[bit / 8] ^= 1 << (bit % 8);
                assert!(aead.open(nonce, &aad, &mut changed).is_err(), "{} bit {bit}", p.name());
            }
            assert!(aead.open(nonce, b"", &mut sealed.clone()).is_err());
            assert!(aead.open(nonce, b"", &mut [0; 15]).is_err(), "shorter than a tag");
        });
    }

    #[test]
    fn a_provider_draws_another_nonce_each_time() {
        on_each(|p| {
            let aead = p.aes_256_gcm(&[3; KEY_BYTES]).unwrap();
            let mut sealed = [0, 1].map(|_| {
                let mut text = b"text".to_vec();
                let (nonce, tag) = aead.seal_drawing(b"aad", &mut text).unwrap();
                text.extend_from_slice(&tag);
                (nonce, text)
            });
            assert_ne!(sealed[0].0, sealed[1].0, "{}", p.name());
            for (nonce, text) in &mut sealed {
                assert_eq!(aead.open(*nonce, b"aad", text), Ok(4), "{}", p.name());
                assert_eq!(&text[..4], b"text");
            }
        });
    }

    #[test]
    fn random_bytes_differ() {
        on_each(|p| {
            let mut two = [[0; 32]; 2];
            p.fill_random(&mut two[0]).unwrap();
            p.fill_random(&mut two[1]).unwrap();
            assert_ne!(two[0], two[1], "{}", p.name());
        });
    }
}
