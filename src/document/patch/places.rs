//! Where servers may put the values of FHIRPath Patches.
//!
//! A path names elements, and JSON has other names for some: `value` is `valueQuantity`, and what is inside of `birthDate`
//! is in `_birthDate`. And there are servers that give a value to the first element on the path that has its type
//! (HAPI FHIR, `FhirPatch`), or make of a text the object that belongs there.

use std::ops::Range;
use std::sync::Arc;

use super::elements::{Put, Value, is_primitive};
use super::judge::{Judge, PRIMITIVE};
use super::operation::{Verb, refused};
use crate::document::json::{self, NEEDS_CONTEXT, Rules, Spot, unquote};
use crate::document::{Fault, Limits, Rewrite, Role, Step};

/// In how many ways the names of a path may be written.
const SPELLINGS_MAX: usize = 64;

/// The types of which one stands for another.
const QUANTITIES: [&str; 6] = ["Quantity", "Age", "Count", "Distance", "Duration", "SimpleQuantity"];

const COERCED: &str = "patch needs context: a text where an object may stand in which something is protected";

pub(super) struct Places<'a> {
    judge: Judge,
    rules: Arc<Rules>,
    limits: Limits,
    resource: Option<&'a str>,
}

/// What the rules select in a value at a spot.
struct Selected {
    spot: Spot,
    values: Vec<(Range<u64>, Option<usize>, Role)>,
}

impl<'a> Places<'a> {
    pub(super) fn new(judge: Judge, rules: Arc<Rules>, limits: Limits, resource: Option<&'a str>) -> Places<'a> {
        Places { judge, rules, limits, resource }
    }

    /// Where the value stands among the rules, if there is one: at the one place where they select all of it that they select at
    /// any.
    pub(super) fn of(&mut self, patch: &[u8], put: &Put) -> Result<Option<Spot>, Fault> {
        let at = |what| refused(put.at.start, what);
        let Some((last, before)) = put.names.split_last() else { return Ok(None) };
        // Of a step that stays where it is nobody could say what is inside.
        if put.names.windows(2).any(|steps| matches!(steps, [a, b] if is_type(a) && stays_at_primitive(b))) {
            return Err(at(NEEDS_CONTEXT));
        }
        let Some(value) = &put.value else {
            return self.leave(before, last, put.verb).map(|()| None).map_err(at);
        };
        let typed = [last.as_slice(), &value.kind].concat();
        let own = self.spots(before, &[last.clone(), typed]).map_err(at)?;
        let elsewhere = self.elsewhere(&put.names, value).map_err(at)?;
        let own = own.into_iter().map(|spot| self.select(patch, value, spot)).collect::<Result<Vec<_>, _>>()?;
        let others =
            elsewhere.into_iter().map(|spot| self.select(patch, value, spot)).collect::<Result<Vec<_>, _>>()?;
        let is_most = |most: &&Selected| {
            own.iter().all(|other| most.has_all(other)) && others.iter().all(|other| most.covers(other))
        };
        let most = own.iter().find(is_most).ok_or_else(|| at(NEEDS_CONTEXT))?;
        // Servers replace the value of a primitive alone, and a code has nothing beside it for some.
        let is_value_alone = put.verb == Verb::Replace || value.kind == b"Code";
        match most.values.as_slice() {
            [(_, _, role)] if value.is_primitive() && is_value_alone && *role != Role::Value => Err(at(PRIMITIVE)),
            [] if value.is_primitive() && self.is_coerced(patch, value, &own) => Err(at(COERCED)),
            _ => Ok(Some(most.spot.clone())),
        }
    }

    /// Refuses to take away or move what holds a primitive that is sealed beside its place, or what is beside one: servers may
    /// leave the sealed value where they delete the primitive.
    fn leave(&mut self, before: &[Vec<u8>], last: &[u8], verb: Verb) -> Result<(), &'static str> {
        let names = [self.judge.guide().variants(last), vec![last.to_vec()]].concat();
        for names in self.spellings(before, &names)? {
            let spots = self.judge.found(names)?;
            if verb == Verb::Remove && spots.iter().any(|spot| self.judge.guide().holds_primitive(spot)) {
                return Err(PRIMITIVE);
            }
        }
        Ok(())
    }

    /// Where else the value may come to stand.
    fn elsewhere(&mut self, path: &[Vec<u8>], value: &Value) -> Result<Vec<Spot>, &'static str> {
        let mut spots = Vec::new();
        for (number, name) in path.iter().enumerate() {
            if value.is_primitive() && !path.get(number + 1).is_none_or(|next| stays_at_primitive(next)) {
                continue;
            }
            let mut ends = Vec::new();
            for plain in untyped(name) {
                ends.extend([plain.to_vec(), [plain, &value.kind].concat()]);
                if QUANTITIES.iter().any(|known| known.as_bytes() == value.kind) {
                    ends.extend(QUANTITIES.map(|kind| [plain, kind.as_bytes()].concat()));
                }
                // Nothing else is made of a boolean.
                if value.is_primitive() && value.kind != b"Boolean" {
                    ends.extend(self.judge.guide().variants(plain).into_iter().filter(|name| !name.starts_with(b"_")));
                }
            }
            for spot in self.spots(path.get(..number).unwrap_or_default(), &ends)? {
                // Of R5: a CodeableReference holds what was a Reference or a CodeableConcept before.
                let inner: &[&[u8]] = if value.is_primitive() { &[] } else { &[b"reference", b"concept"] };
                let guide = self.judge.guide();
                let mut inner: Vec<Spot> = inner.iter().map(|name| guide.member(&spot, name)).collect();
                inner.retain(|spot| guide.role(spot).is_none());
                for spot in inner.into_iter().chain([spot]) {
                    if !spots.contains(&spot) {
                        spots.push(spot);
                    }
                }
            }
        }
        Ok(spots)
    }

    /// The spots of an element whose name in JSON is one of `ends`, below elements that are called `before` in FHIR.
    fn spots(&mut self, before: &[Vec<u8>], ends: &[Vec<u8>]) -> Result<Vec<Spot>, &'static str> {
        let mut spots = Vec::new();
        for names in self.spellings(before, ends)? {
            let spot = self.judge.named(names)?;
            if spot.is_place() {
                return Err(NEEDS_CONTEXT);
            }
            if !spots.contains(&spot) {
                spots.push(spot);
            }
        }
        Ok(spots)
    }

    fn spellings(&mut self, before: &[Vec<u8>], ends: &[Vec<u8>]) -> Result<Vec<Vec<Vec<u8>>>, &'static str> {
        let mut spellings: Vec<Vec<Vec<u8>>> = vec![Vec::new()];
        for name in before {
            let names = [self.judge.guide().variants(name), vec![name.clone()]].concat();
            spellings = join(&spellings, &names)?;
        }
        join(&spellings, ends)
    }

    fn select(&self, patch: &[u8], value: &Value, spot: Spot) -> Result<Selected, Fault> {
        let start = value.range.start as u64;
        let mut reader = json::Rewriter::at(start, Arc::clone(&self.rules), self.limits.clone(), None);
        reader = reader.within(self.resource);
        reader.enter(&spot);
        reader.feed(patch.get(value.range.clone()).unwrap_or_default());
        reader.finish();
        let mut values = Vec::new();
        while reader.step()? == Step::Slot {
            values.extend(reader.slot().map(|slot| (slot.range(), slot.rule(), slot.role())));
            reader.keep();
        }
        Ok(Selected { spot, values })
    }

    /// Whether a text that no rule selects could be made part of an object there: HAPI FHIR makes a CodeableConcept or a Reference of
    /// one (`TypeConvertor`).
    fn is_coerced(&mut self, patch: &[u8], value: &Value, own: &[Selected]) -> bool {
        let text = patch.get(value.range.clone()).and_then(unquote).unwrap_or_default();
        // Of what refers to nothing no reference is made; a search may stand for one.
        let refers = text.iter().any(|byte| b"/?#:".contains(byte));
        let guide = self.judge.guide();
        own.iter().any(|Selected { spot, .. }| {
            let coding = guide.member(spot, b"coding");
            let made = [guide.member(spot, b"text"), guide.member(&coding, b"code")];
            let reference = guide.member(spot, b"reference");
            let is_selected = |spot: &Spot| guide.role(spot).is_some();
            guide.goes_on(spot) || made.iter().any(is_selected) || refers && is_selected(&reference)
        })
    }
}

impl Selected {
    /// Whether all that the other selects is selected here, for the same rule.
    fn has_all(&self, other: &Selected) -> bool {
        other.values.iter().all(|value| self.values.contains(value))
    }

    /// Whether all that the other selects is selected here.
    fn covers(&self, other: &Selected) -> bool {
        let is_inside = |inner: &Range<u64>, outer: &Range<u64>| outer.start <= inner.start && inner.end <= outer.end;
        let is_covered = |range: &Range<u64>| self.values.iter().any(|(outer, ..)| is_inside(range, outer));
        other.values.iter().all(|(range, ..)| is_covered(range))
    }
}

/// Whether a primitive may have an element of that name, or be meant by it.
fn stays_at_primitive(name: &[u8]) -> bool {
    [&b"extension"[..], b"id", b"value"].contains(&name) || is_type(name)
}

/// Whether it is also the type of a primitive: to some servers that is a step that stays where it is.
fn is_type(name: &[u8]) -> bool {
    let (first, rest) = name.split_at(name.len().min(1));
    is_primitive(&[&first.to_ascii_uppercase(), rest].concat())
}

/// What an element may be called without its type: the name, and each beginning of it before a capital.
fn untyped(name: &[u8]) -> impl Iterator<Item = &[u8]> {
    let is_end = |end: &usize| name.get(*end).is_none_or(u8::is_ascii_uppercase);
    (1..=name.len()).filter(is_end).filter_map(|end| name.get(..end))
}

fn join(spellings: &[Vec<Vec<u8>>], names: &[Vec<u8>]) -> Result<Vec<Vec<Vec<u8>>>, &'static str> {
    if spellings.len() * names.len() > SPELLINGS_MAX {
        return Err(NEEDS_CONTEXT);
    }
    let with = |spelling: &Vec<Vec<u8>>, name: &Vec<u8>| [spelling.as_slice(), std::slice::from_ref(name)].concat();
    Ok(spellings.iter().flat_map(|spelling| names.iter().map(move |name| with(spelling, name))).collect())
}
