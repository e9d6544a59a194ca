//! Data keys and KEKs that are replaced under records that stay: one route reads the old and writes the new.

use super::key_of;
use crate::fixture::commands::{Commands, kek};
use crate::fixture::gate::Fallen;
use crate::fixture::kms::{self, KeyState, Kms};
use crate::fixture::{Gate, Setup, Upstream};
use serde_json::{Value, json};

const NEXT: &str = "arn:aws:kms:us-east-1:123456789012:key/22222222-2222-3333-4444-555555555555";
const BODY: &str = r#"{"ssn":"999-12-3456","mrn":"a-1","note":"fine"}"#;

async fn write(gate: &Gate, upstream: &Upstream, path: &str) -> Value {
    let reply = gate.as_client("clinician").put(path, BODY).await;
    assert_eq!((reply.status.as_u16(), reply.text().as_str()), (200, BODY), "{}", gate.log());
    serde_json::from_str(&upstream.kept(path)).unwrap()
}

async fn expect_opens(gate: &Gate, paths: &[&str]) {
    for path in paths {
        let reply = gate.as_client("clinician").get(path).await;
        assert_eq!((reply.status.as_u16(), reply.text().as_str()), (200, BODY), "{path}: {}", gate.log());
    }
}

/// The ids of the keys that sealed the stored and the deterministic value.
fn keys(record: &Value) -> [String; 2] {
    ["ssn", "mrn"].map(|field| key_of(record[field].as_str().unwrap()))
}

/// The gate again, in the same folder.
fn again(fallen: Fallen, upstream: &Upstream) -> Setup {
    let setup = fallen.again(upstream.addr());
    setup.env("AWS_ACCESS_KEY_ID", "test").env("AWS_SECRET_ACCESS_KEY", "test")
}

/// The KEKs that an exchange used, as the last record of it names them.
fn keks_used(gate: &Gate) -> Vec<Value> {
    let event = gate.events_named("ExchangeAnswered").pop().unwrap();
    event["keys"].as_array().unwrap().iter().map(|key| key["kek"].clone()).collect()
}

#[tokio::test]
async fn records_of_the_first_version_are_read_where_the_second_one_writes() {
    let (upstream, kms) = (Upstream::start(), Kms::start());
    kms.add_key(NEXT);
    let mut commands = Commands::before(upstream.addr()).with_kms(kms.addr(), kms::KEY);
    commands.edit(
        "      - {path: \"$.mrn\", class: mrn}\n",
        "      - {path: \"$.mrn\", class: mrn}\n      - {path: \"$.note\", class: note}\n",
    );
    commands.create("clinic", "lookup");
    let gate = commands.start();
    let first = write(&gate, &upstream, "/records/1").await;
    let fallen = gate.crash();
    commands.run("keys rotate --scope clinic --purpose field").good();
    commands.run("keys rotate --scope clinic --purpose lookup --accept-new-tokens").good();

    let gate = again(fallen, &upstream).start();
    expect_opens(&gate, &["/records/1"]).await;
    let second = write(&gate, &upstream, "/records/2").await;
    for (old, new) in keys(&first).into_iter().zip(keys(&second)) {
        assert_ne!(old, new);
    }
    assert_ne!(first["mrn"], second["mrn"], "equal values have two tokens now");
    let third = write(&gate, &upstream, "/records/3").await;
    assert_eq!((&second["mrn"], keys(&second)), (&third["mrn"], keys(&third)));
    expect_opens(&gate, &["/records/1", "/records/2", "/records/3"]).await;
    // Saving the first one seals it by the new keys.
    let before = upstream.kept("/records/1");
    let saved = write(&gate, &upstream, "/records/1").await;
    assert_eq!(keys(&saved), keys(&second));
    upstream.keep("/records/1", before);

    // Another KEK takes over: all that was sealed opens under the old one, and new keys are under the new one.
    let fallen = gate.crash();
    let taken_over = format!("{}\n  old:\n    - aws_kms: {}", kek(kms.addr(), NEXT), kek(kms.addr(), kms::KEY));
    let gate = again(fallen, &upstream).replace(&kek(kms.addr(), kms::KEY), &taken_over).start();
    expect_opens(&gate, &["/records/1", "/records/2"]).await;
    assert!(keks_used(&gate).iter().all(|kek| kek == kms::KEY), "{:?}", keks_used(&gate));
    let fourth = write(&gate, &upstream, "/records/4").await;
    assert_eq!(keys(&fourth), keys(&second), "stored keys go on until they are rotated");
    let used = keks_used(&gate);
    assert!(used.contains(&json!(NEXT)) && used.contains(&json!(kms::KEY)), "the inline one is new: {used:?}");
    expect_opens(&gate, &["/records/1", "/records/2", "/records/4"]).await;

    // Wrapped anew, the stored keys do without the old one; inline tokens do not.
    let fallen = gate.crash();
    assert_eq!(commands.run("keys rewrap").code, Some(0));
    commands.run("keys verify").good();
    kms.set_key(kms::KEY, KeyState::PendingDeletion);
    let gate = again(fallen, &upstream).start();
    expect_opens(&gate, &["/records/4"]).await;
    let stored: Value = json!({"ssn": first["ssn"], "mrn": first["mrn"]});
    upstream.keep("/records/5", stored.to_string());
    let reply = gate.as_client("clinician").get("/records/5").await;
    assert_eq!(reply.json(), json!({"ssn": "999-12-3456", "mrn": "a-1"}));
    gate.as_client("clinician").get("/records/1").await.expect_problem(502, "response_unopenable");
}
