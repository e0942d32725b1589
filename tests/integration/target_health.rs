//! `health`: checks of the targets besides the requests. Every API keeps what it saw, checks and requests.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustls::ALL_VERSIONS;

use crate::status_numbers::{entry, status};
use crate::support::backend::{Backend, Reply, Request};
use crate::support::certificates::{Authority, Flaw, Identity};
use crate::support::check::online;
use crate::support::command_line::{run, text};
use crate::support::config::{Config, Kind};
use crate::support::metrics::Scrape;
use crate::support::peer::Peer;
use crate::support::port::Port;
use crate::support::setup::Setup;
use crate::support::site::open_directory;
use crate::support::tinyproxy::Tinyproxy;
use crate::support::{PATIENCE, pause, wait_until};
use crate::target_outage::{is_said, said};
use crate::targets::{TEMP, accepted, ask_policy, entries, log_in, says, start, targets};

/// Checks that come soon.
const HEALTH: &str = "health: {path: /health, every: 400ms, timeout: 400ms}";

fn is_check(request: &Request) -> bool {
    request.path == "/health"
}

/// From now on `api` answers checks by `health`, and requests by its `name`.
fn answer(api: &Backend, name: &'static str, health: Reply) {
    api.answer_with(move |request| match &*request.path {
        "/health" => health.clone(),
        _ => says(name)(request),
    });
}

fn good() -> Reply {
    Reply::json("{}")
}

fn api(name: &'static str) -> Backend {
    let api = Backend::start(|_| good());
    answer(&api, name, good());
    api
}

fn checks(api: &Backend) -> usize {
    api.requests().iter().filter(|request| is_check(request)).count()
}

/// How many requests there were besides the checks.
fn requests(api: &Backend) -> usize {
    let (all, checks) = (api.count(), checks(api));
    all.saturating_sub(checks)
}

/// Waits for this many more checks.
fn wait_for_checks(api: &Backend, more: usize) {
    let due = checks(api) + more;
    assert!(wait_until(PATIENCE, || checks(api) >= due), "{} of {due} checks", checks(api));
}

/// Adds a map of these two targets.
fn map_of_two(config: Config, a: &Backend, b: &Backend, more: &[&str]) -> Config {
    let targets = targets(&[a.url("/map"), b.url("/map")]);
    let lines = [&targets, r#"payload: '{"key": "{{ .Key }}"}'"#, "value_field: value"];
    config.map_of("m", &[&lines, more].concat())
}

fn two(a: &Backend, b: &Backend, more: &[&str]) -> Setup {
    Setup::start(|config| map_of_two(config, a, b, more))
}

fn look_up(setup: &Setup, key: &str) -> String {
    setup.map().look_up("m", key)
}

#[test]
fn checks_that_fail_take_a_target_out_and_good_ones_bring_it_back() {
    let (mut a, b, port) = (api("a"), api("b"), Port::reserve());
    let setup = Setup::start(|config| map_of_two(config.prometheus(port.number(), &[]), &a, &b, &[HEALTH]));
    let url = a.url("");
    let counted = |name: &str, labels: &[(&str, &str)]| {
        let labels = [&[("name", "m"), ("target", url.as_str())], labels].concat();
        Scrape::of(port.address()).sum(name, &labels)
    };
    let is_out = || entry(&status(setup.broker.config()), "map", "m")["targets"][&url] == "out";
    let long = "x".repeat(2 * 1024 * 1024);
    let faults = [
        (Reply::status(503), "unexpected status code 503"),
        (Reply::status(404), "unexpected status code 404"),
        (Reply::status(204), "unexpected status code 204"),
        (Reply::stall(), "no complete answer in time"),
        (Reply::Reset, "the connection broke"),
        (Reply::json(&long), "the answer is too long"),
    ];
    wait_for_checks(&a, 2);
    assert!(!is_out());
    for (times, (fault, reason)) in faults.into_iter().enumerate() {
        answer(&a, "a", fault);
        assert!(wait_until(PATIENCE, is_out), "{reason}");
        let reason = format!("reason=\"{reason}");
        let origin = format!("target=\"{}\"", a.url(""));
        assert!(setup.broker.logged(&[
            "WARN",
            "target out",
            "name=\"m\"",
            &origin,
            "class=\"health\"",
            &reason
        ]));
        assert_eq!(counted("pfxhttp_target_up", &[]), 0.0);
        assert_eq!(counted("pfxhttp_target_outages_total", &[("class", "health")]), (times + 1) as f64);
        let before = requests(&a);
        (0..9).for_each(|key| assert_eq!(look_up(&setup, &key.to_string()), "OK b"));
        assert_eq!(requests(&a), before, "no lookup finds it out");
        a.release();
        answer(&a, "a", good());
        assert!(wait_until(PATIENCE, || !is_out()));
        assert!(setup.broker.logged(&["INFO", "target back", "name=\"m\"", &origin, "out_s="]));
        assert_eq!(look_up(&setup, "k"), "OK a");
        assert!(is_said(&setup, (times + 1, times + 1)), "{}", setup.broker.log());
    }
    assert_eq!(counted("pfxhttp_target_requests_total", &[]), requests(&a) as f64, "without the checks");
    a.down();
    assert!(wait_until(PATIENCE, is_out));
    let seen = status(setup.broker.config());
    let seen = &entry(&seen, "map", "m")["health_checks"];
    assert_eq!((&seen[a.url("")], &seen[b.url("")]), (&"failing".into(), &"good".into()), "{seen}");
    let lines = text(&run(setup.broker.config(), &["status"], ""));
    assert!(lines.contains(&format!(" health_checks.{}=failing ", a.url(""))), "{lines}");
    assert_eq!(look_up(&setup, "k"), "OK b");
    a.up();
    assert!(wait_until(PATIENCE, || look_up(&setup, "k") == "OK a"));
    assert!(!setup.broker.log().contains("failed"), "{}", setup.broker.log());
}

#[test]
fn one_check_decides_nothing_and_any_status_of_the_list_is_good() {
    let (a, b) = (api("a"), api("b"));
    let health =
        "health: {path: /health, every: 200ms, timeout: 200ms, fall: 3, rise: 3, status: [200, 401]}";
    let nth = Mutex::new(0);
    a.answer_with(move |request| {
        if !is_check(request) {
            return says("a")(request);
        }
        let mut nth = nth.lock().expect("no panic");
        *nth += 1;
        // Two of three fail.
        Reply::status(if *nth % 3 == 0 { 401 } else { 500 })
    });
    let setup = two(&a, &b, &[health]);
    wait_for_checks(&a, 12);
    assert_eq!(look_up(&setup, "k"), "OK a");
    assert_eq!(said(&setup, "target out"), 0);
}

#[test]
fn a_check_has_the_headers_of_its_entry_and_a_connection_of_its_own() {
    let (a, b) = (api("a"), api("b"));
    let setup = two(
        &a,
        &b,
        &[
            "health: {path: '/health?depth=1', every: 200ms, timeout: 200ms}",
            "custom_headers: ['X-Key: secret', 'Content-Type: application/json']",
            "http_auth_basic: 'user:password'",
        ],
    );
    assert_eq!(look_up(&setup, "k"), "OK a");
    let of_checks = || -> Vec<_> {
        a.requests().into_iter().filter(|request| request.path == "/health?depth=1").collect()
    };
    assert!(wait_until(PATIENCE, || of_checks().len() >= 4));
    for check in of_checks() {
        assert_eq!((&*check.method, check.body.len(), check.nth), ("GET", 0, 1), "{check:?}");
        let origin = a.url("");
        for (name, due) in [
            ("host", origin.strip_prefix("http://")),
            ("x-key", Some("secret")),
            ("authorization", Some("Basic dXNlcjpwYXNzd29yZA==")),
            ("connection", Some("close")),
            ("content-type", None),
            ("content-length", None),
            ("x-request-id", None),
            ("idempotency-key", None),
        ] {
            assert_eq!(check.header(name), due, "{name}");
        }
    }
    let shown = text(&run(setup.broker.config(), &["config", "dump"], ""));
    assert!(shown.contains("/health?…") && !shown.contains("depth"), "{shown}");
}

#[test]
fn a_check_connects_as_the_requests_of_its_entry_do() {
    let (directory, authority, proxy) = (open_directory(), Authority::new("good"), Tinyproxy::start());
    let answer = |request: &_| if is_check(request) { good() } else { says("a")(request) };
    let a = Backend::start_tls(authority.server(Flaw::None).serve(ALL_VERSIONS, Some(&authority)), answer);
    // Nobody trusts this certificate.
    let b = Backend::start_tls(Identity::self_signed().serve(ALL_VERSIONS, None), answer);
    let (cert, key) = authority.client().write(directory.path(), "ours");
    let root = authority.write(directory.path(), "ca.crt");
    let [root, cert, key] = [root, cert, key].map(|path| path.display().to_string());
    let tls = format!("tls: {{root_ca: \"{root}\", cert: \"{cert}\", key: \"{key}\"}}");
    let setup = two(&a, &b, &[HEALTH, &tls, &format!("proxy: \"{}\"", proxy.url())]);
    assert!(wait_until(PATIENCE, || said(&setup, "target out") == 1));
    let origin = format!("target=\"{}\"", b.url(""));
    assert!(setup.broker.logged(&[
        "target out",
        &origin,
        "class=\"health\"",
        "reason=\"the TLS handshake failed"
    ]));
    wait_for_checks(&a, 2);
    assert!(a.requests().iter().all(|request| request.certified));
    assert!(proxy.log().contains("CONNECT"), "{}", proxy.log());
    assert_eq!(b.count(), 0);
}

#[test]
fn checks_need_no_breaker() {
    let (mut a, b) = (api("a"), api("b"));
    let setup = two(&a, &b, &[HEALTH, "breaker: false"]);
    answer(&a, "a", Reply::status(500));
    assert!(wait_until(PATIENCE, || look_up(&setup, "k") == "OK b"));
    let before = requests(&a);
    (0..9).for_each(|key| assert_eq!(look_up(&setup, &key.to_string()), "OK b"));
    assert_eq!(requests(&a), before);
    a.down();
    a.up();
    answer(&a, "a", good());
    assert!(wait_until(PATIENCE, || look_up(&setup, "k") == "OK a"));
    assert!(is_said(&setup, (1, 1)), "{}", setup.broker.log());
}

#[test]
fn no_lookup_tries_a_target_whose_checks_fail() {
    let (a, b) = (api("a"), api("b"));
    let setup = two(&a, &b, &[HEALTH, "breaker: {failures: 1, pause: 10ms, max_pause: 10ms}"]);
    // The breaker takes it out first, and would try it again soon.
    a.answer_with(|_| Reply::status(503));
    assert_eq!(look_up(&setup, "k"), "OK b");
    wait_for_checks(&a, 3);
    let (before, began) = (requests(&a), Instant::now());
    while began.elapsed() < Duration::from_millis(500) {
        assert_eq!(look_up(&setup, "k"), "OK b");
    }
    assert_eq!(requests(&a), before);
    assert!(is_said(&setup, (1, 0)), "{}", setup.broker.log());
    answer(&a, "a", good());
    assert!(wait_until(PATIENCE, || look_up(&setup, "k") == "OK a"));
    assert!(is_said(&setup, (1, 1)), "{}", setup.broker.log());
}

#[test]
fn the_breaker_works_as_long_as_the_checks_are_good() {
    let (a, b) = (api("a"), api("b"));
    let setup = two(&a, &b, &[HEALTH, "breaker: {pause: 1s, max_pause: 1s}", "retry: {budget: 100%}"]);
    a.answer_with(|request| if is_check(request) { good() } else { Reply::status(503) });
    (0..9).for_each(|key| assert_eq!(look_up(&setup, &key.to_string()), "OK b"));
    assert_eq!(requests(&a), 5);
    let out = ["target out", "name=\"m\"", "class=\"status\"", "reason=\"unexpected status code 503\""];
    assert!(setup.broker.logged(&out));
    wait_for_checks(&a, 3);
    answer(&a, "a", good());
    assert!(wait_until(PATIENCE, || look_up(&setup, "k") == "OK a"), "a lookup tries it");
    assert!(is_said(&setup, (1, 1)), "{}", setup.broker.log());
}

#[test]
fn if_all_checks_fail_all_targets_are_asked() {
    let (a, b) = (api("a"), api("b"));
    let setup = start(&[a.url(""), b.url("")], &[HEALTH]);
    for (api, name) in [(&a, "a"), (&b, "b")] {
        answer(api, name, Reply::status(500));
    }
    assert!(wait_until(PATIENCE, || said(&setup, "target out") == 6), "{}", setup.broker.log());
    for number in 0..5 {
        assert_eq!(look_up(&setup, &number.to_string()), "OK a");
        assert_eq!(ask_policy(&setup, &number.to_string()), "action=OK a\n\n");
        assert_eq!(log_in(&setup, number), accepted());
    }
    assert_eq!((requests(&a), requests(&b)), (15, 0));
    assert!(
        wait_until(PATIENCE, || said(&setup, "no target is up, all are asked") == 3),
        "once a minute for each entry"
    );
    answer(&b, "b", good());
    assert!(wait_until(PATIENCE, || said(&setup, "target back") == 3));
    assert_eq!((look_up(&setup, "k"), log_in(&setup, 9)), ("OK b".to_owned(), accepted()));
    assert!(
        wait_until(PATIENCE, || said(&setup, "target back") == 3),
        "an answer to a request does not bring the other one back"
    );
}

#[test]
fn a_login_tries_a_target_after_a_good_check() {
    let (mut a, b) = (api("a"), api("b"));
    let setup = start(&[a.url(""), b.url("")], &[HEALTH, "breaker: {pause: 10ms, max_pause: 10ms}"]);
    a.down();
    assert_eq!(log_in(&setup, 0), accepted());
    a.up();
    let mut number = 1;
    let is_back = wait_until(PATIENCE, || {
        assert_eq!(log_in(&setup, number), accepted());
        number += 1;
        requests(&a) > 0
    });
    assert!(is_back);
    assert_eq!(requests(&a) + requests(&b), number, "each password is seen once");
    let connections: Vec<_> = a.requests().iter().map(|request| request.connection).collect();
    let silent = (1..=a.connections()).filter(|number| !connections.contains(number)).count();
    // The backend connects to itself when it goes down.
    assert!(silent <= 1, "{silent} connections without a word");
}

#[test]
fn one_target_whose_checks_fail_gives_cached_answers_at_once() {
    let a = api("a");
    let setup = Setup::start(|config| {
        let lines = ["timeout: 2s", HEALTH, "breaker: {pause: 10ms, max_pause: 10ms}"];
        config.server("response_cache: {enabled: true}").map("m", &a.url("/map"), &lines)
    });
    assert_eq!(look_up(&setup, "known"), "OK a");
    a.answer_with(|_| Reply::stall());
    assert!(wait_until(PATIENCE, || said(&setup, "target out") == 1));
    let lines = text(&run(setup.broker.config(), &["status"], ""));
    assert!(lines.contains(&format!(" health_checks.{}=failing ", a.url(""))), "{lines}");
    let began = Instant::now();
    (0..50).for_each(|_| assert_eq!(look_up(&setup, "known"), "OK a"));
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    assert_eq!(requests(&a), 1, "nor is it tried in the background");
    // Without a cached answer it is asked all the same.
    assert_eq!(look_up(&setup, "unknown"), TEMP);
    assert_eq!(requests(&a), 2);
    a.release();
    answer(&a, "b", good());
    assert!(wait_until(PATIENCE, || look_up(&setup, "known") == "OK b"));
    assert!(is_said(&setup, (1, 1)), "{}", setup.broker.log());
}

#[test]
fn a_reload_keeps_the_state_and_does_not_ask_more_often() {
    let (a, b, c) = (api("a"), api("b"), api("c"));
    let directory = open_directory();
    let at = directory.path().join("maps.sock");
    let write = |origins: &[&Backend], more: &[&str]| {
        let origins: Vec<_> = origins.iter().map(|api| api.url("")).collect();
        let config = Config::new(directory.path()).listen_unix(Kind::Map, "maps", &at);
        entries(config, &origins, more).write()
    };
    let slow = "health: {path: /health, every: 500ms, timeout: 400ms}";
    let broker = crate::support::broker::Broker::start(&write(&[&a, &b], &[slow]));
    let look_up = |key: &str| Peer::unix(&at).look_up("m", key);
    answer(&a, "a", Reply::status(500));
    assert!(wait_until(PATIENCE, || broker.log().matches("target out").count() == 3));
    // Each entry changes, and not its targets.
    let (before, began) = (checks(&a), Instant::now());
    for number in 0..20 {
        write(&[&a, &b], &[slow, &format!("timeout: {}ms", 2000 + number)]);
        assert!(broker.reload(), "{}", broker.log());
        assert_eq!(look_up(&number.to_string()), "OK b", "it is still out");
        pause(Duration::from_millis(50));
    }
    assert_eq!(requests(&a), 0);
    // Of three entries, each after at least four fifths of the interval.
    let most = 3 * (began.elapsed().as_millis() / 400 + 1);
    let seen = checks(&a) - before;
    assert!((3..=most as usize).contains(&seen), "{seen} checks, and at most {most}");
    // It comes back, although the configuration in which it went out is gone.
    answer(&a, "a", good());
    assert!(wait_until(PATIENCE, || look_up("k") == "OK a"));
    // The checks of a target that is gone end, and so do all without `health`.
    write(&[&b, &c], &[slow]);
    assert!(broker.reload());
    let before = checks(&a);
    wait_for_checks(&c, 6);
    assert_eq!(checks(&a), before);
    write(&[&b, &c], &[]);
    assert!(broker.reload());
    let before = [checks(&b), checks(&c)];
    pause(Duration::from_millis(1000));
    assert_eq!([checks(&b), checks(&c)], before);
}

#[test]
fn entries_do_not_check_at_the_same_moment() {
    let first: Arc<Mutex<HashMap<String, Instant>>> = Arc::default();
    let seen = Arc::clone(&first);
    let a = Backend::start(move |request| {
        seen.lock().expect("no panic").entry(request.path.clone()).or_insert_with(Instant::now);
        good()
    });
    let b = api("b");
    let _setup = Setup::start(|config| {
        (0..8).fold(config, |config, number| {
            let health = format!("health: {{path: /h{number}, every: 2s}}");
            let targets = targets(&[a.url("/map"), b.url("/map")]);
            config.map_of(&format!("m{number}"), &[&targets, "method: GET", "value_field: value", &health])
        })
    });
    assert!(wait_until(PATIENCE, || first.lock().expect("no panic").len() == 8));
    let times: Vec<_> = first.lock().expect("no panic").values().copied().collect();
    let (earliest, latest) = (times.iter().min().expect("some"), times.iter().max().expect("some"));
    assert!(*latest - *earliest > Duration::from_millis(200), "{times:?}");
}

#[test]
fn a_check_does_not_hold_up_the_end_of_the_broker() {
    let (a, b) = (Backend::start(|_| Reply::stall()), api("b"));
    let mut setup = two(&a, &b, &["health: {path: /health, every: 3s, timeout: 3s}"]);
    assert!(a.wait_for(1, PATIENCE));
    let began = Instant::now();
    setup.broker.terminate();
    let status = setup.broker.wait(PATIENCE).expect("it ends");
    assert!(status.success() && began.elapsed() < Duration::from_secs(2), "{status} {:?}", began.elapsed());
}

#[test]
fn check_online_tries_the_health_check_of_each_target() {
    let (a, b) = (api("a"), api("b"));
    answer(&b, "b", Reply::status(404));
    let directory = open_directory();
    let health = "health: {path: '/health', status: 200}";
    let of = |health: &str| entries(Config::new(directory.path()), &[a.url(""), b.url("")], &[health]);
    let checked = online(&of(health));
    let users = "(used by: map m, policy p, login l)";
    assert_eq!(checked.code, Some(69), "{}", checked.text());
    assert!(
        checked.good.contains(&format!("{}: health check /health: 200 {users}", a.url(""))),
        "{}",
        checked.text()
    );
    let bad = format!("{}: health check /health: unexpected status code 404 {users}", b.url(""));
    assert_eq!(checked.bad[0], bad, "{}", checked.text());
    assert_eq!((checks(&a), checks(&b)), (1, 1), "entries with the same headers share a check");
    let checked = online(&of("health: {path: '/health', status: [200, 404]}"));
    assert_eq!(checked.code, Some(0), "{}", checked.text());
    let last = checked.good.last().expect("a line");
    assert!(last.ends_with("reached: origins: 2; providers: 0; health checks: 2"), "{last}");
}
