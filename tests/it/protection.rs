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
