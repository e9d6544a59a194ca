//! Text and attribute values: references undone, line ends normalised, and values written.

use super::scan;
use super::{Rewriter, Rules};
use crate::document::{Limits, NotWritable, Rewrite, Step};

use std::sync::Arc;

const CDATA_OPEN: &[u8] = b"<![CDATA[";
const CDATA_CLOSE: &[u8] = b"]]>";

/// Decodes text with references and CDATA sections that has been scanned before. A part that is cut at the end is
/// left out.
pub(super) fn decode(raw: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = memchr::memchr3(b'&', b'<', b'\r', rest) {
        let (plain, tail) = rest.split_at(at);
        out.extend_from_slice(plain);
        rest = match tail.strip_prefix(CDATA_OPEN) {
            Some(inside) => {
                let end = memchr::memmem::find(inside, CDATA_CLOSE).unwrap_or(inside.len());
                let (inside, after) = inside.split_at(end);
                decode_lines(inside, &mut out);
                after.get(CDATA_CLOSE.len()..).unwrap_or_default()
            }
            None => decode_one(tail, b"\n", &mut out),
        };
    }
    out.extend_from_slice(rest);
    out
}

/// Decodes an attribute value that has been scanned before (XML 3.3.3, for attributes of type CDATA).
pub(super) fn decode_attribute(raw: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = rest.iter().position(|b| matches!(b, b'&' | b'\t' | b'\n' | b'\r')) {
        let (plain, tail) = rest.split_at(at);
        out.extend_from_slice(plain);
        rest = decode_one(tail, b" ", &mut out);
    }
    out.extend_from_slice(rest);
    out
}

/// What the first byte of `tail` starts: a reference or a line end.
fn decode_one<'a>(tail: &'a [u8], space: &[u8], out: &mut Vec<u8>) -> &'a [u8] {
    match tail {
        [b'&', ..] => match scan::reference(tail) {
            Ok(Some((c, len))) => {
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                tail.get(len..).unwrap_or_default()
            }
            _ => &[],
        },
        [b'\r', b'\n', after @ ..] | [b'\r' | b'\n' | b'\t', after @ ..] => {
            out.extend_from_slice(space);
            after
        }
        _ => &[],
    }
}

fn decode_lines(inside: &[u8], out: &mut Vec<u8>) {
    let mut rest = inside;
    while let Some(at) = memchr::memchr(b'\r', rest) {
        let (plain, tail) = rest.split_at(at);
        out.extend_from_slice(plain);
        rest = decode_one(tail, b"\n", out);
    }
    out.extend_from_slice(rest);
}

/// Writes the text of an element.
///
/// White space at the ends leaves as character references: literal white space there is not part of a value.
pub(in crate::document) fn write_text(text: &[u8], out: &mut Vec<u8>) -> Result<(), NotWritable> {
    let core = scan::trim(text);
    let lead = scan::spaces(text);
    let (head, rest) = text.split_at(lead);
    let tail = rest.get(core.len()..).unwrap_or_default();
    check_chars(text)?;
    head.iter().for_each(|&byte| write_number(byte, out));
    for &byte in core {
        match byte {
            b'\r' => write_number(byte, out),
            _ => write_byte(byte, out),
        }
    }
    tail.iter().for_each(|&byte| write_number(byte, out));
    Ok(())
}

/// Writes an attribute value that stands in quotes of the given kind.
pub(in crate::document) fn write_attribute(text: &[u8], quote: u8, out: &mut Vec<u8>) -> Result<(), NotWritable> {
    check_chars(text)?;
    for &byte in text {
        match byte {
            b'"' if quote == byte => out.extend_from_slice(b"&quot;"),
            b'\'' if quote == byte => out.extend_from_slice(b"&apos;"),
            b'\t' | b'\n' | b'\r' => write_number(byte, out),
            _ => write_byte(byte, out),
        }
    }
    Ok(())
}

/// Writes markup as it is, if it may stand between two tags. Prefixes are not looked up: what they mean is declared
/// around the place.
pub(in crate::document) fn write_markup(markup: &[u8], out: &mut Vec<u8>) -> Result<(), NotWritable> {
    let rules = Rules::compile(&[]).map_err(|_| NotWritable)?;
    let limits =
        Limits { depth_max: usize::MAX, value_bytes_max: usize::MAX, name_bytes_max: usize::MAX, ..Limits::default() };
    let mut rewriter = Rewriter::of_fragment(Arc::new(rules), limits);
    for piece in [b"<x>", markup, b"</x>"] {
        rewriter.feed(piece);
        if rewriter.step() != Ok(Step::NeedInput) {
            return Err(NotWritable);
        }
    }
    rewriter.finish();
    if rewriter.step() != Ok(Step::Done) {
        return Err(NotWritable);
    }
    out.extend_from_slice(markup);
    Ok(())
}

fn check_chars(text: &[u8]) -> Result<(), NotWritable> {
    let text = std::str::from_utf8(text).map_err(|_| NotWritable)?;
    if text.chars().all(scan::is_char) { Ok(()) } else { Err(NotWritable) }
}

fn write_byte(byte: u8, out: &mut Vec<u8>) {
    match byte {
        b'&' => out.extend_from_slice(b"&amp;"),
        b'<' => out.extend_from_slice(b"&lt;"),
        b'>' => out.extend_from_slice(b"&gt;"),
        _ => out.push(byte),
    }
}

fn write_number(byte: u8, out: &mut Vec<u8>) {
    out.extend_from_slice(match byte {
        b'\t' => b"&#9;",
        b'\n' => b"&#10;",
        b'\r' => b"&#13;",
        _ => b"&#32;",
    });
}
