//! More lookups than an API can answer: the API stays as busy as it can be, and the other lookups fail
//! at once and temporarily.
//!
//! Each measurement is printed. `PFXHTTP_TEST_OVERLOAD=2,4,10` sets the multiples of the API's capacity
//! that are tried (default 4).

use std::fmt;
use std::time::{Duration, Instant};

use crate::support::alone;
use crate::support::config::{Config, Kind};
use crate::support::load::{Ended, Lookup, Place, SlowApi, closed_loop, open_loop};
use crate::support::port::Port;
use crate::support::setup::Setup;

const WORKERS: u32 = 8;
/// How long the API takes.
const TIME: Duration = Duration::from_millis(50);
/// A slower API, whose answer takes most of the budget.
const LONG: Duration = Duration::from_millis(800);
/// Lookups that the API can answer in a second, with those two constants.
const CAPACITY: u32 = 160;
const BUDGET: Duration = Duration::from_secs(1);
/// How long the load runs until the queue is full, and how long the measurement takes then.
const BEFORE: Duration = Duration::from_millis(1500);
const MEASURED: Duration = Duration::from_secs(2);
const CALIBRATED: Duration = Duration::from_secs(1);
/// Other load on the machine disturbs the measurement, so the best of a few attempts counts.
const ATTEMPTS: usize = 3;

/// What was measured while the queue was full.
struct Figures {
    /// Answers, as a share of those that the API could have given.
    goodput: f64,
    /// Requests to the API for each answer.
    calls: f64,
    /// Median times of answered and of failed lookups.
    answered: Duration,
    temporary: Duration,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { goodput, calls, answered, temporary } = self;
        write!(f, "goodput {goodput:.2}, {calls:.2} calls for each answer, ")?;
        write!(f, "answered within {answered:.0?}, told to come again within {temporary:.1?}")
    }
}

fn configure(config: Config, kind: Kind, api: &SlowApi, port: &Port, leads_to_one: bool) -> Config {
    let pool = format!("worker_pool: {{max_workers: {WORKERS}}}");
    let timeout = format!("timeout: {}s", BUDGET.as_secs());
    let config = config.server(&pool);
    let config = match kind {
        Kind::Map => config.map("m", &api.url(), &[&timeout]),
        Kind::Policy => config.policy("m", &api.url(), &[&timeout]),
        Kind::Login => config.login("m", &api.url(), &[&timeout]),
    };
    let config = if leads_to_one { config } else { config.map("other", &api.url(), &[]) };
    config.listen_tcp(kind, "m", port.number())
}

fn median(lookups: &[Lookup], how: Ended) -> Duration {
    let mut times: Vec<_> = lookups.iter().filter(|l| l.how == how).map(|l| l.ended - l.sent).collect();
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// A broker of eight workers, its API, and a way to it.
struct Site {
    api: SlowApi,
    place: Place,
    _setup: Setup,
    _port: Port,
}

impl Site {
    fn new(kind: Kind, is_local: bool, time: Duration) -> Self {
        let (api, port) = (SlowApi::start(time), Port::reserve());
        let setup = Setup::start(|config| configure(config, kind, &api, &port, !is_local));
        let place = if is_local { Place::Local(setup.ipc()) } else { Place::Listener(port.address()) };
        Self { api, place, _setup: setup, _port: port }
    }

    /// Lookups that the broker answers in a second if there are no more of them than workers.
    fn capacity(&self, kind: Kind) -> f64 {
        let lookups = closed_loop(kind, "m", &self.place, WORKERS, CALIBRATED);
        assert!(
            lookups.iter().all(|lookup| lookup.how == Ended::Answered),
            "there is a worker for each lookup"
        );
        lookups.len() as f64 / CALIBRATED.as_secs_f64()
    }

    /// Measures with `times` the load that the API can take.
    fn overload(&self, kind: Kind, times: u32) -> Figures {
        let capacity = self.capacity(kind);
        let (calls, start, lasts) = (self.api.calls(), Instant::now(), BEFORE + MEASURED);
        let lookups = open_loop(kind, "m", &self.place, CAPACITY * times, lasts);
        let within = |at: Instant| at >= start + BEFORE && at < start + lasts;
        let answered = lookups.iter().filter(|lookup| lookup.how == Ended::Answered);
        let in_time = answered.clone().filter(|lookup| within(lookup.ended)).count();
        let sent: Vec<_> = lookups.iter().filter(|lookup| within(lookup.sent)).copied().collect();
        Figures {
            goodput: in_time as f64 / (capacity * MEASURED.as_secs_f64()),
            calls: (self.api.calls() - calls) as f64 / answered.count().max(1) as f64,
            answered: median(&sent, Ended::Answered),
            temporary: median(&sent, Ended::Temporary),
        }
    }
}

fn multiples() -> Vec<u32> {
    let named = std::env::var("PFXHTTP_TEST_OVERLOAD").unwrap_or_else(|_| "4".to_owned());
    named.split(',').map(|times| times.trim().parse().expect("a multiple of the capacity")).collect()
}

fn assert_goodput(kind: Kind, is_local: bool) {
    let _alone = alone();
    for times in multiples() {
        let mut seen = Vec::new();
        let is_good = (0..ATTEMPTS).any(|_| {
            let figures = Site::new(kind, is_local, TIME).overload(kind, times);
            let way = if is_local { "local socket" } else { "listener" };
            println!("{kind:?} by {way}, {times} times the capacity: {figures}");
            let is_good = figures.goodput >= 0.9
                && figures.calls <= 1.1
                && figures.temporary <= Duration::from_millis(100);
            seen.push(figures.to_string());
            is_good
        });
        assert!(is_good, "{kind:?}, {times} times: {}", seen.join("; "));
    }
}

/// A long queue that moves fast enough: Postfix' processes wait, and all are answered.
fn assert_all_are_answered(kind: Kind, is_local: bool) {
    let _alone = alone();
    let site = Site::new(kind, is_local, TIME);
    let lookups = closed_loop(kind, "m", &site.place, 100, BEFORE + MEASURED);
    let turned_away = lookups.iter().filter(|lookup| lookup.how == Ended::Temporary).count();
    println!(
        "{kind:?}, 100 clients: {} lookups within {:.0?}",
        lookups.len(),
        median(&lookups, Ended::Answered)
    );
    assert_eq!(turned_away, 0, "of {}", lookups.len());
    // The queue holds ten times the workers, and a burst fills it.
    let burst = open_loop(kind, "m", &site.place, 20_000, Duration::from_millis(4));
    let turned_away = burst.iter().filter(|lookup| lookup.how == Ended::Temporary).count();
    assert_eq!((burst.len(), turned_away), (80, 0));
}

#[test]
fn a_moving_queue_fails_no_map_lookup() {
    assert_all_are_answered(Kind::Map, false);
    assert_all_are_answered(Kind::Map, true);
}

#[test]
fn a_moving_queue_fails_no_policy_request() {
    assert_all_are_answered(Kind::Policy, false);
}

/// A lookup that a worker takes has the time that the API needs, even if that is most of the budget.
#[test]
fn a_slow_api_gets_only_lookups_that_it_can_answer_in_time() {
    const LASTS: Duration = Duration::from_secs(6);
    let _alone = alone();
    let mut seen = Vec::new();
    let is_good = (0..ATTEMPTS).any(|_| {
        let site = Site::new(Kind::Map, true, LONG);
        let lookups = open_loop(Kind::Map, "m", &site.place, 2 * WORKERS, LASTS);
        let answered = lookups.iter().filter(|lookup| lookup.how == Ended::Answered).count();
        let most = f64::from(WORKERS) * LASTS.as_secs_f64() / LONG.as_secs_f64();
        let (goodput, calls) = (answered as f64 / most, site.api.calls() as f64 / answered.max(1) as f64);
        seen.push(format!("goodput {goodput:.2}, {calls:.2} calls for each answer"));
        println!("Map, an API of {LONG:?}: {}", seen[seen.len() - 1]);
        goodput >= 0.8 && calls <= 1.1
    });
    assert!(is_good, "{}", seen.join("; "));
}

#[test]
fn maps_by_a_listener_with_one_target() {
    assert_goodput(Kind::Map, false);
}

#[test]
fn maps_by_the_local_socket() {
    assert_goodput(Kind::Map, true);
}

#[test]
fn policies_by_a_listener() {
    assert_goodput(Kind::Policy, false);
}

#[test]
fn policies_by_the_local_socket() {
    assert_goodput(Kind::Policy, true);
}

#[test]
fn logins_by_a_listener() {
    assert_goodput(Kind::Login, false);
}

#[test]
fn logins_by_the_local_socket() {
    assert_goodput(Kind::Login, true);
}
