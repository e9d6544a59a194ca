//! Where a value stands among the paths of the rules, whatever the document around it is.

use std::sync::Arc;

use super::{ASKS, CONTAINED, ELEMENTS, LIVE, NO_PATH, PLACE, Probed, Tracker, Verdict};
use crate::document::Role;
use crate::document::json::rules::{Rule, Rules, members, row, row_mut};

/// What the rules say of a value and of what is inside of it.
#[derive(Clone, PartialEq, Eq)]
pub(in crate::document) struct Spot {
    live: Box<[u64]>,
    pending: Box<[u64]>,
    verdict: Verdict,
}

impl Spot {
    /// Whether no path selects the value or anything inside of it. A resource further down goes by paths of its own.
    pub(in crate::document) fn is_free(&self) -> bool {
        self.verdict.is_nothing()
    }

    /// Whether a resource may stand there.
    pub(in crate::document) fn is_place(&self) -> bool {
        self.verdict.is_place()
    }

    /// Whether what selects it means the elements of an array, not the array.
    pub(in crate::document) fn means_elements(&self) -> bool {
        self.verdict.means_elements()
    }

    /// Whether it is the same path that selects both, or none does.
    pub(in crate::document) fn is_selected_as(&self, other: &Spot) -> bool {
        self.verdict.path == other.verdict.path
    }

    /// Whether it tells the type of a resource.
    pub(in crate::document) fn is_kind(&self) -> bool {
        self.verdict.is_kind()
    }

    /// Whether its name differs by case alone from one that a path waits for.
    pub(in crate::document) fn is_alike(&self) -> bool {
        self.verdict.is_alike()
    }

    /// Whether all that the paths do here they do on `other` too.
    fn is_within(&self, other: &Spot) -> bool {
        let within = |a: &[u64], b: &[u64]| a.iter().zip(b).all(|(a, b)| a & !b == 0);
        (self.verdict.path == NO_PATH || self.verdict.path == other.verdict.path)
            && (!self.verdict.has(PLACE) || other.verdict.has(PLACE))
            && within(&self.live, &other.live)
            && within(&self.pending, &other.pending)
    }

    fn add(&mut self, other: &Spot) {
        let add = |a: &mut [u64], b: &[u64]| a.iter_mut().zip(b).for_each(|(a, b)| *a |= b);
        add(&mut self.live, &other.live);
        add(&mut self.pending, &other.pending);
        let (a, b) = (self.verdict, other.verdict);
        let first = if b.path < a.path { b } else { a };
        let elements = [a, b].iter().any(|verdict| verdict.path == first.path && verdict.has(ELEMENTS));
        let common = (a.bits | b.bits) & (LIVE | ASKS | PLACE | CONTAINED);
        self.verdict = first.with(common, true).with(ELEMENTS, elements);
    }
}

impl Tracker {
    /// Has the value at `level` stand at `spot`; tells the verdict on it.
    pub(in crate::document::json) fn put(&mut self, level: usize, spot: &Spot) -> Verdict {
        let words = self.rules.words;
        let wanted = (level + 1) * words;
        let put = |table: &mut Vec<u64>, bits: &[u64]| {
            table.resize(table.len().max(wanted), 0);
            row_mut(table, words, level).iter_mut().zip(bits).for_each(|(to, from)| *to = *from);
        };
        put(&mut self.levels, &spot.live);
        if self.rules.probing.is_some() {
            put(&mut self.pending, &spot.pending);
        }
        self.carry(level, spot.verdict);
        spot.verdict
    }

    /// Where the value at `level` stands. What the verdict does not speak of is left from another value.
    fn spot(&self, level: usize, verdict: Verdict) -> Spot {
        let words = self.rules.words;
        let copied = |table: &[u64], is_set: bool| match row(table, words, level) {
            bits if is_set && !bits.is_empty() => bits.into(),
            _ => vec![0; words].into_boxed_slice(),
        };
        let live = copied(&self.levels, verdict.has(LIVE));
        Spot { live, pending: copied(&self.pending, verdict.has(ASKS)), verdict }
    }
}

/// Follows the paths of rules by names and indices that are given, without a document.
pub(in crate::document) struct Guide {
    tracker: Tracker,
}

/// The level of the value from which a step is taken. At level 0 a document would have to be a resource.
const LEVEL: usize = 1;

impl Guide {
    pub(in crate::document) fn new(rules: Arc<Rules>) -> Guide {
        Guide { tracker: Tracker::new(rules) }
    }

    /// One for the ways from a value to the texts that tests compare, with the numbers of [`Guide::ways`].
    pub(in crate::document) fn of_tests(&self) -> Option<Guide> {
        self.tracker.probing().map(|probing| Guide::new(Arc::clone(&probing.rules)))
    }

    /// Where no path selects anything.
    pub(in crate::document) fn nowhere(&self) -> Spot {
        self.tracker.spot(0, Verdict::NOTHING)
    }

    /// Where a whole document stands.
    pub(in crate::document) fn top(&self) -> Spot {
        let tracker = Tracker::new(Arc::clone(&self.tracker.rules));
        tracker.spot(0, tracker.root())
    }

    /// Where a whole document stands that is a resource of that type; `None` if nobody spoke of the type.
    pub(in crate::document) fn resource(&self, kind: &str) -> Option<Spot> {
        let mut tracker = Tracker::new(Arc::clone(&self.tracker.rules));
        let probed = Probed { tests: Vec::new(), kind: Some(kind.as_bytes().to_vec()) };
        let verdict = tracker.resolve(0, &probed, tracker.root()).ok()?;
        Some(tracker.spot(0, verdict))
    }

    /// From an object in which no test holds to a member of it.
    pub(in crate::document) fn member(&mut self, spot: &Spot, name: &[u8]) -> Spot {
        self.tracker.put(LEVEL, spot);
        let live = spot.verdict.live();
        let other = if live { self.tracker.other(LEVEL) } else { Verdict::NOTHING };
        let verdict = self.tracker.member(LEVEL, name, live, other);
        self.tracker.spot(LEVEL + 1, verdict)
    }

    /// From an array to an element of it.
    pub(in crate::document) fn element(&mut self, spot: &Spot, index: u64) -> Spot {
        if !spot.verdict.has(LIVE | ELEMENTS | ASKS | PLACE) {
            return self.nowhere();
        }
        self.tracker.put(LEVEL, spot);
        let verdict = self.tracker.element(LEVEL, index);
        self.tracker.spot(LEVEL + 1, verdict)
    }

    /// All indices that a path mentions, and one that none does.
    pub(in crate::document) fn indices(&self) -> Vec<u64> {
        self.tracker.rules.indices.keys().copied().chain([u64::MAX]).collect()
    }

    /// The spot, if an object stands there that is all that the paths ask about: every test holds, and it is a resource
    /// of every type. `None` if they ask nothing.
    pub(in crate::document) fn supposed(&mut self, spot: &Spot) -> Option<Spot> {
        if !spot.verdict.asks() {
            return None;
        }
        self.tracker.put(LEVEL, spot);
        let tests = vec![true; self.tracker.probing()?.tests.len()];
        let verdict = self.tracker.resolve(LEVEL, &Probed { tests, kind: None }, spot.verdict).ok()?;
        let mut supposed = self.tracker.spot(LEVEL, verdict);
        if let Some(resources) = self.tracker.rules.resources.as_ref().filter(|_| spot.verdict.is_place()) {
            for initial in resources.initial.values() {
                supposed.live.iter_mut().zip(initial).for_each(|(live, initial)| *live |= initial);
            }
            supposed.verdict = supposed.verdict.with(LIVE, supposed.live.iter().any(|word| *word != 0));
        }
        Some(supposed)
    }

    /// The ways to the texts that tests in the value compare.
    pub(in crate::document) fn ways(&self, spot: &Spot) -> Vec<usize> {
        let Some(probing) = self.tracker.probing() else { return Vec::new() };
        let tests = members(&spot.pending).filter_map(|state| self.tracker.rules.tests.get(state)).flatten();
        tests.filter_map(|test| probing.tests.get(*test)).map(|(way, _)| *way).collect()
    }

    /// Whether the paths mean the elements of an array by what they do here, not members with numbers for names.
    pub(in crate::document) fn means_elements(&self, spot: &Spot) -> bool {
        let Rules { transparent, resources, .. } = &*self.tracker.rules;
        let all = |bits: &[u64]| bits.iter().zip(transparent).all(|(bits, transparent)| bits & !transparent == 0);
        spot.means_elements() || all(&spot.pending) && (spot.verdict.asks() || resources.is_some() && all(&spot.live))
    }

    /// Whether a path looks at the index of the elements, if it is an array.
    pub(in crate::document) fn counts(&mut self, spot: &Spot) -> bool {
        self.tracker.put(LEVEL, spot);
        self.tracker.is_indexed(LEVEL)
    }

    /// Whether it is protected whole, with all that is inside.
    pub(in crate::document) fn is_covered(&self, spot: &Spot) -> bool {
        self.role(spot).is_some_and(|role| role != Role::Companion)
    }

    /// What the value is to the rule that selects it.
    pub(in crate::document) fn role(&self, spot: &Spot) -> Option<Role> {
        self.tracker.rule(spot.verdict).map(|rule| rule.role)
    }

    /// The rule that selects the value.
    pub(in crate::document) fn rule(&self, spot: &Spot) -> Option<usize> {
        self.tracker.rule(spot.verdict).map(|rule| rule.number)
    }

    /// Whether a path has a step of that name.
    pub(in crate::document) fn mentions(&self, name: &[u8]) -> bool {
        self.tracker.mentioned(name).is_some()
    }

    /// The names in paths that an element of that name may have in JSON: with the name of a type after it, or what is
    /// beside its value.
    pub(in crate::document) fn variants(&self, name: &[u8]) -> Vec<Vec<u8>> {
        let is_variant = |known: &&[u8]| {
            let after = known.strip_prefix(name).and_then(<[u8]>::first);
            after.is_some_and(u8::is_ascii_uppercase) || known.strip_prefix(b"_") == Some(name)
        };
        self.tracker.rules.names.all().filter(is_variant).map(<[u8]>::to_vec).collect()
    }

    /// Whether a path goes on into just this value, should it be an object that was made of a text: not as it does anywhere, nor
    /// into an extension.
    pub(in crate::document) fn goes_on(&self, spot: &Spot) -> bool {
        let Rules { words, descendant, takes, .. } = &*self.tracker.rules;
        let of = |name: Option<usize>| row(takes, *words, name.unwrap_or_default());
        let extension = of(self.tracker.mentioned(b"extension")).iter().zip(of(None)).map(|(named, any)| named & !any);
        let mut own = spot.live.iter().zip(descendant).zip(extension);
        own.any(|((live, any), extension)| live & !any & !extension != 0) || spot.verdict.has(ASKS)
    }

    /// Whether the value is, or a path goes on from just it to, a primitive that is sealed beside its place.
    pub(in crate::document) fn holds_primitive(&self, spot: &Spot) -> bool {
        let mut own = spot.clone();
        own.live.iter_mut().zip(&self.tracker.rules.descendant).for_each(|(live, any)| *live &= !any);
        self.reached(&own).iter().flatten().any(|rule| rule.role != Role::Value)
    }

    /// Whether one of these rules can select the value or anything inside of it.
    pub(in crate::document) fn leads_to(&self, spot: &Spot, numbers: &[usize]) -> bool {
        self.reached(spot).iter().flatten().any(|rule| numbers.contains(&rule.number))
    }

    /// Where a value stands that stands at one of several spots: there, what is selected at any of them is. `None` if a
    /// path that lets pass at one of them might let through what is selected at another.
    pub(in crate::document) fn merged(&self, spots: &[Spot]) -> Option<Spot> {
        let (first, others) = spots.split_first()?;
        let mut merged = first.clone();
        others.iter().for_each(|spot| merged.add(spot));
        let seals = |spot: &Spot| spot.verdict.is_place() || self.reached(spot).iter().any(Option::is_some);
        let holds_all = |all: &Spot| spots.iter().all(|spot| spot == all || spot.is_within(all) && !seals(spot));
        let is_safe = others.is_empty()
            || self.reached(&merged).iter().all(Option::is_some)
            || !spots.iter().any(seals)
            || spots.iter().any(holds_all);
        is_safe.then_some(merged)
    }

    /// What the paths that can select the value or anything inside of it do: their rule, or nothing if they let pass.
    fn reached(&self, spot: &Spot) -> Vec<Option<Rule>> {
        let Rules { words, follow, accept, by_path, .. } = &*self.tracker.rules;
        let mut seen: Vec<u64> = spot.live.iter().zip(&spot.pending).map(|(live, pending)| live | pending).collect();
        let mut next: Vec<usize> = members(&seen).collect();
        let mut paths = vec![spot.verdict.path];
        while let Some(state) = next.pop() {
            paths.extend(accept.get(state));
            let fresh: Vec<u64> =
                seen.iter().zip(row(follow, *words, state)).map(|(seen, next)| next & !seen).collect();
            seen.iter_mut().zip(&fresh).for_each(|(seen, fresh)| *seen |= fresh);
            next.extend(members(&fresh));
        }
        paths
            .into_iter()
            .filter_map(|path| by_path.get(path as usize))
            .map(|rule| (!rule.passes).then_some(*rule))
            .collect()
    }
}
