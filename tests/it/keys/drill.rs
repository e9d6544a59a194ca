//! A gate that runs on PostgreSQL while its keys are worked on.

use super::{key_of, state};
use crate::fixture::commands::Commands;
use crate::fixture::pki::write_secret;
use crate::fixture::postgres::{DATABASE, PASSWORD, Postgres, USER};
use crate::fixture::{Gate, Upstream};
use serde_json::{Value, json};

const BODY: &str = r#"{"ssn":"999-12-3456","mrn":"A-1"}"#;

/// Writes the record and gives the token that the upstream got for the SSN.
async fn write(gate: &Gate, upstream: &Upstream) -> String {
    let reply = gate.as_client("clinician").put("/records/1", BODY).await;
    assert!(reply.status.is_success(), "{}", reply.text());
    upstream.take_all().pop().unwrap().json()["ssn"].as_str().unwrap().to_owned()
}

fn census(commands: &Commands, gate: &Gate) -> Vec<Value> {
    let said = commands.alone(&format!("keys census --json {}", gate.journal().display()), "").good();
    serde_json::from_str::<Value>(&said).unwrap()["keys"].as_array().unwrap().clone()
}

#[tokio::test]
async fn keys_are_rotated_revoked_and_shredded_under_a_gate_that_runs() {
    let postgres = Postgres::start().unwrap();
    let upstream = Upstream::start();
    let store = format!(
        "store: {{postgres: {{host: 127.0.0.1, port: {}, database: {DATABASE}, user: {USER}, password_file: password, \
         plaintext: true}}}}",
        postgres.port()
    );
    let mut commands = Commands::before(upstream.addr()).replace("store: {file: keys.redb}", &store);
    write_secret(&commands.file("password"), PASSWORD);
    commands.create("clinic", "lookup");
    let gate = commands.start();
    let admin = gate.admin;

    let old = write(&gate, &upstream).await;
    let said = commands.run("keys rotate --scope clinic --purpose field").good();
    assert!(said.contains("Running gates go over to it within 330 s"), "{said}");
    let purged = commands.alone(&format!("keys purge --admin {admin}"), "").good();
    assert_eq!(purged, format!("the gate at {admin} has dropped every key that it held\n"));
    let new = write(&gate, &upstream).await;
    assert_ne!(key_of(&old), key_of(&new));
    assert_eq!(commands.open(&format!("{old}\n{new}")).good(), "\"999-12-3456\"\n\"999-12-3456\"\n");
    assert_eq!(state(&commands, &key_of(&old)), "decrypt-only");

    let reply = gate.as_client("clinician").get("/records/1").await;
    assert_eq!(reply.text(), BODY.replace("A-1", "a-1"), "folded");
    let keys = census(&commands, &gate);
    let seen = |token: &str| keys.iter().find(|key| key["id"] == key_of(token)).unwrap_or_else(|| panic!("{keys:?}"));
    assert_eq!((&seen(&old)["exchanges"], &seen(&new)["exchanges"]), (&json!(1), &json!(2)));
    assert!(seen(&new)["first_at"].as_str() < seen(&new)["last_at"].as_str());
    assert!(seen(&new)["keks"][0].as_str().unwrap().starts_with("local:"));
    let table = commands.alone(&format!("keys census {}", gate.journal().display()), "").good();
    assert!(table.starts_with("ID  ") && table.lines().count() == keys.len() + 1, "{table}");

    commands.run(&format!("keys revoke {} --admin {admin}", key_of(&new))).good();
    let reply = gate.as_client("clinician").get("/records/1").await;
    reply.expect_problem(502, "response_unopenable");
    let third = write(&gate, &upstream).await;
    assert!(![key_of(&old), key_of(&new)].contains(&key_of(&third)), "the gate made another");

    let line = format!("keys shred --scope clinic --yes --admin {admin} --certificate gone.json");
    let said = commands.run(&line).good();
    assert!(said.contains("the gate on this machine has dropped its keys"), "{said}");
    gate.as_client("clinician").get("/records/1").await.expect_problem(502, "response_unopenable");
    assert_eq!(state(&commands, &key_of(&third)), "shredded");
    // But for the one that is made by hand.
    commands.create("clinic", "lookup");
    let fourth = write(&gate, &upstream).await;
    assert_eq!(commands.open(&fourth).good(), "\"999-12-3456\"\n", "new data has a new key");
    assert_eq!(census(&commands, &gate).len(), keys.len() + 3);
    let verified = commands.alone(&format!("audit verify {}", gate.journal().display()), "").good();
    assert!(verified.contains("the chain is whole"), "{verified}");
    commands.events();

    // A record that was changed ends the census.
    let journal = tempfile::tempdir().unwrap();
    let file = std::fs::read_dir(gate.journal()).unwrap().map(|entry| entry.unwrap().path());
    let file = file.into_iter().find(|path| path.extension().is_some_and(|end| end == "jsonl")).unwrap();
    let text = std::fs::read_to_string(&file).unwrap().replacen("clinician", "clinicians", 1);
    std::fs::write(journal.path().join(file.file_name().unwrap()), text).unwrap();
    let said = commands.alone(&format!("keys census {}", journal.path().display()), "");
    assert!(said.code == Some(1) && said.err.contains("is not counted"), "{said:?}");
}
