//! Rules that look inside: filters, and paths by resource type.

use super::*;
use crate::document::Role;
use crate::document::fhir::FhirPath;
use crate::document::testing::rewrite;
use proptest::prelude::*;

/// What comes out where each selected value is replaced by the number of its rule; paths that start with `-` let pass.
fn marked(paths: &[&str], types: &[&str], document: &str, lengths: &[usize]) -> Result<String, Fault> {
    let limits = Limits { object_bytes_max: 200, ..Limits::default() };
    marked_within(limits, paths, types, document, lengths)
}

fn marked_within(
    limits: Limits,
    paths: &[&str],
    types: &[&str],
    document: &str,
    lengths: &[usize],
) -> Result<String, Fault> {
    let bare = |path: &&str| path.trim_start_matches('-').to_owned();
    let fields: Vec<Option<FieldPath>> = paths.iter().map(|path| FieldPath::parse(&bare(path)).ok()).collect();
    let resources: Vec<Option<FhirPath>> = paths.iter().map(|path| FhirPath::parse(&bare(path)).ok()).collect();
    let of = |number: usize| match (&fields[number], &resources[number]) {
        (Some(path), _) => JsonPath::Field(path),
        (None, Some(path)) => JsonPath::Fhir(path),
        (None, None) => panic!("{}", paths[number]),
    };
    let all: Vec<_> = (0..paths.len())
        .map(|number| Selected {
            path: of(number),
            rule: number,
            role: Role::Value,
            passes: paths[number].starts_with('-'),
        })
        .collect();
    let types: Vec<String> = types.iter().map(|name| (*name).to_owned()).collect();
    let rules = Arc::new(Rules::compile_all(&all, &types).unwrap());
    let mut rewriter = Rewriter::new(rules, limits, None);
    let output = rewrite(&mut rewriter, document.as_bytes(), lengths, &mut |slot| {
        Some(format!("#{}", slot.rule().unwrap()).into_bytes())
    });
    output.map(|output| String::from_utf8(output).unwrap())
}

/// However it is cut.
fn check(paths: &[&str], types: &[&str], document: &str, want: Result<&str, &str>) {
    for lengths in [&[][..], &[1], &[7]] {
        let found = marked(paths, types, document, lengths).map_err(|fault| fault.to_string());
        assert_eq!(found.as_deref().map_err(String::as_str), want, "{paths:?} {document}");
    }
}

#[test]
fn a_filter_looks_at_what_stands_beside() {
    let ssn = "$.identifier[?@.system=='ssn'].value";
    for (paths, document, want) in [
        (
            &[ssn][..],
            r#"{"identifier":[{"system":"ssn","value":"1"},{"system":"x","value":"2"}]}"#,
            r#"{"identifier":[{"system":"ssn","value":#0},{"system":"x","value":"2"}]}"#,
        ),
        (
            &[ssn],
            r#"{"identifier":[{"value":"1","system":"\u0073sn"}]}"#,
            r#"{"identifier":[{"value":#0,"system":"\u0073sn"}]}"#,
        ),
        (
            &[ssn],
            r#"{"identifier":{"a":{"value":"1","system":"ssn"},"system":"ssn"}}"#,
            r#"{"identifier":{"a":{"value":#0,"system":"ssn"},"system":"ssn"}}"#,
        ),
        (
            &[ssn],
            r#"{"identifier":[{"value":"1"},{"system":7,"value":"2"},{"system":["ssn"],"value":"3"},["ssn"],"ssn",null]}"#,
            r#"{"identifier":[{"value":"1"},{"system":7,"value":"2"},{"system":["ssn"],"value":"3"},["ssn"],"ssn",null]}"#,
        ),
        // The first rule wins; one that lets pass wins too.
        (
            &[ssn, "$.identifier[*].value"],
            r#"{"identifier":[{"value":"2"},{"value":"1","system":"ssn"}]}"#,
            r#"{"identifier":[{"value":#1},{"value":#0,"system":"ssn"}]}"#,
        ),
        (
            &["-$.identifier[?@.system=='npi'].value", "$.identifier[*].value"],
            r#"{"identifier":[{"value":"2"},{"value":"1","system":"npi"}]}"#,
            r#"{"identifier":[{"value":#1},{"value":"1","system":"npi"}]}"#,
        ),
        (
            &["$.identifier[*].value", ssn],
            r#"{"identifier":[{"value":"1","system":"ssn"}]}"#,
            r#"{"identifier":[{"value":#0,"system":"ssn"}]}"#,
        ),
        // What passes a filter can be selected whole, and filters can stand in one another.
        (&["$.a[?@.k=='x']"], r#"{"a":[{"k":"x","v":[1,{}]},{"k":"y"}]}"#, r#"{"a":[#0,{"k":"y"}]}"#),
        (
            &["$..[?@.k=='x'].v[?@.k=='y'].w"],
            r#"[[{"v":[{"w":1,"k":"y"},{"w":2}],"k":"x"}]]"#,
            r#"[[{"v":[{"w":#0,"k":"y"},{"w":2}],"k":"x"}]]"#,
        ),
        (
            &["$[?@.t.c[0].k=='x' && 'o'==@.u].v"],
            r#"[{"v":1,"u":"o","t":{"c":[{"k":"x"},{"k":"z"}]}},{"v":2,"u":"o","t":{"c":[{"k":"z"},{"k":"x"}]}},{"v":3,"t":{"c":[{"k":"x"}]}}]"#,
            r#"[{"v":#0,"u":"o","t":{"c":[{"k":"x"},{"k":"z"}]}},{"v":2,"u":"o","t":{"c":[{"k":"z"},{"k":"x"}]}},{"v":3,"t":{"c":[{"k":"x"}]}}]"#,
        ),
        (&["$.a", "$.a[?@.k=='x'].v"], r#"{"a":[{"k":"x","v":1}]}"#, r#"{"a":#0}"#),
    ] {
        check(paths, &[], document, Ok(want));
    }
}

#[test]
fn a_test_hides_no_other_that_looks_further_down() {
    let codes = ["$.a[?@.t=='x'].v", "$.a[?@.t.c[0]=='y'].v", "$.a[?@.t.c=='z'].v"];
    check(
        &codes,
        &[],
        r#"{"a":[{"t":{"c":["y"]},"v":1},{"t":"x","v":2},{"t":{"c":"z"},"v":3},{"t":[],"v":4}]}"#,
        Ok(r#"{"a":[{"t":{"c":["y"]},"v":#1},{"t":"x","v":#0},{"t":{"c":"z"},"v":#2},{"t":[],"v":4}]}"#),
    );
    check(
        &["Patient.link.where(type='seealso').other", "Patient.identifier.where(type.coding.code='MR').value"],
        &[],
        r#"{"resourceType":"Patient","identifier":[{"type":{"coding":[{"code":"MR"}]},"value":"1"}]}"#,
        Ok(r#"{"resourceType":"Patient","identifier":[{"type":{"coding":[{"code":"MR"}]},"value":#1}]}"#),
    );
}

#[test]
fn what_could_be_read_in_two_ways_is_refused() {
    let ssn = "$.identifier[?@.system=='ssn'].value";
    let twice = |at| format!("a member that stands twice where a rule looks at it at offset {at}");
    let alike = |at| format!("a name that differs from a ruled one by case alone at offset {at}");
    for (document, want) in [
        (r#"{"identifier":[{"system":"x","value":"1","system":"ssn"}]}"#, twice(41)),
        (r#"{"identifier":[{"system":"ssn","value":"1","system":"ssn"}]}"#, twice(43)),
        (r#"{"identifier":[{"system":{},"value":"1","\u0073ystem":"ssn"}]}"#, twice(40)),
        (r#"{"Identifier":[]}"#, alike(1)),
        (r#"{"identifier":[{"value":"1","System":"ssn"}]}"#, alike(28)),
        (r#"{"identifier":[{"system":"ssn","VALUE":"1"}]}"#, alike(31)),
    ] {
        check(&[ssn], &[], document, Err(&want));
    }
    // Where no rule waits for the name it is one like any other, and one that is ruled itself is not alike.
    check(
        &[ssn],
        &[],
        r#"{"a":{"Identifier":1},"System":1,"identifier":[{"system":"x","VALUE":"1"}]}"#,
        Ok(r#"{"a":{"Identifier":1},"System":1,"identifier":[{"system":"x","VALUE":"1"}]}"#),
    );
    check(&["$.ssn", "$.SSN", "-$.Ssn"], &[], r#"{"ssn":1,"SSN":2,"Ssn":3}"#, Ok(r#"{"ssn":#0,"SSN":#1,"Ssn":3}"#));
    check(&["$.ssn"], &[], r#"{"sSn":1}"#, Err(&alike(1)));
    // Go and C take these for the same, and so may others.
    for name in ["\u{17f}sn", r"\u017fsn", "ssn ", r"\tssn", r"ssn\u0000x", "\u{a0}ssn", "\u{feff}SSN"] {
        check(&["$.ssn"], &[], &format!("{{\"{name}\":1}}"), Err(&alike(1)));
    }
    check(&["$.ssn"], &[], r#"{"s sn":1,"ssñ":2,"ssn\u0301":3}"#, Ok(r#"{"s sn":1,"ssñ":2,"ssn\u0301":3}"#));
    check(&["$..ssn"], &[], r#"[{"a":{"ss\u004e":1}}]"#, Err(&alike(7)));
    check(&["$.*"], &[], r#"{"a":1,"A":2}"#, Ok(r#"{"a":#0,"A":#0}"#));
}

const PATIENT: &[&str] = &[
    "Patient.name.family",
    "Patient.name.given",
    "Patient.identifier.where(system='ssn').value",
    "-Patient.identifier.where(system='npi').value",
    "Patient.identifier.where(type.coding.code='MR' and use='usual').value",
    "Resource.identifier.value",
    "Resource.text.div",
    "Observation.**.valueString",
];

#[test]
fn a_resource_is_known_wherever_it_stands() {
    let patient = r#"{"resourceType":"Patient","name":[{"family":"F","given":["G","H"]},{"given":"I"}]}"#;
    let last = r#"{"name":{"family":"F"},"identifier":[{"value":"1"}],"resourceType":"Patient"}"#;
    let (sealed, last_sealed) = (
        r##"{"resourceType":"Patient","name":[{"family":#0,"given":[#1,#1]},{"given":#1}]}"##,
        r##"{"name":{"family":#0},"identifier":[{"value":#5}],"resourceType":"Patient"}"##,
    );
    for around in [
        "?",
        r#"{"resourceType":"Bundle","entry":[{"fullUrl":"x","resource":?},{"resource":?}]}"#,
        r#"{"entry":[{"resource":?}],"resourceType":"Bundle"}"#,
        r#"{"resourceType":"Observation","contained":[{"resourceType":"Medication"},?]}"#,
        r#"{"resourceType":"Observation","contained":?}"#,
        r#"{"resourceType":"Parameters","parameter":[{"name":"a","part":[{"name":"b","resource":?}]}]}"#,
        r#"{"resourceType":"Bundle","entry":[{"response":{"outcome":?}}]}"#,
        r#"{"resourceType":"Parameters","parameter":[{"resource":{"resourceType":"Bundle","entry":[{"resource":{"resourceType":"Observation","contained":[?]}}]}}]}"#,
    ] {
        for (inner, want) in [(patient, sealed), (last, last_sealed)] {
            let types = ["Bundle", "Parameters", "Medication"];
            check(PATIENT, &types, &around.replace('?', inner), Ok(&around.replace('?', want)));
        }
    }
}

#[test]
fn tests_look_at_any_coding_and_narrower_rules_come_first() {
    let of = |identifiers: &str| format!(r#"{{"identifier":{identifiers},"resourceType":"Patient"}}"#);
    for (identifiers, want) in [
        (r#"[{"value":"1","system":"ssn"}]"#, r##"[{"value":#2,"system":"ssn"}]"##),
        (r#"{"value":"1","system":"ssn"}"#, r##"{"value":#2,"system":"ssn"}"##),
        (r#"[{"value":"1","system":"npi"},{"value":"2"}]"#, r##"[{"value":"1","system":"npi"},{"value":#5}]"##),
        (
            r#"[{"value":"1","use":"usual","type":{"coding":[{"code":"X"},{"code":"MR"}]}}]"#,
            r##"[{"value":#4,"use":"usual","type":{"coding":[{"code":"X"},{"code":"MR"}]}}]"##,
        ),
        (
            r#"[{"value":"1","use":"old","type":{"coding":[{"code":"MR"}]}}]"#,
            r##"[{"value":#5,"use":"old","type":{"coding":[{"code":"MR"}]}}]"##,
        ),
        (r#"[{"value":["1",{"a":2}],"system":"ssn"},null,[]]"#, r##"[{"value":[#2,#2],"system":"ssn"},null,[]]"##),
    ] {
        check(PATIENT, &[], &of(identifiers), Ok(&of(want)));
    }
    check(
        PATIENT,
        &["Device"],
        r#"{"resourceType":"Device","identifier":[{"value":"1"}],"name":[{"family":"F"}],"text":{"div":"d"}}"#,
        Ok(r##"{"resourceType":"Device","identifier":[{"value":#5}],"name":[{"family":"F"}],"text":{"div":#6}}"##),
    );
    check(
        PATIENT,
        &[],
        r#"{"resourceType":"Observation","valueString":"a","component":[{"valueString":"b","x":{"valueString":["c"]}}]}"#,
        Ok(
            r##"{"resourceType":"Observation","valueString":#7,"component":[{"valueString":#7,"x":{"valueString":[#7]}}]}"##,
        ),
    );
}

#[test]
fn what_is_no_known_resource_is_refused() {
    for (document, want) in [
        ("7", "a document that is no resource at offset 0"),
        (" \"Patient\"", "a document that is no resource at offset 1"),
        ("[]", "a document that is no resource at offset 0"),
        (r#"[{"resourceType":"Patient"}]"#, "a document that is no resource at offset 0"),
        ("{}", "a document that is no resource at offset 0"),
        (r#"{"name":[{"family":"F"}]}"#, "a document that is no resource at offset 0"),
        (r#"{"resourceType":"Foo"}"#, "a resource of a type that no rule names at offset 0"),
        (
            r#"{"resourceType":"Patient","contained":[{"resourceType":""}]}"#,
            "a resource of a type that no rule names at offset 39",
        ),
        (
            r#"{"resourceType":"Patient","contained":[{}]}"#,
            "an object that is no resource where one stands at offset 39",
        ),
        (
            r#"{"resourceType":"Patient","contained":{"name":[]}}"#,
            "an object that is no resource where one stands at offset 38",
        ),
        (r#"{"resourceType":["Patient"]}"#, "a resourceType that is no text at offset 16"),
        (r#"{"resourceType":null}"#, "a resourceType that is no text at offset 16"),
        (r#"{"resourceType":"Patient","resourceType":"Observation"}"#, "a resourceType that stands twice at offset 26"),
        (
            r#"{"resourceType":"Observation","resource\u0054ype":"Patient"}"#,
            "a resourceType that stands twice at offset 30",
        ),
        (r#"{"ResourceType":"Patient"}"#, "a name that differs from a ruled one by case alone at offset 1"),
        (
            r#"{"resourceType":"Patient","extension":[{"resourceType":"Observation"}]}"#,
            "a resource where none can stand at offset 40",
        ),
        (
            r#"{"resourceType":"Patient","a":{"b":{"resourceType":"Observation"}}}"#,
            "a resource where none can stand at offset 36",
        ),
        (
            r#"{"resourceType":"Patient","a":{"Contained":[]}}"#,
            "a name that differs from a ruled one by case alone at offset 31",
        ),
        (r#"{"resourceType":"Patient","#, "unexpected end at offset 26"),
        (r#"{"resourceType":"Patient",}"#, "unexpected byte at offset 26: wanted a member name"),
    ] {
        check(PATIENT, &[], document, Err(want));
    }
    // Of a Bundle and of Parameters alone; elsewhere elements have the same names.
    for (document, at) in [
        (r#"{"resourceType":"Bundle","entry":[{"resource":{"name":[]}}]}"#, 46),
        (
            r#"{"resourceType":"Bundle","entry":[{"resource":{"resourceType":"Patient"},"response":{"outcome":{}}}]}"#,
            95,
        ),
        (r#"{"resourceType":"Parameters","parameter":[{"part":[{"resource":{}}]}]}"#, 63),
    ] {
        let want = format!("an object that is no resource where one stands at offset {at}");
        check(PATIENT, &["Bundle", "Parameters"], document, Err(&want));
    }
    let statement = r#"{"resourceType":"CapabilityStatement","rest":[{"resource":[{"type":"Patient"}]}]}"#;
    check(PATIENT, &["CapabilityStatement"], statement, Ok(statement));
}

#[test]
fn nothing_is_left_of_a_sibling() {
    // The second `resource` is none, the third stands where something was live before.
    let document = r#"{"resourceType":"Bundle","entry":[{"resource":{"resourceType":"Patient","name":[{"family":"F"}]}},{"response":{"name":[{"family":"F"}]}},{"x":{"name":[{"family":"F"}]},"resource":{"resourceType":"Device","name":[{"family":"F"}]}}]}"#;
    let want = document.replacen("{\"family\":\"F\"}", "{\"family\":#0}", 1);
    check(PATIENT, &["Bundle", "Device"], document, Ok(&want));
}

#[test]
fn what_must_be_seen_whole_has_a_limit() {
    let long = "x".repeat(190);
    let first = format!(r#"{{"resourceType":"Patient","a":"{long}","name":[{{"family":"F"}}]}}"#);
    check(PATIENT, &[], &first, Ok(&first.replace("\"F\"", "#0")));
    let last = format!(r#"{{"a":"{long}","resourceType":"Patient"}}"#);
    check(PATIENT, &[], &last, Err("value at offset 0 longer than 200 bytes"));
    let beside = format!(r#"[[{{"v":"{long}","k":"x"}}]]"#);
    check(&["$..[?@.k=='x'].v"], &[], &beside, Err("value at offset 2 longer than 200 bytes"));
}

/// A document of resources, with the members of each in any order.
fn resources() -> impl Strategy<Value = String> {
    let member = prop::sample::select(vec![
        r#""resourceType":"Patient""#,
        r#""resourceType":"Observation""#,
        r#""name":[{"family":"F","given":["G"]}]"#,
        r#""identifier":[{"value":"1","system":"ssn"},{"system":"npi","value":"2"}]"#,
        r#""valueString":"s""#,
        r#""text":{"status":"x","div":"d"}"#,
    ]);
    let resource = prop::collection::vec(member, 1..5).prop_map(|members| format!("{{{}}}", members.join(",")));
    resource.prop_recursive(3, 12, 3, |inner| {
        (prop::collection::vec(inner, 1..3), any::<bool>()).prop_map(|(inner, first)| {
            let contained = format!(r#""contained":[{}]"#, inner.join(","));
            let kind = r#""resourceType":"Observation""#;
            if first { format!("{{{kind},{contained}}}") } else { format!("{{{contained},{kind}}}") }
        })
    })
}

proptest! {
    #[test]
    fn resources_are_the_same_however_they_are_cut(document in resources(), lengths in prop::collection::vec(1_usize..20, 1..5)) {
        let whole = marked(PATIENT, &[], &document, &[]);
        prop_assert_eq!(marked(PATIENT, &[], &document, &lengths), whole);
    }

    /// Where a resource says its type makes no difference, and two types are one too many.
    #[test]
    fn the_place_of_the_type_makes_no_difference(at in 0_usize..4, twice: bool) {
        let mut members = vec![r#""name":{"family":"F"}"#, r#""identifier":{"system":"ssn","value":"1"}"#, r#""text":{"div":"d"}"#];
        members.insert(at, r#""resourceType":"Patient""#);
        if twice {
            members.push(r#""resourceType":"Patient""#);
        }
        let document = format!("{{{}}}", members.join(","));
        let want = document.replace("\"F\"", "#0").replace("\"1\"", "#2").replace("\"d\"", "#6");
        prop_assert_eq!(marked(PATIENT, &[], &document, &[3]).ok(), (!twice).then_some(want));
    }
}

/// Whoever explains rules asks for what passes; an object that passes stays open to the other rules.
#[test]
fn values_that_pass_are_shown_to_whoever_asks() {
    let paths = ["$.a.b", "$.a", "$.c", "$..d"].map(|path| FieldPath::parse(path).unwrap());
    let all: Vec<_> = paths
        .iter()
        .enumerate()
        .map(|(rule, path)| Selected { path: JsonPath::Field(path), rule, role: Role::Value, passes: rule != 3 })
        .collect();
    let rules = Arc::new(Rules::compile_all(&all, &[]).unwrap());
    let document = r#"{"a":{"b":"x","d":"y"},"c":7,"e":{"c":8},"d":{"c":9}}"#;
    let plain = Rewriter::new(Arc::clone(&rules), Limits::default(), None);
    let showing = Rewriter::new(rules, Limits::default(), None).showing_passed();
    for (mut rewriter, want) in [
        (plain, r#"{"a":{"b":"x","d":#3},"c":7,"e":{"c":8},"d":#3}"#),
        (showing, r#"{"a":{"b":#0,"d":#3},"c":#2,"e":{"c":8},"d":#3}"#),
    ] {
        let output = rewrite(&mut rewriter, document.as_bytes(), &[3], &mut |slot| {
            Some(format!("#{}", slot.rule().unwrap()).into_bytes())
        });
        assert_eq!(String::from_utf8(output.unwrap()).unwrap(), want);
    }
}
