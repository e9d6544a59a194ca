//! A map of a bounded number of entries that can be dropped all at once. What leaves it is dropped there and then, so that
//! keys in it are wiped when they go.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Where there is no room the entry goes that was put in first and has not been asked for since it was last looked at.
pub(super) struct Bounded<K, V> {
    max: usize,
    ring: RwLock<Ring<K, V>>,
}

struct Ring<K, V> {
    entries: HashMap<K, Kept<V>>,
    /// Each key of `entries` once, in the order in which they are looked at where room is needed.
    order: VecDeque<K>,
}

struct Kept<V> {
    value: V,
    asked_for: AtomicBool,
}

impl<K: Copy + Eq + Hash, V: Clone> Bounded<K, V> {
    /// Room for `max` entries, and for one at least.
    pub(super) fn new(max: usize) -> Self {
        let ring = Ring { entries: HashMap::new(), order: VecDeque::new() };
        Self { max: max.max(1), ring: RwLock::new(ring) }
    }

    pub(super) fn get(&self, key: &K) -> Option<V> {
        let ring = self.read();
        let kept = ring.entries.get(key)?;
        // Mostly it is set already: then nothing is written that other threads would have to fetch anew.
        if !kept.asked_for.load(Ordering::Relaxed) {
            kept.asked_for.store(true, Ordering::Relaxed);
        }
        Some(kept.value.clone())
    }

    /// Puts `value` in if `may` says so of what is there; it is asked while nobody else can change the map.
    pub(super) fn insert_if(&self, key: K, value: V, may: impl FnOnce(Option<&V>) -> bool) {
        let mut ring = self.write();
        if !may(ring.entries.get(&key).map(|kept| &kept.value)) {
            return;
        }
        if !ring.entries.contains_key(&key) {
            while ring.entries.len() >= self.max {
                ring.make_room();
            }
            ring.order.push_back(key);
        }
        ring.entries.insert(key, Kept { value, asked_for: AtomicBool::new(false) });
    }

    /// Takes the entry out if it is there and `gone` says so.
    pub(super) fn remove_if(&self, key: &K, gone: impl FnOnce(&V) -> bool) {
        let mut ring = self.write();
        if ring.entries.get(key).is_some_and(|kept| gone(&kept.value)) {
            ring.entries.remove(key);
            ring.order.retain(|other| other != key);
        }
    }

    pub(super) fn retain(&self, mut keep: impl FnMut(&V) -> bool) {
        let ring = &mut *self.write();
        let before = ring.entries.len();
        ring.entries.retain(|_, kept| keep(&kept.value));
        if ring.entries.len() < before {
            ring.order.retain(|key| ring.entries.contains_key(key));
        }
    }

    /// The entries that `wanted` chooses, as they are now.
    pub(super) fn select(&self, wanted: impl Fn(&V) -> bool) -> Vec<(K, V)> {
        let ring = self.read();
        let chosen = ring.entries.iter().filter(|(_, kept)| wanted(&kept.value));
        chosen.map(|(key, kept)| (*key, kept.value.clone())).collect()
    }

    pub(super) fn clear(&self) {
        let mut ring = self.write();
        ring.entries.clear();
        ring.order.clear();
    }

    pub(super) fn len(&self) -> usize {
        self.read().entries.len()
    }

    fn read(&self) -> RwLockReadGuard<'_, Ring<K, V>> {
        self.ring.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Ring<K, V>> {
        self.ring.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Copy + Eq + Hash, V> Ring<K, V> {
    /// Takes one entry out. It ends: whoever is passed over once is not the second time.
    fn make_room(&mut self) {
        while let Some(key) = self.order.pop_front() {
            let asked_for = self.entries.get(&key).is_some_and(|kept| kept.asked_for.swap(false, Ordering::Relaxed));
            if !asked_for {
                self.entries.remove(&key);
                return;
            }
            self.order.push_back(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn what_is_asked_for_outlives_what_is_not() {
        let map = Bounded::new(3);
        for key in 0..3 {
            map.insert_if(key, key, |_| true);
        }
        assert_eq!(map.get(&0), Some(0));
        map.insert_if(3, 3, |_| true);
        assert_eq!((map.len(), map.get(&1)), (3, None), "the oldest that nobody asked for");
        // All are asked for: one goes all the same.
        assert_eq!((map.get(&0), map.get(&2), map.get(&3)), (Some(0), Some(2), Some(3)));
        map.insert_if(4, 4, |_| true);
        assert_eq!((map.len(), map.get(&4)), (3, Some(4)));
    }

    #[test]
    fn entries_that_come_and_go_leave_nothing_behind() {
        let map = Bounded::new(4);
        for round in 0..100 {
            map.insert_if(1, round, |_| true);
            map.remove_if(&1, |value| *value == round);
            map.insert_if(2, round, |_| true);
            map.retain(|value| *value != round);
        }
        assert_eq!((map.len(), map.read().order.len()), (0, 0));
        map.insert_if(1, 1, |there| there.is_some());
        assert_eq!(map.get(&1), None, "it was not allowed");
        map.insert_if(1, 1, |there| there.is_none());
        map.insert_if(1, 2, |there| there == Some(&1));
        map.remove_if(&1, |value| *value == 1);
        assert_eq!(map.select(|_| true), [(1, 2)]);
    }

    #[test]
    fn what_goes_is_dropped_at_once() {
        let map = Bounded::new(1);
        let values = [Arc::new(1), Arc::new(2), Arc::new(3)];
        let live = || values.each_ref().map(|value| Arc::strong_count(value) - 1);
        map.insert_if(1, Arc::clone(&values[0]), |_| true);
        map.insert_if(2, Arc::clone(&values[1]), |_| true);
        assert_eq!(live(), [0, 1, 0], "no room");
        map.insert_if(2, Arc::clone(&values[2]), |_| true);
        assert_eq!(live(), [0, 0, 1], "replaced");
        map.clear();
        assert_eq!(live(), [0, 0, 0]);
    }
}
