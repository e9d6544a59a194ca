//! The grammar of a document between brackets, checked for 64 bytes at once. Here and below a word has a bit for each byte of a
//! block, the first in the lowest.
//!
//! What touches vectors is inlined up to where `dispatch!` compiles it for each level: in a function of its own it would be
//! compiled without the instructions of the level.

mod kinds;

use fearless_simd::{Level, Simd, SimdBase, SimdFrom, SimdMask, u8x64};

use kinds::{Kinds, sums};

use super::scan;

/// How many bytes a block has: as many as a word has bits.
pub(super) const LEN: usize = 64;

/// Which vectors the processor has, or is said to have by a test.
pub(super) fn level() -> Level {
    #[cfg(test)]
    if let Some(level) = super::tests::levels::forced() {
        return level;
    }
    Level::new()
}

/// What is right before the place at which blocks begin to be read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Before {
    Open,
    Comma,
    Colon,
    Value,
}

/// Some input in blocks, from a place outside of strings on.
pub(super) struct Blocks<'a, S> {
    simd: S,
    view: &'a [u8],
    next: usize,
    /// All bits, if the last block that was read ends inside of a string; else none.
    inside: u64,
    /// The lowest bit, if it ends within a word.
    word: u64,
    /// The lowest bit of one of these, if the last token in it is one of the kind.
    start: u64,
    colon: u64,
    name: u64,
    string: u64,
    /// Whether nothing starts in it.
    is_gap: bool,
    is_watched: bool,
    odd: Odd,
    /// Of the block that is next, if it is a whole one: found while the processor still waits for what is told of the one before.
    ahead: Kinds,
}

/// What is known of backslashes and of what is not ASCII.
struct Odd {
    /// The lowest bit, if the last block that was read ends with a backslash that escapes what follows.
    escaped: u64,
    /// The lowest bit, if it ends with the first half of a character of two bytes.
    half: u64,
    /// What is not ASCII has been checked before this.
    checked: usize,
    /// From here on there are no backslashes and nothing but ASCII, as far as blocks were read.
    plain: usize,
}

/// Where the tokens of a block start, by kind, and where something is wrong.
///
/// Where nothing is wrong up to some token, all strings before it are closed and valid, and what is between brackets follows
/// the grammar. Words and brackets have to be looked at.
#[derive(Clone, Copy)]
pub(super) struct Block {
    pub(super) base: usize,
    pub(super) opens: u64,
    pub(super) closes: u64,
    /// Which of these are braces.
    pub(super) braces: u64,
    pub(super) commas: u64,
    pub(super) colons: u64,
    /// Strings.
    pub(super) strings: u64,
    /// Numbers, `true` and the like, and what is nothing.
    pub(super) words: u64,
    /// What follows on strings, if anybody may look at these.
    pub(super) after_string: u64,
    /// Whether there are backslashes.
    pub(super) has_escapes: bool,
    /// What follows on what does not end a value: it may be the end of an object or array that is empty.
    pub(super) wanted: u64,
    /// Colons after names that may be longer than two blocks.
    pub(super) late: u64,
    /// What may not stand there in an object.
    pub(super) bad_in_object: u64,
    /// What may not stand there in an array.
    pub(super) bad_in_array: u64,
}

impl<'a, S: Simd> Blocks<'a, S> {
    #[inline(always)]
    pub(super) fn new(simd: S, view: &'a [u8], from: usize, before: Before, is_watched: bool) -> Blocks<'a, S> {
        let mut ahead = Kinds::default();
        if let Some(block) = view.get(from..).unwrap_or_default().first_chunk() {
            ahead = Kinds::of(simd, block);
        }
        Blocks {
            simd,
            view,
            next: from,
            inside: 0,
            word: 0,
            start: u64::from(before == Before::Open || before == Before::Comma),
            colon: u64::from(before == Before::Colon),
            name: 0,
            string: 0,
            is_gap: false,
            is_watched,
            odd: Odd { escaped: 0, half: 0, checked: from, plain: from },
            ahead,
        }
    }

    /// Whether a string that starts at `at` and was passed is known to be in ASCII and without escapes.
    #[inline(always)]
    pub(super) fn is_plain(&self, at: usize) -> bool {
        at >= self.odd.plain
    }

    /// Whether a string has started after which nothing has come yet but white space.
    #[inline(always)]
    pub(super) fn is_after_string(&self) -> bool {
        self.string != 0
    }

    /// The next block, if there is one.
    #[inline(always)]
    pub(super) fn read(&mut self) -> Option<Block> {
        let rest = self.view.get(self.next..).unwrap_or_default();
        let filled;
        let block = match rest.first_chunk() {
            Some(block) => block,
            None if rest.is_empty() => return None,
            None => {
                filled = fill(rest);
                self.ahead = Kinds::of(self.simd, &filled);
                &filled
            }
        };
        let base = self.next;
        self.next = base.wrapping_add(LEN);
        let mut kinds = self.ahead;
        if let Some(next) = rest.get(LEN..).unwrap_or_default().first_chunk() {
            self.ahead = Kinds::of(self.simd, next);
        }
        let mut bad = 0;
        if kinds.odd | self.odd.escaped | self.odd.half != 0 {
            bad = self.sort_out(&mut kinds, base, block);
        }
        // From each opening quote on, up to before the one that closes.
        let inside = kinds.sums ^ self.inside;
        self.inside = 0_u64.wrapping_sub(inside >> (LEN - 1));
        bad |= kinds.controls & inside;
        let outside = !(inside | kinds.quotes);
        let strings = kinds.quotes & inside;
        let (opens, closes) = (kinds.opens & outside, kinds.closes & outside);
        let (commas, colons) = (kinds.commas & outside, kinds.colons & outside);
        let marks = opens | closes | commas | colons;
        let in_words = outside & !(marks | kinds.white);
        let words = in_words & !(in_words << 1 | self.word);
        self.word = in_words >> (LEN - 1);

        let values = strings | words | opens;
        let gaps = !(values | marks);
        let started = follow(opens | commas, gaps, &mut self.start);
        let after_colon = follow(colons, gaps, &mut self.colon);
        // In an object.
        let after_name = follow(strings & started, gaps, &mut self.name);
        let after_string = if self.is_watched { follow(strings, gaps, &mut self.string) } else { 0 };
        let late = if self.is_gap { colons } else { 0 };
        self.is_gap = gaps == u64::MAX;
        let wanted = started | after_colon;
        bad |= (values ^ wanted) & !closes;
        let bad_in_object = bad | started & !(strings | closes) | colons ^ after_name;
        Some(Block {
            base,
            opens,
            closes,
            braces: kinds.braces,
            commas,
            colons,
            strings,
            words,
            after_string,
            has_escapes: kinds.slashes != 0,
            wanted,
            late,
            bad_in_object,
            bad_in_array: bad | colons,
        })
    }

    /// Sorts out what of a block is odd; tells where something is wrong.
    #[inline(always)]
    fn sort_out(&mut self, kinds: &mut Kinds, base: usize, block: &[u8; LEN]) -> u64 {
        if kinds.slashes | kinds.others != 0 {
            self.odd.plain = self.next.wrapping_sub((kinds.slashes | kinds.others).leading_zeros() as usize);
        }
        let mut half = std::mem::take(&mut self.odd.half);
        if kinds.others | half != 0 && self.is_of_halves(block, kinds.others, base, half) {
            kinds.odd &= !kinds.others;
            (kinds.others, half) = (0, 0);
        }
        if kinds.odd | self.odd.escaped | half != 0 {
            let looked = self.odd.look(self.view, base, block, (kinds.odd, kinds.slashes, kinds.others, half));
            kinds.quotes &= !looked.escaped;
            kinds.sums = sums(kinds.quotes);
            kinds.white |= looked.white;
            kinds.controls |= looked.controls;
            return looked.bad;
        }
        0
    }

    /// Whether what is not ASCII in a block is characters of two bytes, as letters of Latin, Greek and Cyrillic are. `half` is the
    /// lowest bit if the block before ends within one.
    #[inline(always)]
    fn is_of_halves(&mut self, block: &[u8; LEN], others: u64, base: usize, half: u64) -> bool {
        let bytes = u8x64::simd_from(self.simd, *block);
        let below = |byte: u8| bytes.simd_lt(u8x64::splat(self.simd, byte)).to_bitmask();
        let seconds = below(0xc0) & others;
        let firsts = below(0xe0) & !below(0xc2);
        let is_so = firsts | seconds == others && seconds == firsts << 1 | half && self.odd.checked <= base;
        if is_so {
            self.odd.half = firsts >> (LEN - 1);
        }
        is_so
    }
}

/// What a closer look found: which quotes are escaped, what else is white space or a control character, and where escapes and
/// characters are not valid, or cut.
#[derive(Default)]
struct Looked {
    escaped: u64,
    white: u64,
    controls: u64,
    bad: u64,
}

impl Odd {
    /// Looks at a block with backslashes, control characters or what is not ASCII.
    #[inline(never)]
    fn look(
        &mut self,
        view: &[u8],
        base: usize,
        block: &[u8; LEN],
        (odd, slashes, mut others, half): (u64, u64, u64, u64),
    ) -> Looked {
        let mut looked = Looked::default();
        if odd & !(slashes | others) != 0 {
            looked.white = bits(block, |byte| matches!(byte, b'\t' | b'\r'));
            looked.controls = bits(block, |byte| byte < b' ');
        }
        looked.escaped = self.escaped;
        let mut escapes = slashes & !looked.escaped;
        self.escaped = 0;
        while escapes != 0 {
            let escape = lowest(escapes);
            if !matches!(scan::escape_len(view, base + escape.trailing_zeros() as usize), Some(1..)) {
                looked.bad |= escape;
            }
            looked.escaped |= escape << 1;
            self.escaped = escape >> (LEN - 1);
            escapes &= !(escape | escape << 1);
        }
        if half != 0 {
            if !matches!(block, [0x80..0xc0, ..]) {
                looked.bad |= 1;
                return looked;
            }
            self.checked = base + 1;
            others &= !1;
        }
        while others != 0 {
            let at = base + others.trailing_zeros() as usize;
            if at >= self.checked {
                self.checked = at + valid_len(view.get(at..).unwrap_or_default());
            }
            if at >= self.checked {
                looked.bad |= lowest(others);
                return looked;
            }
            let checked = self.checked - base;
            others = if checked < LEN { others & u64::MAX << checked } else { 0 };
        }
        looked
    }
}

impl Block {
    /// Commas, colons and brackets.
    #[inline(always)]
    pub(super) fn marks(&self) -> u64 {
        self.opens | self.closes | self.commas | self.colons
    }
}

/// How much of the beginning is valid and not ASCII. Looks no further than a block is long, so that what is ahead costs little
/// even if it is looked at again and again.
fn valid_len(bytes: &[u8]) -> usize {
    let len = bytes.iter().take(LEN).position(u8::is_ascii).unwrap_or(bytes.len().min(LEN));
    match std::str::from_utf8(bytes.get(..len).unwrap_or_default()) {
        Ok(_) => len,
        Err(error) => error.valid_up_to(),
    }
}

/// The tokens that follow on some, where there is nothing in gaps. `late` is the lowest bit if one comes from the block before; it
/// is told for the next.
#[inline(always)]
fn follow(tokens: u64, gaps: u64, late: &mut u64) -> u64 {
    // Carries run through the gaps. (In one wide word: else these sums are put in vectors, which takes longer.)
    let sum = (u128::from(tokens) << 1 | u128::from(*late)).wrapping_add(u128::from(gaps));
    *late = u64::try_from(sum >> LEN).unwrap_or_default();
    u64::try_from(sum & u128::from(u64::MAX)).unwrap_or_default() & !gaps
}

/// Where in a block bytes are of a kind that is rare.
fn bits(block: &[u8; LEN], is: impl Fn(u8) -> bool) -> u64 {
    block.iter().rev().fold(0, |bits, &byte| bits << 1 | u64::from(is(byte)))
}

/// The lowest bit that is set.
#[inline(always)]
pub(super) fn lowest(bits: u64) -> u64 {
    bits & bits.wrapping_neg()
}

/// A block that goes on with blanks.
#[inline(never)]
fn fill(rest: &[u8]) -> [u8; LEN] {
    let mut block = [b' '; LEN];
    block.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
    block
}
