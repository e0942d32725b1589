//! A port that never answers: it listens, its queue is full, and the kernel drops further connections.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

/// More connections than a queue of length 0 takes.
const MOST: usize = 16;

/// Connecting to it takes until the caller gives up.
pub(crate) struct Blackhole {
    address: SocketAddr,
    _listening: Socket,
    _queued: Vec<TcpStream>,
}

impl Blackhole {
    /// Opens it.
    pub(crate) fn open() -> Self {
        let listening = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a TCP socket");
        listening.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).expect("a free port");
        listening.listen(0).expect("a bound socket can listen");
        let address = listening.local_addr().expect("a bound socket has an address");
        let address = address.as_socket().expect("an internet address");
        let mut queued = Vec::new();
        loop {
            match TcpStream::connect_timeout(&address, Duration::from_millis(300)) {
                Ok(stream) => queued.push(stream),
                Err(error) if error.kind() == ErrorKind::TimedOut => break,
                Err(error) => panic!("a full queue must drop connections silently, but: {error}"),
            }
            assert!(queued.len() < MOST, "the queue is never full");
        }
        Self { address, _listening: listening, _queued: queued }
    }

    /// The URL of this path.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}
