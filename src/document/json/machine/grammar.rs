//! The grammar of RFC 8259, one state per place; it can stop between any two bytes and go on later.

use super::{Flow, Found, Frame, Hold, Machine, State, Turn};
use crate::document::json::rules::Rule;
use crate::document::json::scan::{self, Digits};
use crate::document::json::tracker::Verdict;
use crate::document::{Fault, Kind, Role};

impl Machine {
    /// Reads one token, or as much of it as there is.
    pub(super) fn turn(&mut self, view: &[u8]) -> Turn {
        match self.state {
            State::Start => return self.start(view),
            State::Name => return self.name(view),
            State::Text => return self.text(view),
            State::Passing => return self.passing(view),
            State::Number => return self.number(view),
            _ => {
                let flow = self.run(view)?;
                if !matches!(flow, Flow::Go) {
                    return Ok(flow);
                }
                self.at = scan::skip_space(view, self.at);
            }
        }
        let Some(&byte) = view.get(self.at) else {
            return Ok(Flow::Starved);
        };
        match (self.state, byte) {
            (State::FirstMember | State::Member, b'"') => {
                self.token = self.at;
                self.escaped = false;
                self.at += 1;
                self.state = State::Name;
            }
            (State::Colon, b':') => self.step(State::Value),
            (State::Comma, b',') => self.comma(),
            (State::FirstMember, b'}') | (State::FirstElement, b']') => return self.close(byte),
            (State::Comma, b'}' | b']') => return self.close(byte),
            (State::Value | State::FirstElement, _) => return self.value(view, byte),
            (State::FirstMember, _) => return Err(self.unexpected(byte, "a member name or `}`")),
            (State::Member, _) => return Err(self.unexpected(byte, "a member name")),
            (State::Colon, _) => return Err(self.unexpected(byte, "`:`")),
            (State::Comma, _) => return Err(self.unexpected(byte, "`,` or the end of the object or array")),
            _ => return Err(self.unexpected(byte, "the end of the document")),
        }
        Ok(Flow::Go)
    }

    /// Tells the encoding by the first bytes; no document in UTF-8 has a NUL there. A mark of the byte order may start a body,
    /// not a line of one.
    fn start(&mut self, view: &[u8]) -> Turn {
        match view {
            [0xfe, 0xff, ..] | [0xff, 0xfe, ..] | [0, ..] | [_, 0, ..] => return Err(Fault::WrongEncoding),
            [0xef, 0xbb, 0xbf, ..] if self.base == 0 => self.at = 3,
            [0xef, 0xbb] | [_] | [] if self.end.is_none() => return Ok(Flow::Starved),
            _ => {}
        }
        self.state = State::Value;
        Ok(Flow::Go)
    }

    pub(super) fn value(&mut self, view: &[u8], byte: u8) -> Turn {
        match byte {
            _ if byte != b'{' && self.is_top() && self.verdict.is_place() => Err(self.no_resource()),
            _ if byte != b'{' && self.is_top() && self.merge.is_some() => {
                Err(self.refused("a merge patch that is no object"))
            }
            _ if byte != b'{' && self.is_beside() => self.beside(view, byte),
            _ => self.plain_value(view, byte),
        }
    }

    fn plain_value(&mut self, view: &[u8], byte: u8) -> Turn {
        match byte {
            b'"' => self.open_text(view),
            b'{' => self.open_object(view),
            b'[' => self.open(byte, None),
            b'-' | b'0'..=b'9' => {
                self.token = self.at;
                self.digits = Digits::None;
                self.state = State::Number;
                Ok(Flow::Go)
            }
            b't' => self.literal(view, b"true", Kind::Boolean),
            b'f' => self.literal(view, b"false", Kind::Boolean),
            b'n' => self.literal(view, b"null", Kind::Null),
            _ if self.state == State::FirstElement => Err(self.unexpected(byte, "a value or `]`")),
            _ => Err(self.unexpected(byte, "a value")),
        }
    }

    fn step(&mut self, state: State) {
        self.at += 1;
        self.state = state;
    }

    /// At an object. If the rules have to look into it, it is read ahead as far as they need.
    fn open_object(&mut self, view: &[u8]) -> Turn {
        let kind = if self.verdict.asks() {
            let Some(kind) = self.look_into(view)? else { return Ok(Flow::Starved) };
            kind.then_some(false)
        } else {
            None
        };
        self.open(b'{', kind)
    }

    /// `kind`: of a resource, that its type has not come yet.
    fn open(&mut self, byte: u8, kind: Option<bool>) -> Turn {
        let depth = self.frames.len();
        if depth >= self.limits.depth_max {
            return Err(Fault::TooDeep { offset: self.offset(self.at), max: self.limits.depth_max });
        }
        let object = byte == b'{';
        let verdict = std::mem::replace(&mut self.verdict, Verdict::NOTHING);
        let passes_on = !object && verdict.means_elements();
        let companion = self.tracker.rule(verdict).filter(|rule| object && rule.role == Role::Companion);
        let selected = if passes_on || companion.is_some() { None } else { self.selected(verdict) };
        let selected = selected.filter(|rule| !rule.passes);
        let live = verdict.live() || passes_on || !object && verdict.asks();
        let mut flow = Flow::Go;
        if let Some(rule) = selected.filter(|rule| !self.seeks_texts || rule.number == 0) {
            self.hold = Some(Hold { rule, start: self.at, depth, watched: false, inner: Vec::new() });
            self.clip = self.at.saturating_add(self.limits.value_bytes_max).saturating_add(1);
            flow = Flow::Clipped;
        }
        if live {
            self.verdict = if object { self.tracker.other(depth) } else { self.tracker.element(depth, 0) };
        }
        let (start, verdict) = (self.offset(self.at), self.verdict);
        let indexed = live && !object && (self.tracker.is_indexed(depth) || verdict.asks());
        let holds = kind.is_some() && std::mem::take(&mut self.holds);
        self.frames.push(Frame { start, object, live, indexed, index: 0, verdict, kind, holds, seen: 0 });
        self.step(if object { State::FirstMember } else { State::FirstElement });
        if companion.is_some() && self.hold.is_none() {
            let range = self.at - 1..self.at;
            self.found = Some(Found { around: depth, ..Found::of(companion, Kind::Object, range) });
            return Ok(Flow::Found);
        }
        Ok(flow)
    }

    pub(super) fn comma(&mut self) {
        self.step(State::Member);
        let level = self.frames.len().saturating_sub(1);
        let Some(frame) = self.frames.last_mut().filter(|frame| !frame.object) else {
            return;
        };
        frame.index += 1;
        if frame.indexed {
            frame.verdict = self.tracker.element(level, frame.index);
        }
        self.verdict = frame.verdict;
        self.state = State::Value;
    }

    fn close(&mut self, byte: u8) -> Turn {
        if self.frames.last().is_none_or(|frame| frame.object != (byte == b'}')) {
            return Err(self.unexpected(byte, "`,` or the end of the object or array"));
        }
        self.at += 1;
        if self.waiting.is_some_and(|(depth, _)| depth == self.frames.len()) {
            if self.waits_too_long(self.at) {
                return Err(self.object_too_long());
            }
            self.waiting = None;
        }
        self.frames.pop();
        self.after_value();
        let Some(hold) = self.hold.take_if(|hold| hold.depth == self.frames.len()) else {
            return Ok(Flow::Go);
        };
        self.clip = usize::MAX;
        let kind = if byte == b'}' { Kind::Object } else { Kind::Array };
        self.yield_value(kind, Some(hold.rule), hold.start, hold.watched)?;
        if let Some(found) = &mut self.found {
            found.inner = hold.inner;
        }
        Ok(Flow::Found)
    }

    /// The rule that selects the value at hand. Inside a value that is selected itself none does; it is noted there.
    pub(super) fn selected(&mut self, verdict: Verdict) -> Option<Rule> {
        let rule = self.tracker.rule(verdict).filter(|rule| rule.role != Role::Companion)?;
        let Some(hold) = &mut self.hold else { return Some(rule) };
        if !hold.inner.contains(&rule.number) {
            hold.inner.push(rule.number);
        }
        None
    }

    pub(super) fn after_value(&mut self) {
        self.state = if self.frames.is_empty() { State::End } else { State::Comma };
    }

    fn literal(&mut self, view: &[u8], word: &[u8], kind: Kind) -> Turn {
        let rest = view.get(self.at..).unwrap_or_default();
        let common = scan::common(rest, word);
        if common < word.len() {
            let Some(&byte) = rest.get(common) else {
                return Ok(Flow::Starved);
            };
            self.at += common;
            return Err(self.unexpected(byte, "`true`, `false` or `null`"));
        }
        let start = self.at;
        self.at += word.len();
        self.after_value();
        match self.selected(self.verdict) {
            Some(rule) => self.yield_value(kind, Some(rule), start, false),
            None => Ok(Flow::Go),
        }
    }

    fn number(&mut self, view: &[u8]) -> Turn {
        let rule = self.selected(self.verdict);
        let view = if rule.is_some() { self.window(view, self.limits.value_bytes_max) } else { view };
        self.at = scan::number(view, self.at, &mut self.digits);
        match view.get(self.at) {
            None if rule.is_some() && view.len() - self.token > self.limits.value_bytes_max => {
                return Err(self.value_too_long(self.token));
            }
            None if self.end != Some(self.at) => return Ok(Flow::Starved),
            None if !self.digits.complete() => return Ok(Flow::Starved),
            Some(&byte) if !self.digits.complete() => return Err(self.unexpected(byte, "a digit")),
            _ => self.after_value(),
        }
        match rule {
            Some(rule) => self.yield_value(Kind::Number, Some(rule), self.token, false),
            None => Ok(Flow::Go),
        }
    }

    pub(super) fn yield_value(&mut self, kind: Kind, rule: Option<Rule>, start: usize, watched: bool) -> Turn {
        if self.at - start > self.limits.value_bytes_max {
            return Err(self.value_too_long(start));
        }
        let (range, around) = (start..self.at, self.frames.len());
        self.found = Some(Found { escaped: self.escaped, watched, around, ..Found::of(rule, kind, range) });
        Ok(Flow::Found)
    }

    fn is_top(&self) -> bool {
        self.frames.is_empty() && self.state == State::Value
    }

    /// Whether the value at hand stands beside a primitive that is sealed.
    fn is_beside(&self) -> bool {
        (self.verdict.moves() || self.verdict.means_elements())
            && self.hold.is_none()
            && self.tracker.rule(self.verdict).is_some_and(|rule| rule.role == Role::Companion)
    }

    /// What is no object there could only be a part of what is sealed, or its end.
    fn beside(&mut self, view: &[u8], byte: u8) -> Turn {
        match byte {
            b'[' if self.verdict.means_elements() => self.open(byte, None),
            b'n' if self.merge.is_none() => self.literal(view, b"null", Kind::Null),
            _ => Err(self.refused("what stands beside a sealed primitive is no object")),
        }
    }

    fn refused(&self, what: &'static str) -> Fault {
        Fault::Unaccepted { offset: self.offset(self.at), what }
    }

    fn no_resource(&self) -> Fault {
        Fault::Unaccepted { offset: self.offset(self.at), what: "a document that is no resource" }
    }

    fn unexpected(&self, byte: u8, wanted: &'static str) -> Fault {
        let offset = self.offset(self.at);
        match byte {
            0x80..0xc2 | 0xf5.. => Fault::NotUtf8 { offset },
            _ => Fault::UnexpectedByte { offset, wanted },
        }
    }
}
