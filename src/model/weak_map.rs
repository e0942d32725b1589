//! Values that are shared as long as they are in use: `Arc`s by key.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// Finds a value as long as an `Arc` of it exists, and forgets it afterwards.
pub(crate) struct WeakMap<K, V>(Mutex<HashMap<K, Weak<V>>>);

impl<K, V> Default for WeakMap<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K, V> fmt::Debug for WeakMap<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WeakMap").finish_non_exhaustive()
    }
}

impl<K: Eq + Hash, V> WeakMap<K, V> {
    /// The value of `key`, if it is in use.
    pub(crate) fn get(&self, key: &K) -> Option<Arc<V>> {
        self.lock().get(key).and_then(Weak::upgrade)
    }

    /// The value of `key`, or a new one.
    pub(crate) fn get_or_make(&self, key: K, make: impl FnOnce() -> V) -> Arc<V> {
        let mut values = self.lock();
        if let Some(value) = values.get(&key).and_then(Weak::upgrade) {
            return value;
        }
        let value = Arc::new(make());
        if values.len() == values.capacity() {
            values.retain(|_, value| value.strong_count() > 0);
        }
        values.insert(key, Arc::downgrade(&value));
        value
    }

    /// Visits all values in use, in no order. The map is locked meanwhile.
    pub(crate) fn each(&self, mut visit: impl FnMut(&K, &V)) {
        for (key, value) in &*self.lock() {
            if let Some(value) = value.upgrade() {
                visit(key, &value);
            }
        }
    }

    /// All values in use, in the order of their keys.
    pub(crate) fn all(&self) -> Vec<(K, Arc<V>)>
    where
        K: Clone + Ord,
    {
        let values = self.lock();
        let in_use = values.iter().filter_map(|(key, value)| Some((key.clone(), value.upgrade()?)));
        let mut in_use: Vec<_> = in_use.collect();
        in_use.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        in_use
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<K, Weak<V>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    #[test]
    fn a_value_is_the_same_while_it_is_in_use() {
        let map: WeakMap<&str, AtomicU64> = WeakMap::default();
        let of = |key| map.get_or_make(key, AtomicU64::default);
        let before = of("entry");
        before.fetch_add(5, Ordering::Relaxed);
        let after = of("entry");
        drop(before);
        assert_eq!(of("entry").load(Ordering::Relaxed), 5);
        drop(after);
        assert!(map.all().is_empty() && map.get(&"entry").is_none());
        assert_eq!(of("entry").load(Ordering::Relaxed), 0);
    }

    #[test]
    fn unused_values_take_no_memory() {
        let map: WeakMap<usize, ()> = WeakMap::default();
        for key in 0..1000 {
            map.get_or_make(key, || ());
        }
        assert!(map.lock().capacity() < 10);
    }
}
