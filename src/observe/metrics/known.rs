//! Series by their labels: whoever needs one holds it, and while anybody does it is the same one.
//! So counts go on across a reload, and those of an entry that is gone end with its last request.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// Series by what tells them apart.
pub(super) struct Known<K, V>(Mutex<BTreeMap<K, Weak<V>>>);

impl<K, V> Default for Known<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K, V> fmt::Debug for Known<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Known").finish_non_exhaustive()
    }
}

impl<K: Ord + Clone, V: Default> Known<K, V> {
    /// The one for `key`.
    pub(super) fn of(&self, key: &K) -> Arc<V> {
        let mut known = self.lock();
        if let Some(series) = known.get(key).and_then(Weak::upgrade) {
            return series;
        }
        let series = Arc::new(V::default());
        known.insert(key.clone(), Arc::downgrade(&series));
        series
    }

    /// All that somebody holds, in the order of their labels.
    pub(super) fn all(&self) -> Vec<(K, Arc<V>)> {
        let mut known = self.lock();
        known.retain(|_, series| series.strong_count() > 0);
        let held = known.iter().filter_map(|(key, series)| Some((key.clone(), series.upgrade()?)));
        held.collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<K, Weak<V>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    #[test]
    fn it_is_the_same_while_somebody_holds_it() {
        let known: Known<&str, AtomicU64> = Known::default();
        let before = known.of(&"entry");
        before.fetch_add(5, Ordering::Relaxed);
        let after = known.of(&"entry");
        drop(before);
        assert_eq!(known.of(&"entry").load(Ordering::Relaxed), 5);
        drop(after);
        assert!(known.all().is_empty());
        assert_eq!(known.of(&"entry").load(Ordering::Relaxed), 0);
    }
}
