//! SIGTERM: requests that were received are answered, and no peer delays the end, whatever it sends or
//! does not read.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Signal, kill_process};

use crate::support::backend::{Backend, Reply, Request};
use crate::support::peer::{Peer, netstring};
use crate::support::setup::Setup;
use crate::support::site::{Site, Way};
use crate::support::{PATIENCE, alone, pause, shown};

/// How long a stop may take: the grace for requests and the grace for replies.
const END: Duration = Duration::from_millis(4500);

fn echo(request: &Request) -> Reply {
    Reply::json(&format!(r#"{{"value": "for {}"}}"#, request.text("key")))
}

fn setup(api: &Backend) -> Setup {
    Setup::start(|config| config.map("m", &api.url("/"), &[]))
}

/// Sends SIGTERM; the broker ends in time and with exit code 0.
fn assert_ends(setup: &mut Setup, within: Duration, what: &str) -> Duration {
    let start = Instant::now();
    setup.broker.terminate();
    let status = setup.broker.wait(PATIENCE).and_then(|status| status.code());
    let took = start.elapsed();
    assert_eq!(status, Some(0), "{what}: the exit code");
    assert!(took < within, "{what}: the end took {took:?}");
    took
}

#[test]
fn half_a_request_delays_the_end_by_the_grace_only() {
    let api = Backend::start(echo);
    let mut setup = setup(&api);
    let (mut half, mut rest) = (setup.map(), setup.map());
    let request = netstring("m slow");
    half.send(b"100:m never");
    rest.send(&request[..4]);
    pause(Duration::from_millis(200));
    let completing = std::thread::spawn(move || {
        pause(Duration::from_millis(700));
        rest.send(&request[4..]);
        rest.reply()
    });
    let took = assert_ends(&mut setup, Duration::from_millis(3500), "half a request");
    assert!(took > Duration::from_secs(1), "the broker waited for it: {took:?}");
    assert_eq!(completing.join().expect("no panic"), "OK for slow", "the rest came within the grace");
    assert_eq!(half.rest(), b"");
    assert_eq!(api.count(), 1, "half a request causes none to the API");
}

#[test]
fn a_peer_that_sends_slowly_does_not_delay_the_end() {
    let api = Backend::start(echo);
    let mut setup = setup(&api);
    let mut peer = setup.map();
    peer.send(b"1000:m ");
    let trickling = std::thread::spawn(move || {
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until && peer.try_send(b"x").is_ok() {
            pause(Duration::from_millis(500));
        }
    });
    pause(Duration::from_millis(200));
    assert_ends(&mut setup, END, "a trickle");
    trickling.join().expect("no panic");
    assert_eq!(api.count(), 0);
}

/// Pipelines until the connection ends. A reply that is cut by the end is no fault.
fn pipeline_without_end(socket: &Path) -> std::thread::JoinHandle<usize> {
    let stream = UnixStream::connect(socket).expect("the broker listens");
    let mut writer = stream.try_clone().expect("a descriptor");
    std::thread::spawn(move || {
        let requests = netstring("m more").repeat(64);
        while writer.write_all(&requests).is_ok() {}
    });
    std::thread::spawn(move || {
        let mut reader = &stream;
        let (mut count, mut chunk) = (0, [0; 4096]);
        while let Ok(read @ 1..) = reader.read(&mut chunk) {
            count += read;
        }
        let _gone_already = stream.shutdown(Shutdown::Both);
        count
    })
}

#[test]
fn a_peer_that_pipelines_without_end_does_not_delay_the_end() {
    let _alone = alone();
    let api = Backend::start(echo);
    let mut setup = setup(&api);
    let reading = pipeline_without_end(&setup.socket("maps"));
    assert!(api.wait_for(20, PATIENCE), "requests are answered");
    assert_ends(&mut setup, END, "a pipeline");
    assert!(reading.join().expect("no panic") > 0, "there were replies");
}

#[test]
fn peers_that_do_not_read_do_not_delay_the_end() {
    let _alone = alone();
    let value = "v".repeat(90_000);
    let answer = format!(r#"{{"value": "{value}"}}"#);
    let api = Backend::start(move |_: &Request| Reply::json(&answer));
    let mut setup = setup(&api);
    let mut peers: Vec<Peer> = (0..20).map(|_| setup.map()).collect();
    for (number, peer) in peers.iter_mut().enumerate() {
        let requests = (0..20).map(|nth| netstring(format!("m {number}-{nth}")));
        peer.send(requests.flatten().collect::<Vec<u8>>());
    }
    assert!(api.wait_for(40, PATIENCE), "requests are answered");
    pause(Duration::from_millis(500));
    assert!(api.count() < 400, "requests stop while replies are not read: {}", api.count());
    assert_ends(&mut setup, END, "replies that are not read");
    drop(peers);
}

#[test]
fn an_incomplete_hello_does_not_delay_the_end() {
    let api = Backend::start(echo);
    let mut setup = setup(&api);
    let mut peer = UnixStream::connect(setup.ipc()).expect("the broker listens");
    peer.write_all(b"\x20").expect("written");
    let _says_nothing = UnixStream::connect(setup.ipc()).expect("the broker listens");
    pause(Duration::from_millis(200));
    assert_ends(&mut setup, END, "a byte");
}

/// These peers are connected and have sent a request. The broker is stopped meanwhile (SIGSTOP), so
/// that it sees them and SIGTERM at the same time.
#[test]
fn requests_on_connections_in_the_listen_queue_are_answered() {
    let _alone = alone();
    for way in Way::ALL {
        let mut site = Site::start(echo);
        // The client processes exist; what waits in the queue are their connections to the broker.
        let mut started: Vec<Peer> = match way {
            Way::Client | Way::Forwarding => (0..100).map(|_| site.map(way)).collect(),
            Way::Unix | Way::Tcp => Vec::new(),
        };
        kill_process(site.broker.pid(), Signal::STOP).expect("a child can be signalled");
        let mut peers: Vec<Peer> = (0..100).map(|_| started.pop().unwrap_or_else(|| site.map(way))).collect();
        for (number, peer) in peers.iter_mut().enumerate() {
            peer.send(netstring(format!("demo {number}")));
        }
        if way.is_spawned() {
            pause(Duration::from_millis(500));
        }
        site.broker.terminate();
        kill_process(site.broker.pid(), Signal::CONT).expect("a child can be signalled");
        let wrong: Vec<String> = peers
            .iter_mut()
            .enumerate()
            .map(|(number, peer)| {
                let due = netstring(format!("OK for {number}"));
                (peer.up_to(due.len()), due)
            })
            .filter(|(got, due)| got != due)
            .map(|(got, due)| format!("{} for {}", shown(&got), shown(&due)))
            .collect();
        let some = &wrong[..wrong.len().min(5)];
        assert!(wrong.is_empty(), "{} of 100 by {way:?}: {some:?}", wrong.len());
        let status = site.broker.wait(PATIENCE).and_then(|status| status.code());
        assert_eq!(status, Some(0), "the exit code, by {way:?}");
    }
}
