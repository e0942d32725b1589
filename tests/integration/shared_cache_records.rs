//! What is in the shared cache: a record that others have made, changed or moved is never an answer, and nothing can
//! be read without the secret.

use std::time::Duration;

use crate::support::backend::{Backend, Reply, Request};
use crate::support::fleet::{Files, Member, SECRET, fresh, has_records, now_says, outage, purge_and_share};
use crate::support::pause;
use crate::support::redis::Redis;

const TEMP: &str = "TEMP Temporary server problem";

fn telling() -> Backend {
    Backend::start(|request: &Request| {
        Reply::json(&format!(
            r#"{{"value": "mailbox of {}", "action": "REJECT v4lue-of-policy"}}"#,
            request.text("key")
        ))
    })
}

/// What stands in the place of the first of two records.
type Change = fn(&[u8], &[u8]) -> Vec<u8>;

/// A lookup that finds what `change` makes of the first of two records gets no answer, and is counted as `result`. The
/// other record is an answer as before.
fn assert_is_a_miss(change: Change, result: &str) {
    let (redis, files, mut api) = (Redis::start(), Files::new(), telling());
    let shared = files.shared(&redis.url(), "");
    let one = Member::start(&shared, |config| outage(config, &api));
    for key in ["a", "b"] {
        assert_eq!(one.look_up(key), format!("OK mailbox of {key}"));
    }
    assert!(has_records(&redis, 2));
    let names = redis.names();
    let [first, second] = [&names[0], &names[1]].map(|name| redis.get(name));
    api.down();
    let other = Member::start(&shared, |config| outage(config, &api));
    redis.set(&names[0], &change(&first, &second));
    let mut said: Vec<String> = ["a", "b"].map(|key| other.look_up_in_time(key)).into();
    said.sort();
    assert_eq!(said[1], TEMP, "{said:?}");
    assert!(said[0].starts_with("OK mailbox of "), "{said:?}");
    assert_eq!((other.reads(result), other.reads("hit")), (1, 1));
}

#[test]
fn what_another_writer_put_is_a_miss() {
    assert_is_a_miss(|_, _| b"\x01OK bob@example.org".to_vec(), "tag");
    assert_is_a_miss(|_, _| b"OK".to_vec(), "version");
}

#[test]
fn a_record_that_was_moved_is_a_miss() {
    assert_is_a_miss(|_, second| second.to_vec(), "tag");
}

#[test]
fn a_record_that_was_cut_is_a_miss() {
    assert_is_a_miss(|first, _| first[..first.len() - 1].to_vec(), "tag");
}

#[test]
fn a_record_that_was_changed_is_a_miss() {
    let change: Change = |first, _| {
        let mut changed = first.to_vec();
        *changed.last_mut().expect("bytes") ^= 1;
        changed
    };
    assert_is_a_miss(change, "tag");
}

#[test]
fn a_record_of_a_later_version_is_a_miss() {
    assert_is_a_miss(|first, _| [&[2][..], &first[1..]].concat(), "version");
}

#[test]
fn a_record_that_is_longer_than_any_is_a_miss() {
    assert_is_a_miss(|_, _| vec![1; 200_000], "tag");
}

#[test]
fn a_record_of_an_older_epoch_is_a_miss() {
    let (redis, files, api) = (Redis::start(), Files::new(), Backend::constant(r#"{"value": "old"}"#));
    let shared = files.shared(&redis.url(), "");
    let [one, other] = [(); 2].map(|()| Member::start(&shared, |config| fresh(config, &api)));
    assert_eq!(one.look_up("k"), "OK old");
    assert!(has_records(&redis, 1));
    let before = redis.names().remove(0);
    now_says(&api, "new");
    let after = purge_and_share(&one, &redis, "OK new");
    assert_ne!(before.split(':').nth(3), after.split(':').nth(3), "{before} {after}");
    redis.set(&after, &redis.get(&before));
    assert_eq!(other.look_up_in_time("k"), "OK new");
    assert_eq!((other.reads("tag"), other.reads("hit")), (1, 0));
    let third = Member::start(&shared, |config| fresh(config, &api));
    redis.ask(&["DEL", &after]);
    assert_eq!(third.look_up_in_time("k"), "OK new");
    assert_eq!((third.reads("absent"), third.reads("hit")), (1, 0));
}

#[test]
fn a_record_that_is_too_old_is_a_miss() {
    let (redis, files, mut api) = (Redis::start(), Files::new(), telling());
    let shared = files.shared(&redis.url(), "");
    let one = Member::start(&shared, |config| outage(config, &api));
    assert_eq!(one.look_up("a"), "OK mailbox of a");
    assert!(has_records(&redis, 1));
    let hasty = Member::start(&shared, |config| {
        let config = config.server("response_cache: {enabled: true, ttl: 1s}");
        config.map("m", &api.url("/map"), &["cache: {shared: true}"])
    });
    pause(Duration::from_millis(1200));
    api.down();
    assert_eq!(hasty.look_up_in_time("a"), TEMP);
    assert_eq!(hasty.reads("age"), 1);
}

#[test]
fn the_server_learns_no_address_and_no_value() {
    let (redis, files, api) = (Redis::with_password("p4ss-of-redis"), Files::new(), telling());
    let password = files.write("password", "p4ss-of-redis");
    let more = format!(", password_file: \"{}\"", password.display());
    let member = Member::start(&files.shared(&redis.url(), &more), |config| {
        let shared = ["cache: {shared: true}", "http_auth_basic: \"joe:b4sic-password\""];
        let config = config.server("response_cache: {enabled: true, ttl: 1h}");
        config.map("m", &api.url("/p4th"), &shared).policy("p", &api.url("/p4th"), &shared)
    });
    assert_eq!(member.look_up("bob@example.org"), "OK mailbox of bob@example.org");
    let asked = [("request", "smtpd_access_policy"), ("sender", "carol@example.com")];
    assert_eq!(member.setup.policy("p").ask(&asked), "action=REJECT v4lue-of-policy\n\n");
    assert!(has_records(&redis, 2));
    redis.ask(&["SAVE"]);
    let dump = std::fs::read(redis.path("dump.rdb")).expect("a dump");
    let dump = String::from_utf8_lossy(&dump).to_lowercase();
    assert!(dump.contains("pfxhttp:1:"), "the names are in it");
    for word in [
        "bob",
        "example",
        "mailbox",
        "carol",
        "v4lue",
        "p4ss",
        "b4sic",
        "p4th",
        "127.0.0.1",
        &SECRET.to_lowercase()[..12],
    ] {
        assert!(!dump.contains(word), "{word}");
    }
    let log = member.setup.broker.log();
    assert!(!log.contains("p4ss") && !log.contains(SECRET), "{log}");
}
