//! Data keys kept in memory for a bounded time, so that the KEK is asked rarely and never twice at once.
//!
//! A key that seals stays until its age or budget is spent, as long as its KEK confirms it again and again by unwrapping
//! it, and, where it stands in a store, its row says that it is the active one. A key that opens is good for a fixed time
//! from when it was unwrapped, and is unwrapped again before that is over if it was used. What is at hand costs one lock and
//! no allocation; everything else runs in tasks of its own, once for all who wait for it.

use super::bounded::Bounded;
use super::failures::{Errand, Failure, Failures, Verdicts};
use super::flight::Flights;
use super::former::{Former, FormerKey, Listed, Since};
use super::metered::Metered;
use super::opening::{OpenId, Opened, Opening, Wanted};
use super::sealing::{Sealing, Slot};
use super::settings::{ANSWER_MAX, JITTER, STALE_MAX};
use super::store::KeyStore;
use super::{CacheSettings, Keyring, KeyringError, KmsCall};
use crate::seal::{
    Commitment, CryptoProvider, DataKey, EncryptedDataKey, EncryptionContext, Envelope, Head, KeyId, KeyRef, Placement,
    Purpose, Scope, SealingKey, Suite, UnwrappedKey,
};
use crate::telemetry::names;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::{Instant, Interval, MissedTickBehavior};

/// How often one caller asks anew, because keys were dropped while it waited or ran out at once.
pub(super) const RETRIES_MAX: usize = 4;
/// How many keys that open are brought again in the background at once, and how many that seal.
const IN_BACKGROUND_MAX: usize = 32;
/// Where the time from one round of upkeep to the next lies; within, it is a twentieth of the shorter life.
const UPKEEP: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));

/// A key with the calls that brought it.
#[derive(Debug)]
pub struct Held<K> {
    /// The key.
    pub key: K,
    /// The calls that brought it, and the last that confirmed it, for the audit record; at least one.
    pub calls: Arc<[KmsCall]>,
    /// Whether it is used beyond its time because KEK or store give no answer.
    pub stale: bool,
}

impl<K> Held<K> {
    pub(super) fn fresh(key: K, calls: Arc<[KmsCall]>) -> Self {
        let nobody = || [KmsCall { kek: "-".into(), request_id: None }].into();
        Self { key, calls: if calls.is_empty() { nobody() } else { calls }, stale: false }
    }
}

impl<K: Clone> Held<K> {
    /// The same for one use more; the record tells, and it is counted.
    pub(super) fn beyond_its_time(&self) -> Arc<Self> {
        metrics::counter!(names::STALE_KEY_USES).increment(1);
        Arc::new(Self { key: self.key.clone(), calls: Arc::clone(&self.calls), stale: true })
    }
}

/// What [`Keys`] is made of.
pub struct Parts {
    /// The KEKs.
    pub keyring: Arc<dyn Keyring>,
    /// The keyset: keys that were made once and are only read. Where it has one, the store is not asked for it.
    pub keyset: Option<Arc<dyn KeyStore>>,
    /// The key store that the fleet shares.
    pub store: Option<Arc<dyn KeyStore>>,
    /// The crypto provider.
    pub provider: &'static dyn CryptoProvider,
    /// How long and how much keys are used.
    pub settings: CacheSettings,
    /// Where calls to KEKs and stores run, whoever asks.
    pub runtime: Handle,
}

/// Asked for the key of a scope or of an envelope; asks KEK and store only where it is not at hand.
pub struct Keys {
    inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) keyring: Metered,
    pub(super) keyset: Option<Arc<dyn KeyStore>>,
    pub(super) store: Option<Arc<dyn KeyStore>>,
    pub(super) provider: &'static dyn CryptoProvider,
    pub(super) settings: CacheSettings,
    pub(super) stale_max: Duration,
    /// Goes up each time that all keys are dropped: what was asked for before is not kept.
    generation: AtomicU64,
    pub(super) sealing: Bounded<Slot, Arc<Sealing>>,
    pub(super) opening: Bounded<OpenId, Arc<Opened>>,
    pub(super) former: Bounded<Since, Arc<Former>>,
    pub(super) failures: Failures,
    pub(super) sealing_flights: Flights<(u64, Errand), Result<Arc<Sealing>, Failure>>,
    pub(super) opening_flights: Flights<(u64, Errand), Opening>,
    pub(super) former_flights: Flights<(u64, Errand), Listed>,
    pub(super) sealing_places: Arc<Semaphore>,
    pub(super) opening_places: Arc<Semaphore>,
}

impl Keys {
    /// An empty cache. Calls are metered here, and nowhere above.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let Parts { keyring, keyset, store, provider, settings, runtime } = parts;
        let max = usize::try_from(settings.open_entries_max).unwrap_or(usize::MAX);
        let inner = Inner {
            keyring: Metered(keyring),
            keyset,
            store,
            provider,
            settings,
            stale_max: settings.stale_if_error.min(STALE_MAX),
            generation: AtomicU64::new(0),
            sealing: Bounded::new(max),
            opening: Bounded::new(max),
            former: Bounded::new(max),
            failures: Failures::new(max),
            sealing_flights: Flights::new(runtime.clone()),
            opening_flights: Flights::new(runtime.clone()),
            former_flights: Flights::new(runtime),
            sealing_places: Arc::new(Semaphore::new(IN_BACKGROUND_MAX)),
            opening_places: Arc::new(Semaphore::new(IN_BACKGROUND_MAX)),
        };
        Self { inner: Arc::new(inner) }
    }

    /// The key that seals for `scope`, if it is at hand. The deterministic suite takes stored keys alone.
    #[must_use]
    pub fn sealing_key_at_hand(
        &self,
        scope: Scope,
        suite: Suite,
        placement: Placement,
    ) -> Option<Arc<Held<Arc<SealingKey>>>> {
        self.inner.sealing_at_hand(Slot::new(scope, suite.purpose(), placement)).map(sealing)
    }

    /// The key that seals for `scope` now.
    ///
    /// # Errors
    /// [`KeyringError`] if there is none at hand and none can be had.
    pub async fn sealing_key(
        &self,
        scope: Scope,
        suite: Suite,
        placement: Placement,
    ) -> Result<Arc<Held<Arc<SealingKey>>>, KeyringError> {
        self.inner.sealing(Slot::new(scope, suite.purpose(), placement)).await.map(sealing)
    }

    /// The keys that sealed values to be looked for before `active` did, and still open, if they are at hand.
    #[must_use]
    pub fn former_keys_at_hand(&self, scope: Scope, active: KeyId) -> Option<Vec<FormerKey>> {
        self.inner.former_at_hand(Since { scope, active })
    }

    /// The keys that sealed values to be looked for before `active` did, and still open. A store is asked which there are
    /// as often as a key that seals is confirmed.
    ///
    /// # Errors
    /// [`KeyringError`] if they are not at hand and one of them cannot be had: what it sealed would not be found.
    pub async fn former_keys(&self, scope: Scope, active: KeyId) -> Result<Vec<FormerKey>, KeyringError> {
        self.inner.former(Since { scope, active }).await
    }

    /// The one key of [`Purpose::Format`] of `scope`, if it is at hand. It seals and opens.
    #[must_use]
    pub fn format_key_at_hand(&self, scope: Scope) -> Option<Arc<Held<Arc<UnwrappedKey>>>> {
        self.inner.sealing_at_hand(Slot::new(scope, Purpose::Format, Placement::Stored)).map(opening)
    }

    /// The one key of [`Purpose::Format`] of `scope`. It seals and opens.
    ///
    /// # Errors
    /// [`KeyringError`] if it is not at hand and cannot be had.
    pub async fn format_key(&self, scope: Scope) -> Result<Arc<Held<Arc<UnwrappedKey>>>, KeyringError> {
        self.inner.sealing(Slot::new(scope, Purpose::Format, Placement::Stored)).await.map(opening)
    }

    /// The key that opens `envelope`, if it is at hand.
    #[must_use]
    pub fn opening_key_at_hand(&self, envelope: &Envelope) -> Option<Arc<Held<Arc<UnwrappedKey>>>> {
        self.inner.opening_at_hand(self.inner.id_of_envelope(envelope))
    }

    /// The key that opens `envelope`. It is the one that the envelope, or its key's row, commits to.
    ///
    /// # Errors
    /// [`KeyringError`] if it is not at hand and cannot be had.
    pub async fn opening_key(&self, envelope: &Envelope) -> Result<Arc<Held<Arc<UnwrappedKey>>>, KeyringError> {
        let context = envelope.head().encryption_context();
        let wanted = || Wanted { context, key: envelope.key() };
        self.inner.opening(self.inner.id_of_envelope(envelope), wanted).await
    }

    /// The key that opens what begins with `head`, such as a stream, which names `key`.
    ///
    /// # Errors
    /// As [`opening_key`](Self::opening_key).
    pub async fn opening_key_of(
        &self,
        head: &Head,
        key: &KeyRef,
    ) -> Result<Arc<Held<Arc<UnwrappedKey>>>, KeyringError> {
        let wanted = Wanted { context: head.encryption_context(), key: key.clone() };
        self.inner.opening(self.inner.id_of(&wanted), || wanted.clone()).await
    }

    /// The same, if it is at hand.
    pub fn opening_key_of_at_hand(&self, head: &Head, key: &KeyRef) -> Option<Arc<Held<Arc<UnwrappedKey>>>> {
        let wanted = Wanted { context: head.encryption_context(), key: key.clone() };
        self.inner.opening_at_hand(self.inner.id_of(&wanted))
    }

    /// Drops every key and every remembered failure at once. What is being asked for meanwhile is asked for again.
    pub fn purge(&self) {
        self.inner.generation.fetch_add(1, Ordering::SeqCst);
        self.inner.sealing.clear();
        self.inner.opening.clear();
        self.inner.former.clear();
        self.inner.failures.clear();
        self.inner.show_counts();
    }

    /// Drops what is over and brings again what is in use, for as long as it is polled.
    pub async fn keep_up(&self) {
        let CacheSettings { confirm_interval, open_age_max, .. } = self.inner.settings;
        let (least, most) = UPKEEP;
        let every = (confirm_interval.min(open_age_max) / 20).clamp(least, most);
        // Beside each other: with a KEK that hangs, the one may take long, and must not hold up the other.
        let sealing = async {
            let mut ticks = ticks(every);
            loop {
                ticks.tick().await;
                self.inner.failures.forget_old(Instant::now());
                self.inner.sweep_sealing();
                self.inner.show_counts();
            }
        };
        let opening = async {
            let mut ticks = ticks(every);
            loop {
                ticks.tick().await;
                self.inner.sweep_opening().await;
            }
        };
        tokio::join!(sealing, opening);
    }

    #[cfg(test)]
    pub(super) fn inner(&self) -> &Arc<Inner> {
        &self.inner
    }

    /// See [`CacheSettings::revocation_bound`].
    #[must_use]
    pub fn revocation_bound(&self) -> Duration {
        self.inner.settings.revocation_bound()
    }
}

fn ticks(every: Duration) -> Interval {
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

fn sealing((sealing, stale): (Arc<Sealing>, bool)) -> Arc<Held<Arc<SealingKey>>> {
    if stale { sealing.held.beyond_its_time() } else { Arc::clone(&sealing.held) }
}

fn opening((sealing, stale): (Arc<Sealing>, bool)) -> Arc<Held<Arc<UnwrappedKey>>> {
    if stale { sealing.opener.beyond_its_time() } else { Arc::clone(&sealing.opener) }
}

/// What `work` gives, within [`ANSWER_MAX`].
pub(super) async fn within<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::time::timeout(ANSWER_MAX, work).await.unwrap_or_else(|_| Err(Failure::late()))
}

impl Inner {
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::SeqCst)
    }

    /// Tries one encrypted form of a key after the other, those last whose KEK gave no answer a moment ago; the first
    /// that opens to what `commitment` commits to it is.
    pub(super) async fn unwrap(
        &self,
        edks: &[EncryptedDataKey],
        context: EncryptionContext,
        commitment: &Commitment,
    ) -> Result<(Arc<UnwrappedKey>, KmsCall), Failure> {
        let mut verdicts = Verdicts::new();
        for edk in self.keyring.in_order(edks) {
            match self.keyring.decrypt_data_key(edk.clone(), context).await {
                Ok(decrypted) => {
                    let key = self.take_into_use(decrypted.key)?;
                    if commitment.matches(&key.commitment()) {
                        return Ok((key, decrypted.call));
                    }
                    let request_id = decrypted.call.request_id;
                    verdicts.add(KeyringError::Rejected { why: "it does not match the commitment".into(), request_id });
                }
                Err(error) => verdicts.add(error),
            }
        }
        Err(verdicts.sum_up())
    }

    pub(super) fn take_into_use(&self, key: DataKey) -> Result<Arc<UnwrappedKey>, Failure> {
        let key = UnwrappedKey::new(self.provider, key);
        key.map(Arc::new).map_err(|_| Failure::ours("the crypto provider failed"))
    }

    /// The interval to the next confirmation, drawn anew each time.
    pub(super) fn confirm_span(&self) -> Result<Duration, Failure> {
        let mut drawn = [0; 2];
        self.provider.fill_random(&mut drawn).map_err(|_| Failure::ours("the crypto provider failed"))?;
        let share = f64::from(u16::from_be_bytes(drawn)) / f64::from(u16::MAX);
        Ok(self.settings.confirm_interval.mul_f64(1.0 - JITTER + 2.0 * JITTER * share))
    }

    /// Counts that a key in use was asked for again, and what came of it.
    pub(super) fn count_confirmation(&self, kind: &'static str, failure: Option<&Failure>) {
        let outcome = failure.map_or("ok", |failure| if failure.refuses() { "dropped" } else { "unavailable" });
        metrics::counter!(names::KEY_CONFIRMATIONS, "kind" => kind, "outcome" => outcome).increment(1);
    }

    pub(super) fn show_counts(&self) {
        let count = |count: usize| f64::from(u32::try_from(count).unwrap_or(u32::MAX));
        metrics::gauge!(names::KEYS_CACHED, "kind" => "sealing").set(count(self.sealing.len()));
        metrics::gauge!(names::KEYS_CACHED, "kind" => "opening").set(count(self.opening.len()));
    }
}
