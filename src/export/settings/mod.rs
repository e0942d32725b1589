//! `server.observability`: where Prometheus may ask, and the collector that is sent to.

mod otlp;
mod prometheus;

pub use otlp::Otlp;
pub use prometheus::Prometheus;

use crate::document::Section;

/// Reads the block of `server`.
pub fn read(server: &Section<'_>) -> (Option<Prometheus>, Option<Otlp>) {
    (prometheus::read(server), otlp::read(server))
}
