//! FHIR resources by the rules of the pack, wherever they stand.

use super::samples;
use crate::fixture::keys::with_file_store;
use crate::fixture::leak::find_leaks;
use crate::fixture::{Bed, Call};
use serde_json::{Value, json};
use std::collections::BTreeSet;

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

/// What identifies persons in a document: strings at these members of every Patient, Person and RelatedPerson in it.
fn identifying(document: &Value, of_person: bool, found: &mut BTreeSet<(String, String)>) {
    match document {
        Value::Array(elements) => elements.iter().for_each(|element| identifying(element, of_person, found)),
        Value::Object(members) => {
            let of_person = match members.get("resourceType").and_then(Value::as_str) {
                Some(kind) => matches!(kind, "Patient" | "Person" | "RelatedPerson"),
                None => of_person,
            };
            for (name, value) in members {
                let names = ["family", "given", "line", "city", "postalCode", "birthDate", "deceasedDateTime"];
                let values: Vec<&Value> = value.as_array().map_or_else(|| vec![value], |list| list.iter().collect());
                let is_value = name == "value" && members.contains_key("system");
                if of_person && (names.contains(&name.as_str()) || is_value) {
                    let texts = values.iter().filter_map(|value| value.as_str()).filter(|text| text.len() > 5);
                    found.extend(texts.map(|text| (name.clone(), text.to_owned())));
                }
                identifying(value, of_person, found);
            }
        }
        _ => {}
    }
}

/// Values that also stand where the rules let them pass, by file, and why.
const PASSING: &[(&str, &str, &str)] =
    &[("Patient-example.json", "1974-12-25", "also the start of address.period, and dates of periods pass")];

/// Whether a value is also the id of a resource in the document, or in a reference to one: ids pass.
fn is_id(document: &Value, value: &str) -> bool {
    match document {
        Value::Array(elements) => elements.iter().any(|element| is_id(element, value)),
        Value::Object(members) => {
            members.iter().any(|(name, member)| name == "id" && member == value || is_id(member, value))
        }
        _ => false,
    }
}

fn expect_no_leak(name: &str, document: &Value, kept: &str) {
    let mut values = BTreeSet::new();
    identifying(document, false, &mut values);
    let passes =
        |value: &str| is_id(document, value) || PASSING.iter().any(|(file, text, _)| *file == name && *text == value);
    let values: Vec<_> = values.into_iter().filter(|(_, value)| !passes(value)).collect();
    let leaks = find_leaks(kept.as_bytes(), &values);
    assert!(leaks.is_empty(), "{name}: {leaks:#?}");
}

#[tokio::test]
async fn every_sample_of_fhir_json_comes_back_as_it_was() {
    let bed = packed();
    let folders = ["fhir/bundles", "fhir/hl7-r4", "fhir/us-core", "fhir/requests"];
    let files = folders.into_iter().flat_map(|folder| samples(folder, ".json"));
    let (mut count, mut patching) = (0, 0);
    for file in files {
        let name = file.file_name().unwrap().to_str().unwrap();
        let text = std::fs::read_to_string(&file).unwrap();
        // Patches are sealed as such, and no server keeps them as they came.
        if text.contains("application/json-patch+json") {
            patching += 1;
            continue;
        }
        // A list of resources is none itself.
        let documents = match parsed(&text) {
            Value::Array(documents) => documents,
            document => vec![document],
        };
        for document in documents {
            there_and_back(&bed, name, &text, &document).await;
        }
        count += 1;
    }
    assert_eq!((count, patching), (50, 1));
}

async fn there_and_back(bed: &Bed, name: &str, text: &str, document: &Value) {
    let text = if parsed(text) == *document { text.to_owned() } else { document.to_string() };
    let (kept, read) = through(bed, "application/fhir+json", &text).await;
    // A search for a text says that it means the whole text: that is all that does not come back as it was.
    let read = read.replace("?name:exact=", "?name=");
    assert!(parsed(&read) == *document, "{name} is another document");
    expect_no_leak(name, document, &kept);
}

#[tokio::test]
async fn every_sample_of_lines_comes_back_as_it_was() {
    let bed = packed();
    for file in samples("ndjson", "000.ndjson") {
        let name = file.file_name().unwrap().to_str().unwrap();
        let text = std::fs::read_to_string(&file).unwrap();
        let (kept, read) = through(&bed, "application/fhir+ndjson", &text).await;
        assert_eq!(read.lines().count(), text.lines().count(), "{name}");
        for (read, line) in read.lines().zip(text.lines()) {
            assert!(parsed(read) == parsed(line), "{name}: {line} became {read}");
            expect_no_leak(name, &parsed(line), &kept);
        }
    }
}
