//! What is wrong with a configuration, with its place, its line and a hint.
//!
//! A [`Problem`] holds the line that it shows already cut and without secrets (`mask`), so it may
//! be printed, logged or kept. A [`Report`] collects the problems of one file. Limits: 100
//! problems a file, 160 characters of a line. Control characters of the file are never printed.

use std::collections::HashSet;
use std::fmt;
use std::path::{Path, PathBuf};

use super::file;
use super::mask::{self, CUT};
use super::path::KeyPath;
use super::places::{Fault, Place, Places};

/// More than anyone reads.
const MAX_PROBLEMS: usize = 100;

/// More than a terminal shows.
const MAX_LINE: usize = 160;

/// Whether the configuration can be used all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// It cannot.
    Error,
    /// It can, but may not do what was meant.
    Warning,
}

/// One thing that is wrong, fit for printing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong, without place and key.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// Where it stands in the file.
    pub place: Option<Place>,
    /// The key that it is about, as `server.listen[0].port`; empty for the file as a whole.
    pub key: String,
    file: PathBuf,
    excerpt: Option<Excerpt>,
    shows: Shows,
}

/// The line that a problem shows.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Excerpt {
    text: String,
    /// How many characters stand before the caret.
    before: usize,
}

/// How much of its line a problem shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shows {
    Line,
    /// Up to the end of the key that stands at the place.
    Key,
    /// Up to the end of the line's first key, unless it is one that we know: where the text is
    /// broken, a line may be what is left of a secret.
    KnownKey,
}

impl Problem {
    /// An error about a file as a whole.
    #[must_use]
    pub fn of_file(file: &Path, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            message: message.into(),
            hint: None,
            place: None,
            key: String::new(),
            file: file.to_owned(),
            excerpt: None,
            shows: Shows::Line,
        }
    }

    /// Place, key and message in one line, for the log.
    #[must_use]
    pub fn summary(&self) -> String {
        let place = self.place.map_or_else(String::new, |at| format!(":{}:{}", at.line, at.column));
        let key = if self.key.is_empty() { String::new() } else { format!("{}: ", self.key) };
        printable(&format!("{}{place}: {key}{}", self.file.display(), self.message))
    }

    /// Whether it is only that this process has no credentials, as the broker may have.
    #[must_use]
    pub fn lacks_credentials(&self) -> bool {
        self.message == file::LACKS
    }

    /// Sets the hint.
    pub(super) fn hint(&mut self, hint: impl Into<String>) {
        self.hint = Some(hint.into());
    }

    /// Moves the problem to a better place than its key's.
    pub(super) fn at(&mut self, place: Place) -> &mut Self {
        self.place = Some(place);
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", printable(&self.file.to_string_lossy()))?;
        if let Some(Place { line, column }) = self.place {
            write!(f, "{line}:{column}:")?;
        }
        f.write_str(match self.severity {
            Severity::Error => " error: ",
            Severity::Warning => " warning: ",
        })?;
        if !self.key.is_empty() {
            write!(f, "{}: ", printable(&self.key))?;
        }
        f.write_str(&printable(&self.message))?;
        if let (Some(place), Some(excerpt)) = (self.place, &self.excerpt) {
            let number = place.line.to_string();
            write!(f, "\n{number} | {}", excerpt.text)?;
            write!(f, "\n{:1$} | ", "", number.len())?;
            write!(f, "{:1$}^", "", excerpt.before)?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\nhint: {}", printable(hint))?;
        }
        Ok(())
    }
}

fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// The problems of one file, while they are found.
pub(super) struct Report<'a> {
    file: &'a Path,
    lines: Vec<&'a str>,
    places: Places,
    problems: Vec<Problem>,
    /// Whether this process is in its `chroot` already.
    pub(super) is_jailed: bool,
    /// The directory of systemd's credentials, where there is one.
    pub(super) credentials: Option<String>,
    /// The files that more users may read or write than should, and that a warning has named.
    pub(super) exposed: HashSet<PathBuf>,
}

impl<'a> Report<'a> {
    pub(super) fn new(file: &'a Path, text: &'a str, places: Places) -> Self {
        Self {
            file,
            lines: text.lines().collect(),
            places,
            problems: Vec::new(),
            is_jailed: false,
            credentials: None,
            exposed: HashSet::new(),
        }
    }

    /// The index of the file.
    pub(super) fn places(&self) -> &Places {
        &self.places
    }

    /// The index, for what is laid over the file.
    pub(super) fn places_mut(&mut self) -> &mut Places {
        &mut self.places
    }

    /// Line `number`, from 1, as it stands in the file: for searching, not for showing.
    pub(super) fn source_line(&self, number: usize) -> Option<&'a str> {
        self.lines.get(number.checked_sub(1)?).copied()
    }

    /// The value at `path` is wrong.
    pub(super) fn value(&mut self, path: &KeyPath, message: impl Into<String>) -> &mut Problem {
        let place = self.places.value(path);
        self.push(Severity::Error, path, place, message.into(), Shows::Line)
    }

    /// The key at `path`, or something that lacks below it, is wrong.
    pub(super) fn key(&mut self, path: &KeyPath, message: impl Into<String>) -> &mut Problem {
        let place = self.places.key(path);
        self.push(Severity::Error, path, place, message.into(), Shows::Line)
    }

    /// There should be no such key: its value is not shown, as it may be a secret's.
    pub(super) fn stranger(&mut self, path: &KeyPath, message: impl Into<String>) -> &mut Problem {
        let place = self.places.key(path);
        self.places.hide(path);
        self.push(Severity::Error, path, place, message.into(), Shows::Key)
    }

    /// `key` is missing in the block at `path`; nothing if it is there, but was found wrong.
    pub(super) fn missing(&mut self, path: &KeyPath, key: &str) -> Option<&mut Problem> {
        let wrong = self.places.written(&path.key(key)).to_string();
        // It was found a moment ago, if at all; without a bound a hopeless file would cost its square.
        if self.problems.iter().rev().take(MAX_PROBLEMS).any(|problem| problem.key == wrong) {
            return None;
        }
        Some(self.key(path, format!("`{key}` is missing")))
    }

    /// The key at `path` may not do what was meant.
    pub(super) fn warning(&mut self, path: &KeyPath, message: impl Into<String>) -> &mut Problem {
        let place = self.places.key(path);
        self.push(Severity::Warning, path, place, message.into(), Shows::Line)
    }

    /// The text itself is wrong.
    pub(super) fn fault(&mut self, fault: Fault) {
        let problem =
            self.push(Severity::Error, &fault.path, Some(fault.place), fault.message, Shows::KnownKey);
        problem.hint = fault.hint;
    }

    /// The environment variable `name` is wrong.
    pub(super) fn variable(&mut self, severity: Severity, name: &str, message: String) {
        let mut problem = Problem::of_file(Path::new(name), message);
        problem.severity = severity;
        self.problems.push(problem);
    }

    fn push(
        &mut self,
        severity: Severity,
        path: &KeyPath,
        place: Option<Place>,
        message: String,
        shows: Shows,
    ) -> &mut Problem {
        let mut problem = Problem::of_file(self.file, message);
        problem.severity = severity;
        problem.key = self.places.written(path).to_string();
        problem.place = place;
        if let Some(variable) = self.places.variable(path) {
            problem.file = PathBuf::from(&**variable);
            problem.place = None;
        }
        problem.shows = shows;
        let index = self.problems.len();
        self.problems.push(problem);
        &mut self.problems[index]
    }

    /// Hands out `value` with the warnings.
    ///
    /// # Errors
    /// All problems in the order of the file, if one of them is an error.
    pub(super) fn finish<T>(mut self, value: Option<T>) -> Result<(T, Vec<Problem>), Vec<Problem>> {
        let is_error = |problem: &Problem| problem.severity == Severity::Error;
        let failed = self.problems.iter().any(is_error);
        // What many entries inherit is wrong once.
        let mut told = HashSet::new();
        self.problems.retain(|problem| {
            told.insert((problem.file.clone(), problem.place, problem.key.clone(), problem.message.clone()))
        });
        self.problems.sort_by_key(|problem| problem.place);
        if failed && self.problems.len() > MAX_PROBLEMS {
            self.problems.retain(is_error);
        }
        self.problems.truncate(MAX_PROBLEMS);
        let mut problems = std::mem::take(&mut self.problems);
        for problem in &mut problems {
            problem.excerpt = self.excerpt(problem);
        }
        match value {
            Some(value) if !failed => Ok((value, problems)),
            _ => Err(problems),
        }
    }

    fn excerpt(&self, problem: &Problem) -> Option<Excerpt> {
        let place = problem.place?;
        self.source_line(place.line)?;
        let mut line = mask::line(&self.lines, place.line, self.places.secrets());
        match problem.shows {
            Shows::Line => {}
            Shows::Key => line = mask::after_key(&line, place),
            Shows::KnownKey => line = mask::unless_known(line),
        }
        let line: Vec<char> = printable(line.trim_end()).chars().collect();
        if line.is_empty() {
            return None;
        }
        // A caret behind what is shown stands at the mark that says so.
        let before = mask::up_to(&self.lines, place, self.places.secrets()).chars().count();
        let caret = before.min(if line.ends_with(&['…']) { line.len() - 1 } else { line.len() });
        let start = if line.len() > MAX_LINE { caret.saturating_sub(MAX_LINE / 2) } else { 0 };
        let end = line.len().min(start + MAX_LINE);
        let mut text: String = line.get(start..end)?.iter().collect();
        let mut before = caret - start;
        if start > 0 {
            text.insert_str(0, CUT);
            before += 1;
        }
        if end < line.len() {
            text.push_str(CUT);
        }
        Some(Excerpt { text, before })
    }
}
