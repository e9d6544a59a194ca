//! Values of a JSON document that are taken out: with their names and commas, and with what is empty without them.

use super::super::media::Format;
use super::super::rescue::Code;
use super::super::rule::Written;
use super::edits::Edits;
use super::extension::delete;
use crate::document::json::{Member, parts};
use std::ops::Range;

/// What a body holds, if values can be taken out of it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Holds {
    /// One document.
    One,
    /// One in each line.
    Lines,
}

impl Holds {
    pub(super) const fn of(format: &Format) -> Option<Self> {
        match format {
            Format::Json => Some(Self::One),
            Format::Ndjson => Some(Self::Lines),
            _ => None,
        }
    }

    /// Where the document starts in which `at` stands.
    fn start(self, body: &[u8], at: usize) -> Option<usize> {
        let before = body.get(..at)?;
        let line = match self {
            Self::One => 0,
            Self::Lines => memchr::memrchr(b'\n', before).map_or(0, |end| end + 1),
        };
        let open = |byte: &u8| matches!(byte, b'{' | b'[');
        before.get(line..)?.iter().position(open).map(|first| line + first)
    }
}

/// Text that FHIR R4 requires where its parent stands (cardinality 1..1 in <https://hl7.org/fhir/R4/resourcelist.html>), of those
/// that the pack protects: by the ends of the paths of rules.
const REQUIRED: [&str; 14] = [
    ".note.text",
    "AuditEvent.entity.detail.valueBase64Binary",
    "AuditEvent.entity.detail.valueString",
    "ClaimResponse.processNote.text",
    "ExplanationOfBenefit.processNote.text",
    "Composition.title",
    "Coverage.class.value",
    "Immunization.occurrenceString",
    "Task.input.valueBase64Binary",
    "Task.input.valueMarkdown",
    "Task.input.valueString",
    "Task.output.valueBase64Binary",
    "Task.output.valueMarkdown",
    "Task.output.valueString",
];

/// Whether what a rule selects has to be there, so that another text takes its place.
pub(super) fn is_required(rule: &Written) -> bool {
    rule.key == "fhir" && REQUIRED.iter().any(|end| rule.place.ends_with(end))
}

/// Takes values out, which stand there in order.
///
/// # Errors
/// When one is no member and no element: it is all that there is.
pub(super) fn remove(body: &[u8], holds: Holds, mut values: &[Range<usize>], edits: &mut Edits) -> Result<(), Code> {
    while let [first, ..] = values {
        let top = holds.start(body, first.start).ok_or(Code::ResponseUnopenable)?;
        let (_, end) = parts(body, top).ok_or(Code::Internal)?;
        let (inside, after) = values.split_at(values.partition_point(|value| value.start < end));
        if inside.is_empty() {
            return Err(Code::Internal);
        }
        if is_emptied(body, top, (inside, false), edits)? {
            edits.delete(top + 1..end - 1);
        }
        values = after;
    }
    Ok(())
}

/// Takes values out of the object or array at `at`, unless nothing would be left in it. `aligned`: the place of an element tells what
/// it belongs to.
fn is_emptied(
    body: &[u8],
    at: usize,
    (values, aligned): (&[Range<usize>], bool),
    edits: &mut Edits,
) -> Result<bool, Code> {
    let (members, _) = parts(body, at).ok_or(Code::Internal)?;
    let mut gone = Vec::new();
    let mut is_left = false;
    for member in &members {
        let value = &member.value;
        let first = values.partition_point(|known| known.start < value.start);
        let after = values.partition_point(|known| known.start < value.end);
        let inside = values.get(first..after).unwrap_or_default();
        let is_gone = match inside {
            [] => aligned && body.get(value.clone()) == Some(b"null"),
            [only] if only == value => true,
            _ => is_emptied(body, value.start, (inside, is_aligned(body, &members, member)), edits)?,
        };
        is_left |= !is_gone;
        if is_gone && !inside.is_empty() {
            gone.push(member);
        }
    }
    for member in gone.into_iter().filter(|_| is_left) {
        if aligned {
            edits.replace(member.value.clone(), b"null".to_vec());
        } else {
            delete(body, member.name.start..member.value.end, edits)?;
        }
    }
    Ok(!is_left)
}

/// Whether a member has another beside it, element by element (<https://hl7.org/fhir/R4/json.html#primitive>): `given` and `_given`.
fn is_aligned(body: &[u8], members: &[Member], member: &Member) -> bool {
    let name = |member: &Member| {
        let quoted = body.get(member.name.clone())?;
        quoted.strip_prefix(b"\"")?.strip_suffix(b"\"")
    };
    let Some(own) = name(member).filter(|own| !own.is_empty()) else { return false };
    members
        .iter()
        .filter_map(name)
        .any(|other| other.strip_prefix(b"_") == Some(own) || own.strip_prefix(b"_") == Some(other))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    /// Takes out every text `X`.
    fn removed(holds: Holds, document: &str) -> Result<String, Code> {
        let values: Vec<_> = document.match_indices("\"X\"").map(|(at, x)| at..at + x.len()).collect();
        let mut edits = Edits::default();
        remove(document.as_bytes(), holds, &values, &mut edits)?;
        Ok(String::from_utf8(edits.make(document.as_bytes()).unwrap()).unwrap())
    }

    #[test]
    fn members_and_elements_go_with_their_commas() {
        for (document, want) in [
            (r#"{"a":"X","b":1}"#, r#"{"b":1}"#),
            (r#"{"b":1,"a":"X"}"#, r#"{"b":1}"#),
            (r#"{"b":1 , "a" : "X" , "c":"X"}"#, r#"{"b":1  }"#),
            (r#"{"a":"X","b":1,"c":"X","d":2,"e":"X"}"#, r#"{"b":1,"d":2}"#),
            (r#"[1,"X",2,"X"]"#, "[1,2]"),
            (r#"["X","X",2]"#, "[2]"),
            (r#"{"a":{"b":["X",{"c":"X","d":"Y"}]}}"#, r#"{"a":{"b":[{"d":"Y"}]}}"#),
        ] {
            assert_eq!(removed(Holds::One, document).as_deref(), Ok(want), "{document}");
        }
    }

    #[test]
    fn what_is_empty_then_goes_too() {
        for (document, want) in [
            (r#"{"a":{"b":[{"c":"X"}]},"d":1}"#, r#"{"d":1}"#),
            (r#"{"d":1,"a":[["X"],["X","X"]]}"#, r#"{"d":1}"#),
            (r#"{"a":{"b":"X"},"d":[]}"#, r#"{"d":[]}"#),
            (r#" {"a":{"b":"X"}} "#, " {} "),
            (r#"["X",["X"]]"#, "[]"),
        ] {
            assert_eq!(removed(Holds::One, document).as_deref(), Ok(want), "{document}");
        }
    }

    #[test]
    fn elements_that_belong_together_stay_in_their_places() {
        for (document, want) in [
            (r#"{"g":["X","b"],"_g":[null,{"id":"1"}]}"#, r#"{"g":[null,"b"],"_g":[null,{"id":"1"}]}"#),
            (r#"{"g":["a","b"],"_g":[{"x":"X"},{"id":"1"}]}"#, r#"{"g":["a","b"],"_g":[null,{"id":"1"}]}"#),
            (r#"{"g":["X",null],"_g":[null,{"id":"1"}]}"#, r#"{"_g":[null,{"id":"1"}]}"#),
            (r#"{"g":["X","b"],"h":["X","b"],"_h":[]}"#, r#"{"g":["b"],"h":[null,"b"],"_h":[]}"#),
        ] {
            assert_eq!(removed(Holds::One, document).as_deref(), Ok(want), "{document}");
        }
    }

    #[test]
    fn each_line_is_a_document() {
        let lines = "{\"a\":\"X\"}\n\n {\"a\":\"X\",\"b\":1}\n{\"b\":\"Y\"}\r\n[\"X\"]";
        assert_eq!(removed(Holds::Lines, lines).as_deref(), Ok("{}\n\n {\"b\":1}\n{\"b\":\"Y\"}\r\n[]"));
    }

    #[test]
    fn a_document_that_is_one_value_cannot_go() {
        assert_eq!(removed(Holds::One, " \"X\""), Err(Code::ResponseUnopenable));
        assert_eq!(removed(Holds::Lines, "{}\n\"X\"\n"), Err(Code::ResponseUnopenable));
    }

    proptest::proptest! {
        /// The same as in a tree.
        #[test]
        fn what_is_left_is_what_a_tree_has_left(shape in proptest::collection::vec(0_u8..6, 0..40)) {
            let (document, want) = grown(&mut shape.iter().copied(), 0);
            let (Some(want), true) = (want, document.starts_with(['{', '['])) else { return Ok(()) };
            let found: Value = serde_json::from_str(&removed(Holds::One, &document).unwrap()).unwrap();
            proptest::prop_assert_eq!(found, want, "{}", document);
        }
    }

    /// A document, and what is left of it.
    fn grown(shape: &mut impl Iterator<Item = u8>, depth: usize) -> (String, Option<Value>) {
        match shape.next().unwrap_or(0) {
            kind @ 2..6 if depth < 5 => {
                let mut parts = Vec::new();
                let mut left = Vec::new();
                for number in 0..usize::from(shape.next().unwrap_or(1)) {
                    let (text, value) = grown(shape, depth + 1);
                    let name = format!("m{number}");
                    parts.push(if kind % 2 == 0 { text } else { format!("\"{name}\" : {text}") });
                    left.extend(value.map(|value| (name, value)));
                }
                let is_left = parts.is_empty() || !left.is_empty() || depth == 0;
                let (open, close) = if kind % 2 == 0 { ('[', ']') } else { ('{', '}') };
                let tree = if kind % 2 == 0 {
                    Value::Array(left.into_iter().map(|(_, value)| value).collect())
                } else {
                    Value::Object(left.into_iter().collect())
                };
                (format!("{open}{}{close}", parts.join(" , ")), is_left.then_some(tree))
            }
            1 => ("\"X\"".to_owned(), None),
            _ => ("7".to_owned(), Some(7.into())),
        }
    }
}
