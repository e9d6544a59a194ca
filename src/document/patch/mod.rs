//! Patches of JSON documents, rewritten by the rules of the documents: JSON Patch (RFC 6902), merge patch (RFC 7396)
//! and FHIRPath Patch (<https://hl7.org/fhir/R4/fhirpatch.html>).
//!
//! Nothing is applied here, and the document is not there to be asked: where a rule would have to look at it to tell
//! whether something is protected, the patch is refused.

mod elements;
mod fhirpath;
mod judge;
mod operation;
mod places;
mod pointer;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, LazyLock};

use super::json::{self, Rules, Spot, parts, unquote};
use super::{Fault, Limits, Rewrite, Slot, Step, Watch};
pub use fhirpath::ElementsRewriter;
use judge::Judge;
use operation::operations;

/// Rewrites one merge patch (`application/merge-patch+json`).
///
/// The rules go for it as for a document. `null` takes a member away: where a rule selects one, it is yielded as any
/// other value. An object whose selection depends on a text is refused if the patch does not have that text: arrays are
/// replaced whole, all other objects are merged into what was there. `resource` is the type of the resource that is
/// patched: without it, rules by resource type cannot be applied, and every patch is refused.
pub fn merge(rules: Arc<Rules>, resource: Option<&str>, limits: Limits, watch: Option<Watch>) -> json::Rewriter {
    json::Rewriter::merging(rules, resource, limits, watch)
}

/// Whether a JSON body says to any reader that it is Parameters. A server of FHIR takes such a body for a FHIRPath Patch
/// (<https://hl7.org/fhir/R4/fhirpatch.html>), whose values stand elsewhere than in the document.
pub fn is_parameters(body: &[u8]) -> bool {
    let says = |range: &Range<usize>, word: &[u8]| {
        let text = body.get(range.clone()).and_then(unquote).unwrap_or_default();
        text.trim_ascii().eq_ignore_ascii_case(word)
    };
    let top = operation::start(body);
    let (members, _) = parts(body, top).filter(|_| body.get(top) == Some(&b'{')).unwrap_or_default();
    members.iter().any(|member| says(&member.name, b"resourceType") && says(&member.value, b"Parameters"))
}

/// Rewrites one JSON Patch (`application/json-patch+json`), which is kept whole until its end has come, up to
/// `object_bytes_max`.
///
/// What the rules select in the values of `add`, `replace` and `test` is yielded where it stands; those of `test` say
/// so. A pointer may lead further down than it can be known what the rules select, into what they select whole, or to
/// what their tests compare; a `move` or `copy` may touch what they select; an `add` or `remove` may shift elements
/// that they count: such patches are refused, and so is whatever RFC 6902 does not define.
pub struct Rewriter {
    limits: Limits,
    /// The patch, until it is judged.
    input: Vec<u8>,
    finished: bool,
    /// Who judges it; nobody any more once that is done.
    judge: Option<Judge>,
    /// What is known of the values in it, in their order; those that are still to come.
    values: VecDeque<Value>,
    /// The one that was come upon last.
    value: Option<Value>,
    /// How much of `input` was given to `inner`.
    given: usize,
    inner: json::Rewriter,
    fault: Option<Fault>,
}

/// The value of an operation.
struct Value {
    range: Range<usize>,
    spot: Spot,
    is_test: bool,
}

impl Rewriter {
    /// Starts on a patch of a resource of type `resource`, if it is one: without that, rules by resource type cannot be
    /// applied, and every patch is refused.
    pub fn new(rules: Arc<Rules>, resource: Option<&str>, limits: Limits, watch: Option<Watch>) -> Rewriter {
        let (judge, fault) = match Judge::new(Arc::clone(&rules), resource) {
            Ok(judge) => (Some(judge), None),
            Err(what) => (None, Some(Fault::Unaccepted { offset: 0, what })),
        };
        Rewriter {
            inner: json::Rewriter::new(rules, limits.clone(), watch).within(resource),
            limits,
            input: Vec::new(),
            finished: false,
            judge,
            values: VecDeque::new(),
            value: None,
            given: 0,
            fault,
        }
    }

    fn turn(&mut self) -> Result<Step, Fault> {
        let max = self.limits.object_bytes_max;
        if self.input.len() > max {
            return Err(Fault::ValueTooLong { offset: 0, max });
        }
        if !self.finished {
            return Ok(Step::NeedInput);
        }
        if let Some(mut judge) = self.judge.take() {
            check(&self.input, &self.limits)?;
            self.values = values(&self.input, &mut judge, self.limits.depth_max)?;
            self.inner.enter(&judge.nowhere());
            self.give();
        }
        loop {
            match self.inner.step()? {
                Step::NeedInput => {}
                step => return Ok(step),
            }
            if let Some(value) = self.values.pop_front() {
                self.inner.enter(&value.spot);
                self.value = Some(value);
            }
            self.give();
        }
    }

    /// Gives `inner` all up to the next value, or to the end.
    fn give(&mut self) {
        let end = self.values.front().map_or(self.input.len(), |value| value.range.start);
        self.inner.feed(self.input.get(self.given..end).unwrap_or_default());
        self.given = end;
        if self.values.is_empty() {
            self.inner.finish();
        }
    }
}

/// Refuses what is no JSON text.
fn check(patch: &[u8], limits: &Limits) -> Result<(), Fault> {
    static NONE: LazyLock<Option<Arc<Rules>>> = LazyLock::new(|| Rules::compile(&[]).ok().map(Arc::new));
    let Some(none) = NONE.clone() else { return Ok(()) };
    let mut plain = json::Rewriter::new(none, limits.clone(), None);
    plain.feed(patch);
    plain.finish();
    plain.step().map(|_| ())
}

/// Where the values of a patch stand, in the order of the patch.
fn values(patch: &[u8], judge: &mut Judge, depth_max: usize) -> Result<VecDeque<Value>, Fault> {
    let mut values = VecDeque::new();
    for operation in operations(patch, depth_max)? {
        let refused = |what| operation::refused(operation.at.start, what);
        let spot = judge.judge(patch, &operation).map_err(refused)?;
        if let (Some(spot), Some(range)) = (spot, operation.value) {
            values.push_back(Value { range, spot, is_test: operation.verb == operation::Verb::Test });
        }
    }
    Ok(values)
}

impl Rewrite for Rewriter {
    fn feed(&mut self, chunk: &[u8]) {
        // What is too long already is refused, however much more of it there is.
        if self.input.len() <= self.limits.object_bytes_max {
            self.input.extend_from_slice(chunk);
        }
    }

    fn finish(&mut self) {
        self.finished = true;
    }

    fn step(&mut self) -> Result<Step, Fault> {
        if let Some(fault) = &self.fault {
            return Err(fault.clone());
        }
        self.turn().inspect_err(|fault| self.fault = Some(fault.clone()))
    }

    fn slot(&self) -> Option<Slot<'_>> {
        let mut slot = self.inner.slot()?;
        if let Some(value) = self.value.as_ref().filter(|value| value.is_test) {
            slot.is_test = (value.range.start as u64..value.range.end as u64).contains(&slot.start);
        }
        Some(slot)
    }

    fn keep(&mut self) {
        self.inner.keep();
    }

    fn replace(&mut self, written: &[u8]) {
        self.inner.replace(written);
    }

    fn take_output(&mut self) -> Vec<u8> {
        self.inner.take_output()
    }
}
