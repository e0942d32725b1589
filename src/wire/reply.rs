//! Encodes answers as the bytes that Postfix reads. No other file decides that.
//!
//! | answer | socketmap | policy |
//! |---|---|---|
//! | value, action | `OK <value>` | `action=<action>` |
//! | not found | `NOTFOUND ` | `action=DUNNO` |
//! | a temporary failure | `TEMP <fixed text>` | `on_failure` |
//! | a failure that an administrator must correct | `PERM <what>` | `on_failure` |
//!
//! The reply to a login ([`login`]) is `OK`, `FAIL`, or a closed connection: Postfix turns every FAIL into
//! 535, and only a lost connection into 454 (xsasl_dovecot_server.c).
//!
//! Postfix turns TEMP and PERM into 451, never into a rejection; only NOTFOUND rejects
//! (dict_sockmap.c, smtpd_check.c). Sendmail treats PERM as NOTFOUND (measured with 8.17), so its maps get
//! TEMP in any case ([`OnFailure::Temp`]). A reply is one line and sent by one write: Postfix would take
//! late bytes for the next reply.

use super::netstring;
use crate::model::brief::on_one_line;
use crate::model::{Answer, Failure, OnFailure, Protocol};

/// What happens to the connection after the reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    Stay,
    /// It is closed, without a reply to this request.
    Close,
}

/// The text of TEMP. It is fixed because an SMTP client may see it.
const TEMPORARY: &str = "Temporary server problem";

/// Appends the reply to `answer`. `fallback` is used for a failure that names no `on_failure`
/// of its own (a policy without an entry). Replies to logins need more: see [`login`].
pub(crate) fn encode(protocol: Protocol, answer: &Answer, fallback: &OnFailure, out: &mut Vec<u8>) -> Next {
    match protocol {
        Protocol::Socketmap => {
            socketmap(answer, out);
            Next::Stay
        }
        Protocol::Policy => policy(answer, fallback, out),
        Protocol::Sasl => Next::Close,
    }
}

fn socketmap(answer: &Answer, out: &mut Vec<u8>) {
    match answer {
        Answer::Value(value) => netstring::encode(&[b"OK ", value.as_bytes()], out),
        Answer::NotFound => netstring::encode(&[b"NOTFOUND "], out),
        // These are not answers of a map.
        Answer::Action(_) | Answer::Accepted { .. } | Answer::Denied { .. } => {
            netstring::encode(&[b"PERM unexpected value"], out);
        }
        Answer::Failed { on_failure: Some(OnFailure::Temp), .. } => {
            netstring::encode(&[b"TEMP ", TEMPORARY.as_bytes()], out);
        }
        Answer::Failed { failure, .. } => {
            netstring::encode(&[map_failure(failure).as_bytes()], out);
        }
    }
}

fn map_failure(failure: &Failure) -> String {
    match failure {
        Failure::Status(code) if !is_temporary(*code) => {
            format!("PERM unexpected status code received: {code}")
        }
        Failure::UnknownName => "PERM unknown map".to_owned(),
        Failure::Malformed => "PERM malformed request".to_owned(),
        Failure::EmptyValue => "PERM empty value".to_owned(),
        Failure::UnexpectedValue => "PERM unexpected value".to_owned(),
        Failure::ErrorField(text) => {
            format!("PERM unexpected error received: {}", one_line(text))
        }
        Failure::TooLong(bytes) => format!("PERM value too long: {bytes}"),
        Failure::Connect
        | Failure::Timeout
        | Failure::Tls
        | Failure::Protocol
        | Failure::Status(_)
        | Failure::Body
        | Failure::NoEvidence
        | Failure::Provider
        | Failure::Overload
        | Failure::NoBroker => format!("TEMP {TEMPORARY}"),
    }
}

/// Statuses that are temporary, or that concern our credentials and not the key: 5xx, 408 Request Timeout,
/// 425 Too Early, 429 Too Many Requests (RFC 9110, 8470, 6585), 401, 403.
pub(crate) fn is_temporary(status: u16) -> bool {
    matches!(status, 401 | 403 | 408 | 425 | 429 | 500..=599)
}

fn policy(answer: &Answer, fallback: &OnFailure, out: &mut Vec<u8>) -> Next {
    let action = match answer {
        Answer::Action(action) => action.as_str(),
        Answer::NotFound => "DUNNO",
        Answer::Failed { failure: Failure::Malformed, .. } => return Next::Close,
        Answer::Failed { on_failure: Some(OnFailure::Action(action)), .. } => action.as_str(),
        Answer::Failed { on_failure: Some(_), .. } => return Next::Close,
        // Values and results of logins are not answers of a policy service.
        Answer::Failed { .. } | Answer::Value(_) | Answer::Accepted { .. } | Answer::Denied { .. } => {
            let OnFailure::Action(action) = fallback else { return Next::Close };
            action.as_str()
        }
    };
    out.extend_from_slice(b"action=");
    out.extend_from_slice(action.as_bytes());
    out.extend_from_slice(b"\n\n");
    Next::Stay
}

/// Appends the reply to a login with `id`, for a client that announced `minor`: one line, or none before a
/// close. Values are not escaped, because Postfix and Exim do not unescape them. A value that needs it is
/// left out, and the login does not succeed.
pub(crate) fn login(id: u32, minor: u32, answer: &Answer, out: &mut Vec<u8>) -> Next {
    let line = match answer {
        Answer::Accepted { user } if is_one_value(user) => {
            ["OK\t", itoa::Buffer::new().format(id), "\tuser=", user, "\n"].concat()
        }
        Answer::Denied { reason, user } => {
            format!("FAIL\t{id}\treason={}{}\n", printable(reason), named(user))
        }
        Answer::Failed { on_failure: Some(OnFailure::Fail), .. } => temporary(id),
        Answer::Failed { on_failure: Some(OnFailure::Disconnect), .. } => return Next::Close,
        // `auto`: Dovecot's own clients since 2.2 understand a temporary FAIL.
        Answer::Failed { .. } if minor > 0 => temporary(id),
        // The rest are not answers to a login, or have a name that would break the line.
        _ => return Next::Close,
    };
    out.extend_from_slice(line.as_bytes());
    Next::Stay
}

/// `temp` is for clients before Dovecot 2.3, `code` for later ones.
fn temporary(id: u32) -> String {
    format!("FAIL\t{id}\treason={TEMPORARY}\tcode=temp_fail\ttemp\n")
}

fn named(user: &str) -> String {
    if is_one_value(user) { format!("\tuser={user}") } else { String::new() }
}

/// Whether `text` is not empty and cannot end its field or its line.
fn is_one_value(text: &str) -> bool {
    !text.is_empty() && !super::has_control(text)
}

/// `text` for an SMTP client: printable ASCII, at most 200 characters.
fn printable(text: &str) -> String {
    let shown = |c: char| if c.is_ascii_graphic() || c == ' ' { c } else { '?' };
    text.chars().take(200).map(shown).collect()
}

/// At most 200 characters, which is what Postfix logs of an error, none of them a control character.
fn one_line(text: &str) -> String {
    on_one_line(text.chars().take(200))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Action;
    use proptest::prelude::*;

    fn map(answer: &Answer) -> String {
        let mut out = Vec::new();
        assert_eq!(encode(Protocol::Socketmap, answer, &OnFailure::default(), &mut out), Next::Stay);
        String::from_utf8(out).expect("UTF-8")
    }

    fn failed(failure: Failure) -> Answer {
        Answer::Failed { failure, on_failure: None }
    }

    #[test]
    fn socketmap_replies_to_the_byte() {
        let value = Answer::Value("user1@example.com, user2@example.com".to_owned());
        assert_eq!(map(&value), "39:OK user1@example.com, user2@example.com,");
        assert_eq!(map(&Answer::NotFound), "9:NOTFOUND ,");
        assert_eq!(map(&failed(Failure::EmptyValue)), "16:PERM empty value,");
        assert_eq!(map(&failed(Failure::UnknownName)), "16:PERM unknown map,");
        assert_eq!(map(&failed(Failure::Malformed)), "22:PERM malformed request,");
        assert_eq!(map(&failed(Failure::Status(404))), "41:PERM unexpected status code received: 404,");
        assert_eq!(map(&failed(Failure::TooLong(100_001))), "27:PERM value too long: 100001,");
        assert_eq!(
            map(&failed(Failure::ErrorField("a\nb,7:OK x,".into()))),
            "43:PERM unexpected error received: a b,7:OK x,,"
        );
    }

    #[test]
    fn what_may_pass_is_temp() {
        for failure in [
            Failure::Connect,
            Failure::Timeout,
            Failure::Tls,
            Failure::Protocol,
            Failure::Body,
            Failure::Provider,
            Failure::Overload,
            Failure::NoBroker,
        ] {
            assert_eq!(map(&failed(failure)), "29:TEMP Temporary server problem,");
        }
        for failure in [Failure::Status(404), Failure::UnknownName, Failure::ErrorField("x".into())] {
            let told_temp = Answer::Failed { failure, on_failure: Some(OnFailure::Temp) };
            assert_eq!(map(&told_temp), "29:TEMP Temporary server problem,");
        }
        for status in [401, 403, 408, 425, 429, 500, 502, 503, 599] {
            assert_eq!(map(&failed(Failure::Status(status))), "29:TEMP Temporary server problem,");
        }
    }

    #[test]
    fn policy_replies_to_the_byte() {
        let defer = OnFailure::default();
        let say = |answer: &Answer, fallback: &OnFailure| {
            let mut out = Vec::new();
            (encode(Protocol::Policy, answer, fallback, &mut out), String::from_utf8(out).expect("UTF-8"))
        };
        let reject = Answer::Action(Action::parse("REJECT no").expect("an action"));
        assert_eq!(say(&reject, &defer), (Next::Stay, "action=REJECT no\n\n".to_owned()));
        assert_eq!(say(&Answer::NotFound, &defer), (Next::Stay, "action=DUNNO\n\n".to_owned()));
        let deferred = (Next::Stay, "action=DEFER Temporary server problem\n\n".to_owned());
        assert_eq!(say(&failed(Failure::UnknownName), &defer), deferred);
        assert_eq!(say(&failed(Failure::Connect), &OnFailure::Disconnect), (Next::Close, String::new()));
        let own = Answer::Failed { failure: Failure::Connect, on_failure: Some(OnFailure::Disconnect) };
        assert_eq!(say(&own, &defer), (Next::Close, String::new()));
    }

    #[test]
    fn a_login_that_would_break_its_line_is_no_success() {
        let say = |answer: &Answer| {
            let mut out = Vec::new();
            (login(7, 0, answer, &mut out), String::from_utf8(out).expect("UTF-8"))
        };
        for user in ["", "a\tb", "a\nOK\t8\tuser=b", "a\0", "a\u{1}t"] {
            let accepted = Answer::Accepted { user: user.into() };
            assert_eq!(say(&accepted), (Next::Close, String::new()), "{user:?}");
            let denied = Answer::Denied { reason: "no\tway\n\u{e9}".into(), user: user.into() };
            assert_eq!(say(&denied), (Next::Stay, "FAIL\t7\treason=no?way??\n".into()), "{user:?}");
        }
        assert_eq!(say(&Answer::NotFound), (Next::Close, String::new()));
    }

    proptest! {
        #[test]
        fn an_error_text_is_one_netstring(text: String) {
            let reply = map(&failed(Failure::ErrorField(text)));
            let decoded = netstring::decode(reply.as_bytes(), 100_000).expect("framed").expect("complete");
            prop_assert_eq!(decoded.1, reply.len());
            prop_assert!(!reply.contains('\n') && !reply.contains('\0'));
        }
    }
}
