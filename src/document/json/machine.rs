//! The state of a rewriter between two bytes of its input, and what of that input still matters.

mod grammar;
mod look;
mod marks;
mod run;
mod strings;

use std::ops::Range;
use std::sync::Arc;

use fearless_simd::Level;

use marks::Marks;

use super::CONTAINERS;
use super::blocks;
use super::merge::Merge;
use super::probe::Probe;
use super::rules::{Rule, Rules};
use super::scan::Digits;
use super::tracker::{Spot, Tracker, Verdict};
use crate::document::{Escape, Fault, Kind, Limits, Place, Resources, Role, Slot, Watch};

/// Positions are indices into the input at hand; `shift` moves them when its beginning is dropped.
pub(super) struct Machine {
    limits: Limits,
    watch: Option<Watch>,
    marks: Marks,
    /// What the processor can do.
    level: Level,
    tracker: Tracker,
    /// The offset of the input at hand in the body.
    base: u64,
    /// Where the body ends, once that is known.
    end: Option<usize>,
    state: State,
    /// The next byte to look at.
    at: usize,
    /// Where the string or number at hand starts.
    token: usize,
    escaped: bool,
    digits: Digits,
    /// What the rules say of the next value.
    verdict: Verdict,
    frames: Vec<Frame>,
    /// Looks into the object at hand.
    probe: Option<Box<Probe>>,
    /// Whether this one looks into an object for another: it ends with that, and no name that it is after may stand twice.
    nested: bool,
    /// Whether objects and arrays are gone into that a rule other than the first selects: texts alone are wanted.
    seeks_texts: bool,
    merge: Option<Merge>,
    /// The resources that came.
    resources: Resources,
    /// Whether the resource that was looked into last is made of others.
    holds: bool,
    /// Whether it is a part of such a resource.
    is_part: bool,
    hold: Option<Hold>,
    /// From where on the output waits for the end of an object, of which members may have to be moved: how many objects and arrays
    /// are open in that one, itself included, and the place, in bytes from the start of the body.
    waiting: Option<(usize, u64)>,
    /// Where the input may not be read beyond, for the sake of `hold`.
    clip: usize,
    found: Option<Found>,
    decoded: Vec<u8>,
}

/// What comes next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Start,
    Value,
    FirstElement,
    FirstMember,
    Member,
    /// The inside of a member name.
    Name,
    Colon,
    /// The inside of a string that must be seen whole.
    Text,
    /// The inside of a string that need not be.
    Passing,
    Number,
    /// A comma or the end of the object or array.
    Comma,
    End,
}

/// An open object or array.
pub(in crate::document) struct Frame {
    /// Where it starts, in bytes from the start of the body.
    pub(in crate::document) start: u64,
    pub(in crate::document) object: bool,
    /// Whether anything inside may be selected.
    live: bool,
    /// Of an array: whether the verdict on an element depends on its index.
    indexed: bool,
    /// Of an array: the index of the element at hand.
    pub(in crate::document) index: u64,
    /// On the elements of an array, or the members of an object that no rule mentions.
    verdict: Verdict,
    /// Of a resource: whether its type has come.
    kind: Option<bool>,
    /// Whether it is a resource that is made of others.
    holds: bool,
    /// Of an object that is looked into: which of the names that are looked for have come.
    seen: u64,
}

/// A selected object or array that is being read.
struct Hold {
    rule: Rule,
    start: usize,
    /// How many objects and arrays are open around it.
    depth: usize,
    watched: bool,
    /// The rules that select something inside.
    inner: Vec<usize>,
}

/// What waits to be answered.
struct Found {
    rule: Option<usize>,
    place: Place,
    kind: Kind,
    range: Range<usize>,
    /// Whether the text stands in `decoded`; else it is what the quotes enclose.
    escaped: bool,
    watched: bool,
    inner: Vec<usize>,
    role: Role,
    /// How many objects and arrays are around it.
    around: usize,
}

impl Found {
    fn of(rule: Option<Rule>, kind: Kind, range: Range<usize>) -> Found {
        let (number, role) = rule.map_or((None, Role::Value), |rule| (Some(rule.number), rule.role));
        let place = Place::Value;
        Found { rule: number, place, kind, range, escaped: false, watched: false, inner: Vec::new(), role, around: 0 }
    }
}

/// Why the machine stands still.
pub(super) enum Halt {
    Starved,
    Found,
    Complete,
}

enum Flow {
    Go,
    /// The input that may be read has changed.
    Clipped,
    Starved,
    Found,
}

type Turn = Result<Flow, Fault>;

impl Machine {
    pub(super) fn new(base: u64, rules: Arc<Rules>, limits: Limits, watch: Option<Watch>) -> Machine {
        let tracker = Tracker::new(rules);
        Machine {
            limits,
            watch,
            marks: Marks::NONE,
            level: blocks::level(),
            verdict: tracker.root(),
            tracker,
            base,
            end: None,
            state: State::Start,
            at: 0,
            token: 0,
            escaped: false,
            digits: Digits::None,
            frames: Vec::with_capacity(16),
            probe: None,
            nested: false,
            seeks_texts: false,
            merge: None,
            is_part: false,
            holds: false,
            resources: Resources::default(),
            hold: None,
            waiting: None,
            clip: usize::MAX,
            found: None,
            decoded: Vec::new(),
        }
    }

    /// Shows also the values that rules let pass, if they are no objects and no arrays: those stay open to other rules.
    pub(super) fn showing_passed(mut self) -> Machine {
        self.tracker.show_passed();
        self
    }

    /// For what is inside of the object at `at` of the input at hand, and for nothing after it.
    pub(super) fn inside(base: u64, at: usize, rules: Arc<Rules>, limits: Limits) -> Machine {
        Machine { at, state: State::Value, nested: true, ..Machine::new(base, rules, limits, None) }
    }

    /// The same, to find texts: what selects an object or array, but for the first rule, selects nothing there and hides nothing
    /// inside.
    pub(super) fn for_texts(base: u64, at: usize, rules: Arc<Rules>, limits: Limits) -> Machine {
        Machine { seeks_texts: true, ..Machine::inside(base, at, rules, limits) }
    }

    /// Of one that was made by [`Machine::inside`]: reads on until something is found, which is told, or there is no more input,
    /// or no more of the object.
    pub(super) fn look(&mut self, view: &[u8], end: Option<usize>) -> Result<bool, Fault> {
        self.end = end;
        while !self.is_past() {
            match self.turn(view)? {
                Flow::Go | Flow::Clipped => {}
                Flow::Found => return Ok(true),
                Flow::Starved => break,
            }
        }
        Ok(false)
    }

    /// Reads parts of a resource of that type.
    pub(super) fn within(&mut self, resource: Option<&str>) {
        self.is_part = resource.is_some_and(|kind| CONTAINERS.contains(&kind));
    }

    /// Takes the document for a merge patch.
    pub(super) fn merge(&mut self, resource: Option<&str>) {
        self.merge = Some(Merge::of(resource));
    }

    /// Before a value: has it stand among the paths at `spot`.
    pub(super) fn enter(&mut self, spot: &Spot) {
        self.verdict = self.tracker.put(self.frames.len(), spot);
    }

    /// How far it has read.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// Whether its value is over.
    pub(super) fn is_past(&self) -> bool {
        self.state == State::End
    }

    /// Reads on until something is found, the input is used up or the document is complete.
    pub(super) fn advance(&mut self, input: &[u8], finished: bool) -> Result<Halt, Fault> {
        if self.found.is_some() {
            return Ok(Halt::Found);
        }
        self.end = finished.then_some(input.len());
        let mut view = input.get(..self.clip).unwrap_or(input);
        loop {
            match self.turn(view)? {
                Flow::Go => {}
                Flow::Clipped => view = input.get(..self.clip).unwrap_or(input),
                Flow::Found => return Ok(Halt::Found),
                Flow::Starved => break,
            }
        }
        match &self.hold {
            Some(hold) if self.clip <= input.len() => Err(self.value_too_long(hold.start)),
            _ if self.waits_too_long(input.len()) => Err(self.object_too_long()),
            _ if !finished => Ok(Halt::Starved),
            _ if self.state == State::End => Ok(Halt::Complete),
            _ => Err(Fault::UnexpectedEnd { offset: self.offset(input.len()) }),
        }
    }

    pub(super) fn take_resources(&mut self) -> Resources {
        std::mem::take(&mut self.resources)
    }

    /// How far the input is settled: what is before this will not be asked for again.
    pub(super) fn settled(&self) -> usize {
        let settled = self.passed();
        // What was replaced since is settled although the end of the object is awaited.
        let from = |from: u64| usize::try_from(from.saturating_sub(self.base)).unwrap_or(usize::MAX);
        self.waiting.map_or(settled, |(_, start)| settled.min(from(start)))
    }

    fn passed(&self) -> usize {
        if let Some(found) = &self.found {
            return found.range.start;
        }
        if let Some(hold) = &self.hold {
            return hold.start;
        }
        match self.state {
            State::Name | State::Text => self.token,
            State::Number if self.verdict.path().is_some() => self.token,
            _ => self.at,
        }
    }

    /// Forgets the first `dropped` bytes of the input, which are settled.
    pub(super) fn shift(&mut self, dropped: usize) {
        self.base += dropped as u64;
        self.marks.forget();
        self.at -= dropped;
        self.token = self.token.saturating_sub(dropped);
        if let Some(hold) = &mut self.hold {
            hold.start -= dropped;
            self.clip = self.clip.saturating_sub(dropped);
        }
        if let Some(probe) = &mut self.probe {
            probe.shift(dropped);
        }
        if let Some(found) = &mut self.found {
            found.range = found.range.start - dropped..found.range.end - dropped;
        }
    }

    pub(super) fn slot<'a>(&'a self, input: &'a [u8]) -> Option<Slot<'a>> {
        let found = self.found.as_ref()?;
        let raw = input.get(found.range.clone())?;
        let text = match found.kind {
            Kind::Text if found.escaped => Some(self.decoded.as_slice()),
            Kind::Text => Some(inside(raw)),
            Kind::Number | Kind::Boolean | Kind::Null | Kind::Object | Kind::Array => None,
        };
        let start = self.offset(found.range.start);
        Some(Slot {
            rule: found.rule,
            place: found.place,
            kind: found.kind,
            raw,
            text,
            start,
            escape: Escape::Json,
            frames: self.frames.get(..found.around).unwrap_or(&self.frames),
            elements: &[],
            role: found.role,
            piece: None,
            holds_watched: found.watched,
            inner_rules: &found.inner,
            is_test: false,
        })
    }

    /// Ends the wait; tells where in the input the slot was.
    pub(super) fn answer(&mut self) -> Option<Range<usize>> {
        self.found.take().map(|found| found.range)
    }

    fn offset(&self, at: usize) -> u64 {
        self.base + at as u64
    }

    fn waits_too_long(&self, at: usize) -> bool {
        self.waiting.is_some_and(|(_, start)| self.offset(at) - start > self.limits.object_bytes_max as u64)
    }

    fn object_too_long(&self) -> Fault {
        let offset = self.waiting.map_or(self.offset(self.at), |(_, start)| start);
        Fault::ValueTooLong { offset, max: self.limits.object_bytes_max }
    }

    fn value_too_long(&self, start: usize) -> Fault {
        Fault::ValueTooLong { offset: self.offset(start), max: self.limits.value_bytes_max }
    }
}

/// A string literal without its quotes.
fn inside(raw: &[u8]) -> &[u8] {
    raw.get(1..raw.len().saturating_sub(1)).unwrap_or_default()
}
