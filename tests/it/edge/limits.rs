//! How much at once: streams, pipelined requests, exchanges, connections, header fields.

use super::{PATIENCE, expect_refusals, raw, rest, statuses};
use crate::fixture::rough::Rough;
use crate::fixture::tee::Tee;
use crate::fixture::{Reply, Setup, Upstream};
use futures_util::future::join_all;
use http::Method;
use tokio::net::TcpStream;
use tokio::time::{Duration, sleep, timeout};

#[tokio::test]
async fn a_hundred_streams_of_one_connection_are_all_served() {
    let upstream = Rough::held();
    let gate = Setup::before(upstream.addr()).start();
    let connection = gate.as_client("clinician").over_http2().connect().await.unwrap();
    let calls = (0..100).map(|number| {
        let mut stream = connection.share().unwrap();
        tokio::spawn(async move {
            let path = format!("/open/{number}");
            stream.call(Method::GET, &path, &[], "").await.unwrap()
        })
    });
    let calls: Vec<_> = calls.collect();
    upstream.wait_for(100).await;
    upstream.release();
    let replies = join_all(calls).await;
    assert!(replies.iter().all(|reply| reply.as_ref().unwrap().status == 200));
    let mut targets: Vec<String> = upstream.requests().iter().map(|request| target(request)).collect();
    targets.sort();
    let mut wanted: Vec<String> = (0..100).map(|number| format!("/open/{number}")).collect();
    wanted.sort();
    assert_eq!(targets, wanted);
}

fn target(request: &str) -> String {
    request.split(' ').nth(1).unwrap().to_owned()
}

#[tokio::test]
async fn streams_beyond_the_limit_wait_for_their_turn() {
    let upstream = Rough::held();
    let gate = Setup::before(upstream.addr()).replace("limits: {}", "limits: {streams_max: 3}").start();
    let connection = gate.as_client("clinician").over_http2().connect().await.unwrap();
    // The first exchange brings the gate's settings.
    connection.share().unwrap().call(Method::GET, "/nowhere", &[], "").await.unwrap();
    let calls: Vec<_> = (0..10)
        .map(|_| {
            let mut stream = connection.share().unwrap();
            tokio::spawn(async move { stream.call(Method::GET, "/open/x", &[], "").await.unwrap() })
        })
        .collect();
    upstream.wait_for(3).await;
    sleep(Duration::from_millis(200)).await;
    assert_eq!(upstream.requests().len(), 3);
    upstream.release();
    assert!(join_all(calls).await.iter().all(|reply| reply.as_ref().unwrap().status == 200));
}

#[tokio::test]
async fn a_connection_serves_one_request_after_another() {
    let upstream = Upstream::start();
    let gate = Setup::before(upstream.addr()).start();
    let client = gate.as_client("clinician");
    let mut connection = client.connect().await.unwrap();
    for number in 0..20 {
        let body = format!("{{\"ssn\":\"999-12-{number:04}\"}}");
        let json = [("content-type", "application/json")];
        let made = connection.call(Method::POST, "/Patient", &json, body.clone()).await.unwrap();
        assert_eq!((made.status.as_u16(), made.text()), (201, body));
        let path = made.header("location").unwrap().to_owned();
        let refused = connection.call(Method::GET, "/nowhere", &[], "").await.unwrap();
        refused.expect_problem(404, "route_unknown");
        assert_eq!(connection.call(Method::GET, &path, &[], "").await.unwrap().text(), made.text());
    }
    assert_eq!(upstream.received().len(), 40);

    let request = |path: &str, more: &str| format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{more}\r\n");
    let reply = raw(
        &client,
        request("/Patient/1", "")
            + &request("/nowhere", "")
            + "POST /Patient HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
            + &request("/Patient/2", "Connection: close\r\n"),
    )
    .await;
    assert_eq!(statuses(&reply), [200, 404, 201, 200], "{reply}");
    let at = |text: &str| reply.find(text).unwrap();
    assert!(at("999-12-0000") < at("route_unknown") && at("route_unknown") < at("999-12-0001"));
}

#[tokio::test]
async fn more_exchanges_than_there_is_room_for_are_told_so_at_once() {
    let upstream = Rough::held();
    let gate = Setup::before(upstream.addr()).replace("limits: {}", "limits: {exchanges_max: 2}").start();
    let client = gate.as_client("clinician");
    let under_way: Vec<_> = [client.clone(), client.clone().over_http2()]
        .into_iter()
        .map(|client| tokio::spawn(async move { client.get("/open/x").await }))
        .collect();
    upstream.wait_for(2).await;
    let late: Vec<Reply> = vec![
        client.get("/open/late").await,
        client.clone().over_http2().get("/open/late").await,
        client.post("/Patient", "{\"ssn\":\"999-12-3456\"}").await,
    ];
    for reply in &late {
        reply.expect_problem(503, "overloaded");
        assert_eq!(reply.header("retry-after"), Some("1"));
    }
    let events: Vec<_> = gate.events_named("ExchangeRefused");
    assert_eq!(events.len(), 3);
    for event in &events {
        assert_eq!(event["code"], "overloaded");
        assert_eq!(event["principal"], "spiffe://test.example/clinician");
        assert_eq!(event["sent_upstream"], false);
    }
    assert_eq!(gate.metric("sealgate_refusals_total{code=\"overloaded\"}"), 3.0);
    upstream.release();
    for call in under_way {
        assert_eq!(call.await.unwrap().status, 200);
    }
    assert_eq!(client.get("/open/x").await.status, 200, "there is room again");
    assert_eq!(upstream.requests().len(), 3, "nothing of the refused ones");
}

#[tokio::test]
async fn a_refusal_for_overload_has_the_fields_of_every_other() {
    let upstream = Rough::held();
    let gate = Setup::before(upstream.addr()).replace("limits: {}", "limits: {exchanges_max: 1}").start();
    let client = gate.as_client("clinician");
    let first = client.clone();
    let under_way = tokio::spawn(async move { first.get("/open/x").await });
    upstream.wait_for(1).await;
    let id = "018f6b2e-7c1a-7a3b-8c4d-5e6f708192a3";
    let reply = client.call(Method::GET, "/open/x", &[("x-request-id", id)], "").await;
    reply.expect_problem(503, "overloaded");
    upstream.release();
    under_way.await.unwrap();
    assert_eq!(reply.header("via"), Some("1.1 sealgate"));
    assert_eq!(reply.header("x-request-id"), Some(id));
    assert_eq!(gate.events_named("ExchangeRefused").pop().unwrap()["request_id"], id);
}

#[tokio::test]
async fn more_connections_than_there_is_room_for_are_closed() {
    let gate = Setup::before(Upstream::start().addr()).replace("limits: {}", "limits: {connections_max: 2}").start();
    let client = gate.as_client("clinician");
    let (mut first, mut second) = (client.connect().await.unwrap(), client.connect().await.unwrap());
    for _ in 0..3 {
        assert!(client.tls().await.is_err());
    }
    let mut tcp = TcpStream::connect(gate.address).await.unwrap();
    assert!(rest(&mut tcp).await.is_empty());
    expect_refusals(&gate, &[("overloaded", 4)]).await;
    for connection in [&mut first, &mut second] {
        assert_eq!(connection.call(Method::GET, "/open/x", &[], "").await.unwrap().status, 404);
    }
    assert_eq!(gate.metric("sealgate_connections"), 2.0);
    drop(first);
    let room = async {
        while client.tls().await.is_err() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, room).await.expect("a place becomes free");
    assert_eq!(second.call(Method::GET, "/open/x", &[], "").await.unwrap().status, 404);
}

#[tokio::test]
async fn too_many_or_too_large_fields_are_refused_and_on_record() {
    let upstream = Upstream::start();
    let tee = Tee::start(upstream.addr()).unwrap();
    let gate =
        Setup::before(tee.addr()).replace("limits: {}", "limits: {headers_max: 20, header_bytes_max: 8192}").start();
    let client = gate.as_client("clinician");
    let many = |count: usize| (0..count).map(|n| format!("x-{n}: 1\r\n")).collect::<String>();
    let request =
        |fields: &str| format!("GET /open/x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{fields}\r\n");
    let mut refused = 0;
    for (text, want) in [
        (request(&many(18)), 404),
        (request(&many(19)), 431),
        (request(&format!("x-large: {}\r\n", "a".repeat(7000))), 404),
        (request(&format!("x-large: {}\r\n", "a".repeat(8192))), 431),
        (request(&format!("{}: 1\r\n", "a".repeat(8192))), 431),
        (format!("GET /open/{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "a".repeat(9000)), 414),
    ] {
        tee.clear();
        let reply = raw(&client, &text).await;
        let got = statuses(&reply);
        // Where the length of the target alone is too much, either status says it.
        let good = got == [want] || (want == 414 && got == [431]);
        assert!(good, "{want}: {reply} for {}…", &text[..60]);
        if want != 404 {
            refused += 1;
            assert!(tee.received().is_empty());
        }
    }
    // The record is made when the connection has ended.
    let recorded = async {
        while gate.events_named("ExchangeRefused").len() < refused {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, recorded).await.expect("each is on record");
    let records = gate.events_named("ExchangeRefused");
    assert_eq!(records.len(), refused);
    for record in records {
        assert_eq!(record["code"], "request_malformed");
        assert_eq!(record["principal"], "spiffe://test.example/clinician");
    }
    assert_eq!(gate.metric("sealgate_refusals_total{code=\"request_malformed\"}"), refused as f64);
}

#[tokio::test]
async fn too_large_fields_are_refused_over_http2() {
    let upstream = Upstream::start();
    let gate = Setup::before(upstream.addr())
        .replace("limits: {}", "limits: {headers_max: 20, header_bytes_max: 8192}")
        .start();
    let client = gate.as_client("clinician").over_http2();
    let large = "a".repeat(10_000);
    let outcome = client.try_call(Method::GET, "/open/x", &[("x-large", large.as_str())], "").await;
    if let Ok(reply) = outcome {
        assert_eq!(reply.status, 431);
    }
    upstream.expect_nothing();
    assert_eq!(client.get("/open/x").await.status, 404);
}

#[tokio::test]
async fn too_many_fields_are_refused_over_http2() {
    let upstream = Upstream::start();
    let gate = Setup::before(upstream.addr()).replace("limits: {}", "limits: {headers_max: 20}").start();
    let client = gate.as_client("clinician").over_http2();
    let names: Vec<String> = (0..40).map(|n| format!("x-{n}")).collect();
    let fields: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "1")).collect();
    let reply = client.call(Method::GET, "/open/x", &fields, "").await;
    assert_eq!(reply.status, 431, "{}", reply.text());
    upstream.expect_nothing();
}

#[tokio::test]
async fn what_was_not_understood_is_recorded_as_no_method() {
    let gate = Setup::before(Upstream::start().addr()).start();
    raw(&gate.as_client("clinician"), "POST /open/x HTTP/1.1\r\nHost : localhost\r\n\r\n").await;
    let event = gate.wait_for_event(|event| event["code"] == "request_malformed");
    assert_eq!(event["method"], "-", "{event}");
}
