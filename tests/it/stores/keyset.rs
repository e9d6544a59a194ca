//! A keyset as a store: what was exported from another one is read as it was there, and never written.

use super::{block_on, contract, in_state, row};
use sealgate::keyring::store::file::FileStore;
use sealgate::keyring::store::keyset::{self, Keyset};
use sealgate::keyring::store::keyset_file::KeysetFile;
use sealgate::keyring::store::{KeyRow, KeyState, KeyStore, StoreError};
use sealgate::seal::Purpose;
use std::fs;
use std::sync::Barrier;
use std::thread;

#[test]
fn an_export_is_read_as_the_store_it_came_from_and_written_by_nobody() {
    let folder = tempfile::tempdir().unwrap();
    block_on(async {
        let store = FileStore::create(&folder.path().join("keys.redb")).await.unwrap();
        for scope in ["one", "two", "three"] {
            let (old, active) = (row(scope), row(scope));
            let lookup = KeyRow { purpose: Purpose::Lookup, ..row(scope) };
            store.activate(old.clone(), None).await.unwrap();
            store.activate(active, Some(old.id())).await.unwrap();
            store.activate(lookup, None).await.unwrap();
            for state in [KeyState::Revoked, KeyState::Shredded] {
                store.import(in_state(&row(scope), state)).await.unwrap();
            }
        }
        let rows = store.list(None, 100).await.unwrap();
        assert_eq!(rows.len(), 15);
        let exported = keyset::write(&rows);
        let read = Keyset::read("keys.json", &exported).unwrap();
        assert_eq!(read.name(), "keys.json");
        assert_eq!(read.list(None, 100).await.as_ref(), Ok(&rows));
        assert_eq!(read.list(Some(rows[3].id()), 4).await.as_deref(), Ok(&rows[4..8]));
        for row in &rows {
            assert_eq!(read.row(row.id()).await, Ok(Some(row.clone())));
            for purpose in Purpose::ALL {
                assert_eq!(read.active(row.scope, *purpose).await, store.active(row.scope, *purpose).await);
            }
        }
        let (there, other) = (rows[0].clone(), row("other"));
        assert_eq!(read.row(other.id()).await, Ok(None));
        assert_eq!(read.active(other.scope, other.purpose).await, Ok(None));
        let read_only = StoreError::ReadOnly { store: "keys.json".into() };
        assert_eq!(read.activate(other.clone(), None).await, Err(read_only.clone()));
        assert_eq!(read.replace(there.clone(), there).await, Err(read_only.clone()));
        assert_eq!(read.import(other).await, Err(read_only.clone()));
        assert_eq!(read_only.to_string(), "key store keys.json is read-only");
        // And back: into an empty store, all of it.
        let restored = FileStore::create(&folder.path().join("restored.redb")).await.unwrap();
        for row in keyset::read(&exported).unwrap() {
            restored.import(row).await.unwrap();
        }
        assert_eq!(keyset::write(&restored.list(None, 100).await.unwrap()), exported);
    });
}

#[test]
fn a_keyset_file_keeps_the_contract_and_is_a_keyset_all_the_while() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.json");
    let (one, two) = (KeysetFile::new(&path).unwrap(), KeysetFile::new(&path).unwrap());
    let rows = block_on(contract::hold(&one, &two));
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(keyset::read(&text).as_ref(), Ok(&rows));
    assert_eq!(text, keyset::write(&rows));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no lock and no draft is left beside it");
    for broken in ["", "{}", "{\"format\": \"sealgate-keyset-2\", \"keys\": []}"] {
        fs::write(&path, broken).unwrap();
        assert!(matches!(KeysetFile::new(&path), Err(StoreError::Broken { .. })), "{broken}");
        assert!(matches!(block_on(one.activate(row("late"), None)), Err(StoreError::Broken { .. })), "{broken}");
        assert_eq!(fs::read_to_string(&path).unwrap(), broken);
    }
    assert!(matches!(KeysetFile::new(&folder.path().join("none/keys.json")), Err(StoreError::Unavailable { .. })));
}

#[test]
fn writers_of_a_keyset_file_lose_nothing_of_each_other() {
    const WRITERS: usize = 8;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.json");
    let barrier = Barrier::new(WRITERS);
    thread::scope(|scope| {
        for number in 0..WRITERS {
            let (path, barrier) = (&path, &barrier);
            scope.spawn(move || {
                let file = KeysetFile::new(path).unwrap();
                barrier.wait();
                for part in 0..5 {
                    let key = row(&format!("scope-{number}-{part}"));
                    assert_eq!(block_on(file.activate(key.clone(), None)), Ok(key));
                }
            });
        }
    });
    let rows = block_on(KeysetFile::new(&path).unwrap().list(None, 100)).unwrap();
    assert_eq!(rows.len(), WRITERS * 5);
}
