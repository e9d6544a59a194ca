//! Values that stand where a rule that looks for their usual place would not find them: nothing of them goes on in the
//! clear, and nothing is lost.

use crate::fixture::keys::with_file_store;
use crate::fixture::{Bed, Call};
use serde_json::{Value, json};

const PACKED: &str = "
routes:
  - name: fhir
    path: /fhir/{type}/{id}
    methods: [GET, PUT, POST, PATCH, DELETE]
    upstream: app
    packs: [fhir-r4]
  - name: types
    path: /fhir/{type}
    methods: [GET, PUT, POST, PATCH, DELETE]
    upstream: app
    packs: [fhir-r4]
";

const SECRET: &str = "123-45-6789";

fn packed() -> Bed {
    Bed::with(|setup| {
        let setup = with_file_store(setup);
        setup
            .replace("\nroutes:\n", PACKED)
            .replace("  ssn: {mask: {keep_last: 4}}\n  name: {mask: {keep_first: 1}}\n", "")
            .replace("  limits: {}\n", "  limits: {body_bytes_max: 8388608, response_bytes_max: 33554432}\n")
    })
}

/// Which of the calls reach the upstream with the secret in them.
async fn leaks(bed: &Bed, calls: impl IntoIterator<Item = Call>) -> Vec<String> {
    let mut leaks = Vec::new();
    for call in calls {
        let status = bed.make("clinician", &call).await.status;
        for got in bed.upstream.take_all() {
            let headers = got.headers.values().any(|value| String::from_utf8_lossy(value.as_bytes()).contains(SECRET));
            if headers || got.target.contains(SECRET) || got.text().contains(SECRET) {
                leaks.push(format!("{status} {call}"));
            }
        }
    }
    leaks
}

fn fhir(body: &Value) -> Call {
    Call::new("PUT /fhir/Any/1").of_type("application/fhir+json", body.to_string())
}

fn fhir_xml(body: &str) -> Call {
    Call::new("PUT /fhir/Any/1").of_type("application/fhir+xml", body.replace("SECRET", SECRET))
}

fn expect_none(leaks: &[String]) {
    assert!(leaks.is_empty(), "in the clear: {leaks:#?}");
}

#[tokio::test]
async fn modifiers_of_allowed_parameters_carry_no_values() {
    let bed = packed();
    bed.upstream.always(200, &[("content-type", "application/fhir+json")], r#"{"resourceType":"Bundle"}"#);
    let queries = [
        "patient:identifier=http://hl7.org/fhir/sid/us-ssn|123-45-6789",
        "subject:identifier=123-45-6789",
        "patient=Patient?identifier=123-45-6789",
        "_typeFilter=Patient%3Fidentifier%3D123-45-6789",
        "identifier:x.code=123-45-6789",
        "code:text=123-45-6789",
    ];
    let calls = queries.map(|query| Call::new(&format!("GET /fhir/Observation?{query}")));
    let url = json!({"resourceType": "Bundle", "entry": [{"request": {"method": "GET", "url": "Observation?patient:identifier=123-45-6789"}}]});
    expect_none(&leaks(&bed, calls.into_iter().chain([fhir(&url)])).await);
}

#[tokio::test]
async fn a_json_patch_under_another_name_is_none() {
    let bed = Bed::with(|setup| {
        let routes = "\nroutes:\n  - {name: plain, path: '/plain/{id}', methods: [PATCH], upstream: app, rules: [{path: $.ssn, class: ssn}]}\n";
        setup.replace("\nroutes:\n", routes)
    });
    bed.upstream.always(200, &[], "");
    let operations = json!([{"op": "replace", "path": "/ssn", "value": SECRET}]).to_string();
    let calls = ["application/json", "application/merge-patch+json", "application/vnd.x+json"]
        .map(|kind| Call::new("PATCH /plain/1").of_type(kind, &operations));
    expect_none(&leaks(&bed, calls).await);
}

#[tokio::test]
async fn a_fhirpath_patch_in_a_transaction_is_refused() {
    let bed = packed();
    let parameters = json!({"resourceType": "Parameters", "parameter": [{"name": "operation", "part": [
        {"name": "type", "valueCode": "replace"}, {"name": "path", "valueString": "Patient.name.family"},
        {"name": "value", "valueString": "Windsor"}]}]});
    let bundle = json!({"resourceType": "Bundle", "type": "transaction",
        "entry": [{"request": {"method": "PATCH", "url": "Patient/1"}, "resource": parameters}]});
    let wrote = bed
        .make("clinician", &Call::new("POST /fhir/Bundle").of_type("application/fhir+json", bundle.to_string()))
        .await;
    wrote.expect_problem(422, "value_refused");
    bed.upstream.expect_nothing();
}

#[tokio::test]
async fn a_patch_of_what_is_beside_a_sealed_primitive_keeps_it() {
    let bed = packed();
    bed.upstream.always(200, &[], "");
    let beside = json!({"extension": [{"url": "urn:precision", "valueCode": "day"}]});
    let merge = json!({"_birthDate": beside}).to_string();
    let operations = |operations: Value| ("application/json-patch+json", operations.to_string());
    let mut lost = Vec::new();
    for (kind, body) in [
        ("application/merge-patch+json", merge),
        operations(json!([{"op": "add", "path": "/_birthDate", "value": beside}])),
        operations(json!([{"op": "replace", "path": "/_birthDate/extension", "value": []}])),
        operations(json!([{"op": "remove", "path": "/_birthDate/extension/0"}])),
    ] {
        let sent = bed.make("clinician", &Call::new("PATCH /fhir/Patient/1").of_type(kind, &body)).await;
        if sent.status.is_success() {
            lost.push(body);
        }
    }
    assert!(lost.is_empty(), "the birth date is gone after: {lost:#?}");
}

#[tokio::test]
async fn an_element_of_another_namespace_is_not_taken_for_nothing() {
    let bed = packed();
    let calls = [
        "<Patient xmlns=\"http://hl7.org/fhir\"><name xmlns=\"urn:x\"><family value=\"SECRET\"/></name></Patient>",
        "<Patient xmlns=\"http://hl7.org/fhir\" xmlns:x=\"urn:x\"><x:identifier><x:value value=\"SECRET\"/></x:identifier></Patient>",
    ];
    expect_none(&leaks(&bed, calls.map(fhir_xml)).await);
}

#[tokio::test]
async fn a_narrative_in_xml_shows_nothing_in_its_start_tag() {
    let bed = packed();
    let call = "<Patient xmlns=\"http://hl7.org/fhir\"><text><div xmlns=\"http://www.w3.org/1999/xhtml\" title=\"SECRET\">x</div></text></Patient>";
    expect_none(&leaks(&bed, [fhir_xml(call)]).await);
}

#[tokio::test]
async fn names_are_alike_as_go_has_it() {
    let bed = Bed::start();
    let bodies = ["{\"\u{17f}sn\":\"123-45-6789\"}", r#"{"\u017fsn":"123-45-6789"}"#];
    expect_none(&leaks(&bed, bodies.map(|body| Call::new("PUT /Patient/1").json(body))).await);
}

#[tokio::test]
async fn a_header_that_holds_a_resource_goes_nowhere() {
    let bed = packed();
    let provenance =
        json!({"resourceType": "Provenance", "contained": [{"resourceType": "Patient", "name": [{"family": SECRET}]}]});
    let call = Call::new("POST /fhir/Patient").header("x-provenance", &provenance.to_string());
    let call = call.of_type("application/fhir+json", r#"{"resourceType":"Patient"}"#);
    expect_none(&leaks(&bed, [call]).await);
}

#[tokio::test]
async fn what_stands_for_a_resource_is_one() {
    let bed = packed();
    let name = json!([{"family": SECRET}]);
    let bodies = [
        json!({"resourceType": "Bundle", "entry": [{"resource": {"name": name}}]}),
        json!({"resourceType": "Patient", "contained": [{"name": name}]}),
    ];
    expect_none(&leaks(&bed, bodies.iter().map(fhir)).await);
}

#[tokio::test]
async fn places_that_the_pack_does_not_reach() {
    let bed = packed();
    let path = format!("Patient.identifier.where(value='{SECRET}')");
    let translation = json!({"extension": [{"url": "http://hl7.org/fhir/StructureDefinition/translation",
        "extension": [{"url": "content", "valueString": SECRET}]}]});
    let bodies = [
        json!({"resourceType": "Patient", "name": [{"_family": translation}]}),
        json!({"resourceType": "Patient", "name": [{"_given": [{"extension": [{"url": "urn:x", "valueString": SECRET}]}]}]}),
        json!({"resourceType": "Patient", "_birthDate": SECRET}),
        json!({"resourceType": "Parameters", "parameter": [{"name": "operation", "part": [{"name": "path", "valueString": path}]}]}),
        json!({"resourceType": "Parameters", "parameter": [{"name": "operation", "part": [{"name": "value", "valueId": SECRET}]}]}),
        json!({"resourceType": "Bundle", "entry": [{"fullUrl": format!("Patient?identifier={SECRET}")}]}),
        json!({"resourceType": "Bundle", "entry": [{"link": [{"url": format!("Patient?identifier={SECRET}")}]}]}),
    ];
    let text = "<Patient xmlns=\"http://hl7.org/fhir\"><name><family>SECRET</family></name></Patient>";
    let search = ["identifier=123-45-6789", "identifier=|123-45-6789"];
    let search = search.map(|query| Call::new(&format!("GET /fhir/Practitioner?{query}")));
    expect_none(&leaks(&bed, bodies.iter().map(fhir).chain([fhir_xml(text)]).chain(search)).await);
}

#[tokio::test]
async fn a_value_that_is_carried_twice_comes_back_once() {
    let bed = packed();
    bed.make("clinician", &fhir(&json!({"resourceType": "Patient", "birthDate": "1974-12-25"}))).await;
    let entry = bed.upstream.take_only().json()["_birthDate"]["extension"][0].clone();
    let twice = json!({"resourceType": "Patient", "_birthDate": {"extension": [entry, entry]}});
    bed.refuses("dba", &fhir(&twice), (422, "token_not_accepted")).await;
    bed.upstream.keep_as("application/fhir+json", "/fhir/Any/1", twice.to_string());
    let read = bed.make("clinician", &Call::new("GET /fhir/Any/1")).await;
    read.expect_problem(502, "response_unopenable");
    bed.upstream.take_all();
}

#[tokio::test]
async fn a_patch_puts_no_resource_together_that_the_rules_would_not_know() {
    let bed = packed();
    bed.upstream.always(200, &[], "");
    let name = json!([{"family": SECRET}]);
    let patches = [
        ("Bundle", json!([{"op": "add", "path": "/entry/0/resource", "value": {"name": name}}])),
        ("Bundle", json!([{"op": "add", "path": "/entry/-", "value": {"resource": {"name": name}}}])),
        ("Bundle", json!([{"op": "add", "path": "/entry", "value": [{"resource": {"name": name}}]}])),
        ("Bundle", json!([{"op": "add", "path": "/entry/0/resource/name", "value": name}])),
        ("Bundle", json!([{"op": "add", "path": "/entry/0/resource/name/0/family", "value": SECRET}])),
        ("Patient", json!([{"op": "add", "path": "/contained/-", "value": {"name": name}}])),
        ("Patient", json!([{"op": "add", "path": "/contained/0/name", "value": name}])),
        ("Patient", json!([{"op": "add", "path": "", "value": {"name": name}}])),
        (
            "Patient",
            json!([{"op": "replace", "path": "/resourceType", "value": "Medication"}, {"op": "add", "path": "/name", "value": name}]),
        ),
        (
            "Medication",
            json!([{"op": "add", "path": "/name", "value": name}, {"op": "replace", "path": "/resourceType", "value": "Patient"}]),
        ),
        ("Parameters", json!([{"op": "add", "path": "/parameter/0/resource", "value": {"name": name}}])),
    ];
    let calls = patches.iter().map(|(kind, patch)| {
        Call::new(&format!("PATCH /fhir/{kind}/1")).of_type("application/json-patch+json", patch.to_string())
    });
    let merges = [
        ("Bundle", json!({"entry": [{"resource": {"name": name}}]})),
        ("Patient", json!({"contained": [{"name": name}]})),
        ("Medication", json!({"name": name, "resourceType": "Patient"})),
    ];
    let merges = merges.iter().map(|(kind, patch)| {
        Call::new(&format!("PATCH /fhir/{kind}/1")).of_type("application/merge-patch+json", patch.to_string())
    });
    expect_none(&leaks(&bed, calls.chain(merges)).await);
}

#[tokio::test]
async fn an_id_that_looks_like_a_type_is_none() {
    let bed = packed();
    bed.upstream.always(200, &[], "");
    let (name, merged) =
        (json!([{"op": "add", "path": "/name", "value": [{"family": SECRET}]}]), json!({"name": [{"family": SECRET}]}));
    let paths =
        ["Patient/Medication", "patient/Medication", "PATIENT/Medication", "Thing/Medication", "Patient%20/Medication"];
    let calls = paths.iter().flat_map(|path| {
        let patch =
            |kind: &str, body: &Value| Call::new(&format!("PATCH /fhir/{path}")).of_type(kind, body.to_string());
        [patch("application/json-patch+json", &name), patch("application/merge-patch+json", &merged)]
    });
    expect_none(&leaks(&bed, calls).await);
}

#[tokio::test]
async fn a_patch_inside_that_may_be_read_otherwise_is_an_attachment() {
    let bed = Bed::with(|setup| {
        let routes = "
routes:
  - {name: base, path: /fhir, methods: [POST], upstream: app, packs: [fhir-r4]}
  - {name: plain, path: /plain, methods: [POST], upstream: app, rules: [{path: $..data, class: note}]}
";
        with_file_store(setup.replace("\nroutes:\n", routes))
            .replace("  ssn: {mask: {keep_last: 4}}\n  name: {mask: {keep_first: 1}}\n", "")
    });
    bed.upstream.always(200, &[], "");
    let patch = format!(r#"[{{"op":"add","path":"/name","value":[{{"family":"{SECRET}"}}]}}]"#);
    let data = data_encoding::BASE64.encode(patch.as_bytes());
    let entry = |request: &str| {
        format!(
            r#"{{"resourceType":"Bundle","type":"transaction","entry":[{{"resource":{{"resourceType":"Binary","contentType":"application/json-patch+json","data":"{data}"}},"request":{{"method":"PATCH",{request}}}}}]}}"#
        )
    };
    for request in [
        r#""url":"%50atient/1""#,
        r#""url":"Patient;x/1""#,
        r#""url":"Medication/../Patient/1""#,
        r#""url":"Medication/1","ur\u006c":"Patient/1""#,
        r#""url":"Medication/1","URL":"Patient/1""#,
    ] {
        for path in ["/fhir", "/plain"] {
            let call = Call::new(&format!("POST {path}")).of_type("application/fhir+json", entry(request));
            bed.make("clinician", &call).await;
            for sent in bed.upstream.take_all() {
                assert!(!sent.text().contains(&data), "{path} {request}: {}", sent.text());
            }
        }
    }
    let plain = Call::new("POST /plain").json(entry(r#""url":"Medication/1""#));
    bed.refuses("billing", &plain, (422, "field_not_writable")).await;
}

#[tokio::test]
async fn bytes_in_an_extension_are_sealed_as_attachments() {
    let bed = packed();
    let data = data_encoding::BASE64.encode(SECRET.as_bytes());
    for (body, at) in [
        (
            json!({"resourceType": "Patient", "extension": [{"url": "urn:x", "valueBase64Binary": data}]}),
            "/extension/0/valueBase64Binary",
        ),
        (
            json!({"resourceType": "Patient", "_gender": {"extension": [{"url": "urn:x", "valueBase64Binary": data}]}}),
            "/_gender/extension/0/valueBase64Binary",
        ),
    ] {
        assert_eq!(bed.make("clinician", &fhir(&body)).await.json(), body);
        let kept = bed.upstream.take_only().json();
        let kept = data_encoding::BASE64.decode(kept.pointer(at).unwrap().as_str().unwrap().as_bytes()).unwrap();
        assert!(kept.starts_with(b"sgv1."), "{at}: {}", kept.escape_ascii());
    }
}
