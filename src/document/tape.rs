//! What the formats that are read byte by byte have in common: input that is still needed, the value at hand, output.
//!
//! Knows no format; it checks the encoding and the limits. Nothing but the value at hand is kept. A [`Machine`] sees each
//! byte once and alone, so a document means the same however it is cut.

#[cfg(test)]
pub(super) mod trial;

use std::ops::Range;

use super::{Escape, Fault, Limits, Place, Rewrite, Slot, Step, Watch};

/// Rewrites one document of the format that `M` reads.
pub struct Driver<M> {
    machine: M,
    tape: Tape,
    /// Whether the machine has been told of the end.
    ended: bool,
    fault: Option<Fault>,
}

/// The grammar of a format.
pub trait Machine {
    /// Takes the byte at `tape.at()`. It may close one value before it and open one at it or after it.
    ///
    /// # Errors
    ///
    /// Whatever is wrong with the document up to here.
    fn byte(&mut self, tape: &mut Tape, byte: u8) -> Result<(), Fault>;

    /// Takes the end of the document, once. It may close one value.
    ///
    /// # Errors
    ///
    /// Whatever is wrong with the document.
    fn end(&mut self, tape: &mut Tape) -> Result<(), Fault>;

    /// Appends what can be read of the beginning of a long value that no rule selects.
    fn head(&self, raw: &[u8], text: &mut Vec<u8>);
}

/// The input that is not settled, and the output. Positions are indices into the input at hand.
pub struct Tape {
    limits: Limits,
    watch: Option<Watch>,
    input: Vec<u8>,
    /// The offset of the input at hand in the body.
    base: u64,
    /// The byte at hand.
    at: usize,
    /// How much of the input has been dealt with in `output`.
    settled: usize,
    begun: bool,
    finished: bool,
    character: Character,
    hold: Option<Hold>,
    found: Option<Found>,
    /// The content of what was found.
    text: Vec<u8>,
    output: Vec<u8>,
}

/// A value or name that is kept until it is whole.
#[derive(Clone, Copy)]
struct Hold {
    start: usize,
    place: Place,
    rule: Option<usize>,
}

/// What waits to be answered.
struct Found {
    range: Range<usize>,
    place: Place,
    rule: Option<usize>,
    escape: Escape,
}

/// A value that has just ended.
pub(super) struct Ended<'a> {
    /// As written.
    pub(super) raw: &'a [u8],
    /// Where it starts, in bytes from the start of the body.
    pub(super) offset: u64,
    /// Whether a rule selects it.
    pub(super) selected: bool,
}

impl<M: Machine> Driver<M> {
    pub(super) fn with(machine: M, limits: Limits, watch: Option<Watch>) -> Self {
        Driver { machine, tape: Tape::new(limits, watch), ended: false, fault: None }
    }

    fn advance(&mut self) -> Result<Step, Fault> {
        let Driver { machine, tape, .. } = self;
        if tape.found.is_some() {
            return Ok(Step::Slot);
        }
        if !tape.begin()? {
            return Ok(Step::NeedInput);
        }
        while let Some(&byte) = tape.input.get(tape.at) {
            if byte >= 0x80 || !tape.character.complete() {
                tape.character.take(byte, tape.base + tape.at as u64)?;
            }
            machine.byte(tape, byte)?;
            tape.at += 1;
            if tape.hold.is_some() {
                tape.bound(machine)?;
            }
            if tape.found.is_some() {
                return Ok(Step::Slot);
            }
        }
        if !tape.finished {
            return Ok(Step::NeedInput);
        }
        if !tape.character.complete() {
            return Err(Fault::NotUtf8 { offset: tape.character.start });
        }
        if !self.ended {
            self.ended = true;
            machine.end(tape)?;
        }
        Ok(if tape.found.is_some() { Step::Slot } else { Step::Done })
    }
}

impl<M: Machine> Rewrite for Driver<M> {
    fn feed(&mut self, chunk: &[u8]) {
        self.tape.feed(chunk);
    }

    fn finish(&mut self) {
        self.tape.finished = true;
    }

    fn step(&mut self) -> Result<Step, Fault> {
        if let Some(fault) = &self.fault {
            return Err(fault.clone());
        }
        let step = self.advance();
        self.tape.settle();
        self.fault = step.as_ref().err().cloned();
        step
    }

    fn slot(&self) -> Option<Slot<'_>> {
        let found = self.tape.found.as_ref()?;
        let raw = self.tape.input.get(found.range.clone())?;
        let start = self.tape.base + found.range.start as u64;
        Some(Slot::of_text(found.rule, found.place, (raw, start), &self.tape.text, found.escape))
    }

    fn keep(&mut self) {
        self.tape.found = None;
    }

    fn replace(&mut self, written: &[u8]) {
        if let Some(found) = self.tape.found.take() {
            self.tape.settle_to(found.range.start);
            self.tape.output.extend_from_slice(written);
            self.tape.settled = found.range.end;
        }
    }

    fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.tape.output)
    }
}

impl Tape {
    fn new(limits: Limits, watch: Option<Watch>) -> Self {
        Tape {
            limits,
            watch,
            input: Vec::new(),
            base: 0,
            at: 0,
            settled: 0,
            begun: false,
            finished: false,
            character: Character::default(),
            hold: None,
            found: None,
            text: Vec::new(),
            output: Vec::new(),
        }
    }

    /// The index of the byte at hand, for `open`.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// Where the byte at hand stands, in bytes from the start of the body.
    pub(super) fn offset(&self) -> u64 {
        self.base + self.at as u64
    }

    /// Whether `byte`, the one at hand, completes a character at which some readers end lines, although it is not ASCII.
    pub(super) fn ends_line(&self, byte: u8) -> bool {
        byte >= 0x80 && self.character.complete() && LINE_ENDS.contains(&self.character.code)
    }

    /// Starts a value or name at `start`. A value that nobody asks for passes.
    pub(super) fn open(&mut self, start: usize, place: Place, rule: Option<usize>) {
        let kept = place == Place::Name || rule.is_some() || self.watch.is_some();
        self.hold = kept.then_some(Hold { start, place, rule });
    }

    /// Ends the value or name before the byte at hand, if it was kept, and shows it if it has to be seen.
    ///
    /// `read` appends its content to an empty buffer, and tells whether it may be shown at all.
    pub(super) fn close(
        &mut self,
        escape: Escape,
        read: impl FnOnce(&Ended<'_>, &mut Vec<u8>) -> Result<bool, Fault>,
    ) -> Result<(), Fault> {
        let Some(Hold { start, place, rule }) = self.hold.take() else { return Ok(()) };
        let range = start..self.at;
        let raw = self.input.get(range.clone()).unwrap_or_default();
        let ended = Ended { raw, offset: self.base + start as u64, selected: rule.is_some() };
        self.text.clear();
        let shown = read(&ended, &mut self.text)?
            && (rule.is_some() || self.watch.is_some_and(|watch| watch.shows(&self.text)));
        self.found = shown.then_some(Found { range, place, rule, escape });
        Ok(())
    }

    fn feed(&mut self, chunk: &[u8]) {
        // What is settled goes only when it is the larger part, so that each byte is moved at most once on average.
        if self.settled * 2 >= self.input.len() {
            self.input.drain(..self.settled);
            self.shift(self.settled);
            self.settled = 0;
        }
        self.input.extend_from_slice(chunk);
    }

    fn shift(&mut self, dropped: usize) {
        self.base += dropped as u64;
        self.at -= dropped;
        if let Some(hold) = &mut self.hold {
            hold.start -= dropped;
        }
        if let Some(found) = &mut self.found {
            found.range = found.range.start - dropped..found.range.end - dropped;
        }
    }

    /// Tells the encoding by the first bytes and goes past a byte order mark; false when that needs more input.
    fn begin(&mut self) -> Result<bool, Fault> {
        if self.begun {
            return Ok(true);
        }
        match self.input.as_slice() {
            [0xfe, 0xff, ..] | [0xff, 0xfe, ..] | [0, ..] | [_, 0, ..] => return Err(Fault::WrongEncoding),
            [0xef, 0xbb, 0xbf, ..] => self.at = 3,
            [0xef, 0xbb] | [_] | [] if !self.finished => return Ok(false),
            _ => {}
        }
        self.begun = true;
        Ok(true)
    }

    /// Sees to it that what is kept stays within its limit.
    fn bound<M: Machine>(&mut self, machine: &M) -> Result<(), Fault> {
        let Some(Hold { start, place, rule }) = self.hold else { return Ok(()) };
        let (length, offset) = (self.at.saturating_sub(start), self.base + start as u64);
        let max = match place {
            Place::Name => self.limits.name_bytes_max,
            Place::Value => self.limits.value_bytes_max,
        };
        if length <= max {
            return Ok(());
        }
        if place == Place::Name {
            return Err(Fault::NameTooLong { offset, max });
        }
        let head = whole_characters(self.input.get(start..start + max).unwrap_or_default());
        self.text.clear();
        machine.head(head, &mut self.text);
        if rule.is_some() || self.watch.is_some_and(|watch| watch.shows(&self.text)) {
            return Err(Fault::ValueTooLong { offset, max });
        }
        self.hold = None;
        Ok(())
    }

    fn settle(&mut self) {
        let held = self.hold.map_or(self.at, |hold| hold.start);
        self.settle_to(self.found.as_ref().map_or(held, |found| found.range.start));
    }

    fn settle_to(&mut self, end: usize) {
        if let Some(untouched) = self.input.get(self.settled..end) {
            self.output.extend_from_slice(untouched);
            self.settled = end;
        }
    }
}

/// Without a character at the end that is cut in two.
fn whole_characters(bytes: &[u8]) -> &[u8] {
    match std::str::from_utf8(bytes) {
        Ok(_) => bytes,
        Err(error) => bytes.get(..error.valid_up_to()).unwrap_or_default(),
    }
}

/// Whether a text holds a character as in `Tape::ends_line`.
pub(super) fn has_line_end(text: &str) -> bool {
    text.contains(|c| LINE_ENDS.contains(&u32::from(c)))
}

/// NEL, LINE SEPARATOR and PARAGRAPH SEPARATOR (Unicode 5.8).
const LINE_ENDS: [u32; 3] = [0x85, 0x2028, 0x2029];

/// A character of UTF-8 (RFC 3629 4) that is being read.
#[derive(Default)]
struct Character {
    /// Its code point, as far as it is there.
    code: u32,
    /// How many bytes are still to come, and what the next may be.
    missing: u8,
    next: (u8, u8),
    start: u64,
}

impl Character {
    fn complete(&self) -> bool {
        self.missing == 0
    }

    fn take(&mut self, byte: u8, offset: u64) -> Result<(), Fault> {
        if self.missing > 0 {
            let (low, high) = self.next;
            if !(low..=high).contains(&byte) {
                return Err(Fault::NotUtf8 { offset: self.start });
            }
            self.missing -= 1;
            self.next = (0x80, 0xbf);
            self.code = self.code << 6 | u32::from(byte & 0x3f);
            return Ok(());
        }
        self.start = offset;
        self.code = u32::from(byte & 0x1f);
        (self.missing, self.next) = match byte {
            0..0x80 => (0, (0, 0)),
            0xc2..=0xdf => (1, (0x80, 0xbf)),
            0xe0 => (2, (0xa0, 0xbf)),
            0xed => (2, (0x80, 0x9f)),
            0xe1..=0xef => (2, (0x80, 0xbf)),
            0xf0 => (3, (0x90, 0xbf)),
            0xf1..=0xf3 => (3, (0x80, 0xbf)),
            0xf4 => (3, (0x80, 0x8f)),
            _ => return Err(Fault::NotUtf8 { offset }),
        };
        Ok(())
    }
}
