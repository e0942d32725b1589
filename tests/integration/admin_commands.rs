//! The administrator's commands: `query`, `status`, `reload`, `cache purge`.

use std::ffi::OsStr;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;

use serde_json::Value;

use crate::support::backend::{Backend, Reply};
use crate::support::broker::{self, Broker};
use crate::support::command_line::{run, text};
use crate::support::config::{Config, Kind, backend_oidc};
use crate::support::fake_provider::FakeProvider;
use crate::support::peer::{Peer, netstring};
use crate::support::sasl::{Heard, Sasl};
use crate::support::site::open_directory;
use crate::support::{PATIENCE, shown};

fn config(directory: &Path, api: &Backend) -> Config {
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
fn a_query_prints_what_a_client_gets() {
    let directory = open_directory();
    let api = Backend::constant("{}");
    let file = config(directory.path(), &api).write();
    let running = Broker::start(&file);
    let at = |name: &str| directory.path().join(format!("{name}.sock"));
    let replies = [
        Reply::json(r#"{"value": "a, b", "action": "REJECT no way"}"#),
        Reply::json(r#"{"value": ["x", "y"], "action": "DUNNO"}"#),
        Reply::json("{}"),
        Reply::json(r#"{"value": "", "action": " "}"#),
        Reply::json(r#"{"value": {"a": 1}, "action": "550"}"#),
        Reply::json(r#"{"error": "broken"}"#),
        Reply::json(&format!(r#"{{"value": "{}"}}"#, "x".repeat(100_000))),
        Reply::json("[]"),
        Reply::status(404),
        Reply::status(503),
        Reply::status(401),
        Reply::Close,
    ];
    for reply in replies {
        let answer = reply.clone();
        api.answer_with(move |_| answer.clone());
        for key in ["bob@example.com", "", "a b", "jos\u{e9}"] {
            let mut peer = Peer::unix(&at("maps"));
            peer.send(netstring(format!("m {key}")));
            peer.half_close();
            let due = peer.rest();
            let told = run(&file, &["query", "map", "m", key], "");
            assert_eq!(shown(&told.stdout), shown(&due), "{reply:?} {key:?}: {}", text(&told));
        }
        for name in ["p", "strict"] {
            let mut peer = Peer::unix(&at(name));
            peer.send("request=smtpd_access_policy\nsender=a@b\n\n");
            peer.half_close();
            let due = match peer.rest() {
                nothing if nothing.is_empty() => b"(connection closed)\n".to_vec(),
                bytes => bytes,
            };
            let words = ["query", "policy", name, "request=smtpd_access_policy", "sender=a@b"];
            let told = run(&file, &words, "");
            assert_eq!(shown(&told.stdout), shown(&due), "{reply:?} {name}: {}", text(&told));
        }
    }
    for (status, user) in [("OK", "u"), ("no such user", "u"), ("OK", "")] {
        api.answer_with(move |_| match user {
            "" => Reply::status(500),
            _ => Reply::with_header("Auth-Status", status, ""),
        });
        let mut sasl = Sasl::begin(Peer::unix(&at("users")));
        sasl.plain(1, "u", "secret");
        let due = match sasl.next(PATIENCE) {
            Heard::Line(line) => format!("{line}\n"),
            _ => "(connection closed)\n".to_owned(),
        };
        let told = run(&file, &["query", "sasl", "users", "u"], "secret\n");
        assert_eq!(String::from_utf8_lossy(&told.stdout), due, "{status} {user:?}: {}", text(&told));
    }
    let unknown = run(&file, &["query", "map", "nobody", "k"], "");
    assert_eq!(shown(&unknown.stdout), shown(b"16:PERM unknown map,"));
    for (words, section) in [
        (&["query", "map", "nobody", "k"][..], "socket_maps"),
        (&["query", "policy", "nobody", "a=b"], "policy_services"),
        (&["query", "sasl", "nobody", "u"], "dovecot_sasl"),
    ] {
        let told = run(&file, words, "password");
        assert!(told.status.success(), "{words:?}: {}", text(&told));
        let due = format!("there is no entry \"nobody\" in {section}\n");
        assert_eq!(String::from_utf8_lossy(&told.stderr), due, "{words:?}");
    }
    // Without a broker, this program does the lookup itself and prints the same.
    api.answer_with(|_| Reply::json(r#"{"value": "v"}"#));
    drop(running);
    let alone = run(&file, &["query", "map", "m", "k"], "");
    assert_eq!(shown(&alone.stdout), shown(b"4:OK v,"), "{}", text(&alone));
}

/// Input that the protocols refuse or read in an unexpected way.
#[test]
fn a_query_is_decoded_as_what_a_client_sends() {
    let directory = open_directory();
    let api = Backend::start(|request| match request.path.as_str() {
        "/login" => Reply::with_header("Auth-User", "u", ""),
        _ => Reply::json(&format!(r#"{{"value": "{0}", "action": "REJECT {0}"}}"#, request.body.len())),
    });
    let file = config(directory.path(), &api).write();
    let _running = Broker::start(&file);
    let at = |name: &str| directory.path().join(format!("{name}.sock"));
    let told = |words: &[&OsStr], input: &str| {
        let mut all = vec![OsStr::new("query")];
        all.extend(words);
        run(&file, &all, input)
    };
    let due = |peer: &mut Peer| match peer.rest() {
        nothing if nothing.is_empty() => b"(connection closed)\n".to_vec(),
        bytes => bytes,
    };
    let control = "\u{1}".repeat(60_000);
    let long = "k".repeat(130_000);
    for (name, key) in [
        ("", &b"k"[..]),
        ("m", b"\xff\xfe"),
        ("m", b"caf\xe9"),
        ("m", b"a\nb"),
        ("m x", b"y"),
        (&"n".repeat(3_000), long.as_bytes()),
        ("m", control.as_bytes()),
    ] {
        let mut peer = Peer::unix(&at("maps"));
        let _refused_meanwhile = peer.try_send(&netstring([name.as_bytes(), b" ", key].concat()));
        peer.half_close();
        let due = due(&mut peer);
        let told = told(&["map".as_ref(), name.as_ref(), OsStr::from_bytes(key)], "");
        assert_eq!(shown(&told.stdout), shown(&due), "{}: {}", shown(key), text(&told));
    }
    let many: Vec<String> = (0..3_000).map(|nth| format!("a{nth}=")).collect();
    let wide = format!("sender={}", "x".repeat(70_000));
    for lines in [
        &["sender=a"][..],
        &["request=other"],
        &["=x"],
        &["sender=a", "sender=bbb"],
        &["sender=a\nb"],
        &["sender=a\nclient_name=b"],
        &[&wide],
        &many.iter().map(String::as_str).collect::<Vec<_>>(),
        &[],
    ] {
        let request = if lines.contains(&"request=other") { "" } else { "request=smtpd_access_policy\n" };
        let body: String = lines.iter().map(|line| format!("{line}\n")).collect();
        let mut peer = Peer::unix(&at("p"));
        let _refused_meanwhile = peer.try_send(format!("{request}{body}\n").as_bytes());
        peer.half_close();
        let due = due(&mut peer);
        let words: Vec<&OsStr> = ["policy", "p"].iter().chain(lines).map(OsStr::new).collect();
        let told = told(&words, "");
        assert_eq!(shown(&told.stdout), shown(&due), "{:.40?}: {}", lines, text(&told));
    }
    let (long_user, long_password) = ("u".repeat(2_000), "p".repeat(3_000));
    for (user, password) in [
        ("", "p"),
        ("a\tb", "p"),
        ("a\nb", "p"),
        ("a\u{1}b", "p"),
        (&long_user, "p"),
        ("u", &long_password),
        ("u", "p\tq"),
        ("u", "\n"),
        ("u", "p"),
    ] {
        let mut sasl = Sasl::begin(Peer::unix(&at("users")));
        sasl.plain(1, user, password.trim_end_matches('\n'));
        let due = format!("{}\n", sasl.line());
        let told = told(&["sasl".as_ref(), "users".as_ref(), user.as_ref()], password);
        assert_eq!(String::from_utf8_lossy(&told.stdout), due, "{user:.9?} {password:.9?}: {}", text(&told));
    }
}

#[test]
fn a_trace_says_why_and_shows_no_secret() {
    let directory = open_directory();
    let (api, provider) = (Backend::constant(r#"{"data": "v"}"#), FakeProvider::start());
    let secret = backend_oidc(&provider.configuration_uri(), "client_id: a, client_secret: canary-secret");
    let config = Config::new(directory.path())
        .map("m", &api.url("/map"), &[&secret, "custom_headers: [\"X-Key: canary-key\"]"])
        .policy("p", &api.url("/policy"), &[])
        .login("users", &api.url("/login"), &["http_auth_basic: \"a:canary-basic\""]);
    let file = config.write();
    let running = Broker::start(&file);
    let told = text(&run(&file, &["query", "map", "--trace", "m", "bob@example.com"], ""));
    for word in [
        "request: POST http://127.0.0.1",
        "bob@example.com",
        "API: 200 {\"data\": \"v\"}",
        "answer: not found",
        "x-key",
        "with the header authorization: ",
    ] {
        assert!(told.contains(word), "{word}: {told}");
    }
    api.answer_with(|request| {
        Reply::with_header("Auth-Status", &format!("no {}", request.text("password")), "")
    });
    let login = text(&run(&file, &["query", "--trace", "sasl", "users", "u"], "canary-password"));
    assert!(login.contains("API: 200") && login.contains("FAIL\t1\t"), "{login}");
    assert!(login.contains("/login (authorization, ") && login.contains("answer: denied: "), "{login}");
    api.answer_with(|_| Reply::status(503));
    let failed = text(&run(&file, &["query", "--trace", "sasl", "users", "u"], "canary-password"));
    assert!(failed.contains("answer: none (unexpected status code 503); on_failure: auto"), "{failed}");
    let status = text(&run(&file, &["status", "--json"], ""));
    for canary in ["canary-secret", "canary-key", "canary-basic", "canary-password", "token-1"] {
        assert!(!told.contains(canary) && !login.contains(canary) && !status.contains(canary), "{canary}");
    }
    assert!(api.requests().iter().any(|request| request.header("x-key") == Some("canary-key")));
    api.answer_with(|_| Reply::json(r#"{"action": "550"}"#));
    let code = text(&run(&file, &["query", "--trace", "policy", "p", "sender=a@b"], ""));
    assert!(code.contains("the action is refused: a code needs a text behind it"), "{code}");
    assert!(running.logged(&["lookup failed", "a code needs a text behind it"]), "{}", running.log());
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
    assert_eq!(text(&purged), "answers forgotten: 1\n");
    assert_eq!((peer.look_up("fresh", "a"), peer.look_up("fresh", "b")), ("OK new".into(), "OK old".into()));
    assert_eq!(status()["cache"]["entries"], 2, "the removed answer is not counted");
    assert_eq!(text(&run(&file, &["cache", "purge"], "")), "answers forgotten: 2\n");
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
    assert_eq!(text(&reloaded), "generation 2 is in force\n");
    assert_eq!((&status()["generation"], &status()["reloaded"]), (&2.into(), &true.into()));
    let good = fs::read_to_string(&file).expect("the configuration");
    // The part of the file before the fault still says where the socket is.
    fs::write(&file, format!("{good}nonsense: [")).expect("the configuration can be written");
    let refused = run(&file, &["reload"], "");
    assert_eq!(refused.status.code(), Some(75), "{}", text(&refused));
    assert!(text(&refused).contains("nothing has changed: "), "{}", text(&refused));
    let told = run(&file, &["status"], "");
    assert!(told.status.success() && text(&told).contains("warning: "), "{}", text(&told));
    assert!(run(&file, &["cache", "purge"], "").status.success());
    let told = run(&file, &["query", "map", "m", "k"], "");
    assert_eq!(shown(&told.stdout), shown(b"6:OK new,"), "{}", text(&told));
    fs::write(&file, &good).expect("the configuration can be written");
    assert_eq!((&status()["generation"], &status()["reloaded"]), (&2.into(), &false.into()));
    config(directory.path(), &api).server("max_connections: 400").write();
    let reloaded = run(&file, &["reload"], "");
    assert!(text(&reloaded).contains("needs a restart: server.max_connections"), "{}", text(&reloaded));
}

#[test]
fn a_user_without_rights_is_told_which_file_is_closed_to_him() {
    let directory = open_directory();
    let api = Backend::constant("{}");
    let file = config(directory.path(), &api).write();
    let _running = Broker::start(&file);
    let copy = directory.path().join("pfxhttp-broker");
    fs::copy(env!("CARGO_BIN_EXE_pfxhttp-broker"), &copy).expect("the program can be copied");
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
