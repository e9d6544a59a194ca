//! Crypto-shredding: what is gone, what is kept to show for it, and when it is refused.

use super::{SSN, changed, state};
use crate::fixture::commands::Commands;
use data_encoding::HEXLOWER;
use jiff::Timestamp;
use sealgate::keyring::store::keyset;
use sealgate::seal::crypto::sha256;
use serde_json::{Value, json};
use std::fs;

const LINE: &str = "keys shred --scope clinic --yes --certificate gone.json";

#[test]
fn a_shredded_scope_opens_no_more_and_leaves_a_certificate() {
    let commands = Commands::new();
    let first = commands.create("clinic", "field");
    let other = commands.create("other", "field");
    commands.create("clinic", "lookup");
    let old = commands.seal("ssn", SSN);
    commands.run("keys rotate --scope clinic --purpose field").good();
    let tokens = old + &commands.seal("ssn", SSN) + &commands.seal("mrn", "A-1");
    let elsewhere = commands.run_with("seal --reason test --class ssn --scope other", SSN).good();
    let rows = keyset::read(&commands.run("keys export").good()).unwrap();
    let before = Timestamp::now();

    let refused = commands.run("keys shred --scope clinic").failed(1);
    assert!(refused.contains("--yes"), "it asks on a terminal alone: {refused}");
    assert_eq!(commands.open(&tokens).code, Some(0));
    let said = commands.run(LINE).good();
    assert!(said.starts_with("3 keys of scope clinic are destroyed in"), "{said}");
    assert!(said.contains("was not reached") && said.contains("exports and backups"), "{said}");

    let opened = commands.open(&tokens);
    assert_eq!((opened.code, opened.out.as_str()), (Some(1), "null\nnull\nnull\n"));
    assert_eq!(opened.err.matches("token_key_shredded").count(), 3, "{}", opened.err);
    assert_eq!(commands.open(&elsewhere).good(), format!("\"{SSN}\"\n"));
    assert_eq!((state(&commands, &first), state(&commands, &other)), ("shredded".to_owned(), "active".to_owned()));

    let certificate: Value = serde_json::from_slice(&fs::read(commands.file("gone.json")).unwrap()).unwrap();
    assert_eq!(certificate["format"], "sealgate-shred-certificate-1");
    assert_eq!((&certificate["scope"], &certificate["complete"]), (&json!("clinic"), &json!(true)));
    assert_eq!(certificate["by_uid"], rustix::process::getuid().as_raw());
    assert_eq!(certificate["gate_purged"], false);
    let keys = certificate["keys"].as_array().unwrap();
    assert_eq!(keys.len(), 3);
    for key in keys {
        let row = rows.iter().find(|row| row.id().to_string() == key["id"]).unwrap();
        let digest = HEXLOWER.encode(&sha256(&[keyset::write(std::slice::from_ref(row)).as_bytes()]));
        assert_eq!((&key["row_sha256"], &key["created_at"]), (&json!(digest), &json!(row.created_at.to_string())));
    }
    // 300 s and a tenth is the bound of the default settings.
    let until: Timestamp = certificate["in_memory_until"].as_str().unwrap().parse().unwrap();
    let seconds = until.duration_since(before).as_secs();
    assert!((330..330 + 120).contains(&seconds), "{seconds}");
    let event = changed(&commands);
    assert_eq!(
        (&event["change"], &event["count"], &event["operation"]),
        (&json!("shred"), &json!(3), &certificate["operation"])
    );

    let taken = commands.run(LINE).failed(1);
    assert!(taken.contains("gone.json") && taken.contains("nothing was changed"), "{taken}");
    commands.run("keys shred --scope clinic --yes --certificate again.json").good();
    let again: Value = serde_json::from_slice(&fs::read(commands.file("again.json")).unwrap()).unwrap();
    let hashes: Vec<&Value> = again["keys"].as_array().unwrap().iter().map(|key| &key["row_sha256"]).collect();
    assert_eq!(hashes, [&Value::Null; 3], "destroyed before");
    assert!(commands.run("keys shred --scope clinics --yes").failed(1).contains("no key of scope clinics"));
    assert_eq!(
        fs::read_dir(commands.folder())
            .unwrap()
            .filter(|entry| { entry.as_ref().unwrap().file_name().to_str().unwrap().starts_with("shred-") })
            .count(),
        0
    );
}

/// `script` of util-linux gives the command a terminal.
#[test]
fn at_a_terminal_the_scope_has_to_be_typed() {
    let commands = Commands::new();
    let id = commands.create("clinic", "field");
    for (typed, code, becomes) in [("yes\n", 1, "active"), ("clinic\n", 0, "shredded")] {
        let said = commands.at_terminal("keys shred --scope clinic --certificate gone.json", typed);
        assert_eq!(said.code, Some(code), "{said:?}");
        assert!(said.out.contains("This destroys 1 keys of scope clinic"), "{said:?}");
        assert_eq!(state(&commands, &id), becomes);
    }
    assert!(commands.file("gone.json").exists());
}

#[test]
fn a_scope_whose_tokens_carry_their_keys_is_not_shredded() {
    let commands = Commands::new();
    let id = commands.create("clinic", "field");
    commands.create("other", "field");
    commands.edit("{path: \"$.mrn\", class: mrn}", "{path: \"$.note\", class: note}");
    let refused = commands.run(LINE).failed(1);
    assert!(refused.contains("route record seals class note inline"), "{refused}");
    assert_eq!(state(&commands, &id), "active");
    // The route is of one scope, so that the other can be.
    commands.run("keys shred --scope other --yes --certificate other.json").good();
    commands.edit("    record: id\n", "    record: id\n    scope_from: {identity: true}\n");
    commands.run(LINE).failed(1);
    commands.edit("class: note}", "class: ssn}");
    commands.run(LINE).good();
}

#[test]
fn a_scope_with_keys_in_a_keyset_file_is_not_shredded() {
    let commands = Commands::new().replace("  store: {", "  keyset_file: keys.json\n  store: {");
    let id = commands.create("clinic", "field");
    commands.run("keys init").good();
    commands
        .run(&format!("keys create --scope clinic --purpose format --keyset {}", commands.path("keys.json")))
        .good();
    let refused = commands.run(LINE).failed(1);
    assert!(refused.contains("stands in keyset file"), "{refused}");
    assert_eq!(state(&commands, &id), "active");
}
