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
