//! An upgrade during an SMTP session: the new broker does not serve the old client, which ends, and the
//! new client takes its place.
//!
//! The old broker is fake and speaks frames of its version; the new broker and both clients are real.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use pfxhttp::wire::ipc::{self, Verdict};

use crate::postfix::{add_smtpd, add_spawn_entries, api};
use crate::support::client;
use crate::support::frames::FakeBroker;
use crate::support::postfix::Postfix;
use crate::support::site::{Site, Way};
use crate::support::smtp::Smtp;

/// The frame version of the old programs.
const OLD: u16 = ipc::OLDEST - 1;

/// A broker that speaks the old version and knows every key.
fn old_broker(path: &Path) -> FakeBroker {
    FakeBroker::start(path, |_, frames| {
        let Some(hello) = frames.hello() else { return };
        assert_eq!(hello.version, OLD, "the old client says which version it speaks");
        frames.greet_as(OLD, Verdict::Served { budget_ms: 30_000, on_failure: None, mechanisms: Vec::new() });
        frames.echo();
    })
}

/// The old client, which cargo builds for this test.
fn old_client() -> PathBuf {
    let program = option_env!("CARGO_BIN_EXE_old-client");
    PathBuf::from(program.expect("the old client is built with --features client, as `make test` does"))
}

#[test]
fn an_old_client_is_replaced_during_a_session() {
    let mut site = Site::start(api);
    site.broker.kill();
    let old_broker = old_broker(&site.ipc());
    let mut postfix = Postfix::prepare();
    postfix.replace_program(&old_client());
    add_spawn_entries(&postfix, &site);
    let port = add_smtpd(&mut postfix, &site, Way::Client, "checks");
    postfix.start();

    let mut smtp = Smtp::begin(port);
    let before = smtp.rcpt("known@example.com");
    assert!(before.starts_with("250 "), "{before}");
    assert!(old_broker.asks().len() >= 2, "map and policy were asked in the old version");

    postfix.replace_program(&client::program());
    drop(old_broker);
    site.broker.start_again();
    assert_eq!(site.maps.count(), 0, "nothing has reached the new broker's API yet");
    let after = smtp.rcpt("known2@example.com");
    assert!(after.starts_with("250 "), "{after}");
    assert!(site.maps.count() > 0, "the new broker asked its API");
    let unknown = smtp.rcpt("unknown@example.com");
    assert!(unknown.starts_with("550 "), "{unknown}");
}

#[test]
fn an_old_client_ends_without_an_answer() {
    let site = Site::start(api);
    let (ours, its) = UnixStream::pair().expect("a socket pair");
    let end = || std::process::Stdio::from(std::os::fd::OwnedFd::from(its.try_clone().expect("a copy")));
    let mut child = std::process::Command::new(old_client())
        .arg("--socket")
        .arg(site.ipc())
        .arg("socketmap")
        .stdin(end())
        .stdout(end())
        .stderr(end())
        .spawn()
        .expect("the old client starts");
    drop(its);
    (&ours).write_all(b"22:demo known@example.com,").expect("written");
    let mut answer = Vec::new();
    (&ours).read_to_end(&mut answer).expect("the connection ends");
    assert_eq!(answer, b"", "no answer, so that Postfix asks again");
    assert_eq!(child.wait().expect("it ends").code(), Some(0), "spawn(8) logs nothing");
    assert_eq!(site.maps.count(), 0);
}
