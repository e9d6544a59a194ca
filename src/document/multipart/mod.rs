//! `multipart/form-data` (RFC 7578, RFC 2046 5.1), rewritten while it streams by.
//!
//! One pass, memory bounded by [`Limits`] and [`PIECE_BYTES_MAX`]. A field that a rule selects is one slot; a file that a
//! rule selects is yielded in pieces. Nothing is normalised, and every one of several parts of the same name is treated.
//!
//! Refused, because servers differ: the boundary anywhere but alone on a line of its own between CRLFs; text before the
//! first and after the last; part headers that are not plainly well-formed, see `headers`; encoded and nested parts; names
//! that a server could take for a ruled one; `_charset_` other than utf-8; a part that says it is longer or shorter than
//! it is; boundaries with a comma or blank.

mod content;
mod headers;
mod parameters;
mod written;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use memchr::memmem;

use super::form::{CHARSET_NAME, FormPath, LOOK_ALIKE, Names, OTHER_CHARSET, Verdict};
use super::stream::Stream;
use super::{Escape, Fault, Limits, Piece, Place, Rewrite, Slot, Step, Watch};

pub(super) use written::{holds_escape, write_name, write_text};

use content::{Content, Target};
use headers::Head;
use written::Written;

/// The longest piece of a file, in bytes. All pieces but the last are that long.
pub const PIECE_BYTES_MAX: usize = 64 << 10;

/// The longest headers of a part, in bytes, with the empty line that ends them.
const HEADER_BYTES_MAX: usize = 16 << 10;

/// How many parts there may be.
const PARTS_MAX: u32 = 10_000;

/// The shortest boundary, in characters, that encrypted bytes do not hold by chance.
const BOUNDARY_MIN: usize = 16;

/// The longest boundary, in characters (RFC 2046 5.1.1).
const BOUNDARY_MAX: usize = 70;

/// The names of the fields and of the files that are protected.
pub struct Rules {
    fields: Names,
    files: Names,
}

impl Rules {
    /// Takes each path with the number that its slots report. Where several select one part, the lowest number wins.
    ///
    /// `fields` select parts without a file name, as texts: a part with one is refused that only they select. `files`
    /// select parts with a file name, in pieces, and also parts without one that `fields` do not select.
    pub fn compile(fields: &[(usize, FormPath)], files: &[(usize, FormPath)]) -> Rules {
        Rules { fields: Names::new(fields), files: Names::new(files) }
    }
}

/// Rewrites one multipart form.
///
/// What is put in the place of a slot, and what is kept after that in the same part, is searched for the boundary: where
/// it holds it, nothing is put out and the next step is a fault.
pub struct Rewriter {
    rules: Arc<Rules>,
    limits: Limits,
    watch: Option<Watch>,
    refuses_other_files: bool,
    /// CRLF, `--` and the boundary.
    delimiter: Vec<u8>,
    /// Finds the delimiter without its CRLF.
    finder: memmem::Finder<'static>,
    stream: Stream,
    state: State,
    /// Where the headers or the rest of the content at hand start, or the next byte to look at.
    at: u64,
    /// How far the headers or the content at hand have been searched.
    searched: u64,
    parts: u32,
    content: Content,
    found: VecDeque<Found>,
    written: Written,
    fault: Option<Fault>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Start,
    /// After a boundary.
    Boundary,
    Headers,
    Content,
    Epilogue,
}

/// What waits to be answered.
struct Found {
    rule: Option<usize>,
    range: Range<u64>,
    shown: Shown,
}

impl Found {
    fn is_piece(&self) -> bool {
        matches!(self.shown, Shown::File(_))
    }
}

enum Shown {
    /// A name or file name in the headers, without quotes.
    Name(Vec<u8>),
    /// The content of a field, as it is.
    Field,
    File(Piece),
}

/// Whether there is more to do with the input at hand.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    Go,
    Starved,
}

impl Rewriter {
    /// Starts on a body with this boundary, as the parameter of its media type says (unquoted, without dashes before it).
    ///
    /// `refuses_other_files`: whether a file that no rule selects is a fault, and likewise a part without a file name whose
    /// type is not `text/plain`. Else the content of files passes unseen, and those parts are fields like others. A part
    /// with an empty file name, which no rule selects, must be empty.
    ///
    /// # Errors
    ///
    /// A boundary that is not one of RFC 2046 5.1.1, or holds a comma or blank, where some servers cut it.
    pub fn new(
        rules: Arc<Rules>,
        boundary: &str,
        refuses_other_files: bool,
        limits: Limits,
        watch: Option<Watch>,
    ) -> Result<Rewriter, Fault> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"'()+_-./:=?".contains(&byte);
        if !(1..=BOUNDARY_MAX).contains(&boundary.len()) || !boundary.bytes().all(plain) {
            return Err(Fault::Unaccepted { offset: 0, what: "boundary that servers could read differently" });
        }
        let dashed = format!("--{boundary}");
        Ok(Rewriter {
            rules,
            limits,
            watch,
            refuses_other_files,
            delimiter: format!("\r\n{dashed}").into_bytes(),
            finder: memmem::Finder::new(dashed.as_bytes()).into_owned(),
            stream: Stream::new(),
            state: State::Start,
            at: 0,
            searched: 0,
            parts: 0,
            content: Content::default(),
            found: VecDeque::new(),
            written: Written::default(),
            fault: None,
        })
    }

    fn advance(&mut self) -> Result<Step, Fault> {
        while self.found.is_empty() {
            let flow = match self.state {
                State::Start => self.first_boundary()?,
                State::Boundary => self.after_boundary()?,
                State::Headers => self.headers()?,
                State::Content => self.content()?,
                State::Epilogue => return self.epilogue(),
            };
            if flow == Flow::Starved {
                return match self.stream.is_finished() {
                    true => Err(Fault::UnexpectedEnd { offset: self.stream.end() }),
                    false => Ok(Step::NeedInput),
                };
            }
        }
        Ok(Step::Slot)
    }

    /// At the beginning of the body: a CRLF may stand before the first boundary.
    fn first_boundary(&mut self) -> Result<Flow, Fault> {
        let rest = self.stream.rest(0);
        let skipped = if rest.starts_with(b"\r") { 0 } else { 2 };
        let wanted = self.delimiter.get(skipped..).unwrap_or_default();
        let same = rest.iter().zip(wanted).take_while(|(found, wanted)| found == wanted).count();
        if same == wanted.len() {
            self.at = same as u64;
            self.state = State::Boundary;
            return Ok(Flow::Go);
        }
        match same < rest.len() {
            true => Err(Fault::UnexpectedByte { offset: same as u64, wanted: "the boundary" }),
            false => Ok(Flow::Starved),
        }
    }

    /// What follows a boundary: the next part or the end.
    fn after_boundary(&mut self) -> Result<Flow, Fault> {
        let Some((after, _)) = self.stream.rest(self.at).split_first_chunk::<2>() else { return Ok(Flow::Starved) };
        self.state = match after {
            b"--" => State::Epilogue,
            b"\r\n" if self.parts == PARTS_MAX => return Err(self.refused("too many parts")),
            b"\r\n" => State::Headers,
            _ => return Err(self.refused("boundary that is not alone on its line")),
        };
        self.parts += 1;
        self.at += 2;
        self.searched = self.at;
        Ok(Flow::Go)
    }

    fn epilogue(&mut self) -> Result<Step, Fault> {
        let rest = self.stream.rest(self.at);
        match self.stream.is_finished() {
            _ if !b"\r\n".starts_with(rest) => Err(self.refused("text after the last boundary")),
            true if rest.len() == 1 => Err(self.refused("text after the last boundary")),
            true => {
                self.at = self.stream.end();
                Ok(Step::Done)
            }
            false => Ok(Step::NeedInput),
        }
    }

    fn headers(&mut self) -> Result<Flow, Fault> {
        let rest = self.stream.rest(self.at);
        let clipped = rest.get(..HEADER_BYTES_MAX).unwrap_or(rest);
        let from = usize::try_from(self.searched - self.at).unwrap_or(usize::MAX);
        let new = clipped.get(from..).unwrap_or_default();
        let Some(end) = memmem::find(new, b"\r\n\r\n").map(|end| from + end) else {
            if clipped.len() == HEADER_BYTES_MAX {
                return Err(self.refused("part headers too long"));
            }
            self.searched = self.at + clipped.len().saturating_sub(3) as u64;
            return Ok(Flow::Starved);
        };
        let block = clipped.get(..end).unwrap_or_default();
        if self.finder.find(block).is_some() {
            return Err(self.refused("boundary within headers"));
        }
        let head = headers::read(block, self.at)?;
        let target = self.target(&head)?;
        self.show_names(&head)?;
        self.at += end as u64 + 4;
        self.searched = self.at;
        self.content = Content::new(target, self.at, head.length);
        self.written.start();
        self.state = State::Content;
        Ok(Flow::Go)
    }

    /// What is to be done with the content of a part.
    fn target(&self, head: &Head) -> Result<Target, Fault> {
        let name = head.name.text.as_slice();
        let target = match (self.rules.fields.verdict(name), self.rules.files.verdict(name)) {
            (_, Verdict::Rule(rule)) if head.is_file() => Target::File(rule),
            (Verdict::Rule(_), _) if head.is_file() => {
                return Err(self.refused("file in the place of a protected field"));
            }
            (Verdict::Rule(rule), _) => Target::Field(rule),
            (_, Verdict::Rule(rule)) => Target::File(rule),
            (Verdict::LookAlike, _) | (_, Verdict::LookAlike) => return Err(self.refused(LOOK_ALIKE)),
            _ if name.eq_ignore_ascii_case(CHARSET_NAME) && head.is_file() => return Err(self.refused(OTHER_CHARSET)),
            _ if head.is_nameless_file() => Target::Nothing,
            _ if (head.is_file() || !head.plain) && self.refuses_other_files => {
                return Err(self.refused("file that no rule selects"));
            }
            _ if head.is_file() => Target::Unseen,
            _ if name.eq_ignore_ascii_case(CHARSET_NAME) => Target::Charset,
            _ if self.watch.is_some() => Target::Watched,
            _ => Target::Text,
        };
        if matches!(target, Target::File(_)) && self.delimiter.len() < 4 + BOUNDARY_MIN {
            return Err(self.refused("boundary too short for a protected file"));
        }
        if matches!(target, Target::Field(_)) && !head.utf8 {
            return Err(self.refused("protected field in another encoding than UTF-8"));
        }
        if matches!(target, Target::Field(_) | Target::File(_)) && head.length.is_some() {
            return Err(self.refused("protected part with a Content-Length"));
        }
        Ok(target)
    }

    /// Lets the watch see the names in the headers.
    fn show_names(&mut self, head: &Head) -> Result<(), Fault> {
        let mut shown: Vec<_> = [Some(&head.name), head.filename.as_ref()].into_iter().flatten().collect();
        shown.sort_by_key(|parameter| parameter.range.start);
        for parameter in shown {
            let range = self.at + parameter.range.start as u64..self.at + parameter.range.end as u64;
            if parameter.range.len() > self.limits.name_bytes_max {
                return Err(Fault::NameTooLong { offset: range.start, max: self.limits.name_bytes_max });
            }
            // A backslash in a file name is an escape for some servers, and stands for itself for others.
            let unescaped = written::unescape(&parameter.text);
            let seen = [parameter.text.as_slice(), &unescaped].into_iter().find(|text| self.is_watched(text));
            if let Some(text) = seen {
                self.found.push_back(Found { rule: None, range, shown: Shown::Name(text.to_vec()) });
            }
        }
        match &head.long_filename {
            Some(text) if self.is_watched(text) => Err(self.refused("`filename*` that has to be shown")),
            _ => Ok(()),
        }
    }

    fn is_watched(&self, text: &[u8]) -> bool {
        self.watch.is_some_and(|watch| watch.shows(text))
    }

    fn refused(&self, what: &'static str) -> Fault {
        Fault::Unaccepted { offset: self.at, what }
    }

    /// What is before this will not be asked for again.
    fn settled(&self) -> u64 {
        match (self.found.front(), self.state) {
            (Some(found), _) => found.range.start,
            (None, State::Content) => self.content.held().unwrap_or(self.at),
            (None, _) => self.at,
        }
    }

    /// Takes note of whether what takes the place of a slot may leave.
    fn note(&mut self, found: &Found, passes: bool) {
        if !passes {
            let offset = found.range.start;
            self.fault = Some(Fault::Unaccepted { offset, what: "replacement that holds the boundary" });
        }
    }
}

impl Rewrite for Rewriter {
    fn feed(&mut self, chunk: &[u8]) {
        self.stream.feed(chunk);
    }

    fn finish(&mut self) {
        self.stream.finish();
    }

    fn step(&mut self) -> Result<Step, Fault> {
        if let Some(fault) = &self.fault {
            return Err(fault.clone());
        }
        let step = self.advance();
        self.stream.settle(self.settled());
        if let Err(fault) = &step {
            self.fault = Some(fault.clone());
        }
        step
    }

    fn slot(&self) -> Option<Slot<'_>> {
        let Found { rule, range, shown } = self.found.front()?;
        let raw = (self.stream.slice(range.clone()), range.start);
        Some(match shown {
            Shown::Name(text) => Slot::of_text(*rule, Place::Name, raw, text, Escape::MultipartName),
            Shown::Field => Slot::of_text(*rule, Place::Value, raw, raw.0, Escape::Multipart),
            Shown::File(piece) => Slot::of_piece((*rule)?, raw, *piece, Escape::File),
        })
    }

    fn keep(&mut self) {
        if let Some(found) = self.found.pop_front() {
            let kept = self.stream.slice(found.range.clone());
            let passes = self.written.passes(&self.finder, kept, found.is_piece());
            self.note(&found, passes);
        }
    }

    fn replace(&mut self, written: &[u8]) {
        if let Some(found) = self.found.pop_front() {
            let passes = self.written.passes(&self.finder, written, found.is_piece());
            self.note(&found, passes);
            if passes {
                self.stream.replace(found.range, written);
            }
        }
    }

    fn take_output(&mut self) -> Vec<u8> {
        self.stream.take_output()
    }
}
