//! What is wrong and where: [`Problem`], and [`Places`] to make one from the path of a key.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use super::path;

/// One thing wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The line, from 1; 0 for a problem without a place, such as that of a file that cannot be read.
    pub line: usize,
    /// The column in characters, from 1; 0 where the line is.
    pub column: usize,
    /// The path of the key, as `routes[2].rules[0].path`; empty for the file as a whole.
    pub path: String,
    /// What was expected and what was found.
    pub message: String,
}

impl Problem {
    pub(super) fn new(place: Place, path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { line: place.line, column: place.column, path: path.into(), message: message.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, column, path, message } = self;
        if *line > 0 {
            write!(f, "line {line}, column {column}: ")?;
        }
        if !path.is_empty() {
            write!(f, "{path}: ")?;
        }
        f.write_str(message)
    }
}

impl std::error::Error for Problem {}

/// The problems by place, each once.
pub(in crate::config) fn sorted(mut problems: Vec<Problem>) -> Vec<Problem> {
    problems.sort_by(|a, b| {
        let by = |p: &Problem| (p.line, p.column);
        by(a).cmp(&by(b)).then_with(|| a.path.cmp(&b.path)).then_with(|| a.message.cmp(&b.message))
    });
    problems.dedup();
    problems
}

/// Where the keys and values of a file stand in its text.
#[derive(Debug, Clone, Default)]
pub struct Places {
    spots: BTreeMap<String, Spot>,
    /// Paths of values that a variable went into.
    filled: BTreeSet<String>,
    gaps: Gaps,
}

/// What of a file with problems was taken out or put in, so that the rest of it can be checked further.
#[derive(Debug, Clone, Default)]
pub(super) struct Gaps {
    /// Paths of values that are not what the file meant.
    pub(super) mended: BTreeSet<String>,
    /// Paths of mappings that may have more keys than were understood.
    pub(super) partial: BTreeSet<String>,
}

impl Places {
    /// A problem with the value at `path`, or at the nearest that encloses it.
    pub fn problem(&self, path: &str, message: impl Into<String>) -> Problem {
        Problem::new(self.nearest(path).map_or(Place::START, |spot| spot.value), path, message)
    }

    /// A problem with the key at `path` itself; with the value where there is no key.
    pub fn problem_at_key(&self, path: &str, message: impl Into<String>) -> Problem {
        Problem::new(self.nearest(path).map_or(Place::START, |spot| spot.key.unwrap_or(spot.value)), path, message)
    }

    /// A problem inside the string at `path`, `offset` bytes into it, as a parser of that string counts.
    ///
    /// The place is that of the whole value where the text cannot be followed: block scalars, quoted or plain scalars
    /// of several lines, and strings that a variable went into.
    pub fn problem_in(&self, path: &str, offset: usize, message: impl Into<String>) -> Problem {
        let place =
            self.spots.get(path).map(|spot| spot.inside(offset)).or_else(|| self.nearest(path).map(|s| s.value));
        Problem::new(place.unwrap_or(Place::START), path, message)
    }

    pub(super) fn insert(&mut self, path: &str, spot: Spot) {
        self.spots.insert(path.to_owned(), spot);
    }

    /// How a later check may name the text at `path`: in quotes, or, if a variable went into it, not at all.
    pub fn quoted(&self, path: &str, text: &str) -> String {
        if self.is_filled(path) { "from a variable".to_owned() } else { format!("{text:?}") }
    }

    /// Whether a variable went into the text at `path`.
    pub fn is_filled(&self, path: &str) -> bool {
        self.filled.contains(path)
    }

    /// Whether the value at `path`, or one that encloses it, is not what the file meant: a problem was made of that, and
    /// nothing follows from what stands there instead.
    pub fn is_mended(&self, path: &str) -> bool {
        let mut next = Some(path);
        while let Some(path) = next {
            if self.gaps.mended.contains(path) {
                return true;
            }
            next = path::parent(path);
        }
        false
    }

    /// Whether the value at `path` is what the file meant, so that something may follow from what is not in it.
    pub fn is_whole(&self, path: &str) -> bool {
        !self.is_mended(path) && !self.gaps.partial.contains(path)
    }

    pub(super) fn mend(&mut self, gaps: Gaps) {
        self.gaps = gaps;
    }

    pub(super) fn fill(&mut self, path: &str) {
        self.filled.insert(path.to_owned());
    }

    fn nearest(&self, mut path: &str) -> Option<&Spot> {
        loop {
            match self.spots.get(path) {
                Some(spot) => return Some(spot),
                None => path = path::parent(path)?,
            }
        }
    }
}

/// A line and a column, both from 1, the column in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) line: usize,
    pub(super) column: usize,
}

impl Place {
    pub(super) const START: Self = Self { line: 1, column: 1 };
}

/// The places of one value.
#[derive(Debug, Clone)]
pub(super) struct Spot {
    pub(super) key: Option<Place>,
    pub(super) value: Place,
    pub(super) source: Option<Source>,
}

impl Spot {
    fn inside(&self, offset: usize) -> Place {
        self.source.as_ref().map_or(self.value, |source| source.place(self.value, offset))
    }
}

/// The text of a scalar on one line as it was written, quotes, anchor and tag included.
#[derive(Debug, Clone)]
pub(super) struct Source(pub(super) String);

impl Source {
    /// The place of the character `offset` bytes into the parsed string, when the scalar starts at `start`.
    pub(super) fn place(&self, start: Place, offset: usize) -> Place {
        let mut text = self.0.as_str();
        while text.starts_with(['&', '!']) {
            text = text.find([' ', '\t']).and_then(|at| text.get(at..)).unwrap_or_default().trim_start();
        }
        let quote = text.chars().next().filter(|c| matches!(c, '\'' | '"'));
        let mut chars = text.chars().skip(usize::from(quote.is_some())).peekable();
        let mut column = start.column + self.0.chars().count() - text.chars().count() + usize::from(quote.is_some());
        let mut parsed = 0;
        while parsed < offset {
            let Some(c) = chars.next() else { break };
            let (written, bytes) = match (quote, c) {
                (Some('\''), '\'') if chars.peek() == Some(&'\'') => (2, 1),
                (Some(quote), c) if c == quote => break,
                (Some('"'), '\\') => escape(chars.peek().copied(), &chars.clone().skip(1).take(8).collect::<String>()),
                _ => (1, c.len_utf8()),
            };
            for _ in 1..written {
                chars.next();
            }
            column += written;
            parsed += bytes;
        }
        Place { column, ..start }
    }
}

/// The characters written and the bytes parsed of a double-quoted escape; YAML 1.2.2 5.7.
fn escape(kind: Option<char>, rest: &str) -> (usize, usize) {
    let hex = |digits: usize| {
        let code = rest.get(..digits).and_then(|hex| u32::from_str_radix(hex, 16).ok()).and_then(char::from_u32);
        (2 + digits, code.map_or(1, char::len_utf8))
    };
    match kind {
        Some('x') => hex(2),
        Some('u') => hex(4),
        Some('U') => hex(8),
        Some('N' | '_') => (2, 2),
        Some('L' | 'P') => (2, 3),
        _ => (2, 1),
    }
}
