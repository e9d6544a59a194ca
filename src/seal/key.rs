//! Data keys, what names them, and what is derived from them. Keys have no `Clone`, `Debug` or `Serialize`.

use super::context::{Class, Purpose};
use super::crypto::{CryptoFailed, CryptoProvider, KEY_BYTES};
use super::length_prefix;
use super::stack::cleaned;
use data_encoding::HEXLOWER;
use std::fmt;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// A data key in the clear: 32 random bytes that `GenerateDataKey` made. Zeroized on drop.
///
/// ```compile_fail
/// fn show(key: sealgate::seal::DataKey) { println!("{key:?}"); }
/// ```
///
/// It lies on the heap and stays where it is: a key that moved would leave a copy at each place that it came through.
/// After the drop no copy of it is found in the process (`tests/residue.rs`). Not provided: wiping what others copied it
/// from, such as the buffers that the client of a KMS received it in.
pub struct DataKey(Box<Zeroizing<[u8; KEY_BYTES]>>);

/// 32 bytes to be filled in place.
fn unfilled() -> Box<Zeroizing<[u8; KEY_BYTES]>> {
    Box::new(Zeroizing::new([0; KEY_BYTES]))
}

impl DataKey {
    /// Takes the key out of `bytes` and wipes them.
    ///
    /// # Errors
    /// [`WrongKeyLength`] unless there are exactly 32.
    pub fn take(bytes: Vec<u8>) -> Result<Self, WrongKeyLength> {
        let bytes = Zeroizing::new(bytes);
        let mut key = unfilled();
        if bytes.len() != KEY_BYTES {
            return Err(WrongKeyLength { got: bytes.len() });
        }
        key.copy_from_slice(&bytes);
        Ok(Self(key))
    }

    /// A fresh key from the provider's generator.
    ///
    /// # Errors
    /// [`CryptoFailed`] if there is no entropy.
    pub fn generate(provider: &dyn CryptoProvider) -> Result<Self, CryptoFailed> {
        let mut key = unfilled();
        provider.fill_random(key.as_mut_slice())?;
        Ok(Self(key))
    }

    /// The bytes, for wrapping by a KEK that this process holds.
    #[must_use]
    pub fn expose(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }

    /// HKDF-SHA-256(key, no salt, lp(`sealgate/v1`) ‖ lp(`commitment`)).
    ///
    /// # Errors
    /// [`CryptoFailed`] if the provider fails.
    pub fn commitment(&self, provider: &dyn CryptoProvider) -> Result<Commitment, CryptoFailed> {
        let mut out = [0; 32];
        let info = info(&[b"commitment"]);
        cleaned(|| provider.hkdf_sha256(&[], self.0.as_slice(), &info, &mut out))?;
        Ok(Commitment(out))
    }

    /// HKDF-SHA-256(key, salt, lp(`sealgate/v1`) ‖ lp(purpose) ‖ lp(suite or alphabet) ‖ lp(class)), N bytes.
    pub(crate) fn field_key<const N: usize>(
        &self,
        provider: &dyn CryptoProvider,
        salt: &[u8],
        (purpose, kind, class): (Purpose, &[u8], Class),
    ) -> Result<Box<Zeroizing<[u8; N]>>, CryptoFailed> {
        let mut out = Box::new(Zeroizing::new([0; N]));
        let info = info(&[purpose.as_str().as_bytes(), kind, class.as_str().as_bytes()]);
        cleaned(|| provider.hkdf_sha256(salt, self.0.as_slice(), &info, out.as_mut_slice()))?;
        Ok(out)
    }
}

fn info(parts: &[&[u8]]) -> Vec<u8> {
    let mut info = Vec::with_capacity(64);
    length_prefix(b"sealgate/v1", &mut info);
    for part in parts {
        length_prefix(part, &mut info);
    }
    info
}

/// A key that is no AES-256 key. A KMS that answers so is not trusted with anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("data key: wanted 32 bytes, got {got}")]
pub struct WrongKeyLength {
    /// How many bytes there were.
    pub got: usize,
}

/// 32 public bytes that commit to one data key: no other key has them, and they tell nothing about it. `==` is for reading
/// them back; whether a data key is the right one is asked of [`matches`](Self::matches).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Commitment([u8; 32]);

impl Commitment {
    /// The commitment with these bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The first 16 bytes.
    #[must_use]
    pub fn key_id(&self) -> KeyId {
        let mut id = [0; 16];
        for (to, from) in id.iter_mut().zip(self.0) {
            *to = from;
        }
        KeyId(id)
    }

    /// Whether both commit to the same key, compared in constant time.
    #[must_use]
    pub fn matches(&self, other: &Self) -> bool {
        self.words().ct_eq(&other.words()).into()
    }

    /// By words: an eighth of the comparisons.
    fn words(&self) -> [u64; 4] {
        let mut words = [0; 4];
        for (word, bytes) in words.iter_mut().zip(self.0.as_chunks().0) {
            *word = u64::from_le_bytes(*bytes);
        }
        words
    }

    /// Whether it commits to the key of that name, compared in constant time.
    #[must_use]
    pub fn begins_as(&self, id: &KeyId) -> bool {
        self.key_id().0.ct_eq(&id.0).into()
    }
}

impl fmt::Debug for Commitment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

/// Names a data key. Public.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId([u8; 16]);

impl KeyId {
    /// The id with these bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Which KEK wrapped a data key: the first 8 bytes of SHA-256(lp(`sealgate/v1/kek`) ‖ lp(the KEK's full name)). Public.
///
/// The name is the ARN of a KMS key, `local:` and the first 8 bytes of SHA-256(`sealgate/v1/local-kek` ‖ KEK) in lower-case
/// hex for a KEK in a file, or `recovery:` and the first 8 bytes of the SHA-256 of the public key (DER) in lower-case hex.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KekTag([u8; 8]);

impl KekTag {
    /// The tag of the KEK of that name (a KMS key ARN, or `local:` and the fingerprint of a local one).
    #[must_use]
    pub fn of(provider: &dyn CryptoProvider, name: &str) -> Self {
        let mut tag = [0; 8];
        let mut named = Vec::with_capacity(128);
        length_prefix(b"sealgate/v1/kek", &mut named);
        length_prefix(name.as_bytes(), &mut named);
        for (to, from) in tag.iter_mut().zip(provider.sha256(&[&named])) {
            *to = from;
        }
        Self(tag)
    }

    /// The tag with these bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 8]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 8] {
        &self.0
    }
}

impl fmt::Display for KekTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for KekTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A data key as its KEK wrapped it. Public bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EncryptedDataKey {
    /// Which KEK opens it.
    pub kek: KekTag,
    /// What the KEK's keeper returned, at most [`EDK_BYTES_MAX`](super::envelope::EDK_BYTES_MAX) bytes.
    pub blob: Vec<u8>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::crypto::providers;

    #[test]
    fn derivations_are_the_same_in_every_provider_and_differ_by_purpose() {
        let key = DataKey::take(vec![9; 32]).unwrap();
        let class = |text| Class::parse(text).unwrap();
        let mut seen = Vec::new();
        for provider in providers() {
            let commitment = *key.commitment(*provider).unwrap().as_bytes();
            let field = |salt: &[u8], purpose, kind: &[u8], name| -> [u8; 32] {
                **key.field_key(*provider, salt, (purpose, kind, class(name))).unwrap()
            };
            let mut all = vec![
                commitment,
                field(&[], Purpose::Field, &[1], "ssn"),
                field(&[], Purpose::Field, &[1], "name"),
                field(&[], Purpose::Field, &[2], "ssn"),
                field(&[], Purpose::Lookup, &[1], "ssn"),
                field(&[1; 8], Purpose::Field, &[1], "ssn"),
                field(&[2; 8], Purpose::Field, &[1], "ssn"),
            ];
            seen.push(all.clone());
            all.sort_unstable();
            all.dedup();
            assert_eq!(all.len(), 7, "no two of them are the same");
        }
        assert!(seen.windows(2).all(|pair| pair[0] == pair[1]));
    }

    #[test]
    fn a_key_of_another_length_is_refused() {
        for length in [0, 16, 31, 33, 64] {
            assert_eq!(DataKey::take(vec![1; length]).err(), Some(WrongKeyLength { got: length }));
        }
    }
}
