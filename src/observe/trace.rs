//! What happens to one request, in words, for `query --trace`.
//!
//! A request that is traced carries its notes along in its task; all others pay for one look at a
//! thread's memory. No note holds a secret: those who write them leave headers that authenticate,
//! passwords and literal values out, and what an API repeats of them is cut here.

use std::cell::RefCell;
use std::future::Future;

use crate::observe::hidden::Hidden;

#[derive(Default)]
struct Notes {
    lines: Vec<String>,
    hidden: Hidden,
}

tokio::task_local! {
    static NOTES: RefCell<Notes>;
}

/// The most that one note shows.
const LONGEST: usize = 2000;

/// Runs `work`, and gives the notes that were taken on the way.
pub(crate) async fn collect<T>(work: impl Future<Output = T>) -> (T, Vec<String>) {
    NOTES
        .scope(RefCell::default(), async {
            let outcome = work.await;
            (outcome, NOTES.with(RefCell::take).lines)
        })
        .await
}

/// Whether somebody wants notes.
pub(crate) fn is_wanted() -> bool {
    NOTES.try_with(|_| ()).is_ok()
}

/// From now on no note shows this.
pub(crate) fn hide(hidden: impl FnOnce() -> Hidden) {
    let _ = NOTES.try_with(|notes| notes.borrow_mut().hidden.join(hidden()));
}

/// Takes a note, where somebody wants it.
pub(crate) fn note(text: impl FnOnce() -> String) {
    // Nobody does, mostly.
    let _ = NOTES.try_with(|notes| {
        let text = text();
        let mut notes = notes.borrow_mut();
        // First: a secret that is cut in half is none that could be found.
        let text = notes.hidden.cut_from(&text).chars().take(LONGEST).collect();
        notes.lines.push(text);
    });
}

/// A body as a note shows it.
pub(crate) fn shown(body: &[u8]) -> String {
    String::from_utf8_lossy(body).chars().map(|c| if c.is_control() && c != '\n' { ' ' } else { c }).collect()
}
