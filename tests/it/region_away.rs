//! Two KEKs, one of which does not answer: a gate starts without it, opens by the other one, and makes no key meanwhile.

use crate::fixture::keys::{aws_kms, cached, with_keyring, with_kms};
use crate::fixture::kms::{self, Fault, KeyState, Kms};
use crate::fixture::{Call, Gate, Reply, Setup, Upstream, service};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::sleep;

const HOME: &str = kms::KEY;
const ABROAD: &str = "arn:aws:kms:eu-west-1:123456789012:key/33333333-2222-3333-4444-555555555555";
const THIRD: &str = "arn:aws:kms:us-east-1:123456789012:key/22222222-2222-3333-4444-555555555555";
const PATIENT: &str = "{\"ssn\":\"999-12-3456\"}";
/// A call to KMS is tried so often.
const ATTEMPTS: u64 = 3;

fn kms() -> Kms {
    let kms = Kms::start();
    kms.add_key(ABROAD);
    kms
}

fn setup(upstream: &Upstream, kms: &Kms) -> Setup {
    let setup = with_kms(upstream.addr(), kms.addr(), HOME);
    with_keyring(setup, &format!("also:\n    - {}", aws_kms(kms.addr(), ABROAD)))
}

async fn write(gate: &Gate, path: &str) -> Reply {
    Call::new(&format!("PUT {path}")).json(PATIENT).from(&gate.as_client("clinician")).await
}

async fn read(gate: &Gate, path: &str) -> Reply {
    gate.as_client("clinician").get(path).await
}

fn silent(gate: &Gate, kek: &str, role: &str) -> f64 {
    gate.metric(&format!("sealgate_kek_silent{{kek=\"{kek}\",role=\"{role}\"}}"))
}

#[tokio::test]
async fn a_gate_starts_without_one_of_two_keks_opens_what_there_is_and_seals_once_it_is_back() {
    for (away, role, fault) in [(ABROAD, "also", Fault::FailsInside), (HOME, "first", Fault::Resets)] {
        let (upstream, kms) = (Upstream::start(), kms());
        let before = setup(&upstream, &kms).start();
        assert_eq!(write(&before, "/Patient/1").await.text(), PATIENT);
        kms.fail_key(away, fault);
        let gate = setup(&upstream, &kms).start();
        let started =
            gate.wait_for_log("started without a KEK: what needs it is refused until it answers, the rest is served");
        assert!(started.contains(away), "{started}");
        gate.wait_for_log("KEK gives no answer: no new data key is made until it does");
        assert_eq!(silent(&gate, away, role), 1.0, "{away}");
        let opened = read(&gate, "/Patient/1").await;
        assert_eq!((opened.status.as_u16(), opened.text().as_str()), (200, PATIENT), "{away}: {}", gate.log());
        let kept = upstream.received().len();
        let refused = write(&gate, "/Patient/2").await;
        refused.expect_problem(503, "key_unavailable");
        assert_eq!(refused.header("retry-after"), Some("1"), "{away}");
        assert_eq!(upstream.received().len(), kept, "nothing went up");
        assert_eq!(gate.admin("/readyz").0, 200);
        kms.fail_key(away, None);
        for _ in 0..600 {
            let wrote = write(&gate, "/Patient/2").await;
            if wrote.status == 200 {
                break;
            }
            wrote.expect_problem(503, "key_unavailable");
            sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(read(&gate, "/Patient/2").await.text(), PATIENT, "{away}");
        gate.wait_for_log("KEK answers again");
        assert_eq!(silent(&gate, away, role), 0.0, "{away}");
        let text: String = upstream.received().iter().map(|received| received.text()).collect();
        assert!(!text.contains("999-12"), "{away}");
    }
}

#[tokio::test]
async fn a_gate_does_not_start_where_no_kek_opens() {
    let (upstream, kms) = (Upstream::start(), kms());
    kms.fail(Fault::FailsInside);
    let mut gate = setup(&upstream, &kms).spawn();
    assert_eq!(gate.wait().code(), Some(69), "{}", gate.log());
    assert!(gate.log().contains("without a data key nothing can be sealed"), "{}", gate.log());
    // One that makes keys and may not unwrap them is none that opens.
    kms.fail(None);
    kms.fail_key(ABROAD, Fault::FailsInside);
    kms.fail_operation("Decrypt", Fault::Denies);
    let mut gate = setup(&upstream, &kms).spawn();
    assert_eq!(gate.wait().code(), Some(69), "{}", gate.log());
}

#[tokio::test]
async fn a_list_under_twenty_keys_opens_beside_a_region_that_hangs() {
    let (upstream, kms) = (Upstream::start(), kms());
    // A key for each value.
    let writer = cached(setup(&upstream, &kms), "{seal_uses_max: 1}").start();
    let records: Vec<Value> = (0..20).map(|number| json!({"ssn": format!("{number:03}-12-3456")})).collect();
    let list = json!({ "entry": records }).to_string();
    let wrote = Call::new("PUT /Patient/1").json(&list).from(&writer.as_client("clinician")).await;
    assert_eq!((wrote.status.as_u16(), wrote.text()), (200, list.clone()));
    let gate = setup(&upstream, &kms).start();
    kms.fail_key(HOME, Fault::Hangs);
    let before = kms.count("Decrypt");
    let opened = read(&gate, "/Patient/1").await;
    assert_eq!((opened.status.as_u16(), opened.text()), (200, list.clone()), "{}", gate.log());
    let asked = kms.count("Decrypt") - before;
    assert!(asked > 20 && asked <= 20 + 20 * ATTEMPTS, "those that are asked for at once: {asked}");
    // From now on nobody waits for it.
    let (status, _) = service::request(gate.admin, "POST", "/keys/purge", &[], b"").unwrap();
    assert_eq!(status, 204);
    let before = kms.count("Decrypt");
    let opened = read(&gate, "/Patient/1").await;
    assert_eq!((opened.status.as_u16(), opened.text()), (200, list));
    assert_eq!(kms.count("Decrypt") - before, 20, "the one that answers, once for each key");
    let event = gate.events().pop().unwrap();
    assert!(event["keys"].as_array().unwrap().iter().all(|key| key["kek"] == ABROAD), "{event}");
}

/// What opens is not enough where another KEK says no, or where the keys are not there.
#[tokio::test]
async fn a_gate_does_not_start_beside_a_kek_that_denies_or_without_its_store() {
    let (upstream, kms) = (Upstream::start(), kms());
    kms.add_key(THIRD);
    kms.fail_key(ABROAD, Fault::FailsInside);
    let both = format!("also:\n    - {}\n    - {}", aws_kms(kms.addr(), ABROAD), aws_kms(kms.addr(), THIRD));
    let three = || with_keyring(with_kms(upstream.addr(), kms.addr(), HOME), &both);
    drop(three().start());
    kms.set_key(THIRD, KeyState::Disabled);
    let mut gate = three().spawn();
    assert_eq!(gate.wait().code(), Some(69), "{}", gate.log());

    kms.set_key(THIRD, KeyState::Enabled);
    let nowhere =
        "store: {postgres: {host: 127.0.0.1, port: 9, database: x, user: x, password_file: kek, plaintext: true}}";
    let stored = |class: &str| three().replace("  note: {}", class);
    for class in ["  note: {placement: stored}", "  note: {}"] {
        let mut gate = with_keyring(stored(class), nowhere).spawn();
        assert_eq!(gate.wait().code(), Some(69), "{class}: {}", gate.log());
        assert!(gate.log().contains("127.0.0.1:9"), "{class}: {}", gate.log());
    }
}
