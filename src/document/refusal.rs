//! Values as texts and booleans, and why one is refused. No message repeats a value.

use super::node::{Node, Value};

/// Why a value is refused.
pub struct Refusal {
    pub(super) message: String,
    pub(super) hint: Option<String>,
    /// Whether the value is not of the key's kind.
    pub(super) is_wrong_kind: bool,
}

impl From<&str> for Refusal {
    fn from(message: &str) -> Self {
        refusal(message)
    }
}

impl From<String> for Refusal {
    fn from(message: String) -> Self {
        refusal(message)
    }
}

impl Refusal {
    /// Says what helps.
    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }
}

/// That a value is refused, without a hint.
pub(super) fn refusal(message: impl Into<String>) -> Refusal {
    Refusal { message: message.into(), hint: None, is_wrong_kind: false }
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
    let message = format!("expected {expected}{quotes}, found {found}");
    Refusal { message, hint: None, is_wrong_kind: true }
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
        Value::Text { text, .. } => Ok(text.clone()),
        Value::Integer(number) => Ok(number.to_string()),
        Value::Boolean(truth) => Ok(truth.to_string()),
        _ => Err(unexpected("a string", node)),
    }
}

/// A boolean as strconv.ParseBool spells it.
pub(super) fn truth(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}
