//! Sealed primitives of FHIR: the value goes, and stands sealed in an extension beside it
//! (<https://hl7.org/fhir/R4/json.html#primitive>), with the reason for which it is absent. So the resource stays valid whatever the
//! type of the primitive is.

mod xml;

pub(super) use xml::put_away as put_away_in_xml;

use super::super::rescue::Code;
use super::super::rule::SEALED_URL;
use super::edits::Edits;
use crate::document::json::{Member, name_before, parts};
use std::ops::Range;

const REASON_URL: &str = "http://hl7.org/fhir/StructureDefinition/data-absent-reason";

/// What stands in the place of a sealed value that is not shown.
pub(super) const HIDDEN: &[u8] = b"urn:sealgate:hidden";

/// Puts a value away: `value` is where it stands, `beside` where the object beside it starts, if there is one, `token` a JSON
/// string.
pub(super) fn put_away(
    body: &[u8],
    value: &Range<usize>,
    beside: Option<usize>,
    token: &[u8],
    edits: &mut Edits,
) -> Result<(), Code> {
    let name = plain_name(body, value.start)?;
    let entries = [
        b"{\"url\":\"",
        SEALED_URL.as_bytes(),
        b"\",\"valueString\":",
        token,
        b"},{\"url\":\"",
        REASON_URL.as_bytes(),
        b"\",\"valueCode\":\"masked\"}",
    ]
    .concat();
    let Some(beside) = beside else {
        // The name with the colon, and the white space that may be around it.
        let text = body.get(name.start + 1..value.start).ok_or(Code::Internal)?;
        edits.replace(name.start..value.end, [b"\"_", text, b"{\"extension\":[", &entries, b"]}"].concat());
        return Ok(());
    };
    delete(body, name.start..value.end, edits)?;
    let (members, _) = parts(body, beside).ok_or(Code::Internal)?;
    let known = members.iter().find(|member| body.get(member.name.clone()) == Some(b"\"extension\""));
    match known {
        Some(Member { value, .. }) => {
            let (elements, _) = parts(body, value.start).ok_or(Code::ValueNotWritable)?;
            if body.get(value.start) != Some(&b'[') {
                return Err(Code::ValueNotWritable);
            }
            let comma: &[u8] = if elements.is_empty() { b"" } else { b"," };
            edits.insert(value.start + 1, [&entries, comma].concat());
        }
        None => {
            let comma: &[u8] = if members.is_empty() { b"" } else { b"," };
            edits.insert(beside + 1, [b"\"extension\":[", &entries[..], b"]", comma].concat());
        }
    }
    Ok(())
}

/// Where the parts stand that a sealed value is carried by.
#[derive(Clone, Copy)]
pub(super) struct Carried {
    /// The extension.
    pub(super) entry: usize,
    /// The list of extensions.
    pub(super) list: usize,
    /// The object beside the primitive.
    pub(super) beside: usize,
}

/// Puts a value, as JSON, back into its place.
pub(super) fn put_back(body: &[u8], carried: Carried, value: &[u8], edits: &mut Edits) -> Result<(), Code> {
    let Carried { entry, list, beside } = carried;
    if body.get(beside) == Some(&b'<') {
        return xml::put_back(body, (beside, entry), value, edits);
    }
    let name = plain_name(body, beside)?;
    // Without the quote and the `_` before it.
    let primitive = body.get(name.start + 2..beside).ok_or(Code::Internal)?;
    let primitive = [b"\"", primitive, value].concat();
    let (members, end) = parts(body, beside).ok_or(Code::Internal)?;
    let (entries, list_end) = parts(body, list).ok_or(Code::Internal)?;
    let is_ours = |part: &Member| part.value.start == entry || is_reason(body, &part.value);
    if entries.iter().all(is_ours) {
        if members.len() == 1 {
            edits.replace(name.start..end, primitive);
            return Ok(());
        }
        let member = members.iter().find(|member| member.value.start == list).ok_or(Code::Internal)?;
        delete(body, member.name.start..list_end, edits)?;
    } else {
        for part in entries.iter().filter(|part| is_ours(part)) {
            delete(body, part.value.clone(), edits)?;
        }
    }
    edits.insert(name.start, [&primitive[..], b","].concat());
    Ok(())
}

/// Leaves a mark in the place of the sealed value.
pub(super) fn hide(body: &[u8], carried: Carried, url: &[u8], edits: &mut Edits) -> Result<(), Code> {
    if body.get(carried.entry) == Some(&b'<') {
        return xml::hide(body, (carried.beside, carried.entry), url, edits);
    }
    let (_, end) = parts(body, carried.entry).ok_or(Code::Internal)?;
    edits.replace(carried.entry..end, [b"{\"url\":\"", url, b"\",\"valueBoolean\":true}"].concat());
    Ok(())
}

/// Whether an extension is the reason that stands beside a sealed value.
fn is_reason(body: &[u8], range: &Range<usize>) -> bool {
    let value: Option<serde_json::Value> = body.get(range.clone()).and_then(|text| serde_json::from_slice(text).ok());
    value.is_some_and(|value| value == serde_json::json!({"url": REASON_URL, "valueCode": "masked"}))
}

/// The name before a value, if it is one of FHIR's, written without escapes.
fn plain_name(body: &[u8], value: usize) -> Result<Range<usize>, Code> {
    let name = name_before(body, value).ok_or(Code::ValueNotWritable)?;
    let text = body.get(name.start + 1..name.end - 1).unwrap_or_default();
    let is_plain = text.len() > 1 && text.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    if is_plain { Ok(name) } else { Err(Code::ValueNotWritable) }
}

/// Takes a member or element out that is not the only one, with a comma: the next and the white space after it, or where it is the
/// last one, that before it and before all that were taken out directly before it.
pub(super) fn delete(body: &[u8], range: Range<usize>, edits: &mut Edits) -> Result<(), Code> {
    let after = body.get(range.end..).ok_or(Code::Internal)?;
    let blanks = after.len() - after.trim_ascii_start().len();
    if let Some((b',', next)) = after.get(blanks..).and_then(<[u8]>::split_first).map(|(first, rest)| (*first, rest)) {
        let indent = next.len() - next.trim_ascii_start().len();
        edits.delete(range.start..range.end + blanks + 1 + indent);
        return Ok(());
    }
    let mut start = range.start;
    while let Some(earlier) = edits.deletion_before(body, start) {
        start = earlier;
    }
    let comma = body.get(..start).ok_or(Code::Internal)?.trim_ascii_end().len().checked_sub(1).ok_or(Code::Internal)?;
    if body.get(comma) == Some(&b',') {
        edits.delete(comma..comma + 1);
    }
    edits.delete(range);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn find(document: &str, what: &str) -> usize {
        document.find(what).unwrap_or_else(|| panic!("no {what} in {document}"))
    }

    /// `n` put away, and what comes of it put back.
    fn away(document: &str, names: &[&str]) -> String {
        let mut edits = Edits::default();
        for name in names {
            let start = find(document, &format!("\"{name}\"")) + name.len() + 2;
            let start = start + document[start..].find(|c: char| c != ':' && !c.is_whitespace()).unwrap();
            let end = start + document[start..].find([',', '}', '\n']).unwrap();
            let beside = document.find(&format!("\"_{name}\"")).map(|at| at + document[at..].find('{').unwrap());
            put_away(document.as_bytes(), &(start..end), beside, format!("\"T{name}\"").as_bytes(), &mut edits)
                .unwrap();
        }
        String::from_utf8(edits.make(document.as_bytes()).unwrap()).unwrap()
    }

    fn back(document: &str, names: &[&str], value: &str) -> String {
        let mut edits = Edits::default();
        for name in names {
            let token = find(document, &format!("\"T{name}\""));
            let entry = document[..token].rfind('{').unwrap();
            let beside = find(document, &format!("\"_{name}\"")) + name.len() + 3;
            let beside = beside + document[beside..].find('{').unwrap();
            let list = beside + document[beside..].find('[').unwrap();
            put_back(document.as_bytes(), Carried { entry, list, beside }, value.as_bytes(), &mut edits).unwrap();
        }
        String::from_utf8(edits.make(document.as_bytes()).unwrap()).unwrap()
    }

    #[test]
    fn a_value_goes_and_comes_back() {
        for (document, names) in [
            (r#"{"nn":1}"#, &["nn"][..]),
            (r#"{"a":0, "nn" : 1 ,"b":2}"#, &["nn"]),
            (r#"{"nn":1,"_nn":{"id":"x"}}"#, &["nn"]),
            (r#"{"_nn":{"id":"x"},"nn":1}"#, &["nn"]),
            (r#"{"nn":1,"_nn":{ }}"#, &["nn"]),
            (r#"{"nn":1, "_nn":{"extension":[{"url":"x","valueString":"[]"}]}}"#, &["nn"]),
            (r#"{"_nn":{"id":"x","extension":[]},"nn":1,"b":2}"#, &["nn"]),
            (r#"{"_aa":{"id":"x"},"_bb":{"id":"y"},"aa":1,"bb":1}"#, &["aa", "bb"]),
            (r#"{"_aa":{"id":"x"},"_bb":{"id":"y"},"c":0, "aa":1 ,"bb":1}"#, &["aa", "bb"]),
            (r#"{"_aa":{"id":"x"},"_bb":{"id":"y"},"bb":1 , "aa":1}"#, &["bb", "aa"]),
            (r#"{"aa":1,"bb":1,"_bb":{"id":"y"}}"#, &["aa", "bb"]),
        ] {
            let sealed = away(document, names);
            let value: Value = serde_json::from_str(&sealed).unwrap_or_else(|error| panic!("{sealed}: {error}"));
            for name in names {
                assert_eq!(value.get(name), None, "{sealed}");
                let list = &value[format!("_{name}")]["extension"];
                assert_eq!(list[0], json!({"url": SEALED_URL, "valueString": format!("T{name}")}), "{sealed}");
                assert_eq!(list[1], json!({"url": REASON_URL, "valueCode": "masked"}), "{sealed}");
            }
            let opened: Value = serde_json::from_str(&back(&sealed, names, "1")).unwrap();
            let mut want: Value = serde_json::from_str(document).unwrap();
            for name in names {
                // What holds nothing is no FHIR, and does not come back.
                let beside = format!("_{name}");
                if want[&beside]["extension"] == json!([]) {
                    want[&beside].as_object_mut().unwrap().remove("extension");
                }
                if want[&beside] == json!({}) || want[&beside].is_null() {
                    want.as_object_mut().unwrap().remove(&beside);
                }
            }
            assert_eq!(opened, want, "{sealed}");
        }
    }

    /// White space too is as it was.
    #[test]
    fn a_value_with_nothing_beside_it_comes_back_byte_for_byte() {
        for document in [
            r#"{"nn":1}"#,
            r#"{"a":0, "nn" : 1,"b":2}"#,
            "{\n  \"nn\": 1,\n  \"b\": 2\n}",
            "{\"b\":2,\"nn\"\t:\r\n1\n}",
        ] {
            assert_eq!(back(&away(document, &["nn"]), &["nn"], "1"), document);
        }
    }

    #[test]
    fn what_others_put_beside_a_value_stays() {
        let document = r#"{"_nn":{"extension":[{"url":"a"},{"valueString":"Tnn","url":"urn:sealgate:sealed"},{"url":"b"},{"valueCode":"masked","url":"http://hl7.org/fhir/StructureDefinition/data-absent-reason"}]}}"#;
        let opened = back(document, &["nn"], "true");
        assert_eq!(opened, r#"{"nn":true,"_nn":{"extension":[{"url":"a"},{"url":"b"}]}}"#);
    }

    #[test]
    fn a_mark_stands_where_the_value_was() {
        let document = r#"{"_nn":{"extension":[{"url":"urn:sealgate:sealed","valueString":"Tnn"},{"url":"b"}]}}"#;
        let mut edits = Edits::default();
        let carried = Carried { entry: find(document, "{\"url\":\"urn"), list: 0, beside: 0 };
        hide(document.as_bytes(), carried, HIDDEN, &mut edits).unwrap();
        let hidden = String::from_utf8(edits.make(document.as_bytes()).unwrap()).unwrap();
        assert_eq!(hidden, r#"{"_nn":{"extension":[{"url":"urn:sealgate:hidden","valueBoolean":true},{"url":"b"}]}}"#);
    }

    #[test]
    fn names_that_are_no_fhir_and_lists_that_are_none_are_refused() {
        for (document, value, beside) in [
            (r#"["1"]"#, 1..4, None),
            (r#"{"n\u006e":1}"#, 11..12, None),
            (r#"{"":1}"#, 4..5, None),
            (r#"{"nn":1,"_nn":{"extension":{}}}"#, 6..7, Some(14)),
            (r#"{"nn":1,"_nn":{"extension":null}}"#, 6..7, Some(14)),
        ] {
            let found = put_away(document.as_bytes(), &value, beside, b"\"T\"", &mut Edits::default());
            assert_eq!(found, Err(Code::ValueNotWritable), "{document}");
        }
    }
}
