//! What is refused of a request: with which status and code, before the upstream hears of it, and with one record.

use crate::fixture::pki::spiffe;
use crate::fixture::{Bed, Call, Client, Reply};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::Method;
use rcgen::ExtendedKeyUsagePurpose;
use serde_json::json;
use std::time::Duration;

const JSON: (&str, &str) = ("content-type", "application/json");
const NOT_CANONICAL: (u16, &str) = (400, "target_not_canonical");
const TYPE: (u16, &str) = (415, "content_type_unsupported");
const INVALID: (u16, &str) = (400, "body_invalid");
const TOO_LARGE: (u16, &str) = (413, "body_too_large");
const TIMEOUT: (u16, &str) = (408, "body_timeout");
const NOT_WRITABLE: (u16, &str) = (422, "field_not_writable");
const HIDDEN: (u16, &str) = (422, "field_hidden");

/// Every line with which a body can come to a protected route.
const WITH_BODY: [&str; 4] = ["POST /Patient", "PUT /Patient/1", "DELETE /Patient/1", "GET /Patient/1"];

#[tokio::test]
async fn what_no_route_takes_is_refused() {
    let bed = Bed::start();
    for line in [
        "GET /",
        "GET /nowhere",
        "GET /patient/1",
        "GET /PATIENT",
        "GET /Patient/",
        "GET /Patient/1/",
        "GET /Patient/1/history",
        "PUT /Patient/1/history",
        "GET /open",
        "GET /open/",
        "GET /Open/x",
        "GET /?/Patient/1",
    ] {
        bed.refuses("clinician", &Call::new(line), (404, "route_unknown")).await;
    }
}

#[tokio::test]
async fn a_method_that_its_route_does_not_take_is_not_served_by_a_wider_one() {
    let wide = "routes:\n  - {name: wide, path: '/{rest*}', methods: [GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS], \
                upstream: app, protect: none}";
    let bed = Bed::with(|setup| setup.replace("routes:", wide));
    for line in [
        "PUT /Patient",
        "DELETE /Patient",
        "OPTIONS /Patient",
        "POST /Patient/1",
        "OPTIONS /Patient/1",
        "TRACE /Patient/1",
        "BREW /Patient/1",
        "get /Patient/1",
        "PUT /open/x",
        "TRACE /elsewhere",
    ] {
        let call = Call::new(line);
        bed.refuses("clinician", &call, (405, "method_not_allowed")).await;
        assert_eq!(bed.make("clinician", &call).await.header("allow"), Some(""), "{line}");
    }
    let before = bed.gate.events().len();
    let head = bed.make("clinician", &Call::new("HEAD /Patient")).await;
    assert_eq!((head.status.as_u16(), head.body.len()), (405, 0));
    bed.refused_once(before, (405, "method_not_allowed"), "HEAD");
    bed.upstream.expect_nothing();
    assert_eq!(bed.make("clinician", &Call::new("OPTIONS /elsewhere")).await.status, 204, "what the wider one takes");
    assert_eq!(bed.make("clinician", &Call::new("GET /patient/1/x")).await.status, 404);
    assert_eq!(bed.upstream.received().len(), 2);
    let by_case = Call::new("GET /patient/1");
    bed.upstream.always(200, &[], "");
    assert_eq!(bed.make("clinician", &by_case).await.json()["code"], "route_unknown", "case leads to no wider route");
}

#[tokio::test]
async fn another_spelling_of_a_path_leads_nowhere() {
    let bed = Bed::start();
    for path in [
        "//Patient/1",
        "/Patient//1",
        "//",
        "/./Patient/1",
        "/x/../Patient/1",
        "/Patient/..",
        "/Patient/.",
        "/open/../Patient/1",
        "/open/%2e%2e/Patient/1",
        "/open/.%2E/Patient/1",
        "/Patient%2f1",
        "/Patient%2F1",
        "/open/x%2f..%2fPatient%2f1",
        "/Patient%5c1",
        "/Patient\\1",
        "/open\\..\\Patient",
        "/Patient;v=1/1",
        "/Patient/1;jsessionid=x",
        "/Patient%3b/1",
        "/%50atient/1",
        "/Patien%74/1",
        "/Patient/%31",
        "/Patient/%2531",
        "/Patient/%252f",
        "/Patient/%00",
        "/Patient/1%00.json",
        "/Patient/%0d%0aX:y",
        "/Patient/%7f",
        "/Patient/%",
        "/Patient/%2",
        "/Patient/%zz",
        "/Patient/a|b",
        "/Patient/{id}",
        "/Patient/\"x\"",
    ] {
        for method in ["GET", "PUT"] {
            bed.refuses("clinician", &Call::new(&format!("{method} {path}")), NOT_CANONICAL).await;
        }
    }
}

#[tokio::test]
async fn whom_the_config_does_not_know_gets_nothing() {
    let bed = Bed::start();
    let unknown = (403, "principal_unknown");
    for who in ["stranger", "Clinician", "clinician/x"] {
        for call in [
            Call::new("GET /Patient/1"),
            Call::new("POST /Patient").json("{}"),
            Call::new("GET /open/x"),
            Call::new("POST /open/x").body("x"),
        ] {
            bed.refuses(who, &call, unknown).await;
        }
    }
    let two = bed.gate.pki().issue(|params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let names = ["spiffe://test.example/clinician", "spiffe://test.example/billing"];
        params.subject_alt_names = names.map(spiffe).to_vec();
    });
    let nobody = bed.gate.with(Some(two));
    bed.refuses_from(&nobody, &Call::new("GET /Patient/1"), unknown).await;
    assert_eq!(bed.gate.events().pop().unwrap().get("principal"), None, "two names are none");
}

#[tokio::test]
async fn a_role_without_a_class_or_without_writes_is_refused() {
    let bed = Bed::start();
    let denied = (403, "class_denied");
    bed.refuses("outsider", &Call::new("GET /Patient/1"), denied).await;
    bed.refuses("outsider", &Call::new("DELETE /Patient/1"), denied).await;
    bed.refuses("outsider", &Call::new("POST /Patient").json("{}"), denied).await;
    let read_only = (403, "read_only");
    for line in ["POST /Patient", "PUT /Patient/1", "DELETE /Patient/1", "POST /open/x"] {
        bed.refuses("support", &Call::new(line), read_only).await;
        bed.refuses("support", &Call::new(line).json("{\"active\":true}"), read_only).await;
    }
}

#[tokio::test]
async fn a_query_passes_by_name_alone() {
    let bed = Bed::start();
    let refused = (400, "query_parameter_not_allowed");
    for query in [
        "name=Chalmers",
        "_count=5&name=Chalmers",
        "name=Chalmers&_count=5",
        "_COUNT=5",
        "%5fcount=5",
        "_count%20=5",
        "+_count=5",
        "_count[]=5",
        "Chalmers",
        "=Chalmers",
        "_count=5&&ssn",
    ] {
        for call in
            [Call::new(&format!("GET /Patient?{query}")), Call::new(&format!("POST /Patient?{query}")).json("{}")]
        {
            bed.refuses("clinician", &call, refused).await;
        }
    }
    bed.refuses("clinician", &Call::new("GET /Patient/1?_count=5"), refused).await;
    for query in ["_count=5", "_count", "_count=&_count=x%26y", "&", ""] {
        let call = Call::new(&format!("GET /Patient?{query}"));
        assert_eq!(bed.make("clinician", &call).await.status, 404, "{query}: the registry has no such list");
        assert_eq!(bed.upstream.take_only().target, format!("/Patient?{query}"));
    }
}

/// Some servers take `;` for `&`.
#[tokio::test]
async fn a_semicolon_hides_no_parameter() {
    let bed = Bed::start();
    let call = Call::new("GET /Patient?_count=5;name=Chalmers");
    bed.refuses("clinician", &call, (400, "query_parameter_not_allowed")).await;
}

#[tokio::test]
async fn only_a_body_of_a_format_that_the_rules_are_for_is_taken() {
    let bed = Bed::start();
    let body = "{\"ssn\":\"999-12-3456\"}";
    for types in [
        &[][..],
        &[""],
        &["text/plain"],
        &["text/json"],
        &["application/octet-stream"],
        &["application/json-seq"],
        &["application/json-patch+json"],
        &["application/merge-patch+json"],
        &["application/xml"],
        &["multipart/form-data; boundary=x"],
        &["application/x-www-form-urlencoded"],
        &["application/json; charset=utf-16"],
        &["application/json;charset=UTF-16LE"],
        &["application/json; charset=\"ibm037\""],
        &["application/json; charset=utf-8; charset=utf-7"],
        &["application/json, application/json"],
        &["application/json", "application/json"],
        &["application/json", "text/plain"],
        &["text/plain", "application/json"],
    ] {
        for line in WITH_BODY {
            let call = types.iter().fold(Call::new(line), |call, kind| call.header("content-type", kind));
            bed.refuses("clinician", &call.body(body), TYPE).await;
        }
    }
    for kind in ["Application/JSON", "application/json;charset=\"UTF-8\"", "application/fhir+json; fhirVersion=4.0"] {
        let call = Call::new("PUT /Patient/1").header("content-type", kind).body(body);
        assert_eq!(bed.make("clinician", &call).await.status, 200, "{kind}");
    }
}

#[tokio::test]
async fn a_body_of_an_unknown_or_a_second_coding_is_not_taken() {
    let bed = Bed::start();
    for codings in [&["compress"][..], &["x-own"], &["identity, gzip"], &["identity", "br"], &[""]] {
        for line in WITH_BODY {
            let call = Call::new(line).json("{\"ssn\":\"999-12-3456\"}");
            let call = codings.iter().fold(call, |call, coding| call.header("content-encoding", coding));
            bed.refuses("clinician", &call, (415, "content_encoding_unsupported")).await;
        }
    }
    let call = Call::new("PUT /Patient/1").json("{}").header("content-encoding", "Identity");
    assert_eq!(bed.make("clinician", &call).await.status, 200);
}

/// Each a document that some parser takes, with the value in it.
const NOT_JSON: [&[u8]; 47] = [
    b"{\"ssn\":\"999-12-3456\"",
    b"{\"ssn\":\"999-12-3456",
    b"{\"ssn\":",
    b"{",
    b"{\"ssn\":\"999-12-3456\",}",
    b"{\"ssn\":\"999-12-3456\"}}",
    b"{\"ssn\":\"999-12-3456\"]",
    b"{\"ssn\":\"999-12-3456\"} {}",
    b"{\"ssn\":\"999-12-3456\"}{\"ssn\":\"1\"}",
    b"{\"ssn\":\"999-12-3456\"}\n{\"ssn\":\"1\"}\n",
    b"{\"ssn\":\"999-12-3456\"}garbage",
    b"{\"ssn\":\"999-12-3456\"}\0",
    b"\x1e{\"ssn\":\"999-12-3456\"}\n",
    b"[\"999-12-3456\",]",
    b"[,\"999-12-3456\"]",
    b"{\"ssn\":\"999-12-3456\" \"b\":1}",
    b"{,\"ssn\":\"999-12-3456\"}",
    b"{\"ssn\"=\"999-12-3456\"}",
    b"{ssn:\"999-12-3456\"}",
    b"{'ssn':'999-12-3456'}",
    b"{\"ssn\":'999-12-3456'}",
    b"{\"ssn\":\"999-12-3456\"/* */}",
    b"{\"ssn\":\"999-12-3456\"}//",
    b"#\n{\"ssn\":\"999-12-3456\"}",
    b"{\"ssn\":NaN}",
    b"{\"ssn\":-Infinity}",
    b"{\"ssn\":0999123456}",
    b"{\"ssn\":+999123456}",
    b"{\"ssn\":.5}",
    b"{\"ssn\":5.}",
    b"{\"ssn\":5e}",
    b"{\"ssn\":0x3B9ACA00}",
    b"{\"ssn\":999_123_456}",
    b"{\"ssn\":True}",
    b"{\"ssn\":nul}",
    b"{\"ssn\":undefined}",
    b"{\"ssn\":\"999\t12\"}",
    b"{\"ssn\":\"999\n12\"}",
    b"{\"ssn\":\"999\x0012\"}",
    b"{\"s\x01sn\":\"999\"}",
    b"{\"ssn\":\"\\x39\"}",
    b"{\"ssn\":\"\\u39\"}",
    b"{\"ssn\":\"\\u00g9\"}",
    b"{\"ssn\":\"\\U0039\"}",
    b"{\"ssn\":\"\\'\"}",
    b"\x0c{\"ssn\":\"999-12-3456\"}",
    b" \r\n\t",
];

#[tokio::test]
async fn a_body_that_is_no_json_is_refused() {
    let bed = Bed::start();
    for body in NOT_JSON {
        bed.refuses("clinician", &Call::new("POST /Patient").json(body), INVALID).await;
    }
    for line in WITH_BODY {
        bed.refuses("clinician", &Call::new(line).json("{\"ssn\":\"999-12-3456\""), INVALID).await;
    }
}

#[tokio::test]
async fn a_body_in_another_encoding_is_refused() {
    let bed = Bed::start();
    let text = "{\"ssn\":\"999-12-3456\"}";
    let mut bodies: Vec<Vec<u8>> = Vec::new();
    for mark in ["", "\u{feff}"] {
        let marked = format!("{mark}{text}");
        bodies.push(marked.encode_utf16().flat_map(u16::to_le_bytes).collect());
        bodies.push(marked.encode_utf16().flat_map(u16::to_be_bytes).collect());
        bodies.push(marked.chars().flat_map(|c| u32::from(c).to_le_bytes()).collect());
        bodies.push(marked.chars().flat_map(|c| u32::from(c).to_be_bytes()).collect());
    }
    for mark in ["\u{feff}", "\u{feff}\u{feff}{}", "\u{feff}\u{feff}", "\u{a0}{}"] {
        bodies.push(mark.as_bytes().to_vec());
    }
    // Where the value, another value, a name and a blank have a byte sequence that is not UTF-8: a lone continuation,
    // a cut character, an overlong solidus, a surrogate, a character beyond the last, Latin-1.
    for bad in [&b"\x80"[..], b"\xe2\x82", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xff", b"M\xfcller"] {
        for place in ["{\"ssn\":\"?\"}", "{\"other\":\"?\"}", "{\"?\":1}", "{\"ssn\":\"999-12-3456\"}?"] {
            let (before, after) = place.split_once('?').unwrap();
            bodies.push([before.as_bytes(), bad, after.as_bytes()].concat());
        }
    }
    for body in bodies {
        bed.refuses("clinician", &Call::new("POST /Patient").json(body), INVALID).await;
    }
}

#[tokio::test]
async fn what_is_larger_than_the_limits_is_refused() {
    let limits = "limits: {body_bytes_max: 4000, value_bytes_max: 400, depth_max: 8}";
    let bed = Bed::with(|setup| setup.replace("limits: {}", limits));
    let padded = |length: usize| format!("{{\"other\":\"\"{}}}", " ".repeat(length - 12));
    let nested = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
    let text = |length: usize| format!("{{\"ssn\":\"{}\"}}", "9".repeat(length - 2));
    let object = |length: usize| format!("{{\"note\":{{\"a\":\"{}\"}}}}", "9".repeat(length - 8));
    let number = |length: usize| format!("{{\"ssn\":{}}}", "9".repeat(length));
    for (good, bad) in [
        (padded(4000), padded(4001)),
        (nested(8), nested(9)),
        (nested(8), nested(1900)),
        (text(400), text(401)),
        (object(400), object(401)),
        (number(400), number(401)),
    ] {
        assert!(good.len() <= 4000);
        for line in WITH_BODY {
            bed.refuses("clinician", &Call::new(line).json(&bad), TOO_LARGE).await;
        }
        bed.upstream.always(204, &[], "");
        assert_eq!(bed.make("clinician", &Call::new("POST /Patient").json(&good)).await.status, 204, "{good}");
        bed.upstream.take_only();
    }
    let unruled = format!("{{\"other\":\"{}\"}}", "9".repeat(3000));
    assert_eq!(bed.make("clinician", &Call::new("POST /Patient").json(unruled)).await.status, 204, "no rule reads it");
    bed.upstream.take_only();
}

#[tokio::test]
async fn a_body_of_no_stated_length_is_no_way_around_the_limit() {
    let bed = Bed::with(|setup| setup.replace("limits: {}", "limits: {body_bytes_max: 4000}"));
    for client in both(&bed, "clinician") {
        let before = bed.gate.events().len();
        let pieces = stream::iter((0..50).map(|_| Ok(Bytes::from(vec![b' '; 100]))));
        let response = client.stream(Method::POST, "/Patient", &[JSON], pieces).await.unwrap();
        Reply::read(response).await.unwrap().expect_problem(413, "body_too_large");
        bed.upstream.expect_nothing();
        bed.refused_once(before, TOO_LARGE, "5000 bytes");
    }
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let bed = Bed::with(|setup| setup.replace("limits: {}", "limits: {body_timeout_ms: 300}"));
    let start = || stream::iter([Ok(Bytes::from_static(b"{\"ssn\":\"999-12-3456\""))]);
    for client in both(&bed, "clinician") {
        let trickling = stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            Some((Ok(Bytes::from_static(b" ")), ()))
        });
        for pieces in [start().chain(stream::pending()).boxed(), start().chain(trickling).boxed()] {
            let before = bed.gate.events().len();
            let response = client.stream(Method::POST, "/Patient", &[JSON], pieces).await.unwrap();
            Reply::read(response).await.unwrap().expect_problem(408, "body_timeout");
            bed.upstream.expect_nothing();
            bed.refused_once(before, TIMEOUT, "a slow body");
        }
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_goes_nowhere() {
    let bed = Bed::start();
    for client in both(&bed, "clinician") {
        let before = bed.gate.events().len();
        // All of a document, but not of the body.
        let start = stream::iter([Ok(Bytes::from_static(b"{\"ssn\":\"1\"}"))]);
        let broken = stream::once(async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            Err("the client is gone".into())
        });
        assert!(client.stream(Method::POST, "/Patient", &[JSON], start.chain(broken)).await.is_err());
        bed.gate.wait_for_event(|_| bed.gate.events().len() > before);
        tokio::time::sleep(Duration::from_millis(100)).await;
        for event in bed.gate.events().split_off(before) {
            let (kind, code) = (event["event"].as_str().unwrap(), event["code"].as_str().unwrap_or_default());
            assert!(matches!((kind, code), ("ExchangeRefused", "body_aborted") | ("ExchangeAbandoned", _)), "{event}");
            assert_eq!((&event["method"], &event["sent_upstream"]), (&json!("POST"), &json!(false)), "{event}");
        }
        bed.upstream.expect_nothing();
    }
}

#[tokio::test]
async fn what_a_role_may_not_write_is_refused() {
    let bed = Bed::start();
    for (who, field, values) in [
        ("billing", "ssn", &["\"999-12-3456\"", "\" \"", "0", "1e400", "false", "{}", "[]", "{\"a\":1}", "[null]"][..]),
        ("billing", "note", &["\"x\"", "\"***\""]),
        ("desk", "note", &["\"x\"", "{\"a\":1}", "\"[REDACTED]\""]),
        ("dba", "ssn", &["\"999-12-3456\"", "1", "true", "[\"x\"]"]),
        ("dba", "note", &["\"x\""]),
    ] {
        for value in values {
            for line in WITH_BODY {
                let body = format!("{{\"other\":[1,{{\"{field}\":{value}}}],\"{field}\":{value}}}");
                bed.refuses(who, &Call::new(line).json(body), NOT_WRITABLE).await;
            }
        }
    }
    let nested =
        Call::new("POST /Patient").json("{\"name\":[{\"given\":[\"a\"]}],\"a\":{\"b\":[{\"s\\u0073n\":\"1\"}]}}");
    bed.refuses("billing", &nested, NOT_WRITABLE).await;
    bed.refuses("dba", &nested, NOT_WRITABLE).await;
    for (who, body) in [
        ("billing", "{\"name\":[{\"family\":\"Chalmers\"}],\"active\":true}"),
        ("desk", "{\"ssn\":\"999-12-3456\",\"name\":[{\"family\":\"Chalmers\"}]}"),
        ("dba", "{\"active\":true}"),
    ] {
        assert_eq!(bed.make(who, &Call::new("POST /Patient").json(body)).await.status, 201, "{who}");
        bed.upstream.take_only();
    }
}

#[tokio::test]
async fn what_was_hidden_is_not_written_over_what_it_hides() {
    let writes = "billing: {views: {ssn: mask, name: plain, note: mask}, writes: [ssn, note]}";
    let bed = Bed::with(|setup| setup.replace("billing: {views: {ssn: mask, name: plain, note: mask}}", writes));
    let masked = ["***-**-3456", "\\u002a**-**-3456", "[REDACTED]", "\\u005bREDACTED]", "9*", "*"];
    for who in ["billing", "desk"] {
        for value in masked {
            for line in WITH_BODY {
                bed.refuses(who, &Call::new(line).json(format!("{{\"ssn\":\"{value}\"}}")), HIDDEN).await;
            }
        }
    }
    let clinician = Call::new("POST /Patient").json("{\"ssn\":\"***\",\"name\":[{\"family\":\"[REDACTED]\"}]}");
    assert_eq!(bed.make("clinician", &clinician).await.status, 201, "to one who sees all, it hides nothing");
    bed.upstream.take_only();
    // What a role was shown of a record, put back as it is.
    bed.make("clinician", &Call::new("PUT /Patient/7").json("{\"ssn\":\"999-12-3456\",\"a\":1}")).await;
    bed.upstream.take_only();
    for who in ["billing", "desk"] {
        let shown = bed.make(who, &Call::new("GET /Patient/7")).await;
        assert_eq!(shown.status, 200);
        bed.upstream.take_only();
        bed.refuses(who, &Call::new("PUT /Patient/7").json(&shown.body), HIDDEN).await;
    }
}

fn both(bed: &Bed, who: &str) -> [Client; 2] {
    let client = bed.gate.as_client(who);
    [client.clone(), client.over_http2()]
}
