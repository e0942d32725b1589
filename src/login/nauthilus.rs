//! A password login over gRPC: the call `nauthilus.auth.v1.AuthService/Authenticate`, and its answer.
//!
//! The messages hold what is filled and read here, by the field numbers of that service. What else an answer has
//! is skipped. A status other than OK is a failure, and so is an answer without a decision: it neither accepts
//! nor denies.

use std::collections::HashMap;

use hyper::body::Bytes;
use percent_encoding::percent_decode_str;
use prost::{Enumeration, Message};
use zeroize::Zeroize;

use super::answer::{DENIED, legal_account};
use super::{Decision, LoginSettings};
use crate::http::Reply;
use crate::lookup::RequestContext;
use crate::model::secret::Secret;
use crate::model::{Failure, Login, grpc};

/// The path of the call.
pub(super) const PATH: &str = "/nauthilus.auth.v1.AuthService/Authenticate";
/// The method, as metrics name it.
pub(super) const METHOD: &str = "Authenticate";

/// No `Debug`: it holds a password.
#[derive(Message)]
#[prost(skip_debug)]
struct AuthRequest {
    #[prost(string, tag = "1")]
    username: String,
    #[prost(string, tag = "2")]
    password: String,
    #[prost(string, tag = "3")]
    client_ip: String,
    #[prost(string, tag = "4")]
    client_port: String,
    #[prost(string, tag = "5")]
    client_hostname: String,
    #[prost(string, tag = "6")]
    client_id: String,
    #[prost(string, tag = "7")]
    external_session_id: String,
    #[prost(string, tag = "8")]
    user_agent: String,
    #[prost(string, tag = "9")]
    local_ip: String,
    #[prost(string, tag = "10")]
    local_port: String,
    #[prost(string, tag = "11")]
    protocol: String,
    #[prost(string, tag = "12")]
    method: String,
    #[prost(string, tag = "13")]
    ssl: String,
    #[prost(string, tag = "14")]
    ssl_session_id: String,
    #[prost(string, tag = "15")]
    ssl_client_verify: String,
    #[prost(string, tag = "16")]
    ssl_client_dn: String,
    #[prost(string, tag = "17")]
    ssl_client_cn: String,
    #[prost(string, tag = "18")]
    ssl_issuer: String,
    #[prost(string, tag = "19")]
    ssl_client_notbefore: String,
    #[prost(string, tag = "20")]
    ssl_client_notafter: String,
    #[prost(string, tag = "21")]
    ssl_subject_dn: String,
    #[prost(string, tag = "22")]
    ssl_issuer_dn: String,
    #[prost(string, tag = "23")]
    ssl_client_subject_dn: String,
    #[prost(string, tag = "24")]
    ssl_client_issuer_dn: String,
    #[prost(string, tag = "25")]
    ssl_protocol: String,
    #[prost(string, tag = "26")]
    ssl_cipher: String,
    #[prost(string, tag = "27")]
    ssl_serial: String,
    #[prost(string, tag = "28")]
    ssl_fingerprint: String,
    #[prost(string, tag = "29")]
    oidc_cid: String,
    #[prost(uint32, tag = "30")]
    auth_login_attempt: u32,
}

#[derive(Message)]
struct AuthResponse {
    #[prost(enumeration = "Verdict", tag = "2")]
    decision: i32,
    #[prost(string, tag = "4")]
    account_field: String,
    #[prost(map = "string, message", tag = "7")]
    attributes: HashMap<String, AttributeValues>,
    #[prost(string, tag = "8")]
    status_message: String,
    #[prost(string, tag = "9")]
    error: String,
}

#[derive(PartialEq, Message)]
struct AttributeValues {
    #[prost(string, repeated, tag = "1")]
    values: Vec<String>,
}

/// `decision`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enumeration)]
#[repr(i32)]
enum Verdict {
    Unspecified = 0,
    Ok = 1,
    Fail = 2,
    TempFail = 3,
}

/// The message of a login.
pub(super) fn body(
    settings: &LoginSettings,
    login: &Login,
    context: &RequestContext<'_>,
    user: &str,
    password: &Secret,
) -> Bytes {
    let peer = &login.peer;
    let default_port = settings.default_local_port.map(|port| port.to_string()).unwrap_or_default();
    let session = context.session_hex().unwrap_or_default();
    let detail = |name| peer.detail(name).to_owned();
    let or = |given: &str, other: &str| if given.is_empty() { other } else { given }.to_owned();
    let mut request = AuthRequest {
        username: user.to_owned(),
        password: password.expose().to_owned(),
        client_ip: peer.client_ip.clone(),
        client_port: peer.client_port.clone(),
        client_hostname: or(peer.detail("client_hostname"), &peer.local_name),
        client_id: peer.client_id.clone(),
        external_session_id: or(peer.detail("external_session_id"), &session),
        user_agent: detail("user_agent"),
        local_ip: peer.local_ip.clone(),
        local_port: or(&peer.local_port, &default_port),
        protocol: peer.service.clone(),
        method: login.mechanism.name().to_owned(),
        ssl: or(peer.detail("ssl"), if peer.secured { "on" } else { "" }),
        ssl_session_id: detail("ssl_session_id"),
        ssl_client_verify: detail("ssl_client_verify"),
        ssl_client_dn: detail("ssl_client_dn"),
        ssl_client_cn: detail("ssl_client_cn"),
        ssl_issuer: detail("ssl_issuer"),
        ssl_client_notbefore: detail("ssl_client_notbefore"),
        ssl_client_notafter: detail("ssl_client_notafter"),
        ssl_subject_dn: detail("ssl_subject_dn"),
        ssl_issuer_dn: detail("ssl_issuer_dn"),
        ssl_client_subject_dn: detail("ssl_client_subject_dn"),
        ssl_client_issuer_dn: detail("ssl_client_issuer_dn"),
        ssl_protocol: peer.ssl_protocol.clone(),
        ssl_cipher: peer.ssl_cipher.clone(),
        ssl_serial: detail("ssl_serial"),
        ssl_fingerprint: detail("ssl_fingerprint"),
        oidc_cid: detail("oidc_cid"),
        auth_login_attempt: peer.detail("auth_login_attempt").parse().unwrap_or_default(),
    };
    let message = request.encode_to_vec();
    request.password.zeroize();
    message.into()
}

/// What an answer says of the login of `user`.
///
/// # Errors
/// The failure, by the table in docs/src/identity/nauthilus.md.
pub(super) fn read(user: &str, reply: &Reply) -> Result<Decision, Failure> {
    let status = reply.grpc_status();
    if status != grpc::OK {
        return Err(Failure::Status(status));
    }
    let response = AuthResponse::decode(&reply.body[..]).map_err(|_| Failure::Body)?;
    match response.decision() {
        Verdict::Ok => account(&response).map_or(Ok(user.to_owned()), legal_account).map(Decision::Accepted),
        Verdict::Fail => {
            let reasons = [&*response.status_message, &response.error, DENIED];
            let reason = reasons.into_iter().find(|reason| !reason.trim().is_empty());
            Ok(Decision::denied(reason.unwrap_or(DENIED)))
        }
        Verdict::TempFail => Err(Failure::Status(grpc::OK)),
        Verdict::Unspecified => Err(Failure::NoEvidence),
    }
}

/// The account that an answer names: the attribute that `account_field` names, else `Auth-User`.
fn account(response: &AuthResponse) -> Option<String> {
    [&response.account_field, "Auth-User"].into_iter().find_map(|name| {
        let first = response.attributes.get(name)?.values.first()?;
        Some(first.clone()).filter(|account| !account.is_empty())
    })
}

/// Whether an answer refuses the broker's token.
pub(super) fn refuses_our_token(reply: &Reply) -> bool {
    reply.grpc_status() == grpc::UNAUTHENTICATED
}

/// A setting that may help against a status, for `query --trace`.
pub(super) fn hint(status: u16) -> Option<&'static str> {
    match status {
        grpc::UNAUTHENTICATED | grpc::PERMISSION_DENIED => Some(
            "hint: the service refuses the broker's own credentials (backend_oidc_auth, http_auth_basic), not the user's",
        ),
        grpc::UNIMPLEMENTED => Some("hint: no nauthilus.auth.v1.AuthService is at grpc.address"),
        _ => None,
    }
}

/// An answer for `query --trace`.
pub(super) fn said(reply: &Reply) -> String {
    let status = reply.grpc_status();
    let mut said = format!("gRPC status {status} ({})", grpc::name(status));
    if status != grpc::OK {
        let message = reply.headers.text("grpc-message");
        let message = message.map(|message| percent_decode_str(message).decode_utf8_lossy());
        message.into_iter().for_each(|message| said.push_str(&format!(", message: {message:?}")));
        return said;
    }
    let Ok(response) = AuthResponse::decode(&reply.body[..]) else {
        return said + ", no answer of the service";
    };
    let decision = match Verdict::try_from(response.decision) {
        Ok(Verdict::Ok) => "OK",
        Ok(Verdict::Fail) => "FAIL",
        Ok(Verdict::TempFail) => "TEMPFAIL",
        Ok(Verdict::Unspecified) | Err(_) => "none",
    };
    said.push_str(&format!(", decision: {decision}"));
    let texts = [
        ("account", account(&response).unwrap_or_default()),
        ("status_message", response.status_message),
        ("error", response.error),
    ];
    for (name, text) in texts.into_iter().filter(|(_, text)| !text.is_empty()) {
        said.push_str(&format!(", {name}: {text:?}"));
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::listener_context::ListenerContext;
    use crate::login::tests::settings;
    use crate::model::{Credentials, Mechanism, Peer};
    use std::time::Instant;

    fn reply(status: Option<&'static str>, body: &[u8]) -> Reply {
        let headers = status.into_iter().map(|status| ("grpc-status", status)).collect();
        Reply { at: Instant::now(), status: 200, headers, body: body.to_vec() }
    }

    fn ok(body: &[u8]) -> Result<Decision, Failure> {
        read("typed", &reply(Some("0"), body))
    }

    fn accepted(user: &str) -> Result<Decision, Failure> {
        Ok(Decision::Accepted(user.to_owned()))
    }

    /// Field numbers and kinds to the byte: they are the service's.
    #[test]
    fn a_login_is_these_bytes() {
        let password = Secret::new("p\u{e9}".to_owned());
        let mut login = Login {
            name: "smtp".to_owned(),
            mechanism: Mechanism::Plain,
            credentials: Credentials::Password { user: "u".to_owned(), password: password.clone() },
            peer: Peer { service: "smtp".to_owned(), ..Peer::default() },
        };
        let (at, listener) = (Instant::now(), ListenerContext::default());
        let context = RequestContext { at, received: at, id: 1, session: Some(0xab), listener: &listener };
        let mut settings = settings();
        let of = |settings: &_, login: &_| body(settings, login, &context, "u", &password).to_vec();
        let least = b"\x0a\x01u\x12\x03p\xc3\xa9\x3a\x1000000000000000ab";
        assert_eq!(of(&settings, &login), [&least[..], b"\x5a\x04smtp\x62\x05PLAIN"].concat());
        settings.default_local_port = Some(587);
        assert_eq!(of(&settings, &login), [&least[..], b"\x52\x03587\x5a\x04smtp\x62\x05PLAIN"].concat());
        login.peer = Peer {
            client_ip: "192.0.2.7".to_owned(),
            client_port: "4711".to_owned(),
            local_ip: "192.0.2.1".to_owned(),
            local_port: "465".to_owned(),
            local_name: "mx".to_owned(),
            client_id: "mua".to_owned(),
            secured: true,
            ssl_protocol: "TLSv1.3".to_owned(),
            ssl_cipher: "X".to_owned(),
            ..login.peer
        };
        let all = of(&settings, &login);
        let parts: [&[u8]; 4] = [
            b"\x0a\x01u\x12\x03p\xc3\xa9\x1a\x09192.0.2.7\x22\x044711\x2a\x02mx\x32\x03mua",
            &least[8..],
            b"\x4a\x09192.0.2.1\x52\x03465\x5a\x04smtp\x62\x05PLAIN\x6a\x02on",
            b"\xca\x01\x07TLSv1.3\xd2\x01\x01X",
        ];
        assert_eq!(all, parts.concat());
        for (name, field) in [
            ("client_hostname", b"\x2a\x01x".as_slice()),
            ("external_session_id", b"\x3a\x01x"),
            ("user_agent", b"\x42\x01x"),
            ("ssl", b"\x6a\x01x"),
            ("ssl_session_id", b"\x72\x01x"),
            ("ssl_client_verify", b"\x7a\x01x"),
            ("ssl_client_dn", b"\x82\x01\x01x"),
            ("ssl_client_cn", b"\x8a\x01\x01x"),
            ("ssl_issuer", b"\x92\x01\x01x"),
            ("ssl_client_notbefore", b"\x9a\x01\x01x"),
            ("ssl_client_notafter", b"\xa2\x01\x01x"),
            ("ssl_subject_dn", b"\xaa\x01\x01x"),
            ("ssl_issuer_dn", b"\xb2\x01\x01x"),
            ("ssl_client_subject_dn", b"\xba\x01\x01x"),
            ("ssl_client_issuer_dn", b"\xc2\x01\x01x"),
            ("ssl_serial", b"\xda\x01\x01x"),
            ("ssl_fingerprint", b"\xe2\x01\x01x"),
            ("oidc_cid", b"\xea\x01\x01x"),
            ("auth_login_attempt", b"\xf0\x01\x07"),
        ] {
            let value = if name == "auth_login_attempt" { "7" } else { "x" };
            login.peer.details = vec![(name, value.to_owned())];
            let message = of(&settings, &login);
            assert!(message.windows(field.len()).any(|part| part == field), "{name}: {message:?}");
        }
        // It is no number of 32 bits, and so it is not filled.
        login.peer.details = vec![("auth_login_attempt", "4294967296".to_owned())];
        assert_eq!(of(&settings, &login), all);
    }

    #[test]
    fn each_decision_has_its_meaning() {
        let denied = |reason: &str| Ok(Decision::denied(reason));
        // OK, with account_field, with Auth-User, with neither, with an empty value.
        assert_eq!(
            ok(b"\x08\x01\x10\x01\x22\x04mail\x3a\x0f\x0a\x04mail\x12\x07\x0a\x01a\x0a\x02no"),
            accepted("a")
        );
        assert_eq!(ok(b"\x10\x01\x3a\x10\x0a\x09Auth-User\x12\x03\x0a\x01b"), accepted("b"));
        assert_eq!(ok(b"\x10\x01\x22\x04mail\x3a\x10\x0a\x09Auth-User\x12\x03\x0a\x01b"), accepted("b"));
        assert_eq!(ok(b"\x10\x01"), accepted("typed"));
        assert_eq!(ok(b"\x10\x01\x22\x04mail\x3a\x0a\x0a\x04mail\x12\x02\x0a\x00"), accepted("typed"));
        assert_eq!(
            ok(b"\x10\x01\x22\x01m\x3a\x0a\x0a\x01m\x12\x05\x0a\x03a\nb"),
            Err(Failure::UnexpectedValue)
        );
        // FAIL, with each of the reasons; `ok` counts for nothing.
        assert_eq!(ok(b"\x10\x02\x42\x02no\x4a\x05never"), denied("no"));
        assert_eq!(ok(b"\x10\x02\x4a\x05never"), denied("never"));
        assert_eq!(ok(b"\x08\x01\x10\x02"), denied(DENIED));
        assert_eq!(ok(b"\x10\x03\x42\x02no"), Err(Failure::Status(0)));
        for none in [&b""[..], b"\x08\x01", b"\x08\x01\x10\x00", b"\x08\x01\x10\x04"] {
            assert_eq!(ok(none), Err(Failure::NoEvidence), "{none:?}");
        }
        // Fields of newer servers are skipped; what is no message is no answer.
        assert_eq!(ok(b"\x10\x01\x5a\x03new\x78\x01\x82\x01\x01x"), accepted("typed"));
        for garbage in [&b"\x10"[..], b"<html>", b"\x10\x01\x42\x01\xff", b"\x10\x01\x3a\x7f"] {
            assert_eq!(ok(garbage), Err(Failure::Body), "{garbage:?}");
        }
    }

    #[test]
    fn a_message_of_the_service_is_one_line_of_a_trace() {
        let mut reply = reply(Some("7"), b"");
        let message = "no%0a# the reply of the broker: OK %c3%a9";
        reply.headers = [("grpc-status", "7"), ("grpc-message", message)].into_iter().collect();
        let due = r#"gRPC status 7 (PermissionDenied), message: "no\n# the reply of the broker: OK é""#;
        assert_eq!(said(&reply), due);
    }

    #[test]
    fn every_other_status_is_a_failure() {
        for status in 1..=16_u16 {
            let text: &'static str = status.to_string().leak();
            assert_eq!(read("u", &reply(Some(text), b"\x10\x01")), Err(Failure::Status(status)));
            assert_eq!(refuses_our_token(&reply(Some(text), b"")), status == 16);
        }
        for none in [None, Some("x"), Some("")] {
            assert_eq!(read("u", &reply(none, b"\x10\x01")), Err(Failure::Status(2)), "{none:?}");
        }
    }
}
