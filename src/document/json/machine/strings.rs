//! Strings within the grammar: which are kept until they are whole, which pass, and who gets to see them.

use super::{Flow, Found, Frame, Machine, State, Turn, inside};
use crate::document::json::scan::{self, Flaw, Reach};
use crate::document::json::text;
use crate::document::json::tracker::Verdict;
use crate::document::{Fault, Kind, Place};

impl Machine {
    /// Inside a member name.
    pub(super) fn name(&mut self, view: &[u8]) -> Turn {
        let max = self.limits.name_bytes_max;
        let view = self.window(view, max);
        let closed = self.string(view)?;
        let seen = if closed { self.at } else { view.len() };
        if seen - self.token > max {
            return Err(Fault::NameTooLong { offset: self.offset(self.token), max });
        }
        if !closed {
            return Ok(Flow::Starved);
        }
        self.whole_name(view.get(self.token..self.at).unwrap_or_default())
    }

    #[inline(always)]
    pub(super) fn whole_name(&mut self, raw: &[u8]) -> Turn {
        self.state = State::Colon;
        self.verdict = match self.frames.last() {
            Some(&Frame { live, verdict, .. }) if live || self.tracker.knows_resources() => {
                self.decode(inside(raw));
                let name = if self.escaped { &self.decoded } else { inside(raw) };
                self.tracker.member(self.frames.len() - 1, name, live, verdict)
            }
            _ => Verdict::NOTHING,
        };
        if self.nested || self.verdict.is_odd() {
            self.odd_name(raw)?;
        }
        if self.verdict.moves() && self.waiting.is_none() {
            self.waiting = Some((self.frames.len(), self.offset(self.token)));
        }
        if !self.is_watched(inside(raw)) {
            return Ok(Flow::Go);
        }
        if let Some(hold) = &mut self.hold {
            hold.watched = true;
            return Ok(Flow::Go);
        }
        let (range, escaped, around) = (self.token..self.at, self.escaped, self.frames.len());
        self.found = Some(Found { place: Place::Name, escaped, around, ..Found::of(None, Kind::Text, range) });
        Ok(Flow::Found)
    }

    /// Refuses names by which a reader could see another document than the rules do.
    #[cold]
    fn odd_name(&mut self, raw: &[u8]) -> Result<(), Fault> {
        let offset = self.offset(self.token);
        let refused = |what| Err(Fault::Unaccepted { offset, what });
        if self.verdict.is_alike() {
            return refused("a name that differs from a ruled one by case alone");
        }
        let name = if self.escaped { self.decoded.as_slice() } else { inside(raw) };
        let mentioned = if self.nested { self.tracker.mentioned(name) } else { None };
        let Some(frame) = self.frames.last_mut() else { return Ok(()) };
        if let Some(row) = mentioned.filter(|_| frame.live) {
            let bit = 1 << row.min(63);
            if frame.seen & bit != 0 {
                return refused("a member that stands twice where a rule looks at it");
            }
            frame.seen |= bit;
        }
        if self.verdict.is_kind() {
            match &mut frame.kind {
                Some(seen @ false) => *seen = true,
                Some(true) => return refused("a resourceType that stands twice"),
                None => return refused("a resource where none can stand"),
            }
        }
        Ok(())
    }

    /// At the quote of a string value.
    #[inline]
    pub(super) fn open_text(&mut self, view: &[u8]) -> Turn {
        let kept = self.watch.is_some() || self.selected(self.verdict).is_some();
        match self.plain(view, self.at, if kept { self.text_bytes_max() } else { usize::MAX }) {
            Some(end) if kept => return self.whole_text(view.get(self.token..end).unwrap_or_default()),
            Some(_) => self.after_value(),
            None => self.state = if kept { State::Text } else { State::Passing },
        }
        Ok(Flow::Go)
    }

    /// Inside a string value that nobody gets to see.
    pub(super) fn passing(&mut self, view: &[u8]) -> Turn {
        if !self.string(view)? {
            return Ok(Flow::Starved);
        }
        self.after_value();
        Ok(Flow::Go)
    }

    /// Inside a string value that must be whole to be seen.
    pub(super) fn text(&mut self, view: &[u8]) -> Turn {
        let max = self.text_bytes_max();
        let view = self.window(view, max);
        if self.string(view)? {
            return self.whole_text(view.get(self.token..self.at).unwrap_or_default());
        }
        if view.len() - self.token <= max {
            return Ok(Flow::Starved);
        }
        // Too long to be yielded: it passes, if nobody wants it.
        let head = view.get(self.token + 1..self.at).unwrap_or_default();
        if self.selected(self.verdict).is_some() || self.is_watched(head) {
            return Err(self.value_too_long(self.token));
        }
        self.state = State::Passing;
        Ok(Flow::Go)
    }

    fn whole_text(&mut self, raw: &[u8]) -> Turn {
        self.after_value();
        let rule = self.selected(self.verdict);
        if rule.is_some() {
            self.decode(inside(raw));
        } else if !self.is_watched(inside(raw)) {
            return Ok(Flow::Go);
        }
        if let Some(hold) = &mut self.hold {
            hold.watched = true;
            return Ok(Flow::Go);
        }
        self.yield_value(Kind::Text, rule, self.token, false)
    }

    /// How much of a string is kept. A selected object or array that holds it has set a bound already.
    fn text_bytes_max(&self) -> usize {
        if self.hold.is_some() { usize::MAX } else { self.limits.value_bytes_max }
    }

    /// At the quote at `start`: the end of the string, if it is all there, plain, and of at most `max` bytes. Else goes
    /// inside, as far as it is plain.
    #[inline(always)]
    fn plain(&mut self, view: &[u8], start: usize, max: usize) -> Option<usize> {
        self.token = start;
        self.escaped = false;
        let end = scan::skip_plain(view, start + 1);
        let plain = end - start < max && view.get(end) == Some(&b'"');
        self.at = if plain { end + 1 } else { end.min(start.saturating_add(max).saturating_add(1)) };
        plain.then_some(end + 1)
    }

    /// Inside a string: goes on to its end, and tells whether it is there.
    fn string(&mut self, view: &[u8]) -> Result<bool, Fault> {
        match scan::string(view, self.at, &mut self.escaped) {
            Ok(Reach::Closed(at)) => {
                self.at = at;
                Ok(true)
            }
            Ok(Reach::Open(at)) => {
                self.at = at;
                Ok(false)
            }
            Err(Flaw::Control(at)) => Err(Fault::ControlCharacter { offset: self.offset(at) }),
            Err(Flaw::Escape(at)) => Err(Fault::BadEscape { offset: self.offset(at) }),
            Err(Flaw::Utf8(at)) => Err(Fault::NotUtf8 { offset: self.offset(at) }),
        }
    }

    /// What may be read for a token of at most `max` bytes: one byte more, which tells that it ends or is too long.
    pub(super) fn window<'a>(&self, view: &'a [u8], max: usize) -> &'a [u8] {
        view.get(..self.token.saturating_add(max).saturating_add(1)).unwrap_or(view)
    }

    #[inline]
    pub(super) fn is_watched(&mut self, inside: &[u8]) -> bool {
        let Some(watch) = self.watch else { return false };
        self.decode(inside);
        watch.shows(if self.escaped { &self.decoded } else { inside })
    }

    /// Undoes the escapes of the string at hand, if it has any, into `decoded`.
    #[inline]
    fn decode(&mut self, inside: &[u8]) {
        if self.escaped {
            self.decoded.clear();
            text::decode(inside, &mut self.decoded);
        }
    }
}
