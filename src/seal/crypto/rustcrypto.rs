//! What neither provider has, from the RustCrypto crates: AES-256-SIV (RFC 5297) and FF1 (SP 800-38G r1).
//!
//! Both are outside every FIPS module, and neither is written to run in constant time on processors without AES
//! instructions. Their keys lie on the heap and are wiped on drop. These crates leave copies of keys on the stack: it is
//! overwritten when a key is set up and when it is dropped. Not provided: wiping the stacks of other threads that worked
//! with a key; what runs on them next overwrites it.

use super::super::stack::{cleaned, overwrite};
use super::{CryptoFailed, TAG_BYTES};
use aes::Aes256;
use aes_siv::KeyInit;
use aes_siv::siv::Aes256Siv;
use fpe::ff1::{FF1, FlexibleNumeralString};
use std::fmt;
use std::sync::Mutex;

/// Bytes of an AES-256-SIV key: one half for S2V, one for CTR.
pub(crate) const SIV_KEY_BYTES: usize = 64;

/// AES-256-SIV under one key, with one associated string.
///
/// The type keeps the state of its MAC in itself, so that it works on one value at a time.
pub(crate) struct Siv(Box<Mutex<Aes256Siv>>);

impl Siv {
    /// Takes the key.
    #[must_use]
    pub(crate) fn new(key: &[u8; SIV_KEY_BYTES]) -> Self {
        cleaned(|| Self(Box::new(Mutex::new(Aes256Siv::new(key.into())))))
    }

    /// Encrypts `in_out` in place and returns the synthetic IV.
    ///
    /// # Errors
    /// [`CryptoFailed`] beyond the algorithm's length limit.
    pub(crate) fn seal(&self, aad: &[u8], in_out: &mut [u8]) -> Result<[u8; TAG_BYTES], CryptoFailed> {
        self.seal_with(&[aad], in_out)
    }

    /// Decrypts `in_out` in place.
    ///
    /// # Errors
    /// [`CryptoFailed`] if it does not authenticate; `in_out` then holds nothing of use.
    pub(crate) fn open(&self, aad: &[u8], iv: &[u8; TAG_BYTES], in_out: &mut [u8]) -> Result<(), CryptoFailed> {
        self.open_with(&[aad], iv, in_out)
    }

    /// The published test vectors have several associated strings, of which the format has one.
    pub(super) fn seal_with(&self, associated: &[&[u8]], in_out: &mut [u8]) -> Result<[u8; TAG_BYTES], CryptoFailed> {
        let mut key = self.0.lock().map_err(|_| CryptoFailed)?;
        key.encrypt_inout_detached(associated, in_out.into()).map(Into::into).map_err(|_| CryptoFailed)
    }

    pub(super) fn open_with(
        &self,
        associated: &[&[u8]],
        iv: &[u8; TAG_BYTES],
        in_out: &mut [u8],
    ) -> Result<(), CryptoFailed> {
        let mut key = self.0.lock().map_err(|_| CryptoFailed)?;
        key.decrypt_inout_detached(associated, in_out.into(), iv.into()).map_err(|_| CryptoFailed)
    }
}

impl Drop for Siv {
    fn drop(&mut self) {
        overwrite();
    }
}

impl fmt::Debug for Siv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Siv")
    }
}

/// FF1 with AES-256 under one key and radix.
pub(crate) struct Ff1(Box<FF1<Aes256>>);

impl Ff1 {
    /// Takes the key; `radix` is 2 to 65536.
    ///
    /// # Errors
    /// [`CryptoFailed`] for another radix.
    pub(crate) fn new(key: &[u8; 32], radix: u32) -> Result<Self, CryptoFailed> {
        cleaned(|| FF1::new(key, radix).map(|ff1| Self(Box::new(ff1))).map_err(|_| CryptoFailed))
    }

    /// Encrypts numerals below the radix, as many as there are.
    ///
    /// # Errors
    /// [`CryptoFailed`] if there are fewer than a domain of 10^6 takes, or one is not below the radix.
    pub(crate) fn seal(&self, tweak: &[u8], numerals: Vec<u16>) -> Result<Vec<u16>, CryptoFailed> {
        self.0.encrypt(tweak, &FlexibleNumeralString::from(numerals)).map(Into::into).map_err(|_| CryptoFailed)
    }

    /// Undoes [`seal`](Self::seal).
    ///
    /// # Errors
    /// As there; a wrong key or tweak gives other numerals, not an error.
    pub(crate) fn open(&self, tweak: &[u8], numerals: Vec<u16>) -> Result<Vec<u16>, CryptoFailed> {
        self.0.decrypt(tweak, &FlexibleNumeralString::from(numerals)).map(Into::into).map_err(|_| CryptoFailed)
    }
}

impl Drop for Ff1 {
    fn drop(&mut self) {
        overwrite();
    }
}

impl fmt::Debug for Ff1 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ff1")
    }
}
