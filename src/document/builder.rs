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

/// The rest of the text cannot be read. What was read of the value is kept.
pub(super) struct Stop(pub(super) Option<Node>);

/// A value, if all of it can be read.
pub(super) type Read = Result<Node, Stop>;

/// What the readers share: where they are, how much they took, and what is wrong.
pub(super) struct Builder {
    /// The path of the value that is read.
    path: KeyPath,
    is_secret: fn(&str) -> bool,
    size: Size,
    faults: Vec<Problem>,
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

/// A map or list whose members were read, or some of them.
pub(super) fn whole(place: Place, value: Value, members: &Result<(), Stop>) -> Read {
    let node = Node { place, value };
    if members.is_ok() { Ok(node) } else { Err(Stop(Some(node))) }
}

impl Builder {
    pub(super) fn new(is_secret: fn(&str) -> bool) -> Self {
        Self { path: KeyPath::default(), is_secret, size: Size::default(), faults: Vec::new() }
    }

    /// The tree as far as it was read, and what is wrong with the text.
    pub(super) fn finish(self, root: Read) -> (Node, Vec<Problem>) {
        let root = root.map_or_else(|Stop(part)| part, Some);
        (root.unwrap_or(Node { place: Place::START, value: Value::Null }), self.faults)
    }

    /// Counts a map or list that begins at `place`.
    pub(super) fn begin(&mut self, place: Place) -> Result<(), Stop> {
        self.take(Size { values: 1, bytes: 0, depth: 1 }, place)
    }

    /// A value that is neither map nor list.
    pub(super) fn scalar(&mut self, value: Value, place: Place) -> Read {
        let node = Node { place, value };
        self.take(Size::of(&node), place)?;
        Ok(node)
    }

    /// The value of `name` in `map` comes next; says whether the key is new.
    pub(super) fn key(&mut self, map: &Map, name: &str, place: Place) -> Result<bool, Stop> {
        self.take(Size { values: 0, bytes: name.len(), depth: 0 }, place)?;
        self.path.0.push(Step::Key(name.to_owned()));
        let first = map.get(name).map(|pair| pair.place);
        if let Some(Place { line, column }) = first {
            self.fault(place, format!("duplicate key; first at line {line}, column {column}"), "");
        }
        Ok(first.is_none())
    }

    /// Adds the value of a key, or what was read of it.
    pub(super) fn pair(&mut self, map: &mut Map, key: String, place: Place, read: Read) -> Result<(), Stop> {
        self.leave();
        let (node, end) = part(read);
        if let Some(node) = node {
            map.add(Pair { key, place, node });
        }
        end
    }

    /// The next item of `items` comes.
    pub(super) fn enter(&mut self, items: &[Node]) {
        self.path.0.push(Step::Item(items.len()));
    }

    /// Adds an item, or what was read of it.
    pub(super) fn item(&mut self, items: &mut Vec<Node>, read: Read) -> Result<(), Stop> {
        self.leave();
        let (node, end) = part(read);
        items.extend(node);
        end
    }

    pub(super) fn leave(&mut self) {
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
        Stop(None)
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

/// What was read of a value, and whether the reading goes on.
fn part(read: Read) -> (Option<Node>, Result<(), Stop>) {
    match read {
        Ok(node) => (Some(node), Ok(())),
        Err(Stop(node)) => (node, Err(Stop(None))),
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
        let mut map = Map::default();
        for number in 0..99_999 {
            let name = number.to_string();
            assert!(builder.key(&map, &name, Place::START).is_ok());
            let read = builder.scalar(Value::Integer(number), Place::START);
            assert!(builder.pair(&mut map, name, Place::START, read).is_ok());
        }
        let (node, faults) = builder.finish(whole(Place::START, Value::Map(map), &Ok(())));
        assert_eq!(faults, []);
        // Compared one by one, these would be 5,000,000,000 keys.
        for number in 0..99_999 {
            let pair = node.get(&number.to_string()).expect("a key");
            assert!(matches!(pair.node.value, Value::Integer(value) if value == number));
        }
    }
}
