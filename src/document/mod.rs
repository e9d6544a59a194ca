//! Which parts of a body are protected, and their replacement in place.
//!
//! Every format is a pull machine, a [`Rewrite`]: it yields a slot, waits, and takes the replacement; what no rule selects
//! leaves as it came, byte for byte. Nothing here knows cryptography, HTTP or a clock, and no error holds content of a
//! document.

pub mod bind;
pub mod csv;
mod escape;
mod fault;
pub mod fhir;
pub mod file;
pub mod form;
pub mod hl7v2;
pub mod html;
pub mod json;
mod marks;
pub mod multipart;
pub mod ndjson;
mod numbering;
pub mod pairing;
pub mod patch;
pub mod path;
mod slot;
mod stream;
mod tape;
#[cfg(test)]
mod testing;
pub mod text;
mod utf8;
pub mod x12;
pub mod xml;

pub use escape::{Escape, NotWritable};
pub use fault::Fault;
pub use slot::{Kind, Piece, Place, Role, Slot};

/// Bounds on what a document may ask for. Each has a fault of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How many objects, arrays or elements may be open at once.
    pub depth_max: usize,
    /// The longest value that is yielded, in bytes as written. Values that nobody asks for may be longer.
    pub value_bytes_max: usize,
    /// The largest object that must be seen whole before it is known what in it is selected, in bytes as written.
    pub object_bytes_max: usize,
    /// The longest name of a member, element, field or column, in bytes as written, quotes included. Holds for every one.
    pub name_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { depth_max: 128, value_bytes_max: 1 << 20, object_bytes_max: 1 << 20, name_bytes_max: 64 << 10 }
    }
}

/// Tells which decoded strings that no rule selects must be shown to the caller all the same.
///
/// It is asked about every name and about every string value but those that a rule selects, which the caller sees
/// anyway. The text is WTF-8. Of a string longer than `value_bytes_max` it sees that much of the beginning: if it says
/// yes the document is refused with [`Fault::ValueTooLong`], else the rest of the string passes unseen. What must be
/// found has to show at the start of a string.
#[derive(Clone, Copy, Debug)]
pub struct Watch {
    shows: fn(&[u8]) -> bool,
    mark: Option<FindMark>,
}

/// Tells where in some bytes the first mark starts that a [`Watch`] goes by.
pub type FindMark = fn(&[u8]) -> Option<usize>;

impl Watch {
    /// How long a mark may be.
    pub const MARK_BYTES_MAX: usize = 64;

    /// Asks about every string.
    #[must_use]
    pub const fn new(shows: fn(&[u8]) -> bool) -> Watch {
        Watch { shows, mark: None }
    }

    /// Asks about strings with a mark alone, so that many can be passed at once. `mark` tells where in some bytes, cut anywhere, the
    /// first one starts: at most [`MARK_BYTES_MAX`](Self::MARK_BYTES_MAX) that are one whatever is before them. Every text for which
    /// `shows` says yes must hold one. Strings with escapes are asked about as well.
    #[must_use]
    pub const fn marked(shows: fn(&[u8]) -> bool, mark: FindMark) -> Watch {
        Watch { shows, mark: Some(mark) }
    }

    fn shows(self, text_wtf8: &[u8]) -> bool {
        (self.shows)(text_wtf8)
    }

    /// Where in some bytes the first string may start or go on that has to be asked about for what is written in it.
    fn mark(self, bytes: &[u8]) -> Option<usize> {
        self.mark.map_or(Some(0), |mark| mark(bytes))
    }
}

/// What [`Rewrite::step`] came upon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// All input is used up: `feed` more, or `finish`.
    NeedInput,
    /// A slot waits, see [`Rewrite::slot`].
    Slot,
    /// The document is complete and valid, and so is the output.
    Done,
}

/// Rewrites one document: `feed`, `step`, answer each slot, `take_output`.
///
/// Input may be cut anywhere. Output may leave before the document has been seen whole: whoever passes it on must be able
/// to break off when a later step ends in a fault, or collect it until `Step::Done`.
pub trait Rewrite {
    /// Takes the next piece of the body, of any length. It is copied and held until steps have used it up.
    fn feed(&mut self, chunk: &[u8]);

    /// Says that no more input follows.
    fn finish(&mut self);

    /// Goes on to the next slot, or as far as the input reaches.
    ///
    /// While a slot has not been answered by `keep` or `replace`, this returns [`Step::Slot`] again.
    ///
    /// # Errors
    ///
    /// The first fault of the document; the same again from then on.
    fn step(&mut self) -> Result<Step, Fault>;

    /// The slot that waits, after [`Step::Slot`] and until it is answered.
    fn slot(&self) -> Option<Slot<'_>>;

    /// Leaves the waiting slot as it is. Without one, does nothing.
    fn keep(&mut self);

    /// Puts `written` in the place of the waiting slot. Without one, does nothing.
    ///
    /// It must be what the slot's [`Escape`] makes of a text or literal: it is not checked, and anything else may make the
    /// output invalid. It is not searched for slots. A replaced name has no influence on what the rules select; they go by
    /// the name that was there.
    fn replace(&mut self, written: &[u8]);

    /// The output that is final since the last call; empty when there is none. It never reaches past a waiting slot. Where
    /// every slot was kept it is the input.
    fn take_output(&mut self) -> Vec<u8>;

    /// The resources that came since the last call, by type, where rules go by that and the format is JSON: those that are
    /// contained in another are a part of it.
    fn take_resources(&mut self) -> Resources {
        Resources::default()
    }
}

/// How many resources there are of each type.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resources(Vec<(Box<str>, u64)>);

impl Resources {
    /// Counts more of a type.
    pub fn add(&mut self, kind: &str, more: u64) {
        match self.0.iter_mut().find(|(known, _)| **known == *kind) {
            Some((_, count)) => *count += more,
            None => self.0.push((kind.into(), more)),
        }
    }

    /// Adds it up with others.
    pub fn extend(&mut self, others: &Resources) {
        others.iter().for_each(|(kind, count)| self.add(kind, count));
    }

    /// Each type and its number, in the order in which they came first.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().map(|(kind, count)| (&**kind, *count))
    }
}
