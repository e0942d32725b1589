//! What is in the shared cache: a record that others have made, changed or moved is never an answer, and nothing can
//! be read without the secret.

use std::time::Duration;

use crate::support::backend::{Backend, Reply, Request};
use crate::support::fleet::{Files, Member, SECRET, has_records, outage};
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

#[test]
fn a_record_of_others_is_no_answer() {
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
    let cut = &first[..first.len() - 1];
    let mut flipped = first.clone();
    *flipped.last_mut().expect("bytes") ^= 1;
    let mut later = first.clone();
    later[0] = 2;
    let bad: [(&str, &[u8], &str); 7] = [
        ("moved", &second, "tag"),
        ("cut", cut, "tag"),
        ("flipped", &flipped, "tag"),
        ("garbage", b"OK", "version"),
        ("text", b"\x01OK bob@example.org", "tag"),
        ("of a later version", &later, "version"),
        ("long", &[1; 200_000], "tag"),
    ];
    for (what, bytes, result) in bad {
        let other = Member::start(&shared, |config| outage(config, &api));
        redis.set(&names[0], bytes);
        redis.set(&names[1], &second);
        let mut said: Vec<String> = ["a", "b"].map(|key| other.look_up_in_time(key)).into();
        said.sort();
        assert_eq!(said[1], TEMP, "{what}: {said:?}");
        assert!(said[0].starts_with("OK mailbox of "), "{what}: {said:?}");
        assert_eq!((other.reads(result), other.reads("hit")), (1, 1), "{what}");
    }
}

#[test]
fn a_record_that_is_too_old_is_no_answer() {
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
