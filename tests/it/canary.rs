//! Values that nobody could mistake are sent through everything that a request can come to. No log line, metric, audit
//! record or problem body may hold one, and the upstream none of those that are sealed.

use crate::fixture::leak::find_leaks;
use crate::fixture::tee::Tee;
use crate::fixture::upstream::Speaker;
use crate::fixture::{Bed, Call, Gate, Reply, Setup, Upstream};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::Method;
use std::collections::BTreeSet;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// In ruled fields: what the upstream must not get in any spelling.
const SEALED: [&str; 6] =
    ["941-88-7315", "Zwetschgenbäumle", "Quirinquell/\"7\"", "Xylofonkonzert", "8675309172635", "Querulantin"];
/// Elsewhere in a request: header values, names, query, path, unruled members, bodies that are refused.
const SAID: [&str; 13] = [
    "Agent-Firlefanz",
    "Rufnummer-3391",
    "Spurparent-4482",
    "wirt-pumpernickel.example",
    "Abfrage-Hokuspokus",
    "Pfad-Larifari",
    "Mitglied-Tohuwabohu",
    "Ungelesen-Brimborium",
    "Kaputt-Kuddelmuddel",
    "Gewaltig-Tamtam",
    "METHODEREMMIDEMMI",
    "Kopf-Techtelmechtel",
    "Offen-Schnickschnack",
];
/// In what the upstream says by itself.
const ECHOED: [&str; 3] = ["Absturz-Holterdipolter", "Fehler-Papperlapapp", "Nachricht-Wischiwaschi"];

/// What a request is refused with.
const CODES: [&str; 18] = [
    "route_unknown",
    "method_not_allowed",
    "target_not_canonical",
    "principal_unknown",
    "class_denied",
    "read_only",
    "query_parameter_not_allowed",
    "content_type_unsupported",
    "content_encoding_unsupported",
    "body_invalid",
    "body_too_large",
    "body_timeout",
    "field_not_writable",
    "field_hidden",
    "token_not_accepted",
    "token_not_canonical",
    "token_version_unknown",
    "host_mismatch",
];

fn document() -> String {
    let [ssn, family, given, note, number, member] = SEALED.map(|text| serde_json::to_string(text).unwrap());
    format!(
        "{{\"ssn\":{ssn},\"name\":[{{\"family\":{family},\"given\":[{given}]}}],\"note\":{{{member}:[{note}]}},\
         \"identifier\":[{{\"value\":{}}}]}}",
        number.trim_matches('"')
    )
}

fn named<const N: usize>(kind: &str, values: [&str; N]) -> Vec<(String, String)> {
    values.iter().map(|value| (kind.to_owned(), (*value).to_owned())).collect()
}

fn every() -> Vec<(String, String)> {
    [named("sealed", SEALED), named("said", SAID), named("echoed", ECHOED)].concat()
}

/// The headers that every call carries.
fn with_headers(call: Call) -> Call {
    call.header("user-agent", "Agent-Firlefanz")
        .header("x-request-id", "Rufnummer-3391")
        .header("traceparent", "Spurparent-4482")
        .header("tracestate", "a=Spurparent-4482")
        .header("x-forwarded-for", "Kopf-Techtelmechtel")
        .header("authorization", "Basic Kopf-Techtelmechtel")
        .header("cookie", "id=Kopf-Techtelmechtel")
        .header("if-match", "\"Kopf-Techtelmechtel\"")
}

fn post(body: &str) -> Call {
    with_headers(Call::new("POST /Patient").json(body))
}

/// What is refused for its path, query, headers or caller, before the upstream hears of it.
fn refused_for_its_head(token: &str) -> Vec<(&'static str, Call)> {
    let good = document();
    let line = |line: &str| with_headers(Call::new(line).json(document()));
    vec![
        ("clinician", line("POST /Pfad-Larifari")),
        ("clinician", line("GET /Patient/Pfad-Larifari/x")),
        ("clinician", line("GET /Patient//Pfad-Larifari")),
        ("clinician", line("GET /Patient/..%2fPfad-Larifari")),
        ("clinician", line("GET /Patient/%50fad-Larifari;Pfad-Larifari")),
        ("clinician", line("METHODEREMMIDEMMI /Patient/rec-1")),
        ("clinician", line("POST /Patient?Abfrage-Hokuspokus=Abfrage-Hokuspokus")),
        ("clinician", line("GET /Patient?name=Abfrage-Hokuspokus")),
        ("clinician", line(&format!("GET /Patient?_count=Abfrage-Hokuspokus{token}"))),
        ("clinician", line("GET /Patient/rec-1").header("x-any", &format!("Kopf-Techtelmechtel {token}"))),
        ("clinician", line("PUT /Patient/rec-1").header("host", SAID[3])),
        ("stranger", line("POST /Patient?name=Abfrage-Hokuspokus")),
        ("outsider", line("PUT /Patient/rec-1")),
        ("support", line("PUT /Patient/rec-1")),
        ("clinician", with_headers(Call::new("POST /Patient").body(&good))),
        (
            "clinician",
            with_headers(Call::new("POST /Patient").header("content-type", "text/Kopf-Techtelmechtel").body(&good)),
        ),
        ("clinician", post(&good).header("content-type", "application/json; charset=Kopf-Techtelmechtel")),
        ("clinician", post(&good).header("content-encoding", "Kopf-Techtelmechtel")),
    ]
}

/// What is refused for its body.
fn refused_for_its_body(token: &str) -> Vec<(&'static str, Call)> {
    let good = document();
    let huge = format!("{{\"ssn\":\"{0}\",\"a\":\"{0}{1}\"}}", SEALED[0], "Gewaltig-Tamtam".repeat(2000));
    let deep = format!("{}\"{}\"{}", "[".repeat(200), SAID[9], "]".repeat(200));
    let long = format!("{{\"ssn\":\"{}\"}}", SEALED[1].repeat(400));
    let broken = |text: &str| format!("{{\"ssn\":\"{}\",\"{}\":{text}", SEALED[0], SAID[8]);
    let mut calls = vec![
        ("billing", post(&good)),
        ("desk", post(&good)),
        ("dba", post(&good)),
        ("desk", post("{\"ssn\":\"***Xylofonkonzert\"}")),
        ("clinician", post(&huge)),
        ("clinician", post(&deep)),
        ("clinician", post(&long)),
        ("clinician", post(&format!("{{\"{}{token}\":1}}", SAID[6]))),
        ("clinician", post(&format!("{{\"{}\":\"{} {token}\"}}", SAID[6], SAID[7]))),
        ("clinician", post(&format!("{{\"note\":{{\"{}\":\"{token}\"}}}}", SEALED[5]))),
        ("clinician", post(&format!("{{\"ssn\":\"sgv1.{}\"}}", SAID[8]))),
        ("dba", post(&format!("{{\"ssn\":\"sgv1.{}\"}}", SAID[8]))),
        ("dba", post(&format!("{{\"ssn\":\"sgv2.{}\"}}", SEALED[1]))),
        ("dba", post(&format!("{{\"ssn\":\"{token}{}\"}}", SAID[8]))),
    ];
    for end in
        ["Kaputt-Kuddelmuddel}", "\"Kaputt-Kuddelmuddel", "\"Kaputt-Kuddelmuddel\\x\"}", "\"\u{1}\"}", "1} {}", "1]"]
    {
        calls.push(("clinician", post(&broken(end))));
        calls.push(("support", with_headers(Call::new("GET /Patient/rec-1").json(broken(end)))));
    }
    calls
}

/// Everything that the gate says of what went through it.
struct Said {
    replies: Vec<u8>,
    codes: BTreeSet<String>,
}

impl Said {
    /// A reply that must be one of the gate's own.
    fn problem(&mut self, reply: &Reply) {
        let problem = reply.json();
        self.codes.insert(problem["code"].as_str().unwrap_or_else(|| panic!("{problem}")).to_owned());
        self.replies.extend_from_slice(format!("{:?}\n", reply.headers).as_bytes());
        self.replies.extend_from_slice(&reply.body);
    }

    async fn problems(&mut self, gate: &Gate, who: &str, call: &Call) {
        let client = gate.as_client(who);
        for client in [client.clone(), client.over_http2()] {
            self.problem(&call.from(&client).await);
        }
    }

    /// Looks through all of it, at the end of the gate.
    fn search(&self, mut gate: Gate) {
        let metrics = gate.admin("/metrics").1;
        gate.signal("TERM");
        gate.wait();
        gate.wait_for_log("audit journal closed");
        let (log, journal) = (gate.log(), gate.journal_bytes());
        assert!(log.contains("exchange refused") && metrics.contains("patient"), "they tell of it: {log} {metrics}");
        assert_eq!(find_leaks(&journal, &named("event", ["ExchangeRefused"])).len(), 1, "the journal can be read");
        let places = [("log", log.as_bytes()), ("metrics", metrics.as_bytes()), ("journal", &journal)];
        for (place, text) in places.into_iter().chain([("replies", self.replies.as_slice())]) {
            assert!(!text.is_empty(), "{place}");
            assert_eq!(find_leaks(text, &every()), Vec::<String>::new(), "in the {place}");
        }
    }
}

#[tokio::test]
async fn no_canary_gets_out_of_what_was_served_or_refused() {
    let upstream = Upstream::start();
    let tee = Tee::start(upstream.addr()).unwrap();
    let limits = "limits: {body_bytes_max: 20000, value_bytes_max: 4000, body_timeout_ms: 2000}";
    let gate = Setup::before(tee.addr()).replace("limits: {}", limits).start();
    let mut said = Said { replies: Vec::new(), codes: BTreeSet::new() };
    serve(&gate).await;
    let received = tee.received();
    assert_eq!(find_leaks(&received, &named("sealed", SEALED)), Vec::<String>::new(), "at the upstream");
    let passed =
        named("said", ["Agent-Firlefanz", "Mitglied-Tohuwabohu", "Ungelesen-Brimborium", "Offen-Schnickschnack"]);
    assert_eq!(find_leaks(&received, &passed).len(), passed.len(), "what is not sealed went up");
    let own = named("said", ["Rufnummer-3391", "Spurparent-4482"]);
    assert_eq!(find_leaks(&received, &own), Vec::<String>::new(), "the gate's own took its place");

    let kept: serde_json::Value = serde_json::from_str(&upstream.kept("/Patient/rec-1")).unwrap();
    let before = tee.received().len();
    let token = kept["ssn"].as_str().unwrap();
    for (who, call) in refused_for_its_head(token).iter().chain(&refused_for_its_body(token)) {
        said.problems(&gate, who, call).await;
    }
    broken_calls(&gate, &mut said).await;
    assert_eq!(tee.received().len(), before, "nothing of that went up");
    for code in CODES {
        assert!(said.codes.contains(code), "{code} is not in {:?}", said.codes);
    }
    said.search(gate);
}

/// Writes and reads that are served, by everybody.
async fn serve(gate: &Gate) {
    let client = gate.as_client("clinician");
    for client in [client.clone(), client.clone().over_http2()] {
        let wrote = with_headers(Call::new("PUT /Patient/rec-1").json(document())).from(&client).await;
        let read = with_headers(Call::new("GET /Patient/rec-1")).from(&client).await;
        for reply in [wrote, read] {
            assert_eq!(reply.text(), document(), "the clinician sees them");
            assert_eq!(find_leaks(&reply.body, &named("sealed", SEALED)).len(), SEALED.len(), "{}", reply.text());
            assert_ne!(reply.header("x-request-id"), Some("Rufnummer-3391"));
        }
        let unread = format!("{{\"Mitglied-Tohuwabohu\":\"Ungelesen-Brimborium\",\"ssn\":\"{}\"}}", SEALED[0]);
        assert_eq!(post(&unread).from(&client).await.status, 201);
        assert_eq!(with_headers(Call::new("GET /Patient?_count=Abfrage-Hokuspokus")).from(&client).await.status, 404);
        let open =
            with_headers(Call::new("POST /open/Pfad-Larifari?x=Abfrage-Hokuspokus")).body("Offen-Schnickschnack");
        assert_eq!(open.from(&client).await.text(), "Offen-Schnickschnack");
    }
    for who in ["billing", "support", "desk", "dba"] {
        let read = with_headers(Call::new("GET /Patient/rec-1")).from(&gate.as_client(who)).await;
        assert_eq!(read.status, 200);
        let hidden = named("sealed", [SEALED[0], SEALED[3], SEALED[4], SEALED[5]]);
        assert_eq!(find_leaks(&read.body, &hidden), Vec::<String>::new(), "{who}");
    }
}

/// Bodies that stop or break off, and bytes that are no HTTP.
async fn broken_calls(gate: &Gate, said: &mut Said) {
    let client = gate.as_client("clinician");
    let start = format!("{{\"ssn\":\"{}\",\"{}", SEALED[0], SAID[8]);
    let json = [("content-type", "application/json"), ("user-agent", SAID[0])];
    for client in [client.clone(), client.clone().over_http2()] {
        let stalled = stream::iter([Ok(Bytes::from(start.clone()))]).chain(stream::pending());
        let response = client.stream(Method::POST, "/Patient", &json, stalled).await.unwrap();
        said.problem(&Reply::read(response).await.unwrap());
    }
    for words in [
        format!("GET /Patient/Pfad-Larifari HTTP/1.1\r\nhost: x\r\nKopf-Techtelmechtel {}\r\n\r\n", SEALED[0]),
        format!("GET /Pfad Larifari{} HTTP/1.1\r\nhost: x\r\n\r\n", SEALED[0]),
        format!("POST /Patient HTTP/1.1\r\nhost: x\r\ncontent-length: Kopf-Techtelmechtel\r\n\r\n{start}"),
        format!("POST /Patient HTTP/1.1\r\nhost: wirt-pumpernickel.example\r\nhost: {0}\r\n\r\n", SAID[3]),
        format!(
            "POST /Patient HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\ncontent-type: application/json\r\n\r\n{start}"
        ),
        format!("{start}\r\n\r\n"),
    ] {
        let mut tls = client.tls().await.unwrap();
        tls.write_all(words.as_bytes()).await.unwrap();
        tls.shutdown().await.unwrap();
        let mut reply = Vec::new();
        // However it ends.
        let _ended = tls.read_to_end(&mut reply).await;
        said.replies.extend(reply);
    }
    let events = gate.events();
    assert!(events.iter().any(|event| event["code"] == "request_malformed"), "hyper has refused some");
}

#[tokio::test]
async fn no_canary_gets_out_of_what_the_upstream_says() {
    let speaker = Speaker::start();
    let limits = "limits: {response_bytes_max: 20000}";
    let gate = Setup::before(speaker.addr()).replace("limits: {}", limits).start();
    let mut said = Said { replies: Vec::new(), codes: BTreeSet::new() };
    let document = document();
    let whole = |head: &str, body: &str| format!("HTTP/1.1 200 OK\r\nconnection: close\r\n{head}\r\n\r\n{body}");
    let json = |body: &str| whole(&format!("content-type: application/json\r\ncontent-length: {}", body.len()), body);
    let [crash, fault, note] = ECHOED;
    for words in [
        json(&document),
        json(&format!("{{\"{crash}\":\"{}\"", SEALED[0])),
        json(&format!("{{\"{crash}\":\"{}\u{1}\"}}", SEALED[1])),
        json(&format!("{{\"ssn\":\"sgv1.{crash}\"}}")),
        json(&format!("{{\"ssn\":\"{} sgv1.{crash}\"}}", SEALED[0])),
        json(&format!("\"{}\"", fault.repeat(2000))),
        json(&format!("{}{fault}", "[".repeat(500))),
        whole(
            "content-type: text/html\r\ncontent-length: 500",
            &format!("<h1>{fault} {}</h1>{}", SEALED[0], " ".repeat(500)),
        ),
        whole(&format!("content-type: text/{fault}\r\nx-message: {note}\r\nset-cookie: {note}"), &document),
        whole(&format!("content-type: application/json\r\ncontent-encoding: {note}"), &document),
        whole("content-type: application/json\r\ncontent-length: 90000", &document),
        whole("content-type: application/json\r\ntransfer-encoding: chunked", &format!("{crash}\r\n{document}")),
        whole(&format!("content-length: {crash}"), &document),
        format!("HTTP/1.1 200 {note}\r\n{crash} {}\r\n\r\n", SEALED[0]),
        format!("HTTP/1.1 500 {note}\r\ncontent-type: text/plain\r\nlocation: /{note}\r\n\r\n{document}"),
        format!("HTTP/1.1 101 {note}\r\nconnection: upgrade\r\nupgrade: {note}\r\n\r\n{document}"),
        format!("{crash} {document}"),
    ] {
        speaker.say(words.as_str());
        for call in [Call::new("GET /Patient/rec-1"), Call::new("PUT /Patient/rec-1").json(&document)] {
            said.problems(&gate, "clinician", &with_headers(call)).await;
        }
    }
    for code in
        ["response_unsealed", "response_unopenable", "response_not_understood", "response_too_large", "upstream_failed"]
    {
        assert!(said.codes.contains(code), "{code} is not in {:?}", said.codes);
    }
    said.search(gate);
}

/// The path parameter is recorded because the route says so, and for no other reason.
#[tokio::test]
async fn without_record_a_path_parameter_is_nowhere() {
    let path = "/Patient/Pfad-Larifari";
    let bed = Bed::with(|setup| setup.replace("    record: id\n", ""));
    let mut said = Said { replies: Vec::new(), codes: BTreeSet::new() };
    assert_eq!(bed.make("clinician", &Call::new(&format!("PUT {path}")).json(document())).await.status, 200);
    assert_eq!(bed.make("billing", &Call::new(&format!("GET {path}"))).await.status, 200);
    assert!(bed.upstream.received().iter().all(|received| received.target == path), "it does go up");
    said.problems(&bed.gate, "clinician", &Call::new(&format!("PUT {path}")).body("x")).await;
    said.problems(&bed.gate, "stranger", &Call::new(&format!("GET {path}"))).await;
    said.search(bed.gate);

    let bed = Bed::start();
    assert_eq!(bed.make("clinician", &Call::new(&format!("PUT {path}")).json("{}")).await.status, 200);
    assert_eq!(find_leaks(&bed.gate.journal_bytes(), &named("path", ["Pfad-Larifari"])).len(), 1, "where it says so");
    let (log, metrics) = (bed.gate.log(), bed.gate.admin("/metrics").1);
    assert_eq!(find_leaks((log + &metrics).as_bytes(), &every()), Vec::<String>::new());
}

/// A name is as much the client's word as a value.
#[tokio::test]
async fn a_header_that_the_client_named_is_not_told_again() {
    let bed = Bed::start();
    let call = Call::new("GET /Patient/rec-1").header("x-techtelmechtel-4711", "sgv1.AQEB");
    let reply = bed.make("clinician", &call).await;
    reply.expect_problem(422, "token_not_accepted");
    assert_eq!(find_leaks(&reply.body, &named("header name", ["techtelmechtel"])), Vec::<String>::new());
}
