//! Builds the tree of a document out of the values that a reader finds, in the order of the text.
//!
//! Bounds are checked before memory is taken for a copy. A fault names the key that is being read, but
//! nothing below a secret key. If a reader stops, the maps and lists that are open end there.

use super::node::{Map, Node, Pair, Value};
use super::place::{KeyPath, Place, Step};
use super::problem::Problem;

/// Maps and lists in each other; no configuration needs more than 6.
const MAX_DEPTH: usize = 32;
/// Values of a document, with aliases written out.
const MAX_VALUES: usize = 100_000;
/// Bytes of keys and texts, with aliases written out.
const MAX_BYTES: usize = 4 << 20;
/// Faults that are kept.
const MAX_FAULTS: usize = 100;

/// The rest of the text cannot be read.
pub(super) struct Stop;

/// A document that is being read.
pub(super) struct Builder {
    root: Option<Node>,
    /// The maps and lists whose end was not read yet, from the root down.
    open: Vec<(Place, Container)>,
    /// The path of the value that is read.
    path: KeyPath,
    is_secret: fn(&str) -> bool,
    size: Size,
    faults: Vec<Problem>,
}

/// A map or list.
pub(super) enum Container {
    List(Vec<Node>),
    Map {
        map: Map,
        /// What YAML's merge key (`<<`) holds.
        merges: Map,
        /// The key whose value comes next, and whether it is a merge key.
        key: Option<(String, Place, bool)>,
    },
}

/// How much a part of a tree holds.
#[derive(Clone, Copy, Default)]
pub(super) struct Size {
    pub(super) values: usize,
    /// Of keys and texts.
    pub(super) bytes: usize,
    /// Maps and lists in each other.
    pub(super) depth: usize,
}

impl Container {
    pub(super) fn list() -> Self {
        Self::List(Vec::new())
    }

    pub(super) fn map() -> Self {
        Self::Map { map: Map::default(), merges: Map::default(), key: None }
    }
}

impl Builder {
    pub(super) fn new(is_secret: fn(&str) -> bool) -> Self {
        Self {
            root: None,
            open: Vec::new(),
            path: KeyPath::default(),
            is_secret,
            size: Size::default(),
            faults: Vec::new(),
        }
    }

    /// The tree as far as it was read, and what is wrong with the text.
    pub(super) fn finish(mut self) -> (Node, Vec<Problem>) {
        let faults = std::mem::take(&mut self.faults);
        while !self.open.is_empty() {
            self.end();
        }
        (self.root.unwrap_or(Node { place: Place::START, value: Value::Null }), faults)
    }

    /// Whether a key comes next.
    pub(super) fn awaits_key(&self) -> bool {
        matches!(self.open.last(), Some((_, Container::Map { key: None, .. })))
    }

    /// Where the key stands whose value comes next.
    pub(super) fn key_place(&self) -> Option<Place> {
        match self.open.last() {
            Some((_, Container::Map { key: Some((_, place, _)), .. })) => Some(*place),
            _ => None,
        }
    }

    /// Adds the key of the next value; says whether it is new.
    pub(super) fn key(&mut self, name: &str, place: Place, is_merge: bool) -> Result<bool, Stop> {
        self.take(Size { values: 0, bytes: name.len(), depth: 0 }, place)?;
        let Some((_, Container::Map { map, merges, key })) = self.open.last_mut() else { return Ok(false) };
        let before = if is_merge { merges } else { map };
        let first = before.get(name).map(|pair| pair.place);
        *key = Some((name.to_owned(), place, is_merge));
        self.path.0.push(Step::Key(name.to_owned()));
        if let Some(Place { line, column }) = first {
            self.fault(place, format!("given twice; first at line {line}, column {column}"), "");
        }
        Ok(first.is_none())
    }

    /// A value comes next that is no key.
    pub(super) fn arrive(&mut self) {
        if let Some((_, Container::List(items))) = self.open.last() {
            self.path.0.push(Step::Item(items.len()));
        }
    }

    /// Opens a map or list.
    pub(super) fn begin(&mut self, container: Container, place: Place) -> Result<(), Stop> {
        self.arrive();
        self.take(Size { values: 1, bytes: 0, depth: 1 }, place)?;
        self.open.push((place, container));
        Ok(())
    }

    /// Closes the map or list that was opened last.
    pub(super) fn end(&mut self) {
        if let Some(node) = self.complete() {
            self.attach(node);
        }
    }

    /// Adds a value that is neither map nor list.
    pub(super) fn scalar(&mut self, value: Value, place: Place) -> Result<(), Stop> {
        self.arrive();
        let node = Node { place, value };
        self.take(Size::of(&node), place)?;
        self.attach(node);
        Ok(())
    }

    /// Notes that the value at `place` is wrong, and adds none.
    pub(super) fn refuse(&mut self, place: Place, message: &str) {
        self.arrive();
        self.fault(place, message, "");
        self.attach(Node { place, value: Value::Null });
    }

    /// The map or list that was opened last. Of a map's own keys and the merged ones, the first holds.
    pub(super) fn complete(&mut self) -> Option<Node> {
        let (place, container) = self.open.pop()?;
        let value = match container {
            Container::List(items) => Value::List(items),
            Container::Map { mut map, merges, .. } => {
                for node in merges.into_pairs().into_iter().map(|pair| pair.node).flat_map(merged) {
                    if let Value::Map(merged) = node.value {
                        merged.into_pairs().into_iter().for_each(|pair| map.add(pair));
                    }
                }
                Value::Map(map)
            }
        };
        Some(Node { place, value })
    }

    /// Puts a complete value where it belongs.
    pub(super) fn attach(&mut self, node: Node) {
        let Some((_, container)) = self.open.last_mut() else {
            self.root = Some(node);
            return;
        };
        match container {
            Container::List(items) => items.push(node),
            Container::Map { map, merges, key } => match key.take() {
                Some((_, place, true)) if !can_merge(&node) => {
                    self.path.0.pop();
                    let message = "a merge (`<<`) takes keys and values, or a list of such";
                    self.fault(place, message, &format!("this is {}", node.kind()));
                    return;
                }
                Some((key, place, true)) => merges.add(Pair { key, place, node }),
                Some((key, place, false)) => map.add(Pair { key, place, node }),
                None => {}
            },
        }
        self.path.0.pop();
    }

    /// Whether the key that is read may be named: no key above it is secret.
    pub(super) fn is_named(&self) -> bool {
        self.path.steps_to(self.is_secret) == self.path.0.len()
    }

    /// Notes that what stands at `place` is wrong; an empty `hint` is none.
    pub(super) fn fault(&mut self, place: Place, message: impl Into<String>, hint: &str) -> Stop {
        let shown = self.path.0.iter().take(self.path.steps_to(self.is_secret));
        let key = KeyPath(shown.cloned().collect()).to_string();
        self.tell(place, key, message.into(), hint)
    }

    /// Notes that the text is wrong at `place`, whatever key that is of.
    pub(super) fn broken(&mut self, place: Place, message: impl Into<String>, hint: &str) -> Stop {
        self.tell(place, String::new(), message.into(), hint)
    }

    fn tell(&mut self, place: Place, key: String, message: String, hint: &str) -> Stop {
        if self.faults.len() < MAX_FAULTS {
            let hint = (!hint.is_empty()).then(|| hint.to_owned());
            let fault = Problem { key, hint, place: Some(place), ..Problem::of_file("".as_ref(), message) };
            self.faults.push(fault);
        }
        Stop
    }

    /// Counts what comes next at `place`.
    pub(super) fn take(&mut self, size: Size, place: Place) -> Result<(), Stop> {
        if self.path.0.len() + size.depth > MAX_DEPTH {
            return Err(self.fault(place, "nested too deeply", ""));
        }
        self.size.values = self.size.values.saturating_add(size.values);
        self.size.bytes = self.size.bytes.saturating_add(size.bytes);
        if self.size.values > MAX_VALUES || self.size.bytes > MAX_BYTES {
            let text = MAX_BYTES >> 20;
            let message = format!("too large: more than {MAX_VALUES} values, or {text} MiB of text");
            return Err(self.fault(place, message, "each alias counts as all that it stands for"));
        }
        Ok(())
    }
}

impl Size {
    /// All that `node` holds.
    pub(super) fn of(node: &Node) -> Self {
        let in_one = |size: Self, key: usize, node: &Node| {
            let Self { values, bytes, depth } = Self::of(node);
            let depth = size.depth.max(1 + depth);
            Self { values: size.values + values, bytes: size.bytes + key + bytes, depth }
        };
        let empty = Self { values: 1, bytes: 0, depth: 1 };
        match &node.value {
            Value::List(items) => items.iter().fold(empty, |size, item| in_one(size, 0, item)),
            Value::Map(map) => {
                map.pairs().iter().fold(empty, |size, pair| in_one(size, pair.key.len(), &pair.node))
            }
            Value::Text { text, .. } => Self { values: 1, bytes: text.len(), depth: 0 },
            _ => Self { values: 1, bytes: 0, depth: 0 },
        }
    }
}

fn can_merge(node: &Node) -> bool {
    match &node.value {
        Value::Map(_) => true,
        Value::List(items) => items.iter().all(|item| matches!(item.value, Value::Map(_))),
        _ => false,
    }
}

/// The maps that a merge key's value holds.
fn merged(node: Node) -> Vec<Node> {
    match node.value {
        Value::List(items) => items,
        _ => vec![node],
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A tree in one line.
    pub(in super::super) fn show(node: &Node) -> String {
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
            Value::Map(map) => {
                let pairs = map.pairs().iter();
                let pairs: Vec<String> =
                    pairs.map(|pair| format!("{}: {}", pair.key, show(&pair.node))).collect();
                format!("{{{}}}", pairs.join(", "))
            }
        }
    }

    /// Faults, each in one line.
    pub(in super::super) fn told(faults: &[Problem]) -> Vec<String> {
        let told = |fault: &Problem| {
            let hint = fault.hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
            let Place { line, column } = fault.place.expect("a place");
            format!("{line}:{column} {}: {}{hint}", fault.key, fault.message)
        };
        faults.iter().map(told).collect()
    }

    #[test]
    fn keys_of_a_large_map_are_found_in_time() {
        let mut builder = Builder::new(|_| false);
        assert!(builder.begin(Container::map(), Place::START).is_ok());
        for number in 0..99_999 {
            let key = builder.key(&number.to_string(), Place::START, false);
            assert!(key.is_ok() && builder.scalar(Value::Integer(number), Place::START).is_ok());
        }
        builder.end();
        let (node, faults) = builder.finish();
        assert_eq!(faults, []);
        // Compared one by one, these would be 5,000,000,000 keys.
        for number in 0..99_999 {
            let pair = node.get(&number.to_string()).expect("a key");
            assert!(matches!(pair.node.value, Value::Integer(value) if value == number));
        }
    }
}
