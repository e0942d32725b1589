//! JSON objects of providers and tokens, with unique names.
//!
//! Two readers of `{"sub": "a", "sub": "b"}` may read different values (RFC 8259 4), so it is refused.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::{Map, Value};

pub(super) type JsonObject = Map<String, Value>;

/// The reason for which a text is no [`JsonObject`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ObjectError {
    /// It is no JSON, or some other value.
    Shape,
    /// A name occurs more than once.
    Repeated,
}

pub(super) fn object(text: &[u8]) -> Result<JsonObject, ObjectError> {
    let Members(members) = serde_json::from_slice(text).map_err(|_| ObjectError::Shape)?;
    let mut object = JsonObject::new();
    for (name, value) in members {
        if object.insert(name, value).is_some() {
            return Err(ObjectError::Repeated);
        }
    }
    Ok(object)
}

/// Reads the answer of a provider. A byte order mark is skipped, as RFC 8259 8.1 allows.
pub(super) fn answer(body: &[u8]) -> Result<JsonObject, ObjectError> {
    object(body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body))
}

pub(super) fn text<'o>(object: &'o JsonObject, name: &str) -> Option<&'o str> {
    object.get(name).and_then(Value::as_str)
}

struct Members(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(InOrder)
    }
}

struct InOrder;

impl<'de> Visitor<'de> for InOrder {
    type Value = Members;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(Members(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_names_each_thing_once() {
        assert!(object(br#"{"a": 1, "b": {"a": 2}}"#).is_ok_and(|object| object.len() == 2));
        assert_eq!(object(br#"{"a": 1, "a": 1}"#), Err(ObjectError::Repeated));
        assert_eq!(object(br#"{"a": 1, "\u0061": 1}"#), Err(ObjectError::Repeated));
        for text in
            ["", "[]", "1", "null", "\"a\"", "{", "{}x", "{\"a\": 1e999}", "{\"a\": NaN}", "\u{feff}{}"]
        {
            assert_eq!(object(text.as_bytes()), Err(ObjectError::Shape), "{text}");
        }
        assert_eq!(object(b"{\"a\": \"\xff\"}"), Err(ObjectError::Shape));
        assert!(answer("\u{feff}{\"a\": 1}".as_bytes()).is_ok_and(|object| object.len() == 1));
        assert!(answer(b"{}").is_ok());
        assert_eq!(answer("\u{feff}\u{feff}{}".as_bytes()), Err(ObjectError::Shape));
        let deep = format!("{{\"a\": {}}}", "[".repeat(100_000));
        assert_eq!(object(deep.as_bytes()), Err(ObjectError::Shape));
    }
}
