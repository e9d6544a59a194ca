//! What is sealed on its way in, and what each one gets to see.

use crate::fixture::{Setup, Upstream};
use serde_json::json;

const PATIENT: &str = "{ \"resourceType\":\"Patient\",\r\n\t\"ssn\" : \"999-12-3456\", \"weight\":1.10, \"name\":[{\"family\":\"Ch\\u00e2lmers\",\"given\":[\"Peter\",\"\",null]}], \"note\":{\"a\":[1,2.50]}, \"active\":true}";

#[tokio::test]
async fn a_record_is_sealed_in_place_and_every_other_byte_stays() {
    let upstream = Upstream::start();
    let gate = Setup::before(upstream.addr()).start();
    let clinician = gate.as_client("clinician");

    let created = clinician.post("/Patient", PATIENT).await;
    assert_eq!(created.status, 201, "{}", created.text());
    let received = upstream.take_only();
    let stored = received.text();
    assert_eq!(received.headers["content-length"], received.body.len().to_string());
    // Taking the tokens out of what arrived and the values out of what was sent leaves the same bytes.
    let without =
        |text: &str, parts: &[&str]| parts.iter().fold(text.to_owned(), |text, part| text.replacen(part, "?", 1));
    let document = received.json();
    let tokens: Vec<String> = ["/ssn", "/name/0/family", "/name/0/given/0", "/note"]
        .iter()
        .map(|at| document.pointer(at).unwrap().to_string())
        .collect();
    assert!(tokens.iter().all(|token| token.starts_with("\"sgv1.")), "{stored}");
    let tokens: Vec<&str> = tokens.iter().map(String::as_str).collect();
    let values = ["\"999-12-3456\"", "\"Ch\\u00e2lmers\"", "\"Peter\"", "{\"a\":[1,2.50]}"];
    assert_eq!(without(&stored, &tokens), without(PATIENT, &values));

    let read = clinician.get("/Patient/1").await;
    assert_eq!(read.status, 200);
    assert_eq!(read.text(), PATIENT.replace("\\u00e2", "â"), "the clinician reads what was sent");
}

#[tokio::test]
async fn each_role_gets_its_own_view() {
    let upstream = Upstream::start();
    let gate = Setup::before(upstream.addr()).start();
    gate.as_client("clinician").post("/Patient", PATIENT).await;
    let read = async |who: &str| gate.as_client(who).get("/Patient/1").await.json();

    let billing = read("billing").await;
    assert_eq!(billing["ssn"], "***-**-3456");
    assert_eq!(billing["name"][0]["family"], "Châlmers");
    assert_eq!(billing["note"], "[REDACTED]", "an object has no mask");
    let support = read("support").await;
    assert_eq!(support["ssn"], "[REDACTED]");
    assert_eq!(support["name"][0]["given"], json!(["[REDACTED]", "", null]));
    assert_eq!(support["weight"], 1.1);
    let dba = gate.as_client("dba").get("/Patient/1").await;
    assert_eq!(dba.text(), upstream.kept("/Patient/1"), "the tokens, untouched");
    let outsider = gate.as_client("outsider").get("/Patient/1").await;
    outsider.expect_problem(403, "class_denied");
}

#[tokio::test]
async fn a_container_hides_no_field_of_another_class() {
    let upstream = Upstream::start();
    let gate = Setup::before(upstream.addr()).start();
    let hidden = r#"{"note":{"deep":[{"ssn":"999-12-3456"}]}}"#;
    let refused = gate.as_client("clinician").post("/Patient", hidden).await;
    refused.expect_problem(422, "field_overlap");
    upstream.expect_nothing();
    // Nor is one shown that the upstream has in the clear.
    let gate =
        Setup::before(upstream.addr()).replace("    record: id\n", "    record: id\n    unsealed: show\n").start();
    upstream.keep("/Patient/1", hidden);
    for who in ["clinician", "billing", "support", "dba"] {
        gate.as_client(who).get("/Patient/1").await.expect_problem(502, "response_unsealed");
    }
}

#[tokio::test]
async fn an_escape_leads_past_no_rule() {
    let upstream = Upstream::start();
    let wide = "routes:\n  - {name: wide, path: '/{rest*}', methods: [GET, POST], upstream: app, protect: none}\n";
    let gate =
        Setup::before(upstream.addr()).replace("routes:\n", wide).replace("/Patient\n", "/Patient:create\n").start();
    let body = r#"{"ssn":"999-12-3456"}"#;
    for path in ["/Patient%3Acreate", "/%50atient:create", "/Patient:create%2f", "/patient:create", "/Patient:create/"]
    {
        let refused = gate.as_client("clinician").post(path, body).await;
        assert!(refused.status.is_client_error(), "{path}: {}", refused.text());
        upstream.expect_nothing();
    }
    assert_eq!(gate.as_client("clinician").post("/Patient:create", body).await.status, 201);
    assert!(upstream.take_only().text().starts_with(r#"{"ssn":"sgv1."#));
}

#[tokio::test]
async fn what_one_crypto_provider_seals_the_other_opens() {
    let upstream = Upstream::start();
    let sealer =
        Setup::before(upstream.addr()).replace("scope: test\n", "scope: test\ncrypto_provider: ring\n").start();
    assert_eq!(sealer.as_client("clinician").post("/Patient", PATIENT).await.status, 201);
    let opener =
        Setup::before(upstream.addr()).replace("scope: test\n", "scope: test\ncrypto_provider: aws-lc-rs\n").start();
    for gate in [&sealer, &opener] {
        let read = gate.as_client("clinician").get("/Patient/1").await;
        assert_eq!(read.json()["ssn"], "999-12-3456", "{}", read.text());
        assert_eq!(gate.as_client("clinician").over_http2().get("/Patient/1").await.status, 200);
    }
}
