//! What rules select in a JSON Patch, and where they would have to see the document.

use super::*;

#[test]
fn rules_go_on_inside_of_values() {
    let case = Case::new(&["$.a.b", "$.list[*].x", "$..ssn", "$.whole", "$.m.*", "$.n[1]"]);
    for (operation, want) in [
        ("add /a/b 1", "add /a/b #0"),
        ("add /a {\"b\":1,\"c\":2}", "add /a {\"b\":#0,\"c\":2}"),
        ("add /a/c {\"b\":1}", "add /a/c {\"b\":1}"),
        ("add /a 7", "add /a 7"),
        ("add /list/0/x 1", "add /list/0/x #1"),
        ("add /list/- {\"x\":1,\"y\":2}", "add /list/- {\"x\":#1,\"y\":2}"),
        ("add /list/17 {\"x\":[1]}", "add /list/17 {\"x\":#1}"),
        ("add /list [{\"x\":1},[2]]", "add /list [{\"x\":#1},[2]]"),
        ("add /list/01 {\"x\":1}", "add /list/01 {\"x\":#1}"),
        ("add /list/k {\"x\":1}", "add /list/k {\"x\":#1}"),
        ("add /z/z/z {\"z\":[{\"ssn\":1}]}", "add /z/z/z {\"z\":[{\"ssn\":#2}]}"),
        ("replace /z/0/ssn null", "replace /z/0/ssn #2"),
        ("replace /whole {\"a\":{\"ssn\":1}}", "replace /whole #3"),
        ("test /whole true", "test /whole #3t"),
        ("add /m/k 1", "add /m/k #4"),
        ("add /m/0 1", "add /m/0 #4"),
        ("add /m/ 1", "add /m/ #4"),
        ("replace /n/1 1", "replace /n/1 #5"),
        ("replace /n/0 1", "replace /n/0 1"),
        ("replace /n/10 1", "replace /n/10 1"),
        ("test /n/1 1", "test /n/1 #5t"),
        ("add /n [0,1,2]", "add /n [0,#5,2]"),
        ("replace /n/- 1", "replace /n/- #5"),
        // Readers that make an index of these may mean the one that is ruled.
        ("replace /n/01 1", "replace /n/01 #5"),
        ("replace /n/-1 1", "replace /n/-1 #5"),
        ("replace /n/4294967297 1", "replace /n/4294967297 #5"),
        ("add  {\"a\":{\"b\":1},\"n\":[1]}", "add  {\"a\":{\"b\":#0},\"n\":[1]}"),
        ("replace  [{\"ssn\":1}]", "replace  [{\"ssn\":#2}]"),
        ("remove /whole", "remove /whole"),
        ("remove /whole/part", "remove /whole/part"),
        ("remove ", "remove "),
    ] {
        case.check_one(operation, Ok(want));
    }
}

#[test]
fn what_could_hide_a_value_is_refused() {
    let case = Case::new(&["$.a.b", "$.whole", "$.n[1]", "$.m[0].x"]);
    for (operation, want) in [
        ("add /whole/part 1", COVERED),
        ("test /whole/0/part/x 1", COVERED),
        ("add /a/b/- 1", COVERED),
        ("add /n/1/x 1", COVERED),
        ("add /n/-/x 1", COVERED),
        ("add /n/0 1", COUNTED),
        ("add /n/- 1", COUNTED),
        ("remove /n/0", COUNTED),
        ("add /m/00 1", COUNTED),
        ("add /A/b 1", ALIKE),
        ("add /A 1", ALIKE),
        ("add /a/B 1", ALIKE),
        ("remove /Whole", ALIKE),
        ("test /a/B 1", ALIKE),
        ("move /A /z", ALIKE),
        ("move /z /A", ALIKE),
        ("add /a {\"B\":1}", ALIKE),
        ("add  {\"WHOLE\":1}", ALIKE),
        ("move /z /whole", MOVED),
        ("copy /z /whole", MOVED),
        ("move /whole /z", MOVED),
        ("copy /whole/x /z", MOVED),
        ("move /a /z", MOVED),
        ("move /z /a", MOVED),
        ("move /a/b/c /z", MOVED),
        ("copy  /z", MOVED),
        ("copy /z ", MOVED),
        ("move /n /z", MOVED),
        ("move /n/0 /z", MOVED),
        ("move /z /n/7", MOVED),
    ] {
        case.check_one(operation, Err(want));
    }
    for operation in ["move /y /z", "copy /a/c /a/d", "move /z/0 /y/-", "remove /n/0/x", "move /n/0/x /z", "add /b/B 1"]
    {
        case.check_one(operation, Ok(operation));
    }
    Case::new(&["$..ssn"]).check_one("move /y /z", Err(MOVED));
}

#[test]
fn one_bad_operation_refuses_them_all() {
    let patch = r#"[{"op":"add","path":"/whole","value":1},{"op":"add","path":"/Whole","value":1}]"#;
    let mut slots = 0;
    let result = Case::new(&["$.whole"]).run(patch.as_bytes(), &[1], &mut |_| {
        slots += 1;
        None
    });
    assert_eq!(result.unwrap_err().to_string(), format!("{ALIKE} at offset 59"));
    assert_eq!(slots, 0);
}

#[test]
fn tests_are_decided_where_all_that_they_look_at_is_there() {
    let case = Case::new(&["$.id[?@.system=='ssn'].value", "$.p[?@.k=='x'][?@.t[1].c=='y'].v", "$.q[?@.k=='x']"]);
    let (ssn, other) = (r#"{"value":1,"system":"ssn"}"#, r#"{"value":1,"system":"npi"}"#);
    let sealed = r##"{"value":#0,"system":"ssn"}"##;
    for (operation, want) in [
        ("add /id/- ?", sealed),
        ("replace /id/0 ?", sealed),
        ("test /id/k ?", r##"{"value":#0t,"system":"ssn"}"##),
        ("add /id/0/0 ?", ssn),
        ("add /ids/0 ?", ssn),
    ] {
        case.check_one(&operation.replace('?', ssn), Ok(&operation.replace('?', want)));
        case.check_one(&operation.replace('?', other), Ok(&operation.replace('?', other)));
    }
    case.check_one(&format!("add /id [{ssn},{other}]"), Ok(&format!("add /id [{sealed},{other}]")));
    case.check_one(&format!("add  {{\"id\":[{ssn}]}}"), Ok(&format!("add  {{\"id\":[{sealed}]}}")));
    for (operation, want) in [
        ("add /id/0/value 1", CONTEXT),
        ("add /id/-/value 1", CONTEXT),
        ("test /id/x/value 1", CONTEXT),
        ("add /id/0/value/x 1", CONTEXT),
        // Whoever changes what is compared changes what is selected beside it.
        ("replace /id/0/system \"ssn\"", CONTEXT),
        ("replace /id/0/system/x \"ssn\"", CONTEXT),
        ("move /id/0/system /x", MOVED),
        ("copy /x /id/0/value", MOVED),
        ("add /id/0/Value 1", ALIKE),
        ("add /id/0/System \"ssn\"", ALIKE),
        ("add /p/0/0 {\"v\":1}", CONTEXT),
        ("add /p/0/k \"x\"", CONTEXT),
        ("add /p/0/x 1", CONTEXT),
        ("add /p/0/0/t 1", CONTEXT),
        ("add /p/0/0/t/1 1", COUNTED),
        ("replace /p/0/0/t/1 1", CONTEXT),
        ("add /p/0/0/t/1/c 1", CONTEXT),
        ("add /q/0/x 1", CONTEXT),
        ("add /q/x/y/z 1", CONTEXT),
    ] {
        case.check_one(operation, Err(want));
    }
    for operation in [
        "add /id/0/use \"x\"",
        "test /id/0/system \"ssn\"",
        "remove /id/0/system",
        "remove /id/0/value",
        "remove /q/0/x",
        "add /p/0 [{\"v\":1}]",
        "move /id/0/use /id/0/note",
    ] {
        case.check_one(operation, Ok(operation));
    }
    case.check_one("add /q/- {\"k\":\"x\"}", Ok("add /q/- #2"));
    // A rule that lets pass looks too, and one that is first settles it.
    let passing = Case::new(&["-$.id[?@.system=='npi'].value", "$.id[*].value"]);
    passing.check_one("add /id/0/value 1", Err(CONTEXT));
    passing.check_one(&format!("add /id/0 {other}"), Ok(&format!("add /id/0 {other}")));
    passing.check_one(&format!("add /id/0 {ssn}"), Ok(&format!("add /id/0 {}", ssn.replace('1', "#1"))));
    let typed = Case::of(&["-Patient.identifier.value", "Patient.**.value", "$..other"], &[], Some("Patient"));
    typed.check_one("add /identifier/0/value 1", Err(CONTEXT));
    let typed = Case::of(&["-Patient.identifier.value", "Patient.**.value"], &[], Some("Patient"));
    typed.check_one("add /identifier/0/value 1", Ok("add /identifier/0/value 1"));
    typed.check_one("add /x/0/value 1", Ok("add /x/0/value #1"));
    // Whether the one holds or the other: what is selected whole must not be hidden by what would let it pass.
    Case::new(&["-$.a[?@.k=='x']", "$.a[?@.j=='y']"]).check_one("add /a/0/v 1", Err(CONTEXT));
    Case::new(&["-$.a[?@.k=='x'].v", "$.a[?@.j=='y'].v"]).check_one("add /a/0/v/w 1", Err(CONTEXT));
    Case::new(&["-$.a[?@.k=='x'].v", "$.a[?@.j=='y'].v"]).check_one("add /a/0/v/0 1", Err(CONTEXT));
    let settled = Case::new(&["$.id[*].value", "-$.id[?@.system=='npi'].value"]);
    settled.check_one(&format!("add /id/0 {other}"), Ok(&format!("add /id/0 {}", other.replace('1', "#0"))));
    // Anywhere is on the way too.
    let anywhere = Case::new(&["$..[?@.k=='x'].v"]);
    anywhere.check_one("add /a/b/v 1", Err(CONTEXT));
    anywhere.check_one("add /a/b/k 1", Err(CONTEXT));
    anywhere.check_one("add /a/b/c [{\"k\":\"x\",\"v\":1}]", Ok("add /a/b/c [{\"k\":\"x\",\"v\":#0}]"));
}

#[test]
fn two_readings_never_let_pass_what_one_selects() {
    let number = Case::new(&["-$.a['0']", "$.a[*]"]);
    number.check_one("replace /a/0 1", Err(CONTEXT));
    number.check_one("replace /a/1 1", Ok("replace /a/1 #1"));
    let index = Case::new(&["-$.a[0].x", "$.a.*.x", "$.b['1'].y", "$.b[1].z"]);
    index.check_one("replace /a/0/x 1", Err(CONTEXT));
    index.check_one("replace /a/0 {\"x\":1}", Err(CONTEXT));
    index.check_one("replace /a/- {\"x\":1}", Err(CONTEXT));
    index.check_one("replace /a/01 {\"x\":1}", Err(CONTEXT));
    index.check_one("replace /a/1 {\"x\":1}", Ok("replace /a/1 {\"x\":#1}"));
    index.check_one("replace /b/1 {\"y\":1,\"z\":2}", Ok("replace /b/1 {\"y\":#2,\"z\":#3}"));
    let covered = Case::new(&["$.a[0]"]);
    covered.check_one("add /a/0/x 1", Err(COVERED));
    let mixed = Case::of(&["Patient.name", "$.name['0'].x"], &[], Some("Patient"));
    mixed.check_one("add /name/0/x 1", Err(COVERED));
}

const PATIENT: &[&str] = &[
    "Patient.name.family",
    "Patient.name.given",
    "Patient.identifier.where(system='ssn').value",
    "-Patient.identifier.where(system='npi').value",
    "Patient.identifier.where(type.coding.code='MR').value",
    "Patient.contact",
    "Resource.text.div",
    "Observation.**.valueString",
    "!Patient.birthDate",
    "Patient.link.where(type='seealso')",
];

fn fhir(resource: Option<&str>) -> Case<'_> {
    Case::of(PATIENT, &["Bundle", "Device"], resource)
}

#[test]
fn rules_by_type_are_those_of_the_resource_that_is_patched() {
    for (operation, want) in [
        ("add /name [{\"family\":1,\"given\":[2,3]}]", "add /name [{\"family\":#0,\"given\":[#1,#1]}]"),
        ("add /name/- {\"family\":1}", "add /name/- {\"family\":#0}"),
        ("add /name/0/given/- 1", "add /name/0/given/- #1"),
        ("add /name/0/given [1,[2],{}]", "add /name/0/given [#1,[#1],#1]"),
        ("add /name/family 1", "add /name/family #0"),
        ("add /text {\"div\":1}", "add /text {\"div\":#6}"),
        ("add /contact [{\"name\":1},7]", "add /contact [#5,#5]"),
        ("add /contact/0 {\"name\":1}", "add /contact/0 #5"),
        ("replace /contact/- {\"name\":1}", "replace /contact/- #5"),
        ("add /identifier/- {\"value\":1,\"system\":\"ssn\"}", "add /identifier/- {\"value\":#2,\"system\":\"ssn\"}"),
        ("add /identifier/- {\"value\":1,\"system\":\"npi\"}", "add /identifier/- {\"value\":1,\"system\":\"npi\"}"),
        (
            "add /identifier [{\"value\":1,\"type\":{\"coding\":[{\"code\":\"MR\"}]}}]",
            "add /identifier [{\"value\":#4,\"type\":{\"coding\":[{\"code\":\"MR\"}]}}]",
        ),
        ("add /link/0 {\"type\":\"seealso\"}", "add /link/0 #9"),
        ("add /link/0 {\"type\":\"refer\"}", "add /link/0 {\"type\":\"refer\"}"),
        ("add /link [{\"type\":\"seealso\"}]", "add /link [#9]"),
        (
            "add /contained/- {\"resourceType\":\"Observation\",\"x\":{\"valueString\":1},\"name\":{\"family\":1}}",
            "add /contained/- {\"resourceType\":\"Observation\",\"x\":{\"valueString\":#7},\"name\":{\"family\":1}}",
        ),
        (
            "replace  {\"name\":{\"family\":1},\"resourceType\":\"Patient\"}",
            "replace  {\"name\":{\"family\":#0},\"resourceType\":\"Patient\"}",
        ),
        ("test /resourceType \"Patient\"", "test /resourceType \"Patient\""),
        ("add /identifier/0/use \"x\"", "add /identifier/0/use \"x\""),
        ("add /active true", "add /active true"),
        ("move /active /x", "move /active /x"),
        ("remove /contained/0/name", "remove /contained/0/name"),
        ("add /valueString 1", "add /valueString 1"),
    ] {
        fhir(Some("Patient")).check_one(operation, Ok(want));
    }
    fhir(Some("Observation")).check_one("add /component/0/valueString 1", Ok("add /component/0/valueString #7"));
    fhir(Some("Observation")).check_one("add /name/0/family 1", Ok("add /name/0/family 1"));
    fhir(Some("Bundle")).check_one(
        "add /entry/- {\"resource\":{\"name\":{\"family\":1},\"resourceType\":\"Patient\"}}",
        Ok("add /entry/- {\"resource\":{\"name\":{\"family\":#0},\"resourceType\":\"Patient\"}}"),
    );
    Case::of(&["$.a"], &[], Some("Patient")).check_one("add /a 1", Ok("add /a #0"));
}

#[test]
fn a_resource_that_is_not_known_is_refused() {
    fhir(None).check("[]", Err("a patch of something of an unknown type of resource at offset 0"));
    fhir(Some("Foo")).check("[]", Err("a resource of a type that no rule names at offset 0"));
    fhir(Some("")).check("[]", Err("a resource of a type that no rule names at offset 0"));
    for (operation, want) in [
        ("add /resourceType \"Observation\"", TYPE),
        ("remove /resourceType", TYPE),
        ("add /contained/0/resourceType \"Patient\"", TYPE),
        ("add /x/y/resourceType \"Patient\"", TYPE),
        ("test /resourceType/x 1", TYPE),
        ("copy /resourceType /x", TYPE),
        ("move /x /resourceType", MOVED),
        ("add /ResourceType 1", ALIKE),
        ("add /x/Contained 1", ALIKE),
        ("add /identifier/0/System 1", ALIKE),
        ("add /contained/0/name 1", CONTEXT),
        ("add /contained/name 1", CONTEXT),
        ("add /contained/0/name/0/family 1", CONTEXT),
        ("add /x/resource/text 1", CONTEXT),
        ("add /identifier/0/value 1", CONTEXT),
        ("add /identifier/value 1", CONTEXT),
        ("add /identifier/0/type/coding/0/code \"MR\"", CONTEXT),
        ("add /identifier/0/type {}", CONTEXT),
        ("add /link/0/other 1", CONTEXT),
        ("add /contact/0/name 1", COVERED),
        ("add /birthDate 1", "a patch of a primitive that is sealed beside its place"),
        ("move /contained/0 /x", MOVED),
        ("move /x /contained", MOVED),
        ("copy /name/0 /name/1", MOVED),
        ("copy /x ", MOVED),
        ("replace  {\"name\":1}", "a document that is no resource"),
        ("replace  [{\"resourceType\":\"Patient\"}]", "a document that is no resource"),
        ("replace  null", "a document that is no resource"),
        ("replace  {\"resourceType\":\"Device\"}", "a resource of another type than the one that is patched"),
        ("replace  {\"resourceType\":null}", "a resource of another type than the one that is patched"),
        ("replace  {\"resourceType\":\"Patient\",\"resourceType\":\"Device\"}", "a resourceType that stands twice"),
        ("replace  {\"ResourceType\":\"Patient\"}", "a document that is no resource"),
        ("add /x {\"resourceType\":\"Patient\"}", "a resource where none can stand"),
        ("add /contained/0 {\"resourceType\":\"Foo\"}", "a resource of a type that no rule names"),
    ] {
        fhir(Some("Patient")).check_one(operation, Err(want));
    }
    fhir(Some("Bundle")).check_one("move /entry/0 /entry/1", Err(MOVED));
    fhir(Some("Bundle")).check_one("add /entry/0/resource/name/0/family 1", Err(CONTEXT));
}
