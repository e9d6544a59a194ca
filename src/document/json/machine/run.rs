//! What no rule selects, in one loop: it does what the states would do, and leaves to them whatever is not plain.

use super::{Flow, Frame, Machine, State, Turn};
use crate::document::json::scan::{self, Digits, Reach};
use crate::document::json::tracker::Verdict;

impl Frame {
    /// One in which nothing is selected.
    fn dead(start: u64, object: bool) -> Frame {
        let verdict = Verdict::NOTHING;
        Frame { start, object, live: false, indexed: false, index: 0, verdict, kind: None, holds: false, seen: 0 }
    }
}

/// Where a run has come to.
struct Run {
    at: usize,
    state: State,
    /// Of the innermost object or array.
    is_object: bool,
    live: bool,
    /// How many objects and arrays are open around those whose end nobody waits for.
    awaited: usize,
}

impl Machine {
    /// In an object or array: reads on as far as nothing is selected, and as there is input. Stops before the token that
    /// somebody has to look at, or that is none.
    pub(super) fn run(&mut self, view: &[u8]) -> Turn {
        let Some(frame) = self.frames.last() else { return Ok(Flow::Go) };
        let held = self.hold.as_ref().map_or(0, |hold| hold.depth + 1);
        let awaited = held.max(self.waiting.map_or(0, |(depth, _)| depth));
        let (is_object, live) = (frame.object, frame.live);
        let mut run = Run { at: scan::skip_space(view, self.at), state: self.state, is_object, live, awaited };
        loop {
            if matches!(run.state, State::Member | State::FirstMember) && view.get(run.at) == Some(&b'"') {
                let Some(end) = self.short_name(view, run.at, run.live) else { break };
                self.verdict = Verdict::NOTHING;
                if run.live {
                    (self.token, self.at, self.escaped) = (run.at, end, false);
                    let flow = self.whole_name(view.get(run.at..end).unwrap_or_default())?;
                    if matches!(flow, Flow::Found) || self.verdict.moves() {
                        return Ok(flow);
                    }
                }
                (run.at, run.state) = (scan::skip_space(view, end), State::Colon);
            }
            if run.state == State::Colon && view.get(run.at) == Some(&b':') {
                (run.at, run.state) = (scan::skip_space(view, run.at + 1), State::Value);
            }
            if !self.run_through(view, &mut run) || !self.run_on(view, &mut run) {
                break;
            }
        }
        (self.at, self.state) = (run.at, run.state);
        Ok(Flow::Go)
    }

    /// Through a value, or into it; not if it matters.
    #[inline(always)]
    fn run_through(&mut self, view: &[u8], run: &mut Run) -> bool {
        if !matches!(run.state, State::Value | State::FirstElement) {
            return true;
        }
        let Some(&byte) = view.get(run.at) else { return false };
        let is_open = matches!(byte, b'{' | b'[');
        if self.verdict != Verdict::NOTHING && (is_open || self.verdict.matters()) {
            return false;
        }
        if is_open {
            if self.frames.len() >= self.limits.depth_max {
                return false;
            }
            (run.is_object, run.live) = (byte == b'{', false);
            self.frames.push(Frame::dead(self.base + run.at as u64, run.is_object));
            run.at = scan::skip_space(view, run.at + 1);
            run.state = if run.is_object { State::FirstMember } else { State::FirstElement };
            return true;
        }
        let end = if byte == b'"' { self.unwatched_text(view, run.at) } else { plain_value(view, run.at, byte) };
        let Some(end) = end else { return false };
        (run.at, run.state) = (scan::skip_space(view, end), State::Comma);
        true
    }

    /// After a value or at the start of an object or array: over a comma, and over ends that nobody waits for. Tells whether
    /// it has come before a name or value.
    #[inline(always)]
    fn run_on(&mut self, view: &[u8], run: &mut Run) -> bool {
        loop {
            match (run.state, view.get(run.at)) {
                (State::Comma, Some(b',')) if run.is_object || !run.live => {
                    run.at = scan::skip_space(view, run.at + 1);
                    run.state = if run.is_object { State::Member } else { State::Value };
                    self.verdict = Verdict::NOTHING;
                    if let Some(frame) = self.frames.last_mut().filter(|frame| !frame.object) {
                        frame.index += 1;
                    }
                    return true;
                }
                (State::Comma | State::FirstMember | State::FirstElement, Some(byte @ (b'}' | b']'))) => {
                    let [.., around, last] = self.frames.as_slice() else { return false };
                    let is_awaited = run.live || self.frames.len() <= run.awaited;
                    if is_awaited || last.object != (*byte == b'}') {
                        return false;
                    }
                    (run.is_object, run.live) = (around.object, around.live);
                    self.frames.pop();
                    (run.at, run.state) = (scan::skip_space(view, run.at + 1), State::Comma);
                }
                (State::FirstMember, Some(b'"')) | (State::FirstElement, Some(_)) => return true,
                _ => return false,
            }
        }
    }

    /// The end of the name at the quote at `at`, if it is one that nobody but the rules of its object looks at.
    #[inline(always)]
    fn short_name(&self, view: &[u8], at: usize, live: bool) -> Option<usize> {
        let (end, form) = string(view, at)?;
        if end - at > self.limits.name_bytes_max {
            return None;
        }
        if live {
            return (form != Form::Escaped).then_some(end);
        }
        let name = view.get(at + 1..end - 1)?;
        let is_known = self.tracker.knows_resources() && (form != Form::Plain || self.tracker.may_matter(name));
        (!is_known && self.is_unwatched(name, form)).then_some(end)
    }

    /// The end of the text at the quote at `at`, if nobody looks at it.
    #[inline(always)]
    fn unwatched_text(&self, view: &[u8], at: usize) -> Option<usize> {
        let (end, form) = string(view, at)?;
        let text = view.get(at + 1..end - 1)?;
        let is_short = self.watch.is_none() || end - at <= self.limits.value_bytes_max;
        (is_short && self.is_unwatched(text, form)).then_some(end)
    }

    #[inline(always)]
    fn is_unwatched(&self, text: &[u8], form: Form) -> bool {
        self.watch.is_none_or(|watch| form != Form::Escaped && !watch(text))
    }
}

/// How a string is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// In ASCII, without escapes.
    Plain,
    Unescaped,
    Escaped,
}

/// The end of the string at the quote at `at`, if it is whole and valid.
#[inline(always)]
fn string(view: &[u8], at: usize) -> Option<(usize, Form)> {
    let end = scan::skip_plain(view, at + 1);
    if view.get(end) == Some(&b'"') { Some((end + 1, Form::Plain)) } else { unusual_string(view, end) }
}

#[cold]
fn unusual_string(view: &[u8], from: usize) -> Option<(usize, Form)> {
    let mut escaped = false;
    match scan::string(view, from, &mut escaped) {
        Ok(Reach::Closed(end)) => Some((end, if escaped { Form::Escaped } else { Form::Unescaped })),
        Ok(Reach::Open(_)) | Err(_) => None,
    }
}

/// The end of the number, `true`, `false` or `null` at `at`, if it is whole and valid.
#[inline(always)]
fn plain_value(view: &[u8], at: usize, byte: u8) -> Option<usize> {
    let word: &[u8] = match byte {
        b't' => b"true",
        b'f' => b"false",
        b'n' => b"null",
        _ => {
            let mut digits = Digits::None;
            let end = scan::number(view, at, &mut digits);
            return (digits.complete() && end < view.len()).then_some(end);
        }
    };
    view.get(at..)?.starts_with(word).then_some(at + word.len())
}
