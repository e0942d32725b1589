//! The tree of a document: what a file says, and where. YAML, TOML and JSON are all read into it.

use std::collections::HashMap;

use super::place::Place;

/// A value and its place.
#[derive(Clone)]
pub(super) struct Node {
    /// Where the value begins.
    pub(super) place: Place,
    pub(super) value: Value,
}

/// What a document may hold.
#[derive(Clone)]
pub(super) enum Value {
    /// `~`, `null`, or nothing.
    Null,
    Boolean(bool),
    /// A whole number.
    Integer(i128),
    /// Any other number.
    Float(f64),
    Text {
        text: String,
        /// Whether it stands in YAML without quotes.
        is_plain: bool,
    },
    List(Vec<Node>),
    Map(Map),
}

/// Keys and values, in the order of the file; no key twice.
#[derive(Clone, Default)]
pub(super) struct Map {
    pairs: Vec<Pair>,
    index: HashMap<String, usize>,
}

/// A key and its value.
#[derive(Clone)]
pub(super) struct Pair {
    pub(super) key: String,
    /// Where the key begins.
    pub(super) place: Place,
    pub(super) node: Node,
}

impl Map {
    pub(super) fn pairs(&self) -> &[Pair] {
        &self.pairs
    }

    pub(super) fn into_pairs(self) -> Vec<Pair> {
        self.pairs
    }

    pub(super) fn get(&self, key: &str) -> Option<&Pair> {
        self.pairs.get(*self.index.get(key)?)
    }

    /// Adds `pair`, unless its key is there.
    pub(super) fn add(&mut self, pair: Pair) {
        if !self.index.contains_key(&pair.key) {
            self.index.insert(pair.key.clone(), self.pairs.len());
            self.pairs.push(pair);
        }
    }
}

impl Node {
    /// The value of `key`, if this is a map that has it.
    pub(super) fn get(&self, key: &str) -> Option<&Pair> {
        match &self.value {
            Value::Map(map) => map.get(key),
            _ => None,
        }
    }

    pub(super) fn is_null(&self) -> bool {
        matches!(self.value, Value::Null)
    }

    /// What kind of value this is, for messages.
    pub(super) fn kind(&self) -> &'static str {
        match &self.value {
            Value::Null => "nothing",
            Value::Boolean(_) => "a boolean",
            Value::Integer(_) | Value::Float(_) => "a number",
            Value::Text { .. } => "a string",
            Value::List(_) => "a list",
            Value::Map(_) => "keys and values",
        }
    }
}
