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

pub mod endpoint;
mod message;
mod mirror;
mod otlp;
mod text;

use std::fmt;

use reqwest::header::HeaderMap;
use url::Url;

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

/// `server.observability`, where a collector is told.
#[derive(Clone, PartialEq)]
pub struct Settings {
    /// `otel_traces_enabled`.
    pub traces: bool,
    /// `otel_metrics_enabled`.
    pub metrics: bool,
    /// `otel_exporter_otlp_endpoint`: `v1/traces` and `v1/metrics` stand below it.
    pub endpoint: Url,
    /// `otel_exporter_otlp_headers`.
    pub headers: HeaderMap,
    /// `otel_service_name`.
    pub service_name: String,
    /// `otel_service_version`.
    pub service_version: String,
    /// `otel_sample_ratio`: 0 to 1.
    pub sample_ratio: f64,
}

impl fmt::Debug for Settings {
    /// Without the headers.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings").field("endpoint", &self.endpoint.host_str()).finish_non_exhaustive()
    }
}
