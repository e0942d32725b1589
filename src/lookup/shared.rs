//! An entry and the shared cache: which entries of other hosts share its answers, and when a lookup reads there.
//!
//! A lookup whose API answers reads nothing. Only two do: one that `fresh` or `negative` might spare a request, and
//! one without an answer of its API.

use tracing::debug;

use super::cache::Cached;
use super::{Kind, LookupEntry, LookupSettings};
use crate::model::Answer;
use crate::observe::explain;

impl LookupEntry {
    /// Whether another host's answer may spare a request.
    pub(super) fn reads_shared_first(&self) -> bool {
        self.share.is_some() && self.cache.spares_requests()
    }

    /// A fresh answer of another host.
    pub(super) async fn fresh_of_others(&self, key: &[u8]) -> Option<Answer> {
        let found = self.share.as_ref()?.find(key).await?;
        self.cache.adopt(key, &found.answer, found.age);
        let Cached::Fresh(answer) = self.cache.judge(&found.answer, found.age) else { return None };
        explain::note(|| {
            format!("shared cache: a fresh answer ({} s old), the API is not asked", found.age.as_secs())
        });
        Some(answer)
    }

    /// An answer from before, of this host or of another one, for a lookup without an answer of its API.
    pub(super) async fn answer_from_before(&self, key: &[u8]) -> Option<Answer> {
        if let Some(answer) = self.cache.stand_in(key) {
            return Some(answer);
        }
        let share = self.share.as_ref().filter(|_| self.cache.has_stand_ins())?;
        let found = share.find(key).await?;
        self.cache.adopt(key, &found.answer, found.age);
        if !self.cache.stands_in(&found.answer, found.age) {
            return None;
        }
        explain::note(|| format!("shared cache: an answer from before ({} s old)", found.age.as_secs()));
        debug!(name = self.settings.name, "an answer of the shared cache stands in");
        Some(found.answer)
    }
}

/// All that the answers of an entry depend on: entries of all hosts for which this is the same share them. The order
/// of targets is no part of it, and what is about the connection alone is none.
pub(crate) fn identity(settings: &LookupSettings) -> Vec<Vec<u8>> {
    let mut urls: Vec<&str> = settings.upstream.urls().map(url::Url::as_str).collect();
    urls.sort_unstable();
    let mut parts: Vec<String> =
        vec![settings.component().kind().to_owned(), settings.name.clone(), format!("{urls:?}")];
    // `Debug` of these types writes all that they hold.
    parts.push(format!(
        "{:?}",
        (settings.method, &settings.path, &settings.payload, &settings.recipient_delimiter)
    ));
    parts.push(format!(
        "{:?}",
        (
            settings.status_code,
            &settings.value_field,
            &settings.error_field,
            &settings.no_error_value,
            settings.absent_value
        )
    ));
    parts.push(match &settings.kind {
        Kind::Map(map) => {
            let flags = (map.max_reply, map.empty_is_not_found, map.false_is_not_found);
            format!("{:?}", (flags, &map.not_found_status))
        }
        Kind::Policy(policy) => format!("{:?}", policy.cache_key),
    });
    if let Some(client) = &settings.request.bearer {
        parts.push(format!("{:?}", (client.configuration_uri.as_str(), &client.client_id, &client.scopes)));
    }
    // Headers may name a tenant. Their `Debug` hides values.
    let headers = settings.request.headers.iter();
    let headers =
        headers.flat_map(|(name, value)| [name.as_str().as_bytes().to_vec(), value.as_bytes().to_vec()]);
    parts.into_iter().map(String::into_bytes).chain(headers).collect()
}
