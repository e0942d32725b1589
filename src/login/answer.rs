//! The reading of a password login's response, which is in its status and three headers
//! (`Auth-Status`, `Auth-User`, `Auth-Error-Code`, as in nginx' mail authentication protocol), or
//! in its JSON body (`fields`).
//!
//! An acceptance needs positive evidence, and so does a denial. A 200 that says nothing, a wrong
//! URL, and an API in trouble are failures: a user whose password is right must not be told that
//! it is wrong.

use super::{Decision, LoginSettings, fields, nauthilus};
use crate::http::Reply;
use crate::model::{Failure, is_account_name};

/// Bytes of an account's name.
const MAX_USER: usize = 512;

/// What a response says of the login of `user`.
///
/// # Errors
/// The failure, by the table in docs/src/postfix/logins.md.
pub(super) fn read(settings: &LoginSettings, user: &str, reply: &Reply) -> Result<Decision, Failure> {
    if let Some(fields) = &settings.fields {
        return fields::read(settings, fields, user, reply);
    }
    let status = status_header(reply)?;
    let is_accepted = reply.status == settings.status_code;
    if settings.denied_status.contains(&reply.status) {
        if is_temporary(reply) {
            return Err(Failure::Status(reply.status));
        }
        let said = status.as_deref().filter(|said| !said.is_empty() && !is_ok(said));
        return Ok(Decision::denied(said.unwrap_or(DENIED)));
    }
    match status {
        Some(said) if is_ok(&said) && is_accepted => {
            Ok(Decision::Accepted(auth_user(reply)?.unwrap_or(user.to_owned())))
        }
        // An acceptance under another status contradicts itself.
        Some(said) if is_ok(&said) => Err(Failure::Status(reply.status)),
        // An empty header proves neither.
        Some(said) if said.is_empty() => Err(Failure::NoEvidence),
        Some(said) if is_accepted || matches!(reply.status, 401 | 403) => {
            if is_temporary(reply) {
                return Err(Failure::Status(reply.status));
            }
            Ok(Decision::denied(&said))
        }
        None if is_accepted => match auth_user(reply)? {
            Some(user) => Ok(Decision::Accepted(user)),
            None if settings.accept_bare_status => Ok(Decision::Accepted(user.to_owned())),
            None => Err(Failure::NoEvidence),
        },
        Some(_) | None => Err(Failure::Status(reply.status)),
    }
}

/// A setting that may help against a failure, for `query --trace`.
pub(super) fn hint(failure: &Failure) -> Option<String> {
    if let Failure::Status(status @ ..100) = failure {
        return nauthilus::hint(*status).map(str::to_owned);
    }
    let Failure::Status(code @ (401 | 403 | 404)) = failure else { return None };
    Some(match code {
        404 => "hint: a wrong path in target gives 404".to_owned(),
        _ => format!(
            "hint: without Auth-Status, {code} may speak of our own credentials; if the API says by it that the user's are wrong, add denied_status: [{code}]"
        ),
    })
}

/// Whether a response refuses the broker's token, and is not a decision on the user.
pub(super) fn refuses_our_token(settings: &LoginSettings, reply: &Reply) -> bool {
    reply.status == 401 && reply.headers.get("auth-status").is_none() && !fields::denies(settings, reply)
}

/// The reason of a denial for which the API gives none.
pub(super) const DENIED: &str = "authentication failed";

pub(super) fn is_ok(status: &str) -> bool {
    status.eq_ignore_ascii_case("OK")
}

/// Whether `Auth-Error-Code` says that the API failed.
pub(super) fn is_temporary(reply: &Reply) -> bool {
    reply.headers.all("auth-error-code").any(|code| code.starts_with(b"4"))
}

/// The value of a header. Two that differ contradict each other.
fn one_value<'r>(reply: &'r Reply, name: &str) -> Result<Option<&'r [u8]>, Failure> {
    let mut values = reply.headers.all(name);
    let first = values.next();
    if values.any(|other| Some(other) != first) {
        return Err(Failure::Protocol);
    }
    Ok(first)
}

pub(super) fn status_header(reply: &Reply) -> Result<Option<String>, Failure> {
    let status = one_value(reply, "auth-status")?;
    Ok(status.map(|status| String::from_utf8_lossy(status).into_owned()))
}

/// The name that the API gives to the user; a failure if no account may have it.
pub(super) fn auth_user(reply: &Reply) -> Result<Option<String>, Failure> {
    let Some(name) = one_value(reply, "auth-user")?.filter(|name| !name.is_empty()) else { return Ok(None) };
    let name = std::str::from_utf8(name).map_err(|_| Failure::UnexpectedValue)?;
    legal_account(name.to_owned()).map(Some)
}

pub(super) fn legal_account(name: String) -> Result<String, Failure> {
    if name.len() > MAX_USER || !is_account_name(&name) {
        return Err(Failure::UnexpectedValue);
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::login::tests::settings;

    fn reply(status: u16, headers: &[(&str, &[u8])]) -> Reply {
        let headers = headers.iter().copied().collect();
        Reply { at: std::time::Instant::now(), status, headers, body: b"<html>".to_vec() }
    }

    fn accepted(user: &str) -> Result<Decision, Failure> {
        Ok(Decision::Accepted(user.to_owned()))
    }

    fn denied(reason: &str) -> Result<Decision, Failure> {
        Ok(Decision::denied(reason))
    }

    #[test]
    fn evidence_decides() {
        let settings = settings();
        let read = |status, headers: &[(&str, &[u8])]| read(&settings, "typed", &reply(status, headers));
        assert_eq!(read(200, &[("Auth-Status", b"OK")]), accepted("typed"));
        assert_eq!(read(200, &[("Auth-Status", b"OK"), ("Auth-User", b"u@x")]), accepted("u@x"));
        assert_eq!(read(200, &[("Auth-User", b"u@x")]), accepted("u@x"));
        let longest = "u".repeat(MAX_USER);
        assert_eq!(read(200, &[("Auth-User", longest.as_bytes())]), accepted(&longest));
        assert_eq!(read(200, &[]), Err(Failure::NoEvidence));
        assert_eq!(read(200, &[("Auth-User", b"")]), Err(Failure::NoEvidence));
        assert_eq!(read(200, &[("Auth-Status", b""), ("Auth-User", b"u@x")]), Err(Failure::NoEvidence));
        assert_eq!(read(401, &[("Auth-Status", b" ")]), Err(Failure::NoEvidence));
        for said in ["OKAY", "OK, but no", "NOT OK", "\u{a0}OK"] {
            let headers = [("Auth-Status", said.as_bytes()), ("Auth-User", b"u@x")];
            assert!(matches!(read(200, &headers), Ok(Decision::Denied { .. })), "{said}");
        }
        let both: &[(&str, &[u8])] =
            &[("Auth-Status", b"no"), ("Auth-Error-Code", b"535"), ("Auth-Error-Code", b"454")];
        assert_eq!(read(200, both), Err(Failure::Status(200)));
        assert_eq!(read(200, &[("Auth-Status", b""), ("Auth-User", b"")]), Err(Failure::NoEvidence));
        assert_eq!(
            read(200, &[("Auth-Status", b"Invalid login or password")]),
            denied("Invalid login or password")
        );
        assert_eq!(read(200, &[("Auth-Status", b"FAIL"), ("Auth-User", b"u@x")]), denied("FAIL"));
        for status in [401, 403] {
            assert_eq!(read(status, &[("Auth-Status", b"FAIL")]), denied("FAIL"));
            assert_eq!(read(status, &[]), Err(Failure::Status(status)));
            assert_eq!(read(status, &[("Auth-Status", b"OK")]), Err(Failure::Status(status)));
            assert_eq!(read(status, &[("Auth-User", b"u@x")]), Err(Failure::Status(status)));
        }
        let temporary: &[(&str, &[u8])] = &[("Auth-Status", b"later"), ("Auth-Error-Code", b"451 4.3.0")];
        assert_eq!(read(200, temporary), Err(Failure::Status(200)));
        let permanent: &[(&str, &[u8])] = &[("Auth-Status", b"no"), ("Auth-Error-Code", b"535 5.7.8")];
        assert_eq!(read(200, permanent), denied("no"));
        for status in [204, 301, 302, 400, 404, 408, 429, 500, 503] {
            assert_eq!(read(status, &[]), Err(Failure::Status(status)));
            for said in ["FAIL", "OK"] {
                let headers = [("Auth-Status", said.as_bytes())];
                assert_eq!(read(status, &headers), Err(Failure::Status(status)), "{status} {said}");
            }
        }
    }

    #[test]
    fn an_administrator_may_say_more() {
        let mut settings = settings();
        settings.denied_status = vec![401, 404];
        let temporary: &[(&str, &[u8])] = &[("Auth-Status", b"later"), ("Auth-Error-Code", b"451 4.3.0")];
        assert_eq!(read(&settings, "typed", &reply(401, temporary)), Err(Failure::Status(401)));
        assert_eq!(read(&settings, "typed", &reply(401, &[])), denied(DENIED));
        assert_eq!(read(&settings, "typed", &reply(404, &[("Auth-Status", b"gone")])), denied("gone"));
        assert_eq!(read(&settings, "typed", &reply(404, &[("Auth-Status", b"OK")])), denied(DENIED));
        settings.accept_bare_status = true;
        assert_eq!(read(&settings, "typed", &reply(200, &[])), accepted("typed"));
        assert_eq!(read(&settings, "typed", &reply(200, &[("Auth-Status", b"FAIL")])), denied("FAIL"));
        settings.status_code = 204;
        assert_eq!(read(&settings, "typed", &reply(200, &[])), Err(Failure::Status(200)));
    }

    #[test]
    fn a_refusal_of_the_brokers_token_is_no_denial() {
        let settings = settings();
        let refuses =
            |status, headers: &[(&str, &[u8])]| refuses_our_token(&settings, &reply(status, headers));
        assert!(refuses(401, &[]));
        assert!(!refuses(403, &[]) && !refuses(200, &[]));
        assert!(!refuses(401, &[("Auth-Status", b"wrong password")]));
    }

    #[test]
    fn a_status_without_evidence_is_explained() {
        let hint = |status| hint(&Failure::Status(status));
        assert!(
            [401, 403].iter().all(|code| hint(*code).is_some_and(|hint| hint.contains("denied_status: [")))
        );
        assert!(hint(404).is_some_and(|hint| hint.contains("a wrong path")));
        assert_eq!(hint(500), None);
        // UNAUTHENTICATED, as a call of gRPC ends.
        assert_eq!(hint(16), nauthilus::hint(16).map(str::to_owned));
        assert_eq!(super::hint(&Failure::Body), None);
    }

    #[test]
    fn headers_that_contradict_or_cannot_be_sent_accept_nobody() {
        let settings = settings();
        let read = |headers: &[(&str, &[u8])]| read(&settings, "typed", &reply(200, headers));
        let hidden = ["a\u{200b}b", "a\u{202e}b", "\u{2028}a", "\u{a0}"].map(str::as_bytes);
        for user in [&[&b"a\tb"[..], b"\xff", &[b'u'; MAX_USER + 1]][..], &hidden].concat() {
            for status in [&[][..], &[("Auth-Status", &b"OK"[..])]] {
                let headers = [status, &[("Auth-User", user)]].concat();
                assert_eq!(read(&headers), Err(Failure::UnexpectedValue), "{headers:?}");
            }
        }
        assert_eq!(read(&[("Auth-Status", b"OK"), ("Auth-Status", b"FAIL")]), Err(Failure::Protocol));
        assert_eq!(read(&[("Auth-User", b"a"), ("Auth-User", b"b")]), Err(Failure::Protocol));
        assert_eq!(read(&[("Auth-Status", b"OK"), ("Auth-Status", b"OK")]), accepted("typed"));
        assert_eq!(read(&[("Auth-User", "jos\u{e9}@x".as_bytes())]), accepted("jos\u{e9}@x"));
    }
}
