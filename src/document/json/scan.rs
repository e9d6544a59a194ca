//! Scanning of single tokens: bytes in, positions out. No state is kept here, nothing is allocated.

use super::text::hex_unit;

/// Where the scan of a string came to rest.
pub(super) enum Reach {
    /// Just past the closing quote.
    Closed(usize),
    /// The bytes ran out; continue from here. An escape or character that is cut in two is left for the next time.
    Open(usize),
}

/// Why a string is none, and where.
pub(super) enum Flaw {
    Control(usize),
    Escape(usize),
    Utf8(usize),
}

/// Scans the inside of a string from `from`; sets `escaped` when there is a backslash.
#[inline]
pub(super) fn string(bytes: &[u8], from: usize, escaped: &mut bool) -> Result<Reach, Flaw> {
    let mut at = from;
    loop {
        at = skip_plain(bytes, at);
        match bytes.get(at) {
            Some(b'"') => return Ok(Reach::Closed(at + 1)),
            None => return Ok(Reach::Open(at)),
            Some(b'\\') => {
                *escaped = true;
                // Often one follows another.
                while bytes.get(at) == Some(&b'\\') {
                    match escape_len(bytes, at) {
                        Some(0) => return Err(Flaw::Escape(at)),
                        Some(len) => at += len,
                        None => return Ok(Reach::Open(at)),
                    }
                }
            }
            // Letters of Latin, Greek and Cyrillic, which stand alone or among others.
            Some(0xc2..0xe0) if matches!(bytes.get(at + 1), Some(0x80..0xc0)) => at += 2,
            Some(0x80..) => {
                let end = skip_inside(bytes, at);
                match std::str::from_utf8(bytes.get(at..end).unwrap_or_default()) {
                    Ok(_) => at = end,
                    Err(error) => {
                        at += error.valid_up_to();
                        let cut = error.error_len().is_none() && end == bytes.len();
                        return if cut { Ok(Reach::Open(at)) } else { Err(Flaw::Utf8(at)) };
                    }
                }
            }
            Some(_) => return Err(Flaw::Control(at)),
        }
    }
}

/// The length of the escape at `at`; 0 when it is none, `None` when it is cut.
pub(super) fn escape_len(bytes: &[u8], at: usize) -> Option<usize> {
    match bytes.get(at + 1)? {
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(2),
        b'u' => {
            let digits = bytes.get(at + 2..at + 6)?;
            Some(if hex_unit(digits).is_some() { 6 } else { 0 })
        }
        _ => Some(0),
    }
}

const ONES: u64 = u64::from_ne_bytes([1; 8]);
const TOPS: u64 = ONES << 7;

/// Bytes looked at two words at a time before the longer blocks begin.
const SHORT: usize = 64;

/// The first byte from `from` on that is a quote, a backslash, a control character or not ASCII.
#[inline(always)]
pub(super) fn skip_plain(bytes: &[u8], from: usize) -> usize {
    match bytes.get(from..).and_then(two_words) {
        Some(([first, second], _)) => {
            let first = special(first);
            if first != 0 {
                return from + byte_of(first);
            }
            let second = special(second);
            if second != 0 {
                return from + 8 + byte_of(second);
            }
            skip_more_plain(bytes, from + 16)
        }
        None => skip_more_plain(bytes, from),
    }
}

fn skip_more_plain(bytes: &[u8], from: usize) -> usize {
    let mut rest = bytes.get(from..).unwrap_or_default();
    let mut at = from;
    while let Some(([first, second], tail)) = two_words(rest) {
        let (first, second) = (special(first), special(second));
        if first | second != 0 {
            return at + if first != 0 { byte_of(first) } else { 8 + byte_of(second) };
        }
        at += 16;
        rest = tail;
        if at - from == SHORT {
            let long = skip_blocks(rest, |b| b.cast_signed() >= 0x20 && b != b'"' && b != b'\\');
            at += long;
            rest = rest.get(long..).unwrap_or_default();
        }
    }
    let special = |&b: &u8| !matches!(b, 0x20..0x80) || b == b'"' || b == b'\\';
    at + rest.iter().position(special).unwrap_or(rest.len())
}

/// Sets the top bit of the first special byte of a word, and maybe of others after it.
fn special(word: u64) -> u64 {
    let quote = (word ^ (ONES * 0x22)).wrapping_sub(ONES);
    let slash = (word ^ (ONES * 0x5c)).wrapping_sub(ONES);
    let control = word.wrapping_sub(ONES * 0x20);
    (quote | slash | control | word) & TOPS
}

/// Which byte of a word, in memory order, holds its lowest bit.
fn byte_of(bits: u64) -> usize {
    (bits.trailing_zeros() / 8) as usize
}

fn two_words(bytes: &[u8]) -> Option<([u64; 2], &[u8])> {
    let (pair, tail) = bytes.split_first_chunk::<16>()?;
    let (first, second) = (pair.first_chunk::<8>()?, pair.last_chunk::<8>()?);
    Some(([u64::from_le_bytes(*first), u64::from_le_bytes(*second)], tail))
}

/// The first byte from `from` on that is a quote, a backslash or a control character.
pub(super) fn skip_inside(bytes: &[u8], from: usize) -> usize {
    let rest = bytes.get(from..).unwrap_or_default();
    let blocks = skip_blocks(rest, |b| b >= 0x20 && b != b'"' && b != b'\\');
    let rest = rest.get(blocks..).unwrap_or_default();
    let special = |&b: &u8| b < 0x20 || b == b'"' || b == b'\\';
    from + blocks + rest.iter().position(special).unwrap_or(rest.len())
}

/// How many bytes at the start lie in whole blocks that are plain throughout. Written so that it compiles to vectors.
#[inline(always)]
fn skip_blocks(bytes: &[u8], plain: impl Fn(u8) -> bool) -> usize {
    let (blocks, _) = bytes.as_chunks::<32>();
    let full = |block: &&[u8; 32]| block.iter().fold(true, |all, &b| all & plain(b));
    blocks.iter().take_while(full).count() * 32
}

/// The first byte from `from` on that is not white space.
#[inline]
pub(super) fn skip_space(bytes: &[u8], from: usize) -> usize {
    match bytes.get(from) {
        Some(b'!'..) => from,
        Some(b' ') if matches!(bytes.get(from + 1), Some(b'!'..)) => from + 1,
        _ => skip_more_space(bytes, from),
    }
}

fn skip_more_space(bytes: &[u8], from: usize) -> usize {
    let mut at = from;
    while let Some(b' ' | b'\n' | b'\r' | b'\t') = bytes.get(at) {
        at += 1;
        // Indentation.
        while let Some(([first, second], _)) = bytes.get(at..).and_then(two_words) {
            let (first, second) = (first ^ (ONES * 0x20), second ^ (ONES * 0x20));
            if first | second != 0 {
                at += if first != 0 { byte_of(first) } else { 8 + byte_of(second) };
                break;
            }
            at += 16;
        }
    }
    at
}

/// How much of a number has been read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Digits {
    /// Nothing yet.
    None,
    Minus,
    Zero,
    Whole,
    Point,
    Fraction,
    E,
    Sign,
    Exponent,
}

impl Digits {
    /// Whether the number may end here.
    pub(super) fn complete(self) -> bool {
        matches!(self, Digits::Zero | Digits::Whole | Digits::Fraction | Digits::Exponent)
    }
}

/// Scans a number from `from`; returns where it stops, with `digits` saying how far it came.
#[inline]
pub(super) fn number(bytes: &[u8], from: usize, digits: &mut Digits) -> usize {
    let mut at = from;
    while let Some(&byte) = bytes.get(at) {
        *digits = match (*digits, byte) {
            (Digits::None, b'-') => Digits::Minus,
            (Digits::None | Digits::Minus, b'0') => Digits::Zero,
            (Digits::None | Digits::Minus | Digits::Whole, b'0'..=b'9') => Digits::Whole,
            (Digits::Zero | Digits::Whole, b'.') => Digits::Point,
            (Digits::Point | Digits::Fraction, b'0'..=b'9') => Digits::Fraction,
            (Digits::Zero | Digits::Whole | Digits::Fraction, b'e' | b'E') => Digits::E,
            (Digits::E, b'+' | b'-') => Digits::Sign,
            (Digits::E | Digits::Sign | Digits::Exponent, b'0'..=b'9') => Digits::Exponent,
            _ => return at,
        };
        at += 1;
        if matches!(digits, Digits::Whole | Digits::Fraction | Digits::Exponent) {
            while let Some(b'0'..=b'9') = bytes.get(at) {
                at += 1;
            }
        }
    }
    at
}

/// Whether a number, `true`, `false` or `null` starts at `at`, with `byte`, of which all is there, and what ends it.
#[inline(always)]
pub(super) fn is_word(bytes: &[u8], at: usize, byte: u8) -> bool {
    let literal = |word: &[u8]| bytes.get(at..).is_some_and(|rest| rest.starts_with(word)).then_some(at + word.len());
    let end = match byte {
        b't' => literal(b"true"),
        b'f' => literal(b"false"),
        b'n' => literal(b"null"),
        _ => {
            let mut digits = Digits::None;
            let end = number(bytes, at, &mut digits);
            digits.complete().then_some(end)
        }
    };
    let after = end.and_then(|end| bytes.get(end));
    matches!(after, Some(b',' | b'}' | b']' | b' ' | b'\n' | b'\r' | b'\t'))
}

/// Whether a text is a number (RFC 8259 6) and nothing else.
#[must_use]
pub fn is_number(text: &[u8]) -> bool {
    let mut digits = Digits::None;
    number(text, 0, &mut digits) == text.len() && digits.complete()
}

/// Whether a text is a number, `true` or `false` of RFC 8259.
pub fn is_literal(text: &[u8]) -> bool {
    matches!(text, b"true" | b"false") || is_number(text)
}

/// How many bytes of `word` stand at the start of `bytes`.
pub(super) fn common(bytes: &[u8], word: &[u8]) -> usize {
    bytes.iter().zip(word).take_while(|(a, b)| a == b).count()
}
