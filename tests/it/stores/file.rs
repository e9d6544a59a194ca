//! The file: its lock, its durability, what is left in it of a shredded key, and what it makes of damage.

use super::{block_on, contract, in_state, row, run_again};
use redb::{Database, ReadableDatabase, TableDefinition};
use sealgate::keyring::store::file::FileStore;
use sealgate::keyring::store::{KeyRow, KeyState, KeyStore, StoreError};
use sealgate::seal::Commitment;
use sealgate::seal::crypto::sha256;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

/// Names the file to a child process: the test binary itself, run again for one test.
const CHILD: &str = "SEALGATE_TEST_KEY_FILE";
/// Two tables, as the store names them.
const KEYS: TableDefinition<'_, &[u8; 16], &str> = TableDefinition::new("sealgate-keys-1");
const ACTIVE: TableDefinition<'_, (&str, &str), &[u8; 16]> = TableDefinition::new("sealgate-active-1");

fn open(path: &Path) -> Result<FileStore, StoreError> {
    block_on(FileStore::create(path))
}

/// Runs this very test again as a process of its own.
fn child(test: &str, path: &Path) -> Child {
    let mut command = run_again(module_path!(), test);
    command.env(CHILD, path);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
}

/// The line that a child says after libtest's own, by what it begins with.
fn said(child: &mut Child, start: &str) -> String {
    let lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
    let mut lines = lines.map_while(Result::ok).filter_map(|line| Some(line.split_once(start)?.1.to_owned()));
    lines.next().expect("the child says it")
}

#[expect(clippy::disallowed_methods, reason = "the child's part is told by its environment alone")]
fn told() -> Option<PathBuf> {
    std::env::var_os(CHILD).map(PathBuf::from)
}

#[test]
fn the_file_keeps_the_contract_and_all_rows_when_it_is_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.redb");
    let rows = block_on(async {
        let store = FileStore::create(&path).await.unwrap();
        assert_eq!(store.name(), path.to_str().unwrap());
        contract::hold(&store, &store).await
    });
    let store = open(&path).unwrap();
    assert_eq!(block_on(store.list(None, rows.len() + 1)), Ok(rows.clone()));
    for row in rows.iter().filter(|row| row.state == KeyState::Active) {
        assert_eq!(block_on(store.active(row.scope, row.purpose)).as_ref(), Ok(&Some(row.clone())));
    }
    let mode = |name: &str| fs::metadata(folder.path().join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("keys.redb"), mode("keys.redb.lock")), (0o600, 0o600));
    let names = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(names.count(), 2, "the file and its lock");
}

#[test]
fn a_second_process_is_told_that_the_file_is_in_use() {
    if let Some(path) = told() {
        let error = open(&path).err();
        println!("opened: {}", error.map_or("yes".to_owned(), |error| error.to_string()));
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.redb");
    let ask = || {
        let mut child = child("a_second_process_is_told_that_the_file_is_in_use", &path);
        let answer = said(&mut child, "opened: ");
        assert!(child.wait().unwrap().success());
        answer
    };
    let locked = format!("key store {} is in use by another process", path.display());
    let store = open(&path).unwrap();
    assert_eq!(ask(), locked);
    assert_eq!(open(&path).err().map(|error| error.to_string()), Some(locked.clone()), "nor twice in one process");
    // A rewrite puts another file into its place, which is as much in use.
    let key = row("clinic");
    block_on(store.activate(key.clone(), None)).unwrap();
    assert_eq!(block_on(store.replace(key.clone(), in_state(&key, KeyState::Shredded))), Ok(true));
    assert_eq!(ask(), locked);
    drop(store);
    assert_eq!(ask(), "yes");
}

#[test]
fn a_row_outlives_a_kill_right_after_it_was_activated() {
    if let Some(path) = told() {
        let store = open(&path).unwrap();
        // Every child makes a key of its own.
        let mut key = row("clinic");
        let commitment = sha256(&[key.commitment.as_bytes(), &std::process::id().to_be_bytes()]);
        key.commitment = Commitment::from_bytes(commitment);
        let seen = block_on(store.active(key.scope, key.purpose)).unwrap();
        block_on(store.activate(key.clone(), seen.map(|row| row.id()))).unwrap();
        println!("active: {}", key.id());
        // Until it is killed, or its parent is gone.
        let _end = std::io::stdin().lines().next();
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.redb");
    let mut ids = Vec::new();
    for _ in 0..20 {
        let mut child = child("a_row_outlives_a_kill_right_after_it_was_activated", &path);
        let id = said(&mut child, "active: ");
        child.kill().unwrap();
        child.wait().unwrap();
        ids.push(id);
        let store = open(&path).unwrap();
        let active = block_on(store.active(row("clinic").scope, row("clinic").purpose)).unwrap();
        assert_eq!(active.map(|row| row.id().to_string()).as_ref(), ids.last());
    }
    let rows = block_on(open(&path).unwrap().list(None, 100)).unwrap();
    let mut there: Vec<String> = rows.iter().map(|row| row.id().to_string()).collect();
    there.sort();
    ids.sort();
    assert_eq!(there, ids, "and all those before it");
}

#[test]
fn a_kill_in_the_middle_of_shredding_leaves_a_whole_file() {
    const KEYS_MAX: usize = 400;
    const ROUNDS: usize = 20;
    if let Some(path) = told() {
        let store = open(&path).unwrap();
        let rows = block_on(store.list(None, KEYS_MAX)).unwrap();
        for row in rows.into_iter().filter(|row| row.state != KeyState::Shredded).take(KEYS_MAX / ROUNDS) {
            let shredded = in_state(&row, KeyState::Shredded);
            assert_eq!(block_on(store.replace(row, shredded.clone())), Ok(true));
            println!("shredded: {}", shredded.id());
        }
        // Until it is killed, or its parent is gone.
        let _end = std::io::stdin().lines().next();
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.redb");
    let store = open(&path).unwrap();
    let rows: Vec<KeyRow> = (0..KEYS_MAX).map(|_| KeyRow { state: KeyState::DecryptOnly, ..row("clinic") }).collect();
    for row in &rows {
        block_on(store.import(row.clone())).unwrap();
    }
    drop(store);
    let mut shredded = 0;
    for _ in 0..ROUNDS {
        let mut child = child("a_kill_in_the_middle_of_shredding_leaves_a_whole_file", &path);
        // The next one is under way, at one point of it or another.
        let id = said(&mut child, "shredded: ");
        child.kill().unwrap();
        child.wait().unwrap();
        let store = open(&path).unwrap();
        let there = block_on(store.list(None, KEYS_MAX + 1)).unwrap();
        assert_eq!(there.len(), rows.len());
        for found in &there {
            let whole = rows.iter().find(|row| row.id() == found.id()).unwrap();
            assert!(found == whole || *found == in_state(whole, KeyState::Shredded), "{found:?}");
        }
        let now = there.iter().filter(|row| row.state == KeyState::Shredded).count();
        assert!(now > shredded, "{now} after {shredded}");
        let said = there.iter().find(|row| row.id().to_string() == id).unwrap();
        assert_eq!(said.state, KeyState::Shredded);
        shredded = now;
    }
}

#[test]
fn nothing_of_a_shredded_key_is_left_in_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.redb");
    let store = open(&path).unwrap();
    let (key, other) = (row("clinic"), row("other"));
    let pieces = |row: &KeyRow| -> Vec<String> {
        let blobs = row.edks.iter().map(|edk| data_encoding::BASE64.encode(&edk.blob));
        let pieces = blobs.flat_map(|text| {
            let pieces: Vec<String> =
                text.as_bytes().chunks(16).map(|piece| str::from_utf8(piece).unwrap().to_owned()).collect();
            pieces
        });
        pieces.collect()
    };
    let found = |row: &KeyRow| {
        let file = fs::read(&path).unwrap();
        let there = |piece: &String| memchr::memmem::find(&file, piece.as_bytes()).is_some();
        pieces(row).iter().filter(|piece| there(piece)).count()
    };
    block_on(store.activate(key.clone(), None)).unwrap();
    block_on(store.activate(other.clone(), None)).unwrap();
    // Old pages of the file hold copies of it by now.
    let mut seen = key.clone();
    for state in [KeyState::DecryptOnly, KeyState::Revoked, KeyState::DecryptOnly, KeyState::Revoked] {
        let next = in_state(&seen, state);
        assert_eq!(block_on(store.replace(seen, next.clone())), Ok(true));
        seen = next;
    }
    assert_eq!(found(&key), pieces(&key).len());
    assert_eq!(block_on(store.replace(seen.clone(), in_state(&seen, KeyState::Shredded))), Ok(true));
    assert_eq!((found(&key), found(&other)), (0, pieces(&other).len()));
    drop(store);
    let store = open(&path).unwrap();
    assert_eq!(block_on(store.row(key.id())).unwrap().unwrap().edks, []);
    assert_eq!(block_on(store.active(other.scope, other.purpose)), Ok(Some(other)));
    assert!(!path.with_extension("redb.new").exists());
}

#[test]
fn a_rewrite_that_did_not_finish_is_cleared_away_and_one_that_cannot_be_done_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.redb");
    let new = folder.path().join("keys.redb.new");
    let key = row("clinic");
    let store = open(&path).unwrap();
    block_on(store.activate(key.clone(), None)).unwrap();
    drop(store);
    fs::write(&new, "half a file").unwrap();
    let store = open(&path).unwrap();
    assert!(!new.exists());
    // A folder in its place cannot be removed as a file.
    fs::create_dir(&new).unwrap();
    let shredded = in_state(&key, KeyState::Shredded);
    let refused = block_on(store.replace(key.clone(), shredded.clone()));
    assert!(matches!(refused, Err(StoreError::Unavailable { .. })), "{refused:?}");
    assert_eq!(block_on(store.row(key.id())), Ok(Some(key.clone())));
    fs::remove_dir(&new).unwrap();
    assert_eq!(block_on(store.replace(key.clone(), shredded)), Ok(true));
}

#[test]
fn a_link_to_the_file_stays_one() {
    let folder = tempfile::tempdir().unwrap();
    let (path, link) = (folder.path().join("keys.redb"), folder.path().join("link"));
    drop(open(&path).unwrap());
    std::os::unix::fs::symlink(&path, &link).unwrap();
    let store = open(&link).unwrap();
    let key = row("clinic");
    block_on(store.activate(key.clone(), None)).unwrap();
    assert!(matches!(open(&path), Err(StoreError::Locked { .. })), "one file, one lock");
    assert_eq!(block_on(store.replace(key.clone(), in_state(&key, KeyState::Shredded))), Ok(true));
    drop(store);
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert!(block_on(open(&path).unwrap().row(key.id())).unwrap().is_some());
}

#[test]
fn what_is_no_file_of_keys_is_broken_and_stays_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.redb");
    let foreign: [&[u8]; 5] =
        [b"", b"x", b"{\"format\":\"sealgate-keyset-1\"}", &[0; 4096], b"redb\x1a\x0a\xa9\x0d\x0a"];
    for content in foreign {
        fs::write(&path, content).unwrap();
        let error = open(&path).err();
        assert!(matches!(error, Some(StoreError::Broken { .. })), "{content:?}: {error:?}");
        assert_eq!(fs::read(&path).unwrap(), content);
    }
    // A database of the same make, with other content.
    fs::remove_file(&path).unwrap();
    let other: TableDefinition<'_, u64, u64> = TableDefinition::new("other");
    let database = Database::create(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(other).unwrap().insert(1, 2).unwrap();
    transaction.commit().unwrap();
    drop(database);
    assert!(matches!(open(&path), Err(StoreError::Broken { .. })));
    let database = Database::open(&path).unwrap();
    let table = database.begin_read().unwrap().open_table(other).unwrap();
    assert_eq!(table.get(1).unwrap().map(|value| value.value()), Some(2));
    drop(database);
    // No file at all: opening makes none.
    let absent = folder.path().join("absent.redb");
    let missing = block_on(FileStore::open(&absent)).err();
    assert_eq!(missing, Some(StoreError::Missing { store: absent.to_str().unwrap().into() }));
    assert!(!absent.exists());
    let folder_missing = open(&folder.path().join("none").join("keys.redb")).err();
    assert!(matches!(folder_missing, Some(StoreError::Unavailable { .. })), "{folder_missing:?}");
    let a_folder = open(folder.path()).err();
    assert!(a_folder.is_some());
}

#[test]
fn a_damaged_file_gives_its_rows_or_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.redb");
    let store = open(&path).unwrap();
    for number in 0..20 {
        block_on(store.activate(row(&format!("scope-{number}")), None)).unwrap();
    }
    let rows = block_on(store.list(None, 100)).unwrap();
    drop(store);
    let whole = fs::read(&path).unwrap();
    let mut broken = 0;
    let mut check = |content: &[u8], what: &str| {
        fs::write(&path, content).unwrap();
        let there = block_on(async { FileStore::create(&path).await?.list(None, 100).await });
        match there {
            Ok(there) => assert!(there.iter().all(|row| rows.contains(row)), "{what}: a row that never was"),
            Err(StoreError::Broken { .. }) => broken += 1,
            Err(error) => panic!("{what}: {error}"),
        }
    };
    for length in [1, 100, 4095, 4096, 8192, whole.len() / 2, whole.len() - 4096, whole.len() - 1] {
        check(&whole[..length], &format!("cut at {length}"));
    }
    // The header page byte by byte, and one byte of each kind of place after it.
    let used = whole.iter().rposition(|byte| *byte != 0).unwrap();
    for at in (0..320).chain((320..used).step_by(997)) {
        let mut content = whole.clone();
        content[at] ^= 0x55;
        check(&content, &format!("changed at {at}"));
    }
    assert!(broken > 50, "{broken}");
}

#[test]
fn a_row_that_is_not_what_it_stands_for_is_broken() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.redb");
    let (key, other) = (row("clinic"), row("other"));
    let text = {
        let store = open(&path).unwrap();
        block_on(store.activate(key.clone(), None)).unwrap();
        block_on(store.activate(other.clone(), None)).unwrap();
        drop(store);
        let database = Database::open(&path).unwrap();
        let table = database.begin_read().unwrap().open_table(KEYS).unwrap();
        table.get(other.id().as_bytes()).unwrap().unwrap().value().to_owned()
    };
    let place = ("clinic", "field");
    let alter = |text: &str, active: &[u8; 16]| {
        let database = Database::open(&path).unwrap();
        let transaction = database.begin_write().unwrap();
        transaction.open_table(KEYS).unwrap().insert(key.id().as_bytes(), text).unwrap();
        transaction.open_table(ACTIVE).unwrap().insert(place, active).unwrap();
        transaction.commit().unwrap();
    };
    let broken = |error: Option<StoreError>, expect: &str| {
        let text = error.as_ref().map(StoreError::to_string).unwrap_or_default();
        assert!(matches!(error, Some(StoreError::Broken { .. })) && text.contains(expect), "{text}");
    };
    for (content, expect) in [("", "not the JSON object of a key"), (text.as_str(), "it is that of another key")] {
        alter(content, key.id().as_bytes());
        let store = open(&path).unwrap();
        broken(block_on(store.row(key.id())).err(), expect);
        broken(block_on(store.active(key.scope, key.purpose)).err(), expect);
        broken(block_on(store.list(None, 10)).err(), expect);
        broken(block_on(store.activate(row("clinic"), Some(key.id()))).err(), expect);
        broken(block_on(store.replace(key.clone(), in_state(&key, KeyState::Revoked))).err(), expect);
        broken(block_on(store.import(key.clone())).err(), expect);
        assert_eq!(block_on(store.row(other.id())), Ok(Some(other.clone())), "the others are not touched by it");
    }
    alter(&text.replace("\"other\"", "\"clinic\""), other.id().as_bytes());
    let store = open(&path).unwrap();
    broken(block_on(store.active(key.scope, key.purpose)).err(), "which it is not");
    drop(store);
    alter(&text, &[9; 16]);
    broken(block_on(open(&path).unwrap().active(key.scope, key.purpose)).err(), "is active and not there");
}
