//! What others may do who write to the server of the shared cache, or what a server does that loses a key: keys of another
//! type, numbers that are none, numbers that are lost. Purges and counts of denied logins go on, and no old answer comes
//! back.

use crate::support::backend::Backend;
use crate::support::fake_redis::FakeRedis;
use crate::support::fleet::{Files, Member, fresh, has_records, now_says, purge, purge_and_share, says};
use crate::support::redis::{Redis, Told};
use crate::support::{PATIENCE, wait_until};

/// The key with the number of the entry that this record is of.
fn number_of(record: &str) -> String {
    format!("pfxhttp:1:epoch:{}", record.split(':').nth(2).expect("the id of an entry"))
}

/// The same, if there is one record.
fn number(redis: &Redis) -> String {
    assert!(has_records(redis, 1));
    number_of(&redis.names()[0])
}

/// Every key has an end.
fn assert_all_end(redis: &Redis) {
    for name in redis.ask(&["KEYS", "*"]).texts() {
        let life = redis.ask(&["PTTL", &name]).text().parse::<i64>().expect("a number");
        assert!((1..=31 * 86_400_000).contains(&life), "{name}: {life}");
    }
}

/// The connections of brokers, by their ids.
fn connections(redis: &Redis) -> Vec<String> {
    let all = redis.ask(&["CLIENT", "LIST"]).text();
    let ours = all.lines().filter(|line| line.contains(" sub=1 "));
    ours.filter_map(|line| line.split(' ').next().map(str::to_owned)).collect()
}

/// All brokers lose their connections, and make new ones.
fn reconnect(redis: &Redis, members: &[&Member]) {
    let before = connections(redis);
    redis.ask(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    let is_new = || {
        let now = connections(redis);
        now.len() == before.len() && !now.iter().any(|id| before.contains(id))
    };
    assert!(wait_until(PATIENCE, is_new), "{before:?} {:?}", connections(redis));
    assert!(members.iter().all(|member| member.is_up()));
}

fn ask(redis: &Redis, words: &[&str]) {
    let told = redis.ask(words);
    assert!(!matches!(&told, Told::Text(text) if text.starts_with("ERR")), "{words:?}: {told:?}");
}

#[test]
fn a_number_that_is_none_is_replaced() {
    let (redis, files, api) = (Redis::start(), Files::new(), Backend::constant(r#"{"value": "first"}"#));
    let shared = files.shared(&redis.url(), "");
    let one = Member::start(&shared, |config| fresh(config, &api));
    assert_eq!(one.look_up("k"), "OK first");
    let name = number(&redis);
    purge(&one, &["m"]);
    assert!(wait_until(PATIENCE, || redis.ask(&["EXISTS", &name]).text() == "1"));
    for (place, (command, value)) in [
        ("LPUSH", "x"),
        ("SET", "word"),
        ("SET", "9223372036854775807"),
        ("SET", "99999999999999999999"),
        ("SET", "-5"),
    ]
    .into_iter()
    .enumerate()
    {
        let what = format!("{command} {value}");
        ask(&redis, &["DEL", &name]);
        ask(&redis, &[command, &name, value]);
        let other = Member::start_alone(&shared, |config| fresh(config, &api));
        assert!(other.is_up(), "{what}: {}", other.setup.broker.log());
        other.look_up("k");
        // Seen by a purge, and by a host that reads the numbers.
        ask(&redis, &["DEL", &name]);
        ask(&redis, &[command, &name, value]);
        now_says(&api, &format!("v{place}"));
        purge(&other, &["m"]);
        for member in [&other, &one] {
            says(member, "k", &format!("OK v{place}"));
        }
        assert!(one.is_up() && other.is_up(), "{what}");
        let log = [&one, &other].map(|member| member.setup.broker.log()).concat();
        assert!(!log.contains("shared cache lost"), "{what}: {log}");
        let third = Member::start(&shared, |config| fresh(config, &api));
        says(&third, "k", &format!("OK v{place}"));
        assert_all_end(&redis);
    }
}

#[test]
fn a_number_that_is_lost_brings_no_old_answer_back() {
    let (redis, files, api) = (Redis::start(), Files::new(), Backend::constant(r#"{"value": "old"}"#));
    let shared = files.shared(&redis.url(), "");
    let one = Member::start(&shared, |config| fresh(config, &api));
    assert_eq!(one.look_up("k"), "OK old");
    assert!(has_records(&redis, 1));
    let old = redis.names().remove(0);
    now_says(&api, "new");
    let new = purge_and_share(&one, &redis, "OK new");
    // As a server that needs room may do it.
    ask(&redis, &["DEL", &new, &number_of(&old)]);
    now_says(&api, "newest");
    let other = Member::start(&shared, |config| fresh(config, &api));
    assert_eq!(other.look_up_in_time("k"), "OK newest");
    assert_eq!((other.reads("hit"), other.reads("absent")), (0, 1));
    assert_all_end(&redis);
}

#[test]
fn a_purge_after_a_number_was_lost_is_one_on_all_hosts() {
    let (redis, files, api) = (Redis::start(), Files::new(), Backend::constant(r#"{"value": "old"}"#));
    let shared = files.shared(&redis.url(), "");
    let one = Member::start(&shared, |config| fresh(config, &api));
    assert_eq!(one.look_up("k"), "OK old");
    let name = number(&redis);
    (0..3).for_each(|_| drop(purge(&one, &["m"])));
    assert!(wait_until(PATIENCE, || redis.ask(&["EXISTS", &name]).text() == "1"));
    redis.ask(&["FLUSHALL"]);
    for key in ["k", "l"] {
        assert_eq!(one.look_up(key), "OK old");
    }
    assert!(has_records(&redis, 2));
    let other = Member::start(&shared, |config| fresh(config, &api));
    now_says(&api, "new");
    purge(&other, &["m"]);
    says(&other, "k", "OK new");
    says(&one, "k", "OK new");
    // Whatever number the hosts agree upon.
    reconnect(&redis, &[&one, &other]);
    let third = Member::start(&shared, |config| fresh(config, &api));
    for member in [&third, &other, &one] {
        for key in ["k", "l"] {
            assert_eq!(member.look_up_in_time(key), "OK new", "{key}");
        }
    }
    assert_all_end(&redis);
}

/// The server refuses the message about a purge, and the connection is lost with it.
#[test]
fn a_purge_that_was_not_told_is_told_again() {
    let server = FakeRedis::start(|words| match words[0].as_str() {
        "PING" => b"+PONG\r\n".to_vec(),
        "GETRANGE" => b"$1\r\n7\r\n".to_vec(),
        "INCR" => b":8\r\n".to_vec(),
        "HELLO" => b"%1\r\n$5\r\nproto\r\n:3\r\n".to_vec(),
        "SUBSCRIBE" => b">3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n".to_vec(),
        "PUBLISH" => b"-READONLY no writes\r\n".to_vec(),
        _ => b"+OK\r\n".to_vec(),
    });
    let (files, api) = (Files::new(), Backend::constant(r#"{"value": "v"}"#));
    let shared = files.shared(&format!("redis://{}", server.address()), "");
    let member = Member::start(&shared, |config| fresh(config, &api));
    purge(&member, &["m"]);
    let told = || server.seen().lines().filter(|line| *line == "PUBLISH").count();
    assert!(wait_until(PATIENCE, || told() >= 2), "{}", told());
}
