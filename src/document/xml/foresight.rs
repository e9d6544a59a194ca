//! Decides predicates, ahead of what selects values.
//!
//! It sees every token as soon as it has been read, and takes for true what is not decided yet. So it may look for more
//! than is needed, never for less.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use super::lexer::{Part, Piece, Run, Start, Token};
use super::rules::{Predicate, Rules, Tracker};
use super::{View, scan, text};
use crate::document::Fault;

pub(super) struct Foresight {
    rules: Arc<Rules>,
    tracker: Tracker,
    frames: Vec<Frame>,
    /// How many predicates of open elements are not decided.
    undecided: usize,
    /// Start tags whose last predicate has been decided: the number of the token, and the predicates that are true.
    decided: Vec<(u64, Vec<usize>)>,
}

/// An open element.
struct Frame {
    start: u64,
    /// The number of its start tag among the tokens.
    number: u64,
    sought: Vec<Sought>,
    unknown: usize,
    /// The predicates that its start tag has decided for true.
    near: Vec<usize>,
    /// Where the paths of predicates go on among its children.
    expected: Vec<Expected>,
    /// Predicates that look at its text.
    captured: Vec<Place>,
    text: Option<(Vec<u8>, bool)>,
}

/// A predicate of an open element that looks at elements inside.
struct Sought {
    predicate: usize,
    /// Whether it is true, and what the value was.
    seen: Option<(bool, u64)>,
}

/// Which predicate of which open element.
#[derive(Clone, Copy)]
struct Place {
    level: usize,
    index: usize,
}

struct Expected {
    place: Place,
    predicate: usize,
    /// How many names of the path have been met.
    met: usize,
}

impl Foresight {
    pub(super) fn new(rules: Arc<Rules>) -> Foresight {
        let tracker = Tracker::new(Arc::clone(&rules));
        Foresight { rules, tracker, frames: Vec::new(), undecided: 0, decided: Vec::new() }
    }

    /// Whether a rule may select the text at hand, or a predicate looks at it.
    pub(super) fn wants_text(&self) -> bool {
        self.tracker.text().is_some() || self.frames.last().is_some_and(|frame| !frame.captured.is_empty())
    }

    /// Likewise for an attribute of a start tag whose namespaces are not known yet.
    pub(super) fn wants_attribute(&self, element: &[u8], attribute: &[u8]) -> bool {
        let looked_at = |expected: &Expected| {
            let predicate = self.rules.predicates.get(expected.predicate);
            let last = predicate.filter(|predicate| expected.met + 1 == predicate.path.len());
            let test = last.and_then(|predicate| predicate.attribute);
            test.is_some_and(|test| self.rules.mentions(attribute).any(|mentioned| mentioned == test))
        };
        self.tracker.might_want(element, attribute)
            || self.frames.last().is_some_and(|frame| frame.expected.iter().any(looked_at))
    }

    /// Where the outermost element starts that has a predicate which is not decided.
    pub(super) fn undecided(&self) -> Option<u64> {
        let waits = self.undecided > 0;
        self.frames.iter().filter(|_| waits).find(|frame| frame.unknown > 0).map(|frame| frame.start)
    }

    /// What has been decided since the last call.
    pub(super) fn decided(&mut self) -> impl Iterator<Item = (u64, Vec<usize>)> {
        self.decided.drain(..)
    }

    /// Takes over what is known for certain, all predicates so far being decided.
    pub(super) fn correct(&mut self, tracker: &Tracker) {
        self.tracker.clone_from(tracker);
    }

    /// Sees a token. Of a start tag it tells the predicates that are true, unless one is not decided.
    pub(super) fn see(&mut self, token: &Token, number: u64, view: View<'_>) -> Result<Option<Vec<usize>>, Fault> {
        match token {
            Token::Start(start) => return self.start(start, number, view),
            Token::Run(run) => self.run(run, view)?,
            Token::End(end) => self.end(end.start)?,
            Token::Aside(_) => {}
        }
        Ok(Some(Vec::new()))
    }

    fn start(&mut self, start: &Start, number: u64, view: View<'_>) -> Result<Option<Vec<usize>>, Fault> {
        let level = self.frames.len();
        let offset = start.range.start;
        if self.frames.last().is_some_and(|parent| !parent.captured.is_empty()) {
            return Err(Fault::Unaccepted { offset, what: "element inside a text that a predicate compares" });
        }
        let (mut near, mut far) = (Vec::new(), Vec::new());
        let mut fault = None;
        let rules = Arc::clone(&self.rules);
        self.tracker.enter(start.named, |number| match rules.predicates.get(number) {
            Some(predicate) if predicate.path.is_empty() => {
                let holds = attributes(predicate, start, view).try_fold(None, |seen, value| agree(seen, value, offset));
                let holds = holds.map(|seen| seen.is_some_and(|(holds, _)| holds));
                let holds = holds.unwrap_or_else(|found| fault.replace(found).is_some());
                if holds && !near.contains(&number) {
                    near.push(number);
                }
                holds
            }
            Some(_) => {
                if !far.contains(&number) {
                    far.push(number);
                }
                true
            }
            None => false,
        });
        if let Some(fault) = fault {
            return Err(fault);
        }
        let sought: Vec<Sought> = far.iter().map(|&predicate| Sought { predicate, seen: None }).collect();
        let expected = far.iter().enumerate();
        let expected =
            expected.map(|(index, &predicate)| Expected { place: Place { level, index }, predicate, met: 0 });
        let mut frame = Frame {
            start: offset,
            number,
            unknown: sought.len(),
            sought,
            near,
            expected: expected.collect(),
            captured: Vec::new(),
            text: None,
        };
        self.undecided += frame.unknown;
        self.go_on(start, &mut frame, view)?;
        let truth = (frame.unknown == 0).then(|| frame.near.clone());
        self.frames.push(frame);
        Ok(truth)
    }

    /// Follows the paths of predicates of the elements around into an element.
    fn go_on(&mut self, start: &Start, frame: &mut Frame, view: View<'_>) -> Result<(), Fault> {
        let rules = Arc::clone(&self.rules);
        let mut values = Vec::new();
        for expected in self.frames.last().map_or(&[][..], |parent| &parent.expected) {
            let &Expected { place, predicate: number, met } = expected;
            let Some(predicate) = rules.predicates.get(number) else { continue };
            match predicate.path.get(met) {
                Some(name) if start.named.passes(name.test) => {}
                Some(name) if start.named.passes(name.bare) => {
                    let what = "element in no namespace where a predicate looks for one";
                    return Err(Fault::Unaccepted { offset: start.range.start, what });
                }
                _ => continue,
            }
            match predicate.attribute {
                _ if met + 1 < predicate.path.len() => {
                    frame.expected.push(Expected { place, predicate: number, met: met + 1 });
                }
                None => frame.captured.push(place),
                Some(_) => values.extend(attributes(predicate, start, view).map(|value| (place, value))),
            }
        }
        for (place, value) in values {
            self.observe(place, value, start.range.start)?;
        }
        Ok(())
    }

    fn run(&mut self, run: &Run, view: View<'_>) -> Result<(), Fault> {
        let Some(frame) = self.frames.last_mut().filter(|frame| !frame.captured.is_empty()) else {
            return Ok(());
        };
        if run.split || frame.text.is_some() {
            let what = "comment or processing instruction in a text that a predicate compares";
            return Err(Fault::Unaccepted { offset: run.range.start, what });
        }
        frame.text = Some((text::decode(view.slice(run.range.clone())), run.padded));
        Ok(())
    }

    fn end(&mut self, offset: u64) -> Result<(), Fault> {
        self.tracker.leave();
        let Some(mut frame) = self.frames.pop() else { return Ok(()) };
        let (text, padded) = frame.text.take().unwrap_or_default();
        for place in std::mem::take(&mut frame.captured) {
            let literal = self.predicate(place).map(|predicate| predicate.literal.clone()).unwrap_or_default();
            self.observe(place, compare(&text, padded, &literal), offset)?;
        }
        if frame.unknown > 0 {
            self.undecided -= frame.unknown;
            self.decided.push((frame.number, frame.truth()));
        }
        Ok(())
    }

    fn predicate(&self, place: Place) -> Option<&Predicate> {
        let sought = self.frames.get(place.level)?.sought.get(place.index)?;
        self.rules.predicates.get(sought.predicate)
    }

    /// A value that a predicate looks at has been found.
    fn observe(&mut self, place: Place, value: Compared, offset: u64) -> Result<(), Fault> {
        let Some(frame) = self.frames.get_mut(place.level) else { return Ok(()) };
        let Some(sought) = frame.sought.get_mut(place.index) else { return Ok(()) };
        let fresh = sought.seen.is_none();
        sought.seen = agree(sought.seen, value, offset)?;
        if fresh {
            frame.unknown -= 1;
            self.undecided -= 1;
            if frame.unknown == 0 {
                self.decided.push((frame.number, frame.truth()));
            }
        }
        Ok(())
    }
}

impl Frame {
    /// The predicates that are true; what has not been found is not.
    fn truth(&self) -> Vec<usize> {
        let far = self.sought.iter().filter(|sought| matches!(sought.seen, Some((true, _))));
        self.near.iter().copied().chain(far.map(|sought| sought.predicate)).collect()
    }
}

/// A value compared with a literal: whether they are equal, `None` if but for white space, and the hash of the value.
type Compared = (Option<bool>, u64);

/// The values of the attributes of a start tag that a predicate looks at.
fn attributes<'a>(
    predicate: &'a Predicate,
    start: &'a Start,
    view: View<'a>,
) -> impl Iterator<Item = Compared> + use<'a> {
    start.pieces.iter().filter_map(move |piece| match piece {
        Piece { part: Part::Value { named, .. }, range, .. }
            if predicate.attribute.is_some_and(|t| named.passes(t)) =>
        {
            Some(compare(&text::decode_attribute(view.slice(range.clone())), false, &predicate.literal))
        }
        _ => None,
    })
}

fn compare(value: &[u8], padded: bool, literal: &[u8]) -> Compared {
    let core = scan::trim(value);
    let mut hasher = DefaultHasher::new();
    core.hash(&mut hasher);
    let exact = !padded && core.len() == value.len();
    let equal = if core == literal { exact.then_some(true) } else { Some(false) };
    (equal, hasher.finish())
}

/// A further value for a predicate: it must not differ from the one before.
fn agree(seen: Option<(bool, u64)>, value: Compared, offset: u64) -> Result<Option<(bool, u64)>, Fault> {
    let (Some(holds), hash) = value else {
        return Err(Fault::Unaccepted { offset, what: "white space around a value that a predicate compares" });
    };
    match seen {
        Some(before) if before != (holds, hash) => {
            Err(Fault::Unaccepted { offset, what: "ambiguous: several values for one predicate" })
        }
        _ => Ok(Some((holds, hash))),
    }
}
