//! The key service away, slow, or saying no, at a gate that runs: cached keys serve for as long as is promised, nothing
//! goes up in the clear, and however many ask at once, it is asked as rarely as can be.

use crate::fixture::client::Connection;
use crate::fixture::keys::{cached, with_kms};
use crate::fixture::kms::{self, Fault, KeyState, Kms};
use crate::fixture::service;
use crate::fixture::{Call, Gate, Reply, Setup, Upstream};
use futures_util::future::join_all;
use http::Method;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::sleep;

const PATIENT: &str = "{\"ssn\":\"999-12-3456\",\"name\":[{\"family\":\"Chalmers\"}]}";
const DECRYPT: &str = "Decrypt";
const GENERATE: &str = "GenerateDataKey";

/// An upstream, a KMS, and gates before them.
struct Away {
    upstream: Upstream,
    kms: Kms,
}

impl Away {
    fn start() -> Self {
        Self { upstream: Upstream::start(), kms: Kms::start() }
    }

    fn setup(&self) -> Setup {
        with_kms(self.upstream.addr(), self.kms.addr(), kms::KEY)
    }

    fn gate(&self, cache: &str) -> Gate {
        cached(self.setup(), cache).start()
    }

    /// Nothing that the upstream ever got holds a value.
    fn expect_only_sealed(&self) {
        let received = self.upstream.received();
        assert!(!received.is_empty());
        let open = received
            .iter()
            .map(|received| received.text())
            .find(|text| text.contains("999-12") || text.contains("Chalm"));
        assert_eq!(open, None);
    }
}

fn read() -> Call {
    Call::new("GET /Patient/1")
}

fn write() -> Call {
    Call::new("PUT /Patient/1").json(PATIENT)
}

async fn ask(gate: &Gate, call: &Call) -> Reply {
    call.from(&gate.as_client("clinician")).await
}

/// Asks again and again until `wanted`; every other answer must be `meanwhile`.
async fn until(gate: &Gate, call: &Call, wanted: impl Fn(&Reply) -> bool, meanwhile: impl Fn(&Reply) -> bool) -> Reply {
    for _ in 0..1200 {
        let reply = ask(gate, call).await;
        if wanted(&reply) {
            return reply;
        }
        assert!(meanwhile(&reply), "{call}: {} {} {:#?}", reply.status, reply.text(), gate.events().pop());
        sleep(Duration::from_millis(50)).await;
    }
    panic!("{call}: it never comes: {}", gate.log())
}

fn shown(reply: &Reply) -> bool {
    reply.status == 200 && reply.text() == PATIENT
}

/// Carried out, but its answer needed a key that was not to be had any more.
fn done(reply: &Reply) -> bool {
    reply.status == 502 && reply.json()["code"] == "done_but_unopened"
}

async fn serves_on_and_then_refuses(fault: Fault) {
    let away = Away::start();
    let gate = away.gate("{open_age_max_s: 8, confirm_interval_s: 8}");
    assert!(shown(&ask(&gate, &write()).await));
    away.kms.fail(fault);
    for _ in 0..5 {
        assert!(shown(&ask(&gate, &write()).await), "{fault:?}");
        assert!(shown(&ask(&gate, &read()).await), "{fault:?}");
    }
    let refused = until(&gate, &write(), |reply| reply.status == 503, |reply| shown(reply) || done(reply)).await;
    refused.expect_problem(503, "key_unavailable");
    assert_eq!(refused.header("retry-after"), Some("1"), "{fault:?}");
    until(&gate, &read(), |reply| reply.status == 503, shown).await.expect_problem(503, "key_unavailable");
    // Who needs no key is served: tokens, redaction, a write with nothing to seal.
    let kept = away.upstream.kept("/Patient/1");
    assert_eq!(read().from(&gate.as_client("dba")).await.text(), kept, "{fault:?}");
    assert_eq!(read().from(&gate.as_client("support")).await.json()["ssn"], "[REDACTED]", "{fault:?}");
    assert_eq!(ask(&gate, &Call::new("PUT /Patient/2").json("{\"active\":true}")).await.status, 200, "{fault:?}");
    // But not a token put back: it has to authenticate.
    let before = away.upstream.received().len();
    let back = Call::new("PUT /Patient/1").json(&kept).from(&gate.as_client("dba")).await;
    back.expect_problem(503, "key_unavailable");
    assert_eq!(away.upstream.received().len(), before, "{fault:?}");
    away.kms.fail(None);
    until(&gate, &write(), shown, |reply| reply.status == 503 || done(reply)).await;
    until(&gate, &read(), shown, |reply| reply.status == 503).await;
    away.expect_only_sealed();
}

/// All at once, for each is mostly waiting.
#[tokio::test]
async fn keys_at_hand_serve_on_and_then_writes_are_told_to_come_again() {
    join_all([Fault::Hangs, Fault::FailsInside, Fault::BadGateway].map(serves_on_and_then_refuses)).await;
}

#[tokio::test]
async fn keys_serve_longer_where_the_config_says_so_and_the_record_tells() {
    let away = Away::start();
    let gate = away.gate("{open_age_max_s: 1, confirm_interval_s: 1, stale_if_error_s: 3600}");
    assert!(shown(&ask(&gate, &write()).await));
    away.kms.fail(Fault::FailsInside);
    let is_stale = || {
        let event = gate.events().pop().unwrap();
        event["keys"].as_array().unwrap().iter().any(|key| key["stale"] == true)
    };
    for call in [read(), write()] {
        until(&gate, &call, |reply| shown(reply) && is_stale(), shown).await;
    }
    assert!(gate.metric("sealgate_stale_key_uses_total") >= 2.0);
    // Who says no ends it at once; what is told in the second after it is that there was no answer before.
    away.kms.fail(None);
    away.kms.set_key(kms::KEY, KeyState::Disabled);
    let refused = until(&gate, &read(), |reply| reply.status == 502, |reply| reply.status == 503 || shown(reply)).await;
    refused.expect_problem(502, "response_unopenable");
    until(&gate, &write(), |reply| reply.status == 503, |reply| reply.status != 200 || shown(reply)).await;
    away.expect_only_sealed();
}

#[tokio::test]
async fn a_key_that_is_disabled_stops_opening_and_sealing() {
    let away = Away::start();
    let gate = away.gate("{open_age_max_s: 1, confirm_interval_s: 1}");
    let bound = gate.metric("sealgate_key_revocation_bound_seconds");
    let logged: Value =
        serde_json::from_str(&gate.wait_for_log("a key that is disabled is out of use after this time at the latest"))
            .unwrap();
    assert_eq!(logged["seconds"], bound, "{logged}");
    assert!(bound > 0.0);
    assert!(shown(&ask(&gate, &write()).await));
    away.kms.set_key(kms::KEY, KeyState::Disabled);
    // Callers who keep on asking do not keep it alive.
    until(&gate, &read(), |reply| reply.status != 200, shown).await.expect_problem(502, "response_unopenable");
    let unopened = |reply: &Reply| reply.status == 502 && reply.json()["code"] == "response_unopenable";
    let refused = until(&gate, &write(), |reply| reply.status == 503, |reply| shown(reply) || unopened(reply)).await;
    refused.expect_problem(503, "key_denied");
    assert_eq!(refused.header("retry-after"), None, "coming again does not help");
    away.kms.set_key(kms::KEY, KeyState::Enabled);
    until(&gate, &write(), shown, |reply| reply.status != 200).await;
    away.expect_only_sealed();
}

#[tokio::test]
async fn a_kms_that_throttles_costs_no_request_while_keys_are_at_hand() {
    let away = Away::start();
    let gate = away.gate("{open_age_max_s: 20, confirm_interval_s: 20}");
    assert!(shown(&ask(&gate, &write()).await));
    let failed = |kind: &str| {
        gate.metric(&format!("sealgate_key_confirmations_total{{kind=\"{kind}\",outcome=\"unavailable\"}}"))
    };
    let confirmed =
        |kind: &str| gate.metric(&format!("sealgate_key_confirmations_total{{kind=\"{kind}\",outcome=\"ok\"}}"));
    away.kms.fail(Fault::Throttles);
    // Until the gate has asked by itself, in vain; and from then on until it has asked with success.
    let mut rounds = 0;
    while failed("sealing") + failed("opening") == 0.0 {
        for call in [read(), write()] {
            let reply = ask(&gate, &call).await;
            assert!(shown(&reply), "{call}: {}", reply.text());
        }
        rounds += 1;
        assert!(rounds < 1000, "it never asks by itself");
        sleep(Duration::from_millis(50)).await;
    }
    away.kms.fail(None);
    while confirmed("sealing") + confirmed("opening") == 0.0 {
        for call in [read(), write()] {
            let reply = ask(&gate, &call).await;
            assert!(shown(&reply), "{call}: {}", reply.text());
        }
        rounds += 1;
        assert!(rounds < 2000, "it never asks again");
        sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(gate.events_named("ExchangeRefused"), Vec::<Value>::new());
}

#[tokio::test]
async fn who_goes_away_while_a_key_is_fetched_takes_it_from_nobody() {
    let away = Away::start();
    let writer = away.gate("{}");
    assert!(shown(&ask(&writer, &write()).await));
    let cold = away.gate("{}");
    away.kms.answer_after(Duration::from_millis(1500));
    let mut gone = cold.as_client("clinician").connect().await.unwrap();
    let leaving = tokio::spawn(async move { gone.call(Method::GET, "/Patient/1", &[], "").await });
    for _ in 0..1200 {
        if away.kms.count(DECRYPT) == 1 {
            break;
        }
        sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(away.kms.count(DECRYPT), 1, "it is under way, for the one who goes");
    let call = read();
    let staying = ask(&cold, &call);
    let (stayed, _) = tokio::join!(staying, async {
        leaving.abort();
        leaving.await.unwrap_err()
    });
    assert!(shown(&stayed), "{}", stayed.text());
    assert_eq!(away.kms.count(DECRYPT), 1, "and was not asked for again");
    cold.wait_for_event(|event| event["event"] == "ExchangeAbandoned");
}

/// So many streams of one connection.
async fn streams(gate: &Gate, count: usize) -> Vec<Connection> {
    let connection = gate.as_client("clinician").over_http2().connect().await.unwrap();
    (0..count).map(|_| connection.share().unwrap()).collect()
}

#[tokio::test]
async fn five_hundred_streams_at_once_ask_for_one_key() {
    let away = Away::start();
    // A scope of which nothing is known before the first request.
    let start = || {
        let setup = away.setup().replace("limits: {}", "limits: {streams_max: 500, exchanges_max: 2000}");
        let setup = setup.replace("    record: id\n", "    record: id\n    scope_from: {header: x-tenant}\n");
        setup.replace("roles: [clinician]}", "roles: [clinician], scopes: [test, cold]}").start()
    };
    let gate = start();
    let generated = away.kms.count(GENERATE);
    let mut connections = streams(&gate, 500).await;
    away.kms.answer_after(Duration::from_millis(300));
    let headers = [("content-type", "application/json"), ("x-tenant", "cold")];
    let writing = connections.iter_mut().enumerate().map(async |(number, connection)| {
        connection.call(Method::PUT, &format!("/Patient/{number}"), &headers, PATIENT).await.unwrap()
    });
    let wrote = join_all(writing).await;
    assert!(wrote.iter().all(shown), "{:?}", wrote.iter().find(|reply| !shown(reply)));
    assert_eq!((away.kms.count(GENERATE) - generated, away.kms.count(DECRYPT)), (1, 0));

    let cold = start();
    let mut connections = streams(&cold, 500).await;
    let headers = [("x-tenant", "cold")];
    let reading = connections.iter_mut().enumerate().map(async |(number, connection)| {
        connection.call(Method::GET, &format!("/Patient/{number}"), &headers, "").await.unwrap()
    });
    let read = join_all(reading).await;
    assert!(read.iter().all(shown), "{:?}", read.iter().find(|reply| !shown(reply)));
    assert_eq!(away.kms.count(DECRYPT), 1);
    away.expect_only_sealed();
}

#[tokio::test]
async fn a_list_under_five_hundred_keys_is_opened_thirty_two_at_a_time() {
    let away = Away::start();
    // A key for each value.
    let gate = away.gate("{seal_uses_max: 1}");
    let records: Vec<Value> = (0..500).map(|number| json!({"ssn": format!("{number:03}-12-3456")})).collect();
    let list = json!({ "entry": records }).to_string();
    let wrote = Call::new("PUT /Patient/1").json(&list).from(&gate.as_client("clinician")).await;
    assert_eq!((wrote.status.as_u16(), wrote.text()), (200, list.clone()));
    let kept: Value = serde_json::from_str(&away.upstream.kept("/Patient/1")).unwrap();
    let mut keys: Vec<String> = kept["entry"].as_array().unwrap().iter().map(key_id).collect();
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), 500);

    let cold = away.gate("{}");
    away.kms.answer_after(Duration::from_millis(100));
    let before = away.kms.count(DECRYPT);
    away.kms.take_in_flight_max();
    let read = ask(&cold, &read()).await;
    assert_eq!((read.status.as_u16(), read.text()), (200, list));
    assert_eq!(away.kms.count(DECRYPT) - before, 500, "each key once");
    assert_eq!(away.kms.take_in_flight_max(), 32);
    let answered = cold.events().pop().unwrap();
    assert_eq!(answered["keys"].as_array().unwrap().len(), 500, "all on record");
}

fn key_id(record: &Value) -> String {
    let token = sealgate::seal::Token::read(record["ssn"].as_str().unwrap().as_bytes()).unwrap();
    token.head().key_id.to_string()
}

#[tokio::test]
async fn an_order_drops_every_key_at_once() {
    let away = Away::start();
    let gate = away.gate("{}");
    assert!(shown(&ask(&gate, &write()).await));
    let order = |method: &str, headers: &[(&str, &str)], body: &[u8]| {
        service::request(gate.admin, method, "/keys/purge", headers, body).unwrap().0
    };
    let (generated, opened) = (away.kms.count(GENERATE), away.kms.count(DECRYPT));
    // Not by a page in a browser of this machine, nor by looking.
    assert_eq!(order("GET", &[], b""), 405);
    assert_eq!(order("POST", &[("origin", "http://127.0.0.1")], b""), 403);
    assert_eq!(order("POST", &[], b"x"), 400);
    assert!(shown(&ask(&gate, &read()).await) && shown(&ask(&gate, &write()).await));
    assert_eq!((away.kms.count(GENERATE), away.kms.count(DECRYPT)), (generated, opened), "all is at hand");
    assert_eq!(order("POST", &[], b""), 204);
    assert_eq!(gate.events_named("KeysPurged").len(), 1);
    assert!(shown(&ask(&gate, &read()).await) && shown(&ask(&gate, &write()).await));
    assert_eq!((away.kms.count(GENERATE), away.kms.count(DECRYPT)), (generated + 1, opened + 1), "and asked for anew");
    // With the KEK disabled nothing is left that would open.
    away.kms.set_key(kms::KEY, KeyState::Disabled);
    assert!(shown(&ask(&gate, &read()).await));
    assert_eq!(order("POST", &[], b""), 204);
    ask(&gate, &read()).await.expect_problem(502, "response_unopenable");
    ask(&gate, &write()).await.expect_problem(503, "key_denied");
}
