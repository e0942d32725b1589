//! What of a configuration line may be shown: never a secret's value.
//!
//! Two sources tell where secrets stand: the index (`places`), exact but absent behind a syntax
//! error, and the look of the lines, which knows keys, indentation, open quotes and brackets.
//! What either calls secret is not shown, and of a line that is no YAML only what has a known key.
//! In doubt a line is hidden: the worst case is an error without its line. A template shows its
//! insertions, and no more (`cuts`).

use super::places::Place;
use super::{cuts, keys};

/// What stands for something that is not shown.
pub(super) const CUT: &str = "…";

/// Lines that hold a secret's value, from `start` on.
#[derive(Debug)]
pub(super) struct SecretRange {
    /// The first character of the value.
    pub(super) start: Place,
    /// The last line of the value.
    pub(super) last_line: usize,
}

/// Whether the value of `key` must not be shown. Names of headers are among them, for a header
/// whose `custom_headers:` was lost to a slip.
pub(super) fn is_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    let parts = ["secret", "passw", "token", "auth_basic", "headers", "authorization", "cookie"];
    parts.iter().any(|part| key.contains(part))
        || key.starts_with("private_key")
        || matches!(key.as_str(), "metadata" | "proxy")
}

/// Whether the value of `key` is a template, of which only insertions are shown.
fn is_template(key: &str) -> bool {
    key.eq_ignore_ascii_case("payload")
}

/// Whether the value of `key` is not shown as it is.
pub(super) fn is_hidden(key: &str) -> bool {
    is_secret(key) || is_template(key)
}

/// Line `number` (from 1) of `lines`, without secrets.
pub(super) fn line(lines: &[&str], number: usize, ranges: &[SecretRange]) -> String {
    up_to(lines, Place { line: number, column: usize::MAX }, ranges)
}

/// The same as far as `place`.
pub(super) fn up_to(lines: &[&str], place: Place, ranges: &[SecretRange]) -> String {
    let number = place.line;
    let Some(text) = number.checked_sub(1).and_then(|index| lines.get(index)) else {
        return String::new();
    };
    let (mut visible, mut template) = by_look(lines, number);
    for range in ranges {
        let from = if range.start.line == number {
            offset(text, range.start.column)
        } else if range.start.line < number && number <= range.last_line {
            indent(text)
        } else {
            continue;
        };
        if from <= visible {
            template = is_of_template(lines, range.start) && (template || from < visible);
            visible = from;
        }
    }
    let end = offset(text, place.column);
    let shown = text.get(..visible.min(end)).unwrap_or_default();
    let hidden = text.get(visible..end).unwrap_or_default();
    let shown = cuts::of_urls(shown);
    match template {
        _ if hidden.trim().is_empty() => shown,
        true => shown + &cuts::insertions(hidden),
        false => shown + CUT,
    }
}

/// Whether the value that begins at `start` is a template's, by the key before it.
fn is_of_template(lines: &[&str], start: Place) -> bool {
    let Some(text) = start.line.checked_sub(1).and_then(|index| lines.get(index)) else { return false };
    let before = text.get(..offset(text, start.column)).unwrap_or_default();
    let key = before.trim_end_matches(['"', '\'', ' ', '\t', ':', '=', '|', '>', '-', '+']);
    is_template(key.rsplit(|c| !is_word(c)).next().unwrap_or_default())
}

/// The line of `place` up to the end of the key that stands there: for a key that is not known,
/// whose value may be a secret under a misspelled name.
pub(super) fn after_key(shown: &str, place: Place) -> String {
    let from = offset(shown, place.column);
    let end = shown.get(from..).and_then(|rest| rest.find([':', '='])).map(|colon| from + colon + 1);
    match end {
        Some(end) if !shown.get(end..).unwrap_or_default().trim().is_empty() => {
            format!("{} {CUT}", shown.get(..end).unwrap_or_default())
        }
        _ => shown.to_owned(),
    }
}

/// The line itself if its first key is known, else what stands up to the end of that key.
pub(super) fn unless_known(shown: String) -> String {
    let body = shown.trim_start_matches([' ', '\t', '-', '?', '{', '[', '"', '\'']);
    let start = shown.len() - body.len();
    let word = body.find(|c| !is_word(c)).map_or(body, |end| body.get(..end).unwrap_or_default());
    if keys::is_known(word) {
        return shown;
    }
    let end = body.find([':', '=']).map_or(start, |colon| start + colon + 1);
    match shown.get(end..) {
        Some(rest) if !rest.trim().is_empty() => {
            format!("{}{CUT}", shown.get(..with_blank(&shown, end)).unwrap_or_default())
        }
        _ => shown,
    }
}

/// The byte at which the character of `column` (from 1) begins.
fn offset(text: &str, column: usize) -> usize {
    text.char_indices().nth(column.saturating_sub(1)).map_or(text.len(), |(at, _)| at)
}

fn indent(text: &str) -> usize {
    text.len() - text.trim_start_matches([' ', '\t']).len()
}

/// What the lines above mean for the next one.
enum Above {
    Nothing,
    /// A secret's key in this column: what is indented more belongs to it.
    Key {
        indent: usize,
        /// The value has not begun: the next line may hold it, however it is indented (JSON, or a
        /// slip), unless it is a key beside this one.
        bare: bool,
        template: bool,
    },
    /// A secret's value that ends with this character.
    Open {
        close: char,
        template: bool,
    },
}

/// How many bytes of line `number` may be shown, by the look of the lines up to it, and whether the
/// rest is a template's.
fn by_look(lines: &[&str], number: usize) -> (usize, bool) {
    let mut above = Above::Nothing;
    let mut visible = (0, false);
    for text in lines.iter().take(number) {
        (visible, above) = look(text, above);
    }
    visible
}

fn look(text: &str, above: Above) -> ((usize, bool), Above) {
    let start = indent(text);
    let body = text.get(start..).unwrap_or_default();
    if body.trim().is_empty() {
        return ((text.len(), false), above);
    }
    match above {
        Above::Open { close, template } => {
            let ends = ends_with(body, close);
            return ((start, template), if ends { Above::Nothing } else { above });
        }
        Above::Key { indent, bare, template } => {
            let below = start > indent || (start == indent && body.starts_with('-'));
            if below || (bare && (start != indent || !begins_with_key(body))) {
                // A list at the key's own indentation may go on.
                return ((start, template), Above::Key { indent, bare: false, template });
            }
        }
        Above::Nothing => {}
    }
    let Some((key, value, template)) = hidden_key(text) else {
        return ((text.len(), false), Above::Nothing);
    };
    let rest = text.get(value..).unwrap_or_default().trim();
    let close = match rest.chars().next() {
        Some('[') => ']',
        Some('{') => '}',
        Some(quote @ ('"' | '\'')) => quote,
        _ => return ((value, template), Above::Key { indent: key, bare: rest.is_empty(), template }),
    };
    let closed = rest.len() > 1 && ends_with(rest, close);
    let above = if closed {
        Above::Key { indent: key, bare: false, template }
    } else {
        Above::Open { close, template }
    };
    ((value, template), above)
}

fn ends_with(text: &str, close: char) -> bool {
    let text = text.trim_end();
    text.ends_with(close) || text.trim_end_matches([',', ']', '}', ' ']).ends_with(close)
}

fn begins_with_key(body: &str) -> bool {
    let word = body.len() - body.trim_start_matches(is_word).len();
    let rest = body.get(word..).unwrap_or_default();
    word > 0 && (rest == ":" || rest.starts_with(": "))
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '-'
}

/// The first key of a line whose value is not shown: where it begins, the end of what may be shown,
/// and whether the value is a template.
fn hidden_key(text: &str) -> Option<(usize, usize, bool)> {
    let mut from = 0;
    while let Some(begin) = text.get(from..)?.find(is_word).map(|at| from + at) {
        let word = text.get(begin..)?;
        let length = word.find(|c| !is_word(c)).unwrap_or(word.len());
        let end = begin + length;
        let key = word.get(..length)?;
        if is_hidden(key) {
            let rest = text.get(end..)?;
            let value = rest.trim_start_matches(['"', '\'', ' ', '\t']);
            let separator = end + rest.len() - value.len();
            let explicit = value.is_empty() && text.trim_start().starts_with('?');
            // A key at the beginning of its line whose colon is lost.
            let is_first = !text.get(..begin)?.contains(|c: char| !" \t-?{[\"'".contains(c));
            let bare = is_first && !value.is_empty();
            if value.starts_with([':', '=']) {
                return Some((begin, with_blank(text, separator + 1), is_template(key)));
            } else if explicit || bare {
                return Some((begin, with_blank(text, end), is_template(key)));
            }
        }
        from = end;
    }
    None
}

/// One blank behind the colon is shown, so that what is cut stands apart.
fn with_blank(text: &str, at: usize) -> usize {
    if text.get(at..).is_some_and(|rest| rest.starts_with(' ')) { at + 1 } else { at }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(text: &str) -> Vec<String> {
        let lines: Vec<&str> = text.lines().collect();
        (1..=lines.len()).map(|number| line(&lines, number, &[])).collect()
    }

    #[test]
    fn no_secret_is_shown() {
        for text in [
            "client_secret: s3cret",
            "  - client_secret: s3cret",
            "\"client_secret\": \"s3cret\",",
            "\"client_secret\"  :\n\"s3cret\"",
            "a: {client_id: x, client_secret: s3cret}",
            "http_auth_basic: joe:s3cret",
            "custom_headers:\n  - \"Authorization: s3cret\"\n  - X-Key: s3cret",
            "custom_headers:\n- \"A: s3cret\"\n\n- \"B: s3cret\"",
            "custom_headers: [\n\"A: s3cret\",\n\"B: s3cret\"\n]",
            "custom_headers: [\"A: x\",\n  \"B: s3cret\"]",
            "client_secret: \"\ns3cret\ns3cret",
            "client_secret: >\n  s3cret\n  s3cret",
            "client_secret:\n  s3cret",
            "client_secret: first\n  s3cret",
            "? client_secret\n: s3cret",
            "client_secret = \"s3cret\"",
            "client_secret \"s3cret\"",
            "  custom_headers [\"A: s3cret\"]",
            "private_key_pem: |\n  s3cret",
            "target: https://joe:s3cret@example.org/",
            "target: \"https://joe:s3c/s3cret@example.org/\"",
            "target: \"https://example.org/?key=s3cret&user={{ .Key | urlencode }}&b=s3cret\"",
            "payload: '{\"key\": \"{{ .Key }}\", \"api\": \"s3cret\"}'",
            "payload: |\n  {\"key\": \"{{ .Key }}\",\n  \"api\": \"s3cret\"}",
            "a: {payload: s3cret, status_code: 5}",
        ] {
            for shown in masked(text) {
                assert!(!shown.contains("s3cret"), "{text:?} gives {shown:?}");
            }
        }
    }

    #[test]
    fn what_is_no_secret_is_shown() {
        let text = "custom_headers:\n  - \"A: b\"\nstatus_code: 200\nclient_secret:\nvalue_field: x";
        let lines = masked(text);
        assert_eq!(lines[0], "custom_headers:");
        assert_eq!(lines[1], "  …");
        assert_eq!(lines[2], "status_code: 200");
        assert_eq!(lines[4], "value_field: x");
        assert_eq!(masked("client_secret: x")[0], "client_secret: …");
        for (line, shown) in [
            ("  - kind: x", "  - kind: x"),
            ("  uthorization: Bearer x", "  uthorization: …"),
            ("  Bearer x", "  …"),
            ("\t", "\t"),
        ] {
            assert_eq!(unless_known(line.to_owned()), shown);
        }
    }
}
