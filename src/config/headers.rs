//! `custom_headers` and `http_auth_basic`: the headers that an entry's requests carry.
//!
//! No header's value reaches a message, and none is shown by `Debug`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue};

use super::path::KeyPath;
use super::problem::Report;

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

/// Reads the lines of the `custom_headers` at `path`.
pub(super) fn custom(report: &mut Report<'_>, path: &KeyPath, lines: &[String]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (index, line) in lines.iter().enumerate() {
        let once = |name: &HeaderName| name == HOST || name == CONTENT_TYPE || name == AUTHORIZATION;
        match header(line) {
            Err(message) => {
                report.value(&path.item(index), message);
            }
            Ok((name, _)) if once(&name) && headers.contains_key(&name) => {
                report.value(&path.item(index), format!("`{name}` is given twice"));
            }
            Ok((name, value)) => {
                headers.append(name, value);
            }
        }
    }
    headers
}

/// `own` after `inherited`, of which those are left out that `own` has as well.
pub(super) fn joined(inherited: &HeaderMap, own: &HeaderMap) -> HeaderMap {
    let mut headers = inherited.clone();
    own.keys().for_each(|name| {
        headers.remove(name);
    });
    for (name, value) in own {
        headers.append(name, value.clone());
    }
    headers
}

/// The value of `Authorization` for `user:password`, which was given at `path`.
pub(super) fn basic(report: &mut Report<'_>, path: &KeyPath, pair: &str) -> Option<HeaderValue> {
    let complete = pair.split_once(':').is_some_and(|(user, password)| {
        !user.is_empty() && !password.is_empty() && !pair.chars().any(char::is_control)
    });
    let value = complete.then(|| HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(pair))).ok());
    let Some(Some(mut value)) = value else {
        report.value(path, "must be `user:password`, both not empty and without control characters");
        return None;
    };
    value.set_sensitive(true);
    Some(value)
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
