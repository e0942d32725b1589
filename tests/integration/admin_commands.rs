//! The administrator's commands `status`, `reload` and `cache purge`, and the socket for them.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;

use serde_json::Value;

use crate::support::backend::{Backend, Reply};
use crate::support::broker::{self, Broker};
use crate::support::command_line::{run, text};
use crate::support::config::{Config, Kind};
use crate::support::copy_program;
use crate::support::peer::Peer;
use crate::support::sasl::Sasl;
use crate::support::site::open_directory;
use crate::support::{PATIENCE, shown};

pub(crate) fn config(directory: &Path, api: &Backend) -> Config {
    let at = |name: &str| directory.join(format!("{name}.sock"));
    Config::new(directory)
        .server("response_cache: {enabled: true, ttl: 1h}")
        .map("m", &api.url("/map"), &["timeout: 2s"])
        .map("fresh", &api.url("/map"), &["cache: {fresh: 1h}"])
        .policy("p", &api.url("/policy"), &["cache: {outage: false}"])
        .policy("strict", &api.url("/policy"), &["on_failure: disconnect", "cache: {outage: false}"])
        .login("users", &api.url("/login"), &[])
        .listen_unix(Kind::Map, "maps", &at("maps"))
        .listen_unix(Kind::Policy, "p", &at("p"))
        .listen_unix(Kind::Policy, "strict", &at("strict"))
        .listen_unix(Kind::Login, "users", &at("users"))
}

#[test]
fn status_reload_and_purge() {
    let directory = open_directory();
    let api = Backend::constant(r#"{"value": "old"}"#);
    let file = config(directory.path(), &api).write();
    let _running = Broker::start(&file);
    let mut peer = Peer::unix(&directory.path().join("maps.sock"));
    assert_eq!((peer.look_up("fresh", "a"), peer.look_up("fresh", "b")), ("OK old".into(), "OK old".into()));
    api.answer_with(|_| Reply::status(500));
    assert!(peer.look_up("m", "k").starts_with("TEMP"));
    let status = || -> Value {
        let told = run(&file, &["status", "--json"], "");
        serde_json::from_slice(&told.stdout).unwrap_or_else(|error| panic!("{error}: {}", text(&told)))
    };
    let now = status();
    assert_eq!((&now["generation"], &now["reloaded"]), (&1.into(), &Value::Null), "{now}");
    assert_eq!(now["listener"].as_array().map(Vec::len), Some(5), "{now}");
    let targets = now["target"].as_array().expect("a list");
    let failed = targets.iter().find(|target| target["name"] == "m").expect("the entry");
    assert_eq!(failed["last_failure"], "unexpected status code 500", "{now}");
    assert_eq!(failed["is_out_of_order"], true);
    let people = text(&run(&file, &["status"], ""));
    assert!(people.contains("target: name=m kind=map ") && !people.contains(['{', '[']), "{people}");
    assert!(people.contains("last_failure=\"unexpected status code 500\""), "{people}");

    api.answer_with(|_| Reply::json(r#"{"value": "new"}"#));
    let purged = run(&file, &["cache", "purge", "fresh", "a"], "");
    assert_eq!(text(&purged), "1 cached answer removed\n");
    assert_eq!((peer.look_up("fresh", "a"), peer.look_up("fresh", "b")), ("OK new".into(), "OK old".into()));
    assert_eq!(status()["cache"]["entries"], 2, "the removed answer is not counted");
    assert_eq!(text(&run(&file, &["cache", "purge"], "")), "2 cached answers removed\n");
    assert_eq!(status()["cache"]["entries"], 0);
    assert_eq!(peer.look_up("fresh", "b"), "OK new");
    for (words, why) in [
        (&["nobody"][..], "there is no entry \"nobody\""),
        (&["p", "k"], "policy"),
        (&["users"], "no login is ever kept"),
    ] {
        let told = run(&file, &[&["cache", "purge"], words].concat(), "");
        assert_eq!(told.status.code(), Some(75), "{words:?}");
        assert!(text(&told).contains(why), "{words:?}: {}", text(&told));
    }

    let reloaded = run(&file, &["reload"], "");
    assert_eq!(text(&reloaded), "reloaded; configuration 2 is active\n");
    assert_eq!((&status()["generation"], &status()["reloaded"]), (&2.into(), &true.into()));
    let good = fs::read_to_string(&file).expect("the configuration");
    fs::write(&file, format!("{good}nonsense: 1\nfolly: 2\n")).expect("the configuration can be written");
    let refused = text(&run(&file, &["reload"], ""));
    assert!(
        refused.contains("nonsense: unknown key\n") && refused.contains("folly: unknown key\n"),
        "{refused}"
    );
    assert_eq!(refused.matches("unknown key").count(), 2, "{refused}");
    // The part of the file before the fault still says where the socket is.
    fs::write(&file, format!("{good}nonsense: [")).expect("the configuration can be written");
    let refused = run(&file, &["reload"], "");
    assert_eq!(refused.status.code(), Some(75), "{}", text(&refused));
    assert!(text(&refused).contains("not reloaded; the running configuration stays\n"), "{}", text(&refused));
    let told = run(&file, &["status"], "");
    assert!(told.status.success() && text(&told).contains("warning: "), "{}", text(&told));
    assert!(run(&file, &["cache", "purge"], "").status.success());
    let told = run(&file, &["query", "map", "m", "k"], "");
    assert_eq!(shown(&told.stdout), shown(b"6:OK new,"), "{}", text(&told));
    fs::write(&file, &good).expect("the configuration can be written");
    assert_eq!((&status()["generation"], &status()["reloaded"]), (&2.into(), &false.into()));
    config(directory.path(), &api).server("max_connections: 400").write();
    let reloaded = run(&file, &["reload"], "");
    assert!(text(&reloaded).contains("need a restart: server.max_connections"), "{}", text(&reloaded));
}

#[test]
fn a_cached_answer_is_shown() {
    let directory = open_directory();
    let api = Backend::constant(r#"{"value": "v", "action": "OK"}"#);
    let config = config(directory.path(), &api).policy("kept", &api.url("/p"), &["cache: {fresh: 1h}"]);
    let file = config.write();
    let _running = Broker::start(&file);
    let show = |words: &[&str]| {
        let told = run(&file, &[&["cache", "show"], words].concat(), "");
        (told.status.code(), text(&told))
    };
    assert_eq!(show(&["fresh", "a"]).0, Some(1), "nothing is cached");
    run(&file, &["query", "map", "fresh", "a"], "");
    run(&file, &["query", "policy", "kept", "sender=a@b"], "");
    for (words, due) in [
        (&["fresh", "a"], "answer: the value v\nage: "),
        (&["kept", "sender=a@b"], "answer: the action OK\nage: "),
    ] {
        let (code, text) = show(words);
        assert!(code == Some(0) && text.starts_with(due), "{words:?}: {text}");
        assert!(text.contains("fresh: for 3") && text.contains("outage: for 3"), "{words:?}: {text}");
    }
    assert_eq!(show(&["fresh", "b"]), (Some(1), "pfxhttp-broker: there is no cached answer\n".to_owned()));
    assert_eq!(show(&["kept", "sender=c@d"]).0, Some(1), "other attributes");
    for words in [&["users", "u"], &["fresk", "a"]] {
        assert_eq!(show(words).0, Some(75), "{words:?}");
    }
}

#[test]
fn penalties_are_listed_and_cleared() {
    let directory = open_directory();
    let api = Backend::start(|_| Reply::with_header("Auth-Status", "no", ""));
    let (target, socket) =
        (format!("target: \"{}\"", api.url("/login")), directory.path().join("users.sock"));
    let config = Config::new(directory.path()).login_of("users", &[&target, "failure_delay: 0s"]);
    let file = config.listen_unix(Kind::Login, "users", &socket).write();
    let _running = Broker::start(&file);
    let penalty = |words: &[&str]| text(&run(&file, &[&["penalty"], words].concat(), ""));
    assert_eq!(penalty(&["list"]), "");
    let mut sasl = Sasl::begin(Peer::unix(&socket));
    sasl.plain(1, "u", "wrong");
    assert!(sasl.line().starts_with("FAIL"));
    let listed = penalty(&["list"]);
    assert!(listed.starts_with("192.0.2.7 denials=1 forgotten_in_s=8"), "{listed}");
    assert_eq!(penalty(&["clear", "192.0.2.8"]), "the denials of 0 addresses are forgotten\n");
    assert_eq!(penalty(&["clear", "192.0.2.7"]), "the denials of 1 address are forgotten\n");
    assert_eq!(penalty(&["list"]), "");
}

#[test]
fn a_user_without_rights_is_told_which_file_is_closed_to_him() {
    let directory = open_directory();
    let api = Backend::constant("{}");
    let file = config(directory.path(), &api).write();
    let _running = Broker::start(&file);
    let copy = directory.path().join("pfxhttp-broker");
    copy_program(env!("CARGO_BIN_EXE_pfxhttp-broker").as_ref(), &copy);
    let told = |config: Option<&Path>, words: &[&str]| {
        let mut command = broker::program(&copy, config.unwrap_or(Path::new("x")));
        if config.is_none() {
            // The program finds the file in HOME.
            command = std::process::Command::new(&copy);
            command.env("HOME", directory.path()).current_dir("/");
        }
        command.args(words).uid(65534).gid(65534).output().expect("it runs")
    };
    let socket = directory.path().join("admin.sock");
    for words in [&["status"][..], &["reload"], &["cache", "purge"], &["query", "map", "m", "k"]] {
        let output = told(Some(&file), words);
        assert_eq!(output.status.code(), Some(75), "{words:?}: {}", text(&output));
        let due = format!("{}: permission denied; run this as root", socket.display());
        assert!(text(&output).contains(&due), "{words:?}: {}", text(&output));
    }
    let own = directory.path().join(".pfxhttp");
    fs::create_dir(&own).expect("a directory");
    let there = own.join("pfxhttp.yml");
    fs::copy(&file, &there).expect("a copy");
    for (closed, mode) in [(&there, 0o600), (&own, 0o700)] {
        fs::set_permissions(closed, fs::Permissions::from_mode(mode)).expect("its mode");
        let output = told(None, &["check"]);
        assert_eq!(output.status.code(), Some(78), "{mode:o}: {}", text(&output));
        let due = format!("{}: error: cannot be read: permission denied", there.display());
        assert!(
            text(&output).contains(&due) && text(&output).contains("as root"),
            "{mode:o}: {}",
            text(&output)
        );
    }
}

#[test]
fn the_admin_socket_takes_well_formed_orders_of_its_owner_alone() {
    let directory = open_directory();
    let api = Backend::constant("{}");
    let file = config(directory.path(), &api).write();
    let running = Broker::start(&file);
    let path = directory.path().join("admin.sock");
    let mode = fs::metadata(&path).expect("the socket").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    for order in ["", "nonsense\n", "{\"order\":\"format\"}\n", "{\"order\":\"status\"", &"x".repeat(400_000)]
    {
        let mut stream = UnixStream::connect(&path).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time limit can be set");
        let _it_may_not_read = stream.write_all(order.as_bytes());
        let _it_may_be_gone = stream.shutdown(std::net::Shutdown::Write);
        let mut answer = String::new();
        let _reset = stream.read_to_string(&mut answer);
        assert!(answer.is_empty() || answer.contains("refused"), "{order:.20}: {answer}");
    }
    // The clients' socket accepts no orders.
    let mut client = UnixStream::connect(Config::ipc(directory.path())).expect("it listens");
    client.write_all(b"{\"order\":\"status\"}\n").expect("it reads");
    let mut answer = Vec::new();
    let _reset = client.read_to_end(&mut answer);
    assert_eq!(answer, b"");
    drop(running);
    assert_eq!(run(&file, &["status"], "").status.code(), Some(75), "there is no broker");
    let good = fs::read_to_string(&file).expect("the configuration");
    fs::write(&file, format!("{good}nonsense: [")).expect("the configuration can be written");
    assert_eq!(
        run(&file, &["status"], "").status.code(),
        Some(78),
        "the file does not say where the socket is"
    );
    assert!(!path.exists() || UnixStream::connect(&path).is_err());
}
