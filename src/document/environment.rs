//! Environment variables that set keys.
//!
//! A variable's name is a prefix and the path of a key, in upper case, with `_` between the steps and
//! for every character that is no letter or digit: `PFXHTTP_SERVER_LISTEN_0_PORT`. A variable sets any
//! key of a block that the document may have, and items of lists that it has; it makes no entry and
//! no item. An empty value leaves the document as it is. A variable that fits two keys is an error, one
//! that fits none a warning.

use std::cell::{OnceCell, RefCell};
use std::collections::BTreeMap;
use std::path::Path;

use percent_encoding::percent_decode_str;

use super::node::{Map, Node, Pair, Value};
use super::place::{KeyPath, Place, Step};
use super::problem::Problem;
use super::yaml;

/// A variable, as the kinds of keys read it.
pub(super) struct Variable {
    pub(super) name: String,
    /// As one value.
    pub(super) text: Node,
    /// As a list: `[a, b]` or `a,b`; nothing if it is neither.
    pub(super) list: Option<Node>,
    /// As `name=value,name=value`, the values percent-encoded; only without the prefix (OpenTelemetry).
    pub(super) pairs: Option<Node>,
    /// The key that it sets.
    claim: OnceCell<KeyPath>,
}

/// The variables of a process.
pub(super) struct Variables {
    prefix: &'static str,
    /// Those that set keys, by their names as they are compared.
    prefixed: BTreeMap<String, Variable>,
    pub(super) others: BTreeMap<String, Variable>,
    problems: RefCell<Vec<Problem>>,
}

impl Variables {
    /// Those of `environment` that are not empty; `prefix` begins the names of those that set keys.
    pub(super) fn new(prefix: &'static str, environment: &[(String, String)]) -> Self {
        let (mut prefixed, mut others, mut problems) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        for (name, text) in environment.iter().filter(|(_, text)| !text.is_empty()) {
            // Case means nothing in the names of those with the prefix.
            let compared = folded(name);
            let is_prefixed = compared.starts_with(prefix);
            let (all, compared) =
                if is_prefixed { (&mut prefixed, compared) } else { (&mut others, name.clone()) };
            if let Some(Variable { name: other, .. }) = all.get(&compared) {
                problems.push(Problem::of_file(Path::new(name), format!("sets the same key as {other}")));
                continue;
            }
            let pairs = (!is_prefixed).then(|| pairs(text));
            let claim = OnceCell::new();
            all.insert(
                compared,
                Variable { name: name.clone(), text: node(text), list: list(text), pairs, claim },
            );
        }
        Self { prefix, prefixed, others, problems: problems.into() }
    }

    /// The variable that sets the key at `path`.
    pub(super) fn of(&self, path: &KeyPath) -> Option<&Variable> {
        // Often there are none but those for proxies: then no name is made of the path.
        if self.prefixed.is_empty() {
            return None;
        }
        let steps = path.0.iter().map(|step| match step {
            Step::Key(name) => folded(name),
            Step::Item(index) => index.to_string(),
        });
        let name = self.prefix.to_owned() + &steps.collect::<Vec<_>>().join("_");
        let variable = self.prefixed.get(&name)?;
        let claim = variable.claim.get_or_init(|| path.clone());
        if claim == path {
            return Some(variable);
        }
        let message = format!("matches two keys: {claim} and {path}");
        self.problems.borrow_mut().push(Problem::of_file(Path::new(&variable.name), message));
        None
    }

    /// What is wrong with the variables, once all keys were read.
    pub(super) fn problems(&self) -> Vec<Problem> {
        let unclaimed = self.prefixed.values().filter(|variable| variable.claim.get().is_none());
        let unclaimed = unclaimed.map(|variable| {
            let message = "matches no key of this configuration, and has no effect";
            Problem::warning_of_file(Path::new(&variable.name), message)
        });
        unclaimed.chain(self.problems.take()).collect()
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
