//! The operations of a JSON Patch (RFC 6902 4), read strictly: all that one server could take in another way than the
//! next is refused.

use std::ops::Range;

use super::pointer::Pointer;
use crate::document::Fault;
use crate::document::json::{Member, parts, unquote};

/// One operation.
pub(super) struct Operation {
    pub(super) verb: Verb,
    /// Where `path` is written.
    pub(super) at: Range<usize>,
    pub(super) path: Pointer,
    /// Of `move` and `copy`.
    pub(super) from: Option<Pointer>,
    /// Of `add`, `replace` and `test`: where the value is written.
    pub(super) value: Option<Range<usize>>,
}

/// What it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Add,
    Remove,
    Replace,
    Move,
    Copy,
    Test,
}

/// All operations of `patch`, a good JSON text, in their order.
pub(super) fn operations(patch: &[u8], depth_max: usize) -> Result<Vec<Operation>, Fault> {
    let start = start(patch);
    match parts(patch, start) {
        Some((elements, _)) if patch.get(start) == Some(&b'[') => {
            elements.iter().map(|element| operation(patch, &element.value, depth_max)).collect()
        }
        _ => Err(refused(start, "a JSON Patch that is no array")),
    }
}

/// Where the top value starts.
pub(super) fn start(patch: &[u8]) -> usize {
    let rest = patch.strip_prefix(b"\xef\xbb\xbf").unwrap_or(patch);
    patch.len() - rest.trim_ascii_start().len()
}

fn operation(patch: &[u8], range: &Range<usize>, depth_max: usize) -> Result<Operation, Fault> {
    let members = match parts(patch, range.start) {
        Some((members, _)) if patch.get(range.start) == Some(&b'{') => members,
        _ => return Err(refused(range.start, "an operation that is no object")),
    };
    let [op, path, from, value] = named(patch, &members)?;
    let missing = |what| refused(range.start, what);
    let op = op.ok_or_else(|| missing("an operation without `op`"))?;
    let verb = match text(patch, &op).as_deref() {
        Some(b"add") => Verb::Add,
        Some(b"remove") => Verb::Remove,
        Some(b"replace") => Verb::Replace,
        Some(b"move") => Verb::Move,
        Some(b"copy") => Verb::Copy,
        Some(b"test") => Verb::Test,
        _ => return Err(refused(op.start, "an operation that is unknown")),
    };
    let at = path.ok_or_else(|| missing("an operation without `path`"))?;
    let path = pointer(patch, &at, depth_max)?;
    let from = match (from, matches!(verb, Verb::Move | Verb::Copy)) {
        (Some(from), true) => Some(pointer(patch, &from, depth_max)?),
        (None, true) => return Err(missing("a `move` or `copy` without `from`")),
        (Some(from), false) => return Err(refused(from.start, "a `from` in another operation than `move` or `copy`")),
        (None, false) => None,
    };
    match (&value, matches!(verb, Verb::Add | Verb::Replace | Verb::Test)) {
        (None, true) => return Err(missing("an `add`, `replace` or `test` without `value`")),
        (Some(value), false) => {
            return Err(refused(value.start, "a `value` in another operation than `add`, `replace` or `test`"));
        }
        _ => {}
    }
    Ok(Operation { verb, at, path, from, value })
}

/// Where the values of `op`, `path`, `from` and `value` are written. There may be no other member, and none twice.
fn named(patch: &[u8], members: &[Member]) -> Result<[Option<Range<usize>>; 4], Fault> {
    let mut found = [const { None }; 4];
    let [op, path, from, value] = &mut found;
    for member in members {
        let place = match text(patch, &member.name).as_deref() {
            Some(b"op") => &mut *op,
            Some(b"path") => &mut *path,
            Some(b"from") => &mut *from,
            Some(b"value") => &mut *value,
            _ => return Err(refused(member.name.start, "a member that an operation does not have")),
        };
        if place.replace(member.value.clone()).is_some() {
            return Err(refused(member.name.start, "a member of an operation that stands twice"));
        }
    }
    Ok(found)
}

fn pointer(patch: &[u8], range: &Range<usize>, depth_max: usize) -> Result<Pointer, Fault> {
    let pointer = text(patch, range).and_then(|text| Pointer::parse(&text));
    let pointer = pointer.ok_or_else(|| refused(range.start, "a `path` or `from` that is no JSON pointer"))?;
    if pointer.tokens().len() > depth_max {
        return Err(Fault::TooDeep { offset: range.start as u64, max: depth_max });
    }
    Ok(pointer)
}

fn text(patch: &[u8], range: &Range<usize>) -> Option<Vec<u8>> {
    unquote(patch.get(range.clone())?)
}

pub(super) fn refused(at: usize, what: &'static str) -> Fault {
    Fault::Unaccepted { offset: at as u64, what }
}
