//! Filters, which change a text before it is inserted.

use std::borrow::Cow;

use percent_encoding::utf8_percent_encode;

use super::{Source, extension};
use crate::lookup::json;
use crate::model::domain;
use crate::observe::redact::UNRESERVED;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Filter {
    Lower,
    Localpart,
    Domain,
    AsciiDomain,
    UnicodeDomain,
    StripExtension,
    /// Replaces an empty text.
    Default(String),
    Urlencode,
    Json,
}

impl Filter {
    /// Reads a filter; `raw` is not one, for it changes nothing.
    pub(super) fn parse(written: &str) -> Result<Self, String> {
        Ok(match written {
            "lower" => Self::Lower,
            "localpart" => Self::Localpart,
            "domain" => Self::Domain,
            "ascii_domain" => Self::AsciiDomain,
            "unicode_domain" => Self::UnicodeDomain,
            "strip_extension" => Self::StripExtension,
            "urlencode" => Self::Urlencode,
            "json" => Self::Json,
            _ if written.starts_with("default") => Self::Default(default_text(written)?),
            _ => {
                return Err(format!(
                    "`{written}` is not a filter: there are lower, localpart, domain, ascii_domain, unicode_domain, strip_extension, default(\"…\"), urlencode, json and raw"
                ));
            }
        })
    }

    /// Whether it applies to a policy request as a whole, which is a JSON object.
    pub(super) fn takes_objects(&self) -> bool {
        matches!(self, Self::Json | Self::Urlencode)
    }

    /// Changes `text`, which came from `source`; `delimiters` is `recipient_delimiter`.
    pub(super) fn apply<'t>(&'t self, text: Cow<'t, str>, source: Source, delimiters: &str) -> Cow<'t, str> {
        match self {
            Self::Lower => Cow::Owned(text.to_lowercase()),
            // The last `@`: a quoted localpart may hold others (RFC 5321 4.1.2).
            Self::Localpart => match text.rfind('@') {
                Some(at) => Cow::Owned(text[..at].to_owned()),
                None => text,
            },
            Self::Domain => match text.rfind('@') {
                Some(at) => Cow::Owned(text[at + 1..].to_owned()),
                None => Cow::Borrowed(""),
            },
            Self::AsciiDomain => domain::with_ascii(text),
            Self::UnicodeDomain => domain::with_unicode(text),
            Self::StripExtension => extension::stripped(text, delimiters),
            Self::Default(instead) if text.is_empty() => Cow::Borrowed(instead),
            Self::Default(_) => text,
            Self::Urlencode => Cow::Owned(utf8_percent_encode(&text, &UNRESERVED).collect()),
            // It is JSON already.
            Self::Json if source == Source::Request => text,
            Self::Json => {
                let mut quoted = Vec::with_capacity(text.len() + 2);
                json::string(&text, &mut quoted);
                Cow::Owned(String::from_utf8_lossy(&quoted).into_owned())
            }
        }
    }
}

/// The text of `default("…")`.
fn default_text(written: &str) -> Result<String, String> {
    let text = written.strip_prefix("default").and_then(|rest| {
        let inner = rest.trim().strip_prefix('(')?.strip_suffix(')')?;
        inner.trim().strip_prefix('"')?.strip_suffix('"')
    });
    match text {
        Some(text) if !text.is_empty() && !text.chars().any(|c| c == '"' || c.is_control()) => {
            Ok(text.to_owned())
        }
        _ => {
            Err("what stands for an empty text is written default(\"text\"), without quotes in it".to_owned())
        }
    }
}
