//! The automaton of a document: which steps are open, and what they select.

use std::sync::Arc;

use super::{Named, Rules, State, row};
use crate::document::Role;

/// What the rules say of an element.
#[derive(Default)]
pub(in crate::document::xml) struct Verdict {
    /// The rule for the text of the element itself.
    pub(in crate::document::xml) text: Option<usize>,
    pub(in crate::document::xml) markup: Option<usize>,
    /// The attributes that are selected.
    attributes: Vec<Attribute>,
    /// Whether its text or markup would be selected if it were in the namespace of the path.
    pub(in crate::document::xml) alike: bool,
}

/// An attribute that is selected.
struct Attribute {
    test: usize,
    rule: usize,
    role: Role,
    /// Whether by name alone.
    alike: bool,
}

impl Verdict {
    /// The rule that selects an attribute, and what it is to the rule.
    pub(in crate::document::xml) fn attribute(&self, named: Named) -> Option<(usize, Role)> {
        let selected = self.attributes.iter().filter(|attribute| !attribute.alike && named.passes(attribute.test));
        selected.min_by_key(|attribute| attribute.rule).map(|attribute| (attribute.rule, attribute.role))
    }

    /// Whether the element is a primitive whose value goes into an extension.
    pub(in crate::document::xml) fn is_primitive(&self) -> bool {
        self.attributes.iter().any(|attribute| !attribute.alike && attribute.role == Role::Primitive)
    }

    /// Whether an attribute would be selected if the elements were in the namespaces of the path.
    pub(in crate::document::xml) fn is_alike(&self, named: Named) -> bool {
        self.attributes.iter().any(|attribute| attribute.alike && named.passes(attribute.test))
    }
}

/// The live states below every open element, by level: level 0 is the document.
#[derive(Clone)]
pub(in crate::document::xml) struct Tracker {
    rules: Arc<Rules>,
    levels: Vec<u64>,
    /// The rule that selects the text inside, from the outside in.
    texts: Vec<Option<usize>>,
}

impl Tracker {
    pub(in crate::document::xml) fn new(rules: Arc<Rules>) -> Tracker {
        Tracker { levels: rules.initial.clone(), texts: vec![None], rules }
    }

    /// Goes into an element; `holds` tells of a predicate whether it is true.
    pub(in crate::document::xml) fn enter(&mut self, named: Named, mut holds: impl FnMut(usize) -> bool) -> Verdict {
        let rules = Arc::clone(&self.rules);
        let words = rules.words;
        let above = self.levels.len().saturating_sub(words);
        self.levels.extend(std::iter::repeat_n(0, words));
        let (live, below) = self.levels.split_at_mut(above + words);
        let live = live.get(above..).unwrap_or_default();
        for ((below, live), descendant) in below.iter_mut().zip(live).zip(&rules.descendant) {
            *below = live & descendant;
        }
        let mut verdict = Verdict::default();
        for state in hits(&rules, live, [0, named.local, named.qualified].into_iter()) {
            let Some(State { predicates, accept }) = rules.states.get(state) else { continue };
            if !predicates.iter().all(|&predicate| holds(predicate)) {
                continue;
            }
            for (below, follow) in below.iter_mut().zip(row(&rules.follow, words, state)) {
                *below |= follow;
            }
            let alike = accept.alike;
            let attributes = accept.attributes.iter();
            verdict.attributes.extend(attributes.map(|&(test, rule, role)| Attribute { test, rule, role, alike }));
            if accept.alike {
                verdict.alike |= accept.text.is_some() || accept.markup.is_some();
            } else {
                verdict.text = lower(verdict.text, accept.text);
                verdict.markup = lower(verdict.markup, accept.markup);
            }
        }
        self.texts.push(lower(self.text(), verdict.text));
        verdict
    }

    pub(in crate::document::xml) fn leave(&mut self) {
        self.levels.truncate(self.levels.len().saturating_sub(self.rules.words));
        self.texts.pop();
    }

    /// The rule that selects the text at hand.
    pub(in crate::document::xml) fn text(&self) -> Option<usize> {
        self.texts.last().copied().flatten()
    }

    /// The states that an element could take, of any namespace, whatever the predicates say: what they look at.
    pub(in crate::document::xml) fn might_want(&self, local: &[u8], attribute: &[u8]) -> bool {
        let live = self.levels.len().saturating_sub(self.rules.words);
        let live = self.levels.get(live..).unwrap_or_default();
        let tests = std::iter::once(0).chain(self.rules.mentions(local));
        let wanted: Vec<usize> = self.rules.mentions(attribute).collect();
        hits(&self.rules, live, tests).filter_map(|state| self.rules.states.get(state)).any(|state| {
            let near = |&number: &usize| {
                let predicate = self.rules.predicates.get(number);
                predicate.filter(|predicate| predicate.path.is_empty()).and_then(|predicate| predicate.attribute)
            };
            let looked_at = state.predicates.iter().filter_map(near);
            state.accept.attributes.iter().map(|&(test, ..)| test).chain(looked_at).any(|test| wanted.contains(&test))
        })
    }
}

/// The states that are live and take one of the tests.
fn hits(rules: &Rules, live: &[u64], tests: impl Iterator<Item = usize> + Clone) -> impl Iterator<Item = usize> {
    live.iter().enumerate().flat_map(move |(base, &live)| {
        let taking = tests.clone().filter_map(|test| row(&rules.takes, rules.words, test).get(base));
        let mut hits = live & taking.fold(0, |all, word| all | word);
        std::iter::from_fn(move || {
            let bit = hits.trailing_zeros() as usize;
            hits &= hits.wrapping_sub(1);
            (bit < 64).then_some(base * 64 + bit)
        })
    })
}

fn lower(one: Option<usize>, other: Option<usize>) -> Option<usize> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        _ => one.or(other),
    }
}
