//! Actions of access(5) tables: texts that are safe to send to Postfix.

use serde::{Deserialize, Serialize};

/// The right-hand side of an access(5) table that is safe to send: one line that Postfix does not take for
/// *permit* by accident.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct Action(pub(super) String);

impl TryFrom<String> for Action {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        Self::parse(&text)
    }
}

const EMPTY: &str = "an action must not be empty: Postfix would permit";
const DIGITS_ALONE: &str = "a code needs a text behind it: Postfix reads digits alone as permit";
const NOT_ONE_LINE: &str = "an action must be one line without control characters";
const TOO_LONG: &str = "an action must not be longer than 8192 bytes";
const PREFIXED: &str = "an action does not begin with `action=`, which the reply has already; leave that out";

/// Whether `verb` is an SMTP code that access(5) takes for an action: `4NN` or `5NN`.
#[cfg(feature = "broker")]
pub(crate) fn is_smtp_code(verb: &str) -> bool {
    verb.len() == 3 && verb.starts_with(['4', '5']) && verb.bytes().all(|byte| byte.is_ascii_digit())
}

impl Action {
    /// Postfix cuts an SMTP reply at 510 bytes; a restriction list may be longer.
    pub const MAX_BYTES: usize = 8192;

    /// Trims `text` and checks it.
    ///
    /// # Errors
    /// What is wrong with a text that Postfix would misread.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let text = text.trim();
        let (word, rest) = text.split_at_checked("action".len()).unwrap_or((text, ""));
        match text {
            // Postfix 3.7.11 reads an empty action as permit (measured).
            "" => Err(EMPTY),
            _ if text.len() > Self::MAX_BYTES => Err(TOO_LONG),
            // It would end the line, or split the reply.
            _ if text.chars().any(|c| c.is_control() && c != '\t') => Err(NOT_ONE_LINE),
            // check_table_result() in smtpd_check.c treats them as permit, `550` too.
            _ if text.bytes().all(|b| b.is_ascii_digit()) => Err(DIGITS_ALONE),
            // Postfix would say 451 4.3.5.
            _ if word.eq_ignore_ascii_case("action") && rest.trim_start().starts_with('=') => Err(PREFIXED),
            _ => Ok(Self(text.to_owned())),
        }
    }

    /// The text as it is sent behind `action=`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The word that decides, up to the first blank.
    #[must_use]
    pub fn verb(&self) -> &str {
        self.0.split([' ', '\t']).next().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::OnFailure;

    #[test]
    fn what_postfix_reads_as_permit_is_no_action() {
        for text in ["550", "550 ", " 554\t", "0", "4711"] {
            assert_eq!(Action::parse(text), Err(DIGITS_ALONE), "{text:?}");
        }
        for text in ["", " ", "\t\t"] {
            assert_eq!(Action::parse(text), Err(EMPTY), "{text:?}");
        }
    }

    #[test]
    fn an_action_is_one_line() {
        for text in ["OK\naction=REJECT", "OK\r", "a\rb", "a\0b", "a\u{85}b", "a\u{1b}[0m"] {
            let trimmed_away = text.trim().chars().all(|c| !c.is_control());
            assert_eq!(Action::parse(text).is_err(), !trimmed_away, "{text:?}");
        }
        assert_eq!(Action::parse("OK\naction=REJECT"), Err(NOT_ONE_LINE));
    }

    #[test]
    fn what_the_reply_says_already_is_no_action() {
        for text in ["action=DUNNO", " Action=OK", "action = REJECT no", "action="] {
            assert_eq!(Action::parse(text), Err(PREFIXED), "{text:?}");
        }
        for text in ["action", "actions=DUNNO", "REJECT action=DUNNO", "action_class", "acti\u{f6}n"] {
            assert!(Action::parse(text).is_ok(), "{text:?}");
        }
    }

    #[test]
    fn an_action_keeps_its_text() {
        let action = Action::parse("  550 5.1.1 nobody here \n").expect("an action");
        assert_eq!(action.as_str(), "550 5.1.1 nobody here");
        assert_eq!(action.verb(), "550");
        assert_eq!(OnFailure::parse("disconnect"), Ok(OnFailure::Disconnect));
    }
}
