//! FHIRPath Patch (<https://hl7.org/fhir/R4/fhirpatch.html>): the operations of a Parameters resource, read strictly.

use std::ops::Range;

use super::operation::{Verb, refused, start};
use crate::document::Fault;
use crate::document::json::{Member, parts, unquote};

/// An operation.
pub(super) struct Put {
    pub(super) verb: Verb,
    /// Where the path is written.
    pub(super) at: Range<usize>,
    /// The names of the elements that lead there from the resource. Rules by its type do not ask which of several elements it
    /// is, so no index is kept.
    pub(super) names: Vec<Vec<u8>>,
    pub(super) value: Option<Value>,
}

/// A value, with the type that its name says.
pub(super) struct Value {
    pub(super) kind: Vec<u8>,
    pub(super) range: Range<usize>,
}

/// The most operations that a patch may have, for each is judged at every element of its path.
const OPERATIONS_MAX: usize = 100;

/// The most names in a path, and the longest name, in bytes.
const NAMES_MAX: usize = 32;
const NAME_BYTES_MAX: usize = 64;

impl Value {
    /// Whether it is no object.
    pub(super) fn is_primitive(&self) -> bool {
        is_primitive(&self.kind)
    }
}

const OTHER_BODY: &str = "a FHIRPath Patch that is no Parameters";
const FORM: &str = "an operation that FHIRPath Patch does not have";
const DOUBLE: &str = "a part of an operation that stands twice";
const MISSING: &str = "an operation without a part that it needs";
const MANY: &str = "a FHIRPath Patch of too many operations";
const PATH: &str = "patch needs context: a path that is more than a few names and indices";
const SHAPE: &str = "a value of another type than its name says";
const OTHER: &str = "a path of another type than the resource that is patched";

/// Where the resource starts, if a JSON text is Parameters.
fn parameters(patch: &[u8]) -> Option<usize> {
    let start = start(patch);
    let (members, _) = parts(patch, start).filter(|_| patch.get(start) == Some(&b'{'))?;
    let kind = members.iter().find(|member| text(patch, &member.name).as_deref() == Some(b"resourceType"))?;
    (text(patch, &kind.value)? == b"Parameters").then_some(start)
}

/// All that a patch of a resource of type `resource` puts somewhere, in its order.
pub(super) fn operations(patch: &[u8], resource: &str) -> Result<Vec<Put>, Fault> {
    let start = parameters(patch).ok_or_else(|| refused(0, OTHER_BODY))?;
    let [_, all] = members(patch, start, ["resourceType", "parameter"])?;
    let parameters = list(patch, all.as_ref())?;
    if parameters.len() > OPERATIONS_MAX {
        return Err(refused(start, MANY));
    }
    let mut puts = Vec::with_capacity(parameters.len());
    for parameter in parameters {
        let [name, part] = members(patch, parameter.start, ["name", "part"])?;
        if name.and_then(|name| text(patch, &name)).as_deref() != Some(b"operation") {
            return Err(refused(parameter.start, FORM));
        }
        puts.push(operation(patch, (&parameter, &list(patch, part.as_ref())?), resource)?);
    }
    Ok(puts)
}

/// The parts of an operation.
#[derive(Default)]
struct Parts {
    verb: Option<Range<usize>>,
    path: Option<Range<usize>>,
    name: Option<Range<usize>>,
    value: Option<Value>,
    index: Option<Range<usize>>,
    source: Option<Range<usize>>,
    destination: Option<Range<usize>>,
}

fn operation(patch: &[u8], (whole, list): (&Range<usize>, &[Range<usize>]), resource: &str) -> Result<Put, Fault> {
    let of = sorted(patch, list)?;
    let missing = || refused(whole.start, MISSING);
    let named = |range: &Option<Range<usize>>| range.clone().and_then(|range| text(patch, &range)).ok_or_else(missing);
    let is_index = |range: &Option<Range<usize>>| range.clone().and_then(|range| patch.get(range)).is_none_or(is_index);
    if ![&of.index, &of.source, &of.destination].into_iter().all(is_index) {
        return Err(refused(whole.start, FORM));
    }
    let at = of.path.clone().ok_or_else(missing)?;
    let mut names = path(&named(&of.path)?, resource).map_err(|what| refused(at.start, what))?;
    let (verb, has) = match named(&of.verb)?.as_slice() {
        b"add" => (Verb::Add, [true, true, false, false]),
        b"insert" => (Verb::Add, [true, false, true, false]),
        b"replace" => (Verb::Replace, [true, false, false, false]),
        b"delete" => (Verb::Remove, [false; 4]),
        b"move" => (Verb::Move, [false, false, false, true]),
        _ => return Err(refused(whole.start, FORM)),
    };
    let is_moved = of.source.is_some() && of.destination.is_some();
    let is_there = [of.value.is_some(), of.name.is_some(), of.index.is_some(), is_moved];
    if is_there != has || of.source.is_some() != of.destination.is_some() {
        return Err(refused(whole.start, FORM));
    }
    if of.name.is_some() {
        names.push(named(&of.name)?);
    }
    if !(1..=NAMES_MAX).contains(&names.len()) || !names.iter().all(|name| is_element(name)) {
        return Err(refused(at.start, PATH));
    }
    Ok(Put { verb, at, names, value: of.value })
}

fn sorted(patch: &[u8], list: &[Range<usize>]) -> Result<Parts, Fault> {
    let mut of = Parts::default();
    for range in list {
        let form = || refused(range.start, FORM);
        let (name, value) = part(patch, range)?;
        if name == b"value" {
            if of.value.replace(value).is_some() {
                return Err(refused(range.start, DOUBLE));
            }
            continue;
        }
        let Value { kind, range: value } = value;
        let place = match name.as_slice() {
            b"type" if is_text(&kind) => &mut of.verb,
            b"path" if is_text(&kind) => &mut of.path,
            b"name" if is_text(&kind) => &mut of.name,
            b"index" if kind == b"Integer" => &mut of.index,
            b"source" if kind == b"Integer" => &mut of.source,
            b"destination" if kind == b"Integer" => &mut of.destination,
            _ => return Err(form()),
        };
        if place.replace(value).is_some() {
            return Err(refused(range.start, DOUBLE));
        }
    }
    Ok(of)
}

fn is_text(kind: &[u8]) -> bool {
    matches!(kind, b"String" | b"Code")
}

/// The name of the part at `range`, and what it holds. Parts of parts are refused: servers differ in where they put them.
fn part(patch: &[u8], range: &Range<usize>) -> Result<(Vec<u8>, Value), Fault> {
    let form = || refused(range.start, FORM);
    let all = object(patch, range.start)?;
    let [first, second] = all.as_slice() else { return Err(form()) };
    let is_named = |member: &Member| text(patch, &member.name).as_deref() == Some(b"name");
    let (name, value) = if is_named(first) { (first, second) } else { (second, first) };
    if !is_named(name) {
        return Err(form());
    }
    let kind = text(patch, &value.name).and_then(|says| says.strip_prefix(b"value").map(<[u8]>::to_vec));
    let kind = kind.filter(|kind| matches!(kind.as_slice(), [b'A'..=b'Z', ..]) && is_name(kind)).ok_or_else(form)?;
    let name = text(patch, &name.value).ok_or_else(form)?;
    let value = Value { kind, range: value.value.clone() };
    let written = patch.get(value.range.clone()).unwrap_or_default();
    let is_object = written.starts_with(b"{");
    if is_object == value.is_primitive() || written.starts_with(b"[") || written == b"null" {
        return Err(refused(value.range.start, SHAPE));
    }
    Ok((name, value))
}

/// The names of a path after the type of the resource.
fn path(text: &[u8], resource: &str) -> Result<Vec<Vec<u8>>, &'static str> {
    let mut steps = text.split(|byte| *byte == b'.');
    if steps.next() != Some(resource.as_bytes()) {
        return Err(OTHER);
    }
    let name = |step: &[u8]| {
        let (name, rest) = step.split_at(step.iter().position(|byte| *byte == b'[').unwrap_or(step.len()));
        let index = rest.strip_prefix(b"[").and_then(|rest| rest.strip_suffix(b"]"));
        let is_good = rest.is_empty() || index.is_some_and(is_index);
        is_good.then(|| name.to_vec()).ok_or(PATH)
    };
    steps.take(NAMES_MAX + 1).map(name).collect()
}

/// Whether these are nine digits at most, which all readers take alike.
fn is_index(digits: &[u8]) -> bool {
    let is_plain = matches!(digits, [b'0'] | [b'1'..=b'9', ..]) && digits.iter().all(u8::is_ascii_digit);
    is_plain && digits.len() <= 9
}

/// The name of an element. To some servers a type is a step that stays where it is: `Patient.DomainResource.name`.
fn is_element(name: &[u8]) -> bool {
    name.first().is_some_and(u8::is_ascii_lowercase) && name.len() <= NAME_BYTES_MAX && is_name(name)
}

/// The name of an element, or of a type.
fn is_name(name: &[u8]) -> bool {
    name.first().is_some_and(u8::is_ascii_alphabetic) && name.iter().all(u8::is_ascii_alphanumeric)
}

/// Whether values of that type are no objects in JSON (<https://hl7.org/fhir/R4/datatypes.html>; one is of R5).
pub(super) fn is_primitive(kind: &[u8]) -> bool {
    const PRIMITIVES: [&str; 20] = [
        "Base64Binary",
        "Boolean",
        "Canonical",
        "Code",
        "Date",
        "DateTime",
        "Decimal",
        "Id",
        "Instant",
        "Integer",
        "Integer64",
        "Markdown",
        "Oid",
        "PositiveInt",
        "String",
        "Time",
        "UnsignedInt",
        "Uri",
        "Url",
        "Uuid",
    ];
    PRIMITIVES.iter().any(|known| known.as_bytes() == kind)
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
