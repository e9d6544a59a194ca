//! Changes of documents, of which only a part is there.

use crate::fixture::keys::with_file_store;
use crate::fixture::{Bed, Call};
use serde_json::{Value, json};

const ROUTES: &str = "
routes:
  - name: fhir
    path: /fhir/{type}/{id}
    methods: [GET, PUT, PATCH]
    upstream: app
    rules:
      - {fhir: \"Patient.identifier.where(system='urn:tax').value\", class: taxid}
      - {fhir: Patient.identifier.value, class: mrn}
      - {fhir: Patient.name.family, class: surname}
      - {fhir: Patient.name.given, class: surname}
      - {fhir: Patient.telecom.value, class: surname}
      - {fhir: Patient.address.line, class: note}
      - {fhir: Patient.birthDate, class: note, as: extension}
  - name: plain
    path: /plain/{id}
    methods: [PATCH]
    upstream: app
    rules: [{path: $.ssn, class: surname}, {path: '$.names[*].last', class: note}]
";

fn patched() -> Bed {
    Bed::with(|setup| {
        let classes = "\nclasses:\n  taxid: {suite: deterministic}\n  mrn: {suite: deterministic}\n  surname: {suite: deterministic}\n";
        with_file_store(setup.replace("\nclasses:\n", classes).replace("\nroutes:\n", ROUTES))
    })
}

fn patch(path: &str, operations: &Value) -> Call {
    Call::new(&format!("PATCH {path}")).of_type("application/json-patch+json", operations.to_string())
}

fn merge(path: &str, members: &Value) -> Call {
    Call::new(&format!("PATCH {path}")).of_type("application/merge-patch+json", members.to_string())
}

fn is_token(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.starts_with("sgv1."))
}

#[tokio::test]
async fn values_of_a_patch_are_sealed_by_the_rule_of_their_place() {
    let bed = patched();
    bed.upstream.always(200, &[], "");
    let operations = json!([
        {"op": "test", "path": "/name/0/family", "value": "Chalmers"},
        {"op": "replace", "path": "/name/0/family", "value": "Windsor"},
        {"op": "add", "path": "/telecom/-", "value": {"system": "phone", "value": "555-0100"}},
        {"op": "replace", "path": "/name/0", "value": {"family": "X1", "given": ["Y1", "Z1"]}},
        {"op": "add", "path": "/identifier/-", "value": {"value": "12345", "system": "urn:tax"}},
        {"op": "remove", "path": "/name/1"},
        {"op": "replace", "path": "/active", "value": false},
    ]);
    let sent = bed.make("clinician", &patch("/fhir/Patient/1", &operations)).await;
    assert_eq!(sent.status, 200, "{}", sent.text());
    let got = bed.upstream.take_only().json();
    assert!(is_token(&got[0]["value"]) && is_token(&got[1]["value"]) && got[0]["value"] != got[1]["value"], "{got}");
    assert!(is_token(&got[2]["value"]["value"]) && got[2]["value"]["system"] == "phone", "{got}");
    assert!(is_token(&got[3]["value"]["family"]) && is_token(&got[3]["value"]["given"][1]), "{got}");
    assert!(is_token(&got[4]["value"]["value"]), "{got}");
    assert_eq!((&got[5], &got[6]), (&operations[5], &operations[6]));
    let plain = json!([{"op": "add", "path": "/names/0", "value": {"last": "Chalmers", "n": 1}}]);
    assert_eq!(bed.make("clinician", &patch("/plain/1", &plain)).await.status, 200);
    assert!(is_token(&bed.upstream.take_only().json()[0]["value"]["last"]));
}

#[tokio::test]
async fn members_that_are_merged_are_sealed_and_null_deletes() {
    let bed = patched();
    bed.upstream.always(200, &[], "");
    let members =
        json!({"name": [{"family": "Windsor"}], "telecom": null, "active": true, "address": [{"line": ["1 High St"]}]});
    let sent = bed.make("clinician", &merge("/fhir/Patient/1", &members)).await;
    assert_eq!(sent.status, 200, "{}", sent.text());
    let got = bed.upstream.take_only().json();
    assert!(is_token(&got["name"][0]["family"]) && is_token(&got["address"][0]["line"][0]), "{got}");
    assert_eq!((&got["telecom"], &got["active"]), (&Value::Null, &json!(true)));
}

#[tokio::test]
async fn a_patch_whose_effect_it_does_not_say_goes_nowhere() {
    let bed = patched();
    let context = (422, "patch_needs_context");
    for (operations, want) in [
        (json!([{"op": "replace", "path": "/identifier/0/value", "value": "1"}]), context),
        (json!([{"op": "move", "from": "/name/0/family", "path": "/text"}]), context),
        (json!([{"op": "copy", "from": "/name", "path": "/note"}]), context),
        (json!([{"op": "copy", "from": "/note", "path": "/name/0/family"}]), context),
        (json!([{"op": "replace", "path": "/birthDate", "value": "1974-12-25"}]), context),
        (json!([{"op": "replace", "path": "/resourceType", "value": "Device"}]), context),
        (json!([{"op": "add", "path": "/name/0/Family", "value": "x"}]), (400, "body_invalid")),
        (json!([{"op": "frobnicate", "path": "/a", "value": "x"}]), (400, "body_invalid")),
        (json!({"op": "add", "path": "/a", "value": "x"}), (400, "body_invalid")),
        (json!([{"op": "test", "path": "/address/0/line/0", "value": "1 High St"}]), (422, "patch_not_possible")),
    ] {
        bed.refuses("clinician", &patch("/fhir/Patient/1", &operations), want).await;
    }
    let guess = json!([{"op": "test", "path": "/name/0/family", "value": "Chalmers"}]);
    bed.refuses("desk", &patch("/fhir/Patient/1", &guess), (403, "search_not_allowed")).await;
    for members in [json!({"birthDate": "1974-12-25"}), json!({"birthDate": null})] {
        bed.refuses("clinician", &merge("/fhir/Patient/1", &members), context).await;
        // A part of a document is that under every name.
        let call = Call::new("PATCH /fhir/Patient/1").json(members.to_string());
        bed.refuses("clinician", &call, context).await;
    }
    let put = Call::new("PUT /fhir/Patient/1").of_type("application/json-patch+json", guess.to_string());
    bed.refuses("clinician", &put, (415, "content_type_unsupported")).await;
    // Of what, nobody says.
    bed.refuses("clinician", &patch("/fhir/Unknown/1", &guess), context).await;
    let xml = Call::new("PATCH /fhir/Patient/1").of_type("application/xml-patch+xml", "<diff/>");
    bed.refuses("clinician", &xml, (415, "content_type_unsupported")).await;
}
