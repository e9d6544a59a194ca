//! A bulk export: asked for, told of by a manifest, fetched line by line.

use crate::fixture::keys::with_file_store;
use crate::fixture::leak::find_leaks;
use crate::fixture::{Bed, Call};
use futures_util::stream;
use http::Method;
use http_body_util::BodyExt;
use serde_json::{Value, json};

const ROUTES: &str = "
routes:
  - name: export
    path: /fhir/Group/{id}/$export
    methods: [GET]
    upstream: app
    packs: [fhir-r4]
  - name: status
    path: /export/{id}
    methods: [GET, DELETE]
    upstream: app
    rules: [{path: '$.request', class: note}, {path: '$.error[*].url', pass: true}]
  - name: files
    path: /files/{name}
    methods: [GET, PUT]
    upstream: app
    packs: [fhir-r4]
";

fn bed() -> Bed {
    let limits = "  limits: {buffer_bytes_max: 65536, body_bytes_max: 67108864, response_bytes_max: 134217728}\n";
    Bed::with(|setup| {
        with_file_store(setup)
            .replace("\nroutes:\n", ROUTES)
            .replace("  ssn: {mask: {keep_last: 4}}\n  name: {mask: {keep_first: 1}}\n", "")
            .replace("  limits: {}\n", limits)
            .replace("\nroles:\n", "\nroles:\n  clerk: {default_view: redact, views: {name: mask, ssn: mask}}\n")
            .replace("\nprincipals:\n", "\nprincipals:\n  - {spiffe: spiffe://test.example/clerk, roles: [clerk]}\n")
    })
}

const PATH: &str = "/files/Patient.ndjson";
const LINES: &str = "application/fhir+ndjson";

fn patient(number: usize, padding: usize) -> String {
    format!(
        "{{\"resourceType\":\"Patient\",\"id\":\"{number}\",\"implicitRules\":\"urn:{}\",\"name\":[{{\"family\":\"Zwetschgenmus-{number:05}\"}}],\
         \"identifier\":[{{\"system\":\"http://hl7.org/fhir/sid/us-ssn\",\"value\":\"941-88-{number:04}\"}}],\"gender\":\"male\"}}",
        "x".repeat(padding)
    )
}

/// Has them sealed, and gives what the upstream has.
async fn sealed(bed: &Bed, lines: &str) -> String {
    let wrote = bed.make("clinician", &Call::new(&format!("PUT {PATH}")).of_type(LINES, lines)).await;
    assert_eq!(wrote.status, 200, "{}", wrote.text());
    assert!(wrote.text() == lines, "the answer is another text");
    let kept = bed.upstream.take_only().text();
    assert_eq!(find_leaks(kept.as_bytes(), &[("name".to_owned(), "Zwetschgenmus".to_owned())]), Vec::<String>::new());
    kept
}

/// How many values of a class the last end of a body on record says were dealt with so.
fn counted(event: &Value, class: &str, action: &str) -> u64 {
    let counts = event["fields"].as_array().unwrap().iter();
    let of = counts.filter(|count| count["class"] == class && count["action"] == action);
    of.map(|count| count["count"].as_u64().unwrap()).sum()
}

#[tokio::test]
async fn an_export_is_asked_for_and_told_of_without_a_body_or_by_a_manifest() {
    let bed = bed();
    let at = "https://localhost/export/17";
    bed.upstream.always(202, &[("content-location", at), ("retry-after", "120")], "");
    let call = Call::new(
        "GET /fhir/Group/1/$export?_outputFormat=application/fhir%2Bndjson&_type=Patient&_since=2026-01-01T00:00:00Z",
    );
    let asked = bed.make("clinician", &call.header("prefer", "respond-async")).await;
    assert_eq!((asked.status.as_u16(), asked.text().as_str()), (202, ""));
    // It is that of the upstream, which was told by which name the gate is known.
    assert_eq!((asked.header("content-location"), asked.header("retry-after")), (Some(at), Some("120")));
    let received = bed.upstream.take_only();
    assert_eq!(received.headers["prefer"], "respond-async");
    assert!(received.headers["x-forwarded-host"].to_str().unwrap().starts_with("localhost:"));
    for query in ["_typeFilter=Patient%3Fname%3DZwetschgenmus", "patient=Patient?name=Zwetschgenmus", "_foo=1"] {
        let call = Call::new(&format!("GET /fhir/Group/1/$export?{query}"));
        let refused = bed.make("clinician", &call).await;
        assert_eq!(refused.status, 400, "{query}: {}", refused.text());
        bed.upstream.expect_nothing();
    }
    bed.upstream.always(202, &[("x-progress", "42%"), ("retry-after", "9")], "");
    let waiting = bed.make("clinician", &Call::new("GET /export/17")).await;
    assert_eq!((waiting.status.as_u16(), waiting.header("x-progress")), (202, Some("42%")));
    let manifest = json!({"transactionTime": "2026-01-01T00:00:00Z", "requiresAccessToken": true, "error": [],
        "output": [{"type": "Patient", "url": "https://localhost/files/Patient.ndjson", "count": 3}]});
    bed.upstream.always(200, &[("content-type", "application/json")], manifest.to_string());
    for who in ["clinician", "support", "dba"] {
        assert_eq!(bed.make(who, &Call::new("GET /export/17")).await.json(), manifest, "{who}");
    }
    // What says what was asked for says it in the clear.
    let mut telling = manifest.clone();
    telling["request"] = json!("https://localhost/fhir/Group/1/$export?_typeFilter=Patient?name=Zwetschgenmus");
    bed.upstream.always(200, &[("content-type", "application/json")], telling.to_string());
    bed.make("clinician", &Call::new("GET /export/17")).await.expect_problem(502, "response_unsealed");
    // A manifest is no resource.
    bed.upstream.always(200, &[("content-type", "application/json")], manifest.to_string());
    let misplaced = bed.make("clinician", &Call::new(&format!("GET {PATH}"))).await;
    misplaced.expect_problem(502, "response_not_understood");
}

#[tokio::test]
async fn lines_of_an_export_are_shown_in_the_view_of_the_caller() {
    let bed = bed();
    // Some are longer than a megabyte, one is blank, and the last one does not end.
    let lines: Vec<String> =
        (0..200).map(|number| patient(number, if number % 90 == 5 { 1_300_000 } else { 300 })).collect();
    let lines = lines.join("\n").replacen('\n', "\r\n\n", 1);
    let kept = sealed(&bed, &lines).await;
    let wanted = |family: &dyn Fn(&str) -> String, ssn: &dyn Fn(&str) -> String| {
        let line = |line: &str| {
            let Ok(mut patient) = serde_json::from_str::<Value>(line) else { return Value::Null };
            for (at, shown) in [("/name/0/family", family), ("/identifier/0/value", ssn)] {
                let place = patient.pointer_mut(at).unwrap();
                *place = json!(shown(place.as_str().unwrap()));
            }
            patient
        };
        lines.lines().map(line).collect::<Vec<_>>()
    };
    let stars = |text: &str| text.chars().map(|c| if c.is_alphanumeric() { '*' } else { c }).collect::<String>();
    let redacted = |_: &str| "[REDACTED]".to_owned();
    for (number, (who, want, action)) in [
        ("clinician", wanted(&str::to_owned, &str::to_owned), "plain"),
        ("clerk", wanted(&stars, &stars), "masked"),
        ("support", wanted(&redacted, &redacted), "redacted"),
        ("dba", kept.lines().map(|line| serde_json::from_str(line).unwrap_or_default()).collect(), "left"),
    ]
    .into_iter()
    .enumerate()
    {
        let client = bed.gate.as_client(who);
        let client = if number % 2 == 0 { client } else { client.over_http2() };
        let read = Call::new(&format!("GET {PATH}")).from(&client).await;
        assert_eq!(read.header("content-type"), Some(LINES));
        let text = read.text();
        let shown: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap_or_default()).collect();
        assert!(shown == want, "{who}");
        assert_eq!((text.ends_with('\n'), text.lines().nth(1)), (false, Some("")), "{who}");
        if who == "clinician" {
            assert!(text == lines, "byte for byte");
        }
        let event = bed.gate.wait_for_event(|event| {
            event["event"] == "BodyCompleted" && counted(event, "name", action) + counted(event, "ssn", action) == 400
        });
        assert_eq!(event["code"], Value::Null, "{event}");
        assert_eq!(event["resources"], json!([{"type": "Patient", "count": 200}]), "{event}");
    }
}

#[tokio::test]
async fn a_line_that_is_none_ends_an_export_and_is_on_record() {
    let bed = bed();
    let good = sealed(&bed, &(0..400).map(|number| patient(number, 300) + "\n").collect::<String>()).await;
    let token =
        |at: usize| serde_json::from_str::<Value>(good.lines().nth(at).unwrap()).unwrap()["name"][0]["family"].clone();
    let (name, ssn) =
        (token(0), &serde_json::from_str::<Value>(good.lines().next().unwrap()).unwrap()["identifier"][0]["value"]);
    let cut = name.as_str().unwrap().get(..40).unwrap();
    for (line, code) in [
        ("{\"resourceType\":\"Patient\",\"id\":".to_owned(), "response_not_understood"),
        ("{\"resourceType\":\"Patient\"}{}".to_owned(), "response_not_understood"),
        ("{\"resourceType\":\n\"Patient\"}".to_owned(), "response_not_understood"),
        ("Zwetschgenmus".to_owned(), "response_not_understood"),
        ("{\"resourceType\":\"Basic\"}".to_owned(), "response_not_understood"),
        ("{\"name\":[{\"family\":\"Zwetschgenmus\"}]}".to_owned(), "response_not_understood"),
        (patient(1, 10), "response_unsealed"),
        (json!({"resourceType": "Patient", "name": [{"family": ssn}]}).to_string(), "response_unopenable"),
        (json!({"resourceType": "Patient", "name": [{"family": cut}]}).to_string(), "response_unopenable"),
    ] {
        bed.upstream.keep_as(LINES, PATH, format!("{good}{line}\n{good}"));
        for who in ["clinician", "support"] {
            let before = bed.gate.events_named("BodyCompleted").len();
            let client = bed.gate.as_client(who);
            let mut shown = Vec::new();
            // Its beginning was good; how much of that comes before the connection breaks off is a matter of chance.
            if let Ok(response) = client.stream(Method::GET, PATH, &[], stream::empty()).await {
                let status = response.status();
                let mut body = response.into_body();
                // A piece of the body that came at once is judged at once, the bad line in it.
                if status == 502 {
                    let problem = body.collect().await.unwrap().to_bytes();
                    let problem: Value = serde_json::from_slice(&problem).unwrap();
                    assert_eq!(problem["code"], code, "{line}");
                    continue;
                }
                assert_eq!(status, 200, "{line}");
                let mut broken = false;
                while let Some(frame) = body.frame().await {
                    match frame {
                        Ok(frame) => shown.extend(frame.into_data().unwrap_or_default()),
                        Err(_) => broken = true,
                    }
                }
                assert!(broken, "{line}: it must not be taken for whole");
            }
            assert_eq!(
                find_leaks(&shown, &[("line".to_owned(), "\"Zwetschgenmus".to_owned())]).len(),
                usize::from(who == "clinician" && !shown.is_empty()),
                "{line}"
            );
            assert!(shown.iter().filter(|byte| **byte == b'\n').count() <= 400, "{line}: nothing behind it");
            let event = bed.gate.wait_for_event(|event| {
                event["event"] == "BodyCompleted"
                    && bed.gate.events_named("BodyCompleted").len() > before
                    && event["code"] == code
            });
            assert_eq!(event["code"], code, "{event}");
        }
        // A short one is withheld whole.
        bed.upstream.keep_as(LINES, PATH, format!("{}\n{line}\n", good.lines().next().unwrap()));
        bed.make("clinician", &Call::new(&format!("GET {PATH}"))).await.expect_problem(502, code);
    }
}
