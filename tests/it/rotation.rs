//! Key-encryption keys that are rotated, replaced, or one of several: what was sealed opens, what is sealed now takes the
//! new one.

use crate::fixture::keys::{aws_kms, cached, credentials, with_keyring, with_kms};
use crate::fixture::kms::{self, KeyState, Kms};
use crate::fixture::moto::Moto;
use crate::fixture::{Call, Gate, Reply, Setup, Upstream};
use sealgate::keyring::{Kek, local::Local};
use sealgate::seal::crypto::default_provider;
use sealgate::seal::{KekTag, KeyRef, Token};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::time::sleep;

const OLD: &str = kms::KEY;
const NEW: &str = "arn:aws:kms:us-east-1:123456789012:key/22222222-2222-3333-4444-555555555555";
const ABROAD: &str = "arn:aws:kms:eu-west-1:123456789012:key/33333333-2222-3333-4444-555555555555";
const PATIENT: &str = "{\"ssn\":\"999-12-3456\"}";

async fn write(gate: &Gate, path: &str) -> Reply {
    Call::new(&format!("PUT {path}")).json(PATIENT).from(&gate.as_client("clinician")).await
}

async fn expect_written(gate: &Gate, path: &str) {
    let wrote = write(gate, path).await;
    assert_eq!((wrote.status.as_u16(), wrote.text().as_str()), (200, PATIENT), "{path}");
}

async fn expect_opens(gate: &Gate, path: &str) {
    let read = gate.as_client("clinician").get(path).await;
    assert_eq!((read.status.as_u16(), read.text().as_str()), (200, PATIENT), "{path}");
}

/// The tags of the KEKs that wrapped the data key of the record's token.
fn keks(upstream: &Upstream, path: &str) -> Vec<KekTag> {
    let record: Value = serde_json::from_str(&upstream.kept(path)).unwrap();
    let token = Token::read(record["ssn"].as_str().unwrap().as_bytes()).unwrap();
    match token.key() {
        KeyRef::Inline { edks, .. } => edks.iter().map(|edk| edk.kek).collect(),
        _ => panic!("{record}"),
    }
}

fn tag(arn: &str) -> KekTag {
    KekTag::of(default_provider(), arn)
}

/// A KMS with three keys, of two regions.
fn kms() -> Kms {
    let kms = Kms::start();
    kms.add_key(NEW);
    kms.add_key(ABROAD);
    kms
}

fn also(setup: Setup, kms: SocketAddr, arn: &str) -> Setup {
    with_keyring(setup, &format!("also:\n    - {}", aws_kms(kms, arn)))
}

fn old(setup: Setup, kms: SocketAddr, arn: &str) -> Setup {
    with_keyring(setup, &format!("old:\n    - {}", aws_kms(kms, arn)))
}

#[tokio::test]
async fn a_kek_that_is_rotated_in_the_kms_needs_nothing_from_the_gate() {
    let (upstream, kms) = (Upstream::start(), kms());
    let start = || with_kms(upstream.addr(), kms.addr(), OLD).start();
    let before = start();
    expect_written(&before, "/Patient/1").await;
    kms.rotate_key(OLD);
    let after = start();
    expect_written(&after, "/Patient/2").await;
    for (gate, other) in
        [(&before, "/Patient/2"), (&after, "/Patient/1"), (&start(), "/Patient/1"), (&start(), "/Patient/2")]
    {
        expect_opens(gate, other).await;
    }
    assert_eq!(keks(&upstream, "/Patient/1"), keks(&upstream, "/Patient/2"), "one KEK, by its name");
}

#[tokio::test]
async fn moto_rotates_a_kek_and_what_it_wrapped_opens() {
    let (upstream, moto) = (Upstream::start(), Moto::start().unwrap());
    let key = moto.create_key();
    let start = || with_kms(upstream.addr(), moto.addr(), &key).start();
    expect_written(&start(), "/Patient/1").await;
    assert_eq!(moto.call("EnableKeyRotation", &json!({ "KeyId": key })).0, 200);
    let status = moto.call("GetKeyRotationStatus", &json!({ "KeyId": key }));
    assert_eq!(status.1["KeyRotationEnabled"], true, "{status:?}");
    let after = start();
    expect_opens(&after, "/Patient/1").await;
    expect_written(&after, "/Patient/2").await;
    expect_opens(&start(), "/Patient/2").await;
}

#[tokio::test]
async fn a_new_kek_takes_over_and_the_old_one_still_opens() {
    let (upstream, kms) = (Upstream::start(), kms());
    let before = with_kms(upstream.addr(), kms.addr(), OLD).start();
    expect_written(&before, "/Patient/1").await;
    let successor = || old(with_kms(upstream.addr(), kms.addr(), NEW), kms.addr(), OLD);
    let after = successor().start();
    expect_opens(&after, "/Patient/1").await;
    expect_written(&after, "/Patient/2").await;
    assert_eq!(keks(&upstream, "/Patient/1"), [tag(OLD)]);
    assert_eq!(keks(&upstream, "/Patient/2"), [tag(NEW)]);
    let event = after.events_named("ExchangeIntended").pop().unwrap();
    assert_eq!(event["keys"][0]["kek"], NEW, "{event}");
    // A gate that was not told of the new one opens nothing of it, and asks nobody.
    let calls = kms.calls();
    let strange = before.as_client("clinician").get("/Patient/2").await;
    strange.expect_problem(502, "response_unopenable");
    assert_eq!(kms.calls(), calls);
    // Nor does one that has forgotten the old one.
    let forgetful = with_kms(upstream.addr(), kms.addr(), NEW).start();
    forgetful.as_client("clinician").get("/Patient/1").await.expect_problem(502, "response_unopenable");
    expect_opens(&forgetful, "/Patient/2").await;
    // Once the old one is to be deleted only what it wrapped is gone.
    kms.set_key(OLD, KeyState::PendingDeletion);
    let later = successor().start();
    later.as_client("clinician").get("/Patient/1").await.expect_problem(502, "response_unopenable");
    expect_opens(&later, "/Patient/2").await;
    expect_written(&later, "/Patient/3").await;
}

#[tokio::test]
async fn from_a_file_to_a_kms_is_a_change_of_keks_as_well() {
    let (upstream, kms) = (Upstream::start(), kms());
    let local = Setup::before(upstream.addr()).start();
    expect_written(&local, "/Patient/1").await;
    let name = Kek::name(&Local::read(default_provider(), crate::fixture::gate::KEK).unwrap()).to_string();
    assert_eq!(keks(&upstream, "/Patient/1"), [tag(&name)]);
    let setup = with_keyring(with_kms(upstream.addr(), kms.addr(), NEW), "old:\n    - local: {key_file: kek}");
    let gate = setup.start();
    expect_opens(&gate, "/Patient/1").await;
    expect_written(&gate, "/Patient/1").await;
    assert_eq!(keks(&upstream, "/Patient/1"), [tag(NEW)]);
}

#[tokio::test]
async fn of_several_keks_any_one_opens() {
    let (upstream, kms) = (Upstream::start(), kms());
    let setup = also(with_kms(upstream.addr(), kms.addr(), OLD), kms.addr(), ABROAD);
    let gate = cached(setup, "{open_age_max_s: 1, confirm_interval_s: 1}").start();
    expect_written(&gate, "/Patient/1").await;
    assert_eq!(keks(&upstream, "/Patient/1"), [tag(OLD), tag(ABROAD)]);
    kms.set_key(OLD, KeyState::Disabled);
    // For longer than any key is at hand: the other one opens, once for each life of a cached key.
    let opened = kms.count("Decrypt");
    for _ in 0..600 {
        expect_opens(&gate, "/Patient/1").await;
        if kms.count("Decrypt") >= opened + 5 {
            break;
        }
        sleep(Duration::from_millis(100)).await;
    }
    assert!(kms.count("Decrypt") >= opened + 5);
    // A gate that starts now has the other one first, and the disabled one only for what it wrapped.
    let setup = old(with_kms(upstream.addr(), kms.addr(), ABROAD), kms.addr(), OLD);
    let elsewhere = setup.start();
    expect_opens(&elsewhere, "/Patient/1").await;
    expect_written(&elsewhere, "/Patient/2").await;
    assert_eq!(keks(&upstream, "/Patient/2"), [tag(ABROAD)]);
    // No new data key is made while one that should wrap it does not answer: nobody would notice that it is missing.
    let both = also(with_kms(upstream.addr(), kms.addr(), ABROAD), kms.addr(), OLD);
    let mut refused = both.spawn();
    assert_eq!(refused.wait().code(), Some(69), "{}", refused.log());
    assert!(refused.log().contains(OLD), "{}", refused.log());
    // And with both disabled nothing opens.
    kms.set_key(ABROAD, KeyState::Disabled);
    for _ in 0..600 {
        let read = gate.as_client("clinician").get("/Patient/1").await;
        if read.status != 200 {
            read.expect_problem(502, "response_unopenable");
            return;
        }
        sleep(Duration::from_millis(100)).await;
    }
    panic!("it still opens");
}

/// A stored key keeps sealing what belongs to it when its KEK is replaced; nothing has to be written anew for that.
#[tokio::test]
async fn stored_keys_open_under_the_keks_that_wrapped_them() {
    let (upstream, kms) = (Upstream::start(), kms());
    let stored = |setup: Setup| {
        let setup = setup.replace("ssn: {mask: {keep_last: 4}}", "ssn: {placement: stored, mask: {keep_last: 4}}");
        crate::fixture::keys::with_file_store(setup)
    };
    let gate = stored(with_kms(upstream.addr(), kms.addr(), OLD)).start();
    expect_written(&gate, "/Patient/1").await;
    let token = upstream.kept("/Patient/1");
    // Replaced in the config, while the gate is down.
    let fallen = gate.crash();
    let taken_over = format!("{}\n  old:\n    - {}", aws_kms(kms.addr(), NEW), aws_kms(kms.addr(), OLD));
    let setup = credentials(fallen.again(upstream.addr()).replace(&aws_kms(kms.addr(), OLD), &taken_over));
    let gate = setup.start();
    expect_opens(&gate, "/Patient/1").await;
    expect_written(&gate, "/Patient/2").await;
    let id = |record: &str| {
        let record: Value = serde_json::from_str(record).unwrap();
        Token::read(record["ssn"].as_str().unwrap().as_bytes()).unwrap().head().key_id
    };
    assert_eq!(id(&token), id(&upstream.kept("/Patient/2")), "until it is rotated");
    // A gate without the old KEK has the row, and no key to open it with: it does not start.
    let fallen = gate.crash();
    let setup = credentials(fallen.again(upstream.addr()).replace(&taken_over, &aws_kms(kms.addr(), NEW)));
    let mut stranger = setup.spawn();
    assert_eq!(stranger.wait().code(), Some(69), "{}", stranger.log());
}
