//! The table in DynamoDB, on moto: what stands in it, its loss, and what else may be found there.
//!
//! The SDK takes credentials from its process' environment, so each test runs itself again with some in it.

use super::{block_on, contract, in_state, row, run_again};
use crate::fixture::moto::Moto;
use sealgate::keyring::store::dynamodb::{DynamoDb, Settings, TableName};
use sealgate::keyring::store::{KeyRow, KeyState, KeyStore, StoreError};
use sealgate::seal::crypto::default_provider;
use serde_json::{Value, json};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

/// Says that this process is the one with the credentials.
const CHILD: &str = "SEALGATE_TEST_DYNAMODB";
const TABLE: &str = "sealgate-keys";

#[expect(clippy::disallowed_methods, reason = "the child's part is told by its environment alone")]
fn with_credentials(test: &str, act: impl AsyncFnOnce()) {
    if std::env::var_os(CHILD).is_some() {
        return block_on(act());
    }
    let mut command = run_again(module_path!(), test);
    command.env(CHILD, "1").env("AWS_ACCESS_KEY_ID", "test").env("AWS_SECRET_ACCESS_KEY", "test");
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

async fn store(addr: SocketAddr) -> DynamoDb {
    let settings = Settings {
        table: TableName::default(),
        region: "us-east-1".to_owned(),
        endpoint_url: Some(format!("http://{addr}")),
        plaintext: true,
        ca_pem: None,
    };
    DynamoDb::new(default_provider(), &settings).await.unwrap()
}

/// A moto with the table, made as the documentation says.
fn moto() -> Moto {
    let moto = Moto::start().unwrap();
    let (status, reply) = moto.dynamodb(
        "CreateTable",
        &json!({
            "TableName": TABLE,
            "BillingMode": "PAY_PER_REQUEST",
            "AttributeDefinitions": [
                { "AttributeName": "pk", "AttributeType": "S" },
                { "AttributeName": "sk", "AttributeType": "S" },
            ],
            "KeySchema": [
                { "AttributeName": "pk", "KeyType": "HASH" },
                { "AttributeName": "sk", "KeyType": "RANGE" },
            ],
        }),
    );
    assert_eq!(status, 200, "{reply}");
    moto
}

fn items(moto: &Moto) -> Vec<Value> {
    let (status, reply) = moto.dynamodb("Scan", &json!({ "TableName": TABLE }));
    assert_eq!(status, 200, "{reply}");
    assert_eq!(reply.get("LastEvaluatedKey"), None, "all of it");
    reply["Items"].as_array().unwrap().clone()
}

fn put(moto: &Moto, item: &Value) {
    let (status, reply) = moto.dynamodb("PutItem", &json!({ "TableName": TABLE, "Item": item }));
    assert_eq!(status, 200, "{reply}");
}

fn unavailable<T: std::fmt::Debug>(result: Result<T, StoreError>) -> String {
    match result {
        Err(StoreError::Unavailable { why, .. }) => why.to_string(),
        other => panic!("{other:?}"),
    }
}

fn broken<T: std::fmt::Debug>(result: Result<T, StoreError>) -> String {
    match result {
        Err(StoreError::Broken { why, .. }) => why.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_table_keeps_the_contract() {
    with_credentials("the_table_keeps_the_contract", async || {
        let moto = moto();
        let (one, two) = (store(moto.addr()).await, store(moto.addr()).await);
        assert_eq!(one.name(), "dynamodb us-east-1/sealgate-keys");
        let rows = contract::hold(&one, &two).await;
        assert_eq!(store(moto.addr()).await.list(None, rows.len() + 1).await.as_ref(), Ok(&rows));
        // One item for each key, and one for each that is active; nothing else is left behind.
        let active = rows.iter().filter(|row| row.state == KeyState::Active).count();
        assert_eq!(items(&moto).len(), rows.len() + active);
    });
}

#[test]
fn nothing_of_a_shredded_key_is_left_in_the_table() {
    with_credentials("nothing_of_a_shredded_key_is_left_in_the_table", async || {
        let moto = moto();
        let (store, key) = (store(moto.addr()).await, row("clinic"));
        let blob = data_encoding::BASE64.encode(&key.edks[0].blob);
        let found = || items(&moto).iter().any(|item| item.to_string().contains(&blob));
        store.activate(key.clone(), None).await.unwrap();
        assert!(found());
        assert_eq!(store.replace(key.clone(), in_state(&key, KeyState::Shredded)).await, Ok(true));
        assert!(!found());
        assert_eq!(items(&moto).len(), 1, "nor the item that named it as active");
    });
}

#[test]
fn more_than_a_page_of_rows_is_listed() {
    with_credentials("more_than_a_page_of_rows_is_listed", async || {
        let moto = moto();
        let store = store(moto.addr()).await;
        // DynamoDB's pages, and moto's, end at 1 MB; 60 of these are above.
        let mut ids = Vec::new();
        for _ in 0..60 {
            let mut key = KeyRow { state: KeyState::DecryptOnly, ..row("clinic") };
            key.edks = vec![key.edks[0].clone(), key.edks[1].clone(), key.edks[0].clone(), key.edks[1].clone()];
            for edk in &mut key.edks {
                edk.blob = edk.blob.iter().copied().cycle().take(6144).collect();
            }
            store.import(key.clone()).await.unwrap();
            ids.push(key.id());
        }
        ids.sort();
        let rows = store.list(None, 100).await.unwrap();
        assert_eq!(rows.iter().map(KeyRow::id).collect::<Vec<_>>(), ids);
        let later = store.list(Some(ids[9]), 100).await.unwrap();
        assert_eq!(later, rows[10..]);
    });
}

#[test]
fn an_item_that_is_not_what_it_stands_for_is_broken() {
    with_credentials("an_item_that_is_not_what_it_stands_for_is_broken", async || {
        let moto = moto();
        let (store, key, other) = (store(moto.addr()).await, row("clinic"), row("other"));
        store.activate(key.clone(), None).await.unwrap();
        store.activate(other.clone(), None).await.unwrap();
        let whole = items(&moto);
        let item = |pk: &str, sk: &str| {
            let found = whole.iter().find(|item| item["pk"]["S"] == pk && item["sk"]["S"] == sk);
            found.unwrap().clone()
        };
        let (key_item, other_item) = (item("key", &key.id().to_string()), item("key", &other.id().to_string()));
        for (content, expect) in [
            (json!({ "S": "" }), "not the JSON object of a key"),
            (json!({ "N": "1" }), "has no text as content"),
            (other_item["content"].clone(), "another key"),
        ] {
            let mut changed = key_item.clone();
            changed["content"] = content;
            put(&moto, &changed);
            for why in [
                broken(store.row(key.id()).await),
                broken(store.active(key.scope, key.purpose).await),
                broken(store.list(None, 10).await),
                broken(store.activate(row("clinic"), Some(key.id())).await),
                broken(store.replace(key.clone(), in_state(&key, KeyState::Revoked)).await),
                broken(store.import(key.clone()).await),
            ] {
                assert!(why.contains(expect), "{why}");
            }
            assert_eq!(store.active(other.scope, other.purpose).await, Ok(Some(other.clone())));
            put(&moto, &key_item);
        }
        let pointer = item("active", "clinic/field");
        let missing = row("clinic").id().to_string();
        for (key_id, expect) in [
            ("", "key_id is no key id"),
            (&missing, "it is named as active, and is not"),
            (&other.id().to_string(), "it stands as the active key of scope clinic, which it is not"),
        ] {
            let mut changed = pointer.clone();
            changed["key_id"]["S"] = json!(key_id);
            put(&moto, &changed);
            let why = broken(store.active(key.scope, key.purpose).await);
            assert!(why.contains(expect), "{why}");
        }
        put(&moto, &pointer);
        assert_eq!(store.active(key.scope, key.purpose).await, Ok(Some(key)));
    });
}

#[test]
fn a_service_that_is_away_or_has_no_such_table_is_unavailable() {
    with_credentials("a_service_that_is_away_or_has_no_such_table_is_unavailable", async || {
        let mut moto = Moto::start().unwrap();
        let (store, key) = (store(moto.addr()).await, row("clinic"));
        assert_eq!(unavailable(store.row(key.id()).await), "ResourceNotFoundException");
        assert_eq!(unavailable(store.activate(key.clone(), None).await), "ResourceNotFoundException");
        assert_eq!(unavailable(store.list(None, 1).await), "ResourceNotFoundException");
        moto.stop();
        for why in [
            unavailable(store.row(key.id()).await),
            unavailable(store.active(key.scope, key.purpose).await),
            unavailable(store.activate(key.clone(), None).await),
            unavailable(store.replace(key.clone(), in_state(&key, KeyState::Revoked)).await),
            unavailable(store.import(key.clone()).await),
            unavailable(store.list(None, 1).await),
        ] {
            assert_eq!(why, "no connection or no credentials");
        }
    });
}

#[test]
fn a_service_that_does_not_answer_is_unavailable() {
    with_credentials("a_service_that_does_not_answer_is_unavailable", async || {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let store = store(listener.local_addr().unwrap()).await;
        let why = unavailable(store.row(row("clinic").id()).await);
        assert!(["timeout", "no answer in time"].contains(&why.as_str()), "{why}");
    });
}
