//! FHIR resources by the rules of the pack, wherever they stand.

use crate::fixture::keys::with_file_store;
use crate::fixture::{Bed, Call};
use serde_json::{Value, json};

const ROUTES: &str = "
routes:
  - name: fhir
    path: /fhir/{type}/{id}
    methods: [GET, PUT]
    upstream: app
    record: id
    packs: [fhir-r4]
";

fn packed() -> Bed {
    Bed::with(|setup| {
        let setup = with_file_store(setup);
        setup
            .replace("\nroutes:\n", ROUTES)
            .replace("  ssn: {mask: {keep_last: 4}}\n  name: {mask: {keep_first: 1}}\n", "")
            .replace("  limits: {}\n", "  limits: {body_bytes_max: 8388608, response_bytes_max: 33554432}\n")
    })
}

const PATIENT: &str = include_str!("../../data/fhir/hl7-r4/Patient-example.json");

/// Has a clinician write a body, and gives what the upstream got and what the clinician reads then.
async fn through(bed: &Bed, media_type: &str, body: &str) -> (String, String) {
    let wrote = bed.make("clinician", &Call::new("PUT /fhir/Any/1").of_type(media_type, body)).await;
    assert_eq!(wrote.status, 200, "{}", wrote.text());
    let kept = bed.upstream.take_only().text();
    let read = bed.make("clinician", &Call::new("GET /fhir/Any/1")).await;
    assert_eq!(read.status, 200, "{}", read.text());
    bed.upstream.take_only();
    (kept, read.text())
}

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[tokio::test]
async fn a_patient_is_sealed_as_the_pack_says_and_comes_back() {
    let bed = packed();
    let (kept, read) = through(&bed, "application/fhir+json", PATIENT).await;
    assert_eq!(parsed(&read), parsed(PATIENT));
    let kept = parsed(&kept);
    let token = |at: &str| kept.pointer(at).and_then(Value::as_str).is_some_and(|text| text.starts_with("sgv1."));
    for at in ["/name/0/family", "/name/0/given/1", "/identifier/0/value", "/telecom/1/value", "/address/0/line/0"] {
        assert!(token(at), "{at}: {kept:#}");
    }
    assert_eq!(kept.get("birthDate"), None);
    let extension = &kept["_birthDate"]["extension"];
    assert_eq!(extension[0]["url"], "urn:sealgate:sealed");
    assert_eq!(
        extension[1],
        json!({"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": "masked"})
    );
    let div = kept["text"]["div"].as_str().unwrap();
    assert!(div.starts_with("<div xmlns=\"http://www.w3.org/1999/xhtml\">sgv1.") && div.ends_with("</div>"), "{div}");
    assert_eq!((&kept["gender"], &kept["id"], &kept["active"]), (&json!("male"), &json!("example"), &json!(true)));
}

#[tokio::test]
async fn who_may_not_see_a_sealed_primitive_is_shown_that_it_is_hidden() {
    let bed = packed();
    through(&bed, "application/fhir+json", PATIENT).await;
    let hidden = json!({"url": "urn:sealgate:hidden", "valueBoolean": true});
    let support = bed.make("support", &Call::new("GET /fhir/Any/1")).await.json();
    assert_eq!(support.get("birthDate"), None);
    assert_eq!(support["_birthDate"]["extension"][0], hidden);
    assert_eq!(support["text"]["div"], "<div xmlns=\"http://www.w3.org/1999/xhtml\">[REDACTED]</div>");
    let dba = bed.make("dba", &Call::new("GET /fhir/Any/1")).await;
    assert_eq!(dba.text(), bed.upstream.kept("/fhir/Any/1"));
    bed.upstream.take_all();
    // Written back the value would be lost.
    let back = Call::new("PUT /fhir/Any/1").of_type("application/fhir+json", support.to_string());
    bed.refuses("clinician", &back, (422, "field_hidden")).await;
    // Nor may anything but a token stand where a sealed value is carried.
    let forged = r#"{"resourceType":"Patient","_birthDate":{"extension":[{"url":"urn:sealgate:sealed","valueString":"1974-12-25"}]}}"#;
    let forged = Call::new("PUT /fhir/Any/1").of_type("application/fhir+json", forged);
    bed.refuses("clinician", &forged, (422, "token_not_accepted")).await;
    // Those who see tokens put them back as they are.
    let kept = bed.upstream.kept("/fhir/Any/1");
    let wrote = bed.make("dba", &Call::new("PUT /fhir/Any/1").of_type("application/fhir+json", &kept)).await;
    assert_eq!((wrote.status.as_u16(), bed.upstream.take_only().text()), (200, kept), "{}", wrote.text());
}

#[tokio::test]
async fn what_is_no_resource_that_the_rules_know_goes_nowhere() {
    let bed = packed();
    for body in [
        "{}",
        "[]",
        r#"{"name":[{"family":"Chalmers"}]}"#,
        r#"{"resourceType":"Basic"}"#,
        r#"{"resourceType":"Patient","resourceType":"Medication","name":[{"family":"Chalmers"}]}"#,
        r#"{"resourceType":"Medication","x":{"resourceType":"Patient","name":[{"family":"Chalmers"}]}}"#,
        r#"{"resourceType":"Patient","Name":[{"family":"Chalmers"}]}"#,
        r#"{"resourceType":"Patient","identifier":[{"system":"a","system":"b","value":"1"}]}"#,
    ] {
        let call = Call::new("PUT /fhir/Any/1").of_type("application/fhir+json", body);
        bed.refuses("clinician", &call, (400, "body_invalid")).await;
    }
    for (body, code) in [
        (r#"{"resourceType":"Patient","text":{"div":"Chalmers"}}"#, "value_format_mismatch"),
        (r#"{"resourceType":"Patient","photo":[{"data":"no base64!"}]}"#, "value_format_mismatch"),
        (r#"{"resourceType":"Patient","birthDate":["1974-12-25"]}"#, "value_not_writable"),
    ] {
        let call = Call::new("PUT /fhir/Any/1").of_type("application/fhir+json", body);
        bed.refuses("clinician", &call, (422, code)).await;
    }
}
