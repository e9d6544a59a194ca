//! The request target, in the one spelling that decides the route and goes upstream. Any other spelling is refused, so
//! that nobody walks around a rule by writing the path differently.

use crate::seal::token::holds_token;
use std::borrow::Cow;

/// How often percent-encoding is undone in search of tokens. Nobody has a reason to encode something so often.
const DECODINGS_MAX: usize = 8;

/// Why a target is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("request target is not canonical: {0}")]
pub struct NotCanonical(&'static str);

/// Splits a path (RFC 3986 3.3) into its segments, as they are written.
///
/// Refused are empty segments but for the last, dot segments, and characters or escapes by which servers disagree on
/// where a segment ends or what it says: `\`, `;`, `%2F`, `%5C`, `%3B`, `%25`, escaped control characters, and escapes of
/// characters that need none.
///
/// # Errors
/// [`NotCanonical`], with the reason.
pub(super) fn segments(path: &str) -> Result<Vec<&str>, NotCanonical> {
    let rest = path.strip_prefix('/').ok_or(NotCanonical("it does not start with a slash"))?;
    let segments: Vec<&str> = rest.split('/').collect();
    let last = segments.len() - 1;
    for (at, segment) in segments.iter().enumerate() {
        if segment.is_empty() && at != last {
            return Err(NotCanonical("it has an empty segment"));
        }
        if matches!(*segment, "." | "..") {
            return Err(NotCanonical("it has a dot segment"));
        }
        check(segment)?;
    }
    Ok(segments)
}

fn check(segment: &str) -> Result<(), NotCanonical> {
    let mut bytes = segment.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let digits = bytes.next().and_then(hex).zip(bytes.next().and_then(hex));
                let (high, low) = digits.ok_or(NotCanonical("it has a broken escape"))?;
                match high << 4 | low {
                    b'/' | b'\\' | b';' | b'%' => return Err(NotCanonical("it escapes a delimiter")),
                    0..=0x1f | 0x7f => return Err(NotCanonical("it escapes a control character")),
                    byte if is_plain(byte) => {
                        return Err(NotCanonical("it escapes a character that needs no escape"));
                    }
                    _ => {}
                }
            }
            byte if is_plain(byte) => {}
            _ => return Err(NotCanonical("it has a character that does not belong there")),
        }
    }
    Ok(())
}

/// `pchar` of RFC 3986 3.3 but for `;`: what stands in a segment as it is.
const fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*')
        || matches!(byte, b'+' | b',' | b'=' | b':' | b'@')
}

const fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// Undoes percent-encoding, and in a query also `+` for a blank; broken escapes stay as they are.
#[must_use]
pub(super) fn decode(text: &str, plus_is_blank: bool) -> Vec<u8> {
    undo(text.as_bytes(), plus_is_blank)
}

/// Whether a text that no rule reads holds a token, under however many layers of escapes: an upstream may undo more than one.
/// Known are those of URLs (`%73`, `%u0073`), of quoted strings (`\\s`, `\\u0073`) and of markup (`&#115;`, `&#x73;`). What has
/// too many layers holds one as far as anybody can tell.
#[must_use]
pub(super) fn may_hold_token(text: &[u8]) -> bool {
    let mut text = Cow::Borrowed(text);
    for _ in 0..=DECODINGS_MAX {
        if holds_token(&text) {
            return true;
        }
        if memchr::memchr3(b'%', b'\\', b'&', &text).is_none() {
            return false;
        }
        let decoded = unescape(&text);
        // Every escape that is undone makes it shorter.
        if decoded.len() == text.len() {
            return false;
        }
        text = Cow::Owned(decoded);
    }
    true
}

/// Undoes one layer of every kind of escape. What is none stays.
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [byte, tail @ ..] = rest {
        let (written, after) = match (byte, tail) {
            (b'%' | b'\\', [b'u' | b'U', after @ ..]) => number(after, 16, 4, false),
            (b'%', after) => number(after, 16, 2, false),
            (b'&', [b'#', b'x' | b'X', after @ ..]) => number(after, 16, 8, true),
            (b'&', [b'#', after @ ..]) => number(after, 10, 8, true),
            _ => None,
        }
        .or(match (byte, tail) {
            (b'\\', [quoted, after @ ..]) => Some((*quoted, after)),
            _ => None,
        })
        .unwrap_or((*byte, tail));
        out.push(written);
        rest = after;
    }
    out
}

/// A character of ASCII that is written as its number: with exactly so many digits, or with at most so many and perhaps a
/// semicolon.
fn number(text: &[u8], radix: u32, digits: usize, is_open: bool) -> Option<(u8, &[u8])> {
    let is_digit = |byte: &&u8| char::from(**byte).is_digit(radix);
    let count = text.iter().take(digits).take_while(is_digit).count();
    let (written, after) = text.split_at_checked(count)?;
    if count == 0 || (!is_open && count < digits) {
        return None;
    }
    let number = u32::from_str_radix(std::str::from_utf8(written).ok()?, radix).ok()?;
    let after = if is_open { after.strip_prefix(b";").unwrap_or(after) } else { after };
    // Of other characters only that they are no part of a token matters.
    Some((u8::try_from(number).unwrap_or(b'?'), after))
}

fn undo(text: &[u8], plus_is_blank: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [byte, tail @ ..] = rest {
        rest = tail;
        let escaped = match (byte, tail) {
            (b'%', [high, low, after @ ..]) => hex(*high).zip(hex(*low)).map(|(high, low)| (high << 4 | low, after)),
            _ => None,
        };
        match escaped {
            Some((byte, after)) => {
                out.push(byte);
                rest = after;
            }
            None if *byte == b'+' && plus_is_blank => out.push(b' '),
            None => out.push(*byte),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_spelling_of_a_path() {
        for (path, good) in [
            ("/", true),
            ("/Patient/1", true),
            ("/Patient/", true),
            ("/a%20b/%C3%A9", true),
            ("/a:b@c,d=e", true),
            ("", false),
            ("Patient", false),
            ("*", false),
            ("//Patient", false),
            ("/Patient//1", false),
            ("/x/../Patient", false),
            ("/./Patient", false),
            ("/x/%2e%2e/Patient", false),
            ("/%50atient/1", false),
            ("/Patient/%24everything", false),
            ("/patients%3Acreate", false),
            ("/a%7Cb", true),
            ("/Patient%2f1", false),
            ("/Patient%5C1", false),
            ("/Patient\\1", false),
            ("/Patient;v=1", false),
            ("/Patient%3Bv", false),
            ("/Patient%2531", false),
            ("/Patient%00", false),
            ("/Patient%0a", false),
            ("/Patient%7", false),
            ("/Patient%zz", false),
            ("/Patient|1", false),
            ("/Pat\u{e9}nt", false),
        ] {
            assert_eq!(segments(path).is_ok(), good, "{path:?}");
        }
    }

    #[test]
    fn decoding_is_done_once() {
        assert_eq!(decode("a+b%20c%2", true), b"a b c%2");
        assert_eq!(decode("a+b", false), b"a+b");
        assert_eq!(decode("%2541", false), b"%41");
    }

    #[test]
    fn a_token_is_found_however_often_it_is_encoded() {
        let mut token = "sgv1.AQ".replace('s', "%73").replace('.', "%2E");
        for layer in 1..40 {
            assert!(may_hold_token(format!("a={token}&b").as_bytes()), "{layer} layers");
            token = token.replace('%', "%25");
        }
        for text in [
            r#"W/"s\gv1.AQ""#,
            r"\u0073gv1.AQ",
            r"\\u0073gv1.AQ",
            "%u0073gv1.AQ",
            "%5Cu0073gv1.AQ",
            "&#115;gv1.AQ",
            "&#x73;gv1&#46AQ",
            "%26%23115%3Bgv1.AQ",
            "&#0000115;gv1.",
            "Patient?a=%73gv1.AQ",
        ] {
            assert!(may_hold_token(text.as_bytes()), "{text}");
        }
        for text in ["sgv1.AQ", "%73%67%76%31%2e", "%2573g%76%25252531.", "100%%73gv1.", "x%2525252573gv1.AQ"] {
            assert!(may_hold_token(text.as_bytes()), "{text}");
        }
        // Broken escapes stay, and many layers of nothing are suspicious.
        for (text, held) in [
            ("", false),
            ("sgv1", false),
            ("100%", false),
            ("%zz%2", false),
            ("a%20b%2520c%252520d", false),
            ("%2525252525252525", false),
            ("%25252525252525252525", true),
            ("%7gsgv1.", true),
            (r"C:\sgv\data.txt", false),
            ("a & b &# c &#x; &amp; \\", false),
            ("%u00zz%u", false),
            ("s&#233;gv1.", false),
        ] {
            assert_eq!(may_hold_token(text.as_bytes()), held, "{text}");
        }
    }
}
