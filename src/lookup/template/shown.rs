//! A request as a note shows it: its structure and what was inserted, without the values that the
//! template itself holds. An API's key may be one of them.
//!
//! Of JSON the names and the punctuation are kept, of anything else the names before a `=`, of a
//! target the path.

use url::form_urlencoded;

use super::{Form, Input, Piece, Template, Unsendable};
use crate::observe::redact::{REDACTED, Redactor};

/// What of a request may be shown, and what was left out of it.
#[derive(Default)]
pub(crate) struct Shown {
    pub(crate) text: String,
    pub(crate) redactor: Redactor,
    /// What is being left out.
    cut: String,
}

impl Template {
    /// What [`Template::render`] appends, for people.
    pub(crate) fn shown(&self, input: Input<'_>) -> Result<Shown, Unsendable> {
        let mut reader = Reader::new(self.form);
        for piece in &self.pieces {
            match piece {
                Piece::Literal(text) => reader.literal(text),
                Piece::Insertion(insertion) => {
                    let mut bytes = Vec::new();
                    insertion.render(input, &mut bytes)?;
                    reader.inserted(&String::from_utf8_lossy(&bytes));
                }
            }
        }
        Ok(reader.end())
    }
}

/// Path and query of a target without insertions.
pub(crate) fn path(text: &str) -> Shown {
    let mut reader = Reader::new(Form::Path);
    reader.literal(text);
    reader.end()
}

/// Where in a text that is no JSON the reader is.
enum Place {
    Path,
    /// Perhaps a name, so far this.
    Name(String),
    Value,
}

enum Reader {
    Json { shown: Shown, json: Json },
    Pairs { shown: Shown, place: Place },
}

/// As much of JSON as it takes to tell names from values.
#[derive(Default)]
struct Json {
    /// The brackets that are open.
    open: Vec<char>,
    is_value: bool,
    in_string: bool,
    escaped: bool,
}

impl Reader {
    fn new(form: Form) -> Self {
        let shown = Shown::default();
        match form {
            Form::Json => Self::Json { shown, json: Json { is_value: true, ..Json::default() } },
            Form::Path => Self::Pairs { shown, place: Place::Path },
            Form::Pairs | Form::Text => Self::Pairs { shown, place: Place::Name(String::new()) },
        }
    }

    fn literal(&mut self, text: &str) {
        for c in text.chars() {
            match self {
                Self::Json { shown, json } => {
                    if json.shows(c) {
                        shown.keep(c);
                    } else {
                        shown.cut.push(c);
                    }
                }
                Self::Pairs { shown, place } => place.pass(c, shown),
            }
        }
    }

    fn inserted(&mut self, text: &str) {
        let shown = match self {
            Self::Json { shown, .. } => shown,
            Self::Pairs { shown, place } => {
                place.leave(shown);
                shown
            }
        };
        shown.leave_out();
        shown.text.push_str(text);
    }

    fn end(self) -> Shown {
        let mut shown = match self {
            Self::Json { shown, .. } => shown,
            Self::Pairs { mut shown, mut place } => {
                place.leave(&mut shown);
                shown
            }
        };
        shown.leave_out();
        shown
    }
}

impl Shown {
    fn keep(&mut self, c: char) {
        self.leave_out();
        self.text.push(c);
    }

    fn leave_out(&mut self) {
        if self.cut.is_empty() {
            return;
        }
        self.text.push_str(REDACTED);
        let cut = std::mem::take(&mut self.cut);
        self.redactor.add(&cut);
        // An API repeats it as it was meant.
        let meant: Vec<_> = form_urlencoded::parse(cut.as_bytes()).collect();
        if let [(name, value)] = &meant[..] {
            self.redactor.add(name);
            self.redactor.add(value);
        }
    }
}

impl Place {
    fn pass(&mut self, c: char, shown: &mut Shown) {
        match (&mut *self, c) {
            (Self::Path, '?') | (Self::Value, '&') => {
                shown.keep(c);
                *self = Self::Name(String::new());
            }
            (Self::Path, _) => shown.keep(c),
            (Self::Value, _) => shown.cut.push(c),
            (Self::Name(name), '=') => {
                name.push(c);
                name.chars().for_each(|c| shown.keep(c));
                *self = Self::Value;
            }
            (Self::Name(name), _) if c.is_alphanumeric() || "_-.[]".contains(c) => name.push(c),
            (Self::Name(_), _) => {
                self.leave(shown);
                self.pass(c, shown);
            }
        }
    }

    /// What looked like a name is none.
    fn leave(&mut self, shown: &mut Shown) {
        if let Self::Name(name) = self {
            shown.cut.push_str(name);
            *self = Self::Value;
        }
    }
}

impl Json {
    /// Whether the next character is structure, or part of a name.
    fn shows(&mut self, c: char) -> bool {
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
            return !self.is_value;
        }
        match c {
            '"' => self.in_string = true,
            '{' | '[' => {
                self.open.push(c);
                self.is_value = c == '[';
            }
            '}' | ']' => {
                self.open.pop();
            }
            ':' => self.is_value = true,
            ',' => self.is_value = self.open.last() != Some(&'{'),
            _ => return c.is_whitespace(),
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::super::{LookupInput, Names};
    use super::*;

    fn shown(template: &Template) -> String {
        let input = Input { name: "n", lookup: LookupInput::Key("bob"), delimiters: "" };
        template.shown(input).unwrap_or_else(|why| panic!("{why:?}")).text
    }

    #[test]
    fn values_of_the_template_are_left_out() {
        for (text, due) in [
            (r#"{"key": "{{ .Key }}", "api": "s3cret"}"#, r#"{"key": "bob", "api": "…"}"#),
            (
                r#"{"a": ["s3cret", {"b": 5, "c": null}], "d": {{ .Key }}}"#,
                r#"{"a": ["…", {"b": …, "c": …}], "d": "bob"}"#,
            ),
            (r#"{"a": "s3cret\"{{ .Key }}-s3cret", "b\"": true}"#, r#"{"a": "…bob…", "b\"": …}"#),
            (r#""s3cret""#, r#""…""#),
            ("token=s3cret&key={{ .Key | raw }}", "token=…&key=bob"),
            ("s3cret&a&key={{ .Key | raw }}s3cret", "…&…&key=bob…"),
            ("<t>s3cret</t>{{ .Key | raw }}", "…bob"),
            ("s3cret", "…"),
        ] {
            let template =
                Template::parse(text, Names::Map).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(shown(&template), due, "{text}");
        }
    }

    #[test]
    fn a_target_is_shown_up_to_its_query() {
        let text = "/v1/{{ .Key | urlencode }}/x?key=s3cret&s3cret&u={{ .Key | urlencode }}&b=s3cret=";
        let template = Template::parse_path(text, Names::Map).expect("a path");
        assert_eq!(shown(&template), "/v1/bob/x?key=…&…&u=bob&b=…");
        assert_eq!(path("/v1/x").text, "/v1/x");
        let Shown { text, redactor, .. } = path("/v1/x?api_key=a%2Fs3cret%3D");
        assert_eq!(text, "/v1/x?api_key=…");
        assert_eq!(redactor.redact("no a/s3cret= and no a%2Fs3cret%3D"), "no … and no …");
    }
}
