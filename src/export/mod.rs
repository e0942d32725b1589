//! Export of metrics, spans and the status page (`server.observability`): a server for Prometheus, and OTLP/HTTP to a
//! collector (OTLP 1.x, binary protobuf).
//!
//! | file | does |
//! |---|---|
//! | `prometheus`, `reply`, `text` | the server for Prometheus, its answers, and its text format |
//! | `page` | the status page, HTML |
//! | `otlp` | sends spans from the queue, and the metrics once a minute |
//! | `message` | the messages of OTLP that are sent |
//! | `mirror` | metrics as messages of OTLP |
//!
//! Each request is a trace: a server span, and a client span for each HTTP exchange below it. Exchanges that
//! requests share (tokens, keys, discovery) are in no trace. A span contains names of the configuration and
//! words of fixed sets, never a key, a user name or a path. No request waits for an export: spans that do
//! not fit into the queue of 2048 are dropped and counted.

mod message;
mod mirror;
mod otlp;
mod page;
pub mod prometheus;
mod reply;
pub mod settings;
mod text;

use std::fmt;

use crate::http::HttpSettings;
use crate::model::status::Status;
use crate::observe::metrics::Readiness;
use crate::observe::metrics::family::Family;

pub use otlp::Exporter;

/// The source of what is exported, at the moment of the call.
pub struct Current {
    /// All metrics; with `true` also those of the process.
    pub(crate) families: Box<dyn Fn(bool) -> Vec<Family> + Send + Sync>,
    /// The status.
    pub(crate) status: Box<dyn Fn() -> Status + Send + Sync>,
    /// Whether the broker serves.
    pub(crate) readiness: Box<dyn Fn() -> Readiness + Send + Sync>,
    /// The HTTP settings for the collector.
    pub http: Box<dyn Fn() -> HttpSettings + Send + Sync>,
}

impl fmt::Debug for Current {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Current")
    }
}
