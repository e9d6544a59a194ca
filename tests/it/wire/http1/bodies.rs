//! Chunked bodies: sizes, line ends, extensions, trailers.

use super::Fate::{Broken, One};
use super::{Case, Fate, play};

const ATTEMPT: &str = "POST /open/attempt";

/// On a route that is read whole and on one that streams: as a JSON text, which is no matter on the latter.
fn chunked(path: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let head = "Host: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
    [format!("POST {path} HTTP/1.1\r\n{head}").as_bytes(), body.as_ref()].concat()
}

const BROKEN: &[(&str, &str)] = &[
    ("no last chunk", "5\r\nhello\r\n"),
    ("no line end after a chunk", "5\r\nhello"),
    ("half a chunk", "5\r\nhel"),
    ("a chunk that is too short", "5\r\nhel\r\n0\r\n\r\n"),
    ("a chunk that is too long", "5\r\nhelloX\r\n0\r\n\r\n"),
    ("data right after the chunk", "5\r\nhello0\r\n\r\n"),
    ("no size", "\r\nhello\r\n0\r\n\r\n"),
    ("no size but an extension", ";x=1\r\nhello\r\n0\r\n\r\n"),
    ("no digit", "hello\r\n0\r\n\r\n"),
    ("no hex digit", "5g\r\nhello\r\n0\r\n\r\n"),
    ("minus", "-5\r\nhello\r\n0\r\n\r\n"),
    ("plus", "+5\r\nhello\r\n0\r\n\r\n"),
    ("0x", "0x5\r\nhello\r\n0\r\n\r\n"),
    ("an underscore", "0_5\r\nhello\r\n0\r\n\r\n"),
    ("a fraction", "5.0\r\nhello\r\n0\r\n\r\n"),
    ("a quoted size", "\"5\"\r\nhello\r\n0\r\n\r\n"),
    ("a space before the size", " 5\r\nhello\r\n0\r\n\r\n"),
    ("a space in the size", "0 5\r\nhello\r\n0\r\n\r\n"),
    ("VT behind the size", "5\x0b\r\nhello\r\n0\r\n\r\n"),
    ("NUL behind the size", "5\0\r\nhello\r\n0\r\n\r\n"),
    ("NUL before the size", "\x005\r\nhello\r\n0\r\n\r\n"),
    ("seventeen digits", "10000000000000005\r\nhello\r\n0\r\n\r\n"),
    ("the greatest of 64 bits", "ffffffffffffffff\r\nhello\r\n0\r\n\r\n"),
    ("LF alone", "5\nhello\n0\n\n"),
    ("LF alone behind a size", "5\nhello\r\n0\r\n\r\n"),
    ("LF alone behind a chunk", "5\r\nhello\n0\r\n\r\n"),
    ("LF alone behind the last size", "5\r\nhello\r\n0\n\r\n"),
    ("LF alone at the end", "5\r\nhello\r\n0\r\n\n"),
    ("CR alone behind a size", "5\rhello\r\n0\r\n\r\n"),
    ("CR alone in an extension", "5;x\ry\r\nhello\r\n0\r\n\r\n"),
    ("LF alone in an extension", "5;x\n\r\nhello\r\n0\r\n\r\n"),
    ("LF in a quoted extension", "5;x=\"\n\"\r\nhello\r\n0\r\n\r\n"),
    ("CRLF in a quoted extension", "5;x=\"\r\n\"\r\nhello\r\n0\r\n\r\n"),
    ("no end of the trailers", "5\r\nhello\r\n0\r\nX-Late: 1\r\n"),
    ("a trailer that is none", "5\r\nhello\r\n0\r\nX-Late\r\n\r\n"),
    ("a trailer with a space in its name", "5\r\nhello\r\n0\r\nX Late: 1\r\n\r\n"),
    ("a trailer with a space before the colon", "5\r\nhello\r\n0\r\nX-Late : 1\r\n\r\n"),
    ("a trailer without a name", "5\r\nhello\r\n0\r\n: 1\r\n\r\n"),
    ("a folded trailer", "5\r\nhello\r\n0\r\nX-Late: 1\r\n 2\r\n\r\n"),
    ("NUL in a trailer", "5\r\nhello\r\n0\r\nX-Late: \0\r\n\r\n"),
    ("CR alone in a trailer", "5\r\nhello\r\n0\r\nX-Late: a\rb\r\n\r\n"),
];

/// What is around the data is not data, and ends at the gate.
const GOOD: &[(&str, &str)] = &[
    ("one", "2\r\n{}\r\n0\r\n\r\n"),
    ("two", "1\r\n{\r\n1\r\n}\r\n0\r\n\r\n"),
    ("leading zeros", "0000000000000000000000002\r\n{}\r\n000\r\n\r\n"),
    ("spaces behind the size", "2  \r\n{}\r\n0\r\n\r\n"),
    ("an extension", "2;x=1\r\n{}\r\n0;y\r\n\r\n"),
    ("a quoted extension", "2;x=\"a;b\"\r\n{}\r\n0\r\n\r\n"),
    ("an extension that looks like a size", "2;\t3\r\n{}\r\n0\r\n\r\n"),
    ("NUL in an extension", "2;x=\0\r\n{}\r\n0\r\n\r\n"),
    ("a trailer", "2\r\n{}\r\n0\r\nX-Late: 1\r\n\r\n"),
    ("a length as trailer", "2\r\n{}\r\n0\r\nContent-Length: 50\r\n\r\n"),
    ("a coding as trailer", "2\r\n{}\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n"),
    ("a host as trailer", "2\r\n{}\r\n0\r\nHost: elsewhere\r\n\r\n"),
    ("authority as trailer", "2\r\n{}\r\n0\r\nAuthorization: Bearer x\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n"),
    ("a type as trailer", "2\r\n{}\r\n0\r\nContent-Type: text/plain\r\nContent-Encoding: gzip\r\n\r\n"),
];

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (path, line) in [("/open/attempt", ATTEMPT), ("/Patient?_count=attempt", "POST /Patient?_count=attempt")] {
        let mut add = |what: &str, body: &[u8], fate: Fate| {
            cases.push((format!("{what}, {path}"), chunked(path, body), fate));
        };
        BROKEN.iter().for_each(|(what, body)| add(what, body.as_bytes(), Broken));
        GOOD.iter().for_each(|(what, body)| add(what, body.as_bytes(), One(line, "{}")));
        let long = "x".repeat(20_000);
        add("many extensions", format!("2;{long}\r\n{{}}\r\n0\r\n\r\n").as_bytes(), Broken);
        let small = format!("1;{}\r\n \r\n", "x".repeat(1_000)).repeat(20);
        add("many extensions together", format!("{small}2\r\n{{}}\r\n0\r\n\r\n").as_bytes(), Broken);
        let late = format!("X-Late: {}\r\n", "x".repeat(70_000));
        add("a long trailer", format!("2\r\n{{}}\r\n0\r\n{late}\r\n").as_bytes(), Broken);
        let many = "X-Late: 1\r\n".repeat(200);
        add("many trailers", format!("2\r\n{{}}\r\n0\r\n{many}\r\n").as_bytes(), Broken);
        add("high bytes in a size", b"\xb2\r\n{}\r\n0\r\n\r\n", Broken);
    }
    cases
}

#[tokio::test]
async fn a_body_that_breaks_its_framing_is_never_passed_as_whole() {
    play(cases(), |setup| setup).await;
}
