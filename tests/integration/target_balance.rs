//! `balance: least`: how requests are spread over targets, and that nothing else of their way changes. Every API
//! keeps what it saw.

use std::collections::HashSet;
use std::time::Duration;

use crate::support::backend::Backend;
use crate::support::setup::Setup;
use crate::support::{PATIENCE, alone, pause, wait_until};
use crate::targets::{accepted, api, ask_policy, log_in, says, start};

const LEAST: &str = "balance: least";
const THREADS: usize = 8;
const EACH: usize = 50;

/// Looks up from several threads, each on a connection of its own, and returns the answers.
fn look_up_at_a_time(setup: &Setup) -> HashSet<String> {
    let run = |thread: usize| {
        let mut peer = setup.map();
        (0..EACH).map(|nth| peer.look_up("m", &format!("k{thread}-{nth}"))).collect::<Vec<_>>()
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|thread| scope.spawn(move || run(thread))).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
    })
}

fn answers(names: &[&str]) -> HashSet<String> {
    names.iter().map(|name| format!("OK {name}")).collect()
}

#[test]
fn equal_targets_get_equal_shares_and_a_backup_gets_nothing() {
    let (a, b, c) = (api("a"), api("b"), api("c"));
    let setup = start(&[a.url(""), b.url(""), format!("{}!", c.url(""))], &[LEAST]);
    assert_eq!(look_up_at_a_time(&setup), answers(&["a", "b"]));
    let all = THREADS * EACH;
    assert_eq!((a.count() + b.count(), c.count()), (all, 0));
    for target in [&a, &b] {
        assert!((all * 2 / 5..=all * 3 / 5).contains(&target.count()), "{} of {all}", target.count());
    }
    // Also one after the other, and by the other kinds: there is no first target.
    let before = [&a, &b].map(Backend::count);
    for number in 0..40 {
        let reply = ask_policy(&setup, &number.to_string());
        assert!(["action=OK a\n\n", "action=OK b\n\n"].contains(&&*reply), "{reply}");
        assert_eq!(log_in(&setup, number), accepted());
    }
    let [of_a, of_b] = [a.count() - before[0], b.count() - before[1]];
    assert_eq!(of_a + of_b, 80, "each request, and each password, is seen once");
    assert!(of_a.min(of_b) >= 16, "{of_a} and {of_b}");
    assert_eq!(c.count(), 0);
}

#[test]
fn a_slow_target_gets_fewer_requests() {
    let _alone = alone();
    let (a, b) = (api("a"), api("b"));
    a.answer_with(|request| {
        pause(Duration::from_millis(40));
        says("a")(request)
    });
    let setup = start(&[a.url(""), b.url("")], &[LEAST]);
    assert_eq!(look_up_at_a_time(&setup), answers(&["a", "b"]));
    assert_eq!(a.count() + b.count(), THREADS * EACH);
    assert!(a.count() < b.count() / 2, "{} and {}", a.count(), b.count());
}

#[test]
fn targets_that_are_away_cost_nothing_and_the_backup_is_the_last_one() {
    let (mut a, mut b, c) = (api("a"), api("b"), api("c"));
    let lines = [LEAST, "breaker: {pause: 200ms, max_pause: 200ms}"];
    let setup = start(&[format!("{}!", c.url("")), a.url(""), b.url("")], &lines);
    a.down();
    assert_eq!(look_up_at_a_time(&setup), answers(&["b"]));
    assert_eq!(c.count(), 0);
    b.down();
    assert_eq!(look_up_at_a_time(&setup), answers(&["c"]));
    // Each of them comes back by a trial, although another one is up.
    b.up();
    let answered_by = |name: &str| setup.map().look_up("m", "k") == format!("OK {name}");
    assert!(wait_until(PATIENCE, || answered_by("b")));
    a.up();
    assert!(wait_until(PATIENCE, || answered_by("a")));
    let before = c.count();
    assert_eq!(look_up_at_a_time(&setup), answers(&["a", "b"]));
    assert_eq!(c.count(), before);
    assert!(!setup.broker.log().contains("failed"), "{}", setup.broker.log());
}

#[test]
fn a_login_tries_a_target_that_is_out_only_after_a_connection_without_a_word() {
    let (mut a, b) = (api("a"), api("b"));
    let setup = start(&[a.url(""), b.url("")], &[LEAST, "breaker: {pause: 50ms, max_pause: 50ms}"]);
    a.down();
    (0..20).for_each(|number| assert_eq!(log_in(&setup, number), accepted()));
    a.up();
    let mut number = 20;
    let is_back = wait_until(PATIENCE, || {
        assert_eq!(log_in(&setup, number), accepted());
        number += 1;
        a.count() > 0
    });
    assert!(is_back && setup.broker.logged(&["target back", "name=\"l\""]));
    assert!(a.connections() > 1, "a connection without a word came first: {}", a.connections());
    assert_eq!(a.count() + b.count(), number);
}
