//! What maps alone, and policies alone, set.

use std::borrow::Cow;
use std::collections::HashSet;

use super::{Inherited, statuses};
use crate::document::{self, Refusal, Section, nearest, no_effect, size};
use crate::lookup::template::ATTRIBUTES;
use crate::model::{OnFailure, domain};

/// The section of an entry, and the keys that only this section has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// An entry of `socket_maps`.
    Map(MapSettings),
    /// An entry of `policy_services`.
    Policy(PolicySettings),
}

/// The keys of `socket_maps` alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MapSettings {
    /// `server.socketmap_max_reply_size`: the most bytes of a reply's payload.
    pub max_reply: usize,
    /// `on_failure: not_found`, instead of `temp`.
    pub failure_is_not_found: bool,
    /// `perm_as_temp`: what would be PERM is TEMP.
    pub perm_as_temp: bool,
    /// `empty_value: not_found`, instead of `error`.
    pub empty_is_not_found: bool,
    /// `not_found_status`: these statuses say "no such key".
    pub not_found_status: Vec<u16>,
    /// `false_is_not_found`: the value `false` says "no such key".
    pub false_is_not_found: bool,
    /// `domains`, as they are compared; if set, keys of other domains are not found without a call.
    pub domains: Option<HashSet<String>>,
}

/// The keys of `policy_services` alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicySettings {
    /// `on_failure`.
    pub on_failure: OnFailure,
    /// `cache_key`: the attributes that make cached requests differ; `None`: all but the usual exceptions.
    pub cache_key: Option<Vec<String>>,
}

/// Reads `server.socketmap_max_reply_size`. The Go program's range ends at a gigabyte, which no Postfix takes and
/// which would be a buffer for each connection.
#[must_use]
pub fn max_reply(server: &Section<'_>) -> usize {
    size(server.key("socketmap_max_reply_size").count(1..=1 << 20).or(100_000))
}

/// Reads the keys of maps; `status` is the entry's `status_code`.
pub(super) fn map(entry: &Section<'_>, inherited: &Inherited, status: u16) -> Kind {
    let flag = |name| entry.key(name).flag().or(false);
    let domains = entry.key("domains").list(document::Kind::Text);
    let names = domains.iter().filter_map(|item| item.text().read_as(|name| domain(&name)).get()).collect();
    let map = MapSettings {
        max_reply: inherited.max_reply,
        empty_is_not_found: entry
            .key("empty_value")
            .choice(&[("error", false), ("not_found", true)])
            .or(false),
        false_is_not_found: flag("false_is_not_found"),
        failure_is_not_found: entry
            .key("on_failure")
            .choice(&[("temp", false), ("not_found", true)])
            .or(false),
        perm_as_temp: flag("perm_as_temp"),
        not_found_status: statuses(
            entry,
            "not_found_status",
            status,
            "is `status_code`, which brings a value",
        ),
        // An empty list is none.
        domains: (!domains.is_empty()).then_some(names),
    };
    if map.failure_is_not_found {
        let told = "while the API is down Postfix rejects mail to every key of this map";
        entry.key("on_failure").warning(told);
        let perm_as_temp = Some(entry.key("perm_as_temp")).filter(|_| map.perm_as_temp);
        no_effect(perm_as_temp, "with `on_failure: not_found`");
    }
    Kind::Map(map)
}

fn domain(name: &str) -> Result<String, &'static str> {
    if name.is_empty() || name.chars().any(|c| c.is_whitespace() || c.is_control() || c == '@') {
        return Err("a domain is not empty, and holds no `@` and no blanks");
    }
    let name = domain::comparable(name).map(Cow::into_owned);
    name.ok_or("this cannot be a domain: it has no A-labels (UTS 46)")
}

/// Reads the keys of policies.
pub(super) fn policy(entry: &Section<'_>) -> Kind {
    let on_failure = entry.key("on_failure").word().read_as(|text| {
        OnFailure::parse(&text).map_err(|error| {
            let refusal = Refusal::from(error.to_string());
            refusal.hint("an access(5) action, as \"DEFER Temporary server problem\", or disconnect")
        })
    });
    let on_failure = on_failure.shown(|on_failure| match on_failure {
        OnFailure::Action(action) => action.as_str().to_owned(),
        _ => "disconnect".to_owned(),
    });
    let cache_key = entry.key("cache_key");
    let names = cache_key.list(document::Kind::Text);
    let names = names.iter().filter_map(|item| item.text().check(|name| attribute(name)).get()).collect();
    Kind::Policy(PolicySettings {
        on_failure: on_failure.or(OnFailure::default()),
        cache_key: cache_key.is_set().then_some(names),
    })
}

fn attribute(name: &str) -> Result<(), Refusal> {
    if ATTRIBUTES.contains(&name) {
        return Ok(());
    }
    let refusal = Refusal::from("no Postfix sends an attribute of this name");
    Err(match nearest(name, ATTRIBUTES.into_iter()) {
        Some(near) => refusal.hint(format!("did you mean `{near}`?")),
        None => refusal,
    })
}
