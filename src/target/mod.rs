//! One HTTP API behind one entry of the configuration: a question becomes a request, the
//! response an answer.
//!
//! The way through: `template` renders the payload, `limit` waits for a worker, `exchange` sends
//! the request and brings the whole response, `answer` reads it with the help of `value`.
//! All of it happens within one deadline; a lookup that is dropped gives everything back.

pub mod answer;
pub mod limit;
pub mod template;
pub mod value;

use std::collections::HashSet;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use reqwest::header::HeaderMap;
use tracing::{info, warn};
use url::Url;

use crate::ask::{Action, Answer, Deadline, Failure, OnFailure};
use crate::exchange::{HttpClient, Request};
use limit::Limit;
use template::{Asked, Input, Template};
use value::Field;

/// What an entry of `socket_maps` or `policy_services` says, checked.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The entry's name.
    pub name: String,
    /// Which protocol asks.
    pub kind: Kind,
    /// `method`.
    pub method: Method,
    /// `target`: http or https, with a host. Its path and query are a template's where `path` is one.
    pub url: Url,
    /// The path and query of `target` where they hold insertions.
    pub path: Option<Template>,
    /// `custom_headers`, `http_auth_basic`, and `Content-Type: application/json` unless they hold one.
    pub headers: HeaderMap,
    /// `payload`; `None` for GET.
    pub payload: Option<Template>,
    /// `http_request_compression`: the body is sent as gzip.
    pub compress_request: bool,
    /// `http_response_compression`: the answer may be gzip.
    pub compress_response: bool,
    /// `timeout`, else `server.http_client.timeout`; at most 90 s.
    pub timeout: Duration,
    /// `status_code`, 200 by default.
    pub status_code: u16,
    /// `value_field`.
    pub value_field: Field,
    /// `error_field`.
    pub error_field: Option<Field>,
    /// `no_error_value`; empty by default.
    pub no_error_value: String,
    /// `absent_value`: what a valid answer without the field means.
    pub absent_value: Absent,
    /// `cache`, with `server.response_cache`.
    pub cache: CacheSettings,
    /// `server.worker_pool`.
    pub pool: PoolSettings,
}

/// How a target is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// With a payload.
    Post,
    /// With path and query alone.
    Get,
}

/// What a valid answer without the value's field means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Absent {
    /// `not_found`, the default.
    NotFound,
    /// `error`: a failure, as if the body were none.
    Failure,
}

/// Which protocol asks a target, and what that protocol alone sets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// An entry of `socket_maps`.
    Map(MapSettings),
    /// An entry of `policy_services`.
    Policy(PolicySettings),
}

/// What maps alone set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MapSettings {
    /// `server.socketmap_max_reply_size`: the most bytes of a reply's payload.
    pub max_reply: usize,
    /// `on_failure: not_found`, instead of `temp`.
    pub failure_is_not_found: bool,
    /// `empty_value: not_found`, instead of `error`.
    pub empty_is_not_found: bool,
    /// `not_found_status`: these statuses say "no such key".
    pub not_found_status: Vec<u16>,
    /// `domains`, in lower case; if set, keys of other domains are not found without a call.
    pub domains: Option<HashSet<String>>,
}

/// What policies alone set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicySettings {
    /// `on_failure`.
    pub on_failure: OnFailure,
    /// `cache_key`: the attributes that tell two cached requests apart, besides those that always
    /// do; `None`: all but those that differ by nature.
    pub cache_key: Option<Vec<String>>,
}

/// When an answer may be given without asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheSettings {
    /// How long an answer stands in for a failure: `server.response_cache.ttl` where that is
    /// enabled and `cache.outage` is not false; zero: never.
    pub outage: Duration,
    /// `cache.fresh`: how long it stands in for asking.
    pub fresh: Duration,
    /// `cache.negative`: the same for "not found".
    pub negative: Duration,
    /// `cache.stale_while_revalidate`: how long beyond `fresh`, while it is asked anew.
    pub stale_while_revalidate: Duration,
}

/// How many lookups run at a time, and how many wait before their listeners stop accepting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolSettings {
    /// `max_workers`; 256 by default.
    pub workers: usize,
    /// `max_queue`; ten times `max_workers` by default.
    pub queue: usize,
}

/// The longest a warning's memory grows: after so many unknown words the rest goes unsaid.
const MAX_WARNED: usize = 64;

/// One HTTP API, ready to be asked.
#[derive(Debug)]
pub struct Target {
    settings: Settings,
    http: HttpClient,
    limit: Limit,
    /// First words of actions that were warned of.
    warned: Mutex<HashSet<String>>,
}

impl Target {
    /// The API of `settings`, behind the HTTP side that all targets share.
    #[must_use]
    pub fn new(settings: Settings, http: HttpClient) -> Self {
        let limit = Limit::new(settings.pool.workers, settings.pool.queue);
        Self { settings, http, limit, warned: Mutex::default() }
    }

    /// How long a lookup may take.
    #[must_use]
    pub fn budget(&self) -> Duration {
        self.settings.timeout
    }

    /// What a failed policy lookup says; `None` for a map.
    #[must_use]
    pub fn on_failure(&self) -> Option<&OnFailure> {
        match &self.settings.kind {
            Kind::Map(_) => None,
            Kind::Policy(policy) => Some(&policy.on_failure),
        }
    }

    /// Asks, and says in the log what failed.
    pub async fn ask(&self, asked: Asked<'_>, deadline: Deadline) -> Answer {
        let started = Instant::now();
        match self.lookup(asked, deadline).await {
            Ok(answer) => {
                if let Answer::Action(action) = &answer {
                    self.warn_of_unknown_verb(action);
                }
                answer
            }
            Err(failure) => {
                let name = self.settings.name.as_str();
                let duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
                info!(name, target = %self.settings.url, class = %failure, duration_ms, "lookup failed");
                Answer::Failed { failure, on_failure: self.on_failure().cloned() }
            }
        }
    }

    async fn lookup(&self, asked: Asked<'_>, deadline: Deadline) -> Result<Answer, Failure> {
        let mut body = Vec::with_capacity(1024);
        let input = Input { name: &self.settings.name, asked };
        if self.settings.payload.as_ref().is_some_and(|payload| payload.render(input, &mut body).is_err()) {
            // The template sends it raw, and it holds a control character: no such entry can
            // exist, and a policy has no opinion that could be trusted.
            return match self.settings.kind {
                Kind::Map(_) => Ok(Answer::NotFound),
                Kind::Policy(_) => Err(Failure::Malformed),
            };
        }
        let _worker = self.limit.enter(deadline).await?;
        let request = Request { url: &self.settings.url, headers: &self.settings.headers, body };
        let reply = self.http.exchange(request, deadline).await?;
        answer::read(&self.settings, reply.status, &reply.body)
    }

    /// An unknown first word may be a restriction class of main.cf, so it passes; a typing error
    /// would be 451 4.3.5 for every mail, so it is said once.
    fn warn_of_unknown_verb(&self, action: &Action) {
        let verb = action.verb();
        if is_known_verb(verb) {
            return;
        }
        let mut warned = self.warned.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if warned.len() < MAX_WARNED && warned.insert(verb.to_owned()) {
            let name = self.settings.name.as_str();
            warn!(name, verb, "the API answered with an action that access(5) does not know");
        }
    }
}

/// access(5), and the restrictions of postconf(5) that may stand in its place.
fn is_known_verb(verb: &str) -> bool {
    const ACTIONS: [&str; 16] = [
        "OK",
        "RELAY",
        "DUNNO",
        "REJECT",
        "DEFER",
        "DEFER_IF_REJECT",
        "DEFER_IF_PERMIT",
        "BCC",
        "DISCARD",
        "FILTER",
        "HOLD",
        "PREPEND",
        "REDIRECT",
        "INFO",
        "WARN",
        "HANGUP",
    ];
    let lower = verb.to_ascii_lowercase();
    let is_code =
        verb.len() == 3 && verb.starts_with(['4', '5']) && verb.bytes().all(|byte| byte.is_ascii_digit());
    is_code
        || ACTIONS.iter().any(|action| action.eq_ignore_ascii_case(verb))
        || ["permit", "reject_", "check_", "defer", "warn_if_reject"]
            .iter()
            .any(|start| lower.starts_with(start))
}
