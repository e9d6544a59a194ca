//! What ends a key before its time or follows it: a purge, age, budget; and when it is asked for again.

use super::cached::Inner;
use super::doubles::Mood;
use super::failures::Errand;
use super::opening::{Opening, Wanted};
use super::sealing::Slot;
use super::*;
use std::collections::BTreeSet;
use tokio::time::Instant;

#[tokio::test(start_paused = true)]
async fn a_purge_drops_everything_and_what_is_on_its_way_does_not_come_back() {
    let keks = Keks::new();
    let keys = keys_with(&keks, settings());
    let token = envelope(&keys).await;
    let held = Arc::downgrade(&keys.opening_key_at_hand(&token).unwrap().key);
    assert!(held.upgrade().is_some());
    keys.purge();
    assert!(held.upgrade().is_none(), "nothing holds it any more: it is wiped");
    assert!(keys.sealing_key_at_hand(scope(), Suite::Random, Placement::Inline).is_none());
    assert!(keys.opening_key_at_hand(&token).is_none());

    // Calls that were sent before, and who waits for them.
    keks.slow(seconds(1));
    let (calls, start) = (keks.calls(), Instant::now());
    let waiting = tokio::spawn({
        let (keys, token) = (Arc::clone(&keys), token.clone());
        async move {
            let both = futures_util::future::join(sealing(&keys), keys.opening_key(&token)).await;
            (both.0.unwrap().key.id(), both.1.is_ok(), start.elapsed())
        }
    });
    pass(Duration::from_millis(500)).await;
    assert_eq!(keks.calls(), (calls.0 + 1, calls.1 + 1));
    keys.purge();
    // Who comes after it does not join what was sent before.
    let after = tokio::spawn({
        let keys = Arc::clone(&keys);
        async move { sealing(&keys).await.unwrap().key.id() }
    });
    pass(Duration::from_millis(500)).await;
    assert!(keys.opening_key_at_hand(&token).is_none(), "it came back, but was not put in");
    let (id, opened, took) = waiting.await.unwrap();
    assert!(opened);
    assert_eq!(took, seconds(2), "it was asked for again");
    assert_eq!(id, after.await.unwrap());
    assert_eq!(keks.calls(), (calls.0 + 2, calls.1 + 2));
}

#[tokio::test(start_paused = true)]
async fn a_successor_is_there_before_age_or_budget_run_out() {
    let keks = Keks::new();
    let keys = keys_with(&keks, CacheSettings { seal_age_max: seconds(100), ..settings() });
    let first = sealing(&keys).await.unwrap().key.id();
    pass(seconds(79)).await;
    assert_eq!(keys_now(&keys), Some(first));
    settle().await;
    assert_eq!(keks.calls(), (1, 0));
    pass(seconds(1)).await;
    assert_eq!(keys_now(&keys), Some(first), "this use sends for the next one");
    settle().await;
    assert_eq!(keks.calls(), (2, 0));
    assert_ne!(keys_now(&keys).unwrap(), first);

    // A KEK that does not answer costs nothing until the very end.
    keks.be(Mood::Unavailable);
    for _ in 0..99 {
        assert!(keys_now(&keys).is_some());
        pass(seconds(1)).await;
    }
    pass(seconds(1)).await;
    assert!(keys_now(&keys).is_none() && sealing(&keys).await.is_err(), "age has no grace");

    let keks = Keks::new();
    let budget = Budget { seals_max: 10, bytes_max: 1000 };
    let keys = keys_with(&keks, CacheSettings { budget, ..settings() });
    let first = sealing(&keys).await.unwrap();
    for _ in 0..8 {
        assert_eq!(keks.calls(), (1, 0));
        seal(&first).unwrap();
    }
    assert_eq!(keys_now(&keys), Some(first.key.id()), "this use sends for the next one");
    settle().await;
    assert_eq!(keks.calls(), (2, 0));
    assert_ne!(keys_now(&keys), Some(first.key.id()));
    // Spent in one go: nobody is given it any more.
    let second = sealing(&keys).await.unwrap();
    while seal(&second).is_ok() {}
    assert_eq!(keys_now(&keys), None);
    assert_ne!(sealing(&keys).await.unwrap().key.id(), second.key.id());
}

impl Inner {
    pub(super) async fn make_anew(self: &Arc<Self>, scope: Scope) -> KeyId {
        let slot = Slot::new(scope, Purpose::Field, Placement::Inline);
        let work = Arc::clone(self).bring_sealing(self.generation(), Errand::Make(slot), slot, None);
        work.await.unwrap().held.key.id()
    }

    pub(super) async fn open_anew(self: &Arc<Self>, token: &Envelope) -> Opening {
        let wanted = Wanted { context: token.head().encryption_context(), key: token.key() };
        Arc::clone(self).bring_opening(self.generation(), self.id_of(&wanted), Arc::new(wanted), None).await
    }
}

#[tokio::test(start_paused = true)]
async fn confirmations_are_spread_over_a_tenth_either_way() {
    let keys = keys_with(&Keks::new(), settings());
    let drawn: Vec<Duration> = (0..1000).map(|_| keys.inner().confirm_span().unwrap()).collect();
    let (least, most) = (drawn.iter().min().unwrap(), drawn.iter().max().unwrap());
    assert!(*least >= seconds(270) && *most <= seconds(330), "{least:?} to {most:?}");
    // Of 1000 draws, none in the outer sixths of the range: (2/3)^1000.
    assert!(*least < seconds(280) && *most > seconds(320), "{least:?} to {most:?}");
    assert!(drawn.iter().collect::<BTreeSet<_>>().len() > 500, "each is drawn for itself");
}
