//! What a document shows of itself.

use crate::document::{Escape, Place, Role, Slot};
use std::ops::Range;

/// What waits to be answered.
pub(super) struct Found {
    pub(super) rule: Option<usize>,
    pub(super) place: Place,
    pub(super) range: Range<u64>,
    /// `None` when it is as written.
    pub(super) text: Option<Vec<u8>>,
    pub(super) escape: Escape,
    pub(super) watched: bool,
    pub(super) inner: Vec<usize>,
    pub(super) role: Role,
    /// The elements that it is about: the primitive, twice, and the extension in it; or the primitive alone.
    pub(super) around: Vec<u64>,
}

impl Found {
    pub(super) fn new(rule: Option<usize>, range: Range<u64>, text: Option<Vec<u8>>, escape: Escape) -> Found {
        let (place, role) = (Place::Value, Role::Value);
        Found { rule, place, range, text, escape, watched: false, inner: Vec::new(), role, around: Vec::new() }
    }

    /// From where on the input is needed to replace it.
    pub(super) fn start(&self) -> u64 {
        self.around.first().copied().unwrap_or(self.range.start)
    }

    /// `raw`: what stands there.
    pub(super) fn slot<'a>(&'a self, raw: &'a [u8]) -> Slot<'a> {
        let text = self.text.as_deref().unwrap_or(raw);
        Slot {
            holds_watched: self.watched,
            inner_rules: &self.inner,
            role: self.role,
            elements: &self.around,
            ..Slot::of_text(self.rule, self.place, (raw, self.range.start), text, self.escape)
        }
    }
}
