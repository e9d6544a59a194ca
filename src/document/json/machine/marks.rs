//! Where watched strings may be, looked for ahead of the blocks that are read.

use crate::document::Watch;
use crate::document::json::blocks::LEN;

/// Where there are no marks for which strings are watched.
pub(super) struct Marks {
    /// How long the input was that has been looked through.
    len: usize,
    /// None starts from here on.
    from: usize,
    /// And before this.
    to: usize,
    /// Whether one starts there.
    found: bool,
    /// How many blocks will be looked through the next time, less one: the fewer, the closer together marks are. What has them all over
    /// is not looked through again for each.
    ahead: usize,
}

impl Marks {
    const AHEAD_MAX: usize = 31;

    pub(super) const NONE: Marks = Marks { len: usize::MAX, from: 0, to: 0, found: false, ahead: Marks::AHEAD_MAX };

    /// The input has changed.
    pub(super) fn forget(&mut self) {
        self.len = usize::MAX;
    }

    /// Whether one starts in the block at `at`.
    #[inline(always)]
    pub(super) fn is_in(&mut self, watch: Watch, view: &[u8], at: usize) -> bool {
        let end = at.saturating_add(LEN);
        let is_known = self.len == view.len() && self.from <= at && (end <= self.to || self.found && at <= self.to);
        if !is_known {
            self.find(watch, view, at);
        }
        end > self.to
    }

    #[inline(never)]
    fn find(&mut self, watch: Watch, view: &[u8], at: usize) {
        let rest = view.get(at..).unwrap_or_default();
        let len = (self.ahead + 1) * LEN;
        let ahead = rest.get(..len + Watch::MARK_BYTES_MAX);
        let mark = watch.mark(ahead.unwrap_or(rest));
        let clear = mark.unwrap_or(ahead.map_or(usize::MAX, |_| len));
        let found = mark.is_some();
        let ahead = if found { self.ahead / 2 } else { (self.ahead * 2 + 1).min(Marks::AHEAD_MAX) };
        *self = Marks { len: view.len(), from: at, to: at.saturating_add(clear), found, ahead };
    }
}
