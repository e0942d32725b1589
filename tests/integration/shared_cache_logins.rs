//! Guesses that are spread over several brokers are delayed as by one broker, if there is a shared cache; and nothing
//! else changes without its server.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::backend::{Backend, Reply};
use crate::support::command_line::{run, text};
use crate::support::config::Config;
use crate::support::fleet::{Files, Member};
use crate::support::redis::Redis;
use crate::support::sasl::Sasl;
use crate::support::site::Way;
use crate::support::{PATIENCE, alone, wait_until};

const QUICK: Duration = Duration::from_millis(1500);

pub(crate) fn api() -> Backend {
    Backend::start(|request| match request.text("password").as_str() {
        "secret" => Reply::with_header("Auth-Status", "OK", ""),
        _ => Reply::with_header("Auth-Status", "no", ""),
    })
}

pub(crate) fn users(config: Config, api: &Backend) -> Config {
    config.login_of("users", &[&format!("target: \"{}\"", api.url("/"))])
}

pub(crate) fn fleet<const N: usize>(shared: &str, api: &Backend) -> [Member; N] {
    [(); N].map(|()| Member::start(shared, |config| users(config, api)))
}

/// A login at `member`; the seconds that its answer took, rounded.
pub(crate) fn log_in(member: &Member, remote: &str, user: &str, password: &str) -> u64 {
    let mut sasl: Sasl = member.setup.login(Way::Unix, "users");
    use base64::Engine as _;
    let response = base64::engine::general_purpose::STANDARD.encode(format!("\0{user}\0{password}"));
    let began = Instant::now();
    sasl.say(format!("AUTH\t1\tPLAIN\tservice=smtp\tlip=127.0.0.1\trip={remote}\tresp={response}"));
    let line = sasl.line();
    assert!(line.starts_with(if password == "secret" { "OK\t" } else { "FAIL\t" }), "{line}");
    (began.elapsed() + Duration::from_millis(500)).as_secs()
}

/// The counters in the server.
pub(crate) fn counters(redis: &Redis) -> usize {
    redis.names().len()
}

#[test]
fn guesses_at_three_brokers_are_delayed_as_at_one() {
    let _alone = alone();
    let (redis, files, api) = (Redis::start(), Files::new(), api());
    let [one, two, three] = fleet(&files.shared(&redis.url(), ""), &api);
    assert_eq!(log_in(&one, "192.0.2.7", "bob@example.org", "wrong"), 2);
    assert_eq!(log_in(&two, "192.0.2.7", "bob@example.org", "wrong"), 4);
    assert_eq!(log_in(&three, "192.0.2.7", "BOB@example.org", "wrong"), 6);
    assert_eq!(counters(&redis), 2, "one of the address, and one of the account");
    assert_eq!(log_in(&three, "192.0.2.8", "bob@example.org", "wrong"), 2, "another address");
    assert_eq!(log_in(&two, "192.0.2.7", "bob@example.org", "secret"), 0, "a success is not delayed");
    assert!(wait_until(PATIENCE, || counters(&redis) == 2), "those of the other address stay");
    // What is counted on the host itself stays there: this one had the success.
    assert_eq!(log_in(&two, "192.0.2.7", "bob@example.org", "wrong"), 2);
    redis.ask(&["SAVE"]);
    let dump = std::fs::read(redis.path("dump.rdb")).expect("a dump");
    let dump = String::from_utf8_lossy(&dump).to_lowercase();
    assert!(dump.contains("pfxhttp:1:"));
    for word in ["192.0.2", "bob", "example", "users"] {
        assert!(!dump.contains(word), "{word}");
    }
    for name in redis.names() {
        let life = redis.ask(&["PTTL", &name]).text().parse::<i64>().expect("a number");
        assert!((1..=900_000).contains(&life), "{name}: {life}");
    }
}

#[test]
fn a_success_clears_the_denials_of_its_own_account_alone() {
    let _alone = alone();
    let (redis, files, api) = (Redis::start(), Files::new(), api());
    let [one, two] = fleet(&files.shared(&redis.url(), ""), &api);
    // An IPv6 address counts as its /64.
    assert_eq!(log_in(&one, "2001:db8::1", "victim", "wrong"), 2);
    assert_eq!(log_in(&one, "2001:db8::2", "mine", "wrong"), 4);
    assert_eq!(log_in(&two, "2001:db8::3", "mine", "secret"), 0);
    assert!(wait_until(PATIENCE, || counters(&redis) == 2), "that of the account is gone");
    assert_eq!(log_in(&two, "2001:db8::4", "other", "wrong"), 4, "the victim's is still counted");
    // `penalty clear` holds on all hosts.
    let penalty = |member: &Member, words: &[&str]| {
        text(&run(member.setup.broker.config(), &[&["penalty"], words].concat(), ""))
    };
    assert!(penalty(&two, &["list"]).contains("2001:db8::/64 denials=1 "));
    assert_eq!(penalty(&one, &["clear", "2001:db8::1"]), "the denials of 1 address are forgotten\n");
    assert!(wait_until(PATIENCE, || penalty(&two, &["list"]).is_empty()));
    assert_eq!(log_in(&two, "2001:db8::5", "other", "wrong"), 2);
    assert_eq!(log_in(&two, "192.0.2.7", "other", "wrong"), 2);
    penalty(&one, &["clear"]);
    assert!(wait_until(PATIENCE, || penalty(&two, &["list"]).is_empty()));
    assert_eq!(log_in(&one, "192.0.2.7", "other", "wrong"), 2);
}

#[test]
fn a_server_that_is_slow_or_away_changes_no_login() {
    let _alone = alone();
    let (mut redis, files, api) = (Redis::start(), Files::new(), api());
    let [one, two] = fleet(&files.shared(&redis.url(), ""), &api);
    redis.signal(Signal::STOP);
    let began = Instant::now();
    assert_eq!(log_in(&two, "192.0.2.7", "bob", "secret"), 0);
    assert!(began.elapsed() < QUICK);
    assert_eq!(log_in(&one, "192.0.2.7", "bob", "wrong"), 2);
    redis.signal(Signal::CONT);
    redis.kill();
    assert!(one.is_down() && two.is_down());
    assert_eq!(log_in(&one, "192.0.2.7", "bob", "wrong"), 4, "its own count goes on");
    assert_eq!(log_in(&two, "192.0.2.7", "bob", "wrong"), 2);
    let off = files.shared(&redis.url(), ", penalties: false");
    redis.up();
    let [three] = fleet(&off, &api);
    assert!(one.is_up());
    assert_eq!(log_in(&three, "192.0.2.7", "bob", "wrong"), 2);
    assert_eq!(counters(&redis), 0, "it counts for itself");
    assert_eq!(log_in(&one, "192.0.2.7", "bob", "wrong"), 6, "its own count is greater");
    assert_eq!(counters(&redis), 2);
}
