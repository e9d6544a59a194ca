//! ANSI ASC X12 interchanges (X12.5, X12.6), rewritten while they stream by.
//!
//! Delimiters are those of each `ISA`. Nothing is normalised, counted or matched against implementation guides; but what is
//! opened has to be closed, and segments stand where they may. Binary segments and control characters are refused: another
//! reader could find the ends of segments elsewhere.

mod machine;
mod rules;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use super::tape::Driver;
use super::{Limits, NotWritable, Watch};

pub use machine::Reader;
pub use rules::{Rules, X12Path};

/// Rewrites one X12 document: an interchange, or several.
pub type Rewriter = Driver<Reader>;

impl Rewriter {
    /// Starts on a document.
    pub fn new(rules: Arc<Rules>, limits: Limits, watch: Option<Watch>) -> Rewriter {
        Driver::with(Reader::new(rules), limits, watch)
    }
}

/// The delimiters of an interchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delimiters {
    element: u8,
    component: u8,
    /// None, when `ISA11` is not one (before 00402 it holds `U`).
    repetition: Option<u8>,
    segment: u8,
}

/// What part of a segment a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// An element, or one repetition of it. Components in it are text as written.
    Element,
    /// A component of an element.
    Component,
}

/// Where the delimiters stand in an `ISA`, and where the elements end.
const ELEMENT_ENDS: [usize; 16] = [3, 6, 17, 20, 31, 34, 50, 53, 69, 76, 81, 83, 89, 99, 101, 103];
const ISA_LEN: usize = 106;

impl Delimiters {
    /// Takes the delimiters out of an `ISA`; `None` when they are not distinct or no delimiters at all.
    fn of_isa(isa: &[u8; ISA_LEN]) -> Option<Delimiters> {
        let [_, _, _, element, ..] = *isa;
        let &[component, segment] = isa.last_chunk::<2>()?;
        let eleventh = isa.get(82).copied()?;
        let repetition = (!eleventh.is_ascii_alphanumeric()).then_some(eleventh);
        let found = Delimiters { element, component, repetition, segment };
        let marks = [Some(element), Some(component), repetition, Some(segment)];
        let distinct =
            marks.iter().flatten().all(|mark| marks.iter().flatten().filter(|other| *other == mark).count() == 1);
        let inner = marks.iter().take(3).flatten().all(|&mark| is_mark(mark));
        (distinct && inner && (is_mark(segment) || matches!(segment, b'\r' | b'\n'))).then_some(found)
    }

    fn is_one(&self, byte: u8) -> bool {
        byte == self.element || byte == self.component || Some(byte) == self.repetition || byte == self.segment
    }
}

/// What may be a delimiter: punctuation, and the separators of ASCII.
fn is_mark(byte: u8) -> bool {
    byte.is_ascii_punctuation() || (0x1c..0x20).contains(&byte)
}

/// Writes a text as it is, where that is possible.
pub(super) fn write(text: &[u8], delimiters: &Delimiters, level: Level, out: &mut Vec<u8>) -> Result<(), NotWritable> {
    let inside = |byte: u8| level == Level::Element && byte == delimiters.component;
    let fits = |&byte: &u8| inside(byte) || !(byte.is_ascii_control() || delimiters.is_one(byte));
    if !text.iter().all(fits) || std::str::from_utf8(text).is_err() {
        return Err(NotWritable);
    }
    out.extend_from_slice(text);
    Ok(())
}
