//! Tests of the HTTP side of the test backend: faults, TLS and proxy behave as the other tests assume.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ALL_VERSIONS, ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::support::backend::{Backend, Reply};
use crate::support::blackhole::Blackhole;
use crate::support::certificates::{Authority, Flaw};
use crate::support::gzip::{bomb, gunzip, gzip};
use crate::support::site::open_directory;
use crate::support::tinyproxy::Tinyproxy;
use crate::support::{PATIENCE, wait_until};

const REQUEST: &[u8] = b"POST /x HTTP/1.1\r\nContent-Length: 2\r\n\r\nhi";

fn connect(backend: &Backend) -> TcpStream {
    let stream = TcpStream::connect(authority_of(backend)).expect("the backend accepts");
    stream.set_read_timeout(Some(Duration::from_millis(300))).expect("a time limit");
    stream
}

fn authority_of(backend: &Backend) -> String {
    let url = backend.url("");
    url.split_once("//").expect("a URL").1.to_owned()
}

/// Sends a request; returns what came until the stream ended or paused, and which of the two it was.
fn exchange(mut stream: impl Read + Write) -> (Vec<u8>, Option<ErrorKind>) {
    stream.write_all(REQUEST).expect("the backend reads");
    let mut got = Vec::new();
    let error = stream.read_to_end(&mut got).err();
    (got, error.map(|error| error.kind()))
}

#[test]
fn the_backend_starts_cuts_and_keeps_connections_as_told() {
    let words = b"HTTP/1.1 200".to_vec();
    let backend = Backend::constant("{}");
    let waiting = Some(ErrorKind::WouldBlock);
    for (reply, end) in [
        (Reply::Kept(words.clone()), waiting),
        (Reply::Started(words.clone()), waiting),
        (Reply::Cut(words.clone()), Some(ErrorKind::ConnectionReset)),
        (Reply::Last(Box::new(Reply::Kept(words.clone()))), None),
    ] {
        let what = format!("{reply:?}");
        backend.answer_with(move |_| reply.clone());
        assert_eq!(exchange(connect(&backend)), (words.clone(), end), "{what}");
    }
    backend.answer_with(|_| Reply::Endless(b"x".to_vec(), b"yz".to_vec()));
    let mut stream = connect(&backend);
    stream.write_all(REQUEST).expect("the backend reads");
    let mut got = vec![0; 1 << 20];
    stream.read_exact(&mut got).expect("there is no end");
    assert!(got.starts_with(b"xyzyz"));
    let requests = backend.requests();
    assert!(requests.iter().all(|request| request.nth == 1), "each on a connection of its own");
}

#[test]
fn the_backend_counts_its_connections() {
    let backend = Backend::constant("{}");
    let mut streams = [(); 3].map(|()| connect(&backend));
    for stream in &mut streams {
        exchange(stream);
    }
    exchange(&mut streams[0]);
    assert_eq!(backend.last().nth, 2, "the second request of a connection");
    assert_eq!((backend.open(), backend.most_open(), backend.connections()), (3, 3, 3));
    let [one, _two, _three] = streams;
    drop(one);
    assert_eq!(backend.open(), 2, "the peer's end counts at once");
    exchange(connect(&backend));
    assert_eq!((backend.most_open(), backend.connections()), (3, 4), "one connection for one request");
    backend.answer_with(|_| Reply::Close);
    let closed = connect(&backend);
    exchange(&closed);
    assert!(wait_until(PATIENCE, || backend.open() == 2), "our own end counts, too");
}

#[test]
fn the_backend_speaks_tls() {
    let (directory, authority) = (open_directory(), Authority::new("test"));
    let file = authority.write(directory.path(), "ca.crt");
    let backend = Backend::start_tls(authority.server(Flaw::None).serve(ALL_VERSIONS, None), |_| {
        Reply::Last(Box::new(Reply::json("{}")))
    });
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(file).expect("a certificate")).expect("a root");
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let name = ServerName::try_from("127.0.0.1").expect("an address");
    let session = ClientConnection::new(Arc::new(config), name).expect("a session");
    let (got, _end) = exchange(StreamOwned::new(session, connect(&backend)));
    assert!(got.ends_with(b"\r\n\r\n{}"), "{got:?}");
    assert_eq!((backend.last().body, backend.last().certified), (b"hi".to_vec(), false));
}

#[test]
fn the_proxy_forwards_and_ends() {
    let (backend, mut proxy) = (Backend::constant("{}"), Tinyproxy::start());
    let address = proxy.url().trim_start_matches("http://").to_owned();
    let mut stream = TcpStream::connect(&address).expect("the proxy accepts");
    let request = format!("GET {} HTTP/1.0\r\n\r\n", backend.url("/path"));
    stream.write_all(request.as_bytes()).expect("the proxy reads");
    let mut got = String::new();
    stream.read_to_string(&mut got).expect("an answer");
    assert!(got.ends_with("{}"), "{got}");
    assert_eq!(backend.last().path, "/path");
    proxy.stop();
    TcpStream::connect(&address).expect_err("it has ended");
}

#[test]
fn a_black_hole_accepts_no_connection() {
    let hole = Blackhole::open();
    let address = hole.url("").trim_start_matches("http://").parse().expect("an address");
    let (start, wait) = (Instant::now(), Duration::from_millis(400));
    let error = TcpStream::connect_timeout(&address, wait).expect_err("the black hole does not answer");
    assert!(error.kind() == ErrorKind::TimedOut && start.elapsed() >= wait, "{error}");
}

#[test]
fn gzip_round_trip() {
    assert_eq!(gunzip(&gzip(b"text")), b"text");
    let bomb = bomb(10 << 20);
    assert!(bomb.len() < 20_000, "{} bytes", bomb.len());
    assert_eq!(gunzip(&bomb).len(), (10 << 20) + br#"{"value": "v"}"#.len());
}
