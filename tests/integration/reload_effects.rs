//! Effects of a reload that no answer shows, and settings that only a restart changes: these are named
//! in the log, and no others.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;

use pfxhttp::wire::ipc::{self, Hello, Service};

use crate::privileges::jail;
use crate::support::backend::{Backend, Reply};
use crate::support::broker::Broker;
use crate::support::certificates::{Authority, Flaw};
use crate::support::config::{Config, Kind};
use crate::support::peer::Peer;
use crate::support::site::open_directory;
use crate::support::{PATIENCE, wait_until};

#[test]
fn settings_that_need_a_restart_are_named() {
    let directory = open_directory();
    let api = Backend::constant(r#"{"value": "v"}"#);
    let config = |line: &str| {
        let config = Config::new(directory.path()).map("m", &api.url("/"), &[]);
        let config = config.server("max_connections: 500").server(line);
        config.listen_unix(Kind::Map, "maps", &directory.path().join("maps.sock")).write()
    };
    let otlp = r#"
        observability:
          otel_enabled: true
          otel_traces_enabled: true
          otel_exporter_otlp_endpoint: "http://127.0.0.1:1"
    "#;
    let chroot = format!("chroot: \"{}\"", jail(directory.path()).display());
    let admin = format!(r#"admin: {{path: "{}"}}"#, directory.path().join("other.sock").display());
    let broker = Broker::start(&config(""));
    for (line, key) in [
        ("", None),
        (admin.as_str(), Some("server.admin")),
        (otlp, Some("server.observability.otel_")),
        (&chroot, Some("server.chroot")),
        ("logging: {json: true}", Some("server.logging.json")),
        ("logging: {use_systemd: true}", Some("server.logging.json")),
        ("response_cache: {enabled: true, max_bytes: 2000000}", Some("server.response_cache.max_bytes")),
        ("run_as_user: nobody", Some("server.run_as_user")),
        ("run_as_group: daemon", Some("server.run_as_group")),
    ] {
        config(line);
        let before = broker.log().lines().count();
        assert!(broker.reload(), "{line}: {}", broker.log());
        // A reload logs this last.
        let named = || -> Vec<String> {
            let log = broker.log();
            let new = log.lines().skip(before).filter(|line| line.contains("needs a restart"));
            new.map(str::to_owned).collect()
        };
        match key {
            Some(key) => {
                assert!(wait_until(PATIENCE, || !named().is_empty()), "{line}: no setting is named");
                assert!(named().iter().all(|line| line.contains(key)), "{line}: {:?}", named());
            }
            None => assert!(named().is_empty(), "{line}: {:?}", named()),
        }
        assert_eq!(Peer::unix(&directory.path().join("maps.sock")).look_up("m", "k"), "OK v", "{line}");
    }
}

#[test]
fn a_reload_changes_the_log_level() {
    let directory = open_directory();
    let api = Backend::constant(r#"{"value": "v"}"#);
    let at = directory.path().join("maps.sock");
    let config = |level: &str| {
        let config = Config::new(directory.path()).map("m", &api.url("/"), &[]);
        config.listen_unix(Kind::Map, "maps", &at).server(&format!("logging: {{level: {level}}}")).write()
    };
    let broker = Broker::start(&config("info"));
    let refused = || {
        let mut peer = Peer::unix(&at);
        peer.send("no netstring");
        assert_eq!(peer.rest(), b"");
    };
    refused();
    assert!(!broker.log().contains("DEBUG"), "{}", broker.log());
    config("debug");
    assert!(broker.reload(), "{}", broker.log());
    assert_eq!(Peer::unix(&at).look_up("m", "k"), "OK v");
    refused();
    assert!(broker.logged(&["DEBUG", "connection closed"]), "{}", broker.log());
}

#[test]
fn a_reload_changes_the_authorities_for_the_collector() {
    let directory = open_directory();
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let api = Backend::constant(r#"{"value": "v"}"#);
    let tls = new.server(Flaw::None).serve(rustls::ALL_VERSIONS, None);
    let collector = Backend::start_tls(tls, |_| Reply::json("{}"));
    let (ca, trusted) = (old.write(directory.path(), "ca"), new.write(directory.path(), "trusted"));
    let at = directory.path().join("maps.sock");
    let config = Config::new(directory.path())
        .trust(&ca)
        .otlp(&collector.url(""), &["otel_traces_enabled: true"])
        .map("m", &api.url("/"), &[])
        .listen_unix(Kind::Map, "maps", &at);
    let broker = Broker::start(&config.write());
    let mut peer = Peer::unix(&at);
    assert_eq!(peer.look_up("m", "k"), "OK v");
    assert!(broker.logged(&["nothing could be exported"]), "an authority that is not trusted");
    assert_eq!(collector.count(), 0);
    fs::copy(&trusted, &ca).expect("a file");
    assert!(broker.reload(), "{}", broker.log());
    assert_eq!(peer.look_up("m", "k"), "OK v");
    assert!(collector.wait_for(1, PATIENCE), "{}", broker.log());
}

#[test]
fn a_reload_changes_the_mode_of_a_socket() {
    let directory = open_directory();
    let api = Backend::constant(r#"{"value": "v"}"#);
    let at = directory.path().join("maps.sock");
    let config = |mode: &str| {
        let endpoint = format!("type: unix, address: \"{}\", mode: \"{mode}\"", at.display());
        let config = Config::new(directory.path()).map("m", &api.url("/"), &[]);
        config.listen(Kind::Map, "maps", &endpoint).write()
    };
    let broker = Broker::start(&config("0666"));
    for (text, due) in [("0600", 0o600), ("0666", 0o666), ("0660", 0o660)] {
        config(text);
        assert!(broker.reload(), "{text}: {}", broker.log());
        let mode = fs::metadata(&at).expect("the socket").permissions().mode();
        assert_eq!(mode & 0o777, due);
    }
}

#[test]
fn a_reload_changes_allow_users() {
    let directory = open_directory();
    let api = Backend::constant(r#"{"value": "v"}"#);
    let config = |user: &str| {
        let config = Config::new(directory.path()).map("m", &api.url("/"), &[]);
        config.ipc_field(&format!("allow_users: [{user}]")).write()
    };
    let broker = Broker::start(&config("nobody"));
    // The broker sends its hello, or closes the connection.
    let is_welcome = || {
        let mut hello = Vec::new();
        Hello::encode(ipc::VERSION, &Service::Socketmap, None, &mut hello).expect("short");
        let mut stream = UnixStream::connect(Config::ipc(directory.path())).expect("it listens");
        let _it_may_be_gone = stream.write_all(&hello);
        stream.set_read_timeout(Some(PATIENCE)).expect("a time limit can be set");
        matches!(stream.read(&mut [0; 1]), Ok(1))
    };
    assert!(!is_welcome());
    for (user, due) in [("root", true), ("nobody", false), ("0", true)] {
        config(user);
        assert!(broker.reload(), "{user}: {}", broker.log());
        assert_eq!(is_welcome(), due, "{user}: {}", broker.log());
    }
}
