//! Values of headers with parameters (RFC 2045 5.1, RFC 8187 3.2). Nothing is guessed: what is not of the grammar is
//! refused.

use std::ops::Range;

use crate::document::form::hex;

/// The value of a parameter.
#[derive(Debug)]
pub(super) struct Parameter {
    /// Where it stands in the headers of the part, quotes included.
    pub(super) range: Range<usize>,
    /// What is between the quotes, as it is.
    pub(super) text: Vec<u8>,
}

/// The value up to its parameters, and these, with names in lower case.
type Value<'a> = (&'a [u8], Vec<(Vec<u8>, Parameter)>);

/// Reads a header value that starts at `start` of the headers and has no blanks around it.
pub(super) fn read(value: &[u8], start: usize) -> Result<Value<'_>, &'static str> {
    let end = memchr::memchr(b';', value).unwrap_or(value.len());
    let (kind, rest) = value.split_at(end);
    let mut cursor = Cursor { rest, at: start + end };
    let mut parameters: Vec<(Vec<u8>, Parameter)> = Vec::new();
    while !cursor.rest.is_empty() {
        let (key, parameter) = cursor.parameter()?;
        if parameters.iter().any(|(known, _)| *known == key) {
            return Err("parameter twice");
        }
        parameters.push((key, parameter));
        if parameters.len() > PARAMETERS_MAX {
            return Err("too many parameters");
        }
    }
    Ok((kind.trim_ascii_end(), parameters))
}

/// Each is compared with all before it.
const PARAMETERS_MAX: usize = 32;

/// Decodes an `ext-value` in UTF-8.
pub(super) fn extended(value: &[u8]) -> Option<Vec<u8>> {
    let mut parts = value.splitn(3, |&b| b == b'\'');
    let charset = parts.next()?;
    let _language = parts.next()?;
    let mut rest = parts.next()?;
    let mut text = Vec::with_capacity(rest.len());
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        let byte = match byte {
            b'%' => {
                let (&[high, low], after) = rest.split_first_chunk::<2>()?;
                rest = after;
                hex(high)? << 4 | hex(low)?
            }
            b'\'' | b'*' => return None,
            byte if is_token(&[byte]) => byte,
            _ => return None,
        };
        text.push(byte);
    }
    (charset.eq_ignore_ascii_case(b"utf-8") && std::str::from_utf8(&text).is_ok()).then_some(text)
}

/// Whether this is a `token` of RFC 9110 5.6.2.
pub(super) fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte))
}

struct Cursor<'a> {
    rest: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    /// At the `;` before it, or blanks before that.
    fn parameter(&mut self) -> Result<(Vec<u8>, Parameter), &'static str> {
        self.blanks();
        if self.take(1) != b";" {
            return Err("wanted `;` between parameters");
        }
        self.blanks();
        let key = self.token();
        if !is_token(key) || self.take(1) != b"=" {
            return Err("parameter without a name or value");
        }
        let start = self.at;
        let text = if self.rest.starts_with(b"\"") { self.quoted()? } else { self.token() };
        let range = start..self.at;
        if range.is_empty() {
            return Err("parameter without a name or value");
        }
        Ok((key.to_ascii_lowercase(), Parameter { range, text: text.to_vec() }))
    }

    /// At the quote. A backslash before a quote ends the string for some servers and not for others.
    fn quoted(&mut self) -> Result<&'a [u8], &'static str> {
        self.take(1);
        let end = memchr::memchr(b'"', self.rest).ok_or("missing closing quote")?;
        let text = self.take(end);
        self.take(1);
        if text.ends_with(b"\\") { Err("escaped quote") } else { Ok(text) }
    }

    fn token(&mut self) -> &'a [u8] {
        let end = self.rest.iter().position(|&byte| !is_token(&[byte])).unwrap_or(self.rest.len());
        self.take(end)
    }

    fn blanks(&mut self) {
        let end = self.rest.iter().position(|&byte| byte != b' ' && byte != b'\t').unwrap_or(self.rest.len());
        self.take(end);
    }

    fn take(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.rest.split_at(len.min(self.rest.len()));
        self.rest = rest;
        self.at += taken.len();
        taken
    }
}
