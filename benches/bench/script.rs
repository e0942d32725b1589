//! What one connection says and hears, in bytes: a request and the reply that is due, with the
//! places of a number in both that is another one in each request. Without that, equal lookups
//! at the same time would share one call.

use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::configuration::{MAP_BODY, NUMBER, USER, VALUE};

/// The first number; all have eight digits, and an id of a login begins with no 0.
pub(crate) const FIRST: u32 = 10_000_000;

/// One request and its reply.
#[derive(Debug, Clone)]
pub(crate) struct Script {
    pub(crate) request: Numbered,
    pub(crate) due: Due,
}

/// What has to come.
#[derive(Debug, Clone)]
pub(crate) enum Due {
    /// These bytes and no others.
    Exactly(Numbered),
    /// An HTTP answer of status 200 with this body; its head has the time of day in it.
    Http { end: Vec<u8> },
}

/// Bytes with the places of a number. [`NUMBER`] is a place of all its digits, a shorter row of `#` one of its
/// last digits.
#[derive(Debug, Clone)]
pub(crate) struct Numbered {
    pub(crate) bytes: Vec<u8>,
    places: Vec<Range<usize>>,
}

/// What the bytes so far are.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Complete,
    More,
    Wrong,
}

impl Numbered {
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        let mut places = Vec::new();
        let mut at = 0;
        for same in bytes.chunk_by(|one, next| one == next) {
            for row in same.chunks(NUMBER.len()) {
                if row.starts_with(b"#") {
                    places.push(at..at + row.len());
                }
                at += row.len();
            }
        }
        Self { bytes, places }
    }

    /// Puts this number into its places.
    pub(crate) fn set(&mut self, number: u32) {
        let mut digits = *NUMBER.as_bytes().first_chunk::<8>().expect("eight digits");
        let mut rest = number;
        for digit in digits.iter_mut().rev() {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        for place in &self.places {
            self.bytes[place.clone()].copy_from_slice(&digits[digits.len() - place.len()..]);
        }
    }
}

impl Due {
    pub(crate) fn judge(&self, got: &[u8]) -> Verdict {
        match self {
            Self::Exactly(due) if got == due.bytes => Verdict::Complete,
            Self::Exactly(due) if due.bytes.starts_with(got) => Verdict::More,
            Self::Exactly(_) => Verdict::Wrong,
            Self::Http { end } => {
                let start = b"HTTP/1.1 200 ";
                let same = start.len().min(got.len());
                if got[..same] != start[..same] {
                    Verdict::Wrong
                } else if got.ends_with(end) {
                    Verdict::Complete
                } else {
                    Verdict::More
                }
            }
        }
    }
}

/// A lookup of a key in this map.
pub(crate) fn lookup(map: &str) -> Script {
    let netstring = |payload: &str| Numbered::new(format!("{}:{payload},", payload.len()).into_bytes());
    let request = netstring(&format!("{map} user{NUMBER}@example.org"));
    Script { request, due: Due::Exactly(netstring(&format!("OK {VALUE}"))) }
}

/// A policy request with the attributes of Postfix 3.7, as at RCPT over TLS without a login.
pub(crate) fn policy() -> Script {
    let text = format!(
        "request=smtpd_access_policy\nprotocol_state=RCPT\nprotocol_name=ESMTP\n\
         client_address=192.0.2.7\nclient_name=mail.example.net\nclient_port=40102\n\
         reverse_client_name=mail.example.net\nserver_address=198.51.100.3\nserver_port=25\n\
         helo_name=mail.example.net\nsender=alice@example.net\nrecipient=user{NUMBER}@example.org\n\
         recipient_count=0\nqueue_id=\ninstance=1a2b.{NUMBER}.3c4d5.0\nsize=12345\netrn_domain=\n\
         stress=\nsasl_method=\nsasl_username=\nsasl_sender=\nccert_subject=\nccert_issuer=\n\
         ccert_fingerprint=\nccert_pubkey_fingerprint=\nencryption_protocol=TLSv1.3\n\
         encryption_cipher=TLS_AES_256_GCM_SHA384\nencryption_keysize=256\npolicy_context=\n\n"
    );
    let due = Numbered::new(b"action=DUNNO\n\n".to_vec());
    Script { request: Numbered::new(text.into_bytes()), due: Due::Exactly(due) }
}

/// A login by PLAIN, as Postfix asks; the number is its id.
pub(crate) fn login() -> Script {
    let response = STANDARD.encode(format!("\0{USER}\0secret"));
    let line = format!(
        "AUTH\t{NUMBER}\tPLAIN\tservice=smtp\tnologin\tlip=198.51.100.3\trip=192.0.2.7\tsecured\tresp={response}\n"
    );
    let due = Numbered::new(format!("OK\t{NUMBER}\tuser={USER}\n").into_bytes());
    Script { request: Numbered::new(line.into_bytes()), due: Due::Exactly(due) }
}

/// What Postfix says first to a server of logins.
pub(crate) const HELLO: &[u8] = b"VERSION\t1\t0\nCPID\t4711\n";
/// How that server's greeting ends.
pub(crate) const GREETED: &[u8] = b"DONE\n";

/// The HTTP request that the broker makes of [`lookup`] for the number [`FIRST`].
pub(crate) fn forwarded(request: &[u8]) -> Script {
    let first = FIRST.to_string();
    let mut bytes = request.to_vec();
    for at in 0..bytes.len().saturating_sub(NUMBER.len() - 1) {
        if bytes[at..].starts_with(first.as_bytes()) {
            bytes[at..at + NUMBER.len()].copy_from_slice(NUMBER.as_bytes());
        }
    }
    let end = format!("\r\n\r\n{MAP_BODY}").into_bytes();
    Script { request: Numbered::new(bytes), due: Due::Http { end } }
}
