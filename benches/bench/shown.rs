//! The HTTP request that the broker makes of a lookup. It is caught once, by an API of the bench, so that
//! those who are asked over HTTP get the same bytes.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};

use super::configuration::{MAP_BODY, SHOWN};
use super::process::PATIENCE;
use super::script::{self, Due, FIRST, Script};
use super::{Outcome, load};

/// The API, which answers one request.
pub(crate) struct Api {
    listener: TcpListener,
    pub(crate) port: u16,
}

impl Api {
    pub(crate) fn listen() -> Outcome<Self> {
        let bound = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .and_then(|listener| Ok(Self { port: listener.local_addr()?.port(), listener }));
        bound.map_err(|error| format!("a port on 127.0.0.1: {error}"))
    }

    /// Has the broker at the other end of `peer` ask this API, and keeps what it sends.
    pub(crate) fn request(&self, mut peer: impl Read + Write) -> Outcome<Script> {
        let mut script = script::lookup(SHOWN);
        script.request.set(FIRST);
        let (request, reply) = std::thread::scope(|scope| {
            let answering = scope.spawn(|| self.answer());
            let mut reply = vec![0; 256];
            let asked = peer.write_all(&script.request.bytes).and_then(|()| peer.read(&mut reply));
            reply.truncate(asked.unwrap_or_default());
            (answering.join(), reply)
        });
        let request = request.map_err(|_| "the API that shows a request panicked")?;
        let request = request.map_err(|error| format!("what the broker sends: {error}"))?;
        if !matches!(&script.due, Due::Exactly(due) if due.bytes == reply) {
            return Err(format!("the broker answered {}", load::shown(&reply)));
        }
        Ok(script::forwarded(&request))
    }

    /// Takes one request of a broker, whole, and answers it as nginx does.
    fn answer(&self) -> std::io::Result<Vec<u8>> {
        let (mut stream, _) = self.listener.accept()?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let request = request(&mut stream)?;
        stream.write_all(format!("{}{MAP_BODY}", head()).as_bytes())?;
        Ok(request)
    }
}

/// One request of a lookup in a map: it ends with the JSON of its body. Nothing if the connection has ended.
pub(crate) fn request(stream: &mut impl Read) -> std::io::Result<Vec<u8>> {
    let mut request = Vec::new();
    let mut piece = [0; 4096];
    while !request.ends_with(b"}") {
        match stream.read(&mut piece)? {
            0 => break,
            read => request.extend_from_slice(&piece[..read]),
        }
    }
    Ok(request)
}

/// The head of an answer to it.
pub(crate) fn head() -> String {
    let length = MAP_BODY.len();
    format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n")
}
