//! What the tests share: everything around the two programs.
//!
//! ```text
//!  smtp ─▶ postfix ─┬─ client (spawned) ─▶ local socket ─┐
//!  peer ────────────┴─ unix and tcp listeners ───────────┴▶ broker ─HTTP─▶ backend
//!                                                                 └─────▶ oidc, fake_provider, grpc_service
//! ```
//!
//! `book` reads the documentation, whose commands run in a `machine`.
//!
//! `sasl` is a peer for logins, `mail_clients` and `doveadm` are real programs that log in;
//! `auth_server` is what they ask where no broker is meant. `exim` and `sendmail` are other mail
//! servers that ask the broker.
//!
//! Whatever is started here ends with the value that started it. Traffic stays on loopback.

pub(crate) mod auth_server;
pub(crate) mod backend;
pub(crate) mod blackhole;
pub(crate) mod book;
pub(crate) mod broker;
pub(crate) mod browser;
pub(crate) mod certificates;
pub(crate) mod check;
pub(crate) mod client;
pub(crate) mod command_line;
pub(crate) mod config;
pub(crate) mod dialogue;
pub(crate) mod doveadm;
pub(crate) mod exim;
pub(crate) mod fake_provider;
pub(crate) mod fake_redis;
pub(crate) mod fetch;
pub(crate) mod fleet;
pub(crate) mod frames;
pub(crate) mod grpc_service;
pub(crate) mod gzip;
pub(crate) mod http;
pub(crate) mod http2_peer;
pub(crate) mod jwt;
pub(crate) mod load;
pub(crate) mod machine;
pub(crate) mod mail_clients;
pub(crate) mod markdown;
pub(crate) mod marker;
pub(crate) mod metrics;
pub(crate) mod mutants;
pub(crate) mod namespace;
pub(crate) mod oidc;
pub(crate) mod peer;
pub(crate) mod port;
pub(crate) mod postfix;
pub(crate) mod redis;
pub(crate) mod relay;
pub(crate) mod sasl;
pub(crate) mod secret_shared;
pub(crate) mod secret_site;
pub(crate) mod sendmail;
pub(crate) mod setup;
pub(crate) mod site;
pub(crate) mod smtp;
pub(crate) mod sources;
pub(crate) mod terminal;
pub(crate) mod tinyproxy;

use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a test waits for what ought to happen at once.
pub(crate) const PATIENCE: Duration = Duration::from_secs(15);

/// Copies a program. cp(1) writes it, so that no process of another test inherits the file while it is open:
/// such a file cannot be executed (ETXTBSY).
pub(crate) fn copy_program(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg(from).arg(to).status().expect("cp runs");
    assert!(copied.success(), "{} can be copied", from.display());
}

/// Asks `condition` again and again where the thing waited for sends no event.
pub(crate) fn wait_until(within: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + within;
    loop {
        if condition() {
            return true;
        }
        if Instant::now() >= end {
            return false;
        }
        pause(Duration::from_millis(10));
    }
}

/// Lets time pass where that is the thing itself: a fault that lasts, or the step of a poll.
#[allow(clippy::disallowed_methods, reason = "there is no event to wait for")]
pub(crate) fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// Held by tests that measure, or that keep the machine busy: one at a time.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits for a process to end; `None` when it has not.
pub(crate) fn wait_for_exit(child: &mut Child, within: Duration) -> Option<ExitStatus> {
    let mut status = None;
    wait_until(within, || {
        status = child.try_wait().expect("a child can be waited for");
        status.is_some()
    });
    status
}

/// Bytes as a test message shows them.
pub(crate) fn shown(bytes: &[u8]) -> String {
    let cut = &bytes[..bytes.len().min(400)];
    let more = if cut.len() < bytes.len() { format!("… ({} bytes)", bytes.len()) } else { String::new() };
    format!("\"{}\"{more}", cut.escape_ascii())
}
