//! What an entry takes from its section's `defaults`, and keys from old names.
//!
//! An entry named `defaults` is no map and no policy: every other entry of its section inherits
//! its keys. Blocks are merged key by key; for the rest, what the entry says holds, also `false`
//! and `~`, which takes back what it would inherit. `custom_headers` are added up where they are
//! read (`headers`). The index of places follows, so that a problem in an inherited value stands
//! where that was written, and is told once.

use serde_yaml::{Mapping, Value};

use super::path::KeyPath;
use super::places::DEFAULTS;
use super::problem::Report;
use super::secret;

const SECTIONS: [&str; 3] = ["socket_maps", "policy_services", "dovecot_sasl"];

/// The name of `backend_oidc_auth` before, and its name.
const OIDC: (&str, &str) = (OLD_OIDC, "backend_oidc_auth");
pub(super) const OLD_OIDC: &str = "oidc_auth";

/// The name of `skip_verify` in the Go program's versions 1.0 and 1.1, and its name.
const SKIP_VERIFY: (&str, &str) = ("http_client_skip_verify", "skip_verify");

/// Gives the keys that have an old name their new one.
pub(super) fn rename(report: &mut Report<'_>, tree: &mut Value) {
    let top = KeyPath::default();
    for section in SECTIONS {
        let entries = tree.get_mut(section).and_then(Value::as_mapping_mut);
        for (name, entry) in entries.into_iter().flatten() {
            if let Some(name) = name.as_str() {
                rename_in(report, entry, &top.key(section).key(name), OIDC);
            }
        }
    }
    if let Some(tls) = tree.get_mut("server").and_then(|server| server.get_mut("tls")) {
        rename_in(report, tls, &top.key("server").key("tls"), SKIP_VERIFY);
    }
}

fn rename_in(report: &mut Report<'_>, block: &mut Value, path: &KeyPath, (old, new): (&str, &str)) {
    let Some(block) = block.as_mapping_mut().filter(|block| block.contains_key(old)) else { return };
    if block.contains_key(new) {
        report.key(&path.key(old), format!("`{new}` is given as well, which is the same"));
    } else {
        report.warning(&path.key(old), format!("is read as `{new}`, its name today"));
        report.places_mut().link(&path.key(old), &path.key(new));
        let value = block.get(old).cloned().unwrap_or(Value::Null);
        block.insert(Value::from(new), value);
    }
    block.shift_remove(old);
}

/// Lets every entry of the section at `path` inherit; returns what they inherit.
pub(super) fn inherit(report: &mut Report<'_>, section: &mut Value, path: &KeyPath) -> Option<Value> {
    let entries = section.as_mapping_mut()?;
    let defaults = entries.shift_remove(DEFAULTS)?;
    let from = path.key(DEFAULTS);
    for (name, entry) in entries.iter_mut() {
        if let (Some(name), Some(defaults)) = (name.as_str(), defaults.as_mapping()) {
            merge(report, defaults, &from, entry, &path.key(name));
        }
    }
    Some(defaults)
}

fn merge(report: &mut Report<'_>, defaults: &Mapping, from: &KeyPath, entry: &mut Value, to: &KeyPath) {
    if entry.is_null() {
        *entry = Value::Mapping(Mapping::new());
    }
    let Some(entry) = entry.as_mapping_mut() else { return };
    for (key, value) in defaults {
        let Some(name) = key.as_str() else { continue };
        let has_twin = secret::twin(name).is_some_and(|twin| entry.contains_key(twin.as_str()));
        if name == "custom_headers" || has_twin {
            continue;
        }
        match (entry.get_mut(name), value) {
            (None, value) => {
                entry.insert(key.clone(), value.clone());
                report.places_mut().link(&from.key(name), &to.key(name));
            }
            (Some(own @ Value::Mapping(_)), Value::Mapping(value)) => {
                merge(report, value, &from.key(name), own, &to.key(name));
            }
            _ => {}
        }
    }
}
