//! The tree as serde's input, with errors that hold no values.
//!
//! serde's own messages repeat the value that they refuse, which may be a secret. A value out of
//! the environment stands in the tree as a tagged text (no file can bring a tag) and is read as
//! what its key takes: a boolean, a number, a text, or a list as `[a, b]` or `a,b`. Booleans and
//! numbers are also read in quotes, in the spellings of the Go program (strconv.ParseBool).

use std::fmt;

use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{self, DeserializeOwned, Deserializer, Expected, IntoDeserializer, Unexpected, Visitor};
use serde::forward_to_deserialize_any;
use serde_yaml::Value;
use serde_yaml::value::{Tag, TaggedValue};

/// A value out of the environment.
pub(super) fn variable(text: &str) -> Value {
    let value = Value::String(text.to_owned());
    Value::Tagged(Box::new(TaggedValue { tag: Tag::new("variable"), value }))
}

/// A tree as serde's input.
pub(super) struct Tree<'v>(pub(super) &'v Value);

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

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        match self.variable() {
            Some(text) => visitor.visit_borrowed_str(text),
            None => self.deserialize_any(visitor),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        self.deserialize_str(visitor)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        match (self.variable().map(truth), self.0) {
            (Some(Some(truth)), _) => visitor.visit_bool(truth),
            (Some(None), _) => Err(Refused("expected true or false".to_owned())),
            (None, Value::String(text)) if let Some(truth) = truth(text) => visitor.visit_bool(truth),
            (None, _) => self.deserialize_any(visitor),
        }
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        let text = self.variable().or(self.0.as_str());
        match text.map(str::parse) {
            Some(Ok(number)) => visitor.visit_f64(number),
            Some(Err(_)) => Err(Refused("expected a number".to_owned())),
            None => self.deserialize_any(visitor),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        match self.variable() {
            Some(text) => visitor.visit_seq(SeqDeserializer::new(list(text)?.into_iter())),
            None => self.deserialize_any(visitor),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        match self.variable() {
            Some(_) => Err(Refused("keys and values cannot come out of a variable".to_owned())),
            None => self.deserialize_any(visitor),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Refused> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        if self.0.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 char bytes byte_buf unit
        unit_struct tuple tuple_struct struct enum identifier
    }
}

impl<'v> Tree<'v> {
    /// The text of a value out of the environment.
    fn variable(&self) -> Option<&'v str> {
        match self.0 {
            Value::Tagged(tagged) => tagged.value.as_str(),
            _ => None,
        }
    }
}

/// A boolean as strconv.ParseBool spells it.
fn truth(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// `[a, b]` as YAML reads it, or `a,b`.
fn list(text: &str) -> Result<Vec<String>, Refused> {
    if !text.trim_start().starts_with('[') {
        return Ok(text.split(',').map(|item| item.trim().to_owned()).collect());
    }
    let scalar = |value: Value| match value {
        Value::String(text) => Some(text),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        _ => None,
    };
    let items: Option<Vec<Value>> = serde_yaml::from_str(text).ok();
    let items = items.and_then(|items| items.into_iter().map(scalar).collect());
    items.ok_or_else(|| Refused("expected a list, as [a, b] or a,b".to_owned()))
}

/// Why a block has not the shape that it should have. Never holds the value.
#[derive(Debug)]
pub(super) struct Refused(String);

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
        // serde's own word for a list.
        let expected = match expected.to_string().as_str() {
            "a sequence" => "a list".to_owned(),
            "a boolean" => "true or false".to_owned(),
            "a string" if found == "keys and values" => "a string (put it in quotes)".to_owned(),
            other => other.to_owned(),
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
