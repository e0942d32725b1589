//! The log: what `server.logging` says, on standard output.

use tracing::level_filters::LevelFilter;

use crate::config::{Level, Logging};

/// Starts the log. Whatever is said before is lost.
pub fn start(logging: Logging) {
    let level = match logging.level {
        Level::None => return,
        Level::Error => LevelFilter::ERROR,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
    };
    let log = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_ansi(false)
        .with_target(false)
        .with_writer(std::io::stdout)
        // Said on standard error, and a panic where nobody reads that either.
        .log_internal_errors(false);
    // Only one log can be; a second start (in a test) changes nothing.
    let _ = if logging.json {
        tracing::subscriber::set_global_default(log.json().flatten_event(true).finish())
    } else {
        tracing::subscriber::set_global_default(log.finish())
    };
}
