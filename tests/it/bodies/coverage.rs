//! What the rules of a route met, and that one which meets nothing any more is told.

use crate::fixture::{Bed, Call};
use http::Method;

#[tokio::test]
async fn a_rule_that_meets_nothing_any_more_is_told() {
    let bed = Bed::start();
    let client = bed.gate.as_client("clinician");
    let mut connection = client.connect().await.unwrap();
    let headers = [("content-type", "application/json")];
    let metric =
        |name: &str, more: &str| bed.gate.metric(&format!("{name}{{route=\"patient\",rule=\"$..ssn\"{more}}}"));
    for number in 0..1001 {
        // The application is changed after the first one.
        let name = if number == 0 { "ssn" } else { "socialSecurity" };
        let body = format!("{{\"{name}\":\"999-12-{number:04}\",\"note\":\"n\"}}");
        let reply = connection.call(Method::PUT, "/Patient/1", &headers, body).await.unwrap();
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
    assert!((metric("sealgate_rule_silent", "") - 1.0).abs() < f64::EPSILON);
    assert!((metric("sealgate_rule_values_total", ",action=\"sealed\"") - 1.0).abs() < f64::EPSILON);
    assert!((metric("sealgate_rule_values_total", ",action=\"plain\"") - 1.0).abs() < f64::EPSILON);
    bed.gate.wait_for_log("a rule meets nothing");
    let log = bed.gate.log();
    assert!(log.contains("\"rule\":\"$..ssn\",\"bodies\":1000"), "{log}");
    assert!(!log.contains("999-12"), "{log}");
    let notes = "sealgate_rule_values_total{route=\"patient\",rule=\"$.note\",action=\"sealed\"}";
    assert!((bed.gate.metric(notes) - 1001.0).abs() < f64::EPSILON);
    assert!(!log.contains("\"$.note\""), "it met something in each body: {log}");
    let again = Call::new("PUT /Patient/1").json("{\"ssn\":\"999-12-3456\"}").from(&client).await;
    assert_eq!(again.status, 200);
    assert!(metric("sealgate_rule_silent", "").abs() < f64::EPSILON, "it is heard again");
}
