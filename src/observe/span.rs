//! Spans of OpenTelemetry: one for each request, and one for each HTTP exchange.
//!
//! The context of a request belongs to its future (`within`), whichever thread polls it. The id of a trace
//! decides whether it is sampled. An API receives the `traceparent` of W3C Trace Context in both cases.

use std::future::Future;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use hyper::header::HeaderValue;
use tokio::sync::mpsc;

use crate::model::{Answer, Failure, hex};
use crate::observe::metrics::{Component, Metrics, Outcome};

tokio::task_local! {
    static CURRENT: Context;
}

/// Begins spans.
#[derive(Debug)]
pub struct Tracer {
    queue: mpsc::Sender<Span>,
    metrics: Arc<Metrics>,
    /// Traces are sampled if the last 63 bits of their id are below this.
    below: u64,
}

/// The trace and the span of a request.
#[derive(Debug, Clone)]
pub struct Context {
    tracer: Arc<Tracer>,
    trace: [u8; 16],
    span: [u8; 8],
    sampled: bool,
}

/// A finished span.
#[derive(Debug)]
pub(crate) struct Span {
    pub(crate) trace: [u8; 16],
    pub(crate) id: [u8; 8],
    /// All zero: none.
    pub(crate) parent: [u8; 8],
    pub(crate) name: String,
    pub(crate) is_server: bool,
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) attributes: Vec<(&'static str, SpanAttribute)>,
    pub(crate) failed: bool,
}

/// The value of an attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SpanAttribute {
    Text(String),
    Number(i64),
}

impl From<&str> for SpanAttribute {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl Tracer {
    /// Samples the ratio of the traces, and sends their spans to `queue`.
    pub(crate) fn new(queue: mpsc::Sender<Span>, metrics: &Arc<Metrics>, ratio: f64) -> Self {
        let below = (ratio * (1_u64 << 63) as f64) as u64;
        Self { queue, metrics: Arc::clone(metrics), below }
    }

    /// A new trace.
    #[must_use]
    pub fn begin(self: &Arc<Self>) -> Context {
        let trace: [u8; 16] = random();
        let mut last = [0; 8];
        last.copy_from_slice(&trace[8..]);
        let sampled = (u64::from_be_bytes(last) >> 1) < self.below;
        Context { tracer: Arc::clone(self), trace, span: random(), sampled }
    }

    fn finish(&self, span: Span) {
        if self.queue.try_send(span).is_err() {
            self.metrics.spans.dropped.add();
        }
    }
}

/// Ids are not all zero (W3C Trace Context 3.2.2), and no secrets.
fn random<const N: usize>() -> [u8; N] {
    let mut id = [0; N];
    if aws_lc_rs::rand::fill(&mut id).is_err() || id == [0; N] {
        id[N - 1] = 1;
    }
    id
}

impl Context {
    /// Ends the server span of a request that began at `since`.
    pub fn end(self, component: Component, name: &str, listener: &str, since: Instant, answer: &Answer) {
        if !self.sampled {
            return;
        }
        let outcome = Outcome::of(component, answer);
        let failed = matches!(answer, Answer::Failed { .. });
        let mut attributes = vec![
            ("pfxhttp.component", component.word().into()),
            ("pfxhttp.name", name.into()),
            ("pfxhttp.listener", listener.into()),
            ("outcome", outcome.word().into()),
            ("result", if failed { "error" } else { "ok" }.into()),
        ];
        if let Answer::Failed { failure, .. } = answer {
            attributes.push(("error.type", failure.class().into()));
        }
        let (start, end) = times(since);
        self.tracer.finish(Span {
            trace: self.trace,
            id: self.span,
            parent: [0; 8],
            name: format!("{} {name}", component.word()),
            is_server: true,
            start,
            end,
            attributes,
            failed,
        });
    }

    fn traceparent(&self) -> Option<HeaderValue> {
        let flags = if self.sampled { "01" } else { "00" };
        HeaderValue::from_str(&format!("00-{}-{}-{flags}", hex::text(&self.trace), hex::text(&self.span)))
            .ok()
    }
}

/// Start and end, in nanoseconds since the epoch.
fn times(since: Instant) -> (u64, u64) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let nanos = |time: std::time::Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    (nanos(now.saturating_sub(since.elapsed())), nanos(now))
}

/// The context of the current task.
pub(crate) fn current() -> Option<Context> {
    CURRENT.try_with(Clone::clone).ok()
}

/// Polls `future` in `context`.
pub(crate) fn within<F: Future>(context: Context, future: F) -> impl Future<Output = F::Output> {
    CURRENT.scope(context, future)
}

/// Begins the span of an HTTP exchange; `None` without a context.
pub(crate) fn child() -> Option<ClientSpan> {
    let parent = current()?;
    let context = Context { span: random(), ..parent.clone() };
    Some(ClientSpan { context, parent: parent.span, since: Instant::now() })
}

/// The client span of an exchange in progress.
pub(crate) struct ClientSpan {
    context: Context,
    parent: [u8; 8],
    since: Instant,
}

impl ClientSpan {
    /// The value of the header `traceparent`.
    pub(crate) fn traceparent(&self) -> Option<HeaderValue> {
        self.context.traceparent()
    }

    /// Ends it (HTTP semantic conventions, client span).
    pub(crate) fn end(self, method: &str, origin: (&str, &str, Option<u16>), outcome: Result<u16, &Failure>) {
        if !self.context.sampled {
            return;
        }
        let (scheme, host, port) = origin;
        let mut attributes = vec![
            ("http.request.method", method.into()),
            ("url.scheme", scheme.into()),
            ("server.address", host.into()),
        ];
        if let Some(port) = port {
            attributes.push(("server.port", SpanAttribute::Number(port.into())));
        }
        match outcome {
            Ok(status) => {
                attributes.push(("http.response.status_code", SpanAttribute::Number(status.into())))
            }
            Err(failure) => attributes.push(("error.type", failure.class().into())),
        }
        let failed = outcome.map_or(true, |status| status >= 400);
        if let Ok(status @ 400..) = outcome {
            attributes.push(("error.type", SpanAttribute::Text(status.to_string())));
        }
        let (start, end) = times(self.since);
        let Context { tracer, trace, span, .. } = self.context;
        let name = format!("HTTP {method}");
        tracer.finish(Span {
            trace,
            id: span,
            parent: self.parent,
            name,
            is_server: false,
            start,
            end,
            attributes,
            failed,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tracer(ratio: f64, places: usize) -> (Arc<Tracer>, mpsc::Receiver<Span>) {
        let (queue, spans) = mpsc::channel(places);
        (Arc::new(Tracer::new(queue, &Arc::default(), ratio)), spans)
    }

    #[test]
    fn the_ratio_of_traces_is_sampled() {
        let sampled = |ratio| {
            let (tracer, _spans) = tracer(ratio, 1);
            (0..4000).filter(|_| tracer.begin().sampled).count()
        };
        assert_eq!((sampled(0.0), sampled(1.0)), (0, 4000));
        assert!((800..1200).contains(&sampled(0.25)));
    }

    #[tokio::test]
    async fn an_exchange_belongs_to_its_request() {
        let (tracer, mut spans) = tracer(1.0, 8);
        let context = tracer.begin();
        let parent = within(context.clone(), async {
            let client = child().expect("a context");
            let header = client.traceparent().expect("a header");
            client.end("GET", ("http", "h", Some(80)), Ok(404));
            header
        });
        let header = parent.await;
        assert!(child().is_none(), "nothing is left of it");
        let span = spans.recv().await.expect("a span");
        assert_eq!((span.trace, span.parent, span.failed), (context.trace, context.span, true));
        let text = header.to_str().expect("ASCII");
        assert!(text.starts_with("00-") && text.ends_with("-01") && text.len() == 55, "{text}");
        context.end(Component::Map, "m", "maps", Instant::now(), &Answer::NotFound);
        let span = spans.recv().await.expect("a span");
        assert_eq!((span.name.as_str(), span.parent, span.failed), ("socket_map m", [0; 8], false));
    }

    #[tokio::test]
    async fn a_full_queue_drops_and_counts() {
        let (tracer, _spans) = tracer(1.0, 1);
        for _ in 0..3 {
            tracer.begin().end(Component::Map, "m", "maps", Instant::now(), &Answer::NotFound);
        }
        assert_eq!(tracer.metrics.spans.dropped.read(), 2);
    }

    #[tokio::test]
    async fn who_is_not_sampled_is_told_and_leaves_nothing() {
        let (tracer, mut spans) = tracer(0.0, 8);
        let header = within(tracer.begin(), async {
            let client = child().expect("a context");
            let header = client.traceparent();
            client.end("GET", ("http", "h", None), Ok(200));
            header
        });
        assert!(header.await.is_some_and(|header| header.to_str().is_ok_and(|text| text.ends_with("-00"))));
        assert!(spans.try_recv().is_err());
    }
}
