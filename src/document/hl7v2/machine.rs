//! The grammar of ER7, one byte at a time.

use std::ops::Range;
use std::sync::Arc;

use super::rules::Rules;
use super::text::{self, Flaw, NULL};
use super::{Delimiters, Level};
use crate::document::tape::{Machine, Tape};
use crate::document::{Escape, Fault, Place};

/// The grammar, and what is known of the segment at hand.
pub struct Reader {
    rules: Arc<Rules>,
    state: State,
    envelope: Envelope,
    ending: Option<Ending>,
    delimiters: Delimiters,
    id: [u8; 3],
    /// How much of `id` is there.
    filled: usize,
    /// What is known of `MSH-1` and `MSH-2`, while they are read.
    encoding: Vec<u8>,
    /// A character set that is being read.
    charset: Vec<u8>,
    /// The paths for the field at hand.
    paths: Range<usize>,
    /// What is at hand, from 1.
    field: u32,
    component: u32,
    subcomponent: u32,
    /// At which level the value at hand ends.
    level: Level,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Id,
    /// After the id of `MSH`, `BHS` or `FHS`: the delimiters.
    Encoding,
    /// After another id.
    Bare,
    Field,
    /// After the CR at the end of a segment.
    Cr,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Ending {
    Cr,
    Lf,
    CrLf,
}

/// What is open, and the delimiters that its end has.
#[derive(Default)]
struct Envelope {
    file: Option<Delimiters>,
    batch: Option<Delimiters>,
    message: bool,
    /// Nothing more may follow.
    over: bool,
}

impl Machine for Reader {
    fn byte(&mut self, tape: &mut Tape, byte: u8) -> Result<(), Fault> {
        let offset = tape.offset();
        if byte < 0x20 && !matches!(byte, b'\t' | b'\r' | b'\n') {
            return Err(Fault::ControlCharacter { offset });
        }
        if tape.ends_line(byte) {
            return Err(Fault::Unaccepted { offset, what: "a Unicode line end" });
        }
        if self.state == State::Cr {
            self.state = State::Id;
            if byte == b'\n' {
                return self.ending(Ending::CrLf, offset);
            }
            self.ending(Ending::Cr, offset)?;
        }
        match self.state {
            State::Id | State::Cr => self.id(byte, offset),
            State::Encoding => self.encoding(tape, byte),
            State::Bare | State::Field if matches!(byte, b'\r' | b'\n') => self.close_segment(tape, byte),
            State::Bare if byte == self.delimiters.field => {
                self.open_field(tape, 1);
                Ok(())
            }
            State::Bare => Err(Fault::UnexpectedByte { offset, wanted: "a field separator or the end of the segment" }),
            State::Field => self.field(tape, byte),
        }
    }

    fn end(&mut self, tape: &mut Tape) -> Result<(), Fault> {
        let offset = tape.offset();
        match self.state {
            State::Field => {
                self.close(tape)?;
                self.close_charset()?;
            }
            State::Cr => self.ending(Ending::Cr, offset)?,
            State::Bare => {}
            State::Id if self.filled == 0 => {}
            State::Id | State::Encoding => return Err(Fault::UnexpectedEnd { offset }),
        }
        let Envelope { file, batch, message, over } = &self.envelope;
        if file.is_some() || batch.is_some() || !(*message || *over) {
            return Err(Fault::UnexpectedEnd { offset });
        }
        Ok(())
    }

    fn head(&self, raw: &[u8], text: &mut Vec<u8>) {
        self.stray(raw, text);
    }
}

impl Reader {
    pub(super) fn new(rules: Arc<Rules>) -> Reader {
        let (field, component, repetition, escape, subcomponent) = (b'|', b'^', b'~', b'\\', b'&');
        Reader {
            rules,
            state: State::Id,
            envelope: Envelope::default(),
            ending: None,
            delimiters: Delimiters { field, component, repetition, escape, subcomponent, truncation: None },
            id: [0; 3],
            filled: 0,
            encoding: Vec::new(),
            charset: Vec::new(),
            paths: 0..0,
            field: 0,
            component: 0,
            subcomponent: 0,
            level: Level::Subcomponent,
        }
    }

    fn id(&mut self, byte: u8, offset: u64) -> Result<(), Fault> {
        let fits = byte.is_ascii_uppercase() || (byte.is_ascii_digit() && self.filled > 0);
        match self.id.get_mut(self.filled) {
            Some(place) if fits => *place = byte,
            _ => return Err(Fault::UnexpectedByte { offset, wanted: "a segment id" }),
        }
        self.filled += 1;
        if self.filled < self.id.len() {
            return Ok(());
        }
        self.state = self.open_segment(offset)?;
        Ok(())
    }

    /// At the end of an id: what comes next.
    fn open_segment(&mut self, offset: u64) -> Result<State, Fault> {
        let Envelope { file, batch, message, over } = &mut self.envelope;
        let enclosed = file.is_some() || batch.is_some();
        let misplaced = match &self.id {
            _ if *over => true,
            b"FHS" => enclosed || *message,
            b"BHS" => batch.is_some() || (*message && !enclosed),
            b"MSH" => *message && !enclosed,
            b"BTS" => batch.is_none(),
            b"FTS" => file.is_none() || batch.is_some(),
            b"ADD" | b"DSC" if !self.rules.is_empty() => {
                return Err(Fault::Unaccepted { offset, what: "a segment that continues another" });
            }
            _ => !*message,
        };
        if misplaced {
            return Err(Fault::Unaccepted { offset, what: "a segment out of its place" });
        }
        match &self.id {
            b"FHS" | b"BHS" | b"MSH" => {
                *message = self.id == *b"MSH";
                self.encoding.clear();
                return Ok(State::Encoding);
            }
            b"BTS" => (self.delimiters, *message) = (batch.take().unwrap_or(self.delimiters), false),
            b"FTS" => (self.delimiters, *message) = (file.take().unwrap_or(self.delimiters), false),
            _ => return Ok(State::Bare),
        }
        *over = file.is_none() && batch.is_none();
        Ok(State::Bare)
    }

    /// In field 1, which is one byte, and field 2 of a header segment.
    fn encoding(&mut self, tape: &mut Tape, byte: u8) -> Result<(), Fault> {
        if self.encoding.first() != Some(&byte) {
            // One more than there may be tells that they are too many.
            if self.encoding.len() < 7 {
                self.encoding.push(byte);
            }
            if self.encoding.len() < 7 && byte.is_ascii_punctuation() {
                return Ok(());
            }
        }
        let found = self.encoding.split_first().and_then(|(field, encoding)| Delimiters::new(*field, encoding));
        let what = "delimiters that are not distinct punctuation";
        self.delimiters = found.ok_or(Fault::Unaccepted { offset: tape.offset(), what })?;
        match &self.id {
            b"FHS" => self.envelope.file = Some(self.delimiters),
            b"BHS" => self.envelope.batch = Some(self.delimiters),
            _ => {}
        }
        self.open_field(tape, 3);
        Ok(())
    }

    fn field(&mut self, tape: &mut Tape, byte: u8) -> Result<(), Fault> {
        let Delimiters { field, component, repetition, subcomponent, .. } = self.delimiters;
        if byte == field {
            self.close(tape)?;
            self.close_charset()?;
            self.open_field(tape, self.field.saturating_add(1));
        } else if byte == repetition {
            self.close(tape)?;
            self.close_charset()?;
            self.open_repetition(tape);
        } else if byte == component && self.level != Level::Field {
            self.close(tape)?;
            self.component = self.component.saturating_add(1);
            self.open_component(tape);
        } else if byte == subcomponent && self.level == Level::Subcomponent {
            self.close(tape)?;
            self.subcomponent = self.subcomponent.saturating_add(1);
            self.open_subcomponent(tape);
        }
        if self.is_charset() && byte != field && byte != repetition && self.charset.len() <= LONGEST {
            self.charset.push(byte);
        }
        Ok(())
    }

    fn close_segment(&mut self, tape: &mut Tape, byte: u8) -> Result<(), Fault> {
        if self.state == State::Field {
            self.close(tape)?;
            self.close_charset()?;
        }
        self.filled = 0;
        if byte == b'\r' {
            self.state = State::Cr;
            return Ok(());
        }
        self.state = State::Id;
        self.ending(Ending::Lf, tape.offset())
    }

    /// All segments must end alike: a reader that knows but one kind of end would take several segments for one.
    fn ending(&mut self, ending: Ending, offset: u64) -> Result<(), Fault> {
        if *self.ending.get_or_insert(ending) != ending {
            return Err(Fault::Unaccepted { offset, what: "a segment that ends otherwise than those before" });
        }
        Ok(())
    }

    /// At the separator before it.
    fn open_field(&mut self, tape: &mut Tape, number: u32) {
        self.state = State::Field;
        self.field = number;
        self.paths = self.rules.for_field(&self.id, number);
        self.open_repetition(tape);
    }

    fn open_repetition(&mut self, tape: &mut Tape) {
        self.component = 1;
        if !self.open(tape, Level::Field, (None, None)) {
            self.open_component(tape);
        }
    }

    fn open_component(&mut self, tape: &mut Tape) {
        self.subcomponent = 1;
        if !self.open(tape, Level::Component, (Some(self.component), None)) {
            self.open_subcomponent(tape);
        }
    }

    fn open_subcomponent(&mut self, tape: &mut Tape) {
        if !self.open(tape, Level::Subcomponent, (Some(self.component), Some(self.subcomponent))) {
            self.level = Level::Subcomponent;
            tape.open(tape.at() + 1, Place::Value, None);
        }
    }

    /// Starts a value after the byte at hand, if a rule selects it.
    fn open(&mut self, tape: &mut Tape, level: Level, part: (Option<u32>, Option<u32>)) -> bool {
        let rule = if self.paths.is_empty() { None } else { self.rules.find(&self.paths, part) };
        if rule.is_some() {
            self.level = level;
            tape.open(tape.at() + 1, Place::Value, rule);
        }
        rule.is_some()
    }

    fn close(&mut self, tape: &mut Tape) -> Result<(), Fault> {
        let Reader { delimiters, level, .. } = &*self;
        tape.close(Escape::Hl7 { delimiters: *delimiters, level: *level }, |value, out| {
            if !value.selected {
                self.stray(value.raw, out);
                return Ok(true);
            }
            text::read(value.raw, delimiters, *level, out).map_err(|flaw| match flaw {
                Flaw::Utf8(at) => Fault::NotUtf8 { offset: value.offset + at as u64 },
                Flaw::Control(at) => Fault::ControlCharacter { offset: value.offset + at as u64 },
            })?;
            Ok(value.raw != NULL)
        })
    }

    /// The text of what no rule selects; as written where it has none.
    fn stray(&self, raw: &[u8], out: &mut Vec<u8>) {
        if text::read(raw, &self.delimiters, Level::Subcomponent, out).is_err() {
            out.clear();
            out.extend_from_slice(raw);
        }
    }

    fn is_charset(&self) -> bool {
        self.field == 18 && self.id == *b"MSH"
    }

    /// At the end of a field or repetition.
    fn close_charset(&mut self) -> Result<(), Fault> {
        if self.is_charset() && !CHARSETS.contains(&self.charset.as_slice()) {
            return Err(Fault::WrongEncoding);
        }
        self.charset.clear();
        Ok(())
    }
}

/// Names of UTF-8 and what is part of it (HL7 table 0211); none at all is ASCII.
const CHARSETS: [&[u8]; 4] = [b"", b"ASCII", b"UTF-8", b"UNICODE UTF-8"];
const LONGEST: usize = 13;
