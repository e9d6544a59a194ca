//! The listener as two widely used scanners of TLS find it: sslyze and testssl.sh.

use crate::fixture::pki::{Identity, Pki};
use crate::fixture::{Setup, Upstream, debian, provision};
use rcgen::{CrlDistributionPoint, ExtendedKeyUsagePurpose, SanType};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

/// As a CA that browsers know would make it: not for too long, with a place where its revocation is told.
fn certificate(pki: &Pki) -> Identity {
    pki.issue(|params| {
        let day = Duration::from_secs(24 * 3600);
        params.not_before = (SystemTime::now() - day).into();
        params.not_after = (SystemTime::now() + 200 * day).into();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.subject_alt_names = vec![SanType::DnsName("localhost".try_into().unwrap())];
        params.crl_distribution_points = vec![CrlDistributionPoint { uris: vec!["http://localhost/crl".to_owned()] }];
    })
}

fn before_nothing() -> Setup {
    let setup = Setup::before(Upstream::start().addr());
    certificate(setup.pki()).write(setup.folder(), "server");
    setup.pki().client("clinician").write(setup.folder(), "client");
    setup
}

#[test]
fn sslyze_finds_tls_1_2_and_1_3_with_the_named_suites_and_nothing_weak() {
    let sslyze = provision::sslyze().unwrap();
    let gate = before_nothing().start();
    let report = gate.folder().join("sslyze.json");
    let mut command = Command::new(sslyze);
    let in_folder = |name: &str| gate.folder().join(name);
    command.arg("--cert").arg(in_folder("client.pem")).arg("--key").arg(in_folder("client.key"));
    command.arg("--json_out").arg(&report).arg(format!("localhost:{}", gate.address.port()));
    // Whether the result is that of one of Mozilla's profiles is told by the exit code: no CA of a test is in there.
    let output = command.output().unwrap();
    let report = fs::read(report).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    let report: Value = serde_json::from_slice(&report).unwrap();
    let found = &report["server_scan_results"][0]["scan_result"];
    let accepted = |version: &str| -> BTreeSet<String> {
        let suites = found[version]["result"]["accepted_cipher_suites"].as_array().expect(version);
        suites.iter().map(|suite| suite["cipher_suite"]["name"].as_str().unwrap().to_owned()).collect()
    };
    for version in ["ssl_2_0", "ssl_3_0", "tls_1_0", "tls_1_1"] {
        assert_eq!(accepted(&format!("{version}_cipher_suites")), BTreeSet::new(), "{version}");
    }
    let of_1_3 = ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384"].map(str::to_owned);
    assert_eq!(accepted("tls_1_3_cipher_suites"), BTreeSet::from(of_1_3));
    // Without extended master secret, which its client for 1.2 does not offer, none is to be had.
    assert_eq!(accepted("tls_1_2_cipher_suites"), BTreeSet::new());
    for (path, wanted) in [
        ("/tls_compression/result/supports_compression", Value::from(false)),
        ("/openssl_ccs_injection/result/is_vulnerable_to_ccs_injection", false.into()),
        ("/tls_fallback_scsv/result/supports_fallback_scsv", true.into()),
        ("/heartbleed/result/is_vulnerable_to_heartbleed", false.into()),
        ("/robot/result/robot_result", "NOT_VULNERABLE_RSA_NOT_SUPPORTED".into()),
        ("/session_renegotiation/result/supports_secure_renegotiation", true.into()),
        ("/session_renegotiation/result/is_vulnerable_to_client_renegotiation_dos", false.into()),
        ("/tls_extended_master_secret/result/supports_ems_extension", true.into()),
    ] {
        assert_eq!(found.pointer(path), Some(&wanted), "{path}");
    }
    let curves = found.pointer("/elliptic_curves/result/supported_curves").unwrap().as_array().unwrap();
    let curves: BTreeSet<&str> = curves.iter().map(|curve| curve["name"].as_str().unwrap()).collect();
    assert_eq!(curves, BTreeSet::from(["X25519", "secp256r1", "secp384r1"]));
}

/// What testssl.sh finds that is not of the listener, and why.
const NOT_OURS: [(&str, &str); 4] = [
    (
        "pre_128cipher",
        "its hellos of TLS 1.2 lack extended master secret and are all refused, so that it judges by chance",
    ),
    ("engine_problem", "the local openssl has no GOST"),
    ("service", "it has no client certificate, so that it sees no HTTP"),
    ("overall_grade", "of HTTP, which it does not see"),
];

#[test]
fn testssl_finds_nothing_to_complain_of() {
    let testssl = debian::program("testssl", &["testssl.sh", "bsdextrautils"], "usr/bin/testssl").unwrap();
    let gate = before_nothing().start();
    let report = gate.folder().join("testssl.json");
    let mut command = testssl.command();
    if let Some(root) = &testssl.root {
        command.env("TESTSSL_INSTALL_DIR", root.join("etc/testssl"));
        // It wants a program to look names up, even where it is told to look none up.
        let programs = gate.folder().join("programs");
        fs::create_dir(&programs).unwrap();
        fs::write(programs.join("nslookup"), "#!/bin/sh\nexit 1\n").unwrap();
        fs::set_permissions(programs.join("nslookup"), fs::Permissions::from_mode(0o755)).unwrap();
        command.env("PATH", path_with(&[&programs, &root.join("usr/bin")]));
    }
    let quiet = ["--color", "0", "--warnings", "batch", "--nodns", "none", "--ip", "127.0.0.1", "--quiet"];
    command.args(quiet).arg("--add-ca").arg(gate.folder().join("ca.pem")).arg("--jsonfile").arg(&report);
    let output = command.arg(format!("https://localhost:{}", gate.address.port())).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let findings: Vec<Value> = serde_json::from_slice(&fs::read(&report).expect(&said)).expect(&said);
    let text = |finding: &Value, name: &str| finding[name].as_str().unwrap().to_owned();
    assert!(findings.len() > 100, "it came to its end: {said}");
    let bad: Vec<String> = findings
        .iter()
        .filter(|finding| !matches!(finding["severity"].as_str(), Some("OK" | "INFO")))
        .filter(|finding| !NOT_OURS.iter().any(|(id, _)| finding["id"] == *id))
        .map(|finding| ["id", "severity", "finding"].map(|name| text(finding, name)).join(" "))
        .collect();
    assert!(bad.is_empty(), "{bad:#?}");
    let says = |id: &str| -> String {
        findings.iter().find(|finding| finding["id"] == id).map(|finding| text(finding, "finding")).expect(id)
    };
    for id in ["SSLv2", "SSLv3", "TLS1", "TLS1_1"] {
        assert!(says(id).starts_with("not offered"), "{id}: {}", says(id));
    }
    // Its hello of 1.2 has no extended master secret; the suites below are found by that of openssl.
    assert_eq!(says("TLS1_2"), "not offered");
    assert!(says("TLS1_3").starts_with("offered"), "{}", says("TLS1_3"));
    let suites = findings.iter().filter(|finding| text(finding, "id").starts_with("cipher_x"));
    let suites: BTreeSet<String> =
        suites.map(|suite| text(suite, "finding").split_whitespace().nth(1).unwrap().to_owned()).collect();
    let wanted = [
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "TLS_AES_128_GCM_SHA256",
        "TLS_AES_256_GCM_SHA384",
    ];
    assert_eq!(suites, BTreeSet::from(wanted.map(str::to_owned)));
}

#[expect(clippy::disallowed_methods, reason = "the program's own path goes on")]
fn path_with(first: &[&Path]) -> String {
    let first = first.iter().map(|path| path.display().to_string());
    first.chain([std::env::var("PATH").unwrap()]).collect::<Vec<_>>().join(":")
}
