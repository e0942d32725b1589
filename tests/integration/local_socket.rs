//! The clients' socket: which users may connect, which requests are allowed, and who owns the socket.

use std::fs::{File, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use pfxhttp::model::{Answer, Failure, Question};
use pfxhttp::wire::ipc::{Service, Verdict};

use crate::support::backend::{Backend, Reply, Request};
use crate::support::broker::{self, Broker, refused_start};
use crate::support::client::{self, Client};
use crate::support::config::Config;
use crate::support::copy_program;
use crate::support::frames::{Frames, map_question, policy_question};
use crate::support::peer::Peer;
use crate::support::setup::Setup;
use crate::support::site::open_directory;

const TEMP: &str = "TEMP Temporary server problem";
const NOBODY: u32 = 65534;

fn policy(name: &str) -> Service {
    Service::Policy { name: name.to_owned() }
}

/// A client sends a lookup again with the budget that is left, not with a new one.
#[test]
fn a_lookup_that_is_sent_again_has_the_rest_of_its_budget() {
    let api = Backend::start(|_: &Request| Reply::stall());
    let setup = Setup::start(|config| config.map("m", &api.url("/"), &["timeout: 5s"]));
    let mut frames = Frames::connect(&setup.ipc());
    frames.say_hello(&Service::Socketmap);
    let verdict = frames.welcome().expect("a greeting").verdict;
    assert_eq!(verdict, Verdict::Served { budget_ms: 5000, on_failure: None, mechanisms: Vec::new() });
    let start = Instant::now();
    frames.ask(7, Duration::from_millis(4800), &map_question("m", "k"));
    let told = frames.told().expect("an answer");
    let took = start.elapsed();
    let failed = Answer::Failed { failure: Failure::Timeout, on_failure: None };
    assert_eq!((told.id, told.answer), (7, failed));
    assert!((Duration::from_millis(100)..Duration::from_secs(1)).contains(&took), "it took {took:?}");
    assert_eq!(api.count(), 1, "there was time left to ask");

    frames.ask(8, Duration::from_secs(60), &map_question("m", "late"));
    let told = frames.told().expect("an answer");
    assert_eq!(told.id, 8);
    assert!(matches!(told.answer, Answer::Failed { .. }), "{told:?}");
}

#[test]
fn a_request_for_another_service_closes_the_connection() {
    let api = Backend::constant(r#"{"value": "v", "action": "OK"}"#);
    let url = api.url("/");
    let setup =
        Setup::start(|config| config.map("m", &url, &[]).policy("p", &url, &[]).policy("q", &url, &[]));
    let cases: [(&str, Service, Question); 4] = [
        ("another policy", policy("p"), policy_question("q")),
        ("a policy's name as a beginning", policy("p"), policy_question("pp")),
        ("a map on a policy connection", policy("p"), map_question("m", "k")),
        ("a policy on a map connection", Service::Socketmap, policy_question("p")),
    ];
    for (what, service, question) in cases {
        let mut frames = Frames::connect(&setup.ipc());
        frames.say_hello(&service);
        frames.ask(1, Duration::ZERO, &question);
        assert!(frames.welcome().is_some(), "{what}: the hello was right");
        assert_eq!(frames.told(), None, "{what}");
    }
    let mut frames = Frames::connect(&setup.ipc());
    frames.ask(1, Duration::ZERO, &map_question("m", "k"));
    assert_eq!(frames.told(), None, "a request before a hello");
    assert_eq!(api.count(), 0, "no request was made");

    let mut frames = Frames::connect(&setup.ipc());
    frames.say_hello(&policy("p"));
    frames.ask(1, Duration::ZERO, &policy_question("p"));
    assert!(
        frames.welcome().is_some() && frames.told().is_some(),
        "a request for its own service is answered"
    );
    assert_eq!(api.count(), 1);
}

/// Copies a program to where every user may run it.
fn copied(program: &Path, directory: &Path) -> PathBuf {
    let copy = directory.join(program.file_name().expect("a program has a name"));
    copy_program(program, &copy);
    copy
}

fn nobodys_client(directory: &Path, arguments: &[&str]) -> Peer {
    let mut command = Command::new(copied(&client::program(), directory));
    command.arg("--socket").arg(Config::ipc(directory)).args(arguments).uid(NOBODY).gid(NOBODY);
    Peer::client(Client::launch(command))
}

#[test]
fn only_users_in_allow_users_may_ask() {
    let (api, directory) = (Backend::constant(r#"{"value": "v"}"#), open_directory());
    let config = Config::new(directory.path()).map("m", &api.url("/"), &[]);
    let broker = Broker::start(&config.ipc_field("allow_users: [nobody]").write());
    for round in 1..=2 {
        let mut peer = Peer::asking(&Config::ipc(directory.path()), &["--timeout", "1", "socketmap"]);
        assert_eq!(peer.look_up("m", "k"), TEMP, "root is not in allow_users, round {round}");
    }
    assert_eq!(api.count(), 0, "no request was made");
    let mut peer = nobodys_client(directory.path(), &["socketmap"]);
    assert_eq!(peer.look_up("m", "k"), "OK v", "allow_users is not set");
    assert!(broker.logged(&["WARN", "allow_users", "user=\"0\"", "name=\"root\""]), "{}", broker.log());
    let warnings = broker.log().lines().filter(|line| line.contains("allow_users")).count();
    assert_eq!(warnings, 1, "one line for the user, however often it tries: {}", broker.log());
}

#[test]
fn without_allow_users_every_user_who_may_open_the_socket_may_ask() {
    let (api, directory) = (Backend::constant(r#"{"value": "v"}"#), open_directory());
    let _broker = Broker::start(&Config::new(directory.path()).map("m", &api.url("/"), &[]).write());
    assert_eq!(nobodys_client(directory.path(), &["socketmap"]).look_up("m", "k"), "OK v");
}

fn lock_of(config: &Config) -> (PathBuf, File) {
    let path = Config::ipc(config.directory()).with_extension("sock.lock");
    let lock = File::create(&path).expect("the test's directory can be written to");
    (path, lock)
}

/// The lock of a broker that starts or stops and does not listen.
#[test]
fn a_held_lock_prevents_the_start() {
    let directory = open_directory();
    let config = Config::new(directory.path()).map("m", "http://127.0.0.1:1/", &[]);
    let (_, lock) = lock_of(&config);
    lock.lock().expect("the lock is free");
    let file = config.write();
    let (code, text) = refused_start(&file);
    assert!(code.is_some_and(|code| code != 0), "exit code {code:?}: {text}");
    let socket = Config::ipc(directory.path());
    assert!(text.contains(&format!("{}: ", socket.display())), "the message names the socket: {text}");
    assert!(!socket.exists(), "nothing was bound");
    drop(lock);
    let _broker = Broker::start(&file);
}

#[test]
fn a_lock_file_of_another_user_is_no_obstacle() {
    let (api, directory) = (Backend::constant(r#"{"value": "v"}"#), open_directory());
    let config = Config::new(directory.path()).map("m", &api.url("/"), &[]);
    let owners =
        [("left by user nobody, started by root", NOBODY, None), ("the other way round", 0, Some(NOBODY))];
    for (what, owner, user) in owners {
        let (path, lock) = lock_of(&config);
        chown(&path, Some(owner), Some(owner)).expect("root may give it away");
        std::fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("its mode can be set");
        drop(lock);
        chown(directory.path(), user, user).expect("root may give it away");
        let program = copied(Path::new(env!("CARGO_BIN_EXE_pfxhttp-broker")), directory.path());
        let _broker = Broker::start_as(&config.write(), &program, user.unwrap_or(0));
        let mut peer = Peer::asking(&Config::ipc(directory.path()), &["socketmap"]);
        assert_eq!(peer.look_up("m", "k"), "OK v", "{what}");
    }
}

#[test]
fn a_directory_with_the_setgid_bit_gives_a_socket_its_group() {
    const DAEMON: u32 = 1;
    let (api, directory) = (Backend::constant(r#"{"value": "v"}"#), open_directory());
    let own = directory.path().join("own");
    std::fs::create_dir(&own).expect("a directory");
    chown(&own, Some(NOBODY), Some(DAEMON)).expect("root may give it away");
    std::fs::set_permissions(&own, Permissions::from_mode(0o2755)).expect("its mode can be set");
    let program = copied(Path::new(env!("CARGO_BIN_EXE_pfxhttp-broker")), directory.path());
    let file = Config::new(&own).map("m", &api.url("/"), &[]).ipc_field("group: daemon").write();
    // nobody is in no other group, so chown(2) to another one is denied.
    let check = broker::program(&program, &file).args(["check", "--strict"]).uid(NOBODY).gid(NOBODY).output();
    let check = check.expect("it runs");
    assert!(check.status.success(), "{check:?}");
    let _broker = Broker::start_as(&file, &program, NOBODY);
    let socket = std::fs::metadata(Config::ipc(&own)).expect("a socket");
    assert_eq!((socket.uid(), socket.gid(), socket.mode() & 0o7777), (NOBODY, DAEMON, 0o666));
}
