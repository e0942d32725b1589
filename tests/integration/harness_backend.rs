//! Tests of the test backend: tests that rely on a fault prove nothing if the backend does not produce
//! it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::support::backend::{Backend, Reply};
use crate::support::port::Port;
use crate::support::postfix::{Postfix, trouble};
use crate::support::smtp::Smtp;

const REQUEST: &[u8] = b"POST /x HTTP/1.1\r\nContent-Length: 2\r\n\r\nhi";

/// Sends a request; returns all bytes up to the end of the stream, and the error that ended it.
fn exchange(port: &str) -> (Vec<u8>, Option<std::io::ErrorKind>) {
    let mut stream = TcpStream::connect(port).expect("the backend accepts");
    stream.set_read_timeout(Some(Duration::from_millis(500))).expect("a time limit");
    stream.write_all(REQUEST).expect("the backend reads");
    let mut got = Vec::new();
    let error = stream.read_to_end(&mut got).err();
    (got, error.map(|error| error.kind()))
}

fn address(backend: &Backend) -> String {
    backend.url("").trim_start_matches("http://").to_owned()
}

#[test]
fn a_reserved_port_refuses_until_a_program_listens() {
    let port = Port::reserve();
    TcpStream::connect(port.address()).expect_err("the port does not listen yet");
    let listener = std::net::TcpListener::bind(port.address()).expect("a reserved port can be bound");
    TcpStream::connect(port.address()).expect("the port listens");
    drop(listener);
    TcpStream::connect(port.address()).expect_err("the port does not listen any more");
}

#[test]
fn the_backend_goes_down_and_comes_back_on_its_port() {
    let mut backend = Backend::constant("{}");
    let address = address(&backend);
    assert!(exchange(&address).0.ends_with(b"\r\n\r\n{}"), "a whole answer comes");
    backend.down();
    let error = TcpStream::connect(&address).expect_err("a backend that is down refuses");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
    backend.up();
    assert!(exchange(&address).0.ends_with(b"\r\n\r\n{}"), "a whole answer comes again");
    let connections: Vec<u64> = backend.requests().iter().map(|request| request.connection).collect();
    assert_eq!(connections, [1, 2], "each request came on a connection of its own");
    assert_eq!(backend.last().body, b"hi");
}

#[test]
fn the_backend_produces_the_faults_it_is_told() {
    let backend = Backend::start(|_| Reply::Reset);
    let address = address(&backend);
    assert_eq!(exchange(&address), (Vec::new(), Some(std::io::ErrorKind::ConnectionReset)));
    backend.answer_with(|_| Reply::Close);
    assert_eq!(exchange(&address), (Vec::new(), None));
    backend.answer_with(|_| Reply::Raw(b"junk".to_vec()));
    assert_eq!(exchange(&address), (b"junk".to_vec(), None));
    backend.answer_with(|_| Reply::Truncated(b"12345678".to_vec()));
    let (got, end) = exchange(&address);
    assert!(got.ends_with(b"Content-Length: 8\r\n\r\n1234") && end.is_none(), "{end:?} behind {got:?}");
    backend.answer_with(|_| Reply::StalledBody(b"12345678".to_vec()));
    let (got, end) = exchange(&address);
    let waiting = Some(std::io::ErrorKind::WouldBlock);
    assert!(got.ends_with(b"\r\n\r\n1234") && end == waiting, "{end:?} behind {got:?}");
    backend.answer_with(|_| Reply::stall());
    assert_eq!(exchange(&address), (Vec::new(), waiting));
}

#[test]
fn the_backend_sends_held_answers_when_released() {
    let backend = Backend::start(|_| Reply::Hold(Box::new(Reply::Raw(b"late".to_vec()))));
    let address = address(&backend);
    let start = Instant::now();
    let asking = std::thread::spawn(move || {
        let mut stream = TcpStream::connect(address).expect("the backend accepts");
        stream.write_all(REQUEST).expect("the backend reads");
        let mut got = Vec::new();
        stream.read_to_end(&mut got).map(|_| got)
    });
    assert!(backend.wait_for(1, Duration::from_secs(5)), "the request arrives");
    backend.release();
    let got = asking.join().expect("no panic").expect("an answer");
    assert_eq!(got, b"late", "after {:?}", start.elapsed());
}

#[test]
fn a_private_postfix_starts_answers_and_ends() {
    let mut postfix = Postfix::prepare();
    let mailboxes = "inline:{ known@example.com=yes }";
    let port = postfix.smtpd(&[("virtual_mailbox_maps", mailboxes)]);
    let said = postfix.check();
    assert_eq!(said, "", "postfix check is silent");
    postfix.start();
    let mark = postfix.mark();
    let mut smtp = Smtp::begin(port);
    let replies = [smtp.rcpt("known@example.com"), smtp.rcpt("unknown@example.com")];
    assert!(replies[0].starts_with("250 2.1.5 "), "{replies:?}");
    assert!(replies[1].starts_with("550 5.1.1 "), "{replies:?}");
    drop(smtp);
    let log = postfix.logged_since(mark, "disconnect from");
    assert_eq!(trouble(&log), Vec::<&str>::new(), "the mail log has no trouble");
    let (found, absent) =
        (postfix.postmap("known@example.com", "", mailboxes), postfix.postmap("x", "", mailboxes));
    assert_eq!((found.stdout.as_slice(), absent.status.code()), (b"yes\n".as_slice(), Some(1)));
    drop(postfix);
    TcpStream::connect(("127.0.0.1", port)).expect_err("it has ended");
}
