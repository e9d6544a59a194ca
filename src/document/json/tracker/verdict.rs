//! What the rules say of one value.

/// What the rules say of a value.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::document::json) struct Verdict {
    pub(super) path: u32,
    pub(super) bits: u16,
}

pub(super) const NO_PATH: u32 = u32::MAX;

/// Something below the value may be selected.
pub(super) const LIVE: u16 = 1;
/// Whether it is selected, or what below it is, depends on what is inside.
pub(super) const ASKS: u16 = 2;
/// A resource may stand here.
pub(super) const PLACE: u16 = 4;
/// The path that selects it means the elements of an array, not the array.
pub(super) const ELEMENTS: u16 = 8;
/// It is the value of a member that tells the type of a resource.
pub(super) const KIND: u16 = 16;
/// Its name is that of a ruled member but for the case.
pub(super) const ALIKE: u16 = 32;
/// What selects it is a path that lets it pass.
pub(super) const PASSES: u16 = 64;
/// It may have to be moved within its object.
pub(super) const MOVES: u16 = 128;
/// Nothing but a resource may stand here.
pub(super) const CONTAINED: u16 = 256;

impl Verdict {
    /// Not selected, and nothing below it is.
    pub(in crate::document::json) const NOTHING: Verdict = Verdict { path: NO_PATH, bits: 0 };

    /// The path that selects the value.
    #[inline]
    pub(in crate::document::json) fn path(self) -> Option<u32> {
        (self.path != NO_PATH && !self.has(PASSES)).then_some(self.path)
    }

    /// Whether something below it may be selected.
    #[inline]
    pub(in crate::document::json) fn live(self) -> bool {
        self.has(LIVE)
    }

    /// Whether the rules have to look into it, if it is an object.
    #[inline]
    pub(in crate::document::json) fn asks(self) -> bool {
        self.has(ASKS | PLACE)
    }

    /// Whether tests are to be made in it.
    pub(in crate::document::json) fn is_tested(self) -> bool {
        self.has(ASKS)
    }

    /// Whether a resource may stand there.
    pub(in crate::document::json) fn is_place(self) -> bool {
        self.has(PLACE)
    }

    /// Whether nothing but a resource may stand there.
    pub(in crate::document::json) fn is_contained(self) -> bool {
        self.has(CONTAINED)
    }

    /// Whether it is selected by a path that means the elements, should it be an array.
    pub(in crate::document::json) fn means_elements(self) -> bool {
        self.has(ELEMENTS)
    }

    /// Whether the object that it stands in has to be there whole for it.
    #[inline]
    pub(in crate::document::json) fn moves(self) -> bool {
        self.has(MOVES)
    }

    /// Whether nothing is selected, below it neither, and nothing is to be looked into.
    #[inline]
    pub(super) fn is_nothing(self) -> bool {
        self.path == NO_PATH && !self.has(LIVE | ASKS | PLACE)
    }

    /// Whether something below it may be selected, and there is nothing else to it.
    #[inline]
    pub(in crate::document::json) fn is_just_live(self) -> bool {
        self.path == NO_PATH && self.bits == LIVE
    }

    /// Whether it does whatever stands there.
    #[inline]
    pub(in crate::document::json) fn matters(self) -> bool {
        self.path().is_some() || self.has(MOVES | ELEMENTS)
    }

    /// Whether there is something about its name that has to be looked into.
    #[inline]
    pub(in crate::document::json) fn is_odd(self) -> bool {
        self.has(KIND | ALIKE)
    }

    pub(in crate::document::json) fn is_kind(self) -> bool {
        self.has(KIND)
    }

    pub(in crate::document::json) fn is_alike(self) -> bool {
        self.has(ALIKE)
    }

    #[inline]
    pub(super) fn has(self, bits: u16) -> bool {
        self.bits & bits != 0
    }

    pub(super) fn with(self, bits: u16, is_set: bool) -> Verdict {
        Verdict { bits: if is_set { self.bits | bits } else { self.bits }, ..self }
    }

    pub(super) fn without(self, bits: u16) -> Verdict {
        Verdict { bits: self.bits & !bits, ..self }
    }
}
