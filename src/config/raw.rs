//! The shape of the file, as serde sees it: nothing is checked here but the kinds of values.
//!
//! Every key is optional; `resolve` and its parts say what is missing. Blocks that are read on
//! their own stand as plain values in the block above, so that an error in one does not hide the
//! others. A struct's field names are the list of the keys that are built (`keys`). No struct has
//! `Debug`: some hold secrets.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, Unexpected, Visitor};
use serde_yaml::Value;

/// The whole file.
#[derive(Default, Deserialize)]
pub(super) struct Top {
    pub(super) server: Option<Value>,
    pub(super) socket_maps: Option<Value>,
    pub(super) policy_services: Option<Value>,
}

/// `server`.
#[derive(Default, Deserialize)]
pub(super) struct Server {
    pub(super) listen: Option<Value>,
    pub(super) logging: Option<Value>,
    pub(super) http_client: Option<Value>,
    pub(super) ipc: Option<Value>,
    pub(super) max_connections: Option<Count>,
    pub(super) socketmap_max_reply_size: Option<Count>,
}

/// An item of `server.listen`.
#[derive(Default, Deserialize)]
pub(super) struct Listener {
    pub(super) kind: Option<String>,
    pub(super) name: Option<Word>,
    #[serde(rename = "type")]
    pub(super) family: Option<String>,
    pub(super) address: Option<String>,
    pub(super) port: Option<Count>,
    pub(super) mode: Option<Word>,
    pub(super) user: Option<Word>,
    pub(super) group: Option<Word>,
}

/// `server.logging`.
#[derive(Default, Deserialize)]
pub(super) struct Logging {
    pub(super) json: Option<bool>,
    pub(super) level: Option<String>,
}

/// `server.http_client`.
#[derive(Default, Deserialize)]
pub(super) struct HttpClient {
    pub(super) timeout: Option<Word>,
}

/// `server.ipc`.
#[derive(Default, Deserialize)]
pub(super) struct Ipc {
    pub(super) path: Option<String>,
    pub(super) mode: Option<Word>,
    pub(super) user: Option<Word>,
    pub(super) group: Option<Word>,
    pub(super) allow_users: Option<Vec<Word>>,
}

/// An entry of `socket_maps` or `policy_services`.
#[derive(Default, Deserialize)]
pub(super) struct Entry {
    pub(super) target: Option<String>,
    pub(super) custom_headers: Option<Vec<String>>,
    pub(super) payload: Option<String>,
    pub(super) status_code: Option<Count>,
    pub(super) value_field: Option<String>,
    pub(super) error_field: Option<String>,
    pub(super) no_error_value: Option<Word>,
    pub(super) timeout: Option<Word>,
    pub(super) on_failure: Option<Word>,
    // Of dovecot_sasl alone; accepted here with a warning.
    pub(super) sasl_oidc_auth: Option<IgnoredAny>,
    pub(super) default_local_port: Option<IgnoredAny>,
}

/// A text that YAML may take for a whole number or a boolean, as a user id or `no_error_value: 0`.
pub(super) struct Word(pub(super) String);

impl<'de> Deserialize<'de> for Word {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WordVisitor)
    }
}

struct WordVisitor;

impl Visitor<'_> for WordVisitor {
    type Value = Word;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Word, E> {
        Ok(Word(text.to_owned()))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Word, E> {
        Ok(Word(number.to_string()))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Word, E> {
        Ok(Word(number.to_string()))
    }

    fn visit_bool<E: Error>(self, truth: bool) -> Result<Word, E> {
        Ok(Word(truth.to_string()))
    }
}

/// A whole number, also one in quotes, as the Go program takes it.
#[derive(Clone, Copy)]
pub(super) struct Count(pub(super) u64);

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(CountVisitor)
    }
}

struct CountVisitor;

impl Visitor<'_> for CountVisitor {
    type Value = Count;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number")
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Count, E> {
        Ok(Count(number))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Count, E> {
        u64::try_from(number).map(Count).map_err(|_| E::invalid_value(Unexpected::Signed(number), &self))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Count, E> {
        text.parse().map(Count).map_err(|_| E::invalid_type(Unexpected::Str(text), &self))
    }
}
