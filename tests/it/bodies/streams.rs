//! Bodies that are too long to be judged whole.

use crate::edge::{rest, statuses};
use crate::fixture::gate::Setup;
use crate::fixture::{Bed, Call};
use http::Method;
use http_body_util::BodyExt;
use serde_json::Value;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::time::Duration;
use tokio::io::AsyncWriteExt;

pub(super) fn streaming() -> Bed {
    Bed::with(|setup| {
        setup.replace(
            "  limits: {}\n",
            "  limits: {buffer_bytes_max: 4096, body_bytes_max: 33554432, response_bytes_max: 134217728, body_timeout_ms: 300000}\n",
        )
    })
}

/// So many lines, each with a value to seal.
pub(super) fn lines(count: usize) -> String {
    (0..count).fold(String::new(), |mut lines, number| {
        writeln!(lines, "{{\"ssn\":\"999-12-{number:04}\",\"n\":{number},\"text\":\"{}\"}}", "x".repeat(number % 90))
            .unwrap();
        lines
    })
}

#[tokio::test]
async fn long_bodies_come_back_as_they_were() {
    let bed = streaming();
    let lines = lines(20_000);
    let bundle = format!("{{\"entry\":[{}]}}", lines.trim_end().replace('\n', ",\n "));
    for (media_type, body) in [("application/x-ndjson", &lines), ("application/json", &bundle)] {
        for client in [bed.gate.as_client("clinician"), bed.gate.as_client("clinician").over_http2()] {
            let wrote = Call::new("PUT /Patient/1").of_type(media_type, body).from(&client).await;
            assert_eq!(wrote.status, 200, "{}", wrote.text());
            assert!(wrote.text() == *body, "{media_type}: the answer is another text");
            let kept = bed.upstream.take_only();
            assert_eq!(kept.headers["transfer-encoding"], "chunked");
            assert_eq!(kept.text().matches("\"ssn\":\"sgv1.").count(), 20_000);
            assert_eq!(kept.text().matches("999-12-").count(), 0);
            let read = Call::new("GET /Patient/1").from(&client).await;
            assert!(read.text() == *body, "{media_type}: what is read is another text");
            bed.upstream.take_only();
        }
    }
    // The record of an end is made on its way, and no answer waits for it.
    bed.gate.wait_for_event(|_| bed.gate.events_named("BodyCompleted").len() == 8);
    let events = bed.gate.events();
    let completed: Vec<&Value> = events.iter().filter(|event| event["event"] == "BodyCompleted").collect();
    assert_eq!(completed.len(), 8, "every long answer has an end on record");
    for event in completed {
        let counts = event["fields"].as_array().unwrap();
        let shown =
            counts.iter().filter(|count| count["action"] == "plain").map(|count| count["count"].as_u64().unwrap());
        assert_eq!(shown.sum::<u64>(), 20_000, "{event}");
    }
    let masked = bed.make("billing", &Call::new("GET /Patient/1")).await.text();
    assert_eq!(masked.matches("***-**-").count(), 20_000);
}

#[tokio::test]
async fn a_fault_in_a_long_request_leaves_the_upstream_with_a_broken_one() {
    let bed = streaming();
    for (end, code) in [("{\"ssn\":", (400, "body_invalid")), ("{\"ssn\":\"[UNOPENABLE]\"}\n", (422, "field_hidden"))] {
        let body = lines(2_000) + end;
        let call = Call::new("PUT /Patient/1").of_type("application/x-ndjson", body);
        let refused = bed.make("clinician", &call).await;
        refused.expect_problem(code.0, code.1);
        // The registry takes no body that does not end, so it keeps nothing.
        bed.upstream.expect_nothing();
        let event = bed.gate.events().pop().unwrap();
        assert_eq!((&event["event"], &event["code"]), (&"ExchangeRefused".into(), &code.1.into()), "{event}");
        assert_eq!(event["sent_upstream"], true, "{event}");
    }
    let missing = bed.make("clinician", &Call::new("GET /Patient/1")).await;
    assert_eq!(missing.status, 404);
    let long = Call::new("PUT /Patient/1")
        .of_type("application/x-ndjson", format!("{{\"n\":\"{}\"}}\n", "x".repeat(1015)).repeat(33 << 10));
    bed.make("clinician", &long).await.expect_problem(413, "body_too_large");
}

/// Who reads no answer before all is sent gets one all the same.
#[tokio::test]
async fn a_refusal_is_not_lost_to_who_still_sends() {
    let bed = streaming();
    let client = bed.gate.as_client("clinician");
    let length = 34 << 20;
    let head = format!(
        "PUT /Patient/1 HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/x-ndjson\r\ncontent-length: {length}\r\n\r\n"
    );
    let request = [head.into_bytes(), vec![b' '; length]].concat();
    for _ in 0..3 {
        let mut tls = client.tls().await.unwrap();
        tls.write_all(&request).await.expect("all of it is taken");
        let answer = rest(&mut tls).await;
        let answer = String::from_utf8_lossy(&answer);
        assert_eq!(statuses(&answer), [413], "{answer}");
        assert!(answer.contains("body_too_large"), "{answer}");
    }
    bed.upstream.expect_nothing();
}

#[tokio::test]
async fn a_fault_in_a_long_response_breaks_it_off() {
    let bed = streaming();
    let sealed = {
        let call = Call::new("PUT /Patient/1").of_type("application/x-ndjson", lines(500));
        assert_eq!(bed.make("clinician", &call).await.status, 200);
        bed.upstream.take_only().text()
    };
    for (end, code) in [("{\"ssn\":", "response_not_understood"), ("{\"ssn\":\"999-12-3456\"}\n", "response_unsealed")]
    {
        bed.upstream.keep_as("application/x-ndjson", "/Patient/1", format!("{sealed}{end}"));
        let client = bed.gate.as_client("clinician");
        let none = futures_util::stream::empty();
        // Its beginning was good; whether that much comes before the connection breaks off is a matter of chance.
        if let Ok(response) = client.stream(Method::GET, "/Patient/1", &[], none).await {
            assert_eq!(response.status(), 200);
            assert!(response.into_body().collect().await.is_err(), "it must not be taken for whole");
        }
        let event = bed.gate.wait_for_event(|event| event["event"] == "BodyCompleted" && event["code"] == code);
        assert_eq!(event["code"], code, "{event}");
    }
    // What is shorter is withheld whole.
    bed.upstream.keep_as("application/x-ndjson", "/Patient/1", "{\"ssn\":");
    bed.make("clinician", &Call::new("GET /Patient/1")).await.expect_problem(502, "response_not_understood");
}

#[tokio::test]
async fn what_grew_by_being_sealed_is_within_the_limits_when_it_comes_back() {
    let bed = Bed::with(|setup| {
        let rules = "rules: &rules\n      - {path: \"$.identifier[?@.system=='urn:x'].value\", class: ssn}\n";
        let xml = "rules: *rules\n  - name: xml\n    path: /xml/{id}\n    methods: [GET, PUT]\n    upstream: app\n    resources_allowed: [Bundle]\n    rules: [{fhir: Patient.birthDate, class: note, as: extension}, {xml: \"//section[title='x']//p\", class: note}]\n  - name: open\n";
        let setup = setup.replace("rules: *rules\n  - name: open\n", xml);
        let limits = "  limits: {buffer_bytes_max: 4096, value_bytes_max: 60000, object_bytes_max: 60000, body_bytes_max: 1048576}\n";
        setup.replace("rules: &rules\n", rules).replace("  limits: {}\n", limits)
    });
    let long = format!("{{\"note\":\"{}\"}}", "n".repeat(59_000));
    let values = vec!["\"1\""; 50].join(",");
    let many = format!(
        "{{\"x\":\"{}\",\"identifier\":[{{\"value\":[{values}],\"y\":\"{}\",\"system\":\"urn:x\"}}]}}",
        "x".repeat(9000),
        "y".repeat(59_000)
    );
    for body in [long, many] {
        let wrote = bed.make("clinician", &Call::new("PUT /Patient/1").json(&body)).await;
        assert_eq!(wrote.status, 200, "{}", wrote.text());
        assert!(bed.upstream.take_only().text().contains("\"sgv1."));
        let read = bed.make("clinician", &Call::new("GET /Patient/1")).await;
        assert!(read.text() == body, "what is read is another text");
        bed.upstream.take_all();
    }
    let primitive = format!(
        "<Patient xmlns=\"http://hl7.org/fhir\"><birthDate value=\"1974\"><!--{}--></birthDate></Patient>",
        "c".repeat(600_000)
    );
    let section = format!("<section xmlns=\"urn:s\">{}<title>x</title></section>", "<p>1</p>".repeat(6000));
    for body in [primitive, section] {
        let wrote = bed.make("clinician", &Call::new("PUT /xml/1").of_type("application/xml", &body)).await;
        assert_eq!(wrote.status, 200, "{}", wrote.text());
        assert!(bed.upstream.take_only().text().contains("sgv1."));
        let read = bed.make("clinician", &Call::new("GET /xml/1")).await;
        assert!(read.text() == body, "what is read is another text");
        bed.upstream.take_all();
    }
}

/// Answers so after the first bytes of a request, and takes no more of it.
fn hasty(answer: &'static [u8]) -> std::net::SocketAddr {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        for tcp in listener.incoming() {
            let mut tcp = tcp.unwrap();
            let _read = tcp.read(&mut [0; 1024]);
            let _wrote = tcp.write_all(answer);
            kept.push(tcp);
        }
    });
    address
}

#[tokio::test]
async fn an_upstream_that_answers_early_holds_nobody_up() {
    for (answer, status, body_timeout) in [
        (b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n".as_slice(), 413, 300_000),
        // It may want the rest, but it has only so long for that.
        (b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n".as_slice(), 202, 3000),
    ] {
        let limits = format!(
            "  limits: {{buffer_bytes_max: 4096, body_bytes_max: 67108864, response_bytes_max: 134217728, body_timeout_ms: {body_timeout}}}\n"
        );
        let gate = Setup::before(hasty(answer)).replace("  limits: {}\n", &limits).start();
        let line = format!("{{\"n\":\"{}\"}}\n", "x".repeat(1015));
        let call = Call::new("PUT /Patient/1").of_type("application/x-ndjson", line.repeat(32 << 10));
        let client = gate.as_client("clinician");
        let answered = tokio::time::timeout(Duration::from_secs(60), call.from(&client)).await;
        assert_eq!(answered.expect("an answer").status, status);
        let event = gate.wait_for_event(|event| event["event"] == "ExchangeAnswered");
        assert_eq!(event["upstream_status"], status, "{event}");
    }
}
