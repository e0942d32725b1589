//! Path and query of a target with insertions. A request is not sent if an insertion would lead it to another
//! resource than the administrator named.
//!
//! Some servers decode `%2F` and `%2e` before they resolve `..` (nginx by default), some decode twice, some read
//! `\` as `/`, and some first cut `;…` off a segment. So the path is checked with all its escapes decoded.

use super::{Input, Piece, Template, Unsendable};

impl Template {
    /// Appends path and query for one request. If it fails, what was appended by then is useless.
    pub(crate) fn render_path(&self, input: Input<'_>, out: &mut Vec<u8>) -> Result<(), Unsendable> {
        let begin = out.len();
        let mut inserted = Vec::new();
        for piece in &self.pieces {
            let start = out.len() - begin;
            match piece {
                Piece::Literal(text) => out.extend_from_slice(text.as_bytes()),
                Piece::Insertion(insertion) => {
                    insertion.render(input, out)?;
                    inserted.push(start..out.len() - begin);
                }
            }
        }
        let written = out.get(begin..).unwrap_or_default();
        let path = before_query(written);
        let leads_away = |range: std::ops::Range<usize>| {
            // The query is not checked.
            range.start <= path.len() && is_elsewhere(path, range.start, range.end.min(path.len()))
        };
        if has_dots(path) || inserted.into_iter().any(leads_away) {
            return Err(Unsendable::Elsewhere);
        }
        Ok(())
    }
}

fn before_query(written: &[u8]) -> &[u8] {
    written.split(|byte| matches!(byte, b'?' | b'#')).next().unwrap_or_default()
}

/// Whether the insertion from `start` to `end` makes a segment `.` or `..`, or leaves its segment empty.
fn is_elsewhere(path: &[u8], start: usize, end: usize) -> bool {
    let (before, behind) = (path.get(..start).unwrap_or_default(), path.get(end..).unwrap_or_default());
    let from = before.iter().rposition(|byte| *byte == b'/').map_or(0, |at| at + 1);
    let to = behind.iter().position(|byte| *byte == b'/').map_or(path.len(), |at| end + at);
    let segment = path.get(from..to).unwrap_or_default();
    has_dots(path.get(start..end).unwrap_or_default()) || parts(&decoded(segment)).all(<[u8]>::is_empty)
}

/// Whether a path has a segment `.` or `..`, escaped or not.
pub(crate) fn has_dots(path: &[u8]) -> bool {
    let parameters = |part: &[u8]| part.split(|byte| *byte == b';').next().is_some_and(is_dots);
    parts(&decoded(path)).any(parameters)
}

fn is_dots(part: &[u8]) -> bool {
    matches!(part, b"." | b"..")
}

fn parts(decoded: &[u8]) -> impl Iterator<Item = &[u8]> {
    decoded.split(|byte| matches!(byte, b'/' | b'\\'))
}

/// `text` with every `%XX` decoded, also those that result from decoding.
fn decoded(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for &byte in text {
        out.push(byte);
        while let [.., b'%', high, low] = out[..]
            && let (Some(high), Some(low)) = (digit(high), digit(low))
        {
            out.truncate(out.len() - 3);
            out.push(high << 4 | low);
        }
    }
    out
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::super::{LookupInput, Names};
    use super::*;

    fn path(template: &str, key: &str) -> Result<String, Unsendable> {
        let template = Template::parse_path(template, Names::Map).expect("a path");
        let mut out = Vec::new();
        let input = Input { name: "n", lookup: LookupInput::Key(key), delimiters: "" };
        template.render_path(input, &mut out).map(|()| String::from_utf8(out).expect("UTF-8"))
    }

    #[test]
    fn no_insertion_leads_elsewhere() {
        const INNER: &str = "/u/{{ .Key | urlencode }}/m?k={{ .Key | urlencode }}";
        for key in [
            "",
            ".",
            "..",
            "../x@example.org",
            "x/..",
            "a/../b",
            "..\\x",
            "a\\..",
            "%2e%2e",
            "%2E./x",
            "..%2fx",
            "%252e%252e",
            "%25252e.",
            "%%32e%2e",
            "..;a=b/x",
            ".;",
            "/",
            "//",
            "\\",
            "%2f",
            "%5C%2F",
            "./x",
        ] {
            assert_eq!(path(INNER, key), Err(Unsendable::Elsewhere), "{key}");
        }
        for (key, due) in [
            ("...", "..."),
            ("a..b@example.org", "a..b%40example.org"),
            ("..@example.org", "..%40example.org"),
            ("a/b@example.org", "a%2Fb%40example.org"),
            ("100%", "100%25"),
            ("%zz", "%25zz"),
        ] {
            assert_eq!(path(INNER, key), Ok(format!("/u/{due}/m?k={due}")), "{key}");
        }
    }

    #[test]
    fn a_segment_is_judged_as_a_whole() {
        let is_elsewhere = |template, key| path(template, key) == Err(Unsendable::Elsewhere);
        assert!(is_elsewhere("/u/{{ .Key | localpart | urlencode }}", "@example.org"));
        assert!(is_elsewhere("/u/{{ .Key | domain | urlencode }}?x", "bob"));
        assert!(is_elsewhere("/{{ .Key | domain | urlencode }}{{ .Key | domain | raw }}/m", "bob"));
        assert!(is_elsewhere("/u/.{{ .Key | urlencode }}", "."), "with its neighbours");
        assert!(is_elsewhere("/{{ .Key | raw }}", "/") && is_elsewhere("/{{ .Key | raw }}", "?a"));
        assert!(is_elsewhere("/{{ .Key | raw }}", "a/%2E%2e/b"));
        assert_eq!(path("/u-{{ .Key | domain | raw }}", "bob").as_deref(), Ok("/u-"));
        assert_eq!(path("/{{ .Key | domain | raw }}{{ .Key | raw }}", "bob").as_deref(), Ok("/bob"));
        assert_eq!(path("/u?a={{ .Key | urlencode }}&b=..", "").as_deref(), Ok("/u?a=&b=.."));
        assert_eq!(path("/u?{{ .Key | urlencode }}", "").as_deref(), Ok("/u?"));
        let filled = "/u/{{ .Key | domain | default(\"no|ne\") | urlencode }}";
        assert_eq!(path(filled, "bob").as_deref(), Ok("/u/no%7Cne"));
    }

    #[test]
    fn escapes_are_undone_in_one_go() {
        let nested = format!("%{}2e", "25".repeat(100_000));
        assert_eq!(decoded(nested.as_bytes()), b".");
    }
}
