//! How a body is carried: coded, in chunks, after a question, with digests and trailers. None of it takes a value past its rule.

use super::codings::{CODINGS, decoded, encoded};
use crate::edge::{raw, statuses};
use crate::fixture::leak::find_leaks;
use crate::fixture::tee::Tee;
use crate::fixture::upstream::Speaker;
use crate::fixture::{Bed, Call, Client, Gate, Reply, Setup, Upstream};
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, Method, Request};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::convert::Infallible;

const DOCUMENT: &str = "{\"ssn\":\"999-12-3456\",\"n\":1.10}";
const JSON: (&str, &str) = ("content-type", "application/json");
/// Fields that say what a body is as it was, each with something that looks like it.
const DIGESTS: [(&str, &str); 4] = [
    ("content-md5", "Q2hlY2sgSW50ZWdyaXR5IQ=="),
    ("digest", "sha-256=X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE="),
    ("content-digest", "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:"),
    ("repr-digest", "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:"),
];

fn over_both(gate: &Gate) -> [Client; 2] {
    let client = gate.as_client("clinician");
    [client.clone(), client.over_http2()]
}

fn canary(text: &str) -> Vec<(String, String)> {
    vec![("value".to_owned(), text.to_owned())]
}

#[tokio::test]
async fn a_coded_body_is_sealed_over_either_protocol_and_however_it_is_cut() {
    let bed = Bed::start();
    bed.upstream.always(200, &[], "");
    for coding in CODINGS {
        let body = encoded(coding, DOCUMENT.as_bytes()).await;
        for client in over_both(&bed.gate) {
            for size in [1, 7, body.len()] {
                let pieces: Vec<_> = body.chunks(size).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
                let headers = [&[JSON, ("content-encoding", coding)], &DIGESTS[..]].concat();
                let response = client.stream(Method::PUT, "/Patient/1", &headers, stream::iter(pieces)).await.unwrap();
                assert_eq!(response.status(), 200, "{coding} {size}");
                let received = bed.upstream.take_only();
                assert_eq!(received.headers["content-encoding"], coding);
                assert_eq!(received.headers["content-length"], received.body.len().to_string());
                assert!(!received.headers.contains_key("transfer-encoding"), "{coding} {size}");
                for (digest, _) in DIGESTS {
                    assert_eq!(received.headers.get(digest), None, "{coding}: of another body");
                }
                let kept = String::from_utf8(decoded(coding, &received.body).await).unwrap();
                assert!(kept.starts_with("{\"ssn\":\"sgv1.") && kept.ends_with("\",\"n\":1.10}"), "{coding}: {kept}");
            }
        }
    }
}

#[tokio::test]
async fn a_coded_answer_is_opened_and_no_digest_of_it_goes_along() {
    let bed = Bed::start();
    let [token] = bed.tokens("/Patient/1", DOCUMENT, ["/ssn"]).await;
    let sealed = DOCUMENT.replace("999-12-3456", &token);
    for coding in CODINGS {
        let body = encoded(coding, sealed.as_bytes()).await;
        let headers = [&[JSON, ("content-encoding", coding), ("accept-ranges", "bytes")], &DIGESTS[..]].concat();
        bed.upstream.always(200, &headers, body);
        for client in over_both(&bed.gate) {
            for line in ["GET /Patient/1", "HEAD /Patient/1"] {
                let call = Call::new(line).header("accept-encoding", coding).header("want-repr-digest", "sha-256=1");
                let reply = call.from(&client).await;
                let want = if line.starts_with("GET") { DOCUMENT } else { "" };
                assert_eq!((reply.status.as_u16(), reply.text().as_str()), (200, want), "{coding} {line}");
                for (name, _) in DIGESTS.iter().chain(&[("content-encoding", ""), ("accept-ranges", "")]) {
                    assert_eq!(reply.header(name), None, "{coding} {line}");
                }
                let length = reply.header("content-length").map(str::to_owned);
                let is_own = length.as_ref().is_none_or(|length| *length == DOCUMENT.len().to_string());
                assert!(is_own, "{coding} {line}: {length:?}");
            }
        }
    }
}

/// A `PUT` with trailers behind its body.
async fn with_trailers(client: &Client, over_http2: bool, body: &str, trailers: HeaderMap) -> Reply {
    let frames = [Ok::<_, Infallible>(Frame::data(Bytes::from(body.to_owned()))), Ok(Frame::trailers(trailers))];
    let body = StreamBody::new(stream::iter(frames)).boxed_unsync();
    let request = Request::put(if over_http2 { "https://localhost/Patient/1" } else { "/Patient/1" });
    let request = request.header(JSON.0, JSON.1).header("trailer", "x-patient");
    let io = TokioIo::new(client.tls().await.unwrap());
    let response = if over_http2 {
        let (mut sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
        tokio::spawn(connection);
        sender.send_request(request.body(body).unwrap()).await.unwrap()
    } else {
        let (mut sender, connection) = http1::handshake(io).await.unwrap();
        tokio::spawn(connection);
        sender.send_request(request.header("host", "localhost").body(body).unwrap()).await.unwrap()
    };
    Reply::read(response).await.unwrap()
}

#[tokio::test]
async fn trailers_of_a_request_do_not_reach_the_upstream() {
    let upstream = Upstream::start();
    let tee = Tee::start(upstream.addr()).unwrap();
    let limits = "limits: {buffer_bytes_max: 4096, body_bytes_max: 1048576}";
    let gate = Setup::before(tee.addr()).replace("limits: {}", limits).start();
    let mut trailers = HeaderMap::new();
    for name in ["x-patient", "x-ssn", "content-digest", "authorization"] {
        trailers.insert(name, "Zwetschgenmus".parse().unwrap());
    }
    let long = format!("{{\"ssn\":\"999-12-3456\",\"x\":\"{}\"}}", "y".repeat(100_000));
    for body in [DOCUMENT, &long] {
        for (client, over_http2) in over_both(&gate).into_iter().zip([false, true]) {
            let reply = with_trailers(&client, over_http2, body, trailers.clone()).await;
            assert_eq!((reply.status.as_u16(), reply.text().as_str()), (200, body));
            assert_eq!(upstream.take_only().text().matches("\"sgv1.").count(), 1);
        }
    }
    let received = tee.received();
    assert_eq!(find_leaks(&received, &canary("Zwetschgenmus")), Vec::<String>::new());
    assert_eq!(find_leaks(&received, &canary("x-patient")), Vec::<String>::new(), "nor is one announced");
    // A trailer that is none of HTTP makes the body one that breaks off.
    for trailer in ["Zwetschgenmus\r\n", "x-ssn : Zwetschgenmus\r\n", "x-ssn: a\r\n Zwetschgenmus\r\n"] {
        let head = "PUT /Patient/1 HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n";
        let chunk = format!("{:x}\r\n{DOCUMENT}\r\n0\r\n{trailer}\r\n", DOCUMENT.len());
        let call = format!("{head}transfer-encoding: chunked\r\nconnection: close\r\n\r\n{chunk}");
        let reply = raw(&gate.as_client("clinician"), call).await;
        assert_eq!(statuses(&reply), [400], "{trailer:?}: {reply}");
        upstream.expect_nothing();
    }
}

#[tokio::test]
async fn trailers_of_an_answer_do_not_reach_the_client() {
    let (bed, upstream) = (Bed::start(), Speaker::start());
    let limits = "limits: {buffer_bytes_max: 4096, response_bytes_max: 1048576}";
    let gate = Setup::before(upstream.addr()).replace("limits: {}", limits).start();
    let [token] = bed.tokens("/Patient/1", DOCUMENT, ["/ssn"]).await;
    let long = format!("{{\"ssn\":\"{token}\",\"x\":\"{}\"}}", "y".repeat(100_000));
    for body in [DOCUMENT.replace("999-12-3456", &token), long] {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntrailer: x-ssn\r\ntransfer-encoding: chunked";
        let trailers = format!("x-ssn: Zwetschgenmus\r\ncontent-digest: Zwetschgenmus\r\nx-token: {token}\r\n");
        upstream.say(format!("{head}\r\n\r\n{:x}\r\n{body}\r\n0\r\n{trailers}\r\n", body.len()));
        for client in over_both(&gate) {
            let none = stream::empty();
            let response = client.stream(Method::GET, "/Patient/1", &[("te", "trailers")], none).await.unwrap();
            assert_eq!((response.status().as_u16(), response.headers().get("trailer")), (200, None));
            let collected = response.into_body().collect().await.unwrap();
            assert_eq!(collected.trailers(), None);
            assert!(String::from_utf8_lossy(&collected.to_bytes()).starts_with("{\"ssn\":\"999-12-3456\""));
        }
        let call = "GET /Patient/1 HTTP/1.1\r\nhost: localhost\r\nte: trailers\r\nconnection: te, close\r\n\r\n";
        let reply = raw(&gate.as_client("clinician"), call).await;
        assert!(reply.contains("999-12-3456") && !reply.contains("Zwetschgenmus") && !reply.contains("sgv1."));
    }
}

#[tokio::test]
async fn a_body_is_asked_for_only_where_it_is_wanted() {
    let bed = Bed::start();
    let ask = |line: &str, more: &str| {
        let length = DOCUMENT.len();
        format!(
            "{line} HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\nconnection: close\r\n{more}content-length: {length}\r\n\r\n"
        )
    };
    let json = "content-type: application/json\r\n";
    for (who, line, more, want) in [
        ("clinician", "PUT /nowhere", json.to_owned(), 404),
        ("clinician", "PATCH /Patient/1", json.to_owned(), 405),
        ("clinician", "PUT /Patient//1", json.to_owned(), 400),
        ("clinician", "PUT /Patient/1?name=x", json.to_owned(), 400),
        ("clinician", "PUT /Patient/1", format!("{json}x-any: sgv1.AQEB\r\n"), 422),
        ("support", "PUT /Patient/1", json.to_owned(), 403),
        ("outsider", "PUT /Patient/1", json.to_owned(), 403),
        ("stranger", "PUT /Patient/1", json.to_owned(), 403),
        ("clinician", "PUT /Patient/1", "content-type: text/plain\r\n".to_owned(), 415),
        ("clinician", "PUT /Patient/1", String::new(), 415),
        ("clinician", "PUT /Patient/1", format!("{json}content-encoding: x-own\r\n"), 415),
    ] {
        let reply = raw(&bed.gate.as_client(who), ask(line, &more)).await;
        assert_eq!(statuses(&reply), [want], "{who} {line} {more}: {reply}");
        bed.upstream.expect_nothing();
    }
    let large = ask("PUT /Patient/1", json).replace(&format!("length: {}", DOCUMENT.len()), "length: 1048577");
    let reply = raw(&bed.gate.as_client("clinician"), large).await;
    assert_eq!(statuses(&reply), [413], "{reply}");
    bed.upstream.expect_nothing();
    // What comes is sealed, and the question does not go on.
    for more in [json.to_owned(), format!("{json}expect: 100-continue\r\n")] {
        let reply = raw(&bed.gate.as_client("clinician"), ask("PUT /Patient/1", &more) + DOCUMENT).await;
        assert_eq!(statuses(&reply), [100, 200], "{reply}");
        let received = bed.upstream.take_only();
        assert!(received.text().starts_with("{\"ssn\":\"sgv1."), "{}", received.text());
        assert_eq!(received.headers.get("expect"), None);
    }
}

#[tokio::test]
async fn a_part_of_a_record_is_not_to_be_had() {
    let bed = Bed::start();
    let [token] = bed.tokens("/Patient/1", DOCUMENT, ["/ssn"]).await;
    for client in over_both(&bed.gate) {
        for range in ["bytes=0-1", "bytes=8-40", "bytes=-5", "bytes=0-0,5-9", "bytes=99999-", "lines=1-2"] {
            for line in ["GET /Patient/1", "HEAD /Patient/1"] {
                let reply = Call::new(line).header("range", range).header("if-range", "\"1\"").from(&client).await;
                let want = if line.starts_with("GET") { DOCUMENT } else { "" };
                assert_eq!((reply.status.as_u16(), reply.text().as_str()), (200, want), "{range}");
                assert_eq!((reply.header("content-range"), reply.header("accept-ranges")), (None, None), "{range}");
                let received = bed.upstream.take_only();
                assert!(!received.headers.contains_key("range") && !received.headers.contains_key("if-range"));
            }
        }
    }
    // An upstream that gives one all the same.
    let part = format!("\"{}\"", token.get(..40).unwrap());
    for (kind, body) in [
        ("application/json", format!("{{\"ssn\":\"{token}\",")),
        ("application/json", format!("{{\"ssn\":{part}}}")),
        ("application/json", format!("ssn\":\"{token}\"}}")),
        (
            "multipart/byteranges; boundary=x",
            format!("--x\r\ncontent-type: application/json\r\n\r\n{part}\r\n--x--\r\n"),
        ),
    ] {
        bed.upstream.always(206, &[("content-type", kind), ("content-range", "bytes 0-40/100")], body.clone());
        let reply = bed.make("clinician", &Call::new("GET /Patient/1")).await;
        assert_eq!(reply.status, 502, "{body}: {}", reply.text());
        assert!(!reply.text().contains("sgv1."), "{}", reply.text());
    }
}
