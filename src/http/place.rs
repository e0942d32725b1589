//! Which thread this is, for connections that are kept by threads (`pool`). `server` gives its threads
//! their places; all others share place 0.

use std::cell::Cell;
use std::sync::OnceLock;
use std::thread;

thread_local! {
    static PLACE: Cell<usize> = const { Cell::new(0) };
}

/// The place of this thread: from 1 on, 0 if it was given none.
#[must_use]
pub fn place() -> usize {
    PLACE.get()
}

/// Gives this thread its place.
pub fn take_place(place: usize) {
    PLACE.set(place);
}

/// How many places there are: one for each processor, and place 0.
#[must_use]
pub fn places() -> usize {
    static COUNT: OnceLock<usize> = OnceLock::new();
    1 + *COUNT.get_or_init(|| thread::available_parallelism().map_or(1, usize::from))
}
