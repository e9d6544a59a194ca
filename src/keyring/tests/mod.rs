//! What the cache promises, on a clock that the tests step. Ages are exact there, so that they are asserted exactly.

mod doubles;
mod inline;
mod outage;
mod silence;
mod stored;
mod turnover;

use super::*;
use crate::seal::Budget;
use crate::seal::crypto::default_provider;
use crate::seal::{Class, Context, Envelope, Kind, Manner, Placement, SealError, SealingKey, Suite, Token, Workspace};
use doubles::{Keks, Mood, Rows};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::time::Instant;

/// Bare settings: what the tests reckon with is said there, not taken from the defaults.
fn settings() -> CacheSettings {
    CacheSettings {
        seal_age_max: seconds(86_400),
        budget: Budget::default(),
        confirm_interval: seconds(300),
        open_age_max: seconds(300),
        open_entries_max: 10_000,
        stale_if_error: Duration::ZERO,
    }
}

const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn scope() -> Scope {
    Scope::parse("clinic").unwrap()
}

fn keys_with(keks: &Arc<Keks>, settings: CacheSettings) -> Arc<Keys> {
    keys_on(keks, settings, None, None)
}

fn keys_on(
    keks: &Arc<Keks>,
    settings: CacheSettings,
    keyset: Option<&Arc<Rows>>,
    store: Option<&Arc<Rows>>,
) -> Arc<Keys> {
    let rows = |rows: &Arc<Rows>| Arc::clone(rows) as Arc<dyn store::KeyStore>;
    Arc::new(Keys::new(Parts {
        keyring: Arc::clone(keks) as Arc<dyn Keyring>,
        keyset: keyset.map(rows),
        store: store.map(rows),
        provider: default_provider(),
        settings,
        runtime: Handle::current(),
    }))
}

/// Runs the upkeep beside the test.
fn keep_up(keys: &Arc<Keys>) {
    let keys = Arc::clone(keys);
    tokio::spawn(async move { keys.keep_up().await });
}

async fn sealing(keys: &Keys) -> Result<Arc<Held<Arc<SealingKey>>>, KeyringError> {
    keys.sealing_key(scope(), Suite::Random, Placement::Inline).await
}

fn seal(held: &Held<Arc<SealingKey>>) -> Result<Envelope, SealError> {
    let context = Context { class: Class::parse("ssn").unwrap(), scope: held.key.made_for().scope, bind: &[] };
    let manner = match held.key.made_for().purpose {
        Purpose::Lookup => Manner::deterministic(Kind::Text),
        _ => Manner::random(Kind::Text),
    };
    let token = held.key.seal(&mut Workspace::new(), &context, manner, b"x")?;
    Ok(Token::read(token.as_str().as_bytes()).unwrap())
}

/// An envelope that `keys` made.
async fn envelope(keys: &Keys) -> Envelope {
    seal(&sealing(keys).await.unwrap()).unwrap()
}

/// Lets everything run that does not wait for the clock.
async fn settle() {
    for _ in 0..32 {
        tokio::task::yield_now().await;
    }
}

/// Steps the clock, and lets run what that starts.
async fn pass(time: Duration) {
    settle().await;
    tokio::time::advance(time).await;
    settle().await;
}

fn keys_now(keys: &Keys) -> Option<KeyId> {
    keys.sealing_key_at_hand(scope(), Suite::Random, Placement::Inline).map(|held| held.key.id())
}

/// Uses both keys every second from when the KEK denies on; says how long each was still given out.
async fn given_out_after(keks: &Keks, keys: &Keys, token: &Envelope, mood: Mood) -> (Duration, Duration) {
    keks.be(mood);
    let since = Instant::now();
    let (mut sealed, mut opened) = (Duration::ZERO, Duration::ZERO);
    // Once it is over it must stay so.
    while since.elapsed() < sealed.max(opened) + seconds(400) && since.elapsed() < seconds(5000) {
        if sealing(keys).await.is_ok() {
            sealed = since.elapsed();
        }
        if keys.opening_key(token).await.is_ok() {
            opened = since.elapsed();
        }
        pass(seconds(1)).await;
    }
    (sealed, opened)
}
