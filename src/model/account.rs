//! Which names may be those of accounts: one rule for names from tokens and from APIs (`Auth-User`).
//!
//! A name appears in logs, in headers and in the tables of permitted senders. Two names that look alike
//! there must not be two accounts. So a name must not hold characters that are invisible or change the
//! direction of text.

/// Whether `name` may be that of an account: it is not blank, and all of it is visible.
#[must_use]
pub fn is_account_name(name: &str) -> bool {
    // Nearly all are of visible ASCII.
    (!name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic()))
        || (!name.chars().all(is_blank) && !name.chars().any(is_hidden))
}

/// Shown as a blank.
fn is_blank(c: char) -> bool {
    // The blank pattern of Braille does not have the property White_Space.
    c.is_whitespace() || c == '\u{2800}'
}

/// Control characters, line and paragraph separators, and what Unicode calls format characters or
/// default ignorable: zero-width and bidirectional ones among them.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}'
            | '\u{890}'..='\u{891}' | '\u{8e2}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
            | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{110bd}' | '\u{110cd}'
            | '\u{13430}'..='\u{1343f}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_what_can_be_seen() {
        for name in ["bob", "bob@example.com", "jos\u{e9}@b\u{fc}cher.example", "Bob B\u{2019}s", "\u{4f60}"]
        {
            assert!(is_account_name(name), "{name:?}");
        }
        for blank in ["", " ", "\u{a0}\u{3000}", "\u{2003}", "\u{2800}", "\u{3164}", "\t"] {
            assert!(!is_account_name(blank), "{blank:?}");
        }
        for hidden in [
            '\0',
            '\n',
            '\t',
            '\u{7f}',
            '\u{85}',
            '\u{ad}',
            '\u{200b}',
            '\u{200c}',
            '\u{200d}',
            '\u{200e}',
            '\u{200f}',
            '\u{2028}',
            '\u{2029}',
            '\u{202a}',
            '\u{202e}',
            '\u{2060}',
            '\u{2066}',
            '\u{2069}',
            '\u{61c}',
            '\u{180e}',
            '\u{feff}',
            '\u{fe0f}',
            '\u{e0041}',
        ] {
            for name in [format!("bo{hidden}b"), format!("{hidden}bob"), format!("bob{hidden}")] {
                assert!(!is_account_name(&name), "{name:?}");
            }
        }
    }
}
