//! One call: what tonic makes of a message goes out on a connection of hyper, and what comes back is a reply.

use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use http_body_util::BodyExt;
use http_body_util::combinators::MapFrame;
use hyper::body::{Buf, Bytes, Frame, Incoming};
use hyper::client::conn::http2::SendRequest;
use hyper::header::{HeaderMap, HeaderName};
use prost::bytes::BufMut;
use tonic::Status;
use tonic::body::Body;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tower_service::Service;

use super::super::Reply;

/// tonic would panic if it held no Base64.
const DETAILS: HeaderName = HeaderName::from_static("grpc-status-details-bin");

/// A call that ended with a status other than OK: the peer's, or what tonic makes of an answer that is none.
pub(super) fn reply_of(status: &Status) -> Reply {
    let mut headers = HeaderMap::new();
    if status.add_header(&mut headers).is_err() {
        headers.insert(Status::GRPC_STATUS, (status.code() as u16).into());
    }
    Reply { at: Instant::now(), status: 200, headers, body: Vec::new() }
}

/// Sends a call of tonic on a connection.
pub(super) struct CallService {
    pub(super) sender: SendRequest<Body>,
    pub(super) headers: HeaderMap,
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

pub(super) type Answer = hyper::Response<MapFrame<Incoming, fn(Frame<Bytes>) -> Frame<Bytes>>>;

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
        let sent = self.sender.try_send_request(request);
        Box::pin(async move {
            let mut answer = sent.await.map_err(|error| -> Self::Error {
                match error.message() {
                    Some(_) => Unsent(error.into_error()).into(),
                    None => error.into_error().into(),
                }
            })?;
            answer.headers_mut().remove(DETAILS);
            Ok(answer.map(|body| body.map_frame(without_details as fn(_) -> _)))
        })
    }
}

fn without_details(mut frame: Frame<Bytes>) -> Frame<Bytes> {
    frame.trailers_mut().and_then(|trailers| trailers.remove(DETAILS));
    frame
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
