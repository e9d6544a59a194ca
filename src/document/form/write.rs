//! Texts written into forms and queries.

use crate::document::NotWritable;

/// Writes a text as WHATWG URL 5.2 says: `*-._`, letters and digits as they are, a blank as `+`, all else escaped.
pub(in crate::document) fn form(text_wtf8: &[u8], out: &mut Vec<u8>) -> Result<(), NotWritable> {
    for &byte in checked(text_wtf8)? {
        match byte {
            b' ' => out.push(b'+'),
            b'*' | b'-' | b'.' | b'_' => out.push(byte),
            _ => letter_or_escape(byte, out),
        }
    }
    Ok(())
}

/// Writes a text with all escaped but the unreserved characters of RFC 3986 2.3.
pub(in crate::document) fn query(text_wtf8: &[u8], out: &mut Vec<u8>) -> Result<(), NotWritable> {
    for &byte in checked(text_wtf8)? {
        match byte {
            b'-' | b'.' | b'_' | b'~' => out.push(byte),
            _ => letter_or_escape(byte, out),
        }
    }
    Ok(())
}

/// There is no way to write a lone surrogate.
fn checked(text: &[u8]) -> Result<&[u8], NotWritable> {
    std::str::from_utf8(text).map(str::as_bytes).map_err(|_| NotWritable)
}

fn letter_or_escape(byte: u8, out: &mut Vec<u8>) {
    if byte.is_ascii_alphanumeric() {
        out.push(byte);
        return;
    }
    out.push(b'%');
    for nibble in [byte >> 4, byte & 0xf] {
        out.push(if nibble < 10 { b'0' + nibble } else { b'A' + nibble - 10 });
    }
}
