//! Keys that hold several values: lists, names and values, blocks, entries by name.

use std::rc::Rc;

use super::key::Key;
use super::node::{Map, Node, Value};
use super::problem::Severity;
use super::record::Kind;
use super::section::{Layer, Section};

/// The entry whose keys all others of its section inherit.
const DEFAULTS: &str = "defaults";

/// Entries by name.
pub struct Entries<'d> {
    /// Names and blocks, without `defaults`.
    pub list: Vec<(String, Section<'d>)>,
    /// What all of them inherit.
    pub defaults: Option<Section<'d>>,
}

impl<'d> Entries<'d> {
    /// Reads each entry by `read`, and `defaults` before them, for the faults of its values.
    pub fn read<T>(&self, read: impl Fn(&str, &Section<'d>) -> Option<T>) -> Vec<T> {
        if let Some(defaults) = &self.defaults {
            read(DEFAULTS, defaults);
        }
        self.list.iter().filter_map(|(name, entry)| read(name, entry)).collect()
    }
}

impl<'d> Key<'d> {
    /// The items of the list that this key holds; `kind` is that of each item.
    #[must_use]
    pub fn list(&self, kind: Kind) -> Vec<Self> {
        self.record(Kind::List(Box::new(kind)));
        let items = self.items();
        // An absent list may mean something else than an empty one.
        if items.is_empty() && self.is_set() {
            self.note_set(serde_yaml::Value::Sequence(Vec::new()));
        }
        items
    }

    /// The values of a key that holds one, or a list; `kind` is that of each. A key that is not set is one value
    /// that is not set.
    #[must_use]
    pub fn one_or_list(&self, kind: Kind) -> Vec<Self> {
        self.record(Kind::OneOrList(Box::new(kind)));
        match self.set() {
            Some(Layer { variable: None, node: Some(Node { value: Value::List(_), .. }), .. }) => {
                self.items()
            }
            Some(Layer { variable: Some(_), .. }) => self.items(),
            Some(_) => vec![Self::new(self.block.clone(), None, Rc::clone(&self.layers))],
            None => vec![self.item(self.path().clone(), None, None)],
        }
    }

    fn items(&self) -> Vec<Self> {
        if self.document().record.is_some() {
            return vec![self.item(self.path().item(0), None, None)];
        }
        let Some((layer, mut node)) = self.set().map(|layer| (layer, layer.node)) else { return Vec::new() };
        if let (Some(variable), Some(text)) = (layer.variable, node)
            && std::ptr::eq(text, &variable.text)
        {
            node = variable.list.as_ref();
        }
        let message = match node {
            Some(Node { value: Value::List(items), .. }) => {
                let item = |(index, node)| self.item(layer.path.item(index), Some(node), layer.variable);
                return items.iter().enumerate().map(item).collect();
            }
            Some(node) => format!("expected a list, found {}", node.kind()),
            None => "expected a list, as [a, b] or a,b".to_owned(),
        };
        let told = self.fault(message);
        if layer.variable.is_none() {
            told.hint(
                "a single one is a list, too: [a], or in YAML a line that begins with `- ` for each item",
            );
        }
        Vec::new()
    }

    /// The map of names and values that this key holds; `kind` is that of each value.
    #[must_use]
    pub fn pairs(&self, kind: Kind) -> Vec<(String, Self)> {
        self.record(Kind::Pairs(Box::new(kind)));
        let Some(layer) = self.set() else { return Vec::new() };
        let node = layer.variable.map_or(layer.node, |variable| variable.pairs.as_ref());
        let wrong = match node {
            Some(Node { value: Value::Map(map), .. }) => {
                let key = |name: &str, node| self.item(layer.path.key(name), Some(node), layer.variable);
                let pairs = map.pairs().iter();
                return pairs.map(|pair| (pair.key.clone(), key(&pair.key, &pair.node))).collect();
            }
            Some(node) => format!("expected keys and values, found {}", node.kind()),
            None => "keys and values cannot come out of a variable".to_owned(),
        };
        self.fault(wrong);
        Vec::new()
    }

    /// The block that this key holds; `definition` names its kind in the schema.
    #[must_use]
    pub fn section(&self, definition: &'static str) -> Section<'d> {
        self.define(Kind::Block(definition), definition, self.path().to_string());
        self.as_section(definition)
    }

    /// The same, if the value may be `false` instead: then there is none. A block inherits nothing from behind
    /// a `false`.
    #[must_use]
    pub fn section_or_off(&self, definition: &'static str) -> Option<Section<'d>> {
        self.define(Kind::BlockOrOff(definition), definition, self.path().to_string());
        if self.node().is_some_and(is_off) {
            self.note_set(false.into());
            return None;
        }
        let layers = self.layers.iter().take_while(|layer| !layer.node.is_some_and(is_off)).cloned();
        Some(Self::new(self.block.clone(), self.name, layers.collect()).as_section(definition))
    }

    /// The blocks of the list that this key holds. One that is empty or no block is reported.
    #[must_use]
    pub fn sections(&self, definition: &'static str) -> Vec<Section<'d>> {
        self.define(Kind::Blocks(definition), definition, format!("an item of {}", self.path()));
        let is_recording = self.document().record.is_some();
        let is_block = |item: &&Key<'d>| {
            let layer = &item.layers[0];
            if layer.is_null() {
                item.error("this item is empty");
            }
            is_recording || self.map_in(layer).is_some()
        };
        self.items().iter().filter(is_block).map(|item| item.as_section(definition)).collect()
    }

    /// The items of the list that this key holds; an item that is no text is a block.
    #[must_use]
    pub fn texts_or_sections(&self, definition: &'static str) -> Vec<(Self, Option<Section<'d>>)> {
        self.define(Kind::TextsOrBlocks(definition), definition, format!("an item of {}", self.path()));
        let is_recording = self.document().record.is_some();
        let section = |item: &Self| {
            let is_block = item.node().is_some_and(|node| matches!(node.value, Value::Map(_)));
            (is_recording || is_block).then(|| item.as_section(definition))
        };
        self.items().into_iter().map(|item| (item.clone(), section(&item))).collect()
    }

    /// The entries that this key holds, by name. One that is no block is reported and left out.
    #[must_use]
    pub fn entries(&self, definition: &'static str) -> Entries<'d> {
        self.define(Kind::Entries(definition), definition, format!("an entry of {}", self.path()));
        let section = &self.layers[0];
        let mut entries = Entries { list: Vec::new(), defaults: None };
        if self.document().record.is_some() {
            let any = self.item(section.path.key("*"), None, None);
            entries.list.push(("*".to_owned(), any.as_section(definition)));
        }
        let Some((_, map)) = self.map_in(section) else { return entries };
        let defaults = map.get(DEFAULTS).map(|pair| Layer::of(section.path.key(DEFAULTS), pair));
        if let Some(layer) = defaults {
            let block = Section { is_template: true, ..self.block.clone() };
            entries.defaults = Some(Key::new(block, self.name, [layer].into()).as_section(definition));
        }
        let defaults = entries.defaults.as_ref().map(|defaults| defaults.layers[0].clone());
        for pair in map.pairs().iter().filter(|pair| pair.key != DEFAULTS) {
            let own = Layer::of(section.path.key(&pair.key), pair);
            if pair.key.is_empty()
                || pair.key.contains(|c: char| c.is_whitespace() || c.is_control() || c == ':')
            {
                let message = "a name holds no blanks, no `:` and no control characters".to_owned();
                self.document().report(Severity::Error, &own, own.place, message);
            }
            // An entry may consist of what it inherits alone.
            if own.is_null() || self.map_in(&own).is_some() {
                self.document().ask(&pair.node, None);
                let layers = [own].into_iter().chain(defaults.clone()).collect();
                let section = Section { definition, layers, ..self.block.clone() };
                entries.list.push((pair.key.clone(), section));
            }
        }
        entries
    }

    fn as_section(&self, definition: &'static str) -> Section<'d> {
        let mut layers = Vec::new();
        for layer in self.layers.iter() {
            let node = self.map_in(layer).map(|(node, _)| node);
            node.inspect(|node| self.document().ask(node, None));
            layers.push(Layer { node, ..layer.clone() });
            if layer.is_null() {
                break;
            }
        }
        Section { definition, layers: layers.into(), ..self.block.clone() }
    }

    /// The value in `layer`, if it is a map; what is neither a map nor nothing is reported.
    fn map_in(&self, layer: &Layer<'d>) -> Option<(&'d Node, &'d Map)> {
        let node = layer.node.filter(|node| !node.is_null())?;
        if let Value::Map(map) = &node.value {
            return Some((node, map));
        }
        let message = format!("expected keys and values, found {}", node.kind());
        self.document().report(Severity::Error, layer, Some(node.place), message);
        None
    }

    /// Notes which kind of blocks the key has, and what an administrator calls them.
    fn define(&self, kind: Kind, definition: &'static str, label: String) {
        self.record(kind);
        if let Some(record) = &self.document().record {
            record.borrow_mut().define(definition, label);
        }
    }
}

fn is_off(node: &Node) -> bool {
    match &node.value {
        Value::Boolean(is_on) => !is_on,
        Value::Text { text, .. } => text == "false",
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::Section;
    use super::super::tests::read;

    /// Reads a block, a list of blocks and entries, each with the keys `level` and `block.deep`.
    fn all(top: &Section<'_>) -> Vec<(String, Option<u64>, Option<u64>)> {
        let mut blocks = vec![top.key("one").section("Block")];
        blocks.extend(top.key("items").sections("Item"));
        blocks.extend(top.key("entries").entries("Entry").list.into_iter().map(|(_, entry)| entry));
        let numbers = |block: &Section<'_>| {
            let deep = block.key("block").section("Deep").key("deep").count(0..=9).get();
            (block.path().to_string(), block.key("level").count(0..=9).get(), deep)
        };
        blocks.iter().map(numbers).collect()
    }

    #[test]
    fn blocks_are_inherited_key_by_key() {
        let text = r"
items: [{level: 1}, {block: {deep: 2}}]
entries:
  a: {block: {}}
  b: {level: 4, block: ~}
  c: ~
  defaults: {level: 3, block: {deep: 5}}
";
        let (found, problems) = read(text, &[], all);
        let found: Vec<_> = found.iter().map(|(path, level, deep)| (path.as_str(), *level, *deep)).collect();
        assert_eq!(problems, [""; 0]);
        assert_eq!(
            found,
            [
                ("one", None, None),
                ("items[0]", Some(1), None),
                ("items[1]", None, Some(2)),
                ("entries.a", Some(3), Some(5)),
                ("entries.b", Some(4), None),
                ("entries.c", Some(3), Some(5)),
            ]
        );
    }

    #[test]
    fn what_is_no_block_is_reported_and_left_out() {
        for (text, expected) in [
            ("one: 5", &["1:6 one: expected keys and values, found a number"][..]),
            (
                "items: [{}, ~, 5]",
                &["1:13 items[1]: this item is empty", "1:16 items[2]: expected keys and v"],
            ),
            (
                "items: {}",
                &["1:8 items: expected a list, found keys and values (a single one is a list, too"],
            ),
            ("entries: []", &["1:10 entries: expected keys and values, found a list"]),
            (
                "entries: {a: x, 'b c': {}}",
                &["1:14 entries.a: expected keys", "1:17 entries.\"b c\": a name hol"],
            ),
            ("entries: {defaults: []}", &["1:21 entries.defaults: expected keys and values, found a list"]),
            ("5", &["1:1 : expected keys and values, found a number"]),
            ("", &["1:1 : the configuration is empty"]),
        ] {
            let (_, problems) = read(text, &[], all);
            assert_eq!(problems.len(), expected.len(), "{text}: {problems:#?}");
            for (problem, expected) in problems.iter().zip(expected) {
                assert!(problem.starts_with(expected), "{text}: {problem}, not {expected}");
            }
        }
    }

    #[test]
    fn a_key_that_nothing_asked_for_is_unknown() {
        for (text, expected) in [
            ("x-own: {a: [{b: c}]}", ""),
            ("x: 1", "1:1 x: unknown key"),
            ("one: {x-a: 1}", "1:7 one.x-a: unknown key"),
            ("one: {levle: 1}", "1:7 one.levle: unknown key (did you mean `level`?)"),
            ("one: {block: {Deep: 1}}", "1:15 one.block.Deep: unknown key (did you mean `deep`?)"),
            ("items: [{}, {b: 1}]", "1:14 items[1].b: unknown key"),
            ("entries: {level: {level: 1, y: 2}}", "1:29 entries.level.y: unknown key"),
            ("entries: {a: {}, defaults: {z: 1}}", "1:29 entries.defaults.z: unknown key"),
            ("entries: {a: ~, defaults: {z: 1}}", "1:28 entries.defaults.z: unknown key"),
            // The same value in two blocks of different kinds.
            ("one: &a {level: 1, block: {deep: 1}}\nentries: {e: *a}", ""),
        ] {
            assert_eq!(read(text, &[], all).1.join("\n"), expected, "{text}");
        }
    }

    #[test]
    fn many_entries_are_read_in_time() {
        let mut text = "entries:\n".to_owned();
        (0..20_000).for_each(|number| text += &format!("  e{number}: {{level: {}}}\n", number % 10));
        let (found, problems) = read(&text, &[], all);
        assert_eq!((found.len(), problems.len()), (20_001, 0));
    }
}
