//! Where a request ends: length against coding, and each by itself.

use super::Fate::{Answered, Broken, Last, One, Refused};
use super::{Fate, cases, play};

/// What an attempt hides behind itself.
macro_rules! smuggled {
    () => {
        "GET /open/smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"
    };
}

/// A POST with these fields and this body.
macro_rules! post {
    ($fields:expr, $body:expr) => {
        concat!("POST /open/attempt HTTP/1.1\r\nHost: localhost\r\n", $fields, "\r\n", $body)
    };
}

/// Five bytes in a chunk.
macro_rules! hello {
    () => {
        "5\r\nhello\r\n0\r\n\r\n"
    };
}

const ATTEMPT: &str = "POST /open/attempt";
const HELLO: Fate = One(ATTEMPT, "hello");

const CODINGS: &[(&str, &str, Fate)] = &[
    ("neither", post!("", ""), One(ATTEMPT, "")),
    ("chunked", post!("Transfer-Encoding: chunked\r\n", hello!()), HELLO),
    ("chunked in capitals", post!("TRANSFER-ENCODING: CHUNKED\r\n", hello!()), HELLO),
    ("spaces around the coding", post!("Transfer-Encoding: \t chunked \t\r\n", hello!()), HELLO),
    ("no space before the coding", post!("Transfer-Encoding:chunked\r\n", hello!()), HELLO),
    // RFC 9112 6.1: the coding decides, and the connection is not used again.
    (
        "CL.TE",
        post!("Content-Length: 53\r\nTransfer-Encoding: chunked\r\n", concat!("0\r\n\r\n", smuggled!())),
        Last(ATTEMPT, ""),
    ),
    ("TE.CL", post!("Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", hello!()), Last(ATTEMPT, "hello")),
    (
        "TE, and no number",
        post!("Transfer-Encoding: chunked\r\nContent-Length: x\r\n", hello!()),
        Last(ATTEMPT, "hello"),
    ),
    ("no number, and TE", post!("Content-Length: x\r\nTransfer-Encoding: chunked\r\n", hello!()), Refused(400)),
    ("TE.TE", post!("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", hello!()), HELLO),
    ("chunked, then x", post!("Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n", hello!()), Refused(400)),
    ("x, then chunked", post!("Transfer-Encoding: x\r\nTransfer-Encoding: chunked\r\n", hello!()), Refused(400)),
    ("chunked twice in one", post!("Transfer-Encoding: chunked, chunked\r\n", hello!()), Refused(400)),
    ("chunked, identity", post!("Transfer-Encoding: chunked, identity\r\n", hello!()), Refused(400)),
    ("identity, chunked", post!("Transfer-Encoding: identity, chunked\r\n", hello!()), Refused(400)),
    ("identity", post!("Transfer-Encoding: identity\r\nContent-Length: 5\r\n", "hello"), Refused(400)),
    ("gzip, chunked", post!("Transfer-Encoding: gzip, chunked\r\n", hello!()), Refused(400)),
    (
        "gzip in a field of its own",
        post!("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n", hello!()),
        Refused(400),
    ),
    ("an empty element before", post!("Transfer-Encoding: , chunked\r\n", hello!()), Refused(400)),
    ("an empty element behind", post!("Transfer-Encoding: chunked,\r\n", hello!()), Refused(400)),
    ("a parameter", post!("Transfer-Encoding: chunked;q=1\r\n", hello!()), Refused(400)),
    ("xchunked", post!("Transfer-Encoding: xchunked\r\n", hello!()), Refused(400)),
    ("chunkedx", post!("Transfer-Encoding: chunkedx\r\n", hello!()), Refused(400)),
    ("no coding", post!("Transfer-Encoding:\r\n", hello!()), Refused(400)),
    ("no coding, and a length", post!("Transfer-Encoding:\r\nContent-Length: 5\r\n", "hello"), Refused(400)),
    ("a quoted coding", post!("Transfer-Encoding: \"chunked\"\r\n", hello!()), Refused(400)),
    ("NUL before the coding", post!("Transfer-Encoding: \0chunked\r\n", hello!()), Refused(400)),
    ("NUL behind the coding", post!("Transfer-Encoding: chunked\0\r\n", hello!()), Refused(400)),
    ("VT before the coding", post!("Transfer-Encoding: \x0bchunked\r\n", hello!()), Refused(400)),
    ("FF behind the coding", post!("Transfer-Encoding: chunked\x0c\r\n", hello!()), Refused(400)),
    ("a no-break space before the coding", post!("Transfer-Encoding: \u{a0}chunked\r\n", hello!()), Refused(400)),
    ("a no-break space behind the coding", post!("Transfer-Encoding: chunked\u{a0}\r\n", hello!()), Refused(400)),
    ("CR before the coding", post!("Transfer-Encoding: \rchunked\r\n", hello!()), Refused(400)),
    ("a folded coding", post!("Transfer-Encoding:\r\n chunked\r\n", hello!()), Refused(400)),
    (
        "a coding folded into another field",
        post!("X-Own: 1\r\n Transfer-Encoding: chunked\r\n", hello!()),
        Refused(400),
    ),
    ("a space before the colon", post!("Transfer-Encoding : chunked\r\n", hello!()), Refused(400)),
    ("a tab before the colon", post!("Transfer-Encoding\t: chunked\r\n", hello!()), Refused(400)),
    ("NUL before the colon", post!("Transfer-Encoding\0: chunked\r\n", hello!()), Refused(400)),
    ("VT before the colon", post!("Transfer-Encoding\x0b: chunked\r\n", hello!()), Refused(400)),
    ("a no-break space before the colon", post!("Transfer-Encoding\u{a0}: chunked\r\n", hello!()), Refused(400)),
    ("a space before the name", post!("X-Own: 1\r\n Transfer-Encoding: chunked\r\n", hello!()), Refused(400)),
    ("an underscore", post!("Content-Length: 5\r\nTransfer_Encoding: chunked\r\n", "hello"), HELLO),
    ("an underscore and no length", post!("Transfer_Encoding: chunked\r\n", ""), One(ATTEMPT, "")),
    (
        "chunked in HTTP/1.0",
        concat!("POST /open/attempt HTTP/1.0\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n", hello!()),
        Refused(400),
    ),
    (
        "the coding listed in Connection",
        post!("Connection: transfer-encoding\r\nTransfer-Encoding: chunked\r\n", hello!()),
        HELLO,
    ),
];

const LENGTHS: &[(&str, &str, Fate)] = &[
    ("a length", post!("Content-Length: 5\r\n", "hello"), HELLO),
    ("leading zeros", post!("Content-Length: 0005\r\n", "hello"), HELLO),
    ("zero", post!("Content-Length: 0\r\n", ""), One(ATTEMPT, "")),
    (
        "a request for a body",
        post!("Content-Length: 52\r\n", concat!(smuggled!(), "tail")),
        One(ATTEMPT, concat!(smuggled!(), "tail")),
    ),
    ("twice the same", post!("Content-Length: 5\r\nContent-Length: 5\r\n", "hello"), HELLO),
    ("two", post!("Content-Length: 5\r\nContent-Length: 6\r\n", "hello"), Refused(400)),
    ("two in one", post!("Content-Length: 5, 6\r\n", "hello"), Refused(400)),
    ("twice the same in one", post!("Content-Length: 5, 5\r\n", "hello"), Refused(400)),
    ("an empty element", post!("Content-Length: 5,\r\n", "hello"), Refused(400)),
    ("an empty one beside", post!("Content-Length: 5\r\nContent-Length:\r\n", "hello"), Refused(400)),
    ("plus", post!("Content-Length: +5\r\n", "hello"), Refused(400)),
    ("minus", post!("Content-Length: -5\r\n", "hello"), Refused(400)),
    ("minus zero", post!("Content-Length: -0\r\n", ""), Refused(400)),
    ("hex", post!("Content-Length: 0x5\r\n", "hello"), Refused(400)),
    ("a fraction", post!("Content-Length: 5.0\r\n", "hello"), Refused(400)),
    ("an exponent", post!("Content-Length: 5e0\r\n", "hello"), Refused(400)),
    ("an underscore in the number", post!("Content-Length: 0_5\r\n", "hello"), Refused(400)),
    ("digits of another script", post!("Content-Length: \u{665}\r\n", "hello"), Refused(400)),
    ("empty", post!("Content-Length:\r\n", "hello"), Refused(400)),
    ("a space inside", post!("Content-Length: 5 5\r\n", "hello"), Refused(400)),
    ("over 64 bits", post!("Content-Length: 18446744073709551621\r\n", "hello"), Refused(400)),
    ("the greatest of 64 bits", post!("Content-Length: 18446744073709551615\r\n", "hello"), Refused(431)),
    ("over any", post!("Content-Length: 99999999999999999999999999999999999999\r\n", "hello"), Refused(400)),
    ("a space before the colon of a length", post!("Content-Length : 5\r\n", "hello"), Refused(400)),
    ("NUL behind the number", post!("Content-Length: 5\0\r\n", "hello"), Refused(400)),
    ("CR and another field", post!("Content-Length: 5\rX-Own: 1\r\n", "hello"), Refused(400)),
    ("a folded number", post!("Content-Length:\r\n 5\r\n", "hello"), Refused(400)),
    ("an underscore in the name", post!("Content_Length: 5\r\n", ""), One(ATTEMPT, "")),
    ("an underscored one that differs", post!("Content-Length: 5\r\nContent_Length: 0\r\n", "hello"), HELLO),
    ("the length listed in Connection", post!("Connection: content-length\r\nContent-Length: 5\r\n", "hello"), HELLO),
    ("shorter than said", post!("Content-Length: 50\r\n", "hello"), Broken),
    (
        "a body that nobody reads",
        concat!("BREW /open/attempt HTTP/1.1\r\nHost: localhost\r\nContent-Length: 48\r\n\r\n", smuggled!()),
        Answered(405),
    ),
    (
        "a body of a GET",
        concat!("GET /open/attempt HTTP/1.1\r\nHost: localhost\r\nContent-Length: 48\r\n\r\n", smuggled!()),
        One("GET /open/attempt", smuggled!()),
    ),
];

#[tokio::test]
async fn length_and_coding_are_told_apart_or_refused() {
    play(cases(CODINGS), |setup| setup).await;
}

#[tokio::test]
async fn a_length_is_one_number_or_refused() {
    play(cases(LENGTHS), |setup| setup).await;
}
