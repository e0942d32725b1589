//! One block of the tree into its raw struct, with an error that has a path and no value.
//!
//! Each block is read on its own, so that one run tells all that is wrong.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_path_to_error::Segment;
use serde_yaml::{Mapping, Value};

use super::keys::{self, Block};
use super::path::KeyPath;
use super::problem::Report;
use super::tree::Tree;

pub(super) use super::tree::fields;

/// Reads the block at `path`; an absent or empty one is its default. A key that is not known, or
/// whose value has the wrong shape, is reported and left out; nothing is read of what is no mapping.
pub(super) fn read<T>(
    report: &mut Report<'_>,
    value: Option<&Value>,
    path: &KeyPath,
    block: Block,
) -> Option<T>
where
    T: DeserializeOwned + Default,
{
    let Some(value) = value.filter(|value| !value.is_null()) else { return Some(T::default()) };
    let mapping = mapping(report, value, path)?;
    keys::check(report, mapping, path, block);
    let mut rest = Value::Mapping(mapping.clone());
    loop {
        let error = match serde_path_to_error::deserialize(Tree(&rest)) {
            Ok(raw) => return Some(raw),
            Err(error) => error,
        };
        let at = below(path, error.path());
        report.value(&at, error.inner().to_string());
        let Some(Segment::Map { key }) = error.path().iter().next() else { return None };
        rest.as_mapping_mut().and_then(|mapping| mapping.remove(key))?;
    }
}

/// The value of `key` in a mapping, as it stands in the tree.
pub(super) fn child<'v>(value: Option<&'v Value>, key: &str) -> Option<&'v Value> {
    value.and_then(Value::as_mapping).and_then(|mapping| mapping.get(key))
}

/// Whether the block has `enabled: true`, in the file or out of the environment.
pub(super) fn is_enabled(block: Option<&Value>) -> bool {
    child(block, "enabled").is_some_and(|value| bool::deserialize(Tree(value)).unwrap_or(false))
}

/// The entries of a section: names and values.
pub(super) fn entries<'v>(
    report: &mut Report<'_>,
    value: Option<&'v Value>,
    path: &KeyPath,
) -> Vec<(&'v str, &'v Value)> {
    let Some(value) = value.filter(|value| !value.is_null()) else { return Vec::new() };
    let mapping = mapping(report, value, path);
    let named = |(key, value): (&'v Value, &'v Value)| key.as_str().map(|name| (name, value));
    mapping.into_iter().flatten().filter_map(named).collect()
}

/// The items of a list.
pub(super) fn items<'v>(report: &mut Report<'_>, value: Option<&'v Value>, path: &KeyPath) -> &'v [Value] {
    match value {
        None | Some(Value::Null) => &[],
        Some(Value::Sequence(items)) => items,
        Some(other) => {
            let problem = report.value(path, format!("expected a list, found {}", kind(other)));
            if other.is_mapping() {
                problem.hint("a single one is a list, too: in YAML it begins with `- `");
            }
            &[]
        }
    }
}

fn mapping<'v>(report: &mut Report<'_>, value: &'v Value, path: &KeyPath) -> Option<&'v Mapping> {
    if let Value::Mapping(mapping) = value {
        return Some(mapping);
    }
    report.value(path, format!("expected keys and values, found {}", kind(value)));
    None
}

fn below(path: &KeyPath, rest: &serde_path_to_error::Path) -> KeyPath {
    let mut path = path.clone();
    for segment in rest {
        path = match segment {
            Segment::Seq { index } => path.item(*index),
            Segment::Map { key } => path.key(key),
            Segment::Enum { variant } => path.key(variant),
            Segment::Unknown => path,
        };
    }
    path
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Sequence(_) => "a list",
        Value::Mapping(_) => "keys and values",
        Value::Tagged(_) => "a tagged value",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::raw;

    #[test]
    fn a_struct_tells_its_fields() {
        assert_eq!(fields::<raw::Logging>(), ["json", "level", "use_systemd", "log_keys"]);
        assert!(fields::<raw::Listener>().contains(&"type"));
    }
}
