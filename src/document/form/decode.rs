//! Percent escapes undone, one byte at a time. What is not an escape, or not UTF-8 when undone, is refused.

use crate::document::Fault;
use crate::document::utf8::Utf8;

/// What is being read: its text so far, if that is wanted.
pub(super) struct Decoder {
    /// Part of a URL: some characters cannot stand there.
    query: bool,
    keeps: bool,
    text: Vec<u8>,
    utf8: Utf8,
    escape: Option<Open>,
}

/// An escape that is not complete: where it starts, and its first digit.
#[derive(Clone, Copy)]
struct Open {
    start: u64,
    high: Option<u8>,
}

impl Decoder {
    pub(super) fn new(query: bool) -> Decoder {
        Decoder { query, keeps: true, text: Vec::new(), utf8: Utf8::default(), escape: None }
    }

    /// Begins a name or value.
    pub(super) fn start(&mut self, keeps: bool) {
        self.keeps = keeps;
        self.text.clear();
    }

    /// No longer keeps the text.
    pub(super) fn drop_text(&mut self) {
        self.start(false);
    }

    pub(super) fn text(&self) -> &[u8] {
        &self.text
    }

    pub(super) fn take_text(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.text)
    }

    /// Takes the byte at `at`, which is not one that ends a name or value.
    pub(super) fn push(&mut self, byte: u8, at: u64) -> Result<(), Fault> {
        if let Some(Open { start, high }) = self.escape {
            let digit = hex(byte).ok_or(Fault::BadEscape { offset: start })?;
            self.escape = match high {
                None => Some(Open { start, high: Some(digit) }),
                Some(_) => None,
            };
            return high.map_or(Ok(()), |high| self.put(high << 4 | digit, start));
        }
        match byte {
            b'%' => self.escape = Some(Open { start: at, high: None }),
            b'+' => self.put(b' ', at)?,
            b';' => return Err(Fault::Unaccepted { offset: at, what: "`;` outside an escape" }),
            0x00..=0x1f | 0x7f => return Err(Fault::ControlCharacter { offset: at }),
            b' ' | b'#' if self.query => {
                return Err(Fault::UnexpectedByte { offset: at, wanted: "a character of a query" });
            }
            0xfe | 0xff if at == 0 => return Err(Fault::WrongEncoding),
            _ => self.put(byte, at)?,
        }
        Ok(())
    }

    /// At `at` the name or value ends.
    pub(super) fn end(&self, at: u64) -> Result<(), Fault> {
        match self.escape {
            Some(Open { start, .. }) => Err(Fault::BadEscape { offset: start }),
            None if self.utf8.is_whole() => Ok(()),
            None => Err(Fault::NotUtf8 { offset: at }),
        }
    }

    fn put(&mut self, byte: u8, at: u64) -> Result<(), Fault> {
        if !self.utf8.push(byte) {
            return Err(Fault::NotUtf8 { offset: at });
        }
        if self.keeps {
            self.text.push(byte);
        }
        Ok(())
    }
}

/// The value of a hexadecimal digit.
pub(in crate::document) fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}
