//! What no rule selects, block by block: it does what the states would do, and leaves to them whatever is not plain.

mod place;

use fearless_simd::{Simd, dispatch};

use place::{Run, string};

use super::{Flow, Frame, Machine, State, Turn, inside};
use crate::document::Fault;
use crate::document::json::blocks::{Before, Block, Blocks, LEN, lowest};
use crate::document::json::scan;
use crate::document::json::tracker::Verdict;

impl Frame {
    /// One in which nothing is selected.
    fn dead(start: u64, object: bool) -> Frame {
        let verdict = Verdict::NOTHING;
        Frame { start, object, live: false, indexed: false, index: 0, verdict, kind: None, holds: false, seen: 0 }
    }

    /// Whether it is an array of which somebody has to look at the element at hand.
    #[inline(always)]
    fn is_looked_through(&self) -> bool {
        !self.object && self.verdict.matters()
    }
}

/// How to go on after a token.
enum Next {
    On,
    /// It is left to the states.
    Stop,
    /// The same, and they are set already.
    Leave(Flow),
}

impl Machine {
    /// In an object or array: reads on as far as nothing is selected, and as there is input. Stops before the token that
    /// somebody has to look at, or that is none, or that may not be all there, and maybe some before it.
    pub(super) fn run(&mut self, view: &[u8]) -> Turn {
        let Some(frame) = self.frames.last() else { return Ok(Flow::Go) };
        let before = match self.state {
            State::FirstMember | State::FirstElement => Before::Open,
            State::Value if frame.object => Before::Colon,
            State::Member | State::Value => Before::Comma,
            State::Comma => Before::Value,
            _ => return Ok(Flow::Go),
        };
        if !matches!(self.state, State::Value | State::FirstElement) {
            self.verdict = Verdict::NOTHING;
        }
        // Below an object in which nothing is live, a value goes by a verdict of its own where one was put there.
        let is_put = !frame.live && self.verdict != Verdict::NOTHING;
        if is_put || frame.is_looked_through() || self.verdict.matters() || self.at >= view.len() {
            return Ok(Flow::Go);
        }
        let held = self.hold.as_ref().map_or(0, |hold| hold.depth + 1);
        let run = Run {
            view,
            done: 0,
            mark: None,
            string: self.at,
            is_object: frame.object,
            live: frame.live,
            is_indexed: frame.indexed,
            is_late: false,
            is_seen: self.tracker.knows_resources() || self.limits.name_bytes_max < 2 * LEN,
            is_watched: false,
            awaited: held.max(self.waiting.map_or(0, |(depth, _)| depth)),
        };
        let has_watch = self.watch.is_some();
        dispatch!(self.level, simd => self.run_blocks(Blocks::new(simd, view, self.at, before, has_watch), run))
    }

    #[inline(always)]
    fn run_blocks<'a, S: Simd>(&mut self, mut blocks: Blocks<'a, S>, mut run: Run<'a>) -> Turn {
        let mut is_after_watched = false;
        while let Some(block) = blocks.read() {
            run.done = 0;
            if let Some(watch) = self.watch {
                run.is_watched = is_after_watched || block.has_escapes || self.marks.is_in(watch, run.view, block.base);
                is_after_watched = run.is_watched && blocks.is_after_string();
            }
            let always = run.tokens(&block);
            // Around each bracket.
            'around: loop {
                if !run.live && !run.is_seen && !run.is_watched && self.run_dead(&mut run, &block) {
                    break;
                }
                let bad = run.bad(&block) & !run.done;
                let good = lowest(bad).wrapping_sub(1);
                let names = if run.live || run.is_seen { block.colons } else { 0 };
                let elements = if run.is_indexed { block.commas } else { 0 };
                let mut tokens = (always | names | elements) & !run.done & good;
                while tokens != 0 {
                    let token = lowest(tokens);
                    tokens ^= token;
                    let seen = token ^ token.wrapping_sub(1);
                    if run.is_watched && block.after_string & token & !block.colons != 0 {
                        let (at, end) = run.string(&block, token);
                        if !self.is_unwatched(string(run.view, at, end), blocks.is_plain(at)) {
                            return Ok(self.stop(&mut run, &block, seen >> 1));
                        }
                    }
                    let at = block.base.wrapping_add(token.trailing_zeros() as usize);
                    let Some(&byte) = run.view.get(at) else { return Ok(self.stop(&mut run, &block, seen >> 1)) };
                    let next = if token & (block.opens | block.closes) != 0 {
                        self.count(run.is_object, block.commas & seen & !run.done);
                        run.done = seen;
                        let next = if token & block.opens != 0 {
                            self.run_in(&mut run, at, byte)?
                        } else {
                            self.run_out(&mut run, &block, token, byte)
                        };
                        if matches!(next, Next::On) {
                            continue 'around;
                        }
                        next
                    } else if run.is_indexed && token & block.commas != 0 {
                        (run.done, self.at) = (seen, at);
                        self.comma();
                        if self.verdict.matters() { Next::Leave(Flow::Go) } else { Next::On }
                    } else if token & block.colons != 0 {
                        self.run_over_name(&mut run, &block, token, &blocks)?
                    } else if token & block.words != 0 && !scan::is_word(run.view, at, byte) {
                        Next::Stop
                    } else {
                        Next::On
                    };
                    match next {
                        Next::On => {}
                        Next::Stop => return Ok(self.stop(&mut run, &block, seen >> 1)),
                        Next::Leave(flow) => return Ok(flow),
                    }
                }
                if bad != 0 {
                    return Ok(self.stop(&mut run, &block, good));
                }
                break;
            }
            self.count(run.is_object, block.commas & !run.done);
            run.mark = block.last(block.marks()).or(run.mark);
            run.string = block.last(block.strings).unwrap_or(run.string);
        }
        self.note(&mut run);
        self.resume(run.view, run.is_object, run.mark);
        Ok(Flow::Go)
    }

    /// Where nobody looks at anything: over the rest of a block, or up to before what needs a closer look. Tells which.
    #[inline(always)]
    fn run_dead(&mut self, run: &mut Run<'_>, block: &Block) -> bool {
        let mut brackets = (block.opens | block.closes) & !run.done;
        while brackets != 0 {
            let token = lowest(brackets);
            brackets ^= token;
            let seen = token ^ token.wrapping_sub(1);
            let odd = run.bad(block) | block.words | block.late;
            if odd & seen & !run.done != 0 {
                return false;
            }
            let is_brace = block.braces & token != 0;
            if token & block.opens != 0 {
                if self.frames.len() >= self.limits.depth_max {
                    return false;
                }
                self.count(run.is_object, block.commas & seen & !run.done);
                run.is_object = is_brace;
                let at = block.base.wrapping_add(token.trailing_zeros() as usize);
                self.frames.push(Frame::dead(self.base.wrapping_add(at as u64), is_brace));
            } else {
                let [.., around, last] = self.frames.as_slice() else { return false };
                if last.object != is_brace
                    || self.frames.len() <= run.awaited
                    || around.live
                    || block.wanted & token != 0
                {
                    return false;
                }
                run.is_object = around.object;
                self.frames.pop();
            }
            run.done = seen;
        }
        (run.bad(block) | block.words | block.late) & !run.done == 0
    }

    /// Into an object or array.
    #[inline(always)]
    fn run_in(&mut self, run: &mut Run<'_>, at: usize, byte: u8) -> Result<Next, Fault> {
        let verdict = if !run.live && !run.is_seen && !run.is_watched {
            Verdict::NOTHING
        } else if run.is_object {
            self.verdict
        } else {
            self.frames.last().map_or(Verdict::NOTHING, |frame| frame.verdict)
        };
        if verdict == Verdict::NOTHING {
            if self.frames.len() >= self.limits.depth_max {
                return Ok(Next::Stop);
            }
            (run.is_object, run.live, run.is_indexed) = (byte == b'{', false, false);
            self.frames.push(Frame::dead(self.base + at as u64, run.is_object));
            return Ok(Next::On);
        }
        self.note(run);
        if verdict.is_just_live() && self.frames.len() < self.limits.depth_max {
            let (level, object) = (self.frames.len(), byte == b'{');
            let (verdict, indexed) = if object {
                (self.tracker.other(level), false)
            } else {
                (self.tracker.element(level, 0), self.tracker.is_indexed(level))
            };
            let indexed = indexed || !object && verdict.asks();
            (run.is_object, run.live, run.is_indexed, self.verdict) = (object, true, indexed, verdict);
            let frame = Frame { live: true, indexed, verdict, ..Frame::dead(self.base + at as u64, object) };
            let is_looked_through = frame.is_looked_through();
            self.frames.push(frame);
            if is_looked_through {
                (self.at, self.state) = (at + 1, State::FirstElement);
                return Ok(Next::Leave(Flow::Go));
            }
            return Ok(Next::On);
        }
        (self.at, self.state, self.verdict) = (at, State::Value, verdict);
        let flow = self.value(run.view, byte)?;
        if !matches!(flow, Flow::Go) {
            return Ok(Next::Leave(flow));
        }
        let Some(frame) = self.frames.last() else { return Ok(Next::Leave(Flow::Go)) };
        (run.is_object, run.live, run.is_indexed) = (frame.object, frame.live, frame.indexed);
        Ok(if frame.is_looked_through() { Next::Leave(Flow::Go) } else { Next::On })
    }

    /// Over the end of an object or array, if nobody waits for it.
    #[inline(always)]
    fn run_out(&mut self, run: &mut Run<'_>, block: &Block, token: u64, byte: u8) -> Next {
        let [.., around, last] = self.frames.as_slice() else { return Next::Stop };
        let at = block.base.wrapping_add(token.trailing_zeros() as usize);
        let is_empty = block.wanted & token != 0 && {
            let mark = block.last(block.marks() & token.wrapping_sub(1)).or(run.mark);
            if !mark.is_some_and(|mark| matches!(run.view.get(mark), Some(b'{' | b'['))) {
                return Next::Stop;
            }
            true
        };
        if last.object != (byte == b'}') {
            return Next::Stop;
        }
        if self.frames.len() <= run.awaited {
            if is_empty {
                return Next::Stop;
            }
            (self.at, self.state) = (at, State::Comma);
            return Next::Leave(Flow::Go);
        }
        (run.is_object, run.live, run.is_indexed) = (around.object, around.live, around.indexed);
        let is_looked_through = around.is_looked_through();
        run.is_late = false;
        self.verdict = Verdict::NOTHING;
        self.frames.pop();
        if is_looked_through {
            (self.at, self.state) = (at + 1, State::Comma);
            return Next::Leave(Flow::Go);
        }
        Next::On
    }

    /// At a colon: over the name before it, if its object has to see it and nobody else looks at it.
    #[inline(always)]
    fn run_over_name<S: Simd>(
        &mut self,
        run: &mut Run<'_>,
        block: &Block,
        token: u64,
        blocks: &Blocks<'_, S>,
    ) -> Result<Next, Fault> {
        let (at, colon) = run.string(block, token);
        if colon - at > self.limits.name_bytes_max {
            return Ok(Next::Stop);
        }
        if !run.live && !run.is_seen && !run.is_watched {
            return Ok(Next::On);
        }
        let raw = string(run.view, at, colon);
        let name = inside(raw);
        let is_plain = blocks.is_plain(at);
        if run.live && is_plain && !run.is_watched && !self.may_be_waited_for(name) {
            let other = self.frames.last().map_or(Verdict::NOTHING, |frame| frame.verdict);
            if !other.matters() {
                (self.verdict, run.is_late) = (other, other != Verdict::NOTHING);
                return Ok(Next::On);
            }
        }
        self.escaped = !is_plain && name.contains(&b'\\');
        if run.live {
            run.is_late = false;
            (self.token, self.at) = (at, at + raw.len());
            let flow = self.whole_name(raw)?;
            if matches!(flow, Flow::Found) || self.verdict.moves() {
                return Ok(Next::Leave(flow));
            }
            if self.verdict.matters() {
                (self.at, self.state) = (colon + 1, State::Value);
                return Ok(Next::Leave(Flow::Go));
            }
            return Ok(Next::On);
        }
        let is_ascii = is_plain || !self.escaped && name.is_ascii();
        let is_known = self.tracker.knows_resources() && (!is_ascii || self.tracker.may_matter(name));
        if is_known || run.is_watched && self.is_watched(name) {
            return Ok(Next::Stop);
        }
        self.verdict = Verdict::NOTHING;
        Ok(Next::On)
    }

    /// Whether the rules may say anything of a member that they do not say of those which no rule mentions.
    #[inline(always)]
    fn may_be_waited_for(&self, name: &[u8]) -> bool {
        let level = self.frames.len().wrapping_sub(1);
        self.tracker.may_mention(name) && (self.nested || self.tracker.may_wait(level, name))
    }

    /// Notes the states that are live in the value at hand.
    #[inline(always)]
    fn note(&mut self, run: &mut Run<'_>) {
        if std::mem::take(&mut run.is_late) {
            self.tracker.other(self.frames.len().saturating_sub(1));
        }
    }

    /// Stops in a block: leaves to the states what comes after the last comma, colon or bracket of `seen`.
    #[inline(always)]
    fn stop(&mut self, run: &mut Run<'_>, block: &Block, seen: u64) -> Flow {
        self.note(run);
        self.count(run.is_object, block.commas & seen & !run.done);
        self.resume(run.view, run.is_object, block.last(block.marks() & seen).or(run.mark));
        Flow::Go
    }

    /// Has the states go on after a comma, colon or bracket.
    #[inline(never)]
    fn resume(&mut self, view: &[u8], is_object: bool, mark: Option<usize>) {
        let Some(at) = mark else { return };
        self.at = at + 1;
        self.state = match view.get(at) {
            Some(b'{') => State::FirstMember,
            Some(b'[') => State::FirstElement,
            Some(b',') if is_object => State::Member,
            Some(b',' | b':') => State::Value,
            _ => State::Comma,
        };
        if let Some(frame) = self.frames.last().filter(|frame| !frame.object) {
            self.verdict = frame.verdict;
        }
    }

    /// Counts the elements of an array.
    #[inline(always)]
    fn count(&mut self, is_object: bool, commas: u64) {
        if !is_object
            && commas != 0
            && let Some(frame) = self.frames.last_mut()
        {
            frame.index = frame.index.wrapping_add(u64::from(commas.count_ones()));
        }
    }

    /// Whether nobody looks at the text of a string.
    fn is_unwatched(&mut self, string: &[u8], is_plain: bool) -> bool {
        let text = inside(string);
        self.escaped = !is_plain && text.contains(&b'\\');
        string.len() <= self.limits.value_bytes_max && !self.is_watched(text)
    }
}
