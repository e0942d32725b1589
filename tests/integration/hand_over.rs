//! A client hands Postfix' connection to the broker and ends: what the broker takes, and what it leaves to the
//! client. What no client offers is played in frames.

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::time::Duration;

use pfxhttp::model::Answer;
use pfxhttp::wire::ipc::{Service, Verdict};

use crate::support::backend::{Backend, Reply};
use crate::support::command_line::{run, text};
use crate::support::config::Config;
use crate::support::frames::{Frames, map_question};
use crate::support::metrics::Scrape;
use crate::support::port::Port;
use crate::support::sasl::Heard;
use crate::support::setup::Setup;
use crate::support::site::{Site, Way};
use crate::support::{PATIENCE, wait_until};

const VALUE: &str = r#"{"value": "v", "action": "DUNNO"}"#;
/// A lookup and its reply.
const ASK: &[u8] = b"5:m key,";
const TOLD: &[u8] = b"4:OK v,";

/// Of processes: what they have open.
fn descriptors(setup: &Setup) -> usize {
    let pid = setup.broker.pid().as_raw_nonzero();
    std::fs::read_dir(format!("/proc/{pid}/fd")).expect("it runs").count()
}

fn assert_served(stream: &mut (impl Read + Write)) {
    stream.write_all(ASK).expect("it is read");
    let mut reply = [0; TOLD.len()];
    stream.read_exact(&mut reply).expect("a reply");
    assert_eq!(reply, TOLD);
}

fn unix_pair() -> (UnixStream, UnixStream) {
    let (ours, theirs) = UnixStream::pair().expect("a socket pair");
    ours.set_read_timeout(Some(PATIENCE)).expect("a time limit");
    (ours, theirs)
}

/// A site with one map, `m`, and the port of its metrics.
fn setup(api: &Backend, configure: impl FnOnce(Config) -> Config) -> (Setup, Port) {
    let port = Port::reserve();
    let number = port.number();
    (Setup::start(|config| configure(config.map("m", &api.url("/"), &[]).prometheus(number, &[]))), port)
}

/// How many offers ended so.
fn offers(port: &Port, result: &str) -> f64 {
    Scrape::of(port.address()).sum("pfxhttp_hand_overs_total", &[("result", result)])
}

fn open(port: &Port, origin: &str) -> f64 {
    Scrape::of(port.address()).sum("pfxhttp_connections", &[("origin", origin)])
}

#[test]
fn a_client_ends_and_its_connection_lives_on() {
    let site = Site::constant(VALUE);
    let mut maps = site.map(Way::Client);
    assert_eq!(maps.exit_code(), Some(0), "it has nothing left to do");
    let mut policy = site.policy(Way::Client, "checks");
    for key in ["a", "b", "c"] {
        assert_eq!(maps.look_up("demo", key), "OK v");
        assert_eq!(policy.ask(&[("sender", "a@example.com")]), "action=DUNNO\n\n");
    }
    assert_eq!(policy.exit_code(), Some(0));
    assert_eq!(maps.look_up("demo", "d"), "OK v");
}

#[test]
fn a_connection_for_logins_is_handed_over() {
    let api =
        Backend::start(|_| Reply::with_headers(200, &[("Auth-Status", "OK"), ("Auth-User", "u")], "{}"));
    let setup = Setup::start(|config| config.login("users", &api.url("/"), &[]));
    for (arguments, offered) in [
        (&["sasl", "users"][..], &["PLAIN", "LOGIN"][..]),
        (&["--mechanisms", "LOGIN", "sasl", "users"], &["LOGIN"]),
    ] {
        let mut sasl = crate::support::sasl::Sasl::begin(setup.client(arguments));
        assert_eq!(sasl.peer().exit_code(), Some(0), "{arguments:?}");
        assert_eq!(sasl.mechanisms(), offered, "the command line decides what is offered");
        if offered.contains(&"PLAIN") {
            sasl.plain(1, "u", "secret");
            let Heard::Line(line) = sasl.next(PATIENCE) else { panic!("no answer") };
            assert!(line.starts_with("OK\t1\t"), "{line}");
        }
    }
}

#[test]
fn connections_are_counted_by_the_way_they_came() {
    let api = Backend::constant(VALUE);
    let (setup, port) = setup(&api, |config| config);
    let mut peers: Vec<_> = (0..2).map(|_| setup.client(&["socketmap"])).collect();
    peers.extend((0..3).map(|_| setup.client(&["--no-hand-over", "socketmap"])));
    peers.extend((0..4).map(|_| setup.map()));
    for peer in &mut peers {
        assert_eq!(peer.look_up("m", "k"), "OK v");
    }
    let counts = || ["handed_over", "forwarded", "listener"].map(|origin| open(&port, origin));
    assert_eq!(counts(), [2.0, 3.0, 4.0]);
    assert_eq!(offers(&port, "taken"), 2.0);
    let shown = text(&run(setup.broker.config(), &["status", "--json"], ""));
    let json: serde_json::Value = serde_json::from_str(&shown).expect("JSON");
    let local = &json["listener"][0];
    assert_eq!((&local["kind"], &local["connections"]), (&"clients".into(), &5.into()), "{local:#}");
    assert_eq!(local["handed_over"], 2, "{local:#}");
    drop(peers);
    assert!(wait_until(PATIENCE, || counts() == [0.0; 3]), "{:?}", counts());
}

#[test]
fn what_is_no_connection_is_not_taken_and_nothing_leaks() {
    let api = Backend::constant(VALUE);
    let (setup, port) = setup(&api, |config| config);
    let directory = crate::support::site::open_directory();
    let (pipe, _writes) = std::io::pipe().expect("a pipe");
    let file = File::create(directory.path().join("file")).expect("a file");
    let listening = TcpListener::bind("127.0.0.1:0").expect("a port");
    let listening_unix = UnixListener::bind(directory.path().join("socket")).expect("a socket");
    let (datagram, _other) = UnixDatagram::pair().expect("a pair");
    let unconnected =
        socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    let (closed, other) = unix_pair();
    drop(other);
    let (first, _peer) = unix_pair();
    let (second, _peer) = unix_pair();
    let before = descriptors(&setup);
    for (what, result, passed) in [
        ("a pipe", "no_connection", vec![pipe.as_fd()]),
        ("a regular file", "no_connection", vec![file.as_fd()]),
        ("a listening TCP socket", "no_connection", vec![listening.as_fd()]),
        ("a listening unix socket", "no_connection", vec![listening_unix.as_fd()]),
        ("a datagram socket", "no_connection", vec![datagram.as_fd()]),
        ("a socket without a peer", "no_connection", vec![unconnected.as_fd()]),
        ("a socket whose peer is gone", "hung_up", vec![closed.as_fd()]),
        ("two", "several_descriptors", vec![first.as_fd(), second.as_fd()]),
        ("sixty", "several_descriptors", vec![first.as_fd(); 60]),
        ("none", "no_descriptor", vec![]),
    ] {
        let counted = offers(&port, result);
        let mut frames = Frames::connect(&setup.ipc());
        frames.offer(&Service::Socketmap, &passed);
        let verdict = frames.welcome().expect("a greeting").verdict;
        assert!(matches!(verdict, Verdict::Served { .. }), "{what}: {verdict:?}");
        // It forwards its requests then.
        frames.ask(1, Duration::ZERO, &map_question("m", "k"));
        assert_eq!(frames.told().expect("an answer").answer, Answer::Value("v".to_owned()), "{what}");
        assert_eq!(offers(&port, result), counted + 1.0, "{what}");
    }
    let unknown = Service::Policy { name: "unknown".to_owned() };
    let mut frames = Frames::connect(&setup.ipc());
    frames.offer(&unknown, &[first.as_fd()]);
    assert!(matches!(frames.welcome().expect("a greeting").verdict, Verdict::Served { .. }));
    assert_eq!(offers(&port, "unknown_name"), 1.0);
    drop(frames);
    let idle = || descriptors(&setup);
    // Connections to the API are kept, one for each thread.
    assert!(wait_until(PATIENCE, || idle() <= before + 4), "{} descriptors, {before} before", idle());
    assert!(setup.broker.logged(&["a connection was not taken over", r#"reason="no_connection""#]));
}

/// A user's own connections would outlive the user's processes.
#[test]
fn a_user_hands_over_no_connection_to_itself() {
    let api = Backend::constant(VALUE);
    let (setup, port) = setup(&api, |config| config);
    let program = "import socket, struct, sys, time\n\
        a, b = socket.socketpair()\n\
        s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])\n\
        hello = b'pfxh\\x02\\0' + struct.pack('<IBIB', 0, 1, 1, 0)\n\
        socket.send_fds(s, [struct.pack('<I', len(hello)) + hello], [a.fileno()])\n\
        got = s.recv(100)\n\
        sys.exit(0 if got[10:14] == bytes(4) else 1)\n";
    let mut command = std::process::Command::new("python3");
    command.args(["-c", program]).arg(setup.ipc()).uid(65534).gid(65534);
    let output = command.output().expect("python3: apt-get install python3");
    assert!(output.status.success(), "it is served, and not taken: {output:?}");
    assert_eq!((offers(&port, "no_connection"), open(&port, "handed_over")), (1.0, 0.0));
}

/// The client sees "taken" and ends without giving the connection up.
#[test]
fn the_broker_reads_nothing_before_the_client_has_given_it_up() {
    let api = Backend::constant(VALUE);
    let (setup, port) = setup(&api, |config| config);
    for bytes in [&b""[..], b"N", b"NY"] {
        let counted = offers(&port, "not_given_up");
        let (mut ours, theirs) = unix_pair();
        ours.write_all(ASK).expect("it has room");
        let mut frames = Frames::connect(&setup.ipc());
        frames.offer(&Service::Socketmap, &[theirs.as_fd()]);
        assert_eq!(frames.welcome().expect("a greeting").verdict, Verdict::Taken);
        frames.send(bytes);
        drop(frames);
        assert!(wait_until(PATIENCE, || offers(&port, "not_given_up") == counted + 1.0));
        let mut unread = [0; ASK.len()];
        (&theirs).read_exact(&mut unread).expect("the request is there still");
        assert_eq!(unread, ASK);
        assert_eq!(api.count(), 0);
    }
    let (mut ours, theirs) = unix_pair();
    let mut frames = Frames::connect(&setup.ipc());
    frames.offer(&Service::Socketmap, &[theirs.as_fd()]);
    assert_eq!(frames.welcome().expect("a greeting").verdict, Verdict::Taken);
    drop(theirs);
    frames.give_up();
    drop(frames);
    assert_served(&mut ours);
}

#[test]
fn a_tcp_connection_is_handed_over() {
    let api = Backend::constant(VALUE);
    let (setup, _port) = setup(&api, |config| config);
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let listener = TcpListener::bind(address).expect("a port");
        let mut ours =
            std::net::TcpStream::connect(listener.local_addr().expect("an address")).expect("connects");
        ours.set_read_timeout(Some(PATIENCE)).expect("a time limit");
        let (theirs, _) = listener.accept().expect("a connection");
        let mut frames = Frames::connect(&setup.ipc());
        frames.offer(&Service::Socketmap, &[theirs.as_fd()]);
        assert_eq!(frames.welcome().expect("a greeting").verdict, Verdict::Taken, "{address}");
        drop(theirs);
        frames.give_up();
        assert_served(&mut ours);
    }
}

#[test]
fn descriptors_without_end_take_none_of_the_brokers() {
    let api = Backend::constant(VALUE);
    let (setup, _port) = setup(&api, |config| config);
    let before = descriptors(&setup);
    let (_ours, theirs) = unix_pair();
    let many: Vec<BorrowedFd<'_>> = vec![theirs.as_fd(); 50];
    let mut peers: Vec<Frames> = (0..8).map(|_| Frames::connect(&setup.ipc())).collect();
    // A greeting of 256 bytes in parts, each with descriptors.
    for byte in *b"\xfc\0\0\0pfxh\x02\0" {
        peers.iter_mut().for_each(|peer| peer.send_with(&[byte], &many));
    }
    let most = before + peers.len();
    assert!(
        wait_until(PATIENCE, || descriptors(&setup) <= most),
        "{} descriptors, {before} before",
        descriptors(&setup)
    );
    let mut served = Frames::connect(&setup.ipc());
    served.say_hello(&Service::Socketmap);
    assert!(served.welcome().is_some(), "others are served");
    // After the greeting they are thrown away.
    for _ in 0..20 {
        served.send_with(b"", &[]);
    }
    drop((peers, served));
    assert!(wait_until(PATIENCE, || descriptors(&setup) <= before), "{}", descriptors(&setup));
}

#[test]
fn the_configuration_and_the_command_line_turn_it_off() {
    let api = Backend::constant(VALUE);
    let (setup, port) = setup(&api, |config| config.ipc_field("hand_over: false"));
    let mut peer = setup.client(&["socketmap"]);
    assert_eq!(peer.look_up("m", "k"), "OK v");
    assert_eq!((offers(&port, "off"), open(&port, "forwarded")), (1.0, 1.0));
    let file = setup.broker.config();
    let text = std::fs::read_to_string(file).expect("it is there");
    std::fs::write(file, text.replace("hand_over: false", "hand_over: true")).expect("written");
    assert!(setup.broker.reload(), "{}", setup.broker.log());
    assert_eq!(peer.look_up("m", "k"), "OK v", "what is forwarded is forwarded still");
    let mut next = setup.client(&["socketmap"]);
    assert_eq!(next.exit_code(), Some(0));
    assert_eq!(next.look_up("m", "k"), "OK v");
    assert_eq!(open(&port, "handed_over"), 1.0);
    let mut forwarding = setup.client(&["--no-hand-over", "socketmap"]);
    assert_eq!(forwarding.look_up("m", "k"), "OK v");
    assert_eq!((offers(&port, "taken"), open(&port, "forwarded")), (1.0, 2.0));
}

#[test]
fn a_user_who_is_not_allowed_hands_nothing_over() {
    let api = Backend::constant(VALUE);
    let (setup, port) = setup(&api, |config| config.ipc_field("allow_users: [nobody]"));
    let (_ours, theirs) = unix_pair();
    let mut frames = Frames::connect(&setup.ipc());
    frames.offer(&Service::Socketmap, &[theirs.as_fd()]);
    assert!(frames.welcome().is_none(), "the connection is closed");
    assert_eq!((offers(&port, "taken"), open(&port, "handed_over")), (0.0, 0.0));
}

/// A reload and a drain treat the connection as that of a listener.
#[test]
fn a_reload_keeps_it_and_a_drain_answers_it() {
    let api = Backend::start(|_| Reply::Hold(Box::new(Reply::json(VALUE))));
    let (mut setup, _port) = setup(&api, |config| config);
    let mut peer = setup.client(&["socketmap"]);
    let mut idle = setup.client(&["socketmap"]);
    for client in [&mut peer, &mut idle] {
        assert_eq!(client.exit_code(), Some(0));
    }
    peer.send(ASK);
    assert!(api.wait_for(1, PATIENCE));
    assert!(setup.broker.reload(), "{}", setup.broker.log());
    api.release();
    assert_eq!(peer.reply(), "OK v", "across the reload");
    peer.send(ASK);
    assert!(api.wait_for(2, PATIENCE));
    setup.broker.terminate();
    assert_eq!(idle.rest(), b"", "an idle connection ends at once");
    api.release();
    assert_eq!(peer.reply(), "OK v", "what was asked is answered");
    assert_eq!(peer.rest(), b"");
    assert_eq!(setup.broker.wait(PATIENCE).and_then(|status| status.code()), Some(0));
}

/// At `max_connections` a client waits, and its request is unread.
#[test]
fn a_full_broker_leaves_the_connection_to_the_client() {
    let api = Backend::constant(VALUE);
    let (setup, port) = setup(&api, |config| config.server("max_connections: 2"));
    let mut held: Vec<_> = (0..2).map(|_| setup.client(&["socketmap"])).collect();
    for peer in &mut held {
        assert_eq!(peer.look_up("m", "k"), "OK v");
    }
    let mut waits = setup.client(&["socketmap"]);
    waits.send(ASK);
    held.pop();
    assert_eq!(waits.reply(), "OK v", "in the place of the one that is gone");
    let mut late = setup.client(&["--timeout", "1", "socketmap"]);
    assert_eq!(late.look_up("m", "k"), "TEMP Temporary server problem");
    drop(held);
    assert_eq!(late.look_up("m", "k"), "OK v");
    assert_eq!(late.exit_code(), Some(0), "it was handed over after its failure");
    assert!(wait_until(PATIENCE, || open(&port, "handed_over") == 2.0));
}
