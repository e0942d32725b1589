//! What the readers of all syntaxes share: the way to the value that is read, the faults on it,
//! the bounds, and places.

use std::collections::HashMap;
use std::fmt::Write as _;

use super::node::{Fault, Node, Pair, Value};
use super::place::Place;

/// Maps and lists in each other; no configuration needs more than 6.
const MAX_DEPTH: usize = 32;

/// Values of a document, with aliases written out.
const MAX_VALUES: usize = 100_000;

/// Bytes of keys and texts, with aliases written out.
const MAX_BYTES: usize = 4 << 20;

/// More than anyone reads.
const MAX_FAULTS: usize = 100;

/// One step from a map or a list to what it holds.
enum Step {
    Key(String),
    Item(usize),
}

/// The way to the value that is read, and what was found wrong on it.
pub(super) struct Trail {
    steps: Vec<Step>,
    is_secret: fn(&str) -> bool,
    size: Size,
    pub(super) faults: Vec<Fault>,
}

/// How much a part of a tree holds.
#[derive(Clone, Copy, Default)]
pub(super) struct Size {
    /// How many values.
    pub(super) values: usize,
    /// How many bytes of keys and texts.
    pub(super) bytes: usize,
    /// How many maps and lists in each other.
    pub(super) depth: usize,
}

/// The rest of the text cannot be read.
pub(super) struct Stop;

impl Trail {
    pub(super) fn new(is_secret: fn(&str) -> bool) -> Self {
        Self { steps: Vec::new(), is_secret, size: Size::default(), faults: Vec::new() }
    }

    /// The value of `key` is read next.
    pub(super) fn enter_key(&mut self, key: &str) {
        self.steps.push(Step::Key(key.to_owned()));
    }

    /// The item `index` is read next.
    pub(super) fn enter_item(&mut self, index: usize) {
        self.steps.push(Step::Item(index));
    }

    /// The key or item that was entered last is done.
    pub(super) fn leave(&mut self) {
        self.steps.pop();
    }

    /// Whether the last step may be named: no key above it is secret.
    pub(super) fn is_named(&self) -> bool {
        self.shown() == self.steps.len()
    }

    /// How many steps may be shown: up to the first secret key.
    fn shown(&self) -> usize {
        let is_secret = |step: &Step| matches!(step, Step::Key(key) if (self.is_secret)(key));
        self.steps.iter().position(is_secret).map_or(self.steps.len(), |at| at + 1)
    }

    /// Notes that what stands at `place` is wrong.
    pub(super) fn fault(&mut self, place: Place, message: String, hint: Option<String>) {
        if self.faults.len() == MAX_FAULTS {
            return;
        }
        let mut key = String::new();
        for step in self.steps.iter().take(self.shown()) {
            match step {
                Step::Key(name) => add_key(&mut key, name),
                Step::Item(index) => add_item(&mut key, *index),
            }
        }
        self.faults.push(Fault { place, key, message, hint });
    }

    /// Notes that the text is wrong at `place`, of whatever key.
    pub(super) fn broken(&mut self, place: Place, message: String, hint: Option<String>) {
        if self.faults.len() < MAX_FAULTS {
            self.faults.push(Fault { place, key: String::new(), message, hint });
        }
    }

    /// Takes room for what comes next at `place`, before memory is taken for it.
    pub(super) fn take(&mut self, size: Size, place: Place) -> Result<(), Stop> {
        if self.steps.len() + size.depth > MAX_DEPTH {
            self.fault(place, "nested too deeply".to_owned(), None);
            return Err(Stop);
        }
        let values = self.size.values.saturating_add(size.values);
        let bytes = self.size.bytes.saturating_add(size.bytes);
        if values > MAX_VALUES || bytes > MAX_BYTES {
            let message =
                format!("too large: more than {MAX_VALUES} values, or {} MiB of text", MAX_BYTES >> 20);
            let hint = "each alias counts as all that it stands for".to_owned();
            self.fault(place, message, Some(hint));
            return Err(Stop);
        }
        (self.size.values, self.size.bytes) = (values, bytes);
        Ok(())
    }
}

impl Size {
    /// A single value that holds `bytes` of text.
    pub(super) fn scalar(bytes: usize) -> Self {
        Self { values: 1, bytes, depth: 0 }
    }

    /// A map or list, without what it holds.
    pub(super) fn container() -> Self {
        Self { values: 1, bytes: 0, depth: 1 }
    }

    /// All that `node` holds.
    pub(super) fn of(node: &Node) -> Self {
        let parts: Vec<(usize, &Node)> = match &node.value {
            Value::Text { text, .. } => return Self::scalar(text.len()),
            Value::List(items) => items.iter().map(|item| (0, item)).collect(),
            Value::Map(pairs) => pairs.iter().map(|pair| (pair.key.len(), &pair.node)).collect(),
            _ => return Self::scalar(0),
        };
        let mut size = Self::container();
        for (key, node) in parts {
            let part = Self::of(node);
            size.values += part.values;
            size.bytes += key + part.bytes;
            size.depth = size.depth.max(1 + part.depth);
        }
        size
    }
}

/// Adds the step to `key` to a path; a name that could be mistaken for a path is quoted.
pub(super) fn add_key(path: &mut String, key: &str) {
    if !path.is_empty() {
        path.push('.');
    }
    let is_plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '@' | '/');
    if !key.is_empty() && key.chars().all(is_plain) {
        path.push_str(key);
    } else {
        let _ = write!(path, "{key:?}");
    }
}

/// Adds the step to the item `index` to a path.
pub(super) fn add_item(path: &mut String, index: usize) {
    let _ = write!(path, "[{index}]");
}

/// A map that is read: the first of two equal keys stays.
#[derive(Default)]
pub(super) struct Pairs {
    pairs: Vec<Pair>,
    places: HashMap<String, Place>,
}

impl Pairs {
    /// Notes a fault if `key`, which the trail has entered, was there before.
    pub(super) fn check(&self, key: &str, place: Place, trail: &mut Trail) -> bool {
        let Some(first) = self.places.get(key) else { return true };
        let message = format!("given twice; first at line {}, column {}", first.line, first.column);
        trail.fault(place, message, None);
        false
    }

    /// Adds `pair` if its key is new.
    pub(super) fn add(&mut self, pair: Pair) {
        if !self.places.contains_key(&pair.key) {
            self.places.insert(pair.key.clone(), pair.place);
            self.pairs.push(pair);
        }
    }

    pub(super) fn into_value(self) -> Value {
        Value::Map(self.pairs)
    }

    pub(super) fn into_nodes(self) -> impl Iterator<Item = Node> {
        self.pairs.into_iter().map(|pair| pair.node)
    }
}

/// Finds the place of a byte.
pub(super) struct Lines<'t> {
    text: &'t str,
    /// Where each line begins.
    starts: Vec<usize>,
    /// The last byte that was asked for, and its place: the next one is mostly near.
    last: (usize, Place),
}

impl<'t> Lines<'t> {
    pub(super) fn of(text: &'t str) -> Self {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { text, starts, last: (0, Place { line: 1, column: 1 }) }
    }

    /// The place of the byte at `offset`, or of the end of the text.
    pub(super) fn place(&mut self, offset: usize) -> Place {
        let offset = self.text.floor_char_boundary(offset);
        let line = self.starts.partition_point(|&start| start <= offset).max(1);
        let start = self.starts.get(line - 1).copied().unwrap_or_default();
        let (from, column) = match self.last {
            (from, place) if place.line == line && from <= offset => (from, place.column),
            _ => (start, 1),
        };
        let column = column + self.text.get(from..offset).unwrap_or_default().chars().count();
        self.last = (offset, Place { line, column });
        self.last.1
    }
}

/// A tree in one line.
#[cfg(test)]
pub(super) fn show(node: &Node) -> String {
    match &node.value {
        Value::Null => "~".to_owned(),
        Value::Boolean(truth) => truth.to_string(),
        Value::Integer(number) => number.to_string(),
        Value::Float(number) => format!("{number:?}"),
        Value::Text { text, .. } => format!("{text:?}"),
        Value::List(items) => {
            let items: Vec<String> = items.iter().map(show).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Map(pairs) => {
            let pairs: Vec<String> =
                pairs.iter().map(|pair| format!("{}: {}", pair.key, show(&pair.node))).collect();
            format!("{{{}}}", pairs.join(", "))
        }
    }
}

/// Faults, each in one line.
#[cfg(test)]
pub(super) fn told(faults: &[Fault]) -> Vec<String> {
    let told = |fault: &Fault| {
        let hint = fault.hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
        format!("{}:{} {}: {}{hint}", fault.place.line, fault.place.column, fault.key, fault.message)
    };
    faults.iter().map(told).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_found_in_any_order() {
        let text = "ä1\n\n€€3";
        let mut lines = Lines::of(text);
        for (offset, line, column) in [
            (0, 1, 1),
            (2, 1, 2),
            (3, 1, 3),
            (4, 2, 1),
            (5, 3, 1),
            (11, 3, 3),
            (8, 3, 2),
            (7, 3, 1),
            (99, 3, 4),
        ] {
            assert_eq!(lines.place(offset), Place { line, column }, "{offset}");
        }
    }

    #[test]
    fn paths_quote_what_is_no_plain_name() {
        let mut path = String::new();
        for key in ["a", "b.c", "", "d-e_f@g/h"] {
            add_key(&mut path, key);
            add_item(&mut path, 0);
        }
        assert_eq!(path, "a[0].\"b.c\"[0].\"\"[0].d-e_f@g/h[0]");
    }
}
