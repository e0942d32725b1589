//! Which thread this is, for connections that are kept by threads (`pool`). `server` numbers its threads;
//! all others have index 0.

use std::cell::Cell;
use std::sync::OnceLock;
use std::thread;

thread_local! {
    static INDEX: Cell<usize> = const { Cell::new(0) };
}

/// The index of this thread: from 1 on, 0 if it was given none.
#[must_use]
pub fn thread_index() -> usize {
    INDEX.get()
}

/// Gives this thread its index.
pub fn set_thread_index(index: usize) {
    INDEX.set(index);
}

/// How many indices there are: one for each processor, and 0.
#[must_use]
pub fn thread_count() -> usize {
    static COUNT: OnceLock<usize> = OnceLock::new();
    1 + *COUNT.get_or_init(|| thread::available_parallelism().map_or(1, usize::from))
}
