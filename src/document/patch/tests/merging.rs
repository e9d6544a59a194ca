//! Merge patches.

use super::*;

fn case<'a>(paths: &[&str], resource: Option<&'a str>) -> Case<'a> {
    Case { merge: true, watch: Some(TOKENS), ..Case::of(paths, &["Device"], resource) }
}

#[test]
fn rules_go_for_a_merge_patch_as_for_a_document() {
    let fields = case(&["$.a.b", "$.list[?@.k=='x'].v", "$.m[?@.k=='x' && @.t.u=='y'].v"], None);
    for (patch, want) in [
        ("{}", "{}"),
        (r#"{"a":{"b":1,"c":"tok:"},"d":null}"#, r##"{"a":{"b":#0,"c":#-},"d":null}"##),
        (r#"{"a":{"b":null}}"#, r##"{"a":{"b":#0}}"##),
        (r#"{"a":null,"m":null}"#, r#"{"a":null,"m":null}"#),
        (r#"{"list":[{"v":1,"k":"x"},{"v":2}]}"#, r##"{"list":[{"v":#1,"k":"x"},{"v":2}]}"##),
        (r#"{"m":{"a":{"v":1,"k":"x","t":{"u":"y"}}}}"#, r##"{"m":{"a":{"v":#2,"k":"x","t":{"u":"y"}}}}"##),
        (r#"{"m":{"a":{"v":1,"k":"z","t":{"u":"y"}}}}"#, r##"{"m":{"a":{"v":1,"k":"z","t":{"u":"y"}}}}"##),
        // What is no object takes the place of what was there.
        (r#"{"m":{"a":{"v":1,"k":null,"t":null}}}"#, r#"{"m":{"a":{"v":1,"k":null,"t":null}}}"#),
        (r#"{"m":{"a":{"v":1,"\u006b":["x"],"t":{"u":[]}}}}"#, r#"{"m":{"a":{"v":1,"\u006b":["x"],"t":{"u":[]}}}}"#),
        (r#"{"m":[{"v":1},{"v":1,"k":"x","t":{}}]}"#, r#"{"m":[{"v":1},{"v":1,"k":"x","t":{}}]}"#),
        (r#"{"m":{"a":7,"b":[{"v":1}]}}"#, r#"{"m":{"a":7,"b":[{"v":1}]}}"#),
    ] {
        fields.check(patch, Ok(want));
    }
    let patient = case(&["Patient.name.family", "Patient.identifier.where(system='ssn').value"], Some("Patient"));
    for (patch, want) in [
        (r#"{"name":[{"family":1}]}"#, r##"{"name":[{"family":#0}]}"##),
        (r#"{"name":{"family":1},"resourceType":"Patient"}"#, r##"{"name":{"family":#0},"resourceType":"Patient"}"##),
        (r#"{"name":null}"#, r#"{"name":null}"#),
        (
            r#"{"identifier":[{"value":1,"system":"ssn"},{"value":1}]}"#,
            r##"{"identifier":[{"value":#1,"system":"ssn"},{"value":1}]}"##,
        ),
        (
            r#"{"contained":[{"name":{"family":1},"resourceType":"Patient"},{"resourceType":"Device"}]}"#,
            r##"{"contained":[{"name":{"family":#0},"resourceType":"Patient"},{"resourceType":"Device"}]}"##,
        ),
        ("{}", "{}"),
    ] {
        patient.check(patch, Ok(want));
    }
    case(&["Patient.name.family"], Some("Device")).check(r#"{"name":{"family":1}}"#, Ok(r#"{"name":{"family":1}}"#));
}

#[test]
fn what_stands_in_the_document_alone_cannot_be_asked() {
    let fields = case(&["$.m[?@.k=='x' && @.t.u=='y'].v"], None);
    for (patch, want) in [
        (r#"{"m":{"a":{"v":1}}}"#, CONTEXT),
        (r#"{"m":{"a":{"v":1,"k":"x"}}}"#, CONTEXT),
        (r#"{"m":{"a":{"v":1,"k":"x","t":{}}}}"#, CONTEXT),
        (r#"{"m":{"a":{"v":1,"k":"x","t":{"U":"y"}}}}"#, ALIKE),
        (r#"{"m":{"a":{"v":1,"t":{"u":"y"}}}}"#, CONTEXT),
        (r#"{"m":{"a":{}}}"#, CONTEXT),
        (r#"{"m":{"a":{"k":"x","t":{"u":"y"}},"a":{"v":1}}}"#, CONTEXT),
        (r#"{"m":{"a":{"k":"z","v":1,"k":"x","t":null}}}"#, "a member that stands twice where a rule looks at it"),
    ] {
        fields.check(patch, Err(want));
    }
    // Such a document would be replaced by it, and an array may be a JSON Patch to the server.
    for patch in ["7", "null", r#"[{"op":"replace","path":"/a","value":1}]"#] {
        case(&["$.a"], None).check(patch, Err("a merge patch that is no object"));
    }
    let passing = case(&["-$.id[?@.system=='npi'].value", "$.id.*.value"], None);
    passing.check(r#"{"id":{"a":{"value":1}}}"#, Err(CONTEXT));
    passing.check(r#"{"id":{"a":{"value":1,"system":null}}}"#, Ok(r##"{"id":{"a":{"value":#1,"system":null}}}"##));
    let paths = ["Patient.name.family", "Patient.link.where(type='x').value"];
    case(&paths, None).check("{}", Err("a patch of something of an unknown type of resource"));
    case(&paths, Some("Foo")).check("{}", Err("a resource of a type that no rule names"));
    for (patch, want) in [
        ("7", "a document that is no resource"),
        ("[]", "a document that is no resource"),
        ("null", "a document that is no resource"),
        (r#"{"resourceType":"Device"}"#, "a resource of another type than the one that is patched at offset 0"),
        (r#"{"a":1,"resource\u0054ype":"Device"}"#, "a resource of another type than the one that is patched"),
        (r#"{"resourceType":null}"#, "a resourceType that is no text"),
        (r#"{"resourceType":"Patient","resourceType":"Device"}"#, "a resourceType that stands twice"),
        (r#"{"resourcetype":"Patient"}"#, ALIKE),
        (r#"{"Name":1}"#, ALIKE),
        (r#"{"contained":{"name":{"family":1}}}"#, CONTEXT),
        (r#"{"contained":[{"name":{"family":1}}]}"#, "an object that is no resource where one stands"),
        (r#"{"link":{"value":1}}"#, CONTEXT),
        (r#"{"x":{"resourceType":"Patient"}}"#, "a resource where none can stand"),
        (r#"{"contained":[{"resourceType":"Foo"}]}"#, "a resource of a type that no rule names"),
        ("", "unexpected end"),
        ("{", "unexpected end"),
        ("{\"a\":1}}", "unexpected byte"),
    ] {
        case(&paths, Some("Patient")).check(patch, Err(want));
    }
}
