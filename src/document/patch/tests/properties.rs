//! Random patches: cut, changed, written again, and applied.

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;
use crate::document::Place;

fn name() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["a", "b", "c", "d"]).prop_map(String::from)
}

fn value() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        Just(Value::Null),
        (0..5).prop_map(Value::from),
        prop::sample::select(vec!["x", "y\"\n", "tok:1", "\u{1f600}"]).prop_map(Value::from),
    ];
    scalar.prop_recursive(3, 20, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            vec((name(), inner), 0..4).prop_map(|members| Value::Object(members.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// A document in which much can be found.
fn document() -> impl Strategy<Value = Value> {
    vec(value(), 4).prop_map(|values| {
        let [a, b, c, d] = <[Value; 4]>::try_from(values).unwrap();
        json!({"a": {"a": a, "b": [b, 1, {"c": 2}]}, "b": [[c], {"a": 3, "b": [4]}, d], "c": {"d": {"a": 5}}})
    })
}

fn members() -> impl Strategy<Value = Value> {
    vec(("[a-d]", value()), 0..4).prop_map(|members| Value::Object(members.into_iter().collect()))
}

fn pointer() -> impl Strategy<Value = String> {
    let token = prop_oneof![
        4 => name(),
        3 => (0_u8..4).prop_map(|index| index.to_string()),
        1 => Just("-".to_owned()),
    ];
    vec(token, 0..4).prop_map(|tokens| tokens.iter().map(|token| format!("/{token}")).collect())
}

fn operation() -> impl Strategy<Value = Value> {
    prop_oneof![
        4 => (pointer(), value()).prop_map(|(path, value)| json!({"op": "add", "path": path, "value": value})),
        3 => (pointer(), value()).prop_map(|(path, value)| json!({"value": value, "path": path, "op": "replace"})),
        1 => (pointer(), value()).prop_map(|(path, value)| json!({"op": "test", "path": path, "value": value})),
        1 => pointer().prop_map(|path| json!({"op": "remove", "path": path})),
        1 => (pointer(), pointer()).prop_map(|(from, path)| json!({"op": "move", "from": from, "path": path})),
        1 => (pointer(), pointer()).prop_map(|(from, path)| json!({"op": "copy", "path": path, "from": from})),
    ]
}

fn path(filters: bool) -> impl Strategy<Value = String> {
    let selector = prop_oneof![
        4 => name().prop_map(|name| format!("['{name}']")),
        2 => Just("[*]".to_owned()),
        1 => (0..3).prop_map(|index| format!("[{index}]")),
        u32::from(filters) => name().prop_map(|name| format!("[?@.{name}=='x']")),
    ];
    let segment = (selector, prop::bool::weighted(0.2)).prop_map(|(selector, descendant)| match descendant {
        true => format!("..{selector}"),
        false => selector,
    });
    (prop::bool::weighted(0.2), vec(segment, 1..4))
        .prop_map(|(passes, segments)| format!("{}${}", if passes { "-" } else { "" }, segments.concat()))
}

/// Likewise by resource type.
fn typed_path() -> impl Strategy<Value = String> {
    let step = (name(), prop::bool::weighted(0.2))
        .prop_map(|(name, deep)| format!("{}.{name}", if deep { ".**" } else { "" }));
    (prop::bool::weighted(0.2), vec(step, 1..4))
        .prop_map(|(passes, steps)| format!("{}Patient{}", if passes { "-" } else { "" }, steps.concat()))
}

fn case(paths: &[String], merge: bool) -> Case<'static> {
    let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
    Case { watch: Some(TOKENS), merge, ..Case::new(&paths) }
}

fn byte() -> impl Strategy<Value = u8> {
    prop_oneof![prop::sample::select(b"{}[]:,\"\\/~-0aP\x00\xff".to_vec()), any::<u8>()]
}

type Seen = Vec<(Option<usize>, Option<Vec<u8>>, std::ops::Range<u64>, bool)>;

fn run(case: &Case<'_>, patch: &[u8], lengths: &[usize], kept: bool) -> (Result<Vec<u8>, Fault>, Seen) {
    let mut seen = Vec::new();
    let result = case.run(patch, lengths, &mut |slot| {
        seen.push((slot.rule(), slot.text().map(<[u8]>::to_vec), slot.range(), slot.is_test()));
        (!kept).then(|| b"\"instead\"".to_vec())
    });
    (result, seen)
}

/// Seals what the rules select: each value becomes one that tells the rule and nothing else.
fn sealed(case: &Case<'_>, document: &Value) -> Option<Value> {
    let output = case.run(document.to_string().as_bytes(), &[], &mut |slot| {
        slot.rule().map(|rule| format!("\"rule {rule}\"").into_bytes())
    });
    Some(serde_json::from_slice(&output.ok()?).unwrap())
}

/// The same for a document.
fn sealed_whole(case: &Case<'_>, document: &Value) -> Value {
    let mut rewriter = json::Rewriter::new(Arc::clone(&case.rules), Limits::default(), None);
    let output = rewrite(&mut rewriter, document.to_string().as_bytes(), &[], &mut |slot| {
        slot.rule().map(|rule| format!("\"rule {rule}\"").into_bytes())
    });
    serde_json::from_slice(&output.unwrap()).unwrap()
}

/// RFC 6902 as it stands; `None` where it is an error.
fn applied(mut document: Value, patch: &Value) -> Option<Value> {
    for operation in patch.as_array()? {
        let text = |name: &str| operation[name].as_str();
        let path = text("path")?;
        match text("op")? {
            "add" => add(&mut document, path, operation["value"].clone())?,
            "replace" => *document.pointer_mut(path)? = operation["value"].clone(),
            "remove" => drop(remove(&mut document, path)?),
            "test" => (document.pointer(path)? == &operation["value"]).then_some(())?,
            "copy" => {
                let value = document.pointer(text("from")?)?.clone();
                add(&mut document, path, value)?;
            }
            _ => {
                if path.starts_with(&format!("{}/", text("from")?)) {
                    return None;
                }
                let value = remove(&mut document, text("from")?)?;
                add(&mut document, path, value)?;
            }
        }
    }
    Some(document)
}

fn add(document: &mut Value, path: &str, value: Value) -> Option<()> {
    let Some((parent, token)) = path.rsplit_once('/') else {
        *document = value;
        return Some(());
    };
    match document.pointer_mut(parent)? {
        Value::Object(members) => drop(members.insert(token.to_owned(), value)),
        Value::Array(elements) => {
            let index = if token == "-" { elements.len() } else { token.parse().ok()? };
            (index <= elements.len()).then(|| elements.insert(index, value))?;
        }
        _ => return None,
    }
    Some(())
}

fn remove(document: &mut Value, path: &str) -> Option<Value> {
    let (parent, token) = path.rsplit_once('/')?;
    match document.pointer_mut(parent)? {
        Value::Object(members) => members.remove(token),
        Value::Array(elements) => {
            let index: usize = token.parse().ok()?;
            (index < elements.len()).then(|| elements.remove(index))
        }
        _ => None,
    }
}

fn has_number_names(value: &Value) -> bool {
    match value {
        Value::Array(elements) => elements.iter().any(has_number_names),
        Value::Object(members) => {
            members.iter().any(|(name, value)| name == "-" || name.parse::<u8>().is_ok() || has_number_names(value))
        }
        _ => false,
    }
}

/// RFC 7396 2.
fn merged(target: Value, patch: &Value) -> Value {
    let Value::Object(patch) = patch else { return patch.clone() };
    let mut target = if let Value::Object(target) = target { target } else { Map::new() };
    for (name, value) in patch {
        if value.is_null() {
            target.remove(name);
        } else {
            let old = target.remove(name).unwrap_or_default();
            target.insert(name.clone(), merged(old, value));
        }
    }
    Value::Object(target)
}

/// Whether an object is selected by `case` in `patch`, or `null` is: what these do to a document is for the caller to
/// tell.
fn selects_parts(case: &Case<'_>, patch: &Value) -> bool {
    let mut parts = false;
    let _ = case.run(patch.to_string().as_bytes(), &[], &mut |slot| {
        parts |= slot.rule().is_some() && matches!(slot.kind(), Kind::Object | Kind::Null);
        None
    });
    parts
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// To seal a patch and apply it to a sealed document gives what sealing the patched document gives.
    #[test]
    fn a_sealed_patch_of_a_sealed_document_gives_a_sealed_document(
        document in document(), operations in vec(operation(), 1..4), paths in vec(path(false), 1..4),
    ) {
        let patch = Value::from(operations);
        let case = case(&paths, false);
        let Some(sealed_patch) = sealed(&case, &patch) else { return Ok(()) };
        let sealed_document = sealed_whole(&case, &document);
        let (Some(patched), Some(found)) = (applied(document, &patch), applied(sealed_document, &sealed_patch)) else {
            return Ok(());
        };
        prop_assert_eq!(found, sealed_whole(&case, &patched), "{}", patch);
    }

    /// What is compared may be removed, and what stands beside it is as it was: that is left out.
    #[test]
    fn likewise_with_tests(
        document in document(), operations in vec(operation(), 1..4), paths in vec(path(true), 1..4),
    ) {
        let operations: Vec<Value> = operations.into_iter().filter(|operation| operation["op"] != "remove").collect();
        let patch = Value::from(operations);
        let case = case(&paths, false);
        let Some(sealed_patch) = sealed(&case, &patch) else { return Ok(()) };
        let sealed_document = sealed_whole(&case, &document);
        let (Some(patched), Some(found)) = (applied(document, &patch), applied(sealed_document, &sealed_patch)) else {
            return Ok(());
        };
        prop_assert_eq!(found, sealed_whole(&case, &patched), "{}", patch);
    }

    #[test]
    fn likewise_by_the_type_of_a_resource(
        document in document(), operations in vec(operation(), 1..4), paths in vec(typed_path(), 1..4),
    ) {
        let patch = Value::from(operations);
        let mut document = document;
        document["resourceType"] = Value::from("Patient");
        let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
        let of_patch = Case::of(&paths, &[], Some("Patient"));
        let of_document = Case { merge: true, ..Case::of(&paths, &[], Some("Patient")) };
        let Some(sealed_patch) = sealed(&of_patch, &patch) else { return Ok(()) };
        let sealed_document = sealed(&of_document, &document).unwrap();
        let (Some(patched), Some(found)) = (applied(document, &patch), applied(sealed_document, &sealed_patch)) else {
            return Ok(());
        };
        // A number is taken for an index here.
        prop_assume!(!has_number_names(&patched));
        prop_assert_eq!(found, sealed(&of_document, &patched).unwrap(), "{}", patch);
    }

    #[test]
    fn a_sealed_merge_patch_of_a_sealed_document_gives_a_sealed_document(
        document in document(), patch in members(), paths in vec(path(false), 1..4),
    ) {
        let case = case(&paths, true);
        if selects_parts(&case, &patch) {
            return Ok(());
        }
        let found = merged(sealed(&case, &document).unwrap(), &sealed(&case, &patch).unwrap());
        // Where the document holds an object that is sealed whole, the patch is merged into what cannot be opened
        // there.
        let patched = merged(document, &patch);
        if selects_parts(&case, &patched) {
            return Ok(());
        }
        prop_assert_eq!(found, sealed(&case, &patched).unwrap(), "{}", patch);
    }
}

proptest! {
    /// Where tests can be decided, the value alone is judged as it is in the document.
    #[test]
    fn a_whole_document_is_sealed_as_one(document in value(), paths in vec(path(true), 1..4)) {
        let patch = json!([{"op": "add", "path": "", "value": document}]);
        let case = case(&paths, false);
        prop_assert_eq!(&sealed(&case, &patch).unwrap()[0]["value"], &sealed_whole(&case, &document));
    }

    #[test]
    fn cuts_make_no_difference(
        operations in vec(operation(), 0..4), paths in vec(path(true), 0..4), lengths in vec(1_usize..20, 1..6), merge: bool,
        kept: bool,
    ) {
        let patch = Value::from(operations).to_string();
        let case = case(&paths, merge);
        let whole = run(&case, patch.as_bytes(), &[], kept);
        prop_assert_eq!(run(&case, patch.as_bytes(), &lengths, kept), whole.clone());
        if let (true, Ok(output)) = (kept, whole.0) {
            prop_assert_eq!(output, patch.into_bytes());
        }
    }

    #[test]
    fn a_changed_patch_passes_unchanged_or_not_at_all(
        operations in vec(operation(), 0..4), paths in vec(path(true), 0..4), length in 1_usize..9, merge: bool,
        changes in vec((any::<prop::sample::Index>(), byte(), 0..3), 1..4),
    ) {
        let mut patch = Value::from(operations).to_string().into_bytes();
        for (at, byte, change) in changes {
            let at = at.index(patch.len());
            match change {
                0 => patch[at] = byte,
                1 => patch.insert(at, byte),
                _ if patch.len() > 1 => drop(patch.remove(at)),
                _ => {}
            }
        }
        let case = case(&paths, merge);
        let whole = run(&case, &patch, &[], true);
        prop_assert_eq!(run(&case, &patch, &[length], true), whole.clone(), "{}", patch.escape_ascii());
        if let Ok(output) = whole.0 {
            prop_assert_eq!(&output, &patch);
        }
    }

    #[test]
    fn any_bytes_are_taken_or_refused_without_panic(bytes in any::<Vec<u8>>(), length in 1_usize..9, merge: bool) {
        let limits = Limits { depth_max: 4, value_bytes_max: 9, object_bytes_max: 40, name_bytes_max: 5 };
        let case = Case { limits, ..case(&["$..a".to_owned()], merge) };
        prop_assert_eq!(run(&case, &bytes, &[length], true), run(&case, &bytes, &[], true));
    }

    #[test]
    fn a_text_that_is_written_is_read_again(text in any::<String>(), at in pointer(), stray: bool) {
        let case = Case { watch: Some(if stray { Watch::new(|_| true) } else { TOKENS }), ..Case::new(&["$.*", "$.*.*", "$.*.*.*"]) };
        prop_assume!(!at.is_empty());
        let patch = json!([{"op": "replace", "path": at, "value": "x"}]).to_string();
        let written = case.run(patch.as_bytes(), &[], &mut |slot| {
            let is_value = slot.place() == Place::Value && slot.text() == Some(b"x");
            is_value.then(|| {
                let mut written = Vec::new();
                slot.escape().text(text.as_bytes(), &mut written).unwrap();
                written
            })
        });
        let Ok(written) = written else { return Ok(()) };
        let mut found = Vec::new();
        case.run(&written, &[], &mut |slot| {
            found.push(slot.text().map(<[u8]>::to_vec));
            None
        }).unwrap();
        prop_assert!(found.contains(&Some(text.into_bytes())));
    }
}
