//! Texts as they are written in HTML, so that they end nothing and a browser reads them as they were.
//!
//! A numeric reference cannot stand for NUL, nor for U+0080 to U+009F, which browsers take for other characters (13.2.5.80):
//! these are written raw.

use crate::document::NotWritable;
use crate::document::text::readable;

/// Text between tags. Controls are written as references too: readers change a carriage return, and an escape character may
/// make them guess another encoding.
pub(in crate::document) fn text(text_wtf8: &[u8], out: &mut Vec<u8>) -> Result<(), NotWritable> {
    characters(text_wtf8, out, is_plain)
}

/// The same where readers drop a line feed: it gets one before it.
pub(in crate::document) fn first_text(text_wtf8: &[u8], out: &mut Vec<u8>) -> Result<(), NotWritable> {
    let content = readable(text_wtf8)?;
    if content.starts_with('\n') {
        out.push(b'\n');
    }
    text(content.as_bytes(), out)
}

/// A part of a quoted attribute value.
pub(in crate::document) fn attribute(text_wtf8: &[u8], out: &mut Vec<u8>) -> Result<(), NotWritable> {
    characters(text_wtf8, out, |c| is_plain(c) && !matches!(c, '\t' | '\n' | '`'))
}

/// A part of an unquoted attribute value. If it were empty, readers could take what follows for the value.
pub(in crate::document) fn unquoted(text_wtf8: &[u8], out: &mut Vec<u8>) -> Result<(), NotWritable> {
    if text_wtf8.is_empty() {
        return Err(NotWritable);
    }
    characters(text_wtf8, out, |c| c.is_ascii_alphanumeric())
}

/// A part of a URL: all but the unreserved characters (RFC 3986 2.3) percent-encoded. As a segment of a path, `.` and `..`
/// would lead elsewhere.
pub(in crate::document) fn url(text_wtf8: &[u8], out: &mut Vec<u8>) -> Result<(), NotWritable> {
    let content = std::str::from_utf8(text_wtf8).map_err(|_| NotWritable)?;
    if content == "." || content == ".." {
        return Err(NotWritable);
    }
    for byte in content.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(byte),
            _ => out.extend_from_slice(&[b'%', hex_digit(byte >> 4), hex_digit(byte & 0xf)]),
        }
    }
    Ok(())
}

/// A part of a string literal of JavaScript or JSON, in either quotes. Lone surrogates are legal there.
pub(in crate::document) fn js_string(text_wtf8: &[u8], out: &mut Vec<u8>) -> Result<(), NotWritable> {
    let start = out.len();
    let mut rest = text_wtf8;
    while !rest.is_empty() {
        let valid = std::str::from_utf8(rest).map_or_else(|error| error.valid_up_to(), str::len);
        let (head, tail) = rest.split_at(valid);
        std::str::from_utf8(head).unwrap_or_default().encode_utf16().for_each(|unit| unit_into(unit, out));
        rest = match *tail {
            [] => tail,
            [0xed, b @ 0xa0..=0xbf, c @ 0x80..=0xbf, ref after @ ..] => {
                unit_into(0xd000 | u16::from(b & 0x3f) << 6 | u16::from(c & 0x3f), out);
                after
            }
            _ => {
                out.truncate(start);
                return Err(NotWritable);
            }
        };
    }
    Ok(())
}

fn unit_into(unit: u16, out: &mut Vec<u8>) {
    match u8::try_from(unit) {
        Ok(byte) if byte.is_ascii_alphanumeric() || byte == b' ' => out.push(byte),
        _ => {
            let [high, low] = unit.to_be_bytes();
            let digits = [high >> 4, high & 0xf, low >> 4, low & 0xf].map(hex_digit);
            out.extend_from_slice(b"\\u");
            out.extend_from_slice(&digits.map(|digit| digit.to_ascii_lowercase()));
        }
    }
}

/// Whether a character may stand raw between tags. A byte order mark may not, lest it come first in the document.
fn is_plain(c: char) -> bool {
    !matches!(c, '&' | '<' | '>' | '"' | '\'' | '\u{feff}' | '\0'..='\x08' | '\x0b'..='\x1f' | '\x7f')
}

fn characters(text_wtf8: &[u8], out: &mut Vec<u8>, is_plain: fn(char) -> bool) -> Result<(), NotWritable> {
    for c in readable(text_wtf8)?.chars() {
        match c {
            '&' => out.extend_from_slice(b"&amp;"),
            '<' => out.extend_from_slice(b"&lt;"),
            '>' => out.extend_from_slice(b"&gt;"),
            '"' => out.extend_from_slice(b"&quot;"),
            _ if is_plain(c) || matches!(c, '\u{80}'..='\u{9f}') => {
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            }
            _ => out.extend_from_slice(format!("&#{};", u32::from(c)).as_bytes()),
        }
    }
    Ok(())
}

/// Of a number below 16, in upper case.
fn hex_digit(nibble: u8) -> u8 {
    if nibble < 10 { b'0' + nibble } else { b'A' + nibble - 10 }
}
