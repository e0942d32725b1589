//! What is counted, traced and warned of. The rooms above hold counters and spans; `export` hands them on.

pub(crate) mod count_guard;
pub(crate) mod explain;
pub mod metrics;
pub(crate) mod redact;
pub mod span;
pub(crate) mod warnings;
