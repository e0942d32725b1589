//! Ctrl-C and SIGTERM: whatever is measured looks here and gives up, so that everything that was
//! started ends and the temporary directory goes.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::signal::unix::{SignalKind, signal};

use super::Outcome;

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// From now on they are seen. The thread that waits for them sleeps until one comes.
pub(crate) fn watch() -> Outcome<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("no runtime for signals: {error}"))?;
    std::thread::spawn(move || {
        runtime.block_on(async {
            let watched = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
            if let (Ok(mut interrupt), Ok(mut terminate)) = watched {
                tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
                INTERRUPTED.store(true, Ordering::Relaxed);
            }
        });
    });
    Ok(())
}

/// Whether one came.
pub(crate) fn is_due() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

/// What a run came to: what goes wrong behind a Ctrl-C is the Ctrl-C, which the programs that were
/// started hear of, too.
pub(crate) fn or_interrupted<T>(outcome: Outcome<T>) -> Outcome<T> {
    outcome.or_else(|sentence| check().and(Err(sentence)))
}

/// The same as a way out.
pub(crate) fn check() -> Outcome<()> {
    if is_due() { Err("interrupted".to_owned()) } else { Ok(()) }
}
