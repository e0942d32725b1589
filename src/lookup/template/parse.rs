//! The parser of templates: text to pieces, names to sources, places to escapings.

use super::filter::Filter;
use super::{Error, Escaping, Form, Insertion, Names, Piece, Source, Template};

/// Every attribute that Postfix 2.1 to 3.12 sends (SMTPD_POLICY_README).
pub(crate) const ATTRIBUTES: [&str; 32] = [
    "request",
    "protocol_state",
    "protocol_name",
    "client_address",
    "client_name",
    "client_port",
    "reverse_client_name",
    "server_address",
    "server_port",
    "helo_name",
    "sender",
    "recipient",
    "recipient_count",
    "queue_id",
    "instance",
    "size",
    "etrn_domain",
    "stress",
    "sasl_method",
    "sasl_username",
    "sasl_sender",
    "ccert_subject",
    "ccert_issuer",
    "ccert_fingerprint",
    "ccert_pubkey_fingerprint",
    "encryption_protocol",
    "encryption_cipher",
    "encryption_keysize",
    "policy_context",
    "tls_sni",
    "compatibility_level",
    "mail_version",
];

/// An insertion as it is written.
struct Written<'a> {
    offset: usize,
    name: &'a str,
    filters: Vec<&'a str>,
}

enum Part<'a> {
    Literal(&'a str),
    Written(Written<'a>),
}

pub(super) fn payload(text: &str, names: Names, is_form: bool) -> Result<Template, Error> {
    let parts = split(text)?;
    let begins_like_json = text.trim_start().starts_with(['{', '[']) && !text.trim_start().starts_with("{{");
    if is_form && !begins_like_json {
        return pieces(&parts, names, Form::Pairs);
    }
    let json = is_json(&parts, names);
    if let Err(error) = &json
        && begins_like_json
    {
        // The places are the sample's; what is meant is clear from the beginning alone.
        let message = format!("this begins like JSON, but is not JSON: {}", without_place(error));
        return Err(Error { offset: 0, message });
    }
    let form = match json {
        Ok(()) => Form::Json,
        Err(_) if is_pairs(&parts) => Form::Pairs,
        Err(_) => Form::Text,
    };
    pieces(&parts, names, form)
}

/// Whether the text is one line of `name=value`, with `&` between them.
fn is_pairs(parts: &[Part<'_>]) -> bool {
    let sample: String = parts
        .iter()
        .map(|part| match part {
            Part::Literal(literal) => *literal,
            Part::Written(_) => "x",
        })
        .collect();
    let is_name = |name: &str| {
        !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "_-.[]%+".contains(c))
    };
    let is_pair = |pair: &str| pair.split_once('=').is_some_and(|(name, _)| is_name(name));
    let sample = sample.trim();
    !sample.contains(['\r', '\n']) && sample.split('&').all(is_pair)
}

/// serde_json puts the place behind " at ".
fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.split(" at line").next().unwrap_or_default().to_owned()
}

pub(super) fn path(text: &str, names: Names) -> Result<Template, Error> {
    pieces(&split(text)?, names, Form::Path)
}

fn pieces(parts: &[Part<'_>], names: Names, form: Form) -> Result<Template, Error> {
    let mut lexer = Lexer::default();
    let mut pieces = Vec::with_capacity(parts.len());
    for part in parts {
        match part {
            Part::Literal("") => {}
            Part::Literal(literal) => {
                lexer.pass(literal);
                pieces.push(Piece::Literal((*literal).to_owned()));
            }
            Part::Written(written) => {
                pieces.push(Piece::Insertion(insertion(written, names, form, lexer.in_string)?));
            }
        }
    }
    Ok(Template { pieces, form })
}

/// Cuts the text at `{{` and `}}`, and trims at `{{-` and `-}}`.
fn split(text: &str) -> Result<Vec<Part<'_>>, Error> {
    let mut parts = Vec::new();
    let mut at = 0;
    let mut trim_next = false;
    loop {
        let open = text[at..].find("{{").map(|found| at + found);
        let mut literal = &text[at..open.unwrap_or(text.len())];
        if trim_next {
            literal = literal.trim_start();
        }
        let Some(open) = open else {
            parts.push(Part::Literal(literal));
            return Ok(parts);
        };
        let Some(length) = text[open..].find("}}") else {
            return Err(Error { offset: open, message: "`{{` without its `}}`".to_owned() });
        };
        let mut inner = &text[open + 2..open + length];
        if let Some(rest) = inner.strip_prefix("- ") {
            inner = rest;
            literal = literal.trim_end();
        }
        trim_next = inner.ends_with(" -");
        inner = inner.strip_suffix(" -").unwrap_or(inner);
        parts.push(Part::Literal(literal));
        parts.push(Part::Written(written(inner.trim(), open)?));
        at = open + length + 2;
    }
}

/// `.Name`, `filter .Name`, each with `| filter` behind it any number of times.
fn written(inner: &str, offset: usize) -> Result<Written<'_>, Error> {
    let mut in_quotes = false;
    let mut stages = inner
        .split(|c| {
            in_quotes ^= c == '"';
            c == '|' && !in_quotes
        })
        .map(str::trim);
    let first = stages.next().unwrap_or_default();
    let (filter, name) = match first.rsplit_once(char::is_whitespace) {
        Some((filter, name)) => (Some(filter.trim_end()), name),
        None => (None, first),
    };
    let Some(name) = name.strip_prefix('.').filter(|name| name.chars().all(char::is_alphanumeric)) else {
        let message = format!(
            "`{{{{ {inner} }}}}` is not understood: write `{{{{ .Key }}}}` or `{{{{ .Key | lower }}}}`"
        );
        return Err(Error { offset, message });
    };
    Ok(Written { offset, name, filters: filter.into_iter().chain(stages).collect() })
}

/// Whether the text is JSON once its insertions are filled.
fn is_json(parts: &[Part<'_>], names: Names) -> Result<(), serde_json::Error> {
    let mut lexer = Lexer::default();
    let mut sample = String::new();
    for part in parts {
        match part {
            Part::Literal(literal) => {
                lexer.pass(literal);
                sample.push_str(literal);
            }
            Part::Written(_) if lexer.in_string => sample.push('x'),
            // A string may stand for a value and for a member's name, an object for a value.
            Part::Written(w) if w.name == "Key" && names == Names::Policy => sample.push_str("{}"),
            Part::Written(_) => sample.push_str("\"\""),
        }
    }
    serde_json::from_str::<serde::de::IgnoredAny>(&sample).map(drop)
}

fn insertion(written: &Written<'_>, names: Names, form: Form, in_string: bool) -> Result<Insertion, Error> {
    let error = |message: String| Error { offset: written.offset, message };
    let source = source(written.name, names).map_err(error)?;
    let (names, raw) = match written.filters.split_last() {
        Some((&"raw", others)) => (others, true),
        _ => (written.filters.as_slice(), false),
    };
    if names.contains(&"raw") {
        return Err(error("`raw` must be the last filter".to_owned()));
    }
    let filters: Vec<_> =
        names.iter().map(|name| Filter::parse(name)).collect::<Result<_, _>>().map_err(error)?;
    if source == Source::Request && !filters.iter().all(Filter::takes_objects) {
        return Err(error("`.Key` of a policy is a JSON object: only json and urlencode apply".to_owned()));
    }
    let escaping = escaping(form, in_string, &filters, raw).map_err(|message| error(message.to_owned()))?;
    Ok(Insertion { source, filters, escaping })
}

/// `in_string`: whether it stands inside of a string of a JSON payload.
fn escaping(form: Form, in_string: bool, filters: &[Filter], raw: bool) -> Result<Escaping, &'static str> {
    let encoded = filters.iter().position(|filter| *filter == Filter::Urlencode);
    let is_json_of_url = encoded.is_some_and(|at| filters.iter().skip(at).any(|f| *f == Filter::Json));
    match (form, filters.last(), raw) {
        (Form::Json, _, true) => Err("`raw` could break the JSON of this payload; leave it out"),
        (Form::Json, ..) if is_json_of_url => {
            Err("the API would read `%40` for `@`, for JSON does not undo `urlencode`; leave `urlencode` out")
        }
        (Form::Json, ..) if in_string => Ok(Escaping::JsonText),
        (Form::Json, Some(Filter::Json), _) => Ok(Escaping::Done),
        (Form::Json, ..) => Ok(Escaping::JsonValue),
        (_, _, true) => Ok(Escaping::Raw),
        (Form::Pairs, Some(Filter::Json), _) => {
            Err("`json` does not escape for a form: a `&` would begin another pair; end in `urlencode`")
        }
        (Form::Path, Some(Filter::Json), _) => Err("`json` does not escape for a URL; end in `urlencode`"),
        (_, Some(Filter::Json | Filter::Urlencode), _) => Ok(Escaping::Done),
        (Form::Pairs | Form::Path, ..) => {
            Err("this is not JSON, so each insertion must name its escaping: urlencode or raw")
        }
        (Form::Text, ..) => {
            Err("this is not JSON, so each insertion must name its escaping: urlencode, json or raw")
        }
    }
}

fn source(name: &str, names: Names) -> Result<Source, String> {
    match (name, names) {
        ("Name", _) => Ok(Source::Name),
        ("Key", Names::Map) => Ok(Source::Key),
        ("Key", Names::Policy) => Ok(Source::Request),
        (_, Names::Map) => Err(format!("a map has no `.{name}`: there are `.Key` and `.Name`")),
        (_, Names::Policy) => ATTRIBUTES
            .into_iter()
            .find(|attribute| capitalised(attribute) == name)
            .map(Source::Attribute)
            .ok_or_else(|| {
                format!("no Postfix sends an attribute for `.{name}`; `client_address` is `.ClientAddress`")
            }),
    }
}

/// `client_address` is `ClientAddress`.
fn capitalised(attribute: &str) -> String {
    let mut name = String::with_capacity(attribute.len());
    for word in attribute.split('_') {
        let (first, rest) = word.split_at(1);
        name.push_str(&first.to_ascii_uppercase());
        name.push_str(rest);
    }
    name
}

/// As much of JSON as it takes to tell strings from what is around them, and names from values.
#[derive(Default)]
pub(super) struct Lexer {
    /// The brackets that are open.
    open: Vec<char>,
    /// Whether the next string is the name of a member.
    is_name: bool,
    in_string: bool,
    escaped: bool,
}

impl Lexer {
    fn pass(&mut self, literal: &str) {
        for c in literal.chars() {
            self.is_structure(c);
        }
    }

    /// Passes `c`, and tells whether it is punctuation, a blank, or part of a name.
    pub(super) fn is_structure(&mut self, c: char) -> bool {
        if self.in_string {
            match c {
                _ if self.escaped => self.escaped = false,
                '\\' => self.escaped = true,
                '"' => {
                    self.in_string = false;
                    return true;
                }
                _ => {}
            }
            return self.is_name;
        }
        match c {
            '"' => self.in_string = true,
            '{' | '[' => {
                self.open.push(c);
                self.is_name = c == '{';
            }
            '}' | ']' => _ = self.open.pop(),
            ':' => self.is_name = false,
            ',' => self.is_name = self.open.last() == Some(&'{'),
            _ => return c.is_whitespace(),
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        for (text, names, offset, message) in [
            ("{\"a\": \"{{ .Key }\"}", Names::Map, 7, "without its"),
            ("{\"a\": {{ Key }}}", Names::Map, 6, "not understood"),
            ("{\"a\": {{ if .Key }}}", Names::Map, 6, "not a filter"),
            ("{\"a\": {{ .Sender }}}", Names::Map, 6, "`.Key` and `.Name`"),
            ("{\"a\": {{ .Foo }}}", Names::Policy, 6, "no Postfix sends"),
            ("{\"a\": {{ .Key | upper }}}", Names::Map, 6, "not a filter"),
            ("{\"a\": {{ raw .Key }}}", Names::Map, 6, "break the JSON"),
            ("{\"a\": \"{{ .Key }}\"", Names::Map, 0, "begins like JSON"),
            ("a={{ .Key }}", Names::Map, 2, "must name its escaping"),
            ("a={{ .Key | lower }}", Names::Map, 2, "must name its escaping"),
            ("a={{ .Key | raw | lower }}", Names::Map, 2, "last filter"),
            ("{{ lower .Key }}", Names::Policy, 0, "JSON object"),
            ("\\{\"{{ .Key }}\"", Names::Map, 3, "must name its escaping"),
            ("a={{ .Key | json }}", Names::Map, 2, "does not escape for a form"),
            ("a=1&b[c]=x{{ .Key | lower | json }}y", Names::Map, 10, "does not escape for a form"),
            ("key={{ json .Key }}", Names::Policy, 4, "does not escape for a form"),
            ("{{ .Name | urlencode }}={{ .Key | json }}\n", Names::Map, 24, "does not escape for a form"),
            ("{\"a\": \"{{ .Key | urlencode | json }}\"}", Names::Map, 7, "does not undo"),
            ("{\"a\": {{ .Key | urlencode | lower | json }}}", Names::Map, 6, "does not undo"),
            ("a={{ .Key | default(x) | urlencode }}", Names::Map, 2, "written default("),
            ("a={{ .Key | default(\"\") | urlencode }}", Names::Map, 2, "written default("),
            ("a={{ .Key | defaults(\"x\") | urlencode }}", Names::Map, 2, "written default("),
            ("{{ .Key | strip_extension }}", Names::Policy, 0, "JSON object"),
        ] {
            let error = payload(text, names, false).expect_err(text);
            assert_eq!(error.offset, offset, "{text}: {error:?}");
            assert!(error.message.contains(message), "{text}: {error:?}");
        }
    }

    #[test]
    fn a_form_is_told_from_other_texts() {
        for text in ["a={{ .Key | json | urlencode }}", "a={{ .Key | urlencode }}&b={{ .Key | raw }}"] {
            assert_eq!(payload(text, Names::Map, false).expect(text).form, Form::Pairs, "{text}");
        }
        for text in [
            "{{ .Key | json }}\n{{ .Key | json }}",
            "k: {{ .Key | json }}",
            "set a={{ .Key | json }}",
            "a={{ .Key | json }}\nb=1",
            "<a>b={{ .Key | json }}</a>",
        ] {
            assert_eq!(payload(text, Names::Map, false).expect(text).form, Form::Text, "{text}");
            assert!(payload(text, Names::Map, true).is_err(), "{text}");
        }
        // In a form, what would be JSON otherwise is the text that it looks like.
        let text = "{{ .Key | urlencode }}";
        assert_eq!(payload(text, Names::Map, false).expect(text).form, Form::Json);
        assert_eq!(payload(text, Names::Map, true).expect(text).form, Form::Pairs);
        let json = "{\"a\": {{ .Key }}}";
        assert_eq!(payload(json, Names::Map, true).expect(json).form, Form::Json);
        let error = path("/{{ .Key | json }}", Names::Map).expect_err("never fit for a URL");
        assert!(error.message.contains("for a URL"), "{error:?}");
    }

    #[test]
    fn every_attribute_has_a_name() {
        for attribute in ATTRIBUTES {
            let text = format!("{{{{ .{} }}}}", capitalised(attribute));
            assert!(payload(&text, Names::Policy, false).is_ok(), "{text}");
        }
        assert_eq!(capitalised("ccert_pubkey_fingerprint"), "CcertPubkeyFingerprint");
    }
}
