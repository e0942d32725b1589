//! The configuration as it holds: each value with its origin, in YAML.
//!
//! Secrets are shown as `…`. The text is YAML that a document can be made of, but for them.

use serde_yaml::{Mapping, Value};

use super::path::{KeyPath, Step};

/// What stands for a secret.
pub const HIDDEN: &str = "…";

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Origin {
    /// It is set nowhere.
    Default,
    /// It is set nowhere, and this key says what holds then.
    Inherited(&'static str),
    /// The document.
    File {
        /// Its line.
        line: usize,
        /// The key, which may be one of `defaults`.
        key: String,
    },
    /// An environment variable.
    Variable(String),
}

/// The values that hold, in the order in which they were read.
#[derive(Default)]
pub(super) struct Dump {
    lines: Vec<(KeyPath, Value, Origin)>,
}

impl Dump {
    /// Notes a value. What is noted later holds.
    pub(super) fn set(&mut self, path: &KeyPath, value: Value, origin: Origin) {
        match self.lines.iter_mut().rev().take(64).find(|(known, ..)| known == path) {
            Some((_, known, from)) => (*known, *from) = (value, origin),
            None => self.lines.push((path.clone(), value, origin)),
        }
    }

    /// The text; with `changed_only` without what is set nowhere.
    pub(super) fn to_yaml(&self, changed_only: bool) -> String {
        let mut tree = Tree::Map(Vec::new());
        for (path, value, origin) in &self.lines {
            if !(changed_only && matches!(origin, Origin::Default | Origin::Inherited(_))) {
                tree.put(path.steps(), value, origin, path);
            }
        }
        let mut text = String::new();
        tree.write(&mut text, 0);
        text
    }
}

/// The values by their paths.
enum Tree {
    Leaf(Value, String),
    Map(Vec<(String, Tree)>),
    List(Vec<(usize, Tree)>),
}

impl Tree {
    fn put(&mut self, steps: &[Step], value: &Value, origin: &Origin, path: &KeyPath) {
        let Some((step, below)) = steps.split_first() else {
            *self = Self::Leaf(value.clone(), origin.comment(path));
            return;
        };
        match step {
            Step::Key(name) => {
                if !matches!(self, Self::Map(_)) {
                    *self = Self::Map(Vec::new());
                }
                let Self::Map(pairs) = self else { return };
                let at = pairs.iter().position(|(known, _)| known == name).unwrap_or_else(|| {
                    pairs.push((name.clone(), Self::Map(Vec::new())));
                    pairs.len() - 1
                });
                pairs[at].1.put(below, value, origin, path);
            }
            Step::Item(index) => {
                if !matches!(self, Self::List(_)) {
                    *self = Self::List(Vec::new());
                }
                let Self::List(items) = self else { return };
                let at = items.iter().position(|(known, _)| known == index).unwrap_or_else(|| {
                    items.push((*index, Self::Map(Vec::new())));
                    items.len() - 1
                });
                items[at].1.put(below, value, origin, path);
            }
        }
    }

    fn write(&self, text: &mut String, depth: usize) {
        match self {
            Self::Leaf(value, comment) => write_lines(text, depth, &yaml(value), comment),
            Self::Map(pairs) => {
                for (name, tree) in pairs {
                    match tree {
                        Self::Leaf(value, comment) => {
                            let pair = Mapping::from_iter([(Value::from(name.as_str()), value.clone())]);
                            write_lines(text, depth, &yaml(&Value::Mapping(pair)), comment);
                        }
                        _ => {
                            let name = yaml(&Value::from(name.as_str()));
                            write_lines(text, depth, &format!("{}:", name.trim_end()), "");
                            tree.write(text, depth + 1);
                        }
                    }
                }
            }
            Self::List(items) => {
                for (_, item) in items {
                    let mut block = String::new();
                    item.write(&mut block, depth + 1);
                    // The dash takes the place of the first line's indentation.
                    let indent = "  ".repeat(depth);
                    text.push_str(&format!(
                        "{indent}- {}",
                        block.get(indent.len() + 2..).unwrap_or_default()
                    ));
                }
            }
        }
    }
}

fn yaml(value: &Value) -> String {
    serde_yaml::to_string(value).unwrap_or_default()
}

/// Adds `lines`; the first of them is followed by the comment.
fn write_lines(text: &mut String, depth: usize, lines: &str, comment: &str) {
    let indent = "  ".repeat(depth);
    for (number, line) in lines.lines().enumerate() {
        let comment =
            if number == 0 && !comment.is_empty() { format!("  # {comment}") } else { String::new() };
        let indent = if line.is_empty() { "" } else { indent.as_str() };
        text.push_str(&format!("{indent}{line}{comment}\n"));
    }
}

impl Origin {
    fn comment(&self, path: &KeyPath) -> String {
        match self {
            Self::Default => "default".to_owned(),
            Self::Inherited(key) => format!("from {key}"),
            Self::Variable(name) => name.clone(),
            Self::File { line, key } if *key == path.to_string() => format!("line {line}"),
            Self::File { line, key } => format!("line {line}, {key}"),
        }
    }
}
