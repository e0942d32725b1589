//! `cache` and `worker_pool`, of an entry, a listener, and of `server`.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::Inherited;
use crate::document::{Found, Section, no_effect, size};
use crate::lookup::template::Names;

const WEEK: Duration = Duration::from_hours(168);
const TTL: RangeInclusive<Duration> = Duration::from_secs(1)..=WEEK;
const MIB: u64 = 1024 * 1024;
/// More lookups than a host could have connections for.
const MAX_WORKERS: u64 = 1 << 20;

/// `cache`: when an answer of the past may be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheSettings {
    /// `server.response_cache.ttl`, if not off: how long an answer stands in for a failure; zero: never.
    pub outage: Duration,
    /// `cache.fresh`: how long it is given without a request; zero by default.
    pub fresh: Duration,
    /// `cache.negative`: the same for "not found".
    pub negative: Duration,
    /// `cache.stale_while_revalidate`: how long beyond `fresh`, while a request is made.
    pub stale_while_revalidate: Duration,
    /// `cache.shared`: answers are kept in the shared cache, too.
    pub is_shared: bool,
}

impl CacheSettings {
    /// How long an answer is of use to other hosts; zero: never.
    #[must_use]
    pub fn lifetime(&self) -> Duration {
        self.outage.max(self.fresh).max(self.negative)
    }

    /// For how long an answer that has not changed is not written again: a part of the time for which others use it.
    #[must_use]
    pub fn rewrite(&self) -> Duration {
        let parts = [self.outage / 8, self.fresh / 2];
        parts.into_iter().filter(|part| !part.is_zero()).min().unwrap_or_default()
    }
}

/// `worker_pool`: how many lookups run, and how many wait before the listeners stop accepting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolSettings {
    /// `max_workers`; 256 by default.
    pub workers: usize,
    /// `max_queue`; ten times `max_workers` by default.
    pub queue: usize,
}

/// `server.response_cache`.
#[derive(Debug, Clone, Copy)]
pub struct ServerCache {
    /// `enabled`, `ttl`: how long an answer stands in for a failure, 5 min by default; zero: never.
    pub outage: Duration,
    /// `max_bytes`: the memory of the cache; 32 MiB by default.
    pub max_bytes: u64,
}

/// Reads `server.response_cache`.
#[must_use]
pub fn server_cache(server: &Section<'_>) -> ServerCache {
    let block = server.key("response_cache").section("ResponseCache");
    let is_enabled = block.key("enabled").flag().or(false);
    let ttl = block.key("ttl").duration(TTL).or(Duration::from_mins(5));
    if !is_enabled {
        no_effect([block.key("ttl")], "without `enabled: true`");
    }
    ServerCache {
        outage: if is_enabled { ttl } else { Duration::ZERO },
        max_bytes: block.key("max_bytes").count(MIB..=1 << 40).or(32 * MIB),
    }
}

/// Reads `cache` of an entry.
pub(super) fn cache(entry: &Section<'_>, names: Names, inherited: &Inherited) -> CacheSettings {
    let outage = inherited.outage;
    let block = entry.key("cache").section("Cache");
    let duration = |name| block.key(name).duration(Duration::ZERO..=WEEK).or(Duration::ZERO);
    let wanted = block.key("outage").flag();
    if wanted.as_ref() == Some(&true) && outage.is_zero() {
        no_effect([wanted.key.clone()], "without `server.response_cache.enabled: true`");
    }
    let shared = block.key("shared").flag();
    let shared_key = shared.key.clone();
    let mut cache = CacheSettings {
        outage: if wanted.or(true) { outage } else { Duration::ZERO },
        fresh: duration("fresh"),
        negative: duration("negative"),
        stale_while_revalidate: duration("stale_while_revalidate"),
        is_shared: shared.or(false),
    };
    if cache.is_shared && !inherited.has_shared {
        no_effect([shared_key], "without `server.shared.url`");
        cache.is_shared = false;
    } else if cache.is_shared && cache.lifetime().is_zero() {
        no_effect([shared_key], "without `fresh`, `negative` or `server.response_cache`");
        cache.is_shared = false;
    }
    if !cache.stale_while_revalidate.is_zero() && cache.fresh.is_zero() {
        no_effect([block.key("stale_while_revalidate")], "without `fresh`");
    }
    if !cache.negative.is_zero() && names == Names::Policy {
        block.key("negative").warning("has no effect: a policy answers with actions alone");
    }
    cache
}

/// Reads `server.worker_pool`.
#[must_use]
pub fn pool(server: &Section<'_>) -> PoolSettings {
    let (workers, queue) = keys(server);
    settings(workers.or(256), queue)
}

/// Reads `worker_pool` of a listener; nothing if it has none.
#[must_use]
pub fn listener_pool(listener: &Section<'_>) -> Option<PoolSettings> {
    let (workers, queue) = keys(listener);
    if !workers.is_set() {
        no_effect([queue.key], "without `max_workers`");
        return None;
    }
    workers.get().map(|workers| settings(workers, queue))
}

type Count<'d> = Found<'d, u64>;

fn keys<'d>(block: &Section<'d>) -> (Count<'d>, Count<'d>) {
    let pool = block.key("worker_pool").section("WorkerPool");
    let workers = pool.key("max_workers").count(1..=MAX_WORKERS);
    (workers, pool.key("max_queue").count(1..=10 * MAX_WORKERS))
}

fn settings(workers: u64, queue: Count<'_>) -> PoolSettings {
    PoolSettings { workers: size(workers), queue: size(queue.or(10 * workers)) }
}
