//! The way back from a lost store, as an operator goes it.

use super::{SSN, changed, key_of};
use crate::fixture::commands::Commands;
use crate::fixture::kms::{self, Fault, Kms};
use crate::fixture::{Gate, Upstream};
use sealgate::keyring::store::keyset;
use serde_json::{Value, json};
use std::fs;

const BODY: &str = r#"{"ssn":"999-12-3456","mrn":"a-1"}"#;

fn lose_the_store(commands: &Commands) {
    fs::remove_file(commands.file("keys.redb")).unwrap();
    commands.run("keys init").good();
}

#[test]
fn what_is_imported_was_seen_to_open() {
    let kms = Kms::start();
    let commands = Commands::new().with_kms(kms.addr(), kms::KEY);
    for purpose in ["field", "lookup"] {
        commands.create("clinic", purpose);
    }
    let tokens = commands.seal("ssn", SSN) + &commands.seal("mrn", "a-1");
    commands.run("keys rotate --scope clinic --purpose field").good();
    let export = commands.run("keys export").good();
    let rows = keyset::read(&export).unwrap();
    lose_the_store(&commands);
    // One of them is the key of another.
    let mut spoiled = rows.clone();
    let fields: Vec<usize> = (0..3).filter(|at| rows[*at].purpose.as_str() == "field").collect();
    spoiled[fields[0]].edks = rows[fields[1]].edks.clone();
    let id = spoiled[fields[0]].id();
    let said = commands.run_with("keys import -", keyset::write(&spoiled)).failed(1);
    assert!(
        said.starts_with(&format!(
            "key {id}: keyring: encrypted data key is rejected: it does not match the commitment\n"
        )),
        "{said}"
    );
    assert!(
        said.ends_with(
            "1 of 3 keys do not open, 0 were not tried; none is imported; --unverified imports them all the same\n"
        ),
        "{said}"
    );
    assert_eq!(commands.list(), Vec::<Value>::new());
    assert_eq!((&changed(&commands)["change"], &changed(&commands)["count"]), (&json!("import"), &json!(0)));
    let looked = &commands.events_named("KeysChanged").into_iter().rev().nth(1).unwrap();
    assert_eq!((&looked["change"], &looked["count"], &looked["failed"]), (&json!("verify"), &json!(3), &json!(1)));
    assert_eq!(looked["keys"].as_array().unwrap().len(), 3, "{looked}");
    // Without KMS nothing is seen to open, and there is a way around.
    kms.fail(Fault::FailsInside);
    let said = commands.run_with("keys import -", &export).failed(69);
    assert!(said.contains("KMSInternalException") && said.contains("none is imported"), "{said}");
    assert_eq!(commands.list(), Vec::<Value>::new());
    let calls = kms.calls();
    let said = commands.run_with("keys import - --unverified", &export).good();
    assert!(said.contains("3 added"), "{said}");
    assert_eq!(kms.calls(), calls);
    kms.fail(None);
    commands.run("keys verify").good();
    assert_eq!(commands.open(&tokens).good(), format!("\"{SSN}\"\n\"a-1\"\n"));
    // A key under a KEK that is not this config's opens here by nothing.
    let stranger = Commands::new();
    stranger.run("keys init").good();
    let said = stranger.run_with("keys import -", &export).failed(1);
    assert!(said.contains("no encrypted data key is of a configured KEK"), "{said}");
    assert!(stranger.run_with("keys import - --unverified", &export).good().contains("3 added"));
}

#[test]
fn an_export_of_a_scope_holds_its_keys_alone() {
    let commands = Commands::new();
    let ours = [commands.create("clinic", "field"), commands.create("clinic", "lookup")];
    commands.create("other", "field");
    let export = commands.run("keys export --scope clinic").good();
    let mut ids: Vec<String> = keyset::read(&export).unwrap().iter().map(|row| row.id().to_string()).collect();
    ids.sort();
    let mut expect = ours.to_vec();
    expect.sort();
    assert_eq!(ids, expect);
    let other = commands.run("keys export --scope other").good();
    let all = commands.list();
    lose_the_store(&commands);
    for part in [export, other] {
        commands.run_with("keys import -", part).good();
    }
    assert_eq!(commands.list(), all, "part by part it is all there again");
}

async fn write(gate: &Gate, upstream: &Upstream, path: &str) -> Value {
    let reply = gate.as_client("clinician").put(path, BODY).await;
    assert_eq!((reply.status.as_u16(), reply.text().as_str()), (200, BODY), "{}", gate.log());
    serde_json::from_str(&upstream.kept(path)).unwrap()
}

async fn expect_opens(gate: &Gate, path: &str) {
    let reply = gate.as_client("clinician").get(path).await;
    assert_eq!((reply.status.as_u16(), reply.text().as_str()), (200, BODY), "{path}: {}", gate.log());
}

#[tokio::test]
async fn records_open_at_a_new_gate_after_the_store_was_lost_and_came_back() {
    let upstream = Upstream::start();
    let mut commands = Commands::before(upstream.addr());
    commands.create("clinic", "lookup");
    commands.create("clinic", "format");
    let gate = commands.start();
    let sealed = write(&gate, &upstream, "/records/1").await;
    let fallen = gate.crash();
    let export = commands.run("keys export").good();
    assert_eq!(keyset::read(&export).unwrap().len(), 3, "the gate had made one");
    fs::write(commands.file("keys.json"), &export).unwrap();
    fs::remove_file(commands.file("keys.redb")).unwrap();
    // A gate does not begin anew on nothing, nor on an empty store without the keys that are made by hand.
    let mut setup = fallen.again(upstream.addr());
    let mut refused = setup.spawn();
    assert_eq!(refused.wait().code(), Some(1), "{}", refused.log());
    assert!(refused.log().contains("keys.redb is not there"), "{}", refused.log());
    commands.run("keys init").good();
    setup = refused.crash().again(upstream.addr());
    let mut refused = setup.spawn();
    assert_eq!(refused.wait().code(), Some(69), "{}", refused.log());
    let fallen = refused.crash();
    // Whatever it made meanwhile goes with the store.
    lose_the_store(&commands);
    let said = commands.run("keys import keys.json").good();
    assert!(said.contains("3 added, 0 added as decrypt-only"), "{said}");
    let gate = fallen.again(upstream.addr()).start();
    expect_opens(&gate, "/records/1").await;
    let again = write(&gate, &upstream, "/records/2").await;
    assert_eq!(again["mrn"], sealed["mrn"], "equal values are equal as before");
    let key = |record: &Value| key_of(record["ssn"].as_str().unwrap());
    assert_eq!(key(&again), key(&sealed));
    expect_opens(&gate, "/records/2").await;
    let text: String = upstream.received().iter().map(|received| received.text()).collect();
    assert!(!text.contains("999-12"));
}
