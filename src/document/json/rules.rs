//! All field paths of a route as one automaton.
//!
//! A state stands for a step of a path that is still to be taken; paths with a common beginning share its states. The
//! states that are live in an object or array are a bit set, so a step costs the same however the document is built.

use std::collections::HashMap;
use std::sync::Arc;

use crate::document::path::{FieldPath, Segment, Selector};

/// The most states that a set of rules may need.
pub(super) const STATES_MAX: usize = 4096;

/// The field paths of a route, compiled. Shared by all rewriters of the route.
pub struct Rules {
    /// Words in a set of states.
    words: usize,
    initial: Vec<u64>,
    /// States of descendant steps: they stay live below.
    descendant: Vec<u64>,
    /// States that look at the index of an element.
    indexed: Vec<u64>,
    /// By row: which states a name or index takes. Row 0 is for those that no path mentions.
    takes: Vec<u64>,
    /// By state: which states live below once it is taken.
    follow: Vec<u64>,
    /// By state: the first rule that ends with it.
    accept: Vec<u32>,
    names: Names,
    indices: HashMap<u64, usize>,
}

/// The rules of a route are too many to be compiled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("field paths with more than {} different steps", STATES_MAX)]
pub struct TooManySteps;

impl Rules {
    /// Compiles paths; a rule's number is its index in `paths`. Where several select one value, the first wins.
    ///
    /// # Errors
    ///
    /// When the paths have more than 4096 different steps between them.
    pub fn compile(paths: &[FieldPath]) -> Result<Rules, TooManySteps> {
        let mut states: Vec<State<'_>> = Vec::new();
        let mut known: HashMap<(Option<usize>, &Segment), usize> = HashMap::new();
        for (rule, path) in (0_u32..).zip(paths) {
            let mut parent = None;
            for segment in path.segments() {
                let fresh = states.len();
                let state = *known.entry((parent, segment)).or_insert(fresh);
                if state == fresh {
                    states.push(State { parent, segment, accept: NO_RULE });
                }
                parent = Some(state);
            }
            if let Some(last) = parent.and_then(|state| states.get_mut(state)) {
                last.accept = last.accept.min(rule);
            }
            if states.len() > STATES_MAX {
                return Err(TooManySteps);
            }
        }
        Ok(Rules::lay_out(&states))
    }

    fn lay_out(states: &[State<'_>]) -> Rules {
        let words = states.len().div_ceil(64).max(1);
        let mut rules = Rules {
            words,
            initial: vec![0; words],
            descendant: vec![0; words],
            indexed: vec![0; words],
            takes: vec![0; words],
            follow: vec![0; words * states.len()],
            accept: states.iter().map(|state| state.accept).collect(),
            names: Names::default(),
            indices: HashMap::new(),
        };
        let mut rows = 1;
        for state in states {
            match &state.segment.selector {
                Selector::Name(name) => rows += usize::from(rules.names.insert(name.as_bytes(), rows)),
                Selector::Index(index) => {
                    rules.indices.entry(*index).or_insert_with(|| {
                        rows += 1;
                        rows - 1
                    });
                }
                Selector::Any => {}
            }
        }
        rules.names.build();
        rules.takes.resize(words * rows, 0);
        for (number, state) in states.iter().enumerate() {
            match state.parent {
                None => set(&mut rules.initial, number),
                Some(parent) => set(row_mut(&mut rules.follow, words, parent), number),
            }
            if state.segment.descendant {
                set(&mut rules.descendant, number);
            }
            match &state.segment.selector {
                Selector::Name(name) => set(row_mut(&mut rules.takes, words, rules.names.row(name.as_bytes())), number),
                Selector::Index(index) => {
                    set(&mut rules.indexed, number);
                    set(row_mut(&mut rules.takes, words, rules.indices.get(index).copied().unwrap_or(0)), number);
                }
                Selector::Any => rules.takes.chunks_exact_mut(words).for_each(|row| set(row, number)),
            }
        }
        rules
    }
}

const NO_RULE: u32 = u32::MAX;

struct State<'a> {
    parent: Option<usize>,
    segment: &'a Segment,
    accept: u32,
}

fn set(bits: &mut [u64], number: usize) {
    if let Some(word) = bits.get_mut(number / 64) {
        *word |= 1 << (number % 64);
    }
}

fn row(table: &[u64], words: usize, number: usize) -> &[u64] {
    table.get(number * words..(number + 1) * words).unwrap_or_default()
}

fn row_mut(table: &mut [u64], words: usize, number: usize) -> &mut [u64] {
    table.get_mut(number * words..(number + 1) * words).unwrap_or_default()
}

/// From member names to rows. Names of documents are only looked up, never stored, so the hash need not resist floods:
/// the longest search is bounded by the configuration.
#[derive(Default)]
struct Names {
    entries: Vec<(Box<[u8]>, usize)>,
    /// Open addressing; a place holds an entry's index plus one, or 0.
    places: Vec<usize>,
}

impl Names {
    /// Whether the name is new.
    fn insert(&mut self, name: &[u8], row: usize) -> bool {
        let fresh = !self.entries.iter().any(|(known, _)| **known == *name);
        if fresh {
            self.entries.push((name.into(), row));
        }
        fresh
    }

    fn build(&mut self) {
        let size = (self.entries.len() * 4).next_power_of_two();
        self.places = vec![0; size];
        for (index, (name, _)) in self.entries.iter().enumerate() {
            let mut place = hash(name);
            while let Some(taken) = self.places.get_mut(place & (size - 1)) {
                if *taken == 0 {
                    *taken = index + 1;
                    break;
                }
                place += 1;
            }
        }
    }

    #[inline]
    fn row(&self, name: &[u8]) -> usize {
        let mut place = hash(name);
        loop {
            let Some(&taken) = self.places.get(place & self.places.len().wrapping_sub(1)) else {
                return 0;
            };
            let Some((known, row)) = self.entries.get(taken.wrapping_sub(1)) else {
                return 0;
            };
            if **known == *name {
                return *row;
            }
            place += 1;
        }
    }
}

/// Mixes the length and both ends of a name.
#[inline]
fn hash(name: &[u8]) -> usize {
    let (head, tail) = match (name.first_chunk::<8>(), name.last_chunk::<8>()) {
        (Some(head), Some(tail)) => (u64::from_le_bytes(*head), u64::from_le_bytes(*tail)),
        _ => match (name.first_chunk::<4>(), name.last_chunk::<4>()) {
            (Some(head), Some(tail)) => (u64::from(u32::from_le_bytes(*head)), u64::from(u32::from_le_bytes(*tail))),
            _ => (name.iter().fold(0, |word, &byte| word << 8 | u64::from(byte)), 0),
        },
    };
    let mixed = (head ^ tail.rotate_left(23) ^ name.len() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    usize::try_from(mixed >> 33).unwrap_or_default()
}

/// What the rules say of a value.
#[derive(Clone, Copy)]
pub(super) struct Verdict {
    rule: u32,
    /// Whether something below it may be selected.
    pub(super) live: bool,
}

impl Verdict {
    /// Not selected, and nothing below it is.
    pub(super) const NOTHING: Verdict = Verdict { rule: NO_RULE, live: false };

    /// The rule that selects the value.
    #[inline]
    pub(super) fn rule(self) -> Option<usize> {
        (self.rule != NO_RULE).then_some(self.rule as usize)
    }
}

/// The live states of every open object and array, by level: level 0 is the outermost.
pub(super) struct Tracker {
    rules: Arc<Rules>,
    levels: Vec<u64>,
}

impl Tracker {
    pub(super) fn new(rules: Arc<Rules>) -> Tracker {
        let mut levels = Vec::with_capacity(rules.words * 16);
        levels.extend_from_slice(&rules.initial);
        Tracker { rules, levels }
    }

    /// The verdict on the whole document.
    pub(super) fn root(&self) -> Verdict {
        Verdict { rule: NO_RULE, live: self.rules.initial.iter().any(|&word| word != 0) }
    }

    /// The verdict on a member of the object at `level`, which also sets up the level below for it.
    #[inline]
    pub(super) fn member(&mut self, level: usize, name: &[u8], other: Verdict) -> Verdict {
        match self.rules.names.row(name) {
            0 if !other.live && other.rule == NO_RULE => Verdict::NOTHING,
            row => self.take(level, row),
        }
    }

    /// The verdict on those members of the object at `level` that no rule mentions: `other` for `member`.
    pub(super) fn other(&mut self, level: usize) -> Verdict {
        self.take(level, 0)
    }

    /// Likewise on an element of the array at `level`.
    pub(super) fn element(&mut self, level: usize, index: u64) -> Verdict {
        self.take(level, self.rules.indices.get(&index).copied().unwrap_or(0))
    }

    /// Whether the verdict on an element of the array at `level` depends on its index.
    pub(super) fn is_indexed(&self, level: usize) -> bool {
        let live = row(&self.levels, self.rules.words, level);
        live.iter().zip(&self.rules.indexed).any(|(live, indexed)| live & indexed != 0)
    }

    fn take(&mut self, level: usize, taken: usize) -> Verdict {
        let Rules { words, descendant, takes, follow, accept, .. } = &*self.rules;
        let words = *words;
        let wanted = (level + 2) * words;
        if self.levels.len() < wanted {
            self.levels.resize(wanted, 0);
        }
        let (above, below) = self.levels.split_at_mut((level + 1) * words);
        let live = row(above, words, level);
        let below = row_mut(below, words, 0);
        for ((below, live), descendant) in below.iter_mut().zip(live).zip(descendant) {
            *below = live & descendant;
        }
        let mut rule = NO_RULE;
        for (base, (live, takes)) in live.iter().zip(row(takes, words, taken)).enumerate() {
            let mut hits = live & takes;
            while hits != 0 {
                let state = base * 64 + hits.trailing_zeros() as usize;
                hits &= hits - 1;
                rule = rule.min(accept.get(state).copied().unwrap_or(NO_RULE));
                for (below, follow) in below.iter_mut().zip(row(follow, words, state)) {
                    *below |= follow;
                }
            }
        }
        Verdict { rule, live: below.iter().any(|&word| word != 0) }
    }
}
