//! Attachments from the command line: whole or not there at all.

use super::last;
use crate::fixture::commands::Commands;
use serde_json::json;
use std::fs;
use std::os::unix::fs::PermissionsExt;

/// Three segments and a bit.
fn attachment() -> Vec<u8> {
    (0..200_001_u32).map(|number| u8::try_from(number % 251).unwrap()).collect()
}

#[test]
fn an_attachment_comes_back_and_a_cut_one_leaves_nothing() {
    let commands = Commands::new();
    commands.run("keys init").good();
    for class in ["note", "ssn"] {
        let (sealed, opened) = (format!("{class}.sealed"), format!("{class}.opened"));
        let seal = format!("seal --reason test --scope clinic --class {class} --stream --output {sealed}");
        commands.run_with(&seal, attachment()).good();
        let bytes = fs::read(commands.file(&sealed)).unwrap();
        let open = |name: &str, bytes: &[u8]| {
            commands.run_with(&format!("open --reason test --stream --output {name}"), bytes)
        };
        open(&opened, &bytes).good();
        assert!(fs::read(commands.file(&opened)).unwrap() == attachment());
        let mode = fs::metadata(commands.file(&opened)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(last(&commands, "ValuesOpened")["fields"], json!([{"class": class, "action": "plain", "count": 1}]));
        let told = commands.alone(&format!("inspect --json --stream {sealed}"), "").good();
        assert!(
            told.contains("\"suite\":\"stream\"") && told.contains(&format!("\"bytes\":{}", bytes.len())),
            "{told}"
        );

        assert!(open(&opened, &bytes).failed(1).contains("is there already"));
        let before = fs::read_dir(commands.folder()).unwrap().count();
        for cut in [bytes.len() - 1, bytes.len() - 30_000, 70_000, 300] {
            let complaint = open("cut", bytes.get(..cut).unwrap()).failed(1);
            assert!(
                complaint.starts_with("token_unauthentic") || complaint.starts_with("token_truncated"),
                "{complaint}"
            );
            assert!(last(&commands, "OperationRefused")["code"].is_string());
        }
        let mut changed = bytes.clone();
        changed[100_000] ^= 1;
        open("cut", &changed).failed(1);
        assert_eq!(fs::read_dir(commands.folder()).unwrap().count(), before, "no part of it is left");
    }
    assert_eq!(commands.run("open --reason test --stream").code, Some(64));
    let refused = commands.run_with("seal --reason test --scope clinic --class mrn --stream --output x", "x").failed(1);
    assert!(refused.contains("suite random"), "{refused}");
    let sealed = fs::read(commands.file("note.sealed")).unwrap();
    commands.edit("roles: [all], scopes", "roles: [masked], scopes");
    let refused = commands.run_with("open --reason test --stream --output masked", &sealed).failed(1);
    assert!(refused.starts_with("class_denied"), "{refused}");
}
