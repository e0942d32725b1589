//! Denials are delayed, longer and longer for an address that guesses. No other login waits.

use std::time::{Duration, Instant};

use crate::support::alone;
use crate::support::backend::{Backend, Reply};
use crate::support::peer::Peer;
use crate::support::sasl::{Heard, Sasl};
use crate::support::setup::Setup;
use crate::support::site::Way;

fn answer(header: (&str, &str)) -> Reply {
    Reply::with_header(header.0, header.1, "")
}

fn api() -> Backend {
    Backend::start(|request| match request.text("password").as_str() {
        "secret" => answer(("Auth-Status", "OK")),
        _ => answer(("Auth-Status", "no")),
    })
}

/// Logs in from `remote`; returns how long the answer took.
fn log_in(sasl: &mut Sasl, id: u32, remote: &str, password: &str) -> Duration {
    use base64::Engine as _;
    let response = base64::engine::general_purpose::STANDARD.encode(format!("\0u\0{password}"));
    let started = Instant::now();
    sasl.say(format!("AUTH\t{id}\tPLAIN\tservice=smtp\tlip=127.0.0.1\trip={remote}\tresp={response}"));
    let line = sasl.line();
    assert!(line.starts_with(if password == "secret" { "OK\t" } else { "FAIL\t" }), "{line}");
    started.elapsed()
}

#[test]
fn denials_are_delayed_and_successes_are_not() {
    let _alone = alone();
    let api = api();
    let target = format!("target: \"{}\"", api.url("/"));
    let setup =
        Setup::start(|config| config.login_of("users", &[&target, "penalty_exempt: [198.51.100.0/24]"]));
    let seconds = |took: Duration| took.as_secs_f64().round();
    let mut sasl = setup.login(Way::Unix, "users");
    assert!(log_in(&mut sasl, 1, "192.0.2.7", "secret") < Duration::from_millis(500));
    assert_eq!(seconds(log_in(&mut sasl, 2, "192.0.2.7", "wrong")), 2.0, "failure_delay");
    assert_eq!(seconds(log_in(&mut sasl, 3, "192.0.2.7", "wrong")), 4.0, "the delay grows");
    assert!(
        log_in(&mut sasl, 4, "192.0.2.7", "secret") < Duration::from_millis(500),
        "a success is not delayed"
    );
    assert_eq!(seconds(log_in(&mut sasl, 5, "192.0.2.7", "wrong")), 2.0, "a success resets the delay");
    for remote in ["127.0.0.1", "198.51.100.9"] {
        assert_eq!(seconds(log_in(&mut sasl, 6, remote, "wrong")), 2.0, "{remote}");
        assert_eq!(seconds(log_in(&mut sasl, 7, remote, "wrong")), 2.0, "{remote} is not counted");
    }
}

#[test]
fn a_delayed_denial_holds_no_worker() {
    let _alone = alone();
    let api = api();
    let target = format!("target: \"{}\"", api.url("/"));
    let setup = Setup::start(|config| {
        config
            .server("worker_pool: {max_workers: 1, max_queue: 1}")
            .login_of("users", &[&target, "failure_delay: 3s", "sasl_attempts: 0"])
    });
    let mut guessing = setup.login(Way::Unix, "users");
    let started = Instant::now();
    for id in 1..=16 {
        guessing.plain(id, "u", "wrong");
        assert!(api.wait_for(id as usize, crate::support::PATIENCE));
    }
    for way in Way::ALL {
        let mut sasl = setup.login(way, "users");
        sasl.plain(1, "u", "secret");
        assert_eq!(sasl.line(), "OK\t1\tuser=u", "{way:?}");
    }
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
}

#[test]
fn a_full_queue_fails_at_once() {
    let api = Backend::start(|_| Reply::stall());
    let setup = Setup::start(|config| {
        config.server("worker_pool: {max_workers: 1, max_queue: 1}").login("users", &api.url("/"), &[])
    });
    // A client of minor version 1 or later does not lose its connection.
    let mut sasl = Sasl::begin_as(Peer::unix(&setup.socket("users")), 2);
    sasl.plain(1, "works", "secret");
    assert!(api.wait_for(1, crate::support::PATIENCE));
    let started = Instant::now();
    // One of them waits in the queue; the other one finds it full.
    sasl.plain(2, "u", "secret");
    sasl.plain(3, "u", "secret");
    let line = sasl.line();
    let failed = ["FAIL\t2", "FAIL\t3"].iter().any(|begin| line.starts_with(begin));
    assert!(failed && line.ends_with("\tcode=temp_fail\ttemp"), "{line}");
    assert!(started.elapsed() < Duration::from_secs(1));
    assert_eq!(sasl.next(Duration::from_millis(200)), Heard::Nothing, "the first one waits");
}

#[test]
fn a_slow_denial_is_sent_within_the_budget() {
    let slow = Backend::start(|_| {
        crate::support::pause(Duration::from_secs(5));
        answer(("Auth-Status", "no"))
    });
    let target = format!("target: \"{}\"", slow.url("/"));
    let setup = Setup::start(|config| config.login_of("users", &[&target, "failure_delay: 6s"]));
    let mut sasl = setup.login(Way::Unix, "users");
    let took = log_in(&mut sasl, 1, "192.0.2.7", "wrong");
    assert!(took > Duration::from_millis(5900) && took < Duration::from_secs(7), "{took:?}");
}

#[test]
fn a_delayed_denial_delays_no_other_login() {
    let api = api();
    let target = format!("target: \"{}\"", api.url("/"));
    let setup =
        Setup::start(|config| config.login_of("users", &[&target, "failure_delay: 5s", "sasl_attempts: 0"]));
    let mut sasl = Sasl::begin_as(Peer::unix(&setup.socket("users")), 2);
    for id in 1..=64 {
        sasl.plain(id, "u", "wrong");
    }
    let started = Instant::now();
    sasl.plain(65, "u", "secret");
    assert_eq!(sasl.line(), "OK\t65\tuser=u");
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    // The number of delayed denials is limited: further ones fail temporarily at once.
    for id in 66..=400 {
        sasl.plain(id, "u", "wrong");
    }
    let line = sasl.line();
    assert!(line.ends_with("\tcode=temp_fail\ttemp"), "{line}");
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
}
