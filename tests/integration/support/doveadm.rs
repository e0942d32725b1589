//! Dovecot's own client of its authentication protocol: `doveadm auth test` with a configuration of its
//! own. It is strict about the handshake. No Dovecot server runs.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use super::site::open_directory;

const PROGRAM: &str = "/usr/bin/doveadm";

/// The result of a login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tested {
    /// `None`: there was no answer, or a temporary failure.
    pub(crate) accepted: Option<bool>,
    /// The fields of the answer, each with its value: `user`, `reason`, `code` and so on.
    pub(crate) fields: BTreeMap<String, String>,
    /// All its output.
    pub(crate) said: String,
}

/// Logs in at this socket by PLAIN, as an SMTP client at 192.0.2.7.
pub(crate) fn auth_test(socket: &Path, user: &str, password: &str) -> Tested {
    assert!(Path::new(PROGRAM).is_file(), "there is no {PROGRAM}: apt-get install dovecot-core");
    let directory = open_directory();
    let place = directory.path().display();
    let conf = directory.path().join("dovecot.conf");
    fs::write(&conf, format!("base_dir = {place}/base\nlog_path = /dev/stderr\nssl = no\n"))
        .expect("the test's directory can be written to");
    let mut command = Command::new(PROGRAM);
    command.arg("-c").arg(conf).args(["auth", "test", "-a"]).arg(socket);
    command.args(["-x", "service=smtp", "-x", "rip=192.0.2.7", user, password]).stdin(Stdio::null());
    let output = command.output().expect("doveadm can be started");
    let said = String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned();
    let status = (output.status.code(), said.contains(" auth succeeded"), said.contains(" auth failed"));
    let accepted = match status {
        (Some(0), true, false) => Some(true),
        (Some(77), false, true) if !said.contains("code=temp_fail") => Some(false),
        _ => None,
    };
    let fields = said.lines().filter_map(|line| line.strip_prefix("  ")?.split_once('='));
    let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    Tested { accepted, fields, said }
}
