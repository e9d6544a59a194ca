//! The life of a data key by the commands that work on it, with what it sealed beside it.

mod drill;
mod recover;
mod restore;
mod rewrap;
mod rotate;
mod shred;
mod verify;

use crate::fixture::commands::Commands;
use sealgate::keyring::store::keyset;
use sealgate::seal::Token;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;

const SSN: &str = "999-12-3456";

/// The id of the key that a token names.
fn key_of(token: &str) -> String {
    Token::read(token.trim_end().as_bytes()).unwrap().head().key_id.to_string()
}

/// What `keys list` says of a key.
fn row(commands: &Commands, id: &str) -> Value {
    commands.list().into_iter().find(|row| row["id"] == id).unwrap_or_else(|| panic!("no key {id}"))
}

fn state(commands: &Commands, id: &str) -> String {
    row(commands, id)["state"].as_str().unwrap().to_owned()
}

/// The last record of what became of a change.
fn changed(commands: &Commands) -> Value {
    commands.events_named("KeysChanged").pop().unwrap()
}

#[test]
fn a_store_that_is_not_there_is_made_by_its_own_command_alone() {
    let commands = Commands::new();
    let missing = "is not there; if it is to be a new one, make it with `sealgate keys init`\n";
    fs::write(commands.file("keys.json"), keyset::write(&[])).unwrap();
    for line in [
        "keys list",
        "keys export",
        "keys create --scope clinic --purpose field",
        "keys rotate --scope clinic --purpose field",
        "keys rewrap",
        "keys import keys.json",
    ] {
        let complaint = commands.run(line).failed(1);
        assert!(complaint.ends_with(missing), "{line}: {complaint}");
    }
    let complaint = commands.run_with("seal --reason test --class ssn --scope clinic", SSN).failed(1);
    assert!(complaint.ends_with(missing), "{complaint}");
    assert!(!commands.file("keys.redb").exists());
    assert!(commands.run("keys init").good().ends_with("keys.redb: there, without a key\n"));
    commands.create("clinic", "field");
    assert!(commands.run("keys init").good().ends_with("keys.redb: there\n"));
    assert_eq!(commands.list().len(), 1, "it is not made anew");
}

#[test]
fn a_key_is_made_once_told_of_and_on_record_twice() {
    let commands = Commands::new();
    let id = commands.create("clinic", "field");
    let again = commands.run("keys create --scope clinic --purpose field").failed(1);
    assert!(again.contains(&format!("key {id} of scope clinic for field is active in")), "{again}");
    commands.create("other", "lookup");
    assert_eq!(commands.list().len(), 2);
    let told = row(&commands, &id);
    assert_eq!(
        (&told["scope"], &told["purpose"], &told["state"]),
        (&json!("clinic"), &json!("field"), &json!("active"))
    );
    assert_eq!(told["in"], "store");
    let kek = told["keks"][0].as_str().unwrap();
    assert!(kek.starts_with("local:") && kek.ends_with(" (first)"), "{kek}");
    let table = commands.run("keys list --scope clinic").good();
    assert_eq!(table.lines().count(), 2, "{table}");
    assert!(table.starts_with("ID  ") && table.contains(&id), "{table}");

    let intended = &commands.events_named("KeyChangeIntended")[0];
    let done = &commands.events_named("KeysChanged")[0];
    assert_eq!((&intended["change"], &intended["ids"]), (&json!("create"), &json!([])));
    assert_eq!((&done["ids"], &done["count"], &done["scope"]), (&json!([id]), &json!(1), &json!("clinic")));
    assert_eq!(
        (&done["operation"], &done["uid"]),
        (&intended["operation"], &json!(rustix::process::getuid().as_raw()))
    );
    assert_eq!(done["keys"][0]["id"], json!(id));
    for line in
        ["keys create --scope cl√nic --purpose field", "keys create --scope clinic --purpose all", "keys revoke 12"]
    {
        assert_eq!(commands.run(line).code, Some(64), "{line}");
    }
}

#[test]
fn a_new_key_seals_and_the_old_one_opens() {
    let commands = Commands::new();
    let first = commands.create("clinic", "field");
    let old = commands.seal("ssn", SSN);
    assert_eq!(key_of(&old), first);
    commands.run("keys rotate --scope clinic --purpose field").good();
    assert_eq!(state(&commands, &first), "decrypt-only");
    let new = commands.seal("ssn", SSN);
    let second = key_of(&new);
    assert_ne!(second, first);
    assert_eq!(changed(&commands)["ids"], json!([second]));
    assert_eq!(commands.open(&(old + &new)).good(), format!("\"{SSN}\"\n\"{SSN}\"\n"));
    let none = commands.run("keys rotate --scope other --purpose field").failed(1);
    assert!(none.contains("make one with `sealgate keys create`"), "{none}");
}

#[test]
fn keys_that_decide_what_is_equal_are_not_rotated_in_passing() {
    let commands = Commands::new();
    commands.create("clinic", "format");
    commands.create("clinic", "lookup");
    let refused = commands.run("keys rotate --scope clinic --purpose format").failed(1);
    assert!(refused.starts_with("a format key is for life"), "{refused}");
    let line = "keys rotate --scope clinic --purpose lookup";
    assert!(commands.run(line).failed(1).contains("--accept-new-tokens"));
    let old = commands.seal("mrn", "A-1");
    assert_eq!(commands.seal("mrn", "A-1"), old);
    commands.run(&format!("{line} --accept-new-tokens")).good();
    let new = commands.seal("mrn", "A-1");
    assert_ne!(new, old);
    assert_eq!(commands.open(&(old + &new)).good(), "\"a-1\"\n\"a-1\"\n");
}

#[test]
fn a_revoked_key_opens_nothing_until_that_is_undone() {
    let commands = Commands::new();
    let id = commands.create("clinic", "field");
    let token = commands.seal("ssn", SSN);
    let said = commands.run(&format!("keys revoke {id}")).good();
    assert!(said.contains("it was the active one") && said.contains("was not reached"), "{said}");
    assert_eq!(state(&commands, &id), "revoked");
    let refused = commands.open(&token);
    assert_eq!((refused.code, refused.out.as_str()), (Some(1), "null\n"));
    assert!(refused.err.contains("token_key_revoked"), "{}", refused.err);
    assert!(commands.run(&format!("keys revoke {id}")).failed(1).ends_with("is revoked\n"));
    commands.run(&format!("keys revoke {id} --undo")).good();
    assert_eq!(state(&commands, &id), "decrypt-only");
    assert_eq!(commands.open(&token).good(), format!("\"{SSN}\"\n"));
    assert_ne!(key_of(&commands.seal("ssn", SSN)), id);
    assert_eq!(changed(&commands)["change"], "restore");
    let unknown = "00112233445566778899aabbccddeeff";
    assert!(commands.run(&format!("keys revoke {unknown}")).failed(1).contains("has no key"));
}

#[test]
fn an_export_restores_a_lost_store() {
    let commands = Commands::new();
    for purpose in ["field", "lookup", "format"] {
        commands.create("clinic", purpose);
    }
    let before = commands.seal("ssn", SSN);
    commands.run("keys rotate --scope clinic --purpose field").good();
    let tokens = [before, commands.seal("ssn", SSN), commands.seal("mrn", "A-1")].concat();
    let opened = commands.open(&tokens).good();
    let export = commands.run("keys export").good();
    assert_eq!(keyset::read(&export).unwrap().len(), 4);
    let rows = commands.list();

    fs::remove_file(commands.file("keys.redb")).unwrap();
    assert_eq!(commands.open(&tokens).code, Some(1), "all is lost");
    fs::write(commands.file("keys.json"), &export).unwrap();
    commands.run("keys init").good();
    let said = commands.run("keys import keys.json").good();
    assert!(
        said.ends_with("4 added, 0 added as decrypt-only, 0 there already, 0 there with another content\n"),
        "{said}"
    );
    assert_eq!(commands.list(), rows);
    assert_eq!(commands.open(&tokens).good(), opened);
    assert_eq!(commands.seal("mrn", "A-1"), tokens.lines().last().unwrap().to_owned() + "\n");

    let said = commands.run_with("keys import -", &export).good();
    assert!(said.contains("0 added, 0 added as decrypt-only, 4 there already"), "{said}");
    let active = rows.iter().find(|row| row["purpose"] == "field" && row["state"] == "active").unwrap()["id"].clone();
    commands.run(&format!("keys revoke {}", active.as_str().unwrap())).good();
    let said = commands.run_with("keys import -", &export);
    assert_eq!(said.code, Some(1));
    assert!(said.out.contains("3 there already, 1 there with another content"), "{}", said.out);
    assert_eq!(said.err, format!("key {} is there with another content, which stays\n", active.as_str().unwrap()));
    assert_eq!(state(&commands, active.as_str().unwrap()), "revoked");
    let broken = commands.run_with("keys import -", export.replace("active", "live")).failed(1);
    assert!(broken.starts_with("-: keyset: key "), "{broken}");
}

#[test]
fn a_keyset_file_holds_the_keys_that_live_long() {
    let commands = Commands::new().replace("store: {file: keys.redb}", "keyset_file: keys.json");
    commands.edit("  ssn: {placement: stored, ", "  ssn: {");
    let complaint = commands.run("keys list").failed(78);
    assert!(complaint.contains("keyring.keyset_file"), "the gate would not start without it: {complaint}");
    let file = commands.path("keys.json");
    let create =
        |purpose: &str| commands.run(&format!("keys create --scope clinic --purpose {purpose} --keyset {file}"));
    let complaint = commands.run("keys create --scope clinic --purpose lookup").failed(1);
    assert!(complaint.contains("no keyring.store"), "{complaint}");
    create("lookup").good();
    assert!(create("lookup").failed(1).contains("is active in"), "one of a kind");
    create("format").good();
    assert_eq!(create("field").code, Some(64));
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o644);
    assert_eq!(keyset::read(&fs::read_to_string(&file).unwrap()).unwrap().len(), 2);
    let token = commands.seal("mrn", "A-1");
    assert_eq!(commands.seal("mrn", "a-1"), token);
    let phone = commands.seal("phone", "5550109999");
    let opened = commands.run_with("open --reason test --class phone --scope clinic", &phone).good();
    assert_eq!(opened, "\"5550109999\"\n");
    let id = key_of(&token);
    assert_eq!(row(&commands, &id)["in"], "keyset");
    let line = format!("keys rotate --scope clinic --purpose lookup --accept-new-tokens --keyset {file}");
    commands.run(&line).good();
    assert_eq!(state(&commands, &id), "decrypt-only");
    assert_ne!(commands.seal("mrn", "A-1"), token);
    assert_eq!(commands.open(&token).good(), "\"a-1\"\n");
    commands.run(&format!("keys revoke {id} --keyset {file}")).good();
    assert!(commands.open(&token).err.contains("token_key_revoked"));
    let names = fs::read_dir(commands.folder()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let left: Vec<String> = names.filter(|name| name.starts_with("keys.")).collect();
    assert_eq!(left, ["keys.json"], "no half file is left");

    // With a store as well, a lookup key of its own would be hidden.
    commands.edit("keyset_file: keys.json", "keyset_file: keys.json\n  store: {file: keys.redb}");
    commands.run("keys init").good();
    let hidden = commands.run("keys create --scope clinic --purpose lookup").failed(1);
    assert!(hidden.contains("keys.json already"), "{hidden}");
    commands.create("other", "lookup");
    let hidden = commands.run(&format!("keys create --scope other --purpose lookup --keyset {file}")).failed(1);
    assert!(hidden.contains("keys.redb already"), "{hidden}");
}

#[test]
fn a_store_that_a_gate_has_open_is_not_worked_on() {
    let upstream = crate::fixture::Upstream::start();
    let mut commands = Commands::before(upstream.addr());
    commands.create("clinic", "lookup");
    let note = commands.seal("note", "x");
    let _gate = commands.start();
    let complaint = commands.run("keys list").failed(69);
    assert!(
        complaint.ends_with("in use by another process; a gate that runs on a file store has to be stopped first\n")
    );
    assert_eq!(commands.open(&note).good(), "\"x\"\n", "what needs no store opens beside it");
}
