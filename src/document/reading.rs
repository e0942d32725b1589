//! One reading of a document: where keys are looked up, and what is found to be wrong.
//!
//! Problems are collected, so that one run tells all of them: at most 100, in the order of the file,
//! each once. A key that nothing asked for is unknown.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};

use super::dump::Dump;
use super::environment::Variables;
use super::nearest;
use super::node::{Node, Pair, Value};
use super::path::KeyPath;
use super::place::Place;
use super::problem::{Problem, Severity};
use super::record::Record;
use super::section::{Layer, Section};
use super::syntax::Syntax;

/// More than anyone reads.
const MAX_PROBLEMS: usize = 100;

/// Where the values come from, besides the document's text.
#[derive(Debug, Clone, Copy)]
pub struct Sources<'s> {
    /// The document's file, as problems name it.
    pub file: &'s Path,
    /// The syntax of its text.
    pub syntax: Syntax,
    /// Whether the value of a key may be secret, so that nothing below it is named.
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
    file: &'t Path,
    text: &'t str,
    tree: Node,
    pub(super) variables: Variables,
    pub(super) credentials: Option<String>,
    /// The files of which a warning has said that too many users may read or write them.
    pub(super) exposed: RefCell<HashSet<PathBuf>>,
    /// The keys that were asked for, by block.
    asked: RefCell<HashMap<KeyPath, BTreeSet<String>>>,
    /// Keys that the document has under a former name, by that.
    renamed: RefCell<HashMap<KeyPath, KeyPath>>,
    problems: RefCell<Vec<Problem>>,
    is_broken: bool,
    pub(super) dump: RefCell<Dump>,
    /// Which keys there are, if this document is read to learn that.
    pub(super) record: Option<RefCell<Record>>,
}

/// A problem that was reported, for its hint.
pub struct Reported<'d> {
    problem: Option<(&'d RefCell<Vec<Problem>>, usize)>,
}

impl Reported<'_> {
    /// Says what helps.
    pub fn hint(self, hint: impl Into<String>) -> Self {
        self.change(|problem| problem.hint = Some(hint.into()))
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

/// Where something is wrong.
pub(super) enum At<'a> {
    Place(Place),
    Variable(&'a str),
    Nowhere,
}

impl<'t> Document<'t> {
    /// The document whose text is `text`: its size is the caller's to bound, and its line ends are `\n`.
    #[must_use]
    pub fn read(text: &'t str, sources: Sources<'t>) -> Self {
        let (tree, mut faults) = sources.syntax.read(text, sources.is_secret);
        faults.iter_mut().for_each(|fault| fault.source = sources.file.to_owned());
        Self {
            is_broken: !faults.is_empty(),
            file: sources.file,
            text,
            tree,
            variables: Variables::new(sources.prefix, sources.environment),
            credentials: sources.credentials.map(str::to_owned),
            exposed: RefCell::default(),
            asked: RefCell::default(),
            renamed: RefCell::default(),
            problems: faults.into(),
            dump: RefCell::default(),
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

    /// Whether the text has faults. The tree then holds at least what stands before the first one, and
    /// lacks some of what follows.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.is_broken
    }

    /// What was asked of a recording document.
    #[must_use]
    pub fn into_record(self) -> Record {
        self.record.map(RefCell::into_inner).unwrap_or_default()
    }

    /// The document's own block; `definition` names its kind in the schema.
    pub fn top(&self, definition: &'static str) -> Section<'_> {
        let wrong = match self.tree.value {
            Value::Map(_) => None,
            Value::Null => Some("the configuration is empty".to_owned()),
            _ => Some(format!("expected keys and values, found {}", self.tree.kind())),
        };
        if let Some(message) = wrong {
            self.report(Severity::Error, "", &At::Place(self.tree.place), message);
        }
        let layer = Layer { path: KeyPath::default(), place: Some(self.tree.place), node: Some(&self.tree) };
        Section::of(self, definition, vec![layer], false)
    }

    /// Line `number`, from 1, as it stands in the file: for searching, not for showing.
    #[must_use]
    pub fn line(&self, number: usize) -> Option<&'t str> {
        self.text.lines().nth(number.checked_sub(1)?)
    }

    /// Notes that `key` of the block at `path` is known.
    pub(super) fn ask(&self, path: &KeyPath, key: &str) {
        let mut asked = self.asked.borrow_mut();
        if let Some(keys) = asked.get_mut(path) {
            if !keys.contains(key) {
                keys.insert(key.to_owned());
            }
        } else {
            asked.insert(path.clone(), BTreeSet::from([key.to_owned()]));
        }
    }

    /// Notes that the block at `path` was read.
    pub(super) fn open(&self, path: &KeyPath) {
        self.asked.borrow_mut().entry(path.clone()).or_default();
    }

    /// Notes that the document has the key at `new` as `former`.
    pub(super) fn rename(&self, former: KeyPath, new: KeyPath) {
        self.renamed.borrow_mut().insert(former, new);
    }

    /// Reports a problem of the key that `key` names.
    pub(super) fn report(&self, severity: Severity, key: &str, at: &At<'_>, message: String) -> Reported<'_> {
        if self.record.is_some() {
            return Reported { problem: None };
        }
        let mut problem = Problem::of_file(self.file, message);
        problem.severity = severity;
        key.clone_into(&mut problem.key);
        match at {
            At::Place(place) => problem.place = Some(*place),
            At::Variable(name) => problem.source = PathBuf::from(name),
            At::Nowhere => {}
        }
        let mut problems = self.problems.borrow_mut();
        problems.push(problem);
        Reported { problem: Some((&self.problems, problems.len() - 1)) }
    }

    /// A problem that is none.
    pub(super) fn unreported(&self) -> Reported<'_> {
        Reported { problem: None }
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
        for (block, pair) in unknown {
            let path = block.key(&pair.key).to_string();
            let at = At::Place(pair.place);
            let told = self.report(Severity::Error, &path, &at, "unknown key".to_owned());
            let keys = asked.get(&block).into_iter().flatten().map(String::as_str);
            if let Some(hint) = hint(&block.to_string(), &pair.key) {
                told.hint(hint);
            } else if let Some(near) = nearest(&pair.key, keys) {
                told.hint(format!("did you mean `{near}`?"));
            } else if let Some(home) = record.home(&pair.key) {
                told.hint(format!("it belongs in {home}"));
            }
        }
    }

    fn unknown<'n>(&self, node: &'n Node, path: &KeyPath, unknown: &mut Vec<(KeyPath, &'n Pair)>) {
        match &node.value {
            Value::Map(map) => {
                let asked = self.asked.borrow();
                let Some(keys) = asked.get(path) else { return };
                for pair in map.pairs() {
                    if keys.contains(&pair.key) {
                        let below = path.key(&pair.key);
                        let renamed = self.renamed.borrow();
                        self.unknown(&pair.node, renamed.get(&below).unwrap_or(&below), unknown);
                    } else if !(path.steps().is_empty() && pair.key.starts_with("x-")) {
                        unknown.push((path.clone(), pair));
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
        let mut told = HashSet::new();
        problems.retain(|problem| {
            let Problem { source, place, key, message, .. } = problem;
            told.insert((source.clone(), *place, key.clone(), message.clone()))
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

    /// The configuration as it holds, in YAML: each value with its origin as a comment.
    #[must_use]
    pub fn effective(&self, changed_only: bool) -> String {
        self.dump.borrow().to_yaml(changed_only)
    }
}
