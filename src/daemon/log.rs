//! The log: what `server.logging` says, of this program and not of its libraries.
//!
//! It goes to standard output, in lines or in JSON; where journald reads it, to standard error,
//! each line with its priority in front (sd-daemon(3)) and without the time, which the journal
//! has. A thread of its own writes, so that a slow reader or a full disk does not delay a reply. Lines
//! that do not fit into its queue or cannot be written are dropped and counted; the count is logged
//! later.

mod panics;
mod sink;

use std::io::{self, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustix::fs::fstat;
use tracing::level_filters::LevelFilter;
use tracing::{Level as At, Metadata, warn};
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, fmt, reload};

use crate::settings::{Level, Logging};
pub(crate) use panics::log_panics;
use sink::Lost;

/// Lines that wait to be written.
const QUEUE: usize = 8192;
/// How often lost lines are looked for.
const LOOK: Duration = Duration::from_secs(10);

/// The level, which a reload changes.
static FILTER: OnceLock<reload::Handle<Targets, Registry>> = OnceLock::new();

/// The log of this process. When dropped, it writes the queued lines, for at most one second.
#[must_use]
pub struct Log {
    _worker: WorkerGuard,
    dropped: ErrorCounter,
    lost: Arc<Lost>,
    told: AtomicUsize,
}

/// Starts the log. Earlier messages are lost.
pub fn start(logging: Logging) -> Log {
    let journal = logging.use_systemd || is_read_by_journald();
    let builder = NonBlockingBuilder::default().lossy(true).buffered_lines_limit(QUEUE).thread_name("log");
    let lost = Arc::default();
    let out = if journal { sink::on(&io::stderr(), &lost) } else { sink::on(&io::stdout(), &lost) };
    let (writer, worker) = builder.finish(out);
    let dropped = writer.error_counter();
    let (filter, handle) = reload::Layer::new(targets(logging.level));
    let lines = fmt::layer()
        .with_ansi(false)
        .with_target(false)
        .with_writer(Lines { writer, journal })
        // It would print to standard error, and panic if that is closed.
        .log_internal_errors(false);
    let lines: Box<dyn Layer<_> + Send + Sync> = match (logging.json, journal) {
        (true, false) => lines.json().flatten_event(true).boxed(),
        (true, true) => lines.json().flatten_event(true).without_time().boxed(),
        (false, false) => lines.boxed(),
        (false, true) => lines.without_time().with_level(false).boxed(),
    };
    // Only one log can be; a second start (in a test) changes nothing.
    if tracing_subscriber::registry().with(filter).with(lines).try_init().is_ok() {
        let _ = FILTER.set(handle);
    }
    Log { _worker: worker, dropped, lost, told: AtomicUsize::new(0) }
}

/// Changes the level.
pub fn set_level(level: Level) {
    if let Some(filter) = FILTER.get() {
        // It fails where the log has ended.
        let _ = filter.reload(targets(level));
    }
}

impl Log {
    /// Logs from time to time how many lines were lost. Never returns.
    pub async fn watch(&self) {
        loop {
            tokio::time::sleep(LOOK).await;
            if self.lost.lasts() {
                // It would be lost as well.
                continue;
            }
            let lost = self.dropped.dropped_lines() + self.lost.lines();
            let before = self.told.swap(lost, Ordering::Relaxed);
            if lost > before {
                let lines = lost - before;
                warn!(
                    lines,
                    "lines of the log were lost: they were not read in time or could not be written"
                );
            }
        }
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

/// Whether standard error is the journal's (systemd.exec(5), `JOURNAL_STREAM`).
fn is_read_by_journald() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else { return false };
    let Some((device, inode)) = stream.split_once(':') else { return false };
    fstat(rustix::stdio::stderr())
        .is_ok_and(|stat| device == stat.st_dev.to_string() && inode == stat.st_ino.to_string())
}

/// Hands whole lines to the thread that writes.
struct Lines {
    writer: NonBlocking,
    journal: bool,
}

/// One line.
struct LogLine {
    writer: NonBlocking,
    priority: Option<&'static str>,
}

impl<'w> MakeWriter<'w> for Lines {
    type Writer = LogLine;

    fn make_writer(&'w self) -> LogLine {
        LogLine { writer: self.writer.clone(), priority: None }
    }

    fn make_writer_for(&'w self, metadata: &Metadata<'_>) -> LogLine {
        let priority = self.journal.then(|| match *metadata.level() {
            At::ERROR => "<3>",
            At::WARN => "<4>",
            At::INFO => "<6>",
            _ => "<7>",
        });
        LogLine { writer: self.writer.clone(), priority }
    }
}

impl Write for LogLine {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        // It comes in one piece, and the queue takes pieces.
        match self.priority.take() {
            Some(priority) => self.writer.write_all(&[priority.as_bytes(), line].concat())?,
            None => self.writer.write_all(line)?,
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}
