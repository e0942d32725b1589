//! What the sources say: words in string literals, and the lines of the log.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// A line of the log, as a macro of `tracing` writes it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LogLine {
    pub(crate) level: &'static str,
    /// The text; `…` stands for what it takes in.
    pub(crate) message: String,
    pub(crate) fields: Vec<String>,
}

/// The Rust files below `src`, without those of unit tests; each without its own tests.
fn sources(below: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut directories = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(below)];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(&directory).expect("a directory") {
            let path: PathBuf = entry.expect("an entry").path();
            if path.is_dir() && !path.ends_with("tests") {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).expect("a source");
                found.push(text.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or_default().to_owned());
            }
        }
    }
    found
}

/// The words in the sources below this room that `is_meant` takes.
pub(crate) fn words(below: &str, is_meant: impl Fn(&str) -> bool) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for text in sources(below) {
        let literals = text.split('"').skip(1).step_by(2);
        found.extend(literals.filter(|word| is_meant(word)).map(str::to_owned));
    }
    found
}

/// The literals in the body of a method whose head is `head`, in the sources below this room.
pub(crate) fn literals_of(below: &str, head: &str) -> BTreeSet<String> {
    let found = sources(below).into_iter().find_map(|text| {
        let (_, rest) = text.split_once(head)?;
        Some(rest.split("\n    }\n").next().unwrap_or_default().to_owned())
    });
    let body = found.unwrap_or_else(|| panic!("{below} has no {head}"));
    body.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

const MACROS: [(&str, &str); 4] =
    [("error!(", "error"), ("warn!(", "warn"), ("info!(", "info"), ("debug!(", "debug")];

/// All lines that the broker logs, each once, the important ones first.
pub(crate) fn log_lines() -> Vec<LogLine> {
    let mut lines = Vec::new();
    for (name, level) in MACROS {
        let mut of_level = BTreeSet::new();
        for text in sources("") {
            let calls = text.match_indices(name).filter(|(at, _)| {
                !text[..*at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '`')
            });
            for (at, _) in calls {
                of_level.extend(line(level, &text[at + name.len()..]));
            }
        }
        lines.extend(of_level);
    }
    lines
}

/// The line that a call writes; `arguments` begins behind its parenthesis.
fn line(level: &'static str, arguments: &str) -> Option<LogLine> {
    let mut fields = Vec::new();
    for argument in split(arguments) {
        if let Some(message) = argument.strip_prefix('"') {
            let message = placeholders(message.trim_end_matches('"'));
            // A text that is only taken over is not a line of its own.
            let has_words = message.contains(char::is_alphabetic);
            return has_words.then_some(LogLine { level, message, fields });
        }
        let field = argument.split('=').next().unwrap_or_default();
        fields.push(field.trim().trim_start_matches(['%', '?']).to_owned());
    }
    None
}

/// The arguments of a call, without blanks around them.
fn split(text: &str) -> Vec<&str> {
    let (mut depth, mut in_text, mut escaped, mut from) = (0_usize, false, false, 0);
    let mut found = Vec::new();
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if in_text => escaped = true,
            '"' => in_text = !in_text,
            _ if in_text => {}
            '(' | '[' | '{' => depth += 1,
            ')' if depth == 0 => {
                found.push(text[from..at].trim());
                break;
            }
            ')' | ']' | '}' => depth -= 1,
            ',' if depth == 0 => {
                found.push(text[from..at].trim());
                from = at + 1;
            }
            _ => {}
        }
    }
    found.retain(|argument| !argument.is_empty());
    found
}

/// `…` for each placeholder.
fn placeholders(message: &str) -> String {
    let mut parts = message.split('{');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        text.push('…');
        text.push_str(part.split_once('}').map_or("", |(_, rest)| rest));
    }
    text
}
