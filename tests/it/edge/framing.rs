//! Where one request ends and the next begins: whatever is sent, the upstream gets it as strict requests, each once, or
//! not at all.

use super::{PATIENCE, raw, rest, statuses};
use crate::fixture::{Gate, Setup, Upstream};
use serde_json::Value;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::time::{sleep, timeout};

/// Follows every attempt on its connection. If it is served, the gate has found the end of the attempt.
const VICTIM: &str = "GET /open/victim HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
/// What an attempt hides behind itself.
const SMUGGLED: &str = "GET /open/smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// What becomes of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Refused with this status before anything was sent, and the connection closed.
    Refused(u16),
    /// Not even answered.
    Closed,
    /// Taken for one request with this body; the next one on the connection is served.
    One(&'static str),
    /// Taken for one request with this body, and the connection closed.
    Last(&'static str),
}
use Fate::{Closed, Last, One, Refused};

async fn check(gate: &Gate, upstream: &Upstream, attempt: &[u8], fate: Fate) {
    let shown = String::from_utf8_lossy(attempt).into_owned();
    let before = malformed(gate).len();
    let reply = raw(&gate.as_client("clinician"), [attempt, VICTIM.as_bytes()].concat()).await;
    let received = upstream.take_all();
    let got: Vec<(&str, String)> = received.iter().map(|one| (one.target.as_str(), one.text())).collect();
    let statuses = statuses(&reply);
    match fate {
        Refused(_) | Closed => {
            let answer = if let Refused(status) = fate { vec![status] } else { vec![] };
            assert_eq!((statuses, got), (answer, vec![]), "{shown:?}: {reply}");
            let recorded = async {
                while malformed(gate).len() == before {
                    sleep(Duration::from_millis(10)).await;
                }
            };
            timeout(PATIENCE, recorded).await.unwrap_or_else(|_| panic!("{shown:?} is not on record"));
            assert_eq!(malformed(gate).len(), before + 1, "{shown:?} is on record once");
        }
        One(body) => {
            let both = vec![("/open/attempt", body.to_owned()), ("/open/victim", String::new())];
            assert_eq!(got, both, "{shown:?}: {reply}");
            assert_eq!(statuses.len(), 2, "{shown:?}: {reply}");
        }
        Last(body) => {
            assert_eq!(got, [("/open/attempt", body.to_owned())], "{shown:?}: {reply}");
            assert_eq!(statuses.len(), 1, "{shown:?}: {reply}");
        }
    }
    for one in &received {
        let lengths = one.headers.get_all("content-length").iter().count();
        let codings = one.headers.get_all("transfer-encoding").iter().count();
        assert!(lengths + codings <= 1, "{shown:?}: {:?}", one.headers);
        let alike = |name: &str| matches!(name.replace('_', "-").as_str(), "content-length" | "transfer-encoding");
        let spelled = one.headers.keys().filter(|name| alike(name.as_str())).count();
        assert_eq!(spelled, lengths + codings, "{shown:?}: {:?}", one.headers);
    }
}

fn malformed(gate: &Gate) -> Vec<Value> {
    let mut refused = gate.events_named("ExchangeRefused");
    refused.retain(|event| event["sent_upstream"] == false);
    refused
}

fn post(fields: &str, body: &str) -> Vec<u8> {
    format!("POST /open/attempt HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n{body}").into_bytes()
}

#[tokio::test]
async fn length_and_coding_are_told_apart_or_refused() {
    let upstream = Upstream::start();
    let gate = Setup::before(upstream.addr()).start();
    let hidden = format!("0\r\n\r\n{SMUGGLED}");
    let length = |body: &str| format!("Content-Length: {}\r\n", body.len());
    let chunked = "Transfer-Encoding: chunked\r\n";
    for (attempt, fate) in [
        // Well-formed ones, to show that the others are refused for what is wrong with them.
        (post("", ""), One("")),
        (post("Content-Length: 5\r\n", "hello"), One("hello")),
        (post(chunked, "5\r\nhello\r\n0\r\n\r\n"), One("hello")),
        (post(chunked, "005\r\nhello\r\n2;ext=1\r\n, \r\n5\r\nthere\r\n0\r\nX-Late: 1\r\n\r\n"), One("hello, there")),
        (post("Transfer-Encoding: CHUNKED\r\n", "5\r\nhello\r\n0\r\n\r\n"), One("hello")),
        (post(&length(SMUGGLED), SMUGGLED), One(SMUGGLED)),
        // CL.TE and TE.CL: by RFC 9112 6.1 the coding decides, and what stands behind is not looked at.
        (post(&format!("{}{chunked}", length(&hidden)), &hidden), Last("")),
        (post(&format!("{chunked}{}", length(&hidden)), &hidden), Last("")),
        (post(&format!("{chunked}Content-Length: 4\r\n"), "5\r\nhello\r\n0\r\n\r\n"), Last("hello")),
        // TE.TE, and codings that are not chunked alone.
        (post(&format!("{chunked}{chunked}"), "5\r\nhello\r\n0\r\n\r\n"), One("hello")),
        (post("Transfer-Encoding: chunked, chunked\r\n", "5\r\nhello\r\n0\r\n\r\n"), Refused(400)),
        (post(&format!("{chunked}Transfer-Encoding: identity\r\n"), "0\r\n\r\n"), Refused(400)),
        (post("Transfer-Encoding: chunked, identity\r\n", "0\r\n\r\n"), Refused(400)),
        (post("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n"), Refused(400)),
        (post("Transfer-Encoding: identity\r\n", "0\r\n\r\n"), Refused(400)),
        (post("Transfer-Encoding:\r\n", "0\r\n\r\n"), Refused(400)),
        (post("Transfer-Encoding: \"chunked\"\r\n", "0\r\n\r\n"), Refused(400)),
        (post("Transfer-Encoding:\x0bchunked\r\n", "0\r\n\r\n"), Refused(400)),
        (post("Transfer-Encoding : chunked\r\n", "0\r\n\r\n"), Refused(400)),
        (post(&format!(" {chunked}"), "0\r\n\r\n"), Refused(400)),
        // Lengths.
        (post("Content-Length: 5\r\nContent-Length: 6\r\n", "hello"), Refused(400)),
        (post("Content-Length: 5, 6\r\n", "hello"), Refused(400)),
        (post("Content-Length: +5\r\n", "hello"), Refused(400)),
        (post("Content-Length: -5\r\n", "hello"), Refused(400)),
        (post("Content-Length: 0x5\r\n", "hello"), Refused(400)),
        (post("Content-Length: 5a\r\n", "hello"), Refused(400)),
        (post("Content-Length:\r\n", "hello"), Refused(400)),
        (post("Content-Length: 5 5\r\n", "hello"), Refused(400)),
        (post("Content-Length: 18446744073709551621\r\n", "hello"), Refused(400)),
        (post("Content-Length : 5\r\n", "hello"), Refused(400)),
    ] {
        check(&gate, &upstream, &attempt, fate).await;
    }
}

/// RFC 9112 6.1: what was coded in a way that the gate does not undo must not go on as if it had been.
#[tokio::test]
async fn a_coding_that_is_not_undone_is_refused() {
    let upstream = Upstream::start();
    let gate = Setup::before(upstream.addr()).start();
    for coding in ["gzip, chunked", "gzip\r\nTransfer-Encoding: chunked", "x, chunked"] {
        let attempt = post(&format!("Transfer-Encoding: {coding}\r\n"), "5\r\nhello\r\n0\r\n\r\n");
        check(&gate, &upstream, &attempt, Refused(400)).await;
    }
}

/// A look-alike means nothing to the gate, and must not mean something to an upstream that reads `_` as `-`.
#[tokio::test]
async fn look_alikes_of_the_framing_fields_do_not_go_through() {
    let upstream = Upstream::start();
    let gate = Setup::before(upstream.addr()).start();
    for (name, value) in [("Transfer_Encoding", "chunked"), ("TRANSFER_ENCODING", "x"), ("Content_Length", "0")] {
        let attempt = post(&format!("Content-Length: 5\r\n{name}: {value}\r\n"), "hello");
        check(&gate, &upstream, &attempt, One("hello")).await;
    }
}

#[tokio::test]
async fn lines_and_fields_are_strict() {
    let upstream = Upstream::start();
    let gate = Setup::before(upstream.addr()).start();
    for (attempt, fate) in [
        (post("X-Folded: a\r\n b\r\n", ""), Refused(400)),
        (post("X-Folded: a\r\n\tb\r\n", ""), Refused(400)),
        (post("X-Nul: a\0b\r\n", ""), Refused(400)),
        (post("X-Nul\0: a\r\n", ""), Refused(400)),
        (post("X-Return: a\rb\r\n", ""), Refused(400)),
        (post("X-Return: a\rContent-Length: 5\r\n", ""), Refused(400)),
        (post("X-Bell: a\x07b\r\n", ""), Refused(400)),
        (post("No colon\r\n", ""), Refused(400)),
        (post(": no name\r\n", ""), Refused(400)),
        (post("X Space: a\r\n", ""), Refused(400)),
        (post("X(Comment): a\r\n", ""), Refused(400)),
        (post("X-Late-Space : a\r\n", ""), Refused(400)),
        (b" POST /open/attempt HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(), Refused(400)),
        (b"POST  /open/attempt HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(), Refused(400)),
        (b"POST /open/attempt  HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(), Refused(400)),
        (b"POST\t/open/attempt\tHTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(), Refused(400)),
        (b"POST /open/att empt HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(), Refused(400)),
        (b"POST /open/attempt http/1.1\r\nHost: localhost\r\n\r\n".to_vec(), Refused(400)),
        (b"POST /open/attempt HTTP/2.0\r\nHost: localhost\r\n\r\n".to_vec(), Refused(400)),
        (b"POST /open/attempt HTTP/1.2\r\nHost: localhost\r\n\r\n".to_vec(), Refused(400)),
        (b"POST /open/attempt HTTP/1\r\nHost: localhost\r\n\r\n".to_vec(), Refused(400)),
        (b"POST /open/attempt\r\nHost: localhost\r\n\r\n".to_vec(), Refused(400)),
        (b"PO(ST /open/attempt HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(), Refused(400)),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), Closed),
        (b"\x16\x03\x01\x00\x05hello\r\n\r\n".to_vec(), Refused(400)),
        // RFC 9112 2.2: an empty line in front of a request may be passed over, and a lone LF taken for a line end.
        (post("", "\r\n"), One("")),
        (b"POST /open/attempt HTTP/1.1\nHost: localhost\nContent-Length: 5\n\nhello".to_vec(), One("hello")),
        // HTTP/1.0 has no chunks and does not stay.
        (b"POST /open/attempt HTTP/1.0\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello".to_vec(), Last("hello")),
        (
            b"POST /open/attempt HTTP/1.0\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_vec(),
            Refused(400),
        ),
    ] {
        check(&gate, &upstream, &attempt, fate).await;
    }
}

#[tokio::test]
async fn methods_and_targets_that_no_route_has_are_answered_and_go_nowhere() {
    let upstream = Upstream::start();
    let gate = Setup::before(upstream.addr()).start();
    for (line, status) in [
        ("CONNECT localhost:443 HTTP/1.1", 400),
        ("OPTIONS * HTTP/1.1", 400),
        ("TRACE /open/x HTTP/1.1", 405),
        ("BREW /open/x HTTP/1.1", 405),
        ("get /open/x HTTP/1.1", 405),
        ("GET open/x HTTP/1.1", 400),
        ("GET /open/../Patient/1 HTTP/1.1", 400),
        ("GET /open/%2e%2e/Patient/1 HTTP/1.1", 400),
        ("GET //open/x HTTP/1.1", 400),
    ] {
        let text = format!("{line}\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        let reply = raw(&gate.as_client("clinician"), text).await;
        assert_eq!(statuses(&reply), [status], "{line}: {reply}");
        upstream.expect_nothing();
    }
}

/// Chunked bodies that are not, or that end too early.
const BROKEN: [&str; 12] = [
    "5\r\nhello",
    "5\r\nhel\r\n0\r\n\r\n",
    "5\r\nhelloX\r\n0\r\n\r\n",
    "hello\r\n0\r\n\r\n",
    "-5\r\nhello\r\n0\r\n\r\n",
    "0x5\r\nhello\r\n0\r\n\r\n",
    "+5\r\nhello\r\n0\r\n\r\n",
    " 5\r\nhello\r\n0\r\n\r\n",
    "5\nhello\n0\n\n",
    "10000000000000005\r\nhello\r\n0\r\n\r\n",
    "5\r\nhello\r\n0\r\nX Late: 1\r\n\r\n",
    "5\r\nhello\r\n0\r\nX-Late: 1\r\n",
];

/// Sends a broken body and nothing after it. The upstream must not take it for whole.
async fn break_off(gate: &Gate, upstream: &Upstream, path: &str, body: &str) -> String {
    let head = "Host: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
    let mut tls = gate.as_client("clinician").tls().await.unwrap();
    tls.write_all(format!("POST {path} HTTP/1.1\r\n{head}{body}").as_bytes()).await.unwrap();
    // Whoever still waits for the rest sees the end.
    tls.shutdown().await.unwrap();
    let reply = String::from_utf8_lossy(&rest(&mut tls).await).into_owned();
    let got: Vec<String> = upstream.take_all().iter().map(|one| one.text()).collect();
    assert_eq!(got, Vec::<String>::new(), "{path} {body:?}: {reply}");
    reply
}

#[tokio::test]
async fn a_body_that_breaks_its_framing_is_never_passed_as_whole() {
    let upstream = Upstream::start();
    let gate = Setup::before(upstream.addr()).start();
    for body in BROKEN {
        break_off(&gate, &upstream, "/open/attempt", body).await;
        let before = malformed(&gate).len();
        let reply = break_off(&gate, &upstream, "/Patient", body).await;
        assert!(statuses(&reply) == [400] && reply.contains("\"code\":\"body_aborted\""), "{body:?}: {reply}");
        let refused = malformed(&gate);
        assert_eq!((refused.len(), &refused[before]["code"]), (before + 1, &"body_aborted".into()), "{body:?}");
    }
}

#[tokio::test]
async fn a_streamed_body_that_the_client_breaks_off_is_its_own_fault() {
    let upstream = Upstream::start();
    let gate = Setup::before(upstream.addr()).start();
    for body in BROKEN {
        let reply = break_off(&gate, &upstream, "/open/attempt", body).await;
        assert!(statuses(&reply) == [400] && reply.contains("\"code\":\"body_aborted\""), "{body:?}: {reply}");
    }
}

#[tokio::test]
async fn who_asks_whether_to_go_on_is_told_once_the_request_may_come() {
    let upstream = Upstream::start();
    let gate = Setup::before(upstream.addr()).start();
    let body = "{\"ssn\":\"999-12-3456\"}";
    let ask = |path: &str| {
        format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nExpect: 100-continue\r\n\
             Connection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let reply = raw(&gate.as_client("clinician"), ask("/Patient")).await;
    assert_eq!(statuses(&reply), [100, 201], "{reply}");
    let received = upstream.take_only();
    assert_eq!(received.headers.get("expect"), None);
    let reply = raw(&gate.as_client("clinician"), ask("/nowhere")).await;
    assert_eq!(statuses(&reply), [404], "refused without asking for the body: {reply}");
}
