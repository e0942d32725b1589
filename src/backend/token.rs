//! Requests with the token that an API wants (`backend_oidc_auth`).
//!
//! If the API refuses the token, the broker gets a new one and sends the request once more: the token may
//! have been revoked, or have expired on the way.

use super::Backend;
use crate::http::{Reply, Request};
use crate::model::{Deadline, Failure};
use crate::observe::explain;
use crate::observe::redact::Redactor;
use crate::oidc::{Bearer, Token};

impl Backend {
    /// Sends `request` and reads the whole answer. `refuses` tells whether an answer refuses the broker's
    /// token.
    pub(crate) async fn exchange(
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
