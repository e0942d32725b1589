//! Parallel guesses are no faster than guesses one by one: attempts in progress are limited for each
//! remote address and for each name, a success resets the delay of its own account only, and the time
//! of a denial does not tell whether an account exists.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::support::backend::{Backend, Reply};
use crate::support::peer::Peer;
use crate::support::sasl::{Heard, Sasl};
use crate::support::setup::Setup;
use crate::support::site::Way;
use crate::support::{PATIENCE, alone, pause};

/// The default of `sasl_attempts`.
const USUAL: usize = 8;

fn api() -> Backend {
    Backend::start(|request| match request.text("password").as_str() {
        "secret" => Reply::with_header("Auth-Status", "OK", ""),
        _ => Reply::with_header("Auth-Status", "no", ""),
    })
}

/// One entry, `users`, with these lines and defaults otherwise.
fn setup(api: &Backend, lines: &[&str]) -> Setup {
    let target = format!("target: \"{}\"", api.url("/"));
    Setup::start(|config| config.login_of("users", &[&[target.as_str()], lines].concat()))
}

/// A client of minor version 1 or later: a temporary failure does not close its connection.
fn begin(setup: &Setup) -> Sasl {
    Sasl::begin_as(Peer::unix(&setup.socket("users")), 2)
}

fn log_in(sasl: &mut Sasl, id: usize, remote: &str, user: &str, password: &str) {
    let response = STANDARD.encode(format!("\0{user}\0{password}"));
    sasl.say(format!("AUTH\t{id}\tPLAIN\tservice=smtp\tlip=127.0.0.1\trip={remote}\tresp={response}"));
}

/// Logs in with the right password; returns how long that took.
fn right(setup: &Setup, remote: &str, user: &str) -> Duration {
    let (mut sasl, started) = (begin(setup), Instant::now());
    log_in(&mut sasl, 1, remote, user, "secret");
    assert_eq!(sasl.line(), format!("OK\t1\tuser={user}"), "{user} at {remote}");
    started.elapsed()
}

/// Logs in with a wrong password; returns how long that took.
fn wrong(setup: &Setup, remote: &str, user: &str) -> Duration {
    let (mut sasl, started) = (begin(setup), Instant::now());
    log_in(&mut sasl, 1, remote, user, "wrong");
    assert!(sasl.line().starts_with("FAIL\t1\treason=no\t"), "{user} at {remote}");
    started.elapsed()
}

/// Starts a login for each address and user at the same time, on two connections.
fn guess(setup: &Setup, who: &[(String, String)]) -> [Sasl; 2] {
    let mut both = [begin(setup), begin(setup)];
    for (id, (remote, user)) in who.iter().enumerate() {
        log_in(&mut both[id % 2], id + 1, remote, user, "wrong");
    }
    both
}

const SOON: Duration = Duration::from_millis(900);

#[test]
fn parallel_guesses_from_one_address_are_limited() {
    let _alone = alone();
    let api = api();
    let setup = setup(&api, &["failure_delay: 3s"]);
    let who: Vec<_> = (0..300).map(|number| ("192.0.2.7".to_owned(), format!("u{number}"))).collect();
    let started = Instant::now();
    let mut guesses = guess(&setup, &who);
    // Logins from another address, and from one without a limit, are not delayed.
    assert!(right(&setup, "198.51.100.1", "bob") < SOON);
    assert!(right(&setup, "127.0.0.1", "carol") < SOON);
    pause(Duration::from_millis(1800).saturating_sub(started.elapsed()));
    assert_eq!(api.count() - 2, USUAL, "before the first denial is sent");
    // Guesses that got no turn fail temporarily, in time.
    let (mut denied, mut later) = (0, 0);
    for guess in &mut guesses {
        for _ in 0..150 {
            let line = guess.line();
            match line.ends_with("\tcode=temp_fail\ttemp") {
                true => later += 1,
                false => denied += usize::from(line.contains("\treason=no\t")),
            }
        }
    }
    let took = started.elapsed();
    assert!(took > Duration::from_secs(4) && took < Duration::from_millis(8900), "{took:?}");
    assert!(denied == api.count() - 2 && denied + later == 300, "{denied} and {later}, {}", api.count());
    assert!((USUAL..=4 * USUAL).contains(&denied), "{denied} guesses in {took:?}");
    let attempts = "too many attempts are under way from this address";
    assert!(setup.broker.logged(&["login failed name=\"users\" remote=\"192.0.2.7\" user=\"u", attempts]));
    assert!(!setup.broker.log().contains("API answers again"), "the API never failed");
}

#[test]
fn parallel_guesses_for_one_name_are_limited() {
    let _alone = alone();
    let api = api();
    let setup = setup(&api, &["failure_delay: 3s"]);
    // Bob has logged in from this address before, with other capitals.
    assert!(right(&setup, "198.51.100.1", "Bob") < SOON);
    let who: Vec<_> = (0..200).map(|number| (format!("203.0.113.{number}"), "bob".to_owned())).collect();
    let started = Instant::now();
    let mut guesses = guess(&setup, &who);
    assert!(right(&setup, "198.51.100.9", "carol") < SOON, "another name");
    assert!(
        right(&setup, "198.51.100.1", "bob") < SOON,
        "guesses elsewhere do not delay bob at his own address"
    );
    pause(Duration::from_millis(1800).saturating_sub(started.elapsed()));
    assert_eq!(api.count() - 3, USUAL);
    for guess in &mut guesses {
        for _ in 0..100 {
            guess.line();
        }
    }
    let attempts = "too many attempts are under way for this name";
    assert!(setup.broker.logged(&["login failed", "user=\"bob\"", attempts]), "{}", setup.broker.log());
}

#[test]
fn an_ipv6_64_counts_as_one_address_and_exempt_networks_do_not_count() {
    let _alone = alone();
    let api = api();
    let setup = setup(&api, &["sasl_attempts: 3", "failure_delay: 3s", "penalty_exempt: [198.51.100.0/24]"]);
    let who = |address: fn(usize) -> String| -> Vec<_> {
        (0..20).map(|number| (address(number), format!("u{number}"))).collect()
    };
    let _v6 = guess(&setup, &who(|number| format!("2001:db8:0:1::{number:x}")));
    pause(Duration::from_millis(1200));
    assert_eq!(api.count(), 3, "one /64");
    let _exempt = guess(&setup, &who(|_| "198.51.100.7".to_owned()));
    assert!(api.wait_for(23, PATIENCE), "penalty_exempt");
    let free = self::setup(&api, &["sasl_attempts: 0"]);
    let _free = guess(&free, &who(|_| "192.0.2.7".to_owned()));
    assert!(api.wait_for(43, PATIENCE), "no bound");
}

#[test]
fn an_aborted_attempt_still_counts_until_its_delay_ends() {
    let _alone = alone();
    let api = api();
    let setup = setup(&api, &["sasl_attempts: 2"]);
    for round in 1..=5 {
        let mut sasl = begin(&setup);
        for id in 1..=4 {
            log_in(&mut sasl, id, "192.0.2.7", &format!("u{round}{id}"), "wrong");
        }
        assert!(api.wait_for(2, PATIENCE));
        // The connection ends here, while its denials are held back.
    }
    assert_eq!(api.count(), 2);
}

#[test]
fn waiting_attempts_hold_no_worker() {
    let _alone = alone();
    let api = api();
    let target = format!("target: \"{}\"", api.url("/"));
    let setup = Setup::start(|config| {
        config.server("worker_pool: {max_workers: 1, max_queue: 1}").login_of("users", &[&target])
    });
    let who: Vec<_> = (0..100).map(|number| ("192.0.2.7".to_owned(), format!("u{number}"))).collect();
    let _guesses = guess(&setup, &who);
    assert!(api.wait_for(1, PATIENCE));
    pause(Duration::from_millis(300));
    for way in Way::ALL {
        let started = Instant::now();
        let mut sasl = setup.login(way, "users");
        log_in(&mut sasl, 1, "198.51.100.1", "bob", "secret");
        assert_eq!(sasl.line(), "OK\t1\tuser=bob", "{way:?}");
        assert!(started.elapsed() < SOON, "{way:?}");
    }
}

#[test]
fn a_success_resets_its_own_account_and_halves_the_rest_of_the_delay() {
    let _alone = alone();
    let api = api();
    let setup = setup(&api, &[]);
    let seconds = |took: Duration| took.as_secs_f64().round();
    let home = "192.0.2.7";
    assert_eq!(seconds(wrong(&setup, home, "u")), 2.0);
    assert_eq!(seconds(wrong(&setup, home, "u")), 4.0);
    right(&setup, home, "U");
    assert_eq!(seconds(wrong(&setup, home, "u")), 2.0, "a success resets the account's own delay");
    right(&setup, home, "u");
    for due in [2.0, 4.0, 6.0] {
        assert_eq!(seconds(wrong(&setup, home, "victim")), due);
    }
    right(&setup, home, "attacker");
    assert_eq!(seconds(wrong(&setup, home, "victim")), 6.0, "of three denials, two are left");
    let away = "192.0.2.8";
    assert_eq!(seconds(wrong(&setup, away, "victim")), 2.0);
    right(&setup, away, "attacker");
    assert_eq!(seconds(wrong(&setup, away, "victim")), 4.0, "a single denial is left");
}

#[test]
fn the_time_of_a_denial_does_not_tell_who_exists() {
    let _alone = alone();
    let api = Backend::start(|request| {
        if request.text("username") == "known" {
            pause(Duration::from_millis(600));
        }
        Reply::with_header("Auth-Status", "no", "")
    });
    let setup = setup(&api, &["failure_delay: 1s", "sasl_penalty: false"]);
    for way in Way::ALL {
        let took = ["known", "unknown"].map(|user| {
            let mut sasl = setup.login(way, "users");
            let started = Instant::now();
            log_in(&mut sasl, 1, "192.0.2.7", user, "wrong");
            assert!(sasl.line().starts_with("FAIL\t1\t"));
            started.elapsed().as_millis()
        });
        assert!(took.iter().all(|took| (990..1300).contains(took)), "{way:?}: {took:?}");
        assert!(took[0].abs_diff(took[1]) < 100, "{way:?}: {took:?}");
    }
}

#[test]
fn an_api_that_is_slower_than_the_delay_adds_no_further_delay() {
    let _alone = alone();
    let api = Backend::start(|_| {
        pause(Duration::from_secs(3));
        Reply::with_header("Auth-Status", "no", "")
    });
    let setup = setup(&api, &["failure_delay: 2s", "sasl_penalty: false"]);
    let mut sasl = begin(&setup);
    let started = Instant::now();
    log_in(&mut sasl, 1, "192.0.2.7", "u", "wrong");
    assert!(matches!(sasl.next(PATIENCE), Heard::Line(_)));
    let took = started.elapsed();
    assert!(took > Duration::from_millis(2900) && took < Duration::from_millis(4000), "{took:?}");
}
