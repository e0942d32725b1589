//! Fields of a JSON answer: where they stand, and what they say.
//!
//! The body is walked level by level as raw text, which keeps the document's order and the
//! digits of its numbers. Where a field stands:
//!
//! 1. `/data/result`: a JSON pointer (RFC 6901);
//! 2. else that very key at the top level;
//! 3. else a dotted path from the root, `data.result`;
//! 4. else that key at any depth, shallowest first, then in document order; lists are not searched.
//!
//! A key that an object holds twice has its last value, as with every JSON library.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::ask::{Action, Failure};
use crate::trace;

/// The deepest nesting of a body that is read.
const MAX_DEPTH: usize = 64;

/// Where a value stands in a JSON object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Field {
    /// The reference tokens of a JSON pointer.
    Pointer(Vec<String>),
    /// A key, or a dotted path.
    Name(String),
}

impl Field {
    /// Reads a field's name, a dotted path or a JSON pointer.
    ///
    /// # Errors
    /// A sentence, for an empty text.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if text.is_empty() {
            return Err("must name a field");
        }
        Ok(match text.strip_prefix('/') {
            // `~1` first: `~01` is the key `~1` (RFC 6901 4).
            Some(tokens) => Self::Pointer(
                tokens.split('/').map(|token| token.replace("~1", "/").replace("~0", "~")).collect(),
            ),
            None => Self::Name(text.to_owned()),
        })
    }

    /// The value of this field in `body`; `None` where it is absent.
    ///
    /// # Errors
    /// [`Failure::Body`] where an object on the way has a key that is no text (`"\ud800"`).
    pub fn find<'a>(&self, body: &Object<'a>) -> Result<Option<&'a RawValue>, Failure> {
        let name = match self {
            Self::Pointer(tokens) => return body.descend(tokens.iter().map(String::as_str)),
            Self::Name(name) => name,
        };
        if let Some(value) = body.get(name) {
            return Ok(Some(value));
        }
        if name.contains('.')
            && let Some(value) = body.descend(name.split('.'))?
        {
            return Ok(Some(value));
        }
        body.anywhere(name)
    }
}

/// One JSON object: its members, in document order, their values as raw text.
#[derive(Debug)]
pub struct Object<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> Object<'a> {
    /// Reads a body, which is nested no deeper than the limit.
    ///
    /// # Errors
    /// [`Failure::Body`] for anything else: an HTML page, a list, nothing at all.
    pub fn parse(body: &'a [u8]) -> Result<Self, Failure> {
        let object = serde_json::from_slice(body).map_err(|_| Failure::Body)?;
        if is_deep(body) { Err(Failure::Body) } else { Ok(object) }
    }

    /// The object that a value is; `None` for any other value.
    fn of(value: &'a RawValue) -> Result<Option<Self>, Failure> {
        if !value.get().starts_with('{') {
            return Ok(None);
        }
        // Keys within a value have not been read yet.
        serde_json::from_str(value.get()).map(Some).map_err(|_| Failure::Body)
    }

    fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.0.iter().rev().find(|(key, _)| key == name).map(|(_, value)| *value)
    }

    fn descend<'k>(&self, mut keys: impl Iterator<Item = &'k str>) -> Result<Option<&'a RawValue>, Failure> {
        let mut at = keys.next().and_then(|key| self.get(key));
        for key in keys {
            let Some(value) = at else { return Ok(None) };
            at = match value.get().as_bytes().first() {
                // Only a pointer gets here with a number that means an index.
                Some(b'[') => {
                    key.parse::<usize>().ok().and_then(|index| items(value).ok()?.get(index).copied())
                }
                _ => Self::of(value)?.and_then(|object| object.get(key)),
            };
        }
        Ok(at)
    }

    /// Breadth first, in document order.
    fn anywhere(&self, name: &str) -> Result<Option<&'a RawValue>, Failure> {
        let mut level: Vec<_> = self.0.iter().map(|(_, value)| *value).collect();
        while !level.is_empty() {
            let mut below = Vec::new();
            for value in level {
                let Some(object) = Self::of(value)? else { continue };
                if let Some(found) = object.get(name) {
                    return Ok(Some(found));
                }
                below.extend(object.0.into_iter().map(|(_, value)| value));
            }
            level = below;
        }
        Ok(None)
    }
}

/// Whether a valid JSON text is nested deeper than the limit.
fn is_deep(json: &[u8]) -> bool {
    // What has few brackets, those in strings included, is not, and nearly every answer has few.
    let has_many = memchr::memchr2_iter(b'{', b'[', json).nth(MAX_DEPTH).is_some();
    has_many && depth(json) > MAX_DEPTH
}

/// The deepest nesting of a valid JSON text.
fn depth(json: &[u8]) -> usize {
    let (mut now, mut deepest, mut in_string, mut escaped) = (0usize, 0, false, false);
    for &byte in json {
        match (in_string, byte) {
            (true, _) if escaped => escaped = false,
            (true, b'\\') => escaped = true,
            (_, b'"') => in_string = !in_string,
            (false, b'{' | b'[') => {
                now += 1;
                deepest = deepest.max(now);
            }
            (false, b'}' | b']') => now = now.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Object<'de>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some((Key(key), value)) = map.next_entry()? {
                    members.push((key, value));
                }
                Ok(Object(members))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

/// A key; nearly all stand in the text as they are.
#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

fn items(list: &RawValue) -> Result<Vec<&RawValue>, Failure> {
    serde_json::from_str(list.get()).map_err(|_| Failure::Body)
}

/// What a map's value says on the wire.
///
/// # Errors
/// [`Failure::EmptyValue`] for `""` and `null`, [`Failure::UnexpectedValue`] for an object, for
/// a list that holds none or only nulls, and for a CR, LF or NUL.
pub fn map_value(value: &RawValue) -> Result<String, Failure> {
    let text = match value.get().as_bytes().first() {
        Some(b'n') => return Err(Failure::EmptyValue),
        Some(b'[') => {
            let mut parts = Vec::new();
            flatten(value, &mut parts)?;
            if parts.is_empty() {
                return Err(Failure::UnexpectedValue);
            }
            parts.join(",")
        }
        _ => scalar(value)?,
    };
    if text.is_empty() {
        return Err(Failure::EmptyValue);
    }
    if text.contains(['\r', '\n', '\0']) {
        return Err(Failure::UnexpectedValue);
    }
    Ok(text)
}

/// Bounded by [`MAX_DEPTH`], which was checked for the whole body.
fn flatten(list: &RawValue, parts: &mut Vec<String>) -> Result<(), Failure> {
    for item in items(list)? {
        match item.get().as_bytes().first() {
            Some(b'n') => {}
            Some(b'[') => flatten(item, parts)?,
            _ => parts.push(scalar(item)?),
        }
    }
    // An empty one is no value, and would be an empty address to whoever splits the list.
    parts.retain(|part| !part.is_empty());
    Ok(())
}

fn scalar(value: &RawValue) -> Result<String, Failure> {
    let text = value.get();
    match text.as_bytes().first() {
        Some(b'"') => serde_json::from_str(text).map_err(|_| Failure::Body),
        Some(b't' | b'f') => Ok(text.to_owned()),
        Some(b'{' | b'[' | b'n') | None => Err(Failure::UnexpectedValue),
        Some(_) => Ok(number(text)),
    }
}

/// What a policy's value tells Postfix to do; `None` for `null`, `""` and blanks.
///
/// # Errors
/// [`Failure::UnexpectedValue`] for anything but a string, and for an action that Postfix would
/// misread (see [`Action::parse`]).
pub fn policy_action(value: &RawValue) -> Result<Option<Action>, Failure> {
    match value.get().as_bytes().first() {
        Some(b'n') => Ok(None),
        Some(b'"') => {
            let text = scalar(value)?;
            match text.trim() {
                "" => Ok(None),
                text => Action::parse(text).map(Some).map_err(|error| {
                    trace::note(|| format!("the action is refused: {error}"));
                    Failure::UnexpectedValue
                }),
            }
        }
        _ => Err(Failure::UnexpectedValue),
    }
}

/// What an error field says; empty for `null`, `""` and what holds nothing.
///
/// # Errors
/// [`Failure::Body`] for a string that is none.
pub fn error_text(value: &RawValue) -> Result<String, Failure> {
    match value.get().as_bytes().first() {
        Some(b'n') => Ok(String::new()),
        Some(b'{') if Object::of(value)?.is_some_and(|object| object.0.is_empty()) => Ok(String::new()),
        Some(b'{') => Ok("an object".to_owned()),
        Some(b'[') if items(value)?.is_empty() => Ok(String::new()),
        Some(b'[') => Ok("a list".to_owned()),
        _ => scalar(value),
    }
}

/// The shortest exact form of a JSON number: integers as they are, without zeros behind the
/// point, powers of ten written out up to 21 digits.
fn number(text: &str) -> String {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", text),
    };
    let (mantissa, exponent) = digits.split_once(['e', 'E']).unwrap_or((digits, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all = format!("{whole}{fraction}");
    let significant = all.trim_start_matches('0').trim_end_matches('0');
    if significant.is_empty() {
        return "0".to_owned();
    }
    // value = 0.<significant> * 10^point
    let leading = all.len() - all.trim_start_matches('0').len();
    let Some(point) = exponent
        .parse::<i64>()
        .ok()
        .and_then(|exponent| exponent.checked_add(whole.len() as i64 - leading as i64))
    else {
        return text.to_owned();
    };
    let length = significant.len() as i64;
    match point {
        1.. if point >= length && (point <= 21 || exponent == "0") => {
            format!("{sign}{significant}{}", "0".repeat((point - length) as usize))
        }
        1.. if point < length => {
            let (whole, fraction) = significant.split_at(point as usize);
            format!("{sign}{whole}.{fraction}")
        }
        -20..=0 => format!("{sign}0.{}{significant}", "0".repeat(-point as usize)),
        // An exponent at the end of what i64 holds: as it came.
        _ => match point.checked_sub(length) {
            Some(exponent) => format!("{sign}{significant}e{exponent}"),
            None => text.to_owned(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn find<'a>(field: &str, body: &'a str) -> Option<&'a str> {
        let body = Object::parse(body.as_bytes()).expect("an object");
        Field::parse(field).expect("a field").find(&body).expect("JSON").map(RawValue::get)
    }

    fn raw(json: &str) -> &RawValue {
        serde_json::from_str(json).expect("JSON")
    }

    #[test]
    fn a_field_is_found_in_one_order() {
        let nested = r#"{"a": {"result": 1}, "result": 2, "data": {"result": 3}}"#;
        assert_eq!(find("result", nested), Some("2"), "top level before any depth");
        assert_eq!(find("data.result", nested), Some("3"));
        assert_eq!(find("/data/result", nested), Some("3"));
        assert_eq!(find("data.result", r#"{"data": {"result": 1}, "data.result": 2}"#), Some("2"));
        assert_eq!(find("x", r#"{"a": {"b": {"x": 1}}, "c": {"x": 2}, "d": {"x": 3}}"#), Some("2"));
        assert_eq!(find("x", r#"{"a": [{"x": 1}]}"#), None, "lists are not searched");
        assert_eq!(find("/a/0/x", r#"{"a": [{"x": 1}]}"#), Some("1"));
        assert_eq!(find("/a~1b/~0", r#"{"a/b": {"~": 1}}"#), Some("1"));
        assert_eq!(find("x", r#"{"x": 1, "x": 2}"#), Some("2"));
        assert_eq!(find("a.b", r#"{"q": {"a.b": 7}}"#), Some("7"));
        assert_eq!(find("missing", nested), None);
        assert_eq!(find("x", r#"{"a": {"b": {"c": {"d": {"x": 1}}}}}"#), Some("1"));
    }

    /// What stands behind it may be the value: that it is absent would be a guess.
    #[test]
    fn a_key_that_is_no_text_is_a_failure_where_it_is_in_the_way() {
        let find = |field: &str, body: &str| {
            let body = Object::parse(body.as_bytes()).expect("an object");
            let found = Field::parse(field).expect("a field").find(&body);
            found.map(|value| value.map(|value| value.get().to_owned()))
        };
        let broken = r#"{"x": {"\ud800": 1, "b": "v"}, "y": {"c": 1}}"#;
        for field in ["b", "x.b", "/x/b", "c"] {
            assert_eq!(find(field, broken), Err(Failure::Body), "{field}");
        }
        assert_eq!(find("y.c", broken), Ok(Some("1".to_owned())));
        assert_eq!(find("c", r#"{"y": {"c": 1}, "x": {"\ud800": 1}}"#), Ok(Some("1".to_owned())));
    }

    #[test]
    fn a_body_is_an_object_of_bounded_depth() {
        for body in ["", "<html>", "[]", "\"x\"", "1", "null", "{} {}", "{\"a\":1", "{\"a\":\"\u{1}\"}"] {
            assert!(matches!(Object::parse(body.as_bytes()), Err(Failure::Body)), "{body:?}");
        }
        assert!(Object::parse(b"{\"a\":\"\xff\"}").is_err());
        let nested = |depth: usize| format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
        assert!(Object::parse(nested(64).as_bytes()).is_ok());
        assert!(Object::parse(nested(65).as_bytes()).is_err());
        assert!(Object::parse(nested(10_000).as_bytes()).is_err());
        let brackets = format!(r#"{{"a": "{}\""}}"#, "[{".repeat(100));
        assert!(Object::parse(brackets.as_bytes()).is_ok(), "brackets in strings nest nothing");
        let flat = format!(r#"{{"a": [{}]}}"#, ["{}"; 100].join(","));
        assert!(Object::parse(flat.as_bytes()).is_ok(), "nor do those behind one another");
    }

    #[test]
    fn map_values() {
        for (json, text) in [
            (r#""x""#, "x"),
            ("true", "true"),
            ("false", "false"),
            ("5", "5"),
            ("5.0", "5"),
            ("3.140", "3.14"),
            (r#"["a","b"]"#, "a,b"),
            (r#"["a","",[1,[true,null]],"b"]"#, "a,1,true,b"),
            ("9007199254740993", "9007199254740993"),
            (r#""  two""#, "  two"),
        ] {
            assert_eq!(map_value(raw(json)).as_deref(), Ok(text), "{json}");
        }
        for json in ["null", r#""""#] {
            assert_eq!(map_value(raw(json)), Err(Failure::EmptyValue), "{json}");
        }
        for json in [
            "{}",
            r#"{"a":1}"#,
            "[]",
            "[null]",
            r#"[""]"#,
            r#"["",null,[""]]"#,
            r#"[{}]"#,
            r#""a\nb""#,
            r#""a\rb""#,
            r#""a\u0000b""#,
        ] {
            assert_eq!(map_value(raw(json)), Err(Failure::UnexpectedValue), "{json}");
        }
        assert_eq!(map_value(raw(r#""\ud800""#)), Err(Failure::Body), "half a surrogate pair");
    }

    #[test]
    fn what_postfix_reads_as_permit_is_no_action() {
        for json in ["550", r#""550""#, r#""550 ""#, "true", r#"["REJECT"]"#, "{}", r#""OK\nx""#] {
            assert_eq!(policy_action(raw(json)), Err(Failure::UnexpectedValue), "{json}");
        }
        for json in ["null", r#""""#, r#""  ""#] {
            assert_eq!(policy_action(raw(json)), Ok(None), "{json}");
        }
        let action = policy_action(raw(r#"" REJECT no ""#)).expect("legal").expect("an action");
        assert_eq!(action.as_str(), "REJECT no");
    }

    #[test]
    fn numbers_in_their_shortest_exact_form() {
        for (text, shortest) in [
            ("0", "0"),
            ("-0", "0"),
            ("0.0", "0"),
            ("5", "5"),
            ("100", "100"),
            ("-5.50", "-5.5"),
            ("1e2", "100"),
            ("1.5e1", "15"),
            ("1.25e1", "12.5"),
            ("1E+20", "100000000000000000000"),
            ("1E+21", "1e21"),
            ("1e400", "1e400"),
            ("12e400", "12e400"),
            ("0.0000001", "0.0000001"),
            ("1e-7", "0.0000001"),
            ("1e-400", "1e-400"),
            ("123456789012345678901234567890", "123456789012345678901234567890"),
            ("10.010", "10.01"),
            ("1e99999999999999999999", "1e99999999999999999999"),
            ("1.234567891e-9223372036854775808", "1.234567891e-9223372036854775808"),
            ("0.10e1", "1"),
            ("1.0e30", "1e30"),
        ] {
            assert_eq!(number(text), shortest, "{text}");
        }
    }

    proptest! {
        #[test]
        fn an_integer_is_verbatim(n: i128) {
            prop_assert_eq!(number(&n.to_string()), n.to_string());
        }

        #[test]
        fn any_exponent_is_judged_without_panic(mantissa in "-?[0-9]{1,4}(\\.[0-9]{1,12})?", exponent: i64) {
            let _ = number(&format!("{mantissa}e{exponent}"));
            let _ = number(&format!("{mantissa}e{exponent}0"));
        }

        #[test]
        fn a_number_keeps_its_value(f in proptest::num::f64::NORMAL | proptest::num::f64::SUBNORMAL) {
            for text in [format!("{f:e}"), f.to_string()] {
                prop_assert_eq!(number(&text).parse::<f64>(), Ok(f));
            }
        }

        #[test]
        fn any_body_is_judged_without_panic(body: Vec<u8>) {
            let _ = Object::parse(&body);
        }
    }
}
