//! What is documented is what there is.

use crate::fixture::Setup;
use sealgate::config;
use sealgate::proxy::rescue::Code;
use sealgate::telemetry::names;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;

fn repository_file(name: &str) -> String {
    fs::read_to_string(format!("{}/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// The rows of the table whose header line is given.
fn table(header: &str) -> Vec<String> {
    let readme = repository_file("README.md");
    let rows = readme.lines().skip_while(|line| *line != header).skip(2);
    let rows: Vec<String> = rows.take_while(|line| line.starts_with('|')).map(str::to_owned).collect();
    assert!(!rows.is_empty(), "no table {header}");
    rows
}

#[test]
fn every_metric_is_in_the_readme() {
    let want: Vec<String> = names::ALL
        .iter()
        .map(|metric| {
            let labels: Vec<String> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
            let kind = format!("{:?}", metric.kind).to_lowercase();
            format!("| `{}` | {kind} | {} | {} |", metric.name, labels.join(", "), metric.help)
        })
        .collect();
    assert_eq!(table("| metric | kind | labels | meaning |"), want);
}

#[test]
fn every_error_code_is_in_the_readme() {
    let row = |code: &Code| format!("| `{}` | {} | {} |", code.as_str(), code.status().as_u16(), code.title());
    let want: Vec<String> = Code::ALL.iter().map(row).collect();
    assert_eq!(table("| code | status | meaning |"), want);
}

#[test]
fn every_audit_event_is_in_the_readme() {
    let source = repository_file("src/audit/event.rs");
    let body = source.split("pub enum AuditEvent {").nth(1).unwrap().split("\n}").next().unwrap();
    let variants: BTreeSet<&str> = body
        .lines()
        .filter_map(|line| line.strip_prefix("    "))
        .filter(|line| line.starts_with(|c: char| c.is_ascii_uppercase()))
        .map(|line| line.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap())
        .collect();
    let rows = table("| event | when |").join("\n");
    for variant in &variants {
        assert!(rows.contains(&format!("`{variant}`")), "{variant} is not documented");
    }
    assert!(variants.len() >= 9, "{variants:?}");
}

#[test]
fn every_command_is_in_the_readme() {
    let rows = table("| command | does |");
    let named: BTreeSet<String> =
        rows.iter().map(|row| row.trim_start_matches("| `").split([' ', '`']).next().unwrap().to_owned()).collect();
    let help = std::process::Command::new(env!("CARGO_BIN_EXE_sealgate")).arg("help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let commands = help.split("Commands:").nth(1).unwrap().split("Options:").next().unwrap();
    let there: BTreeSet<String> = commands
        .lines()
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .map(|line| line.split_whitespace().next().unwrap().to_owned())
        .filter(|name| name != "help")
        .collect();
    assert_eq!(named, there);
    let help = std::process::Command::new(env!("CARGO_BIN_EXE_sealgate")).args(["keys", "help"]).output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let commands = help.split("Commands:").nth(1).unwrap().split("Options:").next().unwrap();
    let lines = commands.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let names: Vec<&str> = lines.map(|line| line.split_whitespace().next().unwrap()).collect();
    assert!(names.len() > 10, "{names:?}");
    for name in names.into_iter().filter(|name| *name != "help") {
        assert!(rows.iter().any(|row| row.contains(&format!("`keys {name}"))), "keys {name} is not documented");
    }
}

#[test]
fn every_config_key_is_in_the_annotated_example() {
    let schema: Value = serde_json::from_str(&config::schema()).unwrap();
    let mut keys = BTreeSet::new();
    collect_keys(&schema, &mut keys);
    let example = repository_file("config/sealgate.yaml");
    for key in &keys {
        let stands = example.lines().any(|line| {
            let line = line.trim_start_matches([' ', '#', '-', '{']);
            line.starts_with(&format!("{key}:"))
                || line.contains(&format!(", {key}:"))
                || line.contains(&format!("{{{key}:"))
        });
        assert!(stands, "{key} is not in config/sealgate.yaml");
    }
    assert!(keys.len() > 50, "{keys:?}");
}

fn collect_keys(schema: &Value, keys: &mut BTreeSet<String>) {
    match schema {
        Value::Object(members) => {
            if let Some(Value::Object(properties)) = members.get("properties") {
                keys.extend(properties.keys().cloned());
            }
            members.values().for_each(|member| collect_keys(member, keys));
        }
        Value::Array(items) => items.iter().for_each(|item| collect_keys(item, keys)),
        _ => {}
    }
}

/// The examples are good configs once the files that they name are there.
#[test]
fn the_example_configs_are_good() {
    let setup = Setup::before(([127, 0, 0, 1], 1).into());
    let folder = setup.folder();
    setup.pki().client("gate").write(folder, "client");
    fs::copy(folder.join("ca.pem"), folder.join("client-ca.pem")).unwrap();
    let env = |name: &str| match name {
        "SEALGATE_KMS_KEY_ARN" => Some("arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab".to_owned()),
        "SEALGATE_FHIR_URL" => Some("https://fhir.clinic.example:8443".to_owned()),
        _ => None,
    };
    for name in ["config/sealgate.yaml", "config/minimal.yaml"] {
        let here = folder.to_str().unwrap();
        let text = repository_file(name).replace("/etc/sealgate/tls", here).replace("/etc/sealgate/upstream", here);
        let problems = config::parse(&text, folder, &env).err().unwrap_or_default();
        let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert!(problems.is_empty(), "{name}: {problems:#?}");
    }
}

/// The config inside the Kubernetes manifest is a good one too.
#[test]
fn the_manifest_has_a_good_config() {
    let setup = Setup::before(([127, 0, 0, 1], 1).into());
    let folder = setup.folder();
    for (there, here) in [
        ("tls/tls.crt", "server.pem"),
        ("tls/tls.key", "server.key"),
        ("client-ca/ca.crt", "ca.pem"),
        ("upstream/ca.crt", "ca.pem"),
        ("upstream/tls.crt", "server.pem"),
        ("upstream/tls.key", "server.key"),
    ] {
        let place = folder.join("etc").join(there);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::copy(folder.join(here), place).unwrap();
    }
    let manifest = repository_file("deploy/kubernetes/sealgate.yaml");
    let config = manifest.split("sealgate.yaml: |\n").nth(1).unwrap();
    let inside = |line: &&str| line.is_empty() || line.starts_with("    ");
    let config: Vec<&str> = config.lines().take_while(inside).map(|line| line.get(4..).unwrap_or_default()).collect();
    let text = config.join("\n").replace("/etc/sealgate", folder.join("etc").to_str().unwrap());
    let problems = config::parse(&text, folder, &|_| None).err().unwrap_or_default();
    assert!(problems.is_empty(), "{problems:#?}");
}
