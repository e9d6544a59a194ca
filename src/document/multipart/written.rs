//! What is written into a multipart form. It must never hold the boundary.

use memchr::memmem::Finder;

use super::headers;
use crate::document::NotWritable;

/// What has left of the file at hand, as far as a boundary could begin there.
#[derive(Default)]
pub(super) struct Written {
    tail: Vec<u8>,
}

impl Written {
    /// Begins a content.
    pub(super) fn start(&mut self) {
        self.tail.clear();
    }

    /// Whether `bytes` may leave: no boundary in them nor, where they are a `piece` of a file, begun in the pieces before.
    pub(super) fn passes(&mut self, finder: &Finder<'_>, bytes: &[u8], piece: bool) -> bool {
        if finder.find(bytes).is_some() {
            return false;
        }
        if !piece {
            return true;
        }
        let open = finder.needle().len() - 1;
        let (head, last) = (bytes.get(..open).unwrap_or(bytes), bytes.len().saturating_sub(open));
        self.tail.extend_from_slice(head);
        let passes = finder.find(&self.tail).is_none();
        if last > 0 {
            self.tail.extend_from_slice(bytes.get(last..).unwrap_or_default());
        }
        self.tail.drain(..self.tail.len().saturating_sub(open));
        passes
    }
}

/// Writes the content of a field.
pub(in crate::document) fn write_text(text_wtf8: &[u8], out: &mut Vec<u8>) -> Result<(), NotWritable> {
    std::str::from_utf8(text_wtf8).map_err(|_| NotWritable)?;
    out.extend_from_slice(text_wtf8);
    Ok(())
}

/// Writes a name or file name of a part, with its quotes.
pub(in crate::document) fn write_name(text_wtf8: &[u8], out: &mut Vec<u8>) -> Result<(), NotWritable> {
    let text = std::str::from_utf8(text_wtf8).map_err(|_| NotWritable)?;
    let plain = text.bytes().all(|byte| byte >= b' ' && !matches!(byte, b'"' | b'\\' | 0x7f));
    if text.is_empty()
        || !plain
        || holds_escape(text_wtf8)
        || headers::contains(text_wtf8, b"name=")
        || headers::contains(text_wtf8, b"=?")
    {
        return Err(NotWritable);
    }
    out.push(b'"');
    out.extend_from_slice(text_wtf8);
    out.push(b'"');
    Ok(())
}

/// Whether a text holds one of the escapes of WHATWG HTML 4.10.21.8.
pub(in crate::document) fn holds_escape(text: &[u8]) -> bool {
    [&b"%22"[..], b"%0d", b"%0a"].iter().any(|escape| headers::contains(text, escape))
}

/// Undoes backslash escapes (RFC 822 3.3).
pub(super) fn unescape(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.iter();
    while let Some(&byte) = rest.next() {
        match byte {
            b'\\' => out.extend(rest.next()),
            _ => out.push(byte),
        }
    }
    out
}
