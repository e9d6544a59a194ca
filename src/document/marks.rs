//! Words that start with a mark, found in a body of any length while it streams by.
//!
//! One pass: nothing is searched twice, and only a word is held whole. What a word means, and whether it may be replaced
//! where it stands, is not known here.

use std::ops::Range;

use memchr::memmem::Finder;

use super::{Escape, Fault, Limits, Place, Rewrite, Slot, Step};

/// What a format knows of the place that the reading has come to.
pub trait Context: Default {
    /// Whether the format may hold NUL.
    const TAKES_NUL: bool;

    /// Reads on. Cut anywhere, between characters.
    fn read(&mut self, bytes: &[u8]);

    /// How a text is written here, or `None` where none may be; `before` are the last two bytes that were read.
    fn escape(&self, before: [u8; 2]) -> Option<Escape>;
}

/// Rewrites the marked words of one document; see the format for what is yielded.
///
/// Such a word is the mark and all of `[A-Za-z0-9_-]` that follows, with none of `[A-Za-z0-9_.-]` before it. It is yielded
/// as a stray, or passes sealed and is counted. One longer than `value_bytes_max` is a fault wherever it stands.
pub struct Rewriter<C> {
    context: C,
    mark: Finder<'static>,
    limits: Limits,
    /// Input that is not settled, and some that is.
    input: Vec<u8>,
    /// The offset of `input` in the body.
    base: u64,
    /// How much of `input` has been dealt with in `output`.
    settled: usize,
    /// How much of `input` has been read and searched.
    at: usize,
    /// How much of `input` is known to be in the right encoding.
    checked: usize,
    /// What is wrong right there.
    flaw: Option<Fault>,
    before: [u8; 2],
    word: Option<Word>,
    found: Option<Found>,
    left: u64,
    output: Vec<u8>,
    finished: bool,
    fault: Option<Fault>,
}

/// A word that starts at `at` and may go on.
struct Word {
    escape: Option<Escape>,
    scanned: usize,
}

/// A word that waits to be answered.
struct Found {
    escape: Escape,
    range: Range<usize>,
}

impl<C: Context> Rewriter<C> {
    /// Starts on a document. `mark` is what the words to be found start with, and not empty.
    pub fn new(limits: Limits, mark: &'static [u8]) -> Self {
        Rewriter {
            context: C::default(),
            mark: Finder::new(mark),
            limits,
            input: Vec::new(),
            base: 0,
            settled: 0,
            at: 0,
            checked: 0,
            flaw: None,
            before: [0; 2],
            word: None,
            found: None,
            left: 0,
            output: Vec::new(),
            finished: false,
            fault: None,
        }
    }

    /// How many marked words have gone by that were not yielded, for want of a safe way to write in their place.
    pub fn left(&self) -> u64 {
        self.left
    }

    fn advance(&mut self) -> Result<Step, Fault> {
        self.check();
        while self.found.is_none() {
            if self.word.is_none() && !self.seek() {
                return self.rest();
            }
            if !self.scan()? {
                return Ok(Step::NeedInput);
            }
        }
        Ok(Step::Slot)
    }

    /// At the end of what is checked.
    fn rest(&self) -> Result<Step, Fault> {
        match &self.flaw {
            Some(flaw) => Err(flaw.clone()),
            None if self.finished => Ok(Step::Done),
            None => Ok(Step::NeedInput),
        }
    }

    /// Checks the encoding of what is new. A character that is cut waits for its end.
    fn check(&mut self) {
        let new = self.input.get(self.checked..).unwrap_or_default();
        if self.flaw.is_some() || new.is_empty() {
            return;
        }
        if self.base == 0 && self.checked == 0 {
            match new {
                [0xfe, 0xff, ..] | [0xff, 0xfe, ..] | [0, ..] | [_, 0, ..] => {
                    self.flaw = Some(Fault::WrongEncoding);
                    return;
                }
                [_] if !self.finished => return,
                _ => {}
            }
        }
        let (valid, whole) = match std::str::from_utf8(new) {
            Ok(_) => (new.len(), true),
            Err(error) => (error.valid_up_to(), error.error_len().is_none() && !self.finished),
        };
        let nul = if C::TAKES_NUL { None } else { memchr::memchr(0, new.get(..valid).unwrap_or_default()) };
        self.checked += nul.unwrap_or(valid);
        let offset = self.offset(self.checked);
        if nul.is_some() {
            self.flaw = Some(Fault::ControlCharacter { offset });
        } else if !whole {
            self.flaw = Some(Fault::NotUtf8 { offset });
        }
    }

    /// Goes on to the start of the next word; tells whether there is one. The start of a mark at the end is not passed.
    fn seek(&mut self) -> bool {
        loop {
            let rest = self.input.get(self.at..self.checked).unwrap_or_default();
            let Some(start) = self.mark.find(rest) else {
                let cut = if self.is_last() { 0 } else { common(rest, self.mark.needle()) };
                self.pass(self.checked - cut);
                return false;
            };
            self.pass(self.at + start);
            let [_, last] = self.before;
            if !is_word(last) && last != b'.' {
                let escape = self.context.escape(self.before);
                self.word = Some(Word { escape, scanned: self.at + self.mark.needle().len() });
                return true;
            }
            self.pass(self.at + 1);
        }
    }

    /// Goes on to the end of the word at hand; tells whether it is there.
    fn scan(&mut self) -> Result<bool, Fault> {
        let last = self.is_last();
        let Some(word) = &mut self.word else { return Ok(true) };
        let rest = self.input.get(word.scanned..self.checked).unwrap_or_default();
        word.scanned += rest.iter().take_while(|&&byte| is_word(byte)).count();
        let (escape, range) = (word.escape, self.at..word.scanned);
        if range.len() > self.limits.value_bytes_max {
            return Err(Fault::ValueTooLong { offset: self.offset(range.start), max: self.limits.value_bytes_max });
        }
        if range.end == self.checked && !last {
            return Ok(false);
        }
        self.word = None;
        // One byte in its place and the NUL after it would read as UTF-16.
        let is_ambiguous = self.offset(range.start) == 0 && self.input.get(range.end) == Some(&0);
        self.pass(range.end);
        match escape.filter(|_| !is_ambiguous) {
            Some(escape) => self.found = Some(Found { escape, range }),
            None => self.left += 1,
        }
        Ok(true)
    }

    /// Whether nothing will follow what is checked.
    fn is_last(&self) -> bool {
        self.flaw.is_some() || self.finished && self.checked == self.input.len()
    }

    fn pass(&mut self, end: usize) {
        let bytes = self.input.get(self.at..end).unwrap_or_default();
        self.before = match (bytes, self.before) {
            (&[.., a, b], _) | (&[b], [_, a]) => [a, b],
            (&[], before) => before,
        };
        self.context.read(bytes);
        self.at = end;
    }

    fn settle(&mut self, end: usize) {
        if let Some(untouched) = self.input.get(self.settled..end) {
            self.output.extend_from_slice(untouched);
            self.settled = end;
        }
    }

    fn offset(&self, at: usize) -> u64 {
        self.base + at as u64
    }
}

impl<C: Context> Rewrite for Rewriter<C> {
    fn feed(&mut self, chunk: &[u8]) {
        // What is settled goes only when it is the larger part, so that each byte is moved at most once on average.
        let dropped = self.settled;
        if dropped * 2 >= self.input.len() {
            self.input.drain(..dropped);
            self.base += dropped as u64;
            self.settled = 0;
            self.at -= dropped;
            self.checked -= dropped;
            if let Some(word) = &mut self.word {
                word.scanned -= dropped;
            }
            if let Some(found) = &mut self.found {
                found.range = found.range.start - dropped..found.range.end - dropped;
            }
        }
        self.input.extend_from_slice(chunk);
    }

    fn finish(&mut self) {
        self.finished = true;
    }

    fn step(&mut self) -> Result<Step, Fault> {
        if let Some(fault) = &self.fault {
            return Err(fault.clone());
        }
        let step = self.advance();
        self.settle(self.found.as_ref().map_or(self.at, |found| found.range.start));
        self.fault = step.as_ref().err().cloned();
        step
    }

    fn slot(&self) -> Option<Slot<'_>> {
        let Found { escape, range } = self.found.as_ref()?;
        let raw = self.input.get(range.clone())?;
        Some(Slot::of_text(None, Place::Value, (raw, self.offset(range.start)), raw, *escape))
    }

    fn keep(&mut self) {
        self.found = None;
    }

    fn replace(&mut self, written: &[u8]) {
        if let Some(found) = self.found.take() {
            self.settle(found.range.start);
            self.output.extend_from_slice(written);
            self.settled = found.range.end;
        }
    }

    fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.output)
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'
}

/// The length of the longest end of `bytes` with which `mark` starts.
fn common(bytes: &[u8], mark: &[u8]) -> usize {
    (1..mark.len()).rev().find(|&len| mark.get(..len).is_some_and(|start| bytes.ends_with(start))).unwrap_or(0)
}
