//! Postfix' side of one connection, in bytes: to a listener, or to a client on stdio.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use super::client::Client;
use super::{PATIENCE, shown};

/// One connection.
pub(crate) struct Peer {
    stream: Stream,
    client: Option<Client>,
}

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// A netstring.
pub(crate) fn netstring(payload: impl AsRef<[u8]>) -> Vec<u8> {
    let payload = payload.as_ref();
    [format!("{}:", payload.len()).as_bytes(), payload, b","].concat()
}

/// A policy request with these attributes after `request=`.
pub(crate) fn policy_request(attributes: &[(&str, &str)]) -> Vec<u8> {
    let mut text = String::from("request=smtpd_access_policy\n");
    for (name, value) in attributes {
        text.push_str(&format!("{name}={value}\n"));
    }
    text.push('\n');
    text.into_bytes()
}

impl Peer {
    /// Connects to a TCP listener. Every write is a segment of its own.
    pub(crate) fn tcp(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("the TCP listener accepts");
        stream.set_nodelay(true).expect("TCP_NODELAY");
        Self::over(Stream::Tcp(stream), None)
    }

    /// The same from another loopback address.
    pub(crate) fn tcp_from(source: Ipv4Addr, address: SocketAddr) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a TCP socket");
        socket.bind(&SocketAddr::from((source, 0)).into()).expect("all of 127/8 is ours");
        socket.connect(&address.into()).expect("the TCP listener accepts");
        Self::over(Stream::Tcp(socket.into()), None)
    }

    /// Connects to a unix listener.
    pub(crate) fn unix(path: &Path) -> Self {
        let stream = UnixStream::connect(path);
        let stream = stream.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self::over(Stream::Unix(stream), None)
    }

    /// Takes the other end of a client's stdio.
    pub(crate) fn client((client, stream): (Client, UnixStream)) -> Self {
        Self::over(Stream::Unix(stream), Some(client))
    }

    /// Starts a client that asks at `socket`, with these arguments behind that.
    pub(crate) fn asking(socket: &Path, arguments: &[&str]) -> Self {
        Self::client(Client::asking(socket, arguments))
    }

    /// Sets how long reading may take from now on.
    pub(crate) fn set_patience(&mut self, patience: Duration) {
        match &self.stream {
            Stream::Tcp(stream) => stream.set_read_timeout(Some(patience)),
            Stream::Unix(stream) => stream.set_read_timeout(Some(patience)),
        }
        .expect("a time limit can be set");
    }

    fn over(stream: Stream, client: Option<Client>) -> Self {
        let patience = Some(PATIENCE);
        match &stream {
            Stream::Tcp(stream) => {
                stream.set_read_timeout(patience).and_then(|()| stream.set_write_timeout(patience))
            }
            Stream::Unix(stream) => {
                stream.set_read_timeout(patience).and_then(|()| stream.set_write_timeout(patience))
            }
        }
        .expect("time limits can be set");
        Self { stream, client }
    }

    /// Writes; returns the socket's error.
    pub(crate) fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.stream {
            Stream::Tcp(stream) => stream.write_all(bytes),
            Stream::Unix(stream) => stream.write_all(bytes),
        }
    }

    /// Writes in one piece.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        self.try_send(bytes).unwrap_or_else(|error| panic!("sending {}: {error}", shown(bytes)));
    }

    /// Closes the sending side, and goes on reading.
    pub(crate) fn half_close(&mut self) {
        match &self.stream {
            Stream::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Stream::Unix(stream) => stream.shutdown(Shutdown::Write),
        }
        .expect("a connection can be half closed");
    }

    /// Reads what is there, at least one byte; nothing at the end of the stream.
    pub(crate) fn receive(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = match &mut self.stream {
                Stream::Tcp(stream) => stream.read(into),
                Stream::Unix(stream) => stream.read(into),
            };
            // A read with a time limit is not restarted after a signal (signal(7)).
            match read {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => return read,
            }
        }
    }

    /// Reads until `complete` returns true, and no byte more.
    fn read_until(&mut self, what: &str, complete: impl Fn(&[u8]) -> bool) -> Vec<u8> {
        let mut got = Vec::new();
        while !complete(&got) {
            let mut byte = [0];
            match self.receive(&mut byte) {
                Ok(1) => got.push(byte[0]),
                Ok(_) => panic!("the connection was closed in place of {what}; got {}", shown(&got)),
                Err(error) => panic!("{error} in place of {what}; got {}", shown(&got)),
            }
        }
        got
    }

    /// Reads this many bytes, or fewer if the connection closes before.
    pub(crate) fn up_to(&mut self, count: usize) -> Vec<u8> {
        let mut got = vec![0; count];
        let mut filled = 0;
        while filled < count {
            match self.receive(&mut got[filled..]) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if is_end(error.kind()) => break,
                Err(error) => panic!("{error} behind {}", shown(&got[..filled])),
            }
        }
        got.truncate(filled);
        got
    }

    /// Reads one netstring; its payload.
    pub(crate) fn reply(&mut self) -> String {
        let head = self.read_until("a netstring", |got| got.ends_with(b":"));
        let digits = std::str::from_utf8(&head[..head.len() - 1]).ok();
        let length: Option<usize> = digits.and_then(|digits| digits.parse().ok());
        let length = length.unwrap_or_else(|| panic!("no netstring: {}", shown(&head)));
        let mut payload = self.up_to(length + 1);
        assert_eq!(payload.len(), length + 1, "closed within a reply: {}", shown(&payload));
        assert_eq!(payload.pop(), Some(b','), "a netstring ends in a comma; got {}", shown(&payload));
        String::from_utf8(payload).expect("a reply is UTF-8")
    }

    /// Reads one policy reply, its empty line included.
    pub(crate) fn action(&mut self) -> String {
        let reply = self.read_until("a policy reply", |got| got.ends_with(b"\n\n"));
        String::from_utf8(reply).expect("a reply is UTF-8")
    }

    /// One socketmap lookup.
    pub(crate) fn look_up(&mut self, map: &str, key: &str) -> String {
        self.send(netstring(format!("{map} {key}")));
        self.reply()
    }

    /// One policy request.
    pub(crate) fn ask(&mut self, attributes: &[(&str, &str)]) -> String {
        self.send(policy_request(attributes));
        self.action()
    }

    /// Reads to the end of the stream. A reset is an end, too: a close becomes a reset if the other
    /// side had not read everything.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        self.try_rest().unwrap_or_else(|what| panic!("{what}"))
    }

    /// As [`Self::rest`]; returns the error if the stream does not end.
    pub(crate) fn try_rest(&mut self) -> Result<Vec<u8>, String> {
        let (mut got, mut piece) = (Vec::new(), [0; 4096]);
        loop {
            match self.receive(&mut piece) {
                Ok(0) => return Ok(got),
                Ok(read) => got.extend_from_slice(&piece[..read]),
                Err(error) if is_end(error.kind()) => return Ok(got),
                Err(error) => {
                    return Err(format!("the connection stays open ({error}); got {}", shown(&got)));
                }
            }
        }
    }

    /// The exit code of the client behind this connection, after the connection was closed.
    pub(crate) fn exit_code(&mut self) -> Option<i32> {
        self.client.as_mut().expect("a client is behind this connection").exit_code()
    }
}

fn is_end(kind: io::ErrorKind) -> bool {
    matches!(kind, io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
}
