//! Brokers that share answers: what one has learned, the others and a restarted one give while the API is away, and
//! nothing is read where the API answers.

use std::time::{Duration, Instant};

use crate::support::backend::{Backend, Reply, Request};
use crate::support::command_line::{run, text};
use crate::support::fleet::{Files, Member, has_records, outage};
use crate::support::redis::Redis;
use crate::support::{PATIENCE, pause, wait_until};

const TEMP: &str = "TEMP Temporary server problem";
const GOOD: &str = r#"{"value": "v", "action": "REJECT no"}"#;
const ASKED: [(&str, &str); 2] = [("request", "smtpd_access_policy"), ("sender", "a@example.com")];

#[test]
fn what_one_broker_has_learned_all_answer_with() {
    let (redis, files, mut api) = (Redis::start(), Files::new(), Backend::constant(GOOD));
    let shared = files.shared(&redis.url(), "");
    let [mut one, other, third] = [(); 3].map(|()| Member::start(&shared, |config| outage(config, &api)));
    assert_eq!(one.look_up("k"), "OK v");
    assert_eq!(one.setup.policy("p").ask(&ASKED), "action=REJECT no\n\n");
    assert!(has_records(&redis, 2));
    api.down();
    for member in [&other, &third] {
        let began = Instant::now();
        assert_eq!(member.look_up_in_time("k"), "OK v");
        assert!(began.elapsed() < Duration::from_millis(500), "took {:?}", began.elapsed());
        assert_eq!(member.setup.policy("p").ask(&ASKED), "action=REJECT no\n\n");
        assert_eq!(member.look_up("another"), TEMP);
        assert_eq!(
            member.setup.policy("p").ask(&[("sender", "b@example.com")]),
            "action=DEFER Temporary server problem\n\n"
        );
        assert_eq!(member.reads("hit"), 2);
        assert_eq!(member.look_up("k"), "OK v");
        assert_eq!(member.reads("hit"), 2, "it is in the broker's own cache now");
    }
    one.setup.broker.kill();
    one.setup.broker.start_again();
    assert!(one.is_up());
    assert_eq!(one.look_up_in_time("k"), "OK v", "a restart forgets nothing");
    assert_eq!(one.setup.policy("p").ask(&ASKED), "action=REJECT no\n\n");
}

#[test]
fn a_lookup_that_the_api_answers_reads_nothing() {
    let (redis, files, api) = (Redis::start(), Files::new(), Backend::constant(GOOD));
    let member = Member::start(&files.shared(&redis.url(), ""), |config| outage(config, &api));
    let before = redis.calls("getrange");
    for number in 0..50 {
        assert_eq!(member.look_up(&format!("k{}", number % 25)), "OK v");
    }
    assert!(has_records(&redis, 25));
    assert_eq!(redis.calls("getrange"), before);
    assert!(wait_until(PATIENCE, || member.writes("ok") == 25), "{}", member.writes("ok"));
    api.answer_with(|_| Reply::json(r#"{"value": "w"}"#));
    assert_eq!(member.look_up("k0"), "OK w");
    assert!(wait_until(PATIENCE, || member.writes("ok") == 26), "what has changed is written at once");
    for result in ["hit", "absent", "late", "down", "error", "version", "tag", "age"] {
        assert_eq!(member.reads(result), 0, "{result}");
    }
}

#[test]
fn a_fresh_answer_of_another_host_makes_no_request() {
    let api = Backend::start(|request: &Request| match request.text("key").as_str() {
        "none" => Reply::json("{}"),
        _ => Reply::json(GOOD),
    });
    let (redis, files) = (Redis::start(), Files::new());
    let shared = files.shared(&redis.url(), "");
    let configure = |config: crate::support::config::Config| {
        config.map("m", &api.url("/"), &["cache: {fresh: 2s, negative: 1h, shared: true}"])
    };
    let [one, other] = [(); 2].map(|()| Member::start(&shared, configure));
    assert_eq!((one.look_up("k"), one.look_up("none")), ("OK v".to_owned(), "NOTFOUND ".to_owned()));
    assert_eq!((one.reads("absent"), api.count()), (2, 2));
    assert!(has_records(&redis, 2));
    for _ in 0..3 {
        assert_eq!((other.look_up("k"), other.look_up("none")), ("OK v".to_owned(), "NOTFOUND ".to_owned()));
    }
    assert_eq!((other.reads("hit"), api.count()), (2, 2), "one read each, and no request");
    pause(Duration::from_millis(2200));
    assert_eq!(other.look_up("k"), "OK v");
    assert_eq!(api.count(), 3, "its time is that of the first answer");
}

#[test]
fn what_was_removed_does_not_come_back() {
    let (redis, files, mut api) = (Redis::start(), Files::new(), Backend::constant(GOOD));
    let shared = files.shared(&redis.url(), "");
    let [one, other] = [(); 2].map(|()| Member::start(&shared, |config| outage(config, &api)));
    assert_eq!(one.look_up("k"), "OK v");
    assert!(has_records(&redis, 1));
    let name = redis.names().remove(0);
    let record = redis.get(&name);
    api.answer_with(|_| Reply::json("{}"));
    assert_eq!(one.look_up("k"), "NOTFOUND ");
    assert!(wait_until(PATIENCE, || redis.get(&name) != record), "the absence is written");
    api.down();
    assert_eq!(other.look_up_in_time("k"), TEMP);
    assert_eq!(other.reads("hit"), 1, "the absence stands for nothing");
}

#[test]
fn entries_with_other_settings_share_nothing() {
    let (redis, files, mut api) = (Redis::start(), Files::new(), Backend::constant(GOOD));
    let shared = files.shared(&redis.url(), "");
    let start = |name: &str, target: &str, more: &str| {
        Member::start(&shared, |config| {
            let config = config.server("response_cache: {enabled: true, ttl: 1h}");
            config.map(name, target, &["cache: {shared: true}", more])
        })
    };
    let (url, other) = (api.url("/map"), api.url("/other"));
    let one = start("m", &url, "timeout: 2s");
    let same = start("m", &url, "timeout: 3s");
    let differ = [
        ("n", &url, "timeout: 2s"),
        ("m", &other, "timeout: 2s"),
        ("m", &url, "absent_value: error"),
        ("m", &url, "custom_headers: [\"X-Tenant: b\"]"),
        ("m", &url, "recipient_delimiter: \"+\""),
        ("m", &url, "not_found_status: [404]"),
    ];
    let differ = differ.map(|(name, url, more)| (name, more, start(name, url, more)));
    assert_eq!(one.look_up("k"), "OK v");
    assert!(has_records(&redis, 1));
    api.down();
    assert_eq!(same.look_up_in_time("k"), "OK v", "a time limit changes no answer");
    for (name, more, member) in &differ {
        assert_eq!(member.setup.map().look_up(name, "k"), TEMP, "{name} {more}");
        assert_eq!(member.reads("absent"), 1, "{name} {more}");
    }
}

#[test]
fn a_purge_holds_on_its_host() {
    let (redis, files, api) = (Redis::start(), Files::new(), Backend::constant(GOOD));
    let member = Member::start(&files.shared(&redis.url(), ""), |config| {
        config.map("m", &api.url("/"), &["cache: {fresh: 1h, shared: true}"])
    });
    assert_eq!((member.look_up("k"), member.look_up("l")), ("OK v".to_owned(), "OK v".to_owned()));
    assert!(has_records(&redis, 2));
    let purge = |words: &[&str]| {
        let output = run(member.setup.broker.config(), &[&["cache", "purge"], words].concat(), "");
        assert!(output.status.success(), "{}", text(&output));
    };
    purge(&["m", "k"]);
    assert!(has_records(&redis, 1), "the record is removed");
    assert_eq!((member.look_up("k"), member.look_up("l")), ("OK v".to_owned(), "OK v".to_owned()));
    assert_eq!(api.count(), 3, "only `k` is asked for again");
    assert!(has_records(&redis, 2));
    purge(&["m"]);
    assert_eq!((member.look_up("k"), member.look_up("l")), ("OK v".to_owned(), "OK v".to_owned()));
    assert_eq!(api.count(), 5, "both are");
    assert_eq!((member.look_up("k"), api.count()), ("OK v".to_owned(), 5), "and are fresh again");
}

#[test]
fn a_reload_keeps_the_connection_unless_its_settings_change() {
    let (redis, files, api) = (Redis::start(), Files::new(), Backend::constant(GOOD));
    let member = Member::start(&files.shared(&redis.url(), ""), |config| outage(config, &api));
    assert_eq!(member.look_up("k"), "OK v");
    let since = || member.status()["since"].clone();
    let clients = || {
        let all = redis.ask(&["CLIENT", "LIST"]).text();
        let ids = all.lines().filter(|line| line.contains(" sub=1 "));
        ids.filter_map(|line| line.split(' ').next().map(str::to_owned)).collect::<Vec<_>>()
    };
    let (before, known) = (since(), clients());
    assert_eq!(known.len(), 1, "{known:?}");
    let file = member.setup.broker.config().to_owned();
    let text = std::fs::read_to_string(&file).expect("a file");
    std::fs::write(&file, text.replace("timeout: 2s", "timeout: 1s")).expect("a file");
    assert!(member.setup.broker.reload());
    assert_eq!((since(), clients()), (before, known.clone()));
    assert_eq!(member.look_up("k"), "OK v");
    std::fs::write(&file, text.replace("wait: 50ms", "wait: 20ms")).expect("a file");
    assert!(member.setup.broker.reload());
    assert!(member.is_up());
    assert!(wait_until(PATIENCE, || clients().len() == 1 && clients() != known), "{:?}", clients());
    assert_eq!(member.look_up("k"), "OK v");
}
