//! Requests that are malformed (RFC 9113 8.1.1), or would be once they are HTTP/1.1.

use super::Fate::{Answered, GoAway, One, Reset};
use super::{Case, Fate, PROTOCOL, play};
use crate::fixture::frames::{DATA, END_STREAM, frame, headers, request};

type Fields<'a> = &'a [(&'a str, &'a str)];

const METHOD: (&str, &str) = (":method", "GET");
const SCHEME: (&str, &str) = (":scheme", "https");
const AUTHORITY: (&str, &str) = (":authority", "localhost");
const PATH: (&str, &str) = (":path", "/open/attempt");
const GET: Fate = One("GET /open/attempt", "");
const MALFORMED: Fate = Reset(PROTOCOL);
/// No field at all: the block as a whole cannot be read.
const GARBLED: Fate = GoAway(PROTOCOL);

const PSEUDO: &[(&str, Fields<'_>, Fate)] = &[
    ("good", &[METHOD, SCHEME, AUTHORITY, PATH], GET),
    ("in another order", &[PATH, AUTHORITY, SCHEME, METHOD], GET),
    ("a host for the authority", &[METHOD, SCHEME, PATH, ("host", "localhost")], GET),
    ("a host beside the authority", &[METHOD, SCHEME, AUTHORITY, PATH, ("host", "localhost")], GET),
    ("no method", &[SCHEME, AUTHORITY, PATH], MALFORMED),
    ("no scheme", &[METHOD, AUTHORITY, PATH], MALFORMED),
    ("no path", &[METHOD, SCHEME, AUTHORITY], MALFORMED),
    ("no authority and no host", &[METHOD, SCHEME, PATH], Answered(400)),
    ("two methods", &[METHOD, METHOD, SCHEME, AUTHORITY, PATH], MALFORMED),
    ("two schemes", &[METHOD, SCHEME, SCHEME, AUTHORITY, PATH], MALFORMED),
    ("two authorities", &[METHOD, SCHEME, AUTHORITY, AUTHORITY, PATH], MALFORMED),
    ("two paths", &[METHOD, SCHEME, AUTHORITY, PATH, (":path", "/Patient/1")], MALFORMED),
    ("an unknown one", &[METHOD, SCHEME, AUTHORITY, PATH, (":odd", "1")], GARBLED),
    ("one of responses", &[METHOD, SCHEME, AUTHORITY, PATH, (":status", "200")], MALFORMED),
    ("a protocol", &[METHOD, SCHEME, AUTHORITY, PATH, (":protocol", "websocket")], MALFORMED),
    ("one behind a field", &[METHOD, SCHEME, AUTHORITY, ("x-own", "1"), PATH], MALFORMED),
    ("one behind a field, again", &[METHOD, SCHEME, AUTHORITY, PATH, ("x-own", "1"), (":authority", "a")], MALFORMED),
    ("an empty method", &[(":method", ""), SCHEME, AUTHORITY, PATH], GARBLED),
    ("a method with a space", &[(":method", "GET /x"), SCHEME, AUTHORITY, PATH], GARBLED),
    ("a method with CRLF", &[(":method", "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET"), SCHEME, AUTHORITY, PATH], GARBLED),
    ("a small method", &[(":method", "get"), SCHEME, AUTHORITY, PATH], Answered(405)),
    ("an empty scheme", &[METHOD, (":scheme", ""), AUTHORITY, PATH], Answered(400)),
    ("a scheme with CRLF", &[METHOD, (":scheme", "https\r\n"), AUTHORITY, PATH], MALFORMED),
    ("another scheme", &[METHOD, (":scheme", "ftp"), AUTHORITY, PATH], Answered(400)),
    ("a scheme that holds a target", &[METHOD, (":scheme", "https://localhost/x?"), AUTHORITY, PATH], MALFORMED),
    ("CONNECT", &[(":method", "CONNECT"), (":authority", "localhost:443")], Answered(400)),
    ("CONNECT of a path", &[(":method", "CONNECT"), SCHEME, AUTHORITY, PATH], MALFORMED),
    ("an asterisk", &[(":method", "OPTIONS"), SCHEME, AUTHORITY, (":path", "*")], Answered(400)),
];

const HOSTS: &[(&str, Fields<'_>, Fate)] = &[
    ("an empty authority", &[METHOD, SCHEME, (":authority", ""), PATH], MALFORMED),
    ("a user", &[METHOD, SCHEME, (":authority", "user@localhost"), PATH], Answered(400)),
    ("a user and a password", &[METHOD, SCHEME, (":authority", "user:pass@localhost"), PATH], Answered(400)),
    ("two in one", &[METHOD, SCHEME, (":authority", "localhost,elsewhere"), PATH], Answered(400)),
    ("a path", &[METHOD, SCHEME, (":authority", "localhost/x"), PATH], MALFORMED),
    ("a space", &[METHOD, SCHEME, (":authority", "localhost x"), PATH], MALFORMED),
    ("CRLF", &[METHOD, SCHEME, (":authority", "localhost\r\nx-own: 1"), PATH], MALFORMED),
    ("NUL", &[METHOD, SCHEME, (":authority", "localhost\0"), PATH], MALFORMED),
    ("a port that is none", &[METHOD, SCHEME, (":authority", "localhost:x"), PATH], Answered(400)),
    ("another host", &[METHOD, SCHEME, AUTHORITY, PATH, ("host", "elsewhere")], Answered(400)),
    ("two hosts", &[METHOD, SCHEME, PATH, ("host", "localhost"), ("host", "localhost")], Answered(400)),
    (
        "two hosts and the authority",
        &[METHOD, SCHEME, AUTHORITY, PATH, ("host", "localhost"), ("host", "a")],
        Answered(400),
    ),
    ("an empty host", &[METHOD, SCHEME, AUTHORITY, PATH, ("host", "")], Answered(400)),
    ("a user in the host", &[METHOD, SCHEME, PATH, ("host", "user@localhost")], Answered(400)),
];

/// Targets: a path that is split must not become two requests, or another one.
const PATHS: &[(&str, Fate)] = &[
    ("", MALFORMED),
    ("open/attempt", MALFORMED),
    ("//localhost/open/attempt", Answered(400)),
    ("https://localhost/open/attempt", MALFORMED),
    ("/open/attempt HTTP/1.1", MALFORMED),
    ("/open/attempt HTTP/1.1\r\nHost: a\r\n\r\nGET /open/smuggled", MALFORMED),
    ("/open/attempt\r\n", MALFORMED),
    ("/open/attempt\n", MALFORMED),
    ("/open/attempt\0", MALFORMED),
    ("/open/attempt\t", MALFORMED),
    ("/open/attempt%0d%0aHost:%20a", Answered(400)),
    ("/open/attempt?a=%0d%0a", One("GET /open/attempt?a=%0d%0a", "")),
    ("/open/attempt#x", GET),
    ("/open/../Patient/1", Answered(400)),
];

/// Fields behind those of a good request.
const FIELDS: &[(&str, &str, Fate)] = &[
    ("x-own", "1", GET),
    ("x-own", "", GET),
    ("X-Own", "1", GARBLED),
    ("x-oWn", "1", GARBLED),
    ("", "1", GARBLED),
    ("x own", "1", GARBLED),
    ("x-own:", "1", GARBLED),
    ("x-own: 1\r\nx-odd", "1", GARBLED),
    ("x-own\0", "1", GARBLED),
    ("x-\u{f6}wn", "1", GARBLED),
    ("x-own", "a\r\nx-odd: 1", GARBLED),
    ("x-own", "a\r\n\r\nGET /open/smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n", GARBLED),
    ("x-own", "a\rb", GARBLED),
    ("x-own", "a\nb", GARBLED),
    ("x-own", "a\0b", GARBLED),
    ("connection", "close", MALFORMED),
    ("connection", "x-own", MALFORMED),
    ("keep-alive", "timeout=5", MALFORMED),
    ("proxy-connection", "close", MALFORMED),
    ("transfer-encoding", "chunked", MALFORMED),
    ("transfer-encoding", "identity", MALFORMED),
    ("upgrade", "h2c", MALFORMED),
    ("te", "trailers", GET),
    ("te", "gzip", MALFORMED),
    ("transfer_encoding", "chunked", GET),
    ("content_length", "5", GET),
    ("expect", "100-continue", GET),
    ("content-length", "0", GET),
    ("content-length", "5", MALFORMED),
    ("content-length", "x", MALFORMED),
    ("content-length", "-1", MALFORMED),
    ("content-length", "+0", MALFORMED),
    ("content-length", "", Answered(400)),
    ("content-length", "0, 0", MALFORMED),
];

/// Fields behind those of a good POST, the parts of its body, and its trailers if any.
const BODIES: &[(&str, Fields<'_>, &[&str], Fields<'_>, Fate)] = &[
    ("no length", &[], &["hello"], &[], One("POST /open/attempt", "hello")),
    ("a length", &[("content-length", "5")], &["hel", "lo"], &[], One("POST /open/attempt", "hello")),
    ("more than said", &[("content-length", "4")], &["hello"], &[], MALFORMED),
    ("less than said", &[("content-length", "6")], &["hello"], &[], MALFORMED),
    ("more than said, late", &[("content-length", "5")], &["hello", "!"], &[], MALFORMED),
    ("two lengths", &[("content-length", "5"), ("content-length", "6")], &["hello"], &[], MALFORMED),
    (
        "two lengths, the first too long",
        &[("content-length", "6"), ("content-length", "5")],
        &["hello"],
        &[],
        MALFORMED,
    ),
    (
        "twice the same length",
        &[("content-length", "5"), ("content-length", "5")],
        &["hello"],
        &[],
        One("POST /open/attempt", "hello"),
    ),
    ("a length that is none", &[("content-length", "5x")], &["hello"], &[], MALFORMED),
    ("trailers", &[], &["hello"], &[("x-own", "1"), ("host", "a")], One("POST /open/attempt", "hello")),
    ("a length as trailer", &[], &["hello"], &[("content-length", "6")], One("POST /open/attempt", "hello")),
    // Trailers end at the gate, whatever they are.
    ("a trailer with a pseudo-header", &[], &["hello"], &[(":path", "/x")], One("POST /open/attempt", "hello")),
    ("a trailer of responses", &[], &["hello"], &[(":status", "200")], One("POST /open/attempt", "hello")),
    ("a trailer in capitals", &[], &["hello"], &[("X-Own", "1")], GARBLED),
    ("a trailer with CRLF", &[], &["hello"], &[("x-own", "a\r\nb: c")], GARBLED),
    ("a trailer of the connection", &[], &["hello"], &[("transfer-encoding", "chunked")], MALFORMED),
];

fn get(what: &'static str, fields: Fields<'_>, fate: Fate) -> Case {
    (what, headers(1, END_STREAM, fields), fate)
}

#[tokio::test]
async fn pseudo_headers_are_all_there_once_and_first() {
    play(PSEUDO.iter().map(|(what, fields, fate)| get(what, fields, *fate)).collect()).await;
}

#[tokio::test]
async fn a_stream_is_for_one_host() {
    play(HOSTS.iter().map(|(what, fields, fate)| get(what, fields, *fate)).collect()).await;
}

#[tokio::test]
async fn a_path_does_not_become_another_request() {
    play(PATHS.iter().map(|(path, fate)| get(path, &request("GET", path), *fate)).collect()).await;
}

#[tokio::test]
async fn fields_that_http_1_reads_in_another_way_do_not_pass() {
    let case = |(name, value, fate): &(&'static str, &str, Fate)| {
        get(name, &[&request("GET", "/open/attempt")[..], &[(name, value)]].concat(), *fate)
    };
    play(FIELDS.iter().map(case).collect()).await;
}

#[tokio::test]
async fn a_body_is_as_long_as_it_is_said_to_be() {
    let mut cases = Vec::new();
    for (what, fields, parts, trailers, fate) in BODIES {
        let fields = [&request("POST", "/open/attempt")[..], fields].concat();
        let mut bytes = headers(1, 0, &fields);
        for (at, part) in parts.iter().enumerate() {
            let last = at + 1 == parts.len() && trailers.is_empty();
            bytes.extend(frame(DATA, if last { END_STREAM } else { 0 }, 1, part));
        }
        if !trailers.is_empty() {
            bytes.extend(headers(1, END_STREAM, trailers));
        }
        cases.push((*what, bytes, *fate));
    }
    play(cases).await;
}
