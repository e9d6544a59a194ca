//! The parts of one object or array of a document that was found to be good.

use std::ops::Range;
use std::sync::{Arc, LazyLock};

use super::machine::Machine;
use super::rules::Rules;
use crate::document::Limits;
use crate::document::path::FieldPath;

/// A member: where its name and its value stand, quotes included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The name.
    pub name: Range<usize>,
    /// The value.
    pub value: Range<usize>,
}

/// The members of the object at `at`, or the elements of the array there (whose names are empty), and where it ends. `None` if
/// neither stands there, whole.
pub fn parts(document: &[u8], at: usize) -> Option<(Vec<Member>, usize)> {
    static ALL: LazyLock<Option<Arc<Rules>>> = LazyLock::new(|| {
        let path = FieldPath::parse("$.*").ok()?;
        Rules::compile(&[path]).ok().map(Arc::new)
    });
    let is_object = match document.get(at)? {
        b'{' => true,
        b'[' => false,
        _ => return None,
    };
    let limits = Limits {
        depth_max: usize::MAX,
        value_bytes_max: usize::MAX,
        object_bytes_max: usize::MAX,
        name_bytes_max: usize::MAX,
    };
    let mut machine = Machine::inside(0, at, ALL.clone()?, limits);
    let mut parts = Vec::new();
    while machine.look(document, None).ok()? {
        let value = machine.answer()?;
        let name = if is_object { name_before(document, value.start)? } else { value.start..value.start };
        parts.push(Member { name, value });
    }
    machine.is_past().then(|| (parts, machine.at()))
}

/// Where the name of the member stands whose value starts at `value`.
pub fn name_before(document: &[u8], value: usize) -> Option<Range<usize>> {
    let before = document.get(..value)?.trim_ascii_end().strip_suffix(b":")?.trim_ascii_end();
    let end = before.len();
    let mut rest = before.strip_suffix(b"\"")?;
    loop {
        let quote = memchr::memrchr(b'"', rest)?;
        // An escaped quote is inside of the name.
        let slashes = rest.get(..quote)?.iter().rev().take_while(|byte| **byte == b'\\').count();
        if slashes % 2 == 0 {
            return Some(quote..end);
        }
        rest = rest.get(..quote)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_found_where_they_stand() {
        let document = r#" {"a": [1,"x", {}] , "b\"c" :{"d":null}}, 7"#;
        let text = |range: &Range<usize>| document[range.clone()].to_owned();
        let shown = |at| {
            let (parts, end) = parts(document.as_bytes(), at)?;
            let parts: Vec<_> = parts.iter().map(|part| (text(&part.name), text(&part.value))).collect();
            Some((parts, end))
        };
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let members = vec![pair("\"a\"", "[1,\"x\", {}]"), pair("\"b\\\"c\"", "{\"d\":null}")];
        assert_eq!(shown(1), Some((members, 40)));
        assert_eq!(shown(7), Some((vec![pair("", "1"), pair("", "\"x\""), pair("", "{}")], 18)));
        assert_eq!(shown(15), Some((vec![], 17)));
        for at in [0, 2, 8, 42, 99] {
            assert_eq!(shown(at), None, "{at}");
        }
        assert_eq!(parts(b"{\"a\":1", 0), None);
    }
}
