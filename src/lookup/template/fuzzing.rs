//! The fuzz target of templates: no key changes the structure of a request.

use percent_encoding::percent_decode;
use serde::de::IgnoredAny;

use super::{Escaping, Form, Input, LookupInput, Names, Piece, Template, path};
use crate::model::Attributes;

/// The attributes of a policy request, whose values are parts of the input.
const ATTRIBUTES: [&str; 4] = ["sender", "recipient", "client_address", "helo_name"];

/// A byte that chooses how a template is read, the template, then a key, or the values of attributes; 0xFF ends
/// each of them.
///
/// An error names a place in the template. A JSON payload is JSON with any key, and has the same shape as with an
/// empty one. A form has as many pairs, and a path as many segments, as the template. No segment leads away.
pub fn templates(bytes: &[u8]) {
    let (kind, rest) = bytes.split_first().unwrap_or((&0, &[]));
    let mut parts = rest.split(|byte| *byte == 0xff).map(String::from_utf8_lossy);
    let text = parts.next().unwrap_or_default();
    let values: Vec<_> = parts.collect();
    let names = if kind & 1 == 0 { Names::Map } else { Names::Policy };
    let is_path = kind & 6 == 2;
    let parse = match kind & 6 {
        2 => Template::parse_path,
        4 => Template::parse_form,
        _ => Template::parse,
    };
    let template = match parse(&text, names) {
        Ok(template) => template,
        Err(error) => return assert!(text.is_char_boundary(error.offset) && !error.message.is_empty()),
    };
    let value = |at: usize| values.get(at).map(AsRef::as_ref).unwrap_or_default();
    let attributes = |is_empty: bool| {
        let mut attributes = Attributes::default();
        for (at, name) in ATTRIBUTES.iter().enumerate() {
            attributes.push(name, if is_empty { b"" } else { value(at).as_bytes() });
        }
        attributes
    };
    let (full, empty) = (attributes(false), attributes(true));
    let (full, empty) = match names {
        Names::Map => (LookupInput::Key(value(0)), LookupInput::Key("")),
        Names::Policy => (LookupInput::Request(&full), LookupInput::Request(&empty)),
    };
    let input = |lookup| Input { name: "entry", lookup, delimiters: "+" };
    if is_path {
        leads_nowhere_else(&template, input(full));
    } else {
        keeps_structure(&template, input(full), input(empty));
    }
}

fn keeps_structure(template: &Template, full: Input<'_>, empty: Input<'_>) {
    let [full, empty] = [full, empty].map(|input| {
        let mut out = Vec::new();
        template.render(input, &mut out).map(|()| String::from_utf8(out).expect("UTF-8"))
    });
    let (Ok(full), Ok(empty)) = (full, empty) else {
        return assert!(has_raw(template), "what is escaped can be sent");
    };
    match template.form {
        Form::Json => assert_eq!(shape(&full), shape(&empty), "{full}\n{empty}"),
        Form::Pairs if !has_raw(template) => {
            for sign in ['&', '=', '\n', '\r'] {
                assert_eq!(full.matches(sign).count(), empty.matches(sign).count(), "{full}\n{empty}");
            }
        }
        Form::Path | Form::Pairs | Form::Text => {}
    }
}

fn has_raw(template: &Template) -> bool {
    let is_raw = |piece: &Piece| matches!(piece, Piece::Insertion(one) if one.escaping == Escaping::Raw);
    template.pieces.iter().any(is_raw)
}

fn leads_nowhere_else(template: &Template, input: Input<'_>) {
    let mut out = Vec::new();
    if template.render_path(input, &mut out).is_err() {
        return;
    }
    let written = String::from_utf8(out).expect("UTF-8");
    if !has_raw(template) {
        let literal = template.pieces.iter().filter_map(|piece| match piece {
            Piece::Literal(text) => Some(text.as_str()),
            Piece::Insertion(_) => None,
        });
        let literal: String = literal.collect();
        for sign in ['/', '?', '#', '&', '='] {
            assert_eq!(written.matches(sign).count(), literal.matches(sign).count(), "{written}\n{literal}");
        }
    }
    let mut path = written.split(['?', '#']).next().unwrap_or_default().as_bytes().to_vec();
    loop {
        assert!(!path::has_dots(&path), "{written}");
        let is_dots =
            |segment: &[u8]| matches!(segment.split(|byte| *byte == b';').next(), Some(b"." | b".."));
        assert!(!path.split(|byte| matches!(byte, b'/' | b'\\')).any(is_dots), "{written}");
        let decoded: Vec<u8> = percent_decode(&path).collect();
        if decoded == path {
            break;
        }
        path = decoded;
    }
}

/// A JSON text with a letter for each string. All of the rest is its structure.
fn shape(text: &str) -> String {
    serde_json::from_str::<IgnoredAny>(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    let (mut shape, mut in_string, mut is_escaped) = (String::new(), false, false);
    for c in text.chars() {
        match (in_string, c) {
            (true, _) if is_escaped => is_escaped = false,
            (true, '\\') => is_escaped = true,
            (true, '"') => in_string = false,
            (true, _) => {}
            (false, '"') => {
                in_string = true;
                shape.push('s');
            }
            (false, c) => shape.push(c),
        }
    }
    shape
}
