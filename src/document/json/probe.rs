//! Looks into an object ahead of the machine that stands before it, for what the rules must know of it: the type of a resource,
//! and texts that filters compare.

use std::sync::Arc;

use super::machine::Machine;
use super::rules::Probing;
use super::tracker::{Probed, Verdict};
use crate::document::{Fault, Kind, Limits};

/// One object that is looked into. It goes on where it stopped when more of the input is there.
pub(super) struct Probe {
    machine: Machine,
    tests: Vec<bool>,
    kind: Option<Vec<u8>>,
    /// Whether the object must be seen to its end; else its type is enough.
    whole: bool,
}

impl Probe {
    /// Before the object at `at` of the input at hand, which starts `base` bytes into the body.
    pub(super) fn new(probing: &Probing, limits: &Limits, base: u64, at: usize, verdict: Verdict) -> Probe {
        let machine = Machine::for_texts(base, at, Arc::clone(&probing.rules), limits.clone());
        Probe { machine, tests: vec![false; probing.tests.len()], kind: None, whole: verdict.is_tested() }
    }

    /// Goes on; `None` if it needs more input. `end`: where the body ends, if that is known.
    pub(super) fn run(&mut self, probing: &Probing, view: &[u8], end: Option<usize>) -> Result<Option<Probed>, Fault> {
        while self.machine.look(view, end)? {
            let Some(slot) = self.machine.slot(view) else { break };
            match (slot.rule(), slot.kind(), slot.text()) {
                (Some(0), Kind::Text, Some(kind)) => self.kind = Some(kind.to_vec()),
                (Some(0), ..) => {
                    let offset = slot.range().start;
                    return Err(Fault::Unaccepted { offset, what: "a resourceType that is no text" });
                }
                (Some(way), _, Some(text)) => {
                    for ((number, wanted), holds) in probing.tests.iter().zip(&mut self.tests) {
                        *holds |= *number == way && **wanted == *text;
                    }
                }
                _ => {}
            }
            self.machine.answer();
            if self.kind.is_some() && !self.whole {
                return Ok(Some(self.take()));
            }
        }
        Ok(self.machine.is_past().then(|| self.take()))
    }

    fn take(&mut self) -> Probed {
        Probed { tests: std::mem::take(&mut self.tests), kind: self.kind.take() }
    }

    /// Forgets the first `dropped` bytes of the input.
    pub(super) fn shift(&mut self, dropped: usize) {
        self.machine.shift(dropped);
    }
}
