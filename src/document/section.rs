//! Blocks, and where a key's value is looked for.
//!
//! A key's value is taken from the environment, then from the block itself, then in the same way from
//! what the block inherits (`defaults`). A value `~` takes back what the block would inherit. Blocks are
//! inherited key by key.

use std::rc::Rc;

use super::environment::Variable;
use super::key::Key;
use super::node::{Node, Pair};
use super::place::{KeyPath, Place};
use super::problem::Severity;
use super::reading::{Document, Reported};

/// One of the places where a block, or the value of a key, may stand.
#[derive(Clone)]
pub(super) struct Layer<'d> {
    pub(super) path: KeyPath,
    /// Where its key stands; of the nearest block above if it has none.
    pub(super) place: Option<Place>,
    /// Its value, if there is one.
    pub(super) node: Option<&'d Node>,
    /// The variable that the value comes from.
    pub(super) variable: Option<&'d Variable>,
}

/// A block.
#[derive(Clone)]
pub struct Section<'d> {
    pub(super) document: &'d Document<'d>,
    pub(super) definition: &'static str,
    /// The nearest first; never empty.
    pub(super) layers: Rc<[Layer<'d>]>,
    /// Whether this is `defaults`, or has no effect: read for the faults of its own values.
    pub(super) is_template: bool,
    /// Whether its keys have no effect: only the kinds of their values are checked.
    pub(super) has_no_effect: bool,
}

impl<'d> Layer<'d> {
    pub(super) fn of(path: KeyPath, pair: &'d Pair) -> Self {
        Self { path, place: Some(pair.place), node: Some(&pair.node), variable: None }
    }

    /// The same with the value of `variable`.
    pub(super) fn under(&self, variable: &'d Variable) -> Self {
        Self { node: Some(&variable.text), variable: Some(variable), ..self.clone() }
    }

    pub(super) fn is_null(&self) -> bool {
        self.node.is_some_and(Node::is_null)
    }
}

impl<'d> Section<'d> {
    /// The path of this block.
    #[must_use]
    pub fn path(&self) -> &KeyPath {
        &self.layers[0].path
    }

    /// Which layer problems of the block are reported of: the first one that the document has.
    pub(super) fn reported_layer(&self) -> usize {
        self.layers.iter().position(|layer| layer.node.is_some()).unwrap_or(0)
    }

    /// This block, if its keys have no effect: a value that is not of its key's kind is reported, and
    /// nothing else.
    #[must_use]
    pub fn without_effect(&self) -> Self {
        Self { is_template: true, has_no_effect: true, ..self.clone() }
    }

    /// The document's own block; `definition` names its kind in the schema.
    #[must_use]
    pub fn top(&self, definition: &'static str) -> Self {
        self.document.top(definition)
    }

    /// This block, which also inherits from `below`, key by key: what none of its own layers has, and none takes
    /// back.
    #[must_use]
    pub fn over(&self, below: &Self) -> Self {
        Self { layers: self.layers.iter().chain(below.layers.iter()).cloned().collect(), ..self.clone() }
    }

    /// The key `name`.
    pub fn key(&self, name: &'static str) -> Key<'d> {
        self.look(name, None)
    }

    /// The key `name`, which was `former` before. The document may use either; a variable uses `name`.
    pub fn renamed_key(&self, name: &'static str, former: &'static str) -> Key<'d> {
        self.look(name, Some(former))
    }

    /// The key `name`, for which the variable `variable` stands in if it is set nowhere.
    pub fn key_or_variable(&self, name: &'static str, variable: &str) -> Key<'d> {
        let key = self.key(name);
        let variable = self.document.variables.others.get(variable);
        let path = key.path().clone();
        let stand_in = Layer { path, place: None, node: None, variable: None };
        let stand_in = variable.map(|variable| stand_in.under(variable));
        Key::new(self.clone(), key.name, key.layers.iter().cloned().chain(stand_in).collect())
    }

    fn look(&self, name: &'static str, former: Option<&'static str>) -> Key<'d> {
        let in_layer = |layer: &Layer<'d>| {
            let pair = self.pair(layer, name);
            let old = former.and_then(|former| {
                let old = self.pair(layer, former)?;
                let (severity, message) = match pair {
                    Some(_) => (Severity::Error, format!("`{name}` is given as well, which is the same")),
                    None => (Severity::Warning, format!("is read as `{name}`, its name today")),
                };
                let former = Layer::of(layer.path.key(former), old);
                self.document.report(severity, &former, former.place, message);
                Some(old)
            });
            let path = layer.path.key(name);
            match pair.or(old) {
                Some(pair) => Layer::of(path, pair),
                None => Layer { path, place: layer.place, node: None, variable: None },
            }
        };
        Key::new(self.clone(), Some(name), self.layers.iter().map(in_layer).collect())
    }

    /// The key `name` in `layer`, which is known from now on.
    fn pair(&self, layer: &Layer<'d>, name: &'static str) -> Option<&'d Pair> {
        let node = layer.node?;
        self.document.ask(node, Some(name));
        node.get(name)
    }

    /// Reports an error of this block.
    pub fn error(&self, message: impl Into<String>) -> Reported<'d> {
        self.report(Severity::Error, message.into())
    }

    /// Warns of this block.
    pub fn warning(&self, message: impl Into<String>) -> Reported<'d> {
        self.report(Severity::Warning, message.into())
    }

    fn report(&self, severity: Severity, message: String) -> Reported<'d> {
        if self.is_template {
            return Reported::nothing();
        }
        let layer = &self.layers[self.reported_layer()];
        self.document.report(severity, layer, layer.place, message)
    }
}
