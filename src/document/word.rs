//! What a word without quotes is to YAML: text, number, boolean or null.
//!
//! The core schema of YAML 1.2, as serde_yaml reads it: numbers may also be binary (`0b1`), and
//! `yes` and `on` are texts.

use super::node::Value;

/// What `word` is, if it is no text.
pub(super) fn resolve(word: &str) -> Option<Value> {
    match word {
        "" | "~" | "null" | "Null" | "NULL" => return Some(Value::Null),
        "true" | "True" | "TRUE" => return Some(Value::Boolean(true)),
        "false" | "False" | "FALSE" => return Some(Value::Boolean(false)),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => return Some(Value::Float(f64::INFINITY)),
        "-.inf" | "-.Inf" | "-.INF" => return Some(Value::Float(f64::NEG_INFINITY)),
        ".nan" | ".NaN" | ".NAN" => return Some(Value::Float(f64::NAN)),
        _ => {}
    }
    let (sign, digits) = match word.split_at_checked(1) {
        Some((sign @ ("+" | "-"), digits)) => (sign, digits),
        _ => ("", word),
    };
    if digits.starts_with(['+', '-']) {
        return None;
    }
    for (prefix, radix) in [("0x", 16), ("0o", 8), ("0b", 2)] {
        if let Some(digits) = digits.strip_prefix(prefix) {
            let is_number = digits.chars().all(|c| c.is_digit(radix));
            let number = i128::from_str_radix(&format!("{sign}{digits}"), radix);
            return number.ok().filter(|_| is_number).map(Value::Integer);
        }
    }
    // As `mode: 0640`: a text, since what it means differs between readers.
    if digits.len() > 1 && digits.starts_with('0') && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    if let Ok(number) = word.parse() {
        return Some(Value::Integer(number));
    }
    word.parse().ok().filter(|number: &f64| number.is_finite()).map(Value::Float)
}
