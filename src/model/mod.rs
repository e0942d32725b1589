//! Requests and answers: the types that all rooms share.
//!
//! A request of Postfix, through a listener, the local socket or `query`, becomes a [`Question`]; its result
//! is an [`Answer`]. Both travel over the local socket, so their layout is part of the frame version
//! (`wire::ipc`).
//!
//! The rule for all of them: a [`Failure`] never becomes a definitive answer unless the administrator wrote
//! so in `on_failure`. What an API says becomes an answer in one place, `lookup::answer`, out of a complete
//! and valid HTTP response; without asking, only `domains` and keys that cannot exist are not found.

use std::fmt;

use serde::{Deserialize, Serialize};

mod account;
mod action;
#[cfg(feature = "broker")]
pub mod amount;
mod attributes;
pub(crate) mod brief;
mod deadline;
#[cfg(feature = "broker")]
pub(crate) mod domain;
pub mod grpc;
#[cfg(feature = "broker")]
pub(crate) mod hex;
mod login;
mod protocol;
pub mod secret;
#[cfg(feature = "broker")]
pub mod status;
#[cfg(feature = "broker")]
pub(crate) mod weak_map;

pub use account::is_account_name;
pub use action::Action;
#[cfg(feature = "broker")]
pub(crate) use action::is_smtp_code;
pub use attributes::Attributes;
pub use deadline::{Deadline, LOGIN_BUDGET, LONGEST_BUDGET};
pub use login::{Credentials, DETAILS, Login, Mechanism, Peer};
pub use protocol::Protocol;

/// One lookup, or one login.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Question {
    /// A socketmap lookup (socketmap_table(5)).
    Map {
        /// The name of the map: an entry of `socket_maps`.
        name: String,
        /// The key as it came: any bytes but NUL are possible.
        key: Vec<u8>,
    },
    /// A policy delegation request (SMTPD_POLICY_README).
    Policy {
        /// The name of the service: an entry of `policy_services`.
        name: String,
        /// The attributes in the order in which Postfix sent them, each name once.
        attributes: Attributes,
    },
    /// A login (Dovecot's authentication protocol).
    Login(Box<Login>),
}

impl Question {
    /// The protocol that it came in.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        match self {
            Self::Map { .. } => Protocol::Socketmap,
            Self::Policy { .. } => Protocol::Policy,
            Self::Login(_) => Protocol::Sasl,
        }
    }

    /// The name of the entry.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Map { name, .. } | Self::Policy { name, .. } => name,
            Self::Login(login) => &login.name,
        }
    }
}

/// The result of a [`Question`]. All but `Failed` are definitive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// A map's value: one line, not empty.
    Value(String),
    /// A valid answer without a value: not found; for a policy DUNNO.
    NotFound,
    /// An access(5) action.
    Action(Action),
    /// No definitive answer could be had.
    Failed {
        /// Why.
        failure: Failure,
        /// The entry's `on_failure`, or the effect of a map's `perm_as_temp`; `None` without such an entry.
        on_failure: Option<OnFailure>,
    },
    /// The login is accepted.
    Accepted {
        /// The user, as the API or the token names it; one line.
        user: String,
    },
    /// The login is denied by the API or the provider.
    Denied {
        /// May be shown to the SMTP client.
        reason: String,
        /// The name that was typed; may be empty.
        user: String,
    },
}

/// Why there is no definitive answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Failure {
    /// No connection to the API within the time limit for connecting.
    Connect,
    /// The time limit ended first.
    Timeout,
    /// The TLS handshake failed, or the certificate is not trusted.
    Tls,
    /// The API broke HTTP, or the connection within its answer.
    Protocol,
    /// A status other than the one that the entry accepts: of HTTP, or below 100 one of gRPC. There 0 is the
    /// decision TEMPFAIL, which comes with `OK`.
    Status(u16),
    /// An accepted status with a body that is not a JSON object of bounded size, or has another form than the fields of
    /// the entry.
    Body,
    /// The identity provider gave no token, no keys, or no verdict on a token.
    Provider,
    /// Too many lookups were waiting for this API.
    Overload,
    /// No broker answered; the client alone uses it.
    NoBroker,
    /// There is no entry of that name.
    UnknownName,
    /// The request is framed correctly, but is not valid.
    Malformed,
    /// `""` or `null` instead of a value.
    EmptyValue,
    /// A value of a kind that cannot be sent.
    UnexpectedValue,
    /// The answer's error field said this; one line.
    ErrorField(String),
    /// The reply would have had this many bytes, more than Postfix takes.
    TooLong(u64),
    /// A login's accepted status without a user, or without proof that the login is accepted.
    NoEvidence,
}

impl Failure {
    /// One word for the log and its filters. Replies have texts of their own, in `wire::reply`.
    #[must_use]
    pub fn class(&self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Timeout => "timeout",
            Self::Tls => "tls",
            Self::Protocol => "protocol",
            Self::Status(_) => "status",
            Self::Body | Self::NoEvidence => "body",
            Self::Provider => "provider",
            Self::Overload => "overload",
            Self::NoBroker => "no_broker",
            Self::UnknownName => "unknown_name",
            Self::Malformed => "malformed",
            Self::EmptyValue | Self::UnexpectedValue | Self::TooLong(_) => "value",
            Self::ErrorField(_) => "error_field",
        }
    }
}

impl fmt::Display for Failure {
    /// For the log: the reason, without any text of the API.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "no connection",
            Self::Timeout => "no complete answer in time",
            Self::Tls => "the TLS handshake failed, or the certificate is not trusted",
            Self::Protocol => "the connection broke, or the response was not HTTP",
            Self::Status(grpc::OK) => "the API says that it failed (TEMPFAIL)",
            Self::Status(code @ ..100) => return write!(f, "gRPC status {code} ({})", grpc::name(*code)),
            Self::Status(code) => return write!(f, "unexpected status code {code}"),
            Self::Body => {
                "the body is not a JSON object, has another form than the entry's fields, or has no answer (over gRPC: no message of the service)"
            }
            Self::Provider => {
                "the identity provider cannot be reached or refuses us; see \"trouble with an identity provider\" in the log"
            },
            Self::NoEvidence => {
                "the response does not say whether the login is accepted (Auth-Status, Auth-User; over gRPC its decision), or contradicts itself"
            }
            Self::Overload => "too many lookups were waiting",
            Self::NoBroker => "no broker",
            Self::UnknownName => "no such entry",
            Self::Malformed => "the request cannot be sent",
            Self::EmptyValue => "the value is empty",
            Self::UnexpectedValue => {
                "the value cannot be sent: it is not a text, or Postfix would misread it (a code needs a text behind it, and an action must not begin with `action=`)"
            }
            Self::ErrorField(_) => "the error field names an error",
            Self::TooLong(bytes) => return write!(f, "the value is too long: {bytes} bytes"),
        })
    }
}

/// The reply to a failed policy request or login, as the administrator configured it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnFailure {
    /// Send this action; for policies alone.
    Action(Action),
    /// Close the connection: `smtpd_policy_service_default_action` applies, or the login is a 454.
    Disconnect,
    /// Close the connection of Postfix and Exim, for which this alone is temporary, and send a temporary FAIL
    /// to Dovecot's own clients; for logins alone.
    Auto,
    /// Send a temporary FAIL, which Postfix reads as 535; for logins alone.
    Fail,
    /// Send TEMP instead of PERM; for maps alone. Sendmail treats PERM as "no such key".
    Temp,
}

impl OnFailure {
    /// Reads `disconnect`, or an action.
    ///
    /// # Errors
    /// As [`Action::parse`].
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        match text.trim() {
            "disconnect" => Ok(Self::Disconnect),
            action => Action::parse(action).map(Self::Action),
        }
    }
}

impl Default for OnFailure {
    fn default() -> Self {
        Self::Action(Action("DEFER Temporary server problem".to_owned()))
    }
}
