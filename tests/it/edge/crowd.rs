//! Limits that keep one client, or one address, from taking what is there for all.

use super::{expect_refusals, raw};
use crate::fixture::{Gate, Setup, Upstream};
use bytes::Bytes;
use futures_util::stream;
use http::Method;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::sleep;

fn limited(line: &str) -> (Gate, Upstream) {
    let upstream = Upstream::start();
    let gate = Setup::before(upstream.addr()).replace("limits: {}", &format!("limits: {{{line}}}")).start();
    (gate, upstream)
}

#[tokio::test]
async fn a_client_over_its_rate_waits_and_the_others_do_not() {
    let (gate, upstream) = limited("requests_per_second_max: 1, requests_burst_max: 5");
    let client = gate.as_client("clinician");
    for client in [client.clone(), client.clone().over_http2()] {
        let mut connection = client.connect().await.unwrap();
        let mut statuses = Vec::new();
        for _ in 0..20 {
            let reply = connection.call(Method::GET, "/open/x", &[], "").await.unwrap();
            if reply.status == 429 {
                reply.expect_problem(429, "rate_limited");
                assert_eq!(reply.header("retry-after"), Some("1"));
            }
            statuses.push(reply.status.as_u16());
        }
        let (served, over) = statuses.split_at(statuses.iter().position(|status| *status == 429).unwrap());
        // It has what it left from before, and one or another that came while it asked.
        assert!((1..=8).contains(&served.len()) && served.iter().all(|status| *status == 404), "{statuses:?}");
        assert!(over.iter().filter(|status| **status == 429).count() >= 10, "{statuses:?}");
        assert_eq!(gate.as_client("billing").get("/open/x").await.status, 404, "another client");
        // Another config does not give it a new start: it has what comes back while that is read, and no more.
        gate.rewrite("limits: {", &format!("limits: {{streams_max: {}, ", 40 + upstream.received().len()));
        assert_eq!(gate.reload(), "applied");
        let mut served = 0;
        while client.get("/open/x").await.status != 429 {
            served += 1;
            assert!(served < 5, "what it used is forgotten");
        }
        sleep(Duration::from_secs(6)).await;
        let config = std::fs::read_to_string(gate.folder().join("gate.yaml")).unwrap();
        let line = config.lines().find(|line| line.contains("streams_max")).unwrap().to_owned();
        gate.rewrite(&line, "  limits: {requests_per_second_max: 1, requests_burst_max: 5}");
    }
    let refused = gate.metric("sealgate_refusals_total{code=\"rate_limited\"}");
    let counted = || -> u64 {
        let events = gate.events_named("RequestsLimited");
        assert!(events.iter().all(|event| event["principal"] == "spiffe://test.example/clinician"));
        events.iter().map(|event| event["count"].as_u64().unwrap()).sum()
    };
    for _ in 0..50 {
        if counted() as f64 >= refused {
            break;
        }
        sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(counted() as f64, refused, "every one is on record");
}

#[tokio::test]
async fn connections_of_one_address_are_limited_and_free_again_when_they_end() {
    let (gate, _upstream) = limited("connections_per_address_max: 2");
    let client = gate.as_client("clinician");
    let mut first = client.connect().await.unwrap();
    let second = client.connect().await.unwrap();
    assert_eq!(first.call(Method::GET, "/open/x", &[], "").await.unwrap().status, 404);
    assert!(client.connect().await.is_err(), "a third");
    expect_refusals(&gate, &[("overloaded", 1)]).await;
    assert_eq!(first.call(Method::GET, "/open/x", &[], "").await.unwrap().status, 404, "the first is as it was");
    drop(second);
    for _ in 0..100 {
        if client.connect().await.is_ok() {
            return;
        }
        sleep(Duration::from_millis(50)).await;
    }
    panic!("its place is not given back");
}

#[tokio::test]
async fn handshakes_wait_for_a_place_and_half_as_many_of_an_address_as_there_are() {
    let (gate, _upstream) = limited("handshakes_max: 4, handshakes_per_address_max: 4");
    let mut halves = Vec::new();
    for _ in 0..6 {
        let mut tcp = TcpStream::connect(gate.address).await.unwrap();
        tcp.write_all(&[22, 3, 1, 2, 0, 1]).await.unwrap();
        halves.push(tcp);
    }
    for _ in 0..100 {
        if gate.metric("sealgate_connections") >= 6.0 {
            break;
        }
        sleep(Duration::from_millis(50)).await;
    }
    // The first four are under way and the others wait, also if the last of them were counted only just now.
    sleep(Duration::from_millis(200)).await;
    let client = gate.as_client("clinician");
    assert!(client.connect().await.is_err());
    expect_refusals(&gate, &[("overloaded", 1)]).await;
    halves.drain(..2);
    sleep(Duration::from_millis(500)).await;
    let waits = tokio::spawn({
        let client = client.clone();
        async move { client.get("/open/x").await.status.as_u16() }
    });
    sleep(Duration::from_millis(200)).await;
    assert!(!waits.is_finished(), "those that waited have their places");
    halves.clear();
    assert_eq!(waits.await.unwrap(), 404);
}

#[tokio::test]
async fn clients_of_one_address_that_come_all_at_once_are_served() {
    let (gate, _upstream) = limited("handshakes_max: 40");
    let client = gate.as_client("clinician");
    let all = (0..25).map(|_| client.get("/open/x"));
    for reply in futures_util::future::join_all(all).await {
        assert_eq!(reply.status, 404);
    }
    assert_eq!(gate.events_named("HandshakesRefused").len(), 0);
}

#[tokio::test]
async fn a_target_that_is_too_long_goes_nowhere() {
    let (gate, upstream) = limited("target_bytes_max: 100");
    let client = gate.as_client("clinician");
    let (fits, long) = (format!("/open/{}", "x".repeat(94)), format!("/open/{}?{}", "x".repeat(50), "y".repeat(50)));
    for client in [client.clone(), client.over_http2()] {
        assert_eq!(client.get(&fits).await.status, 404);
        assert_eq!(upstream.take_only().target, fits);
        client.get(&long).await.expect_problem(414, "target_too_long");
        upstream.expect_nothing();
    }
}

#[tokio::test]
async fn a_body_that_stops_coming_is_given_up_long_before_its_time() {
    let (gate, upstream) = limited("body_idle_timeout_ms: 300, body_timeout_ms: 600000");
    let client = gate.as_client("clinician");
    for path in ["/Patient", "/open/x"] {
        for client in [client.clone(), client.clone().over_http2()] {
            let json = [("content-type", "application/json")];
            let pieces = stream::unfold(0, |at| async move {
                match at {
                    // Slowly, but it comes.
                    0..10 => sleep(Duration::from_millis(100)).await,
                    _ => sleep(Duration::from_secs(60)).await,
                }
                Some((Ok(Bytes::from_static(b"[")), at + 1))
            });
            let response = client.stream(Method::POST, path, &json, Box::pin(pieces)).await.unwrap();
            let reply = crate::fixture::Reply::read(response).await.unwrap();
            reply.expect_problem(408, "body_timeout");
        }
    }
    assert!(upstream.received().is_empty(), "no whole request");
    // And one that goes on is not.
    let mut tls = client.tls().await.unwrap();
    tls.write_all(b"POST /open/x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 10\r\n\r\n")
        .await
        .unwrap();
    for _ in 0..10 {
        sleep(Duration::from_millis(100)).await;
        tls.write_all(b"x").await.unwrap();
    }
    let mut answer = Vec::new();
    let _closed = tls.read_to_end(&mut answer).await;
    assert!(answer.starts_with(b"HTTP/1.1 201"), "{}", String::from_utf8_lossy(&answer));
    assert!(raw(&client, "GET /open/x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.contains("404"));
}

#[tokio::test]
async fn half_handshakes_of_one_address_leave_room_for_others() {
    let (gate, _upstream) = limited("handshakes_max: 40");
    let mut halves = Vec::new();
    for _ in 0..100 {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.7:0".parse().unwrap()).unwrap();
        let mut tcp = socket.connect(gate.address).await.unwrap();
        // Those that are too many are closed.
        let _written = tcp.write_all(&[22, 3, 1, 2, 0, 1]).await;
        halves.push(tcp);
    }
    for _ in 0..100 {
        if gate.metric("sealgate_handshakes_refused_total") >= 70.0 {
            break;
        }
        sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(
        gate.metric("sealgate_handshakes_refused_total{reason=\"overloaded\"}"),
        70.0,
        "a quarter of the places, and half as many wait as there are"
    );
    assert_eq!(gate.as_client("clinician").get("/open/x").await.status, 404);
}
