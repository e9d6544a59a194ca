//! Clients that act in the roles of their users: what a token says of its user decides who sees what.

use super::{BEARER, Issuer, but, call, claims, with_bearer};
use crate::fixture::leak::find_leaks;
use crate::fixture::{Bed, Call, Setup};
use serde_json::{Value, json};

const CLAIM: &str = "roles: {claim: groups, map: {ehr-clinicians: clinician, ehr-billing: billing, Desk: desk}}";
const DOCUMENT: &str = "{\"ssn\":\"999-12-3456\"}";
const GET: &str = "GET /Patient/1";

/// A portal whose users are support, billing or clinician, in this order.
fn with_portal(setup: Setup, keys: &[Value]) -> Setup {
    std::fs::write(setup.folder().join("jwks.json"), json!({"keys": keys}).to_string()).unwrap();
    let map = CLAIM.replace("Desk: desk", "Desk: desk, ehr-support: support");
    let portal =
        "  - {spiffe: spiffe://test.example/portal, user_roles: [support, billing, clinician], scopes: [test, a]}\n";
    with_bearer(setup, &format!("{BEARER}  {map}\n")).replace("\nprincipals:\n", &format!("\nprincipals:\n{portal}"))
}

fn groups(groups: &Value) -> Value {
    but(&json!({"groups": groups}))
}

#[tokio::test]
async fn a_user_sees_what_its_roles_see() {
    let issuer = Issuer::new("k1");
    let bed = Bed::with(|setup| with_portal(setup, &[issuer.jwk()]));
    bed.tokens("/Patient/1", DOCUMENT, ["/ssn"]).await;
    let [plain, masked, redacted] = ["999-12-3456", "***-**-3456", "[REDACTED]"];
    let client = bed.gate.as_client("portal");
    for client in [client.clone(), client.over_http2()] {
        for (said, shown, roles) in [
            (json!("ehr-clinicians"), plain, json!(["clinician"])),
            (json!(["ehr-clinicians"]), plain, json!(["clinician"])),
            (json!(["ehr-billing", "unheard-of", 7, null]), masked, json!(["billing"])),
            // The order is the principal's, whatever the token's is.
            (json!(["ehr-clinicians", "ehr-billing"]), masked, json!(["billing", "clinician"])),
            (json!(["ehr-billing", "ehr-clinicians"]), masked, json!(["billing", "clinician"])),
            (json!(["ehr-billing", "ehr-support"]), redacted, json!(["support", "billing"])),
            // A role that the map gives and the principal does not.
            (json!(["Desk", "ehr-clinicians", "ehr-clinicians"]), plain, json!(["clinician"])),
        ] {
            let reply = call(GET, &issuer.token(&groups(&said))).from(&client).await;
            assert_eq!((reply.status.as_u16(), &reply.json()["ssn"]), (200, &json!(shown)), "{said}");
            let event = bed.gate.events_named("ExchangeAnswered").pop().unwrap();
            assert_eq!(event["roles"], roles, "{event}");
            assert_eq!(event["principal"], "spiffe://test.example/portal");
            assert_eq!(event["user"], json!({"issuer": super::ISSUER, "subject": "user-17"}));
            assert!(event["certificate"].as_str().is_some_and(|print| print.len() == 64));
            bed.upstream.take_all();
        }
    }
    // What none of the roles may is refused, and on record with who it was.
    let put = |said: Value| call("PUT /Patient/1", &issuer.token(&groups(&said))).json(DOCUMENT);
    bed.refuses("portal", &put(json!(["ehr-support"])), (403, "read_only")).await;
    let event = bed.gate.events().pop().unwrap();
    assert_eq!((&event["roles"], &event["user"]["subject"]), (&json!(["support"]), &json!("user-17")));
    assert_eq!(bed.make("portal", &put(json!(["ehr-clinicians"]))).await.status, 200);
}

#[tokio::test]
async fn a_user_without_a_role_is_refused_everywhere() {
    let issuer = Issuer::new("k1");
    let bed = Bed::with(|setup| with_portal(setup, &[issuer.jwk()]));
    for said in [json!(null), json!([]), json!("Desk"), json!("EHR-clinicians"), json!({"ehr-clinicians": 1}), json!(1)]
    {
        for line in [GET, "GET /open/x", "GET /user/Patient/1"] {
            let call = call(line, &issuer.token(&groups(&said)));
            bed.refuses("portal", &call, (403, "user_unknown")).await;
            let event = bed.gate.events().pop().unwrap();
            assert_eq!((&event["user"]["subject"], &event["roles"]), (&json!("user-17"), &Value::Null), "{event}");
        }
    }
    let reply = bed.make("portal", &call(GET, &issuer.token(&claims()))).await;
    assert_eq!(reply.header("www-authenticate"), Some("Bearer error=\"insufficient_scope\""));
}

#[tokio::test]
async fn every_request_of_such_a_client_brings_a_token_and_no_other_one_has_to() {
    let issuer = Issuer::new("k1");
    let bed = Bed::with(|setup| with_portal(setup, &[issuer.jwk()]));
    for line in [GET, "GET /open/x", "POST /open/x", "GET /user/Patient/1"] {
        bed.refuses("portal", &Call::new(line), (401, "bearer_missing")).await;
        bed.refuses("portal", &Call::new(line).header("authorization", "Basic eDp5"), (401, "bearer_missing")).await;
        bed.refuses("portal", &call(line, "x"), (401, "bearer_invalid")).await;
        let reply = bed.make("portal", &Call::new(line)).await;
        assert_eq!(reply.header("www-authenticate"), Some("Bearer"));
        let reply = bed.make("portal", &call(line, "x")).await;
        assert_eq!(reply.header("www-authenticate"), Some("Bearer error=\"invalid_token\""));
    }
    // Its scopes are the principal's, also where a claim says which one.
    let good = issuer.token(&but(&json!({"groups": "ehr-clinicians", "tenant": "b"})));
    bed.refuses("portal", &call("GET /user/Patient/1", &good), (403, "scope_denied")).await;
    let good = issuer.token(&but(&json!({"groups": "ehr-clinicians"})));
    for line in [GET, "GET /open/x", "GET /user/Patient/1"] {
        assert_eq!(bed.make("portal", &call(line, &good)).await.status, 404, "the upstream's answer");
        let sent = bed.upstream.take_only();
        assert_eq!(sent.headers["authorization"], format!("Bearer {good}"), "it goes on");
    }
    // Of who has roles of its own no token is looked at, good or bad.
    for token in ["x", &issuer.token(&groups(&json!("ehr-support")))] {
        let reply = bed.make("clinician", &call(GET, token)).await;
        assert_eq!(reply.status, 404, "the upstream's answer: {}", reply.text());
        let event = bed.gate.events_named("ExchangeAnswered").pop().unwrap();
        assert_eq!((&event["user"], &event["roles"]), (&Value::Null, &json!(["clinician"])));
        bed.upstream.take_all();
    }
    bed.refuses("stranger", &call(GET, &good), (403, "principal_unknown")).await;
}

#[tokio::test]
async fn roles_are_found_inside_of_objects() {
    let issuer = Issuer::new("k1");
    let nested =
        |setup: Setup| with_portal(setup, &[issuer.jwk()]).replace("claim: groups", "claim: realm_access.roles");
    let bed = Bed::with(nested);
    let user = |claims: Value| call(GET, &issuer.token(&but(&claims)));
    let good = user(json!({"realm_access": {"roles": ["offline_access", "ehr-billing"]}}));
    assert_eq!(bed.make("portal", &good).await.status, 404, "the upstream's answer");
    bed.upstream.take_all();
    for claims in [json!({"realm_access": {"groups": "ehr-billing"}}), json!({"roles": "ehr-billing"})] {
        bed.refuses("portal", &user(claims), (403, "user_unknown")).await;
    }
}

/// Header, claims and signature of good tokens and bad ones, in whole and in part.
#[tokio::test]
async fn a_token_stands_in_no_log_and_in_no_record() {
    let issuer = Issuer::new("k1");
    let bed = Bed::with(|setup| with_portal(setup, &[issuer.jwk()]));
    let claim = "Anspruch-Firlefanz";
    let good = issuer.token(&but(&json!({"groups": ["ehr-clinicians", claim], "email": claim})));
    let late = issuer.token(&but(&json!({"groups": [claim], "exp": 1, "sub": claim})));
    let strange = Issuer::new("Schluessel-Tohuwabohu").token(&but(&json!({"email": claim})));
    let raw = format!("{claim}.{claim}.{claim}");
    for token in [&good, &late, &strange, &raw, &format!("{good} {claim}")] {
        for line in [GET, "GET /user/Patient/1", "GET /nowhere"] {
            let reply = bed.make("portal", &call(line, token)).await;
            let said = [("claim".to_owned(), claim.to_owned())];
            assert_eq!(find_leaks(&reply.body, &said), Vec::<String>::new(), "{line}");
        }
    }
    let parts = [&good, &late, &strange].map(|token| token.split('.').map(str::to_owned).collect::<Vec<_>>()).concat();
    let said = [claim.to_owned(), "Schluessel-Tohuwabohu".to_owned()].into_iter().chain(parts);
    let said: Vec<_> = said.map(|text| ("token".to_owned(), text)).collect();
    let all = [bed.gate.journal_bytes(), bed.gate.log().into_bytes(), bed.gate.admin("/metrics").1.into_bytes()];
    assert_eq!(find_leaks(&all.concat(), &said), Vec::<String>::new());
}

#[test]
fn a_config_of_roles_that_nobody_could_have_is_refused() {
    let issuer = Issuer::new("k1");
    let setup = || with_portal(Setup::before(([127, 0, 0, 1], 9).into()), &[issuer.jwk()]);
    assert_eq!(setup().validate().0, Some(0), "{}", setup().validate().1);
    let users = "user_roles: [support, billing, clinician]";
    let removes = "support: {default_view: remove, read_only: true}";
    for (from, to, said) in [
        (users, "roles: [support], user_roles: [billing]", "wanted exactly one of roles and user_roles"),
        ("portal, user_roles: [support, billing, clinician]", "portal", "wanted exactly one of roles and user_roles"),
        (users, "user_roles: []", "user_roles"),
        (users, "user_roles: [support, nobody]", "user_roles[1]: unknown role \"nobody\""),
        ("Desk: desk", "Desk: nobody", "bearer.roles.map.Desk: unknown role \"nobody\""),
        ("claim: groups", "claim: ''", "bearer.roles.claim: wanted the name of a claim"),
        ("claim: groups", "claim: a..b", "bearer.roles.claim: wanted the name of a claim"),
        ("claim: groups", "claim: [groups]", "bearer.roles.claim"),
        ("spiffe: spiffe://test.example/portal", "uid: 4711", "a command brings no bearer token"),
        // In whichever of them a user has, nobody writes back what a view has removed.
        ("support: {default_view: redact, read_only: true}", removes, "user_roles: a role that removes values stands"),
    ] {
        let (code, told) = setup().replace(from, to).validate();
        assert_eq!(code, Some(78), "{to}: {told}");
        assert!(told.contains(said), "{to}: {told}");
    }
    let map = CLAIM.replace("Desk: desk", "Desk: desk, ehr-support: support");
    let (code, told) = setup().replace(&map, "").validate();
    assert_eq!(code, Some(78), "{told}");
    assert!(told.contains("which of them a user has, `bearer.roles` says"), "{told}");
    let (code, told) = setup().replace(", ehr-support: support", "").validate();
    let warned = "principals[0].user_roles[0]: no value in `bearer.roles.map` gives this role";
    assert_eq!((code, told.contains(warned)), (Some(0), true), "{told}");
    // Without a route that takes its scope from a claim tokens are asked for all the same.
    let (code, told) = setup().replace("{claim: tenant}", "{identity: true}").validate();
    assert_eq!((code, told.contains("no request is asked for a token")), (Some(0), false), "{told}");
}
