//! XML 1.0 (5th edition) with Namespaces 1.0, rewritten while it streams by.
//!
//! One pass, memory bounded by [`Limits`] however long the body is; input may be cut anywhere. The whole document
//! is checked for being well-formed, untouched parts too; it is not validated. Nothing is normalised: white space,
//! quotes, prefixes, references and CDATA sections leave as they came.
//!
//! Refused, since readers differ or nothing needs it: document type declarations and with them all entities but the
//! five predefined ones; other encodings than UTF-8; a comment or processing instruction inside a selected text; an
//! element in no namespace that stands where a path wants one in a namespace. Names are compared exactly, as XML has
//! it. Comments and processing instructions pass: they are never replaced, and what they hold is nobody's value.
//!
//! Bounds beside those of [`Limits`]: 256 attributes in a tag, 256 namespace declarations in scope, 16 bytes in a
//! reference, 1 KiB for the XML declaration, 64 KiB of white space between two attributes.

mod element;
mod foresight;
mod found;
mod lexer;
mod machine;
mod namespaces;
mod path;
mod rules;
mod scan;
mod text;

#[cfg(test)]
mod tests;

use std::ops::Range;
use std::sync::Arc;

use super::{Fault, Limits, Rewrite, Slot, Step, Watch};

pub use element::{Attribute, Element, element, start_tag};
pub use path::XmlPath;
pub use rules::{Rules, TooManySteps};
pub(super) use text::{write_attribute, write_markup, write_text};

use machine::{Halt, Machine};

/// Rewrites one XML document.
pub struct Rewriter {
    machine: Machine,
    /// Input that is not settled, and some that is.
    input: Vec<u8>,
    /// Where `input` starts in the body.
    base: u64,
    /// How much of the body has been dealt with in `output`.
    settled: u64,
    output: Vec<u8>,
    finished: bool,
    fault: Option<Fault>,
}

impl Rewriter {
    /// Starts on a document.
    pub fn new(rules: Arc<Rules>, limits: Limits, watch: Option<Watch>) -> Rewriter {
        Rewriter::of(Machine::new(rules, limits, watch))
    }

    /// Starts on an element whose prefixes are declared elsewhere.
    fn of_fragment(rules: Arc<Rules>, limits: Limits) -> Rewriter {
        Rewriter::of(Machine::new(rules, limits, None).without_prefixes())
    }

    fn of(machine: Machine) -> Rewriter {
        let (input, output) = (Vec::new(), Vec::new());
        Rewriter { machine, input, base: 0, settled: 0, output, finished: false, fault: None }
    }

    fn view(&self) -> View<'_> {
        View { bytes: &self.input, base: self.base }
    }

    fn settle(&mut self, end: u64) {
        if end > self.settled {
            let untouched = View { bytes: &self.input, base: self.base }.slice(self.settled..end);
            self.output.extend_from_slice(untouched);
            self.settled = end;
        }
    }
}

impl Rewrite for Rewriter {
    fn feed(&mut self, chunk: &[u8]) {
        // What is settled goes only when it is the larger part, so that each byte is moved at most once on average.
        let settled = index(self.settled - self.base);
        if settled * 2 >= self.input.len() {
            self.input.drain(..settled);
            self.base = self.settled;
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
        let view = View { bytes: &self.input, base: self.base };
        let halt = self.machine.advance(view, self.finished);
        self.settle(self.machine.settled());
        match halt {
            Ok(Halt::Found) => Ok(Step::Slot),
            Ok(Halt::Complete) => Ok(Step::Done),
            Ok(Halt::Starved) => Ok(Step::NeedInput),
            Err(fault) => {
                self.fault = Some(fault.clone());
                Err(fault)
            }
        }
    }

    fn slot(&self) -> Option<Slot<'_>> {
        self.machine.slot(self.view())
    }

    fn keep(&mut self) {
        self.machine.answer();
    }

    fn replace(&mut self, written: &[u8]) {
        if let Some(range) = self.machine.answer() {
            self.settle(range.start);
            self.output.extend_from_slice(written);
            self.settled = range.end;
        }
    }

    fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.output)
    }
}

/// Part of the body. Places are offsets in the body, so they stay the same when its beginning is dropped.
#[derive(Clone, Copy)]
struct View<'a> {
    bytes: &'a [u8],
    base: u64,
}

impl<'a> View<'a> {
    /// All from a place on.
    fn from(self, start: u64) -> &'a [u8] {
        self.bytes.get(index(start.saturating_sub(self.base))..).unwrap_or_default()
    }

    fn slice(self, range: Range<u64>) -> &'a [u8] {
        let (start, end) = (range.start.saturating_sub(self.base), range.end.saturating_sub(self.base));
        self.bytes.get(index(start)..index(end)).unwrap_or_default()
    }

    fn end(self) -> u64 {
        self.base + self.bytes.len() as u64
    }

    /// The same without what is behind `end`.
    fn until(self, end: u64) -> View<'a> {
        let bytes = self.bytes.get(..index(end.saturating_sub(self.base))).unwrap_or(self.bytes);
        View { bytes, ..self }
    }
}

/// An offset into memory; beyond all of it when it does not fit.
fn index(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}
