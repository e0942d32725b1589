//! What `query` prints: hints if something is wrong, suggestions for a name without entry, and no
//! control characters to a terminal.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::support::backend::{Backend, Reply};
use crate::support::broker::Broker;
use crate::support::command_line::{self, text};
use crate::support::config::{Config, Kind};
use crate::support::peer::Peer;
use crate::support::redis::Redis;
use crate::support::site::open_directory;

/// Runs a command, with a password on its standard input.
fn run(config: &Path, words: &[&str]) -> Output {
    command_line::run(config, words, "password\n")
}

/// Runs the same with a terminal as standard output.
fn on_a_terminal(config: &Path, words: &str) -> String {
    let broker = env!("CARGO_BIN_EXE_pfxhttp-broker");
    let line = format!("{broker} --config {} {words}", config.display());
    let mut command = Command::new("/usr/bin/script");
    command.args(["--quiet", "--return", "--command", &line, "/dev/null"]).stdin(Stdio::null());
    let output = command.output().expect("script can be started: package bsdutils");
    assert!(output.status.success(), "{words}: {}", text(&output));
    // The terminal ends a line with CR LF.
    String::from_utf8_lossy(&output.stdout).replace("\r\n", "\n")
}

#[test]
fn a_terminal_gets_escapes_and_a_pipe_gets_the_bytes() {
    let directory = open_directory();
    let api = Backend::start(|request| match request.path.as_str() {
        "/users" => Reply::with_header("Auth-User", "u", ""),
        "/p" => Reply::json(r#"{"action": "DUNNO"}"#),
        _ => Reply::json("{\"value\": \"a\u{202e}b\u{9b}\\u001b[31mc caf\u{e9}\"}"),
    });
    let config = Config::new(directory.path()).map("m", &api.url("/map"), &[]);
    let config = config.policy("p", &api.url("/p"), &[]).login("users", &api.url("/users"), &[]);
    let file = config.write();
    let piped = run(&file, &["query", "map", "m", "k"]);
    assert_eq!(String::from_utf8_lossy(&piped.stdout), "22:OK a\u{202e}b\u{9b}\x1b[31mc caf\u{e9},");
    let socket = directory.path().join("admin.sock");
    let due = format!("no broker runs at {}; this program asks the API itself\n", socket.display());
    assert!(text(&piped).ends_with(&due), "{}", text(&piped));
    let shown = on_a_terminal(&file, "query --trace map m k");
    assert!(!shown.contains(['\u{202e}', '\u{9b}', '\x1b']), "{shown:?}");
    assert!(shown.contains("a\\u{202e}b\\u{9b}\\x1b[31mc caf") && shown.contains("caf\u{e9}"), "{shown:?}");
    assert!(shown.contains(",\n# Postfix: found, with the value "), "{shown:?}");
    for due in ["# time: ", " ms (queue ", " ms, API "] {
        assert!(shown.contains(due), "{due}: {shown:?}");
    }

    let shown = on_a_terminal(&file, "query policy p sender=a@b");
    let due = "action=DUNNO\n\n# Postfix: no decision: Postfix goes on with the next restriction\n";
    assert!(shown.ends_with(due), "{shown:?}");
    let piped = run(&file, &["query", "sasl", "users", "u"]);
    assert!(text(&piped).contains("OK\t1\tuser=u\n"), "{}", text(&piped));
    let shown = on_a_terminal(&file, "query sasl users u </etc/hostname");
    assert!(shown.contains("OK\\t1\\tuser=u\n") && !shown.contains('\t'), "{shown:?}");
}

/// A terminal with the command in a shell, which then prints the exit code and whether there is an echo.
fn typed_password(config: &Path, typed: &str) -> String {
    let broker = env!("CARGO_BIN_EXE_pfxhttp-broker");
    let config = config.display();
    let line = format!(
        "trap : INT; {broker} --config {config} query sasl users u; echo code=$?; stty -a | grep -ow -e '-*echo'"
    );
    let mut command = Command::new("/usr/bin/script");
    command.args(["--quiet", "--echo", "always", "--command", &line, "/dev/null"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("script starts");
    let (mut stdin, mut stdout) = (child.stdin.take().expect("a pipe"), child.stdout.take().expect("a pipe"));
    let (mut shown, mut buffer) = (Vec::new(), [0; 1024]);
    let mut is_typed = false;
    loop {
        let count = stdout.read(&mut buffer).expect("it can be read");
        shown.extend_from_slice(&buffer[..count]);
        if count == 0 {
            break;
        }
        if !is_typed && String::from_utf8_lossy(&shown).contains("Password: ") {
            stdin.write_all(typed.as_bytes()).expect("it reads");
            is_typed = true;
        }
    }
    child.wait().expect("it ends");
    String::from_utf8_lossy(&shown).replace("\r\n", "\n")
}

#[test]
fn a_password_is_typed_without_echo() {
    let directory = open_directory();
    let api = Backend::start(|request| match request.text("password").as_str() {
        "s3cret" => Reply::with_header("Auth-User", "u", ""),
        _ => Reply::with_header("Auth-Status", "no", ""),
    });
    let file = Config::new(directory.path()).login("users", &api.url("/"), &[]).write();
    let _running = Broker::start(&file);
    let shown = typed_password(&file, "s3cret\n");
    assert!(shown.contains("# Postfix: 235: logged in as \"u\"\ncode=0\necho\n"), "{shown:?}");
    assert!(!shown.contains("s3cret"), "{shown:?}");
    let shown = typed_password(&file, "s3c\u{3}");
    assert!(shown.contains("code=130\necho\n") && !shown.contains("s3c"), "{shown:?}");
}

#[test]
fn a_query_is_marked_in_the_log() {
    let directory = open_directory();
    let api = Backend::start(|_| Reply::status(404));
    let file = Config::new(directory.path()).map("m", &api.url("/"), &[]).write();
    let running = Broker::start(&file);
    run(&file, &["query", "map", "m", "k"]);
    assert!(running.logged(&["lookup failed", "source=\"query\"", "request="]), "{}", running.log());
    assert!(!running.log().contains("session="), "{}", running.log());
}

#[test]
fn a_trace_of_an_unexpected_404_names_not_found_status() {
    let directory = open_directory();
    let api = Backend::start(|_| Reply::status(404));
    let config = Config::new(directory.path()).map("m", &api.url("/"), &[]);
    let config = config.map("known", &api.url("/"), &["not_found_status: [404]"]);
    let config = config.policy("p", &api.url("/"), &[]).login("users", &api.url("/"), &[]);
    let file = config.write();
    let of = |words: &[&str]| text(&run(&file, &[&["query", "--trace"], words].concat()));
    let map = of(&["map", "m", "k"]);
    assert!(map.contains("# hint: ") && map.contains("add not_found_status: [404]\n"), "{map}");
    assert!(!of(&["map", "known", "k"]).contains("hint"), "a 404 is expected here");
    let policy = of(&["policy", "p", "sender=a@b"]);
    assert!(policy.contains("# hint: a wrong path in target") && !policy.contains("not_found"), "{policy}");
    assert!(of(&["sasl", "users", "u"]).contains("# hint: a wrong path in target gives 404\n"));
    api.answer_with(|_| Reply::status(401));
    assert!(of(&["sasl", "users", "u"]).contains("add denied_status: [401]\n"));
    api.answer_with(|_| Reply::status(405));
    assert!(!of(&["map", "m", "k"]).contains("hint"));
}

#[test]
fn an_unknown_name_gets_a_suggestion() {
    let directory = open_directory();
    let api = Backend::constant("{}");
    let socket = directory.path().join("maps.sock");
    let config = Config::new(directory.path()).map("Mailboxes", &api.url("/"), &[]);
    let config = config.map("transport-maps", &api.url("/"), &[]).policy("recipients", &api.url("/"), &[]);
    let config = config.login("users", &api.url("/"), &[]).listen_unix(Kind::Map, "maps", &socket);
    let file = config.write();
    let running = Broker::start(&file);
    for (words, due) in [
        (
            &["query", "map", "mailboxes", "k"][..],
            "no entry \"mailboxes\" in socket_maps; did you mean \"Mailboxes\"?",
        ),
        (&["query", "map", "transport_maps", "k"], "did you mean \"transport-maps\"?"),
        (&["query", "policy", "recipient", "a=b"], "in policy_services; did you mean \"recipients\"?"),
        (&["query", "sasl", "user", "u"], "in dovecot_sasl; did you mean \"users\"?"),
        (&["cache", "purge", "mailbox"], "no entry \"mailbox\"; did you mean \"Mailboxes\"?"),
    ] {
        let told = text(&run(&file, words));
        assert!(told.contains(due), "{words:?}: {told}");
    }
    let told = text(&run(&file, &["query", "map", "aliases", "k"]));
    assert!(told.contains("no entry \"aliases\" in socket_maps\n"), "no name is similar: {told}");

    let mut peer = Peer::unix(&socket);
    assert_eq!(peer.look_up("mailboxs", "k"), "PERM unknown map");
    assert!(running.logged(&[
        "there is no such entry in socket_maps",
        "name=\"mailboxs\"",
        "did_you_mean=\"Mailboxes\""
    ]));
    // A much too long name has no suggestion, and costs no time.
    let long = "mailboxes".repeat(1000);
    assert_eq!(peer.look_up(&long, "k"), "PERM unknown map");
    // The log shows its beginning.
    let shown = format!("name=\"{}…\"", &long[..200]);
    assert!(running.logged(&[&shown]));
    assert!(!running.log().lines().any(|line| line.contains(&shown) && line.contains("did_you_mean")));
}

#[test]
fn a_trace_says_what_the_shared_cache_brought() {
    let (directory, redis) = (open_directory(), Redis::start());
    let secret = directory.path().join("secret");
    std::fs::write(&secret, "a-secret-of-at-least-thirty-two-bytes").expect("a file");
    let api = Backend::start(|_| Reply::status(503));
    let start = |url: &str| {
        let secret = secret.display();
        let shared = format!("shared: {{url: \"{url}\", wait: 50ms, secret_file: \"{secret}\"}}");
        let config = Config::new(directory.path()).server("response_cache: {enabled: true}").server(&shared);
        Broker::start(&config.map("m", &api.url("/"), &["cache: {shared: true}"]).write())
    };
    let told = |broker: &Broker| text(&run(broker.config(), &["query", "--trace", "map", "m", "k"]));
    let broker = start(&redis.url());
    assert!(broker.logged(&["shared cache connected"]));
    let absent = told(&broker);
    assert!(absent.contains("# shared cache: no record\n"), "{absent}");
    drop(broker);
    let down = told(&start("redis://127.0.0.1:1"));
    assert!(down.contains("# shared cache: not asked: no connection\n"), "{down}");
}
