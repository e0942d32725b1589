//! A private Exim: Debian's exim4-daemon-heavy, unpacked but not installed, with its own configuration
//! and spool. It offers AUTH by its Dovecot authenticator, and delivers nothing.

use std::fs;
use std::os::unix::fs::chown;
use std::path::Path;

use tempfile::TempDir;

use super::namespace::{Daemon, HOST, command, unpacked};
use super::port::Port;
use super::site::open_directory;

/// Debian's Exim runs as this user, whatever its configuration says.
const USER: &str = "Debian-exim";
const NOBODY: u32 = 65534;

/// A running Exim. It ends before its port is given back.
pub(crate) struct Exim {
    _daemon: Daemon,
    port: Port,
    directory: TempDir,
}

impl Exim {
    /// Starts an Exim that asks `server_socket`: a path, or `HOST PORT`.
    pub(crate) fn start(server_socket: &str) -> Self {
        let program = unpacked("exim4-daemon-heavy/usr/sbin/exim4");
        let (directory, port) = (open_directory(), Port::reserve());
        let at = |name: &str| directory.path().join(name);
        fs::create_dir(at("spool")).expect("a directory can be made");
        chown(at("spool"), Some(NOBODY), Some(NOBODY)).expect("the spool can be given away");
        let file = at("exim.conf");
        fs::write(&file, configuration(&at("spool"), port.number(), server_socket)).expect("a file");
        let user = |known: &str, line: String| {
            let known = fs::read_to_string(known).unwrap_or_default();
            let others = known.lines().filter(|line| !line.starts_with(USER));
            others.map(|line| format!("{line}\n")).chain([line]).collect::<String>()
        };
        let (passwd, group) = (at("passwd"), at("group"));
        let line = format!("{USER}:x:{NOBODY}:{NOBODY}::/nonexistent:/usr/sbin/nologin\n");
        fs::write(&passwd, user("/etc/passwd", line)).expect("a file");
        fs::write(&group, user("/etc/group", format!("{USER}:x:{NOBODY}:\n"))).expect("a file");
        let mut command = command(&[(&passwd, "/etc/passwd"), (&group, "/etc/group")], &program);
        command.arg("-C").arg(file).arg("-bdf");
        Self { _daemon: Daemon::start(command, port.number()), port, directory }
    }

    /// The address at which it accepts mail.
    pub(crate) fn port(&self) -> u16 {
        self.port.number()
    }

    /// Its log so far.
    pub(crate) fn log(&self) -> String {
        let log = |name: &str| fs::read_to_string(self.directory.path().join("spool").join(name));
        ["mainlog", "paniclog"].map(|name| log(name).unwrap_or_default()).concat()
    }
}

fn configuration(spool: &Path, port: u16, server_socket: &str) -> String {
    let spool = spool.display();
    let authenticator = |name: &str| {
        format!(
            "{name}:\n  driver = dovecot\n  public_name = {}\n  server_socket = {server_socket}\n  server_set_id = $auth1\n",
            name.to_uppercase()
        )
    };
    format!(
        "primary_hostname = {HOST}\nspool_directory = {spool}\nlog_file_path = {spool}/%slog\n\
         pid_file_path = {spool}/pid\nlocal_interfaces = 127.0.0.1\ndaemon_smtp_ports = {port}\n\
         keep_environment =\ntls_advertise_hosts =\nhost_lookup =\nrfc1413_query_timeout = 0s\n\
         begin authenticators\n{}{}",
        authenticator("plain"),
        authenticator("login")
    )
}
