//! The states of all paths, each once, before they become an automaton.

use std::collections::HashMap;
use std::sync::Arc;

use super::rules::{JsonPath, KIND, Probing, Rule, Rules, STATES_MAX, TooManySteps};
use crate::document::Role;
use crate::document::fhir::FhirTest;
use crate::document::path::{Selector, Test};

pub(super) const NO_RULE: u32 = u32::MAX;

pub(super) struct State<'a> {
    pub(super) parent: Parent<'a>,
    pub(super) descendant: bool,
    pub(super) transparent: bool,
    pub(super) taken: Taken<'a>,
    pub(super) tests: Vec<usize>,
    pub(super) accept: u32,
}

/// What a state follows on.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Parent<'a> {
    Document,
    /// A resource of that type, or of any.
    Resource(Option<&'a str>),
    State(usize),
}

/// By what a state is taken.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Taken<'a> {
    Name(&'a str),
    Index(u64),
    Any,
}

/// The states of all paths, each once.
#[derive(Default)]
pub(super) struct States<'a> {
    pub(super) all: Vec<State<'a>>,
    pub(super) known: HashMap<(Parent<'a>, Step<'a>), usize>,
    pub(super) tests: Vec<Compared<'a>>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Step<'a> {
    pub(super) descendant: bool,
    pub(super) transparent: bool,
    pub(super) taken: Taken<'a>,
    pub(super) tests: Vec<usize>,
}

/// A test of either kind.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Compared<'a> {
    Field(&'a Test),
    Fhir(&'a FhirTest),
}

impl<'a> States<'a> {
    pub(super) fn add(&mut self, path: JsonPath<'a>, number: u32) -> Result<(), TooManySteps> {
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
    pub(super) fn probing(&self) -> Result<Option<Probing>, TooManySteps> {
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
        let name = |step: &Step<'a>| match step.taken {
            Taken::Name(name) => Some(name.as_bytes().into()),
            Taken::Index(_) | Taken::Any => None,
        };
        let names = ways.iter().map(|way| way.iter().map_while(name).collect()).collect();
        Ok(Some(Probing { rules: Arc::new(rules), tests, names }))
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
