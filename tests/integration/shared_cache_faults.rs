//! A shared cache that is away, slow or empty costs freshness and nothing else.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::backend::{Backend, Reply};
use crate::support::blackhole::Blackhole;
use crate::support::config::Config;
use crate::support::fleet::{Files, Member, SECRET, has_records, outage};
use crate::support::redis::Redis;
use crate::support::{PATIENCE, wait_until};

const TEMP: &str = "TEMP Temporary server problem";
const GOOD: &str = r#"{"value": "v", "action": "REJECT no"}"#;

/// A map whose lookups read the shared cache before they ask: each key is new.
fn reading(config: Config, api: &Backend) -> Config {
    config.map("m", &api.url("/"), &["cache: {fresh: 1h, shared: true}"])
}

/// Looks up this many new keys; how long that took.
fn look_up(member: &Member, count: usize, what: &str) -> Duration {
    let (mut peer, began) = (member.setup.map(), Instant::now());
    for number in 0..count {
        assert_eq!(peer.look_up("m", &format!("{what}-{number}")), "OK v", "{what}");
    }
    began.elapsed()
}

#[test]
fn no_lookup_fails_or_waits_for_a_server_that_is_away() {
    let (mut redis, files, api) = (Redis::start(), Files::new(), Backend::constant(GOOD));
    let member = Member::start(&files.shared(&redis.url(), ""), |config| reading(config, &api));
    look_up(&member, 100, "well");
    assert_eq!(member.reads("absent") + member.reads("late"), 100);
    redis.signal(Signal::STOP);
    let late = member.reads("late");
    let took = look_up(&member, 500, "stopped");
    let late = member.reads("late") - late;
    // Three at first, and one for each second.
    assert!(late <= 4 + took.as_secs(), "{late} waited in {took:?}");
    assert!(member.reads("down") >= 490, "{}", member.reads("down"));
    assert!(member.is_down(), "its silence is noticed");
    look_up(&member, 100, "down");
    redis.signal(Signal::CONT);
    let began = Instant::now();
    assert!(member.is_up());
    assert!(began.elapsed() < Duration::from_secs(6), "back after {:?}", began.elapsed());
    redis.kill();
    look_up(&member, 100, "killed");
    assert!(member.is_down());
    assert!(member.writes("dropped") > 0);
    redis.up();
    assert!(member.is_up());
    look_up(&member, 100, "back");
    assert!(wait_until(PATIENCE, || !redis.names().is_empty()));
    redis.ask(&["FLUSHALL"]);
    look_up(&member, 100, "empty");
    assert!(member.setup.broker.logged(&["shared cache lost", "reason"]));
    assert!(wait_until(PATIENCE, || redis.names().len() >= 100), "it fills again");
}

#[test]
fn an_outage_of_both_is_an_outage() {
    let (mut redis, files, mut api) = (Redis::start(), Files::new(), Backend::constant(GOOD));
    let member = Member::start(&files.shared(&redis.url(), ""), |config| outage(config, &api));
    assert_eq!(member.look_up("k"), "OK v");
    assert!(has_records(&redis, 1));
    redis.kill();
    api.down();
    assert_eq!(member.look_up("k"), "OK v", "the broker's own cache");
    let began = Instant::now();
    assert_eq!(member.look_up("another"), TEMP);
    assert!(began.elapsed() < Duration::from_millis(500), "took {:?}", began.elapsed());
}

#[test]
fn a_broker_that_never_reaches_the_server_serves_and_says_so() {
    let (mut redis, files, api) =
        (Redis::with_password("p4ss-of-redis"), Files::new(), Backend::constant(GOOD));
    let wrong = files.write("wrong", "wr0ng-p4ssword");
    let wrong = format!(", password_file: \"{}\"", wrong.display());
    let right = files.write("right", "p4ss-of-redis");
    let right = format!(", password_file: \"{}\"", right.display());
    for (more, reason) in [
        (wrong.as_str(), "it refuses the user or the password (password_file)"),
        ("", "it wants a password (password_file)"),
    ] {
        let member = Member::start_alone(&files.shared(&redis.url(), more), |config| reading(config, &api));
        assert!(
            member.setup.broker.logged(&["shared cache not reached", reason]),
            "{}",
            member.setup.broker.log()
        );
        look_up(&member, 20, "alone");
        let status = member.status();
        assert_eq!((&status["is_up"], &status["problem"]), (&false.into(), &reason.into()));
        assert_eq!(member.reads("down"), 20);
        assert!(!member.is_up_by_metrics());
        let log = member.setup.broker.log();
        assert!(!log.contains("wr0ng") && !log.contains(SECRET), "{log}");
    }
    redis.kill();
    let member = Member::start_alone(&files.shared(&redis.url(), &right), |config| reading(config, &api));
    assert!(member.setup.broker.logged(&["shared cache not reached", "connection refused"]));
    look_up(&member, 20, "refused");
    redis.up();
    assert!(member.is_up(), "{}", member.setup.broker.log());
    assert!(member.is_up_by_metrics());
    assert!(
        member.setup.broker.logged(&["shared cache connected", "server=unix:"]),
        "{}",
        member.setup.broker.log()
    );
}

#[test]
fn another_secret_shares_nothing_and_is_told() {
    let (redis, files, mut api) = (Redis::start(), Files::new(), Backend::constant(GOOD));
    let others = Files::new();
    others.write("secret", "another-secret-of-48-characters-0123456789-0123");
    let one = Member::start(&files.shared(&redis.url(), ""), |config| outage(config, &api));
    assert_eq!(one.look_up("k"), "OK v");
    assert!(has_records(&redis, 1));
    let other = Member::start(&others.shared(&redis.url(), ""), |config| outage(config, &api));
    assert!(other.setup.broker.logged(&["shared cache: another host has another secret_file"]));
    assert_eq!(other.status()["has_other_secret"], true);
    assert_eq!(one.status()["has_other_secret"], false);
    assert_eq!(other.look_up("k"), "OK v", "it serves");
    api.down();
    assert_eq!(other.look_up("k"), "OK v");
    assert_eq!(other.reads("hit"), 0);
}

#[test]
fn an_api_that_is_out_has_stand_ins_of_other_hosts_at_once() {
    let (redis, files, api) = (Redis::start(), Files::new(), Backend::constant(GOOD));
    let shared = files.shared(&redis.url(), "");
    let [one, other] = [(); 2].map(|()| Member::start(&shared, |config| outage(config, &api)));
    for number in 0..20 {
        assert_eq!(one.look_up(&format!("k{number}")), "OK v");
    }
    assert!(has_records(&redis, 20));
    api.answer_with(|_| Reply::stall());
    // Five failures take the target out; each has the time limit of two seconds.
    for number in 0..5 {
        assert_eq!(other.look_up_in_time(&format!("k{number}")), "OK v");
    }
    let began = Instant::now();
    for number in 5..20 {
        assert_eq!(other.look_up_in_time(&format!("k{number}")), "OK v");
    }
    assert!(began.elapsed() < Duration::from_secs(1), "15 lookups took {:?}", began.elapsed());
    assert_eq!(other.reads("hit"), 20);
}

/// A server that closes each connection, or is restarted again and again, costs neither memory nor descriptors.
#[test]
fn nothing_grows_with_reconnects() {
    let (redis, files, api) = (Redis::start(), Files::new(), Backend::constant(GOOD));
    let member = Member::start(&files.shared(&redis.url(), ""), |config| reading(config, &api));
    let open = || {
        let path = format!("/proc/{}/fd", member.setup.broker.pid().as_raw_nonzero());
        std::fs::read_dir(path).expect("a living process").count()
    };
    look_up(&member, 200, "before");
    let before = (open(), member.setup.broker.resident_kib());
    for round in 0..15 {
        redis.ask(&["CLIENT", "KILL", "TYPE", "pubsub"]);
        look_up(&member, 50, &format!("round{round}"));
    }
    assert!(member.is_up());
    let after = (open(), member.setup.broker.resident_kib());
    assert!(after.0 <= before.0 + 2, "{before:?} {after:?}");
    assert!(after.1 <= before.1 + 8 * 1024, "{before:?} {after:?}");
    let lines = member.setup.broker.log().matches("shared cache lost").count();
    assert_eq!(lines, 1, "once a minute");
}

/// A host that answers to no packet: connecting takes until its time limit, and no lookup notices.
#[test]
fn a_black_hole_is_not_waited_for() {
    let (hole, files, api) = (Blackhole::open(), Files::new(), Backend::constant(GOOD));
    let url = hole.url("").replace("http://", "redis://");
    let member = Member::start_alone(&files.shared(&url, ""), |config| reading(config, &api));
    let began = Instant::now();
    look_up(&member, 200, "hole");
    assert!(began.elapsed() < Duration::from_secs(2), "took {:?}", began.elapsed());
    assert!(
        member.setup.broker.logged(&["shared cache not reached", "timed out"]),
        "{}",
        member.setup.broker.log()
    );
}
