//! What stands in the place of a value that cannot be opened, where the rest of the document is delivered.

use super::extension::HIDDEN;
use memchr::memmem;
use std::collections::HashMap;
use std::ops::Range;

/// Of each member with `_` before it, whether it stands in the document.
pub(super) type Seen = HashMap<Vec<u8>, bool>;

/// A text that nobody takes for a value.
pub(super) const UNOPENABLE: &[u8] = b"[UNOPENABLE]";

/// Whether a text is the mark: written back, it would replace what may open again one day.
pub(super) fn is_mark(text: &[u8]) -> bool {
    text == UNOPENABLE
}

/// By this extension the absence of a value is known as ours.
pub(super) const URL: &[u8] = b"urn:sealgate:unopenable";

/// How that one and [`HIDDEN`] begin.
pub(super) const PREFIX: &[u8] = b"urn:sealgate:";

const REASON: &str = concat!(
    "{\"extension\":[{\"url\":\"http://hl7.org/fhir/StructureDefinition/data-absent-reason\",",
    "\"valueCode\":\"error\"},{\"url\":\"urn:sealgate:unopenable\",\"valueBoolean\":true}]}"
);

/// Whether a text says, in either way, that a value is absent because it did not open: written back, the document would be without what
/// may open again one day.
pub(super) fn is_absence(text: &[u8]) -> bool {
    text == URL || text == HIDDEN || is_mark(text)
}

/// In FHIR JSON a primitive that is missing says why in a member of its own, named like it with `_` before
/// (<https://hl7.org/fhir/R4/json.html#primitive>): what replaces which part of the document. `None` where the value is no
/// member that can be replaced so: an element of an array, a name that is escaped, or one whose `_` member may be there.
/// `seen` remembers of each name whether its `_` member may be there.
pub(super) fn absent(document: &[u8], value: &Range<usize>, seen: &mut Seen) -> Option<(Range<usize>, Vec<u8>)> {
    let before =
        document.get(..value.start)?.trim_ascii_end().strip_suffix(b":")?.trim_ascii_end().strip_suffix(b"\"")?;
    let quote = memchr::memrchr(b'"', before)?;
    let name = before.get(quote + 1..).filter(|name| !name.is_empty() && name.iter().all(u8::is_ascii_alphanumeric))?;
    // Else it is no quote that begins a name: an escaped one.
    if !matches!(before.get(..quote)?.trim_ascii_end().last(), Some(b'{' | b',')) {
        return None;
    }
    let member = [b"\"_", name, b"\""].concat();
    let is_there = match seen.get(&member) {
        Some(is_there) => *is_there,
        None => {
            let is_there = memmem::find(document, &member).is_some();
            seen.insert(member.clone(), is_there);
            is_there
        }
    };
    if is_there {
        return None;
    }
    Some((quote..value.end, [&member, &b":"[..], REASON.as_bytes()].concat()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_gives_way_to_the_reason_for_its_absence() {
        let document = br#"{"id":"1", "birthDate" : "sgv1.AQ","active":true}"#;
        let value = 25..34;
        assert_eq!(&document[value.clone()], b"\"sgv1.AQ\"");
        let (range, replacement) = absent(document, &value, &mut Seen::new()).unwrap();
        let text = [&document[..range.start], &replacement, &document[range.end..]].concat();
        let json: serde_json::Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(json["_birthDate"]["extension"][0]["valueCode"], "error");
        assert_eq!(json.get("birthDate"), None);
        assert_eq!((&json["id"], &json["active"]), (&"1".into(), &true.into()));
    }

    #[test]
    fn what_is_no_such_member_is_left_to_the_text_mark() {
        for document in [
            r#"["sgv1.AQ"]"#,
            r#"{"given":["a","sgv1.AQ"]}"#,
            r#""sgv1.AQ""#,
            r#"{"a\"b":"sgv1.AQ"}"#,
            r#"{"":"sgv1.AQ"}"#,
            r#"{"family":"sgv1.AQ","_family":{"id":"x"}}"#,
        ] {
            let start = document.find("\"sgv1").unwrap();
            assert_eq!(absent(document.as_bytes(), &(start..start + 9), &mut Seen::new()), None, "{document}");
        }
    }
}
