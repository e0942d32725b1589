//! The notes of `query --trace`: what happens to one request, in words.
//!
//! They are collected in a variable of the task. Without `--trace` a note costs one look at that
//! variable. No note contains a secret: its author leaves out credentials, passwords and literal
//! values, and [`redact`] removes what an API repeats of them.

use std::cell::RefCell;
use std::future::Future;
use std::time::Instant;

use crate::observe::redact::Redactor;

#[derive(Default)]
struct Notes {
    lines: Vec<String>,
    /// Parts of the whole time, as `API 3.1 ms`.
    times: Vec<String>,
    /// What stands before and behind the origin in the line of a request to one of several targets.
    request: Option<[String; 2]>,
    redactor: Redactor,
}

tokio::task_local! {
    static NOTES: RefCell<Notes>;
}

/// Characters of a note.
const LONGEST: usize = 2000;

/// Runs `work`, and returns its result and its notes. The last one is the time that it took.
pub(crate) async fn collect<T>(work: impl Future<Output = T>) -> (T, Vec<String>) {
    NOTES
        .scope(RefCell::default(), async {
            let began = Instant::now();
            let outcome = work.await;
            let Notes { mut lines, times, .. } = NOTES.with(RefCell::take);
            let parts = if times.is_empty() { String::new() } else { format!(" ({})", times.join(", ")) };
            lines.push(format!("time: {}{parts}", milliseconds(began)));
            (outcome, lines)
        })
        .await
}

/// Whether notes are collected in this task.
pub(crate) fn is_wanted() -> bool {
    NOTES.try_with(|_| ()).is_ok()
}

/// Whether there is a note that begins so.
pub(crate) fn has(beginning: &str) -> bool {
    NOTES
        .try_with(|notes| notes.borrow().lines.iter().any(|line| line.starts_with(beginning)))
        .unwrap_or(false)
}

/// Redacts these secrets in all later notes.
pub(crate) fn redact(secrets: impl FnOnce() -> Redactor) {
    let _ = NOTES.try_with(|notes| notes.borrow_mut().redactor.extend(secrets()));
}

/// The begin of a time for [`time`]; `None` without notes.
pub(crate) fn clock() -> Option<Instant> {
    is_wanted().then(Instant::now)
}

/// Notes how much of the time `what` took, which began at `began`.
pub(crate) fn time(what: &str, began: Option<Instant>) {
    if let Some(began) = began {
        let _ =
            NOTES.try_with(|notes| notes.borrow_mut().times.push(format!("{what} {}", milliseconds(began))));
    }
}

fn milliseconds(began: Instant) -> String {
    format!("{:.1} ms", began.elapsed().as_secs_f64() * 1000.0)
}

/// Adds a note, if notes are collected.
pub(crate) fn note(text: impl FnOnce() -> String) {
    let _ = NOTES.try_with(|notes| {
        let text = text();
        let mut notes = notes.borrow_mut();
        // Redacted before it is cut: half of a secret would not be found.
        let text = notes.redactor.redact(&text).chars().take(LONGEST).collect();
        notes.lines.push(text);
    });
}

/// As [`note`], but for a note that is there already.
pub(crate) fn note_once(text: impl FnOnce() -> String) {
    let _ = NOTES.try_with(|notes| {
        let text = text();
        let is_known = notes.borrow().lines.contains(&text);
        if !is_known {
            note(|| text);
        }
    });
}

/// Keeps the line of a request to one of several targets, for [`note_target`]: what stands before and behind the
/// origin.
pub(crate) fn keep_request(parts: impl FnOnce() -> [String; 2]) {
    let _ = NOTES.try_with(|notes| {
        let parts = parts();
        notes.borrow_mut().request = Some(parts);
    });
}

/// Notes that one of several targets is asked, and the request.
pub(crate) fn note_target(origin: &str) {
    note(|| format!("target: {origin}"));
    let request = NOTES.try_with(|notes| notes.borrow().request.clone()).ok().flatten();
    if let Some([before, behind]) = request {
        note(|| format!("{before}{origin}{behind}"));
    }
}

/// A body as text for a note.
pub(crate) fn shown(body: &[u8]) -> String {
    String::from_utf8_lossy(body).chars().map(|c| if c.is_control() && c != '\n' { ' ' } else { c }).collect()
}
