//! What maps alone, and policies alone, set.

use std::collections::HashSet;

use super::block;
use super::entry::{Inherited, Source};
use super::keys::{Block, nearest};
use super::path::KeyPath;
use super::problem::Report;
use super::raw::{self, Word};
use super::scalar;
use crate::lookup::template::ATTRIBUTES;
use crate::lookup::{Kind, MapSettings, PolicySettings};
use crate::model::OnFailure;
use crate::model::domain;

/// Resolves the keys of one protocol; `status` is the entry's `status_code`.
pub(super) fn kind(
    report: &mut Report<'_>,
    source: &Source<'_>,
    inherited: Inherited,
    status: u16,
) -> Option<Kind> {
    let Source { value, path, block, .. } = source;
    if *block == Block::Policy {
        let raw: raw::PolicyEntry = block::read(report, Some(value), path, *block)?;
        let on_failure = policy_failure(report, path, raw.on_failure);
        let cache_key = raw.cache_key.map(|names| cache_key(report, &path.key("cache_key"), names));
        return Some(Kind::Policy(PolicySettings { on_failure, cache_key }));
    }
    let raw: raw::MapEntry = block::read(report, Some(value), path, *block)?;
    let empty = [("error", false), ("not_found", true)];
    let empty =
        raw.empty_value.and_then(|text| scalar::choice(report, &path.key("empty_value"), &text, &empty));
    let statuses = raw.not_found_status.unwrap_or_default();
    let failure_is_not_found = map_failure(report, &path.key("on_failure"), raw.on_failure.as_deref());
    let perm_as_temp = raw.perm_as_temp.unwrap_or(false);
    if perm_as_temp && failure_is_not_found {
        report.warning(&path.key("perm_as_temp"), "has no effect with `on_failure: not_found`");
    }
    Some(Kind::Map(MapSettings {
        max_reply: inherited.max_reply,
        failure_is_not_found,
        perm_as_temp,
        empty_is_not_found: empty.unwrap_or(false),
        false_is_not_found: raw.false_is_not_found.unwrap_or(false),
        not_found_status: not_found_status(report, &path.key("not_found_status"), &statuses, status),
        domains: raw.domains.and_then(|names| domains(report, &path.key("domains"), &names)),
    }))
}

fn policy_failure(report: &mut Report<'_>, path: &KeyPath, word: Option<Word>) -> OnFailure {
    let Some(Word(text)) = word else { return OnFailure::default() };
    OnFailure::parse(&text).unwrap_or_else(|error| {
        let problem = report.value(&path.key("on_failure"), error.to_string());
        problem.hint("an access(5) action, as \"DEFER Temporary server problem\", or disconnect");
        OnFailure::default()
    })
}

fn cache_key(report: &mut Report<'_>, path: &KeyPath, names: Vec<String>) -> Vec<String> {
    for (index, name) in names.iter().enumerate() {
        if !ATTRIBUTES.contains(&name.as_str()) {
            let problem = report.value(&path.item(index), "no Postfix sends an attribute of this name");
            if let Some(near) = nearest(name, ATTRIBUTES.into_iter()) {
                problem.hint(format!("did you mean `{near}`?"));
            }
        }
    }
    names
}

/// Whether a failed lookup is to say "not found".
fn map_failure(report: &mut Report<'_>, path: &KeyPath, text: Option<&str>) -> bool {
    let choice =
        text.and_then(|text| scalar::choice(report, path, text, &[("temp", false), ("not_found", true)]));
    if choice == Some(true) {
        report.warning(path, "while the API is down Postfix rejects mail to every key of this map");
    }
    choice.unwrap_or(false)
}

fn not_found_status(report: &mut Report<'_>, path: &KeyPath, counts: &[raw::Count], status: u16) -> Vec<u16> {
    let mut statuses = Vec::with_capacity(counts.len());
    for (index, count) in counts.iter().enumerate() {
        let path = path.item(index);
        match scalar::status(report, &path, Some(*count)) {
            Some(code) if code == status => {
                report.value(&path, "is `status_code`, which brings a value");
            }
            code => statuses.extend(code),
        }
    }
    statuses
}

/// An empty list is none.
fn domains(report: &mut Report<'_>, path: &KeyPath, names: &[String]) -> Option<HashSet<String>> {
    let mut domains = HashSet::with_capacity(names.len());
    for (index, name) in names.iter().enumerate() {
        if name.is_empty() || name.chars().any(|c| c.is_whitespace() || c.is_control() || c == '@') {
            report.value(&path.item(index), "a domain is not empty, and holds no `@` and no blanks");
            continue;
        }
        match domain::comparable(name) {
            Some(name) => {
                domains.insert(name.into_owned());
            }
            None => {
                report.value(&path.item(index), "this cannot be a domain: it has no A-labels (UTS 46)");
            }
        }
    }
    (!names.is_empty()).then_some(domains)
}
