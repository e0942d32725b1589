//! Where each key of a configuration stands: an index from key path to line and column.
//!
//! `yaml` and `toml` make the index of a file; JSON is read as the YAML that it nearly is. What
//! comes from elsewhere is laid over it: a value of an environment variable has that variable's
//! name for a place, an inherited one the place that it has in `defaults`. Limits: nesting of 32.

pub(super) mod toml;
pub(super) mod yaml;

use std::collections::HashMap;
use std::rc::Rc;

use super::mask::SecretRange;
use super::path::{KeyPath, Step};
pub(super) use crate::document::Place;

/// The entry whose keys all others of its section inherit.
pub(super) const DEFAULTS: &str = "defaults";

/// No configuration nests deeper than 6.
const MAX_DEPTH: usize = 32;

/// What is wrong with the text itself.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) path: KeyPath,
    pub(super) place: Place,
    pub(super) message: String,
    pub(super) hint: Option<String>,
}

impl Fault {
    /// Of the file as a whole.
    pub(super) fn at(place: Place, message: String) -> Self {
        Self { path: KeyPath::default(), place, message, hint: None }
    }
}

/// The index.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// The first is the document's own.
    nodes: Vec<Node>,
    secrets: Vec<SecretRange>,
}

#[derive(Debug)]
struct Node {
    /// Of the key, or of the item.
    key: Place,
    /// Of the value; the key's where the value is empty.
    value: Place,
    /// A scalar without quotes.
    plain: bool,
    /// The environment variable that it comes from; then the places mean nothing.
    variable: Option<Rc<str>>,
    inside: Inside,
}

#[derive(Debug)]
enum Inside {
    Nothing,
    Mapping(HashMap<String, usize>),
    List(Vec<usize>),
}

impl Places {
    /// Where the key at `path` stands; of the nearest one above where the file has no such key.
    pub(super) fn key(&self, path: &KeyPath) -> Option<Place> {
        self.in_file(path).map(|(node, _)| node.key)
    }

    /// Where the value at `path` begins; else the key of the nearest one above.
    pub(super) fn value(&self, path: &KeyPath) -> Option<Place> {
        self.in_file(path).map(|(node, exact)| if exact { node.value } else { node.key })
    }

    /// Whether the value at `path` is a scalar without quotes.
    pub(super) fn is_plain(&self, path: &KeyPath) -> bool {
        self.in_file(path).is_some_and(|(node, exact)| exact && node.plain)
    }

    /// The environment variable that the value at `path` comes from, or the nearest one above.
    pub(super) fn variable(&self, path: &KeyPath) -> Option<&Rc<str>> {
        self.nearest(path).and_then(|(at, _)| self.nodes.get(at)).and_then(|node| node.variable.as_ref())
    }

    /// `path`, or the one in `defaults` that the value at `path` was inherited from.
    pub(super) fn written(&self, path: &KeyPath) -> KeyPath {
        let [section, Step::Key(_), rest @ ..] = path.steps() else { return path.clone() };
        let section = KeyPath::from(std::slice::from_ref(section));
        let defaults = rest.iter().fold(section.key(DEFAULTS), |path, step| path.step(step.clone()));
        let is_shared = self.find(path).is_some() && self.find(path) == self.find(&defaults);
        if is_shared && !rest.is_empty() { defaults } else { path.clone() }
    }

    /// The lines that hold secrets' values.
    pub(super) fn secrets(&self) -> &[SecretRange] {
        &self.secrets
    }

    /// The line of the value at `path` is not shown from there on, whatever it is shown for.
    pub(super) fn hide(&mut self, path: &KeyPath) {
        if let Some((node, true)) = self.in_file(path)
            && node.value != node.key
        {
            let range = SecretRange { start: node.value, last_line: node.value.line };
            self.secrets.push(range);
        }
    }

    /// The value at `path` comes from the environment.
    pub(super) fn set(&mut self, path: &KeyPath, variable: &Rc<str>) {
        let Some(mut at) = (!self.nodes.is_empty()).then_some(0) else { return };
        let mut new = Vec::new();
        for (depth, step) in path.steps().iter().enumerate() {
            let is_last = depth + 1 == path.steps().len();
            match self.below(at, step) {
                Some(found) if !is_last => at = found,
                _ => {
                    let node = self.nodes.len() + new.len();
                    new.push(Node {
                        key: Place { line: 1, column: 1 },
                        value: Place { line: 1, column: 1 },
                        plain: false,
                        variable: Some(Rc::clone(variable)),
                        inside: Inside::Nothing,
                    });
                    let above = new.len().checked_sub(2).and_then(|before| new.get_mut(before));
                    match above.or_else(|| self.nodes.get_mut(at)) {
                        Some(above) => above.enter(step, node),
                        None => return,
                    }
                    at = node;
                }
            }
        }
        self.nodes.append(&mut new);
    }

    /// The key `to` has the place of the key `from`, and so has all below it.
    pub(super) fn link(&mut self, from: &KeyPath, to: &KeyPath) {
        let Some((last, above)) = to.steps().split_last() else { return };
        if let (Some(node), Some(above)) = (self.find(from), self.find(&KeyPath::from(above)))
            && let Some(above) = self.nodes.get_mut(above)
        {
            above.enter(last, node);
        }
    }

    fn in_file(&self, path: &KeyPath) -> Option<(&Node, bool)> {
        let (at, exact) = self.nearest(path)?;
        self.nodes.get(at).filter(|node| node.variable.is_none()).map(|node| (node, exact))
    }

    fn find(&self, path: &KeyPath) -> Option<usize> {
        self.nearest(path).and_then(|(at, exact)| exact.then_some(at))
    }

    fn nearest(&self, path: &KeyPath) -> Option<(usize, bool)> {
        let mut at = (!self.nodes.is_empty()).then_some(0)?;
        for step in path.steps() {
            match self.below(at, step) {
                Some(found) => at = found,
                None => return Some((at, false)),
            }
        }
        Some((at, true))
    }

    fn below(&self, at: usize, step: &Step) -> Option<usize> {
        match (step, &self.nodes.get(at)?.inside) {
            (Step::Key(name), Inside::Mapping(keys)) => keys.get(name).copied(),
            (Step::Item(index), Inside::List(items)) => items.get(*index).copied(),
            _ => None,
        }
    }
}

impl Node {
    /// Makes `node` the one below this one at `step`.
    fn enter(&mut self, step: &Step, node: usize) {
        if let (Step::Key(_), Inside::Nothing) = (step, &self.inside) {
            self.inside = Inside::Mapping(HashMap::new());
        }
        match (step, &mut self.inside) {
            (Step::Key(name), Inside::Mapping(keys)) => {
                keys.insert(name.clone(), node);
            }
            (Step::Item(index), Inside::List(items)) => {
                if let Some(item) = items.get_mut(*index) {
                    *item = node;
                }
            }
            _ => {}
        }
    }
}
