//! Clients that do not take what they asked for: they keep nothing busy for ever, and those that are slow are served.

use crate::fixture::frames::{END_STREAM, Frames, GOAWAY, PREFACE, RST_STREAM, headers, request, settings, window};
use crate::fixture::{Client, Gate, Setup, Upstream};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::time::{sleep, timeout};

/// More than all buffers on the way hold.
const LARGE: usize = 64 << 20;
/// Of RFC 9113 7.
const CANCEL: u32 = 8;

fn impatient() -> (Gate, Upstream) {
    let upstream = Upstream::start();
    let gate = Setup::before(upstream.addr()).replace("limits: {}", "limits: {response_idle_timeout_ms: 1000}").start();
    (gate, upstream)
}

/// A request on a connection of its own, none of whose answer is read yet.
async fn ask(client: &Client, path: &str) -> impl AsyncRead + Unpin + use<> {
    let mut tls = client.tls().await.unwrap();
    tls.write_all(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").as_bytes())
        .await
        .unwrap();
    tls
}

/// How the body of an exchange on this path ended, once it has.
fn ending(gate: &Gate, count: usize) -> Vec<Option<String>> {
    gate.wait_for_event(|_| gate.events_named("BodyCompleted").len() >= count);
    let code = |event: &serde_json::Value| event["code"].as_str().map(str::to_owned);
    gate.events_named("BodyCompleted").iter().map(code).collect()
}

#[tokio::test]
async fn a_connection_whose_client_reads_nothing_is_cut_and_on_record() {
    let (gate, upstream) = impatient();
    upstream.always(200, &[("content-type", "text/plain")], vec![b'x'; LARGE]);
    let client = gate.as_client("clinician");
    let mut tls = ask(&client, "/open/large").await;
    assert_eq!(ending(&gate, 1), [Some("body_broke_off".to_owned())]);
    let mut got = Vec::new();
    assert_eq!(gate.metric("sealgate_responses_untaken_total"), 1.0);
    let read = timeout(Duration::from_secs(30), tls.read_to_end(&mut got)).await.expect("it is closed");
    assert!(read.is_err() || got.len() < LARGE, "it cannot be taken for whole");
}

#[tokio::test]
async fn a_client_that_takes_a_break_gets_everything() {
    let (gate, upstream) = impatient();
    upstream.always(200, &[("content-type", "text/plain")], vec![b'x'; LARGE]);
    let mut tls = ask(&gate.as_client("clinician"), "/open/large").await;
    let (mut got, mut part, mut reads) = (0, vec![0; 4 << 20], 0);
    loop {
        let mut filled = 0;
        while filled < part.len() {
            match tls.read(&mut part[filled..]).await.unwrap() {
                0 => break,
                length => filled += length,
            }
        }
        got += filled;
        reads += 1;
        if filled < part.len() {
            break;
        }
        sleep(Duration::from_millis(200)).await;
    }
    assert!(got > LARGE && reads >= 16, "{got} bytes in {reads} parts");
    assert_eq!(ending(&gate, 1), [None]);
}

#[tokio::test]
async fn a_client_on_a_slow_line_is_not_cut() {
    let (gate, upstream) = impatient();
    upstream.always(200, &[("content-type", "text/plain")], vec![b'x'; LARGE]);
    let client = gate.as_client("clinician");
    let slow = async {
        let mut tls = ask(&client, "/open/large").await;
        let mut part = vec![0; 32 << 10];
        for _ in 0..60 {
            tls.read_exact(&mut part).await.expect("what is taken without a break goes on");
            sleep(Duration::from_millis(100)).await;
        }
    };
    let slow_over_http2 = async {
        let mut frames = Frames::connect(&client).await;
        frames.send([PREFACE, &settings(&[(1, 0), (4, 65_535)]), &window(0, 1 << 24)].concat()).await;
        frames.send(headers(1, END_STREAM, &request("GET", "/open/large"))).await;
        for turn in 1..=60 {
            frames.send(window(1, 8 << 10)).await;
            frames
                .read_until(|frames| frames.streams.get(&1).is_some_and(|one| one.body.len() >= turn * (8 << 10)))
                .await;
            sleep(Duration::from_millis(100)).await;
        }
        assert_eq!((frames.streams[&1].reset, frames.goaway), (None, None));
    };
    tokio::join!(slow, slow_over_http2);
    assert_eq!(gate.metric("sealgate_responses_untaken_total"), 0.0);
}

/// A connection on whose streams nothing but heads may be sent.
async fn shut(client: &Client) -> Frames {
    let mut frames = Frames::connect(client).await;
    frames.send([PREFACE, &settings(&[(1, 0), (4, 0)]), &window(0, 1 << 24)].concat()).await;
    frames
}

#[tokio::test]
async fn a_stream_whose_window_stays_shut_is_reset_and_the_others_go_on() {
    let (gate, upstream) = impatient();
    // On a route with rules what fits is made whole before any of it is shown.
    let note = format!("{{\"free\": \"{}\"}}", "x".repeat(100_000));
    upstream.always(200, &[("content-type", "application/json")], note.clone());
    let mut frames = shut(&gate.as_client("clinician")).await;
    for (stream, path) in [(1, "/open/x"), (3, "/Patient/1"), (5, "/Patient/2")] {
        frames.send(headers(stream, END_STREAM, &request("GET", path))).await;
    }
    // A window that opens now and then is one of a client that takes.
    for _ in 0..6 {
        sleep(Duration::from_millis(500)).await;
        frames.send(window(5, 20_000)).await;
    }
    for stream in [1, 3] {
        let cut = frames.wait_for(stream).await;
        assert_eq!((cut.status, cut.body.len(), cut.reset), (Some(200), 0, Some(CANCEL)), "{stream}");
    }
    let slow = frames.wait_for(5).await;
    assert_eq!((slow.status, slow.reset, slow.body.len()), (Some(200), None, note.len()));
    // The connection is as good as before.
    frames.send([headers(7, END_STREAM, &request("GET", "/open/y")), window(7, 200_000)].concat()).await;
    assert_eq!(frames.wait_for(7).await.body.len(), note.len());
    assert_eq!(frames.goaway, None);
    assert_eq!(gate.metric("sealgate_responses_untaken_total"), 2.0);
    assert_eq!(frames.kinds.get(&RST_STREAM), Some(&2));
    let mut endings = ending(&gate, 2);
    endings.sort();
    assert_eq!(endings, [None, Some("body_broke_off".to_owned())], "of the two that pass as they come");
}

#[tokio::test]
async fn what_crosses_the_goodbye_to_an_idle_connection_is_served_to_its_end() {
    let upstream = Upstream::start();
    let limits = "limits: {header_timeout_ms: 1000, body_timeout_ms: 1000}";
    let gate = Setup::before(upstream.addr()).replace("limits: {}", limits).start();
    upstream.always(200, &[("content-type", "text/plain")], vec![b'x'; 100_000]);
    let mut frames = Frames::connect(&gate.as_client("clinician")).await;
    frames.send([PREFACE, &settings(&[(1, 0), (4, 10_000)]), &window(0, 1 << 24)].concat()).await;
    // The first names the highest stream that there can be: what is on its way is still taken.
    frames.read_until(|frames| frames.kinds.contains_key(&GOAWAY)).await;
    frames.send(headers(1, END_STREAM, &request("GET", "/open/large"))).await;
    for _ in 0..15 {
        sleep(Duration::from_millis(300)).await;
        frames.send(window(1, 10_000)).await;
    }
    let served = frames.wait_for(1).await;
    assert_eq!((served.status, served.reset, served.body.len()), (Some(200), None, 100_000));
    frames.wait_for_close().await;
    assert!(!frames.in_vain, "and then it ends");
}
