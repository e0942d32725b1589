//! An HTTP API as an entry sees it: an origin, and the token that it wants of us.
//!
//! A token that the API refuses is replaced by a fresh one, and the request is sent once more: it may have been revoked,
//! or have ended on the way.

use std::sync::Arc;

use crate::http::{Host, Reply, Request};
use crate::model::{Deadline, Failure};
use crate::observe::explain;
use crate::observe::metrics::Calls;
use crate::observe::redact::Redactor;
use crate::oidc::{Bearer, Token};

/// One API.
#[derive(Debug)]
pub struct Api {
    host: Arc<Host>,
    /// `backend_oidc_auth`.
    bearer: Option<Arc<Bearer>>,
    calls: Arc<Calls>,
}

impl Api {
    /// The API at `host`, which wants to see `bearer`; what is sent there is counted in `calls`.
    #[must_use]
    pub fn new(host: Arc<Host>, bearer: Option<Arc<Bearer>>, calls: Arc<Calls>) -> Self {
        Self { host, bearer, calls }
    }

    /// Whether there is a token to show; `None` where none is wanted.
    #[must_use]
    pub fn has_token(&self) -> Option<bool> {
        self.bearer.as_ref().map(|bearer| bearer.has_token())
    }

    /// Sends `request` and reads the whole answer. `refuses` says whether an answer refuses our
    /// token, rather than what was asked.
    ///
    /// # Errors
    /// The class of what went wrong.
    pub async fn exchange(
        &self,
        request: &Request<'_>,
        deadline: Deadline,
        refuses: impl Fn(&Reply) -> bool,
    ) -> Result<Reply, Failure> {
        match &self.bearer {
            None => self.host.exchange(request, &self.calls, deadline).await,
            Some(bearer) => Box::pin(self.with_token(bearer, request, deadline, refuses)).await,
        }
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
            // The API's own word says more than that there is no other token.
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
