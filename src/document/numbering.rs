//! Segment ids and numbers of fields, elements and components in paths such as `PID-5.1`. No evaluation here.

use super::path::PathError;

/// A path that is being read. Columns count characters from 1.
pub(super) struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

/// The largest number; more than any format has.
const NUMBER_MAX: u16 = 9999;

impl<'a> Cursor<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Cursor { text, at: 0 }
    }

    pub(super) fn fail(&self, what: &'static str) -> PathError {
        let column = self.text.get(..self.at).map_or(0, |before| before.chars().count()) + 1;
        PathError::new(what, column)
    }

    /// Whether `wanted` came next; it is taken then.
    pub(super) fn eat(&mut self, wanted: char) -> bool {
        let there = self.rest().starts_with(wanted);
        self.at += if there { wanted.len_utf8() } else { 0 };
        there
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.rest().is_empty()
    }

    /// The run of characters that are `wanted`.
    pub(super) fn run(&mut self, wanted: fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let length = rest.find(|c| !wanted(c)).unwrap_or(rest.len());
        self.at += length;
        rest.get(..length).unwrap_or_default()
    }

    /// A number from 1 to 9999, as it is usually written.
    pub(super) fn number(&mut self) -> Result<u16, PathError> {
        let digits = self.rest().len() - self.rest().trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let written = self.rest().get(..digits).unwrap_or_default();
        if written.is_empty() {
            return Err(self.fail("wanted a number"));
        }
        if written.starts_with('0') {
            return Err(self.fail("number with a leading zero"));
        }
        let number = written.parse().ok().filter(|&number| number <= NUMBER_MAX);
        let number = number.ok_or_else(|| self.fail("number above 9999"))?;
        self.at += digits;
        Ok(number)
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }
}
