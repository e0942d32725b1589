//! The top of the file and `server`.
#![allow(dead_code, reason = "blocks are read from the tree; what is not built yet is not read")]

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::{Count, Time, Word};

/// The whole file.
#[derive(Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub(in crate::config) struct Top {
    #[cfg_attr(test, schemars(with = "Option<Server>"))]
    pub(in crate::config) server: Option<IgnoredAny>,
    #[cfg_attr(test, schemars(with = "Option<super::schema::Section<super::schema::Map>>"))]
    pub(in crate::config) socket_maps: Option<IgnoredAny>,
    #[cfg_attr(test, schemars(with = "Option<super::schema::Section<super::schema::Policy>>"))]
    pub(in crate::config) policy_services: Option<IgnoredAny>,
    #[cfg_attr(test, schemars(with = "Option<super::schema::Section<super::schema::Login>>"))]
    pub(in crate::config) dovecot_sasl: Option<IgnoredAny>,
}

/// `server`.
#[derive(Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub(in crate::config) struct Server {
    #[cfg_attr(test, schemars(with = "Option<Vec<Listener>>"))]
    pub(in crate::config) listen: Option<IgnoredAny>,
    #[cfg_attr(test, schemars(with = "Option<Logging>"))]
    pub(in crate::config) logging: Option<IgnoredAny>,
    #[cfg_attr(test, schemars(with = "Option<HttpClient>"))]
    pub(in crate::config) http_client: Option<IgnoredAny>,
    #[cfg_attr(test, schemars(with = "Option<Tls>"))]
    pub(in crate::config) tls: Option<IgnoredAny>,
    #[cfg_attr(test, schemars(with = "Option<ResponseCache>"))]
    pub(in crate::config) response_cache: Option<IgnoredAny>,
    #[cfg_attr(test, schemars(with = "Option<WorkerPool>"))]
    pub(in crate::config) worker_pool: Option<IgnoredAny>,
    #[cfg_attr(test, schemars(with = "Option<Ipc>"))]
    pub(in crate::config) ipc: Option<IgnoredAny>,
    #[cfg_attr(test, schemars(with = "Option<Admin>"))]
    pub(in crate::config) admin: Option<IgnoredAny>,
    #[cfg_attr(test, schemars(with = "Option<Observability>"))]
    pub(in crate::config) observability: Option<IgnoredAny>,
    pub(in crate::config) max_connections: Option<Count>,
    pub(in crate::config) max_connections_per_address: Option<Count>,
    pub(in crate::config) socketmap_max_reply_size: Option<Count>,
    pub(in crate::config) run_as_user: Option<Word>,
    pub(in crate::config) run_as_group: Option<Word>,
    pub(in crate::config) chroot: Option<String>,
}

/// An item of `server.listen`.
#[derive(Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub(in crate::config) struct Listener {
    #[cfg_attr(test, schemars(extend("enum" = ["socket_map", "policy_service", "dovecot_sasl", null])))]
    pub(in crate::config) kind: Option<String>,
    pub(in crate::config) name: Option<Word>,
    #[serde(rename = "type")]
    #[cfg_attr(test, schemars(extend("enum" = ["tcp", "tcp6", "unix", null])))]
    pub(in crate::config) family: Option<String>,
    pub(in crate::config) address: Option<String>,
    pub(in crate::config) port: Option<Count>,
    pub(in crate::config) allow_from: Option<Vec<String>>,
    pub(in crate::config) mode: Option<Word>,
    pub(in crate::config) user: Option<Word>,
    pub(in crate::config) group: Option<Word>,
    pub(in crate::config) systemd_socket_name: Option<String>,
    #[cfg_attr(test, schemars(with = "Option<WorkerPool>"))]
    pub(in crate::config) worker_pool: Option<IgnoredAny>,
}

/// `server.logging`.
#[derive(Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub(in crate::config) struct Logging {
    pub(in crate::config) json: Option<bool>,
    #[cfg_attr(test, schemars(extend("enum" = ["none", "error", "info", "debug", null])))]
    pub(in crate::config) level: Option<String>,
    pub(in crate::config) use_systemd: Option<bool>,
    #[cfg_attr(test, schemars(extend("enum" = ["never", "failures", "always", null])))]
    pub(in crate::config) log_keys: Option<String>,
}

/// `server.http_client`.
#[derive(Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub(in crate::config) struct HttpClient {
    pub(in crate::config) timeout: Option<Time>,
    pub(in crate::config) max_connections_per_host: Option<Count>,
    pub(in crate::config) max_idle_connections: Option<Count>,
    pub(in crate::config) max_idle_connections_per_host: Option<Count>,
    pub(in crate::config) idle_connection_timeout: Option<Time>,
    pub(in crate::config) proxy: Option<String>,
}

/// `server.tls`.
#[derive(Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub(in crate::config) struct Tls {
    pub(in crate::config) enabled: Option<bool>,
    pub(in crate::config) cert: Option<String>,
    pub(in crate::config) key: Option<String>,
    pub(in crate::config) root_ca: Option<String>,
    pub(in crate::config) skip_verify: Option<bool>,
}

/// `server.response_cache`.
#[derive(Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub(in crate::config) struct ResponseCache {
    pub(in crate::config) enabled: Option<bool>,
    pub(in crate::config) ttl: Option<Time>,
    pub(in crate::config) max_bytes: Option<Count>,
}

/// `worker_pool`, of `server` or of a listener.
#[derive(Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub(in crate::config) struct WorkerPool {
    pub(in crate::config) max_workers: Option<Count>,
    pub(in crate::config) max_queue: Option<Count>,
}

/// `server.ipc`.
#[derive(Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub(in crate::config) struct Ipc {
    pub(in crate::config) path: Option<String>,
    pub(in crate::config) mode: Option<Word>,
    pub(in crate::config) user: Option<Word>,
    pub(in crate::config) group: Option<Word>,
    pub(in crate::config) allow_users: Option<Vec<Word>>,
}

/// `server.admin`.
#[derive(Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub(in crate::config) struct Admin {
    pub(in crate::config) path: Option<String>,
}

/// `server.observability`.
#[derive(Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub(in crate::config) struct Observability {
    pub(in crate::config) prometheus_enabled: Option<bool>,
    pub(in crate::config) prometheus_address: Option<String>,
    pub(in crate::config) prometheus_port: Option<Count>,
    pub(in crate::config) prometheus_path: Option<String>,
    pub(in crate::config) prometheus_runtime_metrics: Option<bool>,
    pub(in crate::config) prometheus_http_auth_basic: Option<String>,
    pub(in crate::config) prometheus_http_auth_basic_file: Option<String>,
    #[cfg_attr(test, schemars(with = "Option<PrometheusTls>"))]
    pub(in crate::config) prometheus_tls: Option<IgnoredAny>,
    pub(in crate::config) otel_enabled: Option<bool>,
    pub(in crate::config) otel_traces_enabled: Option<bool>,
    pub(in crate::config) otel_metrics_enabled: Option<bool>,
    pub(in crate::config) otel_service_name: Option<String>,
    pub(in crate::config) otel_service_version: Option<Word>,
    pub(in crate::config) otel_exporter_otlp_endpoint: Option<String>,
    pub(in crate::config) otel_exporter_otlp_headers: Option<std::collections::BTreeMap<String, Word>>,
    pub(in crate::config) otel_exporter_otlp_insecure: Option<bool>,
    pub(in crate::config) otel_sample_ratio: Option<f64>,
}

/// `server.observability.prometheus_tls`.
#[derive(Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub(in crate::config) struct PrometheusTls {
    pub(in crate::config) enabled: Option<bool>,
    pub(in crate::config) cert: Option<String>,
    pub(in crate::config) key: Option<String>,
    pub(in crate::config) min_tls_version: Option<Word>,
}
