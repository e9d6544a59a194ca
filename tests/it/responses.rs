//! What is made of the upstream's answers. What cannot be understood is withheld, whole, and recorded.

use crate::fixture::bed::forged;
use crate::fixture::upstream::Speaker;
use crate::fixture::{Bed, Call, Gate, Reply, Setup};
use serde_json::json;
use std::net::TcpListener;

const DOCUMENT: &str = "{\"ssn\":\"999-12-3456\",\"name\":[{\"family\":\"Chalmers\"}],\"note\":{\"a\":1}}";
/// Its `ssn`, `family` and `note`.
const PLACES: [&str; 3] = ["/ssn", "/name/0/family", "/note"];
/// Stands in everything that an upstream says and that nobody is to get.
const WORD: &str = "Withheld";
const NOT_UNDERSTOOD: (u16, &str) = (502, "response_not_understood");
const FAILED: (u16, &str) = (502, "upstream_failed");
const TIMEOUT: (u16, &str) = (504, "upstream_timeout");
const UNSEALED: (u16, &str) = (502, "response_unsealed");
const UNOPENABLE: (u16, &str) = (502, "response_unopenable");

/// Reads and writes, as each role that may, over either protocol: it must be a problem, with nothing of the answer in
/// it, and the last record of the exchange must be that of the refusal.
async fn withheld(gate: &Gate, roles: &[&str], (status, code): (u16, &str), what: &str) {
    for who in roles {
        let read = Call::new("GET /Patient/1");
        let write = Call::new("POST /Patient").json("{\"active\":true}");
        for (call, kinds) in [(read, &["ExchangeRefused"][..]), (write, &["ExchangeIntended", "ExchangeRefused"])] {
            let client = gate.as_client(who);
            for client in [client.clone(), client.over_http2()] {
                let before = gate.events().len();
                let reply = call.from(&client).await;
                assert_eq!(reply.status, status, "{what}, {who}, {call}: {}", reply.text());
                let problem = reply.expect_problem(status, code);
                let told = format!("{:?} {problem}", reply.headers);
                assert!(!told.contains(WORD), "{what}, {who}, {call}: {told}");
                assert!(
                    !told.contains("999-1") && !told.contains("99912") && !told.contains("Chalmers"),
                    "{what}, {who}, {call}: {told}"
                );
                assert_eq!(reply.header("retry-after"), None, "{what}, {who}, {call}");
                let events = gate.events().split_off(before);
                let last = events.last().unwrap();
                assert_eq!((&last["code"], &last["status"]), (&json!(code), &json!(status)), "{what}: {events:#?}");
                assert_eq!(last["sent_upstream"], true, "{what}: {events:#?}");
                // What comes to light only when a token is opened comes after the record of what is to be shown.
                let got: Vec<_> = events.iter().map(|event| &event["event"]).collect();
                let got: Vec<_> = got.into_iter().filter(|kind| *kind != "ExchangeAnswered").collect();
                assert_eq!(got, kinds, "{what}, {who}, {call}");
            }
        }
    }
}

#[tokio::test]
async fn what_is_not_json_is_withheld() {
    let bed = Bed::start();
    let json = [("content-type", "application/json")];
    let (text, broken) = (format!("{{\"other\":\"{WORD}\"}}"), format!("{{\"other\":\"{WORD}\""));
    for status in [200, 404] {
        for (headers, body) in [
            (&[("content-type", "text/html"), ("x-word", WORD)][..], format!("<h1>{WORD}</h1>").as_bytes()),
            (&[("content-type", "text/plain"), ("retry-after", "7")], text.as_bytes()),
            (&[("content-type", "application/fhir+xml")], text.as_bytes()),
            (&[("content-type", "application/json-patch+json")], text.as_bytes()),
            (&[("content-type", "application/json; charset=utf-16")], text.as_bytes()),
            (&[("content-type", "application/json"), ("content-type", "text/html")], text.as_bytes()),
            (&[("content-type", "application/json"), ("content-type", "application/json")], text.as_bytes()),
            (&[("content-type", "application/json"), ("content-encoding", "gzip")], text.as_bytes()),
            (&[("content-type", "application/json"), ("content-encoding", "identity, br")], text.as_bytes()),
            (&[], text.as_bytes()),
            (&json, broken.as_bytes()),
            (&json, b"{\"other\":1,}"),
            (&json, b"{\"other\":1} {\"ssn\":\"999-12-3456\"}"),
            (&json, b"{\"other\":\"\xff\"}"),
            (&json, b"{\"other\":NaN}"),
            (&json, b" "),
        ] {
            bed.upstream.always(status, headers, body.to_vec());
            let what = format!("{status} {headers:?} {}", body.escape_ascii());
            withheld(&bed.gate, &["clinician"], NOT_UNDERSTOOD, &what).await;
        }
    }
}

#[tokio::test]
async fn an_answer_without_a_body_needs_no_type() {
    let bed = Bed::start();
    for (status, headers) in
        [(200, &[][..]), (404, &[("content-type", "text/html")]), (500, &[("content-encoding", "br")])]
    {
        bed.upstream.always(status, headers, "");
        let reply = bed.make("clinician", &Call::new("GET /Patient/1")).await;
        assert_eq!((reply.status.as_u16(), reply.text().as_str()), (status, ""));
        assert_eq!(bed.gate.events().pop().unwrap()["event"], "ExchangeAnswered");
    }
}

fn whole(head: &str, body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: application/json\r\n{head}\r\n{body}")
}

#[tokio::test]
async fn what_breaks_off_or_is_no_http_is_withheld() {
    let upstream = Speaker::start();
    let gate = Setup::before(upstream.addr()).start();
    let body = format!("{{\"other\":\"{WORD}\"}}");
    let length = body.len();
    for (words, want) in [
        (String::new(), FAILED),
        ("HTTP/1.1 200".to_owned(), FAILED),
        (format!("{WORD}\r\n\r\n"), FAILED),
        (format!("HTTP/1.1 200 OK\r\n{WORD}\r\n\r\n"), FAILED),
        (whole(&format!("content-length: {}\r\n", length + 1), &body), FAILED),
        (whole(&format!("content-length: {}\r\n", length * 10), &body), FAILED),
        (whole(&format!("content-length: {length}\r\ncontent-length: 3\r\n"), &body), FAILED),
        (whole("content-length: x\r\n", &body), FAILED),
        (whole("transfer-encoding: chunked\r\n", &format!("{length:x}\r\n{body}\r\n")), FAILED),
        (whole("transfer-encoding: chunked\r\n", &format!("{length:x}\r\n{body}\r\n0")), FAILED),
        (whole("transfer-encoding: chunked\r\n", &format!("{WORD}\r\n{body}\r\n0\r\n\r\n")), FAILED),
        (whole("transfer-encoding: chunked\r\n", &format!("2\r\n{body}\r\n0\r\n\r\n")), FAILED),
        (whole("transfer-encoding: chunked\r\n", &format!("fffffffffffffffff\r\n{body}")), FAILED),
        // Without a length the end of the connection is that of the body: it must be a whole document.
        (whole("", body.get(..10).unwrap()), NOT_UNDERSTOOD),
        (whole(&format!("content-length: {}\r\n", length - 1), &body), NOT_UNDERSTOOD),
        (format!("HTTP/1.1 101 Switching Protocols\r\nupgrade: {WORD}\r\nconnection: upgrade\r\n\r\n"), NOT_UNDERSTOOD),
    ] {
        upstream.say(words.as_str());
        withheld(&gate, &["clinician"], want, &words).await;
    }
    for words in
        [whole("", &body), whole("transfer-encoding: chunked\r\n", &format!("{length:x}\r\n{body}\r\n0\r\n\r\n"))]
    {
        upstream.say(words.as_str());
        assert_eq!(gate.as_client("clinician").get("/Patient/1").await.text(), body, "{words}");
    }
}

#[tokio::test]
async fn an_answer_larger_than_the_limits_is_withheld() {
    let upstream = Speaker::start();
    let limits = "limits: {response_bytes_max: 4000, depth_max: 8}";
    let gate = Setup::before(upstream.addr()).replace("limits: {}", limits).start();
    let document = |length: usize| format!("{{\"{WORD}\":\"{}\"}}", "x".repeat(length - 15));
    let chunked =
        |body: &str| whole("transfer-encoding: chunked\r\n", &format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len()));
    upstream.say(chunked(&document(4000)));
    assert_eq!(gate.as_client("clinician").get("/Patient/1").await.body.len(), 4000);
    for words in
        [whole("content-length: 4001\r\n", &document(4001)), chunked(&document(4001)), whole("", &document(100_000))]
    {
        upstream.say(words);
        withheld(&gate, &["clinician"], (502, "response_too_large"), "too large").await;
    }
    upstream.say(whole("", &format!("{}1{}", "[".repeat(9), "]".repeat(9))));
    withheld(&gate, &["clinician"], NOT_UNDERSTOOD, "too deep").await;
}

#[tokio::test]
async fn a_value_in_the_clear_is_withheld() {
    let bed = Bed::start();
    let json = [("content-type", "application/json")];
    for body in [
        "{\"ssn\":\"999-12-3456\"}",
        "{\"ssn\":999123456}",
        "{\"ssn\":true}",
        "{\"ssn\":{\"a\":\"999-12\"}}",
        "{\"ssn\":[]}",
        "{\"s\\u0073n\":\"999-12\"}",
        "{\"ssn\":null,\"ssn\":\"999-12\"}",
        "{\"errors\":[{\"input\":{\"ssn\":\"999-12-3456\"}}]}",
        "{\"ssn\":\"sgv1\"}",
        "{\"ssn\":\"SGV1.AQEB\"}",
        "{\"ssn\":\" \"}",
    ] {
        for status in [200, 422, 500] {
            bed.upstream.always(status, &json, body);
            withheld(&bed.gate, &["clinician", "billing", "desk", "dba"], UNSEALED, body).await;
        }
    }
    bed.upstream.always(200, &json, "{\"ssn\":null,\"name\":[{\"family\":\"\"}]}");
    assert_eq!(bed.make("clinician", &Call::new("GET /Patient/1")).await.status, 200, "nothing is nothing");
}

#[tokio::test]
async fn old_records_are_shown_in_each_view_where_the_route_says_so() {
    let bed = Bed::with(|setup| setup.replace("record: id\n    rules", "record: id\n    unsealed: show\n    rules"));
    let old = "{ \"ssn\":\"999-12-3456\",\"identifier\":[{\"value\":12345}],\"name\":[{\"family\":\"Ch\\u00e2l\"}],\"note\":{\"a\":1}}";
    bed.upstream.keep("/Patient/1", old);
    let number = "{ \"ssn\":\"***-**-3456\",\"identifier\":[{\"value\":\"*****\"}],\"name\":[{\"family\":\"Ch\\u00e2l\"}],\"note\":\"[REDACTED]\"}";
    let redacted = "{ \"ssn\":\"[REDACTED]\",\"identifier\":[{\"value\":\"[REDACTED]\"}],\"name\":[{\"family\":\"[REDACTED]\"}],\"note\":\"[REDACTED]\"}";
    for (who, shown, ssn) in [
        ("clinician", old, "unsealed"),
        ("billing", number, "masked"),
        ("support", redacted, "redacted"),
        ("desk", redacted, "redacted"),
        ("dba", redacted, "redacted"),
    ] {
        assert_eq!(bed.make(who, &Call::new("GET /Patient/1")).await.text(), shown, "{who}");
        let event = bed.gate.events().pop().unwrap();
        let fields = event["fields"].as_array().unwrap();
        assert!(fields.contains(&json!({"class": "ssn", "action": ssn, "count": 2})), "{who}: {event}");
    }
    assert!(bed.gate.metric("sealgate_fields_total{route=\"patient\",class=\"ssn\",action=\"unsealed\"}") >= 2.0);
    // What is no token in a place where tokens stand is still no value.
    bed.upstream.keep("/Patient/1", "{\"ssn\":\"x sgv1.AQEB\"}");
    bed.make("clinician", &Call::new("GET /Patient/1")).await.expect_problem(502, "response_unopenable");
}

#[tokio::test]
async fn a_token_that_is_not_of_its_place_is_withheld_from_everybody() {
    let other = "routes:\n  - {name: other, path: '/Other/{id}', methods: [GET, PUT], upstream: app, scope: other, \
                 rules: [{path: $..ssn, class: ssn}, {path: '$.name[*].family', class: name}, {path: $.note, class: note}]}";
    let bed = Bed::with(|setup| {
        let setup = setup.replace("routes:", other);
        setup.replace("roles: [clinician]}", "roles: [clinician], scopes: [test, other]}")
    });
    let [ssn, family, note] = bed.tokens("/Patient/1", DOCUMENT, PLACES).await;
    let [foreign, ..] = bed.tokens("/Other/1", DOCUMENT, PLACES).await;
    let roles = ["clinician", "billing", "desk", "dba"];
    for body in [
        format!("{{\"ssn\":\"{family}\"}}"),
        format!("{{\"ssn\":\"{note}\"}}"),
        format!("{{\"name\":[{{\"family\":\"{ssn}\"}}]}}"),
        format!("{{\"note\":\"{ssn}\"}}"),
        format!("{{\"ssn\":\"{foreign}\"}}"),
        format!("{{\"ssn\":\"{ssn}\",\"a\":[{{\"ssn\":\"{foreign}\"}}]}}"),
        // In a longer text, or cut, or of another make.
        format!("{{\"ssn\":\"x{ssn}\"}}"),
        format!("{{\"ssn\":\" {ssn}\"}}"),
        format!("{{\"ssn\":\"{ssn} \"}}"),
        format!("{{\"ssn\":\"{ssn}=\"}}"),
        format!("{{\"ssn\":\"{ssn}{ssn}\"}}"),
        format!("{{\"ssn\":\"{}\"}}", ssn.get(..60).unwrap()),
        format!("{{\"ssn\":\"{}\"}}", ssn.get(..9).unwrap()),
        format!("{{\"ssn\":\"{}\"}}", ssn.replace("sgv1.", "sgv2.")),
        "{\"ssn\":\"sgv1.\"}".to_owned(),
        "{\"ssn\":\"sgv9.AQEB\"}".to_owned(),
    ] {
        bed.upstream.always(200, &[("content-type", "application/json")], body.clone());
        withheld(&bed.gate, &roles, UNOPENABLE, &body).await;
        let reply = bed.make("support", &Call::new("GET /Patient/1")).await;
        reply.expect_problem(502, "response_unopenable");
    }
}

#[tokio::test]
async fn a_token_that_was_changed_is_withheld_from_who_would_read_it() {
    let bed = Bed::start();
    let [ssn, ..] = bed.tokens("/Patient/1", DOCUMENT, PLACES).await;
    let changed = [
        // In the commitment, the encrypted data key, the nonce, the ciphertext and the tag; cut, and drawn out.
        forged(&ssn, |bytes| bytes[20] ^= 1),
        forged(&ssn, |bytes| bytes[80] ^= 1),
        forged(&ssn, |bytes| *bytes.iter_mut().nth_back(39).unwrap() ^= 1),
        forged(&ssn, |bytes| *bytes.iter_mut().nth_back(20).unwrap() ^= 1),
        forged(&ssn, |bytes| *bytes.last_mut().unwrap() ^= 1),
        forged(&ssn, |bytes| bytes.truncate(bytes.len() - 1)),
        forged(&ssn, |bytes| bytes.push(0)),
    ];
    for token in changed {
        let body = format!("{{\"other\":\"{WORD}\",\"ssn\":\"{token}\"}}");
        bed.upstream.always(200, &[("content-type", "application/json")], body.clone());
        withheld(&bed.gate, &["clinician", "billing"], UNOPENABLE, &body).await;
        // Nothing is opened for these.
        let read = Call::new("GET /Patient/1");
        assert_eq!(bed.make("desk", &read).await.json()["ssn"], "[REDACTED]");
        assert_eq!(bed.make("dba", &read).await.text(), body);
    }
}

/// What a record says was shown was shown.
#[tokio::test]
async fn a_withheld_answer_is_not_recorded_as_shown() {
    let bed = Bed::start();
    let [ssn, ..] = bed.tokens("/Patient/1", DOCUMENT, PLACES).await;
    let body = format!("{{\"ssn\":\"{}\"}}", forged(&ssn, |bytes| bytes.truncate(bytes.len() - 1)));
    bed.upstream.always(200, &[("content-type", "application/json")], body);
    let before = bed.gate.events().len();
    bed.make("clinician", &Call::new("GET /Patient/1")).await.expect_problem(502, "response_unopenable");
    let events = bed.gate.events().split_off(before);
    assert_eq!(events.len(), 1, "{events:#?}");
}

#[tokio::test]
async fn a_token_where_no_rule_reads_stays_a_token() {
    let bed = Bed::start();
    let [ssn, ..] = bed.tokens("/Patient/1", DOCUMENT, PLACES).await;
    let body = format!("{{\"echo\":\"you sent {ssn}\",\"{ssn}\":[\"{ssn}\"]}}");
    bed.upstream.always(400, &[("content-type", "application/json")], body.clone());
    for who in ["clinician", "support", "dba"] {
        assert_eq!(bed.make(who, &Call::new("GET /Patient/1")).await.text(), body, "{who}");
    }
}

#[tokio::test]
async fn answers_without_a_body_pass() {
    let bed = Bed::start();
    let [ssn, ..] = bed.tokens("/Patient/1", DOCUMENT, PLACES).await;
    let client = bed.gate.as_client("clinician");
    for client in [client.clone(), client.over_http2()] {
        let head = Call::new("HEAD /Patient/1").from(&client).await;
        assert_eq!((head.status.as_u16(), head.body.len()), (200, 0));
        assert_eq!(head.header("content-type"), Some("application/json"));
        assert_eq!(head.header("content-length"), None, "the upstream's is that of the tokens");
        assert_eq!(head.header("cache-control"), Some("no-store"));
        let deleted = Call::new("DELETE /Patient/1").from(&client).await;
        assert_eq!((deleted.status.as_u16(), deleted.body.len()), (204, 0));
        bed.upstream.script(|received| {
            let asked = received.headers.contains_key("if-none-match");
            Some(http::Response::builder().status(if asked { 412 } else { 304 }).body("".into()).unwrap())
        });
        let unchanged = Call::new("GET /Patient/1").header("if-none-match", "\"1\"").from(&client).await;
        assert_eq!((unchanged.status.as_u16(), unchanged.body.len()), (304, 0), "the condition stays behind");
        bed.upstream.script(|_| None);
    }
    let kinds: Vec<_> = bed.gate.events().iter().map(|event| event["event"].as_str().unwrap().to_owned()).collect();
    assert!(!kinds.contains(&"ExchangeRefused".to_owned()), "{kinds:?} {ssn}");
}

#[tokio::test]
async fn each_view_has_tags_of_its_own() {
    let bed = Bed::start();
    bed.tokens("/Patient/1", DOCUMENT, PLACES).await;
    bed.upstream.script(|received| {
        let is_known = received.headers.get("if-none-match").is_some_and(|value| value == "W/\"3\"");
        let status = if is_known { 304 } else { 200 };
        let head = http::Response::builder().status(status).header("etag", "W/\"3\"");
        Some(head.header("content-type", "application/json").body(if is_known { "" } else { "{}" }.into()).unwrap())
    });
    let [clinician, billing] = ["clinician", "billing"].map(|name| bed.gate.as_client(name));
    let mut tags = Vec::new();
    for client in [&clinician, &billing, &clinician] {
        let reply = Call::new("GET /Patient/1").from(client).await;
        tags.push(reply.header("etag").unwrap().to_owned());
    }
    assert!(tags[0] != tags[1] && tags[0] == tags[2] && tags[0].starts_with("W/\"3~sg"), "{tags:?}");
    let asked = |name: &'static str, value: &str| (name, value.to_owned());
    bed.upstream.take_all();
    for (client, line, (name, value), status, received) in [
        (&clinician, "GET /Patient/1", asked("if-none-match", &tags[0]), 304, Some("W/\"3\"")),
        (&billing, "GET /Patient/1", asked("if-none-match", &tags[0]), 200, None),
        (&billing, "HEAD /Patient/1", asked("if-none-match", &tags[1]), 304, Some("W/\"3\"")),
        (&clinician, "GET /Patient/1", asked("if-none-match", "W/\"3\""), 200, None),
        (&clinician, "PUT /Patient/1", asked("if-match", &tags[0]), 200, Some("W/\"3\"")),
        (&clinician, "PUT /Patient/1", asked("if-match", "W/\"3\""), 200, Some("W/\"3\"")),
        (&clinician, "PUT /Patient/1", asked("if-match", &tags[1]), 200, Some(&*tags[1])),
        (&clinician, "PUT /Patient/1", asked("if-none-match", "*"), 200, Some("*")),
    ] {
        let mut call = Call::new(line).header(name, &value);
        if line.starts_with("PUT") {
            call = call.json("{}");
        }
        let reply = call.from(client).await;
        assert_eq!(reply.status, status, "{line} {name}: {value}");
        let got = bed.upstream.take_only();
        assert_eq!(got.headers.get(name).map(|value| value.to_str().unwrap()), received, "{line} {name}: {value}");
    }
    let unchanged = bed.gate.events();
    assert!(unchanged.iter().any(|event| event["upstream_status"] == 304 && event["event"] == "ExchangeAnswered"));
}

#[tokio::test]
async fn an_upstream_that_is_not_there_is_told_so() {
    let nowhere = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let gate = Setup::before(nowhere).start();
    for (line, kinds) in
        [("GET /Patient/1", &["ExchangeRefused"][..]), ("POST /Patient", &["ExchangeIntended", "ExchangeRefused"])]
    {
        let before = gate.events().len();
        let reply = Call::new(line).from(&gate.as_client("clinician")).await;
        reply.expect_problem(502, "upstream_unreachable");
        assert_eq!(reply.header("retry-after"), None);
        let events = gate.events().split_off(before);
        let got: Vec<_> = events.iter().map(|event| &event["event"]).collect();
        assert_eq!(got, kinds, "{line}");
        assert_eq!(events.last().unwrap()["sent_upstream"], false, "{line}: {events:#?}");
    }
    let head = Call::new("HEAD /Patient/1").from(&gate.as_client("clinician")).await;
    assert_eq!((head.status.as_u16(), head.body.len()), (502, 0));
}

#[tokio::test]
async fn an_upstream_that_does_not_answer_is_not_waited_for() {
    // It takes connections, as the kernel does for it, and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let hasty = |setup: Setup| setup.replace("\"${UPSTREAM}\"", "\"${UPSTREAM}\", response_timeout_ms: 300");
    let gate = hasty(Setup::before(silent.local_addr().unwrap())).start();
    withheld(&gate, &["clinician"], TIMEOUT, "silence").await;
    // Or a head and half a body.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let gate = hasty(Setup::before(listener.local_addr().unwrap())).start();
    std::thread::spawn(move || {
        use std::io::{Read, Write};
        let mut open = Vec::new();
        for tcp in listener.incoming() {
            let mut tcp = tcp.unwrap();
            let _head = tcp.read(&mut [0; 4096]).unwrap();
            tcp.write_all(whole("content-length: 1000\r\n", "{\"other\":\"Withheld").as_bytes()).unwrap();
            open.push(tcp);
        }
    });
    withheld(&gate, &["clinician"], TIMEOUT, "half a body").await;
}

/// Whatever the upstream answers to a write, nothing in the reply invites to write again.
#[tokio::test]
async fn a_write_that_failed_at_the_upstream_is_not_sent_twice() {
    let upstream = Speaker::start();
    let tee = crate::fixture::tee::Tee::start(upstream.addr()).unwrap();
    let gate = Setup::before(tee.addr()).start();
    for words in ["", "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n", "HTTP/1.1 503 No\r\ncontent-length: 2\r\n\r\nno"]
    {
        upstream.say(words);
        for line in ["POST /Patient", "PUT /Patient/1", "DELETE /Patient/1"] {
            tee.clear();
            let reply: Reply = Call::new(line).from(&gate.as_client("clinician")).await;
            assert_eq!(reply.status, 502, "{line} {words}");
            assert_eq!(reply.header("retry-after"), None, "{line} {words}");
            assert_eq!(tee.count(" HTTP/1.1\r\n"), 1, "{line} {words}");
        }
    }
}
