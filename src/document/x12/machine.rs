//! The grammar of interchanges, one byte at a time.

use std::ops::Range;
use std::sync::Arc;

use super::rules::{QUALIFIER_BYTES_MAX, Rules};
use super::{Delimiters, ELEMENT_ENDS, ISA_LEN, Level};
use crate::document::tape::{Machine, Tape};
use crate::document::{Escape, Fault, Place};

/// The grammar, and what is known of the segment at hand.
pub struct Reader {
    rules: Arc<Rules>,
    state: State,
    envelope: Envelope,
    /// The `ISA` at hand, or the last.
    isa: [u8; ISA_LEN],
    /// How much of it, or of `id`, is there.
    filled: usize,
    delimiters: Delimiters,
    id: [u8; 3],
    /// The paths for the segment at hand.
    paths: Range<usize>,
    /// The beginning of element 1, longer than any qualifier; of several spaces before it one.
    first: Vec<u8>,
    /// Which element and component is at hand, from 1.
    element: u32,
    component: u32,
    /// At which level the value at hand ends.
    level: Level,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Inside the first or another `ISA`.
    Isa,
    /// After a segment: line ends, or the next.
    Break,
    Id,
    Element,
    /// After the last segment of an interchange.
    Between,
}

/// What is open.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Envelope {
    Interchange,
    Group,
    Set,
    /// The interchange is closed once this segment ends.
    Closing,
}

impl Machine for Reader {
    fn byte(&mut self, tape: &mut Tape, byte: u8) -> Result<(), Fault> {
        match self.state {
            State::Between if byte.is_ascii_whitespace() => Ok(()),
            State::Between => {
                self.filled = 0;
                self.state = State::Isa;
                self.isa(byte, tape.offset())
            }
            State::Isa => self.isa(byte, tape.offset()),
            State::Break if matches!(byte, b'\r' | b'\n') => Ok(()),
            State::Break => {
                self.filled = 0;
                self.state = State::Id;
                self.id(tape, byte)
            }
            State::Id => self.id(tape, byte),
            State::Element => self.element(tape, byte),
        }
    }

    fn end(&mut self, tape: &mut Tape) -> Result<(), Fault> {
        match self.state {
            State::Between => Ok(()),
            State::Isa | State::Break | State::Id | State::Element => {
                Err(Fault::UnexpectedEnd { offset: tape.offset() })
            }
        }
    }

    fn head(&self, raw: &[u8], text: &mut Vec<u8>) {
        text.extend_from_slice(raw);
    }
}

impl Reader {
    pub(super) fn new(rules: Arc<Rules>) -> Reader {
        Reader {
            rules,
            state: State::Isa,
            envelope: Envelope::Interchange,
            isa: [0; ISA_LEN],
            filled: 0,
            delimiters: Delimiters { element: b'*', component: b':', repetition: None, segment: b'~' },
            id: [0; 3],
            paths: 0..0,
            first: Vec::new(),
            element: 0,
            component: 0,
            level: Level::Component,
        }
    }

    fn isa(&mut self, byte: u8, offset: u64) -> Result<(), Fault> {
        let at = self.filled;
        let [_, _, _, element, ..] = self.isa;
        match at {
            0..3 if b"ISA".get(at) != Some(&byte) => return Err(Fault::UnexpectedByte { offset, wanted: "`ISA`" }),
            // Delimiters are judged together.
            0..=3 | 82 | 104 | 105 => {}
            // Readers that split at the separator must find what those find that count bytes.
            _ if ELEMENT_ENDS.contains(&at) != (byte == element) => {
                return Err(Fault::UnexpectedByte { offset, wanted: "an `ISA` of fixed length" });
            }
            _ if byte != element && !(b' '..0x7f).contains(&byte) => {
                return Err(Fault::UnexpectedByte { offset, wanted: "printable ASCII in `ISA`" });
            }
            _ => {}
        }
        if let Some(place) = self.isa.get_mut(at) {
            *place = byte;
        }
        self.filled += 1;
        if self.filled == ISA_LEN {
            let delimiters = Delimiters::of_isa(&self.isa).filter(|found| {
                let inside = |mark: u8| self.isa.iter().filter(|&&byte| byte == mark).count() > 1;
                !inside(found.segment) && !inside(found.component)
            });
            let what = "delimiters that are not distinct punctuation";
            self.delimiters = delimiters.ok_or(Fault::Unaccepted { offset, what })?;
            self.envelope = Envelope::Interchange;
            self.state = State::Break;
        }
        Ok(())
    }

    fn id(&mut self, tape: &mut Tape, byte: u8) -> Result<(), Fault> {
        let offset = tape.offset();
        let upper = byte.is_ascii_uppercase() || (byte.is_ascii_digit() && self.filled > 0);
        match self.id.get_mut(self.filled) {
            Some(place) if upper => {
                *place = byte;
                self.filled += 1;
                return Ok(());
            }
            _ if self.filled >= 2 && (byte == self.delimiters.element || byte == self.delimiters.segment) => {}
            _ => return Err(Fault::UnexpectedByte { offset, wanted: "a segment id of 2 or 3 letters or digits" }),
        }
        let id = self.id.get(..self.filled).unwrap_or_default();
        self.paths = self.rules.for_segment(id);
        self.envelope = envelope(id, self.envelope, offset)?;
        self.first.clear();
        self.element = 0;
        if byte == self.delimiters.segment {
            self.close_segment();
        } else {
            self.state = State::Element;
            self.open_element(tape);
        }
        Ok(())
    }

    fn element(&mut self, tape: &mut Tape, byte: u8) -> Result<(), Fault> {
        let Delimiters { element, component, repetition, segment } = self.delimiters;
        if byte == element || byte == segment {
            self.close(tape)?;
            let marks = [component, repetition.unwrap_or(component)];
            if self.element == 1 && self.rules.is_look_alike(&self.paths, &self.first, &marks) {
                return Err(Fault::Unaccepted { offset: tape.offset(), what: "a qualifier almost like a ruled one" });
            }
            if byte == segment {
                self.close_segment();
            } else {
                self.open_element(tape);
            }
            return Ok(());
        }
        if self.element == 1 && self.first.len() < QUALIFIER_BYTES_MAX + 2 && (byte, &*self.first) != (b' ', b" ") {
            self.first.push(byte);
        }
        if Some(byte) == repetition {
            self.close(tape)?;
            self.open_repetition(tape);
        } else if byte == component {
            if self.level == Level::Component {
                self.close(tape)?;
                self.component = self.component.saturating_add(1);
                self.open_component(tape);
            }
        } else if byte.is_ascii_control() {
            return Err(Fault::ControlCharacter { offset: tape.offset() });
        }
        Ok(())
    }

    fn close_segment(&mut self) {
        self.state = if self.envelope == Envelope::Closing { State::Between } else { State::Break };
    }

    /// At the separator before it.
    fn open_element(&mut self, tape: &mut Tape) {
        self.element = self.element.saturating_add(1);
        self.open_repetition(tape);
    }

    fn open_repetition(&mut self, tape: &mut Tape) {
        self.component = 1;
        match self.find(None) {
            Some(rule) => {
                self.level = Level::Element;
                tape.open(tape.at() + 1, Place::Value, Some(rule));
            }
            None => {
                self.level = Level::Component;
                self.open_component(tape);
            }
        }
    }

    fn open_component(&mut self, tape: &mut Tape) {
        tape.open(tape.at() + 1, Place::Value, self.find(Some(self.component)));
    }

    fn find(&self, component: Option<u32>) -> Option<usize> {
        if self.paths.is_empty() { None } else { self.rules.find(&self.paths, &self.first, self.element, component) }
    }

    fn close(&mut self, tape: &mut Tape) -> Result<(), Fault> {
        tape.close(Escape::X12 { delimiters: self.delimiters, level: self.level }, |value, text| {
            text.extend_from_slice(value.raw);
            Ok(true)
        })
    }
}

/// What is open from this segment on.
fn envelope(id: &[u8], open: Envelope, offset: u64) -> Result<Envelope, Fault> {
    match (id, open) {
        (b"BIN" | b"BDS", _) => Err(Fault::Unaccepted { offset, what: "a binary segment" }),
        (b"GS", Envelope::Interchange) => Ok(Envelope::Group),
        (b"ST", Envelope::Group) => Ok(Envelope::Set),
        (b"SE", Envelope::Set) => Ok(Envelope::Group),
        (b"GE", Envelope::Group) => Ok(Envelope::Interchange),
        (b"IEA", Envelope::Interchange) => Ok(Envelope::Closing),
        // Acknowledgments of other interchanges stand outside of groups.
        (b"TA1", Envelope::Interchange) => Ok(open),
        (b"ISA" | b"GS" | b"ST" | b"SE" | b"GE" | b"IEA" | b"TA1", _) => {
            Err(Fault::Unaccepted { offset, what: "a control segment out of its place" })
        }
        (_, Envelope::Set) => Ok(open),
        _ => Err(Fault::Unaccepted { offset, what: "a segment outside of a transaction set" }),
    }
}
