//! HTTP: one request, and its complete answer. Everything behind [`Host::exchange`] is
//! connections; what an answer says is the caller's to judge. [`Host::reach`] connects, no more.
//!
//! HTTP/1.1 (RFC 9112), no redirects. Connecting (name, TCP, TLS) takes 2 s at most, the whole
//! exchange the caller's deadline; head and body are bounded. Connections are kept and used
//! again. A backend closes kept ones at any moment: a request whose kept connection fails before
//! the answer is complete is sent once more, on a new one, where the caller allows it.
//!
//! Two arms: connections of our own (`direct`), and reqwest where a proxy stands between
//! (`proxied`). Both use the same TLS configuration and the same resolver.

mod broken;
pub(crate) mod compress;
mod direct;
mod handshake;
mod internal;
mod no_proxy;
mod pool;
mod proxied;
mod proxy;
mod reach;
mod request;
mod resolver;
pub mod settings;
mod socket;
mod thread_index;
pub(crate) mod timer;
pub mod tls;
mod verifier;

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

use hyper::header::{self, HeaderName, HeaderValue};
use reqwest::header::HeaderMap;
use tokio::sync::Semaphore;
use tracing::{debug, warn};
use url::Url;

use crate::model::weak_map::WeakMap;
use crate::model::{Deadline, Failure};
use crate::observe::explain;
use crate::observe::metrics::{Calls, ConnectionCounts, Metrics};
use crate::observe::span;
use crate::observe::warnings::RateLimitedWarnings;
use broken::Broken;
use direct::Direct;
use proxied::Proxied;
use proxy::Proxies;
pub(crate) use proxy::{is_loopback, is_read as is_proxy_variable, unusable as proxy_complaints};
pub use reach::{Reached, Unreached};
pub use request::{Headers, Reply, Request, path_of};
use resolver::Resolver;
pub use settings::HttpSettings;
pub use thread_index::{set_thread_index, thread_count, thread_index};

/// The longest body that is read, as it is sent and as it is inflated.
pub const MAX_BODY: usize = 1024 * 1024;
/// The longest head of an answer.
const MAX_HEAD: usize = 64 * 1024;
/// W3C Trace Context.
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const CONNECT: Duration = Duration::from_secs(2);

/// `User-Agent` of every request that sets none.
pub const USER_AGENT: &str = concat!("PostfixToHTTP/", env!("CARGO_PKG_VERSION"));

/// The HTTP side that all targets share.
#[derive(Debug)]
pub struct Http {
    settings: HttpSettings,
    metrics: Arc<Metrics>,
    resolver: Resolver,
    proxies: Proxies,
    /// Idle connections of all hosts.
    idle: Arc<AtomicUsize>,
    /// By origin. They exist as long as an entry or a discovery document holds them.
    hosts: WeakMap<String, Host>,
}

/// One origin (scheme, host, port), and the connections to it.
#[derive(Debug)]
pub struct Host {
    route: Route,
    origin: Url,
    /// `max_connections_per_host`.
    permits: Option<Semaphore>,
    /// The reasons of failures that the log knows.
    warnings: RateLimitedWarnings,
}

#[derive(Debug)]
enum Route {
    Direct(Direct),
    Proxied(Proxied),
    /// The proxy that should stand there cannot be used, for this reason.
    Unusable(String),
}

impl Http {
    /// No connection is made yet.
    #[must_use]
    pub fn new(settings: HttpSettings, metrics: &Arc<Metrics>) -> Self {
        Self {
            proxies: Proxies::new(settings.proxy.as_ref()),
            settings,
            metrics: Arc::clone(metrics),
            resolver: Resolver::default(),
            idle: Arc::default(),
            hosts: WeakMap::default(),
        }
    }

    /// Where its exchanges are counted.
    #[must_use]
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// The connections to each origin, but for those that a proxy stands before.
    #[must_use]
    pub fn pools(&self) -> Vec<(String, ConnectionCounts)> {
        let hosts = self.hosts.all().into_iter();
        let pools = hosts.filter_map(|(origin, host)| match &host.route {
            Route::Direct(direct) => Some((origin, direct.connections())),
            Route::Proxied(_) | Route::Unusable(_) => None,
        });
        pools.collect()
    }

    /// Idle connections that are kept, those through a proxy not counted.
    #[must_use]
    pub fn idle(&self) -> usize {
        self.idle.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// What it was made of.
    #[must_use]
    pub fn settings(&self) -> &HttpSettings {
        &self.settings
    }

    /// The connections to the origin of `url`, if somebody holds them.
    pub(crate) fn known_host(&self, url: &Url) -> Option<Arc<Host>> {
        self.hosts.get(&url.origin().ascii_serialization())
    }

    /// The connections to the origin of `url`, which all its targets share. They are closed, and the
    /// origin is forgotten, when nobody holds them any longer.
    ///
    /// # Errors
    /// Where its proxy cannot be used.
    pub fn host(&self, url: &Url) -> Result<Arc<Host>, reqwest::Error> {
        self.hosts.get_or_try_make(url.origin().ascii_serialization(), || {
            let route = match self.proxies.of(url) {
                Ok(Some(proxy)) => Route::Proxied(Proxied::new(url, &proxy, &self.settings, &self.resolver)?),
                Ok(None) => Route::Direct(Direct::new(url, self)),
                Err(why) => Route::Unusable(why),
            };
            let permits = self.settings.max_connections_per_host.map(Semaphore::new);
            Ok(Host { route, origin: url.clone(), permits, warnings: RateLimitedWarnings::default() })
        })
    }
}

impl Host {
    /// `headers`, with `Host` and `User-Agent` where they hold none.
    #[must_use]
    pub fn headers(&self, headers: &HeaderMap) -> Headers {
        // A copy's table is as large as this one: enough for what a single request adds.
        let mut all = HeaderMap::with_capacity(headers.len() + 8);
        all.extend(headers.clone());
        let origin = self.origin.origin().ascii_serialization();
        // The default port is not part of it (RFC 9110 7.2).
        let host = origin.split_once("://").and_then(|(_, authority)| HeaderValue::from_str(authority).ok());
        if let Some(host) = host {
            all.entry(header::HOST).or_insert(host);
        }
        all.entry(header::USER_AGENT).or_insert(HeaderValue::from_static(USER_AGENT));
        Headers(all)
    }

    /// Sends `request` and reads the whole answer, which is counted in `calls`. Dropped in between,
    /// it closes the connection.
    ///
    /// # Errors
    /// The class of what went wrong.
    pub async fn exchange(
        &self,
        request: &Request<'_>,
        calls: &Calls,
        deadline: Deadline,
    ) -> Result<Reply, Failure> {
        let began = Instant::now();
        let outcome = match span::child() {
            None => self.uncounted(request, deadline).await,
            Some(span) => Box::pin(self.traced(request, span, deadline)).await,
        };
        match &outcome {
            Ok(reply) => calls.count(Some(reply.status), reply.at.saturating_duration_since(began)),
            Err(_) => calls.count(None, began.elapsed()),
        }
        outcome
    }

    /// The same within a trace, which the API hears of.
    async fn traced(
        &self,
        request: &Request<'_>,
        span: span::ClientSpan,
        deadline: Deadline,
    ) -> Result<Reply, Failure> {
        let mut own = request.own.to_vec();
        own.extend(span.traceparent().map(|value| (TRACEPARENT, value)));
        let request = Request { own: &own, ..request.clone() };
        let outcome = self.uncounted(&request, deadline).await;
        let host = self.origin.host_str().unwrap_or_default();
        let origin = (self.origin.scheme(), host, self.origin.port_or_known_default());
        span.end(request.method.as_str(), origin, outcome.as_ref().map(|reply| reply.status));
        outcome
    }

    async fn uncounted(&self, request: &Request<'_>, deadline: Deadline) -> Result<Reply, Failure> {
        let _permit = match &self.permits {
            None => None,
            Some(permits) => match permits.try_acquire() {
                Ok(permit) => Some(permit),
                // Never closed.
                Err(_) => Box::pin(timely(deadline, permits.acquire())).await?.ok(),
            },
        };
        let outcome = match &self.route {
            Route::Direct(direct) => direct.exchange(request, deadline).await,
            Route::Proxied(proxied) => Box::pin(timely(deadline, proxied.exchange(request))).await?,
            Route::Unusable(why) => Err(Broken::refused(Failure::Connect, why.clone())),
        };
        outcome.map_err(|broken| self.tell(broken))
    }

    /// Says why there is no answer: in a trace, and in the log once a minute for each reason.
    fn tell(&self, broken: Broken) -> Failure {
        let Broken { failure, reason, .. } = broken;
        if reason.is_empty() {
            return failure;
        }
        explain::note(|| format!("no answer: {reason}"));
        let (target, class, reason) = (self.origin.host_str(), failure.class(), &*reason);
        if self.warnings.is_due(reason) {
            warn!(target, class, reason, "trouble with a target");
        } else {
            debug!(target, class, reason, "trouble with a target");
        }
        failure
    }
}

/// What `doing` comes to, if it does so in time.
async fn timely<T>(deadline: Deadline, doing: impl Future<Output = T>) -> Result<T, Failure> {
    tokio::time::timeout_at(deadline.instant().into(), doing).await.map_err(|_| Failure::Timeout)
}
