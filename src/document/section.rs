//! Blocks and keys: where a value is looked for.
//!
//! A key's value is taken from the environment, then from the block itself, then in the same way from
//! what the block inherits (`defaults`). A value `~` takes back what the block would inherit. Blocks are
//! inherited key by key.

use std::rc::Rc;

use super::dump::Origin;
use super::environment::Variable;
use super::node::{Node, Value};
use super::path::KeyPath;
use super::place::Place;
use super::problem::Severity;
use super::reading::{At, Document, Reported};
use super::record::Kind;

/// The entry whose keys all others of its section inherit.
const DEFAULTS: &str = "defaults";

/// One of the places where the keys of a block stand.
#[derive(Clone)]
pub(super) struct Layer<'d> {
    pub(super) path: KeyPath,
    /// Where its key stands; of the nearest block above if it has none.
    pub(super) place: Option<Place>,
    /// Its value, if the document has one.
    pub(super) node: Option<&'d Node>,
}

/// A block.
#[derive(Clone)]
pub struct Section<'d> {
    pub(super) document: &'d Document<'d>,
    pub(super) definition: &'static str,
    /// The nearest first; never empty.
    layers: Rc<[Layer<'d>]>,
    /// Which of them problems of the block are told of: the first that the document has.
    told: usize,
    /// Whether this is `defaults`, or has no effect: read for the faults of its own values.
    is_template: bool,
}

/// A key, or an item of a list, with its value.
#[derive(Clone)]
pub struct Key<'d> {
    pub(super) document: &'d Document<'d>,
    pub(super) definition: &'static str,
    /// The key's name; `None` for an item.
    pub(super) name: Option<&'static str>,
    layers: Rc<[Layer<'d>]>,
    /// Which of them stands in the block that problems are told of.
    told: usize,
    pub(super) is_template: bool,
    /// Where the block stands that the key is of.
    block: Option<Place>,
    /// The variable that the values of the layers come from.
    variable: Option<&'d Variable>,
    /// A variable without prefix that stands in for the key.
    stand_in: Option<&'d Variable>,
    /// Whether a nearer key holds instead.
    is_displaced: bool,
    /// Whether this is one of several layers that add up.
    is_layer: bool,
}

/// A value, and where it stands.
#[derive(Clone)]
pub(super) struct Spot<'d> {
    pub(super) path: KeyPath,
    pub(super) node: &'d Node,
    pub(super) variable: Option<&'d Variable>,
    /// Where its key stands.
    key: Option<Place>,
}

/// Entries by name.
pub struct Entries<'d> {
    /// Names and blocks, without `defaults`.
    pub list: Vec<(String, Section<'d>)>,
    /// What all of them inherit.
    pub defaults: Option<Section<'d>>,
}

impl<'d> Section<'d> {
    pub(super) fn of(
        document: &'d Document<'d>,
        definition: &'static str,
        layers: Vec<Layer<'d>>,
        is_template: bool,
    ) -> Self {
        Self { document, definition, layers: layers.into(), told: 0, is_template }
    }

    fn own(&self) -> &Layer<'d> {
        &self.layers[0]
    }

    /// The path of this block.
    #[must_use]
    pub fn path(&self) -> &KeyPath {
        &self.own().path
    }

    /// Where this block stands.
    #[must_use]
    pub fn place(&self) -> Option<Place> {
        self.own().place
    }

    /// This block, if its keys have no effect: a value that is not of its key's kind is reported, and
    /// nothing else.
    #[must_use]
    pub fn without_effect(&self) -> Self {
        Self { is_template: true, ..self.clone() }
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
        Key { stand_in: self.document.variables.named(variable), ..self.look(name, None) }
    }

    fn look(&self, name: &'static str, former: Option<&'static str>) -> Key<'d> {
        let mut layers = Vec::with_capacity(self.layers.len());
        for layer in self.layers.iter() {
            self.document.ask(&layer.path, name);
            let old = former.and_then(|former| {
                self.document.ask(&layer.path, former);
                let pair = layer.node?.get(former)?;
                let (key, at) = (layer.path.key(former).to_string(), At::Place(pair.place));
                if layer.node?.get(name).is_some() {
                    let message = format!("`{name}` is given as well, which is the same");
                    self.document.report(Severity::Error, &key, &at, message);
                    return None;
                }
                let message = format!("is read as `{name}`, its name today");
                self.document.report(Severity::Warning, &key, &at, message);
                self.document.rename(layer.path.key(former), layer.path.key(name));
                Some(pair)
            });
            let pair = layer.node.and_then(|node| node.get(name)).or(old);
            layers.push(Layer {
                path: layer.path.key(name),
                place: pair.map(|pair| pair.place).or(layer.place),
                node: pair.map(|pair| &pair.node),
            });
        }
        Key {
            document: self.document,
            definition: self.definition,
            name: Some(name),
            layers: layers.into(),
            told: self.told,
            is_template: self.is_template,
            block: self.layers[self.told].place,
            variable: None,
            stand_in: None,
            is_displaced: false,
            is_layer: false,
        }
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
            return self.document.unreported();
        }
        let layer = &self.layers[self.told];
        let at = layer.place.map_or(At::Nowhere, At::Place);
        self.document.report(severity, &layer.path.to_string(), &at, message)
    }
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
    /// Where the value is to stand: the path of the block itself and this key.
    #[must_use]
    pub fn path(&self) -> &KeyPath {
        &self.layers[0].path
    }

    /// The value that holds.
    pub(super) fn spot(&self) -> Option<Spot<'d>> {
        self.spots().into_iter().next().filter(|spot| self.is_item() || !is_null(spot.node))
    }

    fn is_item(&self) -> bool {
        self.name.is_none()
    }

    /// The values of all layers, the nearest first, as far as none takes back the others.
    pub(super) fn spots(&self) -> Vec<Spot<'d>> {
        let document = self.document;
        let mut spots = Vec::new();
        let mut is_taken_back = false;
        for layer in self.layers.iter() {
            let variable = document.variables.of(&layer.path);
            if is_taken_back || self.is_displaced {
                continue;
            }
            let spot = |node, variable| Spot { path: layer.path.clone(), node, variable, key: layer.place };
            spots.extend(variable.map(|variable| spot(&variable.text, Some(variable))));
            spots.extend(layer.node.map(|node| spot(node, self.variable)));
            is_taken_back = layer.node.is_some_and(is_null);
        }
        if spots.is_empty()
            && let Some(variable) = self.stand_in
        {
            let path = self.path().clone();
            spots.push(Spot { path, node: &variable.text, variable: Some(variable), key: None });
        }
        spots
    }

    /// Two keys of which the nearer one holds; both if they are equally near.
    pub(super) fn nearer(one: Self, other: Self) -> (Self, Self) {
        let is_displaced = |this: Option<usize>, other: Option<usize>| match (this, other) {
            (Some(this), Some(other)) => other < this,
            _ => false,
        };
        let ranks = (one.rank(), other.rank());
        (
            Self { is_displaced: is_displaced(ranks.0, ranks.1), ..one },
            Self { is_displaced: is_displaced(ranks.1, ranks.0), ..other },
        )
    }

    /// How far the nearest value is, also one that takes back others.
    fn rank(&self) -> Option<usize> {
        self.layers.iter().enumerate().find_map(|(index, layer)| {
            let variable = self.document.variables.of(&layer.path).map(|_| 2 * index);
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
        self.spots().first().is_some_and(|spot| spot.path == *self.path())
    }

    /// The key in each layer alone, the nearest first: for lists that add up, as [`Key::note_sum`] is told.
    #[must_use]
    pub fn each_layer(&self) -> Vec<Self> {
        let kept = self.layers.iter().scan(false, |is_taken_back, layer| {
            let kept = (!*is_taken_back).then(|| layer.clone());
            *is_taken_back |= layer.node.is_some_and(is_null);
            kept
        });
        kept.map(|layer| Self { layers: Rc::from([layer]), is_layer: true, ..self.clone() }).collect()
    }

    /// Notes for the effective configuration what the layers of this key add up to.
    pub fn note_sum(&self, items: impl Iterator<Item = String>) {
        let origin = self.spot().map_or(Origin::Default, |spot| spot.origin());
        self.note(items.map(serde_yaml::Value::from).collect(), origin);
    }

    /// Notes which kind of value the key has.
    pub(super) fn record(&self, kind: Kind) {
        if let (Some(record), Some(name)) = (&self.document.record, self.name) {
            record.borrow_mut().add(self.definition, name, kind);
        }
    }

    /// The block that this key holds; `definition` names its kind in the schema.
    #[must_use]
    pub fn section(&self, definition: &'static str) -> Section<'d> {
        self.record(Kind::Block(definition));
        self.define(definition, self.path().to_string());
        self.as_section(definition)
    }

    fn as_section(&self, definition: &'static str) -> Section<'d> {
        let mut layers = Vec::new();
        for layer in self.layers.iter() {
            let node = layer.node.filter(|node| self.is_block(layer, node));
            layers.push(Layer { node, ..layer.clone() });
            if layer.node.is_some_and(is_null) {
                break;
            }
        }
        for layer in &layers {
            self.document.open(&layer.path);
        }
        let told = layers.iter().position(|layer| layer.node.is_some()).unwrap_or(0);
        Section { told, ..Section::of(self.document, definition, layers, self.is_template) }
    }

    fn is_block(&self, layer: &Layer<'d>, node: &Node) -> bool {
        if !matches!(node.value, Value::Map(_) | Value::Null) {
            let message = format!("expected keys and values, found {}", node.kind());
            let at = At::Place(node.place);
            self.document.report(Severity::Error, &layer.path.to_string(), &at, message);
        }
        matches!(node.value, Value::Map(_))
    }

    fn define(&self, definition: &'static str, label: String) {
        if let Some(record) = &self.document.record {
            record.borrow_mut().define(definition, label);
        }
    }

    /// The blocks of the list that this key holds. One that is empty or no block is reported.
    #[must_use]
    pub fn sections(&self, definition: &'static str) -> Vec<Section<'d>> {
        self.record(Kind::Blocks(definition));
        self.define(definition, format!("an item of {}", self.path()));
        if self.document.record.is_some() {
            return vec![self.item(self.path().item(0), None).as_section(definition)];
        }
        let items = self.items();
        let is_block = |item: &Key<'d>| {
            let node = item.layers[0].node;
            if node.is_some_and(is_null) {
                item.error("this item is empty");
            }
            node.is_some_and(|node| !is_null(node) && item.is_block(&item.layers[0], node))
        };
        items.iter().filter(|item| is_block(item)).map(|item| item.as_section(definition)).collect()
    }

    /// The entries that this key holds, by name. One that is no block is reported and left out.
    #[must_use]
    pub fn entries(&self, definition: &'static str) -> Entries<'d> {
        self.record(Kind::Entries(definition));
        self.define(definition, format!("an entry of {}", self.path()));
        let layer = &self.layers[0];
        let mut entries = Entries { list: Vec::new(), defaults: None };
        if self.document.record.is_some() {
            entries.list.push(("*".to_owned(), self.item(layer.path.key("*"), None).as_section(definition)));
            return entries;
        }
        let block = layer.node.filter(|node| self.is_block(layer, node));
        let Some(Value::Map(map)) = block.map(|node| &node.value) else { return entries };
        let of = |name: &str| {
            let pair = block?.get(name)?;
            self.document.ask(&layer.path, name);
            Some(Layer { path: layer.path.key(name), place: Some(pair.place), node: Some(&pair.node) })
        };
        let inherited = of(DEFAULTS);
        if let Some(layer) = &inherited {
            let key = Key { layers: Rc::from([layer.clone()]), is_template: true, ..self.clone() };
            entries.defaults = Some(key.as_section(definition));
        }
        for pair in map.pairs().iter().filter(|pair| pair.key != DEFAULTS) {
            let Some(own) = of(&pair.key) else { continue };
            self.check_name(&pair.key, &own);
            if !is_null(&pair.node) && !self.is_block(&own, &pair.node) {
                continue;
            }
            // An entry may consist of what it inherits alone.
            let own = Layer { node: Some(&pair.node).filter(|node| !is_null(node)), ..own };
            let inherited = entries.defaults.iter().map(|defaults| defaults.layers[0].clone());
            let layers: Vec<_> = [own].into_iter().chain(inherited).collect();
            layers.iter().for_each(|layer| self.document.open(&layer.path));
            let section = Section::of(self.document, definition, layers, false);
            entries.list.push((pair.key.clone(), section));
        }
        entries
    }

    fn check_name(&self, name: &str, layer: &Layer<'_>) {
        if name.is_empty() || name.chars().any(|c| c.is_whitespace() || c.is_control() || c == ':') {
            let message = "a name holds no blanks, no `:` and no control characters".to_owned();
            let at = layer.place.map_or(At::Nowhere, At::Place);
            self.document.report(Severity::Error, &layer.path.to_string(), &at, message);
        }
    }

    /// The items of the list that this key holds; `kind` is that of each item.
    #[must_use]
    pub fn list(&self, kind: Kind) -> Vec<Self> {
        self.record(Kind::List(Box::new(kind)));
        if self.document.record.is_some() {
            return vec![self.item(self.path().item(0), None)];
        }
        let items = self.items();
        // An absent list may mean something else than an empty one.
        if let (true, Some(spot)) = (items.is_empty(), self.spot()) {
            self.note(serde_yaml::Value::Sequence(Vec::new()), spot.origin());
        }
        items
    }

    fn items(&self) -> Vec<Self> {
        let Some(spot) = self.spot() else { return Vec::new() };
        let node = match spot.variable {
            Some(variable) => variable.list.as_ref(),
            None => Some(spot.node),
        };
        match node.map(|node| (node, &node.value)) {
            Some((_, Value::List(items))) => {
                let item = |(index, node)| Self {
                    variable: spot.variable,
                    ..self.item(spot.path.item(index), Some(node))
                };
                items.iter().enumerate().map(item).collect()
            }
            Some((node, _)) => {
                let told = self.fault(&spot, format!("expected a list, found {}", node.kind()));
                if matches!(node.value, Value::Map(_)) {
                    told.hint("a single one is a list, too: in YAML it begins with `- `");
                }
                Vec::new()
            }
            None => {
                self.fault(&spot, "expected a list, as [a, b] or a,b".to_owned());
                Vec::new()
            }
        }
    }

    fn item(&self, path: KeyPath, node: Option<&'d Node>) -> Self {
        let layer = Layer { path, place: node.map(|node| node.place).or(self.layers[0].place), node };
        Self { name: None, layers: Rc::from([layer]), stand_in: None, ..self.clone() }
    }

    /// The map of names and values that this key holds; `kind` is that of each value.
    #[must_use]
    pub fn pairs(&self, kind: Kind) -> Vec<(String, Self)> {
        self.record(Kind::Pairs(Box::new(kind)));
        let Some(spot) = self.spot() else { return Vec::new() };
        let node = match spot.variable {
            // Only a variable without prefix has a syntax for pairs.
            Some(variable) if self.stand_in.is_some() => &variable.pairs,
            Some(_) => {
                self.fault(&spot, "keys and values cannot come out of a variable".to_owned());
                return Vec::new();
            }
            None => spot.node,
        };
        let Value::Map(map) = &node.value else {
            self.fault(&spot, format!("expected keys and values, found {}", node.kind()));
            return Vec::new();
        };
        let key =
            |name: &str, node| Self { variable: spot.variable, ..self.item(spot.path.key(name), Some(node)) };
        map.pairs().iter().map(|pair| (pair.key.clone(), key(&pair.key, &pair.node))).collect()
    }

    /// Reports an error of the value.
    pub fn error(&self, message: impl Into<String>) -> Reported<'d> {
        self.told(Severity::Error, message.into(), true)
    }

    /// Reports an error of the key.
    pub fn key_error(&self, message: impl Into<String>) -> Reported<'d> {
        self.told(Severity::Error, message.into(), false)
    }

    /// Warns of the key.
    pub fn warning(&self, message: impl Into<String>) -> Reported<'d> {
        self.told(Severity::Warning, message.into(), false)
    }

    fn told(&self, severity: Severity, message: String, of_value: bool) -> Reported<'d> {
        if self.is_template {
            return self.document.unreported();
        }
        match self.spot() {
            Some(spot) => {
                let at = if of_value { spot.value_at() } else { spot.key_at() };
                self.document.report(severity, &spot.path.to_string(), &at, message)
            }
            None => {
                let layer = self.told_layer();
                let at = layer.place.map_or(At::Nowhere, At::Place);
                self.document.report(severity, &layer.path.to_string(), &at, message)
            }
        }
    }

    /// Where a problem of a key is told that is set nowhere.
    fn told_layer(&self) -> &Layer<'d> {
        self.layers.get(self.told).unwrap_or(&self.layers[0])
    }

    /// Reports that the value at `spot` is not of the key's kind.
    pub(super) fn fault(&self, spot: &Spot<'d>, message: String) -> Reported<'d> {
        self.document.report(Severity::Error, &spot.path.to_string(), &spot.value_at(), message)
    }

    /// Reports that the block needs this key; not for `defaults`, whose entries may have it.
    pub fn missing(&self) -> Reported<'d> {
        let Some(name) = self.name.filter(|_| !self.is_template) else {
            return self.document.unreported();
        };
        let path = &self.told_layer().path;
        let path = path.parent();
        let at = self.block.map_or(At::Nowhere, At::Place);
        self.document.report(Severity::Error, &path.to_string(), &at, format!("`{name}` is missing"))
    }

    /// Notes the value that holds, for the effective configuration.
    pub(super) fn note(&self, value: serde_yaml::Value, origin: Origin) {
        if !self.is_template && !self.is_layer && self.document.record.is_none() {
            self.document.dump.borrow_mut().set(self.path(), value, origin);
        }
    }
}

impl<'d> Spot<'d> {
    /// Where the value stands.
    fn value_at(&self) -> At<'d> {
        match self.variable {
            Some(variable) => At::Variable(&variable.name),
            None => At::Place(self.node.place),
        }
    }

    fn key_at(&self) -> At<'d> {
        match self.variable {
            Some(variable) => At::Variable(&variable.name),
            None => self.key.map_or(At::Nowhere, At::Place),
        }
    }

    pub(super) fn origin(&self) -> Origin {
        match self.variable {
            Some(variable) => Origin::Variable(variable.name.clone()),
            None => Origin::File { line: self.node.place.line, key: self.path.to_string() },
        }
    }
}

fn is_null(node: &Node) -> bool {
    matches!(node.value, Value::Null)
}
