//! What `query` takes, and what it says if it cannot ask: attributes, passwords and tokens that are typed or
//! piped, and a broker that closes the connection.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;

use serde_json::json;

use crate::support::PATIENCE;
use crate::support::backend::{Backend, Reply};
use crate::support::broker::Broker;
use crate::support::command_line::{run, text};
use crate::support::config::{Config, sasl_oidc};
use crate::support::fake_provider::FakeProvider;
use crate::support::site::open_directory;
use crate::support::terminal::Terminal;

#[test]
fn a_control_character_adds_no_attribute() {
    let directory = open_directory();
    let api = Backend::constant(r#"{"action": "DUNNO"}"#);
    let file = Config::new(directory.path()).policy("p", &api.url("/"), &[]).write();
    let _running = Broker::start(&file);
    for pair in ["sender=a\nrecipient=b", "sender=a\r", "sender=\ta", "sen\x1bder=a", "sender=\x7f"] {
        let told = run(&file, &["query", "policy", "p", pair], "");
        assert_eq!((told.status.code(), told.stdout.len()), (Some(64), 0), "{pair:?}: {}", text(&told));
        let due =
            format!("pfxhttp-broker: {pair:?} has a control character: an attribute is one line of text\n");
        assert_eq!(text(&told), due);
    }
    assert_eq!(api.count(), 0);
    let told = run(&file, &["query", "policy", "p", "sender=\u{fc} b"], "");
    assert_eq!((told.status.code(), api.count()), (Some(0), 1), "{}", text(&told));
}

/// A broker that stops closes its connections.
#[test]
fn a_closed_connection_is_told_as_such() {
    let directory = open_directory();
    let api = Backend::constant("{}");
    let file = Config::new(directory.path()).map("m", &api.url("/"), &[]).write();
    let socket = directory.path().join("admin.sock");
    for (reply, due) in [
        ("", "closed the connection without a reply; is it stopping?"),
        ("{\"told\": \"sai", "closed the connection without a reply; is it stopping?"),
        ("nonsense\n", "unexpected reply of the broker at "),
    ] {
        for words in [&["query", "map", "m", "k"][..], &["status"], &["reload"], &["cache", "purge"]] {
            let _none_is_left_over = std::fs::remove_file(&socket);
            let listener = UnixListener::bind(&socket).expect("the socket is free");
            let stopping = std::thread::spawn(move || {
                let (stream, _) = listener.accept().expect("a connection");
                let mut request = String::new();
                BufReader::new(&stream).read_line(&mut request).expect("a request");
                (&stream).write_all(reply.as_bytes()).expect("it reads");
            });
            let told = run(&file, words, "");
            stopping.join().expect("it was asked");
            assert_eq!(told.status.code(), Some(75), "{words:?}: {}", text(&told));
            assert!(text(&told).contains(due), "{words:?}: {}", text(&told));
            assert!(!text(&told).contains("line 1"), "{words:?}: {}", text(&told));
        }
    }
}

#[test]
fn a_trace_names_the_delay_of_a_denial() {
    let directory = open_directory();
    let api = Backend::start(|_| Reply::with_header("Auth-Status", "no", ""));
    let target = format!("target: \"{}\"", api.url("/"));
    let file = Config::new(directory.path()).login_of("users", &[&target, "failure_delay: 300ms"]).write();
    let _running = Broker::start(&file);
    let told = text(&run(&file, &["query", "--trace", "sasl", "users", "u"], "wrong\n"));
    let line = told.lines().find(|line| line.starts_with("# time: ")).expect("the times");
    let delay = line.split("delay of the denial ").nth(1).and_then(|rest| rest.split(' ').next());
    let delay: f64 = delay.and_then(|delay| delay.parse().ok()).unwrap_or_else(|| panic!("{told}"));
    assert!((100.0..2000.0).contains(&delay), "{told}");
    api.answer_with(|_| Reply::with_header("Auth-User", "u", ""));
    assert!(!text(&run(&file, &["query", "--trace", "sasl", "users", "u"], "right\n")).contains("delay"));
}

#[test]
fn tokens_are_tried_as_a_mail_client_sends_them() {
    let directory = open_directory();
    let (api, provider) = (Backend::constant("{}"), FakeProvider::start());
    provider.introspect_with(|form| {
        let is_good = form.get("token").is_some_and(|token| token == "t0ken.a=");
        Reply::json(&json!({"active": is_good, "sub": "a,b=c"}).to_string())
    });
    let tokens = sasl_oidc(
        &provider.configuration_uri(),
        "client_id: pfx, client_secret: s3cret, account_claim: sub, validation: introspection",
    );
    let config = Config::new(directory.path()).login("users", &api.url("/"), &[&tokens]);
    let file = config.login("passwords", &api.url("/"), &[]).write();
    let _running = Broker::start(&file);
    let ask = |mechanism: &str, name: &str, user: &str, token: &str| {
        let words = ["query", "--trace", "sasl", "--mechanism", mechanism, name, user];
        let told = run(&file, &words, &format!("{token}\n"));
        assert_eq!(told.status.code(), Some(0), "{}", text(&told));
        text(&told)
    };
    for mechanism in ["xoauth2", "oauthbearer", "XOAUTH2"] {
        let told = ask(mechanism, "users", "a,b=c", "t0ken.a=");
        assert!(told.contains("OK\t1\tuser=a,b=c\n") && told.contains(" ms (queue "), "{told}");
        assert!(told.contains("# token of \"a,b=c\": verified by sasl_oidc_auth"), "{told}");
        assert!(!told.contains("t0ken") && !told.contains("s3cret"), "{told}");
        let told = ask(mechanism, "users", "a,b=c", "other");
        assert!(
            told.contains("# answer: denied: token is not active\n") && told.contains("FAIL\t1\t"),
            "{told}"
        );
        let told = ask(mechanism, "users", "someone", "t0ken.a=");
        assert!(told.contains("# denied: the token is for \"a,b=c\""), "{told}");
        let told = ask(mechanism, "users", "u", "two words");
        assert!(told.contains("data format"), "{told}");
        let told = ask(mechanism, "passwords", "u", "t0ken.a=");
        assert!(told.contains("unsupported mechanism"), "{told}");
    }
    assert!(ask("oauthbearer", "users", "", "t0ken.a=").contains("OK\t1\tuser=a,b=c\n"), "no name");
    api.answer_with(|_| Reply::with_header("Auth-User", "u", ""));
    assert!(ask("login", "users", "u", "pass").ends_with("OK\t1\tuser=u\n"));
    let told = run(&file, &["query", "sasl", "--mechanism", "cram-md5", "users", "u"], "");
    assert!(
        told.status.code() == Some(64) && text(&told).contains("oauthbearer, xoauth2"),
        "{}",
        text(&told)
    );
    let told = run(&file, &["query", "sasl", "--mechanism", "xoauth2", "users", "u"], "");
    assert_eq!((told.status.code(), text(&told).contains("no token: ")), (Some(64), true), "{}", text(&told));
}

/// A shell on a terminal, which asks for a secret by `query sasl` with these words.
fn asking(words: &str) -> (tempfile::TempDir, Backend, Broker, Terminal) {
    let directory = open_directory();
    let api = Backend::start(|request| match request.text("password").as_str() {
        "s3cret" => Reply::with_header("Auth-User", "u", ""),
        _ => Reply::with_header("Auth-Status", "no", ""),
    });
    let file = Config::new(directory.path()).login("users", &api.url("/"), &[]).write();
    let running = Broker::start(&file);
    let mut terminal = Terminal::run((200, 24), "PS1='ready ' sh -i");
    terminal.wait_for(|shown| shown.ends_with("ready "));
    let broker = env!("CARGO_BIN_EXE_pfxhttp-broker");
    terminal.press(&format!("{broker} --config {} query sasl {words}\n", file.display()));
    (directory, api, running, terminal)
}

fn has_echo(terminal: &mut Terminal, nth: usize) {
    terminal.press("stty -a | grep -ow -e '-*echo'\n");
    terminal.wait_for(|shown| shown.matches("\necho\n").count() == nth && shown.ends_with("ready "));
}

#[test]
fn a_prompt_that_is_suspended_comes_back_without_echo() {
    let (_directory, _api, _running, mut terminal) = asking("users u");
    terminal.wait_for(|shown| shown.ends_with("Password: "));
    terminal.press("half");
    terminal.press("\x1a");
    terminal.wait_for(|shown| shown.contains("Stopped") && shown.ends_with("ready "));
    has_echo(&mut terminal, 1);
    terminal.press("fg\n");
    terminal.wait_for(|shown| shown.matches("Password: ").count() == 2);
    terminal.press("s3cret\n");
    let due = "# Postfix: 235: logged in as \"u\"\nready ";
    terminal.wait_for(|shown| shown.ends_with(due));
    has_echo(&mut terminal, 2);
    terminal.press("exit\n");
    let (_, shown) = terminal.end(PATIENCE);
    assert!(!shown.contains("s3cret") && !shown.contains("half"), "{shown:?}");
}

#[test]
fn the_end_of_input_at_a_prompt_is_told() {
    for (words, what) in [("users u", "Password"), ("--mechanism xoauth2 users u", "Token")] {
        let (_directory, api, _running, mut terminal) = asking(words);
        terminal.wait_for(|shown| shown.ends_with(&format!("{what}: ")));
        terminal.press("\x04");
        let due = format!("pfxhttp-broker: no {}: standard input ended before it\n", what.to_lowercase());
        terminal.wait_for(|shown| shown.contains(&due) && shown.ends_with("ready "));
        terminal.press("echo code=$?\n");
        terminal.wait_for(|shown| shown.contains("\ncode=64\n"));
        has_echo(&mut terminal, 1);
        assert_eq!(api.count(), 0);
        terminal.press("exit\n");
        terminal.end(PATIENCE);
    }
}

/// A Ctrl-D within a line passes on what was typed, and does not end the line.
#[test]
fn ctrl_c_acts_after_a_ctrl_d_within_the_line() {
    let (_directory, api, _running, mut terminal) = asking("users u");
    terminal.wait_for(|shown| shown.ends_with("Password: "));
    terminal.press("s3c\x04");
    terminal.press("\x03");
    terminal.wait_for(|shown| shown.trim_end_matches(' ').ends_with("ready"));
    terminal.press("echo code=$?\n");
    terminal.wait_for(|shown| shown.contains("\ncode=130\n"));
    has_echo(&mut terminal, 1);
    assert_eq!(api.count(), 0);
    terminal.press("exit\n");
    assert!(!terminal.end(PATIENCE).1.contains("s3c"));
}
