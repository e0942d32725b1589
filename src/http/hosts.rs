//! The origins that are known: those whose [`Host`] somebody holds, an entry or the discovery document
//! of a provider. When nobody does any longer, the connections are closed and the name is forgotten;
//! documents come and go, and may name others each time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use url::Url;

use super::Host;

/// The hosts, by origin.
#[derive(Debug, Default)]
pub(super) struct Hosts(Mutex<HashMap<String, Weak<Host>>>);

impl Hosts {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Weak<Host>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The one of `url`, if somebody holds it.
    pub(super) fn get(&self, url: &Url) -> Option<Arc<Host>> {
        self.lock().get(&url.origin().ascii_serialization()).and_then(Weak::upgrade)
    }

    /// The same, or a new one.
    ///
    /// # Errors
    /// That of `make`.
    pub(super) fn get_or_make<E>(
        &self,
        url: &Url,
        make: impl FnOnce() -> Result<Host, E>,
    ) -> Result<Arc<Host>, E> {
        let origin = url.origin().ascii_serialization();
        let mut known = self.lock();
        if let Some(host) = known.get(&origin).and_then(Weak::upgrade) {
            return Ok(host);
        }
        let host = Arc::new(make()?);
        known.retain(|_, host| host.strong_count() > 0);
        known.insert(origin, Arc::downgrade(&host));
        Ok(host)
    }

    /// All of them.
    pub(super) fn all(&self) -> Vec<(String, Arc<Host>)> {
        let known = self.lock();
        known.iter().filter_map(|(origin, host)| Some((origin.clone(), host.upgrade()?))).collect()
    }
}
