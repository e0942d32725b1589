//! A key: its value in each layer of its block, and problems of it.

use std::rc::Rc;

use super::dump::{HIDDEN, Origin};
use super::environment::Variable;
use super::node::Node;
use super::path::KeyPath;
use super::place::Place;
use super::problem::Severity;
use super::reading::{At, Document, Reported};
use super::record::Kind;
use super::section::{Layer, Section};

/// A key, or an item of a list, with its value.
#[derive(Clone)]
pub struct Key<'d> {
    /// The block that has the key; of an item, the one that has its list.
    pub(super) block: Section<'d>,
    /// The key's name; `None` for an item.
    pub(super) name: Option<&'static str>,
    /// The nearest first; never empty.
    pub(super) layers: Rc<[Layer<'d>]>,
    /// Whether a nearer key holds instead.
    pub(super) is_displaced: bool,
    /// Whether this is one of several layers that add up.
    pub(super) is_part: bool,
}

/// A value, and where it stands.
#[derive(Clone)]
pub(super) struct Spot<'d> {
    pub(super) path: KeyPath,
    pub(super) node: &'d Node,
    pub(super) variable: Option<&'d Variable>,
    /// Where its key stands.
    key: At<'d>,
}

impl<'d> Key<'d> {
    pub(super) fn document(&self) -> &'d Document<'d> {
        self.block.document
    }

    /// Where the value is to stand: the path of the block itself and this key.
    #[must_use]
    pub fn path(&self) -> &KeyPath {
        &self.layers[0].path
    }

    /// The value that holds.
    pub(super) fn spot(&self) -> Option<Spot<'d>> {
        // An item that is null is still an item.
        self.nearest().filter(|spot| self.name.is_none() || !spot.node.is_null())
    }

    /// The nearest value, which may be `~`.
    fn nearest(&self) -> Option<Spot<'d>> {
        self.kept().into_iter().find_map(|(layer, variable)| {
            let value = variable.map(|variable| (&variable.text, Some(variable)));
            let (node, variable) = value.or(layer.node.map(|node| (node, layer.variable)))?;
            Some(Spot { path: layer.path.clone(), node, variable, key: layer.at() })
        })
    }

    /// The layers that are not taken back by a nearer `~`, and the variables over them.
    fn kept(&self) -> Vec<(&Layer<'d>, Option<&'d Variable>)> {
        let mut kept = Vec::with_capacity(self.layers.len());
        let mut is_taken_back = self.is_displaced;
        for layer in self.layers.iter() {
            // Also a variable whose value does not hold matches a key.
            let variable = self.document().variables.of(&layer.path);
            if !is_taken_back {
                kept.push((layer, variable));
            }
            is_taken_back |= variable.is_none() && layer.node.is_some_and(Node::is_null);
        }
        kept
    }

    /// Two keys of which the nearer one holds; both if they are equally near.
    pub(super) fn nearer(one: Self, other: Self) -> (Self, Self) {
        let ranks = one.rank().zip(other.rank());
        let (first, second) = ranks.unwrap_or_default();
        (Self { is_displaced: second < first, ..one }, Self { is_displaced: first < second, ..other })
    }

    /// How far the nearest value is, also one that takes back others.
    fn rank(&self) -> Option<usize> {
        self.layers.iter().enumerate().find_map(|(index, layer)| {
            let variable = self.document().variables.of(&layer.path).map(|_| 2 * index);
            variable.or(layer.node.map(|_| 2 * index + 1))
        })
    }

    /// Whether a value is set, also one that is inherited.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.spot().is_some()
    }

    /// Where the value begins; `None` if none is set, or a variable sets it.
    #[must_use]
    pub fn place(&self) -> Option<Place> {
        self.spot().filter(|spot| spot.variable.is_none()).map(|spot| spot.node.place)
    }

    /// Whether the block itself sets the value, or takes it back.
    #[must_use]
    pub fn is_own(&self) -> bool {
        self.nearest().is_some_and(|spot| spot.path == *self.path())
    }

    /// The key in each layer alone, the nearest first: for lists that add up, as [`Key::note_sum`] is told.
    #[must_use]
    pub fn each_layer(&self) -> Vec<Self> {
        let alone =
            |layer: &Layer<'d>| Self { layers: Rc::from([layer.clone()]), is_part: true, ..self.clone() };
        self.kept().into_iter().map(|(layer, _)| alone(layer)).collect()
    }

    /// Notes for the effective configuration what the layers of this key add up to.
    pub fn note_sum(&self, items: impl Iterator<Item = String>) {
        let origin = self.spot().map_or(Origin::Default, |spot| spot.origin());
        self.note(items.map(serde_yaml::Value::from).collect(), origin);
    }

    /// Notes which kind of value the key has.
    pub(super) fn record(&self, kind: Kind) {
        if let (Some(record), Some(name)) = (&self.document().record, self.name) {
            record.borrow_mut().add(self.block.definition, name, kind);
        }
    }

    /// Reports an error of the value.
    pub fn error(&self, message: impl Into<String>) -> Reported<'d> {
        self.report(Severity::Error, message.into(), Spot::value_at)
    }

    /// Reports an error of the key.
    pub fn key_error(&self, message: impl Into<String>) -> Reported<'d> {
        self.report(Severity::Error, message.into(), Spot::key_at)
    }

    /// Warns of the key.
    pub fn warning(&self, message: impl Into<String>) -> Reported<'d> {
        self.report(Severity::Warning, message.into(), Spot::key_at)
    }

    fn report(&self, severity: Severity, message: String, at: fn(&Spot<'d>) -> At<'d>) -> Reported<'d> {
        if self.block.is_template {
            return Reported::nothing();
        }
        if let Some(spot) = self.spot() {
            return self.report_spot(severity, &spot, &at(&spot), message);
        }
        let layer = self.reported_layer();
        self.document().report(severity, &layer.path, &layer.at(), message)
    }

    /// Reports that the value at `spot` is not of the key's kind.
    pub(super) fn fault(&self, spot: &Spot<'d>, message: impl Into<String>) -> Reported<'d> {
        self.report_spot(Severity::Error, spot, &spot.value_at(), message.into())
    }

    fn report_spot(&self, severity: Severity, spot: &Spot<'d>, at: &At<'d>, message: String) -> Reported<'d> {
        if !self.document().is_copied_secret(spot) {
            return self.document().report(severity, &spot.path, at, message);
        }
        let message = "a problem with this value; a secret key has the same one, so no more is shown";
        self.document().report(severity, &spot.path, at, message.to_owned());
        Reported::nothing()
    }

    /// Where a problem is reported of a key that is set nowhere.
    fn reported_layer(&self) -> &Layer<'d> {
        self.layers.get(self.block.reported_layer()).unwrap_or(&self.layers[0])
    }

    /// Reports that the block needs this key; not for `defaults`, whose entries may have it.
    pub fn missing(&self) -> Reported<'d> {
        let Some(name) = self.name.filter(|_| !self.block.is_template) else { return Reported::nothing() };
        let block = &self.block.layers[self.block.reported_layer()];
        let path = self.reported_layer().path.parent();
        self.document().report(Severity::Error, &path, &block.at(), format!("`{name}` is missing"))
    }

    /// Notes the value that `spot` says, for the effective configuration.
    pub(super) fn note_spot(&self, value: serde_yaml::Value, spot: &Spot<'d>) {
        let is_hidden = self.document().is_copied_secret(spot);
        self.note(if is_hidden { HIDDEN.into() } else { value }, spot.origin());
    }

    /// Notes the value that holds, for the effective configuration.
    pub(super) fn note(&self, value: serde_yaml::Value, origin: Origin) {
        if !self.block.is_template && !self.is_part && self.document().record.is_none() {
            self.document().dump.borrow_mut().set(self.path(), value, origin);
        }
    }
}

impl<'d> Spot<'d> {
    /// Where the value stands.
    fn value_at(&self) -> At<'d> {
        self.variable.map_or(At::Place(self.node.place), |variable| At::Variable(&variable.name))
    }

    fn key_at(&self) -> At<'d> {
        self.variable.map_or(self.key, |variable| At::Variable(&variable.name))
    }

    fn origin(&self) -> Origin {
        match self.variable {
            Some(variable) => Origin::Variable(variable.name.clone()),
            None => Origin::File { line: self.node.place.line, path: self.path.clone() },
        }
    }
}
