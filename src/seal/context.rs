//! What a value is bound to: its class, its scope, and the values of the rule's `bind` list.

use super::length_prefix;
use std::borrow::Cow;
use std::fmt;
use std::hash::{Hash, Hasher};

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
    /// The additional authenticated data (SP 800-38D 5.2.1.1) of what begins with `head`: the head as it stands, with class,
    /// scope and encrypted data keys, then each bind name and value, length-prefixed.
    ///
    /// A head says itself how long it is, and its field key is derived for nothing but version 1 and its suite, so that it
    /// needs neither length nor label before it. Where there are no bound values, nothing is copied.
    pub(crate) fn aad<'head>(&self, head: &'head [u8]) -> Cow<'head, [u8]> {
        if self.bind.is_empty() {
            return Cow::Borrowed(head);
        }
        let bound = self.bind.iter().map(|(name, value)| 8 + name.len() + value.len());
        let mut aad = Vec::with_capacity(head.len() + bound.sum::<usize>());
        aad.extend_from_slice(head);
        self.bind_into(&mut aad);
        Cow::Owned(aad)
    }

    /// Appends the bound values, the part of the AAD that is another one for each record.
    pub(crate) fn bind_into(&self, aad: &mut Vec<u8>) {
        for (name, value) in self.bind {
            length_prefix(name.as_bytes(), aad);
            length_prefix(value, aad);
        }
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
    fn the_aad_is_the_head_and_what_it_is_bound_to() {
        let aad = |bind: &[(&str, &[u8])]| {
            let (class, scope) = (Class::parse("ssn").unwrap(), Scope::parse("clinic").unwrap());
            Context { class, scope, bind }.aad(b"head").into_owned()
        };
        assert_eq!(aad(&[]), b"head");
        assert_eq!(aad(&[("id", b"42")]), b"head\0\0\0\x02id\0\0\0\x0242");
        let all = [
            aad(&[("c", b"")]),
            aad(&[("", b"c")]),
            aad(&[("c", b"d"), ("e", b"f")]),
            aad(&[("e", b"f"), ("c", b"d")]),
            aad(&[("c", b"\0\0\0\x01d")]),
        ];
        for (i, one) in all.iter().enumerate() {
            assert!(all.iter().skip(i + 1).all(|other| other != one), "no two lists give the same bytes");
        }
    }
}
