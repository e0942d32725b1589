//! The three syntaxes of one shape: text to tree and index.
//!
//! YAML is read twice, by serde_yaml for the tree and as events for the index. JSON is nearly
//! YAML, so its index is made the same way; its tree is serde_json's. TOML has a reader of its own.

use std::path::Path;

use serde_yaml::Value;

use super::places::{Fault, Place, Places, toml, yaml};

/// The syntax of a configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Syntax {
    /// YAML.
    Yaml,
    /// TOML 1.1.
    Toml,
    /// JSON.
    Json,
}

impl Syntax {
    /// What the extension of `path` says; YAML for all that it does not know.
    #[must_use]
    pub fn of(path: &Path) -> Self {
        match path.extension() {
            Some(extension) if extension.eq_ignore_ascii_case("toml") => Self::Toml,
            Some(extension) if extension.eq_ignore_ascii_case("json") => Self::Json,
            _ => Self::Yaml,
        }
    }

    /// Reads `text`. The tree is the text's own only if there are no faults.
    pub(super) fn read(self, text: &str) -> (Value, Places, Vec<Fault>) {
        match self {
            Self::Yaml => from_yaml(text),
            Self::Toml => toml::read(text),
            Self::Json => from_json(text),
        }
    }
}

fn from_yaml(text: &str) -> (Value, Places, Vec<Fault>) {
    let yaml::Read { places, mut faults, broken } = yaml::read(text);
    faults.extend(broken);
    let mut tree = Value::Null;
    if faults.is_empty() {
        match serde_yaml::from_str(text) {
            Ok(read) => tree = read,
            Err(error) => {
                let place = error.location().map(|at| Place { line: at.line(), column: at.column() });
                let place = place.unwrap_or(Place { line: 1, column: 1 });
                // The message ends with the place, which is shown already.
                faults.push(Fault::at(place, format!("not YAML: {error}")));
            }
        }
    }
    (tree, places, faults)
}

fn from_json(text: &str) -> (Value, Places, Vec<Fault>) {
    // What is no YAML may still be JSON; then only the places from there on are missing.
    let yaml::Read { places, mut faults, .. } = yaml::read(&without_surrogates(text));
    match serde_json::from_str(text) {
        Ok(tree) => (tree, places, faults),
        Err(error) => {
            if faults.is_empty() {
                let place = Place { line: error.line().max(1), column: error.column().max(1) };
                let message = error.to_string();
                let end = message.rfind(" at line ").unwrap_or(message.len());
                let message = format!("this is not JSON: {}", message.get(..end).unwrap_or_default());
                faults.push(Fault::at(place, message));
            }
            (Value::Null, places, faults)
        }
    }
}

/// JSON writes a character beyond the first plane as two escapes, which YAML refuses. The places
/// do not change.
fn without_surrogates(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("\\u") {
        let (head, tail) = rest.split_at(at);
        out.push_str(head);
        let is_surrogate = tail.get(2..3).is_some_and(|digit| digit.eq_ignore_ascii_case("d"))
            && tail.get(3..4).is_some_and(|digit| "89abcdefABCDEF".contains(digit));
        out.push_str(if is_surrogate { "\\u0" } else { tail.get(..3).unwrap_or(tail) });
        rest = tail.get(3..).unwrap_or_default();
    }
    out.push_str(rest);
    out
}
