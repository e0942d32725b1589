//! Exports to the collector: batches of at most 512 spans, at the latest 1 s after the first of them; the
//! metrics every minute; and both once more when the broker stops, within 2 s.
//!
//! It has an HTTP client of its own, with the TLS settings and the proxy of all others, which a reload may
//! change. An export that fails is not repeated: its spans are counted as dropped, and a warning is logged at
//! most once a minute.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hyper::Method;
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::http::uri::PathAndQuery;
use prost::Message;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};
use tracing::warn;
use url::Url;

use super::message::{
    self, Any, CLIENT, ERROR, KeyValue, Resource, ResourceMetrics, ResourceSpans, SERVER, Scope,
    ScopeMetrics, ScopeSpans, Status,
};
use super::settings::Otlp;
use super::{Current, mirror};
use crate::http::{Host, Http, HttpSettings, Request, path_of};
use crate::model::{Deadline, Failure};
use crate::observe::metrics::{Calls, Component, Metrics};
use crate::observe::span::{Span, SpanAttribute, Tracer};
use crate::observe::warnings::RateLimitedWarnings;

/// Finished spans in the queue.
const QUEUE: usize = 2048;
const BATCH: usize = 512;
const DELAY: Duration = Duration::from_secs(1);
const METRICS: Duration = Duration::from_mins(1);
const EXPORT: Duration = Duration::from_secs(10);
const LAST: Duration = Duration::from_secs(2);

/// The exporter, before it runs.
pub struct Exporter {
    settings: Otlp,
    metrics: Arc<Metrics>,
    tracer: Option<Arc<Tracer>>,
    spans: mpsc::Receiver<Span>,
    http: HttpSettings,
    host: Arc<Host>,
    warnings: RateLimitedWarnings,
    started: u64,
}

/// The running exporter.
#[derive(Debug)]
pub struct RunningExporter {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl RunningExporter {
    /// Exports what is left, within 2 s.
    pub async fn finish(self) {
        let _ = self.stop.send(());
        let _ = timeout(LAST, self.task).await;
    }
}

impl Exporter {
    /// Sends nothing yet.
    pub fn new(settings: Otlp, http: HttpSettings, metrics: &Arc<Metrics>) -> Self {
        let host = Http::new(http.clone(), metrics).host(&settings.endpoint);
        let (queue, spans) = mpsc::channel(QUEUE);
        let tracer = settings.traces.then(|| Arc::new(Tracer::new(queue, metrics, settings.sample_ratio)));
        let metrics = Arc::clone(metrics);
        let warnings = RateLimitedWarnings::default();
        Self { settings, metrics, tracer, spans, http, host, warnings, started: now() }
    }

    /// Begins spans; `None` if only metrics are exported.
    #[must_use]
    pub fn tracer(&self) -> Option<Arc<Tracer>> {
        self.tracer.clone()
    }

    /// Exports `current` from now on.
    #[must_use]
    pub fn start(self, current: &Arc<Current>) -> RunningExporter {
        let (stop, stopping) = oneshot::channel();
        let task = tokio::spawn(self.run(Arc::clone(current), stopping));
        RunningExporter { stop, task }
    }

    async fn run(mut self, current: Arc<Current>, mut stopping: oneshot::Receiver<()>) {
        let traces = self.metrics.calls(Component::Otlp, "traces", "POST");
        let numbers = self.metrics.calls(Component::Otlp, "metrics", "POST");
        // Keeps the queue open if no other tracer exists.
        let _open = self.tracer.clone();
        let mut minute = interval_at(Instant::now() + METRICS, METRICS);
        minute.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut batch = Vec::new();
        loop {
            // Whether it is the last round, and whether the metrics are due.
            let (is_last, is_due) = tokio::select! {
                biased;
                _ = &mut stopping => (true, self.settings.metrics),
                _ = minute.tick(), if self.settings.metrics => (false, true),
                1.. = self.spans.recv_many(&mut batch, BATCH), if self.settings.traces => {
                    // Waits for more spans.
                    let full = async {
                        while batch.len() < BATCH && self.spans.recv_many(&mut batch, 1).await > 0 {}
                    };
                    tokio::select! {
                        _ = timeout(DELAY, full) => (false, false),
                        _ = &mut stopping => (true, self.settings.metrics),
                    }
                }
            };
            if is_last {
                while let Ok(span) = self.spans.try_recv() {
                    batch.push(span);
                }
            }
            self.follow(&current);
            if !batch.is_empty() {
                self.export_spans(std::mem::take(&mut batch), &traces).await;
            }
            if is_due {
                self.export_metrics(&current, &numbers).await;
            }
            if is_last {
                return;
            }
        }
    }

    /// Applies the HTTP settings of `current`.
    fn follow(&mut self, current: &Current) {
        let http = (current.http)();
        if http == self.http {
            return;
        }
        self.http = http;
        self.host = Http::new(self.http.clone(), &self.metrics).host(&self.settings.endpoint);
    }

    async fn export_spans(&self, batch: Vec<Span>, calls: &Calls) {
        let count = batch.len();
        let message = message::Traces {
            resource_spans: vec![ResourceSpans {
                resource: Some(self.resource()),
                scope_spans: vec![ScopeSpans {
                    scope: Some(Scope::ours()),
                    spans: batch.into_iter().map(span).collect(),
                }],
            }],
        };
        let is_sent = self.send("v1/traces", message.encode_to_vec(), calls).await;
        let spans = &self.metrics.spans;
        let counter = if is_sent { &spans.exported } else { &spans.dropped };
        (0..count).for_each(|_| counter.add());
    }

    async fn export_metrics(&self, current: &Current, calls: &Calls) {
        let families = (current.families)(false);
        let message = message::Metrics {
            resource_metrics: vec![ResourceMetrics {
                resource: Some(self.resource()),
                scope_metrics: vec![ScopeMetrics {
                    scope: Some(Scope::ours()),
                    metrics: mirror::metrics(families, self.started, now()),
                }],
            }],
        };
        self.send("v1/metrics", message.encode_to_vec(), calls).await;
    }

    /// Sends a message. True if the collector accepted it.
    async fn send(&self, signal: &str, body: Vec<u8>, calls: &Calls) -> bool {
        let path = path(&self.settings.endpoint, signal);
        let mut headers = self.settings.headers.clone();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        let body = Bytes::from(body);
        let request = Request {
            method: Method::POST,
            path,
            headers: &self.host.headers(&headers),
            own: &[],
            authorization: None,
            body,
            repeatable: true,
        };
        let failure = match self.host.exchange(&request, calls, Deadline::after(EXPORT)).await {
            Ok(reply) if (200..300).contains(&reply.status) => return true,
            Ok(reply) => Failure::Status(reply.status),
            Err(no_reply) => no_reply.failure,
        };
        if self.warnings.is_due(signal) {
            let (collector, failure) = (self.settings.endpoint.host_str(), failure.to_string());
            warn!(collector, signal, failure, "nothing could be exported");
        }
        false
    }

    fn resource(&self) -> Resource {
        let attributes = [
            ("service.name", self.settings.service_name.as_str()),
            ("service.version", &self.settings.service_version),
            ("telemetry.sdk.language", "rust"),
            ("telemetry.sdk.name", "pfxhttp"),
        ];
        Resource { attributes: attributes.map(|(key, value)| KeyValue::text(key, value)).to_vec() }
    }
}

/// `signal` below the path of `endpoint`.
fn path(endpoint: &Url, signal: &str) -> PathAndQuery {
    let mut url = endpoint.clone();
    url.set_path(&format!("{}/{signal}", endpoint.path().trim_end_matches('/')));
    path_of(&url)
}

fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
}

fn span(span: Span) -> message::Span {
    let attributes = span.attributes.into_iter().map(|(key, value)| {
        KeyValue::new(
            key,
            match value {
                SpanAttribute::Text(text) => Any::Text(text),
                SpanAttribute::Number(number) => Any::Number(number),
            },
        )
    });
    message::Span {
        trace_id: span.trace.to_vec(),
        span_id: span.id.to_vec(),
        parent_span_id: if span.parent == [0; 8] { Vec::new() } else { span.parent.to_vec() },
        name: span.name,
        kind: if span.is_server { SERVER } else { CLIENT },
        start_time_unix_nano: span.start,
        end_time_unix_nano: span.end,
        attributes: attributes.collect(),
        status: span.failed.then_some(Status { code: ERROR }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_stand_below_the_endpoint() {
        let of = |endpoint: &str| path(&Url::parse(endpoint).expect("a URL"), "v1/traces");
        assert_eq!(of("http://h:4318"), "/v1/traces");
        assert_eq!(of("http://h:4318/otlp/"), "/otlp/v1/traces");
    }
}
