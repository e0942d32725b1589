//! What is cut out of a text that may be shown otherwise: user, password and query of a URL, and
//! the literal text of a template, where an API's key may stand. Insertions are kept: they are
//! what a template's fault is about.

use super::mask::CUT;

/// No insertion that does something is longer.
const LONGEST: usize = 200;

/// The text with a mark in place of everything but its insertions.
pub(super) fn insertions(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((literal, length)) = rest.find("{{").and_then(|at| Some((at, insertion(&rest[at..])?))) {
        cut(&rest[..literal], &mut out);
        out.push_str(&rest[literal..literal + length]);
        rest = &rest[literal + length..];
    }
    cut(rest, &mut out);
    out
}

fn cut(literal: &str, out: &mut String) {
    if !literal.trim().is_empty() {
        out.push_str(CUT);
    }
}

/// The length of the insertion that `text` begins with; of what looks like one.
fn insertion(text: &str) -> Option<usize> {
    let begin = text.as_bytes().get(..LONGEST).unwrap_or(text.as_bytes());
    let length = begin.windows(2).position(|two| two == b"}}")? + 2;
    let inner = begin.get(2..length - 2)?;
    inner.iter().all(|c| c.is_ascii_alphanumeric() || b" .|-_".contains(c)).then_some(length)
}

/// Cuts what is secret out of every URL in the line, also out of one whose scheme is wrong.
pub(super) fn of_urls(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let (word, behind) = rest.split_at(word(rest));
        of_url(word, &mut out);
        let gap = behind.find(|c| !is_gap(c)).unwrap_or(behind.len());
        out.push_str(&behind[..gap]);
        rest = &behind[gap..];
    }
    out
}

fn is_gap(c: char) -> bool {
    matches!(c, ' ' | '\t' | '"' | '\'')
}

/// The length of the word that `text` begins with; the blanks of an insertion are no end.
fn word(text: &str) -> usize {
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at).filter(|byte| !is_gap(char::from(**byte))) {
        let is_insertion = byte == b'{' && bytes.get(at + 1) == Some(&b'{');
        at += if is_insertion { insertion(&text[at..]).unwrap_or(2) } else { 1 };
    }
    at
}

fn of_url(word: &str, out: &mut String) {
    let mut rest = word;
    let authority = word.find("://").map(|at| at + 3);
    // An address of mail has no colon before its `@`.
    if let Some(sign) = word.rfind('@').filter(|sign| authority.is_some() || word[..*sign].contains(':')) {
        out.push_str(&word[..authority.unwrap_or(0).min(sign)]);
        out.push_str(CUT);
        rest = &word[sign..];
    }
    match rest.split_once('?') {
        Some((before, query)) => {
            out.push_str(before);
            out.push('?');
            out.push_str(&insertions(query));
        }
        None => out.push_str(rest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_shown_without_their_secrets() {
        for (text, due) in [
            ("target: https://joe:s3cret@h/x", "target: https://…@h/x"),
            ("target: \"https://joe:s3c/s3?cret@h/\" # x", "target: \"https://…@h/\" # x"),
            ("target: joe:s3cret@h/", "target: …@h/"),
            (
                "a: 'http://h/x?key=s3cret&u={{ .Kye | lower }}&b=s3cret'",
                "a: 'http://h/x?…{{ .Kye | lower }}…'",
            ),
            (
                "a: http://h/{{ .Key | lower }}/x?{{ .Kye }}&s3cret, b: 5",
                "a: http://h/{{ .Key | lower }}/x?{{ .Kye }}… b: 5",
            ),
            ("target: h/?s3cret={{ s3cr+et }}", "target: h/?… s3cr+et }}"),
            ("? key", "? key"),
            ("- joe@example.com", "- joe@example.com"),
        ] {
            assert_eq!(of_urls(text), due);
        }
    }

    #[test]
    fn of_a_template_only_insertions_are_shown() {
        assert_eq!(insertions("{\"a\": \"s3cret\", \"b\": {{ .Key }}}"), "…{{ .Key }}…");
        assert_eq!(insertions("{{- .Key -}}{{ .Name }}"), "{{- .Key -}}{{ .Name }}");
        assert_eq!(insertions("{{ \"s3cret\" }} {{ .Key"), "…");
        assert_eq!(insertions(" "), "");
    }
}
