//! From a question to an HTTP request: path, headers, body.
//!
//! A policy request carries an `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header):
//! the broker repeats a request whose connection broke, and so does Postfix. It is a hash of the entry's
//! name and the attributes, which `instance` tells apart from those of other messages. Without `instance`
//! it is also of the request's id, and only the broker's own repetitions have the same.

use aws_lc_rs::digest::{SHA256, digest};
use hyper::Method as HttpMethod;
use hyper::body::Bytes;
use hyper::header::{CONTENT_LENGTH, HeaderName, HeaderValue};
use hyper::http::uri::PathAndQuery;
use url::Position;

use super::template::shown::{self, Shown};
use super::template::{Input, LookupInput, Unsendable};
use super::{Kind, LookupSettings, Method, RequestContext};
use crate::http::{Headers, Request, compress};
use crate::model::{Attributes, hex};
use crate::observe::explain;
use crate::observe::redact::Redactor;

pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The headers that each request of an entry of this kind sets itself.
pub(super) fn own_headers(kind: &Kind) -> &'static [HeaderName] {
    static OWN: [HeaderName; 3] = [IDEMPOTENCY_KEY, REQUEST_ID, CONTENT_LENGTH];
    match kind {
        Kind::Map(_) => &OWN[1..],
        Kind::Policy(_) => &OWN,
    }
}

/// A request that waits to be sent.
#[derive(Debug)]
pub(super) struct Rendered {
    method: HttpMethod,
    path: PathAndQuery,
    /// The headers of this request alone.
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Bytes,
    /// For `query --trace`: path and body without secrets.
    shown: Option<(String, String)>,
}

impl Rendered {
    /// For `query --trace`: what stands before and behind the origin. Headers may hold secrets: they are named only.
    fn parts(&self, settings: &LookupSettings) -> [String; 2] {
        let own = self.headers.iter().map(|(name, _)| name);
        let own = own.filter(|name| !settings.request.headers.contains_key(*name));
        let names: Vec<_> = settings.request.headers.keys().chain(own).map(HeaderName::as_str).collect();
        // A lookup that an untraced request began is not rendered for a trace.
        let (path, body) = self.shown.as_ref().map_or(("/…", "…"), |(path, body)| (path, body));
        [format!("request: {} ", self.method), format!("{path} ({}) {body}", names.join(", "))]
    }

    /// Notes the request. One of several targets is noted once it is chosen.
    pub(super) fn note(&self, settings: &LookupSettings) {
        settings.upstream.note_request(|| self.parts(settings));
    }

    /// Lookups may be repeated: Postfix does so itself (auto_clnt.c).
    pub(super) fn request<'r>(&'r self, headers: &'r Headers) -> Request<'r> {
        Request {
            method: self.method.clone(),
            path: self.path.clone(),
            headers,
            own: &self.headers,
            authorization: None,
            body: self.body.clone(),
            repeatable: true,
        }
    }
}

/// Renders the request of one question.
pub(super) fn render(
    settings: &LookupSettings,
    fixed: &PathAndQuery,
    lookup: LookupInput<'_>,
    context: &RequestContext<'_>,
) -> Result<Rendered, Unsendable> {
    let input = Input { name: &settings.name, lookup, delimiters: &settings.recipient_delimiter };
    let mut body = Vec::new();
    if let Some(payload) = &settings.payload {
        // It stays until the answer comes. A key, or a policy request as a whole, has room, unless much is escaped.
        body.reserve(match lookup {
            LookupInput::Key(key) => key.len() + 128,
            LookupInput::Request(all) => all.text_len() + 8 * all.len() + 64,
        });
        payload.render(input, &mut body)?;
        if settings.request.compress_request {
            body = compress::deflate(&body);
        }
    }
    let mut headers = Vec::with_capacity(2);
    if let LookupInput::Request(attributes) = lookup {
        let mut key = [0; 32];
        hex::write(&idempotency_key(&settings.name, attributes, context.id), &mut key);
        headers.push((IDEMPOTENCY_KEY, ascii(&key)));
    }
    headers.push((REQUEST_ID, request_id(context)));
    let method = match settings.method {
        Method::Get => HttpMethod::GET,
        Method::Post => HttpMethod::POST,
    };
    let shown = if explain::is_wanted() { Some(for_people(settings, input)?) } else { None };
    Ok(Rendered { method, path: path(settings, fixed, input)?, headers, body: body.into(), shown })
}

/// Path and body for a note. Later notes are redacted of what is left out of them.
fn for_people(settings: &LookupSettings, input: Input<'_>) -> Result<(String, String), Unsendable> {
    explain::redact(|| redactor(settings));
    let [path, body] = parts(settings, input)?;
    let packed = if settings.request.compress_request { " (sent as gzip)" } else { "" };
    Ok((path.text, format!("{}{packed}", body.text)))
}

fn parts(settings: &LookupSettings, input: Input<'_>) -> Result<[Shown; 2], Unsendable> {
    let path = match &settings.path {
        Some(template) => template.shown(input)?,
        None => shown::path(&settings.upstream.url()[Position::BeforePath..Position::AfterQuery]),
    };
    let body = settings.payload.as_ref().map(|payload| payload.shown(input)).transpose()?;
    Ok([path, body.unwrap_or_default()])
}

/// The secrets that the entry itself may hold: in headers, in the query, in the payload.
pub(super) fn redactor(settings: &LookupSettings) -> Redactor {
    let mut redactor = Redactor::of_headers(&settings.request.headers);
    let nothing = Input { name: &settings.name, lookup: LookupInput::Key(""), delimiters: "" };
    for part in parts(settings, nothing).into_iter().flatten() {
        redactor.extend(part.redactor);
    }
    redactor
}

/// `SESSION-REQUEST`: the connection and the request, as the log calls them; many APIs log it, too. The
/// session of a `query` is all zero.
pub(crate) fn request_id(context: &RequestContext<'_>) -> HeaderValue {
    let mut id = [b'-'; 33];
    hex::write(&context.session.unwrap_or(0).to_be_bytes(), &mut id[..16]);
    hex::write(&context.id.to_be_bytes(), &mut id[17..]);
    ascii(&id)
}

/// `text`, which is printable ASCII, as the value of a header.
fn ascii(text: &[u8]) -> HeaderValue {
    HeaderValue::from_bytes(text).unwrap_or(HeaderValue::from_static("0"))
}

/// `fixed`, unless a template makes it.
fn path(
    settings: &LookupSettings,
    fixed: &PathAndQuery,
    input: Input<'_>,
) -> Result<PathAndQuery, Unsendable> {
    let Some(template) = &settings.path else { return Ok(fixed.clone()) };
    let mut path = Vec::new();
    template.render_path(input, &mut path)?;
    let path = String::from_utf8(path).map_err(|_| Unsendable::Illegal)?;
    // A text that is inserted `raw` may have characters that a URL must not have (RFC 3986 2).
    let legal = path.bytes().all(|byte| byte.is_ascii_graphic() && !b"#\"<>\\^`{|}".contains(&byte));
    if !legal || !path.starts_with('/') {
        return Err(Unsendable::Illegal);
    }
    PathAndQuery::from_maybe_shared(Bytes::from(path)).map_err(|_| Unsendable::Illegal)
}

fn idempotency_key(name: &str, attributes: &Attributes, id: u64) -> [u8; 16] {
    let mut hashed = Vec::with_capacity(2048);
    let mut part = |bytes: &[u8]| {
        hashed.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
        hashed.extend_from_slice(bytes);
    };
    part(name.as_bytes());
    for (attribute, value) in attributes.iter() {
        part(attribute);
        part(value);
    }
    // Without it two messages could be alike (SMTPD_POLICY_README: empty before MAIL).
    if !attributes.iter().any(|(name, value)| name == b"instance" && !value.is_empty()) {
        part(&id.to_le_bytes());
    }
    let mut key = [0; 16];
    key.copy_from_slice(&digest(&SHA256, &hashed).as_ref()[..16]);
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(attributes: &[(&str, &str)], id: u64) -> u128 {
        let attributes = attributes.iter().copied().collect();
        u128::from_be_bytes(idempotency_key("entry", &attributes, id))
    }

    #[test]
    fn an_id_is_written_as_the_log_does() {
        let (session, id) = (0x0123_4567_89ab_cdef, 0xfe);
        let context = RequestContext {
            at: std::time::Instant::now(),
            received: std::time::Instant::now(),
            id,
            session: Some(session),
            listener: &Default::default(),
        };
        let value = request_id(&context);
        assert_eq!(value, format!("{}-{}", crate::lookup::hex(session), crate::lookup::hex(id)));
    }

    #[test]
    fn the_same_request_has_the_same_key() {
        let told_apart = [("instance", "1.2.3.0"), ("recipient", "a@b")];
        assert_eq!(key(&told_apart, 1), key(&told_apart, 2));
        assert_ne!(key(&told_apart, 1), key(&[("instance", "1.2.3.0"), ("recipient", "c@b")], 1));
        assert_ne!(key(&told_apart, 1), key(&[("instance", "1.2.3.0r"), ("ecipient", "a@b")], 1));
        let alike = [("instance", ""), ("recipient", "")];
        assert_ne!(key(&alike, 1), key(&alike, 2));
        assert_eq!(key(&alike, 1), key(&alike, 1));
        // Postfix may repeat a request to another broker, or to a newer one.
        assert_eq!(key(&told_apart, 1), 0x680b_b30c_755d_c514_6334_038e_5c4c_0705);
    }
}
