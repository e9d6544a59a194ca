//! Attachments from the command line: whole or not there at all.

use super::last;
use crate::fixture::commands::Commands;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use std::fs;
use std::io::Write;
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

/// However the command ends, nothing is left of what it had written.
#[test]
fn a_signal_in_the_middle_leaves_nothing() {
    let commands = Commands::new();
    commands.run("keys init").good();
    // More than a pipe holds: once it is written, some of it was read and opened.
    let plain: Vec<u8> = (0..400_000_u32).map(|number| u8::try_from(number % 251).unwrap()).collect();
    commands.run_with("seal --reason test --scope clinic --class note --stream --output sealed", &plain).good();
    let sealed = fs::read(commands.file("sealed")).unwrap();
    let count = || fs::read_dir(commands.folder()).unwrap().count();
    let before = count();
    for (line, input) in [
        ("open --reason test --stream --output cut", &sealed),
        ("seal --reason test --scope clinic --class note --stream --output cut", &plain),
    ] {
        for signal in [Signal::TERM, Signal::INT] {
            let mut child = commands.spawn(line);
            let mut stdin = child.stdin.take().unwrap();
            stdin.write_all(input.get(..390_000).unwrap()).unwrap();
            kill_process(Pid::from_child(&child), signal).unwrap();
            assert!(!child.wait().unwrap().success(), "{line} {signal:?}");
            assert_eq!(count(), before, "{line} {signal:?}: {:?}", fs::read_dir(commands.folder()).unwrap());
        }
    }
    commands.run_with("open --reason test --stream --output whole", &sealed).good();
    assert!(fs::read(commands.file("whole")).unwrap() == plain);
}
