//! The tree and the index of a TOML file.
//!
//! Tables become mappings in the order of their keys in the file. Dates have no meaning in a
//! configuration and are refused.

use std::collections::HashMap;
use std::ops::Range;

use serde_yaml::{Mapping, Number, Value};
use toml::de::{DeArray, DeInteger, DeTable, DeValue};

use super::{Fault, Inside, MAX_DEPTH, Node, Place, Places};
use crate::config::mask::{self, SecretRange};
use crate::config::path::KeyPath;

/// Deeper tables than this are refused before they are read: what reads them recurses.
const MAX_DOTS: usize = 256;

/// Reads `text`; what is returned is complete if there are no faults.
pub(in crate::config) fn read(text: &str) -> (Value, Places, Vec<Fault>) {
    let mut reader = Reader { lines: line_starts(text), text, places: Places::default(), faults: Vec::new() };
    if let Some(at) = deep_key(text) {
        reader.fault(&KeyPath::default(), at..at, "nested too deeply".to_owned());
        return (Value::Null, reader.places, reader.faults);
    }
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        let message = format!("this is not TOML: {}", error.message());
        reader.fault(&KeyPath::default(), error.span().unwrap_or_default(), message);
    }
    let start = Place { line: 1, column: 1 };
    let tree = reader.table(table.get_ref(), &KeyPath::default(), (start, start), false);
    (tree, reader.places, reader.faults)
}

/// Where a line holds so many dots that no key of a configuration can be meant.
fn deep_key(text: &str) -> Option<usize> {
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let key = line.split(['=', '"', '\'']).next().unwrap_or_default();
        if key.bytes().filter(|&byte| byte == b'.').count() > MAX_DOTS {
            return Some(start);
        }
        start += line.len();
    }
    None
}

fn line_starts(text: &str) -> Vec<usize> {
    std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect()
}

struct Reader<'t> {
    text: &'t str,
    lines: Vec<usize>,
    places: Places,
    faults: Vec<Fault>,
}

impl Reader<'_> {
    fn place(&self, offset: usize) -> Place {
        let line = self.lines.partition_point(|&start| start <= offset).max(1);
        let start = self.lines.get(line - 1).copied().unwrap_or_default();
        let column = 1 + self.text.get(start..offset).unwrap_or_default().chars().count();
        Place { line, column }
    }

    fn fault(&mut self, path: &KeyPath, span: Range<usize>, message: String) {
        let place = self.place(span.start);
        self.faults.push(Fault { path: path.clone(), place, message, hint: None });
    }

    /// Enters a node and returns its number.
    fn node(&mut self, (key, value): (Place, Place), inside: Inside, plain: bool) -> usize {
        self.places.nodes.push(Node { key, value, plain, variable: None, inside });
        self.places.nodes.len() - 1
    }

    fn table(&mut self, table: &DeTable<'_>, path: &KeyPath, at: (Place, Place), secret: bool) -> Value {
        let node = self.node(at, Inside::Mapping(HashMap::new()), false);
        let mut members: Vec<_> = table.iter().collect();
        members.sort_by_key(|(key, _)| key.span().start);
        let mut mapping = Mapping::new();
        for (key, value) in members {
            let name: &str = key.get_ref();
            let secret_key = mask::is_hidden(name);
            let below = if secret { path.clone() } else { path.key(name) };
            let at = (self.place(key.span().start), self.place(value.span().start));
            self.enter(node, Some(name));
            let value = self.value(value.get_ref(), value.span(), &below, at, (secret, secret || secret_key));
            mapping.insert(name.into(), value);
        }
        Value::Mapping(mapping)
    }

    /// The node that is pushed next stands below `node`.
    fn enter(&mut self, node: usize, name: Option<&str>) {
        let next = self.places.nodes.len();
        match (self.places.nodes.get_mut(node).map(|node| &mut node.inside), name) {
            (Some(Inside::Mapping(keys)), Some(name)) => {
                keys.insert(name.to_owned(), next);
            }
            (Some(Inside::List(items)), None) => items.push(next),
            _ => {}
        }
    }

    fn list(&mut self, list: &DeArray<'_>, path: &KeyPath, at: (Place, Place), secret: bool) -> Value {
        let node = self.node(at, Inside::List(Vec::new()), false);
        let mut items = Vec::with_capacity(list.len());
        for (index, item) in list.iter().enumerate() {
            let place = self.place(item.span().start);
            self.enter(node, None);
            let path = if secret { path.clone() } else { path.item(index) };
            items.push(self.value(item.get_ref(), item.span(), &path, (place, place), (secret, secret)));
        }
        Value::Sequence(items)
    }

    /// `secret` says whether the block above is a secret's value, and whether this one is.
    fn value(
        &mut self,
        value: &DeValue<'_>,
        span: Range<usize>,
        path: &KeyPath,
        at: (Place, Place),
        (above, secret): (bool, bool),
    ) -> Value {
        if secret {
            // A table's own place may be its header; its members are covered one by one.
            let start = if value.is_table() && !above { at.0 } else { at.1 };
            let last_line = self.place(span.end.saturating_sub(1).max(span.start)).line;
            self.places.secrets.push(SecretRange { start, last_line });
        }
        if path.steps().len() >= MAX_DEPTH {
            self.fault(path, span, "nested too deeply".to_owned());
            return Value::Null;
        }
        match value {
            DeValue::Table(table) => return self.table(table, path, at, secret),
            DeValue::Array(array) => return self.list(array, path, at, secret),
            _ => {}
        }
        self.node(at, Inside::Nothing, !value.is_str());
        match value {
            DeValue::String(text) => Value::String(text.to_string()),
            DeValue::Boolean(truth) => Value::Bool(*truth),
            DeValue::Integer(number) => integer(number),
            DeValue::Float(number) => {
                Value::Number(Number::from(number.as_str().parse().unwrap_or(f64::NAN)))
            }
            _ => {
                self.fault(path, span, "a date has no meaning here; write a text, in quotes".to_owned());
                Value::Null
            }
        }
    }
}

/// What does not fit is no whole number that a key could take.
fn integer(number: &DeInteger<'_>) -> Value {
    let (digits, radix) = (number.as_str(), number.radix());
    let unsigned = u64::from_str_radix(digits, radix).map(Number::from);
    let number = unsigned.or_else(|_| i64::from_str_radix(digits, radix).map(Number::from));
    Value::Number(number.unwrap_or_else(|_| Number::from(f64::NAN)))
}
