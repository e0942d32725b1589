//! `query`: the bytes that Postfix would send go through the same decoders as those of Postfix, so that
//! the output is what Postfix would get.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::backend::listener_context::ListenerContext;
use crate::broker::Broker;
use crate::lookup::RequestContext;
use crate::model::secret::Secret;
use crate::model::{Answer, Failure, Mechanism, OnFailure, Protocol, Question};
use crate::observe::explain;
use crate::wire::logins::{LoginConnection, LoginStep};
use crate::wire::reply::{self, Next};
use crate::wire::{Error, policy, socketmap};

/// Longer than any valid request. Further bytes do not change the reply.
const LONGEST: usize = 160 * 1024;

/// A request of an administrator.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Query {
    /// The protocol of the request.
    #[serde(rename = "kind")]
    protocol: Protocol,
    /// The entry, if the request does not name it.
    name: String,
    /// The bytes that Postfix would send, in base64. They may hold a password.
    request: Secret,
}

/// The reply to a [`Query`].
#[derive(Debug, Serialize, Deserialize)]
pub struct QueryReply {
    /// The bytes; empty if the connection is closed.
    pub bytes: Vec<u8>,
    /// The notes of `--trace`.
    pub trace: Vec<String>,
    /// A sentence if there is no entry of that name.
    #[serde(default)]
    pub unknown: Option<String>,
    /// Of the configuration that answered ([`Configuration::digest`]).
    ///
    /// [`Configuration::digest`]: crate::settings::Configuration::digest
    #[serde(default)]
    pub digest: Option<[u8; 32]>,
}

impl Query {
    /// A lookup of a key in a map.
    #[must_use]
    pub fn map(name: &str, key: &[u8]) -> Self {
        let mut request = Vec::new();
        socketmap::encode(name, key, &mut request);
        Self::new(Protocol::Socketmap, name, &request)
    }

    /// A policy request of `lines`, `name=value` each. `request` is Postfix' own unless a line sets it.
    #[must_use]
    pub fn policy(name: &str, lines: &[&[u8]]) -> Self {
        Self::new(Protocol::Policy, name, &policy::request(lines))
    }

    /// A login with a password or a token, as Postfix passes it on.
    #[must_use]
    pub fn sasl(name: &str, mechanism: Mechanism, user: &[u8], secret: &[u8]) -> Self {
        let (first, second) = match mechanism {
            Mechanism::Plain => ([b"\0", user, b"\0", secret].concat(), None),
            Mechanism::Login => (user.to_vec(), Some(secret)),
            Mechanism::Oauthbearer => {
                let user = saslname(user);
                ([b"n,", &user[..], b",\x01auth=Bearer ", secret, b"\x01\x01"].concat(), None)
            }
            Mechanism::Xoauth2 => ([b"user=", user, b"\x01auth=Bearer ", secret, b"\x01\x01"].concat(), None),
        };
        let (mechanism, first) = (mechanism.name(), Zeroizing::new(STANDARD.encode(Zeroizing::new(first))));
        let begin = format!("VERSION\t1\t0\nCPID\t1\nAUTH\t1\t{mechanism}\tservice=smtp\tresp=");
        let mut request = Zeroizing::new([begin.as_bytes(), first.as_bytes(), b"\n"].concat());
        if let Some(second) = second {
            request.extend_from_slice(format!("CONT\t1\t{}\n", STANDARD.encode(second)).as_bytes());
        }
        Self::new(Protocol::Sasl, name, &request)
    }

    /// The protocol of the request.
    pub(crate) fn protocol(&self) -> Protocol {
        self.protocol
    }

    fn new(protocol: Protocol, name: &str, request: &[u8]) -> Self {
        let request = &request[..request.len().min(LONGEST)];
        Self { protocol, name: name.to_owned(), request: Secret::new(STANDARD.encode(request)) }
    }
}

/// The name for whom a token acts, as OAUTHBEARER writes it (RFC 5801 4); nothing without a name.
fn saslname(user: &[u8]) -> Vec<u8> {
    let escaped = user.iter().flat_map(|byte| match byte {
        b',' => b"=2C",
        b'=' => b"=3D",
        other => std::slice::from_ref(other),
    });
    let prefix: &[u8] = if user.is_empty() { b"" } else { b"a=" };
    prefix.iter().chain(escaped).copied().collect()
}

/// Handles `query` as if it came from Postfix.
pub async fn ask(broker: &Arc<Broker>, query: &Query) -> QueryReply {
    let received = STANDARD.decode(query.request.expose()).unwrap_or_default();
    let replies = async {
        match query.protocol {
            Protocol::Socketmap => lookups(broker, Protocol::Socketmap, &received, socketmap::decode).await,
            Protocol::Policy => {
                let decode = |bytes: &[u8]| policy::decode(bytes, &query.name);
                lookups(broker, Protocol::Policy, &received, decode).await
            }
            Protocol::Sasl => logins(broker, &query.name, received).await,
        }
    };
    let (bytes, trace) = explain::collect(replies).await;
    QueryReply { bytes, trace, unknown: broker.no_entry(query.protocol, &query.name), digest: None }
}

/// The replies until `received` or the connection ends.
async fn lookups(
    broker: &Broker,
    protocol: Protocol,
    mut received: &[u8],
    decode: impl Fn(&[u8]) -> Result<Option<(Question, usize)>, Error>,
) -> Vec<u8> {
    let mut out = Vec::new();
    loop {
        let answer = match decode(received) {
            Ok(Some((question, consumed))) => {
                received = &received[consumed..];
                answer(broker, &question).await
            }
            Ok(None) => return out,
            Err(Error::Malformed { consumed, reason }) => {
                explain::note(|| format!("request: {reason}"));
                received = &received[consumed..];
                Answer::Failed { failure: Failure::Malformed, on_failure: None }
            }
            Err(Error::Framing(reason)) => {
                explain::note(|| format!("request: {reason}"));
                return out;
            }
        };
        if reply::encode(protocol, &answer, &OnFailure::default(), &mut out) == Next::Close {
            return out;
        }
    }
}

async fn logins(broker: &Broker, name: &str, mut received: Vec<u8>) -> Vec<u8> {
    let offered = match broker.mechanisms(name) {
        // There is no such entry. The broker says so.
        unknown if unknown.is_empty() => Mechanism::ALL.to_vec(),
        offered => offered,
    };
    let mut logins = LoginConnection::new(name, offered);
    let mut out = Vec::new();
    loop {
        match logins.next(&mut received, Instant::now(), &mut out) {
            LoginStep::Ask { id, login } => {
                let answer = answer(broker, &Question::Login(login)).await;
                if logins.answer(id, &answer, true, Instant::now(), &mut out) == Next::Close {
                    return out;
                }
            }
            LoginStep::Refused(refused) => {
                explain::note(|| format!("request: refused without asking: {}", refused.reason));
                return out;
            }
            LoginStep::Close(reason) => {
                explain::note(|| format!("request: {reason}"));
                return out;
            }
            LoginStep::Read | LoginStep::Forget(_) => return out,
        }
    }
}

async fn answer(broker: &Broker, question: &Question) -> Answer {
    // A random id: an API may answer two requests with the same `Idempotency-Key` once.
    let id = RandomState::new().hash_one(0);
    let (at, listener) = (Instant::now(), ListenerContext::default());
    let context = RequestContext { at, received: at, id, session: None, listener: &listener };
    let (answer, _) = broker.ask(question, &context).await;
    let is_explained = explain::has("failed: ");
    explain::note(|| match &answer {
        Answer::Failed { failure, on_failure } => {
            let why = if is_explained { String::new() } else { format!(" ({failure})") };
            format!("answer: none{why}{}", instead(question.protocol(), on_failure.as_ref()))
        }
        answer => format!("answer: {}", in_words(answer)),
    });
    answer
}

pub(super) fn in_words(answer: &Answer) -> String {
    match answer {
        Answer::Value(value) => format!("the value {value}"),
        Answer::NotFound => "not found".to_owned(),
        Answer::Action(action) => format!("the action {}", action.as_str()),
        Answer::Accepted { user } => format!("accepted, as {user}"),
        Answer::Denied { reason, .. } => format!("denied: {reason}"),
        Answer::Failed { failure, .. } => format!("none ({failure})"),
    }
}

/// What the entry says for a failure, for `query --trace`.
fn instead(protocol: Protocol, on_failure: Option<&OnFailure>) -> String {
    match on_failure {
        None => String::new(),
        Some(OnFailure::Action(action)) => format!("; on_failure: {}", action.as_str()),
        Some(OnFailure::Disconnect | OnFailure::Auto) if protocol == Protocol::Sasl => {
            "; the connection is closed (Postfix: 454)".to_owned()
        }
        Some(OnFailure::Disconnect | OnFailure::Auto) => "; the connection is closed".to_owned(),
        Some(OnFailure::Fail) => "; on_failure: fail".to_owned(),
        Some(OnFailure::Temp) => "; on_failure: temp".to_owned(),
    }
}
