//! What a value is bound to: its class, its scope, and the values of the rule's `bind` list.

use super::envelope::{Suite, VERSION};
use super::key::KeyId;
use super::length_prefix;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::io::Write;
use std::ops::Deref;

/// The longest class or scope, in bytes.
pub(crate) const LABEL_BYTES_MAX: usize = 16;

/// Says why a text is no class or scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("wanted 1 to 16 characters of [A-Za-z0-9_-]")]
pub struct NotALabel;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Label {
    bytes: [u8; LABEL_BYTES_MAX],
    length: u8,
}

impl Label {
    fn parse(text: &[u8]) -> Result<Self, NotALabel> {
        let length = u8::try_from(text.len()).map_err(|_| NotALabel)?;
        let mut bytes = [0; LABEL_BYTES_MAX];
        let room = bytes.get_mut(..text.len()).ok_or(NotALabel)?;
        let allowed = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
        if text.is_empty() || !text.iter().all(allowed) {
            return Err(NotALabel);
        }
        room.copy_from_slice(text);
        Ok(Self { bytes, length })
    }

    fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.length)).unwrap_or_default()
    }

    fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }
}

/// At once: the bytes alone tell labels apart, for none has a zero in it.
impl Hash for Label {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u128(u128::from_le_bytes(self.bytes));
    }
}

macro_rules! label {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Label);

        impl $name {
            /// Reads a label of 1 to 16 characters of `[A-Za-z0-9_-]`.
            ///
            /// # Errors
            /// [`NotALabel`] for every other text.
            pub fn parse(text: &str) -> Result<Self, NotALabel> {
                Label::parse(text.as_bytes()).map(Self)
            }

            pub(crate) fn from_bytes(text: &[u8]) -> Result<Self, NotALabel> {
                Label::parse(text).map(Self)
            }

            pub(crate) fn as_bytes(&self) -> &[u8] {
                self.0.as_bytes()
            }

            /// The label as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                self.0.as_str()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", self.as_str())
            }
        }
    };
}

label! {
    /// The operator's name for a kind of PHI, such as `ssn`. Policy speaks of classes. Public: it stands in every token.
    Class
}

label! {
    /// Whose data it is: an opaque tenant or patient id. Public: it stands in every token and in KMS' logs, so it must
    /// never be PHI itself.
    Scope
}

/// What one value is sealed under. A token opens only where all of it is the same again.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The kind of PHI.
    pub class: Class,
    /// Whose data it is.
    pub scope: Scope,
    /// Names and values of the rule's `bind` list, in the order of their names.
    pub bind: &'a [(&'a str, &'a [u8])],
}

impl Context<'_> {
    /// The additional authenticated data (SP 800-38D 5.2.1.1): every part length-prefixed, in this order: the label
    /// `sealgate/v1/aad`, version and suite, key id, class, scope, then each bind name and value.
    ///
    /// Encrypted data keys and placement are left out on purpose: a token can be re-wrapped under another KEK without
    /// being opened. The commitment ties it to its data key all the same.
    pub(crate) fn aad(&self, suite: Suite, key_id: &KeyId) -> Aad {
        let mut fixed = [0; Aad::FIXED_BYTES_MAX];
        let mut room = fixed.as_mut_slice();
        let parts: [&[u8]; 5] = [
            b"sealgate/v1/aad",
            &[VERSION, suite.id()],
            key_id.as_bytes(),
            self.class.as_bytes(),
            self.scope.as_bytes(),
        ];
        for part in parts {
            // None is longer than 16 bytes, and there is room for all of them.
            let length = [0, 0, 0, u8::try_from(part.len()).unwrap_or_default()];
            let _fits = room.write_all(&length).and_then(|()| room.write_all(part));
        }
        let length = Aad::FIXED_BYTES_MAX - room.len();
        let mut bound = Vec::new();
        if !self.bind.is_empty() {
            let bytes = self.bind.iter().map(|(name, value)| 8 + name.len() + value.len());
            bound.reserve_exact(length + bytes.sum::<usize>());
            bound.extend_from_slice(fixed.get(..length).unwrap_or_default());
            self.bind_into(&mut bound);
        }
        Aad { fixed, length, bound }
    }

    /// Appends the bound values, the part of the AAD that is another one for each record.
    pub(crate) fn bind_into(&self, aad: &mut Vec<u8>) {
        for (name, value) in self.bind {
            length_prefix(name.as_bytes(), aad);
            length_prefix(value, aad);
        }
    }
}

/// Additional authenticated data. Nothing is allocated for it unless there are bound values.
pub(crate) struct Aad {
    fixed: [u8; Self::FIXED_BYTES_MAX],
    length: usize,
    /// The whole of it, where there are bound values.
    bound: Vec<u8>,
}

impl Aad {
    /// Five length-prefixed parts: 15, 2, 16, and at most 16 and 16 bytes.
    const FIXED_BYTES_MAX: usize = 5 * 4 + 15 + 2 + 16 + 2 * LABEL_BYTES_MAX;
}

impl Deref for Aad {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        if self.bound.is_empty() { self.fixed.get(..self.length).unwrap_or_default() } else { &self.bound }
    }
}

/// What a data key is for. A key has one purpose, and the suite of a token tells which.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
#[non_exhaustive]
pub enum Purpose {
    /// Values, random suite.
    Field,
    /// Values that are looked up by equality, deterministic suite.
    Lookup,
    /// Values that keep their format.
    Format,
    /// Attachments and whole bodies, stream suite.
    Stream,
}

impl Purpose {
    /// All of them.
    pub const ALL: &[Self] = &[Self::Field, Self::Lookup, Self::Format, Self::Stream];

    /// The purpose as KMS logs it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Field => "field",
            Self::Lookup => "lookup",
            Self::Format => "format",
            Self::Stream => "stream",
        }
    }

    /// The purpose of that name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|purpose| purpose.as_str() == text)
    }
}

/// The non-secret pairs that KMS binds to an encrypted data key: `app`, `scope` and `purpose`, nothing else.
///
/// It is readable in CloudTrail, so all three are opaque ids.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct EncryptionContext {
    /// Whose data the key seals.
    pub scope: Scope,
    /// What the key is for.
    pub purpose: Purpose,
}

impl EncryptionContext {
    /// The three pairs.
    #[must_use]
    pub fn pairs(&self) -> [(&'static str, &str); 3] {
        [("app", "sealgate"), ("scope", self.scope.as_str()), ("purpose", self.purpose.as_str())]
    }

    /// The pairs as the AAD of a wrap of our own: the label that is for it alone, then names and values.
    pub(crate) fn aad(&self, label: &[u8]) -> Vec<u8> {
        let mut aad = Vec::with_capacity(128);
        length_prefix(label, &mut aad);
        for (name, value) in self.pairs() {
            length_prefix(name.as_bytes(), &mut aad);
            length_prefix(value.as_bytes(), &mut aad);
        }
        aad
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_short_and_plain() {
        for (text, good) in [
            ("ssn", true),
            ("A-b_9", true),
            ("sixteen_letters_", true),
            ("seventeen_letters", false),
            ("", false),
            ("a.b", false),
            ("a b", false),
            ("naïve", false),
            ("a\n", false),
        ] {
            assert_eq!(Class::parse(text).is_ok(), good, "{text:?}");
        }
        assert_eq!(Class::parse("ssn").unwrap().to_string(), "ssn");
    }

    #[test]
    fn the_aad_is_as_documented_at_any_length_of_its_parts() {
        let id = KeyId::from_bytes([7; 16]);
        let longest = "sixteen_letters_";
        for (class, scope) in [("s", "c"), ("ssn", longest), (longest, longest)] {
            for bind in [&[][..], &[("id", b"42".as_slice())][..]] {
                let (class, scope) = (Class::parse(class).unwrap(), Scope::parse(scope).unwrap());
                let mut want = Vec::new();
                for part in [b"sealgate/v1/aad".as_slice(), &[1, 2], &[7; 16]] {
                    length_prefix(part, &mut want);
                }
                length_prefix(class.as_str().as_bytes(), &mut want);
                length_prefix(scope.as_str().as_bytes(), &mut want);
                for (name, value) in bind {
                    length_prefix(name.as_bytes(), &mut want);
                    length_prefix(value, &mut want);
                }
                let aad = Context { class, scope, bind }.aad(Suite::Deterministic, &id);
                assert_eq!(*aad, *want, "{class} {scope} {bind:?}");
            }
        }
    }

    #[test]
    fn parts_of_the_aad_cannot_trade_places() {
        let id = KeyId::from_bytes([7; 16]);
        let aad = |class: &str, scope: &str, bind: &[(&str, &[u8])]| {
            let (class, scope) = (Class::parse(class).unwrap(), Scope::parse(scope).unwrap());
            Context { class, scope, bind }.aad(Suite::Random, &id).to_vec()
        };
        let all = [
            aad("ab", "c", &[]),
            aad("a", "bc", &[]),
            aad("a", "b", &[("c", b"")]),
            aad("a", "b", &[("", b"c")]),
            aad("a", "b", &[("c", b"d"), ("e", b"f")]),
            aad("a", "b", &[("e", b"f"), ("c", b"d")]),
        ];
        for (i, one) in all.iter().enumerate() {
            assert!(all.iter().skip(i + 1).all(|other| other != one));
        }
    }
}
