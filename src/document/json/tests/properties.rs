//! Random documents, paths, cuts and mutations against `serde_json` and `serde_json_path`.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::Value;
use serde_json_path::{JsonPath, PathElement};

use super::*;

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => prop::sample::select(vec!["a", "b", "c"]).prop_map(String::from),
        1 => prop::sample::select(vec!["", "é", "a.b", "a\"b", "tok:n", "a long name of a member"]).prop_map(String::from),
    ]
}

/// A string literal, escaped more or less.
fn literal(text: &str, style: u8) -> String {
    let mut out = String::from('"');
    for (i, c) in (0_u8..).zip(text.chars()) {
        if style.rotate_left(u32::from(i % 8)) & 3 == 0 {
            c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| out.push_str(&format!("\\u{unit:04X}")));
        } else if c < ' ' || c == '"' || c == '\\' {
            let mut quoted = Vec::new();
            quote(c.to_string().as_bytes(), &mut quoted);
            out.push_str(std::str::from_utf8(&quoted[1..quoted.len() - 1]).unwrap());
        } else {
            out.push(c);
        }
    }
    out.push('"');
    out
}

fn scalar() -> impl Strategy<Value = String> {
    let long = "[ -~]{30,90}";
    let texts =
        prop_oneof![any::<String>(), Just("tok:1".to_owned()), Just("x".to_owned()), long.prop_map(String::from)];
    let numbers = vec!["0", "-0", "1.10", "12345678901234567", "1e5", "-2.5E-3", "0.1e+2"];
    prop_oneof![
        (texts, any::<u8>()).prop_map(|(text, style)| literal(&text, style)),
        prop::sample::select(numbers).prop_map(String::from),
        prop::sample::select(vec!["true", "false", "null"]).prop_map(String::from),
    ]
}

fn space() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["", "", "", " ", "\n", "\r\n\t", "\n            "])
}

fn joined(open: char, parts: &[String], close: char, space: &str) -> String {
    format!("{open}{space}{}{space}{close}", parts.join(&format!("{space},{space}")))
}

/// The text of a document without duplicate names, with all freedoms of notation.
fn document() -> impl Strategy<Value = String> {
    let value = scalar().prop_recursive(5, 40, 6, |inner| {
        let member = (name(), any::<u8>(), space(), inner.clone());
        prop_oneof![
            (vec(inner, 0..5), space()).prop_map(|(parts, space)| joined('[', &parts, ']', space)),
            (vec(member, 0..6), space()).prop_map(|(members, space)| {
                let members: BTreeMap<String, String> = members
                    .into_iter()
                    .map(|(name, style, gap, value)| {
                        let text = format!("{}{gap}:{gap}{value}", literal(&name, style));
                        (name, text)
                    })
                    .collect();
                let parts: Vec<String> = members.into_values().collect();
                joined('{', &parts, '}', space)
            }),
        ]
    });
    (space(), value, space()).prop_map(|(before, value, after)| format!("{before}{value}{after}"))
}

fn test() -> impl Strategy<Value = String> {
    let named = || name().prop_map(|name| format!("[{}]", literal(&name, 0xff)));
    let step = prop_oneof![
        4 => named(),
        1 => (0_u8..3).prop_map(|index| format!("[{index}]")),
    ];
    let text = prop::sample::select(vec!["'x'", "\"tok:1\""]);
    (named(), vec(step, 0..2), text).prop_map(|(first, steps, text)| format!("@{first}{}=={text}", steps.concat()))
}

fn path() -> impl Strategy<Value = String> {
    let selector = prop_oneof![
        4 => name().prop_map(|name| format!("[{}]", literal(&name, 0xff))),
        2 => Just("[*]".to_owned()),
        1 => (0_u8..4).prop_map(|index| format!("[{index}]")),
        2 => vec(test(), 1..3).prop_map(|tests| format!("[?{}]", tests.join(" && "))),
    ];
    let segment = (selector, prop::bool::weighted(0.3)).prop_map(|(selector, descendant)| match descendant {
        true => format!("..{selector}"),
        false => selector,
    });
    vec(segment, 1..5).prop_map(|segments| format!("${}", segments.concat()))
}

fn case(paths: &[String], watched: bool) -> Case {
    let case = Case::new(&paths.iter().map(String::as_str).collect::<Vec<_>>());
    if watched { case.watched() } else { case }
}

/// What an evaluator that holds the whole document selects, with marks put in: the outer value and the first rule win. A
/// mark is made of the rule and the indices in the location.
fn marked(document: &str, paths: &[String], mark: fn(usize, &[u64]) -> String) -> Value {
    let mut value: Value = serde_json::from_str(document).unwrap();
    let mut chosen: BTreeMap<(usize, String), (usize, Vec<u64>)> = BTreeMap::new();
    for (rule, path) in paths.iter().enumerate() {
        for location in JsonPath::parse(path).unwrap().query_located(&value).locations() {
            let depth = location.len();
            let indices = location.iter().filter_map(PathElement::as_index).map(|index| index as u64).collect();
            chosen.entry((depth, location.to_json_pointer())).or_insert((rule, indices));
        }
    }
    for ((_, pointer), (rule, indices)) in chosen {
        if let Some(place) = value.pointer_mut(&pointer) {
            *place = Value::from(mark(rule, &indices));
        }
    }
    value
}

/// Whether `serde_json` takes a document; `None` where it is stricter than the grammar.
fn accepted_elsewhere(document: &[u8]) -> Option<bool> {
    let document = document.strip_prefix(b"\xef\xbb\xbf").unwrap_or(document);
    match serde_json::from_slice::<Value>(document) {
        Ok(_) => Some(true),
        Err(error) => {
            let error = error.to_string();
            let stricter = ["surrogate", "end of hex escape", "out of range", "recursion limit"];
            (!stricter.iter().any(|why| error.contains(why))).then_some(false)
        }
    }
}

#[derive(Clone, Debug)]
enum Change {
    Put(u8),
    Insert(u8),
    Delete,
    Flip(u8),
    Truncate,
    Double(u8),
}

fn change() -> impl Strategy<Value = Change> {
    let byte =
        || prop_oneof![prop::sample::select(b"{}[]:,\"\\u0e.-+tfn \x00\x1f\x7f\x80\xc3\xed\xff".to_vec()), any::<u8>()];
    prop_oneof![
        byte().prop_map(Change::Put),
        byte().prop_map(Change::Insert),
        Just(Change::Delete),
        (0_u8..8).prop_map(Change::Flip),
        Just(Change::Truncate),
        (1_u8..9).prop_map(Change::Double),
    ]
}

fn changed(document: &str, changes: &[(prop::sample::Index, Change)]) -> Vec<u8> {
    let mut bytes = document.as_bytes().to_vec();
    for (at, change) in changes {
        if bytes.is_empty() {
            break;
        }
        let at = at.index(bytes.len());
        match change {
            Change::Put(byte) => bytes[at] = *byte,
            Change::Insert(byte) => bytes.insert(at, *byte),
            Change::Delete => drop(bytes.remove(at)),
            Change::Flip(bit) => bytes[at] ^= 1 << bit,
            Change::Truncate => bytes.truncate(at),
            Change::Double(len) => {
                let end = (at + usize::from(*len)).min(bytes.len());
                let copy = bytes[at..end].to_vec();
                bytes.splice(at..at, copy);
            }
        }
    }
    bytes
}

proptest! {
    #[test]
    fn cuts_make_no_difference(
        document in document(), paths in vec(path(), 0..4), watched: bool, sizes in vec(1_usize..40, 1..12),
    ) {
        let case = case(&paths, watched).answered(|slot| (slot.range.start % 2 == 0).then(|| b"\"instead\"".to_vec()));
        let whole = case.run(document.as_bytes(), &[usize::MAX]);
        prop_assert!(whole.0.is_ok());
        prop_assert_eq!(case.run(document.as_bytes(), &sizes), whole.clone());
        prop_assert_eq!(case.run(document.as_bytes(), &[1]), whole);
    }

    #[test]
    fn what_is_kept_is_unchanged(document in document(), paths in vec(path(), 0..4), watched: bool) {
        let (output, _) = case(&paths, watched).run(document.as_bytes(), &[usize::MAX]);
        prop_assert_eq!(output, Ok(document.into_bytes()));
    }

    #[test]
    fn one_rule_selects_what_an_evaluator_selects(document in document(), path in path()) {
        let paths = [path];
        let case = case(&paths, false).answered(|slot| Some(format!("\"rule {}\"", slot.rule.unwrap()).into_bytes()));
        let (output, _) = case.run(document.as_bytes(), &[usize::MAX]);
        prop_assert_eq!(serde_json::from_slice::<Value>(&output.unwrap()).unwrap(), marked(&document, &paths, |rule, _| format!("rule {rule}")));
    }

    #[test]
    fn several_rules_select_what_an_evaluator_selects(document in document(), paths in vec(path(), 2..9)) {
        let case = case(&paths, false).answered(|slot| Some(format!("\"rule {}\"", slot.rule.unwrap()).into_bytes()));
        let (output, _) = case.run(document.as_bytes(), &[usize::MAX]);
        prop_assert_eq!(serde_json::from_slice::<Value>(&output.unwrap()).unwrap(), marked(&document, &paths, |rule, _| format!("rule {rule}")));
    }

    #[test]
    fn indices_are_those_of_the_location(document in document(), paths in vec(path(), 1..4), watched: bool) {
        let case = case(&paths, watched)
            .answered(|slot| slot.rule.map(|_| format!("\"{:?}\"", slot.indices).into_bytes()));
        let (output, _) = case.run(document.as_bytes(), &[usize::MAX]);
        let expect = marked(&document, &paths, |_, indices| format!("{indices:?}"));
        prop_assert_eq!(serde_json::from_slice::<Value>(&output.unwrap()).unwrap(), expect);
    }

    #[test]
    fn selected_text_is_what_a_reader_reads(document in document()) {
        let (_, seen) = case(&["$..*".to_owned(), "$..[*]".to_owned()], false).run(document.as_bytes(), &[5]);
        for slot in seen {
            let read: Value = serde_json::from_str(&slot.raw).unwrap();
            prop_assert_eq!(slot.text.as_deref(), read.as_str().map(str::as_bytes));
            prop_assert_eq!(slot.kind == Kind::Number, read.is_number());
        }
    }

    #[test]
    fn a_changed_document_passes_exactly_when_it_is_still_json(
        document in document(), changes in vec((any::<prop::sample::Index>(), change()), 1..4), paths in vec(path(), 0..3),
        size in 1_usize..9,
    ) {
        let bytes = changed(&document, &changes);
        let case = case(&paths, true);
        let whole = case.run(&bytes, &[usize::MAX]);
        prop_assert_eq!(&case.run(&bytes, &[size]), &whole, "{}", bytes.escape_ascii());
        if let Ok(output) = &whole.0 {
            prop_assert_eq!(output, &bytes);
        }
        // Names that are alike or stand twice are good JSON, and refused.
        let doubtful = matches!(whole.0, Err(Fault::Unaccepted { .. }));
        if let Some(accepted) = accepted_elsewhere(&bytes).filter(|_| !doubtful) {
            prop_assert_eq!(whole.0.is_ok(), accepted, "{}: {:?}", bytes.escape_ascii(), whole.0);
        }
    }

    #[test]
    fn every_level_reads_alike(
        document in document(), changes in vec((any::<prop::sample::Index>(), change()), 0..3), paths in vec(path(), 0..3),
        watched: bool, size in 1_usize..90,
    ) {
        let bytes = changed(&document, &changes);
        let case = case(&paths, watched);
        let whole = case.run(&bytes, &[usize::MAX]);
        for level in levels::all() {
            prop_assert_eq!(&levels::at(level, || case.run(&bytes, &[size])), &whole, "{:?}: {}", level, bytes.escape_ascii());
        }
    }

    #[test]
    fn any_bytes_are_taken_or_refused_without_panic(bytes in any::<Vec<u8>>(), size in 1_usize..9) {
        let limits = Limits { depth_max: 4, value_bytes_max: 9, object_bytes_max: 12, name_bytes_max: 5 };
        let case = case(&["$..a".to_owned(), "$[*]".to_owned()], true).limited(limits);
        prop_assert_eq!(case.run(&bytes, &[size]), case.run(&bytes, &[usize::MAX]));
    }

    #[test]
    fn limits_are_the_same_however_the_input_is_cut(
        document in document(), paths in vec(path(), 0..3), watched: bool, size in 1_usize..9,
        depth_max in 0_usize..6, value_bytes_max in 0_usize..40, object_bytes_max in 0_usize..40, name_bytes_max in 1_usize..30,
        changes in vec((any::<prop::sample::Index>(), change()), 0..2),
    ) {
        let case = case(&paths, watched).limited(Limits { depth_max, value_bytes_max, object_bytes_max, name_bytes_max });
        let bytes = changed(&document, &changes);
        prop_assert_eq!(case.run(&bytes, &[size]), case.run(&bytes, &[usize::MAX]), "{}", bytes.escape_ascii());
    }
}
