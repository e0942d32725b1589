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

/// What a variable has for a place.
const NOWHERE: Place = Place { line: 1, column: 1 };

/// A variable, as the kinds of keys read it.
pub(super) struct Variable {
    pub(super) name: String,
    /// As one value.
    pub(super) text: Node,
    /// As a list: `[a, b]` or `a,b`; nothing if it is neither.
    pub(super) list: Option<Node>,
    /// As `name=value,name=value`, the values percent-encoded (OpenTelemetry).
    pub(super) pairs: Node,
}

/// The variables of a process.
pub(super) struct Variables {
    prefix: &'static str,
    all: Vec<Variable>,
    /// Which of them has a name, folded.
    by_name: HashMap<String, usize>,
    /// The keys that they set.
    claims: RefCell<HashMap<usize, KeyPath>>,
    problems: RefCell<Vec<Problem>>,
}

impl Variables {
    /// Those of `environment` that are not empty; `prefix` begins the names of those that set keys.
    pub(super) fn new(prefix: &'static str, environment: &[(String, String)]) -> Self {
        let mut variables = Self {
            prefix,
            all: Vec::new(),
            by_name: HashMap::new(),
            claims: RefCell::default(),
            problems: RefCell::default(),
        };
        for (name, text) in environment.iter().filter(|(_, text)| !text.is_empty()) {
            // Case means nothing in the names of those with the prefix.
            let is_ours = folded(name).starts_with(prefix);
            let folded = if is_ours { folded(name) } else { name.clone() };
            if let Some(other) = variables.by_name.get(&folded) {
                let other = variables.all.get(*other).map_or("", |other| other.name.as_str());
                let problem = Problem::of_file(Path::new(name), format!("sets the same key as {other}"));
                variables.problems.borrow_mut().push(problem);
                continue;
            }
            variables.by_name.insert(folded, variables.all.len());
            variables.all.push(Variable::new(name, text));
        }
        variables
    }

    /// The variable that sets the key at `path`.
    pub(super) fn of(&self, path: &KeyPath) -> Option<&Variable> {
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
        let ours = |(_, variable): &(usize, &Variable)| folded(&variable.name).starts_with(self.prefix);
        let unclaimed =
            self.all.iter().enumerate().filter(ours).filter(|(index, _)| !claims.contains_key(index));
        let told = unclaimed.map(|(_, variable)| {
            let message = "matches no key of this configuration, and has no effect";
            Problem::warning_of_file(Path::new(&variable.name), message)
        });
        told.chain(self.problems.take()).collect()
    }
}

impl Variable {
    fn new(name: &str, text: &str) -> Self {
        Self { name: name.to_owned(), text: node(text), list: list(text), pairs: pairs(text) }
    }
}

/// How names are compared.
fn folded(name: &str) -> String {
    name.chars().flat_map(char::to_uppercase).map(|c| if c.is_alphanumeric() { c } else { '_' }).collect()
}

fn node(text: &str) -> Node {
    Node { place: NOWHERE, value: Value::Text { text: text.to_owned(), is_plain: false } }
}

fn list(text: &str) -> Option<Node> {
    if !text.trim_start().starts_with('[') {
        let items = text.split(',').map(|item| node(item.trim())).collect();
        return Some(Node { place: NOWHERE, value: Value::List(items) });
    }
    let (list, faults) = yaml::read(text, |_| true);
    (faults.is_empty() && matches!(list.value, Value::List(_))).then_some(list)
}

fn pairs(text: &str) -> Node {
    let mut map = Map::default();
    for pair in text.split(',').filter(|pair| !pair.trim().is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = percent_decode_str(value.trim()).decode_utf8_lossy();
        map.add(Pair { key: key.trim().to_owned(), place: NOWHERE, node: node(&value) });
    }
    Node { place: NOWHERE, value: Value::Map(map) }
}
