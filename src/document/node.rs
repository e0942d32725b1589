//! The tree of a document: what a file says, and where. YAML, TOML and JSON are all read into it.

use super::place::Place;

/// A value and its place.
#[derive(Clone)]
pub struct Node {
    /// Where the value begins.
    pub place: Place,
    /// What it says.
    pub value: Value,
}

/// What a document may hold.
#[derive(Clone)]
pub enum Value {
    /// `~`, `null`, or nothing.
    Null,
    /// `true` or `false`.
    Boolean(bool),
    /// A whole number.
    Integer(i128),
    /// Any other number.
    Float(f64),
    /// A text.
    Text {
        /// Its content.
        text: String,
        /// Whether it stands in YAML without quotes.
        is_plain: bool,
    },
    /// A list.
    List(Vec<Node>),
    /// Keys and values, in the order of the file; no key twice.
    Map(Vec<Pair>),
}

/// A key and its value.
#[derive(Clone)]
pub struct Pair {
    /// The key.
    pub key: String,
    /// Where the key begins.
    pub place: Place,
    /// Its value.
    pub node: Node,
}

/// What is wrong with the text itself. It quotes nothing of the text but the names of keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Where.
    pub place: Place,
    /// The path of the key that it is about, as `server.listen[0].port`; empty if it is unknown.
    pub key: String,
    /// What is wrong.
    pub message: String,
    /// What helps.
    pub hint: Option<String>,
}

impl Node {
    /// The value of `key`, if this is a map that has it.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Pair> {
        match &self.value {
            Value::Map(pairs) => pairs.iter().find(|pair| pair.key == key),
            _ => None,
        }
    }

    /// What kind of value this is, for messages.
    #[must_use]
    pub fn kind(&self) -> &'static str {
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
