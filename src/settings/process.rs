//! The keys of `server` for the process: its log, its user, its `chroot`.

use std::path::{Path, PathBuf};

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
    /// `use_systemd`: the format of journald, also if it is not detected.
    pub use_systemd: bool,
    /// `log_keys`: when the log names the key of a lookup.
    pub keys: LogKeys,
}

/// `server.logging.level`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Nothing.
    None,
    /// Errors only.
    Error,
    /// The default.
    Info,
    /// All messages.
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

/// Reads `run_as_user`, `run_as_group`, `chroot`; `is_jailed` says whether this process is in its `chroot`.
pub(super) fn privileges(server: &Section<'_>, is_jailed: bool) -> Privileges {
    let [user, group] = ["run_as_user", "run_as_group"].map(|key| account(&server.key(key)));
    let check = |path: &String| {
        let path = Path::new(path);
        // Inside of the directory its own path does not exist.
        let is_good = path.is_absolute() && (is_jailed || path.is_dir());
        is_good.then_some(()).ok_or("must be the absolute path of a directory that exists")
    };
    let chroot = server.key("chroot").text().check(check).get().map(PathBuf::from);
    Privileges { user, group, chroot }
}
