//! Which target is asked after one that failed, and how much time it gets.

use std::time::{Duration, Instant};

use crate::support::backend::{Backend, Reply};
use crate::support::port::Port;
use crate::support::{PATIENCE, pause, wait_until};
use crate::target_outage::{NO_TRIAL, look_up, said};
use crate::targets::{TEMP, accepted, api, ask_policy, log_in, says, start};

/// Two are dead, and the pause of both is over: a lookup that tries one of them goes to the good one, with the only
/// retry that it has.
#[test]
fn a_request_tries_one_target_that_was_out_and_no_second_one() {
    for balance in ["balance: first", "balance: least"] {
        let (a, b, c) =
            (Backend::start(|_| Reply::status(503)), Backend::start(|_| Reply::status(503)), api("c"));
        let breaker = "breaker: {failures: 1, pause: 50ms, max_pause: 50ms}";
        let lines = [balance, breaker, "retry: {others: 1, budget: 100%}"];
        let setup = start(&[a.url(""), b.url(""), c.url("")], &lines);
        // Both are out.
        assert!(wait_until(PATIENCE, || look_up(&setup, 0) == "OK c" && a.count() > 0 && b.count() > 0));
        let tries = a.count() + b.count();
        for key in 1..6 {
            pause(Duration::from_millis(70));
            assert_eq!(look_up(&setup, key), "OK c", "{balance}");
        }
        assert!(a.count() + b.count() > tries, "{balance}: they are tried");
    }
}

/// The first target hangs. The other one was out and is well, which no request has found out.
#[test]
fn a_lookup_leaves_time_for_a_target_whose_pause_is_over() {
    let (a, b) = (Backend::start(|_| Reply::status(503)), Backend::start(|_| Reply::status(503)));
    let lines = ["timeout: 1s", "breaker: {failures: 1, pause: 50ms, max_pause: 50ms}"];
    let setup = start(&[a.url(""), b.url("")], &lines);
    assert_eq!(look_up(&setup, 0), TEMP);
    a.answer_with(says("a"));
    assert!(wait_until(PATIENCE, || look_up(&setup, 0) == "OK a"));
    b.answer_with(says("b"));
    a.answer_with(|_| Reply::stall());
    pause(Duration::from_millis(70));
    assert_eq!(look_up(&setup, 1), "OK b");
}

/// Nothing was sent there, and no time was lost.
#[test]
fn connections_that_fail_at_once_cost_a_login_nothing() {
    let (a, b, c) = (api("a"), api("b"), api("c"));
    // They do not speak TLS.
    let broken = [&a, &b].map(|api| api.url("").replace("http://", "https://"));
    let [first, second] = broken;
    let setup = start(&[first, second, c.url("")], &[]);
    for number in 0..3 {
        assert_eq!(log_in(&setup, number), accepted());
    }
    assert_eq!(c.count(), 3);
}

/// Health checks with a wrong path say nothing: the breaker finds the target that hangs.
#[test]
fn if_all_health_checks_fail_the_breakers_decide() {
    let (a, b) = (api("a"), api("b"));
    let not_found = |name: &'static str| {
        move |request: &crate::support::backend::Request| match &*request.path {
            "/wrong" => Reply::status(404),
            _ => says(name)(request),
        }
    };
    a.answer_with(not_found("a"));
    b.answer_with(not_found("b"));
    let health = "health: {path: /wrong, every: 300ms, timeout: 300ms}";
    let setup = start(&[a.url(""), b.url("")], &[health, NO_TRIAL, "timeout: 400ms"]);
    assert!(wait_until(PATIENCE, || said(&setup, "target out") == 6), "{}", setup.broker.log());
    assert_eq!(ask_policy(&setup, "0"), "action=OK a\n\n");
    a.answer_with(|request| if request.path == "/wrong" { Reply::status(404) } else { Reply::stall() });
    (0..5).for_each(|number| drop(ask_policy(&setup, &format!("hangs {number}"))));
    let began = Instant::now();
    (0..5).for_each(|number| assert_eq!(ask_policy(&setup, &format!("b {number}")), "action=OK b\n\n"));
    assert!(began.elapsed() < Duration::from_secs(2), "none waits for the first one");
}

#[test]
fn a_try_that_nothing_follows_gets_all_of_the_time() {
    let (a, port) = (api("a"), Port::reserve());
    let nobody = format!("http://127.0.0.1:{}", port.number());
    let setup = start(&[a.url(""), nobody], &["timeout: 1s", "retry: {others: 0}"]);
    a.answer_with(|request| {
        pause(Duration::from_millis(600));
        says("a")(request)
    });
    assert_eq!(look_up(&setup, 0), "OK a");
}
