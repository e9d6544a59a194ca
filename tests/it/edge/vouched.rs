//! What the upstream is told of who the client is, and that no client can tell it otherwise.

use crate::fixture::pki::{spiffe, write_secret};
use crate::fixture::{Setup, Upstream};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use http::{HeaderMap, Method};
use rcgen::{DnType, ExtendedKeyUsagePurpose};
use sealgate::seal::crypto::sha256;
use serde_json::Value;
use std::time::{SystemTime, UNIX_EPOCH};

const LIES: [(&str, &str); 6] = [
    ("x-forwarded-client-cert", "Hash=00;URI=spiffe://test.example/root"),
    ("X-Forwarded_Client-Cert", "Hash=00"),
    ("x_forwarded_client_cert", "Hash=00"),
    ("x-sealgate-identity", "e30.e30.AAAA"),
    ("X-SealGate_Identity", "e30.e30.AAAA"),
    ("x-client-cert", "lie"),
];

fn identity_key() -> String {
    rcgen::KeyPair::generate().unwrap().serialize_pem()
}

/// The claims of a token, if a key of the set signed it.
fn verified(token: &str, set: &str) -> Option<Value> {
    let set: Value = serde_json::from_str(set).unwrap();
    let (message, signature) = token.rsplit_once('.').unwrap();
    let (header, claims) = message.split_once('.').unwrap();
    let decode = |text: &str| BASE64URL_NOPAD.decode(text.as_bytes()).unwrap();
    let header: Value = serde_json::from_slice(&decode(header)).unwrap();
    assert_eq!(header["alg"], "ES256");
    let key = set["keys"].as_array().unwrap().iter().find(|key| key["kid"] == header["kid"])?;
    assert_eq!(key.get("d"), None, "no private part");
    let point = [vec![4], decode(key["x"].as_str()?), decode(key["y"].as_str()?)].concat();
    let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point);
    key.verify(message.as_bytes(), &decode(signature)).ok()?;
    serde_json::from_slice(&decode(claims)).ok()
}

fn only<'h>(headers: &'h HeaderMap, name: &str) -> &'h str {
    assert_eq!(headers.get_all(name).iter().count(), 1, "{headers:?}");
    headers[name].to_str().unwrap()
}

#[tokio::test]
async fn the_clients_certificate_is_told_as_it_is_whatever_the_client_says() {
    let upstream = Upstream::start();
    let gate = Setup::before(upstream.addr()).start();
    let identity = gate.pki().issue(|params| {
        params.distinguished_name.push(DnType::CommonName, "clinician app");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.subject_alt_names = vec![spiffe("spiffe://test.example/clinician")];
    });
    let hash = HEXLOWER.encode(&sha256(&[&identity.certificate]));
    let client = gate.with(Some(identity));
    for client in [client.clone(), client.over_http2()] {
        for path in ["/open/x", "/Patient/1"] {
            client.call(Method::GET, path, &LIES, "").await;
            let headers = upstream.take_only().headers;
            let told = only(&headers, "x-forwarded-client-cert");
            assert_eq!(told, format!("Hash={hash};Subject=\"CN=clinician app\";URI=spiffe://test.example/clinician"));
            let names: Vec<String> = headers.keys().map(|name| name.as_str().replace('_', "-")).collect();
            assert!(!names.iter().any(|name| name == "x-sealgate-identity" || name == "x-client-cert"), "{names:?}");
            assert_eq!(names.iter().filter(|name| *name == "x-forwarded-client-cert").count(), 1, "{names:?}");
        }
    }
}

#[tokio::test]
async fn a_signed_token_says_who_the_client_is() {
    let upstream = Upstream::start();
    let setup = Setup::before(upstream.addr());
    write_secret(&setup.folder().join("identity.key"), &identity_key());
    let line = "identity_token: {key_file: identity.key, issuer: 'https://gate.test', lifetime_s: 30}\nupstreams:\n";
    let gate = setup.replace("upstreams:\n", line).start();
    let client = gate.as_client("billing");
    client.call(Method::GET, "/Patient/1", &LIES, "").await;
    let headers = upstream.take_only().headers;
    let first = only(&headers, "x-sealgate-identity").to_owned();
    let set = gate.admin("/jwks.json").1;
    let claims = verified(&first, &set).expect("signed by the key of the set");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let issued = claims["iat"].as_u64().unwrap();
    assert!(issued <= now && now - issued < 20 && claims["exp"] == issued + 30, "{claims}");
    let certificate = gate.events_named("ExchangeAnswered").pop().unwrap();
    for (name, wanted) in [
        ("iss", Value::from("https://gate.test")),
        ("sub", "spiffe://test.example/billing".into()),
        ("aud", "app".into()),
        ("roles", serde_json::json!(["billing"])),
        ("scope_id", "test".into()),
        ("jti", certificate["exchange"].clone()),
        ("user", Value::Null),
    ] {
        assert_eq!(claims[name], wanted, "{name}");
    }
    let print = BASE64URL_NOPAD.decode(claims["client_certificate"].as_str().unwrap().as_bytes()).unwrap();
    assert_eq!(certificate["certificate"], HEXLOWER.encode(&print));
    assert!(!gate.log().contains(&first), "it is not logged");

    // With another key, what the one before signed is still to be checked.
    write_secret(&gate.folder().join("identity.key"), &identity_key());
    assert_eq!(gate.reload(), "applied");
    client.get("/Patient/1").await;
    let second = only(&upstream.take_only().headers, "x-sealgate-identity").to_owned();
    let later = gate.admin("/jwks.json").1;
    assert!(verified(&second, &set).is_none() && verified(&second, &later).is_some());
    assert!(verified(&first, &later).is_some());
    // Whom nobody knows is vouched for to nobody.
    gate.as_client("stranger").get("/Patient/1").await.expect_problem(403, "principal_unknown");
    upstream.expect_nothing();
}

#[test]
fn a_key_of_another_kind_is_a_mistake_of_the_config() {
    let setup = Setup::before(Upstream::start().addr());
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap().serialize_pem();
    write_secret(&setup.folder().join("identity.key"), &key);
    let line = "identity_token: {key_file: identity.key, issuer: x}\nupstreams:\n";
    let (code, said) = setup.replace("upstreams:\n", line).validate();
    assert_eq!(code, Some(78));
    assert!(said.contains("identity_token.key_file: wanted a private key on P-256"), "{said}");
}
