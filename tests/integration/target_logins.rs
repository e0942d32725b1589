//! Logins while the targets of their entry die and come back: no password is seen twice.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::support::backend::Request;
use crate::support::{alone, pause};
use crate::targets::{accepted, api, closed, log_in, start};

#[test]
fn no_password_is_seen_twice_while_targets_die_and_come_back() {
    const THREADS: usize = 4;
    const EACH: usize = 250;
    let _alone = alone();
    let (mut a, mut b) = (api("a"), api("b"));
    let setup = start(&[a.url(""), b.url("")], &["breaker: {pause: 50ms, max_pause: 50ms}"]);
    let outcomes = Mutex::new(HashMap::<bool, usize>::new());
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let run = |thread: usize| {
            for nth in 0..EACH {
                let heard = log_in(&setup, thread * EACH + nth);
                assert!(heard == accepted() || heard == closed(), "{heard:?}");
                *outcomes.lock().expect("no panic").entry(heard == accepted()).or_default() += 1;
            }
        };
        let logins: Vec<_> = (0..THREADS).map(|thread| scope.spawn(move || run(thread))).collect();
        scope.spawn(|| {
            for target in [true, false].into_iter().cycle() {
                if is_over.load(Ordering::SeqCst) {
                    return;
                }
                let target = if target { &mut a } else { &mut b };
                target.down();
                pause(Duration::from_millis(40));
                target.up();
                pause(Duration::from_millis(40));
            }
        });
        let ended: Vec<_> = logins.into_iter().map(|login| login.join()).collect();
        is_over.store(true, Ordering::SeqCst);
        assert!(ended.iter().all(Result::is_ok));
    });
    let mut seen = HashMap::<String, usize>::new();
    let mut count = |request: &Request| *seen.entry(request.text("password")).or_default() += 1;
    [&a, &b].into_iter().for_each(|api| api.requests().iter().for_each(&mut count));
    assert!(seen.values().all(|times| *times == 1), "{:?}", seen.iter().find(|(_, times)| **times > 1));
    let outcomes = outcomes.into_inner().expect("no panic");
    assert_eq!(outcomes.values().sum::<usize>(), THREADS * EACH);
    assert!(outcomes[&true] > THREADS * EACH * 9 / 10, "most go through: {outcomes:?}");
}
