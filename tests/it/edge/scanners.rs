//! What scanners that others wrote say of the listener.

use crate::fixture::pki::{Identity, Pki};
use crate::fixture::{Gate, Setup, Upstream, scanners};
use rcgen::{
    CertificateParams, CrlDistributionPoint, DnType, ExtendedKeyUsagePurpose, KeyPair, PKCS_RSA_SHA256, RsaKeySize,
    SanType,
};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Long enough not to be called about to expire (60 days), and no longer than browsers take (398).
const DAYS: u32 = 200;

const OF_TLS_1_3: [&str; 2] = ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384"];
const OF_ECDSA: [&str; 2] = ["ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384"];
const OF_RSA: [&str; 2] = ["ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-RSA-AES256-GCM-SHA384"];

/// A server certificate as a CA in earnest makes it.
fn issued(pki: &Pki, key: &KeyPair) -> Identity {
    pki.issue_with(key, |params: &mut CertificateParams| {
        let now = SystemTime::now();
        params.not_before = (now - DAY).into();
        params.not_after = (now + DAY * DAYS).into();
        params.distinguished_name.push(DnType::CommonName, "localhost");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.subject_alt_names =
            vec![SanType::DnsName("localhost".try_into().unwrap()), SanType::IpAddress([127, 0, 0, 1].into())];
        params.crl_distribution_points =
            vec![CrlDistributionPoint { uris: vec!["http://localhost/ca.crl".to_owned()] }];
    })
}

fn of_ecdsa() -> Setup {
    let setup = Setup::before(Upstream::start().addr());
    issued(setup.pki(), &KeyPair::generate().unwrap()).write(setup.folder(), "server");
    setup
}

fn of_ecdsa_and_rsa() -> Setup {
    let setup = of_ecdsa();
    let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_3072).unwrap();
    issued(setup.pki(), &key).write(setup.folder(), "rsa");
    let also = "client_ca_file: ca.pem, also: [{certificate_file: rsa.pem, key_file: rsa.key}]}";
    setup.replace("client_ca_file: ca.pem}", also)
}

/// testssl.sh cannot show a certificate. It takes two ways with a gate that demands one, and sees less on either: its openssl races
/// with the alert, and succeeds or does not. The TLS of a gate that can do without is the same.
fn for_testssl(setup: Setup) -> Gate {
    let setup = setup.replace("client_ca_file: ca.pem", "client_ca_file: ca.pem, client_certificate: optional");
    setup.replace("principals:\n", "principals:\n  - {anonymous: true, roles: [support]}\n").start()
}

struct Findings(Vec<Value>);

impl Findings {
    fn of_testssl(gate: &Gate, arguments: &[&str]) -> Self {
        let port = gate.address.port();
        let server = format!("https://localhost:{port}");
        let arguments = [&["--ip", "127.0.0.1", "--add-ca", "ca.pem"], arguments, &[&server]].concat();
        let found = scanners::testssl(gate.folder(), &arguments).unwrap();
        Self(found.as_array().unwrap().clone())
    }

    fn of(&self, id: &str) -> &str {
        let found = self.0.iter().find(|finding| finding["id"] == id);
        found.and_then(|finding| finding["finding"].as_str()).unwrap_or_else(|| panic!("no {id} in {:#?}", self.0))
    }

    /// The names of the suites that it found by trying each.
    fn suites(&self) -> BTreeSet<&str> {
        let lines = self.0.iter().filter(|finding| finding["id"].as_str().unwrap().starts_with("cipher"));
        // "TLS 1.3   x1302   TLS_AES_256_GCM_SHA384   ECDH 253   AESGCM   256   TLS_AES_256_GCM_SHA384"
        let found = lines.filter_map(|finding| {
            let mut words = finding["finding"].as_str().unwrap().split_whitespace();
            words.find(|word| word.strip_prefix('x').is_some_and(|code| u32::from_str_radix(code, 16).is_ok()))?;
            words.next()
        });
        found.collect()
    }

    /// Nothing above `OK` and `INFO` but what is allowed, each for the reason beside it.
    fn expect_nothing_but(&self, allowed: &[(&str, &str)]) {
        let fine = |finding: &&Value| finding["severity"] == "OK" || finding["severity"] == "INFO";
        let is_allowed = |finding: &&Value| allowed.iter().any(|(id, _reason)| finding["id"] == *id);
        let bad: Vec<_> = self.0.iter().filter(|finding| !fine(finding) && !is_allowed(finding)).collect();
        assert!(bad.is_empty(), "{bad:#?}");
    }
}

const OF_THE_SCANNER: (&str, &str) = ("engine_problem", "the openssl beside it has no GOST");

/// All that testssl.sh can look for but HTTP's headers, which are the upstream's, and how browsers fare.
const WHOLE: [&str; 7] =
    ["--protocols", "--std", "--pfs", "--server-defaults", "--server-preference", "--vulnerable", "--cipher-per-proto"];

#[test]
fn testssl_finds_nothing_amiss() {
    let gate = for_testssl(of_ecdsa_and_rsa());
    let found = Findings::of_testssl(&gate, &WHOLE);
    let ticket = ("sessionresumption_ticket", "it fails to try; that sessions are resumed, other tests show");
    found.expect_nothing_but(&[OF_THE_SCANNER, ticket]);
    for (id, wanted) in [
        ("SSLv2", "not offered"),
        ("SSLv3", "not offered"),
        ("TLS1", "not offered"),
        ("TLS1_1", "not offered"),
        // Its own ClientHello is without extended master secret; the next test asks for 1.2 with it.
        ("TLS1_2", "not offered"),
        ("TLS1_3", "offered with final"),
        ("cipher_order", "server (TLS 1.3)"),
        ("ALPN_HTTP2", "h2"),
        ("ALPN", "http/1.1"),
        ("PFS_ECDHE_curves", "prime256v1 secp384r1 X25519"),
        ("heartbleed", "not vulnerable, no heartbeat extension"),
        ("CCS", "not vulnerable"),
        ("ticketbleed", "not vulnerable"),
        ("ROBOT", "not vulnerable, no RSA key transport cipher"),
        ("POODLE_SSL", "not vulnerable, no SSLv3"),
        ("FREAK", "not vulnerable"),
        ("DROWN", "not vulnerable on this host and port"),
        ("BEAST", "not vulnerable, no SSL3 or TLS1"),
    ] {
        assert_eq!(found.of(id), wanted, "{id}");
    }
    assert_eq!(found.suites(), [OF_TLS_1_3, OF_ECDSA, OF_RSA].concat().into_iter().collect());
}

#[test]
fn testssl_by_openssl_finds_tls_1_2_and_1_3_with_their_suites_alone() {
    let gate = for_testssl(of_ecdsa());
    let found = Findings::of_testssl(&gate, &["--ssl-native", "--protocols", "--cipher-per-proto"]);
    let old = "the openssl beside it cannot speak it; the whole scan does without openssl";
    found.expect_nothing_but(&[OF_THE_SCANNER, ("SSLv2", old), ("SSLv3", old)]);
    for (id, wanted) in
        [("TLS1", "not offered"), ("TLS1_1", "not offered"), ("TLS1_2", "offered"), ("TLS1_3", "offered")]
    {
        assert_eq!(found.of(id), wanted, "{id}");
    }
    assert_eq!(found.suites(), [OF_TLS_1_3, OF_ECDSA].concat().into_iter().collect());
}

/// All that sslyze can look for but HTTP's headers.
const OF_SSLYZE: &str = "--mozilla_config disable --sslv2 --sslv3 --tlsv1 --tlsv1_1 --tlsv1_2 --tlsv1_3 --compression --early_data \
    --openssl_ccs --fallback --heartbleed --robot --reneg --ems --elliptic_curves --certinfo --certinfo_ca_file ca.pem \
    --cert client.pem --key client.key";

#[test]
fn sslyze_finds_nothing_amiss() {
    let gate = of_ecdsa().start();
    gate.pki().client("clinician").write(gate.folder(), "client");
    let server = format!("localhost:{}{{127.0.0.1}}", gate.address.port());
    let arguments: Vec<&str> = OF_SSLYZE.split_whitespace().chain([&*server]).collect();
    let report = scanners::sslyze(gate.folder(), &arguments).unwrap();
    let scan = &report["server_scan_results"][0];
    assert_eq!(scan["scan_status"], "COMPLETED", "{scan:#}");
    let result = |name: &str| {
        let one = &scan["scan_result"][name];
        assert_eq!(one["status"], "COMPLETED", "{name}: {one:#}");
        &one["result"]
    };
    let names = |list: &Value, pointer: &str| -> BTreeSet<String> {
        let name = |one: &Value| one.pointer(pointer).unwrap().as_str().unwrap().to_owned();
        list.as_array().unwrap().iter().map(name).collect()
    };
    for (version, wanted) in [
        ("ssl_2_0", &[][..]),
        ("ssl_3_0", &[]),
        ("tls_1_0", &[]),
        ("tls_1_1", &[]),
        // It tries those of AES without extended master secret, and would find ChaCha20.
        ("tls_1_2", &[]),
        ("tls_1_3", &OF_TLS_1_3),
    ] {
        let suites = result(&format!("{version}_cipher_suites"));
        let accepted = names(&suites["accepted_cipher_suites"], "/cipher_suite/name");
        assert_eq!(accepted, wanted.iter().map(ToString::to_string).collect(), "{version}");
        assert_ne!(suites["rejected_cipher_suites"], json!([]), "{version} was tried");
    }
    for (name, wanted) in [
        ("tls_compression", json!({"supports_compression": false})),
        ("tls_1_3_early_data", json!({"supports_early_data": false})),
        ("openssl_ccs_injection", json!({"is_vulnerable_to_ccs_injection": false})),
        ("tls_fallback_scsv", json!({"supports_fallback_scsv": true})),
        ("heartbleed", json!({"is_vulnerable_to_heartbleed": false})),
        ("robot", json!({"robot_result": "NOT_VULNERABLE_RSA_NOT_SUPPORTED"})),
        (
            "session_renegotiation",
            json!({
                "supports_secure_renegotiation": true,
                "is_vulnerable_to_client_renegotiation_dos": false,
                "client_renegotiations_success_count": 0,
            }),
        ),
        ("tls_extended_master_secret", json!({"supports_ems_extension": true})),
    ] {
        assert_eq!(result(name), &wanted, "{name}");
    }
    let curves = names(&result("elliptic_curves")["supported_curves"], "/name");
    assert_eq!(curves, ["X25519", "secp256r1", "secp384r1"].map(str::to_owned).into());
    let shown = &result("certificate_info")["certificate_deployments"][0];
    assert_eq!(shown["received_chain_has_valid_order"], true);
    // The other stores hold the CAs of the web, which this one is none of.
    let judged = shown["path_validation_results"].as_array().unwrap();
    let own = judged.iter().find(|one| one["trust_store"]["name"] == "Supplied CA file").unwrap();
    assert_eq!(own["was_validation_successful"], true, "{own:#}");
}
