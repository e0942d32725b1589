//! What administrators and metrics read of a broker, and the removal of cached answers.

use std::collections::HashSet;

use super::Broker;
use crate::login::LoginEntry;
use crate::lookup::LookupEntry;
use crate::model::status::{CacheStatus, Status};
use crate::observe::metrics::{Component, Load};
use crate::shared::EntryShare;

impl Broker {
    /// What `lookup` and `login` read of all entries, in the order of kinds and names.
    fn entries<R>(
        &self,
        lookup: impl Fn(Component, &LookupEntry) -> R,
        login: impl Fn(&LoginEntry) -> R,
    ) -> Vec<(Component, &str, R)> {
        let mut all = Vec::new();
        for (kind, entries) in [(Component::Map, &self.maps), (Component::Policy, &self.policies)] {
            all.extend(entries.iter().map(|(name, counted)| (kind, &**name, lookup(kind, &counted.entry))));
        }
        let logins = self.logins.iter();
        all.extend(logins.map(|(name, counted)| (Component::Login, &**name, login(&counted.entry))));
        all.sort_by_key(|(kind, name, _)| (*kind, *name));
        all
    }

    pub(crate) fn load(&self) -> Load {
        let queues = self.entries(|_, entry| entry.backend.pool.queue(), |entry| entry.backend.pool.queue());
        let queues = queues.into_iter().map(|(kind, name, queue)| (kind, name.to_owned(), queue)).collect();
        let targets = self.entries(|_, entry| entry.backend.targets(), |entry| entry.backend.targets());
        let targets = targets.into_iter().flat_map(|(kind, name, targets)| {
            targets.into_iter().map(move |(target, is_up)| (kind, name.to_owned(), target, is_up))
        });
        let targets = targets.collect();
        let (cached, cached_bytes) = self.common.cache.size();
        let is_shared_up = self.common.shared.as_ref().map(|shared| shared.is_up());
        Load { queues, targets, pools: self.common.http.pools(), cached, cached_bytes, is_shared_up }
    }

    /// The status of all entries without their traffic, of the cache and the connections. This may take
    /// milliseconds.
    pub(crate) fn status(&self) -> Status {
        let all = self.entries(
            |kind, entry| entry.backend.status(kind.kind()),
            |entry| entry.backend.status(Component::Login.kind()),
        );
        let all = all.into_iter().map(|(_, _, status)| status).collect();
        self.common.cache.settle();
        let (entries, bytes) = self.common.cache.size();
        Status {
            cache: CacheStatus { entries, bytes, max_bytes: self.common.cache_bytes },
            shared: self.common.shared.as_ref().map(|shared| shared.status()),
            idle_http_connections: self.common.http.idle(),
            entries: all,
            ..Status::default()
        }
    }

    /// Removes cached answers: all, those of the entries called `name`, or that of one key of a map.
    /// Returns how many. This may take milliseconds.
    pub(crate) fn purge(&self, name: Option<&str>, key: Option<&str>) -> Result<usize, String> {
        if let (Some(name), Some(key)) = (name, key) {
            return match self.maps.get(name) {
                Some(map) => {
                    map.entry.share.iter().for_each(|share| share.forget(key));
                    Ok(usize::from(map.entry.cache.forget(key.as_bytes())))
                }
                None if self.policies.contains_key(name) => {
                    Err(format!("the answers of a policy have no key to name: purge all of {name:?}"))
                }
                None => Err(self.keeps_nothing(name)),
            };
        }
        let entries = self.maps.values().chain(self.policies.values()).map(|counted| &counted.entry);
        let meant = entries.filter(|entry| name.is_none_or(|name| entry.settings.name == name));
        let meant = meant.inspect(|entry| entry.share.iter().for_each(EntryShare::forget_all));
        let numbers: HashSet<u64> = meant.map(|entry| entry.cache.renumber()).collect();
        match name {
            Some(name) if numbers.is_empty() => Err(self.keeps_nothing(name)),
            _ => Ok(self.common.cache.sweep(&numbers)),
        }
    }

    /// What a purge does on other hosts, if not the same at once.
    pub(crate) fn purges_elsewhere(&self, is_of_key: bool) -> &'static str {
        match &self.common.shared {
            Some(shared) if !shared.is_up() && is_of_key => {
                "; other hosts keep theirs: there is no connection to the shared cache"
            }
            Some(shared) if !shared.is_up() => "; other hosts follow when the shared cache is connected",
            _ => "",
        }
    }
}
