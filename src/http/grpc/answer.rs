//! What makes an answer of HTTP that of a unary call: the status 200, the type of gRPC, one message, one status. tonic
//! reads the first message and the first status, and skips all others.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::body::{Body, Bytes, Frame};
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName};
use hyper::{Response, StatusCode};
use tonic::Status;

type BoxError = Box<dyn Error + Send + Sync>;

/// tonic would panic if it held no Base64.
const DETAILS: HeaderName = HeaderName::from_static("grpc-status-details-bin");
const TYPE: &[u8] = b"application/grpc";
/// Bytes before a message: whether it is compressed, and its length.
const PREFIX: usize = 5;

/// The answer is not that of a unary call.
#[derive(Debug)]
pub(super) struct NotUnary(Cow<'static, str>);

impl fmt::Display for NotUnary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no answer to a call of gRPC: {}", self.0)
    }
}

impl Error for NotUnary {}

/// The body of an answer, up to one message and one status.
#[derive(Debug)]
pub(super) struct UnaryBody<B> {
    body: B,
    /// The statuses in the head.
    statuses: usize,
    prefix: [u8; PREFIX],
    /// How many bytes came.
    taken: usize,
}

/// Refuses the head of an answer that is no answer to a unary call.
pub(super) fn unary<B>(answer: Response<B>) -> Result<Response<UnaryBody<B>>, NotUnary> {
    if answer.status() != StatusCode::OK {
        return Err(NotUnary(format!("HTTP status {}", answer.status().as_u16()).into()));
    }
    if !is_grpc(answer.headers()) {
        return Err(NotUnary("its content-type is not application/grpc".into()));
    }
    let statuses = statuses(0, answer.headers())?;
    let (mut head, body) = answer.into_parts();
    head.headers.remove(DETAILS);
    Ok(Response::from_parts(head, UnaryBody { body, statuses, prefix: [0; PREFIX], taken: 0 }))
}

fn is_grpc(headers: &HeaderMap) -> bool {
    let mut types = headers.get_all(CONTENT_TYPE).iter().map(|value| value.as_bytes().to_ascii_lowercase());
    let rest = types.next().and_then(|first| first.strip_prefix(TYPE).map(<[u8]>::to_vec));
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';' | b' '))) && types.next().is_none()
}

/// The statuses in `headers`, and `before` more.
fn statuses(before: usize, headers: &HeaderMap) -> Result<usize, NotUnary> {
    match before + headers.get_all(Status::GRPC_STATUS).iter().count() {
        count @ 0..=1 => Ok(count),
        _ => Err(NotUnary("it has more than one grpc-status".into())),
    }
}

impl<B> UnaryBody<B> {
    fn take(&mut self, bytes: &[u8]) -> Result<(), NotUnary> {
        let missing = &mut self.prefix[self.taken.min(PREFIX)..];
        missing.iter_mut().zip(bytes).for_each(|(place, byte)| *place = *byte);
        self.taken = self.taken.saturating_add(bytes.len());
        let [_, length @ ..] = self.prefix;
        if self.taken > PREFIX && self.taken - PREFIX > u32::from_be_bytes(length) as usize {
            return Err(NotUnary("more follows its message".into()));
        }
        Ok(())
    }
}

impl<B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin> Body for UnaryBody<B> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Pin::new(&mut self.body).poll_frame(cx).map(|frame| {
            let mut frame = match frame? {
                Ok(frame) => frame,
                Err(error) => return Some(Err(error.into())),
            };
            let checked = match (frame.data_ref().cloned(), frame.trailers_mut()) {
                (Some(bytes), _) => self.take(&bytes),
                (None, Some(trailers)) => {
                    trailers.remove(DETAILS);
                    statuses(self.statuses, trailers).map(|_| ())
                }
                (None, None) => Ok(()),
            };
            Some(checked.map(|()| frame).map_err(BoxError::from))
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::stream;
    use http_body_util::{BodyExt, StreamBody};

    const OK: &[&str] = &["0"];

    /// A part of the error; status, head, body and trailers of the answer.
    type Case = (
        &'static str,
        u16,
        &'static [(&'static str, &'static str)],
        &'static [&'static [u8]],
        &'static [&'static str],
    );

    async fn read(
        status: u16,
        head: &[(&'static str, &str)],
        body: &[&'static [u8]],
        trailers: &[&str],
    ) -> Result<Bytes, String> {
        let data = body.iter().map(|bytes| Frame::data(Bytes::from_static(bytes)));
        let mut all = HeaderMap::new();
        for status in trailers {
            all.append(Status::GRPC_STATUS, status.parse().expect("a value"));
        }
        let frames: Vec<Result<_, BoxError>> = data.chain([Frame::trailers(all)]).map(Ok).collect();
        let mut answer = Response::builder().status(status);
        for (name, value) in head {
            answer = answer.header(*name, *value);
        }
        let answer = answer.body(StreamBody::new(stream::iter(frames))).expect("an answer");
        let answer = unary(answer).map_err(|error| error.to_string())?;
        Ok(answer.into_body().collect().await.map_err(|error| error.to_string())?.to_bytes())
    }

    #[tokio::test]
    async fn only_one_message_and_one_status_are_an_answer() {
        const GRPC: (&str, &str) = ("content-type", "application/grpc");
        const HEAD: &[(&str, &str)] = &[GRPC];
        assert_eq!(read(200, HEAD, &[b"\0\0\0\0\x01x"], OK).await.as_deref(), Ok(&b"\0\0\0\0\x01x"[..]));
        assert_eq!(read(200, HEAD, &[], &["14"]).await.as_deref(), Ok(&b""[..]));
        for split in [&[&b"\0\0"[..], b"\0\0\x02a", b"", b"b"][..], &[b"\0\0\0\0\x02ab"]] {
            assert_eq!(read(200, HEAD, split, OK).await.as_deref(), Ok(&b"\0\0\0\0\x02ab"[..]));
        }
        for content_type in ["application/grpc+proto", "Application/gRPC", "application/grpc;x=y"] {
            assert!(read(200, &[("content-type", content_type)], &[b"\0\0\0\0\0"], OK).await.is_ok());
        }
        let others: [Case; 12] = [
            ("HTTP status 204", 204, HEAD, &[], OK),
            ("HTTP status 503", 503, HEAD, &[b"\0\0\0\0\x01x"], OK),
            ("content-type", 200, &[], &[b"\0\0\0\0\x01x"], OK),
            ("content-type", 200, &[("content-type", "text/html")], &[b"\0\0\0\0\x01x"], OK),
            ("content-type", 200, &[("content-type", "application/grpcx")], &[b"\0\0\0\0\x01x"], OK),
            ("more follows", 200, HEAD, &[b"\0\0\0\0\x01x\0\0\0\0\x01y"], OK),
            ("more follows", 200, HEAD, &[b"\0\0\0\0\x01x", b"\0\0\0\0\x01y"], OK),
            ("more follows", 200, HEAD, &[b"\0\0\0\0\x01x", b"g"], OK),
            ("more follows", 200, HEAD, &[b"\0\0\0\0\0", b"g"], OK),
            ("grpc-status", 200, HEAD, &[b"\0\0\0\0\x01x"], &["0", "7"]),
            ("grpc-status", 200, &[GRPC, ("grpc-status", "0")], &[b"\0\0\0\0\x01x"], OK),
            ("grpc-status", 200, &[GRPC, ("grpc-status", "7"), ("grpc-status", "0")], &[], &[]),
        ];
        for (what, status, head, body, trailers) in others {
            let error = read(status, head, body, trailers).await.expect_err(what);
            assert!(error.contains(what), "{what}: {error}");
        }
    }
}
