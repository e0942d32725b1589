//! Logins while the targets of their entry die and come back: no password is seen twice, and each outcome is what
//! an API said, or temporary.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::support::backend::{Backend, Reply, Request};
use crate::support::sasl::Heard;
use crate::support::{alone, pause};
use crate::targets::{accepted, closed, log_in, start};

const THREADS: usize = 4;
/// How long a target is away, and how long all are up then.
const STEP: Duration = Duration::from_millis(40);

/// An outcome, and what it is in SMTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Outcome {
    /// 235.
    Accepted,
    /// 535.
    Denied,
    /// 454.
    Temporary,
}

/// Whether the password of this login is wrong.
fn is_wrong(number: usize) -> bool {
    number.is_multiple_of(5)
}

fn users(request: &Request) -> Reply {
    let number = request.text("password").trim_start_matches("pw-").parse().expect("a number");
    let status = if is_wrong(number) { "Invalid login or password" } else { "OK" };
    Reply::with_headers(200, &[("Auth-Status", status), ("Auth-User", "u")], "{}")
}

fn outcome(heard: &Heard) -> Outcome {
    if *heard == accepted() {
        return Outcome::Accepted;
    }
    if *heard == closed() {
        return Outcome::Temporary;
    }
    let denied = Heard::Line("FAIL\t1\treason=Invalid login or password\tuser=u".to_owned());
    assert_eq!(*heard, denied);
    Outcome::Denied
}

/// Takes one target after the other away, until `is_over`. It refuses connections, or takes a password and resets
/// the connection.
fn let_die(targets: &mut [Backend; 2], is_over: &AtomicBool) {
    for nth in 0.. {
        if is_over.load(Ordering::SeqCst) {
            return;
        }
        let target = &mut targets[nth % 2];
        if nth % 4 < 2 {
            target.down();
            pause(STEP);
            target.up();
        } else {
            target.answer_with(|_| Reply::Reset);
            pause(STEP);
            target.answer_with(users);
        }
        pause(STEP);
    }
}

fn assert_no_password_is_seen_twice(logins: usize) {
    let _alone = alone();
    let mut targets = [(); 2].map(|()| Backend::start(users));
    let origins = [targets[0].url(""), targets[1].url("")];
    let setup = start(&origins, &["breaker: {pause: 50ms, max_pause: 50ms}"]);
    let (outcomes, is_over) = (Mutex::new(Vec::new()), AtomicBool::new(false));
    let run = |thread: usize| {
        for number in (thread..logins).step_by(THREADS) {
            let outcome = outcome(&log_in(&setup, number));
            outcomes.lock().expect("no panic").push((number, outcome));
        }
    };
    let run = &run;
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..THREADS).map(|thread| scope.spawn(move || run(thread))).collect();
        scope.spawn(|| let_die(&mut targets, &is_over));
        let ended: Vec<_> = running.into_iter().map(|login| login.join()).collect();
        is_over.store(true, Ordering::SeqCst);
        assert!(ended.iter().all(Result::is_ok));
    });
    let seen = targets.each_ref().map(Backend::requests);
    let mut times = HashMap::<String, usize>::new();
    seen.iter().flatten().for_each(|request| *times.entry(request.text("password")).or_default() += 1);
    assert!(times.values().all(|times| *times == 1), "{:?}", times.iter().find(|(_, times)| **times > 1));
    let outcomes = outcomes.into_inner().expect("no panic");
    for (number, outcome) in &outcomes {
        let is_seen = times.contains_key(&format!("pw-{number}"));
        match outcome {
            Outcome::Accepted => assert!(is_seen && !is_wrong(*number), "{number}"),
            Outcome::Denied => assert!(is_seen && is_wrong(*number), "{number}"),
            Outcome::Temporary => {}
        }
    }
    let count = |of| outcomes.iter().filter(|(_, outcome)| *outcome == of).count();
    let [accepted, denied, temporary] = [Outcome::Accepted, Outcome::Denied, Outcome::Temporary].map(count);
    let [first, second] = seen.each_ref().map(Vec::len);
    println!(
        "{logins} logins: {accepted} accepted, {denied} denied, {temporary} temporary; passwords seen: \
         {first} by one target, {second} by the other, {} of temporary failures, none twice",
        first + second - accepted - denied
    );
    assert_eq!(accepted + denied + temporary, logins);
    assert!(accepted + denied > logins * 8 / 10, "most go through: {temporary} do not");
    assert!(denied > logins / 10 && first > logins / 10 && second > logins / 10, "the test tests something");
}

#[test]
fn no_password_is_seen_twice_while_targets_die_and_come_back() {
    assert_no_password_is_seen_twice(1_000);
}

#[test]
#[ignore = "by hand: cargo test --features client --test integration ten_thousand_logins -- --ignored --nocapture"]
fn ten_thousand_logins_while_targets_die_and_come_back() {
    assert_no_password_is_seen_twice(10_000);
}
