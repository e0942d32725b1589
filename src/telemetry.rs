//! The log: what `server.logging` says, on standard output, of this program and not of its
//! libraries.

use std::sync::OnceLock;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Registry, fmt, reload};

use crate::config::{Level, Logging};

/// What may be said, which a reload changes.
static FILTER: OnceLock<reload::Handle<Targets, Registry>> = OnceLock::new();

/// Starts the log. Whatever is said before is lost.
pub fn start(logging: Logging) {
    let (filter, handle) = reload::Layer::new(targets(logging.level));
    let lines = fmt::layer()
        .with_ansi(false)
        .with_target(false)
        .with_writer(std::io::stdout)
        // Said on standard error, and a panic where nobody reads that either.
        .log_internal_errors(false);
    let started = if logging.json {
        tracing_subscriber::registry().with(filter).with(lines.json().flatten_event(true)).try_init()
    } else {
        tracing_subscriber::registry().with(filter).with(lines).try_init()
    };
    // Only one log can be; a second start (in a test) changes nothing.
    if started.is_ok() {
        let _ = FILTER.set(handle);
    }
}

/// Says more or less from now on.
pub fn set_level(level: Level) {
    if let Some(filter) = FILTER.get() {
        // It fails where the log has ended.
        let _ = filter.reload(targets(level));
    }
}

fn targets(level: Level) -> Targets {
    let level = match level {
        Level::None => LevelFilter::OFF,
        Level::Error => LevelFilter::ERROR,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
    };
    Targets::new().with_target("pfxhttp", level)
}
