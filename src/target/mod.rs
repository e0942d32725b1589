//! One HTTP API behind one entry of the configuration.

pub mod template;
pub mod value;

use std::time::Duration;

use reqwest::header::HeaderMap;
use url::Url;

use crate::ask::OnFailure;
use template::Template;
use value::Field;

/// What an entry of `socket_maps` or `policy_services` says, checked.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The entry's name.
    pub name: String,
    /// Which protocol asks.
    pub kind: Kind,
    /// `target`: http or https, with a host.
    pub url: Url,
    /// `custom_headers`, and `Content-Type: application/json` unless they hold one.
    pub headers: HeaderMap,
    /// `payload`.
    pub payload: Template,
    /// `timeout`, else `server.http_client.timeout`; at most 90 s.
    pub timeout: Duration,
    /// `status_code`, 200 by default.
    pub status_code: u16,
    /// `value_field`.
    pub value_field: Field,
    /// `error_field`.
    pub error_field: Option<Field>,
    /// `no_error_value`; empty by default.
    pub no_error_value: String,
}

/// Which protocol asks a target, and what that protocol alone sets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// An entry of `socket_maps`.
    Map {
        /// `server.socketmap_max_reply_size`: the most bytes of a reply's payload.
        max_reply: usize,
    },
    /// An entry of `policy_services`.
    Policy {
        /// `on_failure`.
        on_failure: OnFailure,
    },
}
