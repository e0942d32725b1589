//! What we show an API to prove who we are: an API that repeats it does not have us repeat it, in
//! a trace, in the log or to a mail client.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::header::{HeaderMap, HeaderValue};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What stands for something that is not shown.
pub(crate) const CUT: &str = "…";

/// What is shorter is found everywhere, and would be no secret either.
const SHORTEST: usize = 6;

/// What a URL never escapes (RFC 3986 2.3).
const UNRESERVED: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Texts that are not to be shown.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hidden(Vec<String>);

impl Hidden {
    /// The values of headers that are marked as sensitive, and what stands behind their scheme;
    /// of `Basic` also the pair and its password.
    pub(crate) fn of_headers(headers: &HeaderMap) -> Self {
        Self::of_values(headers.values())
    }

    /// The same of some values.
    pub(crate) fn of_values<'v>(values: impl IntoIterator<Item = &'v HeaderValue>) -> Self {
        let mut hidden = Self::default();
        for value in values.into_iter().filter(|value| value.is_sensitive()) {
            let Ok(value) = value.to_str() else { continue };
            hidden.add(value);
            let Some((scheme, rest)) = value.split_once(' ') else { continue };
            hidden.add(rest);
            let pair = scheme.eq_ignore_ascii_case("basic").then(|| STANDARD.decode(rest.trim()).ok());
            if let Some(pair) = pair.flatten().and_then(|pair| String::from_utf8(pair).ok()) {
                hidden.add_pair(&pair);
            }
        }
        hidden
    }

    /// Hides `user:password`, its password, and what Basic makes of it.
    pub(crate) fn add_pair(&mut self, pair: &str) {
        self.add(pair);
        self.add(&STANDARD.encode(pair));
        self.add(pair.split_once(':').map_or("", |(_, password)| password));
    }

    /// Hides `text`, too, also as JSON and a URL write it.
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
        // A part of a text that is gone would leave its rest.
        self.0.sort_by_key(|text| std::cmp::Reverse(text.len()));
        self.0.dedup();
    }

    /// Hides what `other` hides, too.
    pub(crate) fn join(&mut self, other: Self) {
        self.0.extend(other.0);
        self.0.sort_by_key(|text| std::cmp::Reverse(text.len()));
    }

    /// Whether `text` holds any of it.
    pub(crate) fn is_in(&self, text: &str) -> bool {
        self.0.iter().any(|hidden| text.contains(hidden))
    }

    /// `text` without any of it.
    pub(crate) fn cut_from<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let mut text = Cow::Borrowed(text);
        for hidden in &self.0 {
            if text.contains(hidden) {
                text = Cow::Owned(text.replace(hidden, CUT));
            }
        }
        text
    }
}

/// `%2f` for `%2F`; what is not escaped stays as it is.
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
        let hidden = Hidden::of_headers(&headers);
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
            let cut = hidden.cut_from(text);
            assert!(hidden.is_in(text) && !cut.contains("s3cret") && !cut.contains("am9l"), "{cut}");
        }
        assert_eq!(hidden.cut_from("application/json"), "application/json");
    }
}
