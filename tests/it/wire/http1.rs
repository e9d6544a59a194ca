//! HTTP/1.1 by hand. Behind every attempt stands another request: if that one is served, the gate has found the end of the
//! attempt, and what the attempt holds was not taken for a request.

mod bodies;
mod coding;
mod lines;
mod targets;

use super::{Stage, expect_clean};
use crate::edge::rest;
use crate::fixture::Setup;
use crate::fixture::message::Message;
use tokio::io::AsyncWriteExt;

/// The request that stands behind.
const NEXT: &str = "GET /open/next HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

/// What becomes of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Answered with this status before anything was sent, and the connection closed.
    Refused(u16),
    /// Not even answered.
    Closed,
    /// Answered with this status before anything was sent; the next request is served.
    Answered(u16),
    /// Sent as one request, by line and body; the next one is served.
    One(&'static str, &'static str),
    /// Sent as one request, by line and body, and the connection closed.
    Last(&'static str, &'static str),
    /// Its body is no body. Nothing stands behind it, and no whole request goes on.
    Broken,
}

/// What it is, what is sent, and what becomes of it.
pub(crate) type Case = (String, Vec<u8>, Fate);

/// A table without the long words.
pub(crate) fn cases(table: &[(&str, &str, Fate)]) -> Vec<Case> {
    table.iter().map(|(what, text, fate)| ((*what).to_owned(), text.as_bytes().to_vec(), *fate)).collect()
}

/// Plays the cases in front of one gate. In the end each refused one is on record, once.
pub(crate) async fn play(cases: Vec<Case>, change: impl FnOnce(Setup) -> Setup) {
    let mut stage = Stage::with(change).await;
    let (mut refused, mut wrong) = (0, Vec::new());
    for (what, bytes, fate) in cases {
        let attempt = [&bytes[..], if fate == Fate::Broken { b"" } else { NEXT.as_bytes() }].concat();
        let mut tls = stage.gate.as_client("clinician").tls().await.unwrap();
        // The gate may have seen enough before the end.
        let _written = tls.write_all(&attempt).await;
        let _flushed = tls.flush().await;
        if fate == Fate::Broken {
            tls.shutdown().await.unwrap();
        }
        let reply = rest(&mut tls).await;
        match Message::responses(&reply) {
            Ok(answers) => wrong.extend(judge(&mut stage, &what, fate, &answers).await.err()),
            Err(why) => wrong.push(format!("{what}: {why}: {}", reply.escape_ascii())),
        }
        refused += usize::from(!matches!(fate, Fate::One(..) | Fate::Last(..)));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    // A record may be made only after the connection has ended.
    for _ in 0..200 {
        if stage.gate.events_named("ExchangeRefused").len() >= refused {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(stage.gate.events_named("ExchangeRefused").len(), refused, "each is on record once");
}

async fn judge(stage: &mut Stage, what: &str, fate: Fate, answers: &[Message]) -> Result<(), String> {
    let shared = stage.shared;
    let seen = stage.aftermath(what).await;
    let lines: Vec<&str> = seen.iter().map(|seen| seen.request.line()).collect();
    let statuses: Vec<u16> = answers.iter().map(Message::status).collect();
    let (want_statuses, want_lines): (&[u16], &[&str]) = match &fate {
        Fate::Refused(status) => (&[*status], &[]),
        Fate::Answered(status) => (&[*status, 200], &["GET /open/next"]),
        Fate::Closed => (&[], &[]),
        Fate::Broken => (&[400], &[]),
        Fate::One(line, _) => (&[200, 200], &[*line, "GET /open/next"]),
        Fate::Last(line, _) => (&[200], &[*line]),
    };
    if statuses != want_statuses || lines != want_lines {
        return Err(format!("{what}: {statuses:?} and {lines:?}, not {fate:?}"));
    }
    if let Some(cut) = answers.iter().find(|answer| answer.end.is_none()) {
        return Err(format!("{what}: {cut:?} has no end"));
    }
    if fate == Fate::Broken && !answers[0].text().contains("\"code\":\"body_aborted\"") {
        return Err(format!("{what}: {}", answers[0].text()));
    }
    if let Fate::One(_, body) | Fate::Last(_, body) = fate
        && seen[0].request.text() != body
    {
        return Err(format!("{what}: {:?} and not {body:?}", seen[0].request.text()));
    }
    for (seen, answer) in seen.iter().zip(answers.iter().skip(answers.len() - seen.len())) {
        expect_clean(seen, what);
        let echo = format!("{{\"line\":\"{}\"}}", seen.request.line().escape_default());
        assert_eq!(answer.text(), echo, "{what}: the answer to this request and no other");
        assert_eq!(seen.connection, shared, "{what}: on the shared connection");
    }
    if fate != Fate::Broken && stage.shared != shared {
        return Err(format!("{what}: the upstream's connection is not kept"));
    }
    Ok(())
}
