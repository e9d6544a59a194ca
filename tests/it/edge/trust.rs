//! Which client certificates are taken: revocation lists, who is let in, sessions that are resumed; and which certificate is shown.

use super::{expect_refusals, rest};
use crate::fixture::pki::{Identity, Pki, spiffe, write_secret};
use crate::fixture::{Client, Gate, Setup, Upstream};
use http::Method;
use rcgen::{
    CertificateRevocationListParams, DnType, DnValue, ExtendedKeyUsagePurpose, KeyIdMethod, RevokedCertParams, SanType,
    SerialNumber,
};
use rustls::client::Resumption;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, HandshakeKind, SupportedProtocolVersion};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::io::AsyncWriteExt;

const BOTH: [&[&SupportedProtocolVersion]; 2] = [&[&TLS12], &[&TLS13]];
const GET: &str = "GET /open/x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
pub(crate) const LISTED: (&str, &str) =
    ("client_ca_file: ca.pem}", "client_ca_file: ca.pem, client_crl_files: [list.pem]}");

/// A list of a CA: from so many seconds ago for so many seconds from now, with these serial numbers revoked.
pub(crate) fn list(pki: &Pki, (ago, ahead): (u64, u64), revoked: &[u64]) -> String {
    numbered_list(pki, (SystemTime::now() - Duration::from_secs(ago), ago + ahead), 1, revoked)
}

fn numbered_list(pki: &Pki, (made, good_for): (SystemTime, u64), number: u64, revoked: &[u64]) -> String {
    let (this_update, next_update) = (made, made + Duration::from_secs(good_for));
    let one = |serial: &u64| RevokedCertParams {
        serial_number: SerialNumber::from(*serial),
        revocation_time: this_update.into(),
        reason_code: None,
        invalidity_date: None,
    };
    let params = CertificateRevocationListParams {
        this_update: this_update.into(),
        next_update: next_update.into(),
        crl_number: SerialNumber::from(number),
        issuing_distribution_point: None,
        revoked_certs: revoked.iter().map(one).collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    pki.list(&params)
}

/// A client whose certificate has that serial number.
fn numbered(gate: &Gate, serial: u64) -> Client {
    let identity = gate.pki().issue(|params| {
        params.serial_number = Some(SerialNumber::from(serial));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.subject_alt_names = vec![spiffe("spiffe://test.example/clinician")];
    });
    gate.with(Some(identity))
}

fn listed(ahead: u64, revoked: &[u64]) -> (Gate, Upstream) {
    let upstream = Upstream::start();
    let setup = Setup::before(upstream.addr()).replace(LISTED.0, LISTED.1);
    write_secret(&setup.folder().join("list.pem"), &list(setup.pki(), (60, ahead), revoked));
    (setup.start(), upstream)
}

async fn is_served(client: &Client) -> bool {
    client.try_call(Method::GET, "/open/x", &[], "").await.is_ok_and(|reply| reply.status == 404)
}

#[tokio::test]
async fn a_revoked_certificate_gets_in_no_more_not_even_by_what_is_open_or_resumed() {
    let (gate, upstream) = listed(3600, &[7]);
    let mut refused = 0;
    for versions in BOTH {
        assert!(!is_served(&numbered(&gate, 7).over_tls(versions)).await);
        assert!(is_served(&numbered(&gate, 8).over_tls(versions)).await);
        refused += 1;
    }
    expect_refusals(&gate, &[("certificate_revoked", refused)]).await;
    upstream.take_all();

    // Of one that is still good: a connection that is open, and one in each version that could be resumed.
    let client = numbered(&gate, 9);
    let mut open = client.clone().over_http2().connect().await.unwrap();
    assert_eq!(open.call(Method::GET, "/open/x", &[], "").await.unwrap().status, 404);
    let mut resuming = Vec::new();
    for versions in BOTH {
        let config = resumable(&client.clone().over_tls(versions));
        assert_eq!(handshake(&client, &config).await, Some(HandshakeKind::Full));
        assert_eq!(handshake(&client, &config).await, Some(HandshakeKind::Resumed));
        resuming.push(config);
    }
    upstream.take_all();
    write_secret(&gate.folder().join("list.pem"), &list(gate.pki(), (30, 3600), &[7, 9]));
    assert_eq!(gate.reload(), "applied");
    open.call(Method::GET, "/open/x", &[], "").await.unwrap().expect_problem(403, "certificate_not_accepted");
    for config in &resuming {
        assert_eq!(handshake(&client, config).await, None, "neither resumed nor anew");
    }
    assert!(!is_served(&client).await);
    upstream.expect_nothing();
    assert!(is_served(&numbered(&gate, 8)).await, "others are served");
    expect_refusals(&gate, &[("certificate_revoked", refused + 3)]).await;
}

fn resumable(client: &Client) -> Arc<ClientConfig> {
    let mut config = client.tls_config().unwrap();
    config.resumption = Resumption::in_memory_sessions(16);
    Arc::new(config)
}

/// Makes a request; tells the kind of handshake, and none if it was not served.
async fn handshake(client: &Client, config: &Arc<ClientConfig>) -> Option<HandshakeKind> {
    let mut tls = client.tls_with(Arc::clone(config)).await.ok()?;
    tls.write_all(GET.as_bytes()).await.ok()?;
    let answer = rest(&mut tls).await;
    answer.starts_with(b"HTTP/1.1 404").then(|| tls.get_ref().1.handshake_kind())?
}

#[tokio::test]
async fn a_resumed_session_keeps_its_identity_and_every_reload_ends_it() {
    let gate = Setup::before(Upstream::start().addr()).start();
    for (number, versions) in BOTH.into_iter().enumerate() {
        let client = gate.as_client("billing").over_tls(versions);
        let config = resumable(&client);
        for want in [HandshakeKind::Full, HandshakeKind::Resumed, HandshakeKind::Resumed] {
            assert_eq!(handshake(&client, &config).await, Some(want));
            let event = gate.events_named("ExchangeAnswered").pop().unwrap();
            assert_eq!(event["principal"], "spiffe://test.example/billing");
            assert_eq!(event["roles"][0], "billing");
            assert_ne!(event["certificate"], "-");
        }
        gate.rewrite("limits: {}", &format!("limits: {{streams_max: {}}}", 50 + number));
        assert_eq!(gate.reload(), "applied");
        gate.rewrite(&format!("limits: {{streams_max: {}}}", 50 + number), "limits: {}");
        assert_eq!(handshake(&client, &config).await, Some(HandshakeKind::Full), "{versions:?}");
    }
}

#[tokio::test]
async fn a_certificate_that_expires_is_refused_on_open_connections_and_when_resumed() {
    let gate = Setup::before(Upstream::start().addr()).start();
    let ends = SystemTime::now() + Duration::from_secs(3);
    let identity = gate.pki().issue(|params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.subject_alt_names = vec![spiffe("spiffe://test.example/clinician")];
        params.not_after = ends.into();
    });
    let client = gate.with(Some(identity));
    let mut open = client.connect().await.unwrap();
    assert_eq!(open.call(Method::GET, "/open/x", &[], "").await.unwrap().status, 404);
    let configs = BOTH.map(|versions| resumable(&client.clone().over_tls(versions)));
    for config in &configs {
        assert_eq!(handshake(&client, config).await, Some(HandshakeKind::Full));
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    open.call(Method::GET, "/open/x", &[], "").await.unwrap().expect_problem(403, "certificate_not_accepted");
    for config in &configs {
        assert_eq!(handshake(&client, config).await, None);
    }
}

#[tokio::test]
async fn a_list_that_expires_closes_the_door_and_says_so() {
    let (gate, upstream) = listed(3, &[]);
    let client = gate.as_client("clinician");
    let mut open = client.connect().await.unwrap();
    assert_eq!(open.call(Method::GET, "/open/x", &[], "").await.unwrap().status, 404);
    gate.wait_for_log("a revocation list has expired: no client of its CA gets in");
    assert!(gate.metric("sealgate_crl_expires_timestamp_seconds") > 1e9);
    upstream.take_all();
    assert!(!is_served(&client).await);
    open.call(Method::GET, "/open/x", &[], "").await.unwrap().expect_problem(403, "certificate_not_accepted");
    upstream.expect_nothing();
    expect_refusals(&gate, &[("revocation_unknown", 1)]).await;
    // And the next one opens it again.
    write_secret(&gate.folder().join("list.pem"), &list(gate.pki(), (0, 3600), &[]));
    assert_eq!(gate.reload(), "applied");
    assert!(is_served(&client).await);
}

#[tokio::test]
async fn a_ca_without_a_list_lets_nobody_in_once_there_are_lists() {
    let upstream = Upstream::start();
    let other = Pki::new("a CA without a list");
    let setup = Setup::before(upstream.addr()).replace(LISTED.0, LISTED.1);
    write_secret(&setup.folder().join("ca.pem"), &format!("{}{}", setup.pki().ca_pem(), other.ca_pem()));
    write_secret(&setup.folder().join("list.pem"), &list(setup.pki(), (60, 3600), &[]));
    let (code, said) = setup.validate();
    assert_eq!(code, Some(0));
    assert!(said.contains("no list of the CA CN=a CA without a list: none of its certificates gets in"), "{said}");
    let gate = setup.start();
    assert!(is_served(&gate.as_client("clinician")).await);
    assert!(!is_served(&gate.with(Some(other.client("clinician")))).await);
    expect_refusals(&gate, &[("revocation_unknown", 1)]).await;
}

#[test]
fn lists_that_cannot_serve_are_mistakes_of_the_config() {
    let setup = Setup::before(Upstream::start().addr()).replace(LISTED.0, LISTED.1);
    let namesake = Pki::new("test CA");
    let good = list(setup.pki(), (60, 3600), &[]);
    let says = |text: &str| {
        write_secret(&setup.folder().join("list.pem"), text);
        setup.validate()
    };
    for (text, wanted) in [
        ("", "wanted revocation lists in PEM or DER, found none"),
        ("-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n", "wanted revocation lists (RFC 5280 5)"),
        (&setup.pki().ca_pem(), "found none"),
        (&list(&namesake, (60, 3600), &[]), "the list of CN=test CA is not signed by that CA"),
    ] {
        let (code, said) = says(text);
        assert_eq!(code, Some(78), "{text}");
        assert!(said.contains("server.tls.client_crl_files") && said.contains(wanted), "{wanted:?} is not in {said}");
    }
    assert_eq!(says(&good).0, Some(0));
    // The newest counts, wherever it stands.
    let old = list(setup.pki(), (7200, 0), &[]);
    std::thread::sleep(Duration::from_secs(2));
    let (code, said) = says(&old);
    assert!(code == Some(78) && said.contains("the list of CN=test CA has expired"), "{said}");
    assert_eq!(says(&format!("{old}{good}")).0, Some(0));
    assert_eq!(says(&format!("{good}{old}")).0, Some(0));
    // Of two CAs of one name nobody can say whose list it is.
    write_secret(&setup.folder().join("ca.pem"), &format!("{}{}", setup.pki().ca_pem(), namesake.ca_pem()));
    let (code, said) = says(&good);
    assert!(code == Some(78) && said.contains("two CAs are named CN=test CA"), "{said}");
}

#[tokio::test]
async fn of_two_lists_of_one_second_the_one_with_the_higher_number_counts() {
    let upstream = Upstream::start();
    let setup = Setup::before(upstream.addr()).replace(LISTED.0, LISTED.1);
    let made = SystemTime::now() - Duration::from_secs(60);
    let list = |number: u64, revoked: &[u64]| numbered_list(setup.pki(), (made, 3600), number, revoked);
    let (old, new) = (list(1, &[]), list(2, &[7]));
    write_secret(&setup.folder().join("list.pem"), &format!("{old}{new}"));
    let gate = setup.start();
    assert!(!is_served(&numbered(&gate, 7)).await);
    write_secret(&gate.folder().join("list.pem"), &old);
    assert_eq!(gate.reload(), "refused");
    assert!(!is_served(&numbered(&gate, 7)).await);
}

#[tokio::test]
async fn a_denied_name_is_denied_in_every_kind_of_string() {
    let gate = Setup::before(Upstream::start().addr());
    let gate = gate.replace("client_ca_file: ca.pem}", "client_ca_file: ca.pem, client_deny: [{cn: retired}]}").start();
    for name in [
        DnValue::Utf8String("retired".into()),
        DnValue::PrintableString("retired".try_into().unwrap()),
        DnValue::Ia5String("retired".try_into().unwrap()),
        DnValue::TeletexString("retired".try_into().unwrap()),
        DnValue::BmpString("retired".try_into().unwrap()),
        DnValue::UniversalString("retired".try_into().unwrap()),
    ] {
        let told = format!("{name:?}");
        let identity = gate.pki().issue(|params| {
            params.distinguished_name.push(DnType::CommonName, name);
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
            params.subject_alt_names = vec![spiffe("spiffe://test.example/clinician")];
        });
        assert!(!is_served(&gate.with(Some(identity))).await, "{told}");
    }
}

#[tokio::test]
async fn an_older_list_does_not_take_the_place_of_a_newer_one() {
    let (gate, _upstream) = listed(3600, &[7]);
    let kept = std::fs::read_to_string(gate.folder().join("list.pem")).unwrap();
    write_secret(&gate.folder().join("list.pem"), &list(gate.pki(), (600, 3600), &[]));
    gate.rewrite("client_ca_file: ca.pem,", "client_ca_file: ca.pem, client_deny: [{cn: billing}],");
    assert_eq!(gate.reload(), "refused");
    let refused = gate.wait_for_event(|event| event["event"] == "ConfigRefused");
    assert!(refused.to_string().contains("the list of CN=test CA is older than the one in force"), "{refused}");
    assert_eq!(gate.reload(), "refused", "as long as it is so");
    assert_eq!(gate.metric("sealgate_config_current"), 0.0);
    assert!(!is_served(&numbered(&gate, 7)).await, "what it would have let in stays out");
    assert!(is_served(&gate.as_client("clinician")).await);
    assert!(!is_served(&gate.as_client("billing")).await, "and it holds up nobody else's denial");
    write_secret(&gate.folder().join("list.pem"), &kept);
    assert_eq!(gate.reload(), "applied");
    assert!(!is_served(&numbered(&gate, 7)).await);
}

#[tokio::test]
async fn a_ca_with_a_new_key_has_lists_of_its_own() {
    let (gate, _upstream) = listed(3600, &[7]);
    let renewed = Pki::new("test CA");
    // Made before the last one of the key before.
    write_secret(&gate.folder().join("list.pem"), &list(&renewed, (600, 3600), &[]));
    write_secret(&gate.folder().join("ca.pem"), &renewed.ca_pem());
    assert_eq!(gate.reload(), "applied");
    let of_new_key = gate.with(Some(renewed.client("clinician")));
    assert!(is_served(&of_new_key).await);
    assert!(!is_served(&gate.as_client("clinician")).await);
}

#[test]
fn of_two_lists_of_one_time_neither_is_the_newer() {
    let setup = Setup::before(Upstream::start().addr()).replace(LISTED.0, LISTED.1);
    let made = SystemTime::now() - Duration::from_secs(60);
    let list = |revoked: &[u64]| numbered_list(setup.pki(), (made, 3600), 1, revoked);
    write_secret(&setup.folder().join("list.pem"), &format!("{}{}", list(&[7]), list(&[9])));
    let (code, said) = setup.validate();
    assert!(code == Some(78) && said.contains("two lists of CN=test CA were made at one time"), "{said}");
}

#[tokio::test]
async fn who_is_let_in_can_be_told_by_name_and_by_key() {
    let upstream = Upstream::start();
    let issue = |pki: &Pki, name: &str, unit: &str, sans: Vec<SanType>| {
        pki.issue(|params| {
            params.distinguished_name.push(rcgen::DnType::CommonName, name);
            params.distinguished_name.push(rcgen::DnType::OrganizationalUnitName, unit);
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
            params.subject_alt_names = sans;
        })
    };
    let dns = |name: &str| SanType::DnsName(name.try_into().unwrap());
    for (line, wanted) in [
        ("client_allow: [{spiffe: 'spiffe://test.example/ward/*'}]", [true, false, false, false]),
        ("client_allow: [{spiffe: 'spiffe://test.example/ward/a'}]", [true, false, false, false]),
        ("client_allow: [{spiffe: 'spiffe://test.example/war'}]", [false; 4]),
        ("client_allow: [{dns: '*.Clinic.example'}]", [false, true, false, false]),
        ("client_allow: [{dns: billing.clinic.example}, {ou: lab}]", [false, true, false, true]),
        ("client_allow: [{cn: third}]", [false, false, true, false]),
        ("client_deny: [{cn: third}, {ou: lab}]", [true, true, false, false]),
        (
            "client_allow: [{dns: '*.clinic.example'}, {cn: third}], client_deny: [{cn: third}]",
            [false, true, false, false],
        ),
        ("client_pins: ['PIN']", [false, true, false, false]),
    ] {
        let setup = Setup::before(upstream.addr());
        let clients = [
            issue(setup.pki(), "first", "ward", vec![spiffe("spiffe://test.example/ward/a")]),
            issue(setup.pki(), "second", "office", vec![dns("billing.clinic.example")]),
            issue(setup.pki(), "third", "office", vec![dns("a.b.clinic.example")]),
            issue(setup.pki(), "fourth", "lab", vec![]),
        ];
        let line = line.replace("PIN", &pin(&clients[1]));
        let gate = setup.replace("client_ca_file: ca.pem}", &format!("client_ca_file: ca.pem, {line}}}")).start();
        for (identity, wanted) in clients.into_iter().zip(wanted) {
            let got = gate.with(Some(identity)).try_call(Method::GET, "/open/x", &[], "").await;
            // Whom the config does not know is refused later, and knowingly.
            assert_eq!(got.is_ok_and(|reply| reply.status == 403), wanted, "{line}");
        }
        let refused = wanted.iter().filter(|wanted| !**wanted).count();
        expect_refusals(&gate, &[("certificate_not_allowed", u64::try_from(refused).unwrap())]).await;
    }
}

/// As `openssl x509 -pubkey -noout | openssl pkey -pubin -outform DER | openssl dgst -sha256 -binary | base64`.
fn pin(identity: &Identity) -> String {
    use x509_parser::prelude::{FromDer, X509Certificate};
    let (_, certificate) = X509Certificate::from_der(&identity.certificate).unwrap();
    data_encoding::BASE64.encode(&sealgate::seal::crypto::sha256(&[certificate.public_key().raw]))
}

#[tokio::test]
async fn a_certificate_can_be_optional_and_one_that_is_shown_must_be_good() {
    let upstream = Upstream::start();
    let setup = Setup::before(upstream.addr());
    let setup = setup.replace("client_ca_file: ca.pem}", "client_ca_file: ca.pem, client_certificate: optional}");
    let gate = setup.replace("principals:\n", "principals:\n  - {anonymous: true, roles: [support]}\n").start();
    for versions in BOTH {
        let nobody = gate.with(None).over_tls(versions);
        assert_eq!(nobody.get("/open/x").await.status, 404);
        let event = gate.events_named("ExchangeAnswered").pop().unwrap();
        assert_eq!((&event["principal"], &event["certificate"]), (&"anonymous".into(), &"-".into()));
        assert_eq!(event["roles"][0], "support");
        assert!(is_served(&gate.as_client("clinician").over_tls(versions)).await);
        upstream.take_all();
        for bad in [gate.pki().expired_client("clinician"), Pki::new("foreign").client("clinician")] {
            assert!(!is_served(&gate.with(Some(bad)).over_tls(versions)).await);
        }
        upstream.expect_nothing();
    }
    expect_refusals(&gate, &[("certificate_expired", 2), ("certificate_of_unknown_ca", 2)]).await;
    // Taken back, nobody may do without.
    let mut open = gate.with(None).connect().await.unwrap();
    assert_eq!(open.call(Method::GET, "/open/x", &[], "").await.unwrap().status, 404);
    gate.rewrite(", client_certificate: optional}", "}");
    assert_eq!(gate.reload(), "applied");
    open.call(Method::GET, "/open/x", &[], "").await.unwrap().expect_problem(403, "certificate_not_accepted");
    assert!(!is_served(&gate.with(None)).await);
}

#[tokio::test]
async fn the_certificate_is_that_of_the_host_that_the_client_names() {
    let setup = Setup::before(Upstream::start().addr());
    let of = |names: &[&str]| {
        setup.pki().issue(|params| {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
            params.subject_alt_names = names.iter().map(|name| SanType::DnsName((*name).try_into().unwrap())).collect();
        })
    };
    let (wild, named) = (of(&["*.clinic.example"]), of(&["fhir.clinic.example", "lab.example"]));
    wild.write(setup.folder(), "wild");
    named.write(setup.folder(), "named");
    let also =
        "also: [{certificate_file: named.pem, key_file: named.key}, {certificate_file: wild.pem, key_file: wild.key}]";
    let gate = setup.replace("client_ca_file: ca.pem}", &format!("client_ca_file: ca.pem, {also}}}")).start();
    let first = gate.as_client("clinician").tls().await.unwrap();
    let first = first.get_ref().1.peer_certificates().unwrap()[0].clone();
    for (host, wanted) in [
        ("localhost", &first),
        ("fhir.clinic.example", &named.certificate),
        ("LAB.example", &named.certificate),
        ("ward.clinic.example", &wild.certificate),
        ("a.ward.clinic.example", &first),
        ("clinic.example", &first),
        ("elsewhere.example", &first),
    ] {
        for versions in BOTH {
            let shown = gate.as_client("clinician").over_tls(versions).shown_for(host).await;
            assert_eq!(shown.as_ref(), Some(wanted), "{host}");
        }
    }
}
