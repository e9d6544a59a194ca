//! The bytes that stand in for a sealed value: format version 1, whole. It is frozen: no published vector (`tests/vectors`, held by
//! their digests) ever changes, and every later build opens what this one sealed. What must be otherwise gets another version byte.
//!
//! All integers are big-endian. `lp(x)` is the length of x as u32, then x.
//!
//! # Layout
//!
//! | bytes | field |
//! |---|---|
//! | 1 | version: `0x01` |
//! | 1 | suite (high four bits): `1` random, `2` deterministic, `3` stream; placement (low four bits): `1` inline, `2` stored |
//! | 1 | length of the class less one (high four bits), length of the scope less one (low four bits) |
//! | c, s | class, then scope: 1 to 16 of `[A-Za-z0-9_-]` each |
//! | k | the key: which data key sealed it, see below |
//! | | what the suite makes of the value, see below |
//!
//! | key, by placement and suite | bytes | field |
//! |---|---|---|
//! | inline; random and stream only | 32 | commitment to the data key |
//! | | 1 | number of encrypted data keys, 1 to 4, all of the same data key |
//! | | each 8 + 2 + e | KEK tag; length of the blob as u16 (1 to 6144); the blob |
//! | stored; random and stream | 16 | key id: the first 16 bytes of the commitment, which stands whole in the key's row |
//! | | 8 | salt of the process that sealed |
//! | stored; deterministic | 16 | key id |
//!
//! | suite | bytes | field |
//! |---|---|---|
//! | random | 12 | nonce, random |
//! | | p | AES-256-GCM ciphertext of the plaintext |
//! | | 16 | its tag |
//! | deterministic | 16 | synthetic IV (RFC 5297) |
//! | | p | AES-256-SIV ciphertext of the plaintext |
//! | stream | | see [`stream`](super::stream); it has no text form |
//!
//! The plaintext of the first two is one kind byte, the value, and the padding if there is any. Bit 0 of the kind byte says
//! whether the value is text (`0`) or a JSON literal (`1`), bit 1 whether it is padded (ISO/IEC 7816-4: `0x80`, then as many
//! `0x00` as it takes); the other bits are zero. Text is WTF-8: UTF-8, with a lone UTF-16 surrogate as its three bytes.
//!
//! The text form, a [`Token`](super::Token), is `sgv1.` and canonical base64url (RFC 4648 section 5) without padding, its
//! unused bits zero:
//!
//! ```text
//! token     = "sgv" version "." *base64url
//! version   = DIGIT                             ; "1"; any other digit is a token of another version
//! base64url = ALPHA / DIGIT / "-" / "_"
//! ```
//!
//! # Length
//!
//! An envelope takes `3 + c + s + k + t + 1 + v` bytes for a value of v bytes, where t is 28 (random) or 16 (deterministic)
//! and k is 33 plus 10 + e for each encrypted data key (inline), 24 (stored, random) or 16 (stored, deterministic). Its token
//! takes `5 + ceil(4/3 × that)` characters. Padding rounds `1 + v + 1` up to the next multiple of the class's `pad_bytes`.
//! [`token_chars`](super::token::token_chars) computes it. With 184 bytes from KMS, class and scope of 4 letters and a value of 11 bytes: inline 376,
//! stored 105, deterministic 79 characters.
//!
//! # Derivations
//!
//! - commitment = HKDF-SHA-256(IKM = data key, salt = none, info = lp(`sealgate/v1`) ‖ lp(`commitment`)), 32 bytes.
//! - field key = HKDF-SHA-256(IKM = data key, salt, info = lp(`sealgate/v1`) ‖ lp(purpose) ‖ lp(suite as one byte) ‖
//!   lp(class)): 32 bytes for AES-256-GCM, 64 for AES-256-SIV. The purpose is `field` (random), `lookup` (deterministic) or
//!   `stream`; the salt is the stored key's process salt, else none.
//! - AAD = the head, which is every byte of the layout up to nonce or synthetic IV as it stands, then lp(name) ‖ lp(value)
//!   for each bound value, in the order of the bytes of their names, no name twice. The deterministic suite takes it as the
//!   one associated string of S2V and has no bound values.
//! - KEK tag = first 8 bytes of SHA-256(lp(`sealgate/v1/kek`) ‖ lp(name of the KEK)). The name is the ARN of a KMS key as the
//!   config has it; [`KekTag`](super::KekTag) says what it is of other keepers.
//! - KMS encryption context = `app` = `sealgate`, `scope`, `purpose`.
//!
//! Of the 64 bytes for AES-256-SIV the first half is for S2V, the second for CTR (RFC 5297 2.6). No salt is a salt of
//! zeros to HKDF (RFC 5869 2.2): a process salt of eight zero bytes would come to the same. A random one never is that, and
//! the placement is in the AAD besides.
//!
//! A head says itself where it ends, so that no two heads and lists of bound values give the same AAD. All of it is
//! authenticated, the encrypted data keys of an inline token too: whoever passes a token on can neither strip the form
//! that a second region or a recovery key opens, nor spoil it, unless the token then opens nowhere. So an inline token is
//! wrapped anew only by sealing its value again; a stored key is wrapped anew in its row, which no token holds.
//!
//! # Reading
//!
//! In this order; the names are those of the published vectors (`tests/vectors`).
//!
//! 1. No `sgv`, digit, `.` at the start: `spelling`. A digit other than 1: `unknown_version`, whatever follows it. A body of
//!    4n + 1 characters: `truncated`. Not canonical base64url: `spelling`.
//! 2. From the first byte on: `unknown_version`, `unknown_suite` (stream, too, in a text), `unknown_placement` (inline, too,
//!    of the deterministic suite), `malformed` (class or scope outside the alphabet, number or length of encrypted data keys
//!    outside its range), and `truncated` where the next field, or the least body of one kind byte, is not there.
//! 3. The data key comes from KMS, by an encrypted data key of the token or of the key's row. Its commitment is computed
//!    and compared in constant time with that of the token, or with the key id and with the whole commitment of the row:
//!    `commitment`. Nothing else is derived of it before.
//! 4. Another class or scope than where the token stands, a failed decryption, an unknown bit in the kind byte, or padding
//!    that is announced and is not there (the last byte that is not zero, the kind byte aside, is not `0x80`):
//!    `unauthentic`. No more than that is told.
//!
//! # Limits
//!
//! Random nonces: a field key seals at most 2^32 values (SP 800-38D 8.3), and a data key far fewer by default. The limit
//! holds across a fleet and across restarts: an inline key seals in the process that made it and nowhere else, and of a
//! stored key each process derives field keys of its own by its random salt.
//!
//! # Not provided
//!
//! Class, scope and key id are public. A value's length shows unless the class is padded; then only its multiple does. The
//! deterministic suite shows which values of a class and scope are equal. An upstream that gives back an older token of the
//! same record is not noticed, nor, without bound values, one of another record of the same class and scope.

use super::context::Purpose;
use super::crypto::{NONCE_BYTES, TAG_BYTES};
use super::head::{Head, KeyRef, read_key};

/// The version that this build writes, and the only one that it reads.
pub const VERSION: u8 = 1;
/// The longest encrypted data key, in bytes: what KMS' `Decrypt` takes at most.
pub const EDK_BYTES_MAX: usize = 6144;
/// How many KEKs may have wrapped one data key.
pub const EDKS_MAX: usize = 4;
/// Bytes of the salt by which each process has field keys of its own of a stored data key.
pub const SALT_BYTES: usize = 8;

/// Which algorithm sealed a value. Ids on the wire are forever.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Suite {
    /// AES-256-GCM with a random nonce: the same value gives another token each time.
    Random,
    /// AES-256-SIV: the same value gives the same token, for looking it up by equality.
    Deterministic,
    /// AES-256-GCM by segments: attachments and whole bodies, in constant memory.
    Stream,
}

impl Suite {
    /// The id on the wire.
    #[must_use]
    pub const fn id(self) -> u8 {
        match self {
            Self::Random => 1,
            Self::Deterministic => 2,
            Self::Stream => 3,
        }
    }

    pub(super) const fn from_id(id: u8) -> Option<Self> {
        match id {
            1 => Some(Self::Random),
            2 => Some(Self::Deterministic),
            3 => Some(Self::Stream),
            _ => None,
        }
    }

    /// What its data keys are for.
    #[must_use]
    pub const fn purpose(self) -> Purpose {
        match self {
            Self::Random => Purpose::Field,
            Self::Deterministic => Purpose::Lookup,
            Self::Stream => Purpose::Stream,
        }
    }

    /// Its name in the config and in what people read.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Random => "random",
            Self::Deterministic => "deterministic",
            Self::Stream => "stream",
        }
    }
}

/// Where the encrypted data key is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Placement {
    /// In the envelope.
    Inline,
    /// In a key store or keyset file; the envelope names it.
    Stored,
}

impl Placement {
    pub(super) const fn id(self) -> u8 {
        match self {
            Self::Inline => 1,
            Self::Stored => 2,
        }
    }

    /// Its name in the config and in what people read.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Inline => "inline",
            Self::Stored => "stored",
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

/// An envelope as read: what can be told without a key, and the sealed bytes. Public bytes only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    pub(super) head: Head,
    pub(super) bytes: Vec<u8>,
}

impl Envelope {
    /// Reads an envelope of the random or deterministic suite; every byte must be accounted for.
    ///
    /// # Errors
    /// See [`ReadError`]. That it reads says nothing of whether it opens.
    pub fn read(bytes: Vec<u8>) -> Result<Self, ReadError> {
        let head = Head::read(&bytes)?;
        let least = match head.suite {
            Suite::Random => NONCE_BYTES + 1 + TAG_BYTES,
            Suite::Deterministic => TAG_BYTES + 1,
            // It is never a text, and has a reader of its own.
            Suite::Stream => return Err(ReadError::UnknownSuite(Suite::Stream.id())),
        };
        if bytes.len() - head.length() < least {
            return Err(ReadError::Truncated);
        }
        Ok(Self { head, bytes })
    }

    /// What can be told without a key.
    #[must_use]
    pub const fn head(&self) -> &Head {
        &self.head
    }

    /// The part that says which data key it is, as written: equal for all that one process sealed under one inline key.
    #[must_use]
    pub fn key_bytes(&self) -> &[u8] {
        self.bytes.get(self.head.key_range()).unwrap_or_default()
    }

    /// Which data key sealed it.
    #[must_use]
    pub fn key(&self) -> KeyRef {
        read_key(&self.head, &self.bytes)
    }

    /// How many bytes it takes without its head: nonce or IV, ciphertext, tag.
    #[must_use]
    pub fn sealed_bytes(&self) -> usize {
        self.bytes.len() - self.head.length()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::token::{TokenSize, token_chars};
    use crate::seal::{Class, Commitment, EncryptedDataKey, KekTag, KeyId, Scope};

    const SALT: [u8; SALT_BYTES] = [4; SALT_BYTES];

    fn inline() -> KeyRef {
        let edks = vec![EncryptedDataKey { kek: KekTag::from_bytes([5; 8]), blob: vec![6; 20] }];
        KeyRef::Inline { commitment: Commitment::from_bytes([7; 32]), edks }
    }

    fn sample(suite: Suite, key: &KeyRef, body: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        let labels = (Class::parse("ssn").unwrap(), Scope::parse("clinic").unwrap());
        let salt = (suite != Suite::Deterministic).then_some(SALT);
        Head::write(suite, labels, key, salt, &mut bytes);
        bytes.resize(bytes.len() + body, 9);
        bytes
    }

    fn samples() -> [Vec<u8>; 3] {
        let stored = KeyRef::Stored { id: KeyId::from_bytes([7; 16]) };
        [
            sample(Suite::Random, &inline(), 29),
            sample(Suite::Random, &stored, 29),
            sample(Suite::Deterministic, &stored, 17),
        ]
    }

    #[test]
    fn what_is_written_is_read() {
        let [inline_random, stored_random, deterministic] = samples().map(|bytes| Envelope::read(bytes).unwrap());
        for envelope in [&inline_random, &stored_random, &deterministic] {
            let head = envelope.head();
            assert_eq!((head.class.as_str(), head.scope.as_str()), ("ssn", "clinic"));
            assert_eq!(head.key_id, KeyId::from_bytes([7; 16]));
            assert_eq!(envelope.key().id(), head.key_id);
        }
        assert_eq!(inline_random.key(), inline());
        assert_eq!(stored_random.head().salt, Some(SALT));
        assert_eq!(deterministic.head().salt, None);
        assert_eq!(deterministic.head().encryption_context().purpose, Purpose::Lookup);
    }

    #[test]
    fn the_length_is_as_documented() {
        let size = TokenSize {
            suite: Suite::Random,
            edk_bytes: &[20],
            class_bytes: 3,
            scope_bytes: 6,
            value_bytes: 0,
            pad_bytes: 0,
        };
        let sizes = [size, TokenSize { edk_bytes: &[], ..size }];
        let deterministic = TokenSize { suite: Suite::Deterministic, ..sizes[1] };
        for (bytes, size) in samples().iter().zip([sizes[0], sizes[1], deterministic]) {
            assert_eq!(token_chars(&size), 5 + (bytes.len() * 4).div_ceil(3), "{size:?}");
        }
        let of = |suite, edk_bytes, value_bytes, labels| {
            let (class_bytes, scope_bytes) = (labels, labels);
            token_chars(&TokenSize { suite, edk_bytes, class_bytes, scope_bytes, value_bytes, pad_bytes: 0 })
        };
        assert_eq!(of(Suite::Random, &[184], 11, 4), 376);
        assert_eq!(of(Suite::Random, &[], 11, 4), 105);
        assert_eq!(of(Suite::Deterministic, &[], 11, 4), 79);
        assert!(of(Suite::Deterministic, &[], 64, 16) <= 200, "a value of 64 bytes fits a short column");
        // At most 56 bytes besides class, scope and value.
        assert_eq!(samples()[1].len(), 56 + 3 + 6);
        assert_eq!(
            token_chars(&TokenSize { value_bytes: 3, pad_bytes: 16, ..size }),
            token_chars(&TokenSize { value_bytes: 15, ..size })
        );
        assert_eq!(
            token_chars(&TokenSize { value_bytes: 15, pad_bytes: 16, ..size }),
            token_chars(&TokenSize { value_bytes: 31, ..size })
        );
    }

    #[test]
    fn every_truncation_is_named() {
        for whole in samples() {
            for length in 0..whole.len() {
                assert_eq!(Envelope::read(whole[..length].to_vec()), Err(ReadError::Truncated), "{length}");
            }
        }
    }

    #[test]
    fn what_another_build_may_know_is_told_apart_from_what_is_broken() {
        let change = |at: usize, to: u8| {
            let [mut bytes, ..] = samples();
            bytes[at] = to;
            Envelope::read(bytes).unwrap_err()
        };
        assert_eq!(change(0, 2), ReadError::UnknownVersion(2));
        assert_eq!(change(1, 0x91), ReadError::UnknownSuite(9));
        assert_eq!(change(1, 0x31), ReadError::UnknownSuite(3), "a stream is no text");
        assert_eq!(change(1, 0x13), ReadError::UnknownPlacement(3));
        assert_eq!(change(1, 0x21), ReadError::UnknownPlacement(1), "long-lived keys never ride in a token");
        assert_eq!(change(3, b'.'), ReadError::Malformed, "class outside its alphabet");
        assert_eq!(change(44, 0), ReadError::Malformed, "no encrypted data key");
        assert_eq!(change(44, 5), ReadError::Malformed, "too many encrypted data keys");
        assert_eq!(change(53, 0xff), ReadError::Malformed, "encrypted data key too long");
    }
}
