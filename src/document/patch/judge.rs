//! What the rules say of the place that a JSON pointer leads to, in a document that is not there to be asked. What
//! could be decided in more than one way is refused.

use std::sync::Arc;

use super::operation::{Operation, Verb};
use super::pointer::{Index, Pointer};
use crate::document::Role;
use crate::document::json::{CONTAINERS, Guide, NEEDS_CONTEXT, OTHER_TYPE, Rules, Spot, UNKNOWN_TYPE, parts, unquote};

/// Judges the operations of one patch.
pub(super) struct Judge {
    guide: Guide,
    /// Follows the ways to the texts that tests compare.
    tests: Option<Guide>,
    by_type: bool,
    resource: Option<String>,
    /// Where the document stands that is patched.
    top: Spot,
}

/// Why an operation is refused.
const COVERED: &str = "a pointer into a value that is protected whole";
const MOVED: &str = "move or copy of a value that is protected";
const COUNTED: &str = "patch needs context: a rule counts the elements of the array";
const TYPE: &str = "a patch of a resourceType";
const ALIKE: &str = "a name that differs from a ruled one by case alone";
pub(super) const PRIMITIVE: &str = "a patch of a primitive that is sealed beside its place";
const UNKNOWN_ELEMENTS: &str = "a patch of elements where rules name places";
const NO_RESOURCE: &str = "a document that is no resource";

/// In how many ways a pointer may be read.
const READINGS_MAX: usize = 64;

impl Judge {
    /// For patches of a document, which is a resource of type `resource` if rules go by that.
    pub(super) fn new(rules: Arc<Rules>, resource: Option<&str>) -> Result<Judge, &'static str> {
        let by_type = rules.by_resource_type();
        let guide = Guide::new(rules);
        let top = match resource {
            _ if !by_type => guide.top(),
            Some(kind) => guide.resource(kind).ok_or("a resource of a type that no rule names")?,
            None => return Err(UNKNOWN_TYPE),
        };
        let tests = guide.of_tests();
        Ok(Judge { guide, tests, by_type, resource: resource.map(str::to_owned), top })
    }

    /// For patches whose paths name elements, of a resource of that type. Rules must go by that alone: others mind where
    /// arrays are, of which such paths tell nothing.
    pub(super) fn of_elements(rules: Arc<Rules>, resource: Option<&str>) -> Result<Judge, &'static str> {
        let is_by_type = rules.is_by_resource_type_alone();
        let judge = Judge::new(rules, resource)?;
        if is_by_type { Ok(judge) } else { Err(UNKNOWN_ELEMENTS) }
    }

    /// Where a value stands that is no part of the document.
    pub(super) fn nowhere(&self) -> Spot {
        self.guide.nowhere()
    }

    /// Tells where the value of an operation of `patch` stands; `None` if it has none.
    pub(super) fn judge(&mut self, patch: &[u8], operation: &Operation) -> Result<Option<Spot>, &'static str> {
        let Operation { verb, path, from, value, .. } = operation;
        let walk = self.walk(path)?;
        if walk.is_kind() && *verb != Verb::Test {
            return Err(TYPE);
        }
        let is_beside = |spot: &Spot| self.guide.role(spot) == Some(Role::Companion);
        let is_beside =
            |reading: &Reading| is_beside(&reading.spot) || reading.supposed.as_ref().is_some_and(is_beside);
        let adds_extension =
            *verb == Verb::Add && matches!(path.tokens(), [.., list, end] if *list == b"extension" && *end == b"-");
        if (walk.beside || walk.readings.iter().any(is_beside)) && !adds_extension {
            return Err(PRIMITIVE);
        }
        if walk.counted && matches!(verb, Verb::Add | Verb::Remove) {
            return Err(COUNTED);
        }
        if let Some(from) = from {
            let source = self.walk(from)?;
            return if self.is_free(path, &walk) && self.is_free(from, &source) { Ok(None) } else { Err(MOVED) };
        }
        let Some(value) = value else { return Ok(None) };
        if self.by_type && path.tokens().is_empty() {
            self.check_document(patch, value.start)?;
            return Ok(Some(self.guide.top()));
        }
        let spot = self.placed(walk, *verb)?;
        if self.guide.role(&spot) == Some(Role::Primitive) { Err(PRIMITIVE) } else { Ok(Some(spot)) }
    }

    /// Tells where a value may be put that has these names in JSON.
    pub(super) fn named(&mut self, names: Vec<Vec<u8>>) -> Result<Spot, &'static str> {
        let walk = self.walk_in(names)?;
        self.placed(walk, Verb::Add)
    }

    /// Tells where there may be what has these names in JSON, whatever the tests on the way say.
    pub(super) fn found(&mut self, names: Vec<Vec<u8>>) -> Result<Vec<Spot>, &'static str> {
        let walk = self.walk_in(names)?;
        match (walk.covered, walk.doubtful) {
            (true, _) => Err(COVERED),
            (_, true) => Err(NEEDS_CONTEXT),
            _ => Ok(walk
                .readings
                .into_iter()
                .flat_map(|reading| [Some(reading.spot), reading.supposed])
                .flatten()
                .collect()),
        }
    }

    /// Goes not beside a primitive that is sealed there, nor to the type of the resource.
    fn walk_in(&mut self, names: Vec<Vec<u8>>) -> Result<Walk, &'static str> {
        let walk = self.walk(&Pointer::of(names))?;
        if walk.is_kind() {
            return Err(TYPE);
        }
        let is_companion = |spot: &Spot| self.guide.role(spot) == Some(Role::Companion);
        let is_beside = |reading: &Reading| {
            [Some(&reading.spot), reading.supposed.as_ref()].into_iter().flatten().any(is_companion)
        };
        if walk.beside || walk.readings.iter().any(is_beside) { Err(PRIMITIVE) } else { Ok(walk) }
    }

    pub(super) fn guide(&mut self) -> &mut Guide {
        &mut self.guide
    }

    /// Where a new value stands, or one that is compared.
    fn placed(&self, walk: Walk, verb: Verb) -> Result<Spot, &'static str> {
        let compared = walk.readings.iter().any(|reading| self.is_compared(reading));
        if walk.covered {
            return Err(COVERED);
        }
        if walk.is_doubtful() || compared && verb != Verb::Test {
            return Err(NEEDS_CONTEXT);
        }
        let spots: Vec<Spot> = walk.readings.into_iter().map(|reading| reading.spot).collect();
        let spot = self.guide.merged(&spots).ok_or(NEEDS_CONTEXT)?;
        Ok(spot)
    }

    /// Whether what stands at a pointer may go elsewhere, or be put there from elsewhere.
    fn is_free(&self, pointer: &Pointer, walk: &Walk) -> bool {
        let holds_resources =
            self.by_type && (pointer.tokens().is_empty() || self.resource.as_deref().is_some_and(is_container));
        !holds_resources
            && !walk.covered
            && !walk.counted
            && !walk.is_kind()
            && !walk.is_doubtful()
            && walk.readings.iter().all(|reading| reading.spot.is_free() && !self.is_compared(reading))
    }

    /// Whether a test compares what stands there, something inside of it or something that it is inside of.
    fn is_compared(&self, reading: &Reading) -> bool {
        let leads =
            |looked: &Looked| self.tests.as_ref().is_some_and(|tests| tests.leads_to(&looked.spot, &looked.ways));
        reading.compared || reading.looked.iter().any(leads)
    }

    /// Refuses a whole document, at `at` of the patch, that is no resource of the right type.
    fn check_document(&self, patch: &[u8], at: usize) -> Result<(), &'static str> {
        let members = match parts(patch, at) {
            Some((members, _)) if patch.get(at) == Some(&b'{') => members,
            _ => return Err(NO_RESOURCE),
        };
        let text = |range| patch.get(range).and_then(unquote);
        let kind = members.into_iter().find(|member| text(member.name.clone()).as_deref() == Some(b"resourceType"));
        let kind = kind.ok_or(NO_RESOURCE)?;
        let is_same = text(kind.value).as_deref() == self.resource.as_deref().map(str::as_bytes);
        if is_same { Ok(()) } else { Err(OTHER_TYPE) }
    }

    fn walk(&mut self, pointer: &Pointer) -> Result<Walk, &'static str> {
        let mut walk = Walk { readings: vec![Reading::of(self.top.clone())], ..Walk::default() };
        for token in pointer.tokens() {
            if walk.is_kind() {
                return Err(TYPE);
            }
            self.step(&mut walk, token)?;
            if walk.readings.len() > READINGS_MAX {
                return Err(NEEDS_CONTEXT);
            }
        }
        Ok(walk)
    }

    /// Takes a step in every way that the token can be read: as the name of a member and as the index of an element.
    fn step(&mut self, walk: &mut Walk, token: &[u8]) -> Result<(), &'static str> {
        let index = Index::of(token);
        let is_number = matches!(index, Index::Of(_) | Index::End) && !self.guide.mentions(token);
        walk.counted = false;
        for reading in std::mem::take(&mut walk.readings) {
            if index != Index::No {
                let counts = self.counts(&reading);
                walk.counted |= counts;
                let indices = match index {
                    Index::Of(index) => vec![index],
                    _ if counts => self.every_index(),
                    _ => vec![u64::MAX],
                };
                for index in indices {
                    let next = self.element(&reading, index, walk);
                    walk.add(next);
                }
            }
            // Where paths mean the elements of arrays nobody has members with numbers for names.
            if !(is_number && self.means_elements(&reading)) {
                let next = self.member(reading, token, walk)?;
                walk.add(next);
            }
        }
        Ok(())
    }

    fn means_elements(&self, reading: &Reading) -> bool {
        let most = reading.supposed.as_ref().unwrap_or(&reading.spot);
        [&reading.spot, most].iter().any(|spot| self.guide.means_elements(spot))
    }

    /// From an object to a member of it; nothing if there is no more to be told.
    fn member(&mut self, reading: Reading, name: &[u8], walk: &mut Walk) -> Result<Option<Reading>, &'static str> {
        let Reading { spot, supposed, mut looked, mut compared } = reading;
        if self.guide.is_covered(&spot) {
            walk.covered = true;
            walk.doubtful |= supposed.is_some();
            return Ok(None);
        }
        let most = supposed.as_ref().unwrap_or(&spot);
        walk.beside |= [&spot, most].iter().any(|spot| self.guide.role(spot) == Some(Role::Companion));
        let ways = self.guide.ways(most);
        if let Some(tests) = self.tests.as_ref().filter(|_| !ways.is_empty()) {
            looked.push(Looked { spot: tests.top(), ways });
        }
        let supposed = self.guide.supposed(most).or(supposed);
        if supposed.as_ref().is_some_and(|supposed| !supposed.is_selected_as(&spot)) {
            walk.doubtful = true;
            return Ok(None);
        }
        let spot = self.guide.member(&spot, name);
        let supposed = supposed.map(|supposed| self.guide.member(&supposed, name));
        let mut is_alike = spot.is_alike() || supposed.as_ref().is_some_and(Spot::is_alike);
        if let Some(tests) = &mut self.tests {
            for looked in &mut looked {
                looked.spot = tests.member(&looked.spot, name);
                is_alike |= looked.spot.is_alike();
            }
            compared |= arrive(&mut looked, tests);
        }
        if is_alike { Err(ALIKE) } else { Ok(Some(Reading { spot, supposed, looked, compared }.settled())) }
    }

    /// From an array to an element of it; nothing if there is no more to be told.
    fn element(&mut self, reading: &Reading, index: u64, walk: &mut Walk) -> Option<Reading> {
        let Reading { spot, supposed, looked, compared } = reading;
        if self.guide.is_covered(spot) && !spot.means_elements() {
            walk.covered = true;
            walk.doubtful |= supposed.is_some();
            return None;
        }
        if supposed.as_ref().is_some_and(|supposed| !supposed.is_selected_as(spot)) {
            walk.doubtful = true;
            return None;
        }
        let spot = self.guide.element(spot, index);
        let supposed = supposed.as_ref().map(|supposed| self.guide.element(supposed, index));
        let (mut looked, mut compared) = (looked.clone(), *compared);
        if let Some(tests) = &mut self.tests {
            for looked in &mut looked {
                looked.spot = tests.element(&looked.spot, index);
            }
            compared |= arrive(&mut looked, tests);
        }
        Some(Reading { spot, supposed, looked, compared }.settled())
    }

    /// Whether it makes a difference to a path or a test which element of an array stands where.
    fn counts(&mut self, reading: &Reading) -> bool {
        let Reading { spot, supposed, looked, .. } = reading;
        let looks = |tests: &mut Guide| looked.iter().any(|looked| tests.counts(&looked.spot));
        self.guide.counts(spot)
            || supposed.as_ref().is_some_and(|supposed| self.guide.counts(supposed))
            || self.tests.as_mut().is_some_and(looks)
    }

    /// One index of every kind that a path or a test tells apart.
    fn every_index(&self) -> Vec<u64> {
        let of_tests = self.tests.as_ref().map(Guide::indices).unwrap_or_default();
        let mut indices = self.guide.indices();
        indices.extend(of_tests);
        indices.sort_unstable();
        indices.dedup();
        indices
    }
}

fn is_container(kind: &str) -> bool {
    CONTAINERS.contains(&kind)
}

/// How far a pointer has been followed.
#[derive(Default)]
struct Walk {
    readings: Vec<Reading>,
    /// Whether it may lead into a value that a rule selects.
    covered: bool,
    /// Whether it leads into what stands beside a primitive that is sealed.
    beside: bool,
    /// Whether a test tells if it does so. Some may hold and others not, and one that lets pass may hide one that does
    /// not.
    doubtful: bool,
    /// Whether the last token may choose an element where a path looks at the index.
    counted: bool,
}

impl Walk {
    fn add(&mut self, reading: Option<Reading>) {
        if let Some(reading) = reading.filter(|reading| !self.readings.contains(reading)) {
            self.readings.push(reading);
        }
    }

    fn is_kind(&self) -> bool {
        self.readings.iter().any(|reading| reading.spot.is_kind())
    }

    /// Whether what the rules say depends on what is not there.
    fn is_doubtful(&self) -> bool {
        self.doubtful || self.readings.iter().any(|reading| reading.supposed.is_some())
    }
}

/// Where one reading of a pointer leads to.
#[derive(Clone, PartialEq, Eq)]
struct Reading {
    /// If no test on the way holds.
    spot: Spot,
    /// If all do, where that is another one.
    supposed: Option<Spot>,
    /// Among the ways of the tests on the way.
    looked: Vec<Looked>,
    /// Whether it led to a text that a test compares.
    compared: bool,
}

impl Reading {
    fn of(spot: Spot) -> Reading {
        Reading { spot, supposed: None, looked: Vec::new(), compared: false }
    }

    fn settled(mut self) -> Reading {
        self.supposed = self.supposed.take().filter(|supposed| *supposed != self.spot);
        self
    }
}

/// Where a pointer leads to inside of a value that is tested.
#[derive(Clone, PartialEq, Eq)]
struct Looked {
    spot: Spot,
    /// To the texts that the tests compare.
    ways: Vec<usize>,
}

/// Whether any has come to the end of its way; those that lead nowhere are dropped.
fn arrive(looked: &mut Vec<Looked>, tests: &Guide) -> bool {
    looked.retain(|looked| !looked.spot.is_free());
    looked.iter().any(|looked| tests.rule(&looked.spot).is_some_and(|way| looked.ways.contains(&way)))
}
