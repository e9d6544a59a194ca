//! The headers of one part (RFC 7578 4.2 to 4.8), read as strictly as no two servers can differ about them.
//!
//! It never changes them, and knows neither rules nor contents.

use std::ops::Range;

use super::parameters::{self, Parameter};
use crate::document::Fault;

/// What the headers of a part say.
#[derive(Debug)]
pub(super) struct Head {
    /// The name of the field.
    pub(super) name: Parameter,
    pub(super) filename: Option<Parameter>,
    /// `filename*` (RFC 8187), decoded.
    pub(super) long_filename: Option<Vec<u8>>,
    /// Whether the content is UTF-8, or says nothing else.
    pub(super) utf8: bool,
    /// Whether it is `text/plain`, or says nothing else.
    pub(super) plain: bool,
    /// How long the content is, in bytes, if a header says so.
    pub(super) length: Option<u64>,
}

impl Head {
    pub(super) fn is_file(&self) -> bool {
        self.filename.is_some() || self.long_filename.is_some()
    }

    /// Whether this is what browsers send when no file was chosen. Some servers take it for a field.
    pub(super) fn is_nameless_file(&self) -> bool {
        self.filename.as_ref().is_some_and(|name| name.text.is_empty())
    }
}

/// Reads the header lines in `block`, which stands at `offset` of the body, without the empty line that ends them.
///
/// # Errors
///
/// Lines that are folded, have no colon or hold control characters (a CR or LF alone too); two of the headers that are
/// read here, or one that is not well-formed; a disposition other than `form-data` with one `name`; encoded or nested
/// content.
pub(super) fn read(block: &[u8], offset: u64) -> Result<Head, Fault> {
    if let Err(error) = std::str::from_utf8(block) {
        return Err(Fault::NotUtf8 { offset: offset + error.valid_up_to() as u64 });
    }
    let mut headers = Headers::default();
    let mut start = 0;
    let ends = memchr::memmem::find_iter(block, b"\r\n").chain([block.len()]);
    for end in ends {
        headers.line(block, start..end, offset)?;
        start = end + 2;
    }
    let refused = |what| Fault::Unaccepted { offset, what };
    let disposition = headers.disposition.ok_or(refused("part without Content-Disposition"))?;
    let name = disposition.name.ok_or(refused("part without a name"))?;
    Ok(Head {
        name,
        filename: disposition.filename,
        long_filename: disposition.long_filename,
        utf8: headers.content.is_none_or(|content| content.utf8),
        plain: headers.content.is_none_or(|content| content.plain),
        length: headers.length,
    })
}

/// What has been read of a part.
#[derive(Default)]
struct Headers {
    disposition: Option<Disposition>,
    content: Option<ContentType>,
    encoded: Option<()>,
    length: Option<u64>,
}

#[derive(Clone, Copy)]
struct ContentType {
    utf8: bool,
    plain: bool,
}

#[derive(Default)]
struct Disposition {
    name: Option<Parameter>,
    filename: Option<Parameter>,
    long_filename: Option<Vec<u8>>,
}

impl Headers {
    fn line(&mut self, block: &[u8], range: Range<usize>, offset: u64) -> Result<(), Fault> {
        let line = block.get(range.clone()).unwrap_or_default();
        let at = |index: usize| offset + (range.start + index) as u64;
        let refused = |what| Fault::Unaccepted { offset: at(0), what };
        if let Some(index) = line.iter().position(|&b| b < 0x20 && b != b'\t' || b == 0x7f) {
            return Err(Fault::ControlCharacter { offset: at(index) });
        }
        if line.starts_with(b" ") || line.starts_with(b"\t") {
            return Err(refused("folded part header"));
        }
        let colon = memchr::memchr(b':', line).ok_or(refused("part header without a colon"))?;
        let (name, value) = line.split_at(colon);
        if !parameters::is_token(name) {
            return Err(refused("part header with a name that is none"));
        }
        let value = value.get(1..).unwrap_or_default().trim_ascii();
        let again = match name.to_ascii_lowercase().as_slice() {
            b"content-disposition" => {
                // Positions within the block are those within what ends with the value.
                let lead = range.start + colon + 1;
                let rest = block.get(lead..range.end).unwrap_or_default();
                let lead = lead + (rest.len() - rest.trim_ascii_start().len());
                self.disposition.replace(disposition(value, lead).map_err(refused)?).is_some()
            }
            b"content-type" => self.content.replace(content_type(value).map_err(refused)?).is_some(),
            b"content-transfer-encoding" => {
                if ![&b"7bit"[..], b"8bit", b"binary"].iter().any(|plain| value.eq_ignore_ascii_case(plain)) {
                    return Err(refused("encoded part"));
                }
                self.encoded.replace(()).is_some()
            }
            b"content-length" => {
                let digits = std::str::from_utf8(value).ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
                let length =
                    digits.and_then(|text| text.parse().ok()).ok_or(refused("part with a bad Content-Length"))?;
                self.length.replace(length).is_some()
            }
            _ => false,
        };
        if again { Err(refused("part header twice")) } else { Ok(()) }
    }
}

/// Reads a `Content-Disposition` that starts at `start` of the headers.
fn disposition(value: &[u8], start: usize) -> Result<Disposition, &'static str> {
    let (kind, parameters) = parameters::read(value, start)?;
    if !kind.eq_ignore_ascii_case(b"form-data") {
        return Err("disposition other than form-data");
    }
    let mut found = Disposition::default();
    for (key, parameter) in parameters {
        if contains(&parameter.text, b"name=") {
            return Err("parameter with a parameter inside");
        }
        // PHP takes these for quotes.
        let bare = parameter.range.len() == parameter.text.len() && !key.contains(&b'*');
        if key.contains(&b'\'') || (bare && parameter.text.contains(&b'\'')) {
            return Err("apostrophe outside quotes");
        }
        match key.as_slice() {
            b"name" => found.name = Some(checked_name(parameter)?),
            b"filename" => found.filename = Some(parameter),
            b"filename*" => {
                let text = parameters::extended(&parameter.text).ok_or("bad `filename*`")?;
                found.long_filename = Some(text);
            }
            other if other.contains(&b'*') || contains(other, b"name") => {
                return Err("parameter that could be taken for a name");
            }
            _ => {}
        }
    }
    Ok(found)
}

/// Servers read escapes in names differently: as RFC 2045, RFC 2047, WHATWG HTML, or not at all.
fn checked_name(name: Parameter) -> Result<Parameter, &'static str> {
    if name.text.is_empty() {
        return Err("part without a name");
    }
    if name.text.contains(&b'\\') || super::holds_escape(&name.text) || contains(&name.text, b"=?") {
        return Err("name with an escape");
    }
    Ok(name)
}

/// Reads a `Content-Type`.
fn content_type(value: &[u8]) -> Result<ContentType, &'static str> {
    let (kind, parameters) = parameters::read(value, 0)?;
    if kind.get(..10).is_some_and(|start| start.eq_ignore_ascii_case(b"multipart/")) {
        return Err("nested multipart");
    }
    let mut parts = kind.split(|&b| b == b'/');
    let whole = (parts.next(), parts.next(), parts.next());
    if !matches!(whole, (Some(kind), Some(subtype), None) if parameters::is_token(kind) && parameters::is_token(subtype))
    {
        return Err("part with a bad Content-Type");
    }
    let is_plain = |text: &[u8]| text.eq_ignore_ascii_case(b"utf-8") || text.eq_ignore_ascii_case(b"us-ascii");
    let charsets = parameters.iter().filter(|(key, _)| key.starts_with(b"charset"));
    let mut charsets = charsets.into_iter();
    let utf8 = charsets.all(|(key, value)| key == b"charset" && is_plain(&value.text));
    Ok(ContentType { utf8, plain: kind.eq_ignore_ascii_case(b"text/plain") })
}

/// Whether `text` contains `part`, which is in lower case.
pub(super) fn contains(text: &[u8], part: &[u8]) -> bool {
    memchr::memmem::find(&text.to_ascii_lowercase(), part).is_some()
}
