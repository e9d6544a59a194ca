//! FHIRPath Patch (<https://hl7.org/fhir/R4/fhirpatch.html>): the operations of a Parameters resource, read strictly.

use std::ops::Range;

use super::operation::{refused, start};
use crate::document::Fault;
use crate::document::json::{Member, parts, unquote};

/// What an operation puts somewhere, or takes away.
pub(super) struct Put {
    /// Where the path is written.
    pub(super) at: Range<usize>,
    /// Whether it takes the place of what was there.
    pub(super) replaces: bool,
    pub(super) path: Path,
    pub(super) value: Option<Value>,
}

/// Where elements are in a resource. Rules by its type do not ask which of several elements it is, so no index is kept.
#[derive(Clone, Default)]
pub(super) struct Path {
    pub(super) names: Vec<Vec<u8>>,
    /// The elements that are compared on the way.
    pub(super) compared: Vec<Vec<Vec<u8>>>,
}

/// A value, with the type that its name says.
pub(super) struct Value {
    pub(super) kind: Vec<u8>,
    pub(super) range: Range<usize>,
}

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
const PATH: &str = "patch needs context: a path that is more than names, indices and `where(name='text')`";
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
    Value(Value),
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
    let is_index = |range: &Option<Range<usize>>| range.clone().and_then(|range| patch.get(range)).is_none_or(is_index);
    if ![&of.index, &of.source, &of.destination].into_iter().all(is_index) {
        return Err(refused(whole.start, FORM));
    }
    let at = of.path.clone().ok_or_else(missing)?;
    let mut path = path(&named(&of.path)?, resource).map_err(|what| refused(at.start, what))?;
    let verb = named(&of.verb)?;
    let has = match verb.as_slice() {
        b"add" => [true, true, false, false],
        b"insert" => [true, false, true, false],
        b"replace" => [true, false, false, false],
        b"delete" => [false; 4],
        b"move" => [false, false, false, true],
        _ => return Err(refused(whole.start, FORM)),
    };
    let is_moved = of.source.is_some() && of.destination.is_some();
    let is_there = [of.value.is_some(), of.name.is_some(), of.index.is_some(), is_moved];
    if is_there != has || of.source.is_some() != of.destination.is_some() {
        return Err(refused(whole.start, FORM));
    }
    if of.name.is_some() {
        path.names.push(named(&of.name)?);
    }
    if path.names.is_empty() || !path.names.iter().all(|name| is_name(name)) {
        return Err(refused(at.start, PATH));
    }
    match of.value {
        Some(value) => put(patch, value, &Put { at, replaces: verb == b"replace", path, value: None }, puts)?,
        None => puts.push(Put { at, replaces: false, path, value: None }),
    }
    Ok(())
}

/// Adds what is put at the path of `whole`: a value, or each of its parts.
fn put(patch: &[u8], part: Part, whole: &Put, puts: &mut Vec<Put>) -> Result<(), Fault> {
    let with = |path: Path, value| Put { at: whole.at.clone(), replaces: whole.replaces, path, value };
    match part {
        Part::Value(value) => {
            let is_object = patch.get(value.range.start) == Some(&b'{');
            let is_null = patch.get(value.range.clone()) == Some(b"null");
            if is_object == value.is_primitive() || is_null || patch.get(value.range.start) == Some(&b'[') {
                return Err(refused(value.range.start, SHAPE));
            }
            puts.push(with(whole.path.clone(), Some(value)));
        }
        Part::Made(range) => {
            for range in list(patch, Some(&range))? {
                let (name, value) = self::part(patch, &range)?;
                if !is_name(&name) {
                    return Err(refused(range.start, FORM));
                }
                let mut path = whole.path.clone();
                path.names.push(name);
                put(patch, value, &with(path, None), puts)?;
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
        if name == b"value" {
            if of.value.replace(value).is_some() {
                return Err(refused(range.start, DOUBLE));
            }
            continue;
        }
        let Part::Value(Value { kind, range: value }) = value else { return Err(form()) };
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
        Some(kind @ [b'A'..=b'Z', ..]) if is_name(kind) => {
            Part::Value(Value { kind: kind.to_vec(), range: value.value.clone() })
        }
        _ => return Err(form()),
    };
    Ok((text(patch, &name.value).ok_or_else(form)?, value))
}

/// The steps of a path after the type of the resource.
fn path(text: &[u8], resource: &str) -> Result<Path, &'static str> {
    let mut rest = text.strip_prefix(resource.as_bytes()).filter(|_| !resource.is_empty()).ok_or(OTHER)?;
    if !matches!(rest, [] | [b'.', ..]) {
        return Err(OTHER);
    }
    let mut path = Path::default();
    while !rest.is_empty() {
        rest = rest.strip_prefix(b".").ok_or(PATH)?;
        if let Some(condition) = rest.strip_prefix(b"where(").filter(|_| !path.names.is_empty()) {
            let (names, after) = compared(condition).ok_or(PATH)?;
            path.compared.push([path.names.as_slice(), &names].concat());
            rest = after;
        } else {
            let (name, after) = rest.split_at(rest.iter().position(|byte| b".[".contains(byte)).unwrap_or(rest.len()));
            path.names.push(name.to_vec());
            rest = after;
        }
        if let Some(index) = rest.strip_prefix(b"[") {
            let end = index.iter().position(|byte| *byte == b']').ok_or(PATH)?;
            let (digits, after) = index.split_at(end);
            rest = after.get(1..).filter(|_| is_index(digits)).ok_or(PATH)?;
        }
    }
    if path.names.iter().all(|name| is_name(name)) { Ok(path) } else { Err(PATH) }
}

/// The names of `type.text='text')`, and what stands after it.
fn compared(condition: &[u8]) -> Option<(Vec<Vec<u8>>, &[u8])> {
    let (names, text) = condition.split_at(condition.iter().position(|byte| *byte == b'=')?);
    let text = text.get(1..)?.trim_ascii_start().strip_prefix(b"'")?;
    let (text, after) = text.split_at(text.iter().position(|byte| *byte == b'\'')?);
    let names: Vec<Vec<u8>> = names.trim_ascii().split(|byte| *byte == b'.').map(<[u8]>::to_vec).collect();
    let is_plain = names.iter().all(|name| is_name(name)) && !text.contains(&b'\\');
    let after = after.strip_prefix(b"'")?.trim_ascii_start().strip_prefix(b")")?;
    is_plain.then_some((names, after))
}

/// Whether these are nine digits at most, which all readers take alike.
fn is_index(digits: &[u8]) -> bool {
    let is_plain = matches!(digits, [b'0'] | [b'1'..=b'9', ..]) && digits.iter().all(u8::is_ascii_digit);
    is_plain && digits.len() <= 9
}

/// The name of an element, or of a type.
fn is_name(name: &[u8]) -> bool {
    name.first().is_some_and(u8::is_ascii_alphabetic) && name.iter().all(u8::is_ascii_alphanumeric)
}

/// Whether values of that type are no objects in JSON (<https://hl7.org/fhir/R4/datatypes.html>; one is of R5).
fn is_primitive(kind: &[u8]) -> bool {
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
