//! A KEK that fails: what is remembered of it, and what is used beyond its time.

use super::doubles::Mood;
use super::*;
use tokio::time::Instant;

#[tokio::test(start_paused = true)]
async fn a_failure_is_remembered_for_a_while_and_each_for_itself() {
    for (mood, remembered) in [
        (Mood::Unavailable, 1),
        (Mood::Denied("AccessDeniedException"), 30),
        (Mood::Denied("DisabledException"), 10),
        (Mood::Denied("KMSInvalidStateException"), 10),
        (Mood::Rejected, 10),
    ] {
        let keks = Keks::new();
        let token = envelope(&keys_with(&keks, settings())).await;
        let keys = keys_with(&keks, settings());
        keks.be(mood);
        let since = Instant::now();
        let mut asked_again = Vec::new();
        let mut before = keks.calls();
        while since.elapsed() < seconds(2 * remembered) {
            assert!(sealing(&keys).await.is_err() && keys.opening_key(&token).await.is_err());
            if keks.calls() != before {
                assert_eq!(keks.calls(), (before.0 + 1, before.1 + 1));
                before = keks.calls();
                asked_again.push(since.elapsed());
            }
            pass(Duration::from_millis(250)).await;
        }
        assert_eq!(asked_again, [seconds(0), seconds(remembered)], "{mood:?}");
        keks.be(Mood::Works);
        keys.purge();
        assert!(sealing(&keys).await.is_ok() && keys.opening_key(&token).await.is_ok(), "not after a purge");
    }
}

#[tokio::test(start_paused = true)]
async fn beyond_its_time_a_key_is_used_only_where_that_is_set_and_nobody_answers() {
    let stale = |count| CacheSettings { stale_if_error: seconds(count), ..settings() };
    // Mood, stale_if_error, and until when: the interval with its tenth, the life, each with what was allowed.
    for (mood, settings, sealed_at_most, opened_at_most) in [
        (Mood::Unavailable, stale(0), 330, 300),
        (Mood::Unavailable, stale(600), 930, 900),
        (Mood::Unavailable, stale(1_000_000), 3930, 3900),
        (Mood::Denied("DisabledException"), stale(600), 330, 300),
        (Mood::Rejected, stale(600), 330, 300),
    ] {
        let keks = Keks::new();
        let keys = keys_with(&keks, settings);
        keep_up(&keys);
        let token = envelope(&keys).await;
        let (sealed, opened) = given_out_after(&keks, &keys, &token, mood).await;
        assert!(sealed < seconds(sealed_at_most) && sealed <= keys.revocation_bound(), "{mood:?}: {sealed:?}");
        assert!(opened < seconds(opened_at_most), "{mood:?}: {opened:?}");
        if mood == Mood::Unavailable {
            assert!(sealed >= seconds(sealed_at_most - 61), "it is used for that long: {sealed:?}");
            assert!(opened >= seconds(opened_at_most - 1), "it is used for that long: {opened:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_used_beyond_its_time_says_so_until_there_is_an_answer() {
    let keks = Keks::new();
    let keys = keys_with(&keks, CacheSettings { stale_if_error: seconds(600), ..settings() });
    let token = envelope(&keys).await;
    keks.be(Mood::Unavailable);
    pass(seconds(331)).await;
    let (seals, opens) = (sealing(&keys).await.unwrap(), keys.opening_key(&token).await.unwrap());
    assert!(seals.stale && opens.stale);
    // By now it is known, and nobody waits for it.
    assert!(keys.sealing_key_at_hand(scope(), Suite::Random, Placement::Inline).unwrap().stale);
    assert!(keys.opening_key_at_hand(&token).unwrap().stale);
    pass(seconds(2)).await;
    keks.be(Mood::Works);
    keys.sealing_key_at_hand(scope(), Suite::Random, Placement::Inline).unwrap();
    settle().await;
    let seals = keys.sealing_key_at_hand(scope(), Suite::Random, Placement::Inline).unwrap();
    assert!(!seals.stale && !keys.opening_key(&token).await.unwrap().stale);
    // One that denies ends it.
    keks.be(Mood::Unavailable);
    pass(seconds(331)).await;
    assert!(sealing(&keys).await.unwrap().stale);
    keks.be(Mood::Denied("DisabledException"));
    pass(seconds(2)).await;
    keys.sealing_key_at_hand(scope(), Suite::Random, Placement::Inline).unwrap();
    settle().await;
    assert!(matches!(sealing(&keys).await, Err(KeyringError::Denied { .. })));
}
