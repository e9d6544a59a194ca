//! The listener's TLS: versions, suites, protocols, and which certificates get in.

use super::{expect_refusals, raw, refusals, rest};
use crate::fixture::{Client, Gate, Setup, Upstream};
use futures_util::future::join_all;
use rustls::crypto::{CryptoProvider, SupportedKxGroup, aws_lc_rs};
use rustls::version::{TLS12, TLS13};
use rustls::{CipherSuite, ClientConfig, NamedGroup, ProtocolVersion, RootCertStore, SupportedProtocolVersion};
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const BOTH: [&[&SupportedProtocolVersion]; 2] = [&[&TLS12], &[&TLS13]];
const GET: &str = "GET /open/x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

#[tokio::test]
async fn tls_1_2_and_1_3_are_spoken_and_1_3_preferred() {
    let upstream = Upstream::start();
    let gate = Setup::before(upstream.addr()).start();
    let client = gate.as_client("clinician");
    for (versions, want) in [
        (BOTH[0], ProtocolVersion::TLSv1_2),
        (BOTH[1], ProtocolVersion::TLSv1_3),
        (rustls::ALL_VERSIONS, ProtocolVersion::TLSv1_3),
    ] {
        let client = client.clone().over_tls(versions);
        let tls = client.tls().await.unwrap();
        assert_eq!(tls.get_ref().1.protocol_version(), Some(want));
        assert_eq!(client.get("/open/x").await.status, 404, "served over {want:?}");
        assert_eq!(client.over_http2().get("/open/x").await.status, 404, "and HTTP/2");
    }
}

#[tokio::test]
async fn key_exchange_is_hybrid_where_both_sides_can() {
    let gate = Setup::before(Upstream::start().addr()).start();
    let client = gate.as_client("clinician");
    let mut taken = Vec::new();
    let agree = async |groups: Vec<&'static dyn SupportedKxGroup>| {
        let provider = CryptoProvider { kx_groups: groups, ..aws_lc_rs::default_provider() };
        let tls = client.tls_with(config(&gate, provider, &[&TLS13])).await.ok()?;
        tls.get_ref().1.negotiated_key_exchange_group().map(|group| group.name())
    };
    for group in aws_lc_rs::ALL_KX_GROUPS {
        let agreed = agree(vec![*group]).await;
        taken.extend(agreed);
        assert!(agreed.is_none_or(|agreed| agreed == group.name()));
    }
    let of_curves = [NamedGroup::X25519, NamedGroup::secp256r1, NamedGroup::secp384r1];
    let hybrid = cfg!(feature = "aws-lc").then_some(NamedGroup::X25519MLKEM768);
    let sorted = |groups: Vec<NamedGroup>| groups.into_iter().map(u16::from).collect::<BTreeSet<_>>();
    assert_eq!(sorted(taken), sorted(hybrid.into_iter().chain(of_curves).collect()));
    // Of the two that a client of today begins with.
    let both = vec![aws_lc_rs::kx_group::X25519MLKEM768, aws_lc_rs::kx_group::X25519];
    let first = if cfg!(feature = "pq") { NamedGroup::X25519MLKEM768 } else { NamedGroup::X25519 };
    assert_eq!(agree(both).await, Some(first));
}

fn config(gate: &Gate, provider: CryptoProvider, versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(gate.pki().ca()).unwrap();
    let identity = gate.pki().client("clinician");
    let config = ClientConfig::builder_with_provider(Arc::new(provider)).with_protocol_versions(versions).unwrap();
    let config = config.with_root_certificates(roots);
    config.with_client_auth_cert(vec![identity.certificate], identity.key).unwrap()
}

#[tokio::test]
async fn only_the_aead_suites_of_sp_800_52_are_negotiated() {
    let gate = Setup::before(Upstream::start().addr()).start();
    let client = gate.as_client("clinician");
    // The gate's certificate is ECDSA, so that no RSA suite is to be had from it.
    let good = [
        CipherSuite::TLS13_AES_256_GCM_SHA384,
        CipherSuite::TLS13_AES_128_GCM_SHA256,
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    ];
    let mut refused = 0;
    for suite in aws_lc_rs::ALL_CIPHER_SUITES {
        let mut provider = aws_lc_rs::default_provider();
        provider.cipher_suites = vec![*suite];
        let outcome = client.tls_with(config(&gate, provider, &[suite.version()])).await;
        let negotiated = outcome.as_ref().ok().and_then(|tls| tls.get_ref().1.negotiated_cipher_suite());
        let expect = good.contains(&suite.suite()).then(|| suite.suite());
        assert_eq!(negotiated.map(|suite| suite.suite()), expect, "{:?}", suite.suite());
        if let Err(error) = outcome {
            assert!(error.to_string().contains("HandshakeFailure"), "{error}");
            refused += 1;
        }
    }
    assert_eq!(refused, 5, "ChaCha20 in both versions, and RSA");
    expect_refusals(&gate, &[("no_agreement", refused)]).await;
}

#[tokio::test]
async fn http_1_1_and_h2_are_agreed_on_and_nothing_else() {
    let gate = Setup::before(Upstream::start().addr()).start();
    let client = gate.as_client("clinician");
    for (offered, want) in [
        (&["h2"][..], Some(&b"h2"[..])),
        (&["http/1.1"], Some(b"http/1.1")),
        (&["http/1.1", "h2"], Some(b"h2")),
        (&["spdy/3", "http/1.1"], Some(b"http/1.1")),
        (&[], None),
    ] {
        let mut config = client.tls_config().unwrap();
        config.alpn_protocols = offered.iter().map(|name| name.as_bytes().to_vec()).collect();
        let tls = client.tls_with(config).await.unwrap();
        assert_eq!(tls.get_ref().1.alpn_protocol(), want, "{offered:?}");
    }
    for versions in BOTH {
        let client = client.clone().over_tls(versions);
        let mut config = client.tls_config().unwrap();
        config.alpn_protocols = vec![b"spdy/3".to_vec(), b"http/1.0".to_vec()];
        let error = client.tls_with(config).await.unwrap_err().to_string();
        assert!(error.contains("NoApplicationProtocol"), "{error}");
    }
    expect_refusals(&gate, &[("no_agreement", 2)]).await;
}

/// Makes a TLS 1.2 ClientHello by hand, as no library of today would. `versions` goes into supported_versions.
pub(crate) fn client_hello(
    version: [u8; 2],
    suites: &[u16],
    versions: &[u16],
    curves: &[u16],
    master_secret: bool,
) -> Vec<u8> {
    let words = |words: &[u16]| words.iter().flat_map(|word| word.to_be_bytes()).collect::<Vec<u8>>();
    let long = |bytes: Vec<u8>| [&u16::try_from(bytes.len()).unwrap().to_be_bytes()[..], &bytes].concat();
    let extension = |id: u16, body: Vec<u8>| [id.to_be_bytes().to_vec(), long(body)].concat();
    let mut extensions = [
        extension(10, long(words(curves))),
        extension(11, vec![1, 0]),
        extension(13, long(words(&[0x0403, 0x0503, 0x0804, 0x0401]))),
        extension(0xff01, vec![0]),
    ]
    .concat();
    if master_secret {
        extensions.extend(extension(23, Vec::new()));
    }
    if !versions.is_empty() {
        let list = words(versions);
        extensions.extend(extension(43, [vec![u8::try_from(list.len()).unwrap()], list].concat()));
    }
    let body = [version.to_vec(), vec![7; 32], vec![0], long(words(suites)), vec![1, 0], long(extensions)].concat();
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    let message = [&[1], &length[1..], &body].concat();
    [vec![22, 3, 1], long(message)].concat()
}

async fn answer_to(gate: &Gate, hello: &[u8]) -> Vec<u8> {
    let mut tcp = TcpStream::connect(gate.address).await.unwrap();
    tcp.write_all(hello).await.unwrap();
    let mut answer = vec![0; 5];
    match tcp.read_exact(&mut answer).await {
        Ok(_) => {
            let mut body = vec![0; usize::from(u16::from_be_bytes([answer[3], answer[4]]))];
            tcp.read_exact(&mut body).await.unwrap();
            answer.extend(body);
            answer
        }
        Err(_) => Vec::new(),
    }
}

pub(crate) const ECDHE_GCM: &[u16] = &[0xc02b, 0xc02c, 0xc02f, 0xc030];

#[tokio::test]
async fn old_versions_and_weak_suites_and_curves_end_the_handshake() {
    let gate = Setup::before(Upstream::start().addr()).start();
    // What is refused below is refused for one reason alone: without it the same bytes get a ServerHello.
    let hello = answer_to(&gate, &client_hello([3, 3], ECDHE_GCM, &[], &[23], true)).await;
    assert_eq!((hello[0], hello[5]), (22, 2), "a ServerHello: {hello:?}");
    assert_eq!(&hello[35..43], b"DOWNGRD\x01", "RFC 8446 4.1.3");
    let holds = |bytes: &[u8]| hello.windows(bytes.len()).any(|window| window == bytes);
    assert!(holds(&[0, 23, 0, 0]), "extended master secret");
    assert!(holds(&[0xff, 1, 0, 1, 0]), "secure renegotiation");
    assert!(!holds(&[0, 15, 0, 1]) && !holds(&[0, 35, 0, 0]), "no heartbeat, no ticket");

    let weak = [
        0x0005, 0x000a, 0x002f, 0x0035, 0x003c, 0x009c, 0x009d, 0x009e, 0x0033, 0x0067, 0xc007, 0xc008, 0xc009, 0xc00a,
        0xc011, 0xc012, 0xc013, 0xc014, 0xc023, 0xc024, 0xc027, 0xc028, 0x0000, 0x0001, 0x0018, 0xc006, 0xc010, 0xcca8,
        0xcca9, 0xccaa, 0xc0ac, 0xc0ae,
    ];
    let mut cases: Vec<(String, Vec<u8>, &[u8])> = vec![
        ("SSL 3.0".into(), client_hello([3, 0], ECDHE_GCM, &[], &[23], true), &[2, 70]),
        ("TLS 1.0".into(), client_hello([3, 1], ECDHE_GCM, &[], &[23], true), &[2, 70]),
        ("TLS 1.1".into(), client_hello([3, 2], ECDHE_GCM, &[], &[23], true), &[2, 70]),
        (
            "TLS 1.1 in supported_versions".into(),
            client_hello([3, 3], ECDHE_GCM, &[0x0302, 0x0301], &[23], true),
            &[2, 70],
        ),
        (
            "weak curves: sect283k1, secp192r1, secp224r1, x25519's neighbour secp256k1".into(),
            client_hello([3, 3], ECDHE_GCM, &[], &[9, 19, 21, 22], true),
            &[2, 40],
        ),
        ("no extended master secret".into(), client_hello([3, 3], ECDHE_GCM, &[], &[23], false), &[2, 40]),
    ];
    for suite in weak {
        let hello = client_hello([3, 3], &[suite], &[], &[23], true);
        cases.push((format!("suite {suite:04x}"), hello, &[2, 40]));
    }
    let count = cases.len() as u64;
    for (what, hello, alert) in cases {
        let answer = answer_to(&gate, &hello).await;
        assert_eq!(answer.first(), Some(&21), "{what}: an alert: {answer:?}");
        assert_eq!(&answer[5..], alert, "{what}");
    }
    // The client that got a ServerHello left it at that.
    expect_refusals(&gate, &[("no_agreement", count), ("protocol", 1)]).await;
}

#[tokio::test]
async fn half_a_hello_and_silence_are_cut_and_do_not_hold_up_others() {
    let gate = Setup::before(Upstream::start().addr())
        .replace("client_ca_file: ca.pem", "client_ca_file: ca.pem, handshake_timeout_ms: 2000")
        .start();
    let hello = client_hello([3, 3], ECDHE_GCM, &[], &[23], true);
    let mut waiting = Vec::new();
    for number in 0..10 {
        let mut tcp = TcpStream::connect(gate.address).await.unwrap();
        if number % 2 == 0 {
            tcp.write_all(&hello[..hello.len() / 2]).await.unwrap();
        }
        waiting.push(tcp);
    }
    assert_eq!(gate.as_client("clinician").get("/open/x").await.status, 404);
    join_all(waiting.iter_mut().map(rest)).await;
    expect_refusals(&gate, &[("timeout", 10)]).await;
}

/// Tries to get something through. The handshake must not succeed; in TLS 1.3 the client learns that afterwards.
async fn turned_away(client: &Client, config: impl Into<Arc<ClientConfig>>, what: &str) {
    let error = match client.tls_with(config).await {
        Err(error) => error.to_string(),
        Ok(mut tls) => tls.read(&mut [0]).await.expect_err(what).to_string(),
    };
    assert!(error.contains("alert"), "{what}: {error}");
}

#[tokio::test]
async fn a_flood_of_bad_clients_is_few_records_and_an_exact_count() {
    let gate = Setup::before(Upstream::start().addr()).start();
    let client = gate.with(None);
    join_all((0..50).map(|_| async { turned_away(&client, client.tls_config().unwrap(), "none").await })).await;
    expect_refusals(&gate, &[("no_certificate", 50)]).await;
    let records = gate.events_named("HandshakesRefused").len();
    assert!(records <= 10, "{records} records");
    assert_eq!(gate.metric("sealgate_handshakes_refused_total{reason=\"no_certificate\"}"), 50.0);
    // What was counted is not counted again.
    raw(&gate.as_client("clinician"), GET).await;
    assert_eq!(refusals(&gate)["no_certificate"], 50);
}
