//! The keys of an entry that say which of its targets is asked. The targets themselves are read with the
//! template of their path (`lookup::settings`).

use url::Url;

use crate::document::{Section, no_effect};

/// How many targets an entry may have.
pub(crate) const MAX_TARGETS: usize = 8;

const BALANCE: &[(&str, Balance)] = &[("first", Balance::First)];

/// The targets of an entry, and which one is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamSettings {
    /// `target`, or `targets` in the order in which they are asked; never empty.
    pub targets: Vec<TargetSettings>,
    /// `balance`.
    pub balance: Balance,
}

/// One target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetSettings {
    /// Its URL; path and query are the same for all targets of an entry.
    pub url: Url,
    /// `backup`: asked after all others.
    pub is_backup: bool,
}

/// `balance`: which target is asked first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Balance {
    /// `first`, the default: the first one in the list.
    First,
}

impl UpstreamSettings {
    /// The first target: its path and query are those of all.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.targets[0].url
    }

    /// The URLs of all targets.
    pub fn urls(&self) -> impl Iterator<Item = &Url> {
        self.targets.iter().map(|target| &target.url)
    }

    /// The origins of all targets, for the log.
    #[must_use]
    pub fn origins(&self) -> String {
        let origins: Vec<_> = self.urls().map(|url| url.origin().ascii_serialization()).collect();
        origins.join(", ")
    }
}

#[cfg(test)]
impl UpstreamSettings {
    /// For tests: one target.
    pub(crate) fn one(url: &str) -> Self {
        let url = url.parse().expect("a URL");
        Self { targets: vec![TargetSettings { url, is_backup: false }], balance: Balance::First }
    }
}

/// Reads the keys of `entry` beside its `targets`; nothing without these.
pub(crate) fn read(entry: &Section<'_>, targets: Option<Vec<TargetSettings>>) -> Option<UpstreamSettings> {
    let balance = entry.key("balance").choice(BALANCE);
    if targets.as_ref().is_some_and(|targets| targets.len() == 1) && balance.key.is_own() {
        no_effect([balance.key.clone()], "without `targets`");
    }
    let balance = balance.or(Balance::First);
    Some(UpstreamSettings { targets: targets.filter(|targets| !targets.is_empty())?, balance })
}
