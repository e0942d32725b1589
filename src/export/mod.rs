//! OpenTelemetry: spans of what is asked, and the metrics, to a collector over OTLP/HTTP
//! (`server.observability`, keys `otel_…`; OTLP 1.x, binary protobuf).
//!
//! | file | does |
//! |---|---|
//! | `span` | begins spans, hands finished ones to a queue; `traceparent` |
//! | `message` | the parts of OTLP that are sent |
//! | `export` | empties the queue into requests; the metrics once a minute |
//! | `mirror` | metrics as OTLP has them |
//!
//! Each request is a trace: a server span, and below it a client span for every HTTP exchange that
//! is made for it. What several requests share (tokens, keys, discovery) is in no trace. A span holds
//! names of the configuration and words of fixed sets, never a key, a user's name or a path.
//! Nothing waits for an export: a queue of 2048 spans, what does not fit is dropped and counted.

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

/// What is exported, as it is at the moment of the call.
pub struct Current {
    /// All that is counted; with `true` also what the process uses.
    pub(crate) families: Box<dyn Fn(bool) -> Vec<Family> + Send + Sync>,
    /// How collectors are reached.
    pub http: Box<dyn Fn() -> HttpSettings + Send + Sync>,
}

impl fmt::Debug for Current {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Current")
    }
}
