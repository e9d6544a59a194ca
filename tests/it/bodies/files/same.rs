//! Whether what the upstream got is what was sent, but for the sealed values.

use sealgate::seal::Token;
use serde_json::Value;

/// Stands in the place of a token.
const CUT: char = '\u{0}';

/// The start of a token, and how it starts in base64.
const STARTS: [&str; 2] = ["sgv1.", "c2d2MS"];

/// The text without its tokens, each of which must be one.
pub(super) fn without_tokens(text: &str) -> String {
    let mut cut = text.to_owned();
    for (start, more) in STARTS.iter().zip(["-_", "+/="]) {
        let mut parts = cut.split(start);
        let mut kept = parts.next().unwrap().to_owned();
        for part in parts {
            let is_end = |c: char| !(c.is_ascii_alphanumeric() || more.contains(c));
            let (token, rest) = part.split_at(part.find(is_end).unwrap_or(part.len()));
            if *start == "sgv1." {
                Token::read(format!("{start}{token}").as_bytes()).unwrap();
            }
            kept.push(CUT);
            kept.push_str(rest);
        }
        cut = kept;
    }
    cut
}

/// Whether the text is the other one with something else in the places of tokens.
pub(super) fn is_same_outside(kept: &str, sent: &str) -> bool {
    are_in_order(&undressed(&without_tokens(kept)), sent)
}

/// The same for a document with a search, which asks for each class that a value can be of, and for the whole of a text.
pub(super) fn is_same_search_outside(kept: &str, sent: &str) -> bool {
    let mut once = String::new();
    for piece in undressed(&without_tokens(kept)).replace("?name:exact=", "?name=").split_inclusive(CUT) {
        // `system|TOKEN,system|TOKEN`
        let again = piece.strip_prefix(',').is_some_and(|again| once.ends_with(again));
        once.push_str(if again { "" } else { piece });
    }
    are_in_order(&once, sent)
}

fn are_in_order(cut: &str, sent: &str) -> bool {
    let mut pieces = cut.split(CUT);
    let Some(mut rest) = sent.strip_prefix(pieces.next().unwrap()) else {
        return false;
    };
    let pieces: Vec<&str> = pieces.collect();
    let Some((last, middle)) = pieces.split_last() else {
        return rest.is_empty();
    };
    for piece in middle {
        match rest.split_once(piece) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// Without what carries the token of a primitive that was sealed in an extension of it, in JSON or XML.
fn undressed(cut: &str) -> String {
    const REASON: &str = "http://hl7.org/fhir/StructureDefinition/data-absent-reason";
    let in_json = format!(
        "{{\"extension\":[{{\"url\":\"urn:sealgate:sealed\",\"valueString\":\"{CUT}\"}},{{\"url\":\"{REASON}\",\
         \"valueCode\":\"masked\"}}]}}"
    );
    let in_xml = format!(
        "><extension url=\"urn:sealgate:sealed\"><valueString value=\"{CUT}\"/></extension><extension url=\"{REASON}\">\
         <valueCode value=\"masked\"/></extension></"
    );
    let mut parts = cut.split(&in_json);
    let mut text = parts.next().unwrap().to_owned();
    for part in parts {
        text.truncate(text.rfind("\"_").unwrap());
        text.push(CUT);
        text.push_str(part);
    }
    let mut parts = text.split(&in_xml);
    let start = parts.next().unwrap().to_owned();
    // Up to the end of the end tag, which was not there.
    parts.fold(start, |text, part| format!("{text}{CUT}{}", part.split_once('>').unwrap().1))
}

/// The same for a document in which an object stood beside a primitive that was sealed: the token is in it now.
pub(super) fn is_same_document_outside(kept: &Value, sent: &Value) -> bool {
    match (kept, sent) {
        (Value::String(kept), Value::String(sent)) => is_same_outside(kept, sent),
        (Value::Array(kept), Value::Array(sent)) => {
            kept.len() == sent.len() && kept.iter().zip(sent).all(|(kept, sent)| is_same_document_outside(kept, sent))
        }
        (Value::Object(kept), Value::Object(sent)) => {
            let mut kept = kept.clone();
            for (name, value) in sent {
                let beside = format!("_{name}");
                if !kept.contains_key(name) && take_sealed(kept.get_mut(&beside)) {
                    kept.insert(name.clone(), value.clone());
                }
                if kept.get(&beside).is_some_and(|beside| *beside == serde_json::json!({})) {
                    kept.remove(&beside);
                }
            }
            let same = |(name, value): (&String, &Value)| {
                kept.get(name).is_some_and(|kept| is_same_document_outside(kept, value))
            };
            kept.len() == sent.len() && sent.iter().all(same)
        }
        (kept, sent) => kept == sent,
    }
}

/// Takes the extension with the token out, and the one that says why the value is absent.
fn take_sealed(beside: Option<&mut Value>) -> bool {
    let Some(list) = beside.as_ref().and_then(|beside| beside["extension"].as_array()) else {
        return false;
    };
    let is_ours = |extension: &Value| extension["url"] == "urn:sealgate:sealed";
    let is_reason = |extension: &Value| extension["valueCode"] == "masked";
    let left: Vec<Value> = list.iter().filter(|one| !is_ours(one) && !is_reason(one)).cloned().collect();
    let taken = list.len() - left.len() == 2;
    let Some(beside) = beside.and_then(Value::as_object_mut) else {
        return false;
    };
    match left.is_empty() {
        true => drop(beside.remove("extension")),
        false => drop(beside.insert("extension".to_owned(), left.into())),
    }
    taken
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_was_changed_beside_a_token_is_noticed() {
        // In base64, so that it need not be a whole token.
        let kept = r#"{"a": "c2d2MSA=", "b": [1, "c2d2MSB="], "c": 2}"#;
        let sent = r#"{"a": "x", "b": [1, "y"], "c": 2}"#;
        assert!(is_same_outside(kept, sent));
        for (from, to) in [("2}", "3}"), ("1,", "1, 1,"), ("1, ", ""), ("{", "{ "), ("}", "} "), ("\"b\"", "\"B\"")] {
            assert!(!is_same_outside(&kept.replace(from, to), sent), "{from} {to}");
        }
        assert!(is_same_outside("[]", "[]") && !is_same_outside("[]", "[] "));
    }

    #[test]
    fn a_document_with_another_member_is_another_one() {
        let sent = json!({"n": 1, "_n": {"id": "x"}, "b": ["y"]});
        let reason = json!({"url": "r", "valueCode": "masked"});
        let beside =
            json!({"id": "x", "extension": [{"url": "urn:sealgate:sealed", "valueString": "c2d2MSA="}, reason]});
        assert!(is_same_document_outside(&json!({"_n": beside, "b": ["c2d2MSA="]}), &sent));
        for kept in [
            json!({"_n": beside, "b": ["y"], "c": 1}),
            json!({"_n": beside}),
            json!({"_n": {"id": "x"}, "b": ["y"]}),
            json!({"_n": beside, "b": ["y", "z"]}),
            json!({"_n": beside, "b": ["z"]}),
        ] {
            assert!(!is_same_document_outside(&kept, &sent), "{kept}");
        }
    }
}
