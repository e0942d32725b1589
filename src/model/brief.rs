//! Texts of peers and APIs, cut for the log, a reply or a trace.

use std::borrow::Cow;

/// The longest shown text, in characters.
const BRIEF: usize = 200;

/// `text`, cut to the usual length.
pub(crate) fn brief(text: &str) -> Cow<'_, str> {
    cut(text, BRIEF)
}

/// The first `most` characters of `text`, with `…` if it is longer.
pub(crate) fn cut(text: &str, most: usize) -> Cow<'_, str> {
    match text.char_indices().nth(most) {
        Some((end, _)) => Cow::Owned(format!("{}…", &text[..end])),
        None => Cow::Borrowed(text),
    }
}

/// The first `most` characters of `text` that are not control characters.
#[cfg(feature = "broker")]
pub(crate) fn without_controls(text: &str, most: usize) -> String {
    text.chars().filter(|c| !c.is_control()).take(most).collect()
}

/// `text` with a space for each control character.
pub(crate) fn on_one_line(text: impl Iterator<Item = char>) -> String {
    text.map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cut_shows_that_it_is() {
        let whole = "\u{e9}".repeat(BRIEF);
        assert_eq!(brief(&whole), whole);
        assert_eq!(brief(&format!("{whole}x")), format!("{whole}…"));
    }
}
