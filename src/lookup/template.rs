//! Payload templates: literal text with insertions, `{"key": "{{ .Key }}"}`.
//!
//! The syntax is the part of Go's text/template that payloads use: `{{ .Name }}`, one function
//! before it (`{{ json .Key }}`) or several behind it (`{{ .Key | lower | urlencode }}`), and
//! `{{-`/`-}}`, which trim. `parse` reads all of it at load, and notes for each insertion whether it stands
//! inside of a JSON string. So no input can change the structure of a request:
//!
//! | payload | insertion | is sent as |
//! |---|---|---|
//! | JSON | inside of a string | JSON-escaped text |
//! | JSON | elsewhere | a JSON value: a string, or the object that a policy's `.Key` is |
//! | a form | must end in `urlencode` or `raw` | what that says |
//! | anything else | must end in `json`, `urlencode` or `raw` | what that says |
//!
//! A payload that is not JSON is a form where the entry's `Content-Type` says so, and where it is
//! one line of `name=value` with `&` between them. Path and query of a target are like a form.

mod extension;
mod filter;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod parse;
pub(crate) mod path;
pub(crate) mod shown;

use std::borrow::Cow;

use super::json;
use crate::model::Attributes;
use filter::Filter;

pub(crate) use parse::ATTRIBUTES;

/// A payload, parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    pieces: Vec<Piece>,
    form: Form,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Json,
    /// Path and query of a target.
    Path,
    /// A payload of `name=value` pairs.
    Pairs,
    /// A payload of any other kind.
    Text,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Literal(String),
    Insertion(Insertion),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Insertion {
    source: Source,
    filters: Vec<Filter>,
    escaping: Escaping,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Key,
    /// A policy request as a JSON object.
    Request,
    Name,
    /// One attribute of a policy request; empty if Postfix did not send it.
    Attribute(&'static str),
}

/// How the text of an insertion is escaped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Escaping {
    JsonText,
    JsonValue,
    /// By its last filter.
    Done,
    /// Not at all; a text with a control character is refused.
    Raw,
}

/// Which names a template may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Names {
    /// `.Key` is a map's key.
    Map,
    /// `.Key` is the policy request as a JSON object; each attribute has a name of its own.
    Policy,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Input<'a> {
    pub(crate) name: &'a str,
    pub(crate) lookup: LookupInput<'a>,
    /// `recipient_delimiter`; empty: addresses have no extensions.
    pub(crate) delimiters: &'a str,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum LookupInput<'a> {
    Key(&'a str),
    Request(&'a Attributes),
}

impl LookupInput<'_> {
    /// A key, or the addresses of a policy request, for the log.
    pub(crate) fn shown(&self) -> String {
        match self {
            Self::Key(key) => (*key).to_owned(),
            Self::Request(_) => {
                let known = ["client_address", "sender", "recipient"].map(|name| {
                    let value = self.attribute(name);
                    format!("{name}={}", value.as_deref().unwrap_or_default())
                });
                known.join(" ")
            }
        }
    }

    /// An attribute of a policy request, unless it is empty.
    pub(crate) fn attribute(&self, name: &str) -> Option<String> {
        let Self::Request(attributes) = self else { return None };
        let found = attributes.get(name).filter(|value| !value.is_empty());
        found.map(|value| String::from_utf8_lossy(value).into_owned())
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Error {
    /// Byte offset in the text.
    pub(crate) offset: usize,
    /// Without the place.
    pub(crate) message: String,
}

/// Why a request cannot be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unsendable {
    /// A text that is sent `raw` has a control character, or a character that a URL must not have.
    Illegal,
    /// The path would have a segment `.`, `..` or an empty one, and lead to another resource.
    Elsewhere,
}

impl Template {
    pub(crate) fn parse(text: &str, names: Names) -> Result<Self, Error> {
        parse::payload(text, names, false)
    }

    /// The same if the entry's `Content-Type` is that of a form.
    pub(crate) fn parse_form(text: &str, names: Names) -> Result<Self, Error> {
        parse::payload(text, names, true)
    }

    /// Parses the path and query of a target, from its `/` on. Each insertion names its escaping.
    pub(crate) fn parse_path(text: &str, names: Names) -> Result<Self, Error> {
        parse::path(text, names)
    }

    /// Whether it holds something of what Postfix asks: the key, the request or an attribute.
    pub(crate) fn holds_lookup(&self) -> bool {
        self.pieces.iter().any(|piece| match piece {
            Piece::Literal(_) => false,
            Piece::Insertion(insertion) => insertion.source != Source::Name,
        })
    }

    /// Whether an insertion is sent without its address extension, which takes `recipient_delimiter`.
    pub(crate) fn strips_extensions(&self) -> bool {
        self.pieces.iter().any(|piece| match piece {
            Piece::Literal(_) => false,
            Piece::Insertion(insertion) => insertion.filters.contains(&Filter::StripExtension),
        })
    }

    /// Appends the payload for one request. If it fails, what was appended by then is useless.
    pub(crate) fn render(&self, input: Input<'_>, out: &mut Vec<u8>) -> Result<(), Unsendable> {
        for piece in &self.pieces {
            match piece {
                Piece::Literal(text) => out.extend_from_slice(text.as_bytes()),
                Piece::Insertion(insertion) => insertion.render(input, out)?,
            }
        }
        Ok(())
    }
}

impl Insertion {
    fn render(&self, input: Input<'_>, out: &mut Vec<u8>) -> Result<(), Unsendable> {
        // The request as a whole is written at once, without a text in between.
        if let (
            Source::Request,
            [] | [Filter::Json],
            Escaping::JsonValue | Escaping::Done,
            LookupInput::Request(a),
        ) = (self.source, self.filters.as_slice(), self.escaping, input.lookup)
        {
            json_object(a, out);
            return Ok(());
        }
        let mut text = self.source.text(input);
        for filter in &self.filters {
            text = filter.apply(text, self.source, input.delimiters);
        }
        match self.escaping {
            Escaping::JsonText => json::escaped(&text, out),
            Escaping::JsonValue => json::string(&text, out),
            Escaping::Done => out.extend_from_slice(text.as_bytes()),
            Escaping::Raw if text.chars().any(char::is_control) => return Err(Unsendable::Illegal),
            Escaping::Raw => out.extend_from_slice(text.as_bytes()),
        }
        Ok(())
    }
}

impl Source {
    fn text<'a>(self, input: Input<'a>) -> Cow<'a, str> {
        match (self, input.lookup) {
            (Self::Name, _) => Cow::Borrowed(input.name),
            (Self::Attribute(name), LookupInput::Request(attributes)) => {
                attributes.get(name).map_or(Cow::Borrowed(""), String::from_utf8_lossy)
            }
            (_, LookupInput::Key(key)) => Cow::Borrowed(key),
            (_, LookupInput::Request(attributes)) => {
                let mut object = Vec::with_capacity(1024);
                json_object(attributes, &mut object);
                Cow::Owned(String::from_utf8_lossy(&object).into_owned())
            }
        }
    }
}

/// A policy request as a JSON object: all values are strings, in the order in which Postfix sent them. Bytes
/// that are not UTF-8 become U+FFFD.
fn json_object(attributes: &Attributes, out: &mut Vec<u8>) {
    // One test of the whole request is quicker than one of each name and value.
    let is_plain = attributes.consist_of(json::is_plain_ascii);
    let text = match is_plain {
        true => attributes.text_len(),
        false => attributes.iter().map(|(name, value)| json::length(name) + json::length(value)).sum(),
    };
    // As many bytes as `"":"",` has, for each; `=` and LF are counted already if Postfix has sent it.
    out.reserve(text + 6 * attributes.len() + json::ROOM);
    match is_plain {
        true => members(attributes, out, |text, out| out.extend_from_slice(text)),
        false => members(attributes, out, json::escaped_lossy),
    }
}

/// The object. `string` appends what stands between the quotes of a name or a value.
fn members(attributes: &Attributes, out: &mut Vec<u8>, string: impl Fn(&[u8], &mut Vec<u8>)) {
    out.extend_from_slice(b"{\"");
    for (name, value) in attributes.iter() {
        string(name, out);
        out.extend_from_slice(b"\":\"");
        string(value, out);
        out.extend_from_slice(b"\",\"");
    }
    // Without the beginning of a further member.
    out.truncate(out.len() - if attributes.is_empty() { 1 } else { 2 });
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn map(text: &str, key: &str) -> String {
        let template = Template::parse(text, Names::Map).unwrap_or_else(|e| panic!("{text}: {e:?}"));
        let mut out = Vec::new();
        template
            .render(Input { name: "entry", lookup: LookupInput::Key(key), delimiters: "+" }, &mut out)
            .expect("sendable");
        String::from_utf8(out).expect("UTF-8")
    }

    fn policy(text: &str, attributes: &[(&str, &str)]) -> String {
        let attributes = attributes.iter().copied().collect();
        let template = Template::parse(text, Names::Policy).unwrap_or_else(|e| panic!("{text}: {e:?}"));
        let mut out = Vec::new();
        template
            .render(
                Input { name: "entry", lookup: LookupInput::Request(&attributes), delimiters: "" },
                &mut out,
            )
            .expect("sendable");
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn escaping_follows_the_place() {
        let key = "a\"b\\c\n\u{1}\u{e9}";
        assert_eq!(map(r#"{"key": "{{ .Key }}"}"#, key), "{\"key\": \"a\\\"b\\\\c\\n\\u0001\u{e9}\"}");
        assert_eq!(map(r#"{"key": {{.Key}}}"#, "x\"y"), r#"{"key": "x\"y"}"#);
        assert_eq!(map(r#"{"key": {{ json .Key }}}"#, "x\"y"), r#"{"key": "x\"y"}"#);
        assert_eq!(map(r#"{"key": "<{{ json .Key }}>"}"#, "x"), r#"{"key": "<\"x\">"}"#);
        assert_eq!(map(r#"{ {{ .Key }}: "{{ .Name }}\" {{ .Key }}"}"#, "k"), r#"{ "k": "entry\" k"}"#);
        assert_eq!(map("key={{ urlencode .Key }}&x=1", "a b&c=\u{e9}"), "key=a%20b%26c%3D%C3%A9&x=1");
        assert_eq!(map("k: {{ .Key | raw }}", "a b"), "k: a b");
    }

    #[test]
    fn filters() {
        let key = "\"a@b\"+X@Example.COM";
        assert_eq!(map(r#""{{ .Key | domain | lower }}""#, key), r#""example.com""#);
        assert_eq!(map(r#"{{ localpart .Key }}"#, "u@d"), r#""u""#);
        assert_eq!(map("\"  {{- .Key -}}  \"", "u"), r#""u""#);
        assert_eq!(map(r#"{{ domain .Key }}"#, "none"), r#""""#);
        assert_eq!(map(r#""{{ .Key | strip_extension }}""#, "bob+tag@d"), r#""bob@d""#);
        assert_eq!(map(r#""{{ .Key | localpart | strip_extension }}""#, "bob+tag@d"), r#""bob""#);
        assert_eq!(
            map(r#""{{ ascii_domain .Key }}""#, "b@b\u{fc}cher.example"),
            r#""b@xn--bcher-kva.example""#
        );
        assert_eq!(
            map(r#"{{ .Key | domain | unicode_domain }}"#, "b@xn--bcher-kva.example"),
            "\"b\u{fc}cher.example\""
        );
        assert_eq!(map(r#""{{ .Key | domain | default("a|b c") }}""#, "none"), r#""a|b c""#);
        assert_eq!(map(r#""{{ default ( "<>" ) .Key }}""#, ""), r#""<>""#);
        assert_eq!(map(r#""{{ .Key | default("<>") }}""#, "x"), r#""x""#);
    }

    #[test]
    fn a_policy_request() {
        let attributes =
            [("request", "smtpd_access_policy"), ("client_address", "192.0.2.7"), ("sender", "a\"b")];
        let object = r#"{"request":"smtpd_access_policy","client_address":"192.0.2.7","sender":"a\"b"}"#;
        assert_eq!(policy("{{ .Key }}", &attributes), object);
        assert_eq!(policy("{{ .Key | json }}\n", &attributes), format!("{object}\n"));
        assert_eq!(
            policy(r#"{"ip": "{{ .ClientAddress }}", "helo": {{ .HeloName }}}"#, &attributes),
            r#"{"ip": "192.0.2.7", "helo": ""}"#
        );
        let nested = policy(r#"{"text": "{{ .Key }}"}"#, &attributes);
        let value: serde_json::Value = serde_json::from_str(&nested).expect("JSON");
        assert_eq!(value["text"], object);
    }

    #[test]
    fn raw_sends_no_control_character() {
        let template = Template::parse("k={{ raw .Key }}", Names::Map).expect("a template");
        let render = |key| {
            template
                .render(Input { name: "n", lookup: LookupInput::Key(key), delimiters: "+" }, &mut Vec::new())
        };
        assert_eq!(render("a b"), Ok(()));
        assert_eq!(render("a\r\nb"), Err(Unsendable::Illegal));
    }

    proptest! {
        /// No key changes the structure: whatever it is, the API reads it as one string.
        #[test]
        fn a_key_is_one_json_string(key: String) {
            let text = map(r#"{"a": "{{ .Key }}", "b": {{ .Key }}, "c": "x{{ .Key }}y"}"#, &key);
            let value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
            prop_assert_eq!(value["a"].as_str(), Some(key.as_str()));
            prop_assert_eq!(value["b"].as_str(), Some(key.as_str()));
            let wrapped = format!("x{key}y");
            prop_assert_eq!(value["c"].as_str(), Some(wrapped.as_str()));
            prop_assert_eq!(value.as_object().map(serde_json::Map::len), Some(3));
        }

        #[test]
        fn any_attribute_bytes_are_one_json_object(values in proptest::collection::vec(any::<Vec<u8>>(), 0..5)) {
            let attributes = values.iter().enumerate().map(|(i, value)| (format!("n\"{i}"), value)).collect();
            let mut out = Vec::new();
            json_object(&attributes, &mut out);
            let value: serde_json::Value = serde_json::from_slice(&out).expect("JSON");
            prop_assert_eq!(value.as_object().map(serde_json::Map::len), Some(values.len()));
        }

        #[test]
        fn a_request_is_written_as_serde_json_does(
            pairs in proptest::collection::vec(("[a-z_]{0,9}|[ -~]{0,9}|.{0,9}", "[a-z_=]{0,40}|[ -~]{0,40}|.{0,40}"), 0..9),
        ) {
            let mut out = Vec::new();
            json_object(&pairs.iter().map(|(name, value)| (name, value)).collect(), &mut out);
            let string = |text| serde_json::to_string(text).expect("a string");
            let due: Vec<_> =
                pairs.iter().map(|(name, value)| format!("{}:{}", string(name), string(value))).collect();
            prop_assert_eq!(String::from_utf8(out).expect("UTF-8"), format!("{{{}}}", due.join(",")));
        }

        #[test]
        fn any_text_is_judged_without_panic(text in ".*\\{\\{.{0,20}\\}\\}.*") {
            let _ = Template::parse(&text, Names::Map);
        }
    }
}
