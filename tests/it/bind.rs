//! Values that are bound to their record: by a path parameter on one route, by a field of the document on another.

use crate::fixture::{Bed, Call, Setup};
use serde_json::{Value, json};

const ROUTES: &str = "routes:
  - name: chart
    path: /Chart/{id}
    methods: [GET, PUT]
    upstream: app
    record: id
    rules:
      - {path: $.ssn, class: ssn, bind: {record: {parameter: id}}}
      - {path: $.note, class: note, on_unopenable: mark, bind: {record: {parameter: id}}}
  - name: charts
    path: /Chart
    methods: [GET, POST]
    upstream: app
    rules:
      - {path: '$.entry[*].resource.ssn', class: ssn, bind: {record: {field: '$.entry[*].resource.id'}}}
      - {path: '$.entry[*].resource.note', class: note, on_unopenable: mark, bind: {record: {field: '$.entry[*].resource.id'}}}
      - {path: $.ssn, class: ssn, bind: {record: {field: $.id}}}
  - name: visit
    path: /Chart/{id}/Visit/{visit}
    methods: [GET, PUT]
    upstream: app
    rules:
      - {path: $.ssn, class: ssn, bind: {record: {parameter: id}, visit: {parameter: visit}, kind: {field: $.kind}}}
  - name: unbound
    path: /Loose/{id}
    methods: [GET, PUT]
    upstream: app
    rules:
      - {path: $.ssn, class: ssn}
      - {path: $.note, class: note}
";

fn bound(setup: Setup) -> Setup {
    setup.replace("\nroutes:\n", &format!("\n{ROUTES}"))
}

const SSN: &str = "999-12-3456";

async fn write(bed: &Bed, line: &str, document: &Value) -> Value {
    let wrote = bed.make("clinician", &Call::new(line).json(document.to_string())).await;
    assert!(wrote.status.is_success(), "{line} {document}: {}", wrote.text());
    assert_eq!(wrote.json(), *document, "what comes back is what was sent");
    bed.upstream.take_only().json()
}

/// What a clinician reads of a document that the upstream has behind the gate's back.
async fn read(bed: &Bed, path: &str, document: &Value) -> crate::fixture::Reply {
    bed.upstream.keep(path, document.to_string());
    let reply = bed.make("clinician", &Call::new(&format!("GET {path}"))).await;
    bed.upstream.take_only();
    reply
}

/// It must be refused, with a record that says why.
async fn withheld(bed: &Bed, path: &str, document: &Value) {
    let reply = read(bed, path, document).await;
    reply.expect_problem(502, "response_unopenable");
    assert!(!reply.text().contains("999-12"), "{}", reply.text());
    let event = bed.gate.events().pop().unwrap();
    assert_eq!((&event["event"], &event["code"]), (&json!("ExchangeRefused"), &json!("response_unopenable")));
    assert!(event["cause"].is_string(), "{event}");
}

#[tokio::test]
async fn a_token_opens_in_its_own_record_alone() {
    let bed = Bed::with(bound);
    let document = json!({"id": "42", "ssn": SSN, "note": "seen"});
    let own = write(&bed, "PUT /Chart/42", &document).await;
    let other = write(&bed, "PUT /Chart/43", &json!({"id": "43", "ssn": "111-22-3333", "note": "x"})).await;
    assert_eq!(read(&bed, "/Chart/42", &own).await.json(), document);

    for path in ["/Chart/43", "/Chart/4", "/Chart/042", "/Chart/42.0"] {
        withheld(&bed, path, &json!({"id": "42", "ssn": own["ssn"]})).await;
    }
    withheld(&bed, "/Chart/42", &json!({"id": "43", "ssn": other["ssn"]})).await;
    // Where the rule marks, the rest is delivered.
    let mixed = json!({"id": "43", "ssn": other["ssn"], "note": own["note"], "active": true});
    let marked = read(&bed, "/Chart/43", &mixed).await;
    let want = json!({"id": "43", "ssn": "111-22-3333", "note": "[UNOPENABLE]", "active": true});
    assert_eq!((marked.status.as_u16(), marked.json()), (200, want));
    let event = bed.gate.events().pop().unwrap();
    let fields = event["fields"].as_array().unwrap();
    assert!(fields.contains(&json!({"class": "note", "action": "unopenable", "count": 1})), "{event}");
    // What was sealed without a bind does not open where one is wanted, nor the other way round.
    let loose = write(&bed, "PUT /Loose/42", &json!({"ssn": SSN})).await;
    withheld(&bed, "/Chart/42", &json!({"id": "42", "ssn": loose["ssn"]})).await;
    withheld(&bed, "/Loose/42", &json!({"ssn": own["ssn"]})).await;
}

/// The id of a path and that of a document are one, however the document spells it.
#[tokio::test]
async fn the_same_record_opens_on_a_route_that_binds_to_its_id() {
    let bed = Bed::with(bound);
    let one = write(&bed, "PUT /Chart/42", &json!({"ssn": SSN, "note": "a"})).await;
    let two = write(&bed, "PUT /Chart/p-7", &json!({"ssn": "111-22-3333", "note": "b"})).await;
    let entry = |id: Value, of: &Value| json!({"resource": {"ssn": of["ssn"], "id": id, "note": of["note"]}});
    let bundle = |entries: &[Value]| json!({ "entry": entries });
    for id in [json!(42), json!("42")] {
        let shown = read(&bed, "/Chart", &bundle(&[entry(id.clone(), &one), entry(json!("p-7"), &two)])).await;
        let want = [
            json!({"resource": {"ssn": SSN, "id": id, "note": "a"}}),
            json!({"resource": {"ssn": "111-22-3333", "id": "p-7", "note": "b"}}),
        ];
        assert_eq!((shown.status.as_u16(), shown.json()), (200, bundle(&want)));
    }
    // The tokens of two entries changed places; or the ids; or one is spelled as another number, or missing.
    withheld(&bed, "/Chart", &bundle(&[entry(json!("42"), &two), entry(json!("p-7"), &one)])).await;
    for id in
        [json!("p-7"), json!(42.0), json!("42 "), json!("042"), json!(true), json!(null), json!({"a": "42"}), json!("")]
    {
        withheld(&bed, "/Chart", &bundle(&[entry(id, &one)])).await;
    }
    withheld(&bed, "/Chart", &bundle(&[json!({"id": "42", "resource": {"ssn": one["ssn"]}})])).await;
    // An id that stands there twice is none.
    let twice = format!("{{\"entry\":[{{\"resource\":{{\"id\":\"42\",\"ssn\":{},\"id\":\"42\"}}}}]}}", one["ssn"]);
    bed.upstream.keep("/Chart", twice);
    bed.make("clinician", &Call::new("GET /Chart")).await.expect_problem(502, "response_unopenable");
    bed.upstream.take_only();
    // A mark stands only where something is wrong.
    let marked = bundle(&[
        json!({"resource": {"id": "42", "ssn": one["ssn"], "note": two["note"]}}),
        json!({"resource": {"note": one["note"]}}),
        json!({"resource": {"id": "p-7", "note": two["note"]}}),
    ]);
    let shown = read(&bed, "/Chart", &marked).await.json();
    let notes: Vec<_> = (0..3).map(|at| shown["entry"][at]["resource"]["note"].clone()).collect();
    assert_eq!(notes, ["[UNOPENABLE]", "[UNOPENABLE]", "b"]);
    assert_eq!(shown["entry"][0]["resource"]["ssn"], SSN);
    // What the gate does not open for somebody it does not judge either.
    bed.upstream.keep("/Chart", bundle(&[entry(json!("p-7"), &one)]).to_string());
    let sealed = bed.make("dba", &Call::new("GET /Chart")).await;
    assert_eq!(sealed.json(), bundle(&[entry(json!("p-7"), &one)]));
}

#[tokio::test]
async fn what_is_sealed_on_the_route_of_many_opens_on_that_of_one() {
    let bed = Bed::with(bound);
    let entry = |id: Value, ssn: &str| json!({"resource": {"id": id, "ssn": ssn}});
    let sent = json!({"entry": [entry(json!(42), SSN), entry(json!("p-7"), "111-22-3333")]});
    let kept = write(&bed, "POST /Chart", &sent).await;
    let [one, two] = [0, 1].map(|at| kept["entry"][at]["resource"]["ssn"].clone());
    assert_eq!(read(&bed, "/Chart/42", &json!({ "ssn": one })).await.json(), json!({ "ssn": SSN }));
    assert_eq!(read(&bed, "/Chart/p-7", &json!({ "ssn": two })).await.json(), json!({ "ssn": "111-22-3333" }));
    withheld(&bed, "/Chart/p-7", &json!({ "ssn": one })).await;
    // The id may stand after the value that is bound to it, and in an escaped name.
    let late = "{\"ssn\":\"999-12-3456\",\"i\\u0064\":\"\\u00342\"}";
    let wrote = bed.make("clinician", &Call::new("POST /Chart").json(late)).await;
    assert_eq!((wrote.status.as_u16(), wrote.text().as_str()), (201, late));
    let token = bed.upstream.take_only().json()["ssn"].clone();
    assert_eq!(read(&bed, "/Chart/42", &json!({ "ssn": token })).await.json(), json!({ "ssn": SSN }));
}

#[tokio::test]
async fn a_write_that_does_not_say_what_to_bind_to_is_refused() {
    let bed = Bed::with(bound);
    let (missing, unusable) = ((422, "bind_missing"), (422, "bind_unusable"));
    for (body, want) in [
        ("{\"ssn\":\"1\"}", missing),
        ("{\"ssn\":\"1\",\"a\":{\"id\":\"2\"}}", missing),
        ("{\"ssn\":\"1\",\"id\":\"\"}", missing),
        ("{\"ssn\":\"1\",\"id\":null}", unusable),
        ("{\"ssn\":\"1\",\"id\":{}}", unusable),
        ("{\"ssn\":\"1\",\"id\":[\"2\"]}", unusable),
        ("{\"id\":\"2\",\"ssn\":\"1\",\"id\":\"2\"}", unusable),
        ("{\"id\":\"2\",\"ssn\":\"1\",\"\\u0069d\":\"3\"}", unusable),
        ("{\"entry\":[{\"resource\":{\"id\":\"2\",\"ssn\":\"1\"}},{\"resource\":{\"ssn\":\"1\"}}]}", missing),
        ("{\"id\":\"2\",\"entry\":[{\"id\":\"2\",\"resource\":{\"ssn\":\"1\"}}]}", missing),
        ("{\"entry\":[{\"resource\":{\"id\":\"1\",\"id\":\"2\",\"ssn\":\"1\"}}]}", unusable),
    ] {
        let problem =
            bed.refuses_from(&bed.gate.as_client("clinician"), &Call::new("POST /Chart").json(body), want).await;
        assert!(problem["detail"].as_str().unwrap().starts_with("field $."), "{body}: {problem}");
    }
    // Only who has something to bind has to say.
    for body in ["{}", "{\"ssn\":null}", "{\"ssn\":\"\",\"id\":{}}", "{\"entry\":[{\"resource\":{\"id\":[]}}]}"] {
        let wrote = bed.make("clinician", &Call::new("POST /Chart").json(body)).await;
        assert_eq!((wrote.status.as_u16(), wrote.text().as_str()), (201, body));
        bed.upstream.take_only();
    }
}

#[tokio::test]
async fn who_sees_tokens_puts_them_back_into_their_own_record_alone() {
    let bed = Bed::with(bound);
    let own = write(&bed, "PUT /Chart/42", &json!({"id": "42", "ssn": SSN})).await;
    let other = write(&bed, "PUT /Chart/43", &json!({"id": "43", "ssn": "111-22-3333"})).await;
    let put = |line: &str, body: &Value| Call::new(line).json(body.to_string());
    for (line, body) in [
        ("PUT /Chart/42", own.clone()),
        ("POST /Chart", own.clone()),
        ("POST /Chart", json!({"entry": [{"resource": {"id": 42, "ssn": own["ssn"]}}]})),
    ] {
        let wrote = bed.make("dba", &put(line, &body)).await;
        assert!(wrote.status.is_success(), "{line}: {}", wrote.text());
        assert_eq!(bed.upstream.take_only().json(), body, "as it was");
    }
    let not_here = (422, "token_unauthentic");
    for (line, body) in [
        ("PUT /Chart/43", own.clone()),
        ("PUT /Chart/42", json!({"id": "42", "ssn": other["ssn"]})),
        ("POST /Chart", json!({"id": "42", "ssn": other["ssn"]})),
        ("POST /Chart", json!({"entry": [{"resource": {"id": "43", "ssn": own["ssn"]}}]})),
        // Where no rule says what it is bound to, nothing is known of its record.
        ("PUT /Loose/42", own.clone()),
        ("PUT /Chart/42", json!({"id": "42", "weight": own["ssn"]})),
    ] {
        bed.refuses("dba", &put(line, &body), not_here).await;
    }
    bed.refuses("dba", &put("POST /Chart", &json!({"ssn": own["ssn"]})), (422, "bind_missing")).await;
}

#[tokio::test]
async fn several_things_bind_together() {
    let bed = Bed::with(bound);
    let document = json!({"kind": "ward", "ssn": SSN});
    let kept = write(&bed, "PUT /Chart/42/Visit/7", &document).await;
    assert_eq!(read(&bed, "/Chart/42/Visit/7", &kept).await.json(), document);
    withheld(&bed, "/Chart/42/Visit/8", &kept).await;
    withheld(&bed, "/Chart/7/Visit/42", &kept).await;
    withheld(&bed, "/Chart/42/Visit/7", &json!({"kind": "home", "ssn": kept["ssn"]})).await;
    withheld(&bed, "/Chart/42", &kept).await;
    bed.refuses("clinician", &Call::new("PUT /Chart/42/Visit/7").json("{\"ssn\":\"1\"}"), (422, "bind_missing")).await;
    // What stands between them does not run over: 4 and 27 are not 42 and 7.
    withheld(&bed, "/Chart/4/Visit/27", &kept).await;
}
