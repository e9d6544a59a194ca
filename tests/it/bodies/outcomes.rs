//! What is said of a failure: by the upstream, which may echo what it was sent, and by the gate, which tells no values.

use crate::fixture::keys::with_file_store;
use crate::fixture::leak::find_leaks;
use crate::fixture::{Bed, Call};
use serde_json::{Value, json};

const ROUTES: &str = "
routes:
  - name: fhir
    path: /fhir/{type}/{id}
    methods: [GET, PUT, PATCH]
    upstream: app
    packs: [fhir-r4]
  - name: type
    path: /fhir/{type}
    methods: [GET, POST]
    upstream: app
    packs: [fhir-r4]
  - name: anywhere
    path: /anywhere/{type}/{id}
    methods: [GET, PUT]
    upstream: app
    open: anywhere
    packs: [fhir-r4]
  - name: errors
    path: /errors/{id}
    methods: [GET, PUT]
    upstream: app
    rules:
      - {path: '$.errors[*].value', class: card}
      - {path: $.card, class: card}
  - name: document
    path: /document/{id}
    methods: [PUT]
    upstream: app
    rules: [{xml: //patient/name, class: display}]
  - name: message
    path: /message/{id}
    methods: [PUT]
    upstream: app
    rules: [{hl7: PID-5, class: display}]
  - name: interchange
    path: /interchange/{id}
    methods: [PUT]
    upstream: app
    rules: [{x12: 'NM1*IL-3', class: display}]
  - name: table
    path: /table/{id}
    methods: [PUT]
    upstream: app
    rules: [{csv: NAME, class: display}]
  - name: form
    path: /form/{id}
    methods: [PUT]
    upstream: app
    rules: [{form: name, class: display}, {file: scan, class: note}]
  - name: visits
    path: /visits/{mrn}
    methods: [GET]
    upstream: app
    rules: [{segment: mrn, class: card}, {path: $.x, class: display}]
";

fn bed() -> Bed {
    Bed::with(|setup| {
        with_file_store(setup)
            .replace("\nroutes:\n", ROUTES)
            .replace(
                "  ssn: {mask: {keep_last: 4}}\n  name: {mask: {keep_first: 1}}\n",
                "  card: {suite: format, alphabet: digits}\n",
            )
            .replace("\nroles:\n", "\nroles:\n  clerk: {default_view: mask}\n")
            .replace("\nprincipals:\n", "\nprincipals:\n  - {spiffe: spiffe://test.example/clerk, roles: [clerk]}\n")
    })
}

const PATIENT: &str = r#"{"resourceType":"Patient","name":[{"family":"Zwetschgenmus"}]}"#;

async fn token(bed: &Bed) -> String {
    let wrote =
        bed.make("clinician", &Call::new("PUT /fhir/Patient/1").of_type("application/fhir+json", PATIENT)).await;
    assert_eq!(wrote.status, 200, "{}", wrote.text());
    bed.upstream.take_only().json()["name"][0]["family"].as_str().unwrap().to_owned()
}

fn outcome(text: &str, diagnostics: &str) -> Value {
    json!({"resourceType": "OperationOutcome", "issue": [
        {"severity": "error", "code": "invalid", "details": {"text": text}, "diagnostics": diagnostics}]})
}

/// Each role, and what it sees of a name.
const SEEN: [(&str, &str); 4] =
    [("clinician", "Zwetschgenmus"), ("clerk", "*************"), ("support", "[REDACTED]"), ("desk", "[REDACTED]")];

#[tokio::test]
async fn an_outcome_that_echoes_a_token_tells_nobody_more_than_it() {
    let bed = bed();
    let token = token(&bed).await;
    let said = format!("Invalid value '{token}' at Patient.name[0].family of visit V-4711");
    let fhir = [("content-type", "application/fhir+json")];
    for status in [400, 404, 409, 412, 422, 500] {
        bed.upstream.always(status, &fhir, outcome(&token, &said).to_string());
        for (who, name) in SEEN.into_iter().chain([("dba", token.as_str())]) {
            // What was never sealed is shown as the upstream has it.
            for (line, text) in [("GET /fhir/Patient/1", token.as_str()), ("GET /anywhere/Patient/1", name)] {
                let reply = bed.make(who, &Call::new(line)).await;
                assert_eq!((reply.status.as_u16(), reply.json()), (status, outcome(text, &said)), "{who} {line}");
                assert_eq!(reply.header("cache-control"), Some("no-store"));
            }
        }
        let write = Call::new("PUT /fhir/Patient/1").of_type("application/fhir+json", PATIENT);
        assert_eq!(bed.make("clinician", &write).await.json(), outcome(&token, &said));
    }
    // In a transaction's answer each resource is shown by its own rules.
    let entry = json!({"response": {"status": "400", "outcome": outcome(&token, &said)}});
    let patient: Value = serde_json::from_str(&bed.upstream.kept("/fhir/Patient/1")).unwrap();
    let bundle = json!({"resourceType": "Bundle", "type": "batch-response",
        "entry": [{"resource": patient, "response": {"status": "201"}}, entry]});
    bed.upstream.always(200, &fhir, bundle.to_string());
    for (who, name) in SEEN {
        let shown = bed.make(who, &Call::new("GET /fhir/Patient/1")).await.json();
        assert_eq!(shown["entry"][0]["resource"]["name"][0]["family"], name, "{who}");
        assert_eq!(shown["entry"][1], entry, "{who}");
    }
}

#[tokio::test]
async fn a_page_of_an_error_is_opened_where_the_route_says_so_and_withheld_elsewhere() {
    let bed = bed();
    let token = token(&bed).await;
    let page = |name: &str| {
        format!("<h1>500</h1><p>duplicate entry '{name}' for key</p><pre>at Save({name}, 4711)\n  at Main</pre>")
    };
    for (kind, status) in [("text/html", 500), ("text/html; charset=utf-8", 404), ("text/plain", 503)] {
        bed.upstream.always(status, &[("content-type", kind), ("x-error", "Zwetschgenmus")], page(&token));
        for (who, name) in SEEN.into_iter().chain([("dba", token.as_str())]) {
            let shown = bed.make(who, &Call::new("GET /anywhere/Patient/1")).await;
            assert_eq!((shown.status.as_u16(), shown.text()), (status, page(name)), "{who} {kind}");
            let withheld = bed.make(who, &Call::new("GET /fhir/Patient/1")).await;
            withheld.expect_problem(502, "response_not_understood");
            let told = format!("{:?} {}", withheld.headers, withheld.text());
            assert!(!told.contains("sgv1.") && !told.contains("Zwetschgenmus") && !told.contains("4711"), "{told}");
        }
    }
}

/// Nothing but a rule tells that it is no number.
#[tokio::test]
async fn an_echoed_value_of_a_format_is_shown_by_its_rule_alone() {
    let bed = bed();
    let card = "4111-1111-1111";
    let wrote = bed.make("clinician", &Call::new("PUT /errors/1").json(json!({"card": card}).to_string())).await;
    assert_eq!(wrote.json()["card"], card);
    let sealed = bed.upstream.take_only().json()["card"].as_str().unwrap().to_owned();
    assert_ne!(sealed, card);
    let said = format!("no such card: {sealed}");
    let errors = |value: &str| json!({"errors": [{"field": "card", "value": value, "message": said}]});
    bed.upstream.always(422, &[("content-type", "application/json")], errors(&sealed).to_string());
    for (who, shown) in
        [("clinician", card), ("clerk", "****-****-****"), ("support", "[REDACTED]"), ("dba", sealed.as_str())]
    {
        assert_eq!(bed.make(who, &Call::new("GET /errors/1")).await.json(), errors(shown), "{who}");
    }
}

const V: &str = "Zwetschgenmus";

/// Resources that are refused, with the value in a place where it was met or missed.
fn bad_resources() -> Vec<Call> {
    let mut calls = Vec::new();
    let mut put = |path: &str, kind: &str, body: String| {
        calls.push(Call::new(&format!("PUT {path}")).of_type(kind, body));
    };
    let (json, xml) = ("application/fhir+json", "application/fhir+xml");
    for body in [
        format!("{{\"resourceType\":\"{V}\",\"name\":[{{\"family\":\"{V}\"}}]}}"),
        format!("{{\"resourceType\":\"Patient\",\"name\":[{{\"family\":\"{V}\"}}]"),
        format!("{{\"resourceType\":\"Patient\",\"Name\":[{{\"family\":\"{V}\"}}]}}"),
        format!("{{\"resourceType\":\"Patient\",\"text\":{{\"div\":\"{V}\"}}}}"),
        format!("{{\"resourceType\":\"Patient\",\"photo\":[{{\"data\":\"{V}!\"}}]}}"),
        format!("{{\"resourceType\":\"Patient\",\"name\":[{{\"family\":[\"{V}\"]}}],\"birthDate\":[\"{V}\"]}}"),
        format!("{{\"resourceType\":\"Patient\",\"contained\":[{{\"resourceType\":\"{V}\"}}]}}"),
        format!("{{\"resourceType\":\"Bundle\",\"entry\":[{{\"request\":{{\"url\":\"Patient?{V}={V}\"}}}}]}}"),
        format!(
            "{{\"resourceType\":\"Bundle\",\"entry\":[{{\"request\":{{\"ifNoneExist\":\"name:contains={V}\"}}}}]}}"
        ),
        format!("{{\"resourceType\":\"Patient\",\"name\":[{{\"family\":\"sgv1.{V}\"}}]}}"),
        format!("{{\"resourceType\":\"Patient\",\"_birthDate\":\"{V}\"}}"),
        format!("{{\"{V}\":1}}"),
        V.to_owned(),
    ] {
        put("/fhir/Patient/1", json, body);
    }
    let patient = |inner: &str| format!("<Patient xmlns=\"http://hl7.org/fhir\">{inner}</Patient>");
    for body in [
        patient(&format!("<name><family value=\"{V}\"/></name><{V}>")),
        patient(&format!("<name><family>{V}</family></name>")),
        patient(&format!("<name><family value=\"{V}\" value=\"{V}\"/></name>")),
        patient(&format!("<contained><{V}/></contained>")),
        format!("<!DOCTYPE {V} [<!ENTITY {V} \"{V}\">]>{}", patient("")),
        format!("<{V} xmlns=\"http://hl7.org/fhir\"/>"),
        patient(&format!("&{V};")),
    ] {
        put("/fhir/Patient/1", xml, body);
    }
    calls
}

/// The same of other formats.
fn bad_bodies() -> Vec<Call> {
    let mut calls = Vec::new();
    let mut put = |path: &str, kind: &str, body: String| {
        calls.push(Call::new(&format!("PUT {path}")).of_type(kind, body));
    };
    put("/document/1", "application/xml", format!("<patient><name>{V}<!-- {V} -->{V}</name></patient>"));
    put("/document/1", "application/xml", format!("<patient><name>{V}</{V}></patient>"));
    put("/message/1", "application/hl7-v2", format!("MSH|^~\\&|{V}\rPID|1||||{V}\r{V}|1\r"));
    put("/message/1", "application/hl7-v2", format!("PID|1||||{V}\r"));
    put("/interchange/1", "application/edi-x12", format!("NM1*IL*1*{V}~"));
    put("/table/1", "text/csv", format!("{V}\n{V}\n"));
    put("/table/1", "text/csv", format!("NAME\n\"{V}\n"));
    put("/form/1", "application/x-www-form-urlencoded", format!("name={V}&name[]={V}&%zz={V}"));
    let part = format!("--x\r\ncontent-disposition: form-data; name=\"{V}\"; filename=\"{V}\"\r\n\r\n{V}\r\n--x--\r\n");
    put("/form/1", "multipart/form-data; boundary=x", part);
    put("/form/1", &format!("multipart/form-data; boundary=x; boundary={V}"), V.to_owned());
    put("/fhir/Patient/1", &format!("text/{V}"), V.to_owned());
    calls
}

/// The same outside of bodies, and in what changes a part of one.
fn bad_questions() -> Vec<(&'static str, Call)> {
    let json = "application/fhir+json";
    let mut calls = Vec::new();
    for query in [
        format!("{V}={V}"),
        format!("name:contains={V}"),
        format!("_sort=name,{V}"),
        format!("birthdate=ge{V}"),
        format!("identifier:of-type={V}|{V}|{V}"),
        format!("patient:identifier.{V}={V}"),
        format!("_has:{V}:{V}:{V}={V}"),
        format!("_filter=name%20eq%20{V}"),
        format!("name={V};name={V}"),
        format!("name=%zz{V}"),
        format!("name=sgv1.{V}"),
    ] {
        calls.push(("clinician", Call::new(&format!("GET /fhir/Patient?{query}"))));
        let posted = Call::new("POST /fhir/Patient").of_type("application/x-www-form-urlencoded", &query);
        calls.push(("clinician", posted));
        calls.push(("support", Call::new(&format!("GET /fhir/Patient?name={V}&{query}"))));
    }
    for line in [format!("GET /visits/{V}"), format!("GET /visits/{V}%2f{V}"), format!("GET /visits/1/{V}")] {
        calls.push(("clinician", Call::new(&line)));
    }
    calls.push((
        "clinician",
        Call::new("POST /fhir/Patient").header("if-none-exist", &format!("{V}={V}")).of_type(json, PATIENT),
    ));
    calls.push(("clinician", Call::new("POST /fhir/Patient").header("x-provenance", V).of_type(json, PATIENT)));
    for (kind, patch) in [
        ("application/json-patch+json", json!([{"op": V, "path": format!("/{V}"), "value": V}])),
        ("application/json-patch+json", json!([{"op": "test", "path": "/birthDate", "value": V}])),
        ("application/json-patch+json", json!([{"op": "move", "from": "/name", "path": format!("/{V}")}])),
        ("application/merge-patch+json", json!({"_birthDate": {"extension": V}})),
        ("application/xml-patch+xml", json!(V)),
    ] {
        calls.push(("clinician", Call::new("PATCH /fhir/Patient/1").of_type(kind, patch.to_string())));
    }
    calls
}

#[tokio::test]
async fn no_refusal_of_any_format_tells_the_value() {
    let bed = bed();
    let bodies = bad_resources().into_iter().chain(bad_bodies()).map(|call| ("clinician", call));
    let calls: Vec<_> = bodies.chain(bad_questions()).collect();
    assert!(calls.len() > 70, "{}", calls.len());
    let mut told = Vec::new();
    for (number, (who, call)) in calls.iter().enumerate() {
        let client = bed.gate.as_client(who);
        let reply = call.from(&if number % 2 == 0 { client } else { client.over_http2() }).await;
        assert!(reply.status.is_client_error(), "{call}: {} {}", reply.status, reply.text());
        assert!(reply.json()["code"].is_string(), "{call}: {}", reply.text());
        told.extend_from_slice(format!("{:?} {}\n", reply.headers, reply.text()).as_bytes());
        bed.upstream.expect_nothing();
    }
    assert_eq!(bed.gate.events_named("ExchangeRefused").len(), calls.len());
    let metrics = bed.gate.admin("/metrics").1;
    let mut gate = bed.gate;
    // Meanwhile the clients close their connections.
    let ended = tokio::task::spawn_blocking(move || {
        gate.signal("TERM");
        gate.wait();
        (gate.log(), gate.journal_bytes())
    });
    let (log, journal) = ended.await.unwrap();
    assert!(log.contains("exchange refused") && metrics.contains("body_invalid"), "{log}");
    let value = [("value".to_owned(), "Zwetschgenmus".to_owned())];
    for (place, text) in
        [("problems", told.as_slice()), ("log", log.as_bytes()), ("metrics", metrics.as_bytes()), ("journal", &journal)]
    {
        assert_eq!(find_leaks(text, &value), Vec::<String>::new(), "in the {place}");
    }
}
