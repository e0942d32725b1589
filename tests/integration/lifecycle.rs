//! Start and stop of the broker: it opens all sockets or none, and answers requests that are in flight.

use std::net::TcpListener;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixListener;
use std::time::Duration;

use crate::support::PATIENCE;
use crate::support::backend::{Backend, Reply};
use crate::support::broker::{Broker, has_word, refused_start};
use crate::support::command_line::check;
use crate::support::config::{Config, Kind};
use crate::support::peer::{Peer, netstring};
use crate::support::port::Port;
use crate::support::site::{Site, Way, open_directory};

#[test]
fn a_lookup_in_flight_is_answered_before_the_broker_ends() {
    for way in Way::ALL {
        let held = || Reply::Hold(Box::new(Reply::json(r#"{"value": "late"}"#)));
        let mut site = Site::start(move |_| held());
        let mut idle = Peer::unix(&site.socket("maps"));
        let mut peer = site.map(way);
        peer.send(netstring("demo k"));
        assert!(site.maps.wait_for(1, PATIENCE), "the API is asked, by {way:?}");
        site.broker.terminate();
        assert_eq!(idle.rest(), b"", "an idle connection is closed, by {way:?}");
        assert!(site.broker.is_alive(), "the broker waits for the lookup, by {way:?}");
        site.maps.release();
        assert_eq!(peer.reply(), "OK late", "by {way:?}");
        let status = site.broker.wait(PATIENCE).and_then(|status| status.code());
        assert_eq!(status, Some(0), "the exit code, by {way:?}");
    }
}

#[test]
fn a_second_signal_ends_the_broker_at_once() {
    let mut site = Site::start(|_| Reply::Hold(Box::new(Reply::json("{}"))));
    let mut idle = Peer::unix(&site.socket("maps"));
    let mut peer = site.map(Way::Unix);
    peer.send(netstring("demo k"));
    assert!(site.maps.wait_for(1, PATIENCE), "the API is asked");
    site.broker.terminate();
    assert_eq!(idle.rest(), b"", "it has received the first signal");
    site.broker.terminate();
    let status = site.broker.wait(Duration::from_secs(2)).and_then(|status| status.code());
    assert_eq!(status, Some(0), "{}", site.broker.log());
    assert_eq!(peer.rest(), b"", "no reply is sent");
}

#[test]
fn a_broker_without_work_ends_at_once() {
    let mut site = Site::constant("{}");
    let _idle = Way::ALL.map(|way| site.map(way));
    site.broker.terminate();
    let status = site.broker.wait(Duration::from_secs(5)).and_then(|status| status.code());
    assert_eq!(status, Some(0), "its exit code");
    assert!(!site.socket("maps").exists(), "its unix sockets are gone");
}

#[test]
fn an_occupied_tcp_port_is_reported() {
    let port = Port::reserve();
    let _occupied = TcpListener::bind(port.address()).expect("a reserved port can be bound");
    let directory = open_directory();
    let config = Config::new(directory.path())
        .map("demo", "http://127.0.0.1:1/", &[])
        .listen_unix(Kind::Map, "demo", &directory.path().join("maps.sock"))
        .listen_tcp(Kind::Map, "demo", port.number());
    let (code, text) = refused_start(&config.write());
    assert!(code.is_some_and(|code| code != 0), "exit code {code:?}: {text}");
    assert!(text.contains(&port.address().to_string()), "the message names the endpoint: {text}");
    assert!(!has_word(&text, "ready"), "it never says that it is ready: {text}");
}

#[test]
fn a_unix_socket_in_use_is_reported_and_kept() {
    let directory = open_directory();
    let path = directory.path().join("maps.sock");
    let config = Config::new(directory.path())
        .map("demo", "http://127.0.0.1:1/", &[])
        .listen_unix(Kind::Map, "demo", &path)
        .write();
    let foreign = UnixListener::bind(&path).expect("a socket");
    let (code, text) = refused_start(&config);
    assert!(code.is_some_and(|code| code != 0), "exit code {code:?}: {text}");
    assert!(text.contains("maps.sock"), "the message names the endpoint: {text}");
    let _peer = Peer::unix(&path);
    foreign.accept().expect("the socket still leads to its first owner");
}

#[test]
fn a_second_broker_does_not_disturb_the_first() {
    let site = Site::constant(r#"{"value": "v"}"#);
    let (code, text) = refused_start(&site.directory().join("pfxhttp.yml"));
    assert!(code.is_some_and(|code| code != 0), "exit code {code:?}: {text}");
    for way in Way::ALL {
        assert_eq!(site.map(way).look_up("demo", "k"), "OK v", "by {way:?}");
    }
}

#[test]
fn a_stale_socket_file_is_replaced() {
    let api = Backend::constant(r#"{"value": "v"}"#);
    let directory = open_directory();
    let path = directory.path().join("maps.sock");
    drop(UnixListener::bind(&path).expect("a socket"));
    drop(UnixListener::bind(Config::ipc(directory.path())).expect("a socket"));
    let config = Config::new(directory.path()).map("demo", &api.url("/map"), &[]).listen_unix(
        Kind::Map,
        "demo",
        &path,
    );
    let _broker = Broker::start(&config.write());
    assert_eq!(Peer::unix(&path).look_up("demo", "k"), "OK v");
}

#[test]
fn a_file_that_is_no_socket_is_not_replaced() {
    let directory = open_directory();
    let path = directory.path().join("maps.sock");
    std::fs::write(&path, "precious").expect("a file");
    let config = Config::new(directory.path()).map("demo", "http://127.0.0.1:1/", &[]).listen_unix(
        Kind::Map,
        "demo",
        &path,
    );
    let (code, text) = refused_start(&config.write());
    assert!(code.is_some_and(|code| code != 0), "exit code {code:?}: {text}");
    assert_eq!(std::fs::read(&path).expect("the file is still there"), b"precious");
}

#[test]
fn a_unix_socket_has_the_configured_mode_and_owner() {
    let directory = open_directory();
    let path = directory.path().join("maps.sock");
    let owned = format!(
        "type: unix, address: \"{}\", mode: \"0660\", user: nobody, group: \"65534\"",
        path.display()
    );
    let config = Config::new(directory.path()).map("demo", "http://127.0.0.1:1/", &[]).listen(
        Kind::Map,
        "demo",
        &owned,
    );
    let _broker = Broker::start(&config.write());
    let metadata = std::fs::metadata(&path).expect("the socket");
    let got = (metadata.file_type().is_socket(), metadata.mode() & 0o7777, metadata.uid(), metadata.gid());
    assert_eq!(got, (true, 0o660, 65534, 65534), "socket, mode, user, group");
}

#[test]
fn a_broker_killed_without_warning_starts_again() {
    let mut site = Site::constant(r#"{"value": "v"}"#);
    site.broker.kill();
    site.broker.start_again();
    for way in Way::ALL {
        assert_eq!(site.map(way).look_up("demo", "k"), "OK v", "by {way:?}");
    }
}

#[test]
fn a_listener_on_the_ipv6_loopback_answers() {
    let api = Backend::constant(r#"{"value": "v"}"#);
    let directory = open_directory();
    let held = TcpListener::bind("[::1]:0").expect("the IPv6 loopback");
    let address = held.local_addr().expect("its address");
    drop(held);
    let endpoint = format!("type: tcp6, address: \"[::1]\", port: {}", address.port());
    let config =
        Config::new(directory.path()).map("demo", &api.url("/map"), &[]).listen(Kind::Map, "demo", &endpoint);
    let _broker = Broker::start(&config.write());
    assert_eq!(Peer::tcp(address).look_up("demo", "k"), "OK v");
}

#[test]
fn a_listener_on_the_ipv6_wildcard_accepts_ipv4() {
    let api = Backend::constant(r#"{"value": "v"}"#);
    let directory = open_directory();
    let port = Port::reserve();
    let endpoint = format!("type: tcp, address: \"[::]\", port: {}", port.number());
    let config =
        Config::new(directory.path()).map("demo", &api.url("/map"), &[]).listen(Kind::Map, "demo", &endpoint);
    let _broker = Broker::start(&config.write());
    for address in ["127.0.0.1", "[::1]"] {
        let address = format!("{address}:{}", port.number()).parse().expect("an address");
        assert_eq!(Peer::tcp(address).look_up("demo", "k"), "OK v", "on {address}");
    }
}

#[test]
fn check_reports_whether_a_configuration_can_be_loaded() {
    let directory = open_directory();
    let config = Config::new(directory.path()).map("demo", "http://127.0.0.1:1/", &[]);
    let (code, text) = checked(&config);
    assert_eq!(code, Some(0), "a good configuration: {text}");
    let broken = config.map("broken", "http://127.0.0.1:1/", &["on_failrue: temp"]);
    let (code, text) = checked(&broken);
    assert_eq!(code, Some(78), "a misspelt key: {text}");
    assert!(text.contains("on_failrue"), "the message names it: {text}");
}

#[test]
fn check_names_what_is_missing_for_a_start() {
    let directory = open_directory();
    let good = || {
        let config = Config::new(directory.path()).map("demo", "http://127.0.0.1:1/", &[]);
        config.listen_unix(Kind::Map, "demo", &directory.path().join("good.sock"))
    };
    let (code, text) = checked(&good());
    assert_eq!(code, Some(0), "nothing is missing: {text}");
    let unix = |place: &str, more: &str| format!("type: unix, address: \"{place}\"{more}");
    let at = |name: &str| directory.path().join(name).display().to_string();
    let listening = |endpoint: &str| good().listen(Kind::Map, "demo", endpoint);
    for (what, config, due) in [
        ("a group", listening(&unix(&at("g.sock"), ", group: no-such-group")), ["g.sock", "no-such-group"]),
        ("a user", listening(&unix(&at("u.sock"), ", user: no-such-user")), ["u.sock", "no-such-user"]),
        ("an ipc group", good().ipc_field("group: no-such-group"), ["broker.sock", "no-such-group"]),
        ("an ipc user", good().ipc_field("user: no-such-user"), ["broker.sock", "no-such-user"]),
        (
            "one who may ask",
            good().ipc_field("allow_users: [no-such-user]"),
            [".yml:4:74: ", "error: server.ipc.allow_users: there is no user \"no-such-user\""],
        ),
    ] {
        let (code, text) = checked(&config);
        assert_eq!(code, Some(78), "{what}: {text}");
        let named = |line: &str| due.iter().all(|due| line.contains(due));
        assert!(text.lines().any(named), "{what}: {due:?} is not in {text}");
        assert!(!text.contains("is good"), "{what}: {text}");
        let (code, text) = refused_start(&config.write());
        assert!(code.is_some_and(|code| code != 0), "{what}: a start is refused, too: {code:?}, {text}");
    }
    // A service manager may make the directory when it starts the broker.
    let (code, text) = checked(&listening(&unix(&at("none/d.sock"), "")));
    assert_eq!(code, Some(0), "a directory: {text}");
    assert!(text.contains(&format!("there is no directory {}", at("none"))), "a directory: {text}");
}

/// All listeners share the limit on connections: none may occupy it alone.
#[test]
fn every_listener_is_served_within_the_limit_on_connections() {
    let api = Backend::constant(r#"{"value": "v"}"#);
    let directory = open_directory();
    let sockets: Vec<_> = (0..3).map(|number| directory.path().join(format!("{number}.sock"))).collect();
    let config =
        Config::new(directory.path()).server("max_connections: 2").map("demo", &api.url("/map"), &[]);
    let config = sockets.iter().fold(config, |config, socket| config.listen_unix(Kind::Map, "demo", socket));
    let _broker = Broker::start(&config.write());
    for round in 0..3 {
        for socket in &sockets {
            assert_eq!(Peer::unix(socket).look_up("demo", "k"), "OK v", "{}, {round}", socket.display());
        }
        let mut client = Peer::asking(&Config::ipc(directory.path()), &["socketmap"]);
        assert_eq!(client.look_up("demo", "k"), "OK v", "a client, {round}");
    }
    let [mut one, mut two] = [Peer::unix(&sockets[0]), Peer::unix(&sockets[0])];
    for peer in [&mut one, &mut two] {
        assert_eq!(peer.look_up("demo", "k"), "OK v", "as many as the limit allows");
    }
    let before = api.count();
    // As many as the limit allows: a further one would wait for these to close.
    let mut waiting: Vec<_> = sockets.iter().take(2).map(|socket| Peer::unix(socket)).collect();
    for peer in &mut waiting {
        peer.send(netstring("demo k"));
    }
    assert!(!api.wait_for(before + 1, Duration::from_millis(300)), "no third connection is accepted");
    drop(one);
    drop(two);
    for mut peer in waiting {
        assert_eq!(peer.reply(), "OK v", "a waiting connection is served");
    }
}

fn checked(config: &Config) -> (Option<i32>, String) {
    check(&config.write(), &[])
}

#[test]
fn check_warns_of_a_listener_that_postfix_could_not_open() {
    let directory = open_directory();
    let api = Backend::constant("{}");
    let closed = directory.path().join("closed");
    std::fs::create_dir(&closed).expect("a directory");
    std::fs::set_permissions(&closed, std::os::unix::fs::PermissionsExt::from_mode(0o700)).expect("its mode");
    let listener = |path: &std::path::Path, more: &str| {
        let config = Config::new(directory.path()).map("m", &api.url("/"), &[]);
        let endpoint = format!("type: unix, address: \"{}\"{more}", path.display());
        config.listen(Kind::Map, "maps", &endpoint).write()
    };
    let says = |config: &std::path::Path| {
        let output = crate::support::broker::command(config).arg("check").output().expect("it runs");
        assert!(output.status.success(), "a warning is no error: {output:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let open = directory.path().join("maps.sock");
    assert!(says(&listener(&open, "")).contains("user postfix may not open it"));
    assert_eq!(says(&listener(&open, ", mode: \"0666\"")), "");
    assert_eq!(says(&listener(&open, ", group: postfix")), "");
    let said = says(&listener(&closed.join("maps.sock"), ", mode: \"0666\""));
    assert!(said.contains("user postfix may not enter"), "{said}");
}
