//! The text form of an envelope: `sgv1.` and canonical base64url (RFC 4648 section 5) without padding.
//!
//! Case-sensitive. The alphabet `[A-Za-z0-9_.-]` passes through JSON, XML, HTML, URLs, headers and CSV as it is, and the
//! dot keeps base64 data from ever looking like the start of one.

use super::crypto::{NONCE_BYTES, TAG_BYTES};
use super::envelope::{Envelope, ReadError, SALT_BYTES, Suite, VERSION};
use base64_simd::URL_SAFE_NO_PAD as BASE64URL;
use memchr::memmem::Finder;
use std::sync::LazyLock;

const PREFIX: &str = "sgv1.";
const MARK: &[u8] = b"sgv";

static MARKS: LazyLock<Finder<'_>> = LazyLock::new(|| Finder::new(MARK));

/// An envelope as it stands in a body. What is in it is public: it may be shown, stored and logged.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Token(String);

impl Token {
    /// The text of an envelope's first bytes, a multiple of three of them.
    pub(crate) fn begin(head: &[u8]) -> String {
        let mut text = String::with_capacity(PREFIX.len() + BASE64URL.encoded_length(head.len()));
        text.push_str(PREFIX);
        BASE64URL.encode_append(head, &mut text);
        text
    }

    /// The token of which `begin` made the beginning, with the rest of its bytes.
    pub(crate) fn write(beginning: &str, rest: &[u8]) -> Self {
        let mut text = String::with_capacity(beginning.len() + BASE64URL.encoded_length(rest.len()));
        text.push_str(beginning);
        BASE64URL.encode_append(rest, &mut text);
        Self(text)
    }

    /// Reads the one spelling that opens; surrounding white space or any other character makes it another text.
    ///
    /// # Errors
    /// [`ReadError`], with [`ReadError::UnknownVersion`] where the prefix is that of another version.
    pub fn read(text: &[u8]) -> Result<Envelope, ReadError> {
        let Some((version, body)) = split(text) else {
            return Err(ReadError::Spelling);
        };
        if version != VERSION {
            return Err(ReadError::UnknownVersion(version));
        }
        // A length of 4n + 1 cannot be base64: the text was cut.
        if body.len() % 4 == 1 {
            return Err(ReadError::Truncated);
        }
        let bytes = BASE64URL.decode_to_vec(body).map_err(|_| ReadError::Spelling)?;
        Envelope::read(bytes)
    }

    /// Takes a text that reads as a token, as it is kept in a database. Whether it opens is not asked.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn parse(text: impl Into<String>) -> Result<Self, ReadError> {
        let text = text.into();
        Self::read(text.as_bytes()).map(|_| Self(text))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<Token> for String {
    fn from(token: Token) -> String {
        token.0
    }
}

/// Whether `text` starts as a token of any version does: a value that must be opened or refused, never passed as it is.
#[must_use]
pub fn starts_as_token(text: &[u8]) -> bool {
    split(text).is_some()
}

/// Whether the start of a token, of any version, stands anywhere in `text`.
#[must_use]
pub fn holds_token(text: &[u8]) -> bool {
    find_token(text).is_some()
}

/// Where in `text` the first start of a token, of any version, stands.
#[must_use]
pub fn find_token(text: &[u8]) -> Option<usize> {
    MARKS.find_iter(text).find(|at| text.get(*at..).is_some_and(starts_as_token))
}

fn split(text: &[u8]) -> Option<(u8, &[u8])> {
    match text.strip_prefix(MARK)? {
        [version @ b'0'..=b'9', b'.', body @ ..] => Some((version - b'0', body)),
        _ => None,
    }
}

const KEY_ID_BYTES: usize = 16;

/// How the length of a token comes about.
#[derive(Clone, Copy, Debug)]
pub struct TokenSize<'a> {
    /// Random or deterministic.
    pub suite: Suite,
    /// Bytes of each encrypted data key; empty where the key is stored.
    pub edk_bytes: &'a [usize],
    /// Bytes of the class.
    pub class_bytes: usize,
    /// Bytes of the scope.
    pub scope_bytes: usize,
    /// Bytes of the value.
    pub value_bytes: usize,
    /// The multiple that the class is padded to; 0 or 1: not at all.
    pub pad_bytes: usize,
}

/// How many characters a token takes; the formula of the module's documentation.
#[must_use]
pub fn token_chars(size: &TokenSize<'_>) -> usize {
    let key = match size.edk_bytes {
        [] if size.suite == Suite::Deterministic => KEY_ID_BYTES,
        [] => KEY_ID_BYTES + SALT_BYTES,
        edks => 33 + edks.iter().map(|bytes| 10 + bytes).sum::<usize>(),
    };
    let around = if size.suite == Suite::Deterministic { TAG_BYTES } else { NONCE_BYTES + TAG_BYTES };
    let plain = match size.pad_bytes {
        0 | 1 => 1 + size.value_bytes,
        multiple => (2 + size.value_bytes).next_multiple_of(multiple),
    };
    5 + ((3 + size.class_bytes + size.scope_bytes + key + around + plain) * 4).div_ceil(3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_start_of_a_token_is_taken_for_one() {
        for (text, whole, within) in [
            ("sgv1.AQEB", true, true),
            ("sgv9.", true, true),
            ("see sgv1.AQEB", false, true),
            ("sgvsgv2.x", false, true),
            ("sgv1", false, false),
            ("sgv.AQ", false, false),
            ("SGV1.AQ", false, false),
            ("sgvx.AQ", false, false),
            ("", false, false),
        ] {
            assert_eq!(starts_as_token(text.as_bytes()), whole, "{text:?}");
            assert_eq!(holds_token(text.as_bytes()), within, "{text:?}");
        }
    }

    /// Long texts take another way through the decoder than short ones.
    #[test]
    fn one_spelling_only_at_any_length() {
        use data_encoding::{BASE64_NOPAD, BASE64URL_NOPAD};
        let bytes: Vec<u8> = (0..150_u8).map(|byte| byte.wrapping_mul(101)).collect();
        for length in 0..bytes.len() {
            let text = Token::write("", &bytes[..length]).0;
            assert_eq!(text, BASE64URL_NOPAD.encode(&bytes[..length]));
            assert_eq!(BASE64URL.decode_to_vec(&text).unwrap(), bytes[..length]);
            let other = BASE64_NOPAD.encode(&bytes[..length]);
            assert_eq!(BASE64URL.decode_to_vec(&other).is_ok(), text == other, "{other}");
            for (at, wrong) in (0..text.len()).flat_map(|at| b" =+/.\n\xff".iter().map(move |wrong| (at, wrong))) {
                let mut changed = text.clone().into_bytes();
                changed[at] = *wrong;
                assert!(BASE64URL.decode_to_vec(&changed).is_err(), "{wrong} at {at} of {}", text.len());
            }
            for last in 0..=255 {
                let mut changed = text.clone().into_bytes();
                changed.push(last);
                let want = BASE64URL_NOPAD.decode(&changed).ok();
                assert_eq!(BASE64URL.decode_to_vec(&changed).ok(), want, "{last} after {}", text.len());
            }
        }
    }

    #[test]
    fn one_spelling_only() {
        for (text, error) in [
            ("sgv1.AQ==", ReadError::Spelling),
            ("sgv1.AR", ReadError::Spelling),
            ("sgv1.A+", ReadError::Spelling),
            ("sgv1.AQ ", ReadError::Spelling),
            (" sgv1.AQ", ReadError::Spelling),
            ("sgv1.AQEBA", ReadError::Truncated),
            ("sgv1.", ReadError::Truncated),
            ("sgv2.AQ", ReadError::UnknownVersion(2)),
            ("sgv1.Ag", ReadError::UnknownVersion(2)),
        ] {
            assert_eq!(Token::read(text.as_bytes()).unwrap_err(), error, "{text:?}");
        }
    }
}
