//! `worker_pool`, of `server` and of a listener.

use super::PoolSettings;
use crate::document::{Found, Section};

/// More lookups than a host could have connections for.
const MAX_WORKERS: u64 = 1 << 20;

/// Reads `server.worker_pool`.
#[must_use]
pub fn pool(server: &Section<'_>) -> PoolSettings {
    let (workers, queue) = bounds(server);
    settings(workers.or(256), queue)
}

/// Reads `worker_pool` of a listener, which may do without.
#[must_use]
pub fn own_pool(listener: &Section<'_>) -> Option<PoolSettings> {
    let (workers, queue) = bounds(listener);
    let workers = workers.get();
    if workers.is_none() && queue.is_set() {
        queue.key.warning("has no effect without `max_workers`");
    }
    workers.map(|workers| settings(workers, queue))
}

type Count<'d> = Found<'d, u64>;

fn bounds<'d>(block: &Section<'d>) -> (Count<'d>, Count<'d>) {
    let pool = block.key("worker_pool").section("WorkerPool");
    let workers = pool.key("max_workers").count(1..=MAX_WORKERS);
    (workers, pool.key("max_queue").count(1..=10 * MAX_WORKERS))
}

fn settings(workers: u64, queue: Count<'_>) -> PoolSettings {
    let count = |number| usize::try_from(number).unwrap_or(usize::MAX);
    PoolSettings { workers: count(workers), queue: count(queue.or(10 * workers)) }
}
