//! What all entries of a broker use, and what of it a reload keeps.

use std::sync::Arc;

use tracing::debug;

use super::BrokerSettings;
use crate::http::Http;
use crate::login::Penalties;
use crate::lookup::cache::{Cache, EntryCache};
use crate::lookup::{LookupEntry, LookupSettings, shared};
use crate::observe::metrics::Metrics;
use crate::observe::span::Tracer;
use crate::oidc::Oidc;
use crate::shared::{EntryShare, Forget, ShareTimes, SharedCache};

/// What all entries share. It outlives a reload.
#[derive(Debug, Clone)]
pub(super) struct Common {
    pub(super) http: Arc<Http>,
    pub(super) oidc: Arc<Oidc>,
    pub(super) cache: Arc<Cache>,
    pub(super) cache_bytes: u64,
    pub(super) shared: Option<Arc<SharedCache>>,
    pub(super) penalties: Arc<Penalties>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) tracer: Option<Arc<Tracer>>,
}

impl Common {
    /// Whether both have the same shared cache, or none.
    pub(super) fn has_shared_of(&self, other: &Self) -> bool {
        let of = |common: &Self| common.shared.as_ref().map(Arc::as_ptr);
        of(self) == of(other)
    }

    /// The shared cache of `settings`, without a connection yet.
    pub(super) fn connects_to(&self, settings: &BrokerSettings<'_>) -> Option<Arc<SharedCache>> {
        SharedCache::new(settings.shared?, &self.http, &self.metrics.shared).map(Arc::new)
    }

    /// The part of an entry in the shared cache; `cache` has its own answers, and `before` is the entry in the
    /// configuration before.
    pub(super) fn share(
        &self,
        settings: &LookupSettings,
        cache: &EntryCache,
        before: Option<&LookupEntry>,
    ) -> Option<EntryShare> {
        let shared = self.shared.as_ref().filter(|_| settings.cache.is_shared)?;
        let identity = shared::identity(settings);
        let times = ShareTimes { lifetime: settings.cache.lifetime(), rewrite: settings.cache.rewrite() };
        let before = before.and_then(|before| before.share.as_ref());
        Some(shared.entry(identity.iter().map(Vec::as_slice), times, before, forget(&settings.name, cache)))
    }
}

/// What a purge of another host does to the answers of an entry.
fn forget(name: &str, cache: &EntryCache) -> Forget {
    let (name, cache) = (name.to_owned(), cache.clone());
    Box::new(move |key| {
        match key {
            Some(key) => drop(cache.forget(key)),
            None => cache.forget_all(),
        }
        debug!(name, "purged by another host");
    })
}
