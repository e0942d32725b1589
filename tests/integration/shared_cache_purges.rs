//! A purge on one host is one on all: of a key, of an entry, and for those that had no connection.

use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::support::alone;
use crate::support::backend::Backend;
use crate::support::fleet::{Files, Member, fresh, has_records, now_says, purge, says};
use crate::support::redis::Redis;

/// A socket that can be taken away from one broker alone.
struct Door {
    path: PathBuf,
    to: PathBuf,
}

impl Door {
    fn new(files: &Files, redis: &Redis) -> Self {
        let door = Self { path: files.path("door.sock"), to: redis.path("redis.sock") };
        door.open();
        door
    }

    fn url(&self) -> String {
        format!("unix:{}", self.path.display())
    }

    fn open(&self) {
        symlink(&self.to, &self.path).expect("a link");
    }

    /// No new connections over it, and `member` loses its own.
    fn close(&self, redis: &Redis, member: &Member) {
        std::fs::remove_file(&self.path).expect("a link");
        redis.ask(&["CLIENT", "KILL", "TYPE", "pubsub"]);
        assert!(member.is_down());
    }
}

#[test]
fn a_purge_is_one_on_all_hosts() {
    let (redis, files, api) = (Redis::start(), Files::new(), Backend::constant(r#"{"value": "old"}"#));
    let shared = files.shared(&redis.url(), "");
    let members = [(); 3].map(|()| Member::start(&shared, |config| fresh(config, &api)));
    for member in &members {
        assert_eq!((member.look_up("k"), member.look_up("l")), ("OK old".to_owned(), "OK old".to_owned()));
    }
    assert!(has_records(&redis, 2));
    now_says(&api, "new");
    let [one, others @ ..] = &members;
    purge(one, &["m", "k"]);
    for other in others {
        let took = says(other, "k", "OK new");
        assert!(took < Duration::from_secs(1), "{took:?}");
        assert_eq!(other.look_up("l"), "OK old", "another key stays");
    }
    assert_eq!(one.look_up("k"), "OK new");
    purge(one, &["m"]);
    for member in &members {
        let took = says(member, "l", "OK new");
        assert!(took < Duration::from_secs(1), "{took:?}");
    }
    let requests = api.count();
    for member in &members {
        for key in ["k", "l"] {
            says(member, key, "OK new");
        }
    }
    assert!(api.count() <= requests + 3, "each host asks once at most");
    now_says(&api, "last");
    // The server loses the number: a host gives it back.
    redis.ask(&["FLUSHALL"]);
    purge(one, &[]);
    for member in &members {
        says(member, "l", "OK last");
    }
}

/// How long other hosts need, from the end of the command on: the median of several purges.
#[test]
fn a_purge_is_seen_elsewhere_within_100_ms() {
    const ROUNDS: usize = 9;
    let _alone = alone();
    let (redis, files, api) = (Redis::start(), Files::new(), Backend::constant(r#"{"value": "v0"}"#));
    let shared = files.shared(&redis.url(), "");
    let [one, others @ ..] = [(); 3].map(|()| Member::start(&shared, |config| fresh(config, &api)));
    for (words, what) in [(&["m", "k"][..], "a key"), (&["m"][..], "an entry"), (&[][..], "all")] {
        let mut times = Vec::new();
        for round in 0..ROUNDS {
            let value = format!("{}-{round}", what.len());
            others.iter().for_each(|other| drop(other.look_up("k")));
            now_says(&api, &value);
            purge(&one, words);
            let began = Instant::now();
            for other in &others {
                says(other, "k", &format!("OK {value}"));
                times.push(began.elapsed());
            }
        }
        times.sort_unstable();
        let (median, longest) = (times[times.len() / 2], times[times.len() - 1]);
        println!("{what}: seen elsewhere after {median:?}, at most {longest:?}");
        assert!(median < Duration::from_millis(100), "{what}: {times:?}");
    }
}

#[test]
fn a_host_that_was_away_does_not_give_what_was_purged() {
    let (redis, files, api) = (Redis::start(), Files::new(), Backend::constant(r#"{"value": "old"}"#));
    let door = Door::new(&files, &redis);
    let [one, other] = [redis.url(), door.url()]
        .map(|url| Member::start(&files.shared(&url, ""), |config| fresh(config, &api)));
    assert_eq!((one.look_up("k"), other.look_up("k")), ("OK old".to_owned(), "OK old".to_owned()));
    door.close(&redis, &other);
    assert!(one.is_up());
    now_says(&api, "new");
    purge(&one, &["m"]);
    assert_eq!(one.look_up("k"), "OK new");
    assert_eq!(other.look_up("k"), "OK old", "it does not know yet");
    door.open();
    assert!(other.is_up());
    assert_eq!(other.look_up("k"), "OK new");
    // The other way round: the host that purges has no connection.
    door.close(&redis, &other);
    assert!(one.is_up());
    now_says(&api, "last");
    let told = purge(&other, &["m"]);
    assert!(told.contains("when the shared cache is connected"), "{told}");
    let told = purge(&other, &["m", "k"]);
    assert!(told.contains("other hosts keep"), "{told}");
    assert_eq!((one.look_up("k"), other.look_up("k")), ("OK new".to_owned(), "OK last".to_owned()));
    door.open();
    assert!(other.is_up());
    says(&one, "k", "OK last");
}
