//! Targets that fail for a while: when one is left alone, how it comes back, and how much more the others are
//! asked. Every API keeps what it saw.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::status_numbers::{entry, status};
use crate::support::backend::{Backend, Reply};
use crate::support::blackhole::Blackhole;
use crate::support::command_line::{run, text};
use crate::support::config::{Config, Kind};
use crate::support::metrics::Scrape;
use crate::support::peer::Peer;
use crate::support::port::Port;
use crate::support::setup::Setup;
use crate::support::site::open_directory;
use crate::support::{PATIENCE, pause, wait_until};
use crate::targets::{DEFER, TEMP, accepted, api, ask_policy, closed, entries, log_in, says, start};

/// A target that is out is not tried within a test.
pub(crate) const NO_TRIAL: &str = "breaker: {pause: 1h, max_pause: 1h}";

pub(crate) fn look_up(setup: &Setup, key: usize) -> String {
    setup.map().look_up("m", &format!("k{key}"))
}

/// Whether the log, which may be a moment late, says as often that a target is out, and that one is back.
pub(crate) fn is_said(setup: &Setup, times: (usize, usize)) -> bool {
    wait_until(PATIENCE, || (said(setup, "target out"), said(setup, "target back")) == times)
}

/// How often the log has this message.
pub(crate) fn said(setup: &Setup, message: &str) -> usize {
    setup.broker.log().lines().filter(|line| line.contains(message)).count()
}

#[test]
fn a_target_that_hangs_is_out_after_five_failures_in_a_row() {
    let (a, b) = (Backend::start(|_| Reply::stall()), api("b"));
    let setup = start(&[a.url(""), b.url("")], &["timeout: 400ms", NO_TRIAL]);
    for key in 0..5 {
        let began = Instant::now();
        assert_eq!(look_up(&setup, key), "OK b");
        assert!(began.elapsed() < Duration::from_millis(400), "{:?}", began.elapsed());
    }
    let out = ["WARN", "target out", "name=\"m\"", &a.url(""), "class=\"timeout\""];
    assert!(setup.broker.logged(&[&out[..], &["reason=\"no complete answer within "]].concat()));
    for key in 5..50 {
        let began = Instant::now();
        assert_eq!(look_up(&setup, key), "OK b");
        assert!(began.elapsed() < Duration::from_millis(150), "{:?}", began.elapsed());
    }
    assert_eq!([a.count(), b.count()], [5, 50]);
    // Each entry learns for itself.
    assert_eq!(ask_policy(&setup, "1"), DEFER);
    assert_eq!(a.count(), 6);
}

#[test]
fn a_target_that_refuses_is_out_at_once_and_back_after_a_trial() {
    let (mut a, b) = (api("a"), api("b"));
    let port = Port::reserve();
    let setup = Setup::start(|config| {
        let config = entries(config, &[a.url(""), b.url("")], &["breaker: {pause: 300ms, max_pause: 300ms}"]);
        config.prometheus(port.number(), &[])
    });
    let up = |target: &Backend| {
        Scrape::of(port.address()).sum("pfxhttp_target_up", &[("name", "m"), ("target", &target.url(""))])
    };
    assert_eq!(look_up(&setup, 0), "OK a");
    assert_eq!((up(&a), up(&b)), (1.0, 1.0));
    a.down();
    assert_eq!(look_up(&setup, 1), "OK b");
    let out = ["target out", "name=\"m\"", &a.url(""), "class=\"connect\"", "reason=\"connection refused\""];
    assert!(setup.broker.logged(&out));
    assert_eq!((up(&a), up(&b)), (0.0, 1.0));
    let seen = status(setup.broker.config());
    let targets = &entry(&seen, "map", "m")["targets"];
    assert_eq!((&targets[a.url("")], &targets[b.url("")]), (&"out".into(), &"up".into()), "{targets}");
    let lines = text(&run(setup.broker.config(), &["status"], ""));
    assert!(lines.contains(&format!(" targets.{}=out ", a.url(""))), "{lines}");
    (2..20).for_each(|key| assert_eq!(look_up(&setup, key), "OK b"));
    let unsent = Scrape::of(port.address());
    let unsent = unsent.sum("pfxhttp_target_moves_total", &[("name", "m"), ("result", "unsent")]);
    assert!((1.0..=3.0).contains(&unsent), "the others knew: {unsent}");
    let count = |name: &str, target: &Backend, labels: &[(&str, &str)]| {
        let url = target.url("");
        let labels = [&[("name", "m"), ("target", url.as_str())], labels].concat();
        Scrape::of(port.address()).sum(name, &labels)
    };
    let requests = |target: &Backend, code| count("pfxhttp_target_requests_total", target, &[("code", code)]);
    assert_eq!([requests(&a, "2xx"), requests(&a, "connect"), requests(&b, "2xx")], [1.0, unsent, 19.0]);
    let outages = |target: &Backend, labels: &[_]| count("pfxhttp_target_outages_total", target, labels);
    assert_eq!([outages(&a, &[("class", "connect")]), outages(&a, &[]), outages(&b, &[])], [1.0, 1.0, 0.0]);
    a.up();
    assert!(wait_until(PATIENCE, || look_up(&setup, 99) == "OK a"), "one lookup tries it");
    assert!(setup.broker.logged(&["INFO", "target back", "name=\"m\"", &a.url(""), "out_s="]));
    assert!(is_said(&setup, (1, 1)), "{}", setup.broker.log());
}

#[test]
fn if_no_target_is_up_all_are_asked() {
    let (mut a, mut b) = (api("a"), api("b"));
    let setup = start(&[a.url(""), b.url("")], &[NO_TRIAL]);
    a.down();
    b.down();
    for number in 0..20 {
        assert_eq!(look_up(&setup, number), TEMP);
        assert_eq!(ask_policy(&setup, "1"), DEFER);
        assert_eq!(log_in(&setup, number), closed());
    }
    for name in ["m", "p", "l"] {
        assert!(setup.broker.logged(&["no target is up, all are asked", &format!("name=\"{name}\"")]));
    }
    assert!(wait_until(PATIENCE, || said(&setup, "no target is up") == 3), "once a minute");
    b.up();
    assert_eq!(look_up(&setup, 20), "OK b", "without a pause");
    assert_eq!(ask_policy(&setup, "1"), "action=OK b\n\n");
    assert_eq!(log_in(&setup, 20), accepted());
}

#[test]
fn a_target_that_flaps_costs_no_answer_and_switches_seldom() {
    let (a, b) = (api("a"), api("b"));
    let setup = start(&[a.url(""), b.url("")], &["breaker: {failures: 1, pause: 400ms, max_pause: 400ms}"]);
    let (began, mut key) = (Instant::now(), 0);
    for is_down in [true, false].into_iter().cycle() {
        a.answer_with(move |request| if is_down { Reply::Reset } else { says("a")(request) });
        let until = Instant::now() + Duration::from_millis(150);
        while Instant::now() < until {
            let reply = look_up(&setup, key);
            assert!(["OK a", "OK b"].contains(&&*reply), "{reply}");
            key += 1;
        }
        if began.elapsed() > Duration::from_secs(4) {
            break;
        }
    }
    // Each time it is out for at least four fifths of the pause.
    let (out, most) = (said(&setup, "target out"), began.elapsed().as_millis() / 320 + 1);
    assert!((1..=most).contains(&(out as u128)), "{out} times, and at most {most}");
}

#[test]
fn no_login_waits_for_the_trial_of_a_target_and_one_that_is_back_is_used() {
    let (hole, b) = (Blackhole::open(), api("b"));
    let lines = ["breaker: {failures: 1, pause: 50ms, max_pause: 50ms}"];
    let setup = start(&[hole.url(""), b.url("")], &lines);
    assert_eq!(log_in(&setup, 0), accepted(), "after a connection that is not made in time");
    let (began, mut number) = (Instant::now(), 1);
    while began.elapsed() < Duration::from_secs(5) {
        let login = Instant::now();
        assert_eq!(log_in(&setup, number), accepted());
        assert!(login.elapsed() < Duration::from_secs(1), "{:?}", login.elapsed());
        number += 1;
        pause(Duration::from_millis(50));
    }
    assert_eq!(b.count(), number);
    let (mut a, b) = (api("a"), api("b"));
    let setup = start(&[a.url(""), b.url("")], &lines);
    a.down();
    assert_eq!(log_in(&setup, 0), accepted());
    a.up();
    let mut number = 1;
    let is_back = wait_until(PATIENCE, || {
        assert_eq!(log_in(&setup, number), accepted());
        number += 1;
        a.count() > 0
    });
    assert!(is_back && setup.broker.logged(&["target back", "name=\"l\""]));
    assert!(a.connections() > 1, "a connection without a word came first: {}", a.connections());
    assert_eq!(a.count() + b.count(), number);
}

#[test]
fn a_map_gets_its_answer_from_the_next_target_if_one_gives_a_server_error() {
    let (a, b, nth) = (api("a"), api("b"), AtomicUsize::new(0));
    a.answer_with(move |request| match nth.fetch_add(1, Ordering::SeqCst) % 2 {
        0 => Reply::status(503),
        _ => says("a")(request),
    });
    let setup = start(&[a.url(""), b.url("")], &["retry: {budget: 100%}"]);
    for key in 0..60 {
        let due = if key % 2 == 0 { "OK b" } else { "OK a" };
        assert_eq!(look_up(&setup, key), due);
    }
    assert_eq!([a.count(), b.count()], [60, 30]);
    for status in [500, 502, 503, 504, 408, 425] {
        a.answer_with(move |_| Reply::status(status));
        let before = [a.count(), b.count()];
        assert_eq!(look_up(&setup, 0), "OK b", "{status}");
        assert_eq!(ask_policy(&setup, "1"), DEFER, "{status}");
        assert_eq!(log_in(&setup, 0), closed(), "{status}");
        a.answer_with(says("a"));
        // An answer in between: nothing takes it out.
        for number in 1..3 {
            assert_eq!(look_up(&setup, number), "OK a");
        }
        assert_eq!(ask_policy(&setup, "1"), "action=OK a\n\n");
        assert_eq!(log_in(&setup, 1), accepted());
        assert_eq!([a.count() - before[0], b.count() - before[1]], [7, 1], "{status}");
    }
    // A status that is an answer to this entry is none of these.
    let setup = Setup::start(|config| {
        let targets = crate::targets::targets(&[a.url("/map"), b.url("/map")]);
        let lines = [&*targets, "method: GET", "value_field: value", "not_found_status: [503]"];
        config.map_of("m", &lines)
    });
    a.answer_with(|_| Reply::status(503));
    let before = b.count();
    (0..9).for_each(|key| assert_eq!(look_up(&setup, key), "NOTFOUND "));
    assert_eq!(b.count(), before);
}

#[test]
fn policy_requests_that_were_sent_go_on_if_the_configuration_says_so() {
    let (a, b) = (api("a"), api("b"));
    let setup = start(&[a.url(""), b.url("")], &["retry: {policy: sent, budget: 100%}", "timeout: 500ms"]);
    for fault in [Reply::Reset, Reply::status(503), Reply::status(429), Reply::stall()] {
        let reply = fault.clone();
        a.answer_with(move |_| reply.clone());
        let due = match fault {
            Reply::Reset => "action=OK b\n\n",
            Reply::Answer { status: 503, .. } => "action=OK b\n\n",
            _ => DEFER,
        };
        assert_eq!(ask_policy(&setup, "1"), due, "{fault:?}");
        if due != DEFER {
            let keys = [&a, &b].map(|api| api.last().header("idempotency-key").map(str::to_owned));
            assert!(keys[0].is_some() && keys[0] == keys[1], "{keys:?}");
        }
        let before = b.count();
        assert_eq!(log_in(&setup, 0), closed(), "a password is sent once: {fault:?}");
        assert_eq!(b.count(), before);
        if matches!(fault, Reply::Answer { status: 429, .. }) {
            pause(Duration::from_millis(1100));
        }
    }
}

#[test]
fn a_target_that_has_too_much_to_do_is_left_alone_as_long_as_it_says() {
    let (a, b) = (api("a"), api("b"));
    a.answer_with(|_| Reply::with_headers(429, &[("Retry-After", "2")], "{}"));
    let setup = start(&[a.url(""), b.url("")], &[]);
    let began = Instant::now();
    assert_eq!(look_up(&setup, 0), "OK b");
    assert_eq!(ask_policy(&setup, "1"), DEFER, "it was seen");
    assert_eq!(log_in(&setup, 0), closed(), "it was seen");
    for number in 1..20 {
        assert_eq!(look_up(&setup, number), "OK b");
        assert_eq!(ask_policy(&setup, &format!("i{number}")), "action=OK b\n\n");
        assert_eq!(log_in(&setup, number), accepted());
    }
    assert!(began.elapsed() < Duration::from_secs(2), "the machine is too slow for this test");
    assert_eq!([a.count(), b.count()], [3, 58]);
    a.answer_with(says("a"));
    assert!(wait_until(PATIENCE, || look_up(&setup, 99) == "OK a"));
    assert!(began.elapsed() >= Duration::from_secs(2), "{:?}", began.elapsed());
    assert_eq!(said(&setup, "target out"), 0);
}

#[test]
fn a_storm_of_failures_multiplies_the_requests_by_less_than_the_budget() {
    const LOOKUPS: usize = 400;
    let [a, b, c] = [(); 3].map(|()| Backend::start(|_| Reply::status(503)));
    let began = Instant::now();
    let setup = start(&[a.url(""), b.url(""), c.url("")], &["retry: {others: 2}"]);
    let mut peer = setup.map();
    for key in 0..LOOKUPS {
        assert_eq!(peer.look_up("m", &format!("k{key}")), TEMP);
    }
    let seconds = began.elapsed().as_secs_f64();
    let seen = a.count() + b.count() + c.count();
    // The budget begins with the retries of one second.
    let most = 1.2 * LOOKUPS as f64 + 3.0 * (seconds + 1.0);
    assert!((LOOKUPS + LOOKUPS / 10..=most as usize).contains(&seen), "{seen} requests, at most {most}");
}

#[test]
fn a_reload_keeps_what_is_known_of_targets_that_stay() {
    let (a, b, c) = (Backend::start(|_| Reply::stall()), api("b"), api("c"));
    let (port, directory) = (Port::reserve(), open_directory());
    let at = directory.path().join("maps.sock");
    let write = |origins: &[String]| {
        let config = Config::new(directory.path()).listen_unix(Kind::Map, "maps", &at);
        let config = config.prometheus(port.number(), &[]);
        entries(config, origins, &["timeout: 400ms", "breaker: {failures: 2, pause: 1h, max_pause: 1h}"])
            .write()
    };
    let broker = crate::support::broker::Broker::start(&write(&[a.url(""), b.url("")]));
    let look_up = |key: usize| Peer::unix(&at).look_up("m", &format!("k{key}"));
    (0..4).for_each(|key| assert_eq!(look_up(key), "OK b"));
    assert_eq!([a.count(), b.count()], [2, 4]);
    // The times it went out, its requests, and all series of it.
    let counted = || {
        let scrape = Scrape::of(port.address());
        let url = a.url("");
        let of = [("name", "m"), ("target", url.as_str())];
        let count = |name, class| scrape.sum(name, &[&of[..], &[class]].concat());
        let series = scrape.text.lines().filter(|line| line.contains("name=\"m\"") && line.contains(&url));
        (
            count("pfxhttp_target_outages_total", ("class", "timeout")),
            count("pfxhttp_target_requests_total", ("code", "timeout")),
            series.count(),
        )
    };
    let before = counted();
    assert_eq!((before.0, before.1), (1.0, 2.0));
    for origins in [[a.url(""), c.url(""), b.url("")], [b.url(""), a.url(""), c.url("")]] {
        write(&origins);
        assert!(broker.reload(), "{}", broker.log());
        let due = if origins[0] == a.url("") { "OK c" } else { "OK b" };
        (4..8).for_each(|key| assert_eq!(look_up(key), due));
        assert_eq!(a.count(), 2, "it is still out");
        assert_eq!(counted(), before);
    }
    // One that went and comes back begins anew.
    write(&[b.url(""), c.url("")]);
    assert!(broker.reload());
    assert_eq!(counted(), (0.0, 0.0, 0));
    write(&[a.url(""), c.url("")]);
    assert!(broker.reload());
    assert_eq!(look_up(9), "OK c");
    assert_eq!(a.count(), 3);
    assert_eq!((counted().0, counted().1), (0.0, 1.0));
}

#[test]
fn a_target_that_no_request_needs_comes_back_by_a_connection() {
    let (a, mut b, mut c) = (api("a"), api("b"), api("c"));
    // Nothing listens at the second target, the third one gives errors; the first one does so until both are out.
    a.answer_with(|_| Reply::status(503));
    c.answer_with(|_| Reply::status(503));
    b.down();
    let origins = [a.url(""), b.url(""), c.url("")];
    let breaker = "breaker: {failures: 1, pause: 50ms, max_pause: 50ms}";
    let setup = start(&origins, &["retry: {others: 2}", breaker]);
    assert_eq!(look_up(&setup, 0), TEMP);
    a.answer_with(says("a"));
    assert!(wait_until(PATIENCE, || look_up(&setup, 0) == "OK a"));
    b.up();
    let (asked, is_back) = (c.count(), |target: &Backend| {
        let target = format!("target=\"{}\"", target.url(""));
        setup
            .broker
            .log()
            .lines()
            .any(|line| line.contains("target back name=\"m\"") && line.contains(&target))
    });
    assert!(wait_until(PATIENCE, || is_back(&b)), "{}", setup.broker.log());
    assert_eq!((b.count(), c.count()), (0, asked), "without a request");
    // A connection says nothing about errors.
    assert!(!is_back(&c));
    c.down();
}

#[test]
fn one_target_that_hangs_costs_no_time_if_the_answer_is_cached() {
    let (a, port) = (api("a"), Port::reserve());
    let setup = Setup::start(|config| {
        let breaker = "breaker: {failures: 3, pause: 300ms, max_pause: 300ms}";
        let config = config.server("response_cache: {enabled: true}").prometheus(port.number(), &[]);
        let map = config.map("m", &a.url("/map"), &["timeout: 800ms", breaker]);
        map.policy("p", &a.url("/policy"), &["timeout: 800ms", breaker])
    });
    let ask = |recipient: &str| setup.policy("p").ask(&[("recipient", recipient)]);
    assert_eq!((look_up(&setup, 0), &*ask("known")), ("OK a".to_owned(), "action=OK a\n\n"));
    a.answer_with(|_| Reply::stall());
    for _ in 0..3 {
        let began = Instant::now();
        assert_eq!((look_up(&setup, 0), &*ask("known")), ("OK a".to_owned(), "action=OK a\n\n"));
        assert!(began.elapsed() >= Duration::from_millis(1600), "asked first: {:?}", began.elapsed());
    }
    let counted = |name| {
        let scrape = Scrape::of(port.address());
        let sum = |metric: &str| scrape.sum(metric, &[("name", name), ("target", &a.url(""))]);
        ["up", "outages_total", "requests_total", "moves_total"]
            .map(|what| sum(&format!("pfxhttp_target_{what}")))
    };
    for name in ["m", "p"] {
        assert!(setup.broker.logged(&["target out", &format!("name=\"{name}\""), "class=\"timeout\""]));
        assert_eq!(counted(name), [0.0, 1.0, 0.0, 0.0]);
    }
    let (asked, began) = (a.count(), Instant::now());
    let mut times = Vec::new();
    while began.elapsed() < Duration::from_secs(3) {
        let lookup = Instant::now();
        assert_eq!(look_up(&setup, 0), "OK a");
        assert_eq!(ask("known"), "action=OK a\n\n");
        times.push(lookup.elapsed());
    }
    times.sort_unstable();
    assert!(times[times.len() / 2] < Duration::from_millis(10), "{:?}", times[times.len() / 2]);
    // One that waits takes 800 ms.
    assert!(times[times.len() - 1] < Duration::from_millis(700), "none waits: {:?}", times.last());
    // A trial takes 800 ms, and the next one follows after about 300 ms; for each of two entries.
    assert!(
        (2..=10).contains(&(a.count() - asked)),
        "{} trials of {} lookups",
        a.count() - asked,
        times.len()
    );
    // Without a cached answer it is asked all the same.
    assert_eq!(look_up(&setup, 1), TEMP);
    assert_eq!(ask("unknown"), DEFER);
    // It comes back by a trial, for which nobody waits.
    a.answer_with(says("b"));
    assert!(wait_until(PATIENCE, || look_up(&setup, 0) == "OK b" && ask("known") == "action=OK b\n\n"));
    for name in ["m", "p"] {
        assert!(setup.broker.logged(&["target back", &format!("name=\"{name}\"")]));
        assert_eq!(counted(name)[0], 1.0);
    }
    assert_eq!(said(&setup, "no target is up"), 0, "for entries with several");
}
