//! Environment variables that set keys.
//!
//! A variable's name is a prefix and the path of a key, in upper case, with `_` between the steps and
//! for every character that is no letter or digit: `PFXHTTP_SERVER_LISTEN_0_PORT`. A variable sets any
//! key of a block that the document may have, and items of lists that it has; it makes no entry and
//! no item. An empty value leaves the document as it is. A variable that fits two keys is an error, one
//! that fits none a warning.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::Path;

use percent_encoding::percent_decode_str;

use super::node::{Map, Node, Pair, Value};
use super::path::{KeyPath, Step};
use super::place::Place;
use super::problem::Problem;
use super::yaml;

/// A variable, as the kinds of keys read it.
pub(super) struct Variable {
    pub(super) name: String,
    /// Its name as it is compared, if it has the prefix.
    folded: Option<String>,
    /// As one value.
    pub(super) text: Node,
    /// As a list: `[a, b]` or `a,b`; nothing if it is neither.
    pub(super) list: Option<Node>,
    /// As `name=value,name=value`, the values percent-encoded; only without the prefix (OpenTelemetry).
    pub(super) pairs: Option<Node>,
}

/// The variables of a process.
pub(super) struct Variables {
    prefix: &'static str,
    all: Vec<Variable>,
    /// Their positions by name.
    by_name: HashMap<String, usize>,
    /// The keys that they set.
    claims: RefCell<HashMap<usize, KeyPath>>,
    problems: RefCell<Vec<Problem>>,
}

impl Variables {
    /// Those of `environment` that are not empty; `prefix` begins the names of those that set keys.
    pub(super) fn new(prefix: &'static str, environment: &[(String, String)]) -> Self {
        let (mut all, mut by_name, mut problems) = (Vec::<Variable>::new(), HashMap::new(), Vec::new());
        for (name, text) in environment.iter().filter(|(_, text)| !text.is_empty()) {
            let variable = Variable::new(name, text, prefix);
            let compared = variable.folded.clone().unwrap_or_else(|| name.clone());
            if let Some(&other) = by_name.get(&compared) {
                let other = all.get(other).map_or("", |other: &Variable| other.name.as_str());
                problems.push(Problem::of_file(Path::new(name), format!("sets the same key as {other}")));
            } else {
                by_name.insert(compared, all.len());
                all.push(variable);
            }
        }
        Self { prefix, all, by_name, claims: RefCell::default(), problems: problems.into() }
    }

    /// The variable that sets the key at `path`.
    pub(super) fn of(&self, path: &KeyPath) -> Option<&Variable> {
        // Often there are none but those for proxies: then no name is made of the path.
        if self.all.iter().all(|variable| variable.folded.is_none()) {
            return None;
        }
        let steps = path.steps().iter().map(|step| match step {
            Step::Key(name) => folded(name),
            Step::Item(index) => index.to_string(),
        });
        let name = self.prefix.to_owned() + &steps.collect::<Vec<_>>().join("_");
        let index = *self.by_name.get(&name)?;
        let variable = self.all.get(index)?;
        let mut claims = self.claims.borrow_mut();
        let claim = claims.entry(index).or_insert_with(|| path.clone());
        if claim == path {
            return Some(variable);
        }
        let message = format!("matches two keys: {claim} and {path}");
        self.problems.borrow_mut().push(Problem::of_file(Path::new(&variable.name), message));
        None
    }

    /// The variable `name`, which has no prefix.
    pub(super) fn named(&self, name: &str) -> Option<&Variable> {
        self.by_name.get(name).and_then(|index| self.all.get(*index))
    }

    /// What is wrong with the variables, once all keys were read.
    pub(super) fn problems(&self) -> Vec<Problem> {
        let claims = self.claims.borrow();
        let is_unclaimed =
            |(index, variable): &(usize, &Variable)| variable.folded.is_some() && !claims.contains_key(index);
        let unclaimed = self.all.iter().enumerate().filter(is_unclaimed).map(|(_, variable)| {
            let message = "matches no key of this configuration, and has no effect";
            Problem::warning_of_file(Path::new(&variable.name), message)
        });
        unclaimed.chain(self.problems.take()).collect()
    }
}

impl Variable {
    fn new(name: &str, text: &str, prefix: &str) -> Self {
        // Case means nothing in the names of those with the prefix.
        let folded = Some(folded(name)).filter(|name| name.starts_with(prefix));
        let pairs = folded.is_none().then(|| pairs(text));
        Self { name: name.to_owned(), folded, text: node(text), list: list(text), pairs }
    }
}

/// How names are compared.
fn folded(name: &str) -> String {
    name.chars().flat_map(char::to_uppercase).map(|c| if c.is_alphanumeric() { c } else { '_' }).collect()
}

/// What comes out of a variable has no place.
fn nowhere(value: Value) -> Node {
    Node { place: Place::START, value }
}

fn node(text: &str) -> Node {
    nowhere(Value::Text { text: text.to_owned(), is_plain: false })
}

fn list(text: &str) -> Option<Node> {
    if !text.trim_start().starts_with('[') {
        return Some(nowhere(Value::List(text.split(',').map(|item| node(item.trim())).collect())));
    }
    let (list, faults) = yaml::read(text, |_| true);
    (faults.is_empty() && matches!(list.value, Value::List(_))).then_some(list)
}

fn pairs(text: &str) -> Node {
    let mut map = Map::default();
    for pair in text.split(',').filter(|pair| !pair.trim().is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = percent_decode_str(value.trim()).decode_utf8_lossy();
        map.add(Pair { key: key.trim().to_owned(), place: Place::START, node: node(&value) });
    }
    nowhere(Value::Map(map))
}
