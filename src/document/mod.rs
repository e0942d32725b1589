//! A document as a tree that is read by a cursor: YAML, TOML or JSON, under the variables of the
//! environment.
//!
//! | step | file |
//! |---|---|
//! | text → tree with places | `syntax`, `yaml`, `toml`, `json`; `builder`, `node`, `place` |
//! | one reading: problems, unknown keys | `reading`, `problem` |
//! | where a key's value is looked for | `section`, `key`, `environment` |
//! | blocks, entries, lists | `blocks` |
//! | kinds of values, secrets, files | `value`, `refusal`, `duration`, `network`, `file` |
//! | which keys there are; what holds | `record`, `schema` (tests), `dump` |
//!
//! The room knows no key of pfxhttp: other rooms ask for theirs, and say range or choices as they do. No
//! message shows a value, so none shows a secret. Nothing here panics on any text.

mod blocks;
mod builder;
mod dump;
mod duration;
mod environment;
mod file;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod json;
mod key;
mod network;
mod node;
mod place;
mod problem;
mod reading;
mod record;
mod refusal;
#[cfg(test)]
pub(crate) mod schema;
mod section;
mod syntax;
mod toml;
mod value;
mod yaml;

pub use blocks::Entries;
pub use dump::HIDDEN;
pub use file::{CREDENTIALS, DUMPED, Holds, SecretKey, exposure, not_dumped};
pub use key::Key;
pub use network::numeric;
pub use place::{KeyPath, Place};
pub use problem::{Problem, Severity};
pub use reading::{Document, Reported, Sources};
pub use record::{Definition, Kind, Record};
pub use refusal::Refusal;
pub use section::Section;
pub use syntax::Syntax;
pub use value::Found;

/// Warns of each of `keys` that is set; `why` is what follows "has no effect".
pub fn no_effect<'d>(keys: impl IntoIterator<Item = Key<'d>>, why: &str) {
    for key in keys.into_iter().filter(Key::is_set) {
        key.warning(format!("has no effect {why}"));
    }
}

/// A number as a size in memory.
#[must_use]
pub fn size(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

/// The one of `known` that was probably meant by `word`: it differs by case, by `-` for `_`, or by a
/// few letters.
#[must_use]
pub fn nearest<'k>(word: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    // A longer word is like nothing that is known, and the distance costs its square.
    if word.chars().count() > 64 {
        return None;
    }
    let word = word.to_lowercase().replace('-', "_");
    let length = word.chars().count();
    let allowed = (length / 3).max(1);
    known
        // At least so many letters differ.
        .filter(|known| known.chars().count().abs_diff(length) <= allowed)
        .map(|known| (strsim::damerau_levenshtein(&word, &known.to_lowercase().replace('-', "_")), known))
        .filter(|&(distance, _)| distance <= allowed)
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Document, Place, Problem, Record, Section, Severity, Sources, Syntax};

    /// A document of YAML; keys with `secret` in their names are secret.
    pub(super) fn document<'t>(text: &'t str, environment: &'t [(String, String)]) -> Document<'t> {
        let is_secret = |key: &str| key.contains("secret");
        let (file, syntax, prefix) = (Path::new("f"), Syntax::Yaml, "P_");
        Document::read(text, Sources { file, syntax, is_secret, environment, prefix, credentials: None })
    }

    /// What `read` makes of `text` under `variables`, and the problems, as `line:column key: message (hint)`.
    pub(super) fn read<T>(
        text: &str,
        variables: &[(&str, &str)],
        read: impl FnOnce(&Section<'_>) -> T,
    ) -> (T, Vec<String>) {
        let (value, problems, _) = read_and_dump(text, variables, false, read);
        (value, problems)
    }

    /// The same, and what is dumped.
    pub(super) fn read_and_dump<T>(
        text: &str,
        variables: &[(&str, &str)],
        changed_only: bool,
        read: impl FnOnce(&Section<'_>) -> T,
    ) -> (T, Vec<String>, String) {
        let variables: Vec<_> =
            variables.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        let document = document(text, &variables);
        document.keep_effective();
        let value = read(&document.top("Top"));
        document.end(Record::default, |_, _| None);
        let (Ok(((), problems)) | Err(problems)) = document.finish(Some(()));
        (value, problems.iter().map(brief).collect(), document.effective(changed_only))
    }

    fn brief(problem: &Problem) -> String {
        let place = match problem.place {
            Some(Place { line, column }) => format!("{line}:{column}"),
            None => problem.source.display().to_string(),
        };
        let severity = if problem.severity == Severity::Warning { "warning " } else { "" };
        let hint = problem.hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
        format!("{place} {severity}{}: {}{hint}", problem.key, problem.message)
    }
}
