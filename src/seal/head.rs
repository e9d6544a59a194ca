//! What can be told of an envelope without a key: suite, class, scope, and which data key.

use super::context::{Class, Context, EncryptionContext, LABEL_BYTES_MAX, Scope};
use super::envelope::{EDK_BYTES_MAX, EDKS_MAX, Placement, ReadError, SALT_BYTES, Suite, VERSION};
use super::key::{Commitment, EncryptedDataKey, KekTag, KeyId};
use super::opener::OpenError;
use std::ops::Range;

/// Which data key sealed something, as its envelope says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyRef {
    /// The key is in the envelope, wrapped.
    Inline {
        /// Commits to it.
        commitment: Commitment,
        /// Its encrypted forms, any of which opens it.
        edks: Vec<EncryptedDataKey>,
    },
    /// The key is in a store or keyset.
    Stored {
        /// Names it.
        id: KeyId,
    },
}

impl KeyRef {
    /// What names the key.
    #[must_use]
    pub fn id(&self) -> KeyId {
        match self {
            Self::Inline { commitment, .. } => commitment.key_id(),
            Self::Stored { id } => *id,
        }
    }

    /// As it stands in an envelope, without the salt that may follow.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Inline { commitment, edks } => {
                out.extend_from_slice(commitment.as_bytes());
                out.push(u8::try_from(edks.len()).unwrap_or(u8::MAX));
                for edk in edks {
                    out.extend_from_slice(edk.kek.as_bytes());
                    out.extend_from_slice(&u16::try_from(edk.blob.len()).unwrap_or(u16::MAX).to_be_bytes());
                    out.extend_from_slice(&edk.blob);
                }
            }
            Self::Stored { id } => out.extend_from_slice(id.as_bytes()),
        }
    }
}

/// What can be told of an envelope without a key. Fixed in size: nothing is allocated for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The suite.
    pub suite: Suite,
    /// Where the encrypted data key is.
    pub placement: Placement,
    /// The class that it was sealed as.
    pub class: Class,
    /// The scope that it was sealed for.
    pub scope: Scope,
    /// What names its data key.
    pub key_id: KeyId,
    pub(crate) commitment: Option<Commitment>,
    /// The salt of the process that sealed, of a stored data key.
    pub(crate) salt: Option<[u8; SALT_BYTES]>,
    /// Where in the bytes the key stands.
    key: Range<usize>,
}

impl Head {
    /// What KMS binds the data key to.
    #[must_use]
    pub const fn encryption_context(&self) -> EncryptionContext {
        EncryptionContext { scope: self.scope, purpose: self.suite.purpose() }
    }

    /// What the head says of class and scope is what the reader goes by, so that it must be true.
    pub(super) fn check(&self, context: &Context<'_>) -> Result<(), OpenError> {
        let same = (self.class, self.scope) == (context.class, context.scope);
        if same { Ok(()) } else { Err(OpenError::Unauthentic) }
    }

    /// How many bytes of the envelope it takes.
    #[must_use]
    pub const fn length(&self) -> usize {
        self.key.end
    }

    pub(super) fn key_range(&self) -> Range<usize> {
        self.key.clone()
    }

    pub(crate) fn read(whole: &[u8]) -> Result<Self, ReadError> {
        let mut bytes = Bytes(whole);
        let version = bytes.byte()?;
        if version != VERSION {
            return Err(ReadError::UnknownVersion(version));
        }
        let kinds = bytes.byte()?;
        let suite = Suite::from_id(kinds >> 4).ok_or(ReadError::UnknownSuite(kinds >> 4))?;
        let placement = match (kinds & 0xf, suite) {
            (1, Suite::Random | Suite::Stream) => Placement::Inline,
            (2, _) => Placement::Stored,
            (other, _) => return Err(ReadError::UnknownPlacement(other)),
        };
        let lengths = bytes.byte()?;
        let label = |length: u8| usize::from(length) + 1;
        let class = Class::from_bytes(bytes.take(label(lengths >> 4))?).map_err(|_| ReadError::Malformed)?;
        let scope = Scope::from_bytes(bytes.take(label(lengths & 0xf))?).map_err(|_| ReadError::Malformed)?;
        let start = whole.len() - bytes.0.len();
        let mut salt = None;
        let (key_id, commitment) = match placement {
            Placement::Inline => {
                let commitment = Commitment::from_bytes(bytes.array()?);
                bytes.edks(|_, _| ())?;
                (commitment.key_id(), Some(commitment))
            }
            Placement::Stored => {
                let id = KeyId::from_bytes(bytes.array()?);
                if suite != Suite::Deterministic {
                    salt = Some(bytes.array()?);
                }
                (id, None)
            }
        };
        let key = start..whole.len() - bytes.0.len();
        Ok(Self { suite, placement, class, scope, key_id, commitment, salt, key })
    }

    /// Appends what stands before the value: of a deterministic or random envelope everything up to IV or nonce.
    pub(crate) fn write(
        suite: Suite,
        (class, scope): (Class, Scope),
        key: &KeyRef,
        salt: Option<[u8; SALT_BYTES]>,
        out: &mut Vec<u8>,
    ) {
        let placement = match key {
            KeyRef::Inline { .. } => Placement::Inline,
            KeyRef::Stored { .. } => Placement::Stored,
        };
        out.extend_from_slice(&[VERSION, suite.id() << 4 | placement.id()]);
        let length = |label: &str| u8::try_from(label.len().saturating_sub(1)).unwrap_or_default() & 0xf;
        out.push(length(class.as_str()) << 4 | length(scope.as_str()));
        out.extend_from_slice(class.as_bytes());
        out.extend_from_slice(scope.as_bytes());
        key.write(out);
        if let (KeyRef::Stored { .. }, Some(salt)) = (key, salt) {
            out.extend_from_slice(&salt);
        }
    }
}

/// The key of a head that was read from `bytes`.
pub(super) fn read_key(head: &Head, bytes: &[u8]) -> KeyRef {
    let Some(commitment) = head.commitment else {
        return KeyRef::Stored { id: head.key_id };
    };
    let mut edks = Vec::new();
    let mut bytes = Bytes(bytes.get(head.key.start + 32..head.key.end).unwrap_or_default());
    // It was read before, so that nothing can be wrong with it now.
    let _read = bytes.edks(|kek, blob| edks.push(EncryptedDataKey { kek, blob: blob.to_vec() }));
    KeyRef::Inline { commitment, edks }
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

    fn edks(&mut self, mut each: impl FnMut(KekTag, &'a [u8])) -> Result<(), ReadError> {
        let count = usize::from(self.byte()?);
        if count == 0 || count > EDKS_MAX {
            return Err(ReadError::Malformed);
        }
        for _ in 0..count {
            let kek = KekTag::from_bytes(self.array()?);
            let length = usize::from(u16::from_be_bytes(self.array()?));
            if length == 0 || length > EDK_BYTES_MAX {
                return Err(ReadError::Malformed);
            }
            each(kek, self.take(length)?);
        }
        Ok(())
    }
}

const _: () = assert!(LABEL_BYTES_MAX == 16, "the length of a label less one takes four bits");
