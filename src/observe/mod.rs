//! Metrics and their last ten minutes, spans, warnings and explanations. The rooms above use them; `export` exports them.

pub(crate) mod count_guard;
pub(crate) mod explain;
pub mod history;
pub mod metrics;
pub(crate) mod redact;
pub mod span;
pub(crate) mod warnings;
