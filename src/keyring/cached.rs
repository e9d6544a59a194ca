//! Data keys kept in memory for a bounded time, so that the KEK is asked rarely and never twice at once.

use super::flight::Flights;
use super::metered::Metered;
use super::store::KeyStore;
use super::{CacheSettings, Keyring, KeyringError, KmsCall};
use crate::seal::context::Purpose;
use crate::seal::{
    CryptoProvider, DataKey, EncryptedDataKey, EncryptionContext, Envelope, Head, KeyRef, Origin, Placement, Scope,
    SealingKey, Suite, UnwrappedKey, length_prefix,
};
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::time::Instant;

/// A key with the calls that brought it.
#[derive(Debug)]
pub struct Held<K> {
    /// The key.
    pub key: K,
    /// The calls that brought it, for the audit record; at least one.
    pub calls: Arc<[KmsCall]>,
    /// Whether it is used beyond its time because KEK or store give no answer.
    pub stale: bool,
}

/// What [`Keys`] is made of.
pub struct Parts {
    /// The KEKs.
    pub keyring: Arc<dyn Keyring>,
    /// The keyset: long-lived keys that were made once and are only read.
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

/// Asked for the key of a scope or of an envelope; asks the KEK only on a miss.
pub struct Keys {
    inner: Arc<Inner>,
    sealing_flights: Flights<EncryptionContext, Result<Arc<Sealing>, KeyringError>>,
    opening_flights: Flights<CacheKey, Opening>,
}

struct Inner {
    keyring: Metered,
    provider: &'static dyn CryptoProvider,
    settings: CacheSettings,
    sealing: RwLock<HashMap<EncryptionContext, Arc<Sealing>>>,
    opening: moka::sync::Cache<CacheKey, Arc<Held<Arc<UnwrappedKey>>>>,
    /// What failed a moment ago is not asked for again: a KEK in trouble is not helped by being asked more.
    failed: moka::sync::Cache<CacheKey, KeyringError>,
}

/// What asking for an opening key gives.
type Opening = Result<Arc<Held<Arc<UnwrappedKey>>>, KeyringError>;

struct Sealing {
    held: Arc<Held<Arc<SealingKey>>>,
    made: Instant,
}

/// SHA-256 over scope, purpose, commitment and every encrypted data key: an entry is found only by a token that
/// carries all of it, so that a forged token cannot spoil the entry of a good one.
type CacheKey = [u8; 32];

/// How long a failure is remembered.
struct FailureLife;

impl moka::Expiry<CacheKey, KeyringError> for FailureLife {
    #[expect(clippy::disallowed_types, reason = "the cache counts in its own clock")]
    fn expire_after_create(&self, _: &CacheKey, error: &KeyringError, _: std::time::Instant) -> Option<Duration> {
        Some(match error {
            KeyringError::Unavailable { .. } | KeyringError::UnknownKek => Duration::from_secs(1),
            _ => Duration::from_secs(10),
        })
    }
}

impl Keys {
    /// Composes the keyring: metered, then cached. Calls to the KEK run on `runtime`, whoever asks.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let Parts { keyring, keyset: _, store: _, provider, settings, runtime } = parts;
        let opening = moka::sync::Cache::builder()
            .max_capacity(settings.open_entries_max)
            .time_to_live(settings.open_age_max)
            .build();
        let failed =
            moka::sync::Cache::builder().max_capacity(settings.open_entries_max).expire_after(FailureLife).build();
        let inner =
            Inner { keyring: Metered(keyring), provider, settings, sealing: RwLock::default(), opening, failed };
        Self {
            inner: Arc::new(inner),
            sealing_flights: Flights::new(runtime.clone()),
            opening_flights: Flights::new(runtime),
        }
    }

    /// The key that seals for `scope`, if it is at hand.
    #[must_use]
    pub fn sealing_key_at_hand(
        &self,
        scope: Scope,
        suite: Suite,
        placement: Placement,
    ) -> Option<Arc<Held<Arc<SealingKey>>>> {
        let context = EncryptionContext { scope, purpose: suite.purpose() };
        if placement == Placement::Stored {
            return None;
        }
        let known = self.inner.sealing.read().unwrap_or_else(PoisonError::into_inner).get(&context).cloned()?;
        let (age, max, spent) = (known.made.elapsed(), self.inner.settings.seal_age_max, known.held.key.spent());
        if age >= max || spent >= 1.0 {
            return None;
        }
        if age >= max.mul_f64(0.8) || spent >= 0.8 {
            // Its successor is there before it runs out; until then this one goes on.
            drop(self.sealing_flights.start(context, || Arc::clone(&self.inner).make(context)));
        }
        Some(Arc::clone(&known.held))
    }

    /// The key that seals for `scope` now.
    ///
    /// # Errors
    /// [`KeyringError`] if there is none at hand and the KEK gives none.
    pub async fn sealing_key(
        &self,
        scope: Scope,
        suite: Suite,
        placement: Placement,
    ) -> Result<Arc<Held<Arc<SealingKey>>>, KeyringError> {
        if let Some(held) = self.sealing_key_at_hand(scope, suite, placement) {
            return Ok(held);
        }
        let context = EncryptionContext { scope, purpose: suite.purpose() };
        if placement == Placement::Stored {
            return Err(KeyringError::NoKey { scope, purpose: context.purpose });
        }
        let made = self.sealing_flights.join(context, || Arc::clone(&self.inner).make(context)).await;
        made.unwrap_or_else(|| Err(ended())).map(|sealing| Arc::clone(&sealing.held))
    }

    /// The one key of [`Purpose::Format`] of `scope`, if it is at hand.
    #[must_use]
    pub const fn format_key_at_hand(&self, _scope: Scope) -> Option<Arc<Held<Arc<UnwrappedKey>>>> {
        None
    }

    /// The one key of [`Purpose::Format`] of `scope`.
    ///
    /// # Errors
    /// [`KeyringError`] if it is not at hand and cannot be had.
    pub async fn format_key(&self, scope: Scope) -> Result<Arc<Held<Arc<UnwrappedKey>>>, KeyringError> {
        Err(KeyringError::NoKey { scope, purpose: Purpose::Format })
    }

    /// The key that opens what begins with `head`, which names `key`.
    ///
    /// # Errors
    /// [`KeyringError`] if it is not at hand and no KEK unwraps it.
    pub async fn opening_key_of(
        &self,
        _head: &Head,
        _key: &KeyRef,
    ) -> Result<Arc<Held<Arc<UnwrappedKey>>>, KeyringError> {
        Err(KeyringError::UnknownKek)
    }

    /// Drops every key and every remembered failure at once.
    pub fn purge(&self) {
        self.inner.sealing.write().unwrap_or_else(PoisonError::into_inner).clear();
        self.inner.opening.invalidate_all();
        self.inner.failed.invalidate_all();
    }

    /// Keeps the keys up that are in use, for as long as it is polled.
    pub async fn keep_up(&self) {
        std::future::pending().await
    }

    /// See [`CacheSettings::revocation_bound`].
    #[must_use]
    pub fn revocation_bound(&self) -> Duration {
        self.inner.settings.revocation_bound()
    }

    /// The key that opens `envelope`, if it is at hand.
    #[must_use]
    pub fn opening_key_at_hand(&self, envelope: &Envelope) -> Option<Arc<Held<Arc<UnwrappedKey>>>> {
        self.inner.opening.get(&self.inner.cache_key_of(envelope))
    }

    /// The key that opens `envelope`. It is the one that the envelope commits to.
    ///
    /// # Errors
    /// [`KeyringError`] if it is not at hand and no KEK unwraps it.
    pub async fn opening_key(&self, envelope: &Envelope) -> Result<Arc<Held<Arc<UnwrappedKey>>>, KeyringError> {
        let cache_key = self.inner.cache_key_of(envelope);
        if let Some(held) = self.inner.opening.get(&cache_key) {
            return Ok(held);
        }
        let work = || Arc::clone(&self.inner).unwrap_key(cache_key, envelope.clone());
        self.opening_flights.join(cache_key, work).await.unwrap_or_else(|| Err(ended()))
    }
}

fn ended() -> KeyringError {
    KeyringError::Unavailable { kek: "-".into(), why: "the call ended without an answer".into(), request_id: None }
}

impl Inner {
    async fn make(self: Arc<Self>, context: EncryptionContext) -> Result<Arc<Sealing>, KeyringError> {
        let id = self.cache_key(context.scope, &[], &[]);
        if let Some(error) = self.failed.get(&id) {
            return Err(error);
        }
        // Before the call, so that the key's age is never counted too short.
        let made = Instant::now();
        let generated = self.keyring.generate_data_key(context).await.inspect_err(|error| self.fail(id, error))?;
        let edks = generated.edks;
        let call = generated.calls.into_iter().next().unwrap_or_else(|| KmsCall { kek: "-".into(), request_id: None });
        let key = self.take_into_use(generated.key, &call)?;
        let cache_key = self.cache_key(context.scope, key.commitment().as_bytes(), &edks);
        // What this process seals it opens without asking the KEK for what it has just been given.
        self.opening
            .insert(cache_key, Arc::new(Held { key: Arc::clone(&key), calls: [call.clone()].into(), stale: false }));
        let key = SealingKey::new(key, context, Origin::Inline(edks), self.settings.budget);
        let held = Held { key: Arc::new(key), calls: [call].into(), stale: false };
        let sealing = Arc::new(Sealing { held: Arc::new(held), made });
        tracing::info!(key = %sealing.held.key.id(), scope = %context.scope, "data key made");
        let mut known = self.sealing.write().unwrap_or_else(PoisonError::into_inner);
        known.insert(context, Arc::clone(&sealing));
        Ok(sealing)
    }

    fn take_into_use(&self, key: DataKey, call: &KmsCall) -> Result<Arc<UnwrappedKey>, KeyringError> {
        let failed = |_| KeyringError::Unavailable {
            kek: Arc::clone(&call.kek),
            why: "the crypto provider failed".into(),
            request_id: None,
        };
        UnwrappedKey::new(self.provider, key).map(Arc::new).map_err(failed)
    }

    fn fail(&self, id: CacheKey, error: &KeyringError) {
        self.failed.insert(id, error.clone());
    }

    async fn unwrap_key(self: Arc<Self>, id: CacheKey, envelope: Envelope) -> Opening {
        if let Some(error) = self.failed.get(&id) {
            return Err(error);
        }
        let context = envelope.head().encryption_context();
        let mut last = KeyringError::UnknownKek;
        let KeyRef::Inline { edks, .. } = envelope.key() else {
            return Err(KeyringError::UnknownKek);
        };
        for edk in &edks {
            let decrypted = match self.keyring.decrypt_data_key(edk.clone(), context).await {
                Ok(decrypted) => decrypted,
                // The next one may be of a KEK that answers; what this says only counts if it is more than "not mine".
                Err(KeyringError::UnknownKek) => continue,
                Err(error) => {
                    last = error;
                    continue;
                }
            };
            let key = self.take_into_use(decrypted.key, &decrypted.call)?;
            if key.check(envelope.head()).is_err() {
                let request_id = decrypted.call.request_id;
                last = KeyringError::Rejected { why: "it does not match the commitment".into(), request_id };
                continue;
            }
            let held = Arc::new(Held { key, calls: [decrypted.call].into(), stale: false });
            self.opening.insert(id, Arc::clone(&held));
            return Ok(held);
        }
        self.fail(id, &last);
        Err(last)
    }

    fn cache_key_of(&self, envelope: &Envelope) -> CacheKey {
        {
            let KeyRef::Inline { commitment, edks } = envelope.key() else {
                return self.cache_key(envelope.head().scope, envelope.key_bytes(), &[]);
            };
            self.cache_key(envelope.head().scope, commitment.as_bytes(), &edks)
        }
    }

    fn cache_key(&self, scope: Scope, commitment: &[u8], edks: &[EncryptedDataKey]) -> CacheKey {
        let mut named = Vec::with_capacity(320);
        length_prefix(scope.as_str().as_bytes(), &mut named);
        length_prefix(Purpose::Field.as_str().as_bytes(), &mut named);
        length_prefix(commitment, &mut named);
        for edk in edks {
            length_prefix(edk.kek.as_bytes(), &mut named);
            length_prefix(&edk.blob, &mut named);
        }
        self.provider.sha256(&[&named])
    }
}
