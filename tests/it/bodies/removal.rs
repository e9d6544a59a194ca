//! Values that are taken out of what a role sees, with what is empty without them.

use crate::fixture::keys::with_file_store;
use crate::fixture::{Bed, Call};
use serde_json::{Value, json};

const ROUTES: &str = "
routes:
  - name: fhir
    path: /fhir/{type}/{id}
    methods: [GET, PUT]
    upstream: app
    packs: [fhir-r4]
  - name: plain
    path: /plain/{id}
    methods: [GET, PUT]
    upstream: app
    rules:
      - {path: $.ssn, class: ssn}
      - {path: $.note.text, class: name}
      - {path: '$.name[*].given[*]', class: name}
      - {csv: ssn, class: ssn}
";

/// Support sees nothing of what is protected; bodies of more than 2 KB are streamed.
fn bed() -> Bed {
    Bed::with(|setup| {
        with_file_store(setup)
            .replace("\nroutes:\n", ROUTES)
            .replace(
                "support: {default_view: redact, read_only: true}",
                "support: {default_view: remove, read_only: true}",
            )
            .replace("  ssn: {mask: {keep_last: 4}}\n  name: {mask: {keep_first: 1}}\n", "")
            .replace("  limits: {}\n", "  limits: {buffer_bytes_max: 2048}\n")
    })
}

/// Has a clinician write a body, and gives what support reads.
async fn seen(bed: &Bed, path: &str, (media_type, body): (&str, &str)) -> String {
    let wrote = bed.make("clinician", &Call::new(&format!("PUT {path}")).of_type(media_type, body)).await;
    assert_eq!(wrote.status, 200, "{}", wrote.text());
    let read = bed.make("support", &Call::new(&format!("GET {path}"))).await;
    assert_eq!(read.status, 200, "{}", read.text());
    read.text()
}

#[tokio::test]
async fn a_resource_is_shown_without_what_is_protected() {
    const PATIENT: &str = include_str!("../../data/fhir/hl7-r4/Patient-example.json");
    let bed = bed();
    let read = seen(&bed, "/fhir/Patient/example", ("application/fhir+json", PATIENT)).await;
    for word in ["sgv1", "sealgate", "Chalmers", "Peter", "T14:35", "12345", "5555 6473", "Erewhon"] {
        assert!(!read.contains(word), "{word}: {read}");
    }
    let (read, whole): (Value, Value) = (serde_json::from_str(&read).unwrap(), serde_json::from_str(PATIENT).unwrap());
    // A narrative has to have its text, a name need not.
    assert_eq!(read["text"]["div"], "<div xmlns=\"http://www.w3.org/1999/xhtml\">[REDACTED]</div>");
    assert_eq!(read["name"][0], json!({"use": "official"}));
    assert_eq!((read["identifier"][0].get("value"), read.get("birthDate")), (None, None));
    let reason = json!({"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": "masked"});
    assert_eq!(read["_birthDate"]["extension"][0], reason, "{read:#}");
    for kept in ["resourceType", "id", "active", "gender"] {
        assert_eq!(read[kept], whole[kept]);
    }
    let event = bed.gate.events().into_iter().rfind(|event| event["event"] == "ExchangeAnswered").unwrap();
    assert_eq!(event["resources"], json!([{"type": "Patient", "count": 1}]));
    assert!(event["fields"].as_array().unwrap().iter().all(|field| field["action"] == "redacted"), "{event:#}");
}

#[tokio::test]
async fn what_fhir_requires_is_redacted() {
    let bed = bed();
    for (kind, member, whole, want) in [
        (
            "Observation",
            "note",
            json!([{"time": "2015", "text": "Otto fell"}]),
            json!([{"time": "2015", "text": "[REDACTED]"}]),
        ),
        ("Composition", "title", json!("Otto"), json!("[REDACTED]")),
        (
            "Task",
            "input",
            json!([{"type": {"text": "x"}, "valueString": "Otto"}, {"type": {"text": "y"}, "valueBase64Binary": "T3R0bw=="}]),
            // Base64 as well.
            json!([{"type": {"text": "x"}, "valueString": "[REDACTED]"}, {"type": {"text": "y"}, "valueBase64Binary": "W1JFREFDVEVEXQ=="}]),
        ),
        (
            "Coverage",
            "class",
            json!([{"type": {"text": "x"}, "value": "Otto"}]),
            json!([{"type": {"text": "x"}, "value": "[REDACTED]"}]),
        ),
        // Nobody requires these.
        ("List", "title", json!("Otto"), Value::Null),
        ("Coverage", "dependent", json!("Otto"), Value::Null),
    ] {
        let mut body = json!({"resourceType": kind, "id": "1"});
        body[member] = whole;
        let read = seen(&bed, &format!("/fhir/{kind}/1"), ("application/fhir+json", &body.to_string())).await;
        let read: Value = serde_json::from_str(&read).unwrap();
        assert_eq!(read[member], want, "{kind}.{member}");
    }
    // What is called so elsewhere is no matter of FHIR.
    let read = seen(&bed, "/plain/1", ("application/json", r#"{"note":{"time":1,"text":"Otto"}}"#)).await;
    assert_eq!(read, r#"{"note":{"time":1}}"#);
}

/// A token in a URL is a part of a text, which stays.
#[tokio::test]
async fn what_a_search_looked_for_is_redacted_in_its_links() {
    let bed = bed();
    seen(
        &bed,
        "/fhir/Patient/1",
        ("application/fhir+json", r#"{"resourceType":"Patient","name":[{"family":"Chalmers"}]}"#),
    )
    .await;
    let kept: Value = serde_json::from_str(&bed.upstream.kept("/fhir/Patient/1")).unwrap();
    let token = kept["name"][0]["family"].as_str().unwrap();
    let url = |family: &str| format!("https://localhost/fhir/Patient?family={family}&_count=1");
    let bundle = |family: &str, resource: Value| {
        let link = json!([{"relation": "self", "url": url(family)}]);
        json!({"resourceType": "Bundle", "type": "searchset", "link": link, "entry": [{"resource": resource}]})
    };
    let body = bundle(token, kept.clone()).to_string();
    bed.upstream.always(200, &[("content-type", "application/fhir+json")], body);
    let read = bed.make("support", &Call::new("GET /fhir/Bundle/1")).await;
    assert_eq!(read.status, 200, "{}", read.text());
    let shown = read.json()["link"][0]["url"].as_str().unwrap().to_owned();
    assert!(!shown.contains("sgv1") && shown.contains("REDACTED"), "{shown}");
    assert_eq!(read.json()["entry"], json!([{"resource": {"resourceType": "Patient"}}]));
    let plain = bed.make("clinician", &Call::new("GET /fhir/Bundle/1")).await;
    assert_eq!(plain.json()["link"][0]["url"], url("Chalmers"));
}

#[tokio::test]
async fn parents_without_anything_left_go_too() {
    let bed = bed();
    for (body, want) in [
        (r#"{"ssn":"999-12-3456","name":[{"given":["Ann","Bea"]}],"a":1}"#, r#"{"a":1}"#),
        (r#"{"name":[{"given":["Ann"],"use":"official"}],"ssn":"999-12-3456"}"#, r#"{"name":[{"use":"official"}]}"#),
        (r#"{"ssn":"999-12-3456"}"#, "{}"),
        (r#"{"ssn":null,"name":[{"given":["","Ann"]}]}"#, r#"{"ssn":null,"name":[{"given":[""]}]}"#),
    ] {
        assert_eq!(seen(&bed, "/plain/1", ("application/json", body)).await, want, "{body}");
    }
}

/// However it is cut, and however long it is.
#[tokio::test]
async fn long_bodies_lose_the_same() {
    let bed = bed();
    let line =
        |number: usize| format!("{{\"ssn\":\"999-12-{number:04}\",\"n\":{number},\"name\":[{{\"given\":[\"Ann\"]}}]}}");
    let lines: Vec<String> = (0..300).map(line).collect();
    let read = seen(&bed, "/plain/2", ("application/x-ndjson", &lines.join("\n"))).await;
    let want: Vec<String> = (0..300).map(|number| format!("{{\"n\":{number}}}")).collect();
    assert_eq!(read, want.join("\n"));
    // One document is read whole first: whether anything is left tells its end alone.
    let pad = "x".repeat(10_000);
    let body = format!("{{\"name\":[{{\"given\":[\"Ann\"]}}],\"pad\":\"{pad}\",\"ssn\":\"999-12-3456\"}}");
    let read = seen(&bed, "/plain/3", ("application/json", &body)).await;
    assert_eq!(read, format!("{{\"pad\":\"{pad}\"}}"));
}

#[tokio::test]
async fn what_is_no_json_is_redacted_and_nobody_writes_back_what_is_left() {
    let bed = bed();
    let table = "id,ssn\r\n1,999-12-3456\r\n";
    assert_eq!(seen(&bed, "/plain/4", ("text/csv", table)).await, "id,ssn\r\n1,[REDACTED]\r\n");
    bed.upstream.always(200, &[("content-type", "application/json")], b"\"x\"".to_vec());
    assert_eq!(bed.make("support", &Call::new("GET /plain/5")).await.text(), "\"x\"");
    bed.upstream.take_all();
    // Who does not see all of it writes nothing.
    let back = Call::new("PUT /plain/1").json("{\"a\":1}");
    bed.refuses("support", &back, (403, "read_only")).await;
}
