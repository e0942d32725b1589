//! `server.response_cache`, an entry's `cache`, and worker pools: what bounds and spares requests.

use std::time::Duration;

use serde_yaml::Value;

use super::block;
use super::keys::Block;
use super::path::KeyPath;
use super::problem::Report;
use super::raw;
use super::scalar;
use crate::lookup::{CacheSettings, PoolSettings};

const SECOND: Duration = Duration::from_secs(1);
const WEEK: Duration = Duration::from_hours(168);
const MIB: u64 = 1024 * 1024;

/// More lookups than a host could have connections for.
const MAX_WORKERS: u64 = 1 << 20;

/// `server.response_cache`.
pub(super) struct Server {
    /// How long an answer stands in for a failure; zero: never.
    pub(super) outage: Duration,
    pub(super) max_bytes: u64,
}

/// Resolves `server.response_cache`.
pub(super) fn server(report: &mut Report<'_>, value: Option<&Value>, path: &KeyPath) -> Server {
    let raw: raw::ResponseCache = block::read(report, value, path, Block::ResponseCache).unwrap_or_default();
    let enabled = raw.enabled.unwrap_or(false);
    let ttl = scalar::duration(report, &path.key("ttl"), raw.ttl.as_ref(), SECOND..=WEEK);
    if raw.ttl.is_some() && !enabled {
        report.warning(&path.key("ttl"), "has no effect without `enabled: true`");
    }
    let max_bytes = scalar::number(report, &path.key("max_bytes"), raw.max_bytes, MIB..=1 << 40);
    let outage = if enabled { ttl.unwrap_or(Duration::from_mins(5)) } else { Duration::ZERO };
    Server { outage, max_bytes: max_bytes.unwrap_or(32 * MIB) }
}

/// Resolves `cache` of an entry; `outage` is what `server.response_cache` says.
pub(super) fn entry(
    report: &mut Report<'_>,
    value: Option<&Value>,
    path: &KeyPath,
    block: Block,
    outage: Duration,
) -> CacheSettings {
    let raw: raw::Cache = block::read(report, value, path, Block::Cache).unwrap_or_default();
    let mut duration = |key: &str, time: Option<&raw::Time>| {
        scalar::duration(report, &path.key(key), time, Duration::ZERO..=WEEK).unwrap_or(Duration::ZERO)
    };
    let fresh = duration("fresh", raw.fresh.as_ref());
    let negative = duration("negative", raw.negative.as_ref());
    let stale_while_revalidate = duration("stale_while_revalidate", raw.stale_while_revalidate.as_ref());
    if raw.outage == Some(true) && outage.is_zero() {
        report.warning(&path.key("outage"), "has no effect without `server.response_cache.enabled: true`");
    }
    if !stale_while_revalidate.is_zero() && fresh.is_zero() {
        report.warning(&path.key("stale_while_revalidate"), "has no effect without `fresh`");
    }
    if !negative.is_zero() && block == Block::Policy {
        report.warning(&path.key("negative"), "has no effect: a policy answers with actions alone");
    }
    let outage = if raw.outage == Some(false) { Duration::ZERO } else { outage };
    CacheSettings { outage, fresh, negative, stale_while_revalidate }
}

/// Resolves `server.worker_pool`, whose default there always is.
pub(super) fn pool(report: &mut Report<'_>, value: Option<&Value>, path: &KeyPath) -> PoolSettings {
    let (workers, queue) = bounds(report, value, path);
    settings(workers.unwrap_or(256), queue)
}

/// Resolves `worker_pool` of a listener.
pub(super) fn own_pool(
    report: &mut Report<'_>,
    value: Option<&Value>,
    path: &KeyPath,
) -> Option<PoolSettings> {
    let (workers, queue) = bounds(report, value, path);
    if workers.is_none() && queue.is_some() {
        report.warning(&path.key("max_queue"), "has no effect without `max_workers`");
    }
    workers.map(|workers| settings(workers, queue))
}

fn bounds(report: &mut Report<'_>, value: Option<&Value>, path: &KeyPath) -> (Option<u64>, Option<u64>) {
    let raw: raw::WorkerPool = block::read(report, value, path, Block::WorkerPool).unwrap_or_default();
    let workers = scalar::number(report, &path.key("max_workers"), raw.max_workers, 1..=MAX_WORKERS);
    let queue = scalar::number(report, &path.key("max_queue"), raw.max_queue, 1..=10 * MAX_WORKERS);
    (workers, queue)
}

fn settings(workers: u64, queue: Option<u64>) -> PoolSettings {
    let count = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    PoolSettings { workers: count(workers), queue: count(queue.unwrap_or(10 * workers)) }
}
