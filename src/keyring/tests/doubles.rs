//! A keyring and a store in memory that do as they are told, and count.

use super::super::store::{Imported, KeyRow, KeyState, KeyStore, StoreError};
use super::super::{Decrypted, Generated, Keyring, KeyringError, KmsCall};
use crate::seal::crypto::default_provider;
use crate::seal::{DataKey, EncryptedDataKey, EncryptionContext, KekTag, KeyId, Purpose, Scope};
use futures_util::future::BoxFuture;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What a KEK does when it is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Mood {
    Works,
    Unavailable,
    Denied(&'static str),
    Rejected,
    AnotherKey,
}

/// KEKs in memory. An encrypted data key is its number.
#[derive(Default)]
pub(super) struct Keks {
    keys: Mutex<Vec<(EncryptionContext, [u8; 32])>>,
    /// Each with its mood; new keys are wrapped under all of them.
    moods: Mutex<HashMap<u8, Mood>>,
    pub(super) latency: Mutex<Duration>,
    pub(super) generated: AtomicUsize,
    pub(super) decrypted: AtomicUsize,
    in_flight: AtomicUsize,
    pub(super) in_flight_most: AtomicUsize,
}

pub(super) fn kek(number: u8) -> KekTag {
    KekTag::from_bytes([number; 8])
}

impl Keks {
    pub(super) fn new() -> Arc<Self> {
        let keks = Self::default();
        keks.set(1, Mood::Works);
        Arc::new(keks)
    }

    pub(super) fn set(&self, number: u8, mood: Mood) {
        self.moods.lock().unwrap().insert(number, mood);
    }

    /// The only one there is in most tests.
    pub(super) fn be(&self, mood: Mood) {
        self.set(1, mood);
    }

    pub(super) fn slow(&self, latency: Duration) {
        *self.latency.lock().unwrap() = latency;
    }

    pub(super) fn calls(&self) -> (usize, usize) {
        (self.generated.load(Ordering::SeqCst), self.decrypted.load(Ordering::SeqCst))
    }

    fn judge(&self, number: u8) -> Result<Mood, KeyringError> {
        let request_id = Some("request".into());
        match self.moods.lock().unwrap().get(&number) {
            None => Err(KeyringError::UnknownKek),
            Some(Mood::Unavailable) => {
                Err(KeyringError::Unavailable { kek: "kek".into(), why: "throttled".into(), request_id })
            }
            Some(Mood::Denied(why)) => Err(KeyringError::Denied { kek: "kek".into(), why: (*why).into(), request_id }),
            Some(Mood::Rejected) => Err(KeyringError::Rejected { why: "no".into(), request_id }),
            Some(mood) => Ok(*mood),
        }
    }

    /// A call that takes its time; how it ends is decided when it is sent.
    async fn call<T>(&self, outcome: Result<T, KeyringError>) -> Result<T, KeyringError> {
        let now = self.in_flight.fetch_add(1, Ordering::SeqCst) + 1;
        self.in_flight_most.fetch_max(now, Ordering::SeqCst);
        let latency = *self.latency.lock().unwrap();
        if latency > Duration::ZERO {
            tokio::time::sleep(latency).await;
        } else {
            tokio::task::yield_now().await;
        }
        self.in_flight.fetch_sub(1, Ordering::SeqCst);
        outcome
    }

    /// A data key and its encrypted forms, made without a call.
    pub(super) fn make(&self, context: EncryptionContext) -> (DataKey, Vec<EncryptedDataKey>) {
        let key = DataKey::generate(default_provider()).unwrap();
        let mut keys = self.keys.lock().unwrap();
        keys.push((context, *key.expose()));
        let blob = u32::try_from(keys.len() - 1).unwrap().to_be_bytes().to_vec();
        let mut numbers: Vec<u8> = self.moods.lock().unwrap().keys().copied().collect();
        numbers.sort_unstable();
        let wrap = |number: u8| EncryptedDataKey { kek: kek(number), blob: blob.clone() };
        (key, numbers.into_iter().map(wrap).collect())
    }

    fn call_to(&self, number: usize) -> KmsCall {
        KmsCall { kek: "kek".into(), request_id: Some(format!("call-{number}").into()) }
    }
}

impl Keyring for Keks {
    fn generate_data_key(&self, context: EncryptionContext) -> BoxFuture<'_, Result<Generated, KeyringError>> {
        Box::pin(async move {
            let number = self.generated.fetch_add(1, Ordering::SeqCst);
            let numbers: Vec<u8> = self.moods.lock().unwrap().keys().copied().collect();
            let outcome = numbers.into_iter().try_for_each(|number| self.judge(number).map(drop)).map(|()| {
                let (key, edks) = self.make(context);
                let calls = edks.iter().map(|_| self.call_to(number)).collect();
                Generated { key, edks, calls }
            });
            self.call(outcome).await
        })
    }

    fn decrypt_data_key(
        &self,
        edk: EncryptedDataKey,
        context: EncryptionContext,
    ) -> BoxFuture<'_, Result<Decrypted, KeyringError>> {
        Box::pin(async move {
            let number = self.decrypted.fetch_add(1, Ordering::SeqCst);
            let outcome = self.judge(edk.kek.as_bytes()[0]).and_then(|mood| {
                let index = u32::from_be_bytes(edk.blob.as_slice().try_into().unwrap());
                let (made_for, mut key) = self.keys.lock().unwrap()[usize::try_from(index).unwrap()];
                if made_for != context {
                    return Err(KeyringError::Rejected { why: "another context".into(), request_id: None });
                }
                if mood == Mood::AnotherKey {
                    key[0] ^= 1;
                }
                Ok(Decrypted { key: DataKey::take(key.to_vec()).unwrap(), call: self.call_to(number) })
            });
            self.call(outcome).await
        })
    }
}

/// A store in memory. Calls wait for one turn of the scheduler, so that others come between.
#[derive(Default)]
pub(super) struct Rows {
    rows: Mutex<Vec<KeyRow>>,
    pub(super) down: AtomicBool,
    pub(super) activations: AtomicUsize,
    pub(super) listings: AtomicUsize,
}

impl Rows {
    pub(super) fn new() -> Arc<Self> {
        Arc::default()
    }

    pub(super) fn all(&self) -> Vec<KeyRow> {
        self.rows.lock().unwrap().clone()
    }

    pub(super) fn put(&self, row: KeyRow) {
        let mut rows = self.rows.lock().unwrap();
        rows.retain(|other| other.id() != row.id());
        rows.push(row);
    }

    pub(super) fn change(&self, id: KeyId, change: impl FnOnce(&mut KeyRow)) {
        change(self.rows.lock().unwrap().iter_mut().find(|row| row.id() == id).unwrap());
    }

    async fn turn(&self) -> Result<(), StoreError> {
        tokio::task::yield_now().await;
        if self.down.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable { store: "rows".into(), why: "down".into() });
        }
        Ok(())
    }

    fn active_now(&self, scope: Scope, purpose: Purpose) -> Option<KeyRow> {
        let here = |row: &&KeyRow| (row.scope, row.purpose, row.state) == (scope, purpose, KeyState::Active);
        self.rows.lock().unwrap().iter().find(here).cloned()
    }
}

impl KeyStore for Rows {
    fn name(&self) -> &str {
        "rows"
    }

    fn active(&self, scope: Scope, purpose: Purpose) -> BoxFuture<'_, Result<Option<KeyRow>, StoreError>> {
        Box::pin(async move { self.turn().await.map(|()| self.active_now(scope, purpose)) })
    }

    fn row(&self, id: KeyId) -> BoxFuture<'_, Result<Option<KeyRow>, StoreError>> {
        Box::pin(async move {
            self.turn().await?;
            Ok(self.rows.lock().unwrap().iter().find(|row| row.id() == id).cloned())
        })
    }

    fn activate(&self, row: KeyRow, instead_of: Option<KeyId>) -> BoxFuture<'_, Result<KeyRow, StoreError>> {
        Box::pin(async move {
            self.turn().await?;
            self.activations.fetch_add(1, Ordering::SeqCst);
            let active = self.active_now(row.scope, row.purpose);
            match active {
                Some(active) if Some(active.id()) != instead_of => return Ok(active),
                Some(active) => self.change(active.id(), |active| active.state = KeyState::DecryptOnly),
                None => {}
            }
            self.put(row.clone());
            Ok(row)
        })
    }

    fn replace(&self, _: KeyRow, _: KeyRow) -> BoxFuture<'_, Result<bool, StoreError>> {
        unreachable!("the cache replaces no row")
    }

    fn import(&self, _: KeyRow) -> BoxFuture<'_, Result<Imported, StoreError>> {
        unreachable!("the cache imports no row")
    }

    fn list(&self, after: Option<KeyId>, count: usize) -> BoxFuture<'_, Result<Vec<KeyRow>, StoreError>> {
        Box::pin(async move {
            self.turn().await?;
            self.listings.fetch_add(1, Ordering::SeqCst);
            let mut rows = self.all();
            rows.retain(|row| after.is_none_or(|after| row.id() > after));
            rows.sort_by_key(KeyRow::id);
            rows.truncate(count);
            Ok(rows)
        })
    }
}
