//! Where watched strings may be, looked for ahead of the blocks that are read.

use crate::document::Watch;
use crate::document::json::blocks::LEN;

/// Where there are no marks for which strings are watched.
#[derive(Default)]
pub(super) struct Marks {
    /// How long the input was that has been looked through.
    len: usize,
    /// None starts from here on.
    from: usize,
    /// And before this.
    to: usize,
}

impl Marks {
    /// How far ahead they are looked for: what has marks all over is not looked through again for each of them.
    const AHEAD: usize = 32 * LEN;

    /// Whether one starts in the block at `at`.
    #[inline(always)]
    pub(super) fn is_in(&mut self, watch: Watch, view: &[u8], at: usize) -> bool {
        let end = at.saturating_add(LEN);
        if self.len != view.len() || at < self.from || end > self.to {
            self.find(watch, view, at);
        }
        end > self.to
    }

    #[inline(never)]
    fn find(&mut self, watch: Watch, view: &[u8], at: usize) {
        let rest = view.get(at..).unwrap_or_default();
        let ahead = rest.get(..Marks::AHEAD + Watch::MARK_BYTES_MAX);
        let clear = watch.mark(ahead.unwrap_or(rest)).unwrap_or(ahead.map_or(usize::MAX, |_| Marks::AHEAD));
        *self = Marks { len: view.len(), from: at, to: at.saturating_add(clear) };
    }
}
