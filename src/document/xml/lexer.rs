//! From bytes to tokens, and whether they are well-formed; it can stop between any two bytes and go on later.
//!
//! It keeps what a token will show, and lets go of everything else at once.

mod content;
mod tag;

use std::ops::Range;
use std::sync::Arc;

use super::View;
use super::foresight::Foresight;
use super::namespaces::Namespaces;
use super::rules::{Named, Rules, Standing};
use super::scan::{self, Flaw};
use crate::document::{Fault, Limits, Watch};

/// A token, by places in the body. Of what it holds only that is named which a rule or `Watch` could want.
pub(super) enum Token {
    Start(Start),
    End(End),
    Run(Run),
    Aside(Aside),
}

/// A start tag, or the tag of an empty element.
pub(super) struct Start {
    pub(super) range: Range<u64>,
    /// Whether all of it is still there.
    pub(super) whole: bool,
    pub(super) named: Named,
    /// What it is to FHIR, if somebody asks.
    pub(super) standing: Option<Standing>,
    /// Whether it is its own end tag; an `End` follows all the same.
    pub(super) empty: bool,
    pub(super) pieces: Vec<Piece>,
}

/// An end tag.
pub(super) struct End {
    pub(super) start: u64,
    pub(super) piece: Option<Piece>,
}

/// Text between two tags that is not only literal white space, without such white space at the ends.
pub(super) struct Run {
    pub(super) range: Range<u64>,
    /// Whether there was white space at an end.
    pub(super) padded: bool,
    /// Whether a comment or processing instruction stands before or after it, up to the next tag.
    pub(super) split: bool,
    /// Whether an end tag follows.
    pub(super) closes: bool,
}

/// A comment or processing instruction.
pub(super) struct Aside {
    pub(super) start: u64,
    pub(super) pieces: Vec<Piece>,
}

/// A name or value in a tag, comment or processing instruction.
pub(super) struct Piece {
    pub(super) range: Range<u64>,
    pub(super) part: Part,
    pub(super) watched: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Name,
    /// An attribute value; `index` is the place among the attributes of the tag.
    Value {
        index: usize,
        named: Named,
        quote: u8,
    },
    /// A comment or what a processing instruction says.
    Aside,
}

pub(super) enum Flow {
    Go,
    Starved,
    Token(Token),
}

pub(super) type Turn = Result<Flow, Fault>;

/// What comes next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Start,
    Declaration,
    /// Text, or what stands outside of the root.
    Text,
    /// At a `<`.
    Open,
    Cdata,
    Comment,
    Target,
    Instruction,
    StartName,
    Tag,
    AttributeName,
    Equals,
    Quote,
    Value,
    /// The tag of an empty element has been told; its end has not.
    EmptyEnd,
    EndName,
    EndTag,
}

pub(super) struct Lexer {
    rules: Arc<Rules>,
    limits: Limits,
    watch: Option<Watch>,
    state: State,
    /// The next byte to look at.
    at: u64,
    /// Where the name, value or `<` at hand starts.
    token: u64,
    /// The first byte that the token at hand will show, but for text.
    kept: Option<u64>,
    namespaces: Namespaces,
    /// The names of the open elements, one after the other, and where each starts.
    names: Vec<u8>,
    open: Vec<usize>,
    rooted: bool,
    run: content::Pending,
    tag: tag::Pending,
    /// The target of the processing instruction at hand, if it is watched.
    target: Option<Range<u64>>,
    /// Whether nobody gets to see the value, comment or processing instruction at hand.
    passing: bool,
}

const DECLARATION_BYTES_MAX: usize = 1024;

impl Lexer {
    pub(super) fn new(rules: Arc<Rules>, limits: Limits, watch: Option<Watch>) -> Lexer {
        Lexer {
            rules,
            limits,
            watch,
            state: State::Start,
            at: 0,
            token: 0,
            kept: None,
            namespaces: Namespaces::default(),
            names: Vec::new(),
            open: Vec::new(),
            rooted: false,
            run: content::Pending::default(),
            tag: tag::Pending::default(),
            target: None,
            passing: false,
        }
    }

    /// Takes prefixes that are not declared.
    pub(super) fn without_prefixes(mut self) -> Lexer {
        self.namespaces.open = true;
        self
    }

    /// Whether the document is complete as far as it was read.
    pub(super) fn is_complete(&self, end: u64) -> bool {
        self.rooted && self.open.is_empty() && self.state == State::Text && self.at == end
    }

    /// Whether it is inside an end tag.
    pub(super) fn is_ending(&self) -> bool {
        matches!(self.state, State::EndName | State::EndTag | State::EmptyEnd)
    }

    /// What is before this will not be asked for again.
    pub(super) fn settled(&self) -> u64 {
        let whole = match self.state {
            State::Start | State::Declaration | State::Open => true,
            State::Target | State::StartName | State::AttributeName | State::EndName => true,
            State::Value | State::Comment | State::Instruction => !self.passing,
            _ => false,
        };
        let token = if whole { self.token } else { self.at };
        [self.kept, self.run.start].into_iter().flatten().fold(token.min(self.at), u64::min)
    }

    /// Reads one token, or as much of it as there is.
    pub(super) fn turn(&mut self, view: View<'_>, foresight: &Foresight) -> Turn {
        match self.state {
            State::Start => self.start(view),
            State::Declaration => self.declaration(view),
            State::Text if self.open.is_empty() => self.outside(view),
            State::Text => self.text(view, foresight),
            State::Open => self.opening(view),
            State::Cdata => self.cdata(view, foresight),
            State::Comment => self.comment(view),
            State::Target => self.target(view),
            State::Instruction => self.instruction(view),
            State::StartName => self.start_name(view),
            State::Tag => self.in_tag(view),
            State::AttributeName => self.attribute_name(view),
            State::Equals => self.equals(view),
            State::Quote => self.quote(view),
            State::Value => self.value(view, foresight),
            State::EmptyEnd => Ok(self.end_of_element(self.at)),
            State::EndName => self.end_name(view),
            State::EndTag => self.end_tag(view),
        }
    }

    /// Tells the encoding by the first bytes; no document in UTF-8 has a NUL there.
    fn start(&mut self, view: View<'_>) -> Turn {
        let bytes = view.from(0);
        match bytes {
            [0xfe, 0xff, ..] | [0xff, 0xfe, ..] | [0, ..] | [_, 0, ..] => return Err(Fault::WrongEncoding),
            _ => {}
        }
        let mark: &[u8] = b"\xef\xbb\xbf";
        let (mark_len, rest) = bytes.strip_prefix(mark).map_or((0, bytes), |rest| (3, rest));
        if mark.starts_with(bytes) || (rest.len() < 6 && b"<?xml ".starts_with(rest)) {
            return Ok(Flow::Starved);
        }
        if bytes.len() < 2 {
            return Ok(Flow::Starved);
        }
        self.at = mark_len;
        self.token = self.at;
        let declared = rest.strip_prefix(b"<?xml").and_then(|rest| rest.first()).is_some_and(|&b| scan::is_space(b));
        self.state = if declared { State::Declaration } else { State::Text };
        Ok(Flow::Go)
    }

    fn declaration(&mut self, view: View<'_>) -> Turn {
        let bytes = view.from(self.token);
        let bytes = bytes.get(..DECLARATION_BYTES_MAX).unwrap_or(bytes);
        // It is short, and never looked at twice from the start: what has been searched is passed over.
        let from = usize::try_from(self.at - self.token).unwrap_or_default();
        let found = memchr::memmem::find(bytes.get(from..).unwrap_or_default(), b"?>").map(|at| from + at);
        let Some(end) = found else {
            if bytes.len() == DECLARATION_BYTES_MAX {
                return Err(Fault::Unaccepted { offset: self.token, what: "XML declaration longer than 1 KiB" });
            }
            self.at = self.token + bytes.len().saturating_sub(1) as u64;
            return Ok(Flow::Starved);
        };
        declared(bytes.get(5..end).unwrap_or_default(), self.token)?;
        self.at = self.token + end as u64 + 2;
        self.state = State::Text;
        Ok(Flow::Go)
    }

    /// Goes to the end of the name that starts at `token`; `None` when the end is not there yet.
    fn name(&mut self, view: View<'_>) -> Result<Option<Range<u64>>, Fault> {
        let max = self.limits.name_bytes_max;
        let too_long = Fault::NameTooLong { offset: self.token, max };
        // One character more than allowed tells that it is too long.
        let window = view.until(self.token.saturating_add(max as u64).saturating_add(4));
        let length = |at: u64| at - self.token > max as u64;
        match scan::name(window.from(self.at), self.at == self.token) {
            Ok(len) => self.at += len as u64,
            Err(Flaw::Utf8(at)) if !length(self.at + at as u64) => return Err(self.flaw(Flaw::Utf8(at))),
            Err(_) => return Err(too_long),
        }
        if self.at - self.token > max as u64 {
            return Err(too_long);
        }
        match scan::first_char(view.from(self.at)) {
            Ok(None) => return Ok(None),
            Err(flaw) => return Err(self.flaw(flaw)),
            Ok(Some(_)) if self.at == self.token => return Err(self.unexpected("a name")),
            Ok(Some(_)) => {}
        }
        if !scan::is_qualified(view.slice(self.token..self.at)) {
            return Err(self.unaccepted(self.token, "name with a colon that ends no prefix"));
        }
        Ok(Some(self.token..self.at))
    }

    /// A name that is watched: as a whole, or what follows the prefix.
    fn watched_name(&mut self, view: View<'_>, name: &Range<u64>) -> Option<Piece> {
        let watch = self.watch?;
        let (_, local) = scan::split_name(view.slice(name.clone()));
        let starts = [name.start, name.end - local.len() as u64];
        let start = starts.into_iter().find(|&start| watch.shows(view.slice(start..name.end)))?;
        self.keep(start);
        Some(Piece { range: start..name.end, part: Part::Name, watched: true })
    }

    fn keep(&mut self, start: u64) {
        self.kept = Some(self.kept.map_or(start, |kept| kept.min(start)));
    }

    fn is_watched(&self, text: &[u8]) -> bool {
        self.watch.is_some_and(|watch| watch.shows(text))
    }

    fn value_bytes_max(&self) -> u64 {
        self.limits.value_bytes_max as u64
    }

    fn value_too_long(&self, offset: u64) -> Fault {
        Fault::ValueTooLong { offset, max: self.limits.value_bytes_max }
    }

    /// A flaw in what starts at `at`.
    fn flaw(&self, flaw: Flaw) -> Fault {
        match flaw {
            Flaw::Utf8(at) => Fault::NotUtf8 { offset: self.at + at as u64 },
            Flaw::Control(at) => Fault::ControlCharacter { offset: self.at + at as u64 },
            Flaw::Forbidden(at) => self.unaccepted(self.at + at as u64, "character that XML does not allow"),
        }
    }

    fn unexpected(&self, wanted: &'static str) -> Fault {
        Fault::UnexpectedByte { offset: self.at, wanted }
    }

    fn unaccepted(&self, offset: u64, what: &'static str) -> Fault {
        Fault::Unaccepted { offset, what }
    }
}

/// Checks what stands in an XML declaration (production 23), between `<?xml` and `?>`.
fn declared(text: &[u8], offset: u64) -> Result<(), Fault> {
    let wrong = |what| Fault::Unaccepted { offset, what };
    let malformed = || wrong("XML declaration that is not well-formed");
    let mut rest = text;
    let mut names: &[&[u8]] = &[b"version", b"encoding", b"standalone"];
    while !scan::trim(rest).is_empty() {
        let gap = scan::spaces(rest);
        let Some(((name, value), after)) = pseudo_attribute(rest.get(gap..).unwrap_or_default()) else {
            return Err(malformed());
        };
        let Some(place) = names.iter().position(|known| *known == name).filter(|_| gap > 0) else {
            return Err(malformed());
        };
        if names.len() == 3 && place != 0 {
            return Err(malformed());
        }
        match (name, value) {
            (b"version", b"1.0") => {}
            (b"version", _) => return Err(wrong("XML version other than 1.0")),
            (b"encoding", _) if value.eq_ignore_ascii_case(b"utf-8") => {}
            (b"encoding", _) => return Err(Fault::WrongEncoding),
            (_, b"yes" | b"no") => {}
            _ => return Err(malformed()),
        }
        names = names.get(place + 1..).unwrap_or_default();
        rest = after;
    }
    if names.len() == 3 { Err(malformed()) } else { Ok(()) }
}

/// A name and a quoted value with `=` between, and what follows.
type Pseudo<'a> = ((&'a [u8], &'a [u8]), &'a [u8]);

fn pseudo_attribute(text: &[u8]) -> Option<Pseudo<'_>> {
    let (name, rest) = text.split_at(text.iter().position(|b| !b.is_ascii_lowercase())?);
    let rest = rest.get(scan::spaces(rest)..)?.strip_prefix(b"=")?;
    let (&quote, rest) = rest.get(scan::spaces(rest)..)?.split_first()?;
    let end = rest.iter().position(|&b| b == quote).filter(|_| matches!(quote, b'"' | b'\''))?;
    Some(((name, rest.get(..end)?), rest.get(end + 1..)?))
}
