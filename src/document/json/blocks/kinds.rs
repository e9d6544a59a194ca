//! The bytes of a block by kind, wherever they stand.

use fearless_simd::{Simd, SimdBase, SimdFrom, SimdMask, u8x64};

use super::LEN;

/// Where in a block bytes of a kind are, in strings too.
#[derive(Clone, Copy, Default)]
pub(super) struct Kinds {
    pub(super) quotes: u64,
    /// [`sums`] of these.
    pub(super) sums: u64,
    pub(super) opens: u64,
    pub(super) closes: u64,
    /// Braces, and what is no bracket.
    pub(super) braces: u64,
    pub(super) commas: u64,
    pub(super) colons: u64,
    /// White space; without tabs and carriage returns until those have been sorted out.
    pub(super) white: u64,
    /// Control characters; line feeds alone until those have been sorted out.
    pub(super) controls: u64,
    pub(super) slashes: u64,
    /// What is not ASCII.
    pub(super) others: u64,
    /// What is to be sorted out: backslashes, what is not ASCII, and control characters but for line feeds.
    pub(super) odd: u64,
}

impl Kinds {
    #[inline(always)]
    pub(super) fn of<S: Simd>(simd: S, block: &[u8; LEN]) -> Kinds {
        let bytes = u8x64::simd_from(simd, *block);
        let is = |byte: u8| bytes.simd_eq(u8x64::splat(simd, byte)).to_bitmask();
        // Brackets differ from braces by the bit of the case.
        let folded = bytes | u8x64::splat(simd, 0x20);
        let is_folded = |byte: u8| folded.simd_eq(u8x64::splat(simd, byte)).to_bitmask();
        let (slashes, feeds) = (is(b'\\'), is(b'\n'));
        let others = bytes.simd_ge(u8x64::splat(simd, 0x80)).to_bitmask();
        let controls = bytes.simd_lt(u8x64::splat(simd, b' ')).to_bitmask();
        let quotes = is(b'"');
        Kinds {
            quotes,
            sums: sums(quotes),
            opens: is_folded(b'{'),
            closes: is_folded(b'}'),
            braces: bytes.simd_ge(u8x64::splat(simd, b'{')).to_bitmask(),
            commas: is(b','),
            colons: is(b':'),
            white: is(b' ') | feeds,
            controls: feeds,
            slashes,
            others,
            odd: slashes | others | controls ^ feeds,
        }
    }
}

/// By bit, whether an odd number of bits is set up to there.
#[inline(always)]
pub(super) fn sums(bits: u64) -> u64 {
    [1, 2, 4, 8, 16, 32].iter().fold(bits, |sums, distance| sums ^ sums << distance)
}
