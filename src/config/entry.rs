//! An entry of `socket_maps` or `policy_services`: the settings of one HTTP API.
//!
//! Everything that can be refused is refused here and not at the first lookup: the target, the
//! headers, the template, the fields. No header's value reaches a message.

use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue};
use serde_yaml::Value;
use url::Url;

use super::block;
use super::keys::Block;
use super::path::KeyPath;
use super::places::Place;
use super::problem::Report;
use super::raw::{self, Word};
use super::scalar;
use crate::ask::{LONGEST_BUDGET, OnFailure};
use crate::target::template::{Names, Template};
use crate::target::value::Field;
use crate::target::{
    Absent, CacheSettings, Kind, MapSettings, Method, PolicySettings, PoolSettings, Settings,
};

/// Shorter than any lookup.
const MIN_TIMEOUT: Duration = Duration::from_millis(1);

/// What an entry takes from `server`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Inherited {
    pub(super) timeout: Duration,
    pub(super) max_reply: usize,
}

/// Headers that are part of HTTP's framing, or that speak of this one connection.
const NOT_OURS: [&str; 9] = [
    "connection",
    "content-length",
    "expect",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Resolves a section.
pub(super) fn section(
    report: &mut Report<'_>,
    entries: &[(&str, &Value)],
    path: &KeyPath,
    block: Block,
    inherited: Inherited,
) -> Vec<Settings> {
    let mut settings = Vec::new();
    for &(name, value) in entries {
        let path = path.key(name);
        if name == "defaults" {
            report.key(&path, "`defaults` is not built yet");
            continue;
        }
        if name.is_empty() || name.chars().any(|c| c.is_whitespace() || c.is_control() || c == ':') {
            report.key(&path, "a name holds no blanks, no `:` and no control characters");
        }
        if let Some(raw) = block::read(report, Some(value), &path, block) {
            settings.extend(entry(report, raw, name, &path, block, inherited));
        }
    }
    settings
}

fn entry(
    report: &mut Report<'_>,
    raw: raw::Entry,
    name: &str,
    path: &KeyPath,
    block: Block,
    inherited: Inherited,
) -> Option<Settings> {
    without_effect(report, &raw, path);
    let names = if block == Block::Policy { Names::Policy } else { Names::Map };
    let url = required(report, path, "target", raw.target).and_then(|text| target(report, path, &text));
    let payload =
        required(report, path, "payload", raw.payload).and_then(|text| template(report, path, &text, names));
    let value_field = required(report, path, "value_field", raw.value_field)
        .and_then(|text| field(report, path, "value_field", &text));
    let error_field = raw.error_field.and_then(|text| field(report, path, "error_field", &text));
    let headers =
        headers(report, &path.key("custom_headers"), raw.custom_headers.as_deref().unwrap_or_default());
    let status = scalar::number(report, &path.key("status_code"), raw.status_code, 100..=599);
    let own =
        scalar::duration(report, &path.key("timeout"), raw.timeout.as_ref(), MIN_TIMEOUT..=LONGEST_BUDGET);
    let kind = match block {
        Block::Policy => Kind::Policy(PolicySettings {
            on_failure: on_failure(report, path, raw.on_failure),
            cache_key: None,
        }),
        _ => Kind::Map(MapSettings {
            max_reply: inherited.max_reply,
            failure_is_not_found: false,
            empty_is_not_found: false,
            not_found_status: Vec::new(),
            domains: None,
        }),
    };
    Some(Settings {
        name: name.to_owned(),
        kind,
        method: Method::Post,
        url: url?,
        path: None,
        headers,
        payload: Some(payload?),
        compress_request: false,
        compress_response: false,
        timeout: own.unwrap_or(inherited.timeout.min(LONGEST_BUDGET)),
        status_code: status.and_then(|code| u16::try_from(code).ok()).unwrap_or(200),
        value_field: value_field?,
        error_field,
        no_error_value: raw.no_error_value.map(|word| word.0).unwrap_or_default(),
        absent_value: Absent::NotFound,
        cache: CacheSettings {
            outage: Duration::ZERO,
            fresh: Duration::ZERO,
            negative: Duration::ZERO,
            stale_while_revalidate: Duration::ZERO,
        },
        pool: PoolSettings { workers: 256, queue: 2560 },
    })
}

fn without_effect(report: &mut Report<'_>, raw: &raw::Entry, path: &KeyPath) {
    if raw.no_error_value.is_some() && raw.error_field.is_none() {
        report.warning(&path.key("no_error_value"), "has no effect without `error_field`");
    }
    let sasl = [("sasl_oidc_auth", &raw.sasl_oidc_auth), ("default_local_port", &raw.default_local_port)];
    for (key, _) in sasl.into_iter().filter(|(_, set)| set.is_some()) {
        report.warning(&path.key(key), "has no effect outside dovecot_sasl");
    }
}

fn required(report: &mut Report<'_>, path: &KeyPath, key: &str, text: Option<String>) -> Option<String> {
    if text.is_none() {
        report.missing(path, key);
    }
    text
}

fn target(report: &mut Report<'_>, path: &KeyPath, text: &str) -> Option<Url> {
    let path = path.key("target");
    if text.contains("{{") {
        report.value(&path, "a template in the target is not built yet");
        return None;
    }
    // Url::parse would drop them in silence.
    if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        report.value(&path, "a URL holds no blanks and no control characters");
        return None;
    }
    let url = match Url::parse(text) {
        Ok(url) => url,
        Err(url::ParseError::RelativeUrlWithoutBase) => {
            report.value(&path, "a URL begins with http:// or https://");
            return None;
        }
        Err(error) => {
            report.value(&path, format!("not a URL: {error}"));
            return None;
        }
    };
    if !matches!(url.scheme(), "http" | "https") {
        report.value(&path, "a URL begins with http:// or https://");
    } else if url.host_str().is_none_or(str::is_empty) || url.port() == Some(0) {
        report.value(&path, "the URL needs a host, and a port that is not 0");
    } else if !url.username().is_empty() || url.password().is_some() {
        let problem = report.value(&path, "the URL must not hold a user name or password");
        problem.hint("use custom_headers: [\"Authorization: Basic …\"]");
    } else if url.fragment().is_some() {
        report.value(&path, "the URL must not hold a fragment (`#`): it would not be sent");
    } else {
        return Some(url);
    }
    None
}

fn template(report: &mut Report<'_>, path: &KeyPath, text: &str, names: Names) -> Option<Template> {
    match Template::parse(text, names) {
        Ok(template) => Some(template),
        Err(error) => {
            let path = path.key("payload");
            let place = in_scalar(report, &path, text, error.offset);
            let problem = report.value(&path, error.message);
            if let Some(place) = place {
                problem.at(place);
            }
            None
        }
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

fn field(report: &mut Report<'_>, path: &KeyPath, key: &str, text: &str) -> Option<Field> {
    Field::parse(text).map_err(|message| report.value(&path.key(key), message)).ok()
}

fn on_failure(report: &mut Report<'_>, path: &KeyPath, word: Option<Word>) -> OnFailure {
    let Some(Word(text)) = word else { return OnFailure::default() };
    OnFailure::parse(&text).unwrap_or_else(|error| {
        let problem = report.value(&path.key("on_failure"), error.to_string());
        problem.hint("an access(5) action, as \"DEFER Temporary server problem\", or disconnect");
        OnFailure::default()
    })
}

fn headers(report: &mut Report<'_>, path: &KeyPath, lines: &[String]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (index, line) in lines.iter().enumerate() {
        match header(line) {
            Err(message) => {
                report.value(&path.item(index), message);
            }
            Ok((name, _)) if (name == HOST || name == CONTENT_TYPE) && headers.contains_key(&name) => {
                report.value(&path.item(index), format!("`{name}` is given twice"));
            }
            Ok((name, value)) => {
                headers.append(name, value);
            }
        }
    }
    headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
    headers
}

/// Reads `Name: value`. Messages hold the name at most.
fn header(line: &str) -> Result<(HeaderName, HeaderValue), String> {
    let Some((name, value)) = line.split_once(':') else {
        return Err("a header is written `Name: value`".to_owned());
    };
    let Ok(name) = HeaderName::from_bytes(name.trim().as_bytes()) else {
        return Err("what stands before the `:` is no header's name".to_owned());
    };
    if NOT_OURS.contains(&name.as_str()) {
        return Err(format!("`{name}` cannot be set: the HTTP client sets what belongs there"));
    }
    let value = value.trim();
    if value.is_empty() {
        return Err(format!("`{name}` has no value"));
    }
    let Ok(mut value) = HeaderValue::from_str(value) else {
        return Err(format!("the value of `{name}` must be printable ASCII"));
    };
    value.set_sensitive(true);
    Ok((name, value))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::places;

    /// Where the last `{{` of the payload stands in the file.
    fn found(payload: &str) -> Option<(usize, usize)> {
        let source = format!("a: {{ b: 1 }} # {{{{\npayload: {payload}\nc: \"{{{{\"\n");
        let (places, faults) = places::read(&source);
        assert!(faults.is_empty(), "{faults:?}");
        let tree: Value = serde_yaml::from_str(&source).expect("YAML");
        let text = tree["payload"].as_str().expect("a text");
        let report = Report::new(Path::new("f"), &source, &places);
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
