//! What an upstream should not say. The client gets 502 or one well-formed answer; what is cut short it can tell from a whole;
//! and nothing of it becomes the answer to somebody else's request.

use super::Stage;
use crate::edge::rest;
use crate::fixture::message::Message;
use crate::fixture::witness::Then::{self, Close, KeepOpen};
use tokio::io::AsyncWriteExt;

/// What the client gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Problem details of the gate, with this status and code.
    Problem(u16, &'static str),
    /// This answer and no more of it.
    Whole(u16, &'static str),
    /// An answer that it can tell to be cut short, or a problem of this code.
    Cut(&'static str),
}
use Fate::{Cut, Problem, Whole};

const FAILED: Fate = Problem(502, "upstream_failed");
const STRANGE: Fate = Problem(502, "response_not_understood");

/// What is said, what follows, and what the client gets on a route without rules and on one with them.
type Case = (&'static str, &'static str, Then, Fate, Fate);

macro_rules! json {
    ($fields:expr, $body:expr) => {
        concat!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n", $fields, "\r\n", $body)
    };
}

/// Another answer, for whoever takes it for one.
macro_rules! planted {
    () => {
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 13\r\n\r\n{\"line\":\"no\"}"
    };
}

const OK: Fate = Whole(200, "{}");

const LENGTHS: &[Case] = &[
    ("a length", json!("Content-Length: 2\r\n", "{}"), KeepOpen, OK, OK),
    (
        "chunks",
        json!("Transfer-Encoding: chunked\r\n", "1\r\n{\r\n1;x\r\n}\r\n0\r\nX-Late: 1\r\n\r\n"),
        KeepOpen,
        OK,
        OK,
    ),
    ("up to the close", json!("", "{}"), Close, OK, OK),
    (
        "both",
        json!("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", "2\r\n{}\r\n0\r\n\r\n"),
        KeepOpen,
        STRANGE,
        STRANGE,
    ),
    (
        "both, the other way",
        json!("Transfer-Encoding: chunked\r\nContent-Length: 3\r\n", "2\r\n{}\r\n0\r\n\r\n"),
        KeepOpen,
        STRANGE,
        STRANGE,
    ),
    ("two lengths", json!("Content-Length: 2\r\nContent-Length: 3\r\n", "{} "), KeepOpen, FAILED, FAILED),
    ("two lengths in one", json!("Content-Length: 2, 3\r\n", "{} "), KeepOpen, FAILED, FAILED),
    ("twice the same length", json!("Content-Length: 2\r\nContent-Length: 2\r\n", "{}"), KeepOpen, OK, OK),
    ("a length that is none", json!("Content-Length: x\r\n", "{}"), KeepOpen, FAILED, FAILED),
    ("a length below zero", json!("Content-Length: -1\r\n", "{}"), KeepOpen, FAILED, FAILED),
    ("no length in its field", json!("Content-Length:\r\n", "{}"), KeepOpen, FAILED, FAILED),
    ("a length over 64 bits", json!("Content-Length: 99999999999999999999\r\n", "{}"), KeepOpen, FAILED, FAILED),
    ("less than said", json!("Content-Length: 9\r\n", "{}"), Close, Cut("upstream_failed"), Cut("upstream_failed")),
    ("more than said", json!("Content-Length: 2\r\n", "{}{}"), KeepOpen, OK, OK),
    (
        "more than said, which looks like an answer",
        json!("Content-Length: 2\r\n", concat!("{}", planted!())),
        KeepOpen,
        OK,
        OK,
    ),
    (
        "an answer behind the chunks",
        json!("Transfer-Encoding: chunked\r\n", concat!("2\r\n{}\r\n0\r\n\r\n", planted!())),
        KeepOpen,
        OK,
        OK,
    ),
    (
        "an answer behind none",
        concat!("HTTP/1.1 204 No Content\r\n\r\n", planted!()),
        KeepOpen,
        Whole(204, ""),
        Whole(204, ""),
    ),
    (
        "a body where none is",
        concat!("HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\n", "{}"),
        KeepOpen,
        Whole(204, ""),
        Whole(204, ""),
    ),
    (
        "chunks where no body is",
        "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        KeepOpen,
        Whole(204, ""),
        Whole(204, ""),
    ),
    (
        "a body of what is unchanged",
        concat!("HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\n", "{}"),
        KeepOpen,
        Whole(304, ""),
        Whole(304, ""),
    ),
    (
        "gzip and chunked",
        json!("Transfer-Encoding: gzip, chunked\r\n", "2\r\n{}\r\n0\r\n\r\n"),
        KeepOpen,
        STRANGE,
        STRANGE,
    ),
    (
        "chunked and gzip",
        json!("Transfer-Encoding: chunked, gzip\r\n", "2\r\n{}\r\n0\r\n\r\n"),
        Close,
        STRANGE,
        STRANGE,
    ),
    ("an unknown coding", json!("Transfer-Encoding: x\r\n", "{}"), Close, STRANGE, STRANGE),
];

const CHUNKS: &[Case] = &[
    (
        "cut in a chunk",
        json!("Transfer-Encoding: chunked\r\n", "2\r\n{"),
        Close,
        Cut("upstream_failed"),
        Cut("upstream_failed"),
    ),
    (
        "cut behind a chunk",
        json!("Transfer-Encoding: chunked\r\n", "2\r\n{}\r\n"),
        Close,
        Cut("upstream_failed"),
        Cut("upstream_failed"),
    ),
    (
        "cut before the end",
        json!("Transfer-Encoding: chunked\r\n", "2\r\n{}\r\n0\r\n"),
        Close,
        Cut("upstream_failed"),
        Cut("upstream_failed"),
    ),
    ("no chunk", json!("Transfer-Encoding: chunked\r\n", ""), Close, Cut("upstream_failed"), Cut("upstream_failed")),
    (
        "a size that is none",
        json!("Transfer-Encoding: chunked\r\n", "x\r\n{}\r\n0\r\n\r\n"),
        KeepOpen,
        Cut("upstream_failed"),
        Cut("upstream_failed"),
    ),
    (
        "a size over 64 bits",
        json!("Transfer-Encoding: chunked\r\n", "10000000000000002\r\n{}\r\n0\r\n\r\n"),
        KeepOpen,
        Cut("upstream_failed"),
        Cut("upstream_failed"),
    ),
    (
        "a size that is too small",
        json!("Transfer-Encoding: chunked\r\n", "1\r\n{}\r\n0\r\n\r\n"),
        KeepOpen,
        Cut("upstream_failed"),
        Cut("upstream_failed"),
    ),
    (
        "LF alone",
        json!("Transfer-Encoding: chunked\r\n", "2\n{}\n0\n\n"),
        KeepOpen,
        Cut("upstream_failed"),
        Cut("upstream_failed"),
    ),
    (
        "CRLF in an extension",
        json!("Transfer-Encoding: chunked\r\n", "2;x=\"\r\n\"\r\n{}\r\n0\r\n\r\n"),
        KeepOpen,
        Cut("upstream_failed"),
        Cut("upstream_failed"),
    ),
    (
        "a trailer that is none",
        json!("Transfer-Encoding: chunked\r\n", "2\r\n{}\r\n0\r\nX Late: 1\r\n\r\n"),
        KeepOpen,
        Cut("upstream_failed"),
        Cut("upstream_failed"),
    ),
];

const HEADS: &[Case] = &[
    ("HTTP/0.9", "{}", Close, FAILED, FAILED),
    ("HTTP/1.0", "HTTP/1.0 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}", KeepOpen, OK, OK),
    ("HTTP/2.0", "HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\n{}", KeepOpen, FAILED, FAILED),
    ("HTTP/1.2", "HTTP/1.2 200 OK\r\nContent-Length: 2\r\n\r\n{}", KeepOpen, FAILED, FAILED),
    ("frames of HTTP/2", "\0\0\0\x04\0\0\0\0\0", Close, FAILED, FAILED),
    ("a TLS alert", "\x15\x03\x03\0\x02\x02\x28", Close, FAILED, FAILED),
    ("another protocol", "SSH-2.0-x\r\n", KeepOpen, FAILED, FAILED),
    ("a space before", " HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", KeepOpen, FAILED, FAILED),
    ("no status", "HTTP/1.1 OK\r\nContent-Length: 2\r\n\r\n{}", KeepOpen, FAILED, FAILED),
    ("status 99", "HTTP/1.1 99 No\r\nContent-Length: 2\r\n\r\n{}", KeepOpen, FAILED, FAILED),
    ("status 099", "HTTP/1.1 099 No\r\nContent-Length: 2\r\n\r\n{}", KeepOpen, FAILED, FAILED),
    ("status 1000", "HTTP/1.1 1000 No\r\nContent-Length: 2\r\n\r\n{}", KeepOpen, FAILED, FAILED),
    ("status -200", "HTTP/1.1 -20 No\r\nContent-Length: 2\r\n\r\n{}", KeepOpen, FAILED, FAILED),
    (
        "another protocol from now on",
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
        KeepOpen,
        STRANGE,
        STRANGE,
    ),
    ("half a head", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n", Close, FAILED, FAILED),
    ("nothing", "", Close, FAILED, FAILED),
    ("NUL in a value", "HTTP/1.1 200 OK\r\nX-Odd: a\0b\r\nContent-Length: 2\r\n\r\n{}", KeepOpen, FAILED, FAILED),
    ("NUL in a name", "HTTP/1.1 200 OK\r\nX-Odd\0: a\r\nContent-Length: 2\r\n\r\n{}", KeepOpen, FAILED, FAILED),
    ("NUL in the reason", "HTTP/1.1 200 O\0K\r\nContent-Length: 2\r\n\r\n{}", KeepOpen, FAILED, FAILED),
    (
        "CR in a value",
        "HTTP/1.1 200 OK\r\nX-Odd: a\rSet-Cookie: b\r\nContent-Length: 2\r\n\r\n{}",
        KeepOpen,
        FAILED,
        FAILED,
    ),
    ("a folded field", "HTTP/1.1 200 OK\r\nX-Odd: a\r\n b\r\nContent-Length: 2\r\n\r\n{}", KeepOpen, FAILED, FAILED),
    ("a space before the colon", "HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\n{}", KeepOpen, FAILED, FAILED),
    ("a space in a name", "HTTP/1.1 200 OK\r\nX Odd: 2\r\nContent-Length: 2\r\n\r\n{}", KeepOpen, FAILED, FAILED),
    ("no colon", "HTTP/1.1 200 OK\r\nX-Odd\r\nContent-Length: 2\r\n\r\n{}", KeepOpen, FAILED, FAILED),
    ("LF alone", "HTTP/1.1 200 OK\nContent-Type: application/json\nContent-Length: 2\n\n{}", KeepOpen, OK, OK),
    (
        "a reason that says more",
        "HTTP/1.1 200 HTTP/1.1 500\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
        KeepOpen,
        OK,
        OK,
    ),
    ("no reason", "HTTP/1.1 200\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}", KeepOpen, OK, OK),
    (
        "what is for the gate alone",
        json!(
            "Connection: x-hop, content-length\r\nX-Hop: 1\r\nKeep-Alive: x\r\nUpgrade: h2c\r\nProxy-Authenticate: x\r\nTrailer: x\r\nContent-Length: 2\r\n",
            "{}"
        ),
        KeepOpen,
        OK,
        OK,
    ),
];

/// Says it to a request on either route, and looks at what the client and then somebody else get.
async fn judge(stage: &mut Stage, (what, path): (&str, &str), early: bool, fate: Fate) -> Result<(), String> {
    let mut tls = stage.gate.as_client("clinician").tls().await.unwrap();
    let body = "{\"a\":1}";
    let method = if early { "POST" } else { "GET" };
    let length = if early {
        format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len())
    } else {
        String::new()
    };
    let head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{length}\r\n");
    tls.write_all([head.as_bytes(), if early { body.as_bytes() } else { b"" }].concat().as_slice()).await.unwrap();
    let reply = rest(&mut tls).await;
    let seen = stage.aftermath(what).await;
    let answers = Message::responses(&reply).map_err(|why| format!("{what}: {why}: {}", reply.escape_ascii()))?;
    // What breaks before the head was written is cut there.
    if answers.is_empty() && matches!(fate, Cut(_)) {
        return Ok(());
    }
    let [answer] = &answers[..] else { return Err(format!("{what}: {answers:#?}")) };
    if !early
        && (seen.is_empty() || seen.len() > 2 || seen.iter().any(|seen| seen.request.line() != format!("GET {path}")))
    {
        return Err(format!("{what}: upstream {seen:#?}"));
    }
    for name in ["x-hop", "keep-alive", "upgrade", "proxy-authenticate", "trailer", "x-late"] {
        if let Some(value) = answer.field(name) {
            return Err(format!("{what}: {name}: {value}"));
        }
    }
    let is_whole = answer.end.is_some();
    let is_problem = |status, code: &str| {
        is_whole && answer.status() == status && answer.text().contains(&format!("\"code\":\"{code}\""))
    };
    let good = match fate {
        Problem(status, code) => is_problem(status, code),
        Whole(status, body) => is_whole && answer.status() == status && answer.text() == body,
        Cut(code) => !is_whole || is_problem(502, code),
    };
    if good { Ok(()) } else { Err(format!("{what} on {path}: {answer:?}, not {fate:?}")) }
}

async fn play(cases: &[Case]) {
    let mut stage = Stage::with(|setup| setup).await;
    let mut wrong = Vec::new();
    for (what, words, then, open, protected) in cases {
        stage.witness.say(*words, *then);
        wrong.extend(judge(&mut stage, (what, "/open/attempt"), false, *open).await.err());
        wrong.extend(judge(&mut stage, (what, "/Patient/attempt"), false, *protected).await.err());
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test]
async fn an_answer_of_doubtful_length_is_never_passed_as_whole() {
    play(LENGTHS).await;
}

#[tokio::test]
async fn an_answer_of_broken_chunks_is_never_passed_as_whole() {
    play(CHUNKS).await;
}

#[tokio::test]
async fn an_answer_with_a_broken_head_is_none() {
    play(HEADS).await;
}

#[tokio::test]
async fn an_answer_with_too_much_before_its_body_is_none() {
    let mut stage = Stage::with(|setup| setup).await;
    let (ok, end) = ("HTTP/1.1 200 OK\r\n", "Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}");
    let early = "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n";
    let go_on = "HTTP/1.1 100 Continue\r\n\r\n";
    let mut wrong = Vec::new();
    for (what, words, fate) in [
        ("a value of a megabyte", format!("{ok}X-Odd: {}\r\n{end}", "a".repeat(1 << 20)), FAILED),
        ("a megabyte without an end", format!("{ok}X-Odd: {}", "a".repeat(1 << 20)), FAILED),
        ("a thousand fields", format!("{ok}{}{end}", "X-Odd: 1\r\n".repeat(1_000)), FAILED),
        ("ninety fields", format!("{ok}{}{end}", "X-Odd: 1\r\n".repeat(90)), OK),
        ("one hint", format!("{early}{ok}{end}"), OK),
        ("leave to go on that nobody asked for", format!("{go_on}{ok}{end}"), OK),
        ("a thousand of them", format!("{}{ok}{end}", go_on.repeat(1_000)), OK),
    ] {
        stage.witness.say(words, KeepOpen);
        for path in ["/open/attempt", "/Patient/attempt"] {
            wrong.extend(judge(&mut stage, (what, path), false, fate).await.err());
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test]
async fn an_answer_before_its_request_is_over_is_an_answer() {
    let mut stage = Stage::with(|setup| setup).await;
    let mut wrong = Vec::new();
    for (what, words, fate) in [
        ("whole", json!("Content-Length: 2\r\n", "{}"), OK),
        ("with another behind it", json!("Content-Length: 2\r\n", concat!("{}", planted!())), OK),
    ] {
        stage.witness.say_early(words, KeepOpen);
        wrong.extend(judge(&mut stage, (what, "/open/attempt"), true, fate).await.err());
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test]
async fn an_upstream_that_falls_silent_is_given_up() {
    let short = |setup: crate::fixture::Setup| {
        setup.replace("app: {url: \"${UPSTREAM}\"}", "app: {url: \"${UPSTREAM}\", response_timeout_ms: 1000}")
    };
    let mut stage = Stage::with(short).await;
    let late = Problem(504, "upstream_timeout");
    let mut wrong = Vec::new();
    for (what, words) in [
        ("silence", ""),
        ("half a status line", "HTTP/1.1 2"),
        ("half a head", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"),
        ("leave to go on and no more", "HTTP/1.1 100 Continue\r\n\r\n"),
    ] {
        stage.witness.say(words, KeepOpen);
        for path in ["/open/attempt", "/Patient/attempt"] {
            wrong.extend(judge(&mut stage, (what, path), false, late).await.err());
        }
    }
    // Where the gate reads the body, it has to come in time too.
    stage.witness.say(json!("Content-Length: 9\r\n", "{}"), KeepOpen);
    wrong.extend(judge(&mut stage, ("half a body", "/Patient/attempt"), false, late).await.err());
    assert!(wrong.is_empty(), "{wrong:#?}");
}
