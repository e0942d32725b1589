//! Notifications to a service manager (sd_notify(3)): sent from within a jail, too, and not too early.
//! A manager that does not read delays nothing.

use std::net::TcpListener;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use crate::privileges::jail;
use crate::support::PATIENCE;
use crate::support::backend::Backend;
use crate::support::broker::{Broker, refused_start_with};
use crate::support::config::{Config, Kind};
use crate::support::peer::Peer;
use crate::support::port::Port;
use crate::support::site::open_directory;

/// Takes the part of systemd.
struct Manager {
    path: PathBuf,
    socket: UnixDatagram,
}

impl Manager {
    fn start(directory: &Path) -> Self {
        let path = directory.join("notify");
        let socket = UnixDatagram::bind(&path).expect("a datagram socket");
        socket.set_read_timeout(Some(PATIENCE)).expect("a time limit can be set");
        Self { path, socket }
    }

    fn name(&self) -> &str {
        self.path.to_str().expect("UTF-8")
    }

    /// The next message, except for those of the watchdog.
    fn hear(&self) -> String {
        loop {
            let mut bytes = [0; 512];
            let count = self.socket.recv(&mut bytes).expect("a message");
            let said = String::from_utf8_lossy(&bytes[..count]).into_owned();
            if said != "WATCHDOG=1\n" {
                return said;
            }
        }
    }

    /// Fills the socket's queue.
    fn overflow(&self) {
        let filler = UnixDatagram::unbound().expect("a datagram socket");
        filler.connect(&self.path).expect("it listens");
        filler.set_nonblocking(true).expect("it can be");
        while filler.send(b"STATUS=full").is_ok() {}
    }
}

fn config(directory: &Path, api: &Backend) -> Config {
    let config = Config::new(directory).map("m", &api.url("/"), &[]);
    config.listen_unix(Kind::Map, "maps", &directory.join("maps.sock"))
}

#[test]
fn notifications_are_sent_from_within_a_jail() {
    let directory = open_directory();
    let api = Backend::constant(r#"{"value": "v"}"#);
    let manager = Manager::start(directory.path());
    let chroot = format!("chroot: \"{}\"", jail(directory.path()).display());
    let config = config(directory.path(), &api).server(&chroot).server("run_as_user: nobody");
    let environment = [("NOTIFY_SOCKET", manager.name()), ("WATCHDOG_USEC", "200000")];
    let mut broker = Broker::start_with(&config.write(), &environment);
    assert_eq!(manager.hear(), "READY=1\n");
    let mut bytes = [0; 64];
    let count = manager.socket.recv(&mut bytes).expect("a message");
    assert_eq!(&bytes[..count], b"WATCHDOG=1\n");
    assert!(!broker.reload(), "the jail holds no configuration");
    assert!(manager.hear().starts_with("RELOADING=1\nMONOTONIC_USEC="));
    assert_eq!(manager.hear(), "READY=1\n");
    broker.terminate();
    assert_eq!(manager.hear(), "STOPPING=1\n");
    assert!(broker.wait(PATIENCE).is_some_and(|status| status.success()));
}

#[test]
fn a_manager_that_does_not_read_delays_nothing() {
    let directory = open_directory();
    let api = Backend::constant(r#"{"value": "v"}"#);
    let manager = Manager::start(directory.path());
    manager.overflow();
    let file = config(directory.path(), &api).write();
    let mut broker = Broker::start_with(&file, &[("NOTIFY_SOCKET", manager.name())]);
    assert_eq!(Peer::unix(&directory.path().join("maps.sock")).look_up("m", "k"), "OK v");
    assert!(broker.reload(), "{}", broker.log());
    broker.terminate();
    assert!(broker.wait(PATIENCE).is_some_and(|status| status.success()));
}

#[test]
fn a_start_that_fails_at_its_last_step_sends_no_ready() {
    let directory = open_directory();
    let api = Backend::constant(r#"{"value": "v"}"#);
    let manager = Manager::start(directory.path());
    let port = Port::reserve();
    let _occupied = TcpListener::bind(port.address()).expect("a reserved port can be bound");
    let config = config(directory.path(), &api).prometheus(port.number(), &["prometheus_address: 127.0.0.1"]);
    let (code, said) = refused_start_with(&config.write(), &[("NOTIFY_SOCKET", manager.name())]);
    assert_eq!(code, Some(71), "{said}");
    manager.socket.set_nonblocking(true).expect("it can be");
    assert!(manager.socket.recv(&mut [0; 512]).is_err(), "it got a notification");
}
