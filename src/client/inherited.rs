//! Gives up what the client inherits and does not need: descriptors, the directory, and readable memory, which
//! may hold a password.
//!
//! Errors are ignored: they must not delay mail.

use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::PathBuf;

use rustix::fs::{Mode, OFlags, RawDir};
use rustix::process::{DumpableBehavior, Resource, Rlimit};

/// Makes a path independent of the directory.
pub(super) fn make_absolute(path: &mut PathBuf) {
    if path.is_relative()
        && let Ok(absolute) = std::path::absolute(&*path)
    {
        *path = absolute;
    }
}

/// Gives all of it up but `kept`, the connection to the broker.
pub(super) fn give_up(kept: Option<BorrowedFd<'_>>) {
    close_others(kept);
    let _ = rustix::process::chdir("/");
    // No core, and no access by other processes of the user (ptrace(2), proc(5)).
    let _ = rustix::process::setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    let _ = rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable);
}

/// Closes all descriptors but 0, 1, 2 and `kept`. Usually there are no others. Linux 6.2 and later show this by the
/// size of the directory; listing it would take three times as long.
fn close_others(kept: Option<BorrowedFd<'_>>) {
    const OPEN: &str = "/proc/self/fd";
    let kept = kept.map(|kept| kept.as_raw_fd());
    let count = if kept.is_some() { 4 } else { 3 };
    if rustix::fs::stat(OPEN).is_ok_and(|stat| stat.st_size == count) {
        return;
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let Ok(directory) = rustix::fs::open(OPEN, flags, Mode::empty()) else { return };
    let own = directory.as_raw_fd();
    let mut others: Vec<i32> = Vec::new();
    let mut space = [MaybeUninit::uninit(); 1024];
    let mut entries = RawDir::new(&directory, &mut space);
    while let Some(Ok(entry)) = entries.next() {
        let number = entry.file_name().to_str().ok().and_then(|name| name.parse::<i32>().ok());
        others.extend(number.filter(|number| *number > 2 && *number != own && Some(*number) != kept));
    }
    drop(directory);
    for descriptor in others {
        let _ = nix::unistd::close(descriptor);
    }
}
