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
  - {name: packed, path: '/packed/{type}/{id}', methods: [PATCH], upstream: app, packs: [fhir-r4]}
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

/// Its paths say where values go, and rules for the places of a document do not know them.
#[tokio::test]
async fn a_fhirpath_patch_goes_nowhere_if_no_rule_knows_its_paths() {
    const SERVER: &str = "  - name: base
    path: /fhir
    methods: [POST]
    upstream: app
    resources_allowed: [Bundle, Parameters]
    rules: [{fhir: Patient.name.family, class: name}]
";
    let bed = Bed::with(|setup| {
        let classes = "\nclasses:\n  taxid: {suite: deterministic}\n  mrn: {suite: deterministic}\n  surname: {suite: deterministic}\n";
        let limits = "  limits: {buffer_bytes_max: 2048}\n";
        with_file_store(
            setup
                .replace("  limits: {}\n", limits)
                .replace("\nclasses:\n", classes)
                .replace("\nroutes:\n", &format!("{ROUTES}{SERVER}")),
        )
    });
    bed.upstream.always(200, &[], "");
    let operation = r#"{"name":"operation","part":[{"name":"type","valueCode":"replace"},{"name":"path","valueString":"Patient.name[0].family"},{"name":"value","valueString":"Windsor"}]}"#;
    let patch = |kind: &str| format!(r#"{{{kind},"parameter":[{operation}]}}"#);
    let good = patch(r#""resourceType":"Parameters""#);
    let any = [
        good.clone(),
        patch(r#""resource\u0054ype":"Paramet\u0065rs""#),
        patch(r#""resourceType":"Patient","resourceType":"Parameters""#),
        patch(r#""resourceType":"Parameters","resourceType":"Patient""#),
        patch(r#""ResourceType":"parameters ""#),
        format!("\u{feff} {good}"),
        // However long it is.
        patch(&format!(r#""x":"{}","resourceType":"Parameters""#, "x".repeat(8 << 10))),
    ];
    for media_type in ["application/fhir+json", "application/json", "application/merge-patch+json"] {
        for body in &any {
            let call = Call::new("PATCH /plain/1").of_type(media_type, body.clone());
            bed.refuses("clinician", &call, (422, "patch_needs_context")).await;
        }
        // Where rules do, it is one in the type of FHIR alone, and only if everybody reads it as one.
        for body in if media_type == "application/fhir+json" { &any[2..5] } else { &any[..6] } {
            let call = Call::new("PATCH /fhir/Patient/1").of_type(media_type, body.clone());
            bed.refuses("clinician", &call, (400, "body_invalid")).await;
        }
    }
    // Nor in an entry of a transaction, where Parameters are allowed.
    let bundle = format!(
        r#"{{"resourceType":"Bundle","type":"transaction","entry":[{{"resource":{good},"request":{{"method":"PATCH","url":"Patient/1"}}}}]}}"#
    );
    let call = Call::new("POST /fhir").of_type("application/fhir+json", bundle);
    bed.refuses("clinician", &call, (422, "value_refused")).await;
    let others = r#"{"resourceType":"Parameters","parameter":[{"name":"mode","valueCode":"full"}]}"#;
    let sent = bed.make("clinician", &Call::new("POST /fhir").of_type("application/fhir+json", others)).await;
    assert_eq!((sent.status.as_u16(), bed.upstream.take_only().text().as_str()), (200, others), "{}", sent.text());
    // A resource is merged where rules name places, if it is no such patch.
    let merged =
        Call::new("PATCH /plain/1").of_type("application/fhir+json", r#"{"resourceType":"Patient","ssn":"1"}"#);
    assert_eq!(bed.make("clinician", &merged).await.status, 200);
    assert!(is_token(&bed.upstream.take_only().json()["ssn"]));
}

#[tokio::test]
async fn values_of_a_fhirpath_patch_are_sealed_by_the_rule_of_their_path() {
    let bed = patched();
    bed.upstream.always(200, &[], "");
    let operation = |verb: &str, path: &str, rest: &[Value]| {
        let head = [json!({"name": "type", "valueCode": verb}), json!({"name": "path", "valueString": path})];
        let parts = [&head[..], rest].concat();
        json!({"name": "operation", "part": parts})
    };
    let value = |key: &str, value: Value| json!({"name": "value", key: value});
    let patch = |operations: &[Value]| {
        let body = json!({"resourceType": "Parameters", "parameter": operations});
        Call::new("PATCH /fhir/Patient/1").of_type("application/fhir+json", body.to_string())
    };
    let telecom = json!({"system": "phone", "value": "555-0100"});
    let operations = [
        operation("replace", "Patient.name[0].family", &[value("valueString", json!("Windsor"))]),
        operation(
            "add",
            "Patient",
            &[json!({"name": "name", "valueString": "telecom"}), value("valueContactPoint", telecom)],
        ),
        operation(
            "add",
            "Patient",
            &[json!({"name": "name", "valueString": "birthDate"}), value("valueDate", json!("1974-12-25"))],
        ),
        operation("delete", "Patient.photo[0]", &[]),
        operation("replace", "Patient.active", &[value("valueBoolean", json!(false))]),
    ];
    let sent = bed.make("clinician", &patch(&operations)).await;
    assert_eq!(sent.status, 200, "{}", sent.text());
    let got = bed.upstream.take_only().json();
    let part = |operation: usize, part: usize| &got["parameter"][operation]["part"][part];
    assert!(is_token(&part(0, 2)["valueString"]), "{got}");
    assert!(is_token(&part(1, 3)["valueContactPoint"]["value"]), "{got}");
    // A date has no token in its place: the element that is added holds an extension alone.
    assert_eq!(part(2, 3).get("valueDate"), None, "{got}");
    assert_eq!(part(2, 3)["_valueDate"]["extension"][0]["url"], "urn:sealgate:sealed");
    assert!(is_token(&part(2, 3)["_valueDate"]["extension"][0]["valueString"]), "{got}");
    assert_eq!((&got["parameter"][3], &got["parameter"][4]), (&operations[3], &operations[4]));
    for (operation, refusal) in [
        (
            operation("replace", "Patient.telecom.where(value='555-0100').use", &[value("valueCode", json!("old"))]),
            (422, "patch_needs_context"),
        ),
        (
            operation("replace", "Patient.name[0].period", &[value("valueHumanName", json!({"family": "Windsor"}))]),
            (422, "patch_needs_context"),
        ),
        // A server may replace the date alone, and leave the extension with the old one.
        (
            operation("replace", "Patient.birthDate", &[value("valueDate", json!("1974-12-25"))]),
            (422, "patch_needs_context"),
        ),
        (
            operation("replace", "Patient.identifier[0].value", &[value("valueString", json!("12345"))]),
            (422, "patch_needs_context"),
        ),
        (operation("replace", "Patient.name[0].family", &[]), (400, "body_invalid")),
        (operation("replace", "Person.active", &[value("valueString", json!("x"))]), (400, "body_invalid")),
    ] {
        bed.refuses("clinician", &patch(&[operation]), refusal).await;
    }
    let family = operation("replace", "Patient.name[0].family", &[value("valueString", json!("Windsor"))]);
    bed.refuses("desk", &patch(&[family]), (422, "field_not_writable")).await;
    // What is no Parameters is merged, as it would be by any other name.
    let merged = Call::new("PATCH /fhir/Patient/1");
    let merged = merged.of_type("application/fhir+json", r#"{"resourceType":"Patient","name":[{"family":"Windsor"}]}"#);
    assert_eq!(bed.make("clinician", &merged).await.status, 200);
    assert!(is_token(&bed.upstream.take_only().json()["name"][0]["family"]));
}

#[tokio::test]
async fn a_fhirpath_patch_is_sealed_by_the_rules_of_the_pack() {
    let bed = patched();
    bed.upstream.always(200, &[], "");
    let send = |kind: &str, operation: &str| {
        let body =
            format!(r#"{{"resourceType":"Parameters","parameter":[{{"name":"operation","part":[{operation}]}}]}}"#);
        Call::new(&format!("PATCH /packed/{kind}/1")).of_type("application/fhir+json", body)
    };
    let replace = |path: &str, value: &str| {
        let path = format!(r#"{{"name":"path","valueString":"{path}"}}"#);
        format!(r#"{{"name":"type","valueCode":"replace"}},{path},{{"name":"value",{value}}}"#)
    };
    for (kind, path, value, secrets) in [
        ("Patient", "Patient.name[0].family", r#""valueString":"Windsor""#, &["Windsor"][..]),
        ("Patient", "Patient.name[1].given[0]", r#""valueString":"Otto""#, &["Otto"]),
        (
            "Patient",
            "Patient.name[0]",
            r#""valueHumanName":{"family":"Windsor","given":["Otto"]}"#,
            &["Windsor", "Otto"],
        ),
        ("Patient", "Patient.contact[0].name", r#""valueHumanName":{"family":"Windsor"}"#, &["Windsor"]),
        ("Patient", "Patient.address[0]", r#""valueAddress":{"line":["Mill Lane 3"],"city":"Ely"}"#, &["Mill", "Ely"]),
        (
            "Patient",
            "Patient.identifier[0]",
            r#""valueIdentifier":{"system":"http://hl7.org/fhir/sid/us-ssn","value":"123-45-6789"}"#,
            &["123-45"],
        ),
        ("Patient", "Patient.active", r#""valueBoolean":true"#, &[]),
        ("Observation", "Observation.value", r#""valueString":"told by Otto""#, &["Otto"]),
        ("Observation", "Observation.subject", r#""valueReference":{"display":"Otto Windsor"}"#, &["Otto"]),
    ] {
        let sent = bed.make("clinician", &send(kind, &replace(path, value))).await;
        assert_eq!(sent.status, 200, "{path}: {}", sent.text());
        let got = bed.upstream.take_only().text();
        assert!(secrets.iter().all(|secret| !got.contains(secret)), "{path}: {got}");
        assert!(secrets.is_empty() || got.contains("sgv1."), "{path}: {got}");
        assert!(got.contains(path), "{got}");
    }
    // Servers may leave the sealed value where they delete the date.
    let delete =
        |path: &str| format!(r#"{{"name":"type","valueCode":"delete"}},{{"name":"path","valueString":"{path}"}}"#);
    for path in ["Patient.birthDate", "Patient.birthDate.extension[0]", "Patient.deceased"] {
        bed.refuses("clinician", &send("Patient", &delete(path)), (422, "patch_needs_context")).await;
    }
    for path in ["Patient.name[0]", "Patient.telecom[1].value", "Patient.photo"] {
        assert_eq!(bed.make("clinician", &send("Patient", &delete(path))).await.status, 200, "{path}");
        bed.upstream.take_only();
    }
    for (kind, path, value) in [
        ("Patient", "Patient.name[0].period", r#""valueHumanName":{"family":"Windsor"}"#),
        ("Patient", "Patient.birthDate", r#""valueDate":"1999-05-06""#),
        ("Patient", "Patient.deceased", r#""valueDate":"1999-05-06""#),
        ("Patient", "Patient.name", r#""valueString":"Windsor""#),
        ("Patient", "Patient.identifier[0].value", r#""valueString":"123-45-6789""#),
        ("Patient", "Patient.name.where(family='Windsor').use", r#""valueCode":"old""#),
        ("Patient", "Patient.DomainResource.name[0]", r#""valueHumanName":{"family":"Windsor"}"#),
        ("Patient", "Patient.contact[0].BackboneElement.name", r#""valueHumanName":{"family":"Windsor"}"#),
        ("Patient", "Patient.contact.where(name.use='usual')", r#""valueHumanName":{"family":"Windsor"}"#),
        ("Coverage", "Coverage.DomainResource.subscriberId", r#""valueString":"Windsor""#),
    ] {
        bed.refuses("clinician", &send(kind, &replace(path, value)), (422, "patch_needs_context")).await;
    }
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

fn base64(text: &str) -> String {
    data_encoding::BASE64.encode(text.as_bytes())
}

/// A transaction with one patch, of that type.
fn transaction(content_type: &str, url: &str, data: &str) -> Value {
    let binary = json!({"resourceType": "Binary", "contentType": content_type, "data": data});
    json!({"resourceType": "Bundle", "type": "transaction",
        "entry": [{"resource": binary, "request": {"method": "PATCH", "url": url}}]})
}

#[tokio::test]
async fn patches_in_a_transaction_are_sealed_as_patches() {
    let bed = Bed::with(|setup| {
        let routes = "\nroutes:\n  - {name: base, path: /fhir, methods: [POST], upstream: app, packs: [fhir-r4]}\n  - {name: types, path: '/fhir/{type}', methods: [POST], upstream: app, packs: [fhir-r4]}\n  - {name: kept, path: '/fhir/{type}/{id}', methods: [GET, PUT], upstream: app, packs: [fhir-r4]}\n";
        with_file_store(setup.replace("\nroutes:\n", routes))
            .replace("  ssn: {mask: {keep_last: 4}}\n  name: {mask: {keep_first: 1}}\n", "")
    });
    bed.upstream.always(200, &[], "");
    let post = |body: &Value| Call::new("POST /fhir").of_type("application/fhir+json", body.to_string());
    const PATCH: &str = "application/json-patch+json";
    let operations = r#"[{"op":"replace","path":"/name/0/family","value":"Windsor"}, {"op":"replace","path":"/active","value":true}]"#;
    let wrote = bed.make("clinician", &post(&transaction(PATCH, "Patient/1", &base64(operations)))).await;
    assert_eq!(wrote.status, 200, "{}", wrote.text());
    let sent = bed.upstream.take_only().json();
    let data = sent["entry"][0]["resource"]["data"].as_str().unwrap();
    let patch = String::from_utf8(data_encoding::BASE64.decode(data.as_bytes()).unwrap()).unwrap();
    let sealed: Value = serde_json::from_str(&patch).unwrap();
    assert!(is_token(&sealed[0]["value"]), "{patch}");
    let token = sealed[0]["value"].as_str().unwrap();
    assert_eq!(patch.replace(token, "Windsor"), operations, "all else stays");
    // Nothing that these change is protected.
    let sample = include_str!("../../data/fhir/requests/bundle_transaction_patch_authorized.json");
    let wrote = bed.make("clinician", &Call::new("POST /fhir").of_type("application/fhir+json", sample)).await;
    assert_eq!((wrote.status.as_u16(), bed.upstream.take_only().text()), (200, sample.to_owned()), "{}", wrote.text());
    for (url, patch, refusal) in [
        ("Patient/1", r#"[{"op":"replace","path":"/birthDate","value":"1974-12-25"}]"#, (422, "patch_needs_context")),
        ("Patient/1", r#"[{"op":"move","from":"/name","path":"/active"}]"#, (422, "patch_needs_context")),
        ("Patient/1", r#"[{"op":"replace","path":"/name/0/family"}]"#, (400, "body_invalid")),
        ("Patient/1", "{}", (400, "body_invalid")),
        ("Thing/1", r#"[{"op":"replace","path":"/name/0/family","value":"Windsor"}]"#, (422, "patch_needs_context")),
    ] {
        bed.refuses("clinician", &post(&transaction(PATCH, url, &base64(patch))), refusal).await;
    }
    // A transaction that is kept is not carried out, and comes back as it was.
    bed.upstream.script(|_| None);
    let kept = transaction(PATCH, "Patient/1", &base64(operations));
    for call in ["POST /fhir/Bundle", "POST /fhir/Bundle/", "PUT /fhir/Bundle/1"] {
        let wrote = bed.make("clinician", &Call::new(call).of_type("application/fhir+json", kept.to_string())).await;
        for sent in bed.upstream.take_all() {
            assert!(
                wrote.status.is_success() && wrote.json() == kept && !sent.text().contains(&base64(operations)),
                "{call}"
            );
        }
        assert!(wrote.status.is_success() || call.ends_with('/'), "{call}: {}", wrote.text());
    }
    let read = bed.make("clinician", &Call::new("GET /fhir/Bundle/1")).await;
    assert_eq!(read.json(), kept);
    bed.upstream.take_all();
    bed.upstream.always(200, &[], "");
    // What is no patch, or may be read as none, is an attachment.
    for (content_type, data) in [
        ("application/pdf", base64(operations)),
        ("text/json-patch", base64(operations)),
        (PATCH, base64(operations).replace('=', "") + " "),
    ] {
        let wrote = bed.make("clinician", &post(&transaction(content_type, "Patient/1", &data))).await;
        if wrote.status != 200 {
            wrote.expect_problem(422, "value_format_mismatch");
            bed.upstream.expect_nothing();
            continue;
        }
        let sent = bed.upstream.take_only().json();
        let data = sent["entry"][0]["resource"]["data"].as_str().unwrap();
        assert!(data_encoding::BASE64.decode(data.as_bytes()).unwrap().starts_with(b"sgv1."), "{content_type}: {data}");
    }
}
