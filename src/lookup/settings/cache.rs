//! `server.response_cache`, and an entry's `cache`.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::CacheSettings;
use crate::document::{Section, no_effect};
use crate::lookup::template::Names;

const WEEK: Duration = Duration::from_hours(168);
const TTL: RangeInclusive<Duration> = Duration::from_secs(1)..=WEEK;
const MIB: u64 = 1024 * 1024;

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

/// Reads `cache` of an entry; `outage` is what `server.response_cache` says.
pub(super) fn cache(entry: &Section<'_>, names: Names, outage: Duration) -> CacheSettings {
    let block = entry.key("cache").section("Cache");
    let duration = |name| block.key(name).duration(Duration::ZERO..=WEEK).or(Duration::ZERO);
    let wanted = block.key("outage").flag();
    if wanted.as_ref() == Some(&true) && outage.is_zero() {
        no_effect([wanted.key.clone()], "without `server.response_cache.enabled: true`");
    }
    let cache = CacheSettings {
        outage: if wanted.or(true) { outage } else { Duration::ZERO },
        fresh: duration("fresh"),
        negative: duration("negative"),
        stale_while_revalidate: duration("stale_while_revalidate"),
    };
    if !cache.stale_while_revalidate.is_zero() && cache.fresh.is_zero() {
        no_effect([block.key("stale_while_revalidate")], "without `fresh`");
    }
    if !cache.negative.is_zero() && names == Names::Policy {
        block.key("negative").warning("has no effect: a policy answers with actions alone");
    }
    cache
}
