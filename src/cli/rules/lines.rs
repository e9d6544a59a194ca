//! Places in a sample as an editor tells them, and its texts as a terminal may show them.

use std::fmt;

/// Line and column, from 1. Columns count characters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Position {
    line: usize,
    column: usize,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// Goes through a sample once, so that places have to be asked for in their order.
pub(super) struct Lines<'a> {
    bytes: &'a [u8],
    at: usize,
    position: Position,
}

impl<'a> Lines<'a> {
    pub(super) fn of(bytes: &'a [u8]) -> Self {
        Lines { bytes, at: 0, position: Position { line: 1, column: 1 } }
    }

    /// The position of the byte at `start`, which is no earlier than the last.
    pub(super) fn position(&mut self, start: usize) -> Position {
        while self.at < start.min(self.bytes.len()) {
            let next = self.bytes.get(self.at + 1);
            match self.bytes.get(self.at) {
                Some(b'\r') if next == Some(&b'\n') => {}
                Some(b'\n' | b'\r') => {
                    self.position = Position { line: self.position.line + 1, column: 1 };
                }
                // The bytes after the first of a character.
                Some(0x80..0xc0) => {}
                _ => self.position.column += 1,
            }
            self.at += 1;
        }
        self.position
    }
}

/// How many characters of a value are shown.
const CHARACTERS_MAX: usize = 40;

/// How many of them may stand before what is of interest.
const BEFORE_MAX: usize = 8;

/// A part of a text from a little before `from` on, on one line, with nothing in it that a terminal would act on.
pub(super) fn shown(text: &str, from: usize) -> String {
    let (head, tail) = text.split_at_checked(from).unwrap_or(("", text));
    let (head, tail) = (closed_up(head), closed_up(tail));
    let (before, after) = (head.chars().count(), tail.chars().count());
    let skipped = if before + after <= CHARACTERS_MAX { 0 } else { before.saturating_sub(BEFORE_MAX) };
    let mut rest = head.chars().chain(tail.chars()).skip(skipped);
    let mut shown = if skipped > 0 { "\u{2026}".to_owned() } else { String::new() };
    rest.by_ref().take(CHARACTERS_MAX).for_each(|c| push(&mut shown, c));
    if rest.next().is_some() {
        shown.push('\u{2026}');
    }
    shown
}

/// With one space for more white space than that: indentation says nothing.
fn closed_up(text: &str) -> String {
    let mut closed = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let space = rest.len() - rest.trim_start().len();
        let taken = space.max(c.len_utf8());
        closed.push(if space > c.len_utf8() { ' ' } else { c });
        rest = rest.get(taken..).unwrap_or_default();
    }
    closed
}

/// A whole text, likewise.
pub(super) fn escaped(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    text.chars().for_each(|c| push(&mut shown, c));
    shown
}

fn push(shown: &mut String, c: char) {
    // What turns the direction of writing, or is not seen, could make another text of it.
    let deceives =
        matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    if c.is_control() || deceives {
        shown.extend(c.escape_default());
    } else {
        shown.push(c);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_as_they_do_in_every_format() {
        let text = "a\u{e9}b\r\nc\rd\ne";
        let mut lines = Lines::of(text.as_bytes());
        let found = ['a', 'b', 'c', 'd', 'e'].map(|c| lines.position(text.find(c).unwrap()).to_string());
        assert_eq!(found, ["1:1", "1:3", "2:1", "3:1", "4:1"]);
    }

    #[test]
    fn a_terminal_is_shown_one_short_line() {
        let long = "x".repeat(50);
        for (text, from, want) in [
            ("Chalmers", 3, "Chalmers".to_owned()),
            ("a\nb\u{1b}[31m\u{202e}\u{9b}", 0, "a\\nb\\u{1b}[31m\\u{202e}\\u{9b}".to_owned()),
            ("<td>\n\t\t Peter", 0, "<td> Peter".to_owned()),
            (&long, 0, format!("{}\u{2026}", "x".repeat(40))),
            (&long, 20, format!("\u{2026}{}", "x".repeat(38))),
        ] {
            assert_eq!(shown(text, from), want, "{text:?}");
        }
    }
}
