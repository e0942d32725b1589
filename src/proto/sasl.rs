//! One SASL dialogue: what the client sends in, a challenge or credentials out; no I/O.
//!
//! PLAIN (RFC 4616), LOGIN (draft-murchison-sasl-login), OAUTHBEARER (RFC 7628), XOAUTH2 (Google,
//! Microsoft). What is not legal ends in [`Step::Fail`], and nobody is asked: names and passwords
//! are UTF-8 without control characters, not empty, of at most 255 octets (a token: as long as a
//! line), for one that held a TAB or LF would make structure in the reply, and one that JSON
//! cannot hold would be another one on arrival.

use crate::ask::{Credentials, Mechanism};
use crate::secret::Secret;

/// The longest name and password (RFC 4616 2).
const MAX_NAME: usize = 255;

/// What a dialogue has come to.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Send this, and read on.
    Challenge(&'static [u8]),
    /// All that the client has to say.
    Complete(Credentials),
    /// Refused, without asking anybody; the text may be shown to the SMTP client.
    Fail(&'static str),
}

/// A dialogue that has begun.
#[derive(Debug)]
pub struct Dialogue {
    mechanism: Mechanism,
    /// LOGIN: the name, once it is there.
    name: Option<String>,
}

impl Dialogue {
    /// Begins one. Feed it the initial response, if there is one, like any other.
    #[must_use]
    pub fn new(mechanism: Mechanism) -> Self {
        Self { mechanism, name: None }
    }

    /// What the client is asked first, where it sent no initial response.
    #[must_use]
    pub fn prompt(&self) -> &'static [u8] {
        match self.mechanism {
            Mechanism::Login => b"Username:",
            Mechanism::Plain | Mechanism::Oauthbearer | Mechanism::Xoauth2 => b"",
        }
    }

    /// Takes one response.
    pub fn respond(&mut self, response: &[u8]) -> Step {
        match self.mechanism {
            Mechanism::Plain => plain(response),
            Mechanism::Login => match self.name.take() {
                None => match name(response) {
                    Some(user) => {
                        self.name = Some(user);
                        Step::Challenge(b"Password:")
                    }
                    None => Step::Fail(EMPTY),
                },
                Some(user) => password(user, response),
            },
            Mechanism::Oauthbearer => oauthbearer(response),
            Mechanism::Xoauth2 => xoauth2(response),
        }
    }
}

/// What the ancestor says in these cases, and administrators know from their logs.
const EMPTY: &str = "empty username or password";
const PLAIN_FORMAT: &str = "invalid PLAIN data format";
const OAUTHBEARER_FORMAT: &str = "invalid OAUTHBEARER data format";
const XOAUTH2_FORMAT: &str = "invalid XOAUTH2 data format";

/// Whether these could have come out of a dialogue: for those that come by the local socket.
#[must_use]
pub fn is_legal(credentials: &Credentials) -> bool {
    match credentials {
        Credentials::Password { user, password } => {
            name(user.as_bytes()).is_some() && name(password.expose().as_bytes()).is_some()
        }
        Credentials::Token { user, token } => {
            (user.is_empty() || name(user.as_bytes()).is_some())
                && bearer(&format!("Bearer {}", token.expose())).is_some_and(|legal| legal == token.expose())
        }
    }
}

/// A legal name, or a legal password.
fn name(bytes: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(bytes).ok()?;
    let legal = (1..=MAX_NAME).contains(&text.len()) && !text.chars().any(char::is_control);
    legal.then(|| text.to_owned())
}

fn password(user: String, bytes: &[u8]) -> Step {
    match name(bytes) {
        Some(password) => Step::Complete(Credentials::Password { user, password: Secret::new(password) }),
        None => Step::Fail(EMPTY),
    }
}

/// `[authzid] NUL authcid NUL passwd`. Nobody may act for another.
fn plain(response: &[u8]) -> Step {
    let mut parts = response.split(|&byte| byte == 0);
    let (Some(acts_for), Some(user), Some(secret), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Step::Fail(PLAIN_FORMAT);
    };
    if !acts_for.is_empty() && acts_for != user {
        return Step::Fail("not allowed to act for another user");
    }
    match name(user) {
        Some(user) => password(user, secret),
        None => Step::Fail(EMPTY),
    }
}

/// `n,[a=authzid],^A key=value ^A … ^A` (RFC 7628 3.1). Unknown keys are ignored.
fn oauthbearer(response: &[u8]) -> Step {
    let parse = || {
        let text = std::str::from_utf8(response).ok()?;
        let (head, rest) = text.split_once('\u{1}')?;
        let mut gs2 = head.split(',');
        let (binding, acts_for, end) = (gs2.next()?, gs2.next()?, gs2.next()?);
        // `p=` would be channel binding, which we did not offer.
        if !matches!(binding, "n" | "y") || !end.is_empty() || gs2.next().is_some() {
            return None;
        }
        let user = match acts_for {
            "" => String::new(),
            claimed => name(saslname(claimed.strip_prefix("a=")?)?.as_bytes())?,
        };
        // The end of the last pair, and the end of them all: a token that was cut has neither.
        let pairs = rest.strip_suffix("\u{1}\u{1}")?;
        let auth = pairs.split('\u{1}').find_map(|pair| pair.strip_prefix("auth="))?;
        Some(Credentials::Token { user, token: Secret::new(bearer(auth)?) })
    };
    parse().map_or(Step::Fail(OAUTHBEARER_FORMAT), Step::Complete)
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
fn xoauth2(response: &[u8]) -> Step {
    let parse = || {
        let text = std::str::from_utf8(response).ok()?.strip_suffix("\u{1}\u{1}")?;
        let mut pairs = text.split('\u{1}');
        let user = name(pairs.next()?.strip_prefix("user=")?.as_bytes())?;
        let auth = pairs.find_map(|pair| pair.strip_prefix("auth="))?;
        Some(Credentials::Token { user, token: Secret::new(bearer(auth)?) })
    };
    parse().map_or(Step::Fail(XOAUTH2_FORMAT), Step::Complete)
}

/// `Bearer`, in any case, and a b64token (RFC 6750 2.1).
fn bearer(auth: &str) -> Option<String> {
    let (scheme, token) = auth.split_once(' ')?;
    let token = token.trim_start_matches(' ');
    let body = token.trim_end_matches('=');
    let legal = !body.is_empty() && body.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~+/".contains(&b));
    (scheme.eq_ignore_ascii_case("bearer") && legal).then(|| token.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use proptest::prelude::*;

    fn respond(mechanism: Mechanism, base64: &str) -> Step {
        Dialogue::new(mechanism).respond(&STANDARD.decode(base64).expect("base64"))
    }

    fn typed(user: &str, password: &str) -> Step {
        Step::Complete(Credentials::Password { user: user.into(), password: Secret::new(password.into()) })
    }

    fn token(user: &str, token: &str) -> Step {
        Step::Complete(Credentials::Token { user: user.into(), token: Secret::new(token.into()) })
    }

    #[test]
    fn plain() {
        // SA-1
        assert_eq!(
            respond(Mechanism::Plain, "AHVAZXhhbXBsZS5jb20Ac2VjcmV0"),
            typed("u@example.com", "secret")
        );
        assert!(matches!(respond(Mechanism::Plain, "YWRtaW4AdUBleGFtcGxlLmNvbQBzZWNyZXQ="), Step::Fail(_)));
        let plain = |bytes: &[u8]| Dialogue::new(Mechanism::Plain).respond(bytes);
        assert_eq!(plain(b"u\0u\0p"), typed("u", "p"), "acting for oneself");
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
            b"\0u\0p\r",
        ] {
            assert!(matches!(plain(bytes), Step::Fail(_)), "{bytes:?}");
        }
        let long = |count| plain(&[b"\0", "u".repeat(count).as_bytes(), b"\0p"].concat());
        assert!(matches!((long(255), long(256)), (Step::Complete(_), Step::Fail(_))));
    }

    #[test]
    fn login() {
        // DV-14
        let mut dialogue = Dialogue::new(Mechanism::Login);
        assert_eq!(dialogue.prompt(), b"Username:");
        assert_eq!(dialogue.respond(b"u@example.com"), Step::Challenge(b"Password:"));
        assert_eq!(dialogue.respond(b"secret"), typed("u@example.com", "secret"));
        for name in [&b""[..], b"a\0b", b"a\tb"] {
            assert!(matches!(Dialogue::new(Mechanism::Login).respond(name), Step::Fail(_)), "{name:?}");
        }
    }

    #[test]
    fn oauthbearer() {
        // SA-3
        let host =
            "bixhPXVAZXhhbXBsZS5jb20sAWhvc3Q9bXguZXhhbXBsZS5jb20BcG9ydD01ODcBYXV0aD1CZWFyZXIgdG9rLmVuAQE=";
        assert_eq!(respond(Mechanism::Oauthbearer, host), token("u@example.com", "tok.en"));
        let escaped = "bixhPXU9MkN4PTNEeUBleGFtcGxlLmNvbSwBYXV0aD1iZWFyZXIgdG9rLmVuAQE=";
        assert_eq!(respond(Mechanism::Oauthbearer, escaped), token("u,x=y@example.com", "tok.en"));
        assert_eq!(respond(Mechanism::Oauthbearer, "biwsAWF1dGg9QmVhcmVyIHRvay5lbgEB"), token("", "tok.en"));
        let oauth = |text: &str| Dialogue::new(Mechanism::Oauthbearer).respond(text.as_bytes());
        for text in [
            "",
            "\u{1}",
            "n,,\u{1}auth=Bearer t",
            "n,,\u{1}auth=Bearer t\u{1}",
            "n,,\u{1}\u{1}",
            "n,\u{1}auth=Bearer t\u{1}\u{1}",
            "p=tls,,\u{1}auth=Bearer t\u{1}\u{1}",
            "n,a=u=2x,\u{1}auth=Bearer t\u{1}\u{1}",
            "n,a=,\u{1}auth=Bearer t\u{1}\u{1}",
            "n,,\u{1}auth=Basic t\u{1}\u{1}",
            "n,,\u{1}auth=Bearer t t\u{1}\u{1}",
            "n,,\u{1}auth=Bearer =\u{1}\u{1}",
        ] {
            assert!(matches!(oauth(text), Step::Fail(_)), "{text:?}");
        }
    }

    #[test]
    fn xoauth2() {
        // SA-5
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
            assert!(matches!(xoauth2(text), Step::Fail(_)), "{text:?}");
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
            if let Step::Complete(Credentials::Password { user, .. } | Credentials::Token { user, .. }) =
                Dialogue::new(Mechanism::ALL[at]).respond(&response)
            {
                prop_assert!(!user.chars().any(char::is_control));
            }
        }
    }
}
