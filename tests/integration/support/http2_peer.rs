//! A peer that speaks HTTP/2 frame by frame (RFC 9113 4.1), for what no service does on purpose. It understands no
//! HPACK: it tells requests apart by their streams alone.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use super::{PATIENCE, wait_until};

pub(crate) const DATA: u8 = 0;
const HEADERS: u8 = 1;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const GOAWAY: u8 = 7;
const END: u8 = 1;
const END_HEADERS: u8 = 4;

/// One frame that it got.
#[derive(Debug, Clone)]
pub(crate) struct Heard {
    /// The number of its connection, from 0 on.
    pub(crate) connection: usize,
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

/// A peer, and what it got.
pub(crate) struct Http2Peer {
    address: SocketAddr,
    all: Arc<Mutex<All>>,
}

#[derive(Default)]
struct All {
    heard: Vec<Heard>,
    connections: Vec<TcpStream>,
    /// The connections that have ended.
    ended: Vec<usize>,
}

/// The bytes of a frame.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a short frame").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// SETTINGS with one value, and an acknowledgement.
pub(crate) fn settings(name: u16, value: u32) -> Vec<u8> {
    let one = [&name.to_be_bytes()[..], &value.to_be_bytes()].concat();
    [frame(SETTINGS, 0, 0, &one), frame(SETTINGS, END, 0, b"")].concat()
}

/// SETTINGS that change nothing.
pub(crate) fn no_settings() -> Vec<u8> {
    [frame(SETTINGS, 0, 0, b""), frame(SETTINGS, END, 0, b"")].concat()
}

/// The head of an answer of gRPC. Of the static table: `:status: 200`, and the name `content-type` (RFC 7541,
/// appendix A).
pub(crate) const HEAD: &[u8] = b"\x88\x5f\x10application/grpc";
/// The trailer of the status OK.
pub(crate) const OK: &[u8] = b"\x00\x0bgrpc-status\x010";

/// An answer of gRPC with these bytes and the status OK.
pub(crate) fn answer(stream: u32, body: &[u8]) -> Vec<u8> {
    answer_of(stream, HEAD, body, OK)
}

/// An answer of these three parts.
pub(crate) fn answer_of(stream: u32, head: &[u8], body: &[u8], trailers: &[u8]) -> Vec<u8> {
    let head = frame(HEADERS, END_HEADERS, stream, head);
    let trailers = frame(HEADERS, END_HEADERS | END, stream, trailers);
    [head, frame(DATA, 0, stream, body), trailers].concat()
}

/// A message as the body of a call holds it.
pub(crate) fn message(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).expect("a short message").to_be_bytes();
    [&[0], &length[..], bytes].concat()
}

impl Http2Peer {
    /// Sends what `says` returns for each frame, which may be nothing. `None`: it closes the connection.
    pub(crate) fn start(says: impl Fn(&Heard) -> Option<Vec<u8>> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let all = Arc::<Mutex<All>>::default();
        let (says, shared) = (Arc::new(says), Arc::clone(&all));
        std::thread::spawn(move || {
            for (number, stream) in listener.incoming().flatten().enumerate() {
                let (says, all) = (Arc::clone(&says), Arc::clone(&shared));
                all.lock().expect("a list").connections.push(stream.try_clone().expect("a descriptor"));
                std::thread::spawn(move || {
                    let _ended = serve(number, stream, &all, &*says);
                    all.lock().expect("a list").ended.push(number);
                });
            }
        });
        Self { address, all }
    }

    /// The value of `grpc.address`.
    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    /// Sends these bytes on a connection.
    pub(crate) fn say(&self, connection: usize, bytes: &[u8]) {
        let mut stream = &self.all.lock().expect("a list").connections[connection];
        stream.write_all(bytes).expect("the connection is open");
    }

    /// What it got so far.
    pub(crate) fn heard(&self) -> Vec<Heard> {
        self.all.lock().expect("a list").heard.clone()
    }

    /// Waits until the broker has closed this connection.
    pub(crate) fn wait_for_end(&self, connection: usize) {
        let has_ended = || self.all.lock().expect("a list").ended.contains(&connection);
        assert!(wait_until(PATIENCE, has_ended), "{:?}", self.heard());
    }

    /// How many frames have this word.
    pub(crate) fn count(&self, word: &str) -> usize {
        let has = |heard: &Heard| heard.payload.windows(word.len()).any(|part| part == word.as_bytes());
        self.heard().iter().filter(|heard| has(heard)).count()
    }
}

fn serve(
    connection: usize,
    mut stream: TcpStream,
    all: &Mutex<All>,
    says: &(dyn Fn(&Heard) -> Option<Vec<u8>> + Send + Sync),
) -> std::io::Result<()> {
    stream.read_exact(&mut [0; b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".len()])?;
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head)?;
        let [a, b, c, kind, flags, id @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        stream.read_exact(&mut payload)?;
        let heard = Heard { connection, kind, flags, stream: u32::from_be_bytes(id), payload };
        all.lock().expect("a list").heard.push(heard.clone());
        match says(&heard) {
            Some(bytes) => stream.write_all(&bytes)?,
            None => return stream.shutdown(std::net::Shutdown::Both),
        }
    }
}

impl Heard {
    /// Whether they are the peer's SETTINGS, after its first bytes.
    pub(crate) fn is_settings(&self) -> bool {
        self.kind == SETTINGS && self.flags == 0
    }

    /// Whether a request is complete with it.
    pub(crate) fn is_end(&self) -> bool {
        self.kind == DATA && self.flags & END != 0
    }
}
