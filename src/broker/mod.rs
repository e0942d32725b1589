//! Every request, from a listener, the local socket or `query`, is answered by `Broker::ask`.
//!
//! A broker is one generation of the configuration: all its entries, which share the HTTP client and the
//! cache. It finds the entry of a request. A request that no API can answer is answered here.

mod common;
mod names;
mod status;
mod stored;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;

use crate::backend::Backend;
use crate::http::{Http, HttpSettings};
use crate::login::{LoginEntry, LoginSettings};
use crate::lookup::cache::Cache;
use crate::lookup::template::LookupInput;
use crate::lookup::{LookupEntry, LookupSettings, RequestContext};
use crate::model::{Answer, LOGIN_BUDGET, LONGEST_BUDGET, Mechanism, OnFailure, Protocol, Question};
use crate::observe::metrics::{Component, Metrics, Outcome, RequestsByListener, UNKNOWN};
use crate::observe::span::{self, Tracer};
use crate::observe::warnings::RateLimitedWarnings;
use crate::oidc::Oidc;
use crate::shared::SharedSettings;
use crate::wire::ipc::Service;
use common::Common;

/// The entries of one configuration.
#[derive(Debug)]
pub struct Broker {
    maps: Entries<LookupEntry>,
    policies: Entries<LookupEntry>,
    logins: Entries<LoginEntry>,
    /// Requests with names without entry, by protocol.
    unknown_names: [RequestsByListener; 3],
    /// The `on_failure` of a lookup in an unknown map.
    unknown_map: Option<OnFailure>,
    common: Common,
    /// For unknown names.
    warnings: RateLimitedWarnings,
}

/// By name. There are few: a tree finds one of them before its name is hashed.
type Entries<T> = BTreeMap<String, CountedEntry<T>>;

/// An entry and its counters.
#[derive(Debug)]
struct CountedEntry<T> {
    entry: Arc<T>,
    rows: RequestsByListener,
}

/// The broker that a listener uses; a reload replaces it.
#[derive(Debug)]
pub struct Generation(ArcSwap<Broker>);

impl Generation {
    pub(crate) fn new(broker: Arc<Broker>) -> Self {
        Self(ArcSwap::new(broker))
    }

    /// The broker for a request that is read now. The request keeps it until it is answered.
    pub(crate) fn current(&self) -> Arc<Broker> {
        self.0.load_full()
    }

    pub(crate) fn set(&self, broker: &Arc<Broker>) {
        self.0.store(Arc::clone(broker));
    }
}

/// What the broker tells a client about its requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Terms {
    /// The longest time limit of its entries; for an unknown name, the longest possible one.
    pub(crate) budget: Duration,
    /// The entry's `on_failure`; `None` for maps and unknown names.
    pub(crate) on_failure: Option<OnFailure>,
    /// The mechanisms of logins; empty for lookups and unknown names.
    pub(crate) mechanisms: Vec<Mechanism>,
}

/// The settings of a generation.
#[derive(Debug)]
pub struct BrokerSettings<'s> {
    /// `server.http_client` and `server.tls`.
    pub http: &'s HttpSettings,
    /// `server.response_cache.max_bytes`.
    pub cache_bytes: u64,
    /// `server.shared`.
    pub shared: Option<&'s SharedSettings>,
    /// `socket_maps`.
    pub maps: &'s [LookupSettings],
    /// `policy_services`.
    pub policies: &'s [LookupSettings],
    /// `dovecot_sasl`.
    pub logins: &'s [LoginSettings],
    /// Component and name of all listeners and of the local socket, sorted, each once.
    pub listeners: Vec<(Component, String)>,
}

impl Broker {
    /// The entries of `settings`.
    pub(crate) fn new(settings: &BrokerSettings<'_>) -> Self {
        let metrics = Arc::default();
        let http = Arc::new(Http::new(settings.http.clone(), &metrics));
        let cache_bytes = settings.cache_bytes;
        let mut common = Common {
            oidc: Arc::new(Oidc::new(Arc::clone(&http))),
            http,
            cache: Arc::new(Cache::new(cache_bytes)),
            cache_bytes,
            shared: None,
            penalties: Arc::default(),
            metrics,
            tracer: None,
        };
        common.shared = common.connects_to(settings);
        Self::build(settings, common, None)
    }

    /// The same broker, with a trace of each request.
    pub(crate) fn traced(mut self, tracer: Option<Arc<Tracer>>) -> Self {
        self.common.tracer = tracer;
        self
    }

    /// The next generation. Connections, tokens and cached answers of unchanged entries are kept.
    pub(crate) fn next(&self, settings: &BrokerSettings<'_>) -> Self {
        let mut common = self.common.clone();
        if *common.http.settings() != *settings.http {
            common.http = Arc::new(Http::new(settings.http.clone(), &common.metrics));
            common.oidc = Arc::new(Oidc::new(Arc::clone(&common.http)));
        }
        let known = common.shared.as_ref().map(|shared| shared.settings());
        if known != settings.shared || self.common.http.settings().tls != settings.http.tls {
            common.shared = common.connects_to(settings);
        }
        Self::build(settings, common, Some(self))
    }

    pub(crate) fn http(&self) -> &HttpSettings {
        self.common.http.settings()
    }

    /// Whether `settings` needs a cache of another size, which only a restart makes.
    pub(crate) fn needs_another_cache(&self, settings: &BrokerSettings<'_>) -> bool {
        self.common.cache_bytes != settings.cache_bytes
    }

    /// How many entries `settings` adds, changes or removes.
    pub(crate) fn entries_changed(&self, settings: &BrokerSettings<'_>) -> usize {
        let lookups = |old: &Entries<LookupEntry>, new: &[LookupSettings]| {
            differences(old, new, |new| &new.name, |old| &old.settings)
        };
        lookups(&self.maps, settings.maps)
            + lookups(&self.policies, settings.policies)
            + differences(&self.logins, settings.logins, |new| &new.name, |old| &old.settings)
    }

    fn build(settings: &BrokerSettings<'_>, common: Common, before: Option<&Self>) -> Self {
        let keeps_http = before.is_some_and(|before| Arc::ptr_eq(&before.common.http, &common.http));
        let keeps_shared = before.is_some_and(|before| before.common.has_shared_of(&common));
        let listeners = &settings.listeners;
        let rows = |component, name: Option<&str>| common.metrics.rows(component, name, listeners);
        let Common { http, oidc, cache, penalties, metrics, .. } = &common;
        let lookups = |settings: &[LookupSettings], before: Option<&Entries<LookupEntry>>| {
            let entries = settings.iter().map(|settings| {
                let old = before.and_then(|before| before.get(&settings.name)).map(|old| &old.entry);
                let before = old.map(|old| &**old);
                let entry = match old.filter(|old| settings.keeps_answers_of(&old.settings)) {
                    Some(old) if keeps_http && keeps_shared && old.settings == *settings => Arc::clone(old),
                    old => {
                        let new = || cache.entry_cache(settings, metrics);
                        let cache = old.map_or_else(new, |old| old.cache.clone());
                        let share = common.share(settings, &cache, before);
                        Arc::new(LookupEntry::new(settings.clone(), http, oidc, cache, share, before))
                    }
                };
                let rows = rows(settings.component(), Some(&settings.name));
                (settings.name.clone(), CountedEntry { entry, rows })
            });
            entries.collect()
        };
        let logins = settings.logins.iter().map(|settings| {
            let old = before.and_then(|before| before.logins.get(&settings.name)).map(|old| &old.entry);
            let entry = match old.filter(|old| keeps_http && old.settings == *settings) {
                Some(old) => Arc::clone(old),
                None => {
                    let before = old.map(|old| &**old);
                    Arc::new(LoginEntry::new(settings.clone(), http, oidc, penalties, before))
                }
            };
            let rows = rows(Component::Login, Some(&settings.name));
            (settings.name.clone(), CountedEntry { entry, rows })
        });
        Self {
            logins: logins.collect(),
            maps: lookups(settings.maps, before.map(|before| &before.maps)),
            policies: lookups(settings.policies, before.map(|before| &before.policies)),
            unknown_names: Protocol::ALL.map(|protocol| rows(protocol.into(), None)),
            unknown_map: names::unknown_map(settings.maps),
            warnings: RateLimitedWarnings::default(),
            common,
        }
    }

    /// Begins what goes on besides requests, unless it does: the connection to the shared cache, and health checks,
    /// where those of the generation before go on. Needs the runtime.
    pub(crate) fn start(&self) {
        let shared = self.common.shared.as_ref();
        self.common.penalties.connect(shared);
        shared.into_iter().for_each(|shared| shared.start());
        self.backends().for_each(Backend::begin_checks);
    }

    /// Tries the targets that are out, and that no request needs. Needs the runtime.
    pub(crate) fn try_unneeded_targets(&self) {
        self.backends().for_each(Backend::try_unneeded);
    }

    fn backends(&self) -> impl Iterator<Item = &Backend> {
        let lookups = self.maps.values().chain(self.policies.values()).map(|counted| &counted.entry.backend);
        lookups.chain(self.logins.values().map(|counted| &counted.entry.backend))
    }

    pub(crate) fn metrics(&self) -> &Arc<Metrics> {
        &self.common.metrics
    }

    /// Answers a request and counts it; returns also the time of the answer. If tracing is on, the request has a
    /// trace of its own.
    pub(crate) async fn ask(&self, question: &Question, context: &RequestContext<'_>) -> (Answer, Instant) {
        let span = self.common.tracer.as_ref().map(Tracer::begin);
        let (answer, rows) = match &span {
            None => self.answer(question, context).await,
            Some(span) => span::within(span.clone(), self.answer(question, context)).await,
        };
        let (listener, component) =
            (context.listener.counters.as_ref(), Component::from(question.protocol()));
        // The clock of timers: the session sets one by it.
        let now = tokio::time::Instant::now().into_std();
        let took = now.saturating_duration_since(context.at);
        rows.of(listener).count(Outcome::of(component, &answer), took);
        if let Some(span) = span {
            let is_known = !self.unknown_names.iter().any(|unknown| std::ptr::eq(unknown, rows));
            let name = if is_known { question.name() } else { UNKNOWN };
            span.end(component, name, rows.label(listener), context.at, &answer);
        }
        (answer, now)
    }

    async fn answer(
        &self,
        question: &Question,
        context: &RequestContext<'_>,
    ) -> (Answer, &RequestsByListener) {
        let [maps, policies, logins] = &self.unknown_names;
        match question {
            Question::Map { name, key } => match self.maps.get(name) {
                None => (self.unknown(Protocol::Socketmap, name, context), maps),
                Some(CountedEntry { entry, rows }) => match std::str::from_utf8(key) {
                    Ok("") => (Answer::NotFound, rows),
                    Ok(key) => (entry.ask(LookupInput::Key(key), context).await, rows),
                    // With smtputf8_enable Postfix treats such a key as not found (dict_utf8.c).
                    Err(_) => (Answer::NotFound, rows),
                },
            },
            Question::Policy { name, attributes } => match self.policies.get(name) {
                None => (self.unknown(Protocol::Policy, name, context), policies),
                Some(CountedEntry { entry, rows }) => {
                    (entry.ask(LookupInput::Request(attributes), context).await, rows)
                }
            },
            Question::Login(login) => match self.logins.get(&login.name) {
                None => (self.unknown(Protocol::Sasl, &login.name, context), logins),
                // Boxed because it is large: every connection would be as large.
                Some(CountedEntry { entry, rows }) => (Box::pin(entry.ask(login, context)).await, rows),
            },
        }
    }

    /// Whether there is what `service` names.
    pub(crate) fn knows(&self, service: &Service) -> bool {
        match service {
            Service::Socketmap => true,
            Service::Policy { name } => self.policies.contains_key(name),
            Service::Login { name } => self.logins.contains_key(name),
        }
    }

    /// The mechanisms that the entry `name` offers; empty if there is no such entry.
    pub(crate) fn mechanisms(&self, name: &str) -> Vec<Mechanism> {
        self.logins.get(name).map(|logins| logins.entry.mechanisms()).unwrap_or_default()
    }

    pub(crate) fn on_login_failure(&self, name: &str) -> Option<OnFailure> {
        self.logins.get(name).map(|logins| logins.entry.settings.on_failure.clone())
    }

    /// What the broker tells a client that serves `service`.
    pub(crate) fn terms(&self, service: &Service) -> Terms {
        let mut terms = Terms { budget: LONGEST_BUDGET, on_failure: None, mechanisms: Vec::new() };
        match service {
            Service::Socketmap => {
                let longest = self.maps.values().map(|map| map.entry.settings.timeout).max();
                terms.budget = longest.unwrap_or(LONGEST_BUDGET);
            }
            Service::Policy { name } => {
                if let Some(CountedEntry { entry, .. }) = self.policies.get(name) {
                    terms.budget = entry.settings.timeout;
                    terms.on_failure = entry.on_failure().cloned();
                }
            }
            Service::Login { name } => {
                terms.budget = LOGIN_BUDGET;
                terms.on_failure = self.on_login_failure(name);
                terms.mechanisms = self.mechanisms(name);
            }
        }
        terms
    }
}

/// How many entries of `new` are new or changed, plus how many of the `old` ones are removed.
fn differences<T, S: PartialEq>(
    old: &Entries<T>,
    new: &[S],
    name: impl Fn(&S) -> &str,
    settings: impl Fn(&T) -> &S,
) -> usize {
    let before = |new| old.get(name(new)).map(|old| settings(&old.entry));
    let stay = new.iter().filter(|new| before(new).is_some()).count();
    let same = new.iter().filter(|new| before(new) == Some(*new)).count();
    new.len() - same + old.len() - stay
}
