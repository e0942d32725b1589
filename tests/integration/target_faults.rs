//! Faults of targets that last, or that come again and again: how much they cost, and for how long. Every API keeps
//! what it saw.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{SHA256, digest};
use rustls::version::TLS12;

use crate::support::backend::{Backend, Reply};
use crate::support::blackhole::Blackhole;
use crate::support::certificates::{Authority, Flaw};
use crate::support::metrics::Scrape;
use crate::support::peer::Peer;
use crate::support::port::Port;
use crate::support::setup::Setup;
use crate::support::site::open_directory;
use crate::support::{PATIENCE, pause, wait_until};
use crate::target_outage::{NO_TRIAL, look_up, said};
use crate::targets::{DEFER, TEMP, accepted, api, ask_policy, closed, entries, log_in, says, start};

/// A busy machine may be late by this.
const SLACK: Duration = Duration::from_millis(700);

#[test]
fn a_target_that_goes_and_comes_each_second_costs_nothing_and_is_left_at_most_once_each_time() {
    const SECONDS: usize = 10;
    let (mut a, b, port) = (api("a"), api("b"), Port::reserve());
    let setup =
        Setup::start(|config| entries(config, &[a.url(""), b.url("")], &[]).prometheus(port.number(), &[]));
    let mut number = 0;
    for second in 0..SECONDS {
        if second % 2 == 0 {
            a.down()
        } else {
            a.up()
        }
        let until = Instant::now() + Duration::from_secs(1);
        while Instant::now() < until {
            let reply = look_up(&setup, number);
            assert!(["OK a", "OK b"].contains(&&*reply), "{reply}");
            let reply = ask_policy(&setup, &number.to_string());
            assert!(["action=OK a\n\n", "action=OK b\n\n"].contains(&&*reply), "{reply}");
            assert_eq!(log_in(&setup, number), accepted());
            number += 1;
            pause(Duration::from_millis(5));
        }
    }
    // One of each, and each was seen once.
    assert_eq!(a.count() + b.count(), 3 * number);
    let scrape = Scrape::of(port.address());
    for name in ["m", "p", "l"] {
        let count = |message: &str| said(&setup, &format!("{message} name=\"{name}\""));
        let (out, back) = (count("target out"), count("target back"));
        assert!((1..=SECONDS / 2).contains(&out), "{name} is left {out} times");
        assert!(back <= out, "{name}: {back} times back");
        // A refusal takes it out, and a trial follows after four fifths of the pause at the earliest.
        let unsent = scrape.sum("pfxhttp_target_moves_total", &[("name", name), ("result", "unsent")]);
        let most = out + SECONDS * 5 / 4;
        assert!((out..=most).contains(&(unsent as usize)), "{name}: refused {unsent} times, at most {most}");
    }
}

#[test]
fn a_storm_by_many_at_once_multiplies_the_requests_by_less_than_the_budget() {
    const CLIENTS: usize = 8;
    const LASTS: Duration = Duration::from_secs(2);
    for fault in [Reply::status(503), Reply::Reset, Reply::stall()] {
        let apis = [(); 3].map(|()| {
            let reply = fault.clone();
            Backend::start(move |_| reply.clone())
        });
        let origins = apis.each_ref().map(|api| api.url(""));
        let (asked, began) = (AtomicUsize::new(0), Instant::now());
        let setup = start(&origins, &["retry: {others: 2}", "timeout: 300ms"]);
        std::thread::scope(|scope| {
            for _ in 0..CLIENTS {
                scope.spawn(|| {
                    let mut peer = setup.map();
                    while began.elapsed() < LASTS {
                        let key = asked.fetch_add(1, Ordering::SeqCst);
                        assert_eq!(peer.look_up("m", &format!("k{key}")), TEMP, "{fault:?}");
                    }
                });
            }
        });
        let (asked, seconds) = (asked.into_inner(), began.elapsed().as_secs_f64());
        let seen: usize = apis.iter().map(Backend::count).sum();
        // The budget begins with the retries of one second.
        let most = 1.2 * asked as f64 + 3.0 * (seconds + 1.0);
        println!("{fault:?}: {asked} lookups, {seen} requests, at most {most:.0}");
        assert!((asked + asked / 10..=most as usize).contains(&seen), "{fault:?}: {asked}, {seen}, {most}");
    }
}

/// With the budget by default. A target that fails for every other request, at random, is out from time to time.
#[test]
fn if_half_of_the_answers_are_errors_a_lookup_fails_only_if_the_budget_is_used_up() {
    const CLIENTS: usize = 4;
    const EACH: usize = 250;
    let (a, b, port, nth) = (api("a"), api("b"), Port::reserve(), AtomicUsize::new(0));
    a.answer_with(move |request| {
        // Half of the numbers, in no order: five in a row come, too.
        let digest = digest(&SHA256, &nth.fetch_add(1, Ordering::SeqCst).to_be_bytes());
        if digest.as_ref()[0].is_multiple_of(2) { says("a")(request) } else { Reply::status(503) }
    });
    let setup =
        Setup::start(|config| entries(config, &[a.url(""), b.url("")], &[]).prometheus(port.number(), &[]));
    let failed = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (mut peer, failed) = (setup.map(), &failed);
            scope.spawn(move || {
                for number in 0..EACH {
                    match &*peer.look_up("m", &format!("k{client}x{number}")) {
                        "OK a" | "OK b" => {}
                        TEMP => drop(failed.fetch_add(1, Ordering::SeqCst)),
                        reply => panic!("{reply}"),
                    }
                    pause(Duration::from_millis(10));
                }
            });
        }
    });
    let scrape = Scrape::of(port.address());
    let moves =
        |result| scrape.sum("pfxhttp_target_moves_total", &[("name", "m"), ("result", result)]) as usize;
    let (failed, asked) = (failed.into_inner(), CLIENTS * EACH);
    let [retried, denied] = ["retried", "denied"].map(moves);
    println!(
        "{failed} of {asked} lookups failed; {:?} requests, {retried} of them retries",
        [a.count(), b.count()]
    );
    assert_eq!(failed, denied);
    assert_eq!(a.count() + b.count(), asked + retried);
    assert!(said(&setup, "target out") > 0);
}

/// A map's, a policy's or a login's time with all faults that take time; and the pause after a 429.
#[test]
fn no_request_takes_longer_than_its_time_and_no_pause_longer_than_thirty_seconds() {
    const LONGEST: Duration = Duration::from_secs(30);
    let hole = Blackhole::open();
    let hanging = [(); 4].map(|()| Backend::start(|_| Reply::stall()));
    let origins: Vec<_> =
        std::iter::once(hole.url("")).chain(hanging.iter().map(|api| api.url(""))).collect();
    let setup = start(&origins, &["retry: {others: 7, budget: 100%, policy: sent}"]);
    let (a, b) = (Backend::start(|_| Reply::with_headers(429, &[("Retry-After", "3600")], "{}")), api("b"));
    let paused = start(&[a.url(""), b.url("")], &[]);
    let assert_takes = |what: &str, due: Duration, request: &dyn Fn()| {
        let began = Instant::now();
        request();
        let took = began.elapsed();
        println!("{what}: {took:?}");
        assert!((due - SLACK..=due + SLACK).contains(&took), "{what}: {took:?}");
    };
    let patient = |mut peer: Peer| {
        peer.set_patience(2 * LONGEST);
        peer
    };
    let map = || assert_eq!(patient(setup.map()).look_up("m", "k"), TEMP);
    let policy = || assert_eq!(patient(setup.policy("p")).ask(&[("instance", "1")]), DEFER);
    let login = || assert_eq!(log_in(&setup, 1), closed());
    let is_paused = || {
        for key in 0.. {
            assert_eq!(look_up(&paused, key), "OK b");
            if a.count() > 1 {
                break;
            }
            pause(Duration::from_millis(50));
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(|| assert_takes("map", LONGEST, &map));
        scope.spawn(|| assert_takes("policy", LONGEST, &policy));
        scope.spawn(|| assert_takes("login", Duration::from_secs(8), &login));
        scope.spawn(|| assert_takes("pause after a 429", LONGEST, &is_paused));
    });
    // The map asks all that hang, the others one.
    assert_eq!(hanging.iter().map(Backend::count).collect::<Vec<_>>(), [3, 1, 1, 1]);
}

#[test]
fn with_tls_1_2_a_certificate_of_ours_is_refused_before_the_request() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let directory = open_directory();
    let root = ours.write(directory.path(), "root.pem");
    let wants = ours.server(Flaw::None).serve(&[&TLS12], Some(&theirs));
    let wanting = Backend::start_tls(wants, says("a"));
    let b = Backend::start_tls(ours.server(Flaw::None).serve(&[&TLS12], None), says("b"));
    let setup = Setup::start(|config| entries(config.trust(&root), &[wanting.url(""), b.url("")], &[]));
    assert_eq!(look_up(&setup, 1), "OK b");
    assert_eq!(ask_policy(&setup, "1"), "action=OK b\n\n");
    assert_eq!(log_in(&setup, 1), accepted());
    assert_eq!([wanting.count(), b.count()], [0, 3]);
}

/// The first target is still away, the second one is back without the broker knowing it, and the third one fails.
#[test]
fn if_the_last_target_that_is_up_fails_the_others_share_the_time() {
    let (a, mut b, c) = (Backend::start(|_| Reply::stall()), api("b"), api("c"));
    let setup =
        start(&[a.url(""), b.url(""), c.url("")], &["timeout: 800ms", "retry: {others: 2}", NO_TRIAL]);
    b.down();
    for key in 0..5 {
        assert_eq!(look_up(&setup, key), "OK c");
    }
    assert!(wait_until(PATIENCE, || said(&setup, "target out") == 2));
    b.up();
    c.answer_with(|_| Reply::status(503));
    assert_eq!(look_up(&setup, 5), "OK b");
    assert_eq!([a.count(), b.count(), c.count()], [6, 1, 6]);
    assert_eq!(said(&setup, "no target is up"), 0);
}

/// The first target is back, and another lookup is about to find that out; the second one hangs.
#[test]
fn while_a_target_is_tried_a_lookup_leaves_time_for_it() {
    let (mut a, b) = (api("a"), api("b"));
    let lines = ["timeout: 1s", "breaker: {pause: 100ms, max_pause: 100ms}"];
    let setup = start(&[a.url(""), b.url("")], &lines);
    a.down();
    assert_eq!(look_up(&setup, 0), "OK b");
    a.up();
    a.answer_with(|request| Reply::Hold(Box::new(says("a")(request))));
    b.answer_with(|_| Reply::stall());
    pause(Duration::from_millis(150));
    std::thread::scope(|scope| {
        scope.spawn(|| assert_eq!(look_up(&setup, 1), "OK a"));
        assert!(a.wait_for(1, PATIENCE));
        scope.spawn(|| assert_eq!(look_up(&setup, 2), "OK a"));
        assert!(b.wait_for(2, PATIENCE));
        a.answer_with(says("a"));
        a.release();
    });
    assert_eq!([a.count(), b.count()], [2, 2]);
}

/// Requests that are in progress when their target dies.
#[test]
fn what_is_in_progress_when_a_target_dies_moves_on_for_maps_alone() {
    const CLIENTS: usize = 8;
    let (mut a, b) = (Backend::start(|_| Reply::stall()), api("b"));
    let setup = start(&[a.url(""), b.url("")], &["breaker: false", "retry: {budget: 100%}"]);
    let is_down = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (setup, is_down) = (&setup, &is_down);
            scope.spawn(move || {
                assert_eq!(look_up(setup, client), "OK b");
                assert!(is_down.load(Ordering::SeqCst));
            });
            scope.spawn(move || assert_eq!(ask_policy(setup, &client.to_string()), DEFER));
            scope.spawn(move || assert_eq!(log_in(setup, client), closed()));
        }
        assert!(a.wait_for(3 * CLIENTS, PATIENCE));
        is_down.store(true, Ordering::SeqCst);
        a.down();
    });
    assert_eq!([a.count(), b.count()], [3 * CLIENTS, CLIENTS], "each policy and password at one target");
    assert!(wait_until(PATIENCE, || setup.broker.log().contains("trouble with a target")));
}
