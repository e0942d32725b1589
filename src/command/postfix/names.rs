//! How main.cf and master.cf hold a text (postconf(5), master(5)).
//!
//! In a value of main.cf `$` is written `$$`. Commas and blanks end an item of a list, unless they are in
//! braces. master.cf does not expand `$` in the arguments of spawn(8), and takes the braces off an argument
//! that begins with one.

use super::restrictions::split;

/// The value of a parameter.
pub(super) fn value(text: &str) -> String {
    text.replace('$', "$$")
}

/// An item of a list in main.cf. `None`: Postfix would end it too early or too late, in any notation.
pub(super) fn list_item(text: &str) -> Option<String> {
    let is_whole = split(text, |c| c == ',' || c.is_whitespace()) == [text] && !has_open_brace(text);
    (is_whole && !text.starts_with('{')).then(|| value(text))
}

/// An argument in master.cf. `None`: there is no notation for it.
pub(super) fn argument(text: &str) -> Option<String> {
    let needs_braces = text.starts_with('{') || text.contains(char::is_whitespace);
    if has_open_brace(text) || (needs_braces && closes_early(text)) {
        return None;
    }
    Some(if needs_braces { format!("{{ {text} }}") } else { text.to_owned() })
}

/// `-o name=value` in master.cf.
pub(super) fn option(name: &str, text: &str) -> Option<String> {
    let argument = argument(&format!("{name}={}", value(text)))?;
    Some(format!("-o {argument}"))
}

fn has_open_brace(text: &str) -> bool {
    let depth = text.chars().fold(0_usize, |depth, c| match c {
        '{' => depth + 1,
        '}' => depth.saturating_sub(1),
        _ => depth,
    });
    depth > 0
}

/// Whether a brace in `text` would close those around it.
fn closes_early(text: &str) -> bool {
    let mut depth = 0_usize;
    text.chars().any(|c| {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => return true,
            '}' => depth -= 1,
            _ => {}
        }
        false
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_text_has_its_notation() {
        for (text, item, word) in [
            ("plain", Some("plain"), Some("plain")),
            ("a$b", Some("a$$b"), Some("a$b")),
            ("a{b,c}d", Some("a{b,c}d"), Some("a{b,c}d")),
            ("a,b", None, Some("a,b")),
            ("a b", None, Some("{ a b }")),
            ("{a}", None, Some("{ {a} }")),
            ("{a}b", None, Some("{ {a}b }")),
            ("a}b", Some("a}b"), Some("a}b")),
            ("a{b", None, None),
            ("{a", None, None),
            ("} {", None, None),
            ("a} b", None, None),
        ] {
            assert_eq!((list_item(text).as_deref(), argument(text).as_deref()), (item, word), "{text}");
        }
        assert_eq!(option("smtpd_sasl_path", "a $b").as_deref(), Some("-o { smtpd_sasl_path=a $$b }"));
    }
}
