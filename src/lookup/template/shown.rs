//! A request as `query --trace` shows it: its structure and the insertions, without the values of the template
//! itself, which may be secrets. Shown are the names and the punctuation of JSON, the names before a `=` of
//! other texts, and the path of a target.

use url::form_urlencoded;

use super::parse::Lexer;
use super::{Form, Input, Piece, Template, Unsendable};
use crate::observe::redact::{REDACTED, Redactor};

/// What of a request may be shown, and what was left out of it.
#[derive(Default)]
pub(crate) struct Shown {
    pub(crate) text: String,
    pub(crate) redactor: Redactor,
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
                    reader.leave_out();
                    reader.shown.text.push_str(&String::from_utf8_lossy(&bytes));
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

struct Reader {
    shown: Shown,
    /// What is being left out.
    cut: String,
    place: Place,
}

enum Place {
    Json(Lexer),
    Path,
    /// Perhaps a name, so far this.
    Name(String),
    Value,
}

impl Reader {
    fn new(form: Form) -> Self {
        let place = match form {
            Form::Json => Place::Json(Lexer::default()),
            Form::Path => Place::Path,
            Form::Pairs | Form::Text => Place::Name(String::new()),
        };
        Self { shown: Shown::default(), cut: String::new(), place }
    }

    fn literal(&mut self, text: &str) {
        text.chars().for_each(|c| self.pass(c));
    }

    fn pass(&mut self, c: char) {
        match (&mut self.place, c) {
            (Place::Json(lexer), _) => match lexer.is_structure(c) {
                true => self.keep(c),
                false => self.cut.push(c),
            },
            (Place::Path, '?') | (Place::Value, '&') => {
                self.keep(c);
                self.place = Place::Name(String::new());
            }
            (Place::Path, _) => self.keep(c),
            (Place::Value, _) => self.cut.push(c),
            (Place::Name(name), '=') => {
                let name = std::mem::take(name);
                self.place = Place::Value;
                name.chars().chain(['=']).for_each(|c| self.keep(c));
            }
            (Place::Name(name), _) if c.is_alphanumeric() || "_-.[]".contains(c) => name.push(c),
            (Place::Name(_), _) => {
                self.leave_name();
                self.pass(c);
            }
        }
    }

    fn keep(&mut self, c: char) {
        self.leave_out();
        self.shown.text.push(c);
    }

    /// What looked like a name is not one.
    fn leave_name(&mut self) {
        if let Place::Name(name) = &mut self.place {
            self.cut.push_str(name);
            self.place = Place::Value;
        }
    }

    /// Ends what is being left out.
    fn leave_out(&mut self) {
        self.leave_name();
        if self.cut.is_empty() {
            return;
        }
        let cut = std::mem::take(&mut self.cut);
        let Shown { text, redactor } = &mut self.shown;
        text.push_str(REDACTED);
        redactor.add(&cut);
        // An API may repeat it decoded.
        let meant: Vec<_> = form_urlencoded::parse(cut.as_bytes()).collect();
        if let [(name, value)] = &meant[..] {
            redactor.add(name);
            redactor.add(value);
        }
    }

    fn end(mut self) -> Shown {
        self.leave_out();
        self.shown
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
                Template::parse(text, Names::Map).unwrap_or_else(|error| panic!("{text}: {error:?}"));
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
