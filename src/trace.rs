//! What happens to one request, in words, for `query --trace`.
//!
//! A request that is traced carries its notes along in its task; all others pay for one look at a
//! thread's memory. No note holds a secret: those who write them leave headers that authenticate,
//! passwords and tokens out.

use std::cell::RefCell;
use std::future::Future;

tokio::task_local! {
    static NOTES: RefCell<Vec<String>>;
}

/// The most that one note shows.
const LONGEST: usize = 2000;

/// Runs `work`, and gives the notes that were taken on the way.
pub(crate) async fn collect<T>(work: impl Future<Output = T>) -> (T, Vec<String>) {
    NOTES
        .scope(RefCell::default(), async {
            let outcome = work.await;
            (outcome, NOTES.with(RefCell::take))
        })
        .await
}

/// Takes a note, where somebody wants it.
pub(crate) fn note(text: impl FnOnce() -> String) {
    // Nobody does, mostly.
    let _ = NOTES.try_with(|notes| {
        let text: String = text().chars().take(LONGEST).collect();
        notes.borrow_mut().push(text);
    });
}

/// A body as a note shows it.
pub(crate) fn shown(body: &[u8]) -> String {
    let cut = &body[..body.len().min(LONGEST)];
    String::from_utf8_lossy(cut).chars().map(|c| if c.is_control() && c != '\n' { ' ' } else { c }).collect()
}
