//! `PFXHTTP_…` variables, laid over the file.
//!
//! A variable's name is the path of a key, in upper case, with `_` between the steps and for every
//! character that is no letter or digit: `PFXHTTP_SERVER_LISTEN_0_PORT`,
//! `PFXHTTP_SOCKET_MAPS_USERS_TARGET`. Any key may be set, also one that the file lacks, within
//! the entries, listeners and list items that the file has; none of these is created. Of two
//! entries that a name fits, the one with the longer name is meant; one that still fits two keys is
//! an error, one that fits none a warning. An empty value leaves the file as it is. A variable
//! displaces the `…_file` twin of its key, and the other way round.
//!
//! The variables by which OpenTelemetry programs find their collector stand in for keys of
//! `server.observability` that nobody has set (OpenTelemetry, environment variable specification).
//! The proxy variables are read where connections are made (`exchange`); here is said which of them
//! cannot be used.

use std::rc::Rc;

use percent_encoding::percent_decode_str;
use serde_yaml::{Mapping, Value};

use super::defaults::OLD_OIDC;
use super::file;
use super::keys::{Below, Block};
use super::path::{KeyPath, Step};
use super::problem::{Report, Severity};
use super::secret;
use super::source::{PREFIX, is_ours};
use super::tree;
use crate::http::{is_proxy_variable, proxy_complaints};

/// OpenTelemetry's variables, and the keys of `server.observability` that they stand in for.
const OTEL: [(&str, &str); 3] = [
    ("OTEL_SERVICE_NAME", "otel_service_name"),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "otel_exporter_otlp_endpoint"),
    ("OTEL_EXPORTER_OTLP_HEADERS", "otel_exporter_otlp_headers"),
];

/// Whether the variable `name` is read here.
pub(super) fn is_read(name: &str) -> bool {
    is_ours(name)
        || name == file::CREDENTIALS
        || OTEL.iter().any(|(variable, _)| *variable == name)
        || is_proxy_variable(name)
}

/// Says which proxy variables cannot be used.
pub(super) fn warn_of_proxies(report: &mut Report<'_>, environment: &[(String, String)]) {
    let text = |name: &str| environment.iter().find(|(known, _)| known == name).map(|(_, text)| text.clone());
    for complaint in proxy_complaints(text) {
        report.variable(Severity::Warning, &complaint.variable, complaint.why);
    }
}

/// A key that a variable's name fits.
struct Hit {
    path: KeyPath,
    /// The length of the entry's name; 0 outside of entries.
    entry: usize,
}

/// Lays the variables of `environment` over `tree`.
pub(super) fn apply(report: &mut Report<'_>, tree: &mut Value, environment: &[(String, String)]) {
    let mut applied: Vec<KeyPath> = Vec::new();
    for (name, text) in environment.iter().filter(|(name, text)| is_ours(name) && !text.is_empty()) {
        let mut hits = Vec::new();
        let rest = folded(name.get(PREFIX.len()..).unwrap_or_default());
        search(Block::Top, Some(tree), &rest, &Hit { path: KeyPath::default(), entry: 0 }, &mut hits);
        let longest = hits.iter().map(|hit| hit.entry).max().unwrap_or(0);
        hits.retain(|hit| hit.entry == longest);
        match &hits[..] {
            [] => {
                let message = "matches no key of this configuration, and has no effect".to_owned();
                report.variable(Severity::Warning, name, message);
            }
            [hit] if applied.contains(&hit.path) => {
                let message = format!("{} is set by another variable, too", hit.path);
                report.variable(Severity::Error, name, message);
            }
            [hit] => {
                if set(tree, hit.path.steps(), text) {
                    report.places_mut().set(&hit.path, &Rc::from(name.as_str()));
                }
                applied.push(hit.path.clone());
            }
            [one, other, ..] => {
                let message = format!("matches two keys: {} and {}", one.path, other.path);
                report.variable(Severity::Error, name, message);
            }
        }
    }
}

/// Lets OpenTelemetry's variables stand in for keys that `tree` lacks.
pub(super) fn stand_in(report: &mut Report<'_>, tree: &mut Value, environment: &[(String, String)]) {
    let observed = tree.get_mut("server").and_then(|server| server.get_mut("observability"));
    let Some(observed) = observed.and_then(Value::as_mapping_mut) else { return };
    let at = KeyPath::default().key("server").key("observability");
    for (variable, key) in OTEL {
        let text = environment.iter().find(|(name, text)| name == variable && !text.is_empty());
        let Some((_, text)) = text.filter(|_| !observed.contains_key(key)) else { continue };
        report.places_mut().set(&at.key(key), &Rc::from(variable));
        let is_list = key == "otel_exporter_otlp_headers";
        observed.insert(Value::from(key), if is_list { pairs(text) } else { tree::variable(text) });
    }
}

/// `name=value,name=value`, the values percent-encoded.
fn pairs(text: &str) -> Value {
    let pairs = text.split(',').filter(|pair| !pair.trim().is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = percent_decode_str(value.trim()).decode_utf8_lossy();
        (Value::from(name.trim()), tree::variable(&value))
    });
    Value::Mapping(pairs.collect())
}

/// Finds the keys of `block`, and below, that `rest` fits.
fn search(block: Block, value: Option<&Value>, rest: &str, at: &Hit, hits: &mut Vec<Hit>) {
    let mapping = value.and_then(Value::as_mapping);
    // Whoever sets a variable knows the name of today.
    for key in block.keys().into_iter().filter(|key| *key != OLD_OIDC) {
        let Some(rest) = rest.strip_prefix(folded(key).as_str()) else { continue };
        let path = at.path.key(key);
        let value = mapping.and_then(|mapping| mapping.get(key));
        match (block.below(key), rest.strip_prefix('_')) {
            (None, None) if rest.is_empty() => hits.push(Hit { path, entry: at.entry }),
            (None, Some(rest)) => {
                if let (Some(index), "", _) = item(value, rest) {
                    hits.push(Hit { path: path.item(index), entry: at.entry });
                }
            }
            (Some(Below::One(block)), Some(rest)) => {
                search(block, value, rest, &Hit { path, entry: at.entry }, hits);
            }
            (Some(Below::Items(block)), Some(rest)) => {
                if let (Some(index), rest, value) = item(value, rest) {
                    let at = Hit { path: path.item(index), entry: at.entry };
                    search(block, value, rest, &at, hits);
                }
            }
            (Some(Below::Entries(block)), Some(rest)) => {
                for (name, value) in value.and_then(Value::as_mapping).into_iter().flatten() {
                    let Some(name) = name.as_str() else { continue };
                    let below = rest.strip_prefix(folded(name).as_str());
                    if let Some(rest) = below.and_then(|rest| rest.strip_prefix('_')) {
                        let at = Hit { path: path.key(name), entry: name.chars().count() };
                        search(block, Some(value), rest, &at, hits);
                    }
                }
            }
            _ => {}
        }
    }
}

/// The item of a list that `rest` begins with, what stands behind it, and its value.
fn item<'r, 'v>(list: Option<&'v Value>, rest: &'r str) -> (Option<usize>, &'r str, Option<&'v Value>) {
    let (index, rest) = rest.split_once('_').unwrap_or((rest, ""));
    let index = index.parse().ok();
    let value = index.and_then(|index: usize| list.and_then(Value::as_sequence)?.get(index));
    (index.filter(|_| value.is_some()), rest, value)
}

/// How a name is compared.
fn folded(name: &str) -> String {
    name.chars().flat_map(char::to_uppercase).map(|c| if c.is_alphanumeric() { c } else { '_' }).collect()
}

/// Puts `text` where `steps` lead, through blocks that are made where they lack. Says no where the
/// file has something there that is no block.
fn set(tree: &mut Value, steps: &[Step], text: &str) -> bool {
    let Some((step, below)) = steps.split_first() else {
        *tree = tree::variable(text);
        return true;
    };
    match step {
        Step::Item(index) => {
            let item = tree.as_sequence_mut().and_then(|items| items.get_mut(*index));
            item.is_some_and(|item| set(item, below, text))
        }
        Step::Key(name) => {
            if tree.is_null() {
                *tree = Value::Mapping(Mapping::new());
            }
            let Some(mapping) = tree.as_mapping_mut() else { return false };
            if below.is_empty()
                && let Some(twin) = secret::twin(name)
            {
                mapping.shift_remove(twin.as_str());
            }
            set(mapping.entry(Value::from(name.as_str())).or_insert(Value::Null), below, text)
        }
    }
}
