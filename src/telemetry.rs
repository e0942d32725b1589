//! The log: what `server.logging` says, on standard output, of this program and not of its
//! libraries.

use tracing::Level as At;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{Level, Logging};

/// Starts the log. Whatever is said before is lost.
pub fn start(logging: Logging) {
    let level = match logging.level {
        Level::None => return,
        Level::Error => At::ERROR,
        Level::Info => At::INFO,
        Level::Debug => At::DEBUG,
    };
    let ours = Targets::new().with_target("pfxhttp", level);
    let lines = fmt::layer()
        .with_ansi(false)
        .with_target(false)
        .with_writer(std::io::stdout)
        // Said on standard error, and a panic where nobody reads that either.
        .log_internal_errors(false);
    // Only one log can be; a second start (in a test) changes nothing.
    let _ = if logging.json {
        tracing_subscriber::registry().with(ours).with(lines.json().flatten_event(true)).try_init()
    } else {
        tracing_subscriber::registry().with(ours).with(lines).try_init()
    };
}
