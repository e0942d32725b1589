//! The keys of an entry that say which of its targets is asked. The targets themselves are read with the
//! template of their path (`lookup::settings`).

use std::ops::RangeInclusive;
use std::time::Duration;

use hyper::http::uri::PathAndQuery;
use url::Url;

use crate::document::{HIDDEN, Key, Kind, Section, no_effect};
use crate::observe::explain;

/// How many targets an entry may have.
pub(crate) const MAX_TARGETS: usize = 8;

const PAUSE: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_hours(1);

const EVERY: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_hours(1);

const POLICY: &[(&str, PolicyRetry)] = &[("unsent", PolicyRetry::Unsent), ("sent", PolicyRetry::Sent)];
const BALANCE: &[(&str, Balance)] = &[("first", Balance::First), ("least", Balance::Least)];

/// The targets of an entry, and which one is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamSettings {
    /// `target`, or `targets` in the order in which they are asked; never empty.
    pub targets: Vec<TargetSettings>,
    /// `balance`.
    pub balance: Balance,
    /// `breaker`; `None`: off.
    pub breaker: Option<BreakerSettings>,
    /// `retry`.
    pub retry: RetrySettings,
    /// `health`; `None`: off, or without effect.
    pub health: Option<Box<HealthSettings>>,
}

/// `health`: the checks of each target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthSettings {
    /// `path`: path and query of a check.
    pub path: PathAndQuery,
    /// `every`: the time from one check to the next; 5 s by default.
    pub every: Duration,
    /// `fall`: so many that fail in a row take a target out; 2 by default.
    pub fall: u64,
    /// `rise`: so many good ones in a row bring it back; 2 by default.
    pub rise: u64,
    /// `timeout` of a check, not longer than `every`; 1 s by default.
    pub timeout: Duration,
    /// `status`: the statuses of a good check, not empty; 200 by default.
    pub status: Vec<u16>,
}

/// `breaker`: when a target is left alone, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerSettings {
    /// `failures`: so many in a row take a target out; 5 by default.
    pub failures: u64,
    /// `pause`: the time until it is tried; 1 s by default.
    pub pause: Duration,
    /// `max_pause`: the longest one, after doubling; 30 s by default.
    pub max_pause: Duration,
}

/// `retry`: what is sent to another target after a first one has seen it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetrySettings {
    /// `others`: to how many others; 1 by default.
    pub others: u64,
    /// `budget`: the share of the requests, in percent, that may be sent once more; 20 by default.
    pub percent: u64,
    /// `policy`.
    pub policy: PolicyRetry,
}

/// `retry.policy`: which policy requests go to another target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PolicyRetry {
    /// `unsent`, the default: those that no API has seen.
    Unsent,
    /// `sent`: also those that one may have seen; for targets that share what they know of `Idempotency-Key`.
    Sent,
}

/// One target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetSettings {
    /// Its URL; path and query are the same for all targets of an entry.
    pub url: Url,
    /// `backup`: asked after all others.
    pub is_backup: bool,
}

/// `balance`: which target is asked first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Balance {
    /// `first`, the default: the first one in the list.
    First,
    /// `least`: of two random ones, the one with fewer requests in flight.
    Least,
}

impl UpstreamSettings {
    /// One target, which nothing stands in for.
    #[must_use]
    pub(crate) fn single(url: Url) -> Self {
        let targets = vec![TargetSettings { url, is_backup: false }];
        let retry = RetrySettings { others: 1, percent: 20, policy: PolicyRetry::Unsent };
        Self { targets, balance: Balance::First, breaker: None, retry, health: None }
    }

    /// The first target: its path and query are those of all.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.targets[0].url
    }

    /// The URLs of all targets.
    pub fn urls(&self) -> impl Iterator<Item = &Url> {
        self.targets.iter().map(|target| &target.url)
    }

    /// A target over TLS, if there is one.
    #[must_use]
    pub fn most_secure(&self) -> &Url {
        self.urls().find(|url| url.scheme() == "https").unwrap_or_else(|| self.url())
    }

    /// Notes a request for `query --trace`: what stands before and behind the origin. That to one of several
    /// targets is noted when the target is chosen.
    pub(crate) fn note_request(&self, parts: impl FnOnce() -> [String; 2]) {
        if self.targets.len() > 1 {
            return explain::keep_request(parts);
        }
        explain::note(|| {
            let [before, behind] = parts();
            format!("{before}{}{behind}", self.url().origin().ascii_serialization())
        });
    }

    /// Whether these are targets of the same API: at least one of them is in `other`.
    #[must_use]
    pub fn is_api_of(&self, other: &Self) -> bool {
        self.urls().any(|url| other.urls().any(|known| known == url))
    }

    /// The origins of all targets, for the log.
    #[must_use]
    pub fn origins(&self) -> String {
        let origins: Vec<_> = self.urls().map(|url| url.origin().ascii_serialization()).collect();
        origins.join(", ")
    }
}

#[cfg(test)]
impl UpstreamSettings {
    /// For tests: one target.
    pub(crate) fn one(url: &str) -> Self {
        Self::single(url.parse().expect("a URL"))
    }
}

/// Reads the keys of `entry` beside its `targets`; nothing without these. `has_stand_ins`: answers from before
/// may replace failures.
pub(crate) fn read(
    entry: &Section<'_>,
    targets: Option<Vec<TargetSettings>>,
    has_stand_ins: bool,
) -> Option<UpstreamSettings> {
    let balance = entry.key("balance").choice(BALANCE).or(Balance::First);
    let (breaker, retry, mut health) = (breaker(entry), retry(entry), health(entry).map(Box::new));
    if targets.as_ref().is_some_and(|targets| targets.len() == 1) {
        let own = |name| Some(entry.key(name)).filter(|key| key.is_own());
        no_effect(["balance", "retry"].into_iter().filter_map(own), "without `targets`");
        if !has_stand_ins {
            let names = ["breaker", "health"].into_iter().filter_map(own);
            no_effect(names, "without `targets`, or a cache for outages");
            health = None;
        }
    }
    Some(UpstreamSettings {
        targets: targets.filter(|targets| !targets.is_empty())?,
        balance,
        breaker,
        retry,
        health,
    })
}

/// Reads `breaker`.
fn breaker(entry: &Section<'_>) -> Option<BreakerSettings> {
    let block = entry.key("breaker").section_or_off("Breaker")?;
    let failures = block.key("failures").count(1..=1000).or(5);
    let pause = block.key("pause").duration(PAUSE).or(Duration::from_secs(1));
    let max_pause = block
        .key("max_pause")
        .duration(PAUSE)
        .check(|max_pause| if *max_pause < pause { Err("must not be shorter than `pause`") } else { Ok(()) });
    let max_pause = max_pause.or(Duration::from_secs(30).max(pause));
    Some(BreakerSettings { failures, pause, max_pause })
}

/// Reads `retry`.
fn retry(entry: &Section<'_>) -> RetrySettings {
    let block = entry.key("retry").section("Retry");
    let percent =
        block.key("budget").word().read_as(|text| percent(&text)).shown(|percent| format!("{percent}%"));
    let policy = block.key("policy").choice(POLICY);
    RetrySettings {
        others: block.key("others").count(0..=MAX_TARGETS as u64 - 1).or(1),
        percent: percent.or(20),
        policy: policy.or(PolicyRetry::Unsent),
    }
}

/// Reads `health`.
fn health(entry: &Section<'_>) -> Option<HealthSettings> {
    let block = entry.key("health").section("Health");
    let path = block.key("path").text().shown(|text| without_query(text)).read_as(|text| path(&text));
    let every = block.key("every").duration(EVERY).or(Duration::from_secs(5));
    let [fall, rise] = ["fall", "rise"].map(|name| block.key(name).count(1..=1000).or(2));
    let timeout = block
        .key("timeout")
        .duration(PAUSE)
        .check(|timeout| if *timeout > every { Err("must not be longer than `every`") } else { Ok(()) });
    let timeout = timeout.or(Duration::from_secs(1).min(every));
    let key = block.key("status");
    let status: Vec<u16> = key.one_or_list(Kind::Count).iter().map(|item| item.status().or(200)).collect();
    if status.is_empty() {
        key.error("must hold a status");
    }
    if !path.is_set() {
        let own = |name| Some(block.key(name)).filter(Key::is_own);
        no_effect(
            ["every", "fall", "rise", "timeout", "status"].into_iter().filter_map(own),
            "without `path`",
        );
    }
    Some(HealthSettings { path: path.get()?, every, fall, rise, timeout, status })
}

/// The path of a health check.
fn path(text: &str) -> Result<PathAndQuery, &'static str> {
    if !text.starts_with('/') {
        return Err("must begin with `/`: the host is that of each target");
    }
    if text.contains("{{") {
        return Err("holds no insertions: a check is not about a key");
    }
    let path = text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#'));
    path.ok_or("must be a path as it is sent: other characters are written %…")
}

/// A path as the effective configuration shows it: a query may hold a secret.
fn without_query(text: &str) -> String {
    text.split_once('?').map_or_else(|| text.to_owned(), |(path, _)| format!("{path}?{HIDDEN}"))
}

fn percent(text: &str) -> Result<u64, &'static str> {
    let number = text.strip_suffix('%').and_then(|number| number.parse().ok());
    number.filter(|percent| *percent <= 100).ok_or("must be from 0% to 100%, as 20%")
}
