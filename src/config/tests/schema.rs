//! `pfxhttp.schema.json` says what the parser takes: no more keys, and no fewer.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::config::keys::{Below, Block};
use crate::config::raw::schema;

fn file() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("pfxhttp.schema.json")
}

#[test]
fn the_file_is_what_the_types_say() {
    let text = schema::text();
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        std::fs::write(file(), &text).expect("the schema can be written");
    }
    let shipped = std::fs::read_to_string(file()).unwrap_or_default();
    assert!(
        shipped == text,
        "pfxhttp.schema.json is out of date; write it anew with: UPDATE_SCHEMA=1 cargo test --lib schema"
    );
}

/// What a schema stands for, behind `$ref` and beside `null`.
fn resolved<'s>(root: &'s Value, schema: &'s Value) -> &'s Value {
    if let Some(name) = schema["$ref"].as_str().and_then(|name| name.strip_prefix("#/$defs/")) {
        return resolved(root, &root["$defs"][name]);
    }
    match schema["anyOf"].as_array() {
        Some(choices) => {
            let one = choices.iter().find(|choice| choice["type"] != "null").expect("more than null");
            resolved(root, one)
        }
        None => schema,
    }
}

/// Compares `schema` with what the parser knows of `block`; returns how many keys there are.
fn compare(root: &Value, schema: &Value, block: Block) -> usize {
    let schema = resolved(root, schema);
    assert_eq!(schema["additionalProperties"], false, "{block:?}");
    let properties = schema["properties"].as_object().expect("a block has properties");
    let described: BTreeSet<&str> = properties.keys().map(String::as_str).collect();
    let known: BTreeSet<&str> = block.keys().into_iter().collect();
    assert_eq!(described, known, "{block:?}");
    let mut count = known.len();
    for (key, schema) in properties {
        let schema = resolved(root, schema);
        count += match block.below(key) {
            None => {
                assert!(schema["properties"].is_null(), "{block:?} {key} is a block");
                0
            }
            Some(Below::One(below)) => compare(root, schema, below),
            Some(Below::Items(below)) => compare(root, &schema["items"], below),
            Some(Below::Entries(below)) => compare(root, &schema["additionalProperties"], below),
        };
    }
    count
}

#[test]
fn every_property_is_a_key_and_every_key_a_property() {
    let root: Value = serde_json::from_str(&schema::text()).expect("JSON");
    let count = compare(&root, &root, Block::Top);
    assert!(count > 150, "{count} keys");
}
