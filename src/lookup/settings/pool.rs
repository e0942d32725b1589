//! `worker_pool`, of `server` and of a listener.

use super::PoolSettings;
use crate::document::{Found, Section, no_effect, size};

/// More lookups than a host could have connections for.
const MAX_WORKERS: u64 = 1 << 20;

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
