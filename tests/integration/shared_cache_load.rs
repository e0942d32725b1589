//! What the shared cache costs a broker whose server comes and goes, is away under load, or sends more than it is
//! asked for: memory and descriptors stay bounded. And what an answer out of it costs.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::backend::{Backend, Reply};
use crate::support::fake_redis::FakeRedis;
use crate::support::fleet::{Files, Member, has_records, outage};
use crate::support::redis::Redis;
use crate::support::{PATIENCE, alone, pause, wait_until};

const GOOD: &str = r#"{"value": "v"}"#;

/// Descriptors and kB of memory of a broker.
fn taken(member: &Member) -> (usize, u64) {
    let path = format!("/proc/{}/fd", member.setup.broker.pid().as_raw_nonzero());
    (std::fs::read_dir(path).expect("a living process").count(), member.setup.broker.resident_kib())
}

/// The connections of brokers to this server, by their ids.
fn connections(redis: &Redis) -> Vec<String> {
    let all = redis.ask(&["CLIENT", "LIST"]).text();
    let ours = all.lines().filter(|line| line.contains(" sub=1 "));
    ours.filter_map(|line| line.split(' ').next().map(str::to_owned)).collect()
}

/// Each round is two reconnects: the server closes the connection, and a reload with another setting makes one. So
/// the wait between attempts stays short.
fn assert_nothing_grows(rounds: usize) {
    let _alone = alone();
    let (redis, files, api) = (Redis::start(), Files::new(), Backend::constant(GOOD));
    let member = Member::start(&files.shared(&redis.url(), ""), |config| outage(config, &api));
    let file = member.setup.broker.config().to_owned();
    let text = std::fs::read_to_string(&file).expect("a file");
    let (mut before, mut last) = ((0, 0), connections(&redis));
    let mut reconnected = |what: &str| {
        let is_new = || matches!(&connections(&redis)[..], [one] if !last.contains(one));
        assert!(wait_until(PATIENCE, is_new), "{what}: {:?}", connections(&redis));
        last = connections(&redis);
    };
    for round in 0..rounds {
        redis.ask(&["CLIENT", "KILL", "TYPE", "pubsub"]);
        reconnected("a closed connection");
        for key in 0..5 {
            assert_eq!(member.look_up(&format!("k{key}")), "OK v");
        }
        let wait = format!("wait: {}ms", 20 + round % 2);
        std::fs::write(&file, text.replace("wait: 50ms", &wait)).expect("a file");
        assert!(member.setup.broker.reload());
        reconnected("a reload");
        if round == rounds / 5 {
            before = taken(&member);
        }
    }
    let after = taken(&member);
    println!("{} reconnects: {before:?} then {after:?} descriptors and kB", rounds * 2);
    assert!(after.0 <= before.0 + 2, "{before:?} {after:?}");
    assert!(after.1 <= before.1 + 8 * 1024, "{before:?} {after:?}");
}

#[test]
fn nothing_grows_with_fifty_reconnects() {
    assert_nothing_grows(25);
}

#[test]
#[ignore = "by hand: cargo test --features client --test integration a_thousand_reconnects -- --ignored --nocapture"]
fn nothing_grows_with_a_thousand_reconnects() {
    assert_nothing_grows(500);
}

/// Lookups as fast as they go. Each has another answer, which is fresh for a moment: each is a read and a write. How many a second.
fn hurry(member: &Member, lasts: Duration) -> f64 {
    const CONNECTIONS: usize = 8;
    let (is_over, made) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for connection in 0..CONNECTIONS {
            let (is_over, made) = (&is_over, &made);
            scope.spawn(move || {
                let mut peer = member.setup.map();
                for number in (0..50).cycle() {
                    if is_over.load(Ordering::Relaxed) {
                        return;
                    }
                    assert!(peer.look_up("m", &format!("k{connection}-{number}")).starts_with("OK v"));
                    made.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        pause(lasts);
        is_over.store(true, Ordering::Relaxed);
    });
    made.into_inner() as f64 / lasts.as_secs_f64()
}

fn assert_load_is_bounded(lasts: Duration) {
    let _alone = alone();
    let (mut redis, files) = (Redis::start(), Files::new());
    let count = AtomicUsize::new(0);
    let api = Backend::start(move |_| {
        let number = count.fetch_add(1, Ordering::Relaxed);
        Reply::json(&format!(r#"{{"value": "v{}{number}"}}"#, "x".repeat(8_000)))
    });
    let member = Member::start(&files.shared(&redis.url(), ""), |config| {
        let config = config.server("response_cache: {enabled: true, ttl: 1h}");
        config.map("m", &api.url("/"), &["cache: {fresh: 1ms, shared: true}", "timeout: 2s"])
    });
    hurry(&member, lasts);
    let before = taken(&member);
    redis.signal(Signal::STOP);
    let rate = hurry(&member, lasts);
    let after = taken(&member);
    println!("paused, {rate:.0} lookups a second: {before:?} then {after:?} descriptors and kB");
    // The queue of writes takes 8 MiB at most.
    assert!(after.0 <= before.0 + 4 && after.1 <= before.1 + 24 * 1024, "{before:?} {after:?}");
    redis.signal(Signal::CONT);
    redis.kill();
    assert!(member.is_down());
    let dropped = member.writes("dropped");
    let rate = hurry(&member, lasts);
    let after = taken(&member);
    let dropped = member.writes("dropped") - dropped;
    println!("killed, {rate:.0} lookups a second, {dropped} writes dropped: {after:?}");
    assert!(after.0 <= before.0 + 4 && after.1 <= before.1 + 10 * 1024, "{before:?} {after:?}");
    assert!(dropped as f64 > rate * lasts.as_secs_f64() * 0.5, "each lookup is a write: {dropped}");
    redis.up();
    assert!(member.is_up());
}

#[test]
fn memory_is_bounded_while_the_server_is_away() {
    assert_load_is_bounded(Duration::from_secs(2));
}

#[test]
#[ignore = "by hand, as a debug build is slow: cargo test --release --features client --test integration memory_is_bounded_for_long -- --ignored --nocapture"]
fn memory_is_bounded_for_long_while_the_server_is_away() {
    assert_load_is_bounded(Duration::from_secs(10));
}

/// A reply that is longer than any record.
#[test]
fn a_reply_without_end_ends_the_connection() {
    const MOST_KB: u64 = 16 * 1024;
    let _alone = alone();
    let huge = |head: &str| [head.as_bytes(), &vec![b'9'; 100 << 20]].concat();
    for (what, reply) in [
        ("a text of 100 MB", huge("$104857600\r\n")),
        ("a line without an end", huge("+")),
        ("a list of a billion", huge("*1000000000\r\n$2\r\n")),
        ("lists in lists", b"*9\r\n".repeat(25 << 20)),
    ] {
        let server = FakeRedis::start(move |words| match words[0].as_str() {
            "GETRANGE" if !words[1].contains(":secret") && !words[1].contains(":epoch:") => reply.clone(),
            "PING" => b"+PONG\r\n".to_vec(),
            "GETRANGE" => b"$0\r\n\r\n".to_vec(),
            "HELLO" => b"%1\r\n$5\r\nproto\r\n:3\r\n".to_vec(),
            "SUBSCRIBE" => b">3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n".to_vec(),
            "MGET" => {
                [format!("*{}\r\n", words.len() - 1), "_\r\n".repeat(words.len() - 1)].concat().into_bytes()
            }
            _ => b"+OK\r\n".to_vec(),
        });
        let (files, api) = (Files::new(), Backend::constant(GOOD));
        let member = Member::start(&files.shared(&format!("redis://{}", server.address()), ""), |config| {
            config.map("m", &api.url("/"), &["cache: {fresh: 1h, shared: true}"])
        });
        let before = member.setup.broker.resident_kib();
        member.setup.broker.forget_peak();
        assert_eq!(member.look_up("k"), "OK v", "{what}");
        let is_lost = member.setup.broker.logged(&["shared cache lost"]);
        let peak = member.setup.broker.peak_kib();
        println!("{what}: {before} kB, at most {peak} kB");
        assert!(is_lost, "{what}: {}", member.setup.broker.log());
        assert!(peak < before + MOST_KB, "{what}: {before} kB, then {peak} kB");
        assert_eq!(member.look_up("l"), "OK v", "{what}");
    }
}

/// The time of a lookup that is answered out of the shared cache because the API is away.
#[test]
#[ignore = "by hand: cargo test --release --features client --test integration the_time_of_an_answer -- --ignored --nocapture"]
fn the_time_of_an_answer_out_of_the_shared_cache() {
    const KEYS: usize = 5_000;
    let _alone = alone();
    let (redis, files, mut api) = (Redis::start(), Files::new(), Backend::constant(GOOD));
    let shared = files.shared(&redis.url(), "");
    let [one, other] = [(); 2].map(|()| Member::start(&shared, |config| outage(config, &api)));
    let mut peer = one.setup.map();
    (0..KEYS).for_each(|key| assert_eq!(peer.look_up("m", &format!("k{key}")), "OK v"));
    assert!(has_records(&redis, KEYS));
    api.down();
    let mut peer = other.setup.map();
    let mut times: Vec<Duration> = Vec::with_capacity(KEYS);
    for key in 0..KEYS {
        let began = Instant::now();
        assert_eq!(peer.look_up("m", &format!("k{key}")), "OK v");
        times.push(began.elapsed());
    }
    times.sort_unstable();
    let at = |percent: usize| times[KEYS * percent / 100 - 1].as_secs_f64() * 1000.0;
    println!("{KEYS} answers: p50 {:.2} ms, p99 {:.2} ms, longest {:.2} ms", at(50), at(99), at(100));
    assert_eq!(other.reads("hit"), KEYS as u64);
    assert!(at(99) <= 3.0, "p99 {:.2} ms", at(99));
}
