//! How hyper reads an answer: the oracle of ours.

use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use http_body_util::Empty;
use hyper::Response;
use hyper::body::{Body, Bytes, Incoming};
use hyper::client::conn::http1::{Builder, Connection, SendRequest};
use hyper::rt::{Read, ReadBufCursor, Write};

use super::reading::{Reading, Whole};
use super::{MAX_HEAD, MAX_LINES};

/// A connection on which the answer comes as soon as the request is written.
struct Peer<'b> {
    left: &'b [u8],
    ends: bool,
    is_asked: bool,
}

impl Read for Peer<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.is_asked || self.left.is_empty() && !self.ends {
            return Poll::Pending;
        }
        let (now, left) = self.left.split_at(self.left.len().min(buffer.remaining()));
        buffer.put_slice(now);
        self.left = left;
        Poll::Ready(Ok(()))
    }
}

impl Write for Peer<'_> {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.is_asked = true;
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

type Driver<'b> = Connection<Peer<'b>, Empty<Bytes>>;

/// Polls the driver, and then `step`, until that is ready; `None` if nothing moves any more.
fn drive<T>(
    driver: &mut Option<Driver<'_>>,
    cx: &mut Context<'_>,
    mut step: impl FnMut(&mut Context<'_>) -> Poll<T>,
) -> Option<T> {
    // hyper reads no more than it needs; three rounds bring each step from the socket to here.
    for _ in 0..3 {
        if driver.as_mut().is_some_and(|driver| Pin::new(driver).poll(cx).is_ready()) {
            *driver = None;
        }
        if let Poll::Ready(done) = step(cx) {
            return Some(done);
        }
    }
    None
}

/// The reading of hyper.
pub(super) fn hypers(bytes: &[u8], ends: bool) -> Reading {
    let cx = &mut Context::from_waker(Waker::noop());
    let peer = Peer { left: bytes, ends, is_asked: false };
    let mut builder = Builder::new();
    builder.max_buf_size(MAX_HEAD).max_headers(MAX_LINES).allow_obsolete_multiline_headers_in_responses(true);
    let Poll::Ready(Ok((mut sender, driver))) = pin!(builder.handshake(peer)).poll(cx) else {
        panic!("a handshake of HTTP/1.1 sends nothing")
    };
    let mut driver = Some(driver);
    let mut head = pin!(sender.send_request(hyper::Request::new(Empty::new())));
    match drive(&mut driver, cx, |cx| head.as_mut().poll(cx)) {
        None => Reading::Incomplete,
        Some(Err(error)) if error.is_incomplete_message() => Reading::Incomplete,
        Some(Err(error)) => Reading::Refused(error.to_string()),
        Some(Ok(response)) => hypers_body(response, &mut driver, &mut sender, cx),
    }
}

fn hypers_body(
    response: Response<Incoming>,
    driver: &mut Option<Driver<'_>>,
    sender: &mut SendRequest<Empty<Bytes>>,
    cx: &mut Context<'_>,
) -> Reading {
    let (head, mut incoming) = response.into_parts();
    let mut body = Vec::new();
    loop {
        match drive(driver, cx, |cx| Pin::new(&mut incoming).poll_frame(cx)) {
            None => return Reading::Incomplete,
            Some(Some(Err(error))) => return Reading::Refused(error.to_string()),
            Some(Some(Ok(frame))) => body.extend(frame.into_data().unwrap_or_default()),
            Some(None) => break,
        }
    }
    let is_kept = drive(driver, cx, |_| if sender.is_ready() { Poll::Ready(()) } else { Poll::Pending });
    let fields = head.headers.iter();
    let fields = fields.map(|(name, value)| (name.as_str().into(), value.as_bytes().into())).collect();
    Reading::Whole(Whole { status: head.status.as_u16(), fields, body, is_kept: is_kept.is_some() })
}
