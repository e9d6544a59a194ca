//! Tokens and keys of providers that others wrote: node oidc-provider over TLS, and the Cognito of moto.

use super::{BEARER, call, signed, with_bearer};
use crate::fixture::moto::Moto;
use crate::fixture::oidc::{AUDIENCE, ISSUER, Oidc};
use crate::fixture::{Bed, Setup};
use aws_lc_rs::hmac;
use data_encoding::BASE64URL_NOPAD;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::Instant;

const GET: &str = "GET /Patient/1";
const PORTAL: &str =
    "  - {spiffe: spiffe://test.example/portal, user_roles: [billing, clinician], scopes: [test, a]}\n";

/// Users of a portal, by the tokens of such an issuer.
fn with_users(setup: Setup, bearer: &str) -> Setup {
    with_bearer(setup, bearer).replace("\nprincipals:\n", &format!("\nprincipals:\n{PORTAL}"))
}

async fn see(bed: &Bed, token: &str) -> (u16, Value) {
    let client = bed.gate.as_client("portal");
    let [one, two] = [call(GET, token).from(&client).await, call(GET, token).from(&client.over_http2()).await];
    assert_eq!((one.status, one.json()["ssn"].clone()), (two.status, two.json()["ssn"].clone()));
    (one.status.as_u16(), one.json()["ssn"].clone())
}

#[tokio::test]
async fn access_tokens_of_an_openid_provider_are_taken_through_a_change_of_its_keys() {
    let mut provider = None;
    let claims = json!({
        "alice": {"groups": ["ehr-clinicians", "staff"], "tenant": "a"},
        "bob": {"groups": "ehr-billing", "tenant": "b"},
        "mallory": {"groups": ["staff"], "tenant": "a"},
    });
    let bed = Bed::with(|setup| {
        let oidc = Oidc::start(setup.pki(), setup.folder(), "first", claims).unwrap();
        let url = provider.insert(oidc).jwks_url();
        let bearer = format!(
            "bearer:\n  issuer: {ISSUER}\n  audience: {AUDIENCE}\n  algorithms: [RS256]\n  jwks_url: {url}\n  ca_file: ca.pem\n  \
             roles: {{claim: groups, map: {{ehr-clinicians: clinician, ehr-billing: billing}}}}\n"
        );
        with_users(setup, &bearer)
    });
    let mut provider = provider.unwrap();
    bed.tokens("/Patient/1", "{\"ssn\":\"999-12-3456\"}", ["/ssn"]).await;
    let [alice, bob, mallory] =
        [provider.token("alice").await, provider.token("bob").await, provider.token("mallory").await];
    assert_eq!(see(&bed, &alice).await, (200, json!("999-12-3456")));
    assert_eq!(see(&bed, &bob).await, (200, json!("***-**-3456")));
    let event = bed.gate.events_named("ExchangeAnswered").pop().unwrap();
    assert_eq!(event["user"], json!({"issuer": ISSUER, "subject": "bob"}), "{event}");
    assert_eq!(event["roles"], json!(["billing"]));
    bed.upstream.take_all();
    bed.refuses("portal", &call(GET, &mallory), (403, "user_unknown")).await;
    // The tenant that the token claims, within the scopes of the portal.
    assert_eq!(bed.make("portal", &call("GET /user/Patient/1", &alice)).await.status, 404, "the upstream's answer");
    bed.upstream.take_all();
    bed.refuses("portal", &call("GET /user/Patient/1", &bob), (403, "scope_denied")).await;

    // No signature, and one by what everybody has: the key set, and the key in it.
    let keys = provider.key_set().await;
    let modulus = BASE64URL_NOPAD.decode(keys["keys"][0]["n"].as_str().unwrap().as_bytes()).unwrap();
    let claims: Vec<u8> = BASE64URL_NOPAD.decode(alice.split('.').nth(1).unwrap().as_bytes()).unwrap();
    let claims: Value = serde_json::from_slice(&claims).unwrap();
    for (algorithm, key) in [("none", None), ("HS256", Some(keys.to_string().into_bytes())), ("HS256", Some(modulus))] {
        let forged = signed(&json!({"alg": algorithm, "kid": "first"}), &claims, |message| {
            let key = key.as_ref().map(|key| hmac::Key::new(hmac::HMAC_SHA256, key));
            key.map(|key| hmac::sign(&key, message).as_ref().to_vec()).unwrap_or_default()
        });
        bed.refuses("portal", &call(GET, &forged), (401, "bearer_invalid")).await;
    }

    // Another key: the first token that names it is taken, and those of the old one are not any more.
    provider.restart("second").unwrap();
    let renewed = provider.token("alice").await;
    assert_eq!(bed.make("portal", &call(GET, &renewed)).await.json()["ssn"], "999-12-3456");
    bed.upstream.take_all();
    bed.refuses("portal", &call(GET, &alice), (401, "bearer_invalid")).await;
    assert_eq!(bed.gate.events().pop().unwrap()["cause"], "its key is unknown");
    // With the provider away its keys go on.
    provider.stop();
    assert_eq!(see(&bed, &renewed).await, (200, json!("999-12-3456")));
    assert_eq!(bed.gate.metric("sealgate_jwks_fetches_total{outcome=\"ok\"}"), 2.0);
}

#[tokio::test]
async fn an_openid_provider_that_comes_late_is_found() {
    let mut provider = None;
    let claims = json!({"alice": {"groups": ["ehr-clinicians"]}});
    let bed = Bed::with(|setup| {
        let mut oidc = Oidc::start(setup.pki(), setup.folder(), "first", claims).unwrap();
        oidc.stop();
        let url = provider.insert(oidc).jwks_url();
        let bearer =
            BEARER.replace(super::ISSUER, ISSUER).replace("audience: sealgate", &format!("audience: {AUDIENCE}"));
        let bearer = bearer.replace("jwks_file: jwks.json", &format!("jwks_url: {url}\n  ca_file: ca.pem"));
        with_users(setup, &format!("{bearer}  roles: {{claim: groups, map: {{ehr-clinicians: clinician}}}}\n"))
    });
    let mut provider = provider.unwrap();
    bed.gate.wait_for_log("bearer: keys of the issuer cannot be had");
    provider.restart("second").unwrap();
    let token = provider.token("alice").await;
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        let reply = bed.make("portal", &call(GET, &token)).await;
        if reply.status == 404 {
            break;
        }
        reply.expect_problem(503, "bearer_keys_unavailable");
        assert!(Instant::now() < end, "{}", bed.gate.log());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// A user pool with a client and users in groups.
struct Pool {
    moto: Moto,
    pool: String,
    client: String,
}

impl Pool {
    fn start(users: &[(&str, &[&str])]) -> Self {
        let moto = Moto::start().unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let pool = text(&moto.cognito("CreateUserPool", &json!({"PoolName": "clinic"}))["UserPool"]["Id"]);
        let flows = ["ALLOW_ADMIN_USER_PASSWORD_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"];
        let client = json!({"UserPoolId": pool, "ClientName": "portal", "ExplicitAuthFlows": flows});
        let client = text(&moto.cognito("CreateUserPoolClient", &client)["UserPoolClient"]["ClientId"]);
        for group in ["ehr-clinicians", "ehr-billing", "staff"] {
            moto.cognito("CreateGroup", &json!({"UserPoolId": pool, "GroupName": group}));
        }
        for (user, groups) in users {
            moto.cognito("AdminCreateUser", &json!({"UserPoolId": pool, "Username": user}));
            let password = json!({"UserPoolId": pool, "Username": user, "Password": "P4ss-word", "Permanent": true});
            moto.cognito("AdminSetUserPassword", &password);
            for group in *groups {
                moto.cognito("AdminAddUserToGroup", &json!({"UserPoolId": pool, "Username": user, "GroupName": group}));
            }
        }
        Self { moto, pool, client }
    }

    fn issuer(&self) -> String {
        format!("https://cognito-idp.us-east-1.amazonaws.com/{}", self.pool)
    }

    /// What a user gets that logs in.
    fn log_in(&self, user: &str) -> Value {
        let parameters = json!({"USERNAME": user, "PASSWORD": "P4ss-word"});
        let flow = "ADMIN_USER_PASSWORD_AUTH";
        let auth =
            json!({"UserPoolId": self.pool, "ClientId": self.client, "AuthFlow": flow, "AuthParameters": parameters});
        self.moto.cognito("AdminInitiateAuth", &auth)["AuthenticationResult"].clone()
    }
}

#[tokio::test]
async fn id_tokens_of_cognito_are_taken_with_the_groups_of_their_users() {
    let pool = Pool::start(&[("alice", &["ehr-clinicians", "staff"]), ("bob", &["ehr-billing"]), ("carol", &[])]);
    let bed = Bed::with(|setup| {
        let (issuer, audience, moto) = (pool.issuer(), &pool.client, pool.moto.addr());
        let bearer = format!(
            "bearer:\n  issuer: {issuer}\n  audience: {audience}\n  algorithms: [RS256]\n  jwks_url: \
             http://{moto}/{}/.well-known/jwks.json\n  roles: {{claim: 'cognito:groups', map: {{ehr-clinicians: clinician, \
             ehr-billing: billing}}}}\n",
            pool.pool
        );
        with_users(setup, &bearer).replace("scope: test\n", "scope: test\ndev_mode: true\n")
    });
    bed.tokens("/Patient/1", "{\"ssn\":\"999-12-3456\"}", ["/ssn"]).await;
    let id_token = |user: &str| pool.log_in(user)["IdToken"].as_str().unwrap().to_owned();
    assert_eq!(see(&bed, &id_token("alice")).await, (200, json!("999-12-3456")));
    let event = bed.gate.events_named("ExchangeAnswered").pop().unwrap();
    assert_eq!((&event["user"]["issuer"], &event["roles"]), (&json!(pool.issuer()), &json!(["clinician"])), "{event}");
    assert_eq!(see(&bed, &id_token("bob")).await, (200, json!("***-**-3456")));
    bed.upstream.take_all();
    bed.refuses("portal", &call(GET, &id_token("carol")), (403, "user_unknown")).await;
    // An access token of Cognito is for no audience, and so for none here.
    let access = pool.log_in("alice")["AccessToken"].as_str().unwrap().to_owned();
    bed.refuses("portal", &call(GET, &access), (401, "bearer_invalid")).await;
    let changed = id_token("alice").replacen('e', "f", 1);
    bed.refuses("portal", &call(GET, &changed), (401, "bearer_invalid")).await;
    // The pool's key has the same name in every pool of moto; another pool is another issuer.
    let other = Pool::start(&[("alice", &["ehr-clinicians"])]);
    let foreign = other.log_in("alice")["IdToken"].as_str().unwrap().to_owned();
    bed.refuses("portal", &call(GET, &foreign), (401, "bearer_invalid")).await;
}
