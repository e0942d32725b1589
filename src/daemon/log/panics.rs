//! Panics in the log: one line for each. It has the message of the panic only if that is a constant of the program;
//! another one may quote what the code was working on, for example a password.

use std::panic::{PanicHookInfo, set_hook};
use std::thread;

use tracing::error;

/// From now on panics are logged, and not printed on standard error.
pub(crate) fn log_panics() {
    set_hook(Box::new(log));
}

fn log(panic: &PanicHookInfo<'_>) {
    let place = panic.location().map(|place| format!("{}:{}", place.file(), place.line()));
    let reason = panic.payload().downcast_ref::<&'static str>();
    error!(place, reason, thread = thread::current().name(), "a task has panicked");
}
