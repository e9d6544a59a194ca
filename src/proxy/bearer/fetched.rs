//! The keys of an issuer as it publishes them: fetched, kept, fetched again. What comes is the whole of what is taken: a key
//! that the issuer leaves out is out of use with the next fetch.
//!
//! One task fetches, one fetch at a time, for as long as somebody holds the keys; whoever needs more than is at hand waits
//! for it. How often the issuer is asked does not depend on how many requests come.

use super::key_set::{KeySet, NotAKeySet};
use crate::net::fetch::{Document, NotFetched};
use crate::telemetry::names;
use arc_swap::ArcSwapOption;
use jsonwebtoken::Algorithm;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

/// How often, at most, a token with an unknown key has the issuer asked.
const ASKED_INTERVAL: Duration = Duration::from_secs(30);
/// How long the first wait after a failure is, and how long it gets at most by doubling.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// Where keys come from, and for how long.
#[derive(Clone)]
pub struct Settings {
    /// The document that has them.
    pub document: Document,
    /// By which algorithms tokens may be signed.
    pub algorithms: Vec<Algorithm>,
    /// How often it is fetched.
    pub refresh: Duration,
    /// How long after they were fetched keys are used while no fetch succeeds.
    pub stale_max: Duration,
    /// Tells what document and algorithms were made of: of two that are alike here each may have the other's keys.
    pub fingerprint: [u8; 32],
}

/// See the module.
pub struct Fetched {
    inner: Arc<Inner>,
    /// Fetches; ends with this.
    task: OnceLock<AbortOnDropHandle<()>>,
}

struct Inner {
    settings: Settings,
    held: ArcSwapOption<Held>,
    progress: watch::Sender<Progress>,
}

/// Keys, and since when it is known that they are the issuer's.
struct Held {
    keys: Arc<KeySet>,
    since: Instant,
}

#[derive(Clone, Copy)]
struct Progress {
    /// Whether a fetch is under way, or about to be.
    under_way: bool,
    /// How many have ended.
    ended: u64,
    /// When a token last had one made.
    asked: Option<Instant>,
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Fetch(#[from] NotFetched),
    #[error(transparent)]
    KeySet(#[from] NotAKeySet),
}

impl Fetched {
    /// Asks nobody before [`Fetched::start`].
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let (progress, _) = watch::channel(Progress { under_way: true, ended: 0, asked: None });
        Self { inner: Arc::new(Inner { settings, held: ArcSwapOption::empty(), progress }), task: OnceLock::new() }
    }

    /// Starts to fetch, on the runtime that calls; once.
    pub fn start(&self) {
        self.task.get_or_init(|| AbortOnDropHandle::new(tokio::spawn(run(Arc::clone(&self.inner)))));
    }

    /// One that goes on from `old` if its keys are the same: that one itself, or, with other times, a new one with its keys.
    pub(super) fn after(new: Arc<Self>, old: &Arc<Self>) -> Arc<Self> {
        let (now, before) = (new.settings(), old.settings());
        if now.fingerprint != before.fingerprint {
            return new;
        }
        if (now.refresh, now.stale_max) == (before.refresh, before.stale_max) {
            return Arc::clone(old);
        }
        new.inner.held.store(old.inner.held.load_full());
        new
    }

    /// Where they come from, and for how long.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.inner.settings
    }

    /// The keys, unless there are none or it is too long ago that they were the issuer's.
    pub(super) fn keys(&self) -> Option<Arc<KeySet>> {
        let held = self.inner.held.load();
        let held = held.as_ref().filter(|held| held.since.elapsed() <= self.inner.settings.stale_max);
        held.map(|held| Arc::clone(&held.keys))
    }

    /// Whether there is a fetch to wait for: one under way, or one that would be made for whom `may_ask`.
    pub(super) fn has_next(&self, may_ask: bool) -> bool {
        let progress = self.inner.progress.borrow();
        progress.under_way || (may_ask && progress.may_be_asked(Instant::now()))
    }

    /// Waits until that fetch has ended, however. For those who may ask one is made at most every 30 seconds.
    pub(super) async fn next(&self, may_ask: bool) {
        let mut ended = self.inner.progress.subscribe();
        let mut awaited = None;
        self.inner.progress.send_if_modified(|progress| {
            let now = Instant::now();
            let asks = !progress.under_way && may_ask && progress.may_be_asked(now);
            if asks {
                (progress.under_way, progress.asked) = (true, Some(now));
            }
            awaited = progress.under_way.then_some(progress.ended);
            asks
        });
        if let Some(before) = awaited {
            // Whatever comes of it, the keys at hand are looked at next.
            let wait = ended.wait_for(|progress| progress.ended > before);
            let _waited = tokio::time::timeout(self.inner.settings.document.timeout, wait).await;
        }
    }

    /// Tells metrics how many keys there are, and how old.
    pub fn meter(&self) {
        let keys = self.keys().map_or(0, |keys| keys.count());
        metrics::gauge!(names::JWKS_KEYS).set(u32::try_from(keys).unwrap_or(u32::MAX));
        if let Some(held) = self.inner.held.load().as_ref() {
            metrics::gauge!(names::JWKS_AGE).set(held.since.elapsed().as_secs_f64());
        }
    }
}

impl Progress {
    fn may_be_asked(&self, now: Instant) -> bool {
        self.asked.is_none_or(|asked| now.duration_since(asked) >= ASKED_INTERVAL)
    }
}

async fn run(inner: Arc<Inner>) {
    let mut asked = inner.progress.subscribe();
    let mut failures = 0;
    loop {
        let start = Instant::now();
        let fetched = fetch(&inner.settings).await;
        let outcome = outcome(&fetched);
        metrics::counter!(names::JWKS_FETCHES, "outcome" => outcome).increment(1);
        match fetched {
            Ok(keys) => {
                if failures > 0 {
                    tracing::info!(keys = keys.count(), "keys of the issuer are there again");
                }
                failures = 0;
                inner.held.store(Some(Arc::new(Held { keys: Arc::new(keys), since: start })));
            }
            Err(error) => {
                failures += 1;
                tracing::warn!(%error, failures, "bearer: keys of the issuer cannot be had");
                // That is an answer, too: the issuer stands by none of its keys any more.
                if matches!(error, Failure::KeySet(NotAKeySet::NoKey)) {
                    inner.held.store(None);
                }
            }
        }
        inner.progress.send_modify(|progress| (progress.under_way, progress.ended) = (false, progress.ended + 1));
        tokio::select! {
            () = tokio::time::sleep(pause(&inner.settings, failures)) => {
                inner.progress.send_modify(|progress| progress.under_way = true);
            }
            // Its sender is in `inner`.
            _ = asked.wait_for(|progress| progress.under_way) => {}
        }
    }
}

async fn fetch(settings: &Settings) -> Result<KeySet, Failure> {
    let json = settings.document.fetch().await?;
    Ok(KeySet::read(&json, &settings.algorithms)?)
}

fn pause(settings: &Settings, failures: u32) -> Duration {
    let (first, longest) = RETRY;
    match failures.checked_sub(1) {
        None => settings.refresh,
        Some(more) => first.saturating_mul(1 << more.min(8)).min(longest).min(settings.refresh),
    }
}

const fn outcome(fetched: &Result<KeySet, Failure>) -> &'static str {
    match fetched {
        Ok(_) => "ok",
        Err(Failure::Fetch(NotFetched::Timeout(_))) => "timeout",
        Err(Failure::Fetch(NotFetched::Status(_))) => "status",
        Err(Failure::Fetch(NotFetched::TooLarge(_)) | Failure::KeySet(_)) => "malformed",
        Err(Failure::Fetch(_)) => "unreachable",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderValue, Uri};

    fn settings(refresh_s: u64) -> Settings {
        let document = Document {
            host: "localhost".to_owned(),
            port: 9,
            authority: HeaderValue::from_static("localhost"),
            target: Uri::from_static("/"),
            tls: None,
            timeout: Duration::from_secs(5),
            bytes_max: 1,
        };
        let refresh = Duration::from_secs(refresh_s);
        Settings { document, algorithms: Vec::new(), refresh, stale_max: refresh, fingerprint: [0; 32] }
    }

    #[test]
    fn after_failures_the_issuer_is_asked_sooner_and_then_less_often() {
        let pauses = |refresh_s, failures: &[u32]| -> Vec<u64> {
            failures.iter().map(|count| pause(&settings(refresh_s), *count).as_secs()).collect()
        };
        assert_eq!(pauses(300, &[0, 1, 2, 3, 4, 5, 6, 7, 40, u32::MAX]), [300, 1, 2, 4, 8, 16, 30, 30, 30, 30]);
        assert_eq!(pauses(10, &[0, 1, 4, 5]), [10, 1, 8, 10]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_fetch_is_made_for_unknown_keys_once_in_half_a_minute() {
        let fetched = Fetched::new(settings(300));
        let end = || {
            fetched
                .inner
                .progress
                .send_modify(|progress| (progress.under_way, progress.ended) = (false, progress.ended + 1));
        };
        assert!(fetched.has_next(false), "the first one");
        end();
        assert!(!fetched.has_next(false) && fetched.has_next(true));
        fetched.next(false).await;
        assert!(!fetched.inner.progress.borrow().under_way, "nobody asked for it");
        let start = Instant::now();
        fetched.next(true).await;
        assert_eq!(start.elapsed(), Duration::from_secs(5), "it is waited for so long");
        assert!(fetched.has_next(false), "others wait for it too");
        end();
        assert!(!fetched.has_next(true));
        fetched.next(true).await;
        assert_eq!(start.elapsed(), Duration::from_secs(5), "there is none to wait for");
        tokio::time::advance(ASKED_INTERVAL - Duration::from_secs(5)).await;
        assert!(fetched.has_next(true));
    }
}
