//! Where a run has come to, and what of a block it sees from there.

use crate::document::json::blocks::{Block, LEN};

/// Where a run has come to.
pub(super) struct Run<'a> {
    pub(super) view: &'a [u8],
    /// What has been dealt with of the block at hand.
    pub(super) done: u64,
    /// In the blocks before: the last comma, colon or bracket, and the start of the last string.
    pub(super) mark: Option<usize>,
    pub(super) string: usize,
    /// Of the innermost object or array.
    pub(super) is_object: bool,
    pub(super) live: bool,
    /// Whether it is an array in which the elements are not all the same to the rules.
    pub(super) is_indexed: bool,
    /// Whether the states live in the value at hand have not been noted, which are those in any member that no rule mentions.
    pub(super) is_late: bool,
    /// Whether somebody looks at names where nothing is live, whatever is written in them.
    pub(super) is_seen: bool,
    /// Whether somebody looks at the strings that end in the block at hand.
    pub(super) is_watched: bool,
    /// How many objects and arrays are open around those whose end nobody waits for.
    pub(super) awaited: usize,
}

impl Run<'_> {
    /// The tokens that are to be looked at wherever they are.
    #[inline(always)]
    pub(super) fn tokens(&self, block: &Block) -> u64 {
        let strings = if self.is_watched { block.after_string } else { 0 };
        block.opens | block.closes | block.words | block.late | strings
    }

    #[inline(always)]
    pub(super) fn bad(&self, block: &Block) -> u64 {
        if self.is_object { block.bad_in_object } else { block.bad_in_array }
    }

    /// The start of the string before a token, and that of the token.
    #[inline(always)]
    pub(super) fn string(&self, block: &Block, token: u64) -> (usize, usize) {
        let start = block.last(block.strings & token.wrapping_sub(1)).unwrap_or(self.string);
        (start, block.base.wrapping_add(token.trailing_zeros() as usize))
    }
}

impl Block {
    /// Where the last token of some is.
    #[inline(always)]
    pub(super) fn last(&self, tokens: u64) -> Option<usize> {
        (tokens != 0).then(|| self.base.wrapping_add((LEN - 1).wrapping_sub(tokens.leading_zeros() as usize)))
    }
}

/// The string at `at`, after which nothing but white space is before `next`.
#[inline(always)]
pub(super) fn string(view: &[u8], at: usize, next: usize) -> &[u8] {
    match view.get(at..next).unwrap_or_default() {
        string @ [.., b'"'] => string,
        more => more.get(..=more.iter().rposition(|byte| *byte == b'"').unwrap_or_default()).unwrap_or_default(),
    }
}
