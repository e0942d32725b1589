//! Counts of denied logins under attack: keys that others have damaged, many denials at a time, and an order of events
//! that could lose a count.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::shared_cache_logins::{api, counters, fleet, log_in, users};
use crate::support::command_line::{run, text};
use crate::support::fake_redis::FakeRedis;
use crate::support::fleet::{Files, Member};
use crate::support::redis::Redis;
use crate::support::sasl::Sasl;
use crate::support::site::Way;
use crate::support::{PATIENCE, alone, pause, wait_until};

/// So many denials at a time, each 50 ms.
const EACH: usize = 100;
const TIMES: usize = 40;

/// Sends logins of these users from these addresses, with a wrong password, and waits for no answer.
fn guess(member: &Member, all: impl IntoIterator<Item = (String, String)>) -> Sasl {
    let mut sasl: Sasl = member.setup.login(Way::Unix, "users");
    for (number, (user, remote)) in all.into_iter().enumerate() {
        let (id, response) = (number + 1, STANDARD.encode(format!("\0{user}\0wrong")));
        sasl.say(format!("AUTH\t{id}\tPLAIN\tservice=smtp\tlip=127.0.0.1\trip={remote}\tresp={response}"));
    }
    sasl
}

fn guess_once(member: &Member, user: &str, address: &str) -> Sasl {
    guess(member, [(user.to_owned(), address.to_owned())])
}

fn life(redis: &Redis, name: &str) -> i64 {
    redis.ask(&["PTTL", name]).text().parse().expect("a number")
}

#[test]
fn a_count_that_is_none_begins_again() {
    let (redis, files, api) = (Redis::start(), Files::new(), api());
    let [one] = fleet(&files.shared(&redis.url(), ""), &api);
    let commands = [("LPUSH", "x"), ("SET", "word"), ("SET", "9223372036854775807"), ("SET", "-1000000")];
    for (number, command) in commands.into_iter().enumerate() {
        let address = format!("192.0.2.{number}");
        let mut open = vec![guess_once(&one, "bob", &address)];
        assert!(wait_until(PATIENCE, || counters(&redis) == 2));
        let names = redis.names();
        for name in &names {
            redis.ask(&["DEL", name]);
            redis.ask(&[command.0, name, command.1]);
        }
        open.push(guess_once(&one, "bob", &address));
        for name in &names {
            let is_one = || redis.ask(&["TYPE", name]).text() == "string" && redis.get(name) == b"1";
            assert!(wait_until(PATIENCE, is_one), "{command:?}");
            assert!((1..=900_000).contains(&life(&redis, name)), "{command:?}");
        }
        open.push(guess_once(&one, "bob", &address));
        assert!(wait_until(PATIENCE, || names.iter().all(|name| redis.get(name) == b"2")), "{command:?}");
        redis.ask(&["FLUSHALL"]);
    }
}

/// A user without this right leaves no count without an end.
#[test]
fn a_count_without_a_lifetime_is_never_left() {
    let (redis, files, api) = (Redis::start(), Files::new(), api());
    let [one] = fleet(&files.shared(&redis.url(), ""), &api);
    for (number, refused) in ["-pexpire", "-set"].into_iter().enumerate() {
        redis.ask(&["ACL", "SETUSER", "default", "+@all", refused]);
        let _open = guess_once(&one, "bob", &format!("192.0.2.{number}"));
        assert!(wait_until(PATIENCE, || redis.calls("incr") >= 2 * (number as u64 + 1)), "{refused}");
        assert!(one.setup.broker.logged(&["a denied login was not counted"]), "{refused}");
        for name in redis.names() {
            assert!((1..=900_000).contains(&life(&redis, &name)), "{refused} {name}");
        }
        assert!(one.is_up(), "{refused}");
    }
}

/// The number of purges is no secret: it must not clear what a host has counted itself.
#[test]
fn another_writer_clears_no_denials_of_a_host() {
    let _alone = alone();
    let (redis, files, api) = (Redis::start(), Files::new(), api());
    let [one] = fleet(&files.shared(&redis.url(), ""), &api);
    let penalty = |words: &[&str]| text(&run(one.setup.broker.config(), &[&["penalty"], words].concat(), ""));
    penalty(&["clear"]);
    let numbers = || redis.ask(&["KEYS", "pfxhttp:1:epoch:*"]).texts();
    assert!(wait_until(PATIENCE, || numbers().len() == 1));
    assert_eq!(log_in(&one, "192.0.2.7", "bob", "wrong"), 2);
    redis.ask(&["INCR", &numbers()[0]]);
    let since = one.status()["since"].clone();
    redis.ask(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    let is_new = || one.status()["is_up"] == true && one.status()["since"] != since;
    assert!(wait_until(PATIENCE, is_new));
    assert!(penalty(&["list"]).contains("192.0.2.7 denials=1 "), "{}", penalty(&["list"]));
    assert_eq!(log_in(&one, "192.0.2.7", "bob", "wrong"), 4);
}

/// Between the two commands of a success another host counts two denials.
#[test]
fn a_success_loses_no_denial_that_comes_meanwhile() {
    let taken = Mutex::new(0);
    let server = FakeRedis::start(move |words| match words[0].as_str() {
        "PING" => b"+PONG\r\n".to_vec(),
        "GETRANGE" => b"$1\r\n7\r\n".to_vec(),
        "HELLO" => b"%1\r\n$5\r\nproto\r\n:3\r\n".to_vec(),
        "SUBSCRIBE" => b">3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n".to_vec(),
        "GETDEL" => {
            let mut taken = taken.lock().expect("a number");
            *taken += 1;
            if *taken == 1 { b"$1\r\n1\r\n".to_vec() } else { b"$1\r\n2\r\n".to_vec() }
        }
        "DECRBY" => b":0\r\n".to_vec(),
        _ => b"+OK\r\n".to_vec(),
    });
    let (files, api) = (Files::new(), api());
    let shared = files.shared(&format!("redis://{}", server.address()), "");
    let one = Member::start(&shared, |config| users(config, &api));
    assert_eq!(log_in(&one, "192.0.2.7", "bob", "secret"), 0);
    let puts_back = || {
        let seen: Vec<String> = server.seen().lines().map(str::to_owned).collect();
        seen.windows(3).any(|words| words[0] == "DECRBY" && words[2] == "-2")
    };
    assert!(wait_until(PATIENCE, puts_back), "{}", server.seen());
    assert!(!server.seen().lines().any(|word| word == "DEL"), "{}", server.seen());
}

/// The server has lost what an address had before, and not what the account had.
#[test]
fn a_success_leaves_no_count_below_zero() {
    let (redis, files, api) = (Redis::start(), Files::new(), api());
    let [one] = fleet(&files.shared(&redis.url(), ""), &api);
    for (number, left) in [Some("1"), None].into_iter().enumerate() {
        let remote = format!("192.0.2.{number}");
        let mut open: Vec<Sasl> = (0..3).map(|_| guess_once(&one, "bob", &remote)).collect();
        let of_address = || redis.names().into_iter().find(|name| redis.get(name) == b"4");
        open.push(guess_once(&one, "carol", &remote));
        assert!(wait_until(PATIENCE, || of_address().is_some() && counters(&redis) == 3));
        let address = of_address().expect("a name");
        match left {
            Some(count) => redis.ask(&["SET", &address, count, "PX", "900000"]),
            None => redis.ask(&["DEL", &address]),
        };
        assert_eq!(log_in(&one, &remote, "bob", "secret"), 0);
        assert!(wait_until(PATIENCE, || counters(&redis) == 1), "carol's is left");
        open.push(guess_once(&one, "carol", &remote));
        assert!(wait_until(PATIENCE, || counters(&redis) == 2 && redis.get(&address) == b"1"));
        redis.ask(&["FLUSHALL"]);
    }
}

/// What many denials cost: kB of memory, and the longest of some lookups at the end.
fn flood(one: &Member, is_over: impl FnOnce() -> bool) -> (u64, Duration) {
    let memory = one.setup.broker.resident_kib();
    let began = Instant::now();
    let mut open: Vec<Sasl> = Vec::new();
    for part in 0..TIMES {
        let account = |number| (format!("user{part}-{number}"), format!("198.18.{part}.{number}"));
        open.push(guess(one, (0..EACH).map(account)));
        pause(Duration::from_millis(50));
    }
    let asked = (0..50).map(|number| {
        let began = Instant::now();
        one.look_up(&format!("k{number}"));
        began.elapsed()
    });
    let longest = asked.max().expect("some");
    assert!(is_over());
    let grown = one.setup.broker.resident_kib().saturating_sub(memory);
    println!("{} denials in {:?}, {grown} kB, a lookup {longest:?}", TIMES * EACH, began.elapsed());
    (grown, longest)
}

/// Each denial is counted, and nothing else waits for it. The memory is that of logins that are held back.
#[test]
fn a_thousand_denials_a_second_are_counted() {
    let _alone = alone();
    let (redis, files, api) = (Redis::start(), Files::new(), api());
    let start = |more: &str| {
        Member::start(&files.shared(&redis.url(), more), |config| {
            users(config, &api).map("m", &api.url("/"), &["cache: {fresh: 1h, shared: true}"])
        })
    };
    let (without, _) =
        flood(&start(", penalties: false"), || wait_until(PATIENCE, || api.count() >= TIMES * EACH));
    assert_eq!(redis.calls("incr"), 0);
    let one = start("");
    let all = 2 * (TIMES * EACH) as u64;
    let (grown, longest) = flood(&one, || wait_until(PATIENCE, || redis.calls("incr") >= all));
    assert!(longest < Duration::from_secs(1), "{longest:?}");
    assert!(grown < without + 16 * 1024, "{grown} kB, and {without} kB if they are not counted");
    assert!(!one.setup.broker.log().contains("shared cache lost"), "{}", one.setup.broker.log());
    for name in redis.names() {
        assert!(life(&redis, &name) > 0, "{name}");
    }
}
