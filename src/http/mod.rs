//! HTTP: [`Host::exchange`] sends one request and returns one complete answer. The caller decides
//! what the answer means. [`Host::reach`] only connects.
//!
//! HTTP/1.1 (RFC 9112), no redirects; calls of gRPC over HTTP/2 (`grpc`). To connect (name, TCP, TLS) takes at most 2 s, and the whole
//! exchange ends at the caller's deadline. Head and body are limited. Connections are kept and used
//! again. An API may close a kept connection at any moment: if it fails before the answer is complete,
//! a repeatable request is sent once more, on a new connection.
//!
//! A proxy is only a step of connecting (`connector`): all exchanges use the same connections (`connections`).

mod answer;
mod broken;
mod chunks;
pub(crate) mod compress;
mod connection;
mod connections;
mod connector;
mod dial;
mod fields;
mod grpc;
mod internal;
mod no_proxy;
mod pool;
mod proxy;
mod reach;
mod reason;
mod request;
mod resolver;
pub mod settings;
mod socket;
pub(crate) mod timer;
pub mod tls;
mod transport;
mod verifier;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use tokio::sync::Semaphore;
use tokio::time::{Timeout, timeout_at};
use tracing::{debug, warn};
use url::Url;

use crate::model::weak_map::WeakMap;
use crate::model::{Deadline, Failure};
use crate::observe::explain;
use crate::observe::metrics::{Calls, ConnectionCounts, Metrics};
use crate::observe::span;
use crate::observe::warnings::RateLimitedWarnings;
#[cfg(any(test, fuzzing))]
pub use answer::fuzzing::answers;
use broken::Broken;
pub use broken::{NoReply, Stage};
pub(crate) use dial::Dial;
pub use fields::Fields;
pub use pool::{set_thread_index, thread_count, thread_index};
use proxy::Proxies;
pub(crate) use proxy::{is_loopback, is_read as is_proxy_variable, unusable as proxy_complaints};
pub use reach::Reached;
pub use request::{Headers, Reply, Request, path_of};
use resolver::Resolver;
pub use settings::{ConnectionSettings, HttpSettings, Protocol};
use transport::Transport;

/// Bytes of a body, compressed and decompressed.
pub const MAX_BODY: usize = 1024 * 1024;
/// Bytes of an answer's head.
const MAX_HEAD: usize = 64 * 1024;
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const CONNECT: Duration = Duration::from_secs(2);

/// `User-Agent` of every request that sets none.
pub const USER_AGENT: &str = concat!("PostfixToHTTP/", env!("CARGO_PKG_VERSION"));

/// The HTTP client that all APIs share.
#[derive(Debug)]
pub struct Http {
    settings: HttpSettings,
    metrics: Arc<Metrics>,
    resolver: Resolver,
    proxies: Proxies,
    /// Idle connections of all hosts.
    idle: Arc<AtomicUsize>,
    /// By origin and settings ([`ConnectionSettings::id`]). They exist as long as an entry or a discovery document
    /// holds them.
    hosts: WeakMap<(String, [u8; 32]), Host>,
    /// By [`Headers::id`]: entries with one API mostly have equal ones.
    headers: WeakMap<[u8; 32], Headers>,
}

/// One origin (scheme, host, port), and the connections to it with the same TLS and proxy.
#[derive(Debug)]
pub struct Host {
    /// `Err`: its proxy cannot be used, for this reason.
    transport: Result<Transport, String>,
    origin: Url,
    /// `max_connections_per_host`.
    permits: Option<Semaphore>,
    warnings: RateLimitedWarnings,
}

impl Http {
    /// Makes no connection yet.
    #[must_use]
    pub fn new(settings: HttpSettings, metrics: &Arc<Metrics>) -> Self {
        Self {
            proxies: Proxies::new(settings.proxy.as_ref()),
            settings,
            metrics: Arc::clone(metrics),
            resolver: Resolver::default(),
            idle: Arc::default(),
            hosts: WeakMap::default(),
            headers: WeakMap::default(),
        }
    }

    /// The counters of its exchanges.
    #[must_use]
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// The connections to each origin.
    #[must_use]
    pub fn pools(&self) -> Vec<(String, ConnectionCounts)> {
        let counts = |host: &Host| host.transport.as_ref().ok().map(Transport::counts);
        let mut pools: Vec<(String, ConnectionCounts)> = Vec::new();
        for ((origin, _), host) in self.hosts.all() {
            let Some(counts) = counts(&host) else { continue };
            match pools.last_mut().filter(|(known, _)| *known == origin) {
                Some((_, all)) => {
                    all.idle += counts.idle;
                    all.open += counts.open;
                }
                None => pools.push((origin, counts)),
            }
        }
        pools
    }

    /// The number of idle connections.
    #[must_use]
    pub fn idle(&self) -> usize {
        self.idle.load(Ordering::Relaxed)
    }

    /// Its settings.
    #[must_use]
    pub fn settings(&self) -> &HttpSettings {
        &self.settings
    }

    /// The host of `url` with the settings of `server`, if it is in use.
    pub(crate) fn known_host(&self, url: &Url) -> Option<Arc<Host>> {
        self.hosts.get(&(url.origin().ascii_serialization(), ConnectionSettings::default().id()))
    }

    /// The host of `url` with the settings of `server`.
    pub fn host(&self, url: &Url) -> Arc<Host> {
        self.host_by(url, &ConnectionSettings::default())
    }

    /// `headers`, which are in memory once for all entries whose headers are equal.
    pub(crate) fn shared(&self, headers: Headers) -> Arc<Headers> {
        self.headers.get_or_make(headers.id(), || headers)
    }

    /// The host of `url`, which all APIs of one origin with equal `settings` share. With other settings it has
    /// other connections: one that was made without a check of the certificate, with a client certificate or
    /// through a proxy is never used by an entry with another rule. Its connections are closed when it is no longer
    /// in use.
    pub fn host_by(&self, url: &Url, settings: &ConnectionSettings) -> Arc<Host> {
        self.hosts.get_or_make((url.origin().ascii_serialization(), settings.id()), || {
            let transport = Transport::new(url, settings, self);
            // Calls of gRPC share a connection.
            let limit =
                self.settings.max_connections_per_host.filter(|_| settings.protocol == Protocol::Http1);
            let permits = limit.map(Semaphore::new);
            Host { transport, origin: url.clone(), permits, warnings: RateLimitedWarnings::default() }
        })
    }
}

impl Host {
    /// `headers` with `Host` and `User-Agent`, if these are missing.
    #[must_use]
    pub fn headers(&self, headers: &HeaderMap) -> Headers {
        let mut all = headers.clone();
        let origin = self.origin.origin().ascii_serialization();
        // The default port is not part of it (RFC 9110 7.2).
        let host = origin.split_once("://").and_then(|(_, authority)| HeaderValue::from_str(authority).ok());
        if let Some(host) = host {
            all.entry(header::HOST).or_insert(host);
        }
        all.entry(header::USER_AGENT).or_insert(HeaderValue::from_static(USER_AGENT));
        Headers::new(all)
    }

    /// Sends `request`, reads the whole answer, and counts it in `calls`. If the future is dropped, the
    /// connection is closed.
    ///
    /// # Errors
    /// The class of the failure, and whether the request was sent.
    pub async fn exchange(
        &self,
        request: &Request<'_>,
        calls: &Calls,
        deadline: Deadline,
    ) -> Result<Reply, NoReply> {
        let began = Instant::now();
        let outcome = match span::child() {
            None => self.exchange_uncounted(request, began, deadline).await,
            Some(span) => Box::pin(self.traced(request, span, began, deadline)).await,
        };
        let took = match &outcome {
            Ok(reply) => reply.at.saturating_duration_since(began),
            Err(no_reply) => no_reply.took,
        };
        match &self.transport {
            Ok(Transport::Grpc(_)) => calls.count_grpc(grpc::status_of(&outcome), took),
            _ => calls.count(outcome.as_ref().ok().map(|reply| reply.status), took),
        }
        outcome
    }

    /// Exchanges within a trace: the API receives `traceparent`.
    async fn traced(
        &self,
        request: &Request<'_>,
        span: span::ClientSpan,
        began: Instant,
        deadline: Deadline,
    ) -> Result<Reply, NoReply> {
        let mut own = request.own.to_vec();
        own.extend(span.traceparent().map(|value| (TRACEPARENT, value)));
        let request = Request { own: &own, ..request.clone() };
        let outcome = self.exchange_uncounted(&request, began, deadline).await;
        let host = self.origin.host_str().unwrap_or_default();
        let origin = (self.origin.scheme(), host, self.origin.port_or_known_default());
        let refused = match &self.transport {
            Ok(Transport::Grpc(_)) => grpc::refused(&outcome),
            _ => None,
        };
        let status = match (&refused, &outcome) {
            (Some(failure), _) | (None, Err(NoReply { failure, .. })) => Err(failure),
            (None, Ok(reply)) => Ok(reply.status),
        };
        span.end(request.method.as_str(), origin, status);
        outcome
    }

    async fn exchange_uncounted(
        &self,
        request: &Request<'_>,
        began: Instant,
        deadline: Deadline,
    ) -> Result<Reply, NoReply> {
        let late = |_| self.report(Broken::not_free_in_time(), began, deadline);
        let _permit = match &self.permits {
            None => None,
            Some(permits) => match permits.try_acquire() {
                Ok(permit) => Some(permit),
                // The semaphore is never closed.
                Err(_) => Box::pin(timely(deadline, permits.acquire())).await.map_err(late)?.ok(),
            },
        };
        let outcome = match &self.transport {
            Ok(transport) => transport.exchange(request, deadline).await,
            Err(why) => {
                Err(Broken { stage: Stage::Unconnected, ..Broken::refused(Failure::Connect, why.clone()) })
            }
        };
        outcome.map_err(|broken| self.report(broken, began, deadline))
    }

    /// Reports a failure to `query --trace`, and to the log once a minute for each reason. The time that the
    /// exchange had is no part of what is counted as one reason: it is shorter after a wait.
    fn report(&self, broken: Broken, began: Instant, deadline: Deadline) -> NoReply {
        let granted = deadline.remaining_at(began);
        let reason = broken.within(granted).into_owned();
        if !reason.is_empty() {
            explain::note(|| format!("no answer: {reason}"));
            let (target, class) = (self.origin.origin().ascii_serialization(), broken.failure.class());
            if self.warnings.is_due(&broken.reason) {
                warn!(target, class, reason, "trouble with a target");
            } else {
                debug!(target, class, reason, "trouble with a target");
            }
        }
        let reason = if reason.is_empty() { broken.failure.to_string() } else { reason };
        NoReply { failure: broken.failure, stage: broken.stage, reason, granted, took: began.elapsed() }
    }
}

/// Plain, because an `async fn` would hold `doing` twice.
fn timely<F: Future>(deadline: Deadline, doing: F) -> Timeout<F> {
    timeout_at(deadline.instant().into(), doing)
}
