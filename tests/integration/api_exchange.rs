//! Exchanges that are not one request and then one answer: an API answers before it has read the request, in
//! several parts, or more than it was asked for.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::backend::{Backend, Reply, Request};
use crate::support::setup::Setup;

const VALUE: &str = r#"{"value": "v"}"#;
/// With the payload below a request of 8 MB.
const KEY: usize = 100_000;
const TIMES: usize = 80;

fn ok(more: &str) -> String {
    format!("HTTP/1.1 200 OK\r\n{more}Content-Length: {}\r\n\r\n{VALUE}", VALUE.len())
}

/// Answers each connection behind the head of its request; then it closes it, or keeps it and reads nothing.
fn early(closes: bool) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}/", listener.local_addr().expect("an address"));
    let connections = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&connections);
    std::thread::spawn(move || {
        let mut kept: Vec<TcpStream> = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            count.fetch_add(1, Ordering::SeqCst);
            read_head(&stream);
            stream.write_all(ok("").as_bytes()).expect("it is read");
            if !closes {
                kept.push(stream);
            }
        }
    });
    (url, connections)
}

fn read_head(stream: &TcpStream) {
    let mut lines = BufReader::with_capacity(1000, stream).lines();
    while lines.next().is_some_and(|line| !line.expect("a head").is_empty()) {}
}

#[test]
fn an_answer_counts_before_the_request_is_read() {
    for closes in [true, false] {
        let (url, connections) = early(closes);
        let setup = Setup::start(|config| {
            let payload = format!(r#"payload: '{{"key": "{}"}}'"#, "{{ .Key }}".repeat(TIMES));
            let target = format!("target: \"{url}\"");
            config.map_of("m", &[&target, &payload, "status_code: 200", "value_field: value"])
        });
        let mut peer = setup.map();
        for round in 1..=5 {
            assert_eq!(peer.look_up("m", &"x".repeat(KEY)), "OK v", "round {round}, closes: {closes}");
            assert_eq!(connections.load(Ordering::SeqCst), round, "no request follows a part of another");
        }
    }
}

#[test]
fn an_interim_answer_and_the_answer_come_together() {
    let interim = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n";
    let api = Backend::start(move |_: &Request| Reply::Kept((interim.to_owned() + &ok("")).into_bytes()));
    let setup = Setup::start(|config| config.map("m", &api.url("/"), &[]));
    let mut peer = setup.map();
    for key in ["a", "b", "c"] {
        assert_eq!(peer.look_up("m", key), "OK v");
    }
    assert_eq!(api.connections(), 1);
}

#[test]
fn an_answer_comes_byte_by_byte() {
    let api = Backend::start(|_: &Request| Reply::Trickle(VALUE.into(), Duration::from_millis(1)));
    let setup = Setup::start(|config| config.map("m", &api.url("/"), &[]));
    let mut peer = setup.map();
    for key in ["a", "b", "c"] {
        assert_eq!(peer.look_up("m", key), "OK v");
    }
    assert_eq!(api.connections(), 1);
}

#[test]
fn a_second_answer_ends_the_connection() {
    let wrong = ok("").replace(r#""v""#, r#""w""#);
    for tail in [wrong.as_str(), "\r\n", "x"] {
        let bytes = ok("") + tail;
        let api = Backend::start(move |_: &Request| Reply::Kept(bytes.clone().into_bytes()));
        let setup = Setup::start(|config| config.map("m", &api.url("/"), &[]));
        let mut peer = setup.map();
        for round in 1..=3 {
            assert_eq!(peer.look_up("m", &format!("key {round}")), "OK v", "{tail:?}");
            assert_eq!(api.connections(), round, "{tail:?}");
        }
    }
}

/// A 204 has no body, but a server may send one: it must not be the begin of the next answer.
#[test]
fn a_body_that_must_not_be_there_ends_the_connection() {
    let api = Backend::start(|request: &Request| match request.text("key").as_str() {
        "empty" => Reply::Kept(b"HTTP/1.1 204 X\r\nContent-Length: 14\r\n\r\n".to_vec()),
        _ => Reply::json(VALUE),
    });
    let setup = Setup::start(|config| config.map("m", &api.url("/"), &[]));
    let mut peer = setup.map();
    assert_eq!(peer.look_up("m", "empty"), "PERM unexpected status code received: 204");
    assert_eq!(peer.look_up("m", "k"), "OK v");
    assert_eq!(api.connections(), 2);
}
