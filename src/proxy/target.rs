//! The request target, in the one spelling that decides the route and goes upstream. Any other spelling is refused, so
//! that nobody walks around a rule by writing the path differently.

use crate::seal::token::holds_token;
use std::borrow::Cow;

/// How often percent-encoding is undone in search of tokens. Nobody has a reason to encode something so often.
const DECODINGS_MAX: usize = 32;

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

/// Undoes percent-encoding; broken escapes stay as they are.
#[must_use]
pub(super) fn decode(text: &str) -> Vec<u8> {
    unescape(text.as_bytes(), |text| match text {
        [b'%', after @ ..] => number(after, 16, 2),
        _ => None,
    })
}

/// Whether a text that no rule reads holds a token, under however many layers of escapes: an upstream may undo more than one.
/// Known are those of URLs (`%73`, `%u0073`), of markup (`&#115;`, `&amp;`), and of strings (`\\x73`, `\\u0073`, `\\s`). What has too
/// many layers holds one as far as anybody can tell.
#[must_use]
pub(super) fn may_hold_token(text: &[u8]) -> bool {
    let mut text = Cow::Borrowed(text);
    for _ in 0..=DECODINGS_MAX {
        if holds_token(&text) {
            return true;
        }
        if find_escape(&text).is_none() {
            return false;
        }
        // What is written by a number first: a quoted pair of its first character would spoil it.
        let kinds: [Kind; 3] = [of_urls, of_markup_and_strings, of_pairs];
        // Every escape that is undone makes it shorter.
        let decoded = kinds.into_iter().map(|kind| unescape(&text, kind)).find(|decoded| decoded.len() < text.len());
        let Some(decoded) = decoded else { return false };
        text = Cow::Owned(decoded);
    }
    true
}

/// Where the first escape of any kind may start.
pub(super) fn find_escape(text: &[u8]) -> Option<usize> {
    memchr::memchr3(b'%', b'\\', b'&', text)
}

/// A kind of escape: what stands at the start of a text, if it is one, and what follows.
type Kind = fn(&[u8]) -> Option<(u8, &[u8])>;

/// Undoes one layer of one kind of escape. What is none stays.
fn unescape(text: &[u8], kind: Kind) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [byte, tail @ ..] = rest {
        let (written, after) = kind(rest).unwrap_or((*byte, tail));
        out.push(written);
        rest = after;
    }
    out
}

fn of_urls(text: &[u8]) -> Option<(u8, &[u8])> {
    match text {
        [b'%', b'u' | b'U', after @ ..] => number(after, 16, 4),
        [b'%', after @ ..] => number(after, 16, 2),
        _ => None,
    }
}

fn of_markup_and_strings(text: &[u8]) -> Option<(u8, &[u8])> {
    match text {
        [b'&', b'#', b'x' | b'X', after @ ..] => open_number(after, 16, b";"),
        [b'&', b'#', after @ ..] => open_number(after, 10, b";"),
        [b'\\', b'u', b'{', after @ ..] => open_number(after, 16, b"}"),
        [b'\\', b'u', after @ ..] => number(after, 16, 4),
        [b'\\', b'U', after @ ..] => number(after, 16, 8),
        [b'\\', b'x', after @ ..] => number(after, 16, 2),
        [b'&', ..] => {
            let named = [(b"&amp;".as_slice(), b'&'), (b"&period;", b'.')];
            named.iter().find_map(|(name, byte)| Some((*byte, text.strip_prefix(*name)?)))
        }
        _ => None,
    }
}

/// RFC 9110 5.6.4, and every language with strings.
fn of_pairs(text: &[u8]) -> Option<(u8, &[u8])> {
    match text {
        [b'\\', quoted, after @ ..] => Some((*quoted, after)),
        _ => None,
    }
}

/// A character that is written as its number, with exactly so many digits.
fn number(text: &[u8], radix: u32, digits: usize) -> Option<(u8, &[u8])> {
    let (written, after) = text.split_at_checked(digits)?;
    written.iter().all(|byte| char::from(*byte).is_digit(radix)).then_some(())?;
    let number = u32::from_str_radix(std::str::from_utf8(written).ok()?, radix).ok()?;
    // Of characters beyond ASCII only that they are no part of a token matters.
    Some((u8::try_from(number).unwrap_or(b'?'), after))
}

/// The same with any number of zeros before it, and perhaps an end behind it.
fn open_number<'t>(text: &'t [u8], radix: u32, end: &[u8]) -> Option<(u8, &'t [u8])> {
    let zeros = text.iter().take_while(|byte| **byte == b'0').count();
    let rest = text.get(zeros..)?;
    let digits = rest.iter().take(8).take_while(|byte| char::from(**byte).is_digit(radix)).count();
    let (written, after) =
        if digits == 0 && zeros > 0 { (0, rest) } else { number(rest, radix, digits).filter(|_| digits > 0)? };
    Some((written, after.strip_prefix(end).unwrap_or(after)))
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
        assert_eq!(decode("a+b%20c%2"), b"a+b c%2");
        assert_eq!(decode("%2541"), b"%41");
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
            "&#00000000000115;gv1.",
            "&#1%315;gv1.",
            "&amp;#115;gv1.",
            "sgv1&period;AQ",
            r"\x73gv1.",
            r"\u{73}gv1.",
            r"\u{000073}gv1.",
            r"\U00000073gv1.",
            r"\u%30073gv1.",
            r"\%750073gv1.",
            "%5Cu%2530073gv1.",
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
            ("%25252525252525252525", false),
            ("&#0;&#;&#x;\\u{}\\u{", false),
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
