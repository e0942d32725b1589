//! The client's side of Dovecot's authentication protocol, in lines: to a listener, or to a client on
//! stdio.

use std::io::{Error, ErrorKind};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::peer::Peer;
use super::{PATIENCE, shown};

/// One connection.
pub(crate) struct Sasl {
    peer: Peer,
    handshake: Vec<String>,
    /// Bytes behind the last line.
    read_ahead: Vec<u8>,
}

/// The next event of the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Heard {
    /// A line, without its LF.
    Line(String),
    /// The end of the stream, and the bytes behind the last LF, usually none.
    Closed(Vec<u8>),
    /// The connection was reset.
    Reset,
    /// Nothing within the time limit.
    Nothing,
}

impl Sasl {
    /// Sends VERSION and CPID as Postfix does, and reads the whole handshake.
    pub(crate) fn begin(peer: Peer) -> Self {
        Self::begin_as(peer, 0)
    }

    /// The same as a client of this minor version: Postfix has 0, Dovecot 1 or later.
    pub(crate) fn begin_as(mut peer: Peer, minor: u32) -> Self {
        peer.send(format!("VERSION\t1\t{minor}\nCPID\t{}\n", std::process::id()));
        Self::listen(peer)
    }

    /// Sends nothing, and reads the whole handshake, as Exim up to 4.98 does.
    pub(crate) fn listen(peer: Peer) -> Self {
        let mut sasl = Self { peer, handshake: Vec::new(), read_ahead: Vec::new() };
        loop {
            match sasl.next(PATIENCE) {
                Heard::Line(line) if line == "DONE" => return sasl,
                Heard::Line(line) => sasl.handshake.push(line),
                other => panic!("{other:?} in place of DONE, behind {:?}", sasl.handshake),
            }
        }
    }

    /// The lines of the handshake before DONE.
    pub(crate) fn handshake(&self) -> &[String] {
        &self.handshake
    }

    /// The mechanisms that were offered, in their order.
    pub(crate) fn mechanisms(&self) -> Vec<&str> {
        let offers = self.handshake.iter().filter_map(|line| line.strip_prefix("MECH\t"));
        offers.map(|offer| offer.split('\t').next().unwrap_or_default()).collect()
    }

    /// Sends a line and LF.
    pub(crate) fn say(&mut self, line: impl AsRef<[u8]>) {
        self.peer.send([line.as_ref(), b"\n"].concat());
    }

    /// Sends `AUTH` as Postfix does; `response` is sent in base64.
    pub(crate) fn auth(&mut self, id: u32, mechanism: &str, response: Option<&[u8]>) {
        let response = response.map(|bytes| format!("\tresp={}", STANDARD.encode(bytes)));
        let parameters = "service=smtp\tnologin\tlip=127.0.0.1\trip=192.0.2.7\tsecured";
        self.say(format!("AUTH\t{id}\t{mechanism}\t{parameters}{}", response.unwrap_or_default()));
    }

    /// `AUTH` by PLAIN, without an authorisation identity.
    pub(crate) fn plain(&mut self, id: u32, user: &str, password: &str) {
        self.auth(id, "PLAIN", Some(format!("\0{user}\0{password}").as_bytes()));
    }

    /// `AUTH` by XOAUTH2.
    pub(crate) fn xoauth2(&mut self, id: u32, user: &str, token: &str) {
        self.auth(id, "XOAUTH2", Some(format!("user={user}\x01auth=Bearer {token}\x01\x01").as_bytes()));
    }

    /// `AUTH` by OAUTHBEARER; "" sends no user.
    pub(crate) fn oauthbearer(&mut self, id: u32, user: &str, token: &str) {
        let name = if user.is_empty() { String::new() } else { format!("a={user}") };
        let response = format!("n,{name},\x01auth=Bearer {token}\x01\x01");
        self.auth(id, "OAUTHBEARER", Some(response.as_bytes()));
    }

    /// `CONT`; `response` is sent in base64.
    pub(crate) fn cont(&mut self, id: u32, response: impl AsRef<[u8]>) {
        self.say(format!("CONT\t{id}\t{}", STANDARD.encode(response)));
    }

    /// `CANCEL`.
    pub(crate) fn cancel(&mut self, id: u32) {
        self.say(format!("CANCEL\t{id}"));
    }

    /// The next line; panics if there is none.
    pub(crate) fn line(&mut self) -> String {
        match self.next(PATIENCE) {
            Heard::Line(line) => line,
            other => panic!("{other:?} in place of a line"),
        }
    }

    /// The next event within this time.
    pub(crate) fn next(&mut self, within: Duration) -> Heard {
        let end = Instant::now() + within;
        loop {
            if let Some(length) = self.read_ahead.iter().position(|byte| *byte == b'\n') {
                let mut line: Vec<u8> = self.read_ahead.drain(..=length).collect();
                line.truncate(length);
                let line = String::from_utf8(line);
                return Heard::Line(
                    line.unwrap_or_else(|error| panic!("{error}: {}", shown(error.as_bytes()))),
                );
            }
            let left = end.saturating_duration_since(Instant::now());
            self.peer.set_patience(left.max(Duration::from_millis(1)));
            let mut piece = [0; 4096];
            match self.peer.receive(&mut piece) {
                Ok(0) => return Heard::Closed(std::mem::take(&mut self.read_ahead)),
                Ok(read) => self.read_ahead.extend_from_slice(&piece[..read]),
                Err(error) if is_silence(&error) && left.is_zero() => return Heard::Nothing,
                Err(error) if is_silence(&error) => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return Heard::Reset,
                Err(error) => panic!("{error} behind {}", shown(&self.read_ahead)),
            }
        }
    }

    /// The connection itself, without the bytes that were read already.
    pub(crate) fn peer(&mut self) -> &mut Peer {
        &mut self.peer
    }
}

fn is_silence(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}
