//! The frames of the local socket, between `pfxhttp-client` and the broker; no I/O.
//!
//! ```text
//! frame    length u32 LE · that many bytes
//! client   Hello { "pfxh", version u16 LE, service, offer } · RequestFrame { id, spent_ms, question } · …
//! broker   Welcome { "pfxh", version u16 LE, verdict } · AnswerFrame { id, answer } · …
//! ```
//!
//! With an [`Offer`] (version 2), the client passes Postfix' connection in the message of its hello (unix(7),
//! SCM_RIGHTS), before it reads a byte of it. If the broker takes it ([`Verdict::Taken`]), the client writes
//! [`YOURS`] and ends, and from that byte on the broker reads. So there are never two readers.
//!
//! A frame is bincode 1: fixed-width integers, little endian. The announced length is compared with a limit
//! before the frame is read, and bincode has a limit of its own; trailing bytes are an error. An upgrade
//! does not replace client and broker at the same time: the first six bytes of both greetings never change,
//! and the broker serves versions [`OLDEST`]`..=`[`VERSION`]. Any change of a frame after its release needs
//! a new version. The golden bytes in the tests below are that layout. A login in a frame has what Postfix says of
//! its client; the further parameters of other clients ([`Peer::details`](crate::model::Peer)) stay behind.

use std::fmt;

use bincode::Options;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{Decoded, Error};
use crate::model::{Answer, Mechanism, OnFailure, Question};

/// The version that this program speaks: 2 has [`Offer`] and [`Verdict::Taken`].
pub const VERSION: u16 = 2;
/// The oldest version that the broker serves.
pub const OLDEST: u16 = 1;
/// The first version with a hand-over.
pub const HAND_OVER: u16 = 2;
/// The byte with which the client gives up Postfix' connection.
pub const YOURS: u8 = b'Y';
/// The longest frame that a client may send: the longest request, and room for its attributes.
pub const MAX_FROM_CLIENT: usize = 256 * 1024;
/// The longest frame that a broker may send: a value out of a body of at most 1 MiB.
pub const MAX_FROM_BROKER: usize = 2 * 1024 * 1024;

const MAGIC: [u8; 4] = *b"pfxh";
const PREFIX: usize = 4;

const TOO_LONG: Error = Error::Framing("frame longer than the limit");
const GARBAGE: Error = Error::Framing("frame makes no sense");

/// A client's first frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// The frame version that it speaks.
    pub version: u16,
    /// The service; `None` if this version is not served.
    pub service: Option<Service>,
    /// Whether Postfix' connection comes with it.
    pub offer: Option<Offer>,
}

/// A client offers Postfix' connection, and what the broker shall do with it in its place.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// The answer of a policy whose entry is gone.
    pub on_failure: OnFailure,
    /// The mechanisms of logins; `None`: those of the entry.
    pub mechanisms: Option<Vec<Mechanism>>,
}

/// The service of a client that spawn(8) started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Service {
    /// Lookups in any map.
    Socketmap,
    /// Requests to the policy service of this name.
    Policy {
        /// An entry of `policy_services`.
        name: String,
    },
    /// Logins by the entry of this name.
    Login {
        /// An entry of `dovecot_sasl`.
        name: String,
    },
}

impl fmt::Display for Service {
    /// As on the command line of the client.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socketmap => f.write_str("socketmap"),
            Self::Policy { name } => write!(f, "policy {name}"),
            Self::Login { name } => write!(f, "sasl {name}"),
        }
    }
}

/// A broker's first frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Welcome {
    /// The frame version that the broker speaks at most.
    pub version: u16,
    /// Whether it will answer.
    pub verdict: Verdict,
}

/// Whether a broker serves a client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// It does.
    Served {
        /// The longest time limit of the requests of this service, in milliseconds.
        budget_ms: u32,
        /// The entry's `on_failure`, for a client that loses its broker.
        on_failure: Option<OnFailure>,
        /// The mechanisms of logins; empty for lookups and unknown names.
        mechanisms: Vec<Mechanism>,
    },
    /// The client's version is older than [`OLDEST`].
    TooOld,
    /// The client's version is newer than the broker's.
    TooNew,
    /// It will read Postfix' connection after [`YOURS`].
    Taken,
}

/// One lookup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestFrame {
    /// Chosen by the client, from a random start on; a lookup that is sent again keeps it.
    pub id: u64,
    /// The age of the lookup in milliseconds. It counts against the time limit, also if the lookup is sent
    /// again.
    pub spent_ms: u32,
    /// The lookup.
    pub question: Question,
}

/// Its answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnswerFrame {
    /// The id of the [`RequestFrame`].
    pub id: u64,
    /// The answer.
    pub answer: Answer,
}

/// The options of bincode, for all frames.
fn options(limit: usize) -> impl Options {
    bincode::DefaultOptions::new()
        .with_fixint_encoding()
        .with_little_endian()
        .with_limit(limit as u64)
        .reject_trailing_bytes()
}

/// Finds the first frame's bytes.
fn frame(bytes: &[u8], limit: usize) -> Decoded<&[u8]> {
    let Some(prefix) = bytes.first_chunk::<PREFIX>() else { return Ok(None) };
    let length = u32::from_le_bytes(*prefix) as usize;
    if length > limit {
        return Err(TOO_LONG);
    }
    let end = PREFIX + length;
    Ok(bytes.get(PREFIX..end).map(|payload| (payload, end)))
}

/// Decodes one frame.
///
/// # Errors
/// Anything but exactly one `T` of at most `limit` bytes.
pub fn decode<T: DeserializeOwned>(bytes: &[u8], limit: usize) -> Decoded<T> {
    let Some((payload, consumed)) = frame(bytes, limit)? else { return Ok(None) };
    let value = options(limit).deserialize(payload).map_err(|_| GARBAGE)?;
    Ok(Some((value, consumed)))
}

/// Appends one frame.
///
/// # Errors
/// [`Error::Framing`] for a value of more than `limit` bytes; nothing is appended then.
pub fn encode<T: Serialize>(value: &T, limit: usize, out: &mut Vec<u8>) -> Result<(), Error> {
    let start = out.len();
    out.extend_from_slice(&[0; PREFIX]);
    if options(limit).serialize_into(&mut *out, value).is_err() {
        out.truncate(start);
        return Err(TOO_LONG);
    }
    let length = u32::try_from(out.len() - start - PREFIX).map_err(|_| TOO_LONG)?;
    out[start..start + PREFIX].copy_from_slice(&length.to_le_bytes());
    Ok(())
}

/// Appends a [`RequestFrame`] without owning its question.
///
/// # Errors
/// [`Error::Framing`], which no question decoded by `wire` is.
pub fn encode_request(id: u64, spent_ms: u32, question: &Question, out: &mut Vec<u8>) -> Result<(), Error> {
    encode(&(id, spent_ms, question), MAX_FROM_CLIENT, out)
}

impl Hello {
    /// Appends the greeting of a client, with an offer if `version` has that.
    ///
    /// # Errors
    /// [`Error::Framing`] for a service name over the limit.
    pub fn encode(
        version: u16,
        service: &Service,
        offer: Option<&Offer>,
        out: &mut Vec<u8>,
    ) -> Result<(), Error> {
        if version < HAND_OVER {
            return encode(&(MAGIC, version, service), MAX_FROM_CLIENT, out);
        }
        encode(&(MAGIC, version, service, offer), MAX_FROM_CLIENT, out)
    }

    /// Decodes the greeting of a client. Behind a foreign version nothing is read.
    ///
    /// # Errors
    /// Anything but a greeting.
    pub fn decode(bytes: &[u8]) -> Decoded<Self> {
        let Some(((version, rest), consumed)) = greeting(bytes, MAX_FROM_CLIENT)? else { return Ok(None) };
        let options = options(MAX_FROM_CLIENT);
        let (service, offer) = match version {
            _ if !(OLDEST..=VERSION).contains(&version) => (None, None),
            ..HAND_OVER => (Some(options.deserialize(rest).map_err(|_| GARBAGE)?), None),
            _ => options
                .deserialize(rest)
                .map_err(|_| GARBAGE)
                .map(|(service, offer)| (Some(service), offer))?,
        };
        Ok(Some((Self { version, service, offer }, consumed)))
    }
}

impl Welcome {
    /// Appends the greeting of a broker.
    ///
    /// # Errors
    /// [`Error::Framing`], which an `on_failure` out of a configuration never is.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), Error> {
        encode(&(MAGIC, self.version, &self.verdict), MAX_FROM_BROKER, out)
    }

    /// Decodes the greeting of a broker.
    ///
    /// # Errors
    /// Anything but a greeting.
    pub fn decode(bytes: &[u8]) -> Decoded<Self> {
        let Some(((version, rest), consumed)) = greeting(bytes, MAX_FROM_BROKER)? else { return Ok(None) };
        let verdict = options(MAX_FROM_BROKER).deserialize(rest).map_err(|_| GARBAGE)?;
        Ok(Some((Self { version, verdict }, consumed)))
    }
}

/// The version of a greeting, and the rest in the layout of that version.
fn greeting(bytes: &[u8], limit: usize) -> Decoded<(u16, &[u8])> {
    // A peer of another protocol is detected by its first bytes.
    let seen = bytes.get(PREFIX..).unwrap_or_default();
    let known = seen.len().min(MAGIC.len());
    if seen[..known] != MAGIC[..known] {
        return Err(GARBAGE);
    }
    let Some((payload, consumed)) = frame(bytes, limit)? else { return Ok(None) };
    match payload.split_first_chunk::<6>() {
        Some(([b'p', b'f', b'x', b'h', low, high], rest)) => {
            Ok(Some(((u16::from_le_bytes([*low, *high]), rest), consumed)))
        }
        _ => Err(GARBAGE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::secret::Secret;
    use crate::model::{Action, Attributes, Credentials, Failure, Login, Peer};
    use proptest::prelude::*;

    /// What version 2 has in addition, to the byte. A change here is a new version.
    #[test]
    fn golden_bytes_of_a_hand_over() {
        let mut out = Vec::new();
        let service = Service::Policy { name: "p1".into() };
        Hello::encode(2, &service, None, &mut out).expect("short");
        assert_eq!(out, b"\x15\0\0\0pfxh\x02\0\x01\0\0\0\x02\0\0\0\0\0\0\0p1\0");

        out.clear();
        let offer = Offer { on_failure: OnFailure::Disconnect, mechanisms: Some(vec![Mechanism::Login]) };
        Hello::encode(2, &service, Some(&offer), &mut out).expect("short");
        let mut due = b"\x26\0\0\0pfxh\x02\0\x01\0\0\0\x02\0\0\0\0\0\0\0p1".to_vec();
        due.extend_from_slice(b"\x01\x01\0\0\0\x01\x01\0\0\0\0\0\0\0\x01\0\0\0");
        assert_eq!(out, due);
        let hello = Hello { version: 2, service: Some(service), offer: Some(offer) };
        assert_eq!(Hello::decode(&out), Ok(Some((hello, out.len()))));

        out.clear();
        Welcome { version: 2, verdict: Verdict::Taken }.encode(&mut out).expect("short");
        assert_eq!(out, b"\x0a\0\0\0pfxh\x02\0\x03\0\0\0");
        assert_eq!(YOURS, b'Y');
    }

    /// Frame version 1 to the byte, which is served still.
    #[test]
    fn golden_bytes() {
        let mut out = Vec::new();
        let service = Service::Policy { name: "p1".into() };
        Hello::encode(1, &service, Some(&Offer::default()), &mut out).expect("short");
        assert_eq!(out, b"\x14\0\0\0pfxh\x01\0\x01\0\0\0\x02\0\0\0\0\0\0\0p1");
        let hello = Hello { version: 1, service: Some(service), offer: None };
        assert_eq!(Hello::decode(&out), Ok(Some((hello, out.len()))));

        out.clear();
        let question = Question::Map { name: "m".into(), key: b"k\xff".to_vec() };
        encode(&RequestFrame { id: 7, spent_ms: 30_000, question }, MAX_FROM_CLIENT, &mut out)
            .expect("short");
        assert_eq!(
            out,
            b"\x23\0\0\0\x07\0\0\0\0\0\0\0\x30\x75\0\0\0\0\0\0\x01\0\0\0\0\0\0\0m\x02\0\0\0\0\0\0\0k\xff"
        );

        out.clear();
        let attributes = Attributes::from_iter([("a", &b"\xff"[..]), ("bc", b"")]);
        encode_request(7, 1, &Question::Policy { name: "p".into(), attributes }, &mut out).expect("short");
        let mut due = b"\x45\0\0\0\x07\0\0\0\0\0\0\0\x01\0\0\0\x01\0\0\0\x01\0\0\0\0\0\0\0p".to_vec();
        due.extend_from_slice(b"\x02\0\0\0\0\0\0\0");
        due.extend_from_slice(b"\x01\0\0\0\0\0\0\0a\x01\0\0\0\0\0\0\0\xff");
        due.extend_from_slice(b"\x02\0\0\0\0\0\0\0bc\0\0\0\0\0\0\0\0");
        assert_eq!(out, due);

        out.clear();
        let answer =
            Answer::Failed { failure: Failure::Status(503), on_failure: Some(OnFailure::Disconnect) };
        encode(&AnswerFrame { id: 7, answer }, MAX_FROM_BROKER, &mut out).expect("short");
        assert_eq!(out, b"\x17\0\0\0\x07\0\0\0\0\0\0\0\x03\0\0\0\x04\0\0\0\xf7\x01\x01\x01\0\0\0");

        out.clear();
        let action = Action::parse("REJECT").expect("an action");
        encode(&AnswerFrame { id: 1, answer: Answer::Action(action) }, MAX_FROM_BROKER, &mut out)
            .expect("short");
        assert_eq!(out, b"\x1a\0\0\0\x01\0\0\0\0\0\0\0\x02\0\0\0\x06\0\0\0\0\0\0\0REJECT");

        out.clear();
        let verdict = Verdict::Served { budget_ms: 1, on_failure: None, mechanisms: vec![Mechanism::Login] };
        Welcome { version: 1, verdict }.encode(&mut out).expect("short");
        assert_eq!(out, b"\x1b\0\0\0pfxh\x01\0\0\0\0\0\x01\0\0\0\0\x01\0\0\0\0\0\0\0\x01\0\0\0");

        out.clear();
        let password = Secret::new("s".into());
        let login = Login {
            name: "l".into(),
            mechanism: Mechanism::Plain,
            credentials: Credentials::Password { user: "u".into(), password },
            peer: Peer { client_ip: "::1".into(), secured: true, ..Peer::default() },
        };
        encode_request(1, 0, &Question::Login(Box::new(login)), &mut out).expect("short");
        let mut due = b"\x7f\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\x02\0\0\0".to_vec();
        due.extend_from_slice(b"\x01\0\0\0\0\0\0\0l\0\0\0\0\0\0\0\0");
        due.extend_from_slice(b"\x01\0\0\0\0\0\0\0u\x01\0\0\0\0\0\0\0s");
        due.extend_from_slice(b"\0\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0::1");
        due.extend_from_slice(&[0; 40]);
        due.extend_from_slice(b"\x01");
        due.extend_from_slice(&[0; 16]);
        assert_eq!(out, due);

        out.clear();
        let answer = Answer::Denied { reason: "no".into(), user: "u".into() };
        encode(&AnswerFrame { id: 1, answer }, MAX_FROM_BROKER, &mut out).expect("short");
        assert_eq!(out, b"\x1f\0\0\0\x01\0\0\0\0\0\0\0\x05\0\0\0\x02\0\0\0\0\0\0\0no\x01\0\0\0\0\0\0\0u");
    }

    #[test]
    fn an_announced_length_is_not_believed() {
        assert_eq!(frame(b"\xff\xff\xff\xff", MAX_FROM_CLIENT), Err(TOO_LONG));
        assert_eq!(Hello::decode(b"\xff\xff\xff\xff"), Err(TOO_LONG));
        // A collection inside of the frame that claims to be larger than the frame.
        let mut bytes = b"\x14\0\0\0\x01\0\0\0\0\0\0\0\x01\0\0\0".to_vec();
        bytes.extend_from_slice(&u64::MAX.to_le_bytes());
        assert_eq!(decode::<AnswerFrame>(&bytes, MAX_FROM_BROKER), Err(GARBAGE));
    }

    #[test]
    fn a_frame_may_have_the_length_of_the_limit_and_stand_behind_others() {
        let mut bytes = Vec::new();
        encode(&7u64, 8, &mut bytes).expect("short");
        assert_eq!(encode(&7u64, 7, &mut bytes), Err(TOO_LONG));
        encode(&8u64, 8, &mut bytes).expect("short");
        assert_eq!(bytes, b"\x08\0\0\0\x07\0\0\0\0\0\0\0\x08\0\0\0\x08\0\0\0\0\0\0\0");
        assert_eq!(decode(&bytes, 8), Ok(Some((7u64, 12))));
        assert_eq!(decode(&bytes[12..], 8), Ok(Some((8u64, 12))));
        assert_eq!(decode::<u64>(&bytes, 7), Err(TOO_LONG));
    }

    /// What the protocols of Postfix allow, and what an API may say, has room in a frame.
    #[test]
    fn the_longest_requests_and_answers_fit() {
        let key = vec![b'k'; 128 * 1024];
        let lines = vec![format!("a={}", "x".repeat(250)); 256];
        let lines: Vec<_> = lines.iter().enumerate().map(|(at, line)| format!("{at:03}{line}")).collect();
        let attributes =
            Attributes::from_iter(lines.iter().map(|line| line.split_once('=').expect("a line")));
        assert_eq!(attributes.len(), 256);
        for question in
            [Question::Map { name: "m".into(), key }, Question::Policy { name: "p".into(), attributes }]
        {
            let mut out = Vec::new();
            encode_request(1, 0, &question, &mut out).expect("it fits");
            let ask = RequestFrame { id: 1, spent_ms: 0, question };
            assert_eq!(decode(&out, MAX_FROM_CLIENT), Ok(Some((ask, out.len()))));
        }
        let frame = AnswerFrame { id: 1, answer: Answer::Value("v".repeat(1024 * 1024)) };
        let mut out = Vec::new();
        encode(&frame, MAX_FROM_BROKER, &mut out).expect("it fits");
        assert_eq!(decode(&out, MAX_FROM_BROKER), Ok(Some((frame, out.len()))));
    }

    #[test]
    fn greetings_of_other_versions_are_understood_as_such() {
        for version in [OLDEST - 1, VERSION + 1, u16::MAX] {
            let mut out = Vec::new();
            Hello::encode(version, &Service::Socketmap, None, &mut out).expect("short");
            let length = out.len();
            let hello = Hello { version, service: None, offer: None };
            assert_eq!(Hello::decode(&out), Ok(Some((hello, length))));
        }
    }

    #[test]
    fn garbage_shows_at_once() {
        assert_eq!(Hello::decode(b"\x10\0\0\0GET "), Err(GARBAGE));
        assert_eq!(Hello::decode(b"\x10\0\0\0g"), Err(GARBAGE));
        assert_eq!(Hello::decode(b"\x02\0\0\0pf"), Err(GARBAGE));
        assert_eq!(Hello::decode(b"\x10\0\0\0pfx"), Ok(None));
    }

    #[test]
    fn an_action_that_is_none_does_not_come_in_by_the_local_socket() {
        let mut out = Vec::new();
        encode(&(1u64, 2u32, "550"), MAX_FROM_BROKER, &mut out).expect("short");
        assert_eq!(decode::<AnswerFrame>(&out, MAX_FROM_BROKER), Err(GARBAGE));
    }

    proptest! {
        #[test]
        fn what_is_encoded_decodes(id: u64, spent_ms: u32, name: String, value: Vec<u8>, rest: Vec<u8>) {
            let attributes = Attributes::from_iter([(&name, value)]);
            let ask = RequestFrame { id, spent_ms, question: Question::Policy { name, attributes } };
            let mut bytes = Vec::new();
            encode(&ask, MAX_FROM_CLIENT, &mut bytes).expect("short");
            let length = bytes.len();
            for cut in 0..length {
                prop_assert_eq!(decode::<RequestFrame>(&bytes[..cut], MAX_FROM_CLIENT), Ok(None));
            }
            bytes.extend_from_slice(&rest);
            prop_assert_eq!(decode::<RequestFrame>(&bytes, MAX_FROM_CLIENT), Ok(Some((ask, length))));
        }

        #[test]
        fn any_bytes_are_judged_without_panic(bytes: Vec<u8>) {
            let _ = Hello::decode(&bytes);
            let _ = Welcome::decode(&bytes);
            let _ = decode::<RequestFrame>(&bytes, MAX_FROM_CLIENT);
            let _ = decode::<AnswerFrame>(&bytes, MAX_FROM_BROKER);
        }
    }
}
