//! What `server` says of the process: its log, its user, its jail.

use std::path::PathBuf;

use crate::document::Section;
use crate::lookup::LogKeys;
use crate::server::settings::{Privileges, account};

const LEVELS: [(&str, Level); 4] =
    [("none", Level::None), ("error", Level::Error), ("info", Level::Info), ("debug", Level::Debug)];
const LOG_KEYS: [(&str, LogKeys); 3] =
    [("never", LogKeys::Never), ("failures", LogKeys::Failures), ("always", LogKeys::Always)];

/// `server.logging`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Logging {
    /// `json`.
    pub json: bool,
    /// `level`.
    pub level: Level,
    /// `use_systemd`: for journald, also where it does not show itself.
    pub use_systemd: bool,
    /// `log_keys`: when the log names what was asked.
    pub keys: LogKeys,
}

/// `server.logging.level`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Nothing at all.
    None,
    /// Errors alone.
    Error,
    /// The default.
    Info,
    /// Everything.
    Debug,
}

impl Logging {
    /// Reads `server.logging`.
    pub(super) fn read(server: &Section<'_>) -> Self {
        let logging = server.key("logging").section("Logging");
        Self {
            json: logging.key("json").flag().or(false),
            level: logging.key("level").choice(&LEVELS).or(Level::Info),
            use_systemd: logging.key("use_systemd").flag().or(false),
            keys: logging.key("log_keys").choice(&LOG_KEYS).or(LogKeys::Never),
        }
    }
}

/// Reads who the broker is once it runs; `is_jailed` says whether this process is in its jail.
pub(super) fn privileges(server: &Section<'_>, is_jailed: bool) -> Privileges {
    let [user, group] = ["run_as_user", "run_as_group"].map(|key| account(&server.key(key)));
    let chroot = server.key("chroot").text();
    let key = chroot.key.clone();
    let chroot = chroot.get().map(PathBuf::from);
    // In the jail its own path leads nowhere.
    let is_there = |jail: &PathBuf| is_jailed || jail.is_dir();
    if chroot.as_ref().is_some_and(|jail| !jail.is_absolute() || !is_there(jail)) {
        key.error("must be the absolute path of a directory that exists");
    }
    Privileges { user, group, chroot }
}
