//! Data keys from a KMS: as few calls as can be, bound to their context, and no way round it when it fails.

use crate::fixture::client::Connection;
use crate::fixture::keys::{bodies, cached, with_kms};
use crate::fixture::kms::{self, Fault, Kms};
use crate::fixture::moto::Moto;
use crate::fixture::service;
use crate::fixture::tee::Tee;
use crate::fixture::{Client, Gate, Reply, Setup, Upstream};
use data_encoding::{BASE64, BASE64URL_NOPAD, HEXLOWER, HEXUPPER};
use futures_util::future::join_all;
use futures_util::stream;
use http::Method;
use serde_json::{Value, json};
use std::net::TcpListener;
use std::sync::OnceLock;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

const PATIENT: &str =
    r#"{"resourceType":"Patient","ssn":"999-12-3456","name":[{"family":"Chalmers","given":["Peter"]}]}"#;
const VALUES: [&str; 3] = ["999-12-3456", "Chalmers", "Peter"];
const GENERATE: &str = "TrentService.GenerateDataKey";
const DECRYPT: &str = "TrentService.Decrypt";
/// Both kinds of cached key are of no use any more after this, where the cache is [`SHORT`].
const EXPIRY: Duration = Duration::from_millis(1100);
const SHORT: &str = "{seal_age_max_s: 1, open_age_max_s: 1}";

/// One moto for all: each test has a key of its own, and a tee of its own before it. It ends with the test process.
fn moto() -> &'static Moto {
    static MOTO: OnceLock<Moto> = OnceLock::new();
    MOTO.get_or_init(|| Moto::start().unwrap())
}

/// None of the values stands in anything that the upstream got.
fn expect_only_sealed(upstream: &Upstream) {
    for received in upstream.received() {
        let text = received.text();
        assert!(VALUES.iter().all(|value| !text.contains(value)), "{text}");
    }
}

fn expect_shown(reply: &Reply) {
    assert_eq!((reply.status.as_u16(), reply.text().as_str()), (200, PATIENT));
}

async fn connections(client: &Client, count: usize) -> Vec<Connection> {
    let connections = join_all((0..count).map(|_| client.connect())).await;
    connections.into_iter().map(Result::unwrap).collect()
}

/// The same call on every connection at once.
async fn all_at_once(connections: &mut [Connection], method: &Method, path: &str, body: &'static str) -> Vec<Reply> {
    let json = [("content-type", "application/json")];
    let calls = connections.iter_mut().map(|connection| connection.call(method.clone(), path, &json, body));
    join_all(calls).await.into_iter().map(Result::unwrap).collect()
}

#[tokio::test]
async fn what_one_gate_sealed_another_opens_with_one_decrypt() {
    let (upstream, tee) = (Upstream::start(), Tee::start(moto().addr()).unwrap());
    let key = moto().create_key();
    let first = with_kms(upstream.addr(), tee.addr(), &key).start();
    assert_eq!((tee.count(GENERATE), tee.count(DECRYPT)), (1, 0), "a key before the first request");
    let created = first.as_client("clinician").post("/Patient", PATIENT).await;
    assert_eq!((created.status.as_u16(), created.text().as_str()), (201, PATIENT));
    expect_only_sealed(&upstream);
    expect_shown(&first.as_client("clinician").get("/Patient/1").await);
    assert_eq!(tee.count(GENERATE), 1);

    let second = with_kms(upstream.addr(), tee.addr(), &key).start();
    tee.clear();
    expect_shown(&second.as_client("clinician").get("/Patient/1").await);
    assert_eq!((tee.count(GENERATE), tee.count(DECRYPT)), (0, 1));
}

#[tokio::test]
async fn the_event_names_the_key_and_the_call_that_brought_it() {
    let (upstream, tee) = (Upstream::start(), Tee::start(moto().addr()).unwrap());
    let key = moto().create_key();
    let gate = with_kms(upstream.addr(), tee.addr(), &key).start();
    let answers = |tee: &Tee| String::from_utf8(tee.answered()).unwrap();
    let request_id = |answers: &str| {
        let mut fields = answers.lines().filter_map(|line| line.split_once(": "));
        let id = fields.find(|(name, _)| name.eq_ignore_ascii_case("x-amzn-requestid"));
        id.unwrap_or_else(|| panic!("{answers}")).1.to_owned()
    };
    let generated = request_id(&answers(&tee));
    gate.as_client("desk").post("/Patient", PATIENT).await;
    let uses = |event: &Value| {
        let keys = event["keys"].as_array().unwrap().clone();
        keys.into_iter().map(|key| (key["kek"].clone(), key["kms_request_id"].clone())).collect::<Vec<_>>()
    };
    let intended = &gate.events_named("ExchangeIntended")[0];
    assert_eq!(uses(intended), [(json!(key), json!(generated))]);

    let other = with_kms(upstream.addr(), tee.addr(), &key).start();
    tee.clear();
    expect_shown(&other.as_client("clinician").get("/Patient/1").await);
    let decrypted = request_id(&answers(&tee));
    assert_ne!(decrypted, generated);
    let answered = other.events_named("ExchangeAnswered").pop().unwrap();
    assert_eq!(uses(&answered), [(json!(key), json!(decrypted))]);
    assert_eq!(answered["keys"][0]["id"], intended["keys"][0]["id"], "one data key, brought twice");
}

#[tokio::test]
async fn the_data_key_is_written_nowhere() {
    let (upstream, tee) = (Upstream::start(), Tee::start(moto().addr()).unwrap());
    let gate = with_kms(upstream.addr(), tee.addr(), &moto().create_key()).start();
    gate.as_client("clinician").post("/Patient", PATIENT).await;
    expect_shown(&gate.as_client("clinician").get("/Patient/1").await);
    let answers = String::from_utf8(tee.answered()).unwrap();
    let key = answers.split("\"Plaintext\":").nth(1).unwrap().split('"').nth(1).unwrap();
    let bytes = BASE64.decode(key.as_bytes()).unwrap();
    assert_eq!(bytes.len(), 32);
    let listed = format!("{:?}", bytes.get(..8).unwrap());
    let spellings = [
        key.to_owned(),
        BASE64URL_NOPAD.encode(&bytes),
        HEXLOWER.encode(&bytes),
        HEXUPPER.encode(&bytes),
        listed.trim_end_matches(']').to_owned(),
    ];
    let kept = upstream.kept("/Patient/1");
    let places = [gate.log(), String::from_utf8(gate.journal_bytes()).unwrap(), gate.admin("/metrics").1, kept];
    for place in &places {
        assert!(place.len() > 100);
        assert!(!spellings.iter().any(|spelling| place.contains(spelling.as_str())), "{place}");
    }
    assert!(!upstream.received().iter().any(|received| received.body.windows(32).any(|part| part == bytes)));
}

#[tokio::test]
async fn two_hundred_warm_requests_ask_the_kms_once() {
    let (upstream, tee) = (Upstream::start(), Tee::start(moto().addr()).unwrap());
    let gate = with_kms(upstream.addr(), tee.addr(), &moto().create_key()).start();
    let mut connection = gate.as_client("clinician").connect().await.unwrap();
    let json = [("content-type", "application/json")];
    for number in 1..=100 {
        let created = connection.call(Method::POST, "/Patient", &json, PATIENT).await.unwrap();
        assert_eq!(created.status, 201);
        let path = format!("/Patient/{number}");
        expect_shown(&connection.call(Method::GET, &path, &[], "").await.unwrap());
    }
    assert_eq!((tee.count(GENERATE), tee.count(DECRYPT)), (1, 0), "what it sealed it opens");
    assert_eq!(tee.count("TrentService."), 1);
}

#[tokio::test]
async fn fifty_cold_reads_at_once_ask_the_kms_once() {
    let (upstream, tee) = (Upstream::start(), Tee::start(moto().addr()).unwrap());
    let key = moto().create_key();
    let writer = with_kms(upstream.addr(), tee.addr(), &key).start();
    writer.as_client("clinician").post("/Patient", PATIENT).await;
    for http2 in [false, true] {
        let cold = with_kms(upstream.addr(), tee.addr(), &key).start();
        let client = cold.as_client("clinician");
        let mut connections = if http2 {
            let connection = client.over_http2().connect().await.unwrap();
            (0..50).map(|_| connection.share().unwrap()).collect()
        } else {
            connections(&client, 50).await
        };
        tee.clear();
        for reply in all_at_once(&mut connections, &Method::GET, "/Patient/1", "").await {
            expect_shown(&reply);
        }
        assert_eq!((tee.count(GENERATE), tee.count(DECRYPT)), (0, 1), "http2: {http2}");
    }
}

#[tokio::test]
async fn writes_at_once_make_one_data_key() {
    let (upstream, tee) = (Upstream::start(), Tee::start(moto().addr()).unwrap());
    let setup = with_kms(upstream.addr(), tee.addr(), &moto().create_key());
    let gate = cached(setup, "{seal_age_max_s: 4}").start();
    let mut connections = connections(&gate.as_client("desk"), 50).await;
    let mut write = async || {
        let replies = all_at_once(&mut connections, &Method::POST, "/Patient", PATIENT).await;
        assert!(replies.iter().all(|reply| reply.status == 201));
    };
    write().await;
    assert_eq!(tee.count(GENERATE), 1, "the one from before the first request");
    // Also when the key has run out and all of them find that at once.
    sleep(Duration::from_millis(4100)).await;
    write().await;
    assert_eq!((tee.count(GENERATE), tee.count(DECRYPT)), (2, 0));
    expect_only_sealed(&upstream);
}

#[tokio::test]
async fn the_encryption_context_is_app_scope_and_purpose() {
    let (upstream, tee) = (Upstream::start(), Tee::start(moto().addr()).unwrap());
    let key = moto().create_key();
    let start = || {
        let setup = with_kms(upstream.addr(), tee.addr(), &key);
        let setup = setup.replace("    record: id\n", "    record: id\n    scope: other\n");
        setup.replace("roles: [clinician]}", "roles: [clinician], scopes: [test, other]}").start()
    };
    let gate = start();
    let clinician = gate.as_client("clinician");
    assert_eq!(clinician.post("/Patient", PATIENT).await.status, 201);
    assert_eq!(clinician.put("/Patient/7", PATIENT).await.status, 200);
    let opener = start();
    expect_shown(&opener.as_client("clinician").get("/Patient/7").await);
    let context = |scope| json!({"app": "sealgate", "scope": scope, "purpose": "field"});
    let mut sent = bodies(&tee.received());
    for body in &mut sent {
        let blob = body.as_object_mut().unwrap().remove("CiphertextBlob");
        assert_eq!(blob.is_some(), body.get("KeySpec").is_none(), "{body}");
    }
    let generate = |scope| json!({"KeyId": key, "KeySpec": "AES_256", "EncryptionContext": context(scope)});
    let decrypt = |scope| json!({"KeyId": key, "EncryptionContext": context(scope)});
    let made_by_each = [generate("test"), generate("other")];
    for expect in made_by_each.iter().chain(&made_by_each).chain(&[decrypt("other")]) {
        let found = sent.iter().position(|body| body == expect);
        sent.remove(found.unwrap_or_else(|| panic!("{expect} in {sent:#?}")));
    }
    assert_eq!(sent, Vec::<Value>::new());
    // A record does not move from one scope to the other.
    upstream.keep("/Patient/8", upstream.kept("/Patient/1"));
    clinician.get("/Patient/8").await.expect_problem(502, "response_unopenable");
}

/// A listener that must not hear anything.
struct Trap(TcpListener);

impl Trap {
    fn set() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        Self(listener)
    }

    /// Every variable that could lead somebody there.
    fn in_the_way_of(&self, setup: Setup) -> Setup {
        let url = format!("http://{}", self.0.local_addr().unwrap());
        let file = setup.folder().join("aws-config");
        let text = format!(
            "[default]\nregion = eu-west-1\nendpoint_url = {url}\nservices = trap\n[services trap]\nkms =\n  endpoint_url = {url}\n"
        );
        std::fs::write(&file, text).unwrap();
        let file = file.to_str().unwrap().to_owned();
        let names = [
            "AWS_ENDPOINT_URL",
            "AWS_ENDPOINT_URL_KMS",
            "HTTP_PROXY",
            "http_proxy",
            "HTTPS_PROXY",
            "https_proxy",
            "ALL_PROXY",
            "all_proxy",
        ];
        names
            .iter()
            .fold(setup, |setup, name| setup.env(name, &url))
            .env("AWS_CONFIG_FILE", &file)
            .env("AWS_REGION", "eu-west-1")
            .env("NO_PROXY", "")
            .env("no_proxy", "")
    }

    fn expect_silence(&self) {
        let heard = self.0.accept();
        assert!(heard.is_err(), "{heard:?}");
    }
}

#[tokio::test]
async fn nothing_in_the_environment_diverts_the_kms() {
    let (upstream, tee, trap) = (Upstream::start(), Tee::start(moto().addr()).unwrap(), Trap::set());
    let setup = with_kms(upstream.addr(), tee.addr(), &moto().create_key());
    let gate = trap.in_the_way_of(setup).start();
    gate.as_client("clinician").post("/Patient", PATIENT).await;
    expect_shown(&gate.as_client("clinician").get("/Patient/1").await);
    assert_eq!((tee.count(GENERATE), tee.count(DECRYPT)), (1, 0));
    trap.expect_silence();
}

#[tokio::test]
async fn without_an_endpoint_the_environment_gives_none_either() {
    let (upstream, trap) = (Upstream::start(), Trap::set());
    // A region that there is not: its endpoint has no address, so nobody is called.
    let key = "arn:aws:kms:us-nowhere-9:123456789012:key/11111111-2222-3333-4444-555555555555";
    let setup = with_kms(upstream.addr(), upstream.addr(), key);
    let setup = setup.replace(&format!(", endpoint_url: 'http://{}'", upstream.addr()), "");
    let mut gate = trap.in_the_way_of(setup).spawn();
    assert_eq!(gate.wait().code(), Some(69), "{}", gate.log());
    trap.expect_silence();
    upstream.expect_nothing();
}

#[tokio::test]
async fn warm_keys_outlive_the_kms_and_a_cold_gate_does_not_start_without() {
    let (upstream, tee) = (Upstream::start(), Tee::start(moto().addr()).unwrap());
    let (address, key) = (tee.addr(), moto().create_key());
    let gate = with_kms(upstream.addr(), address, &key).start();
    let clinician = gate.as_client("clinician");
    clinician.post("/Patient", PATIENT).await;
    expect_shown(&clinician.get("/Patient/1").await);
    drop(tee);
    for number in 2..5 {
        assert_eq!(clinician.post("/Patient", PATIENT).await.status, 201);
        expect_shown(&clinician.get(&format!("/Patient/{number}")).await);
    }
    expect_only_sealed(&upstream);
    let mut cold = with_kms(upstream.addr(), address, &key).spawn();
    assert_eq!(cold.wait().code(), Some(69), "{}", cold.log());
}

/// A gate before a KMS double, with keys that live for a second, and one record.
struct Fragile {
    upstream: Upstream,
    kms: Kms,
    gate: Gate,
}

impl Fragile {
    async fn start() -> Self {
        let (upstream, kms) = (Upstream::start(), Kms::start());
        let gate = cached(with_kms(upstream.addr(), kms.addr(), kms::KEY), SHORT).start();
        let fragile = Self { upstream, kms, gate };
        let created = fragile.gate.as_client("clinician").post("/Patient", PATIENT).await;
        assert_eq!(created.status, 201, "{}", created.text());
        fragile
    }

    async fn read_as(&self, who: &str) -> Reply {
        self.gate.as_client(who).get("/Patient/1").await
    }

    /// Writes and reads that need a key are refused with that code, whatever needs none goes on at once, nothing in
    /// the clear goes up; and all is well when the KMS is.
    async fn suffer(&self, fault: Fault, code: &str) {
        let Self { upstream, kms, gate } = self;
        kms.fail(fault);
        sleep(EXPIRY).await;
        let before = upstream.received().len();
        let clinician = gate.as_client("clinician");
        let (written, read) = tokio::join!(clinician.post("/Patient", PATIENT), clinician.get("/Patient/1"));
        // A token whose KEK is disabled does not open; whether anything opens at another time is another question.
        let read_as = if fault == Fault::Disabled { (502, "response_unopenable") } else { (503, code) };
        for (reply, (status, code)) in [(written, (503, code)), (read, read_as)] {
            reply.expect_problem(status, code);
            let retry = (code == "key_unavailable").then_some("1");
            assert_eq!(reply.header("retry-after"), retry, "{fault:?}");
        }
        let received = upstream.received();
        let new = received.get(before..).unwrap();
        assert!(new.iter().all(|received| received.method == Method::GET), "{fault:?}: {new:#?}");
        let sealed = self.read_as("dba").await;
        assert_eq!(sealed.text(), upstream.kept("/Patient/1"), "{fault:?}");
        let redacted = self.read_as("support").await;
        assert_eq!(redacted.json()["ssn"], "[REDACTED]", "{fault:?}");

        let refused = gate.events_named("ExchangeRefused");
        assert!(refused.iter().all(|event| event["code"] == code || event["code"] == read_as.1), "{fault:?}");
        assert_eq!(refused.len(), 2, "{fault:?}");

        kms.fail(None);
        let written = recovered(&clinician, Some(PATIENT)).await;
        assert_eq!(written.status, 201, "{fault:?}: {}", written.text());
        expect_shown(&recovered(&clinician, None).await);
        expect_only_sealed(upstream);
    }
}

/// Reads, or writes what is given, until no key is wanting any more: a failure is remembered for thirty seconds at most.
async fn recovered(client: &Client, write: Option<&str>) -> Reply {
    for _ in 0..300 {
        let reply = match write {
            Some(json) => client.post("/Patient", json).await,
            None => client.get("/Patient/1").await,
        };
        if !matches!(reply.status.as_u16(), 502 | 503) {
            return reply;
        }
        sleep(Duration::from_millis(200)).await;
    }
    panic!("it does not recover")
}

/// All at once, for each is mostly waiting.
#[tokio::test]
async fn a_kms_that_fails_costs_an_answer_and_never_a_secret() {
    let faults = [
        (Fault::Hangs, "key_unavailable"),
        (Fault::Resets, "key_unavailable"),
        (Fault::Throttles, "key_unavailable"),
        (Fault::FailsInside, "key_unavailable"),
        (Fault::BadGateway, "key_unavailable"),
        (Fault::NotJson, "key_unavailable"),
        (Fault::Truncated, "key_unavailable"),
        (Fault::ShortKey, "key_unavailable"),
        (Fault::LongKey, "key_unavailable"),
        (Fault::NoKey, "key_unavailable"),
        (Fault::AnotherKeyId, "key_unavailable"),
        (Fault::Denies, "key_denied"),
        (Fault::Disabled, "key_denied"),
    ];
    let mut cases = Vec::new();
    for (fault, code) in faults {
        cases.push((Fragile::start().await, fault, code));
    }
    let suffering = cases.into_iter().map(|(fragile, fault, code)| async move { fragile.suffer(fault, code).await });
    suffering.collect::<JoinSet<()>>().join_all().await;
}

/// The key that seals is still warm, so the write goes up; the key that opens its answer is not to be had.
#[tokio::test]
async fn a_write_whose_answer_cannot_be_opened_was_done_all_the_same() {
    let (upstream, kms) = (Upstream::start(), Kms::start());
    let setup = with_kms(upstream.addr(), kms.addr(), kms::KEY);
    let gate = cached(setup, "{seal_age_max_s: 300, open_age_max_s: 1}").start();
    sleep(EXPIRY).await;
    kms.fail(Fault::Denies);
    let written = gate.as_client("clinician").post("/Patient", PATIENT).await;
    written.expect_problem(502, "done_but_unopened");
    assert_eq!(written.header("retry-after"), None, "it must not be tried again");
    assert!(upstream.kept("/Patient/1").contains("sgv1."));
    expect_only_sealed(&upstream);
    let refused = &gate.events_named("ExchangeRefused")[0];
    assert_eq!((&refused["sent_upstream"], &refused["upstream_status"]), (&json!(true), &json!(201)));
    // Who is shown nothing that was sealed has a whole answer.
    assert_eq!(gate.as_client("desk").post("/Patient", PATIENT).await.status, 201);
}

#[tokio::test]
async fn without_a_data_key_a_gate_does_not_start() {
    let upstream = Upstream::start();
    let spawned = [Fault::Hangs, Fault::Throttles, Fault::Denies, Fault::AnotherKeyId, Fault::ShortKey].map(|fault| {
        let kms = Kms::start();
        kms.fail(fault);
        (fault, with_kms(upstream.addr(), kms.addr(), kms::KEY).spawn())
    });
    for (fault, mut gate) in spawned {
        assert_eq!(gate.wait().code(), Some(69), "{fault:?}: {}", gate.log());
        assert!(gate.log().contains(kms::KEY), "{fault:?}: {}", gate.log());
        assert!(!gate.journal().exists(), "{fault:?}: it has not begun to serve");
    }
}

#[tokio::test]
async fn a_data_key_that_is_another_one_opens_nothing() {
    let fragile = Fragile::start().await;
    fragile.kms.fail(Fault::AnotherDataKey);
    sleep(EXPIRY).await;
    fragile.read_as("clinician").await.expect_problem(502, "response_unopenable");
    fragile.kms.fail(None);
    expect_shown(&recovered(&fragile.gate.as_client("clinician"), None).await);
}

#[tokio::test]
async fn a_kms_that_hangs_holds_up_nobody_who_needs_no_key() {
    let fragile = Fragile::start().await;
    let Fragile { upstream, kms, gate } = &fragile;
    upstream.keep("/open/page", "hello");
    // The key that opens was used: it may be asked for again in the background before anybody waits for it.
    let calls = kms.calls();
    kms.fail(Fault::Hangs);
    sleep(EXPIRY).await;
    let (mut readers, mut writers) =
        (connections(&gate.as_client("clinician"), 20).await, connections(&gate.as_client("desk"), 20).await);
    let waiting = async {
        let (read, written) = tokio::join!(
            all_at_once(&mut readers, &Method::GET, "/Patient/1", ""),
            all_at_once(&mut writers, &Method::POST, "/Patient", PATIENT),
        );
        for reply in read.iter().chain(&written) {
            reply.expect_problem(503, "key_unavailable");
        }
        Instant::now()
    };
    let passing = async {
        sleep(Duration::from_millis(500)).await;
        assert!(kms.calls() >= calls + 2, "both keys are asked for");
        for _ in 0..5 {
            assert_eq!(fragile.read_as("support").await.json()["ssn"], "[REDACTED]");
            assert_eq!(fragile.read_as("dba").await.status, 200);
            assert_eq!(gate.as_client("clinician").get("/open/page").await.text(), "hello");
            let nothing_to_seal = r#"{"resourceType":"Patient"}"#;
            assert_eq!(gate.as_client("desk").post("/Patient", nothing_to_seal).await.status, 201);
            assert_eq!(gate.admin("/readyz").0, 200);
        }
        Instant::now()
    };
    let (waited, passed) = tokio::join!(waiting, passing);
    assert!(passed < waited, "they overtook those who wait");
    assert!(kms.calls() <= calls + 6, "two keys, three attempts each, however many wait");
    expect_only_sealed(upstream);
}

/// The bytes of the first token of a record, and where in them the KEK tag stands.
fn envelope(record: &str) -> (String, Vec<u8>, std::ops::Range<usize>) {
    let record: Value = serde_json::from_str(record).unwrap();
    let token = record["ssn"].as_str().unwrap();
    let bytes = BASE64URL_NOPAD.decode(token.strip_prefix("sgv1.").unwrap().as_bytes()).unwrap();
    let (class, scope) = (usize::from(bytes[2] >> 4) + 1, usize::from(bytes[2] & 0xf) + 1);
    let tag = 3 + class + scope + 32 + 1;
    (token.to_owned(), bytes, tag..tag + 8)
}

#[tokio::test]
async fn a_value_sealed_under_a_strangers_key_is_refused() {
    let (upstream, tee) = (Upstream::start(), Tee::start(moto().addr()).unwrap());
    let strangers = Upstream::start();
    let stranger = with_kms(strangers.addr(), moto().addr(), &moto().create_key()).start();
    stranger.as_client("clinician").post("/Patient", PATIENT).await;
    let planted = strangers.kept("/Patient/1");
    expect_shown(&stranger.as_client("clinician").get("/Patient/1").await);

    let gate = with_kms(upstream.addr(), tee.addr(), &moto().create_key()).start();
    let clinician = gate.as_client("clinician");
    clinician.post("/Patient", PATIENT).await;
    upstream.keep("/Patient/7", planted.clone());
    tee.clear();
    let read = clinician.get("/Patient/7").await;
    read.expect_problem(502, "response_unopenable");
    assert_eq!(tee.count("TrentService."), 0, "the KMS is not asked about a stranger's key");
    // Nor does it get in as a token that is passed on.
    let write = gate.as_client("dba").put("/Patient/7", &planted).await;
    write.expect_problem(422, "token_key_rejected");

    // The stranger's data key under our KEK's tag: now the KMS is asked, for our key alone, and refuses.
    let (ours, bytes, tag) = envelope(&upstream.kept("/Patient/1"));
    let (theirs, mut forged, place) = envelope(&planted);
    forged[place].copy_from_slice(&bytes[tag]);
    let forged = format!("sgv1.{}", BASE64URL_NOPAD.encode(&forged));
    assert!(forged != ours && forged != theirs);
    upstream.keep("/Patient/8", json!({ "ssn": forged }).to_string());
    let read = clinician.get("/Patient/8").await;
    // What moto calls access denied is an incorrect key to AWS, and then a response that does not open.
    read.expect_problem(503, "key_denied");
    assert!(!read.text().contains("3456"), "{}", read.text());
    assert_eq!(tee.count(DECRYPT), 1);
    expect_shown(&clinician.get("/Patient/1").await);
}

#[tokio::test]
async fn a_data_key_that_the_kms_does_not_know_opens_nothing() {
    let (ours, theirs) = (Fragile::start().await, Fragile::start().await);
    ours.upstream.keep("/Patient/7", theirs.upstream.kept("/Patient/1"));
    let clinician = ours.gate.as_client("clinician");
    clinician.get("/Patient/7").await.expect_problem(502, "response_unopenable");
    expect_shown(&ours.read_as("clinician").await);
}

#[tokio::test]
async fn a_crowd_that_waits_for_a_kms_leaves_room_for_who_needs_no_key() {
    let (upstream, kms) = (Upstream::start(), Kms::start());
    upstream.keep("/open/page", "hello");
    let setup = with_kms(upstream.addr(), kms.addr(), kms::KEY).replace("limits: {}", "limits: {exchanges_max: 20}");
    let gate = cached(setup, SHORT).start();
    gate.as_client("clinician").put("/Patient/1", PATIENT).await;
    kms.fail(Fault::Hangs);
    sleep(EXPIRY).await;
    let mut hanging = JoinSet::new();
    for _ in 0..20 {
        let client = gate.as_client("clinician");
        hanging.spawn(async move { client.get("/Patient/1").await });
    }
    // Those for whom there is no place are told at once; when they have been, the others are all waiting.
    for _ in 0..10 {
        hanging.join_next().await.unwrap().unwrap().expect_problem(503, "key_unavailable");
    }
    assert_eq!(gate.as_client("support").get("/Patient/1").await.status, 200);
    assert_eq!(gate.as_client("clinician").get("/open/page").await.text(), "hello");
    assert_eq!(hanging.len(), 10, "they still wait");
}

#[tokio::test]
async fn what_a_kms_denied_a_moment_ago_it_is_not_asked_again() {
    let fragile = Fragile::start().await;
    fragile.kms.fail(Fault::Denies);
    sleep(EXPIRY).await;
    for _ in 0..50 {
        fragile.read_as("clinician").await.expect_problem(503, "key_denied");
    }
    let denied = r#"sealgate_kms_calls_total{operation="decrypt_data_key",outcome="denied"}"#;
    assert_eq!(fragile.gate.metric(denied), 1.0);
}

/// The life of a sealing key is a day; it is the confirmation that ends its use.
#[tokio::test]
async fn a_key_that_is_disabled_seals_nothing_once_it_cannot_be_confirmed() {
    let (upstream, kms) = (Upstream::start(), Kms::start());
    let setup = with_kms(upstream.addr(), kms.addr(), kms::KEY);
    let gate = cached(setup, "{confirm_interval_s: 1, open_age_max_s: 40}").start();
    assert_eq!(gate.metric("sealgate_key_revocation_bound_seconds"), 40.0);
    let desk = gate.as_client("desk");
    assert_eq!(desk.post("/Patient", PATIENT).await.status, 201);
    let (made, before) = (kms.calls(), upstream.received().len());
    sleep(EXPIRY).await;
    assert_eq!(desk.post("/Patient", PATIENT).await.status, 201);
    assert!(kms.calls() > made, "it was confirmed");
    assert!(gate.metric(r#"sealgate_key_confirmations_total{kind="sealing",outcome="ok"}"#) >= 1.0);
    assert_eq!(gate.metric(r#"sealgate_kms_calls_total{operation="generate_data_key""#), 1.0);
    assert_eq!(gate.metric(r#"sealgate_keys_cached{kind="sealing"}"#), 1.0);

    kms.fail(Fault::Disabled);
    sleep(EXPIRY).await;
    desk.post("/Patient", PATIENT).await.expect_problem(503, "key_denied");
    assert_eq!(upstream.received().len(), before + 1);
    assert_eq!(gate.metric(r#"sealgate_keys_cached{kind="sealing"}"#), 0.0);
}

#[tokio::test]
async fn a_purge_takes_a_disabled_key_out_of_use_at_once() {
    let (upstream, kms) = (Upstream::start(), Kms::start());
    let gate = with_kms(upstream.addr(), kms.addr(), kms::KEY).start();
    let clinician = gate.as_client("clinician");
    assert_eq!(clinician.post("/Patient", PATIENT).await.status, 201);
    kms.fail(Fault::Denies);
    assert_eq!(clinician.post("/Patient", PATIENT).await.status, 201, "nobody has asked");
    let purge = || service::request(gate.admin, "POST", "/keys/purge", &[], b"").unwrap().0;
    assert_eq!(purge(), 204);
    clinician.post("/Patient", PATIENT).await.expect_problem(503, "key_denied");
    clinician.get("/Patient/1").await.expect_problem(503, "key_denied");
    // It drops what is remembered of failures too.
    kms.fail(None);
    assert_eq!(purge(), 204);
    expect_shown(&clinician.get("/Patient/1").await);
    assert_eq!(clinician.post("/Patient", PATIENT).await.status, 201);
    expect_only_sealed(&upstream);
}

#[tokio::test]
async fn what_comes_of_a_body_after_a_purge_is_sealed_by_no_key_from_before() {
    let (upstream, kms) = (Upstream::start(), Kms::start());
    let setup = with_kms(upstream.addr(), kms.addr(), kms::KEY);
    let gate = setup.replace("  limits: {}\n", "  limits: {buffer_bytes_max: 4096}\n").start();
    let purge = || assert_eq!(service::request(gate.admin, "POST", "/keys/purge", &[], b"").unwrap().0, 204);
    let json = [("content-type", "application/json")];
    for denies in [false, true] {
        kms.fail(None);
        purge();
        let (pieces, mut body) = mpsc::channel::<String>(2);
        let body = stream::poll_fn(move |cx| body.poll_recv(cx).map(|piece| piece.map(|piece| Ok(piece.into()))));
        let begin = format!(r#"{{"resourceType":"Patient","ssn":"999-12-3456","pad":"{}""#, "x".repeat(8192));
        pieces.send(begin).await.unwrap();
        let (client, before) = (gate.as_client("clinician"), kms.calls());
        let sent = tokio::spawn(async move { client.stream(Method::PUT, "/Patient/1", &json, body).await });
        // Its beginning is sealed as soon as the key is there.
        timeout(Duration::from_secs(9), async {
            while kms.calls() == before {
                sleep(Duration::from_millis(20)).await;
            }
        })
        .await
        .expect("a key is asked for");
        sleep(Duration::from_millis(500)).await;
        kms.fail(denies.then_some(Fault::Denies));
        purge();
        pieces.send(r#","contact":{"ssn":"999-12-3456"}}"#.to_owned()).await.unwrap();
        drop(pieces);
        let response = sent.await.unwrap().unwrap();
        assert_eq!(response.status().is_success(), !denies, "{}", response.status());
        expect_only_sealed(&upstream);
        // What breaks off is not kept there.
        assert_eq!(upstream.take_all().len(), usize::from(!denies));
    }
}

#[tokio::test]
async fn keys_that_are_used_beyond_their_time_are_on_record_and_counted() {
    let (upstream, kms) = (Upstream::start(), Kms::start());
    let setup = with_kms(upstream.addr(), kms.addr(), kms::KEY);
    let gate = cached(setup, "{confirm_interval_s: 1, open_age_max_s: 1, stale_if_error_s: 600}").start();
    assert_eq!(gate.metric("sealgate_key_revocation_bound_seconds"), 630.0);
    let clinician = gate.as_client("clinician");
    assert_eq!(clinician.post("/Patient", PATIENT).await.status, 201);
    let stale = |event: &Value| event["keys"].as_array().unwrap().iter().any(|key| key["stale"] == true);
    assert!(!gate.events_named("ExchangeAnswered").iter().any(stale));
    assert_eq!(gate.metric("sealgate_stale_key_uses_total"), 0.0);
    kms.fail(Fault::Throttles);
    sleep(EXPIRY).await;
    assert_eq!(clinician.post("/Patient", PATIENT).await.status, 201);
    expect_shown(&clinician.get("/Patient/1").await);
    assert!(gate.events_named("ExchangeAnswered").iter().filter(|event| stale(event)).count() >= 2);
    assert!(gate.metric("sealgate_stale_key_uses_total") >= 2.0);
    // A denial ends it.
    kms.fail(Fault::Disabled);
    for _ in 0..300 {
        let reply = clinician.get("/Patient/1").await;
        if reply.status != 200 {
            reply.expect_problem(502, "response_unopenable");
            return;
        }
        sleep(Duration::from_millis(200)).await;
    }
    panic!("it is used although it is denied");
}
