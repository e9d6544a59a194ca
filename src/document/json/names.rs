//! The member names that paths mention.

use std::collections::HashMap;

/// From member names to rows. Names of documents are only looked up, never stored, so the hash need not resist floods:
/// the longest search is bounded by the configuration.
#[derive(Default)]
pub(super) struct Names {
    entries: Vec<(Box<[u8]>, usize)>,
    /// Open addressing; a place holds an entry's index plus one, or 0.
    places: Vec<usize>,
    /// By how a name begins, but for the case: the lengths of such names, a bit each.
    lengths: Vec<u64>,
    /// Rows by what the names are to servers that fold more than the case of ASCII letters.
    folded: HashMap<Box<str>, usize>,
}

impl Names {
    /// Whether the name is new.
    pub(super) fn insert(&mut self, name: &[u8], row: usize) -> bool {
        let fresh = !self.entries.iter().any(|(known, _)| **known == *name);
        if fresh {
            self.entries.push((name.into(), row));
        }
        fresh
    }

    pub(super) fn build(&mut self) {
        let size = (self.entries.len() * 4).next_power_of_two();
        self.places = vec![0; size];
        self.folded = self.entries.iter().map(|(name, row)| (fold(name), *row)).collect();
        self.lengths = vec![0; BEGINNINGS];
        for (name, _) in &self.entries {
            if let Some(lengths) = self.lengths.get_mut(beginning(name)) {
                *lengths |= 1 << name.len().min(63);
            }
        }
        for (index, (name, _)) in self.entries.iter().enumerate() {
            let mut place = hash(name.len(), ends(name));
            while let Some(taken) = self.places.get_mut(place & (size - 1)) {
                if *taken == 0 {
                    *taken = index + 1;
                    break;
                }
                place += 1;
            }
        }
    }

    /// All of them.
    pub(super) fn all(&self) -> impl Iterator<Item = &[u8]> {
        self.entries.iter().map(|(name, _)| &**name)
    }

    /// Whether a name in ASCII, without control characters, may be one of those, or like one.
    #[inline(always)]
    pub(super) fn may_find(&self, name: &[u8]) -> bool {
        let lengths = self.lengths.get(beginning(name)).copied().unwrap_or_default();
        lengths >> name.len().min(63) & 1 != 0 || is_edged(name)
    }

    /// The row of a name, 0 if no path mentions it.
    pub(super) fn row(&self, name: &[u8]) -> usize {
        match self.find(name) {
            Named::Exactly(row) => row,
            Named::Alike(_) | Named::No => 0,
        }
    }

    #[inline]
    pub(super) fn find(&self, name: &[u8]) -> Named {
        let ends = ends(name);
        let mut place = hash(name.len(), ends);
        let mut found = Named::No;
        loop {
            let Some(&taken) = self.places.get(place & self.places.len().wrapping_sub(1)) else {
                return found;
            };
            let Some((known, row)) = self.entries.get(taken.wrapping_sub(1)) else {
                return if matches!(found, Named::No) && is_unusual(name, ends) {
                    self.find_folded(name)
                } else {
                    found
                };
            };
            if **known == *name {
                return Named::Exactly(*row);
            }
            if known.eq_ignore_ascii_case(name) {
                found = Named::Alike(*row);
            }
            place += 1;
        }
    }

    #[cold]
    fn find_folded(&self, name: &[u8]) -> Named {
        self.folded.get(&fold(name)).map_or(Named::No, |row| Named::Alike(*row))
    }
}

/// Whether a name without control characters begins or ends with a blank.
#[inline(always)]
pub(super) fn is_edged(name: &[u8]) -> bool {
    matches!(name, [b' ', ..] | [.., b' '])
}

/// Whether a name holds what servers take for something else, or for nothing.
#[inline]
fn is_unusual(name: &[u8], ends: [u64; 2]) -> bool {
    let is_edge = |byte: Option<&u8>| byte.is_some_and(|byte| *byte <= b' ');
    let is_odd = |word: u64| (word.wrapping_sub(ONES) | word) & ONES << 7 != 0;
    is_edge(name.first())
        || is_edge(name.last())
        || ends.into_iter().any(is_odd)
        || name.len() > 16 && name.iter().any(|byte| !matches!(byte, 1..0x80))
}

/// Letters of one kind (Go takes the long `s` for an `s`, and the sign of the kelvin for a `k`), without blanks at the ends
/// and what follows a NUL.
fn fold(name: &[u8]) -> Box<str> {
    let text = String::from_utf8_lossy(name);
    let text = text
        .split('\0')
        .next()
        .unwrap_or_default()
        .trim_matches(|c: char| c.is_whitespace() || c.is_control() || c == '\u{feff}');
    text.chars().flat_map(char::to_uppercase).flat_map(char::to_lowercase).collect()
}

/// Whether paths mention a name; if so, its row.
#[derive(Clone, Copy)]
pub(super) enum Named {
    Exactly(usize),
    /// But for what servers may fold.
    Alike(usize),
    No,
}

impl Named {
    /// The row, of the name or of one like it.
    pub(super) fn row(self) -> Option<usize> {
        match self {
            Named::Exactly(row) | Named::Alike(row) => Some(row),
            Named::No => None,
        }
    }
}

/// How many ways there are in which names begin.
pub(super) const BEGINNINGS: usize = 256;

/// The first byte, without the bit that tells the case of ASCII letters.
#[inline(always)]
pub(super) fn beginning(name: &[u8]) -> usize {
    usize::from(name.first().map_or(0, |first| first | 0x20))
}

const ONES: u64 = u64::from_ne_bytes([1; 8]);

/// Both ends of a name, which together are all of it up to 16 bytes. Short ones are repeated, or follow ones.
#[inline]
fn ends(name: &[u8]) -> [u64; 2] {
    if let (Some(head), Some(tail)) = (name.first_chunk(), name.last_chunk()) {
        return [u64::from_le_bytes(*head), u64::from_le_bytes(*tail)];
    }
    if let (Some(head), Some(tail)) = (name.first_chunk(), name.last_chunk()) {
        return [head, tail].map(|end| u64::from(u32::from_le_bytes(*end)) << 32 | u64::from(u32::from_le_bytes(*end)));
    }
    [name.iter().fold(ONES, |word, &byte| word << 8 | u64::from(byte)); 2]
}

/// Mixes the length and both ends of a name, without the bit that tells the case of ASCII letters.
#[inline]
fn hash(len: usize, ends: [u64; 2]) -> usize {
    let [head, tail] = ends.map(|end| end | ONES << 5);
    let mixed = (head ^ tail.rotate_left(23) ^ len as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    usize::try_from(mixed >> 33).unwrap_or_default()
}
