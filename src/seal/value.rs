//! What is sealed, and what comes back: a value with its kind, and padding that hides its length.

use super::envelope::Suite;
use std::ops::Range;
use zeroize::Zeroize;

const LITERAL: u8 = 1;
const PADDED: u8 = 2;
/// ISO/IEC 7816-4: one of these, then zeros.
const PADDING_STARTS: u8 = 0x80;

/// What a sealed value was, so that its type comes back.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Kind {
    /// Text, in WTF-8: it comes back as the same text, escaped for the medium that it then stands in.
    Text,
    /// A JSON number, boolean, object or array, byte for byte.
    Literal,
}

/// How a value is sealed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Manner {
    /// Random or deterministic.
    pub suite: Suite,
    /// What the value is.
    pub kind: Kind,
    /// The multiple to which the plaintext is padded, in bytes; 0 or 1: not at all.
    pub pad_bytes: usize,
}

impl Manner {
    /// The random suite, not padded.
    #[must_use]
    pub const fn random(kind: Kind) -> Self {
        Self { suite: Suite::Random, kind, pad_bytes: 0 }
    }

    /// The deterministic suite, not padded.
    #[must_use]
    pub const fn deterministic(kind: Kind) -> Self {
        Self { suite: Suite::Deterministic, kind, pad_bytes: 0 }
    }

    /// The same, padded.
    #[must_use]
    pub const fn padded(self, pad_bytes: usize) -> Self {
        Self { pad_bytes, ..self }
    }

    /// The most bytes that [`write`](Self::write) appends.
    pub(super) const fn bytes_max(&self, value: &[u8]) -> usize {
        value.len().saturating_add(2).saturating_add(self.pad_bytes)
    }

    /// Appends kind byte, value and padding.
    pub(super) fn write(&self, value: &[u8], out: &mut Vec<u8>) {
        let kind = match self.kind {
            Kind::Text => 0,
            Kind::Literal => LITERAL,
        };
        let start = out.len();
        if self.pad_bytes <= 1 {
            out.push(kind);
            out.extend_from_slice(value);
            return;
        }
        out.push(kind | PADDED);
        out.extend_from_slice(value);
        out.push(PADDING_STARTS);
        out.resize(start + (out.len() - start).next_multiple_of(self.pad_bytes), 0);
    }
}

/// An opened value. Zeroized on drop; no `Clone`, `Debug`, `Display` or `Serialize`.
///
/// ```compile_fail
/// fn show(value: sealgate::seal::Value) { println!("{value:?}"); }
/// ```
pub struct Value {
    kind: Kind,
    plaintext: Plaintext,
    range: Range<usize>,
}

/// The memory of an envelope, which from `start` on is about to hold, or holds, a plaintext. That part is zeroized on drop;
/// what is before it is public.
pub(super) struct Plaintext {
    bytes: Vec<u8>,
    start: usize,
}

impl Plaintext {
    pub(super) const fn new(bytes: Vec<u8>, start: usize) -> Self {
        Self { bytes, start }
    }

    /// What is before the plaintext, and the plaintext or what is to become it.
    pub(super) fn split(&mut self) -> Option<(&[u8], &mut [u8])> {
        self.bytes.split_at_mut_checked(self.start).map(|(before, secret)| (&*before, secret))
    }
}

impl Drop for Plaintext {
    fn drop(&mut self) {
        // A slice is wiped at once, a vector byte by byte.
        if let Some(secret) = self.bytes.get_mut(self.start..) {
            secret.zeroize();
        }
    }
}

impl Value {
    /// Takes a plaintext of `length` bytes; `None` if it is none of ours, though it authenticated.
    pub(super) fn read(plaintext: Plaintext, length: usize) -> Option<Self> {
        let start = plaintext.start;
        let bytes = plaintext.bytes.get(start..start + length)?;
        let (kind, padded) = bytes.split_first()?;
        if kind & !(LITERAL | PADDED) != 0 {
            return None;
        }
        let mut end = bytes.len();
        if kind & PADDED != 0 {
            let last = padded.iter().rposition(|byte| *byte != 0)?;
            if padded.get(last) != Some(&PADDING_STARTS) {
                return None;
            }
            end = 1 + last;
        }
        let kind = if kind & LITERAL == 0 { Kind::Text } else { Kind::Literal };
        Some(Self { kind, plaintext, range: start + 1..start + end })
    }

    /// What it was.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// The value, to be written where the one who asked for it will read it, and nowhere else.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        self.plaintext.bytes.get(self.range.clone()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plaintext(manner: Manner, value: &[u8]) -> Vec<u8> {
        let mut out = b"before".to_vec();
        manner.write(value, &mut out);
        out
    }

    fn read(bytes: Vec<u8>, start: usize) -> Option<Value> {
        let length = bytes.len() - start;
        Value::read(Plaintext::new(bytes, start), length)
    }

    #[test]
    fn padding_hides_the_length_and_is_taken_off_again() {
        for length in 0..70 {
            // Ends that look like padding are no padding.
            for last in [b'x', 0, PADDING_STARTS] {
                let mut value = vec![b'v'; length];
                value.extend((length > 0).then_some(last));
                let manner = Manner::random(Kind::Literal).padded(32);
                let bytes = plaintext(manner, &value);
                assert_eq!((bytes.len() - 6) % 32, 0);
                let back = read(bytes, 6).unwrap();
                assert_eq!((back.kind(), back.expose()), (Kind::Literal, &value[..]), "{length}");
                let bare = read(plaintext(Manner::random(Kind::Text), &value), 6).unwrap();
                assert_eq!((bare.kind(), bare.expose()), (Kind::Text, &value[..]));
            }
        }
    }

    #[test]
    fn a_plaintext_of_no_known_form_is_no_value() {
        for bytes in [&[][..], &[4], &[0xff, 1], &[PADDED], &[PADDED, 0, 0], &[PADDED, 7, 0]] {
            assert!(read(bytes.to_vec(), 0).is_none(), "{bytes:?}");
        }
    }
}
