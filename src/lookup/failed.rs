//! Lookups without an answer of the API: their line in the log, and what Postfix is told instead.

use std::sync::Arc;

use tracing::{debug, info};

use super::template::{LookupInput, Unsendable};
use super::{Kind, LogKeys, LookupEntry, RequestContext, hex, millis};
use crate::model::brief::brief;
use crate::model::{Answer, Failure};
use crate::observe::explain;
use crate::oidc::ClientSettings;

impl LookupEntry {
    /// Logs a failed lookup, and says what Postfix is told.
    pub(super) async fn failed(
        &self,
        failure: Failure,
        lookup: LookupInput<'_>,
        key: &[u8],
        context: &RequestContext<'_>,
    ) -> Answer {
        self.log(&failure, lookup, context);
        self.stand_in(key, failure).await
    }

    /// Logs a failed lookup, unless the rate limit of an outage holds the line back.
    fn log(&self, failure: &Failure, lookup: LookupInput<'_>, context: &RequestContext<'_>) {
        let Some(suppressed) = self.backend.health.note(failure) else { return };
        let name = self.settings.name.as_str();
        let (target, provider) = match failure {
            // Without a token the API was not asked.
            Failure::Provider => {
                (None, self.settings.request.bearer.as_deref().map(ClientSettings::provider))
            }
            _ => (Some(self.settings.upstream.origins()), None),
        };
        let (class, duration_ms) = (failure.class(), millis(context.at));
        let failure = failure.to_string();
        let (source, session, request) = (context.source(), context.session_hex(), hex(context.id));
        let key = (self.settings.log_keys != LogKeys::Never).then(|| brief(&lookup.shown()).into_owned());
        let [queue_id, instance] = ["queue_id", "instance"].map(|name| lookup.attribute(name));
        let [queue_id, instance] = [&queue_id, &instance].map(|text| text.as_deref().map(brief));
        let (queue_id, instance) = (queue_id.as_deref(), instance.as_deref());
        info!(
            name,
            target,
            provider,
            class,
            failure,
            duration_ms,
            source,
            session,
            request,
            key,
            queue_id,
            instance,
            suppressed,
            "lookup failed"
        );
    }

    /// The answer to a failed lookup: an older one from a cache, else what the entry says.
    async fn stand_in(&self, key: &[u8], failure: Failure) -> Answer {
        let may_stand_in = match &self.settings.kind {
            Kind::Policy(_) => true,
            // These are complete answers; an older one would hide the mistake.
            Kind::Map(_) => !matches!(
                failure,
                Failure::EmptyValue | Failure::UnexpectedValue | Failure::ErrorField(_) | Failure::TooLong(_)
            ),
        };
        if may_stand_in && let Some(answer) = self.answer_from_before(key).await {
            explain::note(|| format!("cache: a cached answer replaces the failure ({failure})"));
            debug!(name = self.settings.name, "a cached answer replaces a failure");
            return answer;
        }
        match &self.settings.kind {
            Kind::Map(map) if map.failure_is_not_found => Answer::NotFound,
            _ => Answer::Failed { failure, on_failure: self.on_failure().cloned() },
        }
    }

    /// The answer from before, if there is one, for a lookup while no target is up: it does not wait for a
    /// failure. Whether a target is back is tried in the background.
    pub(super) async fn stand_in_at_once(
        self: &Arc<Self>,
        lookup: LookupInput<'_>,
        key: &Arc<[u8]>,
        context: &RequestContext<'_>,
    ) -> Option<Answer> {
        let answer = self.answer_from_before(key).await?;
        explain::note(|| "cache: a cached answer is given at once, because no target is up".to_owned());
        debug!(name = self.settings.name, "a cached answer replaces a failure");
        if self.backend.is_due() {
            self.in_background(&self.trying, lookup, key, context);
        }
        Some(answer)
    }

    /// The answer to a lookup that cannot be sent. A path that leads elsewhere means "not found"; otherwise an
    /// administrator must choose another escaping.
    pub(super) fn unsendable(&self, why: Unsendable, context: &RequestContext<'_>) -> Answer {
        let (reason, hint) = match why {
            Unsendable::Elsewhere => (
                "an insertion into the path of the target is empty, or leads elsewhere by a `..`",
                Some("where an empty one means something, send another text for it: default(\"...\")"),
            ),
            Unsendable::Illegal => ("the template cannot send what is asked", None),
        };
        explain::note(|| format!("the API is not asked: {reason}"));
        let failure = match (&self.settings.kind, why) {
            (Kind::Map(_), Unsendable::Elsewhere) => return Answer::NotFound,
            (Kind::Map(_), Unsendable::Illegal) => Failure::Malformed,
            // A malformed request of Postfix closes its connection; this is not Postfix' doing.
            (Kind::Policy(_), _) => Failure::UnexpectedValue,
        };
        self.backend.health.note_unsent(&failure, reason);
        let (name, source) = (self.settings.name.as_str(), context.source());
        info!(name, class = failure.class(), source, hint, "lookup failed: {reason}");
        Answer::Failed { failure, on_failure: self.on_failure().cloned() }
    }
}
