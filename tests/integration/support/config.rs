//! The broker's configuration, which the tests write as YAML into a file of the test's directory.

use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// A configuration in the making.
pub(crate) struct Config {
    directory: PathBuf,
    server: String,
    ipc: String,
    listen: String,
    maps: String,
    policies: String,
    policy_names: Vec<String>,
    logins: String,
    login_names: Vec<String>,
}

/// `kind` of a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Map,
    Policy,
    Login,
}

impl Kind {
    /// The value of `kind` in the file.
    fn word(self) -> &'static str {
        match self {
            Self::Map => "socket_map",
            Self::Policy => "policy_service",
            Self::Login => "dovecot_sasl",
        }
    }
}

impl Config {
    /// A configuration with files and sockets in `directory`.
    pub(crate) fn new(directory: &Path) -> Self {
        let [server, ipc, listen, maps, policies, logins] = [const { String::new() }; 6];
        let [policy_names, login_names] = [const { Vec::new() }; 2];
        let directory = directory.to_owned();
        Self { directory, server, ipc, listen, maps, policies, policy_names, logins, login_names }
    }

    /// The directory of its files and sockets.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Lines of `server`: a key and its value in flow style, or a block of several lines, whose common
    /// indentation is replaced.
    pub(crate) fn server(mut self, lines: &str) -> Self {
        indented(&mut self.server, "  ", lines);
        self
    }

    /// `server.tls`, which trusts the authority in `file`.
    pub(crate) fn trust(self, file: &Path) -> Self {
        self.server(&format!("tls: {{{}}}", trust(file)))
    }

    /// `server.http_client.proxy`.
    pub(crate) fn proxy(self, url: &str) -> Self {
        self.server(&format!(r#"http_client: {{proxy: "{url}"}}"#))
    }

    /// `server.observability` with Prometheus' endpoint on this port and these further lines.
    pub(crate) fn prometheus(self, port: u16, more: &[&str]) -> Self {
        let port = format!("prometheus_port: {port}");
        self.observability(&[&["prometheus_enabled: true", &port], more].concat())
    }

    /// `server.observability` with exports to the collector at `endpoint` and these further lines.
    pub(crate) fn otlp(self, endpoint: &str, more: &[&str]) -> Self {
        let endpoint = format!(r#"otel_exporter_otlp_endpoint: "{endpoint}""#);
        self.observability(&[&["otel_enabled: true", &endpoint], more].concat())
    }

    fn observability(mut self, lines: &[&str]) -> Self {
        indented(&mut self.server, "  ", "observability:");
        lines.iter().for_each(|line| indented(&mut self.server, "    ", line));
        self
    }

    /// One more field of `server.ipc`.
    pub(crate) fn ipc_field(mut self, field: &str) -> Self {
        write!(self.ipc, ", {field}").expect("text takes text");
        self
    }

    /// The policy services so far.
    pub(crate) fn policy_names(&self) -> &[String] {
        &self.policy_names
    }

    /// The entries for logins so far.
    pub(crate) fn login_names(&self) -> &[String] {
        &self.login_names
    }

    /// The socket for `pfxhttp-client`.
    pub(crate) fn ipc(directory: &Path) -> PathBuf {
        directory.join("broker.sock")
    }

    /// A listener; `endpoint` holds its lines `type`, `address` and so on.
    pub(crate) fn listen(mut self, kind: Kind, name: &str, endpoint: &str) -> Self {
        let fields = format!("kind: {}, name: {name}, {endpoint}", kind.word());
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

    /// A map of these lines and no others.
    pub(crate) fn map_of(mut self, name: &str, lines: &[&str]) -> Self {
        raw_entry(&mut self.maps, name, lines);
        self
    }

    /// A policy service of these lines and no others.
    pub(crate) fn policy_of(mut self, name: &str, lines: &[&str]) -> Self {
        raw_entry(&mut self.policies, name, lines);
        self.policy_names.push(name.to_owned());
        self
    }

    /// A policy service: the API's `action` is its action, `error` its error.
    pub(crate) fn policy(mut self, name: &str, target: &str, more: &[&str]) -> Self {
        entry(&mut self.policies, name, target, "{{ .Key }}", "action", more);
        self.policy_names.push(name.to_owned());
        self
    }

    /// Logins of these lines and no others.
    #[allow(dead_code, reason = "for tests of a broker that answers logins")]
    pub(crate) fn login_of(mut self, name: &str, lines: &[&str]) -> Self {
        raw_entry(&mut self.logins, name, lines);
        self.login_names.push(name.to_owned());
        self
    }

    /// Logins by an API; denials are not delayed, and attempts in progress are not limited.
    #[allow(dead_code, reason = "for tests of a broker that answers logins")]
    pub(crate) fn login(self, name: &str, target: &str, more: &[&str]) -> Self {
        let target = format!("target: \"{target}\"");
        self.login_of(
            name,
            &[
                &[target.as_str(), "status_code: 200", "failure_delay: 0s", "sasl_penalty: false"][..],
                &["sasl_attempts: 0"],
                more,
            ]
            .concat(),
        )
    }

    /// The content of the file.
    pub(crate) fn text(&self) -> String {
        let mut text = String::from("server:\n");
        if !self.listen.is_empty() {
            write!(text, "  listen:\n{}", self.listen).expect("text takes text");
        }
        let ipc = format!("path: \"{}\", mode: \"0666\"{}", Self::ipc(&self.directory).display(), self.ipc);
        writeln!(text, "  ipc: {{{ipc}}}").expect("text takes text");
        if !self.server.contains("  logging: ") {
            text.push_str("  logging: {json: false, level: info}\n");
        }
        text.push_str(&self.server);
        for (section, entries) in
            [("socket_maps", &self.maps), ("policy_services", &self.policies), ("dovecot_sasl", &self.logins)]
        {
            if !entries.is_empty() {
                write!(text, "{section}:\n{entries}").expect("text takes text");
            }
        }
        text
    }

    /// Writes the file.
    pub(crate) fn write(&self) -> PathBuf {
        let file = self.directory.join("pfxhttp.yml");
        std::fs::write(&file, self.text()).expect("the test's directory can be written to");
        // The mode of the package. Brokers that are not root run as nobody, and read it by its group.
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o640)).expect("its owner may");
        let _by_root = std::os::unix::fs::chown(&file, None, Some(65534));
        file
    }
}

fn entry(out: &mut String, name: &str, target: &str, payload: &str, value: &str, more: &[&str]) {
    let (target, payload) = (format!("target: \"{target}\""), format!("payload: '{payload}'"));
    let value = format!("value_field: {value}");
    let common =
        [&target, &payload, "status_code: 200", &value, "error_field: error", "no_error_value: none"];
    raw_entry(out, name, &[common.as_slice(), more].concat());
}

fn raw_entry(out: &mut String, name: &str, lines: &[&str]) {
    writeln!(out, "  {name}:").expect("text takes text");
    lines.iter().for_each(|line| indented(out, "    ", line));
}

/// Writes `text` with this indentation in place of the one that all its lines have.
fn indented(out: &mut String, indentation: &str, text: &str) {
    let lines = || text.lines().filter(|line| !line.trim().is_empty());
    let common = lines().map(|line| line.len() - line.trim_start().len()).min().unwrap_or_default();
    for line in lines() {
        writeln!(out, "{indentation}{}", &line[common..]).expect("text takes text");
    }
}

/// Fields of a `tls` block that trust the authority in `file`.
pub(crate) fn trust(file: &Path) -> String {
    format!(r#"enabled: true, root_ca: "{}""#, file.display())
}

/// `backend_oidc_auth` of an entry: the broker's own tokens from this provider.
pub(crate) fn backend_oidc(configuration_uri: &str, more: &str) -> String {
    oidc("backend_oidc_auth", configuration_uri, more)
}

/// `sasl_oidc_auth` of an entry: logins with tokens of this provider.
pub(crate) fn sasl_oidc(configuration_uri: &str, more: &str) -> String {
    oidc("sasl_oidc_auth", configuration_uri, more)
}

/// A block for a provider, with further fields in flow style.
pub(crate) fn oidc(block: &str, configuration_uri: &str, more: &str) -> String {
    format!(r#"{block}: {{enabled: true, configuration_uri: "{configuration_uri}", {more}}}"#)
}
