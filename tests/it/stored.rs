//! Data keys that stand in a store: short tokens, a fleet that agrees on one key, a store that goes away.

use crate::fixture::gate::Gate;
use crate::fixture::keys::{cached, create_long_lived, with_file_store, with_keyring};
use crate::fixture::pki::write_secret;
use crate::fixture::postgres::{DATABASE, PASSWORD, Postgres, USER};
use crate::fixture::{Bed, Call, Setup, Upstream};
use data_encoding::BASE64URL_NOPAD;
use sealgate::keyring::store::postgres::{Postgres as Store, Settings, TableName};
use sealgate::keyring::store::{KeyRow, KeyState, KeyStore};
use sealgate::seal::crypto::default_provider;
use serde_json::{Value, json};
use std::thread;
use std::time::Duration;
use tokio::time::sleep;
use zeroize::Zeroizing;

const CLASSES: &str = "classes:
  acct: {placement: stored}
  mail: {suite: deterministic}
  card: {suite: format, alphabet: digits}
";
const ROUTES: &str = "routes:
  - name: account
    path: /Account/{id}
    methods: [GET, PUT]
    upstream: app
    rules:
      - {path: $.acct, class: acct, column: {characters: 105, value_bytes: 11}}
      - {path: $.mail, class: mail, column: {characters: 79, value_bytes: 11}}
      - {path: $.card, class: card, column: {characters: 11, value_bytes: 11}}
";

fn stored(setup: Setup) -> Setup {
    setup.replace("\nroutes:\n", &format!("\n{ROUTES}")).replace("\nclasses:\n", &format!("\n{CLASSES}"))
}

fn document() -> Value {
    json!({"acct": "999-12-3456", "mail": "a@short.org", "card": "41-11-11-11"})
}

/// Writes the document, and gives what the upstream got.
async fn write(gate: &Gate, upstream: &Upstream, path: &str) -> Value {
    let call = Call::new(&format!("PUT {path}")).json(document().to_string());
    let wrote = call.from(&gate.as_client("clinician")).await;
    assert_eq!((wrote.status.as_u16(), wrote.json()), (200, document()), "{}", gate.log());
    serde_json::from_str(&upstream.kept(path)).unwrap()
}

async fn expect_opens(gate: &Gate, path: &str) {
    let read = gate.as_client("clinician").get(path).await;
    assert_eq!((read.status.as_u16(), read.text()), (200, document().to_string()));
}

/// The bytes of a token whose class and scope have four letters each: key id, and salt of the process if it has one.
fn key_of(token: &Value) -> (Vec<u8>, Vec<u8>) {
    let bytes = BASE64URL_NOPAD.decode(token.as_str().unwrap().strip_prefix("sgv1.").unwrap().as_bytes()).unwrap();
    (bytes[11..27].to_vec(), bytes[27..35].to_vec())
}

#[tokio::test]
async fn tokens_are_short_and_open_after_a_crash() {
    let Bed { gate, upstream } = Bed::with(|setup| with_file_store(stored(setup)));
    let kept = write(&gate, &upstream, "/Account/1").await;
    let lengths = ["acct", "mail", "card"].map(|field| kept[field].as_str().unwrap().len());
    // What the format's documentation says of values of 11 bytes, class and scope of 4.
    assert_eq!(lengths, [105, 79, 11], "{kept}");
    let gate = gate.crash().again(upstream.addr()).start();
    expect_opens(&gate, "/Account/1").await;
    let again = write(&gate, &upstream, "/Account/2").await;
    assert_eq!((&again["mail"], &again["card"]), (&kept["mail"], &kept["card"]));
    let [(key, salt), (key_after, salt_after)] = [key_of(&kept["acct"]), key_of(&again["acct"])];
    assert_eq!(key, key_after, "the store has one active key");
    assert_ne!(salt, salt_after, "of which every process has field keys of its own");
    expect_opens(&gate, "/Account/1").await;
}

#[tokio::test]
async fn a_file_store_serves_one_gate_and_must_be_there() {
    let Bed { gate, upstream } = Bed::with(|setup| with_file_store(stored(setup)));
    let keys = gate.folder().join("keys");
    let config = |store: &str| with_keyring(stored(Setup::before(upstream.addr())), store);
    let mut second = config(&format!("store: {{file: '{}'}}", keys.display())).spawn();
    assert_ne!(second.wait().code(), Some(0));
    assert!(second.log().contains("in use by another process"), "{}", second.log());
    write(&gate, &upstream, "/Account/1").await;
    // In a new one keys would be made that hide the old ones, on a volume that is not mounted.
    let mut third = config("store: {file: nowhere}").spawn();
    assert_ne!(third.wait().code(), Some(0));
    assert!(third.log().contains("nowhere") && !third.folder().join("nowhere").exists(), "{}", third.log());
}

fn with_postgres(setup: Setup, server: &Postgres) -> Setup {
    write_secret(&setup.folder().join("password"), PASSWORD);
    let port = server.port();
    let store = format!(
        "store: {{postgres: {{host: 127.0.0.1, port: {port}, database: {DATABASE}, user: {USER}, \
         password_file: password, plaintext: true}}}}"
    );
    with_keyring(stored(setup).replace("scope: test\n", "scope: test\ndev_mode: true\n"), &store)
}

/// Every row that the store has.
async fn rows(server: &Postgres) -> Vec<KeyRow> {
    let settings = Settings {
        host: "127.0.0.1".to_owned(),
        port: server.port(),
        database: DATABASE.to_owned(),
        user: USER.to_owned(),
        password: Zeroizing::new(PASSWORD.to_owned()),
        table: TableName::default(),
        ca_pem: None,
        plaintext: true,
    };
    Store::new(default_provider(), settings).unwrap().list(None, 1000).await.unwrap()
}

#[tokio::test]
async fn gates_that_start_at_once_agree_on_every_key() {
    let server = Postgres::start().unwrap();
    let upstream = Upstream::start();
    create_long_lived(&with_postgres(Setup::before(upstream.addr()), &server), "test");
    let gates: Vec<Gate> = thread::scope(|scope| {
        let setups = (0..3).map(|_| with_postgres(Setup::before(upstream.addr()), &server));
        let starting: Vec<_> = setups.map(|setup| scope.spawn(|| setup.start())).collect();
        starting.into_iter().map(|gate| gate.join().unwrap()).collect()
    });
    let rows = rows(&server).await;
    let active = rows.iter().filter(|row| row.state == KeyState::Active);
    let mut purposes: Vec<&str> = active.map(|row| row.purpose.as_str()).collect();
    purposes.sort_unstable();
    assert_eq!(purposes, ["field", "format", "lookup"], "one of each: {rows:#?}");
    assert_eq!(rows.len(), 3, "and nothing is left of those that were not taken");
    let mut salts = Vec::new();
    let mut seen: Option<Value> = None;
    for (number, gate) in gates.iter().enumerate() {
        let path = format!("/Account/{number}");
        let kept = write(gate, &upstream, &path).await;
        for other in &gates {
            expect_opens(other, &path).await;
        }
        let (key, salt) = key_of(&kept["acct"]);
        assert!(rows.iter().any(|row| row.id().as_bytes().as_slice() == key), "{kept}");
        salts.push(salt);
        let first = seen.get_or_insert_with(|| kept.clone());
        assert_eq!((&first["mail"], &first["card"]), (&kept["mail"], &kept["card"]));
    }
    salts.sort();
    salts.dedup();
    assert_eq!(salts.len(), 3, "no two processes seal under one field key");
}

#[tokio::test]
async fn a_store_that_is_away_is_as_a_kms_that_is_away() {
    let mut server = Postgres::start().unwrap();
    let upstream = Upstream::start();
    let setup = with_postgres(Setup::before(upstream.addr()), &server);
    create_long_lived(&setup, "test");
    let gate = cached(setup, "{open_age_max_s: 2, confirm_interval_s: 2}").start();
    let kept = write(&gate, &upstream, "/Account/1").await;
    let calls = || [Call::new("GET /Account/1"), Call::new("PUT /Account/2").json(document().to_string())];
    server.stop();
    // Keys at hand serve on; when they are not confirmed any more, it is an outage.
    for call in calls() {
        let mut refused = None;
        for _ in 0..600 {
            let reply = call.from(&gate.as_client("clinician")).await;
            if reply.status == 503 {
                refused = Some(reply);
                break;
            }
            // The key that seals may have been confirmed a little later than the one that opens the answer.
            let done = reply.status == 502 && reply.json()["code"] == "done_but_unopened";
            assert!(reply.status == 200 || done, "{call}: {}", reply.text());
            sleep(Duration::from_millis(100)).await;
        }
        let refused = refused.expect("it must end some time");
        refused.expect_problem(503, "key_unavailable");
        assert_eq!(refused.header("retry-after"), Some("1"), "{call}");
    }
    assert_eq!(gate.as_client("dba").get("/Account/1").await.json(), kept, "what needs no key goes on");
    let text = upstream.received().iter().map(|received| received.text()).collect::<String>();
    assert!(!text.contains("999-12") && !text.contains("a@short"), "nothing went up in the clear");
    let mut cold = with_postgres(Setup::before(upstream.addr()), &server).spawn();
    assert_eq!(cold.wait().code(), Some(69), "{}", cold.log());
    server.restart().unwrap();
    for call in calls() {
        let mut answered = call.from(&gate.as_client("clinician")).await;
        for _ in 0..600 {
            if answered.status == 200 {
                break;
            }
            sleep(Duration::from_millis(100)).await;
            answered = call.from(&gate.as_client("clinician")).await;
        }
        assert_eq!((answered.status.as_u16(), answered.json()), (200, document()), "{call}");
    }
    assert_eq!(rows(&server).await.len(), 3, "no key was made meanwhile");
}

#[test]
fn a_config_whose_values_would_be_lost_is_refused() {
    let setup = || with_keyring(stored(Setup::before(([127, 0, 0, 1], 9).into())), "store: {file: keys}");
    assert_eq!(setup().validate().0, Some(0), "{}", setup().validate().1);
    let bind = "bind: {record: {parameter: id}}";
    let bound = |class: &str| format!("class: {class}, {bind}, column");
    for (from, to, said) in [
        ("  store: {file: keys}\n", "", "a stored key needs keyring.store"),
        ("  store: {file: keys}\n", "", "its key needs keyring.store or keyring.keyset_file"),
        ("acct: {placement: stored}", "acct: {placement: stored, alphabet: digits}", "only with `suite: format`"),
        (
            "mail: {suite: deterministic}",
            "mail: {suite: deterministic, placement: stored}",
            "only with `suite: random`",
        ),
        ("acct: {placement: stored}", "acct: {fold_case: true}", "only with `suite: deterministic`"),
        (
            "card: {suite: format, alphabet: digits}",
            "card: {suite: format, alphabet: digits, pad_bytes: 8}",
            "only with",
        ),
        ("card: {suite: format, alphabet: digits}", "card: {suite: format}", "needs an alphabet"),
        (
            "card: {suite: format, alphabet: digits}",
            "card: {suite: format, alphabet: date}",
            "accept_small_domain: true",
        ),
        ("class: mail, column", &bound("mail"), "only values of the random suite can be bound"),
        ("class: card, column", &bound("card"), "only values of the random suite can be bound"),
        (
            "class: acct, column",
            &bound("acct").replace("parameter: id", "field: $.mail"),
            "nothing can be bound to what is sealed",
        ),
        ("class: acct, column", &bound("acct").replace("parameter: id", "parameter: no"), "the path has no parameter"),
        (
            "class: acct, column",
            &bound("acct").replace("parameter: id", "parameter: id, field: $.id"),
            "wanted exactly one of",
        ),
        ("characters: 105", "characters: 104", "a value of 11 bytes takes 105 characters sealed"),
        ("characters: 79", "characters: 78", "a value of 11 bytes takes 79 characters sealed"),
        ("characters: 11", "characters: 10", "a value of 11 bytes takes 11 characters sealed"),
        (
            "    path: /Account/{id}\n",
            "    path: /Account/{id}\n    unsealed: show\n",
            "cannot be told from one in the clear",
        ),
    ] {
        let (code, told) = setup().replace(from, to).validate();
        assert_eq!(code, Some(78), "{to}: {told}");
        assert!(told.contains(said), "{to}: {told}");
    }
    // What is said of lengths holds for what a KMS makes, too: it wraps in 184 bytes.
    let kms = "aws_kms: {key_arn: 'arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab'}";
    let inline = |characters: usize| {
        let setup = setup().replace("local: {key_file: kek}", kms).replace("acct: {placement: stored}", "acct: {}");
        setup.replace("characters: 105", &format!("characters: {characters}")).validate().0
    };
    assert_eq!([inline(376), inline(375)], [Some(0), Some(78)]);
}
