//! Logins: credentials, mechanism and connection.

use serde::{Deserialize, Serialize};

use crate::model::secret::Secret;

/// A login whose SASL dialogue is complete.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Login {
    /// An entry of `dovecot_sasl`.
    pub name: String,
    /// The mechanism.
    pub mechanism: Mechanism,
    /// The name and the secret. `wire::sasl` has checked them: UTF-8, and no control characters in the
    /// name.
    pub credentials: Credentials,
    /// The connection of the SMTP client.
    pub peer: Peer,
}

/// A SASL mechanism.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mechanism {
    /// RFC 4616.
    Plain,
    /// Two prompts; obsolete, but many clients use it.
    Login,
    /// RFC 7628.
    Oauthbearer,
    /// The predecessor of RFC 7628.
    Xoauth2,
}

impl Mechanism {
    /// All of them, those with passwords first.
    pub const ALL: [Self; 4] = [Self::Plain, Self::Login, Self::Oauthbearer, Self::Xoauth2];

    /// The name as it is registered.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::Login => "LOGIN",
            Self::Oauthbearer => "OAUTHBEARER",
            Self::Xoauth2 => "XOAUTH2",
        }
    }

    /// The mechanism of this name, in any case.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mechanism| mechanism.name().eq_ignore_ascii_case(name))
    }

    /// Whether it carries a token.
    #[must_use]
    pub fn is_oauth(self) -> bool {
        matches!(self, Self::Oauthbearer | Self::Xoauth2)
    }
}

/// The credentials of a client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Credentials {
    /// A name and its password.
    Password {
        /// As it was typed.
        user: String,
        /// As it was typed.
        password: Secret,
    },
    /// A bearer token.
    Token {
        /// The name that the client claims, or empty. The token decides.
        user: String,
        /// RFC 6750 2.1.
        token: Secret,
    },
}

impl Credentials {
    /// The name that the client sent; may be empty.
    #[must_use]
    pub fn user(&self) -> &str {
        match self {
            Self::Password { user, .. } | Self::Token { user, .. } => user,
        }
    }
}

/// What Postfix says about the connection of the SMTP client; fields that it does not send are empty. An SMTP
/// client or a local peer may have made up all of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// `service`: `smtp`.
    pub service: String,
    /// `rip`.
    pub client_ip: String,
    /// `rport`.
    pub client_port: String,
    /// `lip`.
    pub local_ip: String,
    /// `lport`.
    pub local_port: String,
    /// `local_name`.
    pub local_name: String,
    /// `client_id`: what the mail client calls itself.
    pub client_id: String,
    /// `secured`: TLS is active, or the client is local.
    pub secured: bool,
    /// `ssl_protocol`, or `ssl` where that names a version.
    pub ssl_protocol: String,
    /// `ssl_cipher`.
    pub ssl_cipher: String,
    /// Those of [`DETAILS`] that the client sent, each once. They are no part of a frame (`wire::ipc`).
    #[serde(skip)]
    pub details: Vec<(&'static str, String)>,
}

/// Parameters that Postfix does not send, by the names of the fields in Nauthilus' `AuthRequest`, which gets them.
/// Those of the certificate are the SMTP client's.
pub const DETAILS: [&str; 19] = [
    "client_hostname",
    // Dovecot's clients call it `session`.
    "external_session_id",
    "user_agent",
    // If it names no version of TLS.
    "ssl",
    "ssl_session_id",
    "ssl_client_verify",
    "ssl_client_dn",
    "ssl_client_cn",
    "ssl_issuer",
    "ssl_client_notbefore",
    "ssl_client_notafter",
    "ssl_subject_dn",
    "ssl_issuer_dn",
    "ssl_client_subject_dn",
    "ssl_client_issuer_dn",
    "ssl_serial",
    "ssl_fingerprint",
    "oidc_cid",
    "auth_login_attempt",
];

impl Peer {
    /// The value of a detail; empty if the client did not send it.
    #[must_use]
    pub fn detail(&self, name: &str) -> &str {
        self.details.iter().find(|(one, _)| *one == name).map_or("", |(_, value)| value)
    }

    /// The place of a detail's value; `None` if no detail has this name.
    pub fn detail_mut(&mut self, name: &[u8]) -> Option<&mut String> {
        let name = DETAILS.into_iter().find(|one| one.as_bytes() == name)?;
        let at = self.details.iter().position(|(one, _)| *one == name).unwrap_or_else(|| {
            self.details.push((name, String::new()));
            self.details.len() - 1
        });
        Some(&mut self.details[at].1)
    }

    /// Cuts overlong fields: all of them go to an API, some to the log. An address is at most an IPv6 address
    /// with a zone.
    pub fn bound(&mut self) {
        for (text, most) in [
            (&mut self.client_ip, 64),
            (&mut self.client_port, 64),
            (&mut self.local_ip, 64),
            (&mut self.local_port, 64),
            (&mut self.service, 255),
            (&mut self.local_name, 255),
            (&mut self.client_id, 255),
            (&mut self.ssl_protocol, 255),
            (&mut self.ssl_cipher, 255),
        ] {
            text.truncate(text.floor_char_boundary(most));
        }
        // The name of a certificate's subject may be long.
        for (_, text) in &mut self.details {
            text.truncate(text.floor_char_boundary(512));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_peer_says_is_bounded() {
        let long = || "1\u{e9}".repeat(300);
        let mut peer = Peer { client_ip: long(), client_id: long(), secured: true, ..Peer::default() };
        peer.local_ip = "2001:db8::1%eth0".to_owned();
        *peer.detail_mut(b"ssl_client_dn").expect("a detail") = long();
        peer.bound();
        // Of the last character there is no half.
        assert_eq!((peer.detail("ssl_client_dn").len(), peer.detail("ssl_client_cn")), (511, ""));
        assert_eq!((peer.client_ip.len(), peer.client_id.len()), (64, 255));
        assert_eq!((peer.local_ip.as_str(), peer.service.as_str()), ("2001:db8::1%eth0", ""));
    }
}
