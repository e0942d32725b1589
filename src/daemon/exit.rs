//! How the program ends: the exit codes of sysexits(3), and what it says on standard error.

use std::io::Write;

/// EX_USAGE: the command line is wrong.
pub(crate) const USAGE: u8 = 64;
/// EX_UNAVAILABLE: what the configuration names is not there.
pub(crate) const UNAVAILABLE: u8 = 69;
/// EX_SOFTWARE: a part of the broker ended that never should.
pub(crate) const SOFTWARE: u8 = 70;
/// EX_OSERR: the system refused something.
pub(crate) const OS: u8 = 71;
/// EX_TEMPFAIL: the running broker cannot be asked, or refused.
pub(crate) const TEMPORARY: u8 = 75;
/// EX_CONFIG: the configuration is wrong.
pub(crate) const CONFIG: u8 = 78;

/// Prints to standard error, each line with one write(2): under systemd the thread of the log writes to the same
/// socket. If its reader is gone, nothing is printed.
pub(crate) fn say(lines: &[impl std::fmt::Display]) {
    let mut stderr = std::io::stderr().lock();
    for line in lines {
        let _ = stderr.write_all(format!("{line}\n").as_bytes());
    }
}
