//! The JSON Schema of a document, out of what it was asked for while it recorded that.
//!
//! Every key may be absent or `null`. Booleans and numbers may stand in quotes, as they are read.

use serde_json::{Map, Value, json};

use super::record::{Definition, Kind, Record};

const FLAG: &str = "^([tTfF01]|true|True|TRUE|false|False|FALSE)$";
const NUMBER: &str = "^[-+]?([0-9]+\\.?[0-9]*|\\.[0-9]+)([eE][-+]?[0-9]+)?$";
const COUNT: &str = "^\\+?[0-9]+$";
const DURATION: &str = "^(([0-9]+\\.?[0-9]*|\\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+$";

/// What a schema says besides.
pub(crate) struct Words {
    /// The title of the whole.
    pub(crate) title: &'static str,
    /// Names of definitions and their descriptions; the top's name is empty.
    pub(crate) descriptions: &'static [(&'static str, &'static str)],
    /// Keys and their former names.
    pub(crate) former: &'static [(&'static str, &'static str)],
}

/// The schema of the document that `record` tells of.
pub(crate) fn schema(record: &Record, words: &Words) -> Value {
    let mut top = json!({"$schema": "https://json-schema.org/draft/2020-12/schema", "title": words.title});
    let mut blocks = Map::new();
    for (name, definition) in &record.definitions {
        let is_top = definition.label.is_empty();
        let block = block(record, if is_top { "" } else { name }, definition, words);
        match (is_top, block) {
            (true, Value::Object(block)) => top.as_object_mut().expect("an object").extend(block),
            (_, block) => drop(blocks.insert((*name).to_owned(), block)),
        }
        if is_entry(record, name) {
            let text = "Entries by name; the others inherit from the one that is named `defaults`.";
            let section =
                json!({"description": text, "type": "object", "additionalProperties": of_block(name)});
            blocks.insert(section_name(name), section);
        }
    }
    top["patternProperties"] = json!({"^x-": true});
    top["$defs"] = Value::Object(blocks);
    top
}

fn block(record: &Record, name: &str, definition: &Definition, words: &Words) -> Value {
    let mut keys = Map::new();
    for (key, kind) in &definition.keys {
        keys.insert((*key).to_owned(), or_null(kind));
        for (_, former) in words.former.iter().filter(|(today, _)| today == key) {
            let mut schema = or_null(kind);
            schema["description"] = format!("The name that `{key}` had before.").into();
            keys.insert((*former).to_owned(), schema);
        }
    }
    let text = words.descriptions.iter().find(|(known, _)| *known == name).map(|(_, text)| *text);
    json!({
        "description": text.map_or_else(|| format!("`{}`.", definition.label), str::to_owned),
        "type": if is_entry(record, name) { json!(["object", "null"]) } else { json!("object") },
        "properties": keys,
        "additionalProperties": false,
    })
}

/// Whether blocks of the kind `name` are entries, which may consist of nothing.
fn is_entry(record: &Record, name: &str) -> bool {
    let mut kinds = record.definitions.values().flat_map(|definition| definition.keys.values());
    kinds.any(|kind| matches!(kind, Kind::Entries(entry) if *entry == name))
}

fn section_name(entry: &str) -> String {
    format!("{entry}Section")
}

fn of_block(name: &str) -> Value {
    json!({"$ref": format!("#/$defs/{name}")})
}

/// A value of the kind `kind`.
fn one(kind: &Kind) -> Value {
    match kind {
        Kind::Text => json!({"type": ["string"]}),
        Kind::Word => json!({"type": ["string", "integer", "boolean"]}),
        Kind::Flag => json!({"type": ["boolean", "string"], "pattern": FLAG}),
        Kind::Count => json!({"type": ["integer", "string"], "minimum": 0, "pattern": COUNT}),
        Kind::Number => json!({"type": ["number", "string"], "format": "double", "pattern": NUMBER}),
        Kind::Duration => json!({"type": ["string"], "pattern": DURATION}),
        Kind::Choice(words) => json!({"type": ["string"], "enum": words}),
        Kind::WordChoice(words) => json!({"type": ["string", "integer", "boolean"], "enum": words}),
        Kind::List(kind) => json!({"type": ["array"], "items": one(kind)}),
        Kind::OneOrList(kind) => json!({"anyOf": [one(kind), one(&Kind::List(kind.clone()))]}),
        Kind::Pairs(kind) => json!({"type": ["object"], "additionalProperties": one(kind)}),
        Kind::Block(name) => of_block(name),
        Kind::Blocks(name) => json!({"type": ["array"], "items": of_block(name)}),
        Kind::BlockOrOff(name) => json!({"anyOf": [of_block(name), {"enum": [false, "false"]}]}),
        Kind::TextsOrBlocks(name) => {
            json!({"type": ["array"], "items": {"anyOf": [one(&Kind::Text), of_block(name)]}})
        }
        Kind::Entries(name) => of_block(&section_name(name)),
    }
}

/// The same, or `null`.
fn or_null(kind: &Kind) -> Value {
    let mut schema = one(kind);
    let Some(types) = schema.get_mut("type").and_then(Value::as_array_mut) else {
        return json!({"anyOf": [schema, {"type": "null"}]});
    };
    types.push("null".into());
    if let Some(words) = schema.get_mut("enum").and_then(Value::as_array_mut) {
        words.push(Value::Null);
    }
    schema
}

/// Where two schemas differ in what they accept or say, one line for each place. The order of types does
/// not matter, and one type is a list of one.
pub(crate) fn differences(path: &str, one: &Value, other: &Value, lines: &mut Vec<String>) {
    let sorted = |value: &Value| {
        let mut all: Vec<String> = match value {
            Value::Array(items) => items.iter().map(Value::to_string).collect(),
            value => vec![value.to_string()],
        };
        all.sort();
        all
    };
    match (one, other) {
        (Value::Object(ours), Value::Object(others)) => {
            let keys = ours.keys().chain(others.keys().filter(|key| !ours.contains_key(*key)));
            for key in keys {
                let path = format!("{path}/{key}");
                match (ours.get(key), others.get(key)) {
                    (Some(one), Some(other)) => differences(&path, one, other, lines),
                    (Some(one), None) => lines.push(format!("+ {path}: {one}")),
                    (_, other) => lines.push(format!("- {path}: {}", other.unwrap_or(&Value::Null))),
                }
            }
        }
        _ if path.ends_with("/type") && sorted(one) == sorted(other) => {}
        _ if one == other => {}
        _ => lines.push(format!("{path}: {one}, not {other}")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Document;
    use super::*;

    const WORDS: Words = Words { title: "T", descriptions: &[("", "All.")], former: &[("flag", "old")] };

    #[test]
    fn each_kind_of_key_has_its_schema() {
        let document = Document::recording();
        let top = document.top("Top");
        let _ = top.key("section").section("Block").key("flag").flag();
        for (_, entry) in top.key("entries").entries("Entry").list {
            let _ = (entry.key("text").text(), entry.key("choice").choice(&[("a", 1), ("b", 2)]));
            let _ = (entry.key("counts").list(Kind::Count), entry.key("pairs").pairs(Kind::Word));
        }
        let _ = top.key("items").sections("Item");
        drop(top);
        let schema = schema(&document.into_record(), &WORDS);
        let flag = json!({"type": ["boolean", "string", "null"], "pattern": FLAG});
        let defs = &schema["$defs"];
        assert_eq!(
            schema["properties"]["section"],
            json!({"anyOf": [{"$ref": "#/$defs/Block"}, {"type": "null"}]})
        );
        assert_eq!((&schema["title"], &schema["description"]), (&json!("T"), &json!("All.")));
        assert_eq!(defs["Block"]["description"], "`section`.");
        assert_eq!(defs["Block"]["properties"]["flag"], flag);
        assert_eq!(defs["Block"]["properties"]["old"]["pattern"], flag["pattern"]);
        assert_eq!(defs["Entry"]["type"], json!(["object", "null"]));
        assert_eq!(defs["EntrySection"]["additionalProperties"], json!({"$ref": "#/$defs/Entry"}));
        let keys = &defs["Entry"]["properties"];
        assert_eq!(keys["choice"], json!({"type": ["string", "null"], "enum": ["a", "b", null]}));
        assert_eq!(keys["counts"]["items"]["minimum"], 0);
        assert_eq!(keys["pairs"]["additionalProperties"]["type"], json!(["string", "integer", "boolean"]));
        assert_eq!(schema["properties"]["items"]["items"], json!({"$ref": "#/$defs/Item"}));
    }

    #[test]
    fn differences_are_found() {
        let mut lines = Vec::new();
        let (one, other) =
            (json!({"type": ["a", "b"], "x": 1, "y": 2}), json!({"type": ["b", "a"], "x": 2, "z": 3}));
        differences("", &one, &other, &mut lines);
        assert_eq!(lines, ["/x: 1, not 2", "+ /y: 2", "- /z: 3"]);
    }
}
