//! `open`, `seal` and `inspect`: what a user of the machine gets to see, and what stands on record of it.

mod inspect;
mod streams;

use crate::fixture::bed::forged;
use crate::fixture::commands::Commands;
use crate::fixture::kms::{self, Fault, Kms};
use serde_json::{Value, json};
use std::fs;

/// Values of which nothing may stand in an event or a complaint.
const SSN: &str = "999-12-3456";
const NOTE: &str = "Chalmers called";

fn seal(commands: &Commands, class: &str, value: &str) -> String {
    commands.seal(class, value).trim_end().to_owned()
}

/// The last event of that kind.
fn last(commands: &Commands, name: &str) -> Value {
    commands.events_named(name).pop().unwrap_or_else(|| panic!("no {name} in {:#?}", commands.events()))
}

#[test]
fn values_come_back_as_they_were_and_both_ways_are_on_record() {
    let commands = Commands::new();
    commands.run("keys init").good();
    commands.create("clinic", "format");
    commands.create("clinic", "lookup");
    let text = "O'Neil \u{1f600}\ttab \"quoted\"";
    let note = seal(&commands, "note", text);
    let ssn = seal(&commands, "ssn", SSN);
    assert!(ssn.len() < note.len(), "a stored key is not in the token");
    let mrn = seal(&commands, "mrn", "AbC-1");
    assert_eq!(seal(&commands, "mrn", "aBc-1"), mrn, "folded");
    let opened = commands.open(&format!("{note}\n{ssn}\r\n{mrn}\n")).good();
    let opened: Vec<Value> = opened.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(opened, [json!(text), json!(SSN), json!("abc-1")]);

    let literals = "42\n-1.50\ntrue\n[1, {\"a\":\"b\"}]\n";
    let tokens = commands.run_with("seal --reason test --class note --scope clinic --kind literal", literals).good();
    assert_eq!(commands.open(&tokens).good(), literals, "byte for byte");
    let tokens = commands.seal("count", "7\n8\n");
    assert_eq!(commands.open(&tokens).good(), "7\n8\n");

    let phone = seal(&commands, "phone", "(555) 010-9999");
    assert_eq!(phone.len(), 14);
    assert_ne!(phone, "(555) 010-9999");
    let opened = commands.run_with("open --reason test --class phone --scope clinic", &phone).good();
    assert_eq!(opened, "\"(555) 010-9999\"\n");

    let whole = commands.run_with("seal --reason test --class note --scope clinic --whole", "two\nlines\n").good();
    assert_eq!(commands.run_with("open --reason test --raw", &whole).good(), "two\nlines\n");
    assert_eq!(commands.open(&whole).good(), "\"two\\nlines\\n\"\n");

    let sealed = last(&commands, "ValuesSealed");
    assert_eq!((&sealed["command"], &sealed["reason"]), (&json!("seal"), &json!("test")));
    let uid = rustix::process::getuid().as_raw();
    assert_eq!((&sealed["uid"], &sealed["principal"]), (&json!(uid), &json!(format!("uid:{uid}"))));
    assert_eq!(sealed["fields"], json!([{"class": "note", "action": "sealed", "count": 1}]));
    let three = commands.events_named("ValuesOpened").into_iter().next().unwrap();
    assert_eq!(three["fields"].as_array().unwrap().len(), 3);
    assert_eq!(three["keys"].as_array().unwrap().len(), 3);
    assert!(three["keys"][0]["kek"].as_str().unwrap().starts_with("local:"), "{three}");
    let files = fs::read_dir(commands.file("audit-operator")).unwrap().map(|file| file.unwrap().path());
    let journal: String = files.map(|file| fs::read_to_string(file).unwrap()).collect();
    assert!(journal.contains("ValuesOpened"));
    for value in [SSN, "O'Neil", "AbC", "abc-1", "0109999", "lines"] {
        assert!(!journal.contains(value), "{value}");
    }
}

#[test]
fn each_view_is_as_on_the_wire() {
    let commands = Commands::new();
    commands.run("keys init").good();
    let ssn = seal(&commands, "ssn", SSN);
    let mut roles = "all";
    for (role, expect, action) in [
        ("masked", "\"***-**-3456\"\n".to_owned(), "masked"),
        ("redacted", "\"[REDACTED]\"\n".to_owned(), "redacted"),
        ("sealed", format!("\"{ssn}\"\n"), "left"),
        ("some", format!("\"{SSN}\"\n"), "plain"),
    ] {
        commands.edit(&format!("roles: [{roles}], scopes"), &format!("roles: [{role}], scopes"));
        roles = role;
        assert_eq!(commands.open(&ssn).good(), expect, "{role}");
        let event = last(&commands, "ValuesOpened");
        assert_eq!(event["fields"], json!([{"class": "ssn", "action": action, "count": 1}]));
        assert_eq!(event["roles"], json!([role]));
        let keys = event["keys"].as_array().unwrap().len();
        assert_eq!(keys, usize::from(matches!(action, "masked" | "plain")), "no key is asked for in vain");
    }
}

#[test]
fn who_may_not_is_refused_on_record_and_sees_nothing() {
    let commands = Commands::new();
    commands.run("keys init").good();
    let (ssn, note) = (seal(&commands, "ssn", SSN), seal(&commands, "note", NOTE));
    let refused = |said: crate::fixture::commands::Said, code: &str| {
        let complaint = said.failed(1);
        assert!(complaint.contains(code) && !complaint.contains(SSN) && !complaint.contains(NOTE), "{complaint}");
        let event = last(&commands, "OperationRefused");
        assert_eq!((&event["code"], &event["reason"]), (&json!(code), &json!("test")), "{event}");
    };
    commands.edit("roles: [all], scopes: [clinic", "roles: [some], scopes: [clinic");
    refused(commands.open(&format!("{ssn}\n{note}")), "class_denied");
    commands.edit("roles: [some], scopes: [clinic", "roles: [reader], scopes: [clinic");
    refused(commands.run_with("seal --reason test --class ssn --scope clinic", SSN), "read_only");
    commands.edit("roles: [reader], scopes: [clinic", "roles: [masked], scopes: [clinic");
    refused(commands.run_with("seal --reason test --class ssn --scope clinic", SSN), "field_not_writable");
    commands.edit("roles: [masked], scopes: [clinic, other]", "roles: [all], scopes: [other]");
    refused(commands.open(&ssn), "scope_denied");
    refused(commands.run_with("seal --reason test --class ssn --scope clinic", SSN), "scope_denied");
    commands.edit("{uid: ", "{subject: CN=nobody, roles: [all]}\n  - {uid: 1");
    refused(commands.open(&ssn), "principal_unknown");
    assert!(last(&commands, "OperationRefused")["principal"].is_null());
}

#[test]
fn what_cannot_be_sealed_is_refused_and_told_by_its_line() {
    let commands = Commands::new();
    commands.run("keys init").good();
    commands.create("clinic", "format");
    commands.create("clinic", "lookup");
    let token = seal(&commands, "note", NOTE);
    for (class, more, values, code) in [
        ("note", "", token.as_str(), "token_not_accepted"),
        ("note", " --kind literal", "\"text\"", "value_type_mismatch"),
        ("note", " --kind literal", "{\"open\":", "value_type_mismatch"),
        ("count", "", "seven", "value_type_mismatch"),
        ("mrn", " --kind literal", "7", "value_type_mismatch"),
        ("mrn", " --bind id=1", "x", "bind_unusable"),
        ("phone", "", "12", "value_domain_too_small"),
        ("phone", "", "not digits", "value_format_mismatch"),
        ("nobody", "", "x", "class_denied"),
    ] {
        let line = format!("seal --reason test --class {class} --scope clinic{more}");
        let complaint = commands.run_with(&line, values).failed(1);
        assert!(complaint.contains(code), "{class}{more}: {complaint}");
        assert_eq!(last(&commands, "OperationRefused")["code"], code);
    }
    let complaint = commands.run_with("seal --reason test --class count --scope clinic", "7\n8\nnine").failed(1);
    assert!(complaint.starts_with("line 3: value_type_mismatch"), "{complaint}");
    for (line, input) in [
        ("open", "x"),
        ("open --reason  ", "x"),
        ("open --reason test --bind x", "x"),
        ("seal --reason test", "x"),
        ("open --reason test --stream", "x"),
    ] {
        assert_eq!(commands.run_with(line, input).code, Some(64), "{line}");
    }
    assert_eq!(commands.open("").failed(1), "standard input: nothing in it\n");
}

#[test]
fn a_token_that_does_not_open_costs_the_others_nothing() {
    let commands = Commands::new();
    commands.run("keys init").good();
    let (ssn, note) = (seal(&commands, "ssn", SSN), seal(&commands, "note", NOTE));
    let broken = forged(&note, |bytes| *bytes.last_mut().unwrap() ^= 1);
    let unknown = forged(&ssn, |bytes| bytes[3 + 3 + 6] ^= 1);
    let input = [&ssn, "sgv1.AQ", &broken, &unknown, "sgv9.AAAA", "plain text", &note].join("\n");
    let said = commands.open(&input);
    assert_eq!(said.code, Some(1));
    assert_eq!(said.out, format!("\"{SSN}\"\nnull\nnull\nnull\nnull\nnull\n\"{NOTE}\"\n"));
    let codes: Vec<&str> = said.err.lines().map(|line| line.split(": ").nth(1).unwrap()).collect();
    let expect =
        ["token_truncated", "token_unauthentic", "token_key_unknown", "token_version_unknown", "token_not_canonical"];
    assert_eq!(codes, expect);
    assert!(said.err.starts_with("line 2: "), "{}", said.err);
    let fields = last(&commands, "ValuesOpened")["fields"].clone();
    let count = |class: &str, action: &str| {
        let fields = fields.as_array().unwrap().iter();
        fields.filter(|field| field["class"] == class && field["action"] == action).count()
    };
    assert_eq!((count("ssn", "plain"), count("ssn", "unopenable"), count("note", "unopenable")), (1, 1, 1));
    let none = commands.open("x\ny").failed(1);
    assert!(none.contains("token_not_canonical"), "{none}");
}

#[test]
fn a_bound_token_opens_with_the_same_bind_alone() {
    let commands = Commands::new();
    let line = "seal --reason test --class note --scope clinic --bind id=17 --bind part=a";
    let token = commands.run_with(line, NOTE).good();
    let open = |binds: &str| commands.run_with(&format!("open --reason test{binds}"), &token);
    assert_eq!(open(" --bind part=a --bind id=17").good(), format!("\"{NOTE}\"\n"), "in any order");
    for binds in ["", " --bind id=18 --bind part=a", " --bind id=17"] {
        let said = open(binds);
        assert_eq!((said.code, said.out.as_str()), (Some(1), "null\n"), "{binds}");
        assert!(said.err.contains("token_unauthentic"), "{}", said.err);
    }
    assert_eq!(open(" --bind id=17 --bind id=17").failed(64), "--bind id stands twice\n");
}

#[test]
fn nothing_is_shown_that_cannot_be_put_on_record() {
    let commands = Commands::new();
    let note = seal(&commands, "note", NOTE);
    // What is no folder can hold no journal.
    commands.edit("{directory: audit}", "{directory: audit, operator_directory: kek}");
    let complaint = commands.open(&note).failed(69);
    assert!(complaint.contains("audit journal"), "{complaint}");
    commands.edit("operator_directory: kek", "operator_directory: audit");
    let complaint = commands.open(&note).failed(78);
    assert!(complaint.contains("the gate's own journal"), "{complaint}");
}

#[test]
fn without_kms_nothing_opens_and_the_exit_says_that_it_may_later() {
    let kms = Kms::start();
    let commands = Commands::new().with_kms(kms.addr(), kms::KEY);
    let note = seal(&commands, "note", NOTE);
    let opened = last(&commands, "ValuesSealed");
    assert_eq!(opened["keys"][0]["kms_request_id"], "00000000-0000-4000-8000-000000000001");
    for (fault, code) in [(Fault::FailsInside, "key_unavailable"), (Fault::Denies, "key_denied")] {
        kms.fail(fault);
        for said in [commands.open(&note), commands.run_with("seal --reason test --class note --scope clinic", NOTE)] {
            let complaint = said.failed(69);
            assert!(complaint.contains(code) && !complaint.contains(NOTE), "{complaint}");
            let event = last(&commands, "OperationRefused");
            assert_eq!(event["code"], code);
            assert!(event["kms_request_id"].is_string(), "{event}");
        }
    }
    // A key that is disabled is said of what it wrapped.
    kms.fail(Fault::Disabled);
    let said = commands.open(&note);
    assert_eq!((said.code, said.out.as_str()), (Some(1), "null\n"));
    assert!(said.err.contains("token_key_rejected"), "{}", said.err);
}

#[test]
fn a_second_command_waits_for_the_journal_and_then_says_who_has_it() {
    let commands = Commands::new();
    let note = seal(&commands, "note", NOTE);
    let journal = commands.file("audit-operator");
    let settings = sealgate::audit::journal::Settings::new(&journal, sealgate::seal::crypto::sha256);
    let (held, _) = sealgate::audit::journal::Journal::open(settings).unwrap();
    let complaint = commands.open(&note).failed(69);
    assert!(complaint.contains("lock is held by another process"), "{complaint}");
    let waiting = {
        let commands = &commands;
        let note = &note;
        std::thread::scope(|scope| {
            let waiting = scope.spawn(move || commands.open(note));
            held.close();
            waiting.join().unwrap()
        })
    };
    assert_eq!(waiting.good(), format!("\"{NOTE}\"\n"));
}
