//! Routes with `protect: none`: bodies pass as they are, both ways, as they come; an end that is none is told.

use crate::fixture::{Bed, Call, Client, Reply, Setup};
use bytes::Bytes;
use futures_util::stream;
use http::Method;
use http_body_util::BodyExt;
use serde_json::Value;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(30);

/// All byte values, what would be refused elsewhere, and more than a protected body may be.
fn anything() -> Vec<u8> {
    let mut body: Vec<u8> = (0..=255).collect();
    body.extend_from_slice(b"{\"ssn\":\"999-12-3456\",\"token\":\"sgv1.AQEB\",}\0");
    body.resize(3_000_000, b'\xff');
    body
}

fn both(client: &Client) -> [Client; 2] {
    [client.clone(), client.clone().over_http2()]
}

#[tokio::test]
async fn bodies_pass_byte_for_byte() {
    let bed = Bed::start();
    let body = anything();
    for client in both(&bed.gate.as_client("outsider")) {
        for (kind, coding) in [("application/json", "gzip"), ("image/png", "br"), ("text/html", "identity")] {
            let answer = [body.as_slice(), kind.as_bytes()].concat();
            let headers = [("content-type", kind), ("content-encoding", coding), ("etag", "\"1\"")];
            bed.upstream.always(203, &headers, answer.clone());
            let path = "/open/a/b;c=d".replace(';', ",");
            let call = Call::new(&format!("POST {path}?ssn=999&sgv1.=x"))
                .header("content-type", kind)
                .header("content-encoding", coding)
                .header("x-token", "sgv1.AQEB")
                .body(&body);
            let reply = call.from(&client).await;
            assert_eq!(reply.status, 203);
            assert!(reply.body == answer, "{} bytes of {}", reply.body.len(), answer.len());
            for (name, value) in headers {
                assert_eq!(reply.header(name), Some(value));
            }
            let received = bed.upstream.take_only();
            assert!(received.body == body, "{} bytes of {}", received.body.len(), body.len());
            assert_eq!(received.target, format!("{path}?ssn=999&sgv1.=x"));
            assert_eq!(received.headers["content-encoding"], coding);
            assert_eq!(received.headers["x-token"], "sgv1.AQEB");
        }
    }
    let completed = || bed.gate.events_named("BodyCompleted");
    bed.gate.wait_for_event(|_| completed().len() == 6);
    assert!(completed().iter().all(|event| event.get("code").is_none()), "{:#?}", completed());
    assert_eq!(bed.gate.events_named("ExchangeIntended").len(), 6);
    assert_eq!(bed.gate.events_named("ExchangeAnswered").len(), 6);
}

#[tokio::test]
async fn what_has_no_body_has_no_end_of_its_own() {
    let bed = Bed::start();
    bed.upstream.keep("/open/x", "{}");
    bed.upstream.keep("/open/empty", "");
    for line in ["HEAD /open/x", "GET /open/empty"] {
        let before = bed.gate.events().len();
        let reply = bed.make("clinician", &Call::new(line)).await;
        assert_eq!((reply.status.as_u16(), reply.body.len()), (200, 0), "{line}");
        tokio::time::sleep(Duration::from_millis(100)).await;
        let events = bed.gate.events().split_off(before);
        let kinds: Vec<_> = events.iter().map(|event| &event["event"]).collect();
        assert_eq!(kinds, ["ExchangeAnswered"], "{line}");
    }
}

/// Reads until `end` has come.
async fn read_until(tcp: &mut TcpStream, end: &[u8]) {
    let mut seen = Vec::new();
    while !seen.windows(end.len()).any(|window| window == end) {
        seen.push(timeout(PATIENCE, tcp.read_u8()).await.unwrap().unwrap());
    }
}

#[tokio::test]
async fn bodies_pass_as_they_come() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gate = Setup::before(listener.local_addr().unwrap()).start();
    for client in both(&gate.as_client("clinician")) {
        let (more, pieces) = mpsc::unbounded_channel::<&'static str>();
        let pieces = stream::unfold(pieces, async |mut pieces| {
            let piece = pieces.recv().await?;
            Some((Ok(Bytes::from(piece)), pieces))
        });
        let call = tokio::spawn(async move { client.stream(Method::POST, "/open/x", &[], Box::pin(pieces)).await });
        more.send("first piece").unwrap();
        let (mut tcp, _) = timeout(PATIENCE, listener.accept()).await.unwrap().unwrap();
        read_until(&mut tcp, b"first piece").await;
        more.send("second piece").unwrap();
        read_until(&mut tcp, b"second piece").await;
        drop(more);
        read_until(&mut tcp, b"\r\n0\r\n\r\n").await;
        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n";
        tcp.write_all(format!("{head}3\r\none\r\n").as_bytes()).await.unwrap();
        let mut response = call.await.unwrap().unwrap();
        let frame = timeout(PATIENCE, response.body_mut().frame()).await.unwrap().unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), "one", "before there is more");
        tcp.write_all(b"3\r\ntwo\r\n0\r\n\r\n").await.unwrap();
        assert_eq!(Reply::read(response).await.unwrap().text(), "two");
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_at_the_upstream_is_not_passed_as_whole() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gate = Setup::before(listener.local_addr().unwrap()).start();
    for head in ["content-length: 100", "transfer-encoding: chunked"] {
        for client in both(&gate.as_client("clinician")) {
            let before = gate.events().len();
            let call = tokio::spawn(async move { client.stream(Method::GET, "/open/x", &[], stream::empty()).await });
            let (mut tcp, _) = timeout(PATIENCE, listener.accept()).await.unwrap().unwrap();
            read_until(&mut tcp, b"\r\n\r\n").await;
            let words = format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n3\r\none\r\n");
            tcp.write_all(words.as_bytes()).await.unwrap();
            let response = call.await.unwrap().unwrap();
            assert_eq!(response.status(), 200);
            drop(tcp);
            assert!(Reply::read(response).await.is_err(), "{head}");
            gate.wait_for_event(|_| gate.events().len() == before + 2);
            let event = gate.events().pop().unwrap();
            let (kind, code) = (event["event"].as_str(), event["code"].as_str());
            assert_eq!((kind, code), (Some("BodyCompleted"), Some("body_broke_off")));
        }
    }
}

/// The caller is at fault here, not the upstream.
#[tokio::test]
async fn a_request_body_that_does_not_come_is_the_callers_fault() {
    let bed = Bed::with(|setup| setup.replace("limits: {}", "limits: {body_timeout_ms: 300}"));
    for client in both(&bed.gate.as_client("clinician")) {
        let pieces =
            futures_util::StreamExt::chain(stream::iter([Ok(Bytes::from_static(b"start"))]), stream::pending());
        let response = client.stream(Method::POST, "/open/x", &[], pieces).await.unwrap();
        let reply = Reply::read(response).await.unwrap();
        let code: Value = reply.json()["code"].clone();
        assert_eq!((reply.status.as_u16(), code.as_str()), (408, Some("body_timeout")));
    }
}

#[tokio::test]
async fn who_is_refused_elsewhere_is_refused_here() {
    let bed = Bed::start();
    bed.refuses("stranger", &Call::new("GET /open/x"), (403, "principal_unknown")).await;
    bed.refuses("support", &Call::new("POST /open/x").body("x"), (403, "read_only")).await;
    bed.refuses("clinician", &Call::new("PUT /open/x").body("x"), (405, "method_not_allowed")).await;
    bed.refuses("clinician", &Call::new("GET /open/../Patient/1"), (400, "target_not_canonical")).await;
}
