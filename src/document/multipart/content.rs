//! The content of one part, up to the boundary that ends it.

use memchr::memmem;

use super::{Flow, Found, PIECE_BYTES_MAX, Rewriter, Shown, State};
use crate::document::form::{CHARSET, OTHER_CHARSET};
use crate::document::utf8::{Utf8, whole_characters};
use crate::document::{Fault, Piece};

/// The content at hand.
#[derive(Default)]
pub(super) struct Content {
    target: Target,
    start: u64,
    /// What the headers say of its length, in bytes.
    length: Option<u64>,
    /// Where the next boundary is, once that is known.
    boundary: Option<u64>,
    utf8: Utf8,
}

/// What is to be done with a content.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Target {
    /// A field that this rule selects.
    Field(usize),
    /// A file that this rule selects.
    File(usize),
    /// The field that names an encoding.
    Charset,
    /// A field that is shown to the watch.
    Watched,
    /// Another field.
    Text,
    /// A file that must be empty.
    Nothing,
    /// A file that may be anything.
    #[default]
    Unseen,
}

impl Content {
    pub(super) fn new(target: Target, start: u64, length: Option<u64>) -> Content {
        Content { target, start, length, boundary: None, utf8: Utf8::default() }
    }

    /// Where the part of the input starts that must be seen whole.
    pub(super) fn held(&self) -> Option<u64> {
        matches!(self.target, Target::Field(_) | Target::Charset | Target::Watched).then_some(self.start)
    }
}

impl Rewriter {
    /// Reads on in the content at hand, of which all before `at` has been dealt with.
    pub(super) fn content(&mut self) -> Result<Flow, Fault> {
        self.search();
        let Content { target, start, boundary, .. } = self.content;
        // The last bytes that came could begin a boundary. One that is not preceded by CRLF is treated alike until all
        // before it has been, so that it makes no difference how the input was cut.
        let unsure = self.delimiter.len() as u64 - 1;
        let safe = boundary.map_or(self.stream.end().saturating_sub(unsure), |boundary| boundary.saturating_sub(2));
        let safe = safe.max(self.at);
        match target {
            Target::File(rule) => {
                if safe - self.at > PIECE_BYTES_MAX as u64 {
                    self.piece(rule, self.at + PIECE_BYTES_MAX as u64, false);
                    return Ok(Flow::Go);
                }
            }
            Target::Unseen => self.at = safe,
            Target::Nothing if safe > start => {
                return Err(Fault::Unaccepted { offset: start, what: "content of a file without a name" });
            }
            Target::Nothing => {}
            Target::Text => self.check(safe)?,
            Target::Field(_) | Target::Charset | Target::Watched => {
                let clip = start.saturating_add(self.limits.value_bytes_max as u64);
                self.check(safe.min(clip))?;
                if safe > clip {
                    self.too_long(clip)?;
                    return Ok(Flow::Go);
                }
            }
        }
        let Some(boundary) = boundary else { return Ok(Flow::Starved) };
        if boundary < start + 2 || self.stream.slice(boundary - 2..boundary) != b"\r\n" {
            return Err(Fault::Unaccepted { offset: boundary, what: "boundary inside a part" });
        }
        let after = boundary + self.delimiter.len() as u64 - 2;
        match self.stream.rest(after) {
            [] | [_] => return Ok(Flow::Starved),
            [b'-', b'-', ..] | [b'\r', b'\n', ..] => {}
            _ => return Err(Fault::Unaccepted { offset: after, what: "boundary that is not alone on its line" }),
        }
        self.end_of_content(safe)?;
        self.at = after;
        self.state = State::Boundary;
        Ok(Flow::Go)
    }

    /// The content is all there and ends at `end`.
    fn end_of_content(&mut self, end: u64) -> Result<(), Fault> {
        let Content { target, start, length, ref utf8, .. } = self.content;
        if !utf8.is_whole() {
            return Err(Fault::NotUtf8 { offset: end });
        }
        if length.is_some_and(|length| length != end - start) {
            return Err(Fault::Unaccepted { offset: start, what: "part with another length than it says" });
        }
        let text = self.stream.slice(start..end);
        let rule = match target {
            Target::File(rule) => {
                self.piece(rule, end, true);
                return Ok(());
            }
            Target::Charset if !text.eq_ignore_ascii_case(CHARSET) => {
                return Err(Fault::Unaccepted { offset: start, what: OTHER_CHARSET });
            }
            Target::Field(rule) => Some(rule),
            Target::Charset | Target::Watched if self.is_watched(text) => None,
            Target::Charset | Target::Watched | Target::Text | Target::Nothing | Target::Unseen => return Ok(()),
        };
        if length.is_some() {
            return Err(Fault::Unaccepted { offset: start, what: "part to be shown with a Content-Length" });
        }
        self.found.push_back(Found { rule, range: start..end, shown: Shown::Field });
        Ok(())
    }

    /// A content that should be seen whole reaches beyond `clip`.
    fn too_long(&mut self, clip: u64) -> Result<(), Fault> {
        let offset = self.content.start;
        let head = whole_characters(self.stream.slice(offset..clip));
        if self.content.target != Target::Watched || self.is_watched(head) {
            return Err(Fault::ValueTooLong { offset, max: self.limits.value_bytes_max });
        }
        self.content.target = Target::Text;
        Ok(())
    }

    /// Yields the part of a file from what has been dealt with to `end`.
    fn piece(&mut self, rule: usize, end: u64, last: bool) {
        let piece = Piece { first: self.at == self.content.start, last };
        self.found.push_back(Found { rule: Some(rule), range: self.at..end, shown: Shown::File(piece) });
        self.at = end;
    }

    /// Goes on to `end` in text.
    fn check(&mut self, end: u64) -> Result<(), Fault> {
        if end <= self.at {
            return Ok(());
        }
        if let Some(index) = self.content.utf8.flaw(self.stream.slice(self.at..end)) {
            return Err(Fault::NotUtf8 { offset: self.at + index as u64 });
        }
        self.at = end;
        Ok(())
    }

    /// Looks for the boundary in what has come since the last time.
    fn search(&mut self) {
        if self.content.boundary.is_some() {
            return;
        }
        let finder: &memmem::Finder<'_> = &self.finder;
        self.content.boundary = finder.find(self.stream.rest(self.searched)).map(|at| self.searched + at as u64);
        let unsure = finder.needle().len() as u64 - 1;
        self.searched = self.stream.end().saturating_sub(unsure).max(self.searched);
    }
}
