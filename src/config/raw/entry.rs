//! Entries of `socket_maps`, `policy_services` and `dovecot_sasl`.
//!
//! An entry is read in parts: [`Entry`] has the keys of all three sections, [`Lookup`] those of
//! maps and policies, and one more struct those of its own section.
#![allow(dead_code, reason = "blocks are read from the tree; what is not built yet is not read")]

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::{Count, Time, Word};

/// What every entry may hold; some of it has no effect in some sections.
#[derive(Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(in crate::config) struct Entry {
    pub(in crate::config) target: Option<String>,
    pub(in crate::config) http_auth_basic: Option<String>,
    pub(in crate::config) http_auth_basic_file: Option<String>,
    pub(in crate::config) custom_headers: Option<Vec<String>>,
    pub(in crate::config) payload: Option<String>,
    pub(in crate::config) status_code: Option<Count>,
    pub(in crate::config) value_field: Option<String>,
    pub(in crate::config) error_field: Option<String>,
    pub(in crate::config) no_error_value: Option<Word>,
    pub(in crate::config) timeout: Option<Time>,
    pub(in crate::config) http_request_compression: Option<bool>,
    pub(in crate::config) http_response_compression: Option<bool>,
    pub(in crate::config) default_local_port: Option<Word>,
    #[cfg_attr(test, schemars(with = "Option<BackendOidc>"))]
    pub(in crate::config) backend_oidc_auth: Option<IgnoredAny>,
    /// The name that `backend_oidc_auth` had before.
    #[cfg_attr(test, schemars(with = "Option<BackendOidc>"))]
    pub(in crate::config) oidc_auth: Option<IgnoredAny>,
    #[cfg_attr(test, schemars(with = "Option<SaslOidc>"))]
    pub(in crate::config) sasl_oidc_auth: Option<IgnoredAny>,
    #[cfg_attr(test, schemars(extend("enum" = ["json", "grpc", null])))]
    pub(in crate::config) transport: Option<String>,
    #[cfg_attr(test, schemars(with = "Option<Grpc>"))]
    pub(in crate::config) grpc: Option<IgnoredAny>,
}

/// What maps and policies may hold besides.
#[derive(Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(in crate::config) struct Lookup {
    #[cfg_attr(test, schemars(extend("enum" = ["POST", "GET", null])))]
    pub(in crate::config) method: Option<String>,
    #[cfg_attr(test, schemars(extend("enum" = ["not_found", "error", null])))]
    pub(in crate::config) absent_value: Option<String>,
    pub(in crate::config) recipient_delimiter: Option<String>,
    #[cfg_attr(test, schemars(with = "Option<Cache>"))]
    pub(in crate::config) cache: Option<IgnoredAny>,
}

/// What maps alone may hold.
#[derive(Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(in crate::config) struct MapEntry {
    pub(in crate::config) not_found_status: Option<Vec<Count>>,
    #[cfg_attr(test, schemars(extend("enum" = ["error", "not_found", null])))]
    pub(in crate::config) empty_value: Option<String>,
    pub(in crate::config) false_is_not_found: Option<bool>,
    #[cfg_attr(test, schemars(extend("enum" = ["temp", "not_found", null])))]
    pub(in crate::config) on_failure: Option<String>,
    pub(in crate::config) domains: Option<Vec<String>>,
    pub(in crate::config) perm_as_temp: Option<bool>,
}

/// What policies alone may hold.
#[derive(Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(in crate::config) struct PolicyEntry {
    pub(in crate::config) on_failure: Option<Word>,
    pub(in crate::config) cache_key: Option<Vec<String>>,
}

/// What logins alone may hold.
#[derive(Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(in crate::config) struct LoginEntry {
    #[cfg_attr(test, schemars(extend("enum" = ["auto", "disconnect", "fail", null])))]
    pub(in crate::config) on_failure: Option<String>,
    pub(in crate::config) denied_status: Option<Vec<Count>>,
    pub(in crate::config) accept_bare_status: Option<bool>,
    pub(in crate::config) accept_field: Option<String>,
    pub(in crate::config) account_field: Option<String>,
    pub(in crate::config) reason_field: Option<String>,
    pub(in crate::config) failure_delay: Option<Time>,
    pub(in crate::config) sasl_penalty: Option<bool>,
    pub(in crate::config) penalty_exempt: Option<Vec<String>>,
    pub(in crate::config) sasl_attempts: Option<Count>,
}

/// `cache` of an entry.
#[derive(Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub(in crate::config) struct Cache {
    pub(in crate::config) outage: Option<bool>,
    pub(in crate::config) fresh: Option<Time>,
    pub(in crate::config) negative: Option<Time>,
    pub(in crate::config) stale_while_revalidate: Option<Time>,
}

/// `backend_oidc_auth`.
#[derive(Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub(in crate::config) struct BackendOidc {
    pub(in crate::config) enabled: Option<bool>,
    pub(in crate::config) configuration_uri: Option<String>,
    pub(in crate::config) client_id: Option<Word>,
    pub(in crate::config) client_secret: Option<String>,
    pub(in crate::config) client_secret_file: Option<String>,
    pub(in crate::config) private_key_file: Option<String>,
    pub(in crate::config) scopes: Option<Vec<Word>>,
    #[cfg_attr(test, schemars(extend("enum" =
        ["auto", "client_secret_basic", "client_secret_post", "private_key_jwt", "none", null])))]
    pub(in crate::config) auth_method: Option<String>,
}

/// `sasl_oidc_auth`.
#[derive(Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub(in crate::config) struct SaslOidc {
    pub(in crate::config) enabled: Option<bool>,
    pub(in crate::config) configuration_uri: Option<String>,
    pub(in crate::config) client_id: Option<Word>,
    pub(in crate::config) client_secret: Option<String>,
    pub(in crate::config) client_secret_file: Option<String>,
    pub(in crate::config) private_key_file: Option<String>,
    pub(in crate::config) scopes: Option<Vec<Word>>,
    #[cfg_attr(test, schemars(extend("enum" =
        ["auto", "client_secret_basic", "client_secret_post", "private_key_jwt", "none", null])))]
    pub(in crate::config) auth_method: Option<String>,
    #[cfg_attr(test, schemars(extend("enum" = ["introspection", "jwks", "auto", null])))]
    pub(in crate::config) validation: Option<String>,
    pub(in crate::config) jwks_cache_ttl: Option<Time>,
    pub(in crate::config) account_claim: Option<Word>,
    pub(in crate::config) audiences: Option<Vec<Word>>,
    pub(in crate::config) issuers: Option<Vec<Word>>,
    pub(in crate::config) tenants: Option<Vec<Word>>,
    pub(in crate::config) require_audience: Option<bool>,
    pub(in crate::config) check_audience: Option<bool>,
}

/// `grpc`.
#[derive(Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub(in crate::config) struct Grpc {
    pub(in crate::config) address: Option<String>,
    pub(in crate::config) timeout: Option<Time>,
    pub(in crate::config) metadata: Option<BTreeMap<String, Vec<Word>>>,
    #[cfg_attr(test, schemars(with = "Option<GrpcTls>"))]
    pub(in crate::config) tls: Option<IgnoredAny>,
}

/// `grpc.tls`.
#[derive(Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub(in crate::config) struct GrpcTls {
    pub(in crate::config) enabled: Option<bool>,
    pub(in crate::config) root_ca: Option<String>,
    pub(in crate::config) client_cert: Option<String>,
    pub(in crate::config) client_key: Option<String>,
    pub(in crate::config) server_name: Option<String>,
    #[cfg_attr(test, schemars(extend("enum" = ["1.2", "1.3", null])))]
    pub(in crate::config) min_tls_version: Option<Word>,
    pub(in crate::config) skip_verify: Option<bool>,
}
