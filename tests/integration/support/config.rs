//! The broker's configuration as the tests write it: YAML in a file of the test's directory.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// A configuration in the making.
pub(crate) struct Config {
    directory: PathBuf,
    listen: String,
    maps: String,
    policies: String,
}

/// `kind` of a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Map,
    Policy,
}

impl Config {
    /// A configuration whose files and sockets live in `directory`.
    pub(crate) fn new(directory: &Path) -> Self {
        let (listen, maps, policies) = (String::new(), String::new(), String::new());
        Self { directory: directory.to_owned(), listen, maps, policies }
    }

    /// The socket for `pfxhttp-client`.
    pub(crate) fn ipc(directory: &Path) -> PathBuf {
        directory.join("broker.sock")
    }

    /// A listener; `endpoint` holds its lines `type`, `address` and so on.
    pub(crate) fn listen(mut self, kind: Kind, name: &str, endpoint: &str) -> Self {
        let kind = if kind == Kind::Map { "socket_map" } else { "policy_service" };
        let fields = format!("kind: {kind}, name: {name}, {endpoint}");
        writeln!(self.listen, "    - {{{fields}}}").expect("text takes text");
        self
    }

    /// A listener on a unix socket that everybody may open.
    pub(crate) fn listen_unix(self, kind: Kind, name: &str, path: &Path) -> Self {
        self.listen(kind, name, &format!("type: unix, address: \"{}\", mode: \"0666\"", path.display()))
    }

    /// A listener on a port of 127.0.0.1.
    pub(crate) fn listen_tcp(self, kind: Kind, name: &str, port: u16) -> Self {
        self.listen(kind, name, &format!("type: tcp, address: 127.0.0.1, port: {port}"))
    }

    /// A map: the API's `value` is its value, `error` its error.
    pub(crate) fn map(mut self, name: &str, target: &str, more: &[&str]) -> Self {
        entry(&mut self.maps, name, target, r#"{"key": "{{ .Key }}"}"#, "value", more);
        self
    }

    /// A policy service: the API's `action` is its action, `error` its error.
    pub(crate) fn policy(mut self, name: &str, target: &str, more: &[&str]) -> Self {
        entry(&mut self.policies, name, target, "{{ .Key }}", "action", more);
        self
    }

    /// Writes the file.
    pub(crate) fn write(&self) -> PathBuf {
        let mut text = String::from("server:\n");
        if !self.listen.is_empty() {
            write!(text, "  listen:\n{}", self.listen).expect("text takes text");
        }
        let socket = Self::ipc(&self.directory);
        writeln!(text, "  ipc: {{path: \"{}\", mode: \"0666\"}}", socket.display()).expect("text takes text");
        text.push_str("  logging: {json: false, level: info}\n");
        for (section, entries) in [("socket_maps", &self.maps), ("policy_services", &self.policies)] {
            if !entries.is_empty() {
                write!(text, "{section}:\n{entries}").expect("text takes text");
            }
        }
        let file = self.directory.join("pfxhttp.yml");
        std::fs::write(&file, text).expect("the test's directory can be written to");
        file
    }
}

fn entry(out: &mut String, name: &str, target: &str, payload: &str, value: &str, more: &[&str]) {
    writeln!(out, "  {name}:").expect("text takes text");
    writeln!(out, "    target: \"{target}\"").expect("text takes text");
    writeln!(out, "    payload: '{payload}'").expect("text takes text");
    writeln!(out, "    status_code: 200").expect("text takes text");
    writeln!(out, "    value_field: {value}").expect("text takes text");
    writeln!(out, "    error_field: error").expect("text takes text");
    writeln!(out, "    no_error_value: none").expect("text takes text");
    for line in more {
        writeln!(out, "    {line}").expect("text takes text");
    }
}
