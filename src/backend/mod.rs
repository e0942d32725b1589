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

use crate::http::{Headers, Http, Reply, Request};
use crate::model::status::{CheckState, EntryStatus, TargetState};
use crate::model::{Deadline, Failure};
use crate::observe::explain;
use crate::observe::redact::Redactor;
use crate::oidc::{Bearer, ClientSettings, Oidc, Token};
use crate::upstream::settings::UpstreamSettings;
use crate::upstream::{Owner, Upstream};
use health::Health;
use worker_pool::WorkerPool;

/// One API, as one entry uses it.
#[derive(Debug)]
pub(crate) struct Backend {
    upstream: Upstream,
    /// `backend_oidc_auth`.
    bearer: Option<Arc<Bearer>>,
    pub(crate) pool: WorkerPool,
    pub(crate) health: Health,
}

/// The settings of an entry that concern its API.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BackendSettings<'s> {
    pub(crate) owner: Owner<'s>,
    pub(crate) upstream: &'s UpstreamSettings,
    pub(crate) bearer: Option<&'s ClientSettings>,
    pub(crate) workers: usize,
    pub(crate) queue: usize,
}

impl Backend {
    /// The API of `settings`, reached through `http`, with tokens from `oidc`; `before` is that of the
    /// configuration before.
    pub(crate) fn new(
        settings: BackendSettings<'_>,
        http: &Http,
        oidc: &Oidc,
        before: Option<&Self>,
    ) -> Self {
        let BackendSettings { owner, upstream, .. } = settings;
        Self {
            upstream: Upstream::new(upstream, owner, http, before.map(|before| &before.upstream)),
            bearer: settings.bearer.map(|bearer| oidc.bearer(bearer)),
            pool: WorkerPool::new(settings.workers, settings.queue),
            health: Health::new(
                owner.name,
                upstream.origins(),
                http.metrics().failures(owner.kind, owner.name),
            ),
        }
    }

    /// Each target that may be left alone, and whether it is up.
    pub(crate) fn targets(&self) -> Vec<(String, bool)> {
        if !self.upstream.may_be_out() {
            return Vec::new();
        }
        self.upstream.standings().map(|(target, is_up)| (target.to_owned(), is_up)).collect()
    }

    /// Whether no target is up.
    pub(crate) fn is_out(&self) -> bool {
        self.upstream.is_out()
    }

    /// Begins the health checks of its targets, unless they run. Needs the runtime.
    pub(crate) fn begin_checks(&self) {
        self.upstream.begin_checks();
    }

    /// Whether a lookup is to try a target that is out.
    pub(crate) fn is_due(&self) -> bool {
        self.upstream.is_due()
    }

    /// Tries targets that are out, and that no request needs.
    pub(crate) fn try_unneeded(&self) {
        self.upstream.try_unneeded();
    }

    /// The headers of every request.
    pub(crate) fn headers(&self) -> &Headers {
        self.upstream.headers()
    }

    /// The state of the API for `status`; `kind` is the entry's. A single target has no state of its own.
    pub(crate) fn status(&self, kind: &str) -> EntryStatus {
        let token = self.bearer.as_ref().map(|bearer| bearer.token_life());
        let state = |is_up| if is_up { TargetState::Up } else { TargetState::Out };
        let targets = Some(self.targets()).filter(|targets| targets.len() > 1).unwrap_or_default();
        let targets = targets.into_iter().map(|(target, is_up)| (target, state(is_up)));
        let check = |fails| if fails { CheckState::Failing } else { CheckState::Good };
        let checks = self.upstream.health_checks().map(|(target, fails)| (target.to_owned(), check(fails)));
        let (targets, health_checks) = (targets.collect(), checks.collect());
        EntryStatus { targets, health_checks, ..self.health.status(kind, &self.pool.queue(), token) }
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
            None => self.upstream.exchange(request, deadline).await.map(|(reply, _)| reply),
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
        let (reply, target) = self.upstream.exchange(&authorized(request, &token), deadline).await?;
        if !refuses(&reply) {
            return Ok(reply);
        }
        match bearer.after_refusal(&token, deadline).await {
            // To the same target: it has decided nothing yet.
            Ok(Some(fresh)) => self.upstream.again(target, &authorized(request, &fresh), deadline).await,
            // The API's answer says more than the lack of another token.
            Ok(None) | Err(_) => Ok(reply),
        }
    }
}

/// `request` with `token`.
fn authorized<'r>(request: &Request<'r>, token: &Token) -> Request<'r> {
    explain::redact(|| Redactor::of_values([token.header()]));
    explain::note(|| "with the header authorization: the token of backend_oidc_auth".to_owned());
    Request { authorization: Some(token.header().clone()), ..request.clone() }
}
