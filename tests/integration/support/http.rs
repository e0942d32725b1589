//! The HTTP side of the test backend: it reads requests and writes answers and faults. HTTP/1.1, bodies
//! with a Content-Length, persistent connections.

use std::io::{self, BufRead, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use socket2::SockRef;

/// A request as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// The number of this connection of the backend, from 1.
    pub(crate) connection: u64,
    /// The number of this request on its connection, from 1.
    pub(crate) nth: u64,
    /// Whether the connection has a client certificate.
    pub(crate) certified: bool,
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Request {
    /// The body, which has to be JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("the API got no JSON: {error}: {}", super::shown(&self.body)))
    }

    /// A string member of the body, or "" if there is none.
    pub(crate) fn text(&self, member: &str) -> String {
        self.json()[member].as_str().unwrap_or_default().to_owned()
    }

    /// The value of a header, its name in any case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }
}

/// What the backend does with a request.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    /// A complete answer; the connection is kept.
    Answer { status: u16, headers: Vec<(String, String)>, body: Vec<u8> },
    /// These bytes, then the end of the connection.
    Raw(Vec<u8>),
    /// These bytes; the connection is kept.
    Kept(Vec<u8>),
    /// Each of these in a segment of its own, as a server with Nagle's algorithm may send them; the
    /// connection is kept.
    Pieces(Vec<Vec<u8>>),
    /// The first one; and at [`Backend::release`] the other one, for which there was no request. The
    /// sender reports when that is written; the connection is kept.
    ///
    /// [`Backend::release`]: super::backend::Backend::release
    Unasked(Box<Reply>, Box<Reply>, Arc<AtomicBool>),
    /// These bytes; then nothing until [`Backend::release`].
    ///
    /// [`Backend::release`]: super::backend::Backend::release
    Started(Vec<u8>),
    /// These bytes; then a reset.
    Cut(Vec<u8>),
    /// The first bytes, then the second ones again and again until the peer closes the connection.
    Endless(Vec<u8>, Vec<u8>),
    /// This answer; then the end of the connection.
    Last(Box<Reply>),
    /// The head and half of the body of a 200; then the end of the connection.
    Truncated(Vec<u8>),
    /// The head and half of the body of a 200; then nothing until [`Backend::release`].
    ///
    /// [`Backend::release`]: super::backend::Backend::release
    StalledBody(Vec<u8>),
    /// A 200 whose bytes are sent one in each interval.
    Trickle(Vec<u8>, Duration),
    /// Nothing until [`Backend::release`], then this.
    ///
    /// [`Backend::release`]: super::backend::Backend::release
    Hold(Box<Reply>),
    /// The connection is reset.
    Reset,
    /// The connection ends.
    Close,
}

impl Reply {
    /// A 200 with a JSON body.
    pub(crate) fn json(body: &str) -> Self {
        Self::Answer {
            status: 200,
            headers: vec![("Content-Type".to_owned(), "application/json".to_owned())],
            body: body.as_bytes().to_vec(),
        }
    }

    /// A status with a body without a value.
    pub(crate) fn status(status: u16) -> Self {
        Self::Answer { status, headers: Vec::new(), body: b"{}".to_vec() }
    }

    /// A status with a JSON body.
    pub(crate) fn status_json(status: u16, body: &str) -> Self {
        Self::Answer { status, headers: Vec::new(), body: body.as_bytes().to_vec() }
    }

    /// A 200 with this body and one more header.
    pub(crate) fn with_header(name: &str, value: &str, body: impl Into<Vec<u8>>) -> Self {
        Self::Answer { status: 200, headers: vec![(name.to_owned(), value.to_owned())], body: body.into() }
    }

    /// An answer with these headers and this body.
    pub(crate) fn with_headers(status: u16, headers: &[(&str, &str)], body: &str) -> Self {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Self::Answer { status, headers: headers.collect(), body: body.as_bytes().to_vec() }
    }

    /// Nothing until [`super::backend::Backend::release`].
    pub(crate) fn stall() -> Self {
        Self::Hold(Box::new(Self::Close))
    }
}

/// Reads one request; `None` if the peer hung up or sent something else.
pub(crate) fn read(reader: &mut impl BufRead, connection: u64) -> Option<Request> {
    let first = line(reader)?;
    let mut words = first.split(' ');
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = Vec::new();
    loop {
        let line = line(reader)?;
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':')?;
        headers.push((name.trim().to_owned(), value.trim().to_owned()));
    }
    let (nth, certified) = (0, false);
    let mut request = Request { connection, nth, certified, method, path, headers, body: Vec::new() };
    let length = request.header("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
    request.body.resize(length, 0);
    reader.read_exact(&mut request.body).ok()?;
    Some(request)
}

fn line(reader: &mut impl BufRead) -> Option<String> {
    let mut line = String::new();
    let read = reader.take(64 * 1024).read_line(&mut line).ok()?;
    line.ends_with("\r\n").then(|| line.truncate(read - 2))?;
    Some(line)
}

/// Sends an answer that holds nothing back. Returns `true` if the connection is kept.
pub(crate) fn write(out: &mut impl Write, stream: &TcpStream, reply: &Reply) -> io::Result<bool> {
    match reply {
        Reply::Answer { status, headers, body } => {
            out.write_all(&answer(*status, headers, body))?;
            out.flush()?;
            return Ok(true);
        }
        Reply::Kept(bytes) => {
            out.write_all(bytes)?;
            out.flush()?;
            return Ok(true);
        }
        Reply::Pieces(pieces) => {
            stream.set_nodelay(false)?;
            for piece in pieces {
                out.write_all(piece)?;
                out.flush()?;
            }
            return Ok(true);
        }
        Reply::Unasked(first, ..) => return write(out, stream, first),
        Reply::Trickle(body, interval) => {
            for byte in answer(200, &[], body) {
                out.write_all(&[byte])?;
                out.flush()?;
                super::pause(*interval);
            }
            return Ok(true);
        }
        Reply::Endless(head, piece) => {
            out.write_all(head)?;
            loop {
                out.write_all(piece)?;
            }
        }
        Reply::Last(reply) => {
            write(out, stream, reply)?;
        }
        Reply::Raw(bytes) | Reply::Started(bytes) | Reply::Cut(bytes) => out.write_all(bytes)?,
        Reply::Truncated(body) | Reply::StalledBody(body) => {
            let whole = answer(200, &[], body);
            out.write_all(&whole[..whole.len() - body.len().div_ceil(2)])?;
        }
        Reply::Hold(_) | Reply::Close | Reply::Reset => {}
    }
    out.flush()?;
    if matches!(reply, Reply::Reset | Reply::Cut(_)) {
        SockRef::from(stream).set_linger(Some(Duration::ZERO))?;
    }
    Ok(false)
}

fn answer(status: u16, headers: &[(String, String)], body: &[u8]) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {status} Status\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    let has_body = status >= 200 && status != 204 && status != 304;
    if has_body {
        head.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    head.push_str("\r\n");
    let mut bytes = head.into_bytes();
    bytes.extend_from_slice(if has_body { body } else { b"" });
    bytes
}
