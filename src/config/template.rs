//! Templates of an entry: its payload, and the path and query of its target.
//!
//! A template's fault is told at its own place, not at the beginning of the text.

use url::Url;

use super::http;
use super::path::KeyPath;
use super::places::Place;
use super::problem::Report;
use crate::lookup::template::path::has_dots;
use crate::lookup::template::{Error, Names, Template};

/// Resolves `payload`, which stands at `path`; `is_form` is what the `Content-Type` says.
pub(super) fn payload(
    report: &mut Report<'_>,
    path: &KeyPath,
    text: &str,
    names: Names,
    is_form: bool,
) -> Option<Template> {
    let template = if is_form { Template::parse_form(text, names) } else { Template::parse(text, names) };
    template.map_err(|error| fault(report, path, text, error)).ok()
}

/// Resolves the `recipient_delimiter` of the entry at `path`, which these templates may need.
pub(super) fn recipient_delimiter(
    report: &mut Report<'_>,
    path: &KeyPath,
    text: Option<String>,
    templates: [(&str, Option<&Template>); 2],
) -> String {
    let at = path.key("recipient_delimiter");
    let delimiters = text.unwrap_or_default();
    if delimiters.chars().any(|c| !c.is_ascii_graphic() || "@\"\\".contains(c)) {
        report.value(
            &at,
            "holds the characters that begin an extension, as \"+\": no blanks and none of @ \" \\",
        );
        return delimiters;
    }
    let strips = |template: &Option<&Template>| template.is_some_and(Template::strips_extensions);
    match templates.into_iter().find(|(_, template)| strips(template)) {
        Some((key, _)) if delimiters.is_empty() => {
            let problem =
                report.value(&path.key(key), "`strip_extension` needs the entry's `recipient_delimiter`");
            problem.hint("as in main.cf: recipient_delimiter: \"+\"");
        }
        // Entries that inherit it may well do without.
        None if !delimiters.is_empty() && report.places().written(&at) == at => {
            let problem = report.warning(&at, "has no effect: no template has the filter `strip_extension`");
            problem.hint("as {{ .Key | strip_extension }}");
        }
        _ => {}
    }
    delimiters
}

/// Resolves `target`, which stands at `path`: the URL, and the template of its path and query where
/// that has insertions. The URL then ends with its `/`.
pub(super) fn target(
    report: &mut Report<'_>,
    path: &KeyPath,
    text: &str,
    names: Option<Names>,
) -> Option<(Url, Option<Template>)> {
    let Some((insertion, names)) = text.find("{{").zip(names) else {
        return checked(report, path, text).map(|url| (url, None));
    };
    let authority = text.find("://").map_or(0, |at| at + 3);
    let end = text.get(authority..)?.find(['/', '?', '#']).map_or(text.len(), |at| authority + at);
    if insertion < end {
        let message = "scheme, host and port hold no insertion: it stands in path and query alone";
        fault(report, path, text, Error { offset: insertion, message: message.to_owned() });
        return None;
    }
    let (origin, rest) = text.split_at(end);
    let template = Template::parse_path(rest, names)
        .map_err(|error| fault(report, path, text, Error { offset: end + error.offset, ..error }))
        .ok();
    // What is literal must be fit for a URL as it stands: nothing escapes it later.
    let literal = without_insertions(rest);
    if let Some(odd) = literal.chars().find(|c| !c.is_ascii_graphic() || "\"<>\\^`{|}".contains(*c)) {
        report.value(path, format!("a path or query holds no {odd:?}; write it as %…"));
        return None;
    }
    if has_dots(literal.split(['?', '#']).next().unwrap_or_default().as_bytes()) {
        report.value(path, "beside insertions the path holds no segment `.` or `..`: write it out");
        return None;
    }
    checked(report, path, &format!("{origin}{literal}"))?;
    let url = checked(report, path, origin)?;
    let template = if rest.starts_with('/') {
        template
    } else {
        // The query begins behind the host; a request's target begins with a slash.
        template.and_then(|_| Template::parse_path(&format!("/{rest}"), names).ok())
    };
    template.map(|template| (url, Some(template)))
}

/// The text with one letter for each insertion.
fn without_insertions(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((literal, insertion)) = rest.split_once("{{") {
        out.push_str(literal);
        out.push('x');
        rest = insertion.split_once("}}").map_or("", |(_, rest)| rest);
    }
    out.push_str(rest);
    out
}

fn checked(report: &mut Report<'_>, path: &KeyPath, text: &str) -> Option<Url> {
    let url = http::url(report, path, text)?;
    if !url.username().is_empty() || url.password().is_some() {
        let problem = report.value(path, "the URL must not hold a user name or password");
        problem.hint("use http_auth_basic: \"user:password\"");
    } else if url.fragment().is_some() {
        report.value(path, "the URL must not hold a fragment (`#`): it would not be sent");
    } else {
        return Some(url);
    }
    None
}

fn fault(report: &mut Report<'_>, path: &KeyPath, text: &str, error: Error) {
    let place = in_scalar(report, path, text, error.offset);
    let problem = report.value(path, error.message);
    if let Some(place) = place {
        problem.at(place);
    }
}

/// Where the byte `offset` of the scalar at `path` stands in the file: what begins there is looked
/// for in the source, as often as it occurs before. Escapes may hide an occurrence; then this finds
/// a later one or none, and the value's own place must do.
fn in_scalar(report: &Report<'_>, path: &KeyPath, text: &str, offset: usize) -> Option<Place> {
    let (before, rest) = (text.get(..offset)?, text.get(offset..)?);
    let length = rest.find(|c: char| c.is_whitespace() || matches!(c, '"' | '\\')).unwrap_or(rest.len());
    let wanted = rest.get(..length).filter(|wanted| !wanted.is_empty())?;
    let mut skip = before.matches(wanted).count();
    let start = report.places().value(path)?;
    let mut from = start.column - 1;
    // A scalar has no more lines than its text, but for folds and the line of its `>`.
    for number in start.line..=start.line + 2 * text.lines().count() + 1 {
        let line = report.source_line(number)?;
        let begin = line.char_indices().nth(from).map_or(line.len(), |(at, _)| at);
        from = 0;
        for (at, _) in line.get(begin..)?.match_indices(wanted) {
            if skip == 0 {
                let column = 1 + line.get(..begin + at)?.chars().count();
                return Some(Place { line: number, column });
            }
            skip -= 1;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_yaml::Value;

    use super::*;
    use crate::config::places::yaml;

    /// Where the last `{{` of the payload stands in the file.
    fn found(payload: &str) -> Option<(usize, usize)> {
        let source = format!("a: {{ b: 1 }} # {{{{\npayload: {payload}\nc: \"{{{{\"\n");
        let yaml::Read { places, faults, broken } = yaml::read(&source);
        assert!(faults.is_empty() && broken.is_none(), "{faults:?}");
        let tree: Value = serde_yaml::from_str(&source).expect("YAML");
        let text = tree["payload"].as_str().expect("a text");
        let report = Report::new(Path::new("f"), &source, places);
        let offset = text.rfind("{{").expect("an insertion");
        let place = in_scalar(&report, &KeyPath::default().key("payload"), text, offset)?;
        Some((place.line, place.column))
    }

    #[test]
    fn a_templates_fault_is_found_in_the_source() {
        assert_eq!(found("'{{ .Key }}'"), Some((2, 11)));
        assert_eq!(found("x {{ .Kye }}"), Some((2, 12)));
        assert_eq!(found("\"\\u00e4 {\\\"k\\\": \\\"{{ .Kye }}\\\"}\""), Some((2, 28)));
        assert_eq!(found(">\n  {\"ä\": {{ .Key }},\n\n  \"b\":\n  {{ .Key }}}\n"), Some((6, 3)));
        assert_eq!(found("|\n  {\"ä\": {{ .Key }},\n  \"b\": {{ .Key }}}\n"), Some((4, 8)));
    }
}
