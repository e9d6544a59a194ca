//! The bytes that stand in for a sealed value. This is the whole format; it is not frozen before version 1.0 of the
//! project, and from then on no published vector changes.
//!
//! All integers are big-endian. `lp(x)` is the length of x as u32, then x.
//!
//! | bytes | field |
//! |---|---|
//! | 1 | version: `1` |
//! | 1 | suite: `1` = random, AES-256-GCM |
//! | 1 | placement of the encrypted data key: `1` = inline |
//! | 1 + c | class: its length (1 to 16), then as many of `[A-Za-z0-9_-]` |
//! | 1 + s | scope, likewise |
//! | 32 | commitment to the data key |
//! | 1 | number of encrypted data keys, 1 to 4, all of the same data key |
//! | each 8 + 2 + e | KEK tag; length of the blob as u16 (1 to 6144); the blob |
//! | 12 | nonce, random |
//! | 1 + v | ciphertext of the kind byte (`0` = text, `1` = JSON literal) and the value |
//! | 16 | GCM tag |
//!
//! So an envelope with one encrypted data key takes `77 + c + s + e + v` bytes, and its token
//! `5 + ceil(4/3 × that)` characters: with the 184 bytes that KMS returns, a class and a scope of 4 letters each and a
//! value of 11 bytes, 379.
//!
//! - commitment = HKDF-SHA-256(IKM = data key, salt = none, info = lp(`sealgate/v1`) ‖ lp(`commitment`)), 32 bytes; its
//!   first 16 are the key id.
//! - field key = HKDF-SHA-256(IKM = data key, salt = none, info = lp(`sealgate/v1`) ‖ lp(`field`) ‖ lp(suite as one
//!   byte) ‖ lp(class)), 32 bytes.
//! - AAD = lp(`sealgate/v1/aad`) ‖ lp(version, suite) ‖ lp(key id) ‖ lp(class) ‖ lp(scope), then lp(name) ‖ lp(value) for
//!   each value of the rule's `bind` list.
//! - KEK tag = first 8 bytes of SHA-256(lp(`sealgate/v1/kek`) ‖ lp(name of the KEK)).
//! - text is WTF-8: UTF-8, with a lone UTF-16 surrogate as its three bytes.
//!
//! A field key seals with random 96-bit nonces at most 2^32 times (SP 800-38D 8.3); a data key is given a far smaller
//! budget, and an inline key seals in the process that made it and nowhere else.
//!
//! Not provided: hiding a value's length, hiding class and scope, protection against an upstream that gives back an
//! older token of the same record.

use super::context::{Class, LABEL_BYTES_MAX, Scope};
use super::crypto::{NONCE_BYTES, TAG_BYTES};
use super::key::{Commitment, EncryptedDataKey, KekTag};

/// The version that this build writes, and the only one that it reads.
pub const VERSION: u8 = 1;
/// The longest encrypted data key, in bytes: what KMS' `Decrypt` takes at most.
pub const EDK_BYTES_MAX: usize = 6144;
/// How many KEKs may have wrapped one data key.
pub const EDKS_MAX: usize = 4;

const PLACEMENT_INLINE: u8 = 1;

/// Which algorithm sealed a value. Ids on the wire are forever.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Suite {
    /// AES-256-GCM with a random nonce: the same value gives another token each time.
    Random,
}

impl Suite {
    /// The id on the wire.
    #[must_use]
    pub const fn id(self) -> u8 {
        match self {
            Self::Random => 1,
        }
    }

    const fn from_id(id: u8) -> Option<Self> {
        match id {
            1 => Some(Self::Random),
            _ => None,
        }
    }
}

/// Why bytes are no envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The text is not canonical base64url, or has no token's prefix.
    #[error("token: not canonical base64url")]
    Spelling,
    /// It ends too early.
    #[error("token: truncated")]
    Truncated,
    /// Another build may know it.
    #[error("token: version {0} is unknown")]
    UnknownVersion(u8),
    /// Another build may know it.
    #[error("token: suite {0} is unknown")]
    UnknownSuite(u8),
    /// Another build may know it.
    #[error("token: placement {0} is unknown")]
    UnknownPlacement(u8),
    /// A class or scope outside its alphabet, or a count or length outside its range.
    #[error("token: malformed")]
    Malformed,
}

/// An envelope as read: what can be told without a key, and the sealed bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// The suite.
    pub suite: Suite,
    /// The class that it was sealed as.
    pub class: Class,
    /// The scope that it was sealed for.
    pub scope: Scope,
    pub(crate) commitment: [u8; 32],
    /// The encrypted data keys, any of which opens it.
    pub edks: Vec<EncryptedDataKey>,
    pub(crate) nonce: [u8; NONCE_BYTES],
    /// Ciphertext and tag.
    pub(crate) sealed: Vec<u8>,
}

impl Envelope {
    /// The commitment to its data key.
    #[must_use]
    pub const fn commitment(&self) -> Commitment {
        Commitment::from_bytes(self.commitment)
    }

    /// Reads an envelope; every byte must be accounted for.
    ///
    /// # Errors
    /// See [`ReadError`]. That it reads says nothing of whether it opens.
    pub fn read(bytes: &[u8]) -> Result<Self, ReadError> {
        let mut bytes = Bytes(bytes);
        let version = bytes.byte()?;
        if version != VERSION {
            return Err(ReadError::UnknownVersion(version));
        }
        let suite = bytes.byte()?;
        let suite = Suite::from_id(suite).ok_or(ReadError::UnknownSuite(suite))?;
        let placement = bytes.byte()?;
        if placement != PLACEMENT_INLINE {
            return Err(ReadError::UnknownPlacement(placement));
        }
        let class = Class::from_bytes(bytes.label()?).map_err(|_| ReadError::Malformed)?;
        let scope = Scope::from_bytes(bytes.label()?).map_err(|_| ReadError::Malformed)?;
        let commitment = bytes.array()?;
        let edks = bytes.edks()?;
        let nonce = bytes.array()?;
        // At least the kind byte and the tag.
        if bytes.0.len() < 1 + TAG_BYTES {
            return Err(ReadError::Truncated);
        }
        Ok(Self { suite, class, scope, commitment, edks, nonce, sealed: bytes.0.to_vec() })
    }

    /// Appends everything that stands before the ciphertext.
    pub(crate) fn write_head(
        suite: Suite,
        (class, scope): (Class, Scope),
        commitment: &Commitment,
        edks: &[EncryptedDataKey],
        out: &mut Vec<u8>,
    ) {
        out.extend_from_slice(&[VERSION, suite.id(), PLACEMENT_INLINE]);
        for label in [class.as_str(), scope.as_str()] {
            out.push(u8::try_from(label.len()).unwrap_or(u8::MAX));
            out.extend_from_slice(label.as_bytes());
        }
        out.extend_from_slice(commitment.as_bytes());
        out.push(u8::try_from(edks.len()).unwrap_or(u8::MAX));
        for edk in edks {
            out.extend_from_slice(edk.kek.as_bytes());
            out.extend_from_slice(&u16::try_from(edk.blob.len()).unwrap_or(u16::MAX).to_be_bytes());
            out.extend_from_slice(&edk.blob);
        }
    }
}

struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], ReadError> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(ReadError::Truncated)?;
        self.0 = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, ReadError> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ReadError> {
        self.take(N)?.try_into().map_err(|_| ReadError::Truncated)
    }

    fn label(&mut self) -> Result<&'a [u8], ReadError> {
        let length = usize::from(self.byte()?);
        if length == 0 || length > LABEL_BYTES_MAX {
            return Err(ReadError::Malformed);
        }
        self.take(length)
    }

    fn edks(&mut self) -> Result<Vec<EncryptedDataKey>, ReadError> {
        let count = usize::from(self.byte()?);
        if count == 0 || count > EDKS_MAX {
            return Err(ReadError::Malformed);
        }
        let mut edks = Vec::with_capacity(count);
        for _ in 0..count {
            let kek = KekTag::from_bytes(self.array()?);
            let length = usize::from(u16::from_be_bytes(self.array()?));
            if length == 0 || length > EDK_BYTES_MAX {
                return Err(ReadError::Malformed);
            }
            edks.push(EncryptedDataKey { kek, blob: self.take(length)?.to_vec() });
        }
        Ok(edks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<u8> {
        let edks = [EncryptedDataKey { kek: KekTag::from_bytes([5; 8]), blob: vec![6; 20] }];
        let mut bytes = Vec::new();
        let labels = (Class::parse("ssn").unwrap(), Scope::parse("clinic").unwrap());
        Envelope::write_head(Suite::Random, labels, &Commitment::from_bytes([7; 32]), &edks, &mut bytes);
        bytes.extend_from_slice(&[8; 12]);
        bytes.extend_from_slice(&[9; 17]);
        bytes
    }

    #[test]
    fn what_is_written_is_read() {
        let envelope = Envelope::read(&sample()).unwrap();
        assert_eq!((envelope.class.as_str(), envelope.scope.as_str()), ("ssn", "clinic"));
        assert_eq!(envelope.edks[0].blob, [6; 20]);
        assert_eq!((envelope.nonce, envelope.sealed.as_slice()), ([8; 12], [9; 17].as_slice()));
        assert_eq!(sample().len(), 77 + 3 + 6 + 20, "the documented length of an empty value");
    }

    #[test]
    fn every_truncation_is_named() {
        let whole = sample();
        for length in 0..whole.len() {
            assert_eq!(Envelope::read(&whole[..length]), Err(ReadError::Truncated), "{length}");
        }
    }

    #[test]
    fn what_another_build_may_know_is_told_apart_from_what_is_broken() {
        let change = |at: usize, to: u8| {
            let mut bytes = sample();
            bytes[at] = to;
            Envelope::read(&bytes).unwrap_err()
        };
        assert_eq!(change(0, 2), ReadError::UnknownVersion(2));
        assert_eq!(change(1, 9), ReadError::UnknownSuite(9));
        assert_eq!(change(2, 2), ReadError::UnknownPlacement(2));
        assert_eq!(change(3, 0), ReadError::Malformed, "empty class");
        assert_eq!(change(3, 17), ReadError::Malformed, "class too long");
        assert_eq!(change(4, b'.'), ReadError::Malformed, "class outside its alphabet");
        assert_eq!(change(46, 0), ReadError::Malformed, "no encrypted data key");
        assert_eq!(change(46, 5), ReadError::Malformed, "too many encrypted data keys");
        assert_eq!(change(55, 0xff), ReadError::Malformed, "encrypted data key too long");
    }
}
