//! Keys that hold lists, or maps of names and values.

use super::environment::Variable;
use super::key::Key;
use super::node::{Node, Value};
use super::path::KeyPath;
use super::record::Kind;
use super::section::Layer;

impl<'d> Key<'d> {
    /// The items of the list that this key holds; `kind` is that of each item.
    #[must_use]
    pub fn list(&self, kind: Kind) -> Vec<Self> {
        self.record(Kind::List(Box::new(kind)));
        let items = self.items();
        // An absent list may mean something else than an empty one.
        if let (true, Some(spot)) = (items.is_empty(), self.spot()) {
            self.note_spot(serde_yaml::Value::Sequence(Vec::new()), &spot);
        }
        items
    }

    pub(super) fn items(&self) -> Vec<Self> {
        if self.document().record.is_some() {
            return vec![self.item(self.path().item(0), None, None)];
        }
        let Some(spot) = self.spot() else { return Vec::new() };
        let node = match spot.variable {
            Some(variable) if std::ptr::eq(spot.node, &variable.text) => variable.list.as_ref(),
            _ => Some(spot.node),
        };
        match node {
            Some(Node { value: Value::List(items), .. }) => {
                let item = |(index, node)| self.item(spot.path.item(index), Some(node), spot.variable);
                return items.iter().enumerate().map(item).collect();
            }
            Some(node) => {
                let reported = self.fault(&spot, format!("expected a list, found {}", node.kind()));
                if matches!(node.value, Value::Map(_)) {
                    reported.hint("a single one is a list, too: in YAML it begins with `- `");
                }
            }
            None => drop(self.fault(&spot, "expected a list, as [a, b] or a,b")),
        }
        Vec::new()
    }

    pub(super) fn item(&self, path: KeyPath, node: Option<&'d Node>, variable: Option<&'d Variable>) -> Self {
        let place = node.map(|node| node.place).or(self.layers[0].place);
        Self { name: None, layers: [Layer { path, place, node, variable }].into(), ..self.clone() }
    }

    /// The map of names and values that this key holds; `kind` is that of each value.
    #[must_use]
    pub fn pairs(&self, kind: Kind) -> Vec<(String, Self)> {
        self.record(Kind::Pairs(Box::new(kind)));
        let Some(spot) = self.spot() else { return Vec::new() };
        let node = spot.variable.map_or(Some(spot.node), |variable| variable.pairs.as_ref());
        let wrong = match node {
            Some(Node { value: Value::Map(map), .. }) => {
                let key = |name: &str, node| self.item(spot.path.key(name), Some(node), spot.variable);
                let pairs = map.pairs().iter();
                return pairs.map(|pair| (pair.key.clone(), key(&pair.key, &pair.node))).collect();
            }
            Some(node) => format!("expected keys and values, found {}", node.kind()),
            None => "keys and values cannot come out of a variable".to_owned(),
        };
        self.fault(&spot, wrong);
        Vec::new()
    }
}
