//! Tokens that cannot be opened: the answer is withheld, or, where the rule says so, the rest of it is delivered with a
//! mark. The record says why. A key service that is away is something else.

use crate::fixture::bed::forged;
use crate::fixture::gate::Fallen;
use crate::fixture::keys::{cached, create_long_lived, with_file_store, with_kms};
use crate::fixture::kms::{self, Fault, KeyState as KekState, Kms};
use crate::fixture::{Bed, Call, Gate, Reply, Setup, Upstream};
use sealgate::keyring::store::file::FileStore;
use sealgate::keyring::store::{KeyRow, KeyState, KeyStore};
use sealgate::seal::Purpose;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::sleep;

const ROUTES: &str = "routes:
  - name: strict
    path: /Strict/{id}
    methods: [GET, PUT]
    upstream: app
    rules:
      - {path: $.ssn, class: ssn, bind: {record: {parameter: id}}}
      - {path: $.acct, class: acct}
      - {path: $.name, class: name}
  - name: lenient
    path: /Lenient/{id}
    methods: [GET, PUT]
    upstream: app
    rules:
      - {path: $.ssn, class: ssn, on_unopenable: mark, bind: {record: {parameter: id}}}
      - {path: $.acct, class: acct, on_unopenable: mark}
      - {path: $.name, class: name}
      - {path: '$.list[*]', class: name, on_unopenable: mark}
  - name: elsewhere
    path: /Elsewhere/{id}
    methods: [GET, PUT]
    upstream: app
    scope: other
    rules:
      - {path: $.ssn, class: ssn, bind: {record: {parameter: id}}}
";
const MARK: &str = "[UNOPENABLE]";
const SSN: &str = "999-12-3456";

fn lenient(setup: Setup) -> Setup {
    let setup = setup.replace("\nroutes:\n", &format!("\n{ROUTES}"));
    let setup = setup.replace("\nclasses:\n", "\nclasses:\n  acct: {placement: stored, mask: {keep_last: 2}}\n");
    let setup = setup.replace("roles: [clinician]}", "roles: [clinician], scopes: [test, other]}");
    with_file_store(setup)
}

/// What the upstream got of a document that a clinician wrote.
async fn sealed(gate: &Gate, upstream: &Upstream, path: &str, document: &Value) -> Value {
    let wrote = Call::new(&format!("PUT {path}")).json(document.to_string()).from(&gate.as_client("clinician")).await;
    assert_eq!(wrote.status, 200, "{path} {document}: {}", wrote.text());
    serde_json::from_str(&upstream.kept(path)).unwrap()
}

/// Reads a document that the upstream has: where rules are strict it must be withheld and the record must name `cause`;
/// where they are lenient everything else must be delivered.
async fn expect_unopenable(gate: &Gate, upstream: &Upstream, field: &str, token: &Value, cause: &str) {
    let name = &sealed(gate, upstream, "/Strict/9", &json!({"name": "Chalmers"})).await["name"];
    let document = json!({ field: token, "name": name, "weight": 1 }).to_string();
    upstream.keep("/Strict/1", document.clone());
    upstream.keep("/Lenient/1", document);
    let clinician = gate.as_client("clinician");

    let strict = clinician.get("/Strict/1").await;
    strict.expect_problem(502, "response_unopenable");
    assert!(!strict.text().contains("Chalmers"), "{}", strict.text());
    let event = gate.events().pop().unwrap();
    assert_eq!(
        (&event["event"], &event["code"]),
        (&json!("ExchangeRefused"), &json!("response_unopenable")),
        "{event}"
    );
    assert!(event["cause"].as_str().unwrap().contains(cause), "{cause}: {event}");

    let lenient = clinician.get("/Lenient/1").await;
    let want = json!({ field: MARK, "name": "Chalmers", "weight": 1 });
    assert_eq!((lenient.status.as_u16(), lenient.text()), (200, want.to_string()), "{cause}");
    let event = gate.events().pop().unwrap();
    let class = if field == "ssn" { "ssn" } else { "acct" };
    let fields = event["fields"].as_array().unwrap();
    assert!(fields.contains(&json!({"class": class, "action": "unopenable", "count": 1})), "{cause}: {event}");
    assert!(fields.contains(&json!({"class": "name", "action": "plain", "count": 1})), "{cause}: {event}");
    // The mark is no value: sealed over the token, it would replace what may open again one day.
    let back = Call::new("PUT /Lenient/1").json(lenient.text()).from(&clinician).await;
    back.expect_problem(422, "field_hidden");
    let marked = format!("sealgate_fields_total{{route=\"lenient\",class=\"{class}\",action=\"unopenable\"}}");
    assert!(gate.metric(&marked) >= 1.0, "{cause}");
}

#[tokio::test]
async fn each_way_not_to_open_is_told_apart_in_the_record() {
    let bed = Bed::with(lenient);
    let Bed { gate, upstream } = &bed;
    let own = sealed(gate, upstream, "/Strict/1", &json!({"ssn": SSN, "acct": "12345", "name": "x"})).await;
    let moved = sealed(gate, upstream, "/Strict/2", &json!({ "ssn": SSN })).await;
    let foreign = sealed(gate, upstream, "/Elsewhere/1", &json!({ "ssn": SSN })).await;
    let token = own["ssn"].as_str().unwrap();
    let flipped = |at: usize| json!(forged(token, |bytes| *bytes.iter_mut().nth_back(at).unwrap() ^= 1));
    for (token, cause) in [
        (json!("sgv1."), "token: truncated"),
        (json!(forged(token, |bytes| bytes.truncate(60))), "token: truncated"),
        (json!(token.replace("sgv1.", "sgv7.")), "token: version 7 is unknown"),
        (json!(forged(token, |bytes| bytes[0] = 9)), "token: version 9 is unknown"),
        (json!(forged(token, |bytes| bytes[1] = 0x91)), "token: suite 9 is unknown"),
        (json!(token.replacen("sgv1.A", "sgv1.+", 1)), "token: not canonical base64url"),
        (json!(format!("see {token}")), "token: in a longer text"),
        (own["name"].clone(), "token: class name, wanted ssn"),
        (foreign["ssn"].clone(), "token: scope other, wanted test"),
        (moved["ssn"].clone(), "token: does not authenticate"),
        (flipped(0), "token: does not authenticate"),
        (flipped(20), "token: does not authenticate"),
        // In the encrypted data key, which stands before nonce, ciphertext and tag; and in the tag of its KEK.
        (flipped(12 + 12 + 16 + 3), "encrypted data key is rejected"),
        (json!(forged(token, |bytes| bytes[45] ^= 1)), "no encrypted data key is of a configured KEK"),
    ] {
        expect_unopenable(gate, upstream, "ssn", &token, cause).await;
    }
    let log = gate.log();
    assert!(log.contains("a token does not open") && !log.contains(SSN), "{log}");
}

/// A caller who is not shown the value asks for no key, so that only what is no token at all is noticed.
#[tokio::test]
async fn whoever_asks_for_no_key_is_shown_no_mark_for_one() {
    let bed = Bed::with(lenient);
    let Bed { gate, upstream } = &bed;
    let own = sealed(gate, upstream, "/Lenient/1", &json!({ "ssn": SSN })).await;
    let token = own["ssn"].as_str().unwrap();
    let changed = json!({"ssn": forged(token, |bytes| *bytes.last_mut().unwrap() ^= 1)});
    let cut = json!({"ssn": forged(token, |bytes| bytes.truncate(60))});
    for (document, who, shown) in [
        (&changed, "support", json!({"ssn": "[REDACTED]"})),
        (&changed, "dba", changed.clone()),
        (&cut, "support", json!({ "ssn": MARK })),
        (&cut, "dba", json!({ "ssn": MARK })),
    ] {
        upstream.keep("/Lenient/1", document.to_string());
        assert_eq!(bed.make(who, &Call::new("GET /Lenient/1")).await.json(), shown, "{who}");
        upstream.take_all();
    }
    let back = Call::new("PUT /Lenient/1").json(json!({ "ssn": MARK }).to_string());
    bed.refuses("dba", &back, (422, "field_not_writable")).await;
}

#[tokio::test]
async fn in_fhir_a_reason_stands_where_the_value_is_absent() {
    let bed = Bed::with(lenient);
    let Bed { gate, upstream } = &bed;
    let own = sealed(gate, upstream, "/Lenient/1", &json!({"ssn": SSN, "list": ["Peter", "James"]})).await;
    let bad = |token: &Value| forged(token.as_str().unwrap(), |bytes| *bytes.last_mut().unwrap() ^= 1);
    let (ssn, second) = (bad(&own["ssn"]), bad(&own["list"][1]));
    let body = format!("{{ \"active\":true, \"ssn\" : \"{ssn}\",\"list\":[{},\"{second}\"]}}", own["list"][0]);
    let reason = json!({"extension": [{
        "url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": "error"
    }, {"url": "urn:sealgate:unopenable", "valueBoolean": true}]});
    for (media_type, want) in [
        ("application/fhir+json", json!({"active": true, "_ssn": reason, "list": ["Peter", MARK]})),
        ("application/fhir+json; fhirVersion=4.0", json!({"active": true, "_ssn": reason, "list": ["Peter", MARK]})),
        ("application/json", json!({"active": true, "ssn": MARK, "list": ["Peter", MARK]})),
    ] {
        upstream.always(200, &[("content-type", media_type)], body.clone());
        let read = bed.make("clinician", &Call::new("GET /Lenient/1")).await;
        assert_eq!((read.status.as_u16(), read.json()), (200, want), "{media_type}");
        assert!(read.text().starts_with("{ \"active\":true, \""), "other bytes stay: {}", read.text());
    }
}

/// A client that changes one thing and puts the whole document back would delete what may open again one day.
#[tokio::test]
async fn the_reason_for_an_absence_is_not_taken_back() {
    let bed = Bed::with(lenient);
    let own = sealed(&bed.gate, &bed.upstream, "/Lenient/1", &json!({ "ssn": SSN })).await;
    bed.upstream.take_all();
    let bad = forged(own["ssn"].as_str().unwrap(), |bytes| *bytes.last_mut().unwrap() ^= 1);
    bed.upstream.always(
        200,
        &[("content-type", "application/fhir+json")],
        json!({"active": true, "ssn": bad}).to_string(),
    );
    let read = bed.make("clinician", &Call::new("GET /Lenient/1")).await.text();
    bed.upstream.take_all();
    let other = |change: fn(&mut Value)| {
        let mut document = serde_json::from_str(&read).unwrap();
        change(&mut document);
        document.to_string()
    };
    for body in [
        read.clone(),
        other(|document| document["active"] = json!(false)),
        other(|document| document["_ssn"]["extension"][0] = json!({})),
        other(|document| document["contained"] = json!([{"_ssn": document["_ssn"].take()}])),
        read.replace("urn:sealgate:unopenable", "urn:sealgate:\\u0075nopenable"),
    ] {
        for (who, path) in [("clinician", "/Lenient/1"), ("clinician", "/Strict/1"), ("dba", "/Lenient/1")] {
            let back = Call::new(&format!("PUT {path}")).header("content-type", "application/fhir+json").body(&body);
            bed.refuses(who, &back, (422, "field_hidden")).await;
        }
    }
}

/// Puts every key of a purpose for scope `test` into a state, as an operator does while the gate is stopped.
async fn change_keys(fallen: &Fallen, change: impl Fn(&KeyRow) -> KeyRow) -> Vec<KeyRow> {
    let store = FileStore::open(&fallen.folder().join("keys")).await.unwrap();
    let mut rows = store.list(None, 100).await.unwrap();
    rows.retain(|row| row.purpose == Purpose::Field);
    for row in &rows {
        assert!(store.replace(row.clone(), change(row)).await.unwrap());
    }
    rows
}

#[tokio::test]
async fn a_stored_key_that_is_revoked_shredded_or_unknown_opens_nothing() {
    for (state, cause, code) in [
        (Some(KeyState::Revoked), "is revoked", "token_key_revoked"),
        (Some(KeyState::Shredded), "is shredded", "token_key_shredded"),
        (None, "is in the key store", "token_key_unknown"),
    ] {
        let Bed { gate, upstream } = Bed::with(lenient);
        let own = sealed(&gate, &upstream, "/Strict/1", &json!({"acct": "12345"})).await;
        let fallen = gate.crash();
        match state {
            Some(state) => {
                let change = |row: &KeyRow| {
                    let edks = if state == KeyState::Shredded { Vec::new() } else { row.edks.clone() };
                    KeyRow { state, edks, ..row.clone() }
                };
                assert_eq!(change_keys(&fallen, change).await.len(), 1, "one stored class, one scope");
            }
            None => std::fs::remove_file(fallen.folder().join("keys")).unwrap(),
        }
        let setup = fallen.again(upstream.addr());
        assert_eq!(setup.command(&["keys", "init"]).0, Some(0));
        if state.is_none() {
            create_long_lived(&setup, "test");
        }
        let gate = setup.start();
        expect_unopenable(&gate, &upstream, "acct", &own["acct"], cause).await;
        upstream.take_all();
        let bed = Bed { gate, upstream };
        let call = Call::new("PUT /Strict/1").json(json!({"acct": own["acct"]}).to_string());
        bed.refuses("dba", &call, (422, code)).await;
        // What is written now is sealed under another key.
        let Bed { gate, upstream } = &bed;
        let new = sealed(gate, upstream, "/Strict/1", &json!({"acct": "12345"})).await;
        let read = gate.as_client("clinician").get("/Strict/1").await;
        assert_eq!(read.json(), json!({"acct": "12345"}), "{cause}: {new}");
    }
}

#[tokio::test]
async fn a_key_that_may_be_used_again_opens_again() {
    let Bed { gate, upstream } = Bed::with(lenient);
    let own = sealed(&gate, &upstream, "/Strict/1", &json!({"acct": "12345"})).await;
    let state = |state: KeyState| move |row: &KeyRow| KeyRow { state, ..row.clone() };
    let fallen = gate.crash();
    change_keys(&fallen, state(KeyState::Revoked)).await;
    change_keys(&fallen, state(KeyState::DecryptOnly)).await;
    let gate = fallen.again(upstream.addr()).start();
    let read = gate.as_client("clinician").get("/Strict/1").await;
    assert_eq!(read.json(), json!({"acct": "12345"}));
    let new = sealed(&gate, &upstream, "/Strict/1", &json!({"acct": "12345"})).await;
    let id = |token: &Value| {
        let envelope = sealgate::seal::Token::read(token.as_str().unwrap().as_bytes()).unwrap();
        envelope.head().key_id
    };
    assert_ne!(id(&new["acct"]), id(&own["acct"]), "it seals no more");
}

/// Calls until it is answered like that, for what a KMS says takes as long to arrive as keys are cached.
async fn patiently(gate: &Gate, call: &Call, wanted: impl Fn(&Reply) -> bool) -> Reply {
    for _ in 0..600 {
        let reply = call.from(&gate.as_client("clinician")).await;
        if wanted(&reply) {
            return reply;
        }
        sleep(Duration::from_millis(100)).await;
    }
    panic!("it is never answered like that: {:#?}", gate.events().pop())
}

/// A gate before a KMS double, with keys that live for a second, and a record on each route.
struct Fragile {
    upstream: Upstream,
    kms: Kms,
    gate: Gate,
}

impl Fragile {
    async fn start() -> Self {
        let (upstream, kms) = (Upstream::start(), Kms::start());
        let setup = lenient(with_kms(upstream.addr(), kms.addr(), kms::KEY));
        let gate = cached(setup, "{open_age_max_s: 1, confirm_interval_s: 1}").start();
        for path in ["/Strict/1", "/Lenient/1"] {
            sealed(&gate, &upstream, path, &json!({ "ssn": SSN })).await;
        }
        Self { upstream, kms, gate }
    }

    /// The KEK is in that state: tokens do not open, each as its rule says, nothing is sealed; and then it is enabled again.
    async fn without_kek(&self, state: KekState, why: &str) {
        let Self { upstream, kms, gate } = self;
        kms.set_key(kms::KEY, state);
        let strict = patiently(gate, &Call::new("GET /Strict/1"), |reply| reply.status != 200).await;
        strict.expect_problem(502, "response_unopenable");
        let event = gate.events().pop().unwrap();
        assert!(event["cause"].as_str().unwrap().ends_with(why), "{event}");
        assert!(event["kms_request_id"].is_string(), "{event}");
        let lenient = patiently(gate, &Call::new("GET /Lenient/1"), |reply| reply.text().contains(MARK)).await;
        assert_eq!((lenient.status.as_u16(), lenient.json()), (200, json!({ "ssn": MARK })));
        // The key that seals may have been confirmed a little later than the one that opens.
        let write = Call::new("PUT /Lenient/2").json("{\"ssn\":\"1\"}");
        let wrote = patiently(gate, &write, |reply| reply.status != 200).await;
        wrote.expect_problem(503, "key_denied");
        upstream.take_all();
        let wrote = write.from(&gate.as_client("clinician")).await;
        wrote.expect_problem(503, "key_denied");
        upstream.expect_nothing();
        kms.set_key(kms::KEY, KekState::Enabled);
        let again = patiently(gate, &Call::new("GET /Lenient/1"), |reply| !reply.text().contains(MARK)).await;
        assert_eq!(again.json(), json!({ "ssn": SSN }), "{why}");
    }

    /// The KMS fails like that: no rule makes a mark of it.
    async fn without_kms(&self, fault: Fault, code: &str) {
        let Self { kms, gate, .. } = self;
        kms.fail(fault);
        for path in ["/Lenient/1", "/Strict/1"] {
            let reply = patiently(gate, &Call::new(&format!("GET {path}")), |reply| reply.status != 200).await;
            reply.expect_problem(503, code);
        }
        kms.fail(None);
        let again = patiently(gate, &Call::new("GET /Lenient/1"), |reply| reply.status == 200).await;
        assert_eq!(again.json(), json!({ "ssn": SSN }), "{fault:?}");
    }
}

/// All at once, for each is mostly waiting.
#[tokio::test]
async fn a_kek_that_is_disabled_or_condemned_marks_and_one_that_is_away_does_not() {
    let [one, two] = [Fragile::start().await, Fragile::start().await];
    let away = [Fragile::start().await, Fragile::start().await, Fragile::start().await, Fragile::start().await];
    tokio::join!(
        one.without_kek(KekState::Disabled, "DisabledException"),
        two.without_kek(KekState::PendingDeletion, "KMSInvalidStateException"),
        away[0].without_kms(Fault::FailsInside, "key_unavailable"),
        away[1].without_kms(Fault::Resets, "key_unavailable"),
        away[2].without_kms(Fault::Throttles, "key_unavailable"),
        // That this gate may use no key says nothing of the token.
        away[3].without_kms(Fault::Denies, "key_denied"),
    );
}
