//! One call: what tonic makes of a message goes out on a connection of hyper, and what comes back is a reply.

use std::error::Error;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};
use std::time::Instant;

use hyper::body::{Buf, Bytes, Frame, Incoming, SizeHint};
use hyper::client::conn::http2::SendRequest;
use hyper::header::HeaderMap;
use prost::bytes::BufMut;
use tonic::Status;
use tonic::body::Body;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tower_service::Service;

use super::super::Reply;
use super::answer::{UnaryBody, unary};

/// A call that ended with a status other than OK: the peer's, or what tonic makes of an answer that is none.
pub(super) fn reply_of(status: &Status) -> Reply {
    let mut headers = HeaderMap::new();
    if status.add_header(&mut headers).is_err() {
        headers.insert(Status::GRPC_STATUS, (status.code() as u16).into());
    }
    Reply { at: Instant::now(), status: 200, headers: (&headers).into(), body: Vec::new() }
}

/// Whether the message of a call has been given to hyper. hyper holds a request until the peer takes one more, also if
/// nobody waits for its answer any more.
#[derive(Debug, Clone, Default)]
pub(super) struct Gate(Arc<AtomicU8>);

const OPEN: u8 = 0;
const PASSED: u8 = 1;
const CLOSED: u8 = 2;

impl Gate {
    fn turn(&self, to: u8) -> bool {
        let turned = self.0.compare_exchange(OPEN, to, Ordering::AcqRel, Ordering::Acquire);
        turned.is_ok() || turned == Err(to)
    }

    /// Keeps the message back from now on. False if hyper has it.
    pub(super) fn close(&self) -> bool {
        self.turn(CLOSED)
    }

    /// Lets the message pass. False if the gate is closed.
    fn pass(&self) -> bool {
        self.turn(PASSED)
    }
}

/// Closes the gate of a call that is over.
pub(super) struct ClosesGate(pub(super) Gate);

impl Drop for ClosesGate {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// The body of a call, which its gate may keep back: then hyper resets the stream.
#[derive(Debug)]
pub(super) struct GatedBody {
    body: Body,
    gate: Gate,
}

impl hyper::body::Body for GatedBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if !self.gate.pass() {
            return Poll::Ready(Some(Err(Status::cancelled("the call is over"))));
        }
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Sends a call of tonic on a connection.
pub(super) struct CallService {
    pub(super) sender: SendRequest<GatedBody>,
    pub(super) headers: HeaderMap,
    pub(super) gate: Gate,
}

/// The call was not sent.
#[derive(Debug)]
pub(super) struct Unsent(pub(super) hyper::Error);

impl std::fmt::Display for Unsent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for Unsent {}

pub(super) type Answer = hyper::Response<UnaryBody<Incoming>>;

impl Service<hyper::Request<Body>> for CallService {
    type Response = Answer;
    type Error = Box<dyn Error + Send + Sync>;
    type Future = Pin<Box<dyn Future<Output = Result<Answer, Self::Error>> + Send>>;

    /// Whether the connection takes calls shows when it gets one.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: hyper::Request<Body>) -> Self::Future {
        request.headers_mut().extend(std::mem::take(&mut self.headers));
        let gate = self.gate.clone();
        let sent = self.sender.try_send_request(request.map(|body| GatedBody { body, gate }));
        Box::pin(async move {
            let answer = sent.await.map_err(|error| -> Self::Error {
                match error.message() {
                    Some(_) => Unsent(error.into_error()).into(),
                    None => error.into_error().into(),
                }
            })?;
            unary(answer).map_err(Into::into)
        })
    }
}

/// Messages as they are.
#[derive(Clone, Copy)]
pub(super) struct MessageCodec;

impl Codec for MessageCodec {
    type Encode = Bytes;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for MessageCodec {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put(message);
        Ok(())
    }
}

impl Decoder for MessageCodec {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, bytes: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        Ok(Some(bytes.copy_to_bytes(bytes.remaining()).into()))
    }
}
