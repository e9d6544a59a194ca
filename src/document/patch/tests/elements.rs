//! FHIRPath Patches.

use super::*;

/// The values that are yielded of a patch of a Patient, each with its rule.
fn yielded(paths: &[&str], patch: &str) -> Result<Vec<String>, String> {
    let rules = rules(paths, &["Patient"]);
    let run = |lengths: &[usize], keep: bool| {
        let mut yielded = Vec::new();
        let mut rewriter = ElementsRewriter::new(Arc::clone(&rules), Some("Patient"), Limits::default(), Some(TOKENS));
        let output = rewrite(&mut rewriter, patch.as_bytes(), lengths, &mut |slot| {
            let at = |offset| usize::try_from(offset).unwrap();
            assert_eq!(slot.raw(), &patch.as_bytes()[at(slot.range().start)..at(slot.range().end)]);
            let rule = slot.rule().map_or("-".to_owned(), |rule| rule.to_string());
            yielded.push(format!("{rule} {}", String::from_utf8_lossy(slot.raw())));
            (!keep).then(|| b"\"#\"".to_vec())
        });
        output.map(|output| (String::from_utf8(output).unwrap(), yielded)).map_err(|fault| fault.to_string())
    };
    let kept = run(&[], true)?;
    assert_eq!(kept.0, patch);
    let (mut want, marked) = (patch.to_owned(), run(&[1], false)?);
    for value in &kept.1 {
        want = want.replacen(value.split_once(' ').unwrap().1, "\"#\"", 1);
    }
    assert_eq!(marked, (want, kept.1.clone()));
    Ok(kept.1)
}

/// An operation in short: `add Patient name` and what follows on `"name":"value",`.
fn operation(short: &str, value: &str) -> String {
    let mut words = short.split(' ');
    let mut parts = vec![format!(r#"{{"name":"type","valueCode":"{}"}}"#, words.next().unwrap())];
    parts.push(format!(r#"{{"name":"path","valueString":"{}"}}"#, words.next().unwrap()));
    for (number, word) in words.enumerate() {
        parts.push(match (word.parse::<u64>(), number) {
            (Err(_), _) => format!(r#"{{"name":"name","valueString":"{word}"}}"#),
            (Ok(_), 0) if value.is_empty() => format!(r#"{{"name":"source","valueInteger":{word}}}"#),
            (Ok(_), 0) => format!(r#"{{"name":"index","valueInteger":{word}}}"#),
            (Ok(_), _) => format!(r#"{{"name":"destination","valueInteger":{word}}}"#),
        });
    }
    if !value.is_empty() {
        parts.push(format!(r#"{{"name":"value",{value}}}"#));
    }
    format!(r#"{{"resourceType":"Parameters","parameter":[{{"name":"operation","part":[{}]}}]}}"#, parts.join(","))
}

const PATHS: [&str; 7] = [
    "Patient.name.family",
    "Patient.name.given",
    "Patient.identifier.where(system='urn:tax').value",
    "!Patient.birthDate",
    "!Patient.deceasedDateTime",
    "Patient.contact.name.family",
    "Patient._gender.extension.valueString",
];

#[track_caller]
fn check(short: &str, value: &str, want: Result<&[&str], &str>) {
    match (yielded(&PATHS, &operation(short, value)), want) {
        (Ok(found), Ok(want)) => assert_eq!(found, want, "{short}"),
        (Err(found), Err(want)) => assert!(found.starts_with(want), "{short}: found {found}, wanted {want}"),
        (found, want) => panic!("{short}: found {found:?}, wanted {want:?}"),
    }
}

#[test]
fn values_are_found_by_their_paths() {
    for (short, value, want) in [
        ("replace Patient.name[0].family", r#""valueString":"F""#, &["0 \"F\""][..]),
        ("replace Patient.name.family", r#""valueString":"F""#, &["0 \"F\""]),
        ("add Patient.name[0] given", r#""valueString":"G""#, &["1 \"G\""]),
        ("insert Patient.name[0].given 1", r#""valueString":"G""#, &["1 \"G\""]),
        (
            "add Patient name",
            r#""valueHumanName":{"use":"usual","family":"F","given":["G","H"]}"#,
            &["0 \"F\"", "1 \"G\"", "1 \"H\""],
        ),
        ("replace Patient.name[1]", r#""valueHumanName":{"family":"F"}"#, &["0 \"F\""]),
        ("add Patient identifier", r#""valueIdentifier":{"value":"1","system":"urn:tax"}"#, &["2 \"1\""]),
        ("add Patient identifier", r#""valueIdentifier":{"value":"1","system":"urn:other"}"#, &[]),
        ("add Patient birthDate", r#""valueDate":"1974-12-25""#, &["3 \"1974-12-25\""]),
        ("add Patient deceased", r#""valueDateTime":"2015""#, &["4 \"2015\""]),
        ("add Patient deceasedDateTime", r#""valueDateTime":"2015""#, &["4 \"2015\""]),
        ("replace Patient.contact[0].name", r#""valueHumanName":{"family":"C"}"#, &["5 \"C\""]),
        ("replace Patient.contact[0].name.family", r#""valueString":"C""#, &["5 \"C\""]),
        ("replace Patient.name[0].period", r#""valuePeriod":{"start":"2015"}"#, &[]),
        ("replace Patient.name[0].period.start", r#""valueDateTime":"2015""#, &[]),
        ("replace Patient.photo[0]", r#""valueAttachment":{"title":"x"}"#, &[]),
        ("add Patient.gender.extension url", r#""valueUri":"x""#, &[]),
        ("replace Patient.deceased", r#""valueBoolean":true"#, &[]),
        ("replace Patient.active", r#""valueBoolean":true"#, &[]),
        ("delete Patient.name[0]", "", &[]),
        ("delete Patient.contact[0].gender", "", &[]),
        ("move Patient.name 0 1", "", &[]),
        ("add Patient.maritalStatus text", r#""valueString":"tok:1""#, &["- \"tok:1\""]),
    ] {
        check(short, value, Ok(want));
    }
}

#[test]
fn paths_that_could_lead_elsewhere_are_refused() {
    let text = r#""valueString":"x""#;
    for (short, want) in [
        ("replace Patient.name.where(use='usual').family", PATH),
        ("replace Patient.name.first().family", PATH),
        ("replace Patient.name[a].family", PATH),
        ("replace Patient.name[00].family", PATH),
        ("replace Patient.name[0][0].family", PATH),
        ("replace Patient.name..family", PATH),
        ("replace Patient.`name`.family", PATH),
        ("replace Person.name.family", "a path of another type"),
        ("replace name.family", "a path of another type"),
        ("replace Patient.naMe.family", ALIKE),
        ("replace Patient.Name.family", PATH),
        // A type is a step that stays where it is, to some servers.
        ("replace Patient.Patient.name[0].family", PATH),
        ("replace Patient.DomainResource.name[0].family", PATH),
        ("replace Patient.name[0].HumanName.family", PATH),
        ("add Patient.Patient name", PATH),
        ("add Patient.name[0] HumanName", PATH),
        ("replace Patient.name[0].family.string", COVERED),
        ("replace Patient.gender.code.extension", CONTEXT),
        ("replace Patient.name.family.extension", COVERED),
        ("replace Patient.identifier[0].value", CONTEXT),
        ("replace Patient.identifier[0].system", CONTEXT),
        ("replace Patient.contained[0].name", CONTEXT),
        ("replace Patient.deceased.extension[0].url", COVERED),
        ("replace Patient.name", COERCED),
        ("replace Patient.contact", COERCED),
        ("replace Patient.contact.name", COERCED),
        ("replace Patient.resourceType", TYPE),
    ] {
        check(short, text, Err(want));
    }
}

#[test]
fn values_that_a_server_could_put_elsewhere_are_refused() {
    for (short, value, want) in [
        // At the first element of the path that has their type.
        ("replace Patient.name[0].period", r#""valueHumanName":{"family":"F"}"#, CONTEXT),
        ("replace Patient.contact.name.period", r#""valueHumanName":{"family":"F"}"#, CONTEXT),
        ("add Patient.name[0].extension[0] value", r#""valueHumanName":{"given":["F"]}"#, CONTEXT),
        ("add Patient.identifier period", r#""valueIdentifier":{"value":"1","system":"urn:tax"}"#, CONTEXT),
        // As another type of the same element.
        ("replace Patient.deceased", r#""valueDate":"2015""#, CONTEXT),
        ("replace Patient.deceased", r#""valueString":"2015""#, CONTEXT),
        ("add Patient deceasedBoolean", r#""valueDateTime":"2015""#, CONTEXT),
        ("add Patient.gender.extension valueCode", r#""valueCode":"x""#, CONTEXT),
        // With what was beside it: a server may replace the value alone.
        ("replace Patient.birthDate", r#""valueDate":"1974-12-25""#, BESIDE),
        ("replace Patient.deceased", r#""valueDateTime":"2015""#, BESIDE),
        ("replace Patient.birthDate", r#""valueString":"1974-12-25""#, BESIDE),
        ("replace Patient.name.family", r#""valueHumanName":"F""#, SHAPE),
        ("replace Patient.name.family", r#""valueString":{"family":"F"}"#, SHAPE),
        ("replace Patient.name.family", r#""valueString":["F"]"#, SHAPE),
        ("replace Patient.name.family", r#""valueString":null"#, SHAPE),
        ("replace Patient.name", r#""valueHumanName":[{"family":"F"}]"#, SHAPE),
    ] {
        check(short, value, Err(want));
    }
}

#[test]
fn what_a_server_makes_of_a_text_is_looked_for_too() {
    let coerced = |path: &str, short: &str, value: &str| {
        let refused = yielded(&[path, "Patient.name.family"], &operation(short, value)).expect_err(path);
        assert!(refused.starts_with(COERCED) || refused.starts_with(CONTEXT), "{path}: {refused}");
    };
    coerced("Resource.**.text", "replace Patient.maritalStatus", r#""valueString":"x""#);
    coerced("Patient.**.coding.code", "replace Patient.maritalStatus", r#""valueCode":"x""#);
    coerced("Resource.**.reference", "replace Patient.managingOrganization", r#""valueString":"Patient/x""#);
    coerced("Patient.general.reference.display", "replace Patient.general", r#""valueReference":{"display":"x"}"#);
    coerced("Patient.general.concept.text", "replace Patient.general", r#""valueCodeableConcept":{"text":"x"}"#);
}

#[test]
fn what_holds_a_sealed_primitive_or_is_beside_one_stays() {
    for short in [
        "delete Patient.birthDate",
        "delete Patient.birthDate.extension[0]",
        "delete Patient.birthDate.extension[0].value",
        "move Patient.birthDate.extension 0 1",
        "delete Patient.deceased",
        "delete Patient.link[0]",
        "delete Patient.link[0].period",
    ] {
        let patch = operation(short, "");
        let refused = yielded(&[&PATHS[..], &["!Patient.link.period.start"]].concat(), &patch);
        let refused = refused.expect_err(short);
        assert!(refused.starts_with(BESIDE) || refused.starts_with(COVERED), "{short}: {refused}");
    }
}

#[test]
fn quantities_stand_for_one_another_and_codes_stand_alone() {
    let paths = ["Patient.valueQuantity.value", "Patient.name.family", "!Patient.gender"];
    let found = |short: &str, value: &str| yielded(&paths, &operation(short, value));
    let age = |kind: &str| format!(r#""value{kind}":{{"value":54.25}}"#);
    assert_eq!(found("add Patient value", &age("Quantity")).unwrap(), ["0 54.25"]);
    for kind in ["Age", "Count", "Distance", "Duration", "SimpleQuantity"] {
        let refused = found("add Patient value", &age(kind)).expect_err(kind);
        assert!(refused.starts_with(CONTEXT), "{kind}: {refused}");
    }
    assert!(found("add Patient gender", r#""valueCode":"male""#).unwrap_err().starts_with(BESIDE));
    assert_eq!(found("add Patient gender", r#""valueString":"male""#).unwrap(), ["2 \"male\""]);
}

#[test]
fn long_patches_are_refused_at_once() {
    let one = operation("replace Patient.name[0].family", r#""valueString":"F""#);
    let (start, rest) = one.split_at(one.find("{\"name\":\"operation\"").unwrap());
    let operation = rest.strip_suffix("]}").unwrap();
    let many = |count: usize| format!("{start}{}]}}", vec![operation; count].join(","));
    assert_eq!(yielded(&PATHS, &many(100)).unwrap().len(), 100);
    let refused = yielded(&PATHS, &many(101)).unwrap_err();
    assert!(refused.starts_with("a FHIRPath Patch of too many operations"), "{refused}");
    for path in [format!("Patient{}", ".a".repeat(33)), format!("Patient.a{}", "A".repeat(64))] {
        check(&format!("replace {path}"), r#""valueBoolean":true"#, Err(PATH));
    }
}

#[test]
fn under_rules_for_any_element_paths_still_lead_somewhere() {
    let paths = [
        "Resource.**.reference",
        "Resource.**.identifier.where(system='urn:tax').value",
        "Resource.**.display",
        "Patient.name.family",
        "!Patient.birthDate",
        "Observation.valueString",
    ];
    let found = |short: &str, value: &str| yielded(&paths, &operation(short, value));
    assert_eq!(found("replace Patient.name[0].family", r#""valueString":"F""#).unwrap(), ["3 \"F\""]);
    assert_eq!(
        found("replace Patient.managingOrganization", r#""valueReference":{"reference":"a","display":"b"}"#).unwrap(),
        ["0 \"a\"", "2 \"b\""]
    );
    assert_eq!(
        found("add Patient identifier", r#""valueIdentifier":{"system":"urn:tax","value":"1"}"#).unwrap(),
        ["1 \"1\""]
    );
    assert_eq!(found("replace Patient.active", r#""valueBoolean":true"#).unwrap(), [""; 0]);
    assert_eq!(found("replace Patient.language", r#""valueCode":"de""#).unwrap(), [""; 0]);
    // A text that HAPI makes a reference of.
    let search = r#""valueString":"Patient?identifier=1""#;
    let refused = found("replace Patient.managingOrganization", search).unwrap_err();
    assert!(refused.starts_with(COERCED), "{refused}");
    assert!(found("replace Patient.identifier", r#""valueString":"1""#).unwrap_err().starts_with(COERCED));
}

const PATH: &str = "patch needs context: a path that is more than a few names";
const COERCED: &str = "patch needs context: a text where an object may stand";
const SHAPE: &str = "a value of another type than its name says";
const BESIDE: &str = "a patch of a primitive that is sealed beside its place";
const FORM: &str = "an operation that FHIRPath Patch does not have";
const DOUBLE: &str = "a part of an operation that stands twice";
const MISSING: &str = "an operation without a part that it needs";

#[test]
fn what_is_no_fhirpath_patch_is_refused() {
    let good = operation("replace Patient.name.family", r#""valueString":"F""#);
    for (from, to, want) in [
        ("Parameters", "Patient", "a FHIRPath Patch that is no Parameters"),
        ("\"operation\"", "\"Operation\"", FORM),
        ("replace", "patch", FORM),
        ("replace", "add", FORM),
        ("replace", "delete", FORM),
        ("{\"name\":\"type\",\"valueCode\":\"replace\"},", "", MISSING),
        ("valueCode", "valueBoolean", FORM),
        ("\"name\":\"type\",", "\"name\":\"type\",\"id\":\"1\",", FORM),
        ("\"valueString\":\"F\"", "\"valueString\":\"F\",\"_valueString\":{}", FORM),
        ("\"valueString\":\"F\"", "\"resource\":{}", FORM),
        ("\"valueString\":\"F\"", "\"part\":[]", FORM),
        ("\"valueString\":\"F\"", "\"part\":[{\"name\":\"family\",\"valueString\":\"F\"}]", FORM),
        ("Patient.name.family", "Patient", PATH),
        ("Patient.name.family", "Patients.name.family", "a path of another type"),
        ("\"valueString\":\"F\"", "\"valuestring\":\"F\"", FORM),
        ("{\"name\":\"value\"", "{\"name\":\"value\",\"valueString\":\"G\"},{\"name\":\"value\"", DOUBLE),
        ("{\"name\":\"value\"", "{\"name\":\"index\",\"valueInteger\":0},{\"name\":\"value\"", FORM),
        ("{\"name\":\"value\"", "{\"name\":\"pathLabel\",\"valueString\":\"F\"},{\"name\":\"value\"", FORM),
        ("\"parameter\"", "\"id\":\"1\",\"parameter\"", FORM),
        ("\"parameter\"", "\"parameter\":[],\"parameter\"", DOUBLE),
        (",\"parameter\":", ",\"x\":", FORM),
        ("]}]}", "]}]", "unexpected end"),
    ] {
        assert!(good.contains(from), "{from}");
        let found = yielded(&PATHS, &good.replacen(from, to, 1)).unwrap_err();
        assert!(found.starts_with(want), "{from} {to}: found {found}, wanted {want}");
    }
    let listed = format!(r#"[{good},{{"name":[{{"family":"F"}}]}}]"#);
    let found = yielded(&PATHS, &listed).unwrap_err();
    assert!(found.starts_with("a FHIRPath Patch that is no Parameters"), "{found}");
    assert!(yielded(&PATHS, &format!("\u{feff} {good} ")).is_ok());
    // Where rules name places in the document, paths of elements tell too little.
    let found = yielded(&["Patient.name.family", "$.x"], &good).unwrap_err();
    assert!(found.starts_with("a patch of elements where rules name places"), "{found}");
}
