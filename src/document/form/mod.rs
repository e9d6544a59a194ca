//! `application/x-www-form-urlencoded` (WHATWG URL 5.1) and query strings, rewritten while they stream by.
//!
//! One pass, memory bounded by [`Limits`]. Pairs are split at `&`, names end at the first `=`, `+` is a blank. Nothing is
//! normalised: spelling of escapes, empty pairs and missing `=` leave as they came. Every one of several pairs of the same
//! name is treated.
//!
//! Refused, because servers differ: `;` outside an escape, broken escapes, control characters, text that is not UTF-8,
//! `_charset_` with another value than `utf-8`, and, where there are rules, names that a server could take for a ruled one, names
//! with a NUL, values without a name, and a body whose first pair has no `=` (`isindex`).

mod decode;
mod fold;
mod names;
mod path;
mod write;

#[cfg(test)]
mod tests;

use std::ops::Range;
use std::sync::Arc;

use super::stream::Stream;
use super::utf8::whole_characters;
use super::{Escape, Fault, Limits, Place, Rewrite, Slot, Step, Watch};

pub use path::FormPath;

use decode::Decoder;
pub(in crate::document) use decode::hex;
pub(in crate::document) use names::{Names, Verdict};
pub(in crate::document) use write::{form as write_form, query as write_query};

/// The name of the field that names an encoding (WHATWG HTML 4.10.21.5), and the encoding it may name.
pub(in crate::document) const CHARSET_NAME: &[u8] = b"_charset_";
pub(in crate::document) const CHARSET: &[u8] = b"utf-8";

/// Why a name is refused that no rule selects.
pub(in crate::document) const LOOK_ALIKE: &str = "name that a server could take for a protected one";
/// Why a document is refused that says it is not UTF-8.
pub(in crate::document) const OTHER_CHARSET: &str = "`_charset_` other than utf-8";

/// The names that are protected.
pub struct Rules {
    names: Names,
}

impl Rules {
    /// Takes each path with the number that its slots report. Where several select one value, the lowest number wins.
    pub fn compile(rules: &[(usize, FormPath)]) -> Rules {
        Rules { names: Names::new(rules) }
    }
}

/// Rewrites one form or query.
pub struct Rewriter {
    rules: Arc<Rules>,
    limits: Limits,
    watch: Option<Watch>,
    query: bool,
    stream: Stream,
    decoder: Decoder,
    state: State,
    /// Where the name or value at hand starts.
    token: u64,
    /// The next byte to look at.
    at: u64,
    /// Whether all pairs so far were empty.
    first: bool,
    /// What selects the value at hand.
    rule: Option<usize>,
    /// Whether the value at hand names an encoding.
    charset: bool,
    found: Option<Found>,
    fault: Option<Fault>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Name,
    /// In a value that must be seen whole.
    Value,
    /// In a value that need not be.
    Passing,
    End,
}

/// What waits to be answered.
struct Found {
    rule: Option<usize>,
    place: Place,
    range: Range<u64>,
    text: Vec<u8>,
}

/// How far a name or value could be read.
enum Reach {
    Stop(Stop),
    /// It is longer than may be kept.
    Long,
    Starved,
}

/// What a name or value ends with.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stop {
    Equals,
    Ampersand,
    End,
}

impl Rewriter {
    /// Starts on the body of a form. Replacements are written with [`Escape::Form`].
    pub fn new(rules: Arc<Rules>, limits: Limits, watch: Option<Watch>) -> Rewriter {
        Rewriter {
            rules,
            limits,
            watch,
            query: false,
            stream: Stream::new(),
            decoder: Decoder::new(false),
            state: State::Name,
            token: 0,
            at: 0,
            first: true,
            rule: None,
            charset: false,
            found: None,
            fault: None,
        }
    }

    /// Starts on the query of a URL (RFC 3986 3.4), without its `?`. It is read like a form, but that a `+` there may also
    /// stand for itself, blanks and `#` cannot stand in it, and a first pair without `=` may (`?wsdl`). Replacements are
    /// written with [`Escape::Query`], which has no `+`.
    pub fn of_query(rules: Arc<Rules>, limits: Limits, watch: Option<Watch>) -> Rewriter {
        Rewriter { query: true, decoder: Decoder::new(true), ..Rewriter::new(rules, limits, watch) }
    }

    fn advance(&mut self) -> Result<Step, Fault> {
        while self.found.is_none() {
            if self.state == State::End {
                return Ok(Step::Done);
            }
            match self.read()? {
                Reach::Starved => return Ok(Step::NeedInput),
                Reach::Long => self.too_long()?,
                Reach::Stop(stop) => {
                    self.decoder.end(self.at)?;
                    match self.state {
                        State::Name => self.whole_name(stop)?,
                        State::Value => self.whole_value(stop)?,
                        State::Passing | State::End => self.next_pair(stop),
                    }
                }
            }
        }
        Ok(Step::Slot)
    }

    /// Reads on in the name or value at hand.
    fn read(&mut self) -> Result<Reach, Fault> {
        let max = match self.state {
            State::Name => self.limits.name_bytes_max,
            State::Value => self.limits.value_bytes_max,
            State::Passing | State::End => usize::MAX,
        };
        let clip = self.token.saturating_add(max as u64);
        for &byte in self.stream.rest(self.at) {
            match byte {
                b'&' => return Ok(Reach::Stop(Stop::Ampersand)),
                b'=' if self.state == State::Name => return Ok(Reach::Stop(Stop::Equals)),
                _ if self.at >= clip => return Ok(Reach::Long),
                _ => self.decoder.push(byte, self.at)?,
            }
            self.at += 1;
        }
        Ok(if self.stream.is_finished() { Reach::Stop(Stop::End) } else { Reach::Starved })
    }

    fn too_long(&mut self) -> Result<(), Fault> {
        if self.state == State::Name {
            return Err(Fault::NameTooLong { offset: self.token, max: self.limits.name_bytes_max });
        }
        let wanted = self.rule.is_some() || self.charset || self.is_watched(whole_characters(self.decoder.text()));
        if wanted {
            return Err(Fault::ValueTooLong { offset: self.token, max: self.limits.value_bytes_max });
        }
        self.decoder.drop_text();
        self.state = State::Passing;
        Ok(())
    }

    fn whole_name(&mut self, stop: Stop) -> Result<(), Fault> {
        let (offset, range) = (self.token, self.token..self.at);
        if range.is_empty() && stop != Stop::Equals {
            self.next_pair(stop);
            return Ok(());
        }
        let name = self.decoder.text();
        self.rule = match self.rules.names.verdict(name) {
            Verdict::Rule(rule) => Some(rule),
            Verdict::LookAlike => return Err(Fault::Unaccepted { offset, what: LOOK_ALIKE }),
            Verdict::Free => None,
        };
        if !self.rules.names.is_empty() && name.contains(&0) {
            return Err(Fault::Unaccepted { offset, what: "name with a NUL" });
        }
        let bare = self.first && stop != Stop::Equals && self.rule.is_none() && !self.query;
        if (range.is_empty() || bare) && !self.rules.names.is_empty() {
            return Err(Fault::Unaccepted { offset, what: "value without a name" });
        }
        self.charset = name.eq_ignore_ascii_case(CHARSET_NAME);
        if self.charset && stop != Stop::Equals {
            return Err(Fault::Unaccepted { offset, what: OTHER_CHARSET });
        }
        self.first = false;
        if self.is_watched(name) {
            self.found = Some(Found { rule: None, place: Place::Name, range, text: self.decoder.take_text() });
        }
        if stop != Stop::Equals {
            self.next_pair(stop);
            return Ok(());
        }
        let kept = self.rule.is_some() || self.charset || self.watch.is_some();
        self.state = if kept { State::Value } else { State::Passing };
        self.start(kept);
        Ok(())
    }

    fn whole_value(&mut self, stop: Stop) -> Result<(), Fault> {
        let text = self.decoder.text();
        if self.charset && !text.eq_ignore_ascii_case(CHARSET) {
            return Err(Fault::Unaccepted { offset: self.token, what: OTHER_CHARSET });
        }
        if self.rule.is_some() || self.is_watched(text) {
            let (rule, range) = (self.rule, self.token..self.at);
            self.found = Some(Found { rule, place: Place::Value, range, text: self.decoder.take_text() });
        }
        self.next_pair(stop);
        Ok(())
    }

    fn next_pair(&mut self, stop: Stop) {
        if stop == Stop::End {
            self.state = State::End;
            return;
        }
        self.state = State::Name;
        self.start(true);
    }

    /// Begins a name or value after the byte at hand.
    fn start(&mut self, kept: bool) {
        self.at += 1;
        self.token = self.at;
        self.decoder.start(kept);
    }

    fn is_watched(&self, text: &[u8]) -> bool {
        self.watch.is_some_and(|watch| watch.shows(text))
    }

    /// What is before this will not be asked for again.
    fn settled(&self) -> u64 {
        match (&self.found, self.state) {
            (Some(found), _) => found.range.start,
            (None, State::Name | State::Value) => self.token,
            (None, State::Passing | State::End) => self.at,
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
        let Found { rule, place, range, text } = self.found.as_ref()?;
        let raw = self.stream.slice(range.clone());
        let escape = if self.query { Escape::Query } else { Escape::Form };
        Some(Slot::of_text(*rule, *place, (raw, range.start), text, escape))
    }

    fn keep(&mut self) {
        self.found = None;
    }

    fn replace(&mut self, written: &[u8]) {
        if let Some(found) = self.found.take() {
            self.stream.replace(found.range, written);
        }
    }

    fn take_output(&mut self) -> Vec<u8> {
        self.stream.take_output()
    }
}
