//! master.cf.example in a real Postfix. The test replaces the user and the program's path, and uses the
//! lines for main.cf in its comments as they are.

use std::fs;
use std::path::Path;

use serde_json::json;

use crate::support::backend::{Backend, Reply, Request};
use crate::support::broker::Broker;
use crate::support::config::Config;
use crate::support::postfix::{Postfix, trouble};
use crate::support::site::open_directory;
use crate::support::smtp::Smtp;

/// Marks a line for main.cf among the comments.
const MAIN_CF: &str = "#| ";

fn example() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("master.cf.example");
    fs::read_to_string(path).expect("master.cf.example")
}

fn api(request: &Request) -> Reply {
    let key = request.text("key");
    let body = match request.path.as_str() {
        "/domains" if key == "example.com" => json!({ "value": "ours" }),
        "/mailboxes" if key.starts_with("known") => json!({ "value": "yes" }),
        "/transports" if key.ends_with("@example.com") => json!({ "value": "discard:" }),
        "/recipients" if request.text("recipient").contains("refused") => json!({ "action": "REJECT no" }),
        _ => json!({}),
    };
    Reply::json(&body.to_string())
}

/// A broker with the maps and the policy service that the example names.
fn broker(directory: &Path, api: &Backend) -> Broker {
    let config = Config::new(directory)
        .map("domains", &api.url("/domains"), &["timeout: 5s"])
        .map("transports", &api.url("/transports"), &["timeout: 5s"])
        .map("mailboxes", &api.url("/mailboxes"), &[])
        .policy("recipients", &api.url("/recipients"), &[]);
    Broker::start(&config.write())
}

/// Appends the file to master.cf, and its main.cf lines to main.cf.
fn install(postfix: &Postfix, socket: &Path) {
    let text = example();
    let shipped = "/usr/libexec/pfxhttp/pfxhttp-client";
    let here = format!("{} --socket {}", postfix.program().display(), socket.display());
    assert!(text.contains("user=pfxhttp-client") && text.contains(shipped), "{text}");
    let entries = text.replace("user=pfxhttp-client", "user=nobody").replace(shipped, &here);
    postfix.master_cf(&entries);
    let lines: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix(MAIN_CF)).collect();
    for setting in lines.join("\n").replace("\n ", " ").lines() {
        postfix.main_cf(setting);
    }
}

#[test]
fn the_example_works_in_postfix() {
    let directory = open_directory();
    let api = Backend::start(api);
    let _broker = broker(directory.path(), &api);
    let mut postfix = Postfix::prepare();
    install(&postfix, &Config::ipc(directory.path()));
    let port = postfix.smtpd(&[]);
    for service in ["pfx-map", "pfx-domains", "pfx-policy"] {
        let entry = postfix.postconf(&["-M", &format!("{service}/unix")]);
        let fields: Vec<&str> = entry.split_whitespace().take(8).collect();
        assert_eq!(fields, [service, "unix", "-", "n", "n", "-", "0", "spawn"], "{entry:?}");
        let limit = postfix.postconf(&["-n", &format!("{service}_time_limit")]);
        assert_eq!(limit.trim(), format!("{service}_time_limit = 3600"));
    }
    assert_eq!(postfix.check(), "", "postfix check is silent");
    postfix.start();
    let mark = postfix.mark();
    for (key, table, value) in [
        ("known@example.com", "socketmap:unix:private/pfx-map:mailboxes", "yes\n"),
        ("example.com", "socketmap:unix:private/pfx-domains:domains", "ours\n"),
    ] {
        let found = postfix.postmap(key, "", table);
        assert_eq!(String::from_utf8_lossy(&found.stdout), value, "{table}: {found:?}");
    }
    let mut smtp = Smtp::begin(port);
    for (recipient, due) in [
        ("known@example.com", "250 2.1.5 "),
        ("unknown@example.com", "550 5.1.1 "),
        ("known.refused@example.com", "554 5.7.1 "),
        ("known@elsewhere.test", "554 5.7.1 "),
    ] {
        let reply = smtp.rcpt(recipient);
        assert!(reply.starts_with(due), "{recipient}: {reply}");
    }
    drop(smtp);
    let log = postfix.logged_since(mark, "disconnect from");
    assert_eq!(trouble(&log), Vec::<&str>::new(), "the mail log");
    let paths: Vec<String> = api.requests().into_iter().map(|request| request.path).collect();
    for path in ["/domains", "/mailboxes", "/recipients"] {
        assert!(paths.iter().any(|asked| asked == path), "{path} was asked: {paths:?}");
    }
}

#[test]
fn the_example_explains_each_word() {
    let text = example();
    for word in ["unpriv", "chroot", "maxproc", "_time_limit", "default_process_limit", "timeout: 5s"] {
        assert!(text.contains(word), "{word} is explained");
    }
    let long: Vec<&str> = text.lines().filter(|line| line.len() > 100).collect();
    assert!(long.is_empty(), "lines over 100 columns: {long:?}");
}
