//! Templates of an entry: `payload`, and the path and query of `target`.
//!
//! An error in a template is reported at its own place, not at the beginning of the text.

use std::ops::RangeInclusive;

use hyper::header::{CONTENT_TYPE, HeaderMap};
use url::Url;

use super::Method;
use crate::document::{Key, Section, not_dumped};
use crate::http::path_of;
use crate::http::settings::{plain_url, shown, warn_of_plain_http};
use crate::lookup::template::path::has_dots;
use crate::lookup::template::{Error, Names, Template};
use crate::upstream::settings::{MAX_TARGETS, TargetSettings};

/// How many `targets` there may be.
const TARGETS: RangeInclusive<usize> = 2..=MAX_TARGETS;

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

/// Warns of an entry that asks the same whatever Postfix asks: nothing of the lookup is in a template.
pub(super) fn warn_of_one_question<'d>(
    entry: &Section<'d>,
    names: Names,
    targets: &Targets<'d>,
    payload: Option<&Template>,
) {
    if [targets.path.as_ref(), payload].into_iter().flatten().any(Template::holds_lookup) {
        return;
    }
    let Some((url, _)) = targets.all.first() else { return };
    let (told, hint) = match (names, payload) {
        (Names::Map, Some(_)) => (
            "neither the URL nor the payload holds the key: all lookups get the same answer",
            r#"as payload: '{"key": "{{ .Key }}"}'"#,
        ),
        (Names::Map, None) => (
            "the URL does not hold the key: all lookups get the same answer",
            "as {{ .Key | urlencode }} in its path or query",
        ),
        (Names::Policy, Some(_)) => (
            "neither the URL nor the payload holds an attribute: all requests get the same answer",
            "as payload: '{{ .Key }}', which is all attributes",
        ),
        (Names::Policy, None) => (
            "the URL holds no attribute: all requests get the same answer",
            "as {{ .Recipient | urlencode }} in its path or query",
        ),
    };
    let key = if payload.is_some() { &entry.key("payload") } else { url };
    key.warning(told).hint(hint);
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
    let urls = if entry.key("targets").is_set() { "targets" } else { "target" };
    let user = strips(target).then_some(urls).or(strips(payload).then_some("payload"));
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

/// `target` or `targets` of an entry.
pub(crate) struct Targets<'d> {
    /// In the order of the file, each with its key.
    all: Vec<(Key<'d>, TargetSettings)>,
    /// The path and query of all of them, if they hold insertions.
    pub(crate) path: Option<Template>,
}

impl Targets<'_> {
    /// Warns of targets without TLS beyond this host; `what` could be read on the way.
    pub(crate) fn warn_of_plain_http(&self, what: &str) {
        self.all.iter().for_each(|(key, target)| warn_of_plain_http(key, &target.url, what));
    }

    /// In the order in which they are asked: those that are `backup` are the last ones.
    pub(crate) fn in_order(&self) -> Vec<TargetSettings> {
        let targets = || self.all.iter().map(|(_, target)| target);
        let (backups, others) =
            (targets().filter(|one| one.is_backup), targets().filter(|one| !one.is_backup));
        others.chain(backups).cloned().collect()
    }
}

/// Reads `target`, or `targets`: the URLs, and the template of their path and query if they have insertions,
/// which may use `names`. The URLs then end with their `/`. A login's target has no insertions.
pub(crate) fn targets<'d>(
    entry: &Section<'d>,
    names: Option<Names>,
    is_required: bool,
) -> Option<Targets<'d>> {
    let (one, several) = Key::nearer(entry.key("target"), entry.key("targets"));
    // All keys are read, whatever is wrong with one of them.
    let items: Vec<_> = several.texts_or_sections("Target").into_iter().map(item).collect();
    let target = one.text().shown(|text| shown(text));
    if several.is_set() {
        if one.is_set() {
            several.error("`target` is given as well; only one of them can hold");
            return None;
        }
        return listed(&several, items, names);
    }
    let text = if is_required { target.required() } else { target.get() }?;
    let (url, path) = parsed(&one, &text, names)?;
    Some(Targets { all: vec![(one, TargetSettings { url, is_backup: false })], path })
}

/// An item of `targets`: the key of its URL, the URL, and whether it is a backup.
type Item<'d> = (Key<'d>, String, bool);

/// Reads an item of `targets`: a URL, or a block.
fn item<'d>((item, block): (Key<'d>, Option<Section<'d>>)) -> Option<Item<'d>> {
    match block {
        None => Some((item.clone(), item.text().shown(|text| shown(text)).get()?, false)),
        Some(block) => {
            let is_backup = block.key("backup").flag().or(false);
            let url = block.key("url").text().shown(|text| shown(text)).required();
            Some((block.key("url"), url?, is_backup))
        }
    }
}

/// Checks the items of `targets`, of which those that cannot be read are missing.
fn listed<'d>(list: &Key<'d>, items: Vec<Option<Item<'d>>>, names: Option<Names>) -> Option<Targets<'d>> {
    if !TARGETS.contains(&items.len()) {
        list.error(format!("must hold {} to {MAX_TARGETS} targets", TARGETS.start()))
            .hint("the URL of a single one is `target`");
        return None;
    }
    let count = items.len();
    let read = items.into_iter().flatten().filter_map(|(key, text, is_backup)| {
        let (url, path) = parsed(&key, &text, names)?;
        Some((key, TargetSettings { url, is_backup }, path))
    });
    let read: Vec<_> = read.collect();
    let (_, first, path) = read.first()?;
    let (first_path, path) = (path_of(&first.url), path.clone());
    let (mut all, mut is_good) = (Vec::new(), read.len() == count);
    for (key, target, own) in read {
        let message = if (path_of(&target.url), &own) != (first_path.clone(), &path) {
            Some(
                "the path and the query must be those of the first target: all of them get the same requests",
            )
        } else if all.iter().any(|(_, other): &(_, TargetSettings)| other.url.origin() == target.url.origin())
        {
            Some("this host and port is in the list already")
        } else {
            None
        };
        if let Some(message) = message {
            key.error(message);
            is_good = false;
        }
        all.push((key, target));
    }
    if all.iter().all(|(_, target)| target.is_backup) {
        list.warning("every target is `backup`, which has no effect then");
    }
    is_good.then_some(Targets { all, path })
}

fn parsed(key: &Key<'_>, text: &str, names: Option<Names>) -> Option<(Url, Option<Template>)> {
    match (text.find("{{"), names) {
        (None, _) => checked(key, text).map(|url| (url, None)),
        (Some(insertion), Some(names)) => with_insertions(key, text, insertion, names),
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
