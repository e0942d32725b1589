//! Ways to the server of the shared cache: TLS, a user with an ACL, sentinels; and `check --online`.

use crate::support::backend::Backend;
use crate::support::certificates::Authority;
use crate::support::command_line::{run, text};
use crate::support::config::Config;
use crate::support::fleet::{Files, Member, has_records, outage};
use crate::support::port::Port;
use crate::support::redis::{Redis, Watched};
use crate::support::site::open_directory;
use crate::support::{PATIENCE, wait_until};

const GOOD: &str = r#"{"value": "v"}"#;
/// What a user of the server may do, in the words of its ACL.
const RIGHTS: &str = "~pfxhttp:* resetchannels &pfxhttp:* -@all +ping +getrange +set +del +incr +pexpire \
                      +getdel +decrby +publish +subscribe";

/// Whether a second broker gives what a first one has learned.
fn shares(shared: &str, redis: &Redis) {
    let mut api = Backend::constant(GOOD);
    let [one, other] = [(); 2].map(|()| Member::start(shared, |config| outage(config, &api)));
    assert_eq!(one.look_up("k"), "OK v");
    assert!(has_records(redis, 1));
    api.down();
    assert_eq!(other.look_up_in_time("k"), "OK v");
}

#[test]
fn tls_is_that_of_an_api() {
    let (authority, files, directory) = (Authority::new("good"), Files::new(), open_directory());
    let redis = Redis::with_tls(&authority);
    let root = authority.write(directory.path(), "root.crt");
    let (cert, key) = authority.client().write(directory.path(), "client");
    let tls = format!(
        ", tls: {{root_ca: \"{}\", cert: \"{}\", key: \"{}\"}}",
        root.display(),
        cert.display(),
        key.display()
    );
    let url = format!("rediss://{}", redis.address());
    shares(&files.shared(&url, &tls), &redis);
    let api = Backend::constant(GOOD);
    let strange = Authority::new("strange").write(directory.path(), "strange.crt");
    let wrong = format!(", tls: {{root_ca: \"{}\"}}", strange.display());
    let member = Member::start_alone(&files.shared(&url, &wrong), |config| outage(config, &api));
    assert!(
        member.setup.broker.logged(&["shared cache not reached", "TLS: "]),
        "{}",
        member.setup.broker.log()
    );
    let plain = format!("redis://{}", redis.address());
    let member = Member::start_alone(&files.shared(&plain, ""), |config| outage(config, &api));
    assert!(member.setup.broker.logged(&["shared cache not reached"]), "{}", member.setup.broker.log());
    assert_eq!(member.look_up("k"), "OK v");
}

/// The line of the manual.
#[test]
fn a_user_needs_no_more_than_its_acl_says() {
    let (redis, files) = (Redis::on_tcp(), Files::new());
    let page =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/src/operation/several-hosts.md"));
    let page = page.expect("the chapter");
    let line =
        page.lines().find_map(|line| line.strip_prefix("user pfxhttp ")).expect("a line for users.acl");
    assert_eq!(line, format!("on >A-LONG-PASSWORD {RIGHTS}"));
    let line = line.replace(">A-LONG-PASSWORD", ">s3cret-of-user");
    let words: Vec<&str> = ["ACL", "SETUSER", "pfxhttp"].into_iter().chain(line.split(' ')).collect();
    redis.ask(&words);
    let password = files.write("password", "s3cret-of-user");
    let url = format!("redis://pfxhttp@{}/0", redis.address());
    shares(&files.shared(&url, &format!(", password_file: \"{}\"", password.display())), &redis);
    let refused = redis.ask(&["ACL", "LOG"]);
    assert_eq!(refused, crate::support::redis::Told::List(vec![]), "{refused:?}");
}

#[test]
fn check_online_tries_the_shared_cache() {
    let (mut redis, files, api) = (Redis::start(), Files::new(), Backend::constant(GOOD));
    let directory = open_directory();
    let check = |shared: &str| {
        let config = outage(Config::new(directory.path()).server(shared), &api);
        let output = run(&config.write(), &["check", "--online"], "");
        (output.status.code(), text(&output))
    };
    let shared = files.shared(&redis.url(), "");
    let (code, told) = check(&shared);
    assert_eq!(code, Some(0), "{told}");
    assert!(
        told.contains("shared cache unix:") && told.contains(": good: a record was written and read"),
        "{told}"
    );
    assert!(told.contains("; shared cache: 1"), "{told}");
    assert!(redis.ask(&["KEYS", "pfxhttp:1:check:*"]).texts().is_empty(), "it leaves nothing");
    let others = Files::new();
    others.write("secret", "another-secret-of-48-characters-0123456789-0123");
    let (code, told) = check(&others.shared(&redis.url(), ""));
    assert_eq!(code, Some(69), "{told}");
    assert!(told.contains("another host has another secret in server.shared.secret_file"), "{told}");
    redis.kill();
    let (code, told) = check(&shared);
    assert!(code == Some(69) && told.contains("not reached: connection refused"), "{told}");
    let nobody = Port::reserve();
    let (code, told) = check(&files.shared(&format!("redis://{}", nobody.address()), ""));
    assert!(code == Some(69) && told.contains("not reached: connection refused"), "{told}");
}

/// Each command that the line of the manual allows is tried, and named if it is missing.
#[test]
fn check_online_names_the_commands_that_an_acl_forbids() {
    let (redis, files, api) = (Redis::on_tcp(), Files::new(), Backend::constant(GOOD));
    let directory = open_directory();
    let password = files.write("password", "s3cret-of-user");
    let url = format!("redis://pfxhttp@{}/0", redis.address());
    let check = |words: &str, more: &str| {
        let words = words.split(' ').filter(|word| !word.is_empty());
        let rule = ["ACL", "SETUSER", "pfxhttp", "reset", "on", ">s3cret-of-user"].into_iter();
        let told = redis.ask(&rule.chain(words).collect::<Vec<_>>());
        assert_eq!(told, crate::support::redis::Told::Text("OK".to_owned()));
        let shared = files.shared(&url, &format!(", password_file: \"{}\"{more}", password.display()));
        let config = outage(Config::new(directory.path()).server(&shared), &api);
        let output = run(&config.write(), &["check", "--online"], "");
        (output.status.code(), text(&output))
    };
    let (code, told) = check(RIGHTS, "");
    assert!(code == Some(0) && told.contains("no command is refused"), "{told}");
    let commands: Vec<&str> = RIGHTS.split(' ').filter_map(|word| word.strip_prefix('+')).collect();
    assert!(commands.len() > 8, "{commands:?}");
    for command in commands.iter().filter(|command| **command != "ping") {
        let (code, told) = check(&format!("{RIGHTS} -{command}"), "");
        let pattern = if command.ends_with("publish") || command.ends_with("subscribe") { '&' } else { '~' };
        let due = format!(
            "it refuses {} ({pattern}pfxhttp:*): the user may not do this (its ACL): ",
            command.to_uppercase()
        );
        assert!(code == Some(69) && told.contains(&due), "{command}: {told}");
        assert!(told.contains(&format!("'{command}' command")), "{command}: {told}");
    }
    let (code, told) = check(&format!("{RIGHTS} -incr -getdel -publish"), "");
    assert!(code == Some(69), "{told}");
    assert!(told.contains("it refuses INCR, GETDEL (~pfxhttp:*) and PUBLISH (&pfxhttp:*): "), "{told}");
    // Denied logins are not counted.
    let (code, told) = check(&format!("{RIGHTS} -decrby -getdel"), ", penalties: false");
    assert!(code == Some(0), "{told}");
    for (wrong, due) in [
        (RIGHTS.replace("~pfxhttp:*", "~other:*"), "it refuses SET (~pfxhttp:*): "),
        (RIGHTS.replace("&pfxhttp:*", "&other:*"), "it refuses SUBSCRIBE, PUBLISH (&pfxhttp:*): "),
    ] {
        let (code, told) = check(&wrong, "");
        assert!(code == Some(69) && told.contains(due), "{told}");
    }
    let left = redis.ask(&["KEYS", "pfxhttp:1:check:*"]).texts();
    for name in &left {
        let life = redis.ask(&["PTTL", name]).text().parse::<i64>().expect("a number");
        assert!(life <= 10_000, "{name}: {life}");
    }
}

/// The files of the chapter, with those of the test.
#[test]
fn the_server_of_the_book_runs() {
    let page =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/src/operation/several-hosts.md"));
    let page = page.expect("the chapter");
    let block = page.split("```").find(|block| block.starts_with("text\n# redis.conf\n")).expect("a block");
    let (authority, files, directory) = (Authority::new("good"), Files::new(), open_directory());
    let root = authority.write(directory.path(), "ca.crt");
    authority.server(crate::support::certificates::Flaw::None).write(directory.path(), "server");
    let users =
        page.split("```").find(|block| block.starts_with("text\nuser default off\n")).expect("a block");
    // The test itself asks without a user.
    let users =
        users.trim_start_matches("text\n").replace("user default off", "user default on nopass ~* +@all");
    std::fs::write(directory.path().join("users.acl"), users).expect("a file");
    let port = Port::reserve();
    let text =
        block.trim_start_matches("text\n").replace("/etc/redis", &directory.path().display().to_string());
    let redis = Redis::with_file(&text.replace("6380", &port.number().to_string()));
    let password = files.write("password", "A-LONG-PASSWORD");
    let more =
        format!(", password_file: \"{}\", tls: {{root_ca: \"{}\"}}", password.display(), root.display());
    shares(&files.shared(&format!("rediss://pfxhttp@{}/0", port.address()), &more), &redis);
}

#[test]
fn sentinels_name_the_master_and_a_failover_is_followed() {
    let (mut watched, files) = (Watched::start(), Files::new());
    let mut api = Backend::constant(GOOD);
    let nobody = Port::reserve();
    let sentinels = format!("\"redis://{}\", \"redis://{}\"", nobody.address(), watched.sentinel.address());
    let more = format!(", sentinel: {{master: mail, urls: [{sentinels}]}}");
    // Host and port are not used.
    let shared = files.shared("redis://nowhere.invalid", &more);
    let [one, other] = [(); 2].map(|()| Member::start(&shared, |config| outage(config, &api)));
    assert_eq!(one.look_up("k"), "OK v");
    assert!(has_records(&watched.replica, 1), "it is replicated");
    watched.master.kill();
    for member in [&one, &other] {
        assert_eq!(member.look_up("during"), "OK v");
        assert!(wait_until(PATIENCE, || member.setup.broker.log().contains("shared cache lost")));
    }
    assert!(one.is_up() && other.is_up(), "{}", one.setup.broker.log());
    assert_eq!(one.look_up("later"), "OK v");
    assert!(wait_until(PATIENCE, || watched.replica.names().len() >= 2), "the new master takes writes");
    api.down();
    for key in ["k", "later"] {
        assert_eq!(other.look_up_in_time(key), "OK v", "{key}");
    }
    let wrong = more.replace("mail", "other");
    let member =
        Member::start_alone(&files.shared("redis://nowhere.invalid", &wrong), |config| outage(config, &api));
    assert!(member.setup.broker.logged(&["shared cache not reached", "it knows no master of this name"]));
}
