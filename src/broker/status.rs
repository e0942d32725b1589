//! What administrators and metrics read of a broker, and the removal of cached answers.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::Broker;
use crate::observe::metrics::{Component, Load};

impl Broker {
    /// The current load.
    pub(crate) fn load(&self) -> Load {
        let targets = self.maps.iter().map(|entry| (Component::Map, entry));
        let targets = targets.chain(self.policies.iter().map(|entry| (Component::Policy, entry)));
        let queues =
            targets.map(|(component, (name, counted))| (component, name.clone(), counted.entry.queue()));
        let logins = self.logins.iter();
        let logins = logins.map(|(name, counted)| (Component::Login, name.clone(), counted.entry.queue()));
        let mut queues: Vec<_> = queues.chain(logins).collect();
        queues.sort_by(|one, other| (one.0, &one.1).cmp(&(other.0, &other.1)));
        let (cached, cached_bytes) = self.shared.cache.size();
        Load { queues, pools: self.shared.http.pools(), cached, cached_bytes }
    }

    /// The status of all entries, the cache and the connections. This may take milliseconds.
    pub(crate) fn status(&self) -> Value {
        let targets =
            [("map", &self.maps), ("policy", &self.policies)].into_iter().flat_map(|(kind, targets)| {
                let mut targets: Vec<_> = targets.values().map(|target| target.entry.status(kind)).collect();
                targets.sort_by_key(|target| target["name"].to_string());
                targets
            });
        let mut all: Vec<Value> = targets.collect();
        let mut logins: Vec<_> = self.logins.values().map(|logins| logins.entry.status()).collect();
        logins.sort_by_key(|login| login["name"].to_string());
        all.extend(logins);
        self.shared.cache.settle();
        let (entries, bytes) = self.shared.cache.size();
        json!({
            "cache": { "entries": entries, "bytes": bytes, "max_bytes": self.shared.cache_bytes },
            "idle_http_connections": self.shared.http.idle(),
            "target": all,
        })
    }

    /// Removes cached answers: all, those of the entries called `name`, or that of one key of a map.
    /// Returns how many. This may take milliseconds.
    pub(crate) fn purge(&self, name: Option<&str>, key: Option<&str>) -> Result<usize, String> {
        if let (Some(name), Some(key)) = (name, key) {
            return match self.maps.get(name) {
                Some(map) => Ok(usize::from(map.entry.cache().forget(key))),
                None if self.policies.contains_key(name) => {
                    Err(format!("the answers of a policy have no key to name: purge all of {name:?}"))
                }
                None => Err(self.keeps_nothing(name)),
            };
        }
        let targets = self.maps.values().chain(self.policies.values()).map(|target| &target.entry);
        let meant = targets.filter(|target| name.is_none_or(|name| target.settings().name == name));
        let numbers: HashSet<u64> = meant.map(|target| target.cache().renumber()).collect();
        match name {
            Some(name) if numbers.is_empty() => Err(self.keeps_nothing(name)),
            _ => Ok(self.shared.cache.sweep(&numbers)),
        }
    }
}
