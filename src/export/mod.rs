//! Export of metrics and spans (`server.observability`): a server for Prometheus, and OTLP/HTTP to a
//! collector (OTLP 1.x, binary protobuf).
//!
//! | file | does |
//! |---|---|
//! | `prometheus`, `text` | the server for Prometheus, and its text format |
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
pub mod prometheus;
pub mod settings;
mod text;

use std::fmt;

use crate::http::HttpSettings;
use crate::observe::metrics::family::Family;

pub use otlp::Exporter;

/// The source of what is exported, at the moment of the call.
pub struct Current {
    /// All metrics; with `true` also those of the process.
    pub(crate) families: Box<dyn Fn(bool) -> Vec<Family> + Send + Sync>,
    /// The HTTP settings for the collector.
    pub http: Box<dyn Fn() -> HttpSettings + Send + Sync>,
}

impl fmt::Debug for Current {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Current")
    }
}
