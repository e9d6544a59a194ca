//! Field paths: the part of RFC 9535 (JSONPath) that can be decided while a document streams by. No evaluation here.

use std::fmt;

/// Where a protected value stands in a document.
///
/// The subset of RFC 9535 that can be decided while a document streams by: `$`, then any number of `.name`, `['name']`,
/// `["name"]`, `[*]`, `.*`, `[0]`, filters, and the descendant forms `..name`, `..['name']`, `..*`, `..[*]`, `..[0]`, `..[?…]`.
/// Names match after unescaping on both sides; they are never normalised.
///
/// A filter compares texts inside the value at hand: `[?@.system=='x']`, `[?@.type.coding[0].code=='MR' && @.use=='old']`. Nothing
/// but `==`, a path of names and indices on one side, a quoted text on the other, and `&&`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FieldPath {
    text: String,
    segments: Vec<Segment>,
}

impl FieldPath {
    /// Reads a path.
    ///
    /// # Errors
    ///
    /// Names the first thing that is not of the subset (negative indices, slices, other filters, lists of selectors, white
    /// space) and its column. `$` alone is refused: it would select the whole document.
    pub fn parse(text: &str) -> Result<FieldPath, PathError> {
        let mut cursor = Cursor { chars: text.chars().collect(), at: 0 };
        if !cursor.eat('$') {
            return Err(cursor.fail("missing `$`"));
        }
        let mut segments = Vec::new();
        while cursor.peek().is_some() {
            segments.push(cursor.segment()?);
        }
        if segments.is_empty() {
            return Err(PathError { what: "`$` alone selects the whole document", column: 1 });
        }
        Ok(FieldPath { text: text.to_owned(), segments })
    }

    /// The name of the members that it selects, if it selects members by a name.
    pub fn last_name(&self) -> Option<&str> {
        match &self.segments.last()?.selector {
            Selector::Name(name) => Some(name),
            Selector::Index(_) | Selector::Any | Selector::Filter(_) => None,
        }
    }

    pub(super) fn of(text: String, segments: Vec<Segment>) -> FieldPath {
        FieldPath { text, segments }
    }

    pub(super) fn segments(&self) -> &[Segment] {
        &self.segments
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// What is wrong with the text of a path, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} at column {column}")]
pub struct PathError {
    what: &'static str,
    column: usize,
}

impl PathError {
    /// `column` counts characters from 1.
    pub(super) fn new(what: &'static str, column: usize) -> Self {
        PathError { what, column }
    }

    /// The place, counted in characters from 1; one past the end when something is missing there.
    pub fn column(&self) -> usize {
        self.column
    }
}

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Segment {
    /// Whether the step may be taken at any depth below (`..`), not only from the value at hand.
    pub(super) descendant: bool,
    pub(super) selector: Selector,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Selector {
    Name(String),
    Index(u64),
    Any,
    /// Any value for which all tests hold.
    Filter(Vec<Test>),
}

/// That a text stands at a place inside a value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Test {
    /// Names and indices.
    pub(super) path: Vec<Selector>,
    pub(super) text: String,
}

/// The largest index, as for any integer in a path (RFC 9535 2.1: the range of I-JSON).
const INDEX_MAX: u64 = (1 << 53) - 1;

struct Cursor {
    chars: Vec<char>,
    at: usize,
}

impl Cursor {
    fn segment(&mut self) -> Result<Segment, PathError> {
        if self.peek() == Some('[') {
            return Ok(Segment { descendant: false, selector: self.bracketed()? });
        }
        if !self.eat('.') {
            return Err(self.fail("wanted `.` or `[`"));
        }
        let descendant = self.eat('.');
        let selector = match self.peek() {
            Some('*') => {
                self.at += 1;
                Selector::Any
            }
            Some('[') if descendant => self.bracketed()?,
            Some('.' | '[') | None => return Err(self.fail("empty segment")),
            Some(c) if is_name_first(c) => self.bare_name(),
            Some(_) => return Err(self.fail("character that only a quoted name (`['..']`) may hold")),
        };
        Ok(Segment { descendant, selector })
    }

    fn bare_name(&mut self) -> Selector {
        let mut name = String::new();
        while let Some(c) = self.peek().filter(|&c| is_name_first(c) || c.is_ascii_digit()) {
            name.push(c);
            self.at += 1;
        }
        Selector::Name(name)
    }

    fn bracketed(&mut self) -> Result<Selector, PathError> {
        self.at += 1;
        let selector = match self.peek() {
            Some(quote @ ('\'' | '"')) => Selector::Name(self.quoted(quote)?),
            Some('*') => {
                self.at += 1;
                Selector::Any
            }
            Some('0'..='9') => self.index()?,
            Some('-') => return Err(self.fail("negative index")),
            Some(':') => return Err(self.fail("slice")),
            Some('?') => self.filter()?,
            Some('(') => return Err(self.fail("script expression")),
            Some(']') => return Err(self.fail("empty brackets")),
            Some(_) => return Err(self.fail("wanted a quoted name, `*` or an index")),
            None => return Err(self.fail("missing `]`")),
        };
        match self.peek() {
            Some(']') => self.at += 1,
            Some(',') => return Err(self.fail("list of selectors")),
            Some(':') => return Err(self.fail("slice")),
            _ => return Err(self.fail("missing `]`")),
        }
        Ok(selector)
    }

    /// At the `?`. RFC 9535 2.3.5.
    fn filter(&mut self) -> Result<Selector, PathError> {
        self.at += 1;
        let mut tests = vec![self.test()?];
        while self.eat('&') {
            if !self.eat('&') {
                return Err(self.fail("wanted `&&`"));
            }
            tests.push(self.test()?);
        }
        Ok(Selector::Filter(tests))
    }

    /// A path and a text, in either order.
    fn test(&mut self) -> Result<Test, PathError> {
        self.blanks();
        let test = if self.peek() == Some('@') {
            let path = self.relative()?;
            self.equals()?;
            Test { path, text: self.text()? }
        } else {
            let text = self.text()?;
            self.equals()?;
            Test { path: self.relative()?, text }
        };
        self.blanks();
        Ok(test)
    }

    fn relative(&mut self) -> Result<Vec<Selector>, PathError> {
        if !self.eat('@') {
            return Err(self.fail("wanted `@`"));
        }
        let mut path = Vec::new();
        while matches!(self.peek(), Some('.' | '[')) {
            let column = self.at + 1;
            let Segment { descendant, selector } = self.segment()?;
            if descendant || !matches!(selector, Selector::Name(_) | Selector::Index(_)) {
                return Err(PathError { what: "in a filter: wanted names and indices", column });
            }
            // Only objects are looked into.
            if path.is_empty() && matches!(selector, Selector::Index(_)) {
                return Err(PathError { what: "in a filter: wanted a name first", column });
            }
            path.push(selector);
        }
        if path.is_empty() {
            return Err(self.fail("in a filter: wanted a name after `@`"));
        }
        Ok(path)
    }

    fn equals(&mut self) -> Result<(), PathError> {
        self.blanks();
        if !(self.eat('=') && self.eat('=')) {
            return Err(self.fail("in a filter: wanted `==`"));
        }
        self.blanks();
        Ok(())
    }

    fn text(&mut self) -> Result<String, PathError> {
        match self.peek() {
            Some(quote @ ('\'' | '"')) => self.quoted(quote),
            _ => Err(self.fail("in a filter: wanted `@` or a quoted text")),
        }
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), Some(' ' | '\t' | '\n' | '\r')) {
            self.at += 1;
        }
    }

    fn index(&mut self) -> Result<Selector, PathError> {
        let start = self.at;
        let mut value = 0_u64;
        while let Some(digit) = self.peek().and_then(|c| c.to_digit(10)) {
            value = value.saturating_mul(10).saturating_add(u64::from(digit));
            self.at += 1;
        }
        let what = match self.chars.get(start) {
            Some('0') if self.at - start > 1 => "index with a leading zero",
            _ if value > INDEX_MAX => "index above 2^53-1",
            _ => return Ok(Selector::Index(value)),
        };
        Err(PathError { what, column: start + 1 })
    }

    fn quoted(&mut self, quote: char) -> Result<String, PathError> {
        self.at += 1;
        let mut name = String::new();
        loop {
            match self.peek() {
                None => return Err(self.fail("missing closing quote")),
                Some('\\') => name.push(self.escape(quote)?),
                Some(c) if c < ' ' => return Err(self.fail("control character")),
                Some(c) => {
                    self.at += 1;
                    if c == quote {
                        return Ok(name);
                    }
                    name.push(c);
                }
            }
        }
    }

    fn escape(&mut self, quote: char) -> Result<char, PathError> {
        let column = self.at + 1;
        self.at += 1;
        let c = match self.peek() {
            Some('b') => '\u{8}',
            Some('f') => '\u{c}',
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some(c @ ('/' | '\\')) => c,
            Some(c) if c == quote => c,
            Some('u') => {
                return self.unicode_escape().ok_or(PathError { what: "bad escape", column });
            }
            _ => {
                return Err(PathError { what: "bad escape", column });
            }
        };
        self.at += 1;
        Ok(c)
    }

    /// At the `u` of `\uXXXX`; a surrogate must have its partner.
    fn unicode_escape(&mut self) -> Option<char> {
        let first = self.hex_unit()?;
        if !(0xd800..0xdc00).contains(&first) {
            return char::from_u32(first);
        }
        if !self.eat('\\') || self.peek() != Some('u') {
            return None;
        }
        let second = self.hex_unit().filter(|unit| (0xdc00..0xe000).contains(unit))?;
        char::from_u32(0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00))
    }

    fn hex_unit(&mut self) -> Option<u32> {
        self.at += 1;
        let mut unit = 0;
        for _ in 0..4 {
            unit = unit * 16 + self.peek()?.to_digit(16)?;
            self.at += 1;
        }
        Some(unit)
    }

    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn eat(&mut self, wanted: char) -> bool {
        let there = self.peek() == Some(wanted);
        self.at += usize::from(there);
        there
    }

    fn fail(&self, what: &'static str) -> PathError {
        PathError { what, column: self.at + 1 }
    }
}

/// `name-first` of RFC 9535 2.5.1.
fn is_name_first(c: char) -> bool {
    c.is_ascii_alphabetic() || c == '_' || !c.is_ascii()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expect: Result<usize, &str>) {
        match (FieldPath::parse(text), expect) {
            (Ok(path), Ok(segments)) => {
                assert_eq!(path.segments().len(), segments, "{text}");
                assert_eq!(path.to_string(), text);
            }
            (Err(error), Err(expect)) => assert_eq!(error.to_string(), expect, "{text}"),
            (found, expect) => panic!("{text}: found {found:?}, wanted {expect:?}"),
        }
    }

    #[test]
    fn paths_of_the_subset_are_read() {
        for (text, segments) in [
            ("$.a", 1),
            ("$.a.b", 2),
            ("$..a", 1),
            ("$.card..pan", 2),
            ("$.*", 1),
            ("$[*]", 1),
            ("$..*", 1),
            ("$..[*]", 1),
            ("$..[0]", 1),
            ("$..['a']", 1),
            ("$[0]", 1),
            ("$[9007199254740991]", 1),
            ("$['']", 1),
            ("$['a b']", 1),
            ("$[\"a'b\"]", 1),
            ("$['a\"b']", 1),
            ("$.naïve", 1),
            ("$._x9", 1),
            ("$.entry[*].resource.name[0]['family']", 6),
            ("$.identifier[?@.system=='http://hl7.org/fhir/sid/us-ssn'].value", 3),
            ("$..[? @.type.coding[0].code == \"MR\" && 'old' == @['use'] ]", 1),
        ] {
            check(text, Ok(segments));
        }
    }

    #[test]
    fn everything_else_is_refused_by_name_and_column() {
        for (text, expect) in [
            ("", "missing `$` at column 1"),
            ("a", "missing `$` at column 1"),
            (" $.a", "missing `$` at column 1"),
            ("$", "`$` alone selects the whole document at column 1"),
            ("$a", "wanted `.` or `[` at column 2"),
            ("$.a b", "wanted `.` or `[` at column 4"),
            ("$.a ", "wanted `.` or `[` at column 4"),
            ("$.birth-date", "wanted `.` or `[` at column 8"),
            ("$.card.", "empty segment at column 8"),
            ("$.é.", "empty segment at column 5"),
            ("$..", "empty segment at column 4"),
            ("$...a", "empty segment at column 4"),
            ("$.[0]", "empty segment at column 3"),
            ("$.0", "character that only a quoted name (`['..']`) may hold at column 3"),
            ("$.'a'", "character that only a quoted name (`['..']`) may hold at column 3"),
            ("$. a", "character that only a quoted name (`['..']`) may hold at column 3"),
            ("$[-1]", "negative index at column 3"),
            ("$[1:2]", "slice at column 4"),
            ("$[:2]", "slice at column 3"),
            ("$[?@.a]", "in a filter: wanted `==` at column 7"),
            ("$[?]", "in a filter: wanted `@` or a quoted text at column 4"),
            ("$[?@=='a']", "in a filter: wanted a name after `@` at column 5"),
            ("$[?@.a='b']", "in a filter: wanted `==` at column 8"),
            ("$[?@.a!='b']", "in a filter: wanted `==` at column 7"),
            ("$[?@.a==1]", "in a filter: wanted `@` or a quoted text at column 9"),
            ("$[?@..a=='b']", "in a filter: wanted names and indices at column 5"),
            ("$[?@[0]=='b']", "in a filter: wanted a name first at column 5"),
            ("$[?@[*]=='b']", "in a filter: wanted names and indices at column 5"),
            ("$[?@.a=='b'&@.c=='d']", "wanted `&&` at column 13"),
            ("$[?@.a=='b' || @.c=='d']", "missing `]` at column 13"),
            ("$[?@.a=='b'", "missing `]` at column 12"),
            ("$[?'b'==$.a]", "wanted `@` at column 9"),
            ("$[?@[?@.a=='b']=='c']", "in a filter: wanted names and indices at column 5"),
            ("$[(@.length)]", "script expression at column 3"),
            ("$['a','b']", "list of selectors at column 6"),
            ("$[0,1]", "list of selectors at column 4"),
            ("$[]", "empty brackets at column 3"),
            ("$[", "missing `]` at column 3"),
            ("$[0", "missing `]` at column 4"),
            ("$['a'", "missing `]` at column 6"),
            ("$[ 0]", "wanted a quoted name, `*` or an index at column 3"),
            ("$[a]", "wanted a quoted name, `*` or an index at column 3"),
            ("$[01]", "index with a leading zero at column 3"),
            ("$[9007199254740992]", "index above 2^53-1 at column 3"),
            ("$[99999999999999999999999]", "index above 2^53-1 at column 3"),
            ("$['a", "missing closing quote at column 5"),
            ("$['a\nb']", "control character at column 5"),
            (r"$['\x']", "bad escape at column 4"),
            (r#"$['\"']"#, "bad escape at column 4"),
            (r"$['\u12']", "bad escape at column 4"),
            (r"$['\ud800']", "bad escape at column 4"),
            (r"$['\ud800\u0041']", "bad escape at column 4"),
            (r"$['\", "bad escape at column 4"),
        ] {
            check(text, Err(expect));
        }
        assert_eq!(FieldPath::parse("$.card.").unwrap_err().column(), 8);
    }

    #[test]
    fn escapes_in_quoted_names_are_undone() {
        for (text, name) in [
            (r"$['\u0061\ud83d\ude00']", "a\u{1f600}"),
            (r"$['\'\\\/']", "'\\/"),
            (r#"$["\"\b\f\n\r\t"]"#, "\"\u{8}\u{c}\n\r\t"),
        ] {
            let path = FieldPath::parse(text).unwrap();
            assert_eq!(path.segments()[0].selector, Selector::Name(name.to_owned()), "{text}");
        }
    }
}
