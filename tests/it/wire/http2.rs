//! HTTP/2 by hand. After every attempt another stream is opened: if that one is served, the attempt has harmed its own stream
//! alone.

mod connections;
mod farewells;
mod floods;
mod requests;

use super::{Stage, expect_clean};
use crate::fixture::frames::{END_STREAM, Frames, headers, opening, request};
use std::time::Duration;
use tokio::time::sleep;

/// The stream of the request that comes after.
const NEXT: u32 = 1001;

/// Codes of RFC 9113 7. Most of what ends a connection ends it with the first; which of them it is tells a client nothing.
const PROTOCOL: u32 = 1;
const FLOW_CONTROL: u32 = 3;
const FRAME_SIZE: u32 = 6;

/// What becomes of an attempt, which is made on stream 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// The connection ends with this code.
    GoAway(u32),
    /// The connection ends without a word.
    Cut,
    /// The stream ends with this code; the next is served.
    Reset(u32),
    /// The gate answers with this status before anything is sent; the next is served.
    Answered(u16),
    /// Sent as one request, by line and body; the next is served.
    One(&'static str, &'static str),
    /// Nothing is said of it; the next is served.
    Ignored,
}

/// What it is, what is sent after the opening, and what becomes of it.
type Case = (&'static str, Vec<u8>, Fate);

/// Plays the cases in front of one gate.
async fn play(cases: Vec<Case>) {
    let mut stage = Stage::with(|setup| setup).await;
    let ended = cases.iter().filter(|(.., fate)| matches!(fate, Fate::GoAway(_))).count();
    let mut wrong = Vec::new();
    for (what, bytes, fate) in cases {
        let attempt = [opening(), bytes].concat();
        wrong.extend(judge(&mut stage, what, &attempt, fate).await.err());
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    expect_records(&stage, ended).await;
}

/// What ended a connection is on record, though no request of it could be read.
async fn expect_records(stage: &Stage, ended: usize) {
    let records = || {
        let refused = stage.gate.events_named("ExchangeRefused").into_iter();
        refused.filter(|event| event["code"] == "request_malformed" && event["method"] == "-").count()
    };
    for _ in 0..100 {
        if records() >= ended {
            break;
        }
        sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(records(), ended);
}

async fn judge(stage: &mut Stage, what: &str, attempt: &[u8], fate: Fate) -> Result<(), String> {
    let shared = stage.shared;
    let mut frames = Frames::connect(&stage.gate.as_client("clinician")).await;
    // The gate may have seen enough before the end.
    frames.send(attempt).await;
    match fate {
        Fate::Ignored => {}
        Fate::GoAway(_) | Fate::Cut => frames.wait_for_close().await,
        _ => drop(frames.wait_for(1).await),
    }
    frames.send(headers(NEXT, END_STREAM, &request("GET", "/open/next"))).await;
    let next = frames.wait_for(NEXT).await;
    let first = frames.streams.get(&1).cloned().unwrap_or_default();
    let seen = stage.aftermath(what).await;
    let lines: Vec<&str> = seen.iter().map(|seen| seen.request.line()).collect();
    let got = (frames.goaway, first.reset, first.status, next.status);
    let (want, want_lines): (_, &[&str]) = match &fate {
        Fate::GoAway(code) => ((Some(*code), first.reset, None, None), &[]),
        Fate::Cut => ((None, None, None, None), &[]),
        Fate::Reset(code) => ((None, Some(*code), None, Some(200)), &["GET /open/next"]),
        // What was refused before its end may be cut off after the answer (RFC 9113 8.1).
        Fate::Answered(status) => {
            ((None, first.reset.filter(|code| *code == 0), Some(*status), Some(200)), &["GET /open/next"])
        }
        Fate::One(line, _) => ((None, None, Some(200), Some(200)), &[*line, "GET /open/next"]),
        Fate::Ignored => ((None, None, None, Some(200)), &["GET /open/next"]),
    };
    if frames.in_vain || got != want || lines != want_lines {
        return Err(format!("{what}: {got:?} and {lines:?}, not {fate:?}; in vain: {}", frames.in_vain));
    }
    for (seen, outcome) in seen.iter().rev().zip([&next, &first]) {
        expect_clean(seen, what);
        let echo = format!("{{\"line\":\"{}\"}}", seen.request.line().escape_default());
        assert_eq!(String::from_utf8_lossy(&outcome.body), echo, "{what}: the answer to this request and no other");
    }
    match fate {
        Fate::One(_, body) if seen[0].request.text() != body => Err(format!("{what}: {:?}", seen[0].request.text())),
        _ if stage.shared != shared => Err(format!("{what}: the upstream's connection is not kept")),
        _ => Ok(()),
    }
}
