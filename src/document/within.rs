//! Problems inside of a text, told at their own place in the file.
//!
//! Limit: escapes in the file may hide an occurrence of what is looked for. Then a later one is found,
//! or none, and the place of the whole value must do.

use super::key::Key;
use super::place::Place;
use super::reading::Reported;

impl<'d> Key<'d> {
    /// Reports an error of the value `text`, of which the part from byte `offset` on is wrong.
    pub fn error_within(&self, text: &str, offset: usize, message: impl Into<String>) -> Reported<'d> {
        self.error(message).at(self.place_within(text, offset))
    }

    /// Where the byte `offset` of the value `text` stands in the file: what begins there is looked for, as
    /// often as it occurs before.
    fn place_within(&self, text: &str, offset: usize) -> Option<Place> {
        let spot = self.spot().filter(|spot| spot.variable.is_none())?;
        let (before, rest) = (text.get(..offset)?, text.get(offset..)?);
        let length = rest.find(|c: char| c.is_whitespace() || matches!(c, '"' | '\\')).unwrap_or(rest.len());
        let wanted = rest.get(..length).filter(|wanted| !wanted.is_empty())?;
        let mut skip = before.matches(wanted).count();
        let start = spot.node.place;
        let mut from = start.column - 1;
        // A value has no more lines than its text, but for folds and the line of its `>`.
        for number in start.line..=start.line + 2 * text.lines().count() + 1 {
            let line = self.document().line(number)?;
            let begin = line.char_indices().nth(from).map_or(line.len(), |(at, _)| at);
            from = 0;
            for (at, _) in line.get(begin..)?.match_indices(wanted) {
                if skip == 0 {
                    let column = 1 + line.get(..begin + at)?.chars().count();
                    return Some(Place { line: number, column });
                }
                skip -= 1;
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::document;

    /// Where the last `{{` of the payload `text` stands, which the file has as `source`.
    fn found(source: &str, text: &str) -> Option<(usize, usize)> {
        let source = format!("a: {{ b: 1 }} # {{{{\npayload: {source}\nc: \"{{{{\"\n");
        let document = document(&source, &[]);
        let place = document.top("Top").key("payload").place_within(text, text.rfind("{{")?)?;
        Some((place.line, place.column))
    }

    #[test]
    fn an_insertion_is_found_in_the_file() {
        assert_eq!(found("'{{ .Key }}'", "{{ .Key }}"), Some((2, 11)));
        assert_eq!(found("x {{ .Kye }}", "x {{ .Kye }}"), Some((2, 12)));
        let escaped = "\"\\u00e4 {\\\"k\\\": \\\"{{ .Kye }}\\\"}\"";
        assert_eq!(found(escaped, "ä {\"k\": \"{{ .Kye }}\"}"), Some((2, 28)));
        let folded = ">\n  {\"ä\": {{ .Key }},\n\n  \"b\":\n  {{ .Key }}}\n";
        assert_eq!(found(folded, "{\"ä\": {{ .Key }},\n\"b\": {{ .Key }}}\n"), Some((6, 3)));
        let literal = "|\n  {\"ä\": {{ .Key }},\n  \"b\": {{ .Key }}}\n";
        assert_eq!(found(literal, "{\"ä\": {{ .Key }},\n\"b\": {{ .Key }}}\n"), Some((4, 8)));
    }
}
