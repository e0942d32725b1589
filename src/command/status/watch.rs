//! `status --watch`: draws the status again and again, on the terminal's other screen, until a signal.
//!
//! Ctrl-C, Ctrl-\, SIGTERM, SIGHUP and Ctrl-Z give the terminal back as it was. A broker that does not answer is asked again
//! at the next turn, so a restart is seen.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::{Signal, raise};
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, sleep_until};

use super::{Seen, What, draw, read, terminal_size};
use crate::command::socket;

/// Other screen, without cursor; and back (xterm, "Alternate Screen Buffer").
const BEGIN: &str = "\x1b[?1049h\x1b[?25l";
const END: &str = "\x1b[?25h\x1b[?1049l";

/// The terminal's other screen, until this is dropped.
struct OtherScreen;

impl OtherScreen {
    fn begin() -> io::Result<Self> {
        write(BEGIN)?;
        Ok(Self)
    }
}

impl Drop for OtherScreen {
    fn drop(&mut self) {
        let _ = write(END);
    }
}

fn write(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Watches the broker behind the admin socket `path`; `first` is its status now.
///
/// # Errors
/// The terminal is gone, or the system refuses a signal handler.
pub(super) fn watch(path: &Path, what: What, every: Duration, first: Seen) -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let watched = runtime.block_on(turns(path.to_owned(), what, every, first));
    // A broker that hangs delays no end.
    runtime.shutdown_background();
    watched
}

async fn turns(path: PathBuf, what: What, every: Duration, first: Seen) -> io::Result<()> {
    let [mut interrupt, mut quit, mut terminate, mut hangup, mut resized, mut suspend] = [
        signal(SignalKind::interrupt())?,
        signal(SignalKind::quit())?,
        signal(SignalKind::terminate())?,
        signal(SignalKind::hangup())?,
        signal(SignalKind::window_change())?,
        signal(SignalKind::from_raw(Signal::SIGTSTP as i32))?,
    ];
    let mut screen = Some(OtherScreen::begin()?);
    let (mut seen, mut next, mut asking) = (first, Instant::now() + every, None);
    frame(&seen, what)?;
    loop {
        tokio::select! {
            _ = interrupt.recv() => return Ok(()),
            _ = quit.recv() => return Ok(()),
            _ = terminate.recv() => return Ok(()),
            _ = hangup.recv() => return Ok(()),
            _ = resized.recv() => {}
            _ = suspend.recv() => {
                drop(screen.take());
                let _ = raise(Signal::SIGSTOP);
                // The shell has brought it back.
                screen = Some(OtherScreen::begin()?);
            }
            () = sleep_until(next), if asking.is_none() => {
                let path = path.clone();
                asking = Some(spawn_blocking(move || read(socket::status(&path))));
                continue;
            }
            answer = answered(&mut asking) => {
                (seen, asking, next) = (answer, None, Instant::now() + every);
            }
        }
        frame(&seen, what)?;
    }
}

/// What the broker said, as soon as it does; pending if it was not asked.
async fn answered(asking: &mut Option<JoinHandle<Seen>>) -> Seen {
    match asking {
        Some(asking) => asking.await.unwrap_or_else(|error| Err(error.to_string())),
        None => std::future::pending().await,
    }
}

/// Draws over what is there, so that nothing flickers.
fn frame(seen: &Seen, what: What) -> io::Result<()> {
    let (width, height) = terminal_size();
    let lines = draw(seen, what, width, Some(height));
    let lines: Vec<String> = lines.iter().map(|line| format!("{line}\x1b[K")).collect();
    write(&format!("\x1b[H{}\x1b[J", lines.join("\r\n")))
}
