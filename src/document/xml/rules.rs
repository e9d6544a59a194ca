//! All paths of a route as one automaton.
//!
//! A state stands for a step of a path that is still to be taken; paths with a common beginning share its states. The
//! states that are live below an element are a bit set, so a step costs the same however the document is built.
//!
//! Beside the paths as they are, those with namespaces are followed by name alone where an element is in no
//! namespace: a server that does not look at namespaces would find a value there that the path does not select.

mod tracker;

use std::collections::{HashMap, HashSet};

use super::path::fhir::PLACES;
use super::path::{Name, Target, XmlPath};
use crate::document::Role;

pub(super) use tracker::{Tracker, Verdict};

/// The most states that a set of rules may need.
const STATES_MAX: usize = 16384;

/// The namespace of FHIR.
const FHIR: &[u8] = b"http://hl7.org/fhir";

/// The namespace of narratives.
const XHTML: &[u8] = b"http://www.w3.org/1999/xhtml";

/// The attributes of elements of FHIR, and of documents in any vocabulary.
const ATTRIBUTES: [(&[u8], &[u8]); 6] = [
    (b"", b"value"),
    (b"", b"url"),
    (b"", b"id"),
    (b"http://www.w3.org/2001/XMLSchema-instance", b"schemaLocation"),
    (b"http://www.w3.org/XML/1998/namespace", b"base"),
    (b"http://www.w3.org/XML/1998/namespace", b"id"),
];

/// The attributes of a narrative that show no text.
const OF_NARRATIVES: [(&[u8], &[u8]); 6] = [
    (b"", b"lang"),
    (b"", b"class"),
    (b"", b"style"),
    (b"", b"id"),
    (b"", b"dir"),
    (b"http://www.w3.org/XML/1998/namespace", b"lang"),
];

/// The paths of a route, compiled. Shared by all rewriters of the route.
pub struct Rules {
    /// Words in a set of states.
    words: usize,
    initial: Vec<u64>,
    /// States of descendant steps: they stay live below.
    descendant: Vec<u64>,
    /// By test of names: which states take it. Test 0 is any name.
    takes: Vec<u64>,
    /// By state: which states live below once it is taken.
    follow: Vec<u64>,
    states: Vec<State>,
    pub(super) predicates: Vec<Predicate>,
    names: HashMap<Box<[u8]>, Vec<Test>>,
    resources: Option<Resources>,
    /// Whether a rule selects primitives of FHIR whose sealed values stand in extensions.
    pub(super) moves: bool,
}

/// Which resources of FHIR a document may hold.
struct Resources {
    types: HashSet<Box<[u8]>>,
    /// Whether a document may be something else.
    others: bool,
}

/// What an element is to FHIR.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Standing {
    /// Whether what is directly in it is a resource.
    pub(super) place: bool,
    /// Whether it would be a resource that is known, or a document that need not be one.
    pub(super) known: bool,
    /// Whether it is an element of FHIR.
    pub(super) fhir: bool,
    /// Whether it is an extension.
    pub(super) extension: bool,
    /// Whether it would be a narrative.
    pub(super) narrative: bool,
    /// Whether it has an attribute that such an element has not.
    pub(super) odd: bool,
}

/// The rules of a route are too many to be compiled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("paths with more than {} different steps", STATES_MAX)]
pub struct TooManySteps;

/// One or two tests that a name passes, by number; 0 is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Named {
    local: usize,
    qualified: usize,
}

impl Named {
    pub(super) fn passes(self, test: usize) -> bool {
        test != 0 && (self.local == test || self.qualified == test)
    }
}

/// A predicate, its names as tests.
#[derive(PartialEq, Eq, Hash)]
pub(super) struct Predicate {
    pub(super) path: Vec<Met>,
    /// The attribute that is compared; without one it is the text.
    pub(super) attribute: Option<usize>,
    pub(super) literal: Vec<u8>,
}

/// A name on the path of a predicate, as tests: itself, and in no namespace if it is of one.
#[derive(PartialEq, Eq, Hash)]
pub(super) struct Met {
    pub(super) test: usize,
    pub(super) bare: usize,
}

struct Test {
    number: usize,
    uri: Option<Box<[u8]>>,
}

#[derive(Default)]
struct State {
    predicates: Vec<usize>,
    accept: Accept,
}

/// What a state selects of the element that it takes. Of several rules, the first.
#[derive(Default)]
struct Accept {
    text: Option<usize>,
    markup: Option<usize>,
    /// Tests of attributes, with the rule and what it selects.
    attributes: Vec<(usize, usize, Role)>,
    /// Whether it was reached by name alone, so that what it selects is refused.
    alike: bool,
}

impl Rules {
    /// Compiles paths, each with the number of its rule. Where several select one value, the lowest number wins.
    ///
    /// # Errors
    ///
    /// When the paths have more than 16384 different steps between them. A step in a namespace counts three times.
    pub fn compile(paths: &[(usize, XmlPath)]) -> Result<Rules, TooManySteps> {
        let mut builder = Builder::default();
        for (rule, path) in paths {
            builder.path(*rule, path);
            if builder.states.len() > STATES_MAX {
                return Err(TooManySteps);
            }
        }
        let moves = paths.iter().any(|(_, path)| path.role != Role::Value);
        Ok(Rules { moves, ..builder.lay_out() })
    }

    /// Lets documents hold resources of FHIR of these types and no others, wherever resources stand; unless `others`, a document
    /// must be one.
    #[must_use]
    pub fn with_resources(self, types: impl IntoIterator<Item = String>, others: bool) -> Rules {
        let types = types.into_iter().map(|name| name.into_bytes().into()).collect();
        Rules { resources: Some(Resources { types, others }), ..self }
    }

    /// What an element of that name is to FHIR; `None` where nobody asks.
    pub(super) fn standing<'n>(
        &self,
        local: &[u8],
        uri: &[u8],
        mut attributes: impl Iterator<Item = (&'n [u8], &'n [u8])>,
    ) -> Option<Standing> {
        let resources = self.resources.as_ref()?;
        let is_fhir = uri == FHIR;
        let place = is_fhir && PLACES.iter().any(|place| place.as_bytes() == local);
        let known = if is_fhir { resources.types.contains(local) } else { resources.others && !uri.is_empty() };
        let narrative = local == b"div" && uri == XHTML;
        let has: &[(&[u8], &[u8])] = if narrative { &OF_NARRATIVES } else { &ATTRIBUTES };
        let odd = (is_fhir || narrative) && attributes.any(|attribute| !has.contains(&attribute));
        let extension = is_fhir && local == b"extension";
        Some(Standing { place, known, fhir: is_fhir, extension, narrative, odd })
    }

    /// Which tests a name passes.
    pub(super) fn named(&self, local: &[u8], uri: &[u8]) -> Named {
        let mut named = Named::default();
        for test in self.names.get(local).map_or(&[][..], Vec::as_slice) {
            match &test.uri {
                None => named.local = test.number,
                Some(wanted) if **wanted == *uri => named.qualified = test.number,
                Some(_) => {}
            }
        }
        named
    }

    /// Which tests a name could pass, whatever its namespace.
    pub(super) fn mentions(&self, local: &[u8]) -> impl Iterator<Item = usize> + Clone {
        self.names.get(local).map_or(&[][..], Vec::as_slice).iter().map(|test| test.number)
    }
}

/// Where a step leads from: the start, or states that were taken.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    parents: Vec<usize>,
    descendant: bool,
    tests: Vec<usize>,
    predicates: Vec<usize>,
    alike: bool,
}

#[derive(Default)]
struct Builder {
    states: Vec<(Key, Accept)>,
    known: HashMap<Key, usize>,
    predicates: Vec<Predicate>,
    names: HashMap<Box<[u8]>, Vec<Test>>,
    tests: usize,
}

impl Builder {
    fn path(&mut self, rule: usize, path: &XmlPath) {
        let mut exact: Vec<usize> = Vec::new();
        let mut alike: Vec<usize> = Vec::new();
        for step in &path.steps {
            let test = step.name.as_ref().map_or(0, |name| self.test(name));
            let mut predicates: Vec<usize> =
                step.predicates.iter().map(|predicate| self.predicate(predicate)).collect();
            // Those that the start tag decides come first: if they do not hold, the others need not be waited for.
            predicates.sort_by_key(|&number| (!self.is_near(number), number));
            predicates.dedup();
            let near: Vec<usize> = predicates.iter().copied().filter(|&number| self.is_near(number)).collect();
            let bare = step.name.as_ref().and_then(|name| self.bare(name));
            let mut loose = Vec::new();
            let key = |parents: &[usize], tests, predicates, alike| Key {
                parents: parents.to_vec(),
                descendant: step.descendant,
                tests,
                predicates,
                alike,
            };
            if let Some(bare) = bare {
                loose.push(self.state(key(&exact, vec![bare], Vec::clone(&near), true)));
            }
            if !alike.is_empty() {
                let tests = std::iter::once(test).chain(bare).collect();
                loose.push(self.state(key(&alike, tests, near, true)));
            }
            exact = vec![self.state(key(&exact, vec![test], predicates, false))];
            alike = loose;
        }
        self.accept((rule, path.role), &path.target, &exact);
        if !alike.is_empty() {
            self.accept((rule, path.role), &path.target, &alike);
        }
    }

    fn accept(&mut self, (rule, role): (usize, Role), target: &Target, last: &[usize]) {
        let Target::Attribute { name, below } = target else {
            for &state in last {
                let Some((_, accept)) = self.states.get_mut(state) else { continue };
                let place = if *target == Target::Text { &mut accept.text } else { &mut accept.markup };
                *place = Some(place.map_or(rule, |first| first.min(rule)));
            }
            return;
        };
        let test = self.test(name);
        let mut holders = last.to_vec();
        if *below {
            let alike = last.first().and_then(|&state| self.states.get(state)).is_some_and(|(key, _)| key.alike);
            let (descendant, tests, predicates) = (true, vec![0], Vec::new());
            holders.push(self.state(Key { parents: last.to_vec(), descendant, tests, predicates, alike }));
        }
        for state in holders {
            if let Some((_, accept)) = self.states.get_mut(state) {
                accept.attributes.push((test, rule, role));
            }
        }
    }

    fn state(&mut self, key: Key) -> usize {
        let fresh = self.states.len();
        let state = *self.known.entry(key.clone()).or_insert(fresh);
        if state == fresh {
            let accept = Accept { alike: key.alike, ..Accept::default() };
            self.states.push((key, accept));
        }
        state
    }

    fn test(&mut self, name: &Name) -> usize {
        let uri = name.uri.as_ref().map(|uri| uri.as_bytes().into());
        let tests = self.names.entry(name.local.as_bytes().into()).or_default();
        if let Some(test) = tests.iter().find(|test| test.uri == uri) {
            return test.number;
        }
        self.tests += 1;
        tests.push(Test { number: self.tests, uri });
        self.tests
    }

    /// The test for a name of a namespace, where it is in none.
    fn bare(&mut self, name: &Name) -> Option<usize> {
        name.uri.as_ref().filter(|uri| !uri.is_empty())?;
        Some(self.test(&Name { uri: Some(String::new()), local: name.local.clone() }))
    }

    fn predicate(&mut self, predicate: &super::path::Predicate) -> usize {
        let predicate = Predicate {
            path: predicate
                .path
                .iter()
                .map(|name| Met { test: self.test(name), bare: self.bare(name).unwrap_or_default() })
                .collect(),
            attribute: predicate.attribute.as_ref().map(|name| self.test(name)),
            literal: predicate.literal.as_bytes().to_vec(),
        };
        self.predicates.iter().position(|known| *known == predicate).unwrap_or_else(|| {
            self.predicates.push(predicate);
            self.predicates.len() - 1
        })
    }

    fn is_near(&self, predicate: usize) -> bool {
        self.predicates.get(predicate).is_some_and(|predicate| predicate.path.is_empty())
    }

    fn lay_out(self) -> Rules {
        let words = self.states.len().div_ceil(64).max(1);
        let mut rules = Rules {
            words,
            initial: vec![0; words],
            descendant: vec![0; words],
            takes: vec![0; words * (self.tests + 1)],
            follow: vec![0; words * self.states.len()],
            states: Vec::with_capacity(self.states.len()),
            predicates: self.predicates,
            names: self.names,
            resources: None,
            moves: false,
        };
        for (number, (key, accept)) in self.states.into_iter().enumerate() {
            if key.parents.is_empty() {
                set(&mut rules.initial, number);
            }
            for parent in key.parents {
                set(row_mut(&mut rules.follow, words, parent), number);
            }
            if key.descendant {
                set(&mut rules.descendant, number);
            }
            for test in key.tests {
                set(row_mut(&mut rules.takes, words, test), number);
            }
            rules.states.push(State { predicates: key.predicates, accept });
        }
        rules
    }
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
