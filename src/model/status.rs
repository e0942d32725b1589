//! The state of a running broker, as the command `status` and the status page show it.
//!
//! As JSON it is the output of `status --json`; fields are added and never removed. A reader takes what it
//! knows, and defaults for the rest: broker and command may be of different versions.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The whole state.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Status {
    /// The version of the broker.
    pub version: String,
    /// Counts configurations, from 1.
    pub generation: u64,
    /// Seconds since the start.
    pub uptime_s: u64,
    /// Whether the last reload succeeded; `None` if there was none.
    pub reloaded: Option<bool>,
    /// Open connections of Postfix and of clients.
    pub connections: usize,
    /// All listeners and the local socket.
    pub listener: Vec<ListenerStatus>,
    /// The cache.
    pub cache: CacheStatus,
    /// The shared cache; `None` without one.
    pub shared: Option<SharedStatus>,
    /// Idle connections to APIs.
    pub idle_http_connections: usize,
    /// All entries: maps, policies, logins, each sorted by name.
    #[serde(rename = "target")]
    pub entries: Vec<EntryStatus>,
    /// The last failures of all entries, the newest first.
    #[serde(rename = "failure")]
    pub failures: Vec<FailureStatus>,
}

/// The cache.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CacheStatus {
    /// Cached answers.
    pub entries: u64,
    /// The memory that they take.
    pub bytes: u64,
    /// `server.response_cache.max_bytes`.
    pub max_bytes: u64,
}

/// The shared cache (`server.shared`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SharedStatus {
    /// Where it is, without credentials.
    pub server: String,
    /// Whether there is a connection.
    pub is_up: bool,
    /// Since when (RFC 3339, UTC).
    pub since: String,
    /// Why there is no connection.
    pub problem: Option<String>,
    /// Whether another host uses another `secret_file`.
    pub has_other_secret: bool,
    /// Reads since the start, by what came of them; those that never happened are left out.
    pub reads: BTreeMap<String, u64>,
    /// Answers for it since the start, by what became of them: `ok`, `dropped`, `error`.
    pub writes: BTreeMap<String, u64>,
    /// Answers that wait to be written.
    pub waiting_writes: usize,
}

impl SharedStatus {
    /// Its reads, as they are shown.
    #[must_use]
    pub fn reads(&self) -> String {
        counts(&self.reads)
    }

    /// Its writes, as they are shown.
    #[must_use]
    pub fn writes(&self) -> String {
        counts(&self.writes)
    }
}

fn counts(counts: &BTreeMap<String, u64>) -> String {
    let shown = counts.iter().filter(|(_, number)| **number > 0);
    let shown: Vec<String> = shown.map(|(what, number)| format!("{number} {what}")).collect();
    if shown.is_empty() { "none".to_owned() } else { shown.join(", ") }
}

/// Whether an entry gets answers from its API.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// At least one of its last requests was answered, or there was none.
    #[default]
    Ok,
    /// There is an outage, or all of its last requests failed.
    Failing,
}

/// Whether a target is asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TargetState {
    /// It is.
    #[default]
    Up,
    /// It is left alone after failures, or because it has asked for that.
    Out,
}

/// What the health checks of a target say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckState {
    /// They do not speak against it.
    #[default]
    Good,
    /// They fail: the target is out.
    Failing,
}

/// One entry.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct EntryStatus {
    /// `map`, `policy` or `login`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// The origins of its targets.
    pub target: String,
    /// Whether each target is up, by its origin; empty if there is one alone.
    pub targets: BTreeMap<String, TargetState>,
    /// The health checks of each target, by its origin; empty if there are none.
    pub health_checks: BTreeMap<String, CheckState>,
    /// Whether it gets answers.
    pub state: State,
    /// Whether there is an outage of its API: a failure that concerns more than one request, and no answer
    /// since. It is failing then.
    pub is_out_of_order: bool,
    /// Seconds since the first failure after the last answer, if it is failing.
    pub failing_s: Option<u64>,
    /// How many requests `last_requests_failed` is about: at most 10.
    pub last_requests: u32,
    /// How many of its last requests failed.
    pub last_requests_failed: u32,
    /// Busy workers.
    pub working: usize,
    /// `max_workers`.
    pub max_workers: usize,
    /// Requests in the queue.
    pub waiting: usize,
    /// Whether there is a token for `backend_oidc_auth`; `None` without that.
    pub has_token: Option<bool>,
    /// How long that token is used, in seconds.
    pub token_expires_s: Option<u64>,
    /// The last failure, as a sentence.
    pub last_failure: Option<String>,
    /// Its class.
    pub last_failure_class: Option<String>,
    /// Its age in seconds.
    pub last_failure_s_ago: Option<u64>,
    /// Its requests.
    #[serde(flatten)]
    pub traffic: Traffic,
}

impl EntryStatus {
    /// The targets that are out, each as it is shown: with the reason, if that is a health check.
    pub fn targets_out(&self) -> impl Iterator<Item = String> {
        let fails = |target: &String| self.health_checks.get(target) == Some(&CheckState::Failing);
        let out =
            self.targets.iter().filter(move |(target, state)| **state == TargetState::Out && !fails(target));
        let out = out.map(|(target, _)| target.clone());
        let checked = self.health_checks.keys().filter(move |target| fails(target));
        out.chain(checked.map(|target| format!("{target} (health check)")))
    }

    /// Whether it gets no answers, also as brokers say it that do not know `state`.
    #[must_use]
    pub fn is_failing(&self) -> bool {
        self.state == State::Failing || self.is_out_of_order
    }
}

/// The requests of an entry.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Traffic {
    /// Requests since the start.
    pub requests: u64,
    /// Failures since the start.
    pub failures: u64,
    /// Requests per second in the last minute.
    pub requests_per_s: f64,
    /// The median time of a request in the last minute, in milliseconds; `None` without requests.
    pub p50_ms: Option<f64>,
    /// The time that 95 % of them did not exceed.
    pub p95_ms: Option<f64>,
    /// The share of lookups in the last minute that the cache answered, in percent; `None` without cache.
    pub cache_hits_percent: Option<f64>,
    /// Failures in the last ten minutes.
    pub recent_failures: u64,
    /// The same by class.
    pub recent_failures_by_class: BTreeMap<String, u64>,
    /// The last ten minutes, the oldest sample first.
    #[serde(skip)]
    pub samples: Vec<Sample>,
}

/// Five seconds of an entry.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Sample {
    /// Requests per second.
    pub requests_per_s: f64,
    /// Failures.
    pub failures: u64,
    /// 95 % of the requests took no longer, in milliseconds; `None` without requests.
    pub p95_ms: Option<f64>,
    /// Busy workers at its end.
    pub busy: u64,
    /// Requests in the queue at its end.
    pub waiting: u64,
}

/// A listener, or the local socket.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ListenerStatus {
    /// The address or path.
    pub endpoint: String,
    /// `socket_map`, `policy_service`, `dovecot_sasl`, or `clients` for the local socket.
    pub kind: String,
    /// The entry; `None` if the listener serves several.
    pub name: Option<String>,
    /// Open connections.
    pub connections: u64,
    /// Those of them that clients have handed over.
    pub handed_over: u64,
    /// Connections since the start.
    pub accepted: u64,
    /// Connections that were refused since the start.
    pub refused: u64,
    /// Requests since the start.
    pub requests: u64,
    /// Requests per second in the last minute.
    pub requests_per_s: f64,
    /// Requests per second in the last ten minutes, the oldest sample first.
    #[serde(skip)]
    pub samples: Vec<f64>,
}

/// A failure, or several alike of one entry.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FailureStatus {
    /// `map`, `policy` or `login`.
    pub kind: String,
    /// The name of the entry.
    pub name: String,
    /// The class.
    pub class: String,
    /// The failure, as a sentence.
    pub failure: String,
    /// How many.
    pub count: u64,
    /// When the last of them happened (RFC 3339, UTC).
    pub time: String,
    /// When the first of them happened.
    pub first: String,
    /// The age of the last one in seconds.
    pub s_ago: u64,
}
