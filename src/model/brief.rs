//! Texts from outside, no longer than the log, a reply or a trace has room for.

use std::borrow::Cow;

/// What is shown of a name, or of what an API says of one.
const BRIEF: usize = 200;

/// `text`, no longer than a name.
pub(crate) fn brief(text: &str) -> Cow<'_, str> {
    cut(text, BRIEF)
}

/// The first `most` characters of `text`, and a mark where that is not all.
pub(crate) fn cut(text: &str, most: usize) -> Cow<'_, str> {
    match text.char_indices().nth(most) {
        Some((end, _)) => Cow::Owned(format!("{}…", &text[..end])),
        None => Cow::Borrowed(text),
    }
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
