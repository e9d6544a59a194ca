//! JSON (RFC 8259), rewritten while it streams by.
//!
//! One pass, memory bounded by [`Limits`] however long the body is; input may be cut anywhere. The whole document is
//! checked, untouched parts too: grammar, UTF-8, limits. Nothing is normalised: white space, key order, number spelling,
//! escapes and duplicate members leave as they came. Every one of several members of the same name is treated.
//!
//! Left to implementations by the RFC, and decided here: a UTF-8 byte order mark at the start is kept; other encodings
//! are refused; escapes of lone surrogates are legal; numbers are text of any size; any value may stand at the top.

mod fault;
mod machine;
mod rules;
mod scan;
mod slot;
mod text;

#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use fault::Fault;
pub use rules::{Rules, TooManySteps};
pub use slot::{Kind, Place, Slot};
pub use text::quote;

use machine::{Halt, Machine};

/// Bounds on what a document may ask for. Each has a fault of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How many objects and arrays may be open at once.
    pub depth_max: usize,
    /// The longest value that is yielded, in bytes as written. Values that nobody asks for may be longer.
    pub value_bytes_max: usize,
    /// The longest member name, in bytes as written, quotes included. Holds for every member.
    pub name_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { depth_max: 128, value_bytes_max: 1 << 20, name_bytes_max: 64 << 10 }
    }
}

/// Tells whether a decoded string that no rule selects must be shown to the caller all the same.
///
/// It is asked about every member name and about every string value but those that a rule selects, which the caller sees
/// anyway. The text is WTF-8. Of a string longer than `value_bytes_max` it sees that much of the beginning: if it says
/// yes the document is refused with [`Fault::ValueTooLong`], else the rest of the string passes unseen. What must be
/// found has to show at the start of a string.
pub type Watch = fn(&[u8]) -> bool;

/// What [`Rewriter::step`] came upon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// All input is used up: `feed` more, or `finish`.
    NeedInput,
    /// A slot waits, see [`Rewriter::slot`].
    Slot,
    /// The document is complete and valid, and so is the output.
    Done,
}

/// Rewrites one document: `feed`, `step`, answer each slot, `take_output`.
///
/// Output may leave before the document has been seen whole. Whoever passes it on must be able to break off when a
/// later step ends in a fault, or collect it until `Step::Done`.
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
        Rewriter {
            machine: Machine::new(rules, limits, watch),
            input: Vec::new(),
            settled: 0,
            output: Vec::new(),
            finished: false,
            fault: None,
        }
    }

    /// Takes the next piece of the body, of any length. It is copied and held until steps have used it up.
    pub fn feed(&mut self, chunk: &[u8]) {
        // What is settled goes only when it is the larger part, so that each byte is moved at most once on average.
        if self.settled * 2 >= self.input.len() {
            self.input.drain(..self.settled);
            self.machine.shift(self.settled);
            self.settled = 0;
        }
        self.input.extend_from_slice(chunk);
    }

    /// Says that no more input follows.
    pub fn finish(&mut self) {
        self.finished = true;
    }

    /// Goes on to the next slot, or as far as the input reaches.
    ///
    /// While a slot has not been answered by `keep` or `replace`, this returns [`Step::Slot`] again.
    ///
    /// # Errors
    ///
    /// The first fault of the document; the same again from then on.
    pub fn step(&mut self) -> Result<Step, Fault> {
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

    /// The slot that waits, after [`Step::Slot`] and until it is answered.
    pub fn slot(&self) -> Option<Slot<'_>> {
        self.machine.slot(&self.input)
    }

    /// Leaves the waiting slot as it is. Without one, does nothing.
    pub fn keep(&mut self) {
        self.machine.answer();
    }

    /// Puts `json` in the place of the waiting slot. Without one, does nothing.
    ///
    /// `json` must be one complete JSON value, for a [`Place::Name`] a string literal (see [`quote`]): it is not checked,
    /// and anything else makes the output invalid. It is not searched for slots. A replaced name has no influence on what
    /// the rules select; they go by the name that was there.
    pub fn replace(&mut self, json: &[u8]) {
        if let Some(range) = self.machine.answer() {
            self.settle(range.start);
            self.output.extend_from_slice(json);
            self.settled = range.end;
        }
    }

    /// The output that is final since the last call; empty when there is none. It never reaches past a waiting slot.
    pub fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.output)
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
