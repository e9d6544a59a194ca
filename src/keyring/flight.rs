//! One piece of work for any number of callers who want the same thing at the same time.
//!
//! The work runs in a task of its own: a caller that goes away cancels nobody else's.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::runtime::Handle;
use tokio::sync::watch;

type Under<K, V> = Arc<Mutex<HashMap<K, watch::Receiver<Option<V>>>>>;

pub(super) struct Flights<K, V> {
    under_way: Under<K, V>,
    /// Where the work runs.
    runtime: Handle,
}

impl<K, V> Flights<K, V>
where
    K: Hash + Eq + Clone + Send + 'static,
    V: Clone + Send + Sync + 'static,
{
    pub(super) fn new(runtime: Handle) -> Self {
        Self { under_way: Under::default(), runtime }
    }

    /// Waits for the work under `key`, starting it if nobody has. `None` if it panicked.
    pub(super) async fn join<F>(&self, key: K, work: impl FnOnce() -> F) -> Option<V>
    where
        F: Future<Output = V> + Send + 'static,
    {
        let mut result = self.start(key, work);
        result.wait_for(Option::is_some).await.ok()?.clone()
    }

    /// Starts the work under `key` unless it is under way, without waiting for it.
    pub(super) fn start<F>(&self, key: K, work: impl FnOnce() -> F) -> watch::Receiver<Option<V>>
    where
        F: Future<Output = V> + Send + 'static,
    {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(result) = under_way.get(&key) {
            return result.clone();
        }
        let (done, result) = watch::channel(None);
        under_way.insert(key.clone(), result.clone());
        let landing = Landing { key, under_way: Arc::clone(&self.under_way) };
        let work = work();
        self.runtime.spawn(async move {
            let value = work.await;
            // Whoever asks from here on finds what the work has cached.
            drop(landing);
            done.send_replace(Some(value));
        });
        result
    }
}

/// Takes the entry out however the work ends.
struct Landing<K: Hash + Eq, V> {
    key: K,
    under_way: Under<K, V>,
}

impl<K: Hash + Eq, V> Drop for Landing<K, V> {
    fn drop(&mut self) {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}
