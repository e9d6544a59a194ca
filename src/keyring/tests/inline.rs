//! Keys that ride in tokens: the KEK is all there is to ask.

use super::doubles::{Mood, kek};
use super::*;
use crate::seal::{EncryptedDataKey, KeyRef};
use futures_util::future::join_all;
use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use tokio::time::Instant;

#[tokio::test(start_paused = true)]
async fn any_number_of_callers_make_one_call() {
    let keks = Keks::new();
    keks.slow(seconds(1));
    let keys = keys_with(&keks, settings());
    let made = join_all((0..10_000).map(|_| sealing(&keys))).await;
    assert_eq!(keks.calls(), (1, 0));
    let id = made[0].as_ref().unwrap().key.id();
    assert!(made.iter().all(|held| held.as_ref().unwrap().key.id() == id));
    // The same for opening, by a process that has not made the key.
    let token = seal(made[0].as_ref().unwrap()).unwrap();
    let other = keys_with(&keks, settings());
    let opened = join_all((0..10_000).map(|_| other.opening_key(&token))).await;
    assert_eq!(keks.calls(), (1, 1));
    assert!(opened.iter().all(|held| held.as_ref().unwrap().key.id() == id));
}

/// As the workers do: each has a runtime of its own, the calls run on another.
#[tokio::test]
async fn callers_on_several_threads_make_one_call() {
    for _ in 0..20 {
        let keks = Keks::new();
        let maker = keys_with(&keks, settings());
        let token = envelope(&maker).await;
        let keys = keys_with(&keks, settings());
        let threads = (0..4).map(|_| {
            let (keys, token) = (Arc::clone(&keys), token.clone());
            tokio::task::spawn_blocking(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
                runtime.block_on(async {
                    let sealed = join_all((0..250).map(|_| sealing(&keys))).await;
                    let opened = join_all((0..250).map(|_| keys.opening_key(&token))).await;
                    assert!(opened.iter().all(Result::is_ok));
                    sealed.into_iter().map(|held| held.unwrap().key.id()).collect::<BTreeSet<_>>()
                })
            })
        });
        let ids: BTreeSet<_> = join_all(threads).await.into_iter().flat_map(Result::unwrap).collect();
        assert_eq!(ids.len(), 1);
        assert_eq!(keks.calls(), (2, 1), "the maker's, ours, and one unwrap");
    }
}

#[tokio::test(start_paused = true)]
async fn who_looked_a_moment_too_early_takes_what_has_come_since() {
    let keks = Keks::new();
    let keys = keys_with(&keks, settings());
    let held = sealing(&keys).await.unwrap();
    let token = seal(&held).unwrap();
    // As a caller does who found nothing, and begins only now.
    let again = keys.inner().make_anew(scope()).await;
    assert_eq!(again, held.key.id());
    assert!(keys.inner().open_anew(&token).await.is_ok());
    assert_eq!(keks.calls(), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn no_more_keys_are_kept_than_there_is_room_for() {
    let keks = Keks::new();
    let keys = keys_with(&keks, CacheSettings { open_entries_max: 10, ..settings() });
    for number in 0..100 {
        let scope = Scope::parse(&format!("patient-{number}")).unwrap();
        keys.sealing_key(scope, Suite::Random, Placement::Inline).await.unwrap();
    }
    assert_eq!((keys.inner().sealing.len(), keys.inner().opening.len()), (10, 10));
    keks.be(Mood::Unavailable);
    for number in 100..200 {
        let scope = Scope::parse(&format!("patient-{number}")).unwrap();
        assert!(keys.sealing_key(scope, Suite::Random, Placement::Inline).await.is_err());
    }
    assert_eq!(keys.inner().failures.len(), 10);
}

#[tokio::test(start_paused = true)]
async fn what_a_process_seals_it_opens_without_asking() {
    let keks = Keks::new();
    let keys = keys_with(&keks, settings());
    let token = envelope(&keys).await;
    let held = keys.opening_key_at_hand(&token).unwrap();
    assert_eq!(held.calls[0].request_id.as_deref(), Some("call-0"));
    assert_eq!(keks.calls(), (1, 0));
    // By its head and key too, as a stream is opened.
    let KeyRef::Inline { .. } = token.key() else { panic!() };
    keys.opening_key_of(token.head(), &token.key()).await.unwrap();
    assert_eq!(keks.calls(), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn the_first_caller_that_goes_away_hurts_nobody() {
    let keks = Keks::new();
    keks.slow(seconds(1));
    let keys = keys_with(&keks, settings());
    let first = tokio::spawn({
        let keys = Arc::clone(&keys);
        async move { sealing(&keys).await.map(drop) }
    });
    let second = tokio::spawn({
        let keys = Arc::clone(&keys);
        async move { sealing(&keys).await.map(drop) }
    });
    settle().await;
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    second.await.unwrap().unwrap();
    assert_eq!(keks.calls(), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_disabled_key_stops_sealing_and_opening_within_the_bound() {
    for (before, upkeep) in [(0, true), (0, false), (137, true), (239, true), (241, false), (299, true), (1000, true)] {
        let keks = Keks::new();
        let keys = keys_with(&keks, settings());
        assert_eq!(keys.revocation_bound(), seconds(330), "300 s and a tenth");
        if upkeep {
            keep_up(&keys);
        }
        let token = envelope(&keys).await;
        for _ in 0..before {
            let (sealing, opening) = (sealing(&keys).await, keys.opening_key(&token).await);
            assert!(sealing.is_ok() && opening.is_ok());
            pass(seconds(1)).await;
        }
        let (sealed, opened) = given_out_after(&keks, &keys, &token, Mood::Denied("DisabledException")).await;
        assert!(sealed < keys.revocation_bound() && opened < seconds(300), "{before}: {sealed:?}, {opened:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_denied_is_dropped_at_once() {
    let keks = Keks::new();
    let keys = keys_with(&keks, settings());
    let token = envelope(&keys).await;
    // Longer than 80 % of any interval, shorter than all of it.
    pass(seconds(265)).await;
    for mood in [Mood::Denied("DisabledException"), Mood::Rejected, Mood::AnotherKey] {
        keks.be(Mood::Works);
        pass(seconds(31)).await;
        keys.purge();
        assert!(sealing(&keys).await.is_ok() && keys.opening_key(&token).await.is_ok());
        pass(seconds(265)).await;
        keks.be(mood);
        assert!(keys.sealing_key_at_hand(scope(), Suite::Random, Placement::Inline).is_some(), "this use finds out");
        assert!(keys.opening_key_at_hand(&token).is_some());
        settle().await;
        assert!(keys.sealing_key_at_hand(scope(), Suite::Random, Placement::Inline).is_none(), "{mood:?}");
        assert!(keys.opening_key_at_hand(&token).is_none(), "{mood:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_in_use_is_confirmed_in_the_background() {
    let keks = Keks::new();
    let keys = keys_with(&keks, settings());
    let token = envelope(&keys).await;
    // Used every two minutes: only the upkeep comes by in the last fifth of the interval.
    keep_up(&keys);
    for _ in 0..100 {
        let held = keys.sealing_key_at_hand(scope(), Suite::Random, Placement::Inline);
        assert!(held.is_some() && keys.opening_key_at_hand(&token).is_some());
        for _ in 0..12 {
            pass(seconds(10)).await;
        }
    }
    let (generated, decrypted) = keks.calls();
    assert_eq!(generated, 1);
    // 12 000 s: at most one confirmation each 0.8 × 270 s, which brings the key that opens as well, and that one's own.
    assert!((30..=110).contains(&decrypted), "{decrypted}");
    let held = sealing(&keys).await.unwrap();
    assert_eq!(held.calls.len(), 2, "the call that made it, and the one that confirmed it last");
    assert_eq!(held.calls[0].request_id.as_deref(), Some("call-0"));
}

#[tokio::test(start_paused = true)]
async fn a_key_that_was_idle_waits_for_one_confirmation() {
    let keks = Keks::new();
    let keys = keys_with(&keks, settings());
    keep_up(&keys);
    let id = sealing(&keys).await.unwrap().key.id();
    assert_eq!(keys_now(&keys), Some(id));
    // Used then, so that it is confirmed once; from there on nobody uses it.
    for _ in 0..100 {
        pass(seconds(10)).await;
    }
    assert_eq!(keks.calls(), (1, 1));
    assert!(keys.sealing_key_at_hand(scope(), Suite::Random, Placement::Inline).is_none(), "it is overdue");
    keks.slow(seconds(1));
    let held = join_all((0..100).map(|_| sealing(&keys))).await;
    assert!(held.iter().all(|held| held.as_ref().unwrap().key.id() == id));
    assert_eq!(keks.calls(), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn a_throttled_kek_costs_nothing_while_a_key_is_at_hand() {
    let keks = Keks::new();
    let keys = keys_with(&keks, settings());
    keep_up(&keys);
    let token = envelope(&keys).await;
    pass(seconds(200)).await;
    keks.be(Mood::Unavailable);
    for _ in 0..65 {
        assert!(sealing(&keys).await.is_ok() && keys.opening_key(&token).await.is_ok());
        pass(seconds(1)).await;
    }
    keks.be(Mood::Works);
    for _ in 0..1000 {
        assert!(sealing(&keys).await.is_ok() && keys.opening_key(&token).await.is_ok());
        pass(seconds(1)).await;
    }
    assert_eq!(keks.calls().0, 1, "the same key all the time");
}

#[tokio::test(start_paused = true)]
async fn a_life_counts_from_before_the_unwrap_and_not_from_its_last_use() {
    let keks = Keks::new();
    let token = envelope(&keys_with(&keks, settings())).await;
    let keys = keys_with(&keks, settings());
    keks.slow(seconds(5));
    let asked = Instant::now();
    keys.opening_key(&token).await.unwrap();
    assert_eq!(asked.elapsed(), seconds(5));
    keks.be(Mood::Unavailable);
    while asked.elapsed() < seconds(299) {
        assert!(keys.opening_key_at_hand(&token).is_some(), "{:?}", asked.elapsed());
        pass(seconds(1)).await;
    }
    assert!(keys.opening_key_at_hand(&token).is_some());
    pass(seconds(1)).await;
    assert!(keys.opening_key_at_hand(&token).is_none());
}

#[tokio::test(start_paused = true)]
async fn only_what_was_used_is_brought_again() {
    let keks = Keks::new();
    let maker = keys_with(&keks, settings());
    let used = envelope(&maker).await;
    maker.purge();
    let unused = envelope(&maker).await;
    assert_ne!(used.head().key_id, unused.head().key_id);
    let keys = keys_with(&keks, settings());
    keep_up(&keys);
    keys.opening_key(&used).await.unwrap();
    keys.opening_key(&unused).await.unwrap();
    let (_, before) = keks.calls();
    pass(seconds(100)).await;
    // To be brought counts as no use; to be found does.
    assert!(keys.opening_key_at_hand(&used).is_some());
    for _ in 0..25 {
        pass(seconds(10)).await;
    }
    assert_eq!(keks.calls().1, before + 1);
    assert!(keys.opening_key_at_hand(&used).is_some());
    assert!(keys.opening_key_at_hand(&unused).is_none());
    assert_eq!(keys.inner().opening.len(), 1, "what is over is dropped");
}

#[tokio::test(start_paused = true)]
async fn what_is_due_is_brought_once_however_many_use_it() {
    let keks = Keks::new();
    let token = envelope(&keys_with(&keks, settings())).await;
    let keys = keys_with(&keks, settings());
    let held = keys.opening_key(&token).await.unwrap();
    assert_eq!(keks.calls().1, 1);
    pass(seconds(241)).await;
    keks.slow(seconds(1));
    for _ in 0..1000 {
        assert!(keys.opening_key_at_hand(&token).is_some(), "nobody waits");
    }
    pass(seconds(2)).await;
    assert_eq!(keks.calls().1, 2);
    let again = keys.opening_key_at_hand(&token).unwrap();
    assert!(Arc::ptr_eq(&again.key, &held.key), "what was derived from it stays");
    assert_eq!(again.calls[0].request_id.as_deref(), Some("call-1"), "the record names the call that brought it last");
}

#[tokio::test(start_paused = true)]
async fn the_background_leaves_a_kek_room() {
    let keks = Keks::new();
    let maker = keys_with(&keks, settings());
    let mut tokens = Vec::new();
    for _ in 0..200 {
        maker.purge();
        tokens.push(envelope(&maker).await);
    }
    let keys = keys_with(&keks, settings());
    for token in &tokens {
        keys.opening_key(token).await.unwrap();
        assert!(keys.opening_key_at_hand(token).is_some());
    }
    let (_, before) = keks.calls();
    keks.slow(seconds(1));
    keks.in_flight_most.store(0, Ordering::SeqCst);
    keep_up(&keys);
    for _ in 0..290 {
        pass(seconds(1)).await;
    }
    assert_eq!((keks.calls().1 - before, keks.in_flight_most.load(Ordering::SeqCst)), (200, 32));
    assert!(tokens.iter().all(|token| keys.opening_key_at_hand(token).is_some()));
}

#[tokio::test(start_paused = true)]
async fn any_kek_that_wrapped_it_opens_it() {
    let keks = Keks::new();
    keks.set(2, Mood::Works);
    let keys = || keys_with(&keks, settings());
    let token = envelope(&keys()).await;
    let KeyRef::Inline { edks, .. } = token.key() else { panic!() };
    assert_eq!(edks.iter().map(|edk| edk.kek).collect::<Vec<_>>(), [kek(1), kek(2)]);
    for mood in [Mood::Unavailable, Mood::Denied("DisabledException"), Mood::Rejected, Mood::AnotherKey] {
        keks.set(1, mood);
        assert!(keys().opening_key(&token).await.is_ok(), "{mood:?}");
        keks.set(1, Mood::Works);
        keks.set(2, mood);
        assert!(keys().opening_key(&token).await.is_ok(), "{mood:?}");
        keks.set(2, Mood::Works);
    }
    // It may still work if one gave no answer.
    keks.set(1, Mood::Unavailable);
    keks.set(2, Mood::Rejected);
    assert!(matches!(keys().opening_key(&token).await, Err(KeyringError::Unavailable { .. })));
    keks.set(1, Mood::Denied("x"));
    assert!(matches!(keys().opening_key(&token).await, Err(KeyringError::Denied { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_forged_token_neither_finds_nor_spoils_the_entry_of_a_good_one() {
    let keks = Keks::new();
    let keys = keys_with(&keks, settings());
    let good = envelope(&keys).await;
    let KeyRef::Inline { commitment, edks } = good.key() else { panic!() };
    let other = envelope(&keys_with(&keks, settings())).await;
    let KeyRef::Inline { edks: others, .. } = other.key() else { panic!() };
    let blob = edks[0].blob.clone();
    for forged in [
        KeyRef::Inline { commitment, edks: others },
        KeyRef::Inline { commitment, edks: vec![EncryptedDataKey { kek: kek(9), blob }] },
        KeyRef::Inline { commitment: crate::seal::Commitment::from_bytes([1; 32]), edks },
        KeyRef::Stored { id: commitment.key_id() },
    ] {
        assert!(keys.opening_key_of(good.head(), &forged).await.is_err(), "{forged:?}");
        assert!(keys.opening_key_at_hand(&good).is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_takes_too_long_is_none() {
    let keks = Keks::new();
    let keys = keys_with(&keks, settings());
    keks.slow(seconds(31));
    let start = Instant::now();
    assert!(matches!(sealing(&keys).await, Err(KeyringError::Unavailable { .. })));
    assert_eq!(start.elapsed(), seconds(30));
    let short = CacheSettings { open_age_max: seconds(1), confirm_interval: seconds(1), ..settings() };
    assert_eq!(short.revocation_bound(), seconds(30), "so long a call under way may take to answer");
}
