//! CSV (RFC 4180) with a header row, rewritten while it streams by. A column is selected by its name in the header.
//!
//! Nothing is normalised: quotes, line ends and a missing last line end leave as they came. Dialects are never guessed: what
//! another reader could split into other rows or fields is refused, such as quotes inside an unquoted field, a lone CR, rows
//! of different lengths, or a quote that could be meant as escaped by a backslash.

#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use super::path::PathError;
use super::tape::{Driver, Machine, Tape, has_line_end};
use super::{Escape, Fault, Limits, NotWritable, Place, Watch};

/// Rewrites one CSV document.
pub type Rewriter = Driver<Reader>;

impl Rewriter {
    /// Starts on a document.
    pub fn new(rules: Arc<Rules>, limits: Limits, watch: Option<Watch>) -> Rewriter {
        Driver::with(Reader::new(rules), limits, watch)
    }
}

/// The name of a column, exactly as decoded from the header.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CsvPath(String);

impl CsvPath {
    /// Reads a path: the whole text is the name.
    ///
    /// # Errors
    ///
    /// When it is empty, or holds a control character that no header may hold.
    pub fn parse(text: &str) -> Result<CsvPath, PathError> {
        if text.is_empty() {
            return Err(PathError::new("empty column name", 1));
        }
        match text.chars().position(|c| u8::try_from(c).is_ok_and(is_barred)) {
            Some(index) => Err(PathError::new("control character", index + 1)),
            None => Ok(CsvPath(text.to_owned())),
        }
    }
}

impl fmt::Display for CsvPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The ruled columns of a route, compiled. Shared by all rewriters of the route.
pub struct Rules {
    delimiter: u8,
    /// By name: its index among the names, and the rule.
    columns: HashMap<String, (usize, usize)>,
    /// The names without what readers often disregard.
    folded: HashSet<String>,
}

/// Fields can be separated by `,`, `;`, `|` or a tab only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("delimiter is none of `,`, `;`, `|` and tab")]
pub struct BadDelimiter;

impl Rules {
    /// Compiles paths, each with the number of its rule. Where several select one column, the lowest number wins.
    ///
    /// # Errors
    ///
    /// When the delimiter is not `,`, `;`, `|` or a tab.
    pub fn compile(paths: &[(usize, CsvPath)], delimiter: u8) -> Result<Rules, BadDelimiter> {
        if !matches!(delimiter, b',' | b';' | b'|' | b'\t') {
            return Err(BadDelimiter);
        }
        let mut columns: HashMap<String, (usize, usize)> = HashMap::new();
        for (rule, path) in paths {
            let fresh = (columns.len(), *rule);
            let column = columns.entry(path.0.clone()).or_insert(fresh);
            column.1 = column.1.min(*rule);
        }
        let folded = columns.keys().map(|name| fold(name)).collect();
        Ok(Rules { delimiter, columns, folded })
    }
}

/// Without what readers of CSV often trim from names, in lower case.
fn fold(name: &str) -> String {
    let trimmed = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '"' | '\'' | '\u{feff}' | '\u{200b}');
    name.trim_matches(trimmed).to_ascii_lowercase()
}

/// Writes a field, quoted where it must be, or where the field in its place was, as far as it may be.
pub(super) fn write(
    text: &[u8],
    delimiter: u8,
    quoted: bool,
    alone: bool,
    out: &mut Vec<u8>,
) -> Result<(), NotWritable> {
    let content = std::str::from_utf8(text).map_err(|_| NotWritable)?;
    if text.iter().any(|&byte| is_barred(byte)) {
        return Err(NotWritable);
    }
    let special = |&byte: &u8| byte == delimiter || matches!(byte, b'"' | b'\r' | b'\n');
    let needed = text.iter().any(special)
        || has_line_end(content)
        || content.starts_with('\u{feff}')
        || (alone && text.is_empty());
    let blank = content.starts_with(char::is_whitespace) || content.ends_with(char::is_whitespace);
    // In quotes it would be refused by the reader, see `Reader::quoted`.
    let ambiguous = is_ambiguous(text);
    if needed && ambiguous {
        return Err(NotWritable);
    }
    if ambiguous || !(needed || blank || quoted) {
        out.extend_from_slice(text);
        return Ok(());
    }
    out.push(b'"');
    for &byte in text {
        out.extend(std::iter::repeat_n(byte, if byte == b'"' { 2 } else { 1 }));
    }
    out.push(b'"');
    Ok(())
}

/// Whether in quotes there would be a quote that an odd number of backslashes stands before.
fn is_ambiguous(text: &[u8]) -> bool {
    let mut odd = false;
    for &byte in text {
        if byte == b'"' && odd {
            return true;
        }
        odd = byte == b'\\' && !odd;
    }
    odd
}

/// Control characters that are refused everywhere: some readers end lines or texts at them.
fn is_barred(byte: u8) -> bool {
    byte < 0x20 && !matches!(byte, b'\t' | b'\r' | b'\n')
}

/// The most columns; bounds what is remembered of a header.
const COLUMNS_MAX: usize = 1 << 16;

/// The grammar, and what is known of the columns.
pub struct Reader {
    rules: Arc<Rules>,
    state: State,
    /// How many fields a row has; 0 within the header.
    columns: usize,
    /// The column of the field at hand.
    column: usize,
    /// The ruled columns and their rules, by column.
    ruled: Vec<(usize, usize)>,
    /// The next of `ruled` in this row.
    next: usize,
    /// Which of the ruled names the header has.
    present: Vec<bool>,
    /// Whether the field at hand is quoted.
    quoted: bool,
    /// Whether an odd number of backslashes stands just before.
    slash: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Row,
    Field,
    Unquoted,
    Quoted,
    /// After a quote in a quoted field: its end, or the first of two.
    Quote,
    /// After the CR that ends a row.
    Cr,
    /// After the CR of a blank line.
    BlankCr,
    /// After a blank line, which must be the last.
    Blank,
}

impl Machine for Reader {
    fn byte(&mut self, tape: &mut Tape, byte: u8) -> Result<(), Fault> {
        let offset = tape.offset();
        if is_barred(byte) {
            return Err(Fault::ControlCharacter { offset });
        }
        if self.state != State::Quoted && tape.ends_line(byte) {
            return Err(Fault::Unaccepted { offset, what: "a Unicode line end outside of quotes" });
        }
        match (self.state, byte) {
            (State::Row, b'\n') | (State::BlankCr, b'\n') => self.blank(offset)?,
            (State::Row, b'\r') => self.state = State::BlankCr,
            (State::Row | State::Field, _) => self.first(tape, byte)?,
            (State::Unquoted, b'"') => return Err(Fault::UnexpectedByte { offset, wanted: "no quote in the field" }),
            (State::Unquoted, _) => self.follow(tape, byte, State::Unquoted)?,
            (State::Quoted, _) => self.quoted(byte, offset)?,
            (State::Quote, b'"') => self.state = State::Quoted,
            (State::Quote, _) => self.follow(tape, byte, State::Quote)?,
            (State::Cr, b'\n') => self.state = State::Row,
            (State::Cr | State::BlankCr, _) => return Err(Fault::UnexpectedByte { offset, wanted: "LF after CR" }),
            (State::Blank, _) => return Err(Fault::Unaccepted { offset, what: "a row after a blank line" }),
        }
        Ok(())
    }

    fn end(&mut self, tape: &mut Tape) -> Result<(), Fault> {
        match self.state {
            State::Row if self.columns > 0 => Ok(()),
            State::Blank => Ok(()),
            State::Field => {
                self.open(tape);
                self.close_row(tape)
            }
            State::Unquoted | State::Quote => self.close_row(tape),
            State::Row | State::Quoted | State::Cr | State::BlankCr => {
                Err(Fault::UnexpectedEnd { offset: tape.offset() })
            }
        }
    }

    fn head(&self, raw: &[u8], text: &mut Vec<u8>) {
        decode(raw, text);
    }
}

impl Reader {
    fn new(rules: Arc<Rules>) -> Reader {
        let present = vec![false; rules.columns.len()];
        Reader {
            rules,
            state: State::Row,
            columns: 0,
            column: 0,
            ruled: Vec::new(),
            next: 0,
            present,
            quoted: false,
            slash: false,
        }
    }

    /// At the first byte of a field, or what ends it when it is empty.
    fn first(&mut self, tape: &mut Tape, byte: u8) -> Result<(), Fault> {
        self.open(tape);
        self.quoted = byte == b'"';
        if self.quoted {
            self.slash = false;
            self.state = State::Quoted;
            return Ok(());
        }
        self.follow(tape, byte, State::Unquoted)
    }

    /// At a byte that may end the field; `State::Quote` wants it to.
    fn follow(&mut self, tape: &mut Tape, byte: u8, state: State) -> Result<(), Fault> {
        if byte == self.rules.delimiter {
            return self.close_field(tape);
        }
        self.state = match byte {
            b'\n' => State::Row,
            b'\r' => State::Cr,
            _ if state == State::Quote => {
                let wanted = "the end of the field after its closing quote";
                return Err(Fault::UnexpectedByte { offset: tape.offset(), wanted });
            }
            _ => {
                self.state = state;
                return Ok(());
            }
        };
        self.close_row(tape)
    }

    /// Inside quotes. Readers that take a backslash for an escape would go on after a quote where others end the field.
    fn quoted(&mut self, byte: u8, offset: u64) -> Result<(), Fault> {
        if byte == b'"' {
            if self.slash {
                return Err(Fault::Unaccepted { offset, what: "a quote after a backslash" });
            }
            self.state = State::Quote;
        }
        self.slash = byte == b'\\' && !self.slash;
        Ok(())
    }

    fn open(&mut self, tape: &mut Tape) {
        self.quoted = false;
        if self.columns == 0 {
            return tape.open(tape.at(), Place::Name, None);
        }
        let ruled = self.ruled.get(self.next).filter(|(column, _)| *column == self.column);
        self.next += usize::from(ruled.is_some());
        tape.open(tape.at(), Place::Value, ruled.map(|(_, rule)| *rule));
    }

    fn close_field(&mut self, tape: &mut Tape) -> Result<(), Fault> {
        let offset = tape.offset();
        if self.columns > 0 && self.column + 1 >= self.columns {
            return Err(Fault::Unaccepted { offset, what: "a row with more fields than the header" });
        }
        if self.column + 1 >= COLUMNS_MAX {
            return Err(Fault::Unaccepted { offset, what: "more than 65536 columns" });
        }
        self.close(tape, false)?;
        self.column += 1;
        self.state = State::Field;
        Ok(())
    }

    fn close_row(&mut self, tape: &mut Tape) -> Result<(), Fault> {
        let offset = tape.offset();
        if self.columns > 0 && self.column + 1 < self.columns {
            return Err(Fault::Unaccepted { offset, what: "a row with fewer fields than the header" });
        }
        self.close(tape, self.column == 0)?;
        if self.columns == 0 {
            if self.present.contains(&false) {
                return Err(Fault::Unaccepted { offset, what: "a ruled column is not in the header" });
            }
            self.columns = self.column + 1;
        }
        (self.column, self.next) = (0, 0);
        Ok(())
    }

    fn close(&mut self, tape: &mut Tape, alone: bool) -> Result<(), Fault> {
        let escape = Escape::Csv { delimiter: self.rules.delimiter, quoted: self.quoted, alone };
        let header = self.columns == 0;
        tape.close(escape, |value, text| {
            decode(value.raw, text);
            if header {
                self.name(text, value.offset)?;
            }
            Ok(true)
        })
    }

    /// Looks up the name of the column at hand.
    fn name(&mut self, name: &[u8], offset: u64) -> Result<(), Fault> {
        let name = std::str::from_utf8(name).map_err(|_| Fault::NotUtf8 { offset })?;
        match self.rules.columns.get(name) {
            Some((index, rule)) => {
                self.ruled.push((self.column, *rule));
                if let Some(present) = self.present.get_mut(*index) {
                    *present = true;
                }
                Ok(())
            }
            None if self.rules.folded.contains(&fold(name)) => {
                Err(Fault::Unaccepted { offset, what: "a column named almost like a ruled one" })
            }
            None => Ok(()),
        }
    }

    /// At the end of a blank line.
    fn blank(&mut self, offset: u64) -> Result<(), Fault> {
        // Some readers look for the header in the next line.
        if self.columns == 0 {
            return Err(Fault::Unaccepted { offset, what: "a blank line in the place of the header" });
        }
        // A row with one empty field, or none: there is nothing in it either way.
        self.state = if self.columns == 1 { State::Row } else { State::Blank };
        Ok(())
    }
}

/// Appends the content of a field, or of its beginning.
fn decode(raw: &[u8], text: &mut Vec<u8>) {
    let Some((b'"', inside)) = raw.split_first() else {
        text.extend_from_slice(raw);
        return;
    };
    let mut second = false;
    for &byte in inside {
        // The first of two counts, and so does not the closing one: no second follows it.
        if byte != b'"' || second {
            text.push(byte);
        }
        second = byte == b'"' && !second;
    }
}
