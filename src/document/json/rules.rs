//! All paths of a route as one automaton.
//!
//! A state stands for a step of a path that is still to be taken; paths with a common beginning share its states. The
//! states that are live in an object or array are a bit set, so a step costs the same however the document is built.

use std::collections::HashMap;
use std::sync::Arc;

use crate::document::Role;
use crate::document::fhir::{FhirPath, FhirTest};
use crate::document::path::{FieldPath, Selector, Test};

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
    /// By state: which states live below once it is taken.
    pub(super) follow: Vec<u64>,
    /// By state: the first path that ends with it.
    pub(super) accept: Vec<u32>,
    /// By state: which tests must hold.
    pub(super) tests: Vec<Vec<usize>>,
    /// By path: its rule.
    pub(super) by_path: Vec<Rule>,
    pub(super) names: Names,
    pub(super) indices: HashMap<u64, usize>,
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

/// How it is found out whether tests hold.
pub(super) struct Probing {
    /// What finds the values that are compared; the first is the type of a resource.
    pub(super) rules: Arc<Rules>,
    /// By test: which of these values, and what it must be.
    pub(super) tests: Vec<(usize, Box<[u8]>)>,
}

/// Where a resource stands in JSON (R4): in a Bundle's entry and as a parameter, in another resource, as the outcome of an entry.
const PLACES: [&str; 3] = ["resource", "contained", "outcome"];

pub(super) const KIND: &str = "resourceType";

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

    fn lay_out(states: &States<'_>) -> Rules {
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
            follow: vec![0; words * count],
            accept: states.all.iter().map(|state| state.accept).collect(),
            tests: states.all.iter().map(|state| state.tests.clone()).collect(),
            by_path: Vec::new(),
            names: Names::default(),
            indices: HashMap::new(),
            carries: states.all.iter().any(|state| state.transparent),
            resources: None,
            probing: None,
        };
        let rows = rules.number_rows(states);
        rules.takes.resize(words * rows, 0);
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

const NO_RULE: u32 = u32::MAX;

struct State<'a> {
    parent: Parent<'a>,
    descendant: bool,
    transparent: bool,
    taken: Taken<'a>,
    tests: Vec<usize>,
    accept: u32,
}

/// What a state follows on.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Parent<'a> {
    Document,
    /// A resource of that type, or of any.
    Resource(Option<&'a str>),
    State(usize),
}

/// By what a state is taken.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Taken<'a> {
    Name(&'a str),
    Index(u64),
    Any,
}

/// The states of all paths, each once.
#[derive(Default)]
struct States<'a> {
    all: Vec<State<'a>>,
    known: HashMap<(Parent<'a>, Step<'a>), usize>,
    tests: Vec<Compared<'a>>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Step<'a> {
    descendant: bool,
    transparent: bool,
    taken: Taken<'a>,
    tests: Vec<usize>,
}

/// A test of either kind.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Compared<'a> {
    Field(&'a Test),
    Fhir(&'a FhirTest),
}

impl<'a> States<'a> {
    fn add(&mut self, path: JsonPath<'a>, number: u32) -> Result<(), TooManySteps> {
        let parent = match path {
            JsonPath::Field(_) => Parent::Document,
            JsonPath::Fhir(path) => Parent::Resource(path.resource()),
        };
        let steps: Vec<Step<'a>> = match path {
            JsonPath::Field(path) => {
                let step = |segment: &'a crate::document::path::Segment| {
                    let (taken, tests) = self.taken(&segment.selector);
                    Step { descendant: segment.descendant, transparent: false, taken, tests }
                };
                path.segments().iter().map(step).collect()
            }
            JsonPath::Fhir(path) => {
                let step = |step: &'a crate::document::fhir::Step| {
                    let tests = step.tests.iter().map(|test| self.test(Compared::Fhir(test))).collect();
                    Step { descendant: step.descendant, transparent: true, taken: Taken::Name(&step.name), tests }
                };
                path.steps().iter().map(step).collect()
            }
        };
        self.follow(parent, steps, number)
    }

    fn taken(&mut self, selector: &'a Selector) -> (Taken<'a>, Vec<usize>) {
        match selector {
            Selector::Name(name) => (Taken::Name(name), Vec::new()),
            Selector::Index(index) => (Taken::Index(*index), Vec::new()),
            Selector::Any => (Taken::Any, Vec::new()),
            Selector::Filter(tests) => {
                (Taken::Any, tests.iter().map(|test| self.test(Compared::Field(test))).collect())
            }
        }
    }

    fn test(&mut self, test: Compared<'a>) -> usize {
        self.tests.iter().position(|known| *known == test).unwrap_or_else(|| {
            self.tests.push(test);
            self.tests.len() - 1
        })
    }

    /// What looks into a value for the tests, if any path needs that. Every way into a value is a path from its top.
    fn probing(&self) -> Result<Option<Probing>, TooManySteps> {
        let by_resource = self.all.iter().any(|state| matches!(state.parent, Parent::Resource(_)));
        if self.tests.is_empty() && !by_resource {
            return Ok(None);
        }
        let mut probes = States::default();
        let ways: Vec<Vec<Step<'a>>> = self.tests.iter().map(|test| test.way()).collect();
        let kind = Step { descendant: false, transparent: false, taken: Taken::Name(KIND), tests: Vec::new() };
        probes.follow(Parent::Document, vec![kind], 0)?;
        let mut tests = Vec::with_capacity(ways.len());
        for (test, way) in self.tests.iter().zip(&ways) {
            let number = ways.iter().position(|known| known == way).unwrap_or(0) + 1;
            probes.follow(Parent::Document, way.clone(), u32::try_from(number).map_err(|_| TooManySteps)?)?;
            tests.push((number, test.text().as_bytes().into()));
        }
        let mut rules = Rules::lay_out(&probes);
        rules.by_path = (0..=ways.len()).map(|number| Rule { number, role: Role::Value, passes: false }).collect();
        Ok(Some(Probing { rules: Arc::new(rules), tests }))
    }

    /// Adds the states of one path, which ends with `number`.
    fn follow(&mut self, from: Parent<'a>, steps: Vec<Step<'a>>, number: u32) -> Result<(), TooManySteps> {
        let mut parent = from;
        for step in steps {
            let fresh = self.all.len();
            let state = *self.known.entry((parent, step.clone())).or_insert(fresh);
            if state == fresh {
                let Step { descendant, transparent, taken, tests } = step;
                self.all.push(State { parent, descendant, transparent, taken, tests, accept: NO_RULE });
            }
            parent = Parent::State(state);
        }
        if let Parent::State(last) = parent
            && let Some(last) = self.all.get_mut(last)
        {
            last.accept = last.accept.min(number);
        }
        if self.all.len() > STATES_MAX { Err(TooManySteps) } else { Ok(()) }
    }
}

impl<'a> Compared<'a> {
    /// The way to the value that is compared.
    fn way(&self) -> Vec<Step<'a>> {
        let step = |transparent, taken| Step { descendant: false, transparent, taken, tests: Vec::new() };
        match self {
            Compared::Field(test) => {
                let taken = test.path.iter().map(|selector| match selector {
                    Selector::Name(name) => Taken::Name(name),
                    Selector::Index(index) => Taken::Index(*index),
                    // None of both stands in a test.
                    Selector::Any | Selector::Filter(_) => Taken::Any,
                });
                taken.map(|taken| step(false, taken)).collect()
            }
            Compared::Fhir(test) => test.names.iter().map(|name| step(true, Taken::Name(name))).collect(),
        }
    }

    fn text(&self) -> &'a str {
        match self {
            Compared::Field(test) => &test.text,
            Compared::Fhir(test) => &test.text,
        }
    }
}

fn set(bits: &mut [u64], number: usize) {
    if let Some(word) = bits.get_mut(number / 64) {
        *word |= 1 << (number % 64);
    }
}

pub(super) fn row(table: &[u64], words: usize, number: usize) -> &[u64] {
    table.get(number * words..(number + 1) * words).unwrap_or_default()
}

pub(super) fn row_mut(table: &mut [u64], words: usize, number: usize) -> &mut [u64] {
    table.get_mut(number * words..(number + 1) * words).unwrap_or_default()
}

/// From member names to rows. Names of documents are only looked up, never stored, so the hash need not resist floods:
/// the longest search is bounded by the configuration.
#[derive(Default)]
pub(super) struct Names {
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

    /// The row of a name, 0 if no path mentions it.
    fn row(&self, name: &[u8]) -> usize {
        match self.find(name) {
            Named::Exactly(row) => row,
            Named::Alike(_) | Named::No => 0,
        }
    }

    #[inline]
    pub(super) fn find(&self, name: &[u8]) -> Named {
        let mut place = hash(name);
        let mut found = Named::No;
        loop {
            let Some(&taken) = self.places.get(place & self.places.len().wrapping_sub(1)) else {
                return found;
            };
            let Some((known, row)) = self.entries.get(taken.wrapping_sub(1)) else {
                return found;
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
}

/// Whether paths mention a name; if so, its row.
#[derive(Clone, Copy)]
pub(super) enum Named {
    Exactly(usize),
    /// But for the case of ASCII letters.
    Alike(usize),
    No,
}

/// Mixes the length and both ends of a name, without the bit that tells the case of ASCII letters.
#[inline]
fn hash(name: &[u8]) -> usize {
    let (head, tail) = match (name.first_chunk::<8>(), name.last_chunk::<8>()) {
        (Some(head), Some(tail)) => (u64::from_le_bytes(*head), u64::from_le_bytes(*tail)),
        _ => match (name.first_chunk::<4>(), name.last_chunk::<4>()) {
            (Some(head), Some(tail)) => (u64::from(u32::from_le_bytes(*head)), u64::from(u32::from_le_bytes(*tail))),
            _ => (name.iter().fold(0, |word, &byte| word << 8 | u64::from(byte)), 0),
        },
    };
    const CASE: u64 = 0x2020_2020_2020_2020;
    let (head, tail) = (head | CASE, tail | CASE);
    let mixed = (head ^ tail.rotate_left(23) ^ name.len() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    usize::try_from(mixed >> 33).unwrap_or_default()
}
