//! Targets and hosts: one spelling, one host.

use super::Fate::{Answered, Last, One, Refused};
use super::{Case, Fate, cases, play};

/// A GET of a target, with these fields instead of the host.
macro_rules! get {
    ($target:expr, $fields:expr) => {
        concat!("GET ", $target, " HTTP/1.1\r\n", $fields, "\r\n")
    };
}

const HOST: &str = "Host: localhost\r\n";
const GET: &str = "GET /open/attempt";

const HOSTS: &[(&str, &str, Fate)] = &[
    ("one", get!("/open/attempt", "Host: localhost\r\n"), One(GET, "")),
    ("with a port", get!("/open/attempt", "Host: localhost:8443\r\n"), One(GET, "")),
    ("an address", get!("/open/attempt", "Host: 127.0.0.1:8443\r\n"), One(GET, "")),
    ("an address of IPv6", get!("/open/attempt", "Host: [::1]:8443\r\n"), One(GET, "")),
    ("none", get!("/open/attempt", ""), Refused(400)),
    ("empty", get!("/open/attempt", "Host:\r\n"), Refused(400)),
    ("two", get!("/open/attempt", "Host: localhost\r\nHost: elsewhere\r\n"), Refused(400)),
    ("twice the same", get!("/open/attempt", "Host: localhost\r\nHost: localhost\r\n"), Refused(400)),
    ("two, one empty", get!("/open/attempt", "Host: localhost\r\nHost:\r\n"), Refused(400)),
    ("two in one", get!("/open/attempt", "Host: localhost, elsewhere\r\n"), Refused(400)),
    ("two in one without a space", get!("/open/attempt", "Host: localhost,elsewhere\r\n"), Refused(400)),
    ("a space inside", get!("/open/attempt", "Host: local host\r\n"), Refused(400)),
    ("a tab inside", get!("/open/attempt", "Host: local\thost\r\n"), Refused(400)),
    ("a path", get!("/open/attempt", "Host: localhost/x\r\n"), Refused(400)),
    ("a query", get!("/open/attempt", "Host: localhost?x\r\n"), Refused(400)),
    ("a scheme", get!("/open/attempt", "Host: http://localhost\r\n"), Refused(400)),
    ("a user", get!("/open/attempt", "Host: user@localhost\r\n"), Refused(400)),
    ("a user and a password", get!("/open/attempt", "Host: user:pass@localhost\r\n"), Refused(400)),
    ("an empty user", get!("/open/attempt", "Host: @localhost\r\n"), Refused(400)),
    ("a port alone", get!("/open/attempt", "Host: :8443\r\n"), Refused(400)),
    ("a port that is none", get!("/open/attempt", "Host: localhost:x\r\n"), Refused(400)),
    ("a port too high", get!("/open/attempt", "Host: localhost:65536\r\n"), Refused(400)),
    ("two ports", get!("/open/attempt", "Host: localhost:1:2\r\n"), Refused(400)),
    ("an escape", get!("/open/attempt", "Host: localhost%2e\r\n"), Refused(400)),
    ("a half bracket", get!("/open/attempt", "Host: [::1\r\n"), Refused(400)),
    ("a quote", get!("/open/attempt", "Host: \"localhost\"\r\n"), Refused(400)),
    ("a semicolon", get!("/open/attempt", "Host: localhost;x\r\n"), Refused(400)),
    ("an ampersand", get!("/open/attempt", "Host: localhost&x=1\r\n"), Refused(400)),
    ("letters beyond ASCII", get!("/open/attempt", "Host: l\u{f6}calhost\r\n"), Refused(400)),
    ("NUL", get!("/open/attempt", "Host: localhost\0\r\n"), Refused(400)),
    ("an underscored one beside", get!("/open/attempt", "Host: localhost\r\nX_Forwarded_Host: a\r\n"), One(GET, "")),
    (
        "another in X-Forwarded-Host",
        get!("/open/attempt", "Host: localhost\r\nX-Forwarded-Host: a\r\nX-Host: a\r\n"),
        One(GET, ""),
    ),
];

const FORMS: &[(&str, &str, Fate)] = &[
    ("absolute", get!("https://localhost/open/attempt", "Host: localhost\r\n"), One(GET, "")),
    ("absolute in capitals", get!("HTTPS://LOCALHOST/open/attempt", "Host: localhost\r\n"), One(GET, "")),
    ("absolute, without a host", get!("https://localhost/open/attempt", ""), Refused(400)),
    ("absolute, of another host", get!("https://elsewhere/open/attempt", "Host: localhost\r\n"), Refused(400)),
    ("absolute, of another port", get!("https://localhost:1/open/attempt", "Host: localhost\r\n"), Refused(400)),
    ("absolute, with an empty host", get!("https://localhost/open/attempt", "Host:\r\n"), Refused(400)),
    (
        "absolute, with two hosts",
        get!("https://localhost/open/attempt", "Host: localhost\r\nHost: localhost\r\n"),
        Refused(400),
    ),
    ("absolute, with a user", get!("https://user@localhost/open/attempt", "Host: localhost\r\n"), Refused(400)),
    (
        "absolute, with a user twice",
        get!("https://user@localhost/open/attempt", "Host: user@localhost\r\n"),
        Refused(400),
    ),
    ("absolute, of no host", get!("https:///open/attempt", "Host: localhost\r\n"), Refused(400)),
    ("absolute, of another scheme", get!("ftp://localhost/open/attempt", "Host: localhost\r\n"), Refused(400)),
    ("a scheme alone", get!("https:/open/attempt", "Host: localhost\r\n"), Refused(400)),
    ("a host alone", get!("//localhost/open/attempt", "Host: localhost\r\n"), Answered(400)),
    ("an asterisk", "OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n", Answered(400)),
    ("an asterisk of a GET", get!("*", "Host: localhost\r\n"), Answered(400)),
    ("an authority", get!("localhost:443", "Host: localhost:443\r\n"), Answered(400)),
    ("CONNECT", "CONNECT localhost:443 HTTP/1.1\r\nHost: localhost:443\r\n\r\n", Refused(400)),
    ("CONNECT of a path", "CONNECT /open/attempt HTTP/1.1\r\nHost: localhost\r\n\r\n", Refused(405)),
    ("no slash", get!("open/attempt", "Host: localhost\r\n"), Refused(400)),
    ("a query alone", get!("?x=attempt", "Host: localhost\r\n"), Refused(400)),
    ("a fragment", get!("/open/attempt#x", "Host: localhost\r\n"), One(GET, "")),
];

/// Targets, and what becomes of them; each that is refused could be read as another one.
const SPELLINGS: &[(&str, Fate)] = &[
    ("/open/attempt?a=b&a=c", One("GET /open/attempt?a=b&a=c", "")),
    ("/open/attempt?a=%0d%0aX-Own:%201", One("GET /open/attempt?a=%0d%0aX-Own:%201", "")),
    ("/open/attempt?http://elsewhere/", One("GET /open/attempt?http://elsewhere/", "")),
    ("/open/attempt%0d%0aX-Own:%201", Answered(400)),
    ("/open/attempt%20HTTP/1.1%0d%0aHost:%20a", Answered(400)),
    ("/open/attempt%00", Answered(400)),
    ("/open/attempt%", Answered(400)),
    ("/open/../Patient/attempt", Answered(400)),
    ("/open/%2e%2e/Patient/attempt", Answered(400)),
    ("/open/.%2e/Patient/attempt", Answered(400)),
    ("/open/..%2fPatient/attempt", Answered(400)),
    ("/open/..;/Patient/attempt", Answered(400)),
    ("/open/..\\Patient/attempt", Answered(400)),
    ("/open//attempt", Answered(400)),
    ("/open/%61ttempt", Answered(400)),
    ("/open/%c0%ae%c0%ae/attempt", One("GET /open/%c0%ae%c0%ae/attempt", "")),
    ("/open/\u{e9}/attempt", Answered(400)),
    ("/Open/attempt", Answered(404)),
    ("/", Answered(404)),
];

#[tokio::test]
async fn a_request_is_for_one_host() {
    play(cases(HOSTS), |setup| setup).await;
}

#[tokio::test]
async fn a_target_has_one_form() {
    play(cases(FORMS), |setup| setup).await;
}

#[tokio::test]
async fn a_target_has_one_spelling() {
    let case = |(target, fate): &(&str, Fate)| -> Case {
        ((*target).to_owned(), format!("GET {target} HTTP/1.1\r\n{HOST}\r\n").into_bytes(), *fate)
    };
    let mut cases: Vec<Case> = SPELLINGS.iter().map(case).collect();
    let last = "GET /open/attempt HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    cases.push(("the last one".to_owned(), last.into(), Last(GET, "")));
    play(cases, |setup| setup).await;
}
