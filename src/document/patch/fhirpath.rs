//! The rewriter of FHIRPath Patches.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use super::judge::Judge;
use super::places::Places;
use super::{check, elements};
use crate::document::json::{self, Rules, Spot};
use crate::document::{Fault, Limits, Rewrite, Slot, Step, Watch};

/// Rewrites one FHIRPath Patch in JSON, which is kept whole until its end has come, up to `object_bytes_max`.
///
/// What the rules select in the values of `add`, `insert` and `replace` is yielded where it stands. Paths are taken that
/// are names and indices. A server may put a value elsewhere than at the end of its path, by the
/// type that it has: where the rules select more of it at any element of the path, or in any spelling of its name, the patch
/// is refused, and so it is where they look at what stands beside.
pub struct ElementsRewriter {
    rules: Arc<Rules>,
    resource: Option<String>,
    limits: Limits,
    watch: Option<Watch>,
    input: Vec<u8>,
    finished: bool,
    is_judged: bool,
    /// What is known of the values in it that are still to come, in their order.
    values: VecDeque<(Range<usize>, Spot)>,
    /// What rewrites the value at hand.
    inner: Option<json::Rewriter>,
    /// How much of `input` is dealt with in `output`, or by `inner`.
    given: usize,
    output: Vec<u8>,
    fault: Option<Fault>,
}

impl ElementsRewriter {
    /// Starts on a patch of a resource of type `resource`: without that every patch is refused.
    pub fn new(rules: Arc<Rules>, resource: Option<&str>, limits: Limits, watch: Option<Watch>) -> ElementsRewriter {
        ElementsRewriter {
            rules,
            resource: resource.map(str::to_owned),
            limits,
            watch,
            input: Vec::new(),
            finished: false,
            is_judged: false,
            values: VecDeque::new(),
            inner: None,
            given: 0,
            output: Vec::new(),
            fault: None,
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
        if !self.is_judged {
            self.is_judged = true;
            self.judge()?;
        }
        loop {
            if let Some(inner) = &mut self.inner {
                if inner.step()? == Step::Slot {
                    return Ok(Step::Slot);
                }
                self.output.append(&mut inner.take_output());
                self.inner = None;
            }
            let Some((range, spot)) = self.values.pop_front() else {
                self.output.extend_from_slice(self.input.get(self.given..).unwrap_or_default());
                self.given = self.input.len();
                return Ok(Step::Done);
            };
            self.output.extend_from_slice(self.input.get(self.given..range.start).unwrap_or_default());
            self.begin(range, &spot);
        }
    }

    /// Goes into the value there.
    fn begin(&mut self, range: Range<usize>, spot: &Spot) {
        let (rules, limits) = (Arc::clone(&self.rules), self.limits.clone());
        let mut inner = json::Rewriter::at(range.start as u64, rules, limits, self.watch);
        inner = inner.within(self.resource.as_deref());
        inner.enter(spot);
        inner.feed(self.input.get(range.clone()).unwrap_or_default());
        inner.finish();
        self.given = range.end;
        self.inner = Some(inner);
    }

    fn judge(&mut self) -> Result<(), Fault> {
        check(&self.input, &self.limits)?;
        let resource = self.resource.as_deref();
        let judge = Judge::of_elements(Arc::clone(&self.rules), resource);
        let judge = judge.map_err(|what| Fault::Unaccepted { offset: 0, what })?;
        let puts = elements::operations(&self.input, resource.unwrap_or_default())?;
        let mut places = Places::new(judge, Arc::clone(&self.rules), self.limits.clone(), resource);
        for put in puts {
            let spot = places.of(&self.input, &put)?;
            self.values.extend(put.value.map(|value| value.range).zip(spot));
        }
        // Parts of an operation stand in any order.
        self.values.make_contiguous().sort_by_key(|(range, _)| range.start);
        Ok(())
    }
}

impl Rewrite for ElementsRewriter {
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
        self.inner.as_ref()?.slot()
    }

    fn keep(&mut self) {
        if let Some(inner) = &mut self.inner {
            inner.keep();
        }
    }

    fn replace(&mut self, written: &[u8]) {
        if let Some(inner) = &mut self.inner {
            inner.replace(written);
        }
    }

    fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.output)
    }
}
