//! What a token tells without a key, and what one that is broken is called.

use super::{SSN, seal};
use crate::fixture::bed::forged;
use crate::fixture::commands::Commands;
use serde_json::{Value, json};

#[test]
fn a_token_tells_what_it_is_and_nothing_of_its_value() {
    let commands = Commands::new();
    commands.create("clinic", "lookup");
    let (ssn, note, mrn) = (seal(&commands, "ssn", SSN), seal(&commands, "note", SSN), seal(&commands, "mrn", SSN));
    let inspect = |token: &str| -> Value {
        let said = commands.alone(&format!("inspect --json {token}"), "").good();
        serde_json::from_str(&said).unwrap()
    };
    let stored = inspect(&ssn);
    for (name, expect) in [
        ("version", json!(1)),
        ("suite", json!("random")),
        ("purpose", json!("field")),
        ("placement", json!("stored")),
        ("class", json!("ssn")),
        ("scope", json!("clinic")),
        ("characters", json!(ssn.len())),
        ("value_at_most", json!(SSN.len())),
    ] {
        assert_eq!(stored[name], expect, "{name}");
    }
    let ids: Vec<Value> = commands.list().iter().map(|row| row["id"].clone()).collect();
    assert!(ids.contains(&stored["key_id"]), "{ids:?}");
    assert_eq!(stored["salt"].as_str().unwrap().len(), 16);
    assert_eq!(inspect(&mrn)["suite"], "deterministic");
    let inline = inspect(&note);
    assert_eq!(inline["commitment"].as_str().unwrap().get(..32), inline["key_id"].as_str());
    assert!(inline["kek"][0].as_str().unwrap().starts_with("unknown, tag "), "{inline}");

    let named = commands.run_with("inspect -", format!(" {note}\n")).good();
    let kek = named.lines().find(|line| line.starts_with("kek ")).unwrap();
    assert!(kek.contains("local:") && kek.ends_with("(first), 60 bytes"), "{kek}");
    assert!(!named.contains(SSN));
}

#[test]
fn a_broken_token_has_a_stable_name() {
    let commands = Commands::new();
    let note = seal(&commands, "note", SSN);
    let with = |at: usize, byte: u8| forged(&note, |bytes| bytes[at] = byte);
    for (token, expect) in [
        ("hello".to_owned(), "token_not_canonical"),
        (note.to_uppercase(), "token_not_canonical"),
        (note.replacen("sgv1.A", "sgv1.+", 1), "token_not_canonical"),
        (note.get(..65).unwrap().to_owned(), "token_truncated"),
        (note.replace("sgv1.", "sgv2."), "token_version_unknown"),
        (with(0, 2), "token_version_unknown"),
        (with(1, 0xf1), "token_suite_unknown"),
        (with(1, 0x13), "token_suite_unknown"),
        (with(3, b' '), "token_malformed"),
    ] {
        let complaint = commands.alone(&format!("inspect {token}"), "").failed(1);
        assert!(complaint.starts_with(&format!("{expect}: ")), "{complaint}");
    }
}
