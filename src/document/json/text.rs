//! Strings: escapes undone and written. Text is WTF-8 on this side, so that lone surrogates survive.

use super::scan;

/// Writes a JSON string literal with as few escapes as RFC 8259 7 allows.
///
/// `text_wtf8` is UTF-8 in which lone surrogates may stand as three bytes each; they leave as `\uXXXX`. A byte sequence
/// that is not even that leaves as `\ufffd`, so that what is written is always valid.
pub fn quote(text_wtf8: &[u8], out: &mut Vec<u8>) {
    out.reserve(text_wtf8.len() + 2);
    out.push(b'"');
    let mut rest = text_wtf8;
    while !rest.is_empty() {
        let (valid, bad) = match std::str::from_utf8(rest) {
            Ok(_) => (rest.len(), 0),
            Err(error) => (error.valid_up_to(), error.error_len().unwrap_or(rest.len() - error.valid_up_to())),
        };
        let (head, tail) = rest.split_at(valid);
        escape_into(head, out);
        rest = match tail {
            &[0xed, b @ 0xa0..=0xbf, c @ 0x80..=0xbf, ref after @ ..] => {
                unit_into(0xd000 | u16::from(b & 0x3f) << 6 | u16::from(c & 0x3f), out);
                after
            }
            _ => {
                if bad > 0 {
                    unit_into(0xfffd, out);
                }
                tail.get(bad..).unwrap_or_default()
            }
        };
    }
    out.push(b'"');
}

fn escape_into(text: &[u8], out: &mut Vec<u8>) {
    let mut rest = text;
    loop {
        let (plain, tail) = rest.split_at(scan::skip_inside(rest, 0));
        out.extend_from_slice(plain);
        let Some((&byte, tail)) = tail.split_first() else {
            return;
        };
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            0x08 => out.extend_from_slice(b"\\b"),
            0x0c => out.extend_from_slice(b"\\f"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            _ => unit_into(u16::from(byte), out),
        }
        rest = tail;
    }
}

fn unit_into(unit: u16, out: &mut Vec<u8>) {
    out.extend_from_slice(b"\\u");
    for nibble in [unit >> 12, unit >> 8, unit >> 4, unit] {
        let [_, digit] = (nibble & 0xf).to_be_bytes();
        out.push(if digit < 10 { b'0' + digit } else { b'a' + digit - 10 });
    }
}

/// The text of a string literal that has been scanned before; `None` if it is another value.
pub(in crate::document) fn unquote(literal: &[u8]) -> Option<Vec<u8>> {
    let inside = literal.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    let mut text = Vec::with_capacity(inside.len());
    decode(inside, &mut text);
    Some(text)
}

/// Undoes the escapes of a string's inside (without its quotes) that has been scanned before.
pub(super) fn decode(inside: &[u8], out: &mut Vec<u8>) {
    let mut rest = inside;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        let (plain, tail) = rest.split_at(at);
        out.extend_from_slice(plain);
        rest = decode_escape(tail, out);
        while let [b'\\', ..] = rest {
            rest = decode_escape(rest, out);
        }
    }
    out.extend_from_slice(rest);
}

/// `tail` starts with a backslash. What cannot be an escape, which the scan excludes, is dropped.
fn decode_escape<'a>(tail: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
    let Some((&[_, letter], after)) = tail.split_first_chunk::<2>() else {
        return &[];
    };
    let byte = match letter {
        b'b' => 0x08,
        b'f' => 0x0c,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'u' => {
            let (code, after) = decode_unit(after);
            encode_wtf8(code, out);
            return after;
        }
        other => other,
    };
    out.push(byte);
    after
}

/// `digits` follow `\u`; a high surrogate takes the low one after it along.
fn decode_unit(digits: &[u8]) -> (u32, &[u8]) {
    let Some((first, after)) = hex_unit(digits) else {
        return (0xfffd, &[]);
    };
    if (0xd800..0xdc00).contains(&first)
        && let Some((second, after)) = after.strip_prefix(b"\\u").and_then(hex_unit)
        && (0xdc00..0xe000).contains(&second)
    {
        return (0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00), after);
    }
    (first, after)
}

/// Reads four hexadecimal digits.
pub(super) fn hex_unit(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (digits, after) = bytes.split_first_chunk::<4>()?;
    let mut unit = 0;
    for &digit in digits {
        unit = unit << 4 | char::from(digit).to_digit(16)?;
    }
    Some((unit, after))
}

fn encode_wtf8(code: u32, out: &mut Vec<u8>) {
    if let Some(c) = char::from_u32(code) {
        out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
    } else {
        let [_, _, high, low] = code.to_be_bytes();
        out.extend_from_slice(&[0xe0 | high >> 4, 0x80 | (high & 0xf) << 2 | low >> 6, 0x80 | low & 0x3f]);
    }
}

#[cfg(test)]
mod tests {
    use super::super::scan;
    use super::*;
    use proptest::prelude::*;

    fn decoded(inside: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        decode(inside, &mut out);
        out
    }

    fn quoted(text: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        quote(text, &mut out);
        out
    }

    #[test]
    fn strings_decode_and_are_quoted_again() {
        for (inside, text, literal) in [
            (&br""[..], &b""[..], &br#""""#[..]),
            (br"abc", b"abc", br#""abc""#),
            (br"s\u0073n", b"ssn", br#""ssn""#),
            (br#"\"\\\/\b\f\n\r\t"#, b"\"\\/\x08\x0c\n\r\t", br#""\"\\/\b\f\n\r\t""#),
            (br"\u0000\u001F\u007f", b"\0\x1f\x7f", b"\"\\u0000\\u001f\x7f\""),
            (br"\u00e9\u20AC", "é€".as_bytes(), "\"é€\"".as_bytes()),
            (br"\ud83d\ude00", "😀".as_bytes(), "\"😀\"".as_bytes()),
            (br"\uDBFF\uDFFF", "\u{10ffff}".as_bytes(), "\"\u{10ffff}\"".as_bytes()),
            (br"\ud800", b"\xed\xa0\x80", br#""\ud800""#),
            (br"\udfffx", b"\xed\xbf\xbfx", br#""\udfffx""#),
            (br"\ude00\ud83d", b"\xed\xb8\x80\xed\xa0\xbd", br#""\ude00\ud83d""#),
            (br"\ud83d\ud83d\ude00", b"\xed\xa0\xbd\xf0\x9f\x98\x80", b"\"\\ud83d\xf0\x9f\x98\x80\""),
            (br"\ud83d\n", b"\xed\xa0\xbd\n", br#""\ud83d\n""#),
        ] {
            assert_eq!(decoded(inside), text, "{}", inside.escape_ascii());
            assert_eq!(quoted(text), literal, "{}", inside.escape_ascii());
        }
    }

    #[test]
    fn quoting_what_is_no_text_still_gives_a_literal() {
        for (text, literal) in [
            (&b"\xff"[..], &br#""\ufffd""#[..]),
            (b"a\xe2\x82", br#""a\ufffd""#),
            (b"\xed\xa0", br#""\ufffd\ufffd""#),
            (b"\x80b", br#""\ufffdb""#),
        ] {
            assert_eq!(quoted(text), literal, "{}", text.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn quoted_text_decodes_to_itself(units in proptest::collection::vec(any::<u16>(), 0..60)) {
            let mut inside = String::new();
            for unit in &units {
                inside.push_str(&format!("\\u{unit:04x}"));
            }
            let text = decoded(inside.as_bytes());
            let literal = quoted(&text);
            prop_assert!(std::str::from_utf8(&literal).is_ok());
            prop_assert_eq!(decoded(&literal[1..literal.len() - 1]), text);
        }

        #[test]
        fn plain_text_is_quoted_as_a_reader_expects(text in any::<String>()) {
            let literal = quoted(text.as_bytes());
            prop_assert_eq!(serde_json::from_slice::<String>(&literal).unwrap(), text);
        }

        #[test]
        fn any_bytes_give_a_valid_literal(bytes in any::<Vec<u8>>()) {
            let literal = quoted(&bytes);
            prop_assert!(std::str::from_utf8(&literal).is_ok());
            let scanned = scan::string(&literal, 1, &mut false);
            prop_assert!(matches!(scanned, Ok(scan::Reach::Closed(end)) if end == literal.len()));
        }
    }
}
