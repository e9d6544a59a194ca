//! All paths of a route as one automaton.
//!
//! A state stands for a step of a path that is still to be taken; paths with a common beginning share its states. The
//! states that are live in an object or array are a bit set, so a step costs the same however the document is built.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::names::{BEGINNINGS, Names, beginning};
use super::states::{Parent, States, Taken};
use crate::document::Role;
use crate::document::fhir::FhirPath;
use crate::document::path::FieldPath;

/// The most states that a set of rules may need.
pub(super) const STATES_MAX: usize = 4096;

/// The paths of a route, compiled. Shared by all rewriters of the route.
pub struct Rules {
    /// Words in a set of states.
    pub(super) words: usize,
    pub(super) initial: Vec<u64>,
    /// States of descendant steps: they stay live below.
    pub(super) descendant: Vec<u64>,
    /// States of steps that arrays do not count for: they stay live in elements.
    pub(super) transparent: Vec<u64>,
    /// States that are taken only where tests hold.
    pub(super) tested: Vec<u64>,
    /// States that look at the index of an element.
    pub(super) indexed: Vec<u64>,
    /// By row: which states a name or index takes. Row 0 is for those that no path mentions.
    pub(super) takes: Vec<u64>,
    /// By how a name begins: the states that take one which begins so, for itself. Only if all states are in one word, and none is
    /// of a resource.
    pub(super) waiting: Vec<u64>,
    /// By state: which states live below once it is taken.
    pub(super) follow: Vec<u64>,
    /// By state: the first path that ends with it.
    pub(super) accept: Vec<u32>,
    /// By state: which tests must hold.
    pub(super) tests: Vec<Vec<usize>>,
    /// By path: its rule.
    pub(super) by_path: Vec<Rule>,
    pub(super) names: Names,
    pub(super) indices: BTreeMap<u64, usize>,
    /// Whether arrays pass something on to their elements.
    pub(super) carries: bool,
    pub(super) resources: Option<Resources>,
    pub(super) probing: Option<Probing>,
}

/// What paths by resource type need to know.
pub(super) struct Resources {
    /// By type: which states live in such a resource.
    pub(super) initial: HashMap<Box<[u8]>, Vec<u64>>,
    /// The row of `resourceType`.
    pub(super) kind: usize,
    /// The rows of the names under which a resource stands.
    pub(super) places: [usize; 3],
}

impl Resources {
    /// Whether a row is that of `resourceType` or of a name under which a resource stands.
    pub(super) fn know(&self, row: usize) -> bool {
        self.kind == row || self.places.contains(&row)
    }
}

/// How it is found out whether tests hold.
pub(super) struct Probing {
    /// What finds the values that are compared; the first is the type of a resource.
    pub(super) rules: Arc<Rules>,
    /// By test: which of these values, and what it must be.
    pub(super) tests: Vec<(usize, Box<[u8]>)>,
    /// By test: the names with which the way to the value begins.
    pub(super) names: Vec<Vec<Box<[u8]>>>,
}

/// Where a resource stands in JSON (R4): in a Bundle's entry and as a parameter, in another resource, as the outcome of an entry.
const PLACES: [&str; 3] = ["resource", "contained", "outcome"];

/// Which of them is a place of resources alone.
pub(super) const CONTAINED_PLACE: usize = 1;

pub(super) const KIND: &str = "resourceType";

/// How long these names are: a bit each.
pub(super) const LENGTHS: u64 = 1 << PLACES[0].len() | 1 << PLACES[1].len() | 1 << PLACES[2].len() | 1 << KIND.len();

/// Which rule a path is of, and as what.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) number: usize,
    pub(super) role: Role,
    /// Whether what the path selects passes.
    pub(super) passes: bool,
}

/// A path of a rule.
#[derive(Clone, Copy)]
pub struct Selected<'a> {
    /// The path.
    pub path: JsonPath<'a>,
    /// The number of the rule.
    pub rule: usize,
    /// What the path selects for the rule.
    pub role: Role,
    /// Whether what the path selects passes: it is not shown, nor by any later path.
    pub passes: bool,
}

/// A path of either kind.
#[derive(Clone, Copy)]
pub enum JsonPath<'a> {
    /// From the top of the document.
    Field(&'a FieldPath),
    /// From a resource.
    Fhir(&'a FhirPath),
}

/// The rules of a route are too many to be compiled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("paths with more than {} different steps", STATES_MAX)]
pub struct TooManySteps;

impl Rules {
    /// Compiles paths; a rule's number is its index in `paths`. Where several select one value, the first wins.
    ///
    /// # Errors
    ///
    /// When the paths have more than 4096 different steps between them.
    pub fn compile(paths: &[FieldPath]) -> Result<Rules, TooManySteps> {
        let value = |(rule, path)| Selected { path: JsonPath::Field(path), rule, role: Role::Value, passes: false };
        let paths: Vec<_> = paths.iter().enumerate().map(value).collect();
        Rules::compile_all(&paths, &[])
    }

    /// Compiles the paths of rules. Where several select one value, the first wins. If any path is one by resource type, resources of a type that neither a path nor `types` names are
    /// refused, as is a document that is no resource.
    ///
    /// # Errors
    ///
    /// As [`Rules::compile`].
    pub fn compile_all(paths: &[Selected<'_>], types: &[String]) -> Result<Rules, TooManySteps> {
        let mut states = States::default();
        for (number, selected) in (0_u32..).zip(paths) {
            states.add(selected.path, number)?;
        }
        let mut rules = Rules::lay_out(&states);
        let rule = |&Selected { rule: number, role, passes, .. }: &Selected<'_>| Rule { number, role, passes };
        rules.by_path = paths.iter().map(rule).collect();
        if let Some(resources) = &mut rules.resources {
            for name in types {
                let any = vec![0; rules.words];
                resources.initial.entry(name.as_bytes().into()).or_insert(any);
            }
            let any = resources.initial.remove(&b""[..]).unwrap_or_default();
            for states in resources.initial.values_mut() {
                states.iter_mut().zip(&any).for_each(|(states, any)| *states |= any);
            }
        }
        rules.probing = states.probing()?;
        Ok(rules)
    }

    /// Whether any path is one by resource type.
    #[must_use]
    pub fn by_resource_type(&self) -> bool {
        self.resources.is_some()
    }

    /// Whether every path is one by resource type.
    #[must_use]
    pub fn is_by_resource_type_alone(&self) -> bool {
        self.by_resource_type() && self.initial.iter().all(|word| *word == 0)
    }

    /// Whether resources of that type are known to rules by resource type.
    #[must_use]
    pub fn knows_resource(&self, name: &str) -> bool {
        self.resources.as_ref().is_some_and(|resources| resources.initial.contains_key(name.as_bytes()))
    }

    pub(super) fn lay_out(states: &States<'_>) -> Rules {
        let count = states.all.len();
        let words = count.div_ceil(64).max(1);
        let mut rules = Rules {
            words,
            initial: vec![0; words],
            descendant: vec![0; words],
            transparent: vec![0; words],
            tested: vec![0; words],
            indexed: vec![0; words],
            takes: Vec::new(),
            waiting: Vec::new(),
            follow: vec![0; words * count],
            accept: states.all.iter().map(|state| state.accept).collect(),
            tests: states.all.iter().map(|state| state.tests.clone()).collect(),
            by_path: Vec::new(),
            names: Names::default(),
            indices: BTreeMap::new(),
            carries: states.all.iter().any(|state| state.transparent),
            resources: None,
            probing: None,
        };
        let rows = rules.number_rows(states);
        rules.takes.resize(words * rows, 0);
        if words == 1 && rules.resources.is_none() {
            rules.waiting.resize(BEGINNINGS, 0);
        }
        for (number, state) in states.all.iter().enumerate() {
            match state.parent {
                Parent::Document => set(&mut rules.initial, number),
                Parent::State(parent) => set(row_mut(&mut rules.follow, words, parent), number),
                Parent::Resource(name) => {
                    if let Some(resources) = &mut rules.resources {
                        let name = name.unwrap_or_default().as_bytes();
                        set(resources.initial.entry(name.into()).or_insert_with(|| vec![0; words]), number);
                    }
                }
            }
            for (bits, is_set) in [
                (&mut rules.descendant, state.descendant),
                (&mut rules.transparent, state.transparent),
                (&mut rules.tested, !state.tests.is_empty()),
                (&mut rules.indexed, matches!(state.taken, Taken::Index(_))),
            ] {
                if is_set {
                    set(bits, number);
                }
            }
            match state.taken {
                Taken::Name(name) => {
                    if let Some(waiting) = rules.waiting.get_mut(beginning(name.as_bytes())) {
                        *waiting |= 1 << number;
                    }
                    set(row_mut(&mut rules.takes, words, rules.names.row(name.as_bytes())), number);
                }
                Taken::Index(index) => {
                    set(row_mut(&mut rules.takes, words, rules.indices.get(&index).copied().unwrap_or(0)), number);
                }
                Taken::Any => rules.takes.chunks_exact_mut(words).for_each(|row| set(row, number)),
            }
        }
        rules
    }

    /// Gives every name and index a row; tells how many there are.
    fn number_rows(&mut self, states: &States<'_>) -> usize {
        let mut rows = 1;
        let by_resource = states.all.iter().any(|state| matches!(state.parent, Parent::Resource(_)));
        if by_resource {
            for name in PLACES.iter().chain([&KIND]) {
                rows += usize::from(self.names.insert(name.as_bytes(), rows));
            }
        }
        for state in &states.all {
            match state.taken {
                Taken::Name(name) => rows += usize::from(self.names.insert(name.as_bytes(), rows)),
                Taken::Index(index) => {
                    self.indices.entry(index).or_insert_with(|| {
                        rows += 1;
                        rows - 1
                    });
                }
                Taken::Any => {}
            }
        }
        self.names.build();
        if by_resource {
            let row = |name: &str| self.names.row(name.as_bytes());
            self.resources = Some(Resources { initial: HashMap::new(), kind: row(KIND), places: PLACES.map(row) });
        }
        rows
    }
}

fn set(bits: &mut [u64], number: usize) {
    if let Some(word) = bits.get_mut(number / 64) {
        *word |= 1 << (number % 64);
    }
}

/// The numbers in a set.
pub(super) fn members(bits: &[u64]) -> impl Iterator<Item = usize> {
    let of_word = |(base, word): (usize, &u64)| {
        let word = *word;
        (0..64).filter(move |bit| word >> bit & 1 != 0).map(move |bit| base * 64 + bit)
    };
    bits.iter().enumerate().flat_map(of_word)
}

pub(super) fn row(table: &[u64], words: usize, number: usize) -> &[u64] {
    table.get(number * words..(number + 1) * words).unwrap_or_default()
}

pub(super) fn row_mut(table: &mut [u64], words: usize, number: usize) -> &mut [u64] {
    table.get_mut(number * words..(number + 1) * words).unwrap_or_default()
}
