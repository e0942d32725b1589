//! A stream from the server whose replies are bounded: one that is longer than any that a command asks for ends the
//! connection before it takes memory. The client library reads a reply whole, however long it is.
//!
//! Only the framing of RESP is read here: lines, texts with a length, and lists with a number of items.

use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::record::MAX_RECORD;

/// Bytes of a reply: a record, and what is around it.
const LONGEST: u64 = MAX_RECORD as u64 + 4096;

/// The stream.
#[derive(Debug)]
pub(super) struct Bounded<S> {
    stream: S,
    replies: Replies,
}

impl<S> Bounded<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, replies: Replies::default() }
    }
}

/// Where in a reply the stream is.
#[derive(Debug, Default)]
struct Replies {
    /// Bytes of the reply so far.
    taken: u64,
    /// Items of the reply that are still to come, after the present one.
    items: u64,
    /// Bytes of a text that are still to come.
    text: u64,
    /// The first byte of the present line.
    kind: Option<u8>,
    /// The number in it.
    number: u64,
}

impl Replies {
    /// Reads on; false if a reply is too long.
    fn accept(&mut self, mut bytes: &[u8]) -> bool {
        while let Some(byte) = bytes.first() {
            let step = self.text.clamp(1, bytes.len() as u64);
            self.taken += step;
            if self.text > 0 {
                self.text -= step;
                if self.text == 0 {
                    self.end_item();
                }
            } else {
                self.line(*byte);
            }
            if self.taken.saturating_add(self.text).saturating_add(self.items) > LONGEST {
                return false;
            }
            bytes = &bytes[usize::try_from(step).unwrap_or(bytes.len())..];
        }
        true
    }

    /// One byte outside of texts.
    fn line(&mut self, byte: u8) {
        let Some(kind) = self.kind else {
            (self.kind, self.number) = (Some(byte), 0);
            return;
        };
        match byte {
            b'\n' => {
                self.kind = None;
                self.end_line(kind);
            }
            // There is none.
            b'-' if matches!(kind, b'$' | b'*') => self.kind = Some(b'_'),
            b'0'..=b'9' => {
                self.number = self.number.saturating_mul(10).saturating_add(u64::from(byte - b'0'));
            }
            _ => {}
        }
    }

    fn end_line(&mut self, kind: u8) {
        match kind {
            b'$' | b'=' | b'!' => self.text = self.number.saturating_add(2),
            b'*' | b'~' | b'>' => {
                self.items = self.items.saturating_add(self.number);
                self.end_item();
            }
            b'%' | b'|' => {
                self.items = self.items.saturating_add(self.number.saturating_mul(2));
                self.end_item();
            }
            _ => self.end_item(),
        }
    }

    fn end_item(&mut self) {
        match self.items.checked_sub(1) {
            Some(left) => self.items = left,
            None => self.taken = 0,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Bounded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        if self.replies.accept(&buffer.filled()[before..]) {
            return Poll::Ready(Ok(()));
        }
        buffer.set_filled(before);
        Poll::Ready(Err(io::Error::new(ErrorKind::InvalidData, "a reply is too long")))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Bounded<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepts(parts: &[&[u8]]) -> bool {
        let bytes = parts.concat();
        let is_whole = Replies::default().accept(&bytes);
        // It does not depend on where the pieces end.
        let mut replies = Replies::default();
        let in_pieces = bytes.chunks(7).all(|piece| replies.accept(piece));
        assert_eq!(is_whole, in_pieces, "{:?}", &bytes[..bytes.len().min(40)]);
        is_whole
    }

    #[test]
    fn replies_up_to_a_record_are_taken() {
        let record = vec![b'\n'; MAX_RECORD];
        let head = format!("${MAX_RECORD}\r\n");
        let one = [head.as_bytes(), &record, b"\r\n"];
        assert!(accepts(&one));
        assert!(accepts(&[one; 20].concat()), "each reply counts for itself");
        let lines: &[u8] =
            b"+OK\r\n-ERR no 99999999999\r\n:99999999999\r\n$-1\r\n*-1\r\n$0\r\n\r\n*0\r\n_\r\n";
        assert!(accepts(&[lines; 9_000]));
        let lists: &[u8] = b"*3\r\n$7\r\nmessage\r\n*2\r\n:1\r\n+a\r\n%1\r\n+k\r\n$1\r\nv\r\n";
        assert!(accepts(&[lines, lists].repeat(5_000)));
    }

    #[test]
    fn a_longer_reply_is_refused() {
        let long = vec![b'9'; 80_000];
        let items = b"+item\r\n".repeat(20_000);
        for parts in [
            &[&b"$104857600\r\n"[..]][..],
            &[b"$99999999999999999999999999\r\n"],
            &[b"*1000000000\r\n"],
            &[b"%99999999999999999999\r\n"],
            &[b">70000\r\n"],
            &[b"+", &long],
            &[b"$", &long],
            &[b"*20000\r\n", &items],
            &[&b"*9\r\n".repeat(20_000)],
            &[b"+OK\r\n*2\r\n+a\r\n$70000\r\n"],
        ] {
            assert!(!accepts(parts), "{:?}", &parts[0][..parts[0].len().min(20)]);
        }
    }
}
