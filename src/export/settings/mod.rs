//! `server.observability`: the endpoint for Prometheus, and the export to a collector.

mod otlp;
mod prometheus;

pub use otlp::{Otlp, VARIABLES};
pub use prometheus::Prometheus;
pub(super) use prometheus::{HEALTH_PATH, STATUS_PATH};

use crate::document::Section;

/// Reads the block of `server`.
pub fn read(server: &Section<'_>) -> (Option<Prometheus>, Option<Otlp>) {
    (prometheus::read(server), otlp::read(server))
}
