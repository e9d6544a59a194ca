//! JSON (RFC 8259), rewritten while it streams by.
//!
//! One pass, memory bounded by [`Limits`] however long the body is; input may be cut anywhere. The whole document is
//! checked, untouched parts too: grammar, UTF-8, limits. Nothing is normalised: white space, key order, number spelling,
//! escapes and duplicate members leave as they came. Every one of several members of the same name is treated.
//!
//! Left to implementations by the RFC, and decided here: a UTF-8 byte order mark at the start is kept; other encodings
//! are refused; escapes of lone surrogates are legal; numbers are text of any size; any value may stand at the top.

mod blocks;
mod machine;
mod merge;
mod names;
mod probe;
mod rules;
mod scan;
mod shape;
mod states;
mod text;
mod tracker;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use super::{Fault, Limits, Resources, Rewrite, Slot, Step, Watch};

pub use rules::{JsonPath, Rules, Selected, TooManySteps};
pub use scan::{is_literal, is_number};
pub use shape::{Member, name_before, parts};
pub use text::quote;

pub(super) use machine::Frame;
use machine::{Halt, Machine};
pub(super) use text::unquote;
pub(super) use tracker::{Guide, Spot};

/// Why a patch is refused where rules go by the type of a resource.
pub(super) const UNKNOWN_TYPE: &str = "a patch of something of an unknown type of resource";

/// Why a patch is refused that makes another resource of the one that it is for.
pub(super) const OTHER_TYPE: &str = "a resource of another type than the one that is patched";

/// Why a patch is refused that does not hold what a rule must see.
pub(super) const NEEDS_CONTEXT: &str = "patch needs context: a rule looks at what stands beside";

/// The types of resources that others stand in at many places. Elsewhere they are `contained`.
pub(super) const CONTAINERS: [&str; 2] = ["Bundle", "Parameters"];

/// Rewrites one JSON document.
pub struct Rewriter {
    machine: Machine,
    /// Input that is not settled, and some that is.
    input: Vec<u8>,
    /// How much of `input` has been dealt with in `output`.
    settled: usize,
    output: Vec<u8>,
    finished: bool,
    fault: Option<Fault>,
}

impl Rewriter {
    /// Starts on a document.
    pub fn new(rules: Arc<Rules>, limits: Limits, watch: Option<Watch>) -> Rewriter {
        Rewriter::at(0, rules, limits, watch)
    }

    /// The same for a document that starts `base` bytes into a body: offsets count from the body's start.
    pub(super) fn at(base: u64, rules: Arc<Rules>, limits: Limits, watch: Option<Watch>) -> Rewriter {
        Rewriter {
            machine: Machine::new(base, rules, limits, watch),
            input: Vec::new(),
            settled: 0,
            output: Vec::new(),
            finished: false,
            fault: None,
        }
    }

    /// The same for a merge patch (RFC 7396) of a document, which is a resource of type `resource` if rules go by that.
    pub(super) fn merging(rules: Arc<Rules>, resource: Option<&str>, limits: Limits, watch: Option<Watch>) -> Rewriter {
        let unknown = rules.by_resource_type() && resource.is_none();
        let mut rewriter = Rewriter::at(0, rules, limits, watch);
        rewriter.machine.merge(resource);
        let mut rewriter = rewriter.within(resource);
        rewriter.fault = unknown.then_some(Fault::Unaccepted { offset: 0, what: UNKNOWN_TYPE });
        rewriter
    }

    /// Reads parts of a resource of that type.
    pub(super) fn within(mut self, resource: Option<&str>) -> Rewriter {
        self.machine.within(resource);
        self
    }

    /// Before a value that has not been fed: has it stand among the paths of the rules at `spot`.
    pub(super) fn enter(&mut self, spot: &Spot) {
        self.machine.enter(spot);
    }

    /// Yields also the texts, numbers, booleans and nulls that rules let pass, each with the number of its rule.
    #[must_use]
    pub fn showing_passed(self) -> Rewriter {
        Rewriter { machine: self.machine.showing_passed(), ..self }
    }

    fn settle(&mut self, end: usize) {
        if let Some(untouched) = self.input.get(self.settled..end).filter(|bytes| !bytes.is_empty()) {
            if self.output.capacity() == 0 {
                self.output.reserve(self.input.len() - self.settled);
            }
            self.output.extend_from_slice(untouched);
            self.settled = end;
        }
    }
}

impl Rewrite for Rewriter {
    fn feed(&mut self, chunk: &[u8]) {
        // What is settled goes only when it is the larger part, so that each byte is moved at most once on average.
        if self.settled * 2 >= self.input.len() {
            self.input.drain(..self.settled);
            self.machine.shift(self.settled);
            self.settled = 0;
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
        let halt = self.machine.advance(&self.input, self.finished);
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
        self.machine.slot(&self.input)
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
    fn take_resources(&mut self) -> Resources {
        self.machine.take_resources()
    }
}
