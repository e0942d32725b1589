//! One reading of a document: what it is made of, which of its keys are known, and what is wrong with it.
//!
//! Problems are collected, so that one run tells all of them: at most 100, in the order of the file,
//! each once. A key that nothing asked for is unknown.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};

use super::dump::Dump;
use super::environment::Variables;
use super::nearest;
use super::node::{Node, Pair, Value};
use super::place::{KeyPath, Place};
use super::problem::{Problem, Severity};
use super::record::Record;
use super::section::{Layer, Section};
use super::syntax::Syntax;

/// Problems that are reported.
const MAX_PROBLEMS: usize = 100;

/// Where the values come from, besides the document's text, and how it is read.
#[derive(Debug, Clone, Copy)]
pub struct Sources<'s> {
    /// The document's file, as problems name it.
    pub file: &'s Path,
    /// The syntax of its text.
    pub syntax: Syntax,
    /// Whether the value of a key may be secret. Names of keys below it are not shown, and neither is a
    /// copy of its value at another key.
    pub is_secret: fn(&str) -> bool,
    /// The variables of the process.
    pub environment: &'s [(String, String)],
    /// What begins the names of those that set keys.
    pub prefix: &'static str,
    /// The directory of systemd's credentials.
    pub credentials: Option<&'s str>,
}

/// A document while it is read.
pub struct Document<'t> {
    pub(super) sources: Sources<'t>,
    /// Searched for places, never shown.
    pub(super) text: &'t str,
    tree: Node,
    is_broken: bool,
    /// Where the values of secret keys stand, and all that they hold.
    secrets: HashSet<Place>,
    pub(super) variables: Variables,
    /// The files of which a warning has said that too many users may read or write them.
    pub(super) exposed: RefCell<HashSet<PathBuf>>,
    /// The blocks of the tree that were read, and their keys that were asked for.
    asked: RefCell<HashMap<*const Node, BTreeSet<&'static str>>>,
    problems: RefCell<Vec<Problem>>,
    pub(super) dump: RefCell<Dump>,
    /// Whether the effective configuration is wanted.
    pub(super) is_dumped: Cell<bool>,
    /// Which keys there are, if this document is read to learn that.
    pub(super) record: Option<RefCell<Record>>,
}

/// A problem that was reported, for its hint.
pub struct Reported<'d> {
    problem: Option<(&'d RefCell<Vec<Problem>>, usize)>,
}

impl Reported<'_> {
    /// What stands for a problem of which no more is said, or which is not reported.
    pub(super) fn nothing() -> Self {
        Self { problem: None }
    }

    /// Says what helps.
    pub fn hint(self, hint: impl Into<String>) -> Self {
        self.hint_if(Some(hint.into()))
    }

    pub(super) fn hint_if(self, hint: Option<String>) -> Self {
        self.change(|problem| problem.hint = hint)
    }

    /// Moves the problem to a better place than that of its key.
    pub fn at(self, place: Option<Place>) -> Self {
        self.change(|problem| problem.place = place.or(problem.place))
    }

    fn change(self, change: impl FnOnce(&mut Problem)) -> Self {
        if let Some((problems, index)) = self.problem
            && let Some(problem) = problems.borrow_mut().get_mut(index)
        {
            change(problem);
        }
        self
    }
}

impl<'t> Document<'t> {
    /// The document whose text is `text`: its size is the caller's to bound, and its line ends are `\n`.
    #[must_use]
    pub fn read(text: &'t str, sources: Sources<'t>) -> Self {
        let (tree, mut faults) = sources.syntax.read(text, sources.is_secret);
        faults.iter_mut().for_each(|fault| fault.source = sources.file.to_owned());
        let mut secrets = HashSet::new();
        places_of_secrets(&tree, sources.is_secret, false, &mut secrets);
        Self {
            sources,
            text,
            tree,
            is_broken: !faults.is_empty(),
            secrets,
            variables: Variables::new(sources.prefix, sources.environment),
            exposed: RefCell::default(),
            asked: RefCell::default(),
            problems: faults.into(),
            dump: RefCell::default(),
            is_dumped: Cell::new(false),
            record: None,
        }
    }

    /// A document without text, which notes what is asked of it: one block for each kind of them.
    #[must_use]
    pub fn recording() -> Self {
        let sources = Sources {
            file: Path::new(""),
            syntax: Syntax::Yaml,
            is_secret: |_| false,
            environment: &[],
            prefix: "",
            credentials: None,
        };
        Self { record: Some(RefCell::default()), ..Document::read("", sources) }
    }

    /// What was asked of a recording document.
    #[must_use]
    pub fn into_record(self) -> Record {
        self.record.map(RefCell::into_inner).unwrap_or_default()
    }

    /// Whether the text has faults. The tree then holds at least what stands before the first one, and
    /// lacks some of what follows.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.is_broken
    }

    /// The document's own block; `definition` names its kind in the schema.
    pub fn top(&self, definition: &'static str) -> Section<'_> {
        let (path, place) = (KeyPath::default(), Some(self.tree.place));
        let layer = Layer { path, place, node: Some(&self.tree), variable: None };
        let wrong = match self.tree.value {
            Value::Map(_) => None,
            Value::Null => Some("the configuration is empty".to_owned()),
            _ => Some(format!("expected keys and values, found {}", self.tree.kind())),
        };
        if let Some(message) = wrong {
            self.report(Severity::Error, &layer, place, message);
        }
        Section {
            document: self,
            definition,
            layers: [layer].into(),
            is_template: false,
            has_no_effect: false,
        }
    }

    /// Notes that `block` was read, and that its key `key` is known.
    pub(super) fn ask(&self, block: &Node, key: Option<&'static str>) {
        self.asked.borrow_mut().entry(std::ptr::from_ref(block)).or_default().extend(key);
    }

    /// Whether `layer` has its value by an alias from a secret key, and is no secret key itself.
    pub(super) fn is_copied_secret(&self, layer: &Layer<'_>) -> bool {
        let node = layer.node.filter(|_| layer.variable.is_none());
        let is_copied = node.is_some_and(|node| self.secrets.contains(&node.place));
        is_copied && !layer.path.has_key(self.sources.is_secret)
    }

    /// Reports a problem of the key of `layer`, at `place` in the file if no variable sets it.
    pub(super) fn report(
        &self,
        severity: Severity,
        layer: &Layer<'_>,
        place: Option<Place>,
        message: String,
    ) -> Reported<'_> {
        if self.record.is_some() {
            return Reported::nothing();
        }
        let source = layer.variable.map_or(self.sources.file, |variable| Path::new(&variable.name));
        let place = place.filter(|_| layer.variable.is_none());
        let mut problems = self.problems.borrow_mut();
        let problem = Problem::of_file(source, message);
        problems.push(Problem { severity, place, key: layer.path.to_string(), ..problem });
        Reported { problem: Some((&self.problems, problems.len() - 1)) }
    }

    /// Adds problems that were found elsewhere.
    pub fn add(&self, problems: impl IntoIterator<Item = Problem>) {
        self.problems.borrow_mut().extend(problems);
    }

    /// Reports the keys that nothing asked for. `hint` says of a key in a block of a kind what became
    /// of it; else it is looked for among all keys that there are (`known`).
    pub fn end(&self, known: impl FnOnce() -> Record, hint: impl Fn(&str, &str) -> Option<&'static str>) {
        let mut unknown = Vec::new();
        self.unknown(&self.tree, &KeyPath::default(), &mut unknown);
        if unknown.is_empty() {
            return;
        }
        let record = known();
        let asked = self.asked.borrow();
        let are_few = unknown.len() <= MAX_PROBLEMS;
        for (path, block, pair) in unknown {
            let layer = Layer::of(path.key(&pair.key), pair);
            let reported = self.report(Severity::Error, &layer, layer.place, "unknown key".to_owned());
            let keys = asked.get(&std::ptr::from_ref(block)).into_iter().flatten().copied();
            if let Some(hint) = hint(&path.to_string(), &pair.key) {
                reported.hint(hint);
            } else if let Some(near) = nearest(&pair.key, keys) {
                reported.hint(format!("did you mean `{near}`?"));
                if are_few {
                    self.forget_missing(&path, near);
                }
            } else if let Some(home) = record.home(&pair.key) {
                reported.hint(format!("it belongs in {home}"));
            }
        }
    }

    /// Takes back that the block at `path` lacks `key`: the hint of a key with nearly the same name says it.
    fn forget_missing(&self, path: &KeyPath, key: &str) {
        let (path, message) = (path.to_string(), missing(key));
        self.problems.borrow_mut().retain(|problem| problem.key != path || problem.message != message);
    }

    /// Collects the keys in and below `node` that are not known, with their blocks.
    fn unknown<'n>(&self, node: &'n Node, path: &KeyPath, unknown: &mut Vec<(KeyPath, &'n Node, &'n Pair)>) {
        match &node.value {
            Value::Map(map) => {
                let asked = self.asked.borrow();
                // The names in other maps are the administrator's.
                let keys = asked.get(&std::ptr::from_ref(node));
                for pair in map.pairs() {
                    if keys.is_none_or(|keys| keys.contains(pair.key.as_str())) {
                        self.unknown(&pair.node, &path.key(&pair.key), unknown);
                    } else if !(path.0.is_empty() && pair.key.starts_with("x-")) {
                        unknown.push((path.clone(), node, pair));
                    }
                }
            }
            Value::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.unknown(item, &path.item(index), unknown);
                }
            }
            _ => {}
        }
    }

    /// Hands out `value` with the warnings.
    ///
    /// # Errors
    /// All problems in the order of the file, if one of them is an error.
    pub fn finish<T>(&self, value: Option<T>) -> Result<(T, Vec<Problem>), Vec<Problem>> {
        let mut problems = self.problems.take();
        problems.extend(self.variables.problems());
        let is_error = |problem: &Problem| problem.severity == Severity::Error;
        let failed = problems.iter().any(is_error);
        // What many entries inherit is wrong once.
        let mut known = HashSet::new();
        problems.retain(|problem| {
            let Problem { source, place, key, message, .. } = problem;
            known.insert((source.clone(), *place, key.clone(), message.clone()))
        });
        problems.sort_by_key(|problem| problem.place);
        if failed && problems.len() > MAX_PROBLEMS {
            problems.retain(is_error);
        }
        problems.truncate(MAX_PROBLEMS);
        match value {
            Some(value) if !failed => Ok((value, problems)),
            _ => Err(problems),
        }
    }

    /// Keeps what is read from now on for [`Self::effective`].
    pub fn keep_effective(&self) {
        self.is_dumped.set(true);
    }

    /// The configuration that is in effect, in YAML: each value with its origin as a comment.
    #[must_use]
    pub fn effective(&self, changed_only: bool) -> String {
        self.dump.borrow().to_yaml(changed_only)
    }
}

/// That a block lacks `key`.
pub(super) fn missing(key: &str) -> String {
    format!("`{key}` is missing")
}

/// Collects where values stand that are at or below a secret key. `is_below` says whether `node` is.
fn places_of_secrets(node: &Node, is_secret: fn(&str) -> bool, is_below: bool, places: &mut HashSet<Place>) {
    // What is empty has the place of its key.
    if is_below && !node.is_null() {
        places.insert(node.place);
    }
    match &node.value {
        Value::List(items) => {
            items.iter().for_each(|item| places_of_secrets(item, is_secret, is_below, places));
        }
        Value::Map(map) => {
            for pair in map.pairs() {
                places_of_secrets(&pair.node, is_secret, is_below || is_secret(&pair.key), places);
            }
        }
        _ => {}
    }
}
