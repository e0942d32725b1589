//! Redaction of credentials. An API may repeat our credentials in its answer: they appear neither in
//! `query --trace`, nor in the log, nor in a reply to a mail client.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::header::{HeaderMap, HeaderValue};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Replaces what is redacted.
pub(crate) const REDACTED: &str = "…";

/// A shorter text occurs everywhere, and would be no secret.
const SHORTEST: usize = 6;

/// A URL never escapes these (RFC 3986 2.3).
pub(crate) const UNRESERVED: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Replaces secret texts.
#[derive(Debug, Clone, Default)]
pub(crate) struct Redactor(Vec<String>);

impl Redactor {
    /// Redacts the values of sensitive headers, also without their scheme; for `Basic` also the
    /// decoded pair and its password.
    pub(crate) fn of_headers(headers: &HeaderMap) -> Self {
        Self::of_values(headers.values())
    }

    /// As [`Self::of_headers`], for these values.
    pub(crate) fn of_values<'v>(values: impl IntoIterator<Item = &'v HeaderValue>) -> Self {
        let mut redactor = Self::default();
        for value in values.into_iter().filter(|value| value.is_sensitive()) {
            let Ok(value) = value.to_str() else { continue };
            redactor.add(value);
            let Some((scheme, rest)) = value.split_once(' ') else { continue };
            redactor.add(rest);
            let pair = scheme.eq_ignore_ascii_case("basic").then(|| STANDARD.decode(rest.trim()).ok());
            if let Some(pair) = pair.flatten().and_then(|pair| String::from_utf8(pair).ok()) {
                redactor.add_pair(&pair);
            }
        }
        redactor
    }

    /// Redacts `user:password`, the password alone, and the pair in Base64.
    pub(crate) fn add_pair(&mut self, pair: &str) {
        self.add(pair);
        self.add(&STANDARD.encode(pair));
        self.add(pair.split_once(':').map_or("", |(_, password)| password));
    }

    /// Redacts `text`, also if it is escaped as in JSON or in a URL.
    pub(crate) fn add(&mut self, text: &str) {
        if text.len() < SHORTEST {
            return;
        }
        let json = serde_json::to_string(text).unwrap_or_default();
        self.0.push(json.trim_matches('"').to_owned());
        for escaped in [NON_ALPHANUMERIC, &UNRESERVED] {
            let parts = utf8_percent_encode(text, escaped);
            self.0.push(parts.clone().map(small_digits).collect());
            self.0.push(parts.collect());
        }
        self.0.push(text.to_owned());
        // Longest first: to replace a part of a secret would leave the rest of it.
        self.0.sort_by_key(|text| std::cmp::Reverse(text.len()));
        self.0.dedup();
    }

    /// Also redacts what `other` redacts.
    pub(crate) fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
        self.0.sort_by_key(|text| std::cmp::Reverse(text.len()));
    }

    /// Whether `text` contains a secret.
    pub(crate) fn matches(&self, text: &str) -> bool {
        self.0.iter().any(|secret| text.contains(secret))
    }

    /// `text` without the secrets.
    pub(crate) fn redact<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let mut text = Cow::Borrowed(text);
        for secret in &self.0 {
            if text.contains(secret) {
                text = Cow::Owned(text.replace(secret, REDACTED));
            }
        }
        text
    }
}

/// `%2f` for `%2F`; other text is unchanged.
fn small_digits(part: &str) -> Cow<'_, str> {
    if part.starts_with('%') { Cow::Owned(part.to_lowercase()) } else { Cow::Borrowed(part) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    #[test]
    fn what_an_api_repeats_is_cut() {
        let mut headers = HeaderMap::new();
        for (name, text) in [("authorization", "Basic am9lOnMzY3JldCI="), ("x-key", "Key s3cret-2")] {
            let mut value = HeaderValue::from_static(text);
            value.set_sensitive(true);
            headers.append(name, value);
        }
        headers.insert("content-type", HeaderValue::from_static("application/json"));
        let redactor = Redactor::of_headers(&headers);
        for text in [
            "no am9lOnMzY3JldCI=!",
            "joe:s3cret\" is nobody",
            "s3cret\"",
            "{\"password\": \"s3cret\\\"\"}",
            "Key s3cret-2",
            "s3cret-2?",
            "joe%3As3cret%22 is nobody",
            "s3cret%22",
            "joe%3as3cret%22",
            "s3cret%2D2",
        ] {
            let cut = redactor.redact(text);
            assert!(redactor.matches(text) && !cut.contains("s3cret") && !cut.contains("am9l"), "{cut}");
        }
        assert_eq!(redactor.redact("application/json"), "application/json");
    }
}
