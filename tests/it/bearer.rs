//! Users behind a client application: tokens that are taken, and those that are not.

mod fetched;
mod providers;
mod published;
mod roles;

use crate::fixture::{Bed, Call, Setup};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use aws_lc_rs::{hmac, rsa, signature};
use data_encoding::BASE64URL_NOPAD;
use rcgen::PublicKeyData;
use sealgate::seal::crypto::sha256;
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};

const ISSUER: &str = "https://idp.test.example";
const BEARER: &str = "bearer:
  issuer: https://idp.test.example
  audience: sealgate
  algorithms: [ES256, RS256]
  jwks_file: jwks.json
  clock_skew_s: 5
";
const ROUTE: &str = "routes:
  - name: of-user
    path: /user/Patient/{id}
    methods: [GET, PUT]
    upstream: app
    scope_from: {claim: tenant}
    rules:
      - {path: $.ssn, class: ssn}
";
const PRINCIPALS: &str = "principals:
  - {spiffe: spiffe://test.example/app, roles: [clinician], scopes: [a, b]}
";
const DOCUMENT: &str = "{\"ssn\":\"999-12-3456\"}";

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// An issuer's key, by another implementation than the one that checks.
struct Issuer {
    id: &'static str,
    key: EcdsaKeyPair,
    point: Vec<u8>,
}

impl Issuer {
    fn new(id: &'static str) -> Self {
        let pair = rcgen::KeyPair::generate().unwrap();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &pair.serialize_der()).unwrap();
        Self { id, key, point: pair.der_bytes().to_vec() }
    }

    fn jwk(&self) -> Value {
        let [x, y] = [1..33, 33..65].map(|range| BASE64URL_NOPAD.encode(&self.point[range]));
        json!({"kty": "EC", "crv": "P-256", "kid": self.id, "use": "sig", "x": x, "y": y})
    }

    fn header(&self) -> Value {
        json!({"alg": "ES256", "typ": "at+jwt", "kid": self.id})
    }

    fn token(&self, claims: &Value) -> String {
        self.sign(&self.header(), claims)
    }

    fn sign(&self, header: &Value, claims: &Value) -> String {
        signed(header, claims, |message| self.key.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec())
    }
}

fn signed(header: &Value, claims: &Value, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let [header, claims] = [header, claims].map(|part| BASE64URL_NOPAD.encode(part.to_string().as_bytes()));
    let message = format!("{header}.{claims}");
    let signature = BASE64URL_NOPAD.encode(&sign(message.as_bytes()));
    format!("{message}.{signature}")
}

fn claims() -> Value {
    json!({"iss": ISSUER, "aud": "sealgate", "sub": "user-17", "exp": now() + 60, "tenant": "a"})
}

/// The claims with some of them others, or, if null, not there.
fn but(changes: &Value) -> Value {
    let mut claims = claims();
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
            value => claims[name] = value.clone(),
        }
    }
    claims
}

fn with_keys(setup: Setup, keys: &[Value]) -> Setup {
    std::fs::write(setup.folder().join("jwks.json"), json!({"keys": keys}).to_string()).unwrap();
    with_bearer(setup, BEARER)
}

fn with_bearer(setup: Setup, bearer: &str) -> Setup {
    let setup = setup.replace("\nroutes:\n", &format!("\n{ROUTE}"));
    setup
        .replace("\nprincipals:\n", &format!("\n{PRINCIPALS}"))
        .replace("upstreams:\n", &format!("{bearer}upstreams:\n"))
}

fn call(line: &str, token: &str) -> Call {
    Call::new(line).header("authorization", &format!("Bearer {token}"))
}

#[tokio::test]
async fn a_claim_says_in_which_scope_the_user_acts_and_the_record_names_the_user() {
    let (issuer, other) = (Issuer::new("k1"), Issuer::new("k2"));
    let bed = Bed::with(|setup| with_keys(setup, &[other.jwk(), issuer.jwk()]));
    for (issuer, tenant) in [(&issuer, "a"), (&other, "b")] {
        let token = issuer.token(&but(&json!({"tenant": tenant, "aud": ["other", "sealgate"]})));
        let wrote = bed.make("app", &call("PUT /user/Patient/1", &token).json(DOCUMENT)).await;
        assert_eq!(wrote.text(), DOCUMENT);
        bed.upstream.take_only();
        let event = bed.gate.events().pop().unwrap();
        assert_eq!(event["user"], json!({"issuer": ISSUER, "subject": "user-17"}), "{event}");
        assert_eq!((&event["scope"], &event["principal"]), (&json!(tenant), &json!("spiffe://test.example/app")));
        // The one sees what it wrote, the other does not.
        let there = if tenant == "a" { "b" } else { "a" };
        let read = bed.make("app", &call("GET /user/Patient/1", &token)).await;
        assert_eq!(read.text(), DOCUMENT);
        let token = issuer.token(&but(&json!({"tenant": there})));
        bed.make("app", &call("GET /user/Patient/1", &token)).await.expect_problem(502, "response_unopenable");
        bed.upstream.take_all();
    }
    // A user does not act beyond the application that speaks for it.
    let token = issuer.token(&but(&json!({"tenant": "test"})));
    bed.refuses("app", &call("GET /user/Patient/1", &token), (403, "scope_denied")).await;
    for tenant in [json!(null), json!(7), json!(["a"]), json!(""), json!("a b")] {
        let token = issuer.token(&but(&json!({"tenant": tenant})));
        bed.refuses("app", &call("GET /user/Patient/1", &token), (400, "scope_missing")).await;
    }
    assert_eq!(bed.gate.events().pop().unwrap()["user"]["subject"], "user-17", "also of what is refused");
}

#[tokio::test]
async fn a_token_that_is_not_good_is_refused() {
    let (issuer, stranger) = (Issuer::new("k1"), Issuer::new("k1"));
    let bed = Bed::with(|setup| with_keys(setup, &[issuer.jwk()]));
    let get = "GET /user/Patient/1";
    let by = |claims: &Value| issuer.token(claims);
    let header = |changes: Value| {
        let mut header = issuer.header();
        header.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        issuer.sign(&header, &claims())
    };
    let good = by(&claims());
    let (body, signature) = good.rsplit_once('.').unwrap();
    let keyed = |key: &[u8]| {
        let key = hmac::Key::new(hmac::HMAC_SHA256, key);
        signed(&json!({"alg": "HS256", "kid": "k1"}), &claims(), |message| hmac::sign(&key, message).as_ref().to_vec())
    };
    let changed = {
        let forged = BASE64URL_NOPAD.encode(but(&json!({"tenant": "b"})).to_string().as_bytes());
        format!("{}.{forged}.{signature}", good.split('.').next().unwrap())
    };
    for (token, cause) in [
        (by(&but(&json!({"exp": now() - 60}))), "expired"),
        (by(&but(&json!({"exp": null}))), "a claim is missing"),
        (by(&but(&json!({"exp": "tomorrow"}))), "a claim is missing"),
        (by(&but(&json!({"nbf": now() + 60}))), "not valid yet"),
        (by(&but(&json!({"iss": "https://idp.test.example/"}))), "of another issuer"),
        (by(&but(&json!({"iss": null}))), "a claim is missing"),
        (by(&but(&json!({"iss": [ISSUER, "https://other.example"]}))), "of another issuer"),
        (by(&but(&json!({"aud": "other"}))), "for another audience"),
        (by(&but(&json!({"aud": null}))), "a claim is missing"),
        (by(&but(&json!({"sub": null}))), "a claim is missing"),
        (by(&but(&json!({"sub": ""}))), "it names nobody"),
        (by(&but(&json!({"sub": "x".repeat(257)}))), "it names nobody"),
        (by(&but(&json!({"sub": "user\n17"}))), "it names nobody"),
        (by(&but(&json!({"cnf": {}}))), "bound to another certificate, or to what is no certificate"),
        (stranger.token(&claims()), "its signature is wrong"),
        (changed, "its signature is wrong"),
        (format!("{body}."), "malformed"),
        (format!("{}.{}", signed(&json!({"alg": "none"}), &claims(), |_| Vec::new()), ""), "malformed"),
        (signed(&json!({"alg": "none"}), &claims(), |_| Vec::new()), "malformed"),
        (keyed(&issuer.point), "of another algorithm"),
        (keyed(issuer.jwk().to_string().as_bytes()), "of another algorithm"),
        (header(json!({"alg": "ES384"})), "of another algorithm"),
        (header(json!({"alg": "RS256"})), "of another algorithm"),
        (header(json!({"kid": "k2"})), "its key is unknown"),
        (header(json!({"typ": "logout+jwt"})), "of another kind"),
        (header(json!({"typ": "dpop+jwt"})), "of another kind"),
        (header(json!({"crit": ["exp"], "exp": 1})), "of another kind"),
        (header(json!({"crit": ["b64"], "b64": true})), "of another kind"),
        (by(&but(&json!({"cnf": {"jkt": "x"}}))), "bound to another certificate, or to what is no certificate"),
        (by(&but(&json!({"cnf": {"x5t#S256": "x"}}))), "bound to another certificate, or to what is no certificate"),
        ("x".to_owned(), "malformed"),
        (format!(" {good}"), "malformed"),
        (format!("{good}.x"), "malformed"),
    ] {
        bed.refuses("app", &call(get, &token), (401, "bearer_invalid")).await;
        let event = bed.gate.events().pop().unwrap();
        let got = event["cause"].as_str().unwrap();
        // What is not even a header is malformed, whatever else it may be.
        assert!(
            got == cause || (cause == "malformed" && got == "its signature is wrong"),
            "{got} for {cause}: {token}"
        );
        assert_eq!(event["user"], Value::Null, "who is not proven is not named: {event}");
    }
}

#[tokio::test]
async fn clocks_may_differ_by_so_much_and_no_more() {
    let issuer = Issuer::new("k1");
    let bed = Bed::with(|setup| with_keys(setup, &[issuer.jwk()]).replace("clock_skew_s: 5", "clock_skew_s: 60"));
    for (times, status) in [
        (json!({"exp": now() - 50}), 404),
        (json!({"exp": now() - 61}), 401),
        (json!({"nbf": now() + 50}), 404),
        (json!({"nbf": now() + 75}), 401),
        (json!({"exp": now() - 50, "nbf": now() - 50}), 404),
        (json!({"nbf": "soon"}), 401),
        (json!({"exp": -1}), 401),
        (json!({"exp": 1e300}), 401),
    ] {
        let reply = bed.make("app", &call("GET /user/Patient/1", &issuer.token(&but(&times)))).await;
        assert_eq!(reply.status, status, "{times}: {}", reply.text());
    }
}

#[tokio::test]
async fn a_request_brings_exactly_one_token() {
    let issuer = Issuer::new("k1");
    let bed = Bed::with(|setup| with_keys(setup, &[issuer.jwk()]));
    let (get, good) = ("GET /user/Patient/1", issuer.token(&claims()));
    let two = call(get, &good).header("authorization", &format!("Bearer {good}"));
    bed.refuses("app", &two, (401, "bearer_invalid")).await;
    // The upstream would hear of no user.
    let ends_here = call(get, &good).header("connection", "Authorization");
    let client = bed.gate.as_client("app");
    bed.refuses_from(&client, &ends_here, (401, "bearer_invalid")).await;
    let refused = call(get, "x").from(&bed.gate.as_client("app")).await;
    assert_eq!(refused.header("www-authenticate"), Some("Bearer error=\"invalid_token\""));
    for call in [
        Call::new(get),
        Call::new(get).header("authorization", "Basic eDp5"),
        Call::new(get).header("authorization", ""),
    ] {
        bed.refuses("app", &call, (401, "bearer_missing")).await;
        assert_eq!(call.from(&bed.gate.as_client("app")).await.header("www-authenticate"), Some("Bearer"));
    }
    // Who is unknown learns nothing of what is wanted, whatever it brings.
    bed.refuses("stranger", &call(get, &good), (403, "principal_unknown")).await;
    bed.refuses("stranger", &Call::new(get), (403, "principal_unknown")).await;
    assert_eq!(bed.make("app", &call(get, &good)).await.status, 404, "the upstream's answer");
}

#[tokio::test]
async fn a_token_that_is_bound_to_a_certificate_is_taken_with_that_one_only() {
    let issuer = Issuer::new("k1");
    let bed = Bed::with(|setup| with_keys(setup, &[issuer.jwk()]));
    let [own, other] = ["app", "app"].map(|name| bed.gate.pki().client(name));
    let print = BASE64URL_NOPAD.encode(&sha256(&[own.certificate.as_ref()]));
    let call = call("GET /user/Patient/1", &issuer.token(&but(&json!({"cnf": {"x5t#S256": print}}))));
    let (own, other) = (bed.gate.with(Some(own)), bed.gate.with(Some(other)));
    assert_eq!(call.from(&own).await.status, 404, "the upstream's answer");
    bed.upstream.take_all();
    bed.refuses_from(&other, &call, (401, "bearer_invalid")).await;
}

#[tokio::test]
async fn an_rsa_key_serves_as_well() {
    let key = rsa::KeyPair::generate(rsa::KeySize::Rsa2048).unwrap();
    let public = key.public_key();
    let [n, e] =
        [public.modulus().big_endian_without_leading_zero(), public.exponent().big_endian_without_leading_zero()]
            .map(|number| BASE64URL_NOPAD.encode(number));
    let jwk = json!({"kty": "RSA", "alg": "RS256", "n": n, "e": e});
    let all = |setup: Setup| setup.replace("[ES256, RS256]", "[ES256, RS256, PS256]");
    let bed = Bed::with(|setup| all(with_keys(setup, &[jwk])));
    let token = |padding: &'static dyn signature::RsaEncoding, algorithm: &str| {
        signed(&json!({"alg": algorithm}), &claims(), |message| {
            let mut out = vec![0; key.public_modulus_len()];
            key.sign(padding, &SystemRandom::new(), message, &mut out).unwrap();
            out
        })
    };
    let good = token(&signature::RSA_PKCS1_SHA256, "RS256");
    assert_eq!(bed.make("app", &call("GET /user/Patient/1", &good)).await.status, 404, "the upstream's answer");
    bed.upstream.take_all();
    let named = signed(&json!({"alg": "RS256", "kid": "any"}), &claims(), |message| {
        let mut out = vec![0; key.public_modulus_len()];
        key.sign(&signature::RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut out).unwrap();
        out
    });
    assert_eq!(bed.make("app", &call("GET /user/Patient/1", &named)).await.status, 404, "the only key has no name");
    bed.upstream.take_all();
    let other = token(&signature::RSA_PSS_SHA256, "PS256");
    bed.refuses("app", &call("GET /user/Patient/1", &other), (401, "bearer_invalid")).await;
    assert_eq!(bed.gate.events().pop().unwrap()["cause"], "of another algorithm", "the key says which one is its own");
}

#[test]
fn a_config_of_tokens_that_could_not_be_checked_is_refused() {
    let issuer = Issuer::new("k1");
    let setup = |keys: &[Value]| with_keys(Setup::before(([127, 0, 0, 1], 9).into()), keys);
    let good = issuer.jwk();
    assert_eq!(
        setup(std::slice::from_ref(&good)).validate().0,
        Some(0),
        "{}",
        setup(std::slice::from_ref(&good)).validate().1
    );
    let without = |name: &str| {
        let mut key = issuer.jwk();
        key.as_object_mut().unwrap().remove(name);
        key
    };
    let secret = json!({"kty": "oct", "kid": "k3", "k": "AAAA"});
    let curve = json!({"kty": "EC", "crv": "P-256", "kid": "k1", "use": "enc", "x": good["x"], "y": good["y"]});
    let mut wraps = without("use");
    wraps["key_ops"] = json!(["encrypt", "wrapKey"]);
    let many: Vec<Value> = (0..65).map(|_| good.clone()).collect();
    for (keys, said) in [
        (&[][..], "no key in it is a public key of one of the algorithms"),
        (&[secret][..], "no key in it"),
        (&[curve], "no key in it"),
        (&[wraps], "no key in it"),
        (&[good.clone(), good.clone()], "a `kid` of its own for each key"),
        (&[good.clone(), without("kid")], "a `kid` of its own for each key"),
        (&many, "at most 64 keys"),
    ] {
        let (code, told) = setup(keys).validate();
        assert_eq!(code, Some(78), "{told}");
        assert!(told.contains(said), "{said}: {told}");
    }
    for (from, to, said) in [
        ("{claim: tenant}", "{claim: tenant, identity: true}", "wanted exactly one of"),
        ("algorithms: [ES256, RS256]", "algorithms: []", "algorithms"),
        ("algorithms: [ES256, RS256]", "algorithms: [HS256]", "HS256"),
        ("algorithms: [ES256, RS256]", "algorithms: [RS256]", "no key in it"),
        ("jwks_file: jwks.json", "jwks_file: kek", "wanted a JSON object with `keys`"),
        ("jwks_file: jwks.json", "jwks_file: none.json", "none.json"),
        (BEARER, "", "claims are those of tokens that `bearer` speaks of"),
    ] {
        let (code, told) = setup(std::slice::from_ref(&good)).replace(from, to).validate();
        assert_eq!(code, Some(78), "{to}: {told}");
        assert!(told.contains(said), "{to}: {told}");
    }
    let (code, told) = setup(std::slice::from_ref(&good)).replace("{claim: tenant}", "{identity: true}").validate();
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("bearer: no route takes its scope from a claim and no principal has user_roles"), "{told}");
}
