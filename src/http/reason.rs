//! The reason of a failed connection: one line without secrets. Names in a certificate are not trusted:
//! they are cut, and control characters are removed.

use std::error::Error as StdError;
use std::io::{self, ErrorKind};
use std::time::{Duration, UNIX_EPOCH};

use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError, Error, PeerIncompatible};

use crate::model::brief::without_controls;

pub(super) const LATE: &str = "timed out";

const NO_HTTP2: &str = "it does not agree on HTTP/2 (ALPN h2)";

/// The names of a certificate that are shown, and how much of each.
const NAMES: usize = 3;
const LONGEST: usize = 80;

/// What the reason of a failed handshake depends on.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct TlsKeys {
    /// Our certificate is that of the entry's `tls`, not that of `server.tls`.
    pub(super) has_own_cert: bool,
    /// They are those of `grpc.tls`.
    pub(super) is_grpc: bool,
    /// `min_tls_version: "1.3"`.
    pub(super) only_1_3: bool,
}

impl TlsKeys {
    /// The key that names our certificate.
    fn cert(self) -> &'static str {
        match (self.is_grpc, self.has_own_cert) {
            (true, _) => "grpc.tls.client_cert",
            (false, true) => "tls.cert of the entry",
            (false, false) => "server.tls.cert",
        }
    }

    /// The most frequent cause of a handshake with something else than TLS.
    fn no_tls(self) -> &'static str {
        if self.is_grpc {
            "(does that port speak TLS? else set `grpc.tls.enabled: false`)"
        } else {
            "(does that port speak TLS? else its URL begins with http://)"
        }
    }

    /// What a server lacks with which there is no version in common.
    fn versions(self) -> &'static str {
        if self.only_1_3 {
            "does not speak TLS 1.3 (min_tls_version)"
        } else {
            "speaks neither TLS 1.2 nor 1.3"
        }
    }
}

/// The last error in the chain of `error`, of a connection with these keys.
pub(super) fn of(error: &(dyn StdError + 'static), keys: TlsKeys) -> String {
    if let Some(error) = error.downcast_ref() {
        return format!("TLS: {}", tls(error, keys));
    }
    match (error.downcast_ref().map(io::Error::kind), inner(error)) {
        (Some(ErrorKind::TimedOut), _) => LATE.to_owned(),
        (Some(ErrorKind::ConnectionRefused), _) => "connection refused".to_owned(),
        (Some(ErrorKind::UnexpectedEof), _) => {
            format!("it closed the connection in the handshake {}", keys.no_tls())
        }
        (_, Some(inner)) => of(inner, keys),
        (_, None) => without_debug_data(&error.to_string()),
    }
}

/// What h2 says, in our words, and without the debug data of a GOAWAY (RFC 9113 6.8): the peer may have put anything
/// there, even a part of the request. All of h2's other words are fixed.
fn without_debug_data(text: &str) -> String {
    let text = text.split_once(" (b\"").map_or(text, |(fixed, _)| fixed);
    for (theirs, ours) in [
        ("connection error received: ", "GOAWAY of the peer: "),
        ("stream error received: ", "reset by the peer: "),
    ] {
        if let Some(reason) = text.strip_prefix(theirs) {
            return format!("{ours}{reason}");
        }
    }
    text.to_owned()
}

/// The next error in the chain: inside of an I/O error, which does not return it as its source.
pub(super) fn inner<'e>(error: &'e (dyn StdError + 'static)) -> Option<&'e (dyn StdError + 'static)> {
    let held = error.downcast_ref().and_then(io::Error::get_ref);
    held.map(|held| -> &(dyn StdError + 'static) { held }).or_else(|| error.source())
}

fn tls(error: &Error, keys: TlsKeys) -> String {
    match error {
        Error::InvalidCertificate(error) => certificate(error),
        Error::AlertReceived(alert) => refusal(*alert, keys),
        Error::InvalidMessage(_) => format!("{error} {}", keys.no_tls()),
        Error::PeerIncompatible(lack) => match lack {
            PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig => {
                format!("the server {}", keys.versions())
            }
            _ => format!("the server and we have no way of TLS in common ({lack:?})"),
        },
        Error::NoApplicationProtocol => NO_HTTP2.to_owned(),
        other => other.to_string(),
    }
}

fn certificate(error: &CertificateError) -> String {
    match error {
        CertificateError::ExpiredContext { not_after, .. } => {
            format!("the certificate expired on {}", date(*not_after))
        }
        CertificateError::NotValidYetContext { not_before, .. } => {
            format!("the certificate is not valid before {}", date(*not_before))
        }
        CertificateError::NotValidForNameContext { expected, presented } => {
            let names = if presented.is_empty() {
                "for no host (it has no subjectAltName)".to_owned()
            } else {
                format!("for {}", names(presented))
            };
            format!("the certificate is {names}, and not for {}", expected.to_str())
        }
        CertificateError::BadSignature => {
            "a signature is wrong: that of the certificate, or the server does not hold its key".to_owned()
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "the certificate is not one of a server (extended key usage)".to_owned()
        }
        CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            "the certificate, or one that leads to it, is signed by an algorithm that is not trusted (SHA-1?)"
                .to_owned()
        }
        CertificateError::BadEncoding => "the certificate cannot be read".to_owned(),
        // The text of our verifier, or of webpki.
        CertificateError::Other(other) => other.0.to_string(),
        other => format!("the certificate is not trusted: {other}"),
    }
}

fn refusal(alert: AlertDescription, keys: TlsKeys) -> String {
    let cert = keys.cert();
    let why = match alert {
        AlertDescription::CertificateRequired => format!("it wants a certificate of ours ({cert})"),
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateRevoked
        | AlertDescription::CertificateExpired
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnknownCA
        | AlertDescription::AccessDenied
        | AlertDescription::DecryptError => format!("it does not trust our certificate ({cert})"),
        AlertDescription::ProtocolVersion => format!("it {}", keys.versions()),
        AlertDescription::HandshakeFailure | AlertDescription::InsufficientSecurity => {
            format!("there is no cipher in common, or it wants a certificate of ours ({cert})")
        }
        AlertDescription::NoApplicationProtocol => NO_HTTP2.to_owned(),
        AlertDescription::UnrecognisedName => "it knows no host of that name".to_owned(),
        _ => "it does not say why".to_owned(),
    };
    format!("the server ended the handshake: {why} (alert {alert:?})")
}

/// Names from texts such as `DnsName("api.example")`.
fn names(presented: &[String]) -> String {
    let bare = |name: &String| -> String {
        let inside = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')')).unwrap_or(name);
        without_controls(inside.trim_matches('"'), LONGEST)
    };
    let shown: Vec<_> = presented.iter().take(NAMES).map(bare).collect();
    let more = if presented.len() > NAMES { " and others" } else { "" };
    format!("{}{more}", shown.join(", "))
}

fn date(time: UnixTime) -> String {
    // RFC 3339 ends with the year 9999.
    const LAST: u64 = 253_402_300_799;
    let time = UNIX_EPOCH + Duration::from_secs(time.as_secs().min(LAST));
    humantime::format_rfc3339_seconds(time).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_peer_says_at_the_end_of_a_connection_is_not_repeated() {
        for (text, due) in [
            (
                r#"connection error received: unspecific protocol error detected (b"debug \"s3cret (b\"")"#,
                "GOAWAY of the peer: unspecific protocol error detected",
            ),
            (
                "connection error received: not a result of an error",
                "GOAWAY of the peer: not a result of an error",
            ),
            (
                "stream error received: refused stream before processing any application logic",
                "reset by the peer: refused stream before processing any application logic",
            ),
            ("no record found", "no record found"),
        ] {
            assert_eq!(of(&io::Error::other(text), TlsKeys::default()), due);
        }
    }
}
