//! What a rewriter shows to its caller.

use std::fmt;
use std::ops::Range;

use super::escape::Escape;
use super::json::Frame;

/// A value or a member name that waits for `keep` or `replace`.
///
/// It borrows from the rewriter: nothing is copied. It holds content, so it cannot be cloned and its `Debug` says only
/// what kind of thing it is and where.
pub struct Slot<'a> {
    pub(super) rule: Option<usize>,
    pub(super) place: Place,
    pub(super) kind: Kind,
    pub(super) raw: &'a [u8],
    pub(super) text: Option<&'a [u8]>,
    pub(super) start: u64,
    pub(super) escape: Escape,
    pub(super) frames: &'a [Frame],
    /// In XML, where the elements start that it is about, from the outside in.
    pub(super) elements: &'a [u64],
    pub(super) role: Role,
    pub(super) piece: Option<Piece>,
    pub(super) holds_watched: bool,
    pub(super) inner_rules: &'a [usize],
    pub(super) is_test: bool,
}

/// Where in the grammar a slot stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// A member value, an array element, a field, an attribute and so on, or the whole document.
    Value,
    /// The name of one; its kind is always `Text`.
    Name,
}

/// Which piece of a file a slot holds. A file that is empty is one piece, the first and the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Piece {
    /// Whether the file begins with it.
    pub first: bool,
    /// Whether the file ends with it.
    pub last: bool,
}

/// What a slot is to its rule. Where a sealed value has to stand in an extension of a FHIR primitive
/// (<https://hl7.org/fhir/R4/json.html#primitive>) three things belong together, all others are values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// The value itself.
    Value,
    /// The value itself, `birthDate`, which cannot hold what it becomes.
    Primitive,
    /// The start of the object beside it, `_birthDate`.
    Companion,
    /// The sealed value in that object.
    Carried,
}

/// What kind of value a slot holds: any in JSON, `Text` everywhere else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A string.
    Text,
    /// A number, of any size and precision.
    Number,
    /// `true` or `false`.
    Boolean,
    /// `null`.
    Null,
    /// An object, whole.
    Object,
    /// An array, whole.
    Array,
}

impl<'a> Slot<'a> {
    /// A text in a format other than JSON.
    pub(super) fn of_text(
        rule: Option<usize>,
        place: Place,
        (raw, start): (&'a [u8], u64),
        text: &'a [u8],
        escape: Escape,
    ) -> Self {
        let (kind, text) = (Kind::Text, Some(text));
        Slot {
            rule,
            place,
            kind,
            raw,
            text,
            start,
            escape,
            frames: &[],
            elements: &[],
            role: Role::Value,
            piece: None,
            holds_watched: false,
            inner_rules: &[],
            is_test: false,
        }
    }

    /// A piece of a file, which is bytes and has no text.
    pub(super) fn of_piece(rule: usize, (raw, start): (&'a [u8], u64), piece: Piece, escape: Escape) -> Self {
        let slot = Slot::of_text(Some(rule), Place::Value, (raw, start), &[], escape);
        Slot { text: None, piece: Some(piece), ..slot }
    }

    /// The rule that selects the value, as its index in the slice the rules were compiled from.
    ///
    /// `None` for a stray: a string or name that no rule selects, shown because `Watch` said so.
    pub fn rule(&self) -> Option<usize> {
        self.rule
    }

    /// Where it stands.
    pub fn place(&self) -> Place {
        self.place
    }

    /// Of a file that is yielded in pieces: which one this is. They come in order, with nothing between them.
    pub fn piece(&self) -> Option<Piece> {
        self.piece
    }

    /// What it is to its rule.
    pub fn role(&self) -> Role {
        self.role
    }

    /// Where what it stands in starts, `up` levels up: 0 is the innermost object or array. In XML only of a sealed primitive: 0 is
    /// the extension that carries it, 2 the primitive; of one that is not sealed yet 0 is the primitive.
    pub fn around(&self, up: usize) -> Option<u64> {
        if !self.elements.is_empty() {
            return self.elements.iter().rev().nth(up).copied();
        }
        self.frames.iter().rev().nth(up).map(|frame| frame.start)
    }

    /// Whether that is an array, or an element that may stand several times.
    pub fn is_listed(&self, up: usize) -> bool {
        !self.elements.is_empty() || self.frames.iter().rev().nth(up).is_some_and(|frame| !frame.object)
    }

    /// What it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The bytes as written, quotes included that a replacement brings too. Checked: grammar and encoding are right.
    pub fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// The content of a `Text`, escapes undone, as WTF-8: UTF-8 but for lone surrogates, which stand as three bytes each.
    pub fn text(&self) -> Option<&'a [u8]> {
        self.text
    }

    /// How what takes its place is written.
    pub fn escape(&self) -> Escape {
        self.escape
    }

    /// Where `raw` stands in the input, in bytes from its start.
    pub fn range(&self) -> Range<u64> {
        self.start..self.start + self.raw.len() as u64
    }

    /// Which element it stands in of each array around it, counted from 0, outermost array first. Of an array element the last
    /// is its own. Objects count for nothing.
    pub fn indices(&self) -> impl Iterator<Item = u64> + use<'a> {
        self.frames.iter().filter(|frame| !frame.object).map(|frame| frame.index)
    }

    /// Where the object or array starts that holds it `depth` levels below the top of the document, in bytes from the start of
    /// the input; `None` when it stands no deeper than that. No two objects or arrays of a body start at one place, so this
    /// tells them apart even when they have the same name.
    pub(in crate::document) fn container(&self, depth: usize) -> Option<u64> {
        self.frames.get(depth).map(|frame| frame.start)
    }

    /// Whether what holds it `depth` levels below the top of the document is an array.
    pub(in crate::document) fn is_in_array(&self, depth: usize) -> bool {
        self.frames.get(depth).is_some_and(|frame| !frame.object)
    }

    /// Whether it stands in the value of a `test` of a JSON Patch (RFC 6902 4.6), which is compared and stored nowhere.
    pub fn is_test(&self) -> bool {
        self.is_test
    }

    /// Whether an `Object` or `Array` holds, at any depth, a string or a member name for which `Watch` is true.
    pub fn holds_watched(&self) -> bool {
        self.holds_watched
    }

    /// The rules that select something inside an `Object` or `Array` that is selected itself, each once. What they select is
    /// not yielded by itself: the outermost value is.
    pub fn inner_rules(&self) -> &'a [usize] {
        self.inner_rules
    }
}

impl fmt::Debug for Slot<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slot")
            .field("rule", &self.rule)
            .field("place", &self.place)
            .field("kind", &self.kind)
            .field("range", &self.range())
            .finish_non_exhaustive()
    }
}
