//! Selects values: follows the tokens, as far as the predicates are decided.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use super::foresight::Foresight;
use super::found::Found;
use super::lexer::{Aside, End, Flow, Lexer, Part, Piece, Run, Start, Token};
use super::rules::{Rules, Standing, Tracker, Verdict};
use super::{View, scan, text};
use crate::document::{Escape, Fault, Limits, Place, Role, Slot, Watch};

pub(super) struct Machine {
    watch: Option<Watch>,
    value_bytes_max: usize,
    lexer: Lexer,
    foresight: Foresight,
    /// Tokens from the first start tag on whose predicates are not decided.
    queue: VecDeque<Event>,
    /// How many tokens have left the queue.
    taken: u64,
    /// Whether predicates have been decided that `foresight` took for true.
    stale: bool,
    tracker: Tracker,
    levels: Vec<Level>,
    hold: Option<Hold>,
    ready: VecDeque<Found>,
    found: Option<Found>,
}

struct Event {
    token: Token,
    /// Of a start tag: the predicates that are true, once all are decided.
    truth: Option<Vec<usize>>,
}

/// An open element.
struct Level {
    start: u64,
    /// Whether it is a primitive whose value goes into an extension, and there is one.
    primitive: Option<bool>,
    /// Whether a rule selects the text of this element, not only of one around it.
    direct: bool,
    empty: bool,
    /// Whether a resource of FHIR stands in it.
    place: bool,
    /// Whether it is an element of FHIR.
    fhir: bool,
    /// Whether there was an element inside, or anything at all.
    parent: bool,
    filled: bool,
}

/// An element whose markup is selected and being read.
struct Hold {
    rule: usize,
    start: u64,
    /// How many elements are open around what is selected.
    depth: usize,
    watched: bool,
    /// The rules that select something inside.
    inner: Vec<usize>,
}

/// Why the machine stands still.
pub(super) enum Halt {
    Starved,
    Found,
    Complete,
}

impl Machine {
    pub(super) fn new(rules: Arc<Rules>, limits: Limits, watch: Option<Watch>) -> Machine {
        Machine {
            watch,
            value_bytes_max: limits.value_bytes_max,
            lexer: Lexer::new(Arc::clone(&rules), limits, watch),
            foresight: Foresight::new(Arc::clone(&rules)),
            queue: VecDeque::new(),
            taken: 0,
            stale: false,
            tracker: Tracker::new(rules),
            levels: Vec::new(),
            hold: None,
            ready: VecDeque::new(),
            found: None,
        }
    }

    /// Takes prefixes that are not declared.
    pub(super) fn without_prefixes(self) -> Machine {
        Machine { lexer: self.lexer.without_prefixes(), ..self }
    }

    /// Reads on until something is found, the input is used up or the document is complete.
    pub(super) fn advance(&mut self, view: View<'_>, finished: bool) -> Result<Halt, Fault> {
        loop {
            if self.found.is_some() {
                return Ok(Halt::Found);
            }
            self.found = self.ready.pop_front();
            if self.found.is_some() {
                continue;
            }
            if let Some(event) = self.next_event() {
                self.process(event, view)?;
                continue;
            }
            if self.stale && self.queue.is_empty() {
                self.foresight.correct(&self.tracker);
                self.stale = false;
            }
            match self.lexer.turn(view.until(self.clip()), &self.foresight)? {
                Flow::Go => {}
                Flow::Token(token) => self.look_ahead(token, view)?,
                Flow::Starved => break,
            }
        }
        match self.held() {
            Some(start) if self.clip() < view.end() => {
                Err(Fault::ValueTooLong { offset: start, max: self.value_bytes_max })
            }
            _ if !finished => Ok(Halt::Starved),
            _ if self.lexer.is_complete(view.end()) => Ok(Halt::Complete),
            _ => Err(Fault::UnexpectedEnd { offset: view.end() }),
        }
    }

    /// How far the input is settled: what is before this will not be asked for again.
    pub(super) fn settled(&self) -> u64 {
        let found = self.found.iter().chain(&self.ready).map(Found::start);
        let hold = self.hold.iter().map(|hold| hold.start);
        found.chain(hold).chain(self.pinned()).fold(self.read(), u64::min)
    }

    /// The start of a primitive without a value, which it may get back from its extension.
    fn pinned(&self) -> Option<u64> {
        self.levels.iter().find(|level| level.primitive == Some(false)).map(|level| level.start)
    }

    /// How far the input was understood.
    fn read(&self) -> u64 {
        match self.queue.front().map(|event| &event.token) {
            Some(Token::Start(start)) => start.range.start,
            Some(Token::Run(run)) => run.range.start,
            Some(Token::End(end)) => end.start,
            Some(Token::Aside(aside)) => aside.start,
            None => self.lexer.settled(),
        }
    }

    pub(super) fn slot<'a>(&'a self, view: View<'a>) -> Option<Slot<'a>> {
        let found = self.found.as_ref()?;
        Some(found.slot(view.slice(found.range.clone())))
    }

    /// Ends the wait; tells where the slot was.
    pub(super) fn answer(&mut self) -> Option<Range<u64>> {
        self.found.take().map(|found| found.range)
    }

    /// Where what is held back starts: an element with a predicate that is not decided, a primitive without a value, or selected
    /// markup.
    fn held(&self) -> Option<u64> {
        let markup = self.hold.as_ref().map(|hold| hold.start);
        [markup, self.pinned(), self.foresight.undecided()].into_iter().flatten().min()
    }

    /// Where the input may not be read beyond, for the sake of what is held back: room is left for `</`, and an end tag
    /// may go on.
    fn clip(&self) -> u64 {
        let limit = (self.value_bytes_max as u64).saturating_add(2);
        match self.held() {
            Some(start) if !self.lexer.is_ending() => start.saturating_add(limit),
            _ => u64::MAX,
        }
    }

    fn look_ahead(&mut self, token: Token, view: View<'_>) -> Result<(), Fault> {
        let truth = self.foresight.see(&token, self.taken + self.queue.len() as u64, view)?;
        self.stale |= truth.is_none();
        self.queue.push_back(Event { token, truth });
        for (number, truth) in self.foresight.decided() {
            let place = usize::try_from(number - self.taken).ok();
            if let Some(event) = place.and_then(|place| self.queue.get_mut(place)) {
                event.truth = Some(truth);
            }
        }
        Ok(())
    }

    fn next_event(&mut self) -> Option<Event> {
        self.queue.front()?.truth.as_ref()?;
        self.taken += 1;
        self.queue.pop_front()
    }

    fn process(&mut self, event: Event, view: View<'_>) -> Result<(), Fault> {
        match event.token {
            Token::Start(start) => self.start(start, &event.truth.unwrap_or_default(), view),
            Token::End(end) => self.end(end),
            Token::Run(run) => self.run(&run, view),
            Token::Aside(aside) => {
                self.aside(aside);
                Ok(())
            }
        }
    }

    fn start(&mut self, start: Start, truth: &[usize], view: View<'_>) -> Result<(), Fault> {
        let alike = |offset| Fault::Unaccepted { offset, what: "selected element in no namespace" };
        if let Some(standing) = start.standing
            && !standing.known
            && self.levels.last().is_none_or(|parent| parent.place)
        {
            let what = "resource of a type that no rule names";
            return Err(Fault::Unaccepted { offset: start.range.start, what });
        }
        let standing = start.standing.unwrap_or_default();
        let is_inside = self.levels.last().is_some_and(|parent| parent.fhir);
        let foreign = is_inside && !standing.fhir && !standing.narrative;
        if foreign || standing.fhir && standing.odd {
            let what =
                if foreign { "element of another namespace in a resource" } else { "attribute that FHIR has not" };
            return Err(Fault::Unaccepted { offset: start.range.start, what });
        }
        if let Some(parent) = self.levels.last_mut() {
            parent.filled = true;
            parent.parent = true;
        }
        let verdict = self.tracker.enter(start.named, |predicate| truth.contains(&predicate));
        let selected = self.hold.is_some() || verdict.markup.is_some() || self.tracker.text().is_some();
        if verdict.alike && !selected {
            return Err(alike(start.range.start));
        }
        if is_inside && standing.narrative && standing.odd && verdict.markup.is_some() {
            let what = "attribute of a narrative that may show a text";
            return Err(Fault::Unaccepted { offset: start.range.start, what });
        }
        self.level(&start, standing, &verdict)?;
        for piece in start.pieces {
            let Part::Value { named, quote, .. } = piece.part else {
                self.stray(piece);
                continue;
            };
            let (rule, role) = verdict.attribute(named).unzip();
            if rule.is_none() && self.hold.is_none() && verdict.is_alike(named) {
                return Err(alike(start.range.start));
            }
            if rule.is_some() || piece.watched {
                let text = text::decode_attribute(view.slice(piece.range.clone()));
                let found = Found::new(rule, piece.range, Some(text), Escape::XmlAttribute { quote });
                self.put(self.placed(found, role.unwrap_or(Role::Value))?);
            }
        }
        match verdict.markup {
            Some(rule) if self.hold.is_some() => self.note(rule),
            Some(rule) if !start.empty => {
                let (start, depth) = (start.range.end, self.levels.len());
                self.hold = Some(Hold { rule, start, depth, watched: false, inner: Vec::new() });
            }
            _ => {}
        }
        Ok(())
    }

    /// Goes into an element.
    fn level(&mut self, start: &Start, standing: Standing, verdict: &Verdict) -> Result<(), Fault> {
        let offset = start.range.start;
        if self.levels.last().is_some_and(|parent| parent.primitive.is_some()) && !standing.extension {
            return Err(Fault::Unaccepted { offset, what: "element in a primitive of FHIR" });
        }
        let is_value = |piece: &Piece| match piece.part {
            Part::Value { named, .. } => matches!(verdict.attribute(named), Some((_, Role::Primitive))),
            Part::Name | Part::Aside => false,
        };
        let primitive = verdict.is_primitive().then(|| start.pieces.iter().any(is_value));
        if primitive.is_some() && !start.whole {
            return Err(Fault::ValueTooLong { offset, max: self.value_bytes_max });
        }
        let Standing { place, fhir, .. } = standing;
        let direct = verdict.text.is_some();
        let (empty, parent, filled) = (start.empty, false, false);
        self.levels.push(Level { start: offset, primitive, direct, empty, place, fhir, parent, filled });
        Ok(())
    }

    /// Tells of a value that goes into an extension, or is in one, what it is about.
    fn placed(&self, found: Found, role: Role) -> Result<Found, Fault> {
        let up = |up: usize| self.levels.iter().rev().nth(up);
        let around = match role {
            Role::Value | Role::Companion => return Ok(found),
            Role::Primitive => vec![up(0)],
            Role::Carried => vec![up(2), up(2), up(1)],
        };
        let offset = found.range.start;
        let what = "sealed value beside another";
        let primitive = around.first().copied().flatten().ok_or(Fault::Unaccepted { offset, what })?;
        if role == Role::Carried && primitive.primitive != Some(false) {
            return Err(Fault::Unaccepted { offset, what });
        }
        let around = around.into_iter().flatten().map(|level| level.start).collect();
        let escape = Escape::XmlAttribute { quote: b'"' };
        Ok(Found { role, around, escape, ..found })
    }

    fn end(&mut self, end: End) -> Result<(), Fault> {
        let rule = self.tracker.text();
        self.tracker.leave();
        let depth = self.levels.len();
        let level = self.levels.pop();
        if level.is_some_and(|level| level.direct && !level.filled && !level.empty) {
            self.find(rule, end.start..end.start, Vec::new(), Escape::XmlText);
        }
        if let Some(Hold { rule, start, watched, inner, .. }) = self.hold.take_if(|hold| hold.depth == depth) {
            let range = start..end.start;
            if range.end - range.start > self.value_bytes_max as u64 {
                return Err(Fault::ValueTooLong { offset: start, max: self.value_bytes_max });
            }
            if !range.is_empty() {
                let found = Found::new(Some(rule), range, None, Escape::XmlMarkup);
                self.ready.push_back(Found { watched, inner, ..found });
            }
        }
        if let Some(piece) = end.piece {
            self.stray(piece);
        }
        Ok(())
    }

    fn run(&mut self, run: &Run, view: View<'_>) -> Result<(), Fault> {
        let Some(level) = self.levels.last_mut() else { return Ok(()) };
        level.filled = true;
        if level.fhir {
            return Err(Fault::Unaccepted { offset: run.range.start, what: "text in an element of FHIR" });
        }
        let leaf = level.direct && run.closes && !level.parent;
        let rule = self.tracker.text();
        if rule.is_some() && run.split && self.hold.is_none() {
            let what = "comment or processing instruction in a selected text";
            return Err(Fault::Unaccepted { offset: run.range.start, what });
        }
        if rule.is_none() && self.watch.is_none() {
            return Ok(());
        }
        let text = text::decode(view.slice(run.range.clone()));
        let shown = match rule {
            Some(_) => leaf || !scan::trim(&text).is_empty(),
            None => self.watch.is_some_and(|watch| watch.shows(&text)),
        };
        if shown {
            self.find(rule, run.range.clone(), text, Escape::XmlText);
        }
        Ok(())
    }

    fn aside(&mut self, aside: Aside) {
        if let Some(level) = self.levels.last_mut() {
            level.filled = true;
        }
        aside.pieces.into_iter().for_each(|piece| self.stray(piece));
    }

    /// What is watched and cannot be replaced.
    fn stray(&mut self, piece: Piece) {
        let place = if piece.part == Part::Name { Place::Name } else { Place::Value };
        self.put(Found { place, ..Found::new(None, piece.range, None, Escape::XmlFixed) });
    }

    fn find(&mut self, rule: Option<usize>, range: Range<u64>, text: Vec<u8>, escape: Escape) {
        self.put(Found::new(rule, range, Some(text), escape));
    }

    /// Shows something, unless it is inside of selected markup: then it is noted there.
    fn put(&mut self, found: Found) {
        if let Some(hold) = &mut self.hold {
            let text = found.text.as_deref();
            hold.watched |=
                found.rule.is_none() || text.is_some_and(|text| self.watch.is_some_and(|watch| watch.shows(text)));
        } else {
            self.ready.push_back(found);
            return;
        }
        if let Some(rule) = found.rule {
            self.note(rule);
        }
    }

    /// A rule selects something inside of selected markup.
    fn note(&mut self, rule: usize) {
        if let Some(hold) = &mut self.hold
            && !hold.inner.contains(&rule)
        {
            hold.inner.push(rule);
        }
    }
}
