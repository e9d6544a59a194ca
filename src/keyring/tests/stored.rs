//! Keys that stand in a store or keyset: their rows are asked as well as their KEK.

use super::doubles::Mood;
use super::store::{KeyRow, KeyState};
use super::*;
use crate::seal::{Commitment, EncryptionContext, KeyRef, UnwrappedKey};
use futures_util::future::join;
use jiff::{SignedDuration, Timestamp};
use std::sync::atomic::Ordering;

async fn stored(keys: &Keys, suite: Suite) -> Result<Arc<Held<Arc<SealingKey>>>, KeyringError> {
    keys.sealing_key(scope(), suite, Placement::Stored).await
}

fn at_hand(keys: &Keys) -> Option<KeyId> {
    keys.sealing_key_at_hand(scope(), Suite::Random, Placement::Stored).map(|held| held.key.id())
}

/// A row of a key that `keks` made, `age` ago.
fn row(keks: &Keks, purpose: Purpose, age: Duration) -> KeyRow {
    let (key, edks) = keks.make(EncryptionContext { scope: scope(), purpose });
    let commitment = UnwrappedKey::new(default_provider(), key).unwrap().commitment();
    let at = Timestamp::now() - SignedDuration::try_from(age).unwrap();
    KeyRow { commitment, scope: scope(), purpose, state: KeyState::Active, edks, created_at: at, changed_at: at }
}

fn active(rows: &Rows) -> Vec<KeyId> {
    rows.all().iter().filter(|row| row.state == KeyState::Active).map(KeyRow::id).collect()
}

fn salt_of(envelope: &Envelope) -> [u8; 8] {
    envelope.head().salt.unwrap()
}

#[tokio::test(start_paused = true)]
async fn two_gateways_that_start_at_once_seal_under_one_key_and_never_with_one_salt() {
    for suite in [Suite::Random, Suite::Stream] {
        let (keks, store) = (Keks::new(), Rows::new());
        let [one, other] = [0, 1].map(|_| keys_on(&keks, settings(), None, Some(&store)));
        let (first, second) = join(stored(&one, suite), stored(&other, suite)).await;
        let (first, second) = (first.unwrap(), second.unwrap());
        assert_eq!(first.key.id(), second.key.id());
        assert_eq!(active(&store), [first.key.id()]);
        assert_eq!(store.activations.load(Ordering::SeqCst), 2, "they did race");
        assert_eq!(store.all().len(), 1, "the key of the slower one was never used");
        assert!(matches!(first.key.reference(), KeyRef::Stored { .. }));
        if suite == Suite::Random {
            let (mine, theirs) = (seal(&first).unwrap(), seal(&second).unwrap());
            assert_ne!(salt_of(&mine), salt_of(&theirs));
            assert_eq!(salt_of(&mine), salt_of(&seal(&stored(&one, suite).await.unwrap()).unwrap()));
            // Each opens what the other sealed, without asking for the key that it has.
            let before = keks.calls();
            assert!(other.opening_key_at_hand(&mine).is_some() && one.opening_key_at_hand(&theirs).is_some());
            assert_eq!(keks.calls(), before);
            // Taken again it has its whole budget: so its field keys must be new ones.
            one.purge();
            let again = seal(&stored(&one, suite).await.unwrap()).unwrap();
            assert_eq!(again.head().key_id, mine.head().key_id);
            assert_ne!(salt_of(&again), salt_of(&mine));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn two_gateways_that_rotate_at_once_end_with_one_key() {
    let (keks, store) = (Keks::new(), Rows::new());
    let old = row(&keks, Purpose::Field, seconds(86_400 - 3600));
    store.put(old.clone());
    let [one, other] = [0, 1].map(|_| keys_on(&keks, settings(), None, Some(&store)));
    assert_eq!(stored(&one, Suite::Random).await.unwrap().key.id(), old.id(), "its last hour is as good as any");
    assert_eq!(stored(&other, Suite::Random).await.unwrap().key.id(), old.id());
    assert_eq!((at_hand(&one), at_hand(&other)), (Some(old.id()), Some(old.id())), "these uses send for the next one");
    settle().await;
    assert_eq!(at_hand(&one), at_hand(&other));
    assert_eq!(active(&store), [at_hand(&one).unwrap()]);
    assert_ne!(active(&store), [old.id()]);
    let states: Vec<_> = store.all().iter().map(|row| row.state).collect();
    assert_eq!(states.len(), 2);
    assert!(states.contains(&KeyState::DecryptOnly));
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_too_old_or_used_up_is_replaced_in_the_store() {
    let (keks, store) = (Keks::new(), Rows::new());
    let old = row(&keks, Purpose::Field, seconds(86_400));
    store.put(old.clone());
    let budget = Budget { seals_max: 10, bytes_max: 1000 };
    let keys = keys_on(&keks, CacheSettings { budget, ..settings() }, None, Some(&store));
    let first = stored(&keys, Suite::Random).await.unwrap();
    assert_ne!(first.key.id(), old.id());
    assert_eq!(active(&store), [first.key.id()]);
    while seal(&first).is_ok() {}
    let second = stored(&keys, Suite::Random).await.unwrap();
    assert_ne!(second.key.id(), first.key.id());
    assert_eq!(active(&store), [second.key.id()]);
}

#[tokio::test(start_paused = true)]
async fn long_lived_keys_are_for_life() {
    let (keks, store) = (Keks::new(), Rows::new());
    let rows = [Purpose::Lookup, Purpose::Format].map(|purpose| row(&keks, purpose, seconds(10 * 365 * 86_400)));
    rows.iter().for_each(|row| store.put(row.clone()));
    let budget = Budget { seals_max: 2, bytes_max: 1000 };
    let keys = keys_on(&keks, CacheSettings { budget, ..settings() }, None, Some(&store));
    keep_up(&keys);
    for _ in 0..20 {
        let lookup = stored(&keys, Suite::Deterministic).await.unwrap();
        assert_eq!(lookup.key.id(), rows[0].id());
        seal(&lookup).unwrap();
        // They never ride in a token, whatever the caller says.
        let inline = keys.sealing_key(scope(), Suite::Deterministic, Placement::Inline).await.unwrap();
        assert!(Arc::ptr_eq(&inline.key, &lookup.key));
        assert_eq!(keys.format_key(scope()).await.unwrap().key.id(), rows[1].id());
        assert!(keys.format_key_at_hand(scope()).is_some());
        for _ in 0..6 {
            pass(seconds(10)).await;
        }
    }
    assert_eq!(keks.calls().0, 0);
    assert!(keks.calls().1 > 2, "but the KEK confirms them too");
}

#[tokio::test(start_paused = true)]
async fn the_keyset_comes_first_and_only_the_store_gets_new_keys() {
    let (keks, keyset, store) = (Keks::new(), Rows::new(), Rows::new());
    let lookup = row(&keks, Purpose::Lookup, seconds(0));
    keyset.put(lookup.clone());
    let keys = keys_on(&keks, settings(), Some(&keyset), Some(&store));
    let held = stored(&keys, Suite::Deterministic).await.unwrap();
    assert_eq!(held.key.id(), lookup.id());
    assert!(store.all().is_empty());
    let token = seal(&held).unwrap();
    // What it does not have is in the store, but no long-lived key is made in passing: not where there was never one, nor
    // where it was revoked, for values that keep their format would open to other values.
    let no_key = |purpose| Some(KeyringError::NoKey { scope: scope(), purpose });
    let format = row(&keks, Purpose::Format, seconds(0));
    assert_eq!(keys.format_key(scope()).await.err(), no_key(Purpose::Format));
    store.put(format.clone());
    keys.purge();
    assert_eq!(keys.format_key(scope()).await.unwrap().key.id(), format.id());
    store.change(format.id(), |row| row.state = KeyState::Revoked);
    keys.purge();
    assert_eq!(keys.format_key(scope()).await.err(), no_key(Purpose::Format));
    assert_eq!(store.all().len(), 1);
    let field = stored(&keys, Suite::Random).await.unwrap();
    assert_eq!(store.all().len(), 2);

    // Without a store none is made in passing.
    let keys = keys_on(&keks, settings(), Some(&keyset), None);
    assert!(keys.opening_key(&token).await.is_ok());
    assert_eq!(keys.format_key(scope()).await.err(), no_key(Purpose::Format));
    assert_eq!(stored(&keys, Suite::Random).await.err(), no_key(Purpose::Field));
    let unknown = keys.opening_key(&seal(&field).unwrap()).await.err();
    assert_eq!(unknown, Some(KeyringError::UnknownKey { id: field.key.id() }));
    let generated = keks.calls().0;
    assert_eq!(keys_on(&keks, settings(), None, None).format_key(scope()).await.err(), no_key(Purpose::Format));
    assert_eq!(keks.calls().0, generated, "the KEK is not asked for what nobody could keep");
}

#[tokio::test(start_paused = true)]
async fn a_key_that_another_gateway_replaced_is_followed_at_the_next_confirmation() {
    let (keks, store) = (Keks::new(), Rows::new());
    let keys = keys_on(&keks, settings(), None, Some(&store));
    let first = stored(&keys, Suite::Random).await.unwrap().key.id();
    let next = row(&keks, Purpose::Field, seconds(0));
    store.change(first, |row| row.state = KeyState::DecryptOnly);
    store.put(next.clone());
    let mut followed = None;
    for second in 0..330 {
        if stored(&keys, Suite::Random).await.unwrap().key.id() == next.id() {
            followed = followed.or(Some(second));
        }
        pass(seconds(1)).await;
    }
    assert!(matches!(followed, Some(210..=270)), "at 80 % of the interval: {followed:?}");
    assert_eq!(store.all().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_the_row_says_bites_within_the_bound() {
    for state in [KeyState::Revoked, KeyState::Shredded] {
        let (keks, store) = (Keks::new(), Rows::new());
        let keys = keys_on(&keks, settings(), None, Some(&store));
        keep_up(&keys);
        let held = stored(&keys, Suite::Random).await.unwrap();
        let (id, token) = (held.key.id(), seal(&held).unwrap());
        pass(seconds(100)).await;
        store.change(id, |row| {
            row.state = state;
            if state == KeyState::Shredded {
                row.edks.clear();
            }
        });
        let since = tokio::time::Instant::now();
        let (mut sealed, mut opened) = (Duration::ZERO, Duration::ZERO);
        for _ in 0..400 {
            // It is followed by a new one.
            if stored(&keys, Suite::Random).await.unwrap().key.id() == id {
                sealed = since.elapsed();
            }
            if keys.opening_key(&token).await.is_ok() {
                opened = since.elapsed();
            }
            pass(seconds(1)).await;
        }
        assert!(sealed < keys.revocation_bound() && opened < seconds(300), "{state:?}: {sealed:?}, {opened:?}");
        let want = match state {
            KeyState::Revoked => KeyringError::Revoked { id },
            _ => KeyringError::Shredded { id },
        };
        assert_eq!(keys.opening_key(&token).await.err(), Some(want));
    }
}

#[tokio::test(start_paused = true)]
async fn a_row_that_is_not_what_was_asked_for_opens_and_seals_nothing() {
    let (keks, store) = (Keks::new(), Rows::new());
    let maker = keys_on(&keks, settings(), None, Some(&store));
    let token = seal(&stored(&maker, Suite::Random).await.unwrap()).unwrap();
    let id = token.head().key_id;
    let good = store.all().remove(0);
    let wrongs: [fn(&mut KeyRow); 3] = [
        |row| row.scope = Scope::parse("other").unwrap(),
        |row| row.purpose = Purpose::Lookup,
        |row| {
            // The half of the commitment that no token carries.
            let mut bytes = *row.commitment.as_bytes();
            bytes[31] ^= 1;
            row.commitment = Commitment::from_bytes(bytes);
        },
    ];
    for wrong in wrongs {
        store.change(id, wrong);
        let keys = keys_on(&keks, settings(), None, Some(&store));
        assert!(matches!(keys.opening_key(&token).await, Err(KeyringError::Rejected { .. })));
        store.put(good.clone());
    }
    // A key that is another one than the row commits to does not seal either.
    keks.be(Mood::AnotherKey);
    let keys = keys_on(&keks, settings(), None, Some(&store));
    assert!(matches!(stored(&keys, Suite::Random).await, Err(KeyringError::Rejected { .. })));
    assert_eq!(active(&store), [id]);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_down_is_as_a_kek_that_is_down() {
    for stale in [0, 600] {
        let (keks, store) = (Keks::new(), Rows::new());
        let keys = keys_on(&keks, CacheSettings { stale_if_error: seconds(stale), ..settings() }, None, Some(&store));
        keep_up(&keys);
        let token = seal(&stored(&keys, Suite::Random).await.unwrap()).unwrap();
        store.down.store(true, Ordering::SeqCst);
        let since = tokio::time::Instant::now();
        let (mut sealed, mut opened) = (Duration::ZERO, Duration::ZERO);
        for _ in 0..1000 {
            if stored(&keys, Suite::Random).await.is_ok() {
                sealed = since.elapsed();
            }
            if keys.opening_key(&token).await.is_ok() {
                opened = since.elapsed();
            }
            pass(seconds(1)).await;
        }
        assert!((269 + stale..330 + stale).contains(&sealed.as_secs()), "{sealed:?}");
        assert_eq!(opened, seconds(299 + stale));
        for error in [stored(&keys, Suite::Random).await.err(), keys.opening_key(&token).await.err()] {
            let Some(KeyringError::Unavailable { kek, .. }) = error else { panic!("{error:?}") };
            assert_eq!(&*kek, "key store rows");
        }
        let before = keks.calls();
        assert!(stored(&keys, Suite::Stream).await.is_err());
        assert_eq!(keks.calls(), before, "no key is made that could not be kept");
        store.down.store(false, Ordering::SeqCst);
        pass(seconds(2)).await;
        assert_eq!(stored(&keys, Suite::Random).await.unwrap().key.id(), token.head().key_id);
        assert!(!keys.opening_key(&token).await.unwrap().stale);
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_is_in_the_store_before_it_seals() {
    let (keks, store) = (Keks::new(), Rows::new());
    let keys = keys_on(&keks, settings(), None, Some(&store));
    let going = tokio::spawn({
        let keys = Arc::clone(&keys);
        async move { stored(&keys, Suite::Random).await.map(|held| held.key.id()) }
    });
    while keks.calls().0 == 0 {
        tokio::task::yield_now().await;
    }
    // Made, and now the store goes away: nobody gets it.
    store.down.store(true, Ordering::SeqCst);
    assert!(matches!(going.await.unwrap(), Err(KeyringError::Unavailable { .. })));
    assert_eq!((store.all().len(), at_hand(&keys)), (0, None));
}

async fn former(keys: &Keys, active: KeyId) -> Result<Vec<KeyId>, KeyringError> {
    Ok(keys.former_keys(scope(), active).await?.iter().map(|held| held.key.id()).collect())
}

#[tokio::test(start_paused = true)]
async fn former_lookup_keys_are_those_that_still_open() {
    let (keks, store, keyset) = (Keks::new(), Rows::new(), Rows::new());
    let mut rows: Vec<KeyRow> = (0..6).map(|_| row(&keks, Purpose::Lookup, seconds(10))).collect();
    rows.sort_by_key(KeyRow::id);
    let states =
        [KeyState::DecryptOnly, KeyState::Revoked, KeyState::Shredded, KeyState::DecryptOnly, KeyState::Active];
    for (row, state) in rows.iter_mut().zip(states) {
        row.state = state;
        store.put(row.clone());
    }
    // That of the keyset goes before the store's, which sealed before there was a keyset.
    keyset.put(rows[5].clone());
    let elsewhere = KeyRow { scope: Scope::parse("other").unwrap(), ..row(&keks, Purpose::Lookup, seconds(10)) };
    store.put(elsewhere);
    store.put(row(&keks, Purpose::Field, seconds(10)));
    let keys = keys_on(&keks, settings(), Some(&keyset), Some(&store));
    let active = stored(&keys, Suite::Deterministic).await.unwrap().key.id();
    assert_eq!(active, rows[5].id());
    let wanted = vec![rows[0].id(), rows[3].id(), rows[4].id()];
    assert!(keys.former_keys_at_hand(scope(), active).is_none());
    assert_eq!(former(&keys, active).await, Ok(wanted.clone()));
    let at_hand = keys.former_keys_at_hand(scope(), active).unwrap();
    assert_eq!(at_hand.iter().map(|held| held.key.id()).collect::<Vec<_>>(), wanted);
    // Once another one seals, this one is a former one, at once.
    assert_eq!(former(&keys, rows[0].id()).await, Ok(vec![rows[3].id(), rows[4].id(), rows[5].id()]));
    // One that is taken out of use is not looked for, whatever the list says.
    store.change(rows[3].id(), |row| row.state = KeyState::Revoked);
    pass(seconds(200)).await;
    let fresh = keys_on(&keks, settings(), Some(&keyset), Some(&store));
    assert_eq!(former(&fresh, active).await, Ok(vec![rows[0].id(), rows[4].id()]));
    store.change(rows[0].id(), |row| row.state = KeyState::Shredded);
    fresh.purge();
    assert_eq!(former(&fresh, active).await, Ok(vec![rows[4].id()]));
}

#[tokio::test(start_paused = true)]
async fn a_search_that_would_miss_a_former_key_fails() {
    let (keks, store) = (Keks::new(), Rows::new());
    let (old, new) = (row(&keks, Purpose::Lookup, seconds(20)), row(&keks, Purpose::Lookup, seconds(10)));
    store.put(KeyRow { state: KeyState::DecryptOnly, ..old.clone() });
    store.put(new.clone());
    for stale_if_error in [0, 1000] {
        let settings = CacheSettings { stale_if_error: seconds(stale_if_error), ..settings() };
        let keys = keys_on(&keks, settings, None, Some(&store));
        keks.be(Mood::Denied("DisabledException"));
        assert!(matches!(former(&keys, new.id()).await, Err(KeyringError::Denied { .. })));
        keks.be(Mood::Works);
        keys.purge();
        let listings = store.listings.load(Ordering::SeqCst);
        let good = Ok(vec![old.id()]);
        for _ in 0..10 {
            assert_eq!(former(&keys, new.id()).await, good);
        }
        assert_eq!(store.listings.load(Ordering::SeqCst), listings + 1, "they are listed once");
        store.down.store(true, Ordering::SeqCst);
        pass(seconds(260)).await;
        assert_eq!(former(&keys, new.id()).await, good, "the list holds as long as a key that seals");
        pass(seconds(100)).await;
        let later = former(&keys, new.id()).await;
        match stale_if_error {
            0 => assert!(matches!(later, Err(KeyringError::Unavailable { .. })), "{later:?}"),
            _ => assert_eq!(later, good, "nobody said no"),
        }
        store.down.store(false, Ordering::SeqCst);
        pass(seconds(1)).await;
        assert_eq!(former(&keys, new.id()).await, good);
    }
}
