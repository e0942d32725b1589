//! One HTTP API as an entry sees it: connections, the token of `backend_oidc_auth`, workers, health.
//!
//! If the API refuses the token, the broker gets a new one and sends the request once more: the token may
//! have been revoked, or have expired on the way.

pub(crate) mod admission;
pub(crate) mod health;
pub(crate) mod listener_context;
mod service_time;
pub(crate) mod worker_pool;

use std::sync::Arc;

use hyper::header::{HeaderMap, HeaderName};
use url::Url;

use crate::http::{Headers, Host, Http, Reply, Request};
use crate::model::status::EntryStatus;
use crate::model::{Deadline, Failure};
use crate::observe::explain;
use crate::observe::metrics::{Calls, Component};
use crate::observe::redact::Redactor;
use crate::oidc::{Bearer, ClientSettings, Oidc, Token};
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

/// The settings of an entry that concern its API; the kind of the entry and the method are for the metrics.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BackendSettings<'s> {
    pub(crate) component: Component,
    pub(crate) name: &'s str,
    pub(crate) url: &'s Url,
    pub(crate) method: &'static str,
    pub(crate) headers: &'s HeaderMap,
    /// Headers that each request sets itself.
    pub(crate) own_headers: &'s [HeaderName],
    pub(crate) bearer: Option<&'s ClientSettings>,
    pub(crate) workers: usize,
    pub(crate) queue: usize,
}

impl Backend {
    /// The API of `settings`, reached through `http`, with tokens from `oidc`.
    pub(crate) fn new(settings: BackendSettings<'_>, http: &Http, oidc: &Oidc) -> Self {
        let host = http.host(settings.url);
        Self {
            headers: host.headers(settings.headers).with_places(settings.own_headers),
            host,
            bearer: settings.bearer.map(|bearer| oidc.bearer(bearer)),
            calls: http.metrics().calls(settings.component, settings.name, settings.method),
            pool: WorkerPool::new(settings.workers, settings.queue),
            health: Health::new(
                settings.name,
                settings.url,
                http.metrics().failures(settings.component, settings.name),
            ),
        }
    }

    /// The state of the API for `status`; `kind` is the entry's.
    pub(crate) fn status(&self, kind: &str) -> EntryStatus {
        let token = self.bearer.as_ref().map(|bearer| bearer.token_life());
        self.health.status(kind, &self.pool.queue(), token)
    }

    /// Sends `request` and reads the whole answer. `refuses` tells whether an answer refuses the broker's
    /// token.
    pub(crate) async fn exchange(
        &self,
        request: &Request<'_>,
        deadline: Deadline,
        refuses: impl Fn(&Reply) -> bool,
    ) -> Result<Reply, Failure> {
        let began = explain::clock();
        let outcome = match &self.bearer {
            None => self.host.exchange(request, &self.calls, deadline).await,
            Some(bearer) => Box::pin(self.with_token(bearer, request, deadline, refuses)).await,
        };
        explain::time("API", began);
        outcome
    }

    async fn with_token(
        &self,
        bearer: &Bearer,
        request: &Request<'_>,
        deadline: Deadline,
        refuses: impl Fn(&Reply) -> bool,
    ) -> Result<Reply, Failure> {
        let token = bearer.token(deadline).await?;
        let reply = self.authorized(request, &token, deadline).await?;
        if !refuses(&reply) {
            return Ok(reply);
        }
        match bearer.after_refusal(&token, deadline).await {
            Ok(Some(fresh)) => self.authorized(request, &fresh, deadline).await,
            // The API's answer says more than the lack of another token.
            Ok(None) | Err(_) => Ok(reply),
        }
    }

    async fn authorized(
        &self,
        request: &Request<'_>,
        token: &Token,
        deadline: Deadline,
    ) -> Result<Reply, Failure> {
        let request = Request { authorization: Some(token.header().clone()), ..request.clone() };
        explain::redact(|| Redactor::of_values([token.header()]));
        explain::note(|| "with the header authorization: the token of backend_oidc_auth".to_owned());
        self.host.exchange(&request, &self.calls, deadline).await
    }
}
