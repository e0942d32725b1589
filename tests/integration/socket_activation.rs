//! Sockets that a service manager made: connections wait in their queues while the broker is restarted
//! or killed.

use std::fs;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::{Signal, kill_process};

use crate::postfix::api;
use crate::support::backend::Backend;
use crate::support::broker::{self, Broker};
use crate::support::config::{Config, Kind};
use crate::support::peer::{Peer, netstring};
use crate::support::port::Port;
use crate::support::postfix::{Postfix, trouble};
use crate::support::site::open_directory;
use crate::support::smtp::Smtp;
use crate::support::{PATIENCE, pause, wait_until};

/// The number of kills, unless `PFXHTTP_TEST_KILLS` sets it.
const KILLS: usize = 4;

fn listening(path: &Path) -> OwnedFd {
    let socket = UnixListener::bind(path).expect("a socket");
    fs::set_permissions(path, fs::Permissions::from_mode(0o666)).expect("its mode");
    socket.into()
}

/// A broker whose sockets outlive it: the clients' socket, one for maps, one for policies, and one on
/// TCP.
fn activated(directory: &Path, api: &Backend) -> (Broker, std::net::SocketAddr) {
    let at = |name: &str| directory.join(format!("{name}.sock"));
    let tcp = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = tcp.local_addr().expect("an address");
    let unix =
        |name: &str| format!("type: unix, address: \"{}\", systemd_socket_name: {name}", at(name).display());
    let config = Config::new(directory)
        .map("demo", &api.url("/map"), &[])
        .policy("checks", &api.url("/policy"), &[])
        .listen(Kind::Map, "maps", &unix("maps"))
        .listen(Kind::Policy, "checks", &unix("checks"))
        .listen(Kind::Map, "tcp", "type: tcp, address: 127.0.0.1, systemd_socket_name: tcp");
    let handed = vec![
        ("ipc".to_owned(), listening(&Config::ipc(directory))),
        ("checks".to_owned(), listening(&at("checks"))),
        ("tcp".to_owned(), tcp.into()),
        ("maps".to_owned(), listening(&at("maps"))),
    ];
    (Broker::start_with_sockets(&config.write(), handed), address)
}

#[test]
fn postfix_notices_nothing_if_the_broker_is_killed() {
    let kills = std::env::var("PFXHTTP_TEST_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(KILLS);
    let directory = open_directory();
    let api = Backend::start(api);
    let (mut broker, _) = activated(directory.path(), &api);
    let mut postfix = Postfix::prepare();
    let at = |name: &str| directory.path().join(format!("{name}.sock")).display().to_string();
    let mut smtpd = |map: &str| {
        let policy = format!("check_policy_service unix:{}", at("checks"));
        let errors = [("smtpd_hard_error_limit", "1000"), ("smtpd_soft_error_limit", "999")];
        let asks = [("virtual_mailbox_maps", map), ("smtpd_recipient_restrictions", policy.as_str())];
        postfix.smtpd(&[errors, asks].concat())
    };
    let ports =
        [smtpd(&format!("socketmap:unix:{}:demo", at("maps"))), smtpd("socketmap:unix:private/pfx-map:demo")];
    postfix.spawn("pfx-map", &Config::ipc(directory.path()), "socketmap");
    postfix.start();
    let mark = postfix.mark();
    let ended = AtomicBool::new(false);
    let answered = std::thread::scope(|scope| {
        let asking = ports.map(|port| {
            let ended = &ended;
            scope.spawn(move || {
                let mut answered = 0;
                while !ended.load(Ordering::Relaxed) {
                    let mut smtp = Smtp::begin(port);
                    for number in 0..20 {
                        let known = smtp.rcpt(&format!("known{number}@example.com"));
                        assert!(known.starts_with("250 "), "{known}");
                        let unknown = smtp.rcpt(&format!("unknown{number}@example.com"));
                        assert!(unknown.starts_with("550 "), "{unknown}");
                        answered += 2;
                    }
                }
                answered
            })
        });
        for _ in 0..kills {
            pause(Duration::from_millis(700));
            broker.kill();
            pause(Duration::from_millis(300));
            broker.start_again();
        }
        ended.store(true, Ordering::Relaxed);
        asking.map(|asking| asking.join().expect("no answer is wrong")).iter().sum::<usize>()
    });
    assert!(answered > 40 * kills, "{answered} answers are too few for a load");
    let log = postfix.logged_since(mark, "disconnect from");
    let unexpected: Vec<_> = trouble(&log)
        .into_iter()
        // Postfix logs this when it asks again.
        .filter(|line| !line.contains("premature end-of-input") && !line.contains("Connection reset"))
        .collect();
    assert_eq!(unexpected, Vec::<&str>::new(), "the mail log");
}

#[test]
fn sockets_are_taken_by_name_and_outlive_the_broker() {
    let directory = open_directory();
    let api = Backend::constant(r#"{"value": "v"}"#);
    let (mut broker, tcp) = activated(directory.path(), &api);
    let maps = directory.path().join("maps.sock");
    assert_eq!(Peer::unix(&maps).look_up("demo", "k"), "OK v");
    assert_eq!(Peer::tcp(tcp).look_up("demo", "k"), "OK v");
    assert_eq!(Peer::asking(&Config::ipc(directory.path()), &["socketmap"]).look_up("demo", "k"), "OK v");
    assert!(broker.reload(), "{}", broker.log());
    assert_eq!(Peer::unix(&maps).look_up("demo", "k"), "OK v");
    broker.terminate();
    assert!(broker.wait(PATIENCE).is_some_and(|status| status.success()));
    assert!(
        maps.exists() && Config::ipc(directory.path()).exists(),
        "the broker does not remove these paths"
    );
    // A connection that is made meanwhile waits.
    let mut waiting = Peer::unix(&maps);
    broker.start_again();
    assert_eq!(waiting.look_up("demo", "k"), "OK v");
}

/// The broker is stopped meanwhile (SIGSTOP), so that it sees these connections and SIGTERM at the same
/// time.
#[test]
fn connections_in_the_queue_are_served_by_the_next_broker() {
    let directory = open_directory();
    let api = Backend::constant(r#"{"value": "v"}"#);
    let (mut broker, tcp) = activated(directory.path(), &api);
    let maps = directory.path().join("maps.sock");
    kill_process(broker.pid(), Signal::STOP).expect("a child can be signalled");
    let mut waiting: Vec<Peer> =
        (0..100).map(|nth| if nth % 2 == 0 { Peer::unix(&maps) } else { Peer::tcp(tcp) }).collect();
    for peer in &mut waiting {
        peer.send(netstring("demo k"));
    }
    broker.terminate();
    kill_process(broker.pid(), Signal::CONT).expect("a child can be signalled");
    assert!(broker.wait(PATIENCE).is_some_and(|status| status.success()));
    broker.start_again();
    for (nth, peer) in waiting.iter_mut().enumerate() {
        assert_eq!(peer.reply(), "OK v", "number {nth}");
    }
}

#[test]
fn a_socket_that_was_not_passed_is_made_or_reported() {
    let directory = open_directory();
    let api = Backend::constant(r#"{"value": "v"}"#);
    let path = directory.path().join("maps.sock");
    let unix = format!("type: unix, address: \"{}\", systemd_socket_name: maps", path.display());
    let config = Config::new(directory.path()).map("m", &api.url("/"), &[]).listen(Kind::Map, "maps", &unix);
    // Without a service manager the broker makes the socket itself.
    let broker = Broker::start(&config.write());
    assert_eq!(Peer::unix(&path).look_up("m", "k"), "OK v");
    drop(broker);
    // With one that made other sockets, the name is an error.
    let other = listening(&directory.path().join("other.sock"));
    let (code, said) = broker::refused_start_with_sockets(&config.write(), vec![("other".to_owned(), other)]);
    assert_eq!(code, Some(71), "{said}");
    assert!(
        said.contains("pfxhttp-postfix@maps.socket started?): others were") && !said.contains(" ready"),
        "{said}"
    );
    let elsewhere = listening(&directory.path().join("elsewhere.sock"));
    let (code, said) =
        broker::refused_start_with_sockets(&config.write(), vec![("maps".to_owned(), elsewhere)]);
    assert_eq!(code, Some(71), "{said}");
    assert!(said.contains("another path"), "{said}");
    let twice = ["one.sock", "two.sock"].map(|name| listening(&directory.path().join(name)));
    let twice = twice.map(|socket| ("maps".to_owned(), socket)).into();
    let (code, said) = broker::refused_start_with_sockets(&config.write(), twice);
    assert_eq!(code, Some(71), "{said}");
    assert!(said.contains("\"maps\" twice"), "{said}");
    let config = Config::new(directory.path()).map("m", &api.url("/"), &[]);
    let other = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = Port::reserve();
    let tcp = format!("type: tcp, address: 127.0.0.1, port: {}, systemd_socket_name: maps", port.number());
    let config = config.listen(Kind::Map, "maps", &tcp);
    let (code, said) =
        broker::refused_start_with_sockets(&config.write(), vec![("maps".to_owned(), other.into())]);
    assert_eq!(code, Some(71), "{said}");
    assert!(said.contains("another port"), "{said}");
}

#[test]
fn systemd_socket_activate_starts_the_broker() {
    const PROGRAM: &str = "/usr/bin/systemd-socket-activate";
    assert!(Path::new(PROGRAM).is_file(), "there is no {PROGRAM}: apt-get install systemd");
    let directory = open_directory();
    let api = Backend::constant(r#"{"value": "v"}"#);
    let path = directory.path().join("maps.sock");
    let unix = format!("type: unix, address: \"{}\", systemd_socket_name: maps", path.display());
    let config = Config::new(directory.path()).map("m", &api.url("/"), &[]).listen(Kind::Map, "maps", &unix);
    let mut child = Command::new(PROGRAM)
        .arg("--listen")
        .arg(&path)
        .args(["--fdname=maps", env!("CARGO_BIN_EXE_pfxhttp-broker"), "--config"])
        .arg(config.write())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("systemd-socket-activate can be started");
    assert!(wait_until(PATIENCE, || path.exists()));
    let reply = Peer::unix(&path).look_up("m", "k");
    child.kill().expect("a child can be killed");
    child.wait().expect("a child can be waited for");
    assert_eq!(reply, "OK v");
}
