//! The answers of `query`: those that a client of each protocol gets, and with `--trace` the reason.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use crate::admin_commands::config;
use crate::support::backend::{Backend, Reply};
use crate::support::broker::Broker;
use crate::support::command_line::{run, text};
use crate::support::config::{Config, backend_oidc};
use crate::support::fake_provider::{Endpoint, FakeProvider};
use crate::support::peer::{Peer, netstring};
use crate::support::sasl::{Heard, Sasl};
use crate::support::site::open_directory;
use crate::support::{PATIENCE, shown};
use crate::targets;

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
    assert!(failed.contains("answer: none; the connection is closed (Postfix: 454)"), "{failed}");
    let status = text(&run(&file, &["status", "--json"], ""));
    for canary in ["canary-secret", "canary-key", "canary-basic", "canary-password", "canary-token-1"] {
        assert!(!told.contains(canary) && !login.contains(canary) && !status.contains(canary), "{canary}");
    }
    assert!(api.requests().iter().any(|request| request.header("x-key") == Some("canary-key")));
    api.answer_with(|_| Reply::json(r#"{"action": "550"}"#));
    let code = text(&run(&file, &["query", "--trace", "policy", "p", "sender=a@b"], ""));
    assert!(code.contains("the action is refused: a code needs a text behind it"), "{code}");
    assert!(running.logged(&["lookup failed", "a code needs a text behind it"]), "{}", running.log());
}

#[test]
fn a_trace_shows_the_trouble_with_a_provider() {
    let directory = open_directory();
    let (api, provider) = (Backend::constant(r#"{"value": "v"}"#), FakeProvider::start());
    let bearer = backend_oidc(&provider.configuration_uri(), "client_id: a, client_secret: canary-secret");
    let tokens = format!(
        "sasl_oidc_auth: {{enabled: true, configuration_uri: \"{}\", client_id: a, client_secret: canary-secret, account_claim: sub}}",
        provider.configuration_uri()
    );
    let config = Config::new(directory.path()).map("m", &api.url("/"), &[&bearer]);
    let file = config.login("users", &api.url("/"), &[&tokens]).write();
    let _running = Broker::start(&file);
    provider.break_with(Endpoint::Token, Reply::status(503));
    provider.break_with(Endpoint::Introspection, Reply::status(503));
    let login: &[&str] = &["query", "--trace", "sasl", "--mechanism", "xoauth2", "users", "u"];
    for (query, part) in [(&["query", "--trace", "map", "m", "k"][..], "token"), (login, "introspection")] {
        let told = text(&run(&file, query, "canary-token"));
        let is_told = |line: &str| {
            line.starts_with("# provider: ") && line.contains(part) && line.ends_with("status 503")
        };
        assert!(told.lines().any(is_told), "{part}: {told}");
        assert!(!told.contains("canary"), "{told}");
    }
    assert_eq!(api.count(), 0);
}

#[test]
fn a_trace_names_each_target_and_those_that_are_out() {
    let directory = open_directory();
    let (mut a, b) = (targets::api("a"), targets::api("b"));
    let origins = [a.url(""), b.url("")];
    let config = targets::entries(Config::new(directory.path()), &origins, &["breaker: {pause: 30s}"]);
    let file = config.write();
    let _running = Broker::start(&file);
    a.down();
    let [a, b] = origins;
    let notes = |query: &[&str]| {
        let told = text(&run(&file, &[&["query", "--trace"], query].concat(), "p"));
        let notes = told
            .lines()
            .filter_map(|line| line.strip_prefix("# ").map(|note| note.split(" (").next().unwrap_or(note)));
        let is_of_target =
            |note: &&str| ["target: ", "request: ", "no answer: "].iter().any(|word| note.starts_with(word));
        notes.filter(is_of_target).map(str::to_owned).collect::<Vec<_>>()
    };
    for (path, query) in [
        ("/map", &["map", "m", "k"][..]),
        ("/policy", &["policy", "p", "sender=a@b"]),
        ("/auth", &["sasl", "l", "u"]),
    ] {
        let asked = |origin: &str| [format!("target: {origin}"), format!("request: POST {origin}{path}")];
        let refused = ["no answer: connection refused".to_owned()];
        assert_eq!(notes(query), [&asked(&a)[..], &refused, &asked(&b)].concat(), "{path}");
        let skipped = [format!("target: {a}: out, not asked")];
        assert_eq!(notes(query), [&skipped[..], &asked(&b)].concat(), "{path}");
    }
}

/// The budget begins with three retries, and a lookup adds none to it: then the other target is not asked.
#[test]
fn a_trace_has_the_answer_of_each_target_and_says_if_the_budget_is_used_up() {
    let directory = open_directory();
    let (a, b) = (
        Backend::start(|_| Reply::with_headers(503, &[], r#"{"error": "too much to do"}"#)),
        targets::api("b"),
    );
    let origins = [a.url(""), b.url("")];
    let more = ["breaker: false", "retry: {budget: 0%}"];
    let file = targets::entries(Config::new(directory.path()), &origins, &more).write();
    let _running = Broker::start(&file);
    let [a, b] = origins;
    let notes = || {
        let told = text(&run(&file, &["query", "--trace", "map", "m", "k"], ""));
        let notes = told.lines().filter_map(|line| line.strip_prefix("# "));
        let is_wanted = |note: &&str| !["request: ", "time: "].iter().any(|word| note.starts_with(word));
        notes.filter(is_wanted).map(str::to_owned).collect::<Vec<_>>()
    };
    let first = [format!("target: {a}"), r#"API: 503 {"error": "too much to do"}"#.to_owned()];
    let told = notes();
    assert_eq!(told[..3], [&first[..], &[format!("target: {b}")]].concat());
    assert!(
        told[3].starts_with("API: 200 ") && told.iter().any(|note| note.starts_with("answer: ")),
        "{told:?}"
    );
    let denied = format!("target: {b}: not asked (retry.budget)");
    let told =
        std::iter::repeat_with(notes).take(50).find(|told| told.contains(&denied)).expect("it is used up");
    assert_eq!(told[..3], [first[0].clone(), denied, first[1].clone()], "{told:?}");
    assert!(told[3].starts_with("failed: unexpected status code 503"), "{told:?}");
}

#[test]
fn a_configuration_that_the_broker_has_not_read_is_told() {
    let directory = open_directory();
    let (api, other) =
        (Backend::constant(r#"{"value": "running"}"#), Backend::constant(r#"{"value": "file"}"#));
    let config = |api: &Backend| Config::new(directory.path()).map("m", &api.url("/"), &[]).write();
    let file = config(&api);
    let running = Broker::start(&file);
    let ask = || run(&file, &["query", "map", "m", "k"], "");
    let warning = format!(
        ": the broker answers with the configuration that it has read, which is not that of {}",
        file.display()
    );
    let told = ask();
    assert_eq!(
        (String::from_utf8_lossy(&told.stdout), told.stderr.is_empty()),
        ("10:OK running,".into(), true)
    );
    config(&other);
    let told = ask();
    assert_eq!(String::from_utf8_lossy(&told.stdout), "10:OK running,", "the broker has not read it yet");
    assert!(text(&told).contains(&warning), "{}", text(&told));
    running.reload();
    let told = ask();
    assert_eq!((String::from_utf8_lossy(&told.stdout), told.stderr.is_empty()), ("7:OK file,".into(), true));
    // A reload that is refused changes neither the broker nor what it has read.
    std::fs::write(&file, std::fs::read_to_string(&file).expect("it is there") + "unknown: key\n")
        .expect("it can be written");
    running.reload();
    assert!(text(&ask()).contains("still uses what it read before"), "{}", text(&ask()));
    config(&other);
    assert!(ask().stderr.is_empty(), "{}", text(&ask()));
}
