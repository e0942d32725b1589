//! One map or policy service: a lookup becomes an HTTP request, the answer of the API an [`Answer`].
//!
//! `domains` and the cache may answer at once. Otherwise `request` renders, `joined` joins an identical lookup
//! that runs, the worker pool grants a worker, the backend brings the whole HTTP answer, `answer` and `value`
//! read it, and the cache keeps it. If the lookup fails, an older answer may stand in (`failed`). `shared` looks for
//! answers of other hosts. All of this has one deadline; a dropped lookup gives back what it holds.

mod answer;
pub(crate) mod cache;
mod failed;
mod joined;
pub(crate) mod json;
pub(crate) mod request;
pub mod settings;
pub(crate) mod shared;
pub mod template;
pub mod value;
mod verb;

use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::http::uri::PathAndQuery;
use tokio::sync::Semaphore;
use tracing::debug;

use crate::backend::admission::Gate;
use crate::backend::listener_context::ListenerContext;
use crate::backend::{Backend, BackendSettings};
use crate::http::{Http, path_of};
use crate::model::brief::brief;
use crate::model::{Answer, Deadline, Failure, OnFailure, domain, hex};
use crate::observe::explain;
use crate::observe::span;
use crate::observe::warnings::RateLimitedWarnings;
use crate::oidc::Oidc;
use crate::shared::EntryShare;
use crate::upstream::Owner;
use cache::{Cached, EntryCache};
use joined::{JoinedLookups, Lookup};
use request::Rendered;
pub use settings::{
    Absent, CacheSettings, Kind, LogKeys, LookupSettings, MapSettings, Method, PolicySettings, PoolSettings,
};
use template::LookupInput;

/// The circumstances of a request.
#[derive(Debug, Clone)]
pub(crate) struct RequestContext<'l> {
    /// When the last byte of the request was read, by this process or by a client: its budget runs from then on.
    pub(crate) at: Instant,
    /// When this process had it.
    pub(crate) received: Instant,
    /// Distinguishes equal requests; a request that is sent again keeps it.
    pub(crate) id: u64,
    /// The connection that it came by; `None` for an administrator's `query`.
    pub(crate) session: Option<u64>,
    pub(crate) listener: &'l ListenerContext,
}

impl RequestContext<'_> {
    /// The field `source` of the log: `query`, or `None` for a request of Postfix.
    pub(crate) fn source(&self) -> Option<&'static str> {
        self.session.is_none().then_some("query")
    }

    /// The field `session` of the log.
    pub(crate) fn session_hex(&self) -> Option<String> {
        self.session.map(hex)
    }
}

/// One HTTP API, ready to be asked.
#[derive(Debug)]
pub(crate) struct LookupEntry {
    pub(crate) settings: LookupSettings,
    /// The path and query of a request, unless a template makes it.
    path: PathAndQuery,
    pub(crate) backend: Backend,
    pub(crate) cache: EntryCache,
    /// `cache.shared`.
    pub(crate) share: Option<EntryShare>,
    joined: JoinedLookups,
    /// Lookups in the background.
    refreshing: Arc<Semaphore>,
    /// The one that tries a target.
    trying: Arc<Semaphore>,
    /// Warnings of actions that Postfix does not know.
    warnings: RateLimitedWarnings,
}

impl LookupEntry {
    /// The API of `settings`, with its parts of the caches; `before` is the entry in the configuration before.
    pub(crate) fn new(
        settings: LookupSettings,
        http: &Http,
        oidc: &Oidc,
        cache: EntryCache,
        share: Option<EntryShare>,
        before: Option<&Self>,
    ) -> Self {
        let expected = settings.expected();
        let backend = BackendSettings {
            owner: Owner {
                kind: settings.component(),
                name: &settings.name,
                method: settings.method.name(),
                connection: &settings.connection,
                headers: &settings.request.headers,
                own_headers: request::own_headers(&settings.kind),
                timeout: settings.timeout,
                has_stand_ins: !settings.cache.outage.is_zero(),
                expected: &expected,
            },
            upstream: &settings.upstream,
            bearer: settings.request.bearer.as_deref(),
            workers: settings.pool.workers,
            queue: settings.pool.queue,
        };
        Self {
            backend: Backend::new(backend, http, oidc, before.map(|before| &before.backend)),
            cache,
            share,
            joined: JoinedLookups::default(),
            refreshing: Arc::new(Semaphore::new((settings.pool.workers / 4).clamp(1, 64))),
            trying: Arc::new(Semaphore::new(1)),
            warnings: RateLimitedWarnings::default(),
            path: path_of(settings.upstream.url()),
            settings,
        }
    }

    /// What a failed lookup says; `None` for a map, unless `perm_as_temp` is set.
    pub(crate) fn on_failure(&self) -> Option<&OnFailure> {
        match &self.settings.kind {
            Kind::Map(map) => map.perm_as_temp.then_some(&OnFailure::Temp),
            Kind::Policy(policy) => Some(&policy.on_failure),
        }
    }

    /// Asks, unless the answer is known, and says in the log what failed.
    pub(crate) async fn ask(
        self: &Arc<Self>,
        lookup: LookupInput<'_>,
        context: &RequestContext<'_>,
    ) -> Answer {
        if let (LookupInput::Key(key), Kind::Map(map)) = (lookup, &self.settings.kind)
            && !map.serves(key)
        {
            explain::note(|| "the key is of none of `domains`: the API is not asked".to_owned());
            return Answer::NotFound;
        }
        if self.settings.log_keys == LogKeys::Always {
            debug!(
                name = self.settings.name,
                source = context.source(),
                session = context.session_hex(),
                key = &*brief(&lookup.shown()),
                "lookup"
            );
        }
        let key = self.cache.key(lookup);
        let cached = self.cache.find(&key, context.received);
        if let Cached::Fresh(answer) = cached {
            explain::note(|| "cache: a fresh answer, the API is not asked".to_owned());
            return answer;
        }
        let key: Arc<[u8]> = key.into();
        if let Cached::Stale(answer) = cached {
            self.in_background(&self.refreshing, lookup, &key, context);
            return answer;
        }
        // Boxed: an idle connection would be larger by it.
        Box::pin(self.ask_api(lookup, key, context)).await
    }

    /// Asks if no answer is known.
    async fn ask_api(
        self: &Arc<Self>,
        lookup: LookupInput<'_>,
        key: Arc<[u8]>,
        context: &RequestContext<'_>,
    ) -> Answer {
        if self.backend.is_out()
            && let Some(answer) = Box::pin(self.stand_in_at_once(lookup, &key, context)).await
        {
            return answer;
        }
        let deadline = Deadline::from(context.at, self.settings.timeout);
        let rendered = match request::render(&self.settings, &self.path, lookup, context) {
            Ok(rendered) => rendered,
            Err(why) => return self.unsendable(why, context),
        };
        // The pool of a listener applies to its own lookups, not to joined ones.
        let outcome = match context.listener.enter(deadline).await {
            Ok(_listeners_worker) => self.look_up(rendered, &key, deadline, context.listener).await,
            Err(failure) => Err(failure),
        };
        match outcome {
            Ok(answer) => answer,
            Err(failure) => Box::pin(self.failed(failure, lookup, &key, context)).await,
        }
    }

    /// Asks the API, or joins an identical lookup that runs.
    async fn look_up(
        self: &Arc<Self>,
        rendered: Rendered,
        key: &Arc<[u8]>,
        deadline: Deadline,
        listener: &ListenerContext,
    ) -> Result<Answer, Failure> {
        if !self.cache.shares_lookups() {
            return Box::pin(self.exchange(&rendered, key, deadline, &listener.api_gate)).await;
        }
        loop {
            let mut lookup = self.joined.join(key);
            if lookup.leads() {
                // Its deadline is this one.
                let reads_shared = self.reads_shared_first();
                lookup.begin(self.begin(rendered, key, deadline, &listener.api_gate, reads_shared));
                return lookup.outcome().await;
            }
            // Boxed: it is rare, and would make every connection larger.
            match Box::pin(tokio::time::timeout_at(deadline.instant().into(), lookup.outcome())).await {
                Err(_) => return Err(Failure::Timeout),
                // The time limit of the other lookup began earlier: try again.
                Ok(Err(Failure::Timeout | Failure::Overload)) if !deadline.remaining().is_zero() => {}
                Ok(outcome) => return outcome,
            }
        }
    }

    /// A lookup that others may join; `reads_shared`: the shared cache may spare the request.
    fn begin(
        self: &Arc<Self>,
        rendered: Rendered,
        key: &Arc<[u8]>,
        deadline: Deadline,
        gate: &Arc<Gate>,
        reads_shared: bool,
    ) -> Lookup {
        let (entry, key, gate) = (Arc::clone(self), Arc::clone(key), Arc::clone(gate));
        let lookup = async move {
            if reads_shared && let Some(answer) = Box::pin(entry.fresh_of_others(&key)).await {
                return Ok(answer);
            }
            entry.exchange(&rendered, &key, deadline, &gate).await
        };
        match span::current() {
            None => Box::pin(lookup),
            // Its spans belong to the request that began it.
            Some(trace) => Box::pin(span::within(trace, lookup)),
        }
    }

    /// One lookup, from the queue to the cache.
    async fn exchange(
        &self,
        rendered: &Rendered,
        key: &Arc<[u8]>,
        deadline: Deadline,
        gate: &Gate,
    ) -> Result<Answer, Failure> {
        let started = tracing::enabled!(tracing::Level::DEBUG).then(Instant::now);
        let outcome = async {
            let queued = explain::clock();
            let worker = self.backend.pool.enter(deadline, gate).await;
            explain::time("queue", queued);
            let _worker = worker?;
            rendered.note(&self.settings);
            let request = rendered.request(self.backend.headers());
            let reply = self.backend.exchange(&request, deadline, |reply| reply.status == 401).await?;
            explain::note(|| format!("API: {} {}", reply.status, explain::shown(&reply.body)));
            answer::read(&self.settings, &reply)
        };
        let outcome = outcome.await;
        if let Err(failure) = &outcome {
            explain::note(|| format!("failed: {failure} (class {})", failure.class()));
            answer::hint(&self.settings, failure).into_iter().for_each(|hint| explain::note(|| hint));
        }
        if let Ok(answer) = &outcome {
            if let Answer::Action(action) = answer {
                verb::warn_of_unknown(&self.warnings, &self.settings.name, action);
            }
            self.cache.keep(key, answer, self.share.as_ref());
            self.backend.health.end();
            debug!(name = self.settings.name, duration_ms = started.map(millis), "target answered");
        }
        outcome
    }

    /// Looks up in the background, for a stale answer or to try a target: once for each key, and only if one of
    /// `places` is free, so that workers are left for waiting lookups.
    fn in_background(
        self: &Arc<Self>,
        places: &Arc<Semaphore>,
        lookup: LookupInput<'_>,
        key: &Arc<[u8]>,
        context: &RequestContext<'_>,
    ) {
        let Ok(place) = Arc::clone(places).try_acquire_owned() else { return };
        let Ok(rendered) = request::render(&self.settings, &self.path, lookup, context) else { return };
        let deadline = Deadline::after(self.settings.timeout);
        let mut lookup = self.joined.join(key);
        if lookup.leads() {
            lookup.begin(self.begin(rendered, key, deadline, &Arc::default(), false));
            tokio::spawn(async move {
                // It ends at its deadline by itself, and notes that. The result is in the cache or in the log.
                let end = deadline.instant() + Duration::from_secs(1);
                let _ = tokio::time::timeout_at(end.into(), lookup.outcome()).await;
                drop(place);
            });
        }
    }
}

/// An id as in the log and in `X-Request-Id`.
pub(crate) fn hex(id: u64) -> String {
    hex::text(&id.to_be_bytes())
}

fn millis(started: Instant) -> u64 {
    u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX)
}

impl MapSettings {
    /// Whether `domains` lets this key through. A key without `@` is a domain itself.
    fn serves(&self, key: &str) -> bool {
        let Some(domains) = &self.domains else { return true };
        // A domain that cannot be converted is looked up: a bounce is final.
        domain::comparable(domain::of_address(key)).is_none_or(|domain| domains.contains(&*domain))
    }
}
