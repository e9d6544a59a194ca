//! Twice the work that there is room for: what is too much is told so at once, and nothing grows.

use crate::fixture::client::Connection;
use crate::fixture::upstream::answering;
use crate::fixture::{Client, Gate, Setup, seconds};
use bytes::Bytes;
use futures_util::future::join_all;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Exchanges that there is room for, and how long the upstream has each.
const ROOM: usize = 16;
const WORK: Duration = Duration::from_millis(50);
const PATIENT: &str = "{\"ssn\":\"999-12-3456\",\"name\":[{\"family\":\"Zwetschgenmus\"}]}";

/// An upstream that keeps what is put, and takes its time.
fn slow_upstream() -> SocketAddr {
    let kept = Arc::new(Mutex::new(BTreeMap::<String, Bytes>::new()));
    answering(move |request: Request<Incoming>| {
        let kept = Arc::clone(&kept);
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            sleep(WORK).await;
            let mut kept = kept.lock().unwrap();
            let record = kept.entry(head.uri.path().to_owned()).or_default();
            if head.method == Method::PUT {
                assert!(!body.windows(6).any(|bytes| bytes == b"999-12"), "nothing in the clear");
                *record = body;
            }
            let response = Response::builder().header("content-type", "application/json");
            response.body(Full::new(record.clone())).unwrap()
        }
    })
}

/// What came of the calls, and how long each took.
#[derive(Default)]
struct Tally {
    served: Vec<Duration>,
    refused: Vec<Duration>,
}

impl Tally {
    /// Milliseconds that so many of a thousand did not take longer than.
    fn of(times: &mut [Duration], thousandth: usize) -> u128 {
        times.sort_unstable();
        times.get((times.len() * thousandth / 1000).min(times.len() - 1)).unwrap().as_millis()
    }
}

/// Writes and reads a patient of its own, one call after the other, until the end.
async fn calls(client: Client, path: String, end: Instant) -> Tally {
    let mut tally = Tally::default();
    let mut connection: Connection = client.connect().await.unwrap();
    let json = [("content-type", "application/json")];
    let mut is_written = false;
    for turn in 0_u64.. {
        let start = Instant::now();
        if start >= end {
            break;
        }
        let reply = if turn.is_multiple_of(2) || !is_written {
            connection.call(Method::PUT, &path, &json, PATIENT).await.unwrap()
        } else {
            connection.call(Method::GET, &path, &[], "").await.unwrap()
        };
        match reply.status.as_u16() {
            200 => {
                assert_eq!(reply.text(), PATIENT);
                is_written = true;
                tally.served.push(start.elapsed());
            }
            _ => {
                reply.expect_problem(503, "overloaded");
                assert_eq!(reply.header("retry-after"), Some("1"));
                tally.refused.push(start.elapsed());
                // As long as an exchange would have taken: it comes back with as much work.
                sleep(WORK).await;
            }
        }
    }
    tally
}

/// So many clients at once, for so long.
async fn crowd(gate: &Gate, count: usize, long: Duration) -> Tally {
    let end = Instant::now() + long;
    let client = gate.as_client("clinician");
    let all = (0..count).map(|number| {
        let client = if number % 2 == 0 { client.clone() } else { client.clone().over_http2() };
        calls(client, format!("/Patient/{number}"), end)
    });
    let mut sum = Tally::default();
    for tally in join_all(all).await {
        sum.served.extend(tally.served);
        sum.refused.extend(tally.refused);
    }
    sum
}

/// KiB of memory of its own that the gate has.
fn memory(gate: &Gate) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", gate.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse().unwrap()
}

#[tokio::test]
async fn twice_the_work_that_there_is_room_for_grows_nothing() {
    let limits = format!("limits: {{exchanges_max: {ROOM}}}");
    let gate = Setup::before(slow_upstream()).replace("limits: {}", &limits).start();
    let long = Duration::from_secs(seconds(16) as u64);
    let mut alone = crowd(&gate, ROOM / 2, long / 8).await;
    assert_eq!(alone.refused.len(), 0, "there is room for all");
    let mut refused = crowd(&gate, 2 * ROOM, long / 8).await.refused.len();
    let before = memory(&gate);
    let mut crowded = crowd(&gate, 2 * ROOM, long * 3 / 4).await;
    let after = memory(&gate);
    refused += crowded.refused.len();
    assert!(crowded.served.len() > ROOM && crowded.refused.len() > ROOM, "{}", crowded.refused.len());
    assert_eq!(gate.metric("sealgate_refusals_total{code=\"overloaded\"}"), refused as f64, "each is on record");
    println!(
        "{} served (median {} ms, p99 {} ms; with room p99 {} ms), {} refused (at most {} ms), {before} KiB then {after} KiB",
        crowded.served.len(),
        Tally::of(&mut crowded.served, 500),
        Tally::of(&mut crowded.served, 990),
        Tally::of(&mut alone.served, 990),
        crowded.refused.len(),
        Tally::of(&mut crowded.refused, 1000),
    );
    // A page here and there apart.
    assert!(after <= before + before / 20 + 2048, "{before} KiB grew to {after} KiB");
}
