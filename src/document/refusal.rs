//! Values as texts and booleans, and why one is refused. No message repeats a value.

use super::node::{Node, Value};

/// Why a value is refused: a message, and perhaps a hint.
pub struct Refusal {
    pub(super) message: String,
    pub(super) hint: Option<String>,
    /// Whether the value is not of the key's kind.
    pub(super) is_wrong_kind: bool,
}

impl<M: Into<String>> From<M> for Refusal {
    fn from(message: M) -> Self {
        Self { message: message.into(), hint: None, is_wrong_kind: false }
    }
}

impl Refusal {
    /// Says what helps.
    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }
}

/// That `node` is not what is expected.
pub(super) fn unexpected(expected: &str, node: &Node) -> Refusal {
    let found = match &node.value {
        Value::Integer(number) if *number < 0 => "a negative number",
        Value::Float(_) => "a number that is not whole",
        _ => node.kind(),
    };
    let is_block = matches!(node.value, Value::Map(_));
    let quotes = if expected == "a string" && is_block { " (put it in quotes)" } else { "" };
    Refusal { is_wrong_kind: true, ..Refusal::from(format!("expected {expected}{quotes}, found {found}")) }
}

/// A text. What YAML takes for a number or a boolean is none.
pub(super) fn text(node: &Node) -> Result<String, Refusal> {
    match &node.value {
        Value::Text { text, .. } => Ok(text.clone()),
        _ => Err(unexpected("a string", node)),
    }
}

/// A text that may be written as a number or a boolean.
pub(super) fn word(node: &Node) -> Result<String, Refusal> {
    match &node.value {
        Value::Integer(number) => Ok(number.to_string()),
        Value::Boolean(truth) => Ok(truth.to_string()),
        _ => text(node),
    }
}

/// A boolean, also in quotes as strconv.ParseBool spells it.
pub(super) fn truth(node: &Node) -> Result<bool, Refusal> {
    match &node.value {
        Value::Boolean(truth) => Ok(*truth),
        Value::Text { text, .. } => match text.as_str() {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
            _ => Err(unexpected("true or false", node)),
        },
        _ => Err(unexpected("true or false", node)),
    }
}
