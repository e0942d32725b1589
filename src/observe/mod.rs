//! What is counted, traced and warned of. The rooms above hold counters and spans; `export` hands them on.

pub(crate) mod counted;
pub(crate) mod hidden;
pub mod metrics;
pub mod span;
pub(crate) mod trace;
pub(crate) mod warned;
