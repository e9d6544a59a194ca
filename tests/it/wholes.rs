//! Objects and arrays that were sealed whole, where a rule of another class selects something in them.

use crate::fixture::gate::KEK;
use crate::fixture::{Bed, Call, Reply, Setup};
use sealgate::keyring::{Keyring, local::Local};
use sealgate::seal::crypto::default_provider;
use sealgate::seal::{
    Budget, Class, Context, EncryptionContext, Kind, Manner, Origin, Purpose, Scope, SealingKey, UnwrappedKey,
    Workspace,
};
use serde_json::{Value, json};

const ROUTES: &str = "routes:
  - name: outer
    path: /Outer/{id}
    methods: [GET, PUT]
    upstream: app
    rules:
      - {path: $.note, class: note}
      - {path: $.list, class: note}
      - {path: '$.entry[*].note', class: note}
  - name: inner
    path: /Inner/{id}
    methods: [GET, PUT]
    upstream: app
    rules:
      - {path: $.note, class: note}
      - {path: $.list, class: note, on_unopenable: mark}
      - {path: '$.entry[*].note', class: note, on_unopenable: mark}
      - {path: $..ssn, class: ssn}
      - {path: '$.list[1].family', class: name}
  - name: anywhere
    path: /Anywhere/{id}
    methods: [GET]
    upstream: app
    open: anywhere
    rules:
      - {path: $..ssn, class: ssn}
";

fn setup(setup: Setup) -> Setup {
    let roles = "\nroles:\n  social: {default_view: plain, views: {ssn: mask}}\n  half: {views: {note: plain, ssn: plain, name: sealed}}\n  masked: {default_view: mask}\n";
    let principals = ["social", "half", "masked"]
        .map(|name| format!("  - {{spiffe: spiffe://test.example/{name}, roles: [{name}]}}\n"));
    let principals = format!("\nprincipals:\n{}", principals.concat());
    setup
        .replace("\nroutes:\n", &format!("\n{ROUTES}"))
        .replace("\nroles:\n", roles)
        .replace("\nprincipals:\n", &principals)
}

/// What the upstream gets of a document whose values are sealed whole.
async fn sealed(bed: &Bed, document: &Value) -> Value {
    let wrote = bed.make("clinician", &Call::new("PUT /Outer/1").json(document.to_string())).await;
    assert_eq!(wrote.status, 200, "{}", wrote.text());
    bed.upstream.take_only().json()
}

async fn read(bed: &Bed, who: &str, path: &str, document: &Value) -> Reply {
    bed.upstream.keep(path, document.to_string());
    let reply = bed.make(who, &Call::new(&format!("GET {path}"))).await;
    bed.upstream.take_only();
    reply
}

#[tokio::test]
async fn what_was_sealed_whole_shows_nothing_of_another_class() {
    let bed = Bed::with(setup);
    for inside in [
        json!({"ssn": "999-12-3456"}),
        json!({"a": [{"b": {"s\u{73}n": {"deep": "999-12-3456"}}}]}),
        json!([1, {"ssn": "999-12-3456"}]),
    ] {
        let document = json!({"note": inside, "active": true});
        let tokens = sealed(&bed, &document).await;
        assert!(tokens["note"].is_string(), "{tokens}");
        let refused = read(&bed, "social", "/Inner/1", &tokens).await;
        refused.expect_problem(502, "response_unopenable");
        assert!(!refused.text().contains("999-12"), "{}", refused.text());
        let event = bed.gate.events().pop().unwrap();
        assert_eq!((&event["event"], &event["code"]), (&json!("ExchangeRefused"), &json!("response_unopenable")));
        assert!(event["cause"].as_str().unwrap().contains("class ssn"), "{event}");
        // Who may see both sees it; who sees neither as it is, no more than before.
        assert_eq!(read(&bed, "clinician", "/Inner/1", &tokens).await.json(), document);
        assert_eq!(read(&bed, "half", "/Inner/1", &tokens).await.json(), document);
        assert_eq!(read(&bed, "masked", "/Inner/1", &tokens).await.json()["note"], "[REDACTED]");
        assert_eq!(read(&bed, "dba", "/Inner/1", &tokens).await.json(), tokens);
    }
}

#[tokio::test]
async fn one_that_holds_something_hidden_is_marked_and_the_others_are_shown() {
    let bed = Bed::with(setup);
    let entry = |note: Value| json!({ "note": note });
    let document = json!({
        "note": {"ssn2": "1", "text": "ssn"},
        "list": [{"family": "a"}, {"given": "b"}],
        "entry": [entry(json!({"ssn": 1})), entry(json!("ssn")), entry(json!({"ok": []})), entry(json!([{"ssn": null}]))],
    });
    let tokens = sealed(&bed, &document).await;
    let mut want = document.clone();
    want["entry"][0]["note"] = json!("[UNOPENABLE]");
    want["entry"][3]["note"] = json!("[UNOPENABLE]");
    let shown = read(&bed, "social", "/Inner/1", &tokens).await;
    assert_eq!((shown.status.as_u16(), shown.json()), (200, want));
    let event = bed.gate.events().pop().unwrap();
    let fields = event["fields"].as_array().unwrap();
    for (action, count) in [("plain", 4), ("unopenable", 2)] {
        assert!(fields.contains(&json!({"class": "note", "action": action, "count": count})), "{event}");
    }
    // An index and another class.
    let tokens = sealed(&bed, &json!({"list": [{"family": "a"}, {"family": "b"}]})).await;
    assert_eq!(read(&bed, "half", "/Inner/1", &tokens).await.json(), json!({"list": "[UNOPENABLE]"}));
    assert_eq!(read(&bed, "social", "/Inner/1", &tokens).await.status, 200);
}

#[tokio::test]
async fn a_stray_that_holds_something_hidden_stays_sealed() {
    let bed = Bed::with(setup);
    let tokens = sealed(&bed, &json!({"note": {"ssn": "999-12-3456"}, "list": ["ok"]})).await;
    let strays = json!({"hits": [tokens["note"], tokens["list"]]});
    let shown = read(&bed, "social", "/Anywhere/1", &strays).await;
    assert_eq!(shown.json(), json!({"hits": [tokens["note"], ["ok"]]}));
    let shown = read(&bed, "clinician", "/Anywhere/1", &strays).await;
    assert_eq!(shown.json(), json!({"hits": [{"ssn": "999-12-3456"}, ["ok"]]}));
}

/// Sealed where little is around it, a value may nest deeper where it is shown than a document may.
#[tokio::test]
async fn one_that_nests_deeper_than_documents_may_is_judged_and_shown() {
    let bed = Bed::with(setup);
    for (inside, shown) in [(json!("fine"), true), (json!({"ssn": "999-12-3456"}), false)] {
        let deep = (0..120).fold(inside, |inner, _| json!([inner]));
        let tokens = sealed(&bed, &json!({ "note": deep })).await;
        let around = |note: &Value| json!({"entry": [{ "note": note }], "more": (0..6).fold(json!(1), |inner, _| json!([inner]))});
        let read = read(&bed, "social", "/Inner/1", &around(&tokens["note"])).await;
        let want = if shown { around(&deep) } else { around(&json!("[UNOPENABLE]")) };
        assert_eq!((read.status.as_u16(), read.json()), (200, want));
    }
    // As deep as no document may be: by a service that has the same KEK.
    let kek = Local::read(default_provider(), KEK).unwrap();
    let deep = format!("{}1{}", "[".repeat(300), "]".repeat(300));
    let token = sealed_beside(kek, deep.as_bytes()).await;
    for (path, want) in [("/Inner/1", deep.clone()), ("/Anywhere/1", deep)] {
        let read = read(&bed, "social", path, &json!({"entry": [{ "note": token }], "note": token})).await;
        assert_eq!(read.status, 200, "{}", read.text());
        assert_eq!(read.text(), format!("{{\"entry\":[{{\"note\":{want}}}],\"note\":{want}}}"));
    }
}

/// A token of class `note` under a data key that the KEK has just made.
async fn sealed_beside(kek: Local, json: &[u8]) -> String {
    let (class, scope) = (Class::parse("note").unwrap(), Scope::parse("test").unwrap());
    let made_for = EncryptionContext { scope, purpose: Purpose::Field };
    let made = Keyring::generate_data_key(&kek, made_for).await.unwrap();
    let key = UnwrappedKey::new(default_provider(), made.key).unwrap();
    let key = SealingKey::new(key, made_for, Origin::Inline(made.edks), Budget::default());
    let context = Context { class, scope, bind: &[] };
    key.seal(&mut Workspace::new(), &context, Manner::random(Kind::Literal), json).unwrap().as_str().to_owned()
}
