//! What every key store does, asked of two handles on one store at once: two connections, or the same one where only one
//! is allowed.

use super::{in_state, row, second_later};
use futures_util::future::join_all;
use sealgate::keyring::store::{Imported, KeyRow, KeyState, KeyStore, StoreError};
use sealgate::seal::Purpose;
use sealgate::seal::{Commitment, Scope};

const ROUNDS: usize = 20;

/// Asserts all of it. The store is empty before; what it holds afterwards is returned, in the order of ids.
pub(super) async fn hold(one: &dyn KeyStore, two: &dyn KeyStore) -> Vec<KeyRow> {
    an_empty_store_has_nothing(one).await;
    the_first_key_is_activated_once(one, two).await;
    a_key_takes_over_from_the_one_that_was_read(one, two).await;
    racing_processes_agree(one, two).await;
    a_row_is_replaced_only_as_it_was_read(one, two).await;
    a_revoked_active_key_makes_room(one, two).await;
    a_shredded_key_is_a_tombstone(one, two).await;
    an_import_changes_nothing_that_is_there(one, two).await;
    what_no_store_may_hold_is_refused(one).await;
    the_keys_of_a_scope_and_purpose_are_told(one, two).await;
    rows_are_listed_page_by_page(one, two).await
}

async fn an_empty_store_has_nothing(store: &dyn KeyStore) {
    let row = row("nothing");
    assert_eq!(store.active(row.scope, row.purpose).await, Ok(None));
    assert_eq!(store.row(row.id()).await, Ok(None));
    assert_eq!(store.list(None, 10).await, Ok(vec![]));
    assert_eq!(store.replace(row.clone(), in_state(&row, KeyState::Revoked)).await, Ok(false));
}

async fn the_first_key_is_activated_once(one: &dyn KeyStore, two: &dyn KeyStore) {
    let (first, late) = (row("first"), row("first"));
    assert_eq!(one.activate(first.clone(), None).await, Ok(first.clone()));
    for store in [one, two] {
        assert_eq!(store.active(first.scope, first.purpose).await, Ok(Some(first.clone())));
        assert_eq!(store.row(first.id()).await, Ok(Some(first.clone())));
        assert_eq!(store.activate(late.clone(), None).await, Ok(first.clone()), "another is active");
        assert_eq!(store.activate(first.clone(), None).await, Ok(first.clone()), "asked again");
        assert_eq!(store.row(late.id()).await, Ok(None));
    }
    // Every purpose and every scope has one of its own.
    let lookup = KeyRow { purpose: Purpose::Lookup, ..row("first") };
    let other = row("second");
    for row in [lookup, other] {
        assert_eq!(two.activate(row.clone(), None).await, Ok(row.clone()));
        assert_eq!(one.active(row.scope, row.purpose).await, Ok(Some(row)));
    }
    assert_eq!(one.active(first.scope, Purpose::Stream).await, Ok(None));
    assert_eq!(one.active(first.scope, first.purpose).await, Ok(Some(first)));
}

async fn a_key_takes_over_from_the_one_that_was_read(one: &dyn KeyStore, two: &dyn KeyStore) {
    let (old, new, late) = (row("rotated"), row("rotated"), row("rotated"));
    one.activate(old.clone(), None).await.unwrap();
    assert_eq!(two.activate(new.clone(), Some(old.id())).await, Ok(new.clone()));
    assert_eq!(one.active(old.scope, old.purpose).await, Ok(Some(new.clone())));
    let demoted = KeyRow { state: KeyState::DecryptOnly, changed_at: new.changed_at, ..old.clone() };
    assert_eq!(one.row(old.id()).await, Ok(Some(demoted)));
    // Whoever still believes in the old one is told.
    assert_eq!(one.activate(late.clone(), Some(old.id())).await, Ok(new.clone()));
    assert_eq!(one.activate(late.clone(), Some(late.id())).await, Ok(new.clone()));
    assert_eq!(one.row(late.id()).await, Ok(None));
    // A key is never active twice in its life.
    let error = one.activate(old.clone(), Some(new.id())).await.unwrap_err();
    assert!(error.to_string().contains("it is there already and not active"), "{error}");
    assert_eq!(two.active(old.scope, old.purpose).await, Ok(Some(new.clone())));
    // A machine whose clock is behind does not turn a row's time back.
    let behind = KeyRow { changed_at: old.created_at, created_at: old.created_at, ..row("rotated") };
    assert_eq!(one.activate(behind.clone(), Some(new.id())).await, Ok(behind));
    assert_eq!(two.row(new.id()).await.unwrap().map(|row| row.changed_at), Some(new.changed_at));
}

async fn the_keys_of_a_scope_and_purpose_are_told(one: &dyn KeyStore, two: &dyn KeyStore) {
    let of = |purpose| KeyRow { purpose, ..row("told") };
    let (old, new, other) = (of(Purpose::Lookup), of(Purpose::Lookup), of(Purpose::Format));
    one.activate(old.clone(), None).await.unwrap();
    one.activate(new.clone(), Some(old.id())).await.unwrap();
    one.activate(other.clone(), None).await.unwrap();
    let mut wanted = vec![one.row(old.id()).await.unwrap().unwrap(), new];
    wanted.sort_by_key(KeyRow::id);
    assert_eq!(two.of(old.scope, Purpose::Lookup).await, Ok(wanted));
    assert_eq!(two.of(old.scope, Purpose::Format).await, Ok(vec![other]));
    assert_eq!(two.of(old.scope, Purpose::Stream).await, Ok(vec![]));
}

async fn racing_processes_agree(one: &dyn KeyStore, two: &dyn KeyStore) {
    for round in 0..ROUNDS {
        let scope = format!("race-{round}");
        let mut before: Option<KeyRow> = None;
        for callers in [2, 2, 6] {
            let rows: Vec<KeyRow> = (0..callers).map(|_| row(&scope)).collect();
            let instead_of = before.as_ref().map(KeyRow::id);
            let stores = [one, two].into_iter().cycle();
            let calls = rows.iter().zip(stores).map(|(row, store)| store.activate(row.clone(), instead_of));
            let answers: Vec<KeyRow> = join_all(calls).await.into_iter().map(Result::unwrap).collect();
            assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:#?}");
            for row in &rows {
                let expect = rows.iter().find(|row| **row == answers[0]).filter(|winner| *winner == row);
                assert_eq!(one.row(row.id()).await.unwrap().as_ref(), expect, "no row of a loser is left");
            }
            assert!(rows.contains(&answers[0]));
            assert_eq!(two.active(answers[0].scope, Purpose::Field).await, Ok(Some(answers[0].clone())));
            if let Some(before) = before {
                let state = one.row(before.id()).await.unwrap().map(|row| row.state);
                assert_eq!(state, Some(KeyState::DecryptOnly));
            }
            before = Some(answers[0].clone());
        }
    }
}

async fn a_row_is_replaced_only_as_it_was_read(one: &dyn KeyStore, two: &dyn KeyStore) {
    let active = row("replaced");
    one.activate(active.clone(), None).await.unwrap();
    // Wrapped anew, it stays active.
    let mut rewrapped = active.clone();
    rewrapped.edks.truncate(1);
    rewrapped.changed_at = second_later(active.changed_at);
    assert_eq!(two.replace(active.clone(), rewrapped.clone()).await, Ok(true));
    assert_eq!(one.active(active.scope, active.purpose).await, Ok(Some(rewrapped.clone())));
    // What was read is stale now, and so is anything that differs in one member.
    let revoked = in_state(&rewrapped, KeyState::Revoked);
    let mut other_time = rewrapped.clone();
    other_time.changed_at = second_later(rewrapped.changed_at);
    let mut other_blob = rewrapped.clone();
    other_blob.edks[0].blob[0] ^= 1;
    for stale in [active.clone(), other_time, other_blob, in_state(&rewrapped, KeyState::DecryptOnly)] {
        assert_eq!(one.replace(stale, revoked.clone()).await, Ok(false));
    }
    assert_eq!(two.row(active.id()).await, Ok(Some(rewrapped.clone())));
    // Of several who read the same, one wins.
    for _ in 0..ROUNDS {
        let seen = one.row(active.id()).await.unwrap().unwrap();
        let next: Vec<KeyRow> = (1..=4)
            .map(|number| {
                let changed_at = (0..number).fold(seen.changed_at, |time, _| second_later(time));
                KeyRow { changed_at, ..seen.clone() }
            })
            .collect();
        let stores = [one, two].into_iter().cycle();
        let calls = next.iter().zip(stores).map(|(row, store)| store.replace(seen.clone(), row.clone()));
        let done: Vec<bool> = join_all(calls).await.into_iter().map(Result::unwrap).collect();
        assert_eq!(done.iter().filter(|done| **done).count(), 1, "{done:?}");
        let winner = done.iter().position(|done| *done).unwrap();
        assert_eq!(two.row(active.id()).await, Ok(Some(next[winner].clone())));
    }
}

async fn a_revoked_active_key_makes_room(one: &dyn KeyStore, two: &dyn KeyStore) {
    let (old, new) = (row("revoked"), row("revoked"));
    one.activate(old.clone(), None).await.unwrap();
    let revoked = in_state(&old, KeyState::Revoked);
    assert_eq!(one.replace(old.clone(), revoked.clone()).await, Ok(true));
    assert_eq!(two.active(old.scope, old.purpose).await, Ok(None));
    assert_eq!(two.row(old.id()).await, Ok(Some(revoked.clone())));
    // Whoever wants to take over from it is not answered with a key that is not active.
    assert!(matches!(two.activate(new.clone(), Some(old.id())).await, Err(StoreError::Unavailable { .. })));
    assert_eq!(two.row(new.id()).await, Ok(None));
    assert_eq!(two.activate(new.clone(), None).await, Ok(new.clone()));
    // It opens again, and does not become active by that.
    let restored = in_state(&revoked, KeyState::DecryptOnly);
    assert_eq!(one.replace(revoked, restored.clone()).await, Ok(true));
    assert_eq!(one.row(old.id()).await, Ok(Some(restored)));
    assert_eq!(one.active(old.scope, old.purpose).await, Ok(Some(new)));
}

async fn a_shredded_key_is_a_tombstone(one: &dyn KeyStore, two: &dyn KeyStore) {
    for state in [KeyState::Active, KeyState::DecryptOnly, KeyState::Revoked] {
        let key = KeyRow { state, ..row("shredded") };
        assert_eq!(one.import(key.clone()).await, Ok(Imported::Added));
        let tombstone = in_state(&key, KeyState::Shredded);
        assert_eq!(two.replace(key.clone(), tombstone.clone()).await, Ok(true));
        assert_eq!(one.row(key.id()).await, Ok(Some(tombstone.clone())));
        assert_eq!(one.active(key.scope, key.purpose).await, Ok(None));
        // Nothing brings it back: neither a replacement, nor an old export, nor making it active.
        for back in [key.clone(), KeyRow { state: KeyState::Revoked, ..key.clone() }] {
            two.replace(tombstone.clone(), back).await.unwrap_err();
        }
        assert_eq!(one.import(key.clone()).await, Ok(Imported::Different));
        let again = KeyRow { state: KeyState::Active, ..key.clone() };
        one.activate(again, None).await.unwrap_err();
        assert_eq!(two.row(key.id()).await, Ok(Some(tombstone.clone())));
        assert_eq!(two.import(tombstone).await, Ok(Imported::Present));
    }
}

async fn an_import_changes_nothing_that_is_there(one: &dyn KeyStore, two: &dyn KeyStore) {
    let (active, second) = (row("imported"), row("imported"));
    assert_eq!(one.import(active.clone()).await, Ok(Imported::Added));
    assert_eq!(two.active(active.scope, active.purpose).await, Ok(Some(active.clone())));
    assert_eq!(two.import(active.clone()).await, Ok(Imported::Present));
    assert_eq!(two.import(in_state(&active, KeyState::Revoked)).await, Ok(Imported::Different));
    assert_eq!(one.row(active.id()).await, Ok(Some(active.clone())));
    // Another is active there.
    assert_eq!(one.import(second.clone()).await, Ok(Imported::AddedDecryptOnly));
    let added = KeyRow { state: KeyState::DecryptOnly, ..second.clone() };
    assert_eq!(two.row(second.id()).await, Ok(Some(added.clone())));
    assert_eq!(two.import(added).await, Ok(Imported::Present));
    assert_eq!(two.import(second).await, Ok(Imported::Different));
    for state in [KeyState::DecryptOnly, KeyState::Revoked, KeyState::Shredded] {
        let row = in_state(&row("imported"), state);
        assert_eq!(two.import(row.clone()).await, Ok(Imported::Added));
        assert_eq!(one.row(row.id()).await, Ok(Some(row)));
    }
    assert_eq!(one.active(active.scope, active.purpose).await, Ok(Some(active)));
    // Two imports of two active keys: one of them is.
    for round in 0..ROUNDS {
        let rows = [row(&format!("import-{round}")), row(&format!("import-{round}"))];
        let (first, second) = tokio::join!(one.import(rows[0].clone()), two.import(rows[1].clone()));
        let mut outcomes = [first.unwrap(), second.unwrap()];
        let active = one.active(rows[0].scope, rows[0].purpose).await.unwrap();
        let winner = usize::from(outcomes[1] == Imported::Added);
        assert_eq!(active.as_ref(), Some(&rows[winner]));
        outcomes.swap(0, winner);
        assert_eq!(outcomes, [Imported::Added, Imported::AddedDecryptOnly]);
        let loser = one.row(rows[1 - winner].id()).await.unwrap().unwrap();
        assert_eq!(loser.state, KeyState::DecryptOnly);
    }
}

async fn what_no_store_may_hold_is_refused(store: &dyn KeyStore) {
    let good = row("refused");
    let change = |change: fn(&mut KeyRow)| {
        let mut row = good.clone();
        change(&mut row);
        row
    };
    let no_row = [
        change(|row| row.edks.clear()),
        change(|row| row.edks = vec![row.edks[0].clone(); 5]),
        change(|row| row.edks[0].blob.clear()),
        change(|row| row.edks[0].blob = vec![1; 6145]),
        change(|row| row.state = KeyState::Shredded),
    ];
    for row in no_row {
        for error in [
            store.activate(row.clone(), None).await.unwrap_err(),
            store.import(row.clone()).await.unwrap_err(),
            store.replace(good.clone(), row.clone()).await.unwrap_err(),
        ] {
            assert!(matches!(error, StoreError::Broken { .. }), "{error}");
        }
    }
    for state in [KeyState::DecryptOnly, KeyState::Revoked] {
        store.activate(in_state(&good, state), None).await.unwrap_err();
    }
    assert_eq!(store.row(good.id()).await, Ok(None));
    store.activate(good.clone(), None).await.unwrap();
    for other in [
        change(|row| row.scope = Scope::parse("other").unwrap()),
        change(|row| row.purpose = Purpose::Lookup),
        change(|row| row.commitment = Commitment::from_bytes([9; 32])),
    ] {
        store.replace(good.clone(), other).await.unwrap_err();
    }
    let decrypt_only = in_state(&good, KeyState::DecryptOnly);
    assert_eq!(store.replace(good.clone(), decrypt_only.clone()).await, Ok(true));
    store.replace(decrypt_only.clone(), good.clone()).await.unwrap_err();
    assert_eq!(store.row(good.id()).await, Ok(Some(decrypt_only)));
}

async fn rows_are_listed_page_by_page(one: &dyn KeyStore, two: &dyn KeyStore) -> Vec<KeyRow> {
    let all = one.list(None, 100_000).await.unwrap();
    assert!(all.len() > 100, "what the other clauses left behind");
    assert!(all.windows(2).all(|pair| pair[0].id() < pair[1].id()), "ordered, each once");
    let mut paged: Vec<KeyRow> = Vec::new();
    loop {
        let page = two.list(paged.last().map(KeyRow::id), 7).await.unwrap();
        assert!(page.len() <= 7);
        if page.is_empty() {
            break;
        }
        paged.extend(page);
    }
    assert_eq!(paged, all);
    assert_eq!(two.list(None, 0).await, Ok(vec![]));
    all
}
