//! One HTTP API as an entry sees it: connections, the token of `backend_oidc_auth`, workers, health.

pub(crate) mod admission;
pub(crate) mod health;
pub(crate) mod listener_context;
mod service_time;
mod token;
pub(crate) mod worker_pool;

use std::sync::Arc;

use hyper::HeaderMap;
use serde_json::Value;
use url::Url;

use crate::http::{Headers, Host, Http};
use crate::observe::metrics::{Calls, Component};
use crate::oidc::{Bearer, ClientSettings, Oidc};
use health::Health;
use worker_pool::WorkerPool;

/// One API, as one entry uses it.
#[derive(Debug)]
pub(crate) struct Backend {
    host: Arc<Host>,
    /// `backend_oidc_auth`.
    bearer: Option<Arc<Bearer>>,
    calls: Arc<Calls>,
    /// The headers of every request.
    pub(crate) headers: Headers,
    pub(crate) pool: WorkerPool,
    pub(crate) health: Health,
}

/// The settings of an entry that concern its API.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BackendSettings<'s> {
    /// The kind of the entry, for the metrics.
    pub(crate) component: Component,
    /// The entry's name.
    pub(crate) name: &'s str,
    /// `target`.
    pub(crate) url: &'s Url,
    /// The HTTP method, for the metrics.
    pub(crate) method: &'static str,
    /// The headers of every request.
    pub(crate) headers: &'s HeaderMap,
    /// `backend_oidc_auth`.
    pub(crate) bearer: Option<&'s ClientSettings>,
    /// `worker_pool.max_workers`.
    pub(crate) workers: usize,
    /// `worker_pool.max_queue`.
    pub(crate) queue: usize,
}

impl Backend {
    /// The API of `settings`, reached through `http`, with tokens from `oidc`.
    pub(crate) fn new(settings: BackendSettings<'_>, http: &Http, oidc: &Oidc) -> Self {
        let host = http.host(settings.url);
        Self {
            headers: host.headers(settings.headers),
            host,
            bearer: settings.bearer.map(|bearer| oidc.bearer(bearer)),
            calls: http.metrics().calls(settings.component, settings.name, settings.method),
            pool: WorkerPool::new(settings.workers, settings.queue),
            health: Health::default(),
        }
    }

    /// The state of the API for `status`. `kind` and `name` are the entry's.
    pub(crate) fn status(&self, kind: &str, name: &str, url: &Url) -> Value {
        let has_token = self.bearer.as_ref().map(|bearer| bearer.has_token());
        self.health.status(kind, name, url, &self.pool.queue(), has_token)
    }
}
