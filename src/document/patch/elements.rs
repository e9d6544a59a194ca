//! FHIRPath Patch (<https://hl7.org/fhir/R4/fhirpatch.html>): the operations of a Parameters resource, read strictly.

use std::ops::Range;

use super::operation::{Operation, Verb, refused, start};
use super::pointer::Pointer;
use crate::document::Fault;
use crate::document::json::{Member, parts, unquote};

/// What an operation puts somewhere.
pub(super) struct Put {
    /// Where, and what; without a value what goes or moves.
    pub(super) operation: Operation,
    /// The same where the element has the type of its value in its name: `value` is `valueQuantity` in JSON.
    pub(super) typed: Option<Operation>,
}

const FORM: &str = "an operation that FHIRPath Patch does not have";
const DOUBLE: &str = "a part of an operation that stands twice";
const MISSING: &str = "an operation without a part that it needs";
const PATH: &str = "patch needs context: a path that is more than names and indices";
const OTHER: &str = "a path of another type than the resource that is patched";

/// Where the resource starts, if a JSON text is Parameters.
pub(super) fn parameters(patch: &[u8]) -> Option<usize> {
    let start = start(patch);
    let (members, _) = parts(patch, start).filter(|_| patch.get(start) == Some(&b'{'))?;
    let kind = members.iter().find(|member| text(patch, &member.name).as_deref() == Some(b"resourceType"))?;
    (text(patch, &kind.value)? == b"Parameters").then_some(start)
}

/// Whether a body is a Parameters resource, which a FHIRPath Patch is.
pub fn is_parameters(patch: &[u8]) -> bool {
    parameters(patch).is_some()
}

/// All that is put somewhere by the Parameters at `start`, in their order, into a resource of type `resource`.
pub(super) fn operations(patch: &[u8], start: usize, resource: &str) -> Result<Vec<Put>, Fault> {
    let [_, all] = members(patch, start, ["resourceType", "parameter"])?;
    let mut puts = Vec::new();
    for parameter in list(patch, all.as_ref())? {
        let [name, part] = members(patch, parameter.start, ["name", "part"])?;
        if name.and_then(|name| text(patch, &name)).as_deref() != Some(b"operation") {
            return Err(refused(parameter.start, FORM));
        }
        operation(patch, (&parameter, &list(patch, part.as_ref())?), resource, &mut puts)?;
    }
    Ok(puts)
}

/// The parts of an operation.
#[derive(Default)]
struct Parts {
    verb: Option<Range<usize>>,
    path: Option<Range<usize>>,
    name: Option<Range<usize>>,
    value: Option<Part>,
    index: Option<Range<usize>>,
    source: Option<Range<usize>>,
    destination: Option<Range<usize>>,
}

/// A part: its value with the type that its name says, or the parts that it is made of.
enum Part {
    Value(Vec<u8>, Range<usize>),
    Made(Range<usize>),
}

fn operation(
    patch: &[u8],
    (whole, list): (&Range<usize>, &[Range<usize>]),
    resource: &str,
    puts: &mut Vec<Put>,
) -> Result<(), Fault> {
    let of = sorted(patch, list)?;
    let missing = || refused(whole.start, MISSING);
    let named = |range: &Option<Range<usize>>| range.clone().and_then(|range| text(patch, &range)).ok_or_else(missing);
    let number = |range: &Option<Range<usize>>| {
        let digits = range.clone().and_then(|range| patch.get(range)).ok_or_else(missing)?;
        index(digits).ok_or_else(|| refused(whole.start, FORM))
    };
    let at = of.path.clone().ok_or_else(missing)?;
    let path = path(&named(&of.path)?, resource).map_err(|what| refused(at.start, what))?;
    let to = |step: Vec<u8>| [&path[..], &[step]].concat();
    let (verb, target, has) = match named(&of.verb)?.as_slice() {
        b"add" => {
            let name = named(&of.name)?;
            if !is_name(&name) {
                return Err(refused(whole.start, FORM));
            }
            (Verb::Add, to(name), [true, true, false, false])
        }
        b"insert" => (Verb::Add, to(number(&of.index)?), [true, false, true, false]),
        b"replace" => (Verb::Replace, path.clone(), [true, false, false, false]),
        b"delete" => (Verb::Remove, path.clone(), [false; 4]),
        b"move" => (Verb::Remove, to(number(&of.source)?), [false, false, false, true]),
        _ => return Err(refused(whole.start, FORM)),
    };
    let is_there =
        [of.value.is_some(), of.name.is_some(), of.index.is_some(), of.source.is_some() && of.destination.is_some()];
    if is_there != has || of.source.is_some() != of.destination.is_some() {
        return Err(refused(whole.start, FORM));
    }
    let make = |verb, tokens, value| Operation { verb, at: at.clone(), path: Pointer::of(tokens), from: None, value };
    let Some(value) = of.value else {
        puts.push(Put { operation: make(verb, target, None), typed: None });
        if of.destination.is_some() {
            let target = to(number(&of.destination)?);
            puts.push(Put { operation: make(verb, target, None), typed: None });
        }
        return Ok(());
    };
    put(patch, value, &target, &|tokens, range| make(verb, tokens, Some(range)), puts)
}

/// Adds what is put at `target`: a value, or each of its parts.
fn put(
    patch: &[u8],
    value: Part,
    target: &[Vec<u8>],
    make: &dyn Fn(Vec<Vec<u8>>, Range<usize>) -> Operation,
    puts: &mut Vec<Put>,
) -> Result<(), Fault> {
    match value {
        Part::Value(kind, range) => {
            let typed = target
                .split_last()
                .filter(|(last, _)| is_name(last))
                .map(|(last, before)| [before, &[[&last[..], &kind].concat()]].concat());
            let typed = typed.map(|tokens| make(tokens, range.clone()));
            puts.push(Put { operation: make(target.to_vec(), range), typed });
        }
        Part::Made(range) => {
            for range in list(patch, Some(&range))? {
                let (name, value) = part(patch, &range)?;
                if !is_name(&name) {
                    return Err(refused(range.start, FORM));
                }
                put(patch, value, &[target, &[name]].concat(), make, puts)?;
            }
        }
    }
    Ok(())
}

fn sorted(patch: &[u8], list: &[Range<usize>]) -> Result<Parts, Fault> {
    let mut of = Parts::default();
    for range in list {
        let form = || refused(range.start, FORM);
        let (name, value) = part(patch, range)?;
        let place = match (name.as_slice(), value) {
            (b"value", value) => {
                if of.value.replace(value).is_some() {
                    return Err(refused(range.start, DOUBLE));
                }
                continue;
            }
            (b"type", Part::Value(kind, value)) if is_text(&kind) => (&mut of.verb, value),
            (b"path", Part::Value(kind, value)) if is_text(&kind) => (&mut of.path, value),
            (b"name", Part::Value(kind, value)) if is_text(&kind) => (&mut of.name, value),
            (b"index", Part::Value(kind, value)) if kind == b"Integer" => (&mut of.index, value),
            (b"source", Part::Value(kind, value)) if kind == b"Integer" => (&mut of.source, value),
            (b"destination", Part::Value(kind, value)) if kind == b"Integer" => (&mut of.destination, value),
            _ => return Err(form()),
        };
        if place.0.replace(place.1).is_some() {
            return Err(refused(range.start, DOUBLE));
        }
    }
    Ok(of)
}

fn is_text(kind: &[u8]) -> bool {
    matches!(kind, b"String" | b"Code")
}

/// The name of the part at `range`, and what it holds.
fn part(patch: &[u8], range: &Range<usize>) -> Result<(Vec<u8>, Part), Fault> {
    let form = || refused(range.start, FORM);
    let all = object(patch, range.start)?;
    let [first, second] = all.as_slice() else { return Err(form()) };
    let is_named = |member: &Member| text(patch, &member.name).as_deref() == Some(b"name");
    let (name, value) = if is_named(first) { (first, second) } else { (second, first) };
    if !is_named(name) {
        return Err(form());
    }
    let says = text(patch, &value.name).ok_or_else(form)?;
    let value = match says.strip_prefix(b"value") {
        _ if says == b"part" => Part::Made(value.value.clone()),
        Some(kind @ [b'A'..=b'Z', ..]) if is_name(kind) => Part::Value(kind.to_vec(), value.value.clone()),
        _ => return Err(form()),
    };
    Ok((text(patch, &name.value).ok_or_else(form)?, value))
}

/// The steps of a path: names and indices after the type of the resource.
fn path(text: &[u8], resource: &str) -> Result<Vec<Vec<u8>>, &'static str> {
    let mut steps = text.split(|byte| *byte == b'.');
    if steps.next() != Some(resource.as_bytes()) {
        return Err(OTHER);
    }
    let mut tokens = Vec::new();
    for step in steps {
        let (name, rest) = step.split_at(step.iter().position(|byte| *byte == b'[').unwrap_or(step.len()));
        if !is_name(name) {
            return Err(PATH);
        }
        tokens.push(name.to_vec());
        if !rest.is_empty() {
            let digits = rest.strip_prefix(b"[").and_then(|rest| rest.strip_suffix(b"]")).and_then(index);
            tokens.push(digits.ok_or(PATH)?);
        }
    }
    Ok(tokens)
}

/// Nine digits at most, which all readers take alike.
fn index(digits: &[u8]) -> Option<Vec<u8>> {
    let is_plain = matches!(digits, [b'0'] | [b'1'..=b'9', ..]) && digits.iter().all(u8::is_ascii_digit);
    (is_plain && digits.len() <= 9).then(|| digits.to_vec())
}

/// The name of an element, or of a type.
fn is_name(name: &[u8]) -> bool {
    name.first().is_some_and(u8::is_ascii_alphabetic) && name.iter().all(u8::is_ascii_alphanumeric)
}

/// The values of the only members that the object at `at` has, which all have to be there.
fn members<const N: usize>(patch: &[u8], at: usize, names: [&str; N]) -> Result<[Option<Range<usize>>; N], Fault> {
    let mut found = [const { None }; N];
    for member in object(patch, at)? {
        let name = text(patch, &member.name);
        let place = names.iter().position(|known| name.as_deref() == Some(known.as_bytes()));
        let place = place.and_then(|place| found.get_mut(place)).ok_or_else(|| refused(member.name.start, FORM))?;
        if place.replace(member.value).is_some() {
            return Err(refused(member.name.start, DOUBLE));
        }
    }
    if found.iter().any(Option::is_none) { Err(refused(at, MISSING)) } else { Ok(found) }
}

fn object(patch: &[u8], at: usize) -> Result<Vec<Member>, Fault> {
    match parts(patch, at) {
        Some((members, _)) if patch.get(at) == Some(&b'{') => Ok(members),
        _ => Err(refused(at, FORM)),
    }
}

fn list(patch: &[u8], range: Option<&Range<usize>>) -> Result<Vec<Range<usize>>, Fault> {
    let start = range.map_or(0, |range| range.start);
    match parts(patch, start) {
        Some((elements, _)) if patch.get(start) == Some(&b'[') => {
            Ok(elements.into_iter().map(|element| element.value).collect())
        }
        _ => Err(refused(start, FORM)),
    }
}

fn text(patch: &[u8], range: &Range<usize>) -> Option<Vec<u8>> {
    unquote(patch.get(range.clone())?)
}
