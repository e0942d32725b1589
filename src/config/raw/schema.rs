//! The JSON Schema of what serde's own structs do not say, and of the whole file.

use std::borrow::Cow;
use std::marker::PhantomData;

use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::Value;

use super::{Count, Entry, LoginEntry, Lookup, MapEntry, PolicyEntry, Time, Top, Word};

/// An entry of `socket_maps`.
pub(super) struct Map;
/// An entry of `policy_services`.
pub(super) struct Policy;
/// An entry of `dovecot_sasl`.
pub(super) struct Login;
/// Entries by name.
pub(super) struct Section<E>(PhantomData<E>);

/// The schema of the file, as it ships.
pub(in crate::config) fn text() -> String {
    let settings = SchemaSettings::draft2020_12().with_transform(RecursiveTransform(quoted));
    let mut schema = settings.into_generator().into_root_schema_for::<Top>();
    schema.insert("title".to_owned(), "Configuration of pfxhttp".into());
    schema.insert("patternProperties".to_owned(), serde_json::json!({"^x-": true}));
    format!("{}\n", serde_json::to_string_pretty(&schema).expect("a schema is JSON"))
}

/// Booleans and numbers are read in quotes, too.
fn quoted(schema: &mut Schema) {
    let types = schema.get("type").and_then(Value::as_array).cloned().unwrap_or_default();
    let pattern = match types.first().and_then(Value::as_str) {
        Some("boolean") => "^([tTfF01]|true|True|TRUE|false|False|FALSE)$",
        Some("number") => "^[-+]?([0-9]+\\.?[0-9]*|\\.[0-9]+)([eE][-+]?[0-9]+)?$",
        _ => return,
    };
    schema.insert("type".to_owned(), types.into_iter().chain(["string".into()]).collect());
    schema.insert("pattern".to_owned(), pattern.into());
}

/// One object with the properties of all `parts`.
fn joined(parts: impl IntoIterator<Item = Schema>) -> Schema {
    let mut all = serde_json::Map::new();
    for part in parts {
        match part.get("properties") {
            Some(Value::Object(properties)) => all.extend(properties.clone()),
            _ => panic!("a struct has properties"),
        }
    }
    json_schema!({"type": ["object", "null"], "properties": all, "additionalProperties": false})
}

macro_rules! entry {
    ($name:ident, $text:literal, $($part:ty),+) => {
        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(generator: &mut SchemaGenerator) -> Schema {
                let mut schema = joined([$(<$part>::json_schema(generator)),+]);
                schema.insert("description".to_owned(), $text.into());
                schema
            }
        }
    };
}

entry!(Map, "An entry of `socket_maps`.", Entry, Lookup, MapEntry);
entry!(Policy, "An entry of `policy_services`.", Entry, Lookup, PolicyEntry);
entry!(Login, "An entry of `dovecot_sasl`.", Entry, LoginEntry);

impl<E: JsonSchema> JsonSchema for Section<E> {
    fn schema_name() -> Cow<'static, str> {
        format!("{}Section", E::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let entry = generator.subschema_for::<E>();
        json_schema!({
            "description": "Entries by name; the others inherit from the one that is named `defaults`.",
            "type": "object",
            "additionalProperties": entry,
        })
    }
}

macro_rules! scalar {
    ($name:ident, $schema:tt) => {
        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    };
}

scalar!(Word, {"type": ["string", "integer", "boolean"]});
scalar!(Count, {"type": ["integer", "string"], "minimum": 0, "pattern": "^\\+?[0-9]+$"});
scalar!(Time, {"type": "string", "pattern": "^(([0-9]+\\.?[0-9]*|\\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+$"});
