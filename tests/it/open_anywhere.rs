//! Tokens that stand where no rule selects them: sealed, unless the route opens them wherever they stand.

use crate::fixture::bed::forged;
use crate::fixture::keys::{create_long_lived, with_file_store};
use crate::fixture::{Bed, Call, Setup};
use serde_json::{Value, json};

const ROUTES: &str = "routes:
  - name: record
    path: /Record/{id}
    methods: [GET, PUT]
    upstream: app
    rules: &all
      - {path: $.ssn, class: ssn}
      - {path: $.name, class: name}
      - {path: $.note, class: note}
      - {path: $.mail, class: mail}
      - {path: $.acct, class: acct}
      - {path: $.card, class: card}
      - {path: $.bound, class: ssn, bind: {record: {parameter: id}}}
  - name: other
    path: /Other/{id}
    methods: [GET, PUT]
    upstream: app
    scope: other
    rules: *all
  - name: search
    path: /search/{what}
    methods: [GET, POST]
    upstream: app
    open: anywhere
    rules:
      - {path: $.ssn, class: ssn}
  - name: listing
    path: /listing/{what}
    methods: [GET, POST]
    upstream: app
    rules:
      - {path: $.ssn, class: ssn}
";
const CLASSES: &str = "classes:
  mail: {suite: deterministic}
  acct: {placement: stored}
  card: {suite: format, alphabet: digits}
  gone: {}
";

fn anywhere(setup: Setup) -> Setup {
    let setup = setup.replace("\nroutes:\n", &format!("\n{ROUTES}")).replace("\nclasses:\n", &format!("\n{CLASSES}"));
    let setup = setup.replace("roles: [clinician]}", "roles: [clinician], scopes: [test, other]}");
    // Whoever sees a name in the clear, and of everything else the token.
    let setup =
        setup.replace("\nroles:\n", "\nroles:\n  greeter: {default_view: sealed, views: {name: plain, note: deny}}\n");
    let greeter = "\nprincipals:\n  - {spiffe: spiffe://test.example/greeter, roles: [greeter]}\n";
    let setup = with_file_store(setup.replace("\nprincipals:\n", greeter));
    create_long_lived(&setup, "other");
    setup
}

fn document() -> Value {
    let values = json!({"ssn": "999-12-3456", "name": "Chalmers", "note": {"a": [1.50]}, "mail": "a@example.org"});
    let mut document = values;
    document["acct"] = json!(12345);
    document["card"] = json!("4111-1111");
    document["bound"] = json!("111-22-3333");
    document
}

async fn sealed(bed: &Bed, path: &str) -> Value {
    let wrote = bed.make("clinician", &Call::new(&format!("PUT {path}")).json(document().to_string())).await;
    assert_eq!(wrote.status, 200, "{}", wrote.text());
    bed.upstream.take_only().json()
}

/// The body of an answer that has them all in places that no rule selects.
fn strays(of: &Value) -> Value {
    json!({"hits": [of["name"], [of["note"]], {"deep": {"ssn2": of["ssn"]}}, of["mail"]], "acct": of["acct"]})
}

async fn read(bed: &Bed, who: &str, path: &str, body: &str) -> crate::fixture::Reply {
    bed.upstream.keep(path, body.to_owned());
    let reply = bed.make(who, &Call::new(&format!("GET {path}"))).await;
    bed.upstream.take_only();
    reply
}

#[tokio::test]
async fn a_stray_opens_in_the_callers_view_where_the_route_says_so() {
    let bed = Bed::with(anywhere);
    let own = sealed(&bed, "/Record/1").await;
    let body = strays(&own).to_string();
    let plain = strays(&document());
    for (who, want) in [
        ("clinician", plain.clone()),
        ("dba", strays(&own)),
        ("greeter", {
            let mut shown = strays(&own);
            (shown["hits"][0], shown["hits"][1]) = (json!("Chalmers"), json!(["[REDACTED]"]));
            shown
        }),
        ("support", {
            let redacted = || json!("[REDACTED]");
            json!({"hits": [redacted(), [redacted()], {"deep": {"ssn2": redacted()}}, redacted()], "acct": redacted()})
        }),
    ] {
        let shown = read(&bed, who, "/search/all", &body).await;
        assert_eq!((shown.status.as_u16(), shown.json()), (200, want), "{who}");
        let event = bed.gate.events().pop().unwrap();
        let counted: u64 =
            event["fields"].as_array().unwrap().iter().map(|field| field["count"].as_u64().unwrap()).sum();
        assert_eq!(counted, 5, "all of them are on record: {event}");
        // Elsewhere they stay as they are, and are not looked at.
        let listed = read(&bed, who, "/listing/all", &body).await;
        assert_eq!(listed.text(), body, "{who}");
        assert_eq!(bed.gate.events().pop().unwrap()["fields"], json!([]));
    }
    // What billing has no view of is no business of its.
    let masked = read(&bed, "billing", "/search/all", &body).await.json();
    let want = json!({"hits": ["Chalmers", ["[REDACTED]"], {"deep": {"ssn2": "***-**-3456"}}, "[REDACTED]"], "acct": "[REDACTED]"});
    assert_eq!(masked, want);
    // Rules stand beside it.
    let both = json!({"ssn": own["ssn"], "x": own["ssn"]}).to_string();
    let shown = read(&bed, "clinician", "/search/all", &both).await.json();
    assert_eq!(shown, json!({"ssn": "999-12-3456", "x": "999-12-3456"}));
    let listed = read(&bed, "clinician", "/listing/all", &both).await.json();
    assert_eq!(listed, json!({"ssn": "999-12-3456", "x": own["ssn"]}));
}

#[tokio::test]
async fn a_stray_that_does_not_open_here_stays_sealed() {
    let bed = Bed::with(anywhere);
    let (own, foreign) = (sealed(&bed, "/Record/1").await, sealed(&bed, "/Other/1").await);
    let ssn = own["ssn"].as_str().unwrap();
    let broken = |change: fn(&mut Vec<u8>)| forged(ssn, change);
    let strays = [
        foreign["name"].as_str().unwrap().to_owned(),
        foreign["mail"].as_str().unwrap().to_owned(),
        // What is bound to a record opens by its rule alone.
        own["bound"].as_str().unwrap().to_owned(),
        broken(|bytes| *bytes.last_mut().unwrap() ^= 1),
        broken(|bytes| bytes[60] ^= 1),
        broken(|bytes| bytes[45] ^= 1),
        broken(|bytes| bytes.truncate(70)),
        // Of a class that there is but that did not seal it, and of one that the config does not know.
        broken(|bytes| drop(bytes.splice(2..6, *b"\x33note"))),
        broken(|bytes| drop(bytes.splice(2..6, *b"\x33nono"))),
        ssn.replace("sgv1.", "sgv2."),
        format!("{ssn}="),
        format!(" {ssn}"),
        format!("see {ssn}"),
        format!("{ssn}{ssn}"),
        // Nothing tells these from other texts.
        own["card"].as_str().unwrap().to_owned(),
        "sgv1.".to_owned(),
    ];
    for stray in &strays {
        // One that opens stands beside it, and a name that is one is a name.
        let body = json!({"x": stray, "y": [own["name"]], ssn: 1});
        let shown = read(&bed, "clinician", "/search/all", &body.to_string()).await;
        let want = json!({"x": stray, "y": ["Chalmers"], ssn: 1});
        assert_eq!((shown.status.as_u16(), shown.json()), (200, want), "{stray}");
    }
    assert!(!bed.gate.log().contains("999-12-3456"));
    // The other scope's caller opens its own, and not these.
    let body = json!({"x": own["name"], "y": foreign["name"]}).to_string();
    let shown = read(&bed, "clinician", "/search/all", &body).await.json();
    assert_eq!(shown, json!({"x": "Chalmers", "y": foreign["name"]}));
    // Where a rule stands, what does not open is withheld as ever.
    let ruled = read(&bed, "clinician", "/search/all", &json!({"ssn": foreign["ssn"]}).to_string()).await;
    ruled.expect_problem(502, "response_unopenable");
}

/// Where strays are opened, an echo would be an oracle: what a caller sends is judged as anywhere else.
#[tokio::test]
async fn a_route_that_opens_anywhere_takes_no_stolen_token() {
    let bed = Bed::with(anywhere);
    let own = sealed(&bed, "/Record/1").await;
    for stolen in [&own["ssn"], &own["note"], &own["mail"], &own["acct"], &own["bound"]] {
        for body in [json!({ "x": stolen }), json!({"hits": [[stolen]]}), json!([stolen]), stolen.clone()] {
            for who in ["clinician", "billing", "desk"] {
                let call = Call::new("POST /search/all").json(body.to_string());
                bed.refuses(who, &call, (422, "token_not_accepted")).await;
            }
        }
    }
    let wrote = bed.make("dba", &Call::new("POST /search/all").json(json!({"x": own["ssn"]}).to_string())).await;
    assert_eq!(
        (wrote.status.as_u16(), wrote.json()),
        (201, json!({"x": own["ssn"]})),
        "sealed as it was, and so shown"
    );
}
