//! Templates of an entry: `payload`, and the path and query of `target`.
//!
//! An error in a template is reported at its own place, not at the beginning of the text.

use hyper::header::{CONTENT_TYPE, HeaderMap};
use url::Url;

use super::Method;
use crate::document::{Key, Section, not_dumped};
use crate::http::settings::{plain_url, shown};
use crate::lookup::template::path::has_dots;
use crate::lookup::template::{Error, Names, Template};

/// Reads `payload`; `Some(None)` for a GET, which has none.
pub(super) fn payload(
    entry: &Section<'_>,
    method: Method,
    names: Names,
    headers: &HeaderMap,
) -> Option<Option<Template>> {
    let key = entry.key("payload");
    let payload = key.hidden_text().check(not_dumped);
    if method == Method::Get {
        if payload.is_set() {
            key.warning("has no effect: a GET has no body");
        }
        return Some(None);
    }
    let text = payload.required()?;
    let parse = if is_form(headers) { Template::parse_form } else { Template::parse };
    let told = |Error { offset, message }| key.error_within(&text, offset, message);
    parse(&text, names).map_err(told).ok().map(Some)
}

fn is_form(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    kind.eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

/// Reads `recipient_delimiter`, which the templates of `target` and `payload` may need.
pub(super) fn recipient_delimiter(
    entry: &Section<'_>,
    target: Option<&Template>,
    payload: Option<&Template>,
) -> String {
    let key = entry.key("recipient_delimiter");
    let delimiters = key.text().or(String::new());
    if delimiters.chars().any(|c| !c.is_ascii_graphic() || "@\"\\".contains(c)) {
        key.error("holds the characters that begin an extension, as \"+\": no blanks and none of @ \" \\");
        return delimiters;
    }
    let strips = |template: Option<&Template>| template.is_some_and(Template::strips_extensions);
    let user = strips(target).then_some("target").or(strips(payload).then_some("payload"));
    match user {
        Some(name) if delimiters.is_empty() => {
            let told = entry.key(name).error("`strip_extension` needs the entry's `recipient_delimiter`");
            told.hint("as in main.cf: recipient_delimiter: \"+\"");
        }
        // Entries that inherit it may well do without.
        None if !delimiters.is_empty() && key.is_own() => {
            let told = key.warning("has no effect: no template has the filter `strip_extension`");
            told.hint("as {{ .Key | strip_extension }}");
        }
        _ => {}
    }
    delimiters
}

/// Reads `target`: the URL, and the template of its path and query if they have insertions, which may
/// use `names`. The URL then ends with its `/`. A login's target has no insertions.
pub(crate) fn target(
    entry: &Section<'_>,
    names: Option<Names>,
    is_required: bool,
) -> Option<(Url, Option<Template>)> {
    let key = entry.key("target");
    let target = key.text().shown(|text| shown(text));
    let text = if is_required { target.required() } else { target.get() }?;
    match (text.find("{{"), names) {
        (None, _) => checked(&key, &text).map(|url| (url, None)),
        (Some(insertion), Some(names)) => with_insertions(&key, &text, insertion, names),
        (Some(_), None) => {
            key.error("the target of a login holds no insertions: the request is in the body");
            None
        }
    }
}

fn with_insertions(
    key: &Key<'_>,
    text: &str,
    insertion: usize,
    names: Names,
) -> Option<(Url, Option<Template>)> {
    let authority = text.find("://").map_or(0, |at| at + 3);
    let end = text.get(authority..)?.find(['/', '?', '#']).map_or(text.len(), |at| authority + at);
    if insertion < end {
        let message = "scheme, host and port hold no insertions: only path and query may";
        key.error_within(text, insertion, message);
        return None;
    }
    let (origin, rest) = text.split_at(end);
    let told = |Error { offset, message }| key.error_within(text, end + offset, message);
    let template = Template::parse_path(rest, names).map_err(told).ok();
    // Literal text must be fit for a URL as it is: nothing escapes it later.
    let literal = without_insertions(rest);
    if let Some(odd) = literal.chars().find(|c| !c.is_ascii_graphic() || "\"<>\\^`{|}".contains(*c)) {
        key.error(format!("a path or query holds no {odd:?}; write it as %…"));
        return None;
    }
    if has_dots(literal.split(['?', '#']).next().unwrap_or_default().as_bytes()) {
        key.error("beside insertions the path holds no segment `.` or `..`: write it out");
        return None;
    }
    checked(key, &format!("{origin}{literal}"))?;
    let url = checked(key, origin)?;
    // If the query begins behind the host: a request's target begins with a slash.
    let with_slash = || Template::parse_path(&format!("/{rest}"), names).ok();
    let template = if rest.starts_with('/') { template } else { template.and_then(|_| with_slash()) };
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

fn checked(key: &Key<'_>, text: &str) -> Option<Url> {
    plain_url(key, text, Some("use http_auth_basic: \"user:password\""))
}
