//! Where a document stands among the paths of its rules, while it streams by.

mod spot;
mod verdict;

use std::sync::Arc;

use super::names::{Named, beginning, is_edged};
use super::rules::{CONTAINED_PLACE, LENGTHS, Probing, Rule, Rules, members, row, row_mut};
use crate::document::Role;

pub(in crate::document) use spot::{Guide, Spot};
pub(super) use verdict::Verdict;
use verdict::{ALIKE, ASKS, CONTAINED, ELEMENTS, KIND, LIVE, MOVES, NO_PATH, PASSES, PLACE};

/// What was found inside an object.
pub(super) struct Probed {
    /// By test, whether it holds.
    pub(super) tests: Vec<bool>,
    /// The type, if it is a resource.
    pub(super) kind: Option<Vec<u8>>,
}

/// Why a document that the rules take for resources is none.
pub(super) enum Unresolved {
    /// The document is no resource.
    NoResource,
    /// The type is one that nobody spoke of.
    UnknownType,
}

/// The live states of every open object and array, by level: level 0 is the outermost. What is inside of a value has the level
/// that its object or array would have.
pub(super) struct Tracker {
    rules: Arc<Rules>,
    levels: Vec<u64>,
    /// Likewise the states that were taken if the tests hold in the value.
    pending: Vec<u64>,
    /// Likewise the verdict that an array passes on to its elements.
    carried: Vec<Verdict>,
    /// Whether values that pass are shown too.
    shows_passed: bool,
}

impl Tracker {
    pub(super) fn new(rules: Arc<Rules>) -> Tracker {
        let mut levels = Vec::with_capacity(rules.words * 16);
        levels.extend_from_slice(&rules.initial);
        let pending = vec![0; if rules.probing.is_some() { rules.words } else { 0 }];
        let carried = vec![Verdict::NOTHING];
        Tracker { rules, levels, pending, carried, shows_passed: false }
    }

    /// Selects also what passes.
    pub(super) fn show_passed(&mut self) {
        self.shows_passed = true;
    }

    /// The verdict on the whole document.
    pub(super) fn root(&self) -> Verdict {
        let live = self.rules.initial.iter().any(|&word| word != 0);
        Verdict::NOTHING.with(LIVE, live).with(PLACE, self.rules.resources.is_some())
    }

    /// How it is found out what is inside of an object.
    pub(super) fn probing(&self) -> Option<&Probing> {
        self.rules.probing.as_ref()
    }

    /// The tests that are to be made in an object at `level`.
    pub(super) fn tests(&self, level: usize) -> impl Iterator<Item = usize> {
        let pending = row(&self.pending, self.rules.words, level);
        members(pending).filter_map(|state| self.rules.tests.get(state)).flatten().copied()
    }

    /// Whether names matter also where nothing is live.
    #[inline]
    pub(super) fn knows_resources(&self) -> bool {
        self.rules.resources.is_some()
    }

    /// Whether a plain name may matter where nothing is live.
    #[inline]
    pub(super) fn may_matter(&self, name: &[u8]) -> bool {
        let Some(resources) = &self.rules.resources else { return false };
        let is_edge = |byte: Option<&u8>| byte.is_none_or(|byte| *byte == b' ');
        let is_long_so = LENGTHS >> name.len().min(63) & 1 != 0;
        is_edge(name.first())
            || is_edge(name.last())
            || is_long_so && self.rules.names.find(name).row().is_some_and(|row| resources.know(row))
    }

    /// Whether a name in ASCII, without control characters, may be one that paths mention, or like one.
    #[inline(always)]
    pub(super) fn may_mention(&self, name: &[u8]) -> bool {
        self.rules.names.may_find(name)
    }

    /// Likewise one that something in the object at `level` waits for.
    #[inline(always)]
    pub(super) fn may_wait(&self, level: usize, name: &[u8]) -> bool {
        let Some(waiting) = self.rules.waiting.get(beginning(name)) else { return true };
        self.levels.get(level).is_none_or(|live| live & waiting != 0) || is_edged(name)
    }

    /// Whether a name, as it stands, is one that paths mention; which one, small numbers first.
    pub(super) fn mentioned(&self, name: &[u8]) -> Option<usize> {
        match self.rules.names.find(name) {
            Named::Exactly(row) => Some(row),
            Named::Alike(_) | Named::No => None,
        }
    }

    /// The rule of the path that selects a value.
    #[inline]
    pub(super) fn rule(&self, verdict: Verdict) -> Option<Rule> {
        self.rules.by_path.get(verdict.path()? as usize).copied()
    }

    /// The verdict on a member of the object at `level`, in which something is live or not; it also sets up the level below.
    #[inline]
    pub(super) fn member(&mut self, level: usize, name: &[u8], live: bool, other: Verdict) -> Verdict {
        match self.rules.names.find(name) {
            Named::No if other.is_nothing() => Verdict::NOTHING,
            Named::No => self.take(level, 0),
            Named::Exactly(row) if other.is_nothing() && !self.waits(level, row) => Verdict::NOTHING,
            Named::Exactly(row) => self.named(level, row, live),
            Named::Alike(row) => {
                let verdict = if live { self.take(level, 0) } else { Verdict::NOTHING };
                verdict.with(ALIKE, self.is_wanted(level, row, live))
            }
        }
    }

    /// Whether anything in the object at `level` may wait for a name that paths mention.
    #[inline]
    fn waits(&self, level: usize, name: usize) -> bool {
        let Rules { words, takes, resources, .. } = &*self.rules;
        let mut states = row(&self.levels, *words, level).iter().zip(row(takes, *words, name));
        resources.is_some() || states.any(|(live, takes)| live & takes != 0)
    }

    fn named(&mut self, level: usize, row: usize, live: bool) -> Verdict {
        let (mut place, mut kind, mut contained) = (false, false, false);
        if let Some(resources) = &self.rules.resources {
            (place, kind) = (resources.places.contains(&row), resources.kind == row);
            contained = resources.places.get(CONTAINED_PLACE) == Some(&row);
        }
        if !live && !place && !kind {
            return Verdict::NOTHING;
        }
        if !live {
            // Nobody has looked at this level since something else stood there.
            let words = self.rules.words;
            self.levels.resize(self.levels.len().max((level + 1) * words), 0);
            row_mut(&mut self.levels, words, level).fill(0);
        }
        let verdict = self.take(level, row).with(PLACE, place).with(KIND, kind).with(CONTAINED, contained);
        if let Some(carried) = self.carried.get_mut(level + 1) {
            *carried = carried.with(PLACE, place).with(CONTAINED, contained);
        }
        verdict
    }

    /// Whether something in the object at `level` waits for just that name.
    fn is_wanted(&self, level: usize, name: usize, live: bool) -> bool {
        let Rules { words, takes, resources, .. } = &*self.rules;
        let of_resources = resources.as_ref().is_some_and(|known| known.know(name));
        let states = row(&self.levels, *words, level).iter().zip(row(takes, *words, name)).zip(row(takes, *words, 0));
        of_resources || live && states.into_iter().any(|((live, by_name), by_any)| live & by_name & !by_any != 0)
    }

    /// The verdict on those members of the object at `level` that no rule mentions: `other` for `member`.
    pub(super) fn other(&mut self, level: usize) -> Verdict {
        self.take(level, 0)
    }

    /// Likewise on an element of the array at `level`.
    pub(super) fn element(&mut self, level: usize, index: u64) -> Verdict {
        let index = if self.is_indexed(level) { self.rules.indices.get(&index).copied().unwrap_or(0) } else { 0 };
        let mut verdict = self.take(level, index);
        if !self.rules.carries {
            return verdict;
        }
        let Rules { words, transparent, probing, .. } = &*self.rules;
        let words = *words;
        let (above, below) = self.levels.split_at_mut((level + 1) * words);
        let live = row(above, words, level).iter().zip(transparent).map(|(live, transparent)| live & transparent);
        let mut any = 0;
        for (below, live) in row_mut(below, words, 0).iter_mut().zip(live) {
            *below |= live;
            any |= live;
        }
        verdict = verdict.with(LIVE, any != 0);
        if probing.is_some() {
            let (above, below) = self.pending.split_at_mut((level + 1) * words);
            let pending =
                row(above, words, level).iter().zip(transparent).map(|(live, transparent)| live & transparent);
            let mut any = 0;
            for (below, pending) in row_mut(below, words, 0).iter_mut().zip(pending) {
                *below |= pending;
                any |= pending;
            }
            verdict = verdict.with(ASKS, any != 0);
        }
        let carried = self.carried.get(level).copied().unwrap_or(Verdict::NOTHING);
        if carried.path < verdict.path {
            verdict = Verdict { path: carried.path, ..verdict.without(PASSES) }
                .with(ELEMENTS, true)
                .with(PASSES, carried.has(PASSES));
        }
        verdict = verdict.with(PLACE, carried.has(PLACE)).with(CONTAINED, carried.has(CONTAINED));
        self.carry(level + 1, verdict);
        verdict
    }

    /// Whether the verdict on an element of the array at `level` is not the same for all: it depends on the index, or on what
    /// is inside.
    pub(super) fn is_indexed(&self, level: usize) -> bool {
        let live = row(&self.levels, self.rules.words, level);
        live.iter().zip(&self.rules.indexed).any(|(live, indexed)| live & indexed != 0)
    }

    /// The verdict on an object, now that it is known what is inside.
    pub(super) fn resolve(&mut self, level: usize, probed: &Probed, verdict: Verdict) -> Result<Verdict, Unresolved> {
        let Rules { words, follow, accept, tests, resources, .. } = &*self.rules;
        let words = *words;
        let mut resolved = verdict.without(ASKS | PLACE | CONTAINED);
        let live = row_mut(&mut self.levels, words, level);
        if verdict.has(PLACE) {
            match (&probed.kind, resources) {
                (Some(kind), Some(resources)) => {
                    let initial = resources.initial.get(&**kind).ok_or(Unresolved::UnknownType)?;
                    live.iter_mut().zip(initial).for_each(|(live, initial)| *live |= initial);
                }
                _ if level == 0 => return Err(Unresolved::NoResource),
                _ => {}
            }
        }
        let pending = row(&self.pending, words, level);
        for (base, word) in pending.iter().enumerate() {
            let mut hits = *word;
            while hits != 0 {
                let state = base * 64 + hits.trailing_zeros() as usize;
                hits &= hits - 1;
                let holds = |test: &usize| probed.tests.get(*test) == Some(&true);
                if !tests.get(state).is_some_and(|tests| tests.iter().all(holds)) {
                    continue;
                }
                let path = accept.get(state).copied().unwrap_or(NO_PATH);
                if path < resolved.path {
                    resolved = Verdict { path, ..resolved };
                }
                live.iter_mut().zip(row(follow, words, state)).for_each(|(live, follow)| *live |= follow);
            }
        }
        let any = live.iter().any(|&word| word != 0);
        Ok(self.judged(resolved.without(PASSES | MOVES).with(LIVE, any)))
    }

    fn take(&mut self, level: usize, taken: usize) -> Verdict {
        let Rules { words, descendant, transparent, tested, takes, follow, accept, probing, .. } = &*self.rules;
        let words = *words;
        // Most often there are few states.
        if words == 1
            && !self.rules.carries
            && probing.is_none()
            && let (Some([live, below, ..]), Some(takes), Some(descendant)) =
                (self.levels.get_mut(level..), takes.get(taken), descendant.first())
        {
            let (mut hits, mut path) = (*live & takes, NO_PATH);
            *below = *live & descendant;
            while hits != 0 {
                let state = hits.trailing_zeros() as usize;
                hits &= hits - 1;
                path = path.min(accept.get(state).copied().unwrap_or(NO_PATH));
                *below |= follow.get(state).copied().unwrap_or_default();
            }
            let verdict = Verdict { path, ..Verdict::NOTHING }.with(LIVE, *below != 0);
            return self.judged(verdict);
        }
        let wanted = (level + 2) * words;
        if self.levels.len() < wanted {
            self.levels.resize(wanted, 0);
        }
        if probing.is_some() && self.pending.len() < wanted {
            self.pending.resize(wanted, 0);
        }
        let (above, below) = self.levels.split_at_mut((level + 1) * words);
        let live = row(above, words, level);
        let below = row_mut(below, words, 0);
        for ((below, live), descendant) in below.iter_mut().zip(live).zip(descendant) {
            *below = live & descendant;
        }
        let mut verdict = Verdict::NOTHING;
        for (base, (live, takes)) in live.iter().zip(row(takes, words, taken)).enumerate() {
            let mut hits = live & takes;
            if probing.is_some() {
                let tested = hits & tested.get(base).copied().unwrap_or(0);
                if let Some(pending) = self.pending.get_mut((level + 1) * words + base) {
                    *pending = tested;
                }
                verdict = verdict.with(ASKS, tested != 0);
                hits &= !tested;
            }
            while hits != 0 {
                let bit = hits & hits.wrapping_neg();
                let state = base * 64 + hits.trailing_zeros() as usize;
                hits &= hits - 1;
                let path = accept.get(state).copied().unwrap_or(NO_PATH);
                if path < verdict.path {
                    let elements = transparent.get(base).is_some_and(|transparent| transparent & bit != 0);
                    verdict = Verdict { path, ..verdict.without(ELEMENTS) }.with(ELEMENTS, elements);
                }
                for (below, follow) in below.iter_mut().zip(row(follow, words, state)) {
                    *below |= follow;
                }
            }
        }
        let any = below.iter().any(|&word| word != 0);
        let verdict = self.judged(verdict.with(LIVE, any));
        self.carry(level + 1, verdict);
        verdict
    }

    /// Notes what the path that selects a value does with it.
    fn judged(&self, verdict: Verdict) -> Verdict {
        let Some(rule) = self.rules.by_path.get(verdict.path as usize) else { return verdict };
        let moves = !rule.passes && matches!(rule.role, Role::Primitive | Role::Companion);
        verdict.with(PASSES, rule.passes && !self.shows_passed).with(MOVES, moves)
    }

    /// Keeps what an array at `level` would pass on to its elements.
    fn carry(&mut self, level: usize, verdict: Verdict) {
        if !self.rules.carries {
            return;
        }
        if self.carried.len() <= level {
            self.carried.resize(level + 1, Verdict::NOTHING);
        }
        if let Some(carried) = self.carried.get_mut(level) {
            let place = Verdict { bits: verdict.bits & (PLACE | CONTAINED), ..Verdict::NOTHING };
            *carried = if verdict.means_elements() { verdict } else { place };
        }
    }
}
