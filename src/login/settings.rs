//! What an entry of `dovecot_sasl` says, as values that cannot be wrong.

use std::time::Duration;

use ipnet::IpNet;
use reqwest::header::HeaderMap;
use url::Url;

use crate::lookup::PoolSettings;
use crate::lookup::value::Field;
use crate::model::OnFailure;
use crate::oidc::{ClientSettings, TokenSettings};

/// One entry of `dovecot_sasl`.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The entry's name.
    pub name: String,
    /// `target`: http or https, with a host.
    pub url: Url,
    /// `custom_headers`, `http_auth_basic`, and `Content-Type: application/json` unless they hold one.
    pub headers: HeaderMap,
    /// `http_request_compression`: the body is sent as gzip.
    pub compress_request: bool,
    /// `http_response_compression`: the answer may be gzip. Its body is read by `fields` alone.
    pub compress_response: bool,
    /// `timeout`, else `server.http_client.timeout`; at most 8 s.
    pub timeout: Duration,
    /// `status_code`, 200 by default.
    pub status_code: u16,
    /// `denied_status`: these statuses deny, also without `Auth-Status`.
    pub denied_status: Vec<u16>,
    /// `accept_bare_status`: `status_code` alone accepts.
    pub accept_bare_status: bool,
    /// `accept_field` and what belongs to it; without it, headers decide.
    pub fields: Option<Fields>,
    /// `on_failure`: `Auto` by default, `Disconnect` or `Fail`.
    pub on_failure: OnFailure,
    /// `default_local_port`: sent where the client names none.
    pub default_local_port: Option<u16>,
    /// `failure_delay`: how long after its request a denial leaves, 2 s by default, at most 6 s.
    pub failure_delay: Duration,
    /// `sasl_penalty`: whether that grows with the denials of one remote address.
    pub penalty: bool,
    /// `penalty_exempt`: networks for which it does not, besides loopback.
    pub penalty_exempt: Vec<IpNet>,
    /// `sasl_attempts`: how many logins of one remote address, and of one name, are under way at a
    /// time, 8 by default; 0: no bound.
    pub attempts: usize,
    /// `backend_oidc_auth`, where enabled.
    pub bearer: Option<ClientSettings>,
    /// `sasl_oidc_auth`, where enabled: then tokens may log in.
    pub tokens: Option<TokenSettings>,
    /// `server.worker_pool`.
    pub pool: PoolSettings,
}

/// Where a JSON body says what became of a login.
#[derive(Debug, Clone, PartialEq)]
pub struct Fields {
    /// `accept_field`: `true` or `false`.
    pub accept: Field,
    /// `account_field`: who has logged in, if not as typed.
    pub account: Option<Field>,
    /// `reason_field`: why somebody has not.
    pub reason: Option<Field>,
}
