//! Whose data a request is about: said by the path, a header field or the caller's principal, and allowed by the policy.

use crate::fixture::keys::{bodies, with_kms};
use crate::fixture::kms::{self, Kms};
use crate::fixture::tee::Tee;
use crate::fixture::{Bed, Call, Setup, Upstream};
use serde_json::{Value, json};

const ROUTES: &str = "routes:
  - name: of-tenant
    path: /tenant/{tenant}/Patient/{id}
    methods: [GET, PUT]
    upstream: app
    scope_from: {parameter: tenant}
    rules: &all
      - {path: $.ssn, class: ssn}
      - {path: $.note, class: note, on_unopenable: mark}
  - name: of-header
    path: /header/Patient/{id}
    methods: [GET, PUT]
    upstream: app
    scope_from: {header: X-Tenant}
    rules: *all
  - name: of-caller
    path: /mine/Patient/{id}
    methods: [GET, PUT]
    upstream: app
    scope_from: {identity: true}
    rules: *all
  - name: of-a
    path: /a/Patient/{id}
    methods: [GET, PUT]
    upstream: app
    scope: a
    rules: *all
  - name: pass
    path: /pass/{tenant}
    methods: [GET]
    upstream: app
    scope_from: {parameter: tenant}
    protect: none
";
const PRINCIPALS: &str = "principals:
  - {spiffe: spiffe://test.example/both, roles: [clinician], scopes: [a, b]}
  - {spiffe: spiffe://test.example/only-a, roles: [clinician], scopes: [a]}
  - {spiffe: spiffe://test.example/only-b, roles: [clinician], scopes: [b]}
  - {spiffe: spiffe://test.example/tokens, roles: [dba], scopes: [a, b]}
";
const DOCUMENT: &str = "{\"ssn\":\"999-12-3456\",\"note\":\"seen\"}";

fn scoped(setup: Setup) -> Setup {
    let setup = setup.replace("\nroutes:\n", &format!("\n{ROUTES}"));
    setup.replace("\nprincipals:\n", &format!("\n{PRINCIPALS}"))
}

fn put(path: &str) -> Call {
    Call::new(&format!("PUT {path}")).json(DOCUMENT)
}

/// What the upstream got of what somebody wrote.
async fn sealed(bed: &Bed, who: &str, call: &Call) -> Value {
    let wrote = bed.make(who, call).await;
    assert_eq!((wrote.status.as_u16(), wrote.text().as_str()), (200, DOCUMENT), "{who} {call}");
    let kept = bed.upstream.take_only().json();
    let event = bed.gate.events().pop().unwrap();
    assert!(event["scope"].is_string(), "{event}");
    kept
}

#[tokio::test]
async fn a_value_belongs_to_the_scope_that_the_request_names() {
    let bed = Bed::with(scoped);
    let own = [
        ("a", sealed(&bed, "both", &put("/tenant/a/Patient/1")).await),
        ("b", sealed(&bed, "both", &put("/tenant/b/Patient/1")).await),
        ("a", sealed(&bed, "only-a", &put("/mine/Patient/2")).await),
        ("b", sealed(&bed, "only-b", &put("/mine/Patient/2")).await),
        ("a", sealed(&bed, "both", &put("/header/Patient/3").header("x-tenant", "a")).await),
        ("b", sealed(&bed, "only-b", &put("/header/Patient/3").header("X-TENANT", "b")).await),
        ("a", sealed(&bed, "both", &put("/a/Patient/4")).await),
    ];
    // Whichever way a scope is named, it is the same one; and no way leads to another.
    for (scope, document) in &own {
        for path in
            ["/tenant/a/Patient/9", "/tenant/b/Patient/9", "/mine/Patient/9", "/header/Patient/9", "/a/Patient/9"]
        {
            bed.upstream.keep(path, json!({"ssn": document["ssn"]}).to_string());
        }
        for (who, call, named) in [
            ("both", Call::new("GET /tenant/a/Patient/9"), "a"),
            ("both", Call::new("GET /tenant/b/Patient/9"), "b"),
            ("only-a", Call::new("GET /mine/Patient/9"), "a"),
            ("only-b", Call::new("GET /mine/Patient/9"), "b"),
            ("only-a", Call::new("GET /header/Patient/9").header("x-tenant", "a"), "a"),
            ("both", Call::new("GET /header/Patient/9").header("x-tenant", "b"), "b"),
            ("only-a", Call::new("GET /a/Patient/9"), "a"),
        ] {
            let read = bed.make(who, &call).await;
            bed.upstream.take_only();
            let event = bed.gate.events().pop().unwrap();
            assert_eq!(event["scope"], named, "{event}");
            if *scope == named {
                assert_eq!(read.json(), json!({"ssn": "999-12-3456"}), "{who} {call}");
            } else {
                read.expect_problem(502, "response_unopenable");
                let cause = format!("token: scope {scope}, wanted {named}");
                assert_eq!((&event["event"], &event["cause"]), (&json!("ExchangeRefused"), &json!(cause)));
            }
        }
        // A token of another scope is not put anywhere either.
        for (path, named) in [("/tenant/a/Patient/9", "a"), ("/tenant/b/Patient/9", "b")] {
            let call = Call::new(&format!("PUT {path}")).json(document.to_string());
            if *scope == named {
                assert_eq!(bed.make("tokens", &call).await.text(), document.to_string());
                bed.upstream.take_only();
            } else {
                bed.refuses("tokens", &call, (422, "token_scope_mismatch")).await;
            }
            let stray = Call::new(&format!("PUT {path}")).json(json!({"weight": document["ssn"]}).to_string());
            if *scope != named {
                bed.refuses("tokens", &stray, (422, "token_scope_mismatch")).await;
            }
        }
    }
}

#[tokio::test]
async fn who_has_not_the_scope_is_refused_and_the_record_says_which() {
    let bed = Bed::with(scoped);
    for (who, call, scope) in [
        ("only-b", Call::new("GET /tenant/a/Patient/1"), "a"),
        ("only-b", put("/tenant/a/Patient/1"), "a"),
        ("only-a", Call::new("GET /tenant/b/Patient/1"), "b"),
        ("both", Call::new("GET /tenant/c/Patient/1"), "c"),
        ("both", Call::new("GET /tenant/A/Patient/1"), "A"),
        ("both", Call::new("GET /tenant/test/Patient/1"), "test"),
        ("only-b", Call::new("GET /header/Patient/1").header("x-tenant", "a"), "a"),
        ("only-b", Call::new("GET /a/Patient/1"), "a"),
        ("only-b", Call::new("GET /pass/a"), "a"),
        // Of those who say nothing of scopes it is the one at the top.
        ("clinician", Call::new("GET /tenant/a/Patient/1"), "a"),
        ("clinician", Call::new("GET /a/Patient/1"), "a"),
    ] {
        bed.refuses(who, &call, (403, "scope_denied")).await;
        let event = bed.gate.events().pop().unwrap();
        assert_eq!((&event["scope"], &event["cause"]), (&json!(scope), &json!(format!("scope {scope}"))), "{event}");
        assert_eq!(event["principal"], format!("spiffe://test.example/{who}"));
    }
    // A route of the scope at the top is not theirs.
    bed.refuses("both", &Call::new("GET /Patient/1"), (403, "scope_denied")).await;
    let passed = bed.make("only-a", &Call::new("GET /pass/a")).await;
    assert_eq!(passed.status, 404, "the upstream's answer");
    bed.upstream.take_only();
    let own = bed.make("clinician", &Call::new("GET /mine/Patient/1")).await;
    assert_eq!(own.status, 404, "the scope at the top is one scope");
}

#[tokio::test]
async fn a_request_that_names_no_scope_is_refused() {
    let bed = Bed::with(scoped);
    let missing = (400, "scope_missing");
    let call = || Call::new("GET /header/Patient/1");
    for call in [
        call(),
        call().header("x-tenant", ""),
        call().header("x-tenant", "a").header("x-tenant", "a"),
        call().header("x-tenant", "a").header("x-tenant", "b"),
        call().header("x-tenant", "a,b"),
        call().header("x-tenant", "a b"),
        call().header("x-tenant", "\"a\""),
        call().header("x-tenant", "a.b"),
        call().header("x-tenant", "seventeen-letters"),
        call().header("x-tenants", "a"),
        Call::new("GET /tenant/seventeen-letters/Patient/1"),
        Call::new("GET /tenant/a.b/Patient/1"),
        Call::new("GET /mine/Patient/1"),
        put("/mine/Patient/1"),
    ] {
        bed.refuses("both", &call, missing).await;
    }
    // Who is unknown learns nothing of what is wanted.
    for call in
        [call(), call().header("x-tenant", "a"), Call::new("GET /tenant/a/Patient/1"), Call::new("GET /mine/Patient/1")]
    {
        bed.refuses("stranger", &call, (403, "principal_unknown")).await;
    }
}

#[tokio::test]
async fn the_kms_is_told_the_scope_of_the_request() {
    let (upstream, kms) = (Upstream::start(), Kms::start());
    let tee = Tee::start(kms.addr()).unwrap();
    let start = || scoped(with_kms(upstream.addr(), tee.addr(), kms::KEY)).start();
    let gate = start();
    let contexts = || {
        let bodies = bodies(&tee.received()).into_iter();
        let mut contexts: Vec<Value> = bodies.map(|mut body| body["EncryptionContext"].take()).collect();
        contexts.sort_by_key(ToString::to_string);
        contexts
    };
    let context = |scope: &str| json!({"app": "sealgate", "scope": scope, "purpose": "field"});
    assert_eq!(contexts(), [context("a"), context("test")], "what the config alone says, before the first request");
    tee.clear();
    for scope in ["b", "b", "a"] {
        let path = format!("/tenant/{scope}/Patient/1");
        let wrote = put(&path).from(&gate.as_client("both")).await;
        assert_eq!(wrote.status, 200, "{}", wrote.text());
    }
    assert_eq!(contexts(), [context("b")], "once for each scope");
    // Another gate opens what it is allowed to, in the context that the token and the request both name.
    let other = start();
    tee.clear();
    for scope in ["b", "a"] {
        let read = other.as_client("both").get(&format!("/tenant/{scope}/Patient/1")).await;
        assert_eq!(read.text(), DOCUMENT);
    }
    assert_eq!(contexts(), [context("a"), context("b")]);
    // For a token of another scope the KMS is not even asked.
    upstream.keep("/tenant/a/Patient/1", upstream.kept("/tenant/b/Patient/1"));
    tee.clear();
    other.as_client("both").get("/tenant/a/Patient/1").await.expect_problem(502, "response_unopenable");
    assert_eq!(contexts(), Vec::<Value>::new());
}

#[test]
fn a_config_that_names_no_scope_or_two_is_refused() {
    let setup = || scoped(Setup::before(([127, 0, 0, 1], 9).into()));
    assert_eq!(setup().validate().0, Some(0), "{}", setup().validate().1);
    for (from, to, said) in [
        ("{parameter: tenant}\n    rules", "{parameter: tenent}\n    rules", "the path has no parameter \"tenent\""),
        ("{header: X-Tenant}", "{header: 'x tenant'}", "wanted the name of a header field"),
        ("{header: X-Tenant}", "{header: X-Tenant, identity: true}", "wanted exactly one of"),
        ("{identity: true}", "{identity: false}", "wanted exactly one of"),
        ("{identity: true}", "{}", "wanted exactly one of"),
        ("    scope: a\n", "    scope: a\n    scope_from: {identity: true}\n", "instead of `scope`"),
        ("    scope: a\n", "    scope: a.b\n", "scope"),
        (
            "scopes: [a, b]}\n  - {spiffe: spiffe://test.example/only",
            "scopes: [a, 'b c']}\n  - {spiffe: spiffe://test.example/only",
            "scope",
        ),
        ("scopes: [a]", "scopes: []", "scopes"),
    ] {
        let (code, told) = setup().replace(from, to).validate();
        assert_eq!(code, Some(78), "{to}: {told}");
        assert!(told.contains(said), "{to}: {told}");
    }
}
