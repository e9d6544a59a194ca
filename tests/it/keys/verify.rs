//! Whether every form of every key opens, told before the day on which it is needed.

use super::recover::ceremony;
use super::{SSN, changed};
use crate::fixture::commands::{Commands, kek};
use crate::fixture::kms::{self, Fault, KeyState, Kms};
use sealgate::keyring::store::{KeyRow, KeyState as State, keyset};
use serde_json::{Value, json};
use std::fs;

const HOME: &str = kms::KEY;
const ABROAD: &str = "arn:aws:kms:eu-west-1:123456789012:key/33333333-2222-3333-4444-555555555555";

/// Keys under a KEK of each of two regions.
fn two_regions() -> (Kms, Commands) {
    let kms = Kms::start();
    kms.add_key(ABROAD);
    let commands = Commands::new().with_kms(kms.addr(), HOME);
    let first = format!("  aws_kms: {}\n", kek(kms.addr(), HOME));
    commands.edit(&first, &format!("{first}  also: [{{aws_kms: {}}}]\n", kek(kms.addr(), ABROAD)));
    (kms, commands)
}

fn also_recovery(commands: &Commands) {
    ceremony(commands);
    commands.edit("  also: [", "  also: [{recovery: {public_key_file: recovery-public.pem}}, ");
}

/// `keys verify` as JSON, and how it ended.
fn verified(commands: &Commands) -> (Option<i32>, Value) {
    let said = commands.run("keys verify --json");
    (said.code, serde_json::from_str(&said.out).unwrap())
}

/// The outcome of each form of a key, in the order of its KEKs.
fn outcomes(forms: &Value) -> Vec<&str> {
    forms.as_array().unwrap().iter().map(|form| form["outcome"].as_str().unwrap()).collect()
}

#[test]
fn every_form_of_every_key_is_unwrapped_and_nothing_is_changed() {
    let (kms, commands) = two_regions();
    also_recovery(&commands);
    for purpose in ["field", "lookup"] {
        commands.create("clinic", purpose);
    }
    commands.run("keys rotate --scope clinic --purpose field").good();
    commands.create("other", "lookup");
    commands.run_with("keys shred --scope other --yes", "").code.unwrap();
    let before = commands.run("keys export").good();
    let decrypts = kms.count("Decrypt");
    let said = commands.run("keys verify").good();
    assert_eq!(kms.count("Decrypt") - decrypts, 2 * 3 + 2, "each form under its KEK, and a throw-away key");
    assert!(said.ends_with("4 of 4 keys open by every form that can be checked here\n"), "{said}");
    let line = |start: &str| {
        let line = said.lines().find(|line| line.starts_with(start)).unwrap_or_else(|| panic!("{said}"));
        line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).map(str::to_owned).collect::<Vec<_>>()
    };
    for (arn, role) in [(HOME, "first"), (ABROAD, "also")] {
        assert_eq!(line(arn), [&format!("{arn} ({role})"), "opens", "3", "0", "0", "0"]);
    }
    assert_eq!(line("recovery:")[1..], ["not checked: offline", "0", "0", "0", "3"], "never counted as good");
    let (code, told) = verified(&commands);
    assert_eq!((code, &told["good"], &told["untried"]), (Some(0), &json!(true), &json!(0)));
    assert_eq!(outcomes(&told["new_key"]), ["opens", "offline", "opens"]);
    let keys = told["keys"].as_array().unwrap();
    let forms = keys.iter().filter(|key| key["state"] != "shredded").map(|key| outcomes(&key["forms"]));
    assert!(forms.clone().count() == 3 && forms.into_iter().all(|forms| forms == ["opens", "offline", "opens"]));
    assert_eq!(commands.run("keys export").good(), before);

    let event = changed(&commands);
    assert_eq!((&event["change"], &event["count"], &event["failed"]), (&json!("verify"), &json!(4), &Value::Null));
    let calls = event["keys"].as_array().unwrap();
    assert!(calls.len() == 6 && calls.iter().all(|call| call["kms_request_id"].is_string()), "{event}");
    let intended = commands.events_named("KeyChangeIntended").pop().unwrap();
    assert_eq!((&intended["operation"], &intended["count"]), (&event["operation"], &json!(4)));
    let only = commands.run("keys verify --scope other").good();
    assert!(only.ends_with("1 of 1 keys open by every form that can be checked here\n"), "{only}");
}

#[test]
fn a_second_kek_that_does_not_open_is_found_while_the_first_one_does() {
    let (kms, commands) = two_regions();
    commands.create("clinic", "field");
    let token = commands.seal("ssn", SSN);
    kms.set_key(ABROAD, KeyState::Disabled);
    assert_eq!(commands.open(&token).good(), format!("\"{SSN}\"\n"), "nobody notices");
    let said = commands.run("keys verify");
    assert_eq!(said.code, Some(1));
    assert_eq!(said.err.matches("DisabledException").count(), 2, "the key, and a new one: {}", said.err);
    assert!(said.err.lines().all(|line| line.contains(ABROAD)), "{}", said.err);
    assert!(said.out.ends_with("0 of 1 keys open by every form that can be checked here\n"), "{}", said.out);
    assert_eq!(changed(&commands)["failed"], 1);
    assert!(changed(&commands)["cause"].as_str().unwrap().contains("DisabledException"));
    let (code, told) = verified(&commands);
    assert_eq!((code, &told["good"]), (Some(1), &json!(false)));
    assert_eq!(outcomes(&told["keys"][0]["forms"]), ["opens", "failed"]);
    assert_eq!(outcomes(&told["new_key"]), ["opens", "failed"]);
    kms.set_key(ABROAD, KeyState::Enabled);
    assert_eq!(verified(&commands).0, Some(0));
    // A role that may wrap and not unwrap, as inline tokens have it without any row: only the try tells.
    commands.edit("store: {file: keys.redb}", "cache: {}");
    commands.edit("  ssn: {placement: stored, ", "  ssn: {");
    commands.edit("  mrn: {suite: deterministic, fold_case: true}\n", "  mrn: {}\n");
    commands.edit("  count: {suite: deterministic, type: number}\n", "");
    commands.edit("  phone: {suite: format, alphabet: digits}\n", "");
    commands.run("keys verify").good();
    kms.fail_operation("Decrypt", Fault::Denies);
    let said = commands.run("keys verify");
    assert_eq!((said.code, said.err.matches("AccessDeniedException").count()), (Some(1), 2), "{}", said.err);
}

#[test]
fn a_spoiled_second_form_is_found() {
    let (_kms, commands) = two_regions();
    commands.create("clinic", "field");
    let token = commands.seal("ssn", SSN);
    commands.run("keys rotate --scope clinic --purpose field").good();
    // Each has the second form of the other: both are wrapped for the same context, and unwrap to the wrong key.
    let mut rows: Vec<KeyRow> = keyset::read(&commands.run("keys export").good()).unwrap();
    let (one, other) = rows.split_at_mut(1);
    std::mem::swap(&mut one[0].edks[1], &mut other[0].edks[1]);
    fs::remove_file(commands.file("keys.redb")).unwrap();
    commands.run("keys init").good();
    // One form of each opens, which is what an import looks at.
    commands.run_with("keys import -", keyset::write(&rows)).good();
    assert_eq!(commands.open(&token).good(), format!("\"{SSN}\"\n"), "nobody notices");
    let said = commands.run("keys verify");
    assert_eq!(said.code, Some(1));
    for row in &rows {
        let found = format!("key {} of the store: under {ABROAD} (also): ", row.id());
        let line = said.err.lines().find(|line| line.starts_with(&found)).unwrap_or_else(|| panic!("{}", said.err));
        assert!(line.ends_with("it does not match the commitment"), "{line}");
    }
    assert_eq!(said.err.lines().count(), 2, "{}", said.err);
}

#[test]
fn a_form_that_is_missing_is_found_and_a_revoked_key_is_looked_at() {
    let (kms, commands) = two_regions();
    let also = format!("  also: [{{aws_kms: {}}}]\n", kek(kms.addr(), ABROAD));
    commands.edit(&also, "");
    let id = commands.create("clinic", "field");
    commands.run(&format!("keys revoke {id}")).good();
    let first = format!("  aws_kms: {}\n", kek(kms.addr(), HOME));
    commands.edit(&first, &format!("{first}{also}"));
    let said = commands.run("keys verify");
    let missing = format!("key {id} of the store: under {ABROAD} (also): is missing; run `sealgate keys rewrap`\n");
    assert_eq!((said.code, said.err), (Some(1), missing));
    assert_eq!(commands.run("keys rewrap").code, Some(0));
    commands.run("keys verify").good();
    // One that only a recovery key could open is not good: nobody here has seen it open.
    let mut rows = keyset::read(&commands.run("keys export").good()).unwrap();
    also_recovery(&commands);
    commands.run("keys rewrap");
    rows[0] = keyset::read(&commands.run("keys export").good()).unwrap().remove(0);
    assert_eq!(rows[0].state, State::Revoked);
    rows[0].edks.retain(|edk| edk.blob.len() != 184);
    fs::remove_file(commands.file("keys.redb")).unwrap();
    commands.run("keys init").good();
    commands.run_with("keys import - --unverified", keyset::write(&rows)).good();
    let (code, told) = verified(&commands);
    assert_eq!((code, outcomes(&told["keys"][0]["forms"])), (Some(1), vec!["offline", "missing", "missing"]));
}

#[test]
fn keys_of_a_keyset_file_are_looked_at_too() {
    let (kms, commands) = two_regions();
    commands.edit("store: {file: keys.redb}", "keyset_file: keys.json");
    commands.edit("  ssn: {placement: stored, ", "  ssn: {");
    let line = format!("keys create --scope clinic --purpose lookup --keyset {}", commands.path("keys.json"));
    commands.run(&line).good();
    let before = fs::read(commands.file("keys.json")).unwrap();
    let (code, told) = verified(&commands);
    assert_eq!((code, &told["keys"][0]["in"]), (Some(0), &json!("keyset")));
    kms.set_key(ABROAD, KeyState::PendingDeletion);
    let said = commands.run("keys verify");
    assert_eq!(said.code, Some(1));
    assert!(said.err.contains(" of the keyset: under ") && said.err.contains("KMSInvalidState"), "{}", said.err);
    assert_eq!(fs::read(commands.file("keys.json")).unwrap(), before);
}
