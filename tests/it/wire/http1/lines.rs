//! Lines and fields: their ends, their names, how many and how long.

use super::Fate::{Answered, Closed, Last, One, Refused};
use super::{Case, Fate, cases, play};

/// A POST with these fields and five bytes of body, if any.
macro_rules! post {
    ($fields:expr) => {
        concat!("POST /open/attempt HTTP/1.1\r\nHost: localhost\r\n", $fields, "\r\n")
    };
}

/// A request line with a host.
macro_rules! line {
    ($line:expr) => {
        concat!($line, "\r\nHost: localhost\r\n\r\n")
    };
}

const ATTEMPT: &str = "POST /open/attempt";
const GET: &str = "GET /open/attempt";

const FIELDS: &[(&str, &str, Fate)] = &[
    ("one", post!("X-Own: a\r\n"), One(ATTEMPT, "")),
    ("an empty value", post!("X-Own:\r\n"), One(ATTEMPT, "")),
    ("a tab in a value", post!("X-Own: a\tb\r\n"), One(ATTEMPT, "")),
    ("folded by a space", post!("X-Own: a\r\n b\r\n"), Refused(400)),
    ("folded by a tab", post!("X-Own: a\r\n\tb\r\n"), Refused(400)),
    ("folded to nothing", post!("X-Own: a\r\n \r\n"), Refused(400)),
    ("folded before the first", "POST /open/attempt HTTP/1.1\r\n Host: localhost\r\n\r\n", Refused(400)),
    ("a tab before the first", "POST /open/attempt HTTP/1.1\r\n\tHost: localhost\r\n\r\n", Refused(400)),
    ("NUL in a value", post!("X-Own: a\0b\r\n"), Refused(400)),
    ("NUL in a name", post!("X-Own\0: a\r\n"), Refused(400)),
    ("NUL before a name", post!("\0X-Own: a\r\n"), Refused(400)),
    ("NUL alone in a line", post!("\0\r\n"), Refused(400)),
    ("a bell in a value", post!("X-Own: a\x07b\r\n"), Refused(400)),
    ("DEL in a value", post!("X-Own: a\x7fb\r\n"), Refused(400)),
    ("ESC in a value", post!("X-Own: a\x1bb\r\n"), Refused(400)),
    ("CR in a value", post!("X-Own: a\rb\r\n"), Refused(400)),
    ("CR before a field", post!("X-Own: a\rContent-Length: 5\r\n"), Refused(400)),
    ("CR before the line end", post!("X-Own: a\r\r\n"), Refused(400)),
    ("CR in a name", post!("X\r-Own: a\r\n"), Refused(400)),
    ("no colon", post!("X-Own\r\n"), Refused(400)),
    ("no colon but a space", post!("X-Own a\r\n"), Refused(400)),
    ("no name", post!(": a\r\n"), Refused(400)),
    ("a colon alone", post!(":\r\n"), Refused(400)),
    ("a space in a name", post!("X Own: a\r\n"), Refused(400)),
    ("a bracket in a name", post!("X(Own): a\r\n"), Refused(400)),
    ("a quote in a name", post!("\"X-Own\": a\r\n"), Refused(400)),
    ("a letter beyond ASCII in a name", post!("X-\u{d6}wn: a\r\n"), Refused(400)),
    ("a space before the colon", post!("X-Own : a\r\n"), Refused(400)),
    ("an underscore in a name", post!("X_Own: a\r\nX_Forwarded_For: 6.6.6.6\r\n"), One(ATTEMPT, "")),
    ("LF alone", "POST /open/attempt HTTP/1.1\nHost: localhost\nContent-Length: 5\n\nhello", One(ATTEMPT, "hello")),
    ("LF alone behind the line", "POST /open/attempt HTTP/1.1\nHost: localhost\r\n\r\n", One(ATTEMPT, "")),
    ("LF alone behind a field", post!("X-Own: a\nX-Own: b\r\n"), One(ATTEMPT, "")),
    (
        "LF alone at the end",
        "POST /open/attempt HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\nhello",
        One(ATTEMPT, "hello"),
    ),
    ("LF and CR", "POST /open/attempt HTTP/1.1\n\rHost: localhost\n\r\n\r\n", Refused(400)),
    ("CR alone", "POST /open/attempt HTTP/1.1\rHost: localhost\r\r\n\r\n", Refused(400)),
    ("an identity", post!("X-Forwarded-Client-Cert: By=a\r\nX-Sealgate-Principal: root\r\n"), One(ATTEMPT, "")),
    (
        "identities listed",
        post!("Connection: x-forwarded-for, x-forwarded-host, via, x-request-id\r\n"),
        One(ATTEMPT, ""),
    ),
    ("the host listed", post!("Connection: host\r\n"), One(ATTEMPT, "")),
    (
        "close listed with others",
        post!("Connection: close, host, content-length\r\nContent-Length: 0\r\n"),
        Last(ATTEMPT, ""),
    ),
    ("a list that is none", post!("Connection: ,,\"host\", \u{e9}\r\n"), One(ATTEMPT, "")),
    (
        "an upgrade to HTTP/2",
        post!("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n"),
        One(ATTEMPT, ""),
    ),
    ("an upgrade to WebSocket", post!("Connection: Upgrade\r\nUpgrade: websocket\r\n"), One(ATTEMPT, "")),
    ("another expectation", post!("Expect: the-unexpected\r\nContent-Length: 0\r\n"), One(ATTEMPT, "")),
    ("two expectations", post!("Expect: 100-continue, x\r\nContent-Length: 0\r\n"), One(ATTEMPT, "")),
    ("trailers announced", post!("TE: trailers\r\nTrailer: X-Late\r\n"), One(ATTEMPT, "")),
];

const LINES: &[(&str, &str, Fate)] = &[
    ("an empty line before", concat!("\r\n", line!("GET /open/attempt HTTP/1.1")), One(GET, "")),
    ("a space before", line!(" GET /open/attempt HTTP/1.1"), Refused(400)),
    ("a tab before", line!("\tGET /open/attempt HTTP/1.1"), Refused(400)),
    ("NUL before", line!("\0GET /open/attempt HTTP/1.1"), Refused(400)),
    ("NUL in the method", line!("G\0ET /open/attempt HTTP/1.1"), Refused(400)),
    ("NUL in the target", line!("GET /open/att\0empt HTTP/1.1"), Refused(400)),
    ("NUL in the version", line!("GET /open/attempt HTTP/1.1\0"), Refused(400)),
    ("two spaces before the target", line!("GET  /open/attempt HTTP/1.1"), Refused(400)),
    ("two spaces behind the target", line!("GET /open/attempt  HTTP/1.1"), Refused(400)),
    ("a space behind", line!("GET /open/attempt HTTP/1.1 "), Refused(400)),
    ("tabs", line!("GET\t/open/attempt\tHTTP/1.1"), Refused(400)),
    ("VT", line!("GET\x0b/open/attempt HTTP/1.1"), Refused(400)),
    ("CR inside", line!("GET /open/attempt\rHTTP/1.1"), Refused(400)),
    ("LF inside", line!("GET\n/open/attempt HTTP/1.1"), Refused(400)),
    ("a space in the target", line!("GET /open/att empt HTTP/1.1"), Refused(400)),
    ("no method", line!("/open/attempt HTTP/1.1"), Refused(400)),
    ("no target", line!("GET HTTP/1.1"), Refused(400)),
    ("a method with a bracket", line!("G(ET /open/attempt HTTP/1.1"), Refused(400)),
    ("a method beyond ASCII", line!("G\u{cb}T /open/attempt HTTP/1.1"), Refused(400)),
    ("a small method", line!("get /open/attempt HTTP/1.1"), Answered(405)),
    ("a method that nobody has", line!("BREW /open/attempt HTTP/1.1"), Answered(405)),
    ("TRACE", line!("TRACE /open/attempt HTTP/1.1"), Answered(405)),
    ("HTTP/0.9", "GET /open/attempt\r\n\r\n", Refused(400)),
    ("HTTP/0.9 by its number", line!("GET /open/attempt HTTP/0.9"), Refused(400)),
    ("HTTP/1.0", line!("GET /open/attempt HTTP/1.0"), Last(GET, "")),
    ("HTTP/1.0 without a host", "GET /open/attempt HTTP/1.0\r\n\r\n", Refused(400)),
    ("HTTP/1.2", line!("GET /open/attempt HTTP/1.2"), Refused(400)),
    ("HTTP/1.10", line!("GET /open/attempt HTTP/1.10"), Refused(400)),
    ("HTTP/01.1", line!("GET /open/attempt HTTP/01.1"), Refused(400)),
    ("HTTP/1", line!("GET /open/attempt HTTP/1"), Refused(400)),
    ("HTTP/2.0", line!("GET /open/attempt HTTP/2.0"), Refused(400)),
    ("HTTP/3", line!("GET /open/attempt HTTP/3"), Refused(400)),
    ("http/1.1", line!("GET /open/attempt http/1.1"), Refused(400)),
    ("HTTPS/1.1", line!("GET /open/attempt HTTPS/1.1"), Refused(400)),
    ("another protocol", line!("GET /open/attempt SIP/2.0"), Refused(400)),
    ("the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Closed),
    ("a TLS record", "\x16\x03\x01\x00\x05hello\r\n\r\n", Refused(400)),
    ("a protocol of a proxy", "PROXY TCP4 6.6.6.6 127.0.0.1 1 2\r\n", Refused(400)),
];

#[tokio::test]
async fn fields_are_strict() {
    play(cases(FIELDS), |setup| setup).await;
}

#[tokio::test]
async fn request_lines_are_strict() {
    play(cases(LINES), |setup| setup).await;
}

#[tokio::test]
async fn what_is_too_long_or_too_much_is_refused() {
    let (a, get) = (
        |count: usize| "a".repeat(count),
        |fields: &str| line!("GET /open/attempt HTTP/1.1").replace("\r\n\r\n", fields),
    );
    let many = |count: usize| (0..count).map(|number| format!("\r\nX-Own: {number}")).collect::<String>() + "\r\n\r\n";
    let table: Vec<(&str, String, Fate)> = vec![
        (
            "a method of 8 KB",
            line!("METHOD /open/attempt HTTP/1.1").replace("METHOD", &"A".repeat(8 << 10)),
            Answered(405),
        ),
        (
            "a method of 80 KB",
            line!("METHOD /open/attempt HTTP/1.1").replace("METHOD", &"A".repeat(80 << 10)),
            Refused(431),
        ),
        (
            "a target of 80 KB",
            line!("GET /open/attempt? HTTP/1.1").replace('?', &format!("?{}", a(80 << 10))),
            Refused(431),
        ),
        ("a value of 80 KB", get(&format!("\r\nX-Own: {}\r\n\r\n", a(80 << 10))), Refused(431)),
        ("a name of 80 KB", get(&format!("\r\n{}: 1\r\n\r\n", a(80 << 10))), Refused(431)),
        ("a field without an end", get(&format!("\r\nX-Own: {}", a(80 << 10))), Refused(431)),
        ("99 fields beside the host", get(&many(99)), One(GET, "")),
        ("100 fields beside the host", get(&many(100)), Refused(431)),
        ("2000 fields", get(&many(2_000)), Refused(431)),
        ("nothing but line ends", "\r\n".repeat(60 << 10), Refused(431)),
    ];
    let cases: Vec<Case> =
        table.into_iter().map(|(what, text, fate)| (what.to_owned(), text.into_bytes(), fate)).collect();
    play(cases, |setup| setup).await;
}
