//! One SASL dialogue: responses in, a challenge or credentials out; no I/O.
//!
//! PLAIN (RFC 4616), LOGIN (draft-murchison-sasl-login), OAUTHBEARER (RFC 7628), XOAUTH2 (Google,
//! Microsoft). Illegal credentials end in [`DialogueStep::Fail`], and the API is not asked. A name is UTF-8
//! of 1 to 255 octets without control characters, because a TAB or LF would change the structure of the
//! reply. A password is UTF-8 of 1 octet to 8 KiB without NUL (a token: up to the length of a line); bytes
//! that JSON cannot hold would arrive changed.

use crate::model::brief::brief;
use crate::model::secret::Secret;
use crate::model::{Credentials, Mechanism};

/// The longest name (RFC 4616 2).
const MAX_NAME: usize = 255;
/// The longest password; it may be a token. The texts below name both numbers.
const MAX_PASSWORD: usize = 8192;

/// The next step of a dialogue.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum DialogueStep {
    /// To be sent.
    Challenge(&'static [u8]),
    Complete(Credentials),
    /// The API is not asked.
    Fail(SaslRefusal),
}

/// Why a login is refused.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SaslRefusal {
    /// May be shown to the SMTP client.
    pub(crate) reason: &'static str,
    /// The name, for the log: as far as it is known, and cut. It may be the illegal part.
    pub(crate) user: String,
}

impl SaslRefusal {
    pub(super) fn new(reason: &'static str, user: &[u8]) -> Self {
        Self { reason, user: brief(&String::from_utf8_lossy(user)).into_owned() }
    }
}

/// A dialogue that has begun.
#[derive(Debug)]
pub(crate) struct Dialogue {
    mechanism: Mechanism,
    /// LOGIN: the name, after the first response.
    name: Option<String>,
}

impl Dialogue {
    /// Begins a dialogue. The initial response, if there is one, is given to `respond` like any other.
    pub(crate) fn new(mechanism: Mechanism) -> Self {
        Self { mechanism, name: None }
    }

    /// The first challenge, if there is no initial response.
    pub(crate) fn prompt(&self) -> &'static [u8] {
        match self.mechanism {
            Mechanism::Login => b"Username:",
            Mechanism::Plain | Mechanism::Oauthbearer | Mechanism::Xoauth2 => b"",
        }
    }

    pub(crate) fn respond(&mut self, response: &[u8]) -> DialogueStep {
        match self.mechanism {
            Mechanism::Plain => plain(response),
            Mechanism::Login => match self.name.take() {
                None => match name(response) {
                    Ok(user) => {
                        self.name = Some(user);
                        DialogueStep::Challenge(b"Password:")
                    }
                    Err(reason) => DialogueStep::Fail(SaslRefusal::new(reason, response)),
                },
                Some(user) => with_password(user.as_bytes(), response),
            },
            Mechanism::Oauthbearer => oauthbearer(response),
            Mechanism::Xoauth2 => xoauth2(response),
        }
    }

    /// Ends the dialogue for this reason.
    pub(super) fn refused(&self, reason: &'static str) -> SaslRefusal {
        SaslRefusal::new(reason, self.name.as_deref().unwrap_or_default().as_bytes())
    }
}

/// Also the reason for a response that was cut.
pub(super) const NOT_BASE64: &str = "invalid base64 data";
const PLAIN_FORMAT: &str = "invalid PLAIN data format";
const OAUTHBEARER_FORMAT: &str = "invalid OAUTHBEARER data format";
const XOAUTH2_FORMAT: &str = "invalid XOAUTH2 data format";

/// Whether a line that was cut on the way would be refused for this reason.
pub(super) fn may_be_cut(reason: &str) -> bool {
    [NOT_BASE64, OAUTHBEARER_FORMAT, XOAUTH2_FORMAT].contains(&reason)
}

/// Whether a dialogue could have given these credentials: a check of those from the local socket.
#[cfg(feature = "broker")]
pub(crate) fn is_legal(credentials: &Credentials) -> bool {
    let is_name = |user: &str| name(user.as_bytes()).is_ok();
    match credentials {
        Credentials::Password { user, password } => {
            is_name(user) && legal_password(password.expose().as_bytes()).is_ok()
        }
        Credentials::Token { user, token } => {
            (user.is_empty() || is_name(user)) && is_b64token(token.expose())
        }
    }
}

/// A legal name, or what is wrong with it.
fn name(bytes: &[u8]) -> Result<String, &'static str> {
    if bytes.is_empty() {
        return Err("empty user name");
    }
    if bytes.len() > MAX_NAME {
        return Err("the user name is longer than 255 bytes");
    }
    let text = std::str::from_utf8(bytes).map_err(|_| "the user name is not UTF-8")?;
    if super::has_control(text) {
        return Err("control character in the user name");
    }
    Ok(text.to_owned())
}

/// A legal password, or what is wrong with it.
fn legal_password(bytes: &[u8]) -> Result<&str, &'static str> {
    if bytes.is_empty() {
        return Err("empty password");
    }
    if bytes.len() > MAX_PASSWORD {
        return Err("the password is longer than 8192 bytes");
    }
    let text = std::str::from_utf8(bytes).map_err(|_| "the password is not UTF-8")?;
    if text.contains('\0') { Err("NUL in the password") } else { Ok(text) }
}

/// The credentials of two responses, or of the two parts of one.
fn with_password(user: &[u8], password: &[u8]) -> DialogueStep {
    let credentials = name(user).and_then(|user| {
        let password = Secret::new(legal_password(password)?.to_owned());
        Ok(Credentials::Password { user, password })
    });
    ended(credentials, user)
}

/// `[authzid] NUL authcid NUL passwd`. A user may not act for another user.
fn plain(response: &[u8]) -> DialogueStep {
    let mut parts = response.split(|&byte| byte == 0);
    let (acts_for, user, secret) = match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(acts_for), Some(user), Some(secret), None) => (acts_for, user, secret),
        // A text between two NULs is a name; without them it may be a password.
        (_, user, behind, _) => {
            let user = user.filter(|_| behind.is_some()).unwrap_or_default();
            return DialogueStep::Fail(SaslRefusal::new(PLAIN_FORMAT, user));
        }
    };
    // Some mail clients write the two names in different case.
    let folded = |name: &[u8]| String::from_utf8_lossy(name).to_lowercase();
    if !acts_for.is_empty() && acts_for != user && folded(acts_for) != folded(user) {
        return DialogueStep::Fail(SaslRefusal::new("not allowed to act for another user", user));
    }
    with_password(user, secret)
}

/// `n,[a=authzid],^A key=value ^A … ^A` (RFC 7628 3.1). Unknown keys are ignored.
fn oauthbearer(response: &[u8]) -> DialogueStep {
    let mut claimed = String::new();
    let mut parse = || {
        let text = std::str::from_utf8(response).ok()?;
        let (head, rest) = text.split_once('\u{1}')?;
        let mut gs2 = head.split(',');
        let (binding, acts_for, end) = (gs2.next()?, gs2.next()?, gs2.next()?);
        // `p=` would be channel binding, which we did not offer.
        if !matches!(binding, "n" | "y") || !end.is_empty() || gs2.next().is_some() {
            return None;
        }
        if !acts_for.is_empty() {
            claimed = saslname(acts_for.strip_prefix("a=")?)?;
            if let Err(reason) = name(claimed.as_bytes()) {
                return Some(Err(reason));
            }
        }
        // The ends of the last pair and of the list: a token that was cut has neither.
        let pairs = rest.strip_suffix("\u{1}\u{1}")?;
        let auth = pairs.split('\u{1}').find_map(|pair| pair.strip_prefix("auth="))?;
        Some(Ok(Credentials::Token { user: claimed.clone(), token: Secret::new(bearer(auth)?) }))
    };
    ended(parse().unwrap_or(Err(OAUTHBEARER_FORMAT)), claimed.as_bytes())
}

fn ended(read: Result<Credentials, &'static str>, user: &[u8]) -> DialogueStep {
    match read {
        Ok(credentials) => DialogueStep::Complete(credentials),
        Err(reason) => DialogueStep::Fail(SaslRefusal::new(reason, user)),
    }
}

/// `=2C` is a comma, `=3D` an equals sign, and nothing else is escaped (RFC 5801 4).
fn saslname(text: &str) -> Option<String> {
    let mut parts = text.split('=');
    let mut name = parts.next()?.to_owned();
    for part in parts {
        let (sign, rest) = match (part.strip_prefix("2C"), part.strip_prefix("3D")) {
            (Some(rest), _) => (',', rest),
            (_, Some(rest)) => ('=', rest),
            (None, None) => return None,
        };
        name.push(sign);
        name.push_str(rest);
    }
    Some(name)
}

/// `user=… ^A auth=Bearer … ^A ^A`.
fn xoauth2(response: &[u8]) -> DialogueStep {
    let mut claimed = "";
    let mut parse = || {
        let text = std::str::from_utf8(response).ok()?;
        let mut pairs = text.split('\u{1}');
        claimed = pairs.next()?.strip_prefix("user=")?;
        // A token that was cut lacks the end.
        if !text.ends_with("\u{1}\u{1}") {
            return None;
        }
        let user = match name(claimed.as_bytes()) {
            Ok(user) => user,
            Err(reason) => return Some(Err(reason)),
        };
        let auth = pairs.find_map(|pair| pair.strip_prefix("auth="))?;
        Some(Ok(Credentials::Token { user, token: Secret::new(bearer(auth)?) }))
    };
    ended(parse().unwrap_or(Err(XOAUTH2_FORMAT)), claimed.as_bytes())
}

/// `Bearer`, in any case, and a b64token (RFC 6750 2.1).
fn bearer(auth: &str) -> Option<String> {
    let (scheme, token) = auth.split_once(' ')?;
    let token = token.trim_start_matches(' ');
    (scheme.eq_ignore_ascii_case("bearer") && is_b64token(token)).then(|| token.to_owned())
}

fn is_b64token(token: &str) -> bool {
    let body = token.trim_end_matches('=');
    !body.is_empty() && body.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~+/".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use proptest::prelude::*;

    fn respond(mechanism: Mechanism, base64: &str) -> DialogueStep {
        Dialogue::new(mechanism).respond(&STANDARD.decode(base64).expect("base64"))
    }

    fn typed(user: &str, password: &str) -> DialogueStep {
        DialogueStep::Complete(Credentials::Password {
            user: user.into(),
            password: Secret::new(password.into()),
        })
    }

    fn token(user: &str, token: &str) -> DialogueStep {
        DialogueStep::Complete(Credentials::Token { user: user.into(), token: Secret::new(token.into()) })
    }

    #[test]
    fn plain() {
        assert_eq!(
            respond(Mechanism::Plain, "AHVAZXhhbXBsZS5jb20Ac2VjcmV0"),
            typed("u@example.com", "secret")
        );
        assert!(matches!(
            respond(Mechanism::Plain, "YWRtaW4AdUBleGFtcGxlLmNvbQBzZWNyZXQ="),
            DialogueStep::Fail(_)
        ));
        let plain = |bytes: &[u8]| Dialogue::new(Mechanism::Plain).respond(bytes);
        assert_eq!(plain(b"u\0u\0p"), typed("u", "p"), "acting for oneself");
        assert_eq!(plain(b"U@X\0u@x\0p"), typed("u@x", "p"), "in any case");
        for bytes in [
            &b""[..],
            b"\0u",
            b"\0u\0",
            b"\0\0p",
            b"\0u\0p\0",
            b"\0u\0p\0x",
            b"\0\xff\0p",
            b"\0u\0\xff",
            b"\0u\tx\0p",
            b"\0u\n\0p",
        ] {
            assert!(matches!(plain(bytes), DialogueStep::Fail(_)), "{bytes:?}");
        }
        let long = |count| plain(&[b"\0", "u".repeat(count).as_bytes(), b"\0p"].concat());
        assert!(matches!((long(255), long(256)), (DialogueStep::Complete(_), DialogueStep::Fail(_))));
        let long = |count| plain(&[b"\0u\0".as_slice(), "p".repeat(count).as_bytes()].concat());
        assert!(matches!(
            (long(MAX_PASSWORD), long(MAX_PASSWORD + 1)),
            (DialogueStep::Complete(_), DialogueStep::Fail(_))
        ));
        for password in ["p\r", "\t", "\u{1}\u{7f}\u{85}\u{2028}", " "] {
            assert_eq!(plain(format!("\0u\0{password}").as_bytes()), typed("u", password));
        }
    }

    #[test]
    fn login() {
        let mut dialogue = Dialogue::new(Mechanism::Login);
        assert_eq!(dialogue.prompt(), b"Username:");
        assert_eq!(dialogue.respond(b"u@example.com"), DialogueStep::Challenge(b"Password:"));
        assert_eq!(dialogue.respond(b"secret"), typed("u@example.com", "secret"));
        for name in [&b""[..], b"a\0b", b"a\tb"] {
            assert!(
                matches!(Dialogue::new(Mechanism::Login).respond(name), DialogueStep::Fail(_)),
                "{name:?}"
            );
        }
    }

    #[test]
    fn oauthbearer() {
        let host =
            "bixhPXVAZXhhbXBsZS5jb20sAWhvc3Q9bXguZXhhbXBsZS5jb20BcG9ydD01ODcBYXV0aD1CZWFyZXIgdG9rLmVuAQE=";
        assert_eq!(respond(Mechanism::Oauthbearer, host), token("u@example.com", "tok.en"));
        let escaped = "bixhPXU9MkN4PTNEeUBleGFtcGxlLmNvbSwBYXV0aD1iZWFyZXIgdG9rLmVuAQE=";
        assert_eq!(respond(Mechanism::Oauthbearer, escaped), token("u,x=y@example.com", "tok.en"));
        assert_eq!(respond(Mechanism::Oauthbearer, "biwsAWF1dGg9QmVhcmVyIHRvay5lbgEB"), token("", "tok.en"));
        let oauth = |text: &str| Dialogue::new(Mechanism::Oauthbearer).respond(text.as_bytes());
        assert_eq!(oauth("y,a=u,\u{1}auth=Bearer t\u{1}\u{1}"), token("u", "t"));
        for text in [
            "",
            "\u{1}",
            "n,,\u{1}auth=Bearer t",
            "n,,\u{1}auth=Bearer t\u{1}",
            "n,,\u{1}\u{1}",
            "n,\u{1}auth=Bearer t\u{1}\u{1}",
            "n,,x\u{1}auth=Bearer t\u{1}\u{1}",
            "n,,,\u{1}auth=Bearer t\u{1}\u{1}",
            "x,,\u{1}auth=Bearer t\u{1}\u{1}",
            "p=tls,,\u{1}auth=Bearer t\u{1}\u{1}",
            "n,a=u=2x,\u{1}auth=Bearer t\u{1}\u{1}",
            "n,a=,\u{1}auth=Bearer t\u{1}\u{1}",
            "n,,\u{1}auth=Basic t\u{1}\u{1}",
            "n,,\u{1}auth=Bearer t t\u{1}\u{1}",
            "n,,\u{1}auth=Bearer =\u{1}\u{1}",
        ] {
            assert!(matches!(oauth(text), DialogueStep::Fail(_)), "{text:?}");
        }
    }

    #[test]
    fn xoauth2() {
        let resp = "dXNlcj11QGV4YW1wbGUuY29tAWF1dGg9QmVhcmVyIHRvay5lbgEB";
        assert_eq!(respond(Mechanism::Xoauth2, resp), token("u@example.com", "tok.en"));
        let xoauth2 = |text: &str| Dialogue::new(Mechanism::Xoauth2).respond(text.as_bytes());
        for text in [
            "",
            "user=u\u{1}auth=Bearer t\u{1}",
            "user=\u{1}auth=Bearer t\u{1}\u{1}",
            "auth=Bearer t\u{1}\u{1}",
            "user=u\u{1}\u{1}",
            "user=a\tb\u{1}auth=Bearer t\u{1}\u{1}",
        ] {
            assert!(matches!(xoauth2(text), DialogueStep::Fail(_)), "{text:?}");
        }
    }

    #[test]
    fn what_comes_by_the_local_socket_is_judged_alike() {
        let legal = |user: &str, password: &str| {
            let password = Secret::new(password.to_owned());
            is_legal(&Credentials::Password { user: user.to_owned(), password })
        };
        assert!(legal("u", "p\t\n") && legal("u", &"p".repeat(MAX_PASSWORD)));
        for (user, password) in [("", "p"), ("u\t", "p"), ("u", ""), ("u", "p\0"), ("u", &"p".repeat(8193))] {
            assert!(!legal(user, password), "{user:?} {password:?}");
        }
        let legal = |user: &str, token: &str| {
            is_legal(&Credentials::Token { user: user.to_owned(), token: Secret::new(token.to_owned()) })
        };
        assert!(legal("u", "t") && legal("", "t.x=="));
        for (user, token) in [("u\t", "t"), ("u", ""), ("u", "t t"), ("", "="), ("", "t\n")] {
            assert!(!legal(user, token), "{user:?} {token:?}");
        }
    }

    #[test]
    fn a_refusal_names_its_user_and_nothing_that_may_be_a_secret() {
        for (mechanism, response, reason, user) in [
            (Mechanism::Plain, &b"\0u\0"[..], "empty password", "u"),
            (Mechanism::Plain, b"\0u\xff\0p", "the user name is not UTF-8", "u\u{fffd}"),
            (Mechanism::Plain, b"a\0u\0p", "not allowed to act for another user", "u"),
            (Mechanism::Plain, b"\0u\0p\0q", PLAIN_FORMAT, "u"),
            (Mechanism::Plain, b"secret", PLAIN_FORMAT, ""),
            (Mechanism::Plain, b"u\0secret", PLAIN_FORMAT, ""),
            (Mechanism::Login, b"u\t", "control character in the user name", "u\t"),
            (
                Mechanism::Oauthbearer,
                b"n,a=u\tx,\x01auth=Bearer t\x01\x01",
                "control character in the user name",
                "u\tx",
            ),
            (Mechanism::Oauthbearer, b"n,a=u,\x01auth=Bearer t", OAUTHBEARER_FORMAT, "u"),
            (Mechanism::Oauthbearer, b"secret", OAUTHBEARER_FORMAT, ""),
            (Mechanism::Xoauth2, b"user=u\x01auth=Bearer t", XOAUTH2_FORMAT, "u"),
            (Mechanism::Xoauth2, b"user=\x01auth=Bearer t\x01\x01", "empty user name", ""),
            (Mechanism::Xoauth2, b"secret", XOAUTH2_FORMAT, ""),
        ] {
            let refusal = SaslRefusal { reason, user: user.to_owned() };
            assert_eq!(
                Dialogue::new(mechanism).respond(response),
                DialogueStep::Fail(refusal),
                "{response:?}"
            );
        }
        let long = [b"\0".as_slice(), &[b'n'; 9000], b"\0p"].concat();
        let DialogueStep::Fail(refusal) = Dialogue::new(Mechanism::Plain).respond(&long) else {
            panic!("too long")
        };
        assert!(refusal.user.len() < 300);
        let mut dialogue = Dialogue::new(Mechanism::Login);
        dialogue.respond(b"u");
        assert_eq!(dialogue.refused(NOT_BASE64), SaslRefusal { reason: NOT_BASE64, user: "u".to_owned() });
    }

    #[test]
    fn a_line_that_was_cut_has_one_of_three_reasons() {
        for reason in [NOT_BASE64, OAUTHBEARER_FORMAT, XOAUTH2_FORMAT] {
            assert!(may_be_cut(reason), "{reason}");
        }
        for reason in [PLAIN_FORMAT, "empty password", "the user name is not UTF-8"] {
            assert!(!may_be_cut(reason), "{reason}");
        }
    }

    #[test]
    fn no_secret_in_debug() {
        let shown = format!("{:?} {:?}", typed("u", "hush"), token("u", "hush"));
        assert!(shown.contains('u') && !shown.contains("hush"), "{shown}");
    }

    proptest! {
        #[test]
        fn what_is_complete_is_legal(response: Vec<u8>, at in 0usize..4) {
            if let DialogueStep::Complete(Credentials::Password { user, .. } | Credentials::Token { user, .. }) =
                Dialogue::new(Mechanism::ALL[at]).respond(&response)
            {
                prop_assert!(!user.chars().any(char::is_control));
            }
        }
    }
}
