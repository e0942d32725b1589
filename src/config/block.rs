//! One block of the tree into its raw struct, with an error that has a path and no value.
//!
//! Each block is read on its own, so that one run tells all that is wrong. serde's own messages
//! repeat the value that they refuse, which may be a secret: [`Tree`] is a deserializer over the
//! tree whose error type knows kinds of values only.

use std::fmt;

use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{self, DeserializeOwned, Deserializer, Expected, IntoDeserializer, Unexpected, Visitor};
use serde::forward_to_deserialize_any;
use serde_path_to_error::Segment;
use serde_yaml::{Mapping, Value};

use super::keys::{self, Block};
use super::path::KeyPath;
use super::problem::Report;

/// Reads the block at `path`; an absent or empty one is its default. A key that is not known, or
/// whose value has the wrong shape, is reported and left out; nothing is read of what is no mapping.
pub(super) fn read<T>(
    report: &mut Report<'_>,
    value: Option<&Value>,
    path: &KeyPath,
    block: Block,
) -> Option<T>
where
    T: DeserializeOwned + Default,
{
    let Some(value) = value.filter(|value| !value.is_null()) else { return Some(T::default()) };
    let mapping = mapping(report, value, path)?;
    keys::check(report, mapping, path, block, fields::<T>());
    let mut rest = Value::Mapping(mapping.clone());
    loop {
        let error = match serde_path_to_error::deserialize(Tree(&rest)) {
            Ok(raw) => return Some(raw),
            Err(error) => error,
        };
        let at = below(path, error.path());
        report.value(&at, error.inner().to_string());
        let Some(Segment::Map { key }) = error.path().iter().next() else { return None };
        rest.as_mapping_mut().and_then(|mapping| mapping.remove(key))?;
    }
}

/// The entries of a section: names and values.
pub(super) fn entries<'v>(
    report: &mut Report<'_>,
    value: Option<&'v Value>,
    path: &KeyPath,
) -> Vec<(&'v str, &'v Value)> {
    let Some(value) = value.filter(|value| !value.is_null()) else { return Vec::new() };
    let mapping = mapping(report, value, path);
    let named = |(key, value): (&'v Value, &'v Value)| key.as_str().map(|name| (name, value));
    mapping.into_iter().flatten().filter_map(named).collect()
}

/// The items of a list.
pub(super) fn items<'v>(report: &mut Report<'_>, value: Option<&'v Value>, path: &KeyPath) -> &'v [Value] {
    match value {
        None | Some(Value::Null) => &[],
        Some(Value::Sequence(items)) => items,
        Some(other) => {
            report.value(path, format!("expected a list, found {}", kind(other)));
            &[]
        }
    }
}

fn mapping<'v>(report: &mut Report<'_>, value: &'v Value, path: &KeyPath) -> Option<&'v Mapping> {
    if let Value::Mapping(mapping) = value {
        return Some(mapping);
    }
    report.value(path, format!("expected keys and values, found {}", kind(value)));
    None
}

fn below(path: &KeyPath, rest: &serde_path_to_error::Path) -> KeyPath {
    let mut path = path.clone();
    for segment in rest {
        path = match segment {
            Segment::Seq { index } => path.item(*index),
            Segment::Map { key } => path.key(key),
            Segment::Enum { variant } => path.key(variant),
            Segment::Unknown => path,
        };
    }
    path
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Sequence(_) => "a list",
        Value::Mapping(_) => "keys and values",
        Value::Tagged(_) => "a tagged value",
    }
}

/// A tree as serde's input.
struct Tree<'v>(&'v Value);

impl<'v> IntoDeserializer<'v, Refused> for Tree<'v> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for Tree<'de> {
    type Error = Refused;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        match self.0 {
            Value::Null => visitor.visit_unit(),
            Value::Bool(truth) => visitor.visit_bool(*truth),
            Value::Number(number) => {
                if let Some(number) = number.as_u64() {
                    visitor.visit_u64(number)
                } else if let Some(number) = number.as_i64() {
                    visitor.visit_i64(number)
                } else {
                    visitor.visit_f64(number.as_f64().unwrap_or(f64::NAN))
                }
            }
            Value::String(text) => visitor.visit_borrowed_str(text),
            Value::Sequence(items) => visitor.visit_seq(SeqDeserializer::new(items.iter().map(Tree))),
            Value::Mapping(mapping) => {
                let pairs = mapping.iter().map(|(key, value)| (Tree(key), Tree(value)));
                visitor.visit_map(MapDeserializer::new(pairs))
            }
            Value::Tagged(tagged) => Tree(&tagged.value).deserialize_any(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        if self.0.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

/// Why a block has not the shape that it should have. Never holds the value.
#[derive(Debug)]
struct Refused(String);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refused {}

impl de::Error for Refused {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let found = match found {
            Unexpected::Bool(_) => "a boolean",
            Unexpected::Signed(..0) => "a negative number",
            Unexpected::Unsigned(_) | Unexpected::Signed(_) => "a number",
            Unexpected::Float(_) => "a number that is not whole",
            Unexpected::Str(_) | Unexpected::Char(_) => "a string",
            Unexpected::Unit | Unexpected::Option => "nothing",
            Unexpected::Seq => "a list",
            Unexpected::Map => "keys and values",
            _ => "something else",
        };
        Self(format!("expected {expected}, found {found}"))
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::invalid_type(found, expected)
    }
}

/// The names of a struct's fields, by asking its `Deserialize` what it would read.
pub(super) fn fields<T: DeserializeOwned>() -> &'static [&'static str] {
    T::deserialize(Curious).err().map_or(&[], |told| told.0)
}

/// A deserializer that has nothing to give and keeps the names that it is asked for.
struct Curious;

/// What [`Curious`] was asked for.
#[derive(Debug)]
struct Asked(&'static [&'static str]);

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("field names")
    }
}

impl std::error::Error for Asked {}

impl de::Error for Asked {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self(&[])
    }
}

impl<'de> Deserializer<'de> for Curious {
    type Error = Asked;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Asked> {
        Err(Asked(&[]))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Asked> {
        Err(Asked(fields))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::raw;

    #[test]
    fn a_struct_tells_its_fields() {
        assert_eq!(fields::<raw::Logging>(), ["json", "level"]);
        assert!(fields::<raw::Listener>().contains(&"type"));
    }
}
