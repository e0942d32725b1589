//! No secret is shown in a log at its most verbose level, in a reply, in an argument list or in the
//! output of `check`.

use std::fs;

use serde_json::json;

use crate::support::PATIENCE;
use crate::support::backend::{Backend, Reply};
use crate::support::command_line::check;
use crate::support::config::{Config, backend_oidc, sasl_oidc};
use crate::support::fake_provider::{Endpoint, FakeProvider};
use crate::support::jwt::{Key, KeyKind};
use crate::support::setup::Setup;
use crate::support::site::{Way, open_directory};

const PASSWORD: &str = "canary-password";
const CLIENT_SECRET: &str = "canary-client-secret";
const BASIC: &str = "pfx:canary-basic";
const HEADER: &str = "canary-header";
const OPAQUE: &str = "canary-opaque-token";

/// The command lines of a process and its children.
fn command_lines(pid: i32) -> String {
    let mut all = String::new();
    for entry in fs::read_dir("/proc").expect("/proc").flatten() {
        let is_process = entry.file_name().to_str().is_some_and(|name| name.parse::<i32>().is_ok());
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let parent = stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(1));
        let is_ours = entry.file_name().to_str() == Some(&pid.to_string())
            || parent == Some(&std::process::id().to_string());
        if is_process && is_ours {
            all += &String::from_utf8_lossy(&fs::read(entry.path().join("cmdline")).unwrap_or_default());
        }
    }
    all
}

#[test]
fn no_secret_in_the_debug_log_or_a_reply() {
    let (provider, key) = (FakeProvider::start(), Key::new(KeyKind::P256, "k1"));
    provider.publish(&[&key]);
    let private = Key::new(KeyKind::Rsa, "ours");
    let directory = open_directory();
    let key_file = directory.path().join("key.pem");
    fs::write(&key_file, private.pem()).expect("a key");
    let pem_line = private.pem().lines().nth(3).expect("a line of the key").to_owned();
    let api = Backend::start(|request| match request.path.as_str() {
        "/echo" => Reply::Answer {
            status: 500,
            headers: vec![("Auth-Status".to_owned(), "OK".to_owned())],
            body: request.body.clone(),
        },
        _ => Reply::with_header("Auth-Status", "denied", request.body.clone()),
    });
    let uri = provider.configuration_uri();
    let secret = backend_oidc(&uri, &format!("client_id: a, client_secret: {CLIENT_SECRET}"));
    let assertion =
        backend_oidc(&uri, &format!(r#"client_id: b, private_key_file: "{}""#, key_file.display()));
    let tokens = |validation: &str| {
        let client = format!("client_id: c, client_secret: {CLIENT_SECRET}");
        sasl_oidc(&uri, &format!("{client}, validation: {validation}"))
    };
    let basic = format!("http_auth_basic: \"{BASIC}\"");
    let header = format!("custom_headers: [\"X-Api-Key: {HEADER}\"]");
    let setup = Setup::start_with(&[("PFXHTTP_SERVER_LOGGING_LEVEL", "debug")], |config| {
        config
            .map("by_secret", &api.url("/map"), &[&secret, &header])
            .map("by_key", &api.url("/map"), &[&assertion])
            .login("plain", &api.url("/auth"), &[&basic, &header, &tokens("auto")])
            .login("echo", &api.url("/echo"), &[&secret, &tokens("jwks")])
    });
    let mut replies = String::new();
    for name in ["by_secret", "by_key"] {
        replies += &setup.map().look_up(name, "k");
    }
    let mut claims = provider.claims("u", "c");
    let good = key.token(&claims);
    claims["aud"] = json!("other");
    let other = key.token(&claims);
    let cut = &good[..good.len() - 9];
    for way in Way::ALL {
        for name in ["plain", "echo"] {
            for (nth, token) in ["", OPAQUE, &good, &other, cut].into_iter().enumerate() {
                let mut sasl = setup.login(way, name);
                if token.is_empty() {
                    sasl.plain(1, "u", PASSWORD);
                } else {
                    sasl.oauthbearer(1, "u", token);
                }
                replies += &format!("{:?}", sasl.next(PATIENCE));
                if nth % 2 == 0 {
                    let mut sasl = setup.login(way, name);
                    sasl.say(format!("AUTH\t2\tPLAIN\tservice=smtp\tresp=!{PASSWORD}"));
                    replies += &format!("{:?}", sasl.next(PATIENCE));
                }
            }
        }
    }
    provider
        .break_with(Endpoint::Token, Reply::status_json(400, &json!({"error": CLIENT_SECRET}).to_string()));
    provider.break_with(Endpoint::Introspection, Reply::status(500));
    let mut sasl = setup.login(Way::Unix, "plain");
    sasl.oauthbearer(1, "u", OPAQUE);
    replies += &format!("{:?}", sasl.next(PATIENCE));
    // Every secret was used.
    let sent = api.requests().iter().any(|request| String::from_utf8_lossy(&request.body).contains(PASSWORD));
    assert!(sent, "the password has reached the API");
    assert!(provider.forms(Endpoint::Introspection).iter().any(|form| form["token"] == OPAQUE));
    let assertions: Vec<String> = provider
        .forms(Endpoint::Token)
        .iter()
        .filter_map(|form| form.get("client_assertion").cloned())
        .collect();
    assert!(!assertions.is_empty(), "a signed request for a token");

    let log = setup.broker.log();
    assert!(log.contains("DEBUG") && log.contains("login denied"), "{log}");
    let lines = command_lines(setup.broker.pid().as_raw_nonzero().get());
    let basic64 = "cGZ4OmNhbmFyeS1iYXNpYw";
    let password64 = "AHUAY2FuYXJ5LXBhc3N3b3Jk";
    let signatures = [&good, &other].map(|token| token.rsplit('.').next().expect("a signature").to_owned());
    let mut canaries: Vec<&str> = vec![
        PASSWORD,
        CLIENT_SECRET,
        "canary-basic",
        HEADER,
        OPAQUE,
        basic64,
        password64,
        &pem_line,
        "canary-token-1",
    ];
    canaries.extend(signatures.iter().map(String::as_str));
    canaries.extend(assertions.iter().map(|assertion| assertion.rsplit('.').next().expect("a signature")));
    for canary in canaries {
        for (place, text) in [("the log", &log), ("a reply", &replies), ("a command line", &lines)] {
            let at = text.find(canary).map(|at| &text[at.saturating_sub(200)..at]);
            assert_eq!(at, None, "{canary} in {place}");
        }
    }
}

#[test]
fn no_secret_in_the_output_of_check() {
    let directory = open_directory();
    let file = directory.path().join("broken.pem");
    fs::write(&file, "-----BEGIN PRIVATE KEY-----\nY2FuYXJ5LWtleQ==\n-----END PRIVATE KEY-----\n")
        .expect("a file");
    let lines = format!(
        r#"
        backend_oidc_auth:
          enabled: true
          configuration_uri: "https://id.example/"
          client_id: a
          client_secret: {CLIENT_SECRET}
          private_key_file: "{}"
          unknown: {CLIENT_SECRET}
        "#,
        file.display()
    );
    let config = Config::new(directory.path()).login("users", "http://127.0.0.1:1/", &[&lines]).write();
    let (code, said) = check(&config, &[]);
    assert_eq!(code, Some(78), "{said}");
    assert!(said.contains("unknown") && said.contains("private_key_file"), "{said}");
    for canary in [CLIENT_SECRET, "canary-key", "Y2FuYXJ5LWtleQ"] {
        assert!(!said.contains(canary), "{said}");
    }
}
