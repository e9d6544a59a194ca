//! The day on which KMS is gone for good: tokens open by the recovery key, and another KEK takes over.

use super::SSN;
use crate::fixture::commands::{Commands, kek};
use crate::fixture::kms::{self, KeyState, Kms};
use crate::fixture::pki::write_secret;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

/// A recovery key in the folder: `recovery.pem` and `recovery-public.pem`.
pub(super) fn ceremony(commands: &Commands) {
    let run = |arguments: &str| {
        let output = Command::new("openssl").args(arguments.split(' ')).output().expect("the openssl command");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    write_secret(&commands.file("recovery.pem"), &run("genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:3072"));
    let public = run(&format!("pkey -pubout -in {}", commands.path("recovery.pem")));
    fs::write(commands.file("recovery-public.pem"), public).unwrap();
}

#[test]
fn tokens_open_without_kms_and_another_kek_takes_over() {
    let kms = Kms::start();
    let commands = Commands::new().with_kms(kms.addr(), kms::KEY);
    ceremony(&commands);
    let first = format!("  aws_kms: {}\n", kek(kms.addr(), kms::KEY));
    commands.edit(&first, &format!("{first}  also: [{{recovery: {{public_key_file: recovery-public.pem}}}}]\n"));
    commands.create("clinic", "lookup");
    let bound = commands.run_with("seal --reason test --class note --scope clinic --bind id=17", "bound").good();
    let literal = commands
        .run_with("seal --reason test --class note --scope clinic --kind literal", "[1,\n2]".replace('\n', " "))
        .good();
    let tokens = commands.seal("ssn", SSN) + &commands.seal("mrn", "A-1") + &commands.seal("note", "über") + &literal;
    let opened = commands.open(&tokens).good();
    fs::write(commands.file("keys.json"), commands.run("keys export").good()).unwrap();
    kms.set_key(kms::KEY, KeyState::PendingDeletion);
    assert_eq!(commands.open(&tokens).code, Some(1));

    let recover = "keys recover --private-key recovery.pem --keyset keys.json";
    let said = commands.alone(recover, &tokens).good();
    let lines: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let values: Vec<&Value> = lines.iter().map(|line| &line["value"]).collect();
    assert_eq!(values, [&json!(SSN), &json!("a-1"), &json!("über"), &json!([1, 2])]);
    assert_eq!(
        (&lines[3]["kind"], &lines[0]["class"], &lines[0]["scope"]),
        (&json!("literal"), &json!("ssn"), &json!("clinic"))
    );
    assert_eq!(lines[0]["token_key"], super::key_of(tokens.lines().next().unwrap()));

    let said = commands.alone(&format!("{recover} --bind id=17"), &bound).good();
    assert!(said.contains("\"value\":\"bound\""), "{said}");
    let input = format!("{bound}x\n{}", commands_token_of_another_kek(&commands));
    let said = commands.alone(recover, &input);
    assert_eq!(said.code, Some(1));
    let errors: Vec<Value> =
        said.out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["error"].clone()).collect();
    assert_eq!(errors, ["token_unauthentic", "token_not_canonical", "token_key_rejected"]);
    let without = commands.alone("keys recover --private-key recovery.pem", tokens.lines().next().unwrap());
    assert!(without.out.contains("token_key_unknown"), "{}", without.out);

    // On record where a config says in which journal.
    let count = commands.events_named("ValuesOpened").len();
    commands.run_with(recover, &tokens).good();
    let events = commands.events_named("ValuesOpened");
    assert_eq!((events.len(), &events[count]["command"]), (count + 1, &json!("keys recover")));
    assert!(events[count]["keys"][0]["kek"].as_str().unwrap().starts_with("recovery:"));

    let exposed = fs::Permissions::from_mode(0o644);
    fs::set_permissions(commands.file("recovery.pem"), exposed).unwrap();
    assert!(commands.alone(recover, &tokens).failed(1).contains("chmod 600"));
    fs::set_permissions(commands.file("recovery.pem"), fs::Permissions::from_mode(0o600)).unwrap();
    assert!(commands.alone("keys recover --private-key recovery-public.pem", &tokens).code == Some(1));

    // To serve on: a new KEK first, the private half among the old ones.
    commands.edit(&first, "  local: {key_file: kek}\n  old: [{recovery: {private_key_file: recovery.pem}}]\n");
    commands.edit("  also: [{recovery: {public_key_file: recovery-public.pem}}]\n", "");
    assert_eq!(commands.run("keys rewrap").code, Some(0));
    assert_eq!(commands.open(&tokens).good(), opened);
    // Of stored keys the recovery key is not needed any more.
    commands.edit("  old: [{recovery: {private_key_file: recovery.pem}}]\n", "");
    assert_eq!(commands.open(tokens.lines().next().unwrap()).good(), format!("\"{SSN}\"\n"));
}

/// A token that only the local KEK opens.
fn commands_token_of_another_kek(commands: &Commands) -> String {
    let other = Commands::new();
    assert_ne!(other.folder(), commands.folder());
    other.seal("note", "x")
}

#[test]
fn attachments_and_values_of_a_format_are_recovered_too() {
    let commands = Commands::new();
    ceremony(&commands);
    let local = "  local: {key_file: kek}\n";
    commands.edit(local, &format!("{local}  also: [{{recovery: {{public_key_file: recovery-public.pem}}}}]\n"));
    commands.run("keys init").good();
    let id = commands.create("clinic", "format");
    commands.create("other", "format");
    let numbers = "(555) 010-0199\n415-555-2671\n";
    let sealed = commands.seal("phone", numbers);
    assert_ne!(sealed, numbers);
    let attachment: Vec<u8> = (0..150_000_u32).map(|number| u8::try_from(number % 251).unwrap()).collect();
    for class in ["note", "ssn"] {
        let seal = "seal --reason test --scope clinic --bind id=17 --stream";
        commands.run_with(&format!("{seal} --class {class} --output {class}.sealed"), &attachment).good();
    }
    fs::write(commands.file("keys.json"), commands.run("keys export").good()).unwrap();
    // On record where a config says in which journal.
    let recover = "keys recover --private-key recovery.pem --keyset keys.json";
    commands.run(&format!("{recover} --bind id=17 --stream note.sealed --output recorded")).good();
    commands.run_with(&format!("{recover} --class phone --scope clinic --alphabet digits"), &sealed).good();
    let events = commands.events_named("ValuesOpened");
    let fields: Vec<&Value> = events.iter().map(|event| &event["fields"]).collect();
    let note = json!([{"class": "note", "action": "plain", "count": 1}]);
    assert_eq!(fields, [&note, &json!([{"class": "phone", "action": "plain", "count": 2}])]);
    // No config, and nothing of the gate's but the rows.
    fs::remove_file(commands.file("kek")).unwrap();
    fs::remove_file(commands.file("keys.redb")).unwrap();
    let phone = "--class phone --scope clinic --alphabet digits";
    let said = commands.alone(&format!("{recover} {phone}"), &sealed).good();
    let lines: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!([&lines[0]["value"], &lines[1]["value"]], ["(555) 010-0199", "415-555-2671"]);
    let line = json!({"token_key": id, "class": "phone", "scope": "clinic", "kind": "text", "value": "(555) 010-0199"});
    assert_eq!(lines[0], line);
    let mixed = commands.alone(&format!("{recover} {phone}"), &format!("x\n{sealed}"));
    assert_eq!((mixed.code, mixed.out.lines().count()), (Some(1), 3));
    let first = format!("{{\"token_key\":\"{id}\",\"error\":\"value_format_mismatch\"}}");
    assert_eq!(mixed.out.lines().next().unwrap(), first);
    let elsewhere = phone.replace("clinic", "nowhere");
    assert!(commands.alone(&format!("{recover} {elsewhere}"), &sealed).failed(1).contains("scope nowhere"));
    for wrong in [
        "--class phone",
        "--class phone --scope clinic",
        "--alphabet digits",
        "--class phone --scope clinic --alphabet hex",
        "--class phone --scope clinic --alphabet digits --bind id=17",
        "--stream note.sealed",
        "--output opened",
    ] {
        commands.alone(&format!("{recover} {wrong}"), &sealed).failed(64);
    }

    for class in ["note", "ssn"] {
        let stream = format!("{recover} --stream {class}.sealed --output {class}.opened");
        assert!(commands.alone(&stream, "").failed(1).starts_with("token_unauthentic"), "it is bound");
        let said: Value = serde_json::from_str(&commands.alone(&format!("{stream} --bind id=17"), "").good()).unwrap();
        assert_eq!((&said["class"], &said["scope"]), (&json!(class), &json!("clinic")));
        assert!(fs::read(commands.file(&format!("{class}.opened"))).unwrap() == attachment);
    }
    // The key of one stands in it, that of the other in the rows.
    let bare = "keys recover --private-key recovery.pem --bind id=17 --stream";
    commands.alone(&format!("{bare} note.sealed --output again"), "").good();
    let refused = commands.alone(&format!("{bare} ssn.sealed --output none"), "").failed(1);
    assert!(refused.starts_with("token_key_unknown"), "{refused}");
    let cut = fs::read(commands.file("note.sealed")).unwrap();
    fs::write(commands.file("cut"), cut.get(..cut.len() - 1).unwrap()).unwrap();
    assert!(commands.alone(&format!("{bare} cut --output none"), "").failed(1).starts_with("token_unauthentic"));
    assert!(!commands.file("none").exists());
}
