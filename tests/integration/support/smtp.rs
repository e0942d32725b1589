//! A small SMTP client: one session, one command at a time, whole replies.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// More time than Postfix waits for a policy service with one retry.
const LIMIT: Duration = Duration::from_secs(30);

/// An SMTP session.
pub(crate) struct Smtp {
    stream: BufReader<TcpStream>,
}

impl Smtp {
    /// Connects to a port of 127.0.0.1, sends EHLO and MAIL.
    pub(crate) fn begin(port: u16) -> Self {
        let mut smtp = Self::greet(port).0;
        let command = "MAIL FROM:<sender@test.example>";
        let reply = smtp.command(command);
        assert!(reply.starts_with("250"), "{command} got {reply:?}");
        smtp
    }

    /// Connects to a port of 127.0.0.1 and sends EHLO; also returns the reply with its extensions.
    pub(crate) fn greet(port: u16) -> (Self, String) {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("Postfix accepts");
        stream.set_read_timeout(Some(LIMIT)).expect("a time limit can be set");
        let mut smtp = Self { stream: BufReader::new(stream) };
        let banner = smtp.reply();
        assert!(banner.starts_with("220 "), "the banner was {banner:?}");
        let reply = smtp.command("EHLO client.test.example");
        assert!(reply.starts_with("250"), "EHLO got {reply:?}");
        (smtp, reply)
    }

    /// Sends a line; returns the whole reply, with its lines joined by LF.
    pub(crate) fn command(&mut self, line: &str) -> String {
        let stream = self.stream.get_mut();
        stream.write_all(format!("{line}\r\n").as_bytes()).expect("Postfix reads");
        self.reply()
    }

    /// `RCPT TO`.
    pub(crate) fn rcpt(&mut self, recipient: &str) -> String {
        self.command(&format!("RCPT TO:<{recipient}>"))
    }

    /// `AUTH PLAIN` in one line; the whole reply.
    pub(crate) fn auth_plain(&mut self, user: &str, password: &str) -> String {
        self.auth("PLAIN", format!("\0{user}\0{password}"))
    }

    /// `AUTH` with an initial response; the whole reply, which may be a 334.
    pub(crate) fn auth(&mut self, mechanism: &str, response: impl AsRef<[u8]>) -> String {
        self.command(&format!("AUTH {mechanism} {}", STANDARD.encode(response)))
    }

    /// A line of a dialogue, in base64; returns the whole reply.
    pub(crate) fn respond(&mut self, response: impl AsRef<[u8]>) -> String {
        self.command(&STANDARD.encode(response))
    }

    fn reply(&mut self) -> String {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            let read = self.stream.read_line(&mut line);
            assert!(matches!(read, Ok(1..)), "the SMTP session broke: {read:?} after {lines:?}");
            let line = line.trim_end().to_owned();
            let last = line.as_bytes().get(3) != Some(&b'-');
            lines.push(line);
            if last {
                return lines.join("\n");
            }
        }
    }
}

impl Drop for Smtp {
    fn drop(&mut self) {
        let _best_effort = self.stream.get_mut().write_all(b"QUIT\r\n");
    }
}
