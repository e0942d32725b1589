//! Log lines of logins: each denial (for fail2ban), and failures within the rate limit of an outage. The entry
//! and the remote address come before anything that a user typed.

use std::num::NonZeroU64;
use std::sync::PoisonError;

use tracing::info;

use super::LoginEntry;
use super::attempts::TooManyAttempts;
use crate::lookup::{RequestContext, hex};
use crate::model::brief::cut;
use crate::model::{Answer, Credentials, Failure, Login};
use crate::observe::explain;
use crate::oidc::ClientSettings;

/// Characters of the detail of a refused token.
const LONGEST_DETAIL: usize = 600;

impl LoginEntry {
    pub(super) fn log_denial(&self, login: &Login, context: &RequestContext<'_>, reason: &str, detail: &str) {
        let (name, mechanism) = (self.settings.name.as_str(), login.mechanism.name());
        let (user, remote) = (login.credentials.user(), login.peer.client_ip.as_str());
        let detail = Some(detail).filter(|detail| !detail.is_empty() && *detail != reason);
        let detail = detail.map(|detail| cut(detail, LONGEST_DETAIL));
        let detail = detail.as_deref();
        detail.into_iter().for_each(|detail| explain::note(|| format!("denied: {detail}")));
        let (source, session, request) = (context.source(), context.session_hex(), hex(context.id));
        info!(name, remote, user, mechanism, reason, detail, source, session, request, "login denied");
    }

    /// The answer to a login beyond `sasl_attempts`; logged once a minute.
    pub(super) fn put_off(
        &self,
        login: &Login,
        context: &RequestContext<'_>,
        why: TooManyAttempts,
    ) -> Answer {
        let failure = Failure::Overload;
        explain::note(|| format!("failed: {} (class {})", why.reason(), failure.class()));
        self.backend.health.count(&failure, why.reason());
        let is_due = self.too_many_attempts.lock().unwrap_or_else(PoisonError::into_inner).is_due();
        if let Some(suppressed) = is_due.map(NonZeroU64::new) {
            let (name, mechanism) = (self.settings.name.as_str(), login.mechanism.name());
            let (user, remote) = (login.credentials.user(), login.peer.client_ip.as_str());
            let (source, session, request) = (context.source(), context.session_hex(), hex(context.id));
            let (class, failure) = (failure.class(), why.reason());
            info!(
                name,
                remote, user, mechanism, class, failure, source, session, request, suppressed, "login failed"
            );
        }
        Answer::Failed { failure, on_failure: Some(self.settings.on_failure.clone()) }
    }

    /// Logs a failure, unless the rate limit of an outage holds the line back.
    pub(super) fn log_failure(&self, login: &Login, context: &RequestContext<'_>, failure: &Failure) {
        let Some(suppressed) = self.backend.health.note(failure) else { return };
        let (name, mechanism) = (self.settings.name.as_str(), login.mechanism.name());
        let (user, remote) = (login.credentials.user(), login.peer.client_ip.as_str());
        let (target, provider) = match failure {
            // The API was not asked.
            Failure::Provider => (None, self.provider(&login.credentials).map(ClientSettings::provider)),
            _ => (Some(self.settings.upstream.origins()), None),
        };
        let duration_ms = u64::try_from(context.at.elapsed().as_millis()).unwrap_or(u64::MAX);
        let (source, session, request) = (context.source(), context.session_hex(), hex(context.id));
        let (class, failure) = (failure.class(), failure.to_string());
        info!(
            name,
            target,
            provider,
            class,
            failure,
            duration_ms,
            remote,
            user,
            mechanism,
            source,
            session,
            request,
            suppressed,
            "login failed"
        );
    }

    /// The provider that a login needs: a password, for the broker's own token; a token, to verify it.
    fn provider(&self, credentials: &Credentials) -> Option<&ClientSettings> {
        match credentials {
            Credentials::Password { .. } => self.settings.request.bearer.as_deref(),
            Credentials::Token { .. } => self.settings.tokens.as_ref().map(|tokens| &tokens.client),
        }
    }
}
