//! Another KEK takes over what was wrapped under an old one.

use super::{SSN, changed, key_of};
use crate::fixture::commands::{Commands, kek};
use crate::fixture::kms::{self, Fault, KeyState, Kms};
use crate::fixture::moto::Moto;
use jiff::Timestamp;
use sealgate::keyring::Keyring;
use sealgate::keyring::aws_kms::{AwsKms, KeyArn, Settings};
use sealgate::keyring::store::{self, KeyRow, keyset};
use sealgate::seal::Purpose;
use sealgate::seal::crypto::default_provider;
use sealgate::seal::{EncryptionContext, Scope};
use serde_json::json;
use std::collections::BTreeSet;
use std::thread::sleep;
use std::time::Duration;

const HOME: &str = kms::KEY;
const NEXT: &str = "arn:aws:kms:us-east-1:123456789012:key/22222222-2222-3333-4444-555555555555";
const ABROAD: &str = "arn:aws:kms:eu-west-1:123456789012:key/33333333-2222-3333-4444-555555555555";

fn commands(kms: &Kms) -> Commands {
    kms.add_key(NEXT);
    kms.add_key(ABROAD);
    Commands::new().with_kms(kms.addr(), HOME)
}

/// Makes NEXT the first KEK and HOME an old one, with ABROAD beside it if wanted.
fn take_over(commands: &Commands, kms: &Kms, abroad: bool) {
    let also = if abroad { format!("  also: [{{aws_kms: {}}}]\n", kek(kms.addr(), ABROAD)) } else { String::new() };
    let old = format!("  old: [{{aws_kms: {}}}]\n", kek(kms.addr(), HOME));
    commands.edit(
        &format!("  aws_kms: {}\n", kek(kms.addr(), HOME)),
        &format!("  aws_kms: {}\n{also}{old}", kek(kms.addr(), NEXT)),
    );
}

/// The KEKs of all keys that have any.
fn keks(commands: &Commands) -> BTreeSet<String> {
    let keks = commands.list().into_iter().map(|row| row["keks"].to_string());
    keks.filter(|keks| keks != "[]").collect()
}

#[test]
fn a_new_kek_takes_over_and_the_old_one_may_go() {
    let kms = Kms::start();
    let commands = commands(&kms);
    commands.create("clinic", "field");
    commands.create("clinic", "lookup");
    let tokens = commands.seal("ssn", SSN) + &commands.seal("mrn", "A-1");
    commands.run("keys rotate --scope clinic --purpose field").good();
    take_over(&commands, &kms, true);
    let opened = commands.open(&tokens).good();
    let decrypts = kms.count("Decrypt");
    let said = commands.run("keys rewrap");
    assert_eq!((said.code, said.err.as_str()), (Some(0), "3 of 3 keys\n"));
    assert!(said.out.ends_with("3 keys wrapped anew, 0 right already, 0 failed, 0 not tried\n"), "{}", said.out);
    // In its own region within KMS; another region takes the key in the clear; and each of the new forms is looked at.
    assert_eq!((kms.count("ReEncrypt"), kms.count("Decrypt") - decrypts, kms.count("Encrypt")), (3, 9, 3));
    let under = json!([format!("{NEXT} (first)"), format!("{ABROAD} (also)")]).to_string();
    assert_eq!(keks(&commands), BTreeSet::from([under]));
    let event = changed(&commands);
    assert_eq!((&event["change"], &event["count"]), (&json!("rewrap"), &json!(3)));
    let calls = event["keys"].as_array().unwrap();
    assert!(calls.len() == 9 && calls.iter().all(|call| call["kms_request_id"].is_string()), "{event}");

    kms.set_key(HOME, KeyState::PendingDeletion);
    assert_eq!(commands.open(&tokens).good(), opened);
    for key in [HOME, NEXT] {
        kms.set_key(key, KeyState::Disabled);
    }
    assert_eq!(commands.open(&tokens).good(), opened, "any one of them opens");
    let (calls, again) = (kms.calls(), commands.run("keys rewrap --scope clinic").good());
    assert!(again.ends_with("3 keys are wrapped as they should be\n"), "{again}");
    assert_eq!(kms.calls(), calls, "what is right is left alone");
}

#[test]
fn a_key_that_cannot_be_wrapped_anew_keeps_what_it_has() {
    let kms = Kms::start();
    let commands = commands(&kms);
    commands.create("clinic", "field");
    let token = commands.seal("ssn", SSN);
    take_over(&commands, &kms, false);
    let before = keks(&commands);
    kms.fail_key(NEXT, Fault::Denies);
    let said = commands.run("keys rewrap");
    assert_eq!(said.code, Some(1));
    assert!(said.out.contains("0 keys wrapped anew, 0 right already, 1 failed"), "{}", said.out);
    assert!(
        said.err.contains(&format!("key {}: ", key_of(&token))) && said.err.contains("AccessDenied"),
        "{}",
        said.err
    );
    assert_eq!(changed(&commands)["failed"], 1);
    assert_eq!(keks(&commands), before);
    kms.fail_key(NEXT, None);
    // KMS gives back another data key: seen only by who looks.
    kms.fail_operation("Decrypt", Fault::AnotherDataKey);
    let said = commands.run("keys rewrap");
    assert_eq!(said.code, Some(1));
    assert!(said.err.contains("another key"), "{}", said.err);
    assert_eq!(keks(&commands), before);
    kms.fail_operation("Decrypt", None);
    assert_eq!(commands.run("keys rewrap").code, Some(0));
    assert_ne!(keks(&commands), before);
    assert_eq!(commands.open(&token).good(), format!("\"{SSN}\"\n"));
}

/// Rows of keys under HOME, one for each scope.
fn many(kms: &Kms, count: usize) -> Vec<KeyRow> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let settings = Settings {
        key_arn: KeyArn::parse(HOME).unwrap(),
        endpoint_url: Some(format!("http://{}", kms.addr())),
        ca_pem: None,
    };
    let kek = AwsKms::with_credentials(default_provider(), &settings, "test", "test").unwrap();
    let row = |number: usize| {
        let scope = Scope::parse(&format!("scope-{number}")).unwrap();
        let context = EncryptionContext { scope, purpose: Purpose::Field };
        let made = runtime.block_on(Keyring::generate_data_key(&kek, context)).unwrap();
        let now = Timestamp::now();
        KeyRow {
            commitment: made.key.commitment(default_provider()).unwrap(),
            scope,
            purpose: Purpose::Field,
            state: store::KeyState::Active,
            edks: made.edks,
            created_at: now,
            changed_at: now,
        }
    };
    (0..count).map(row).collect()
}

#[test]
fn a_kill_in_the_middle_leaves_each_key_whole_and_the_next_run_goes_on() {
    const COUNT: usize = 24;
    let kms = Kms::start();
    let commands = commands(&kms);
    commands.run("keys init").good();
    commands.run_with("keys import -", keyset::write(&many(&kms, COUNT))).good();
    take_over(&commands, &kms, false);
    kms.answer_after(Duration::from_millis(300));
    let mut child = commands.spawn("keys rewrap");
    let new = || commands.list().iter().filter(|row| row["keks"][0] == format!("{NEXT} (first)")).count();
    // The first ones are done once more than eight have been asked for.
    for _ in 0..6000 {
        if kms.count("ReEncrypt") > 9 {
            break;
        }
        sleep(Duration::from_millis(10));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    kms.answer_after(Duration::ZERO);
    let done = new();
    assert!(done > 0 && done < COUNT, "{done}");
    let asked = kms.count("ReEncrypt");
    let said = commands.run("keys rewrap");
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.out.contains(&format!("{} keys wrapped anew, {done} right already", COUNT - done)), "{}", said.out);
    assert_eq!(kms.count("ReEncrypt") - asked, u64::try_from(COUNT - done).unwrap());
    assert_eq!(new(), COUNT);
    assert_eq!(commands.events_named("KeyChangeIntended").len(), 3, "the import, and both runs");
}

#[test]
fn keys_are_wrapped_anew_where_the_wire_is_that_of_aws() {
    let moto = Moto::start().unwrap();
    let [one, two] = [(); 2].map(|()| moto.create_key());
    let commands = Commands::new().with_kms(moto.addr(), &one);
    commands.create("clinic", "field");
    let token = commands.seal("ssn", SSN);
    let old = format!("  old: [{{aws_kms: {}}}]\n", kek(moto.addr(), &one));
    let first = format!("  aws_kms: {}\n", kek(moto.addr(), &one));
    commands.edit(&first, &format!("  aws_kms: {}\n{old}", kek(moto.addr(), &two)));
    assert_eq!(commands.run("keys rewrap").code, Some(0));
    commands.edit(&old, "");
    assert_eq!(keks(&commands), BTreeSet::from([json!([format!("{two} (first)")]).to_string()]));
    assert_eq!(commands.open(&token).good(), format!("\"{SSN}\"\n"), "without the old one");
}
