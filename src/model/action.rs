//! Actions of access(5) tables: texts that are safe to send to Postfix.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The right-hand side of an access(5) table that is safe to send: one line that Postfix does not take for
/// *permit* by accident.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Action(pub(super) String);

impl TryFrom<String> for Action {
    type Error = ActionError;

    fn try_from(text: String) -> Result<Self, ActionError> {
        Self::parse(&text)
    }
}

impl From<Action> for String {
    fn from(action: Action) -> Self {
        action.0
    }
}

/// Why a text is not an [`Action`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ActionError {
    /// Nothing but blanks. Postfix 3.7.11 reads an empty action as permit (measured).
    Empty,
    /// Digits alone. check_table_result() in smtpd_check.c treats them as permit, `550` too.
    DigitsAlone,
    /// A control character: it would end the line, or split the reply.
    ControlCharacter,
    /// More than [`Action::MAX_BYTES`].
    TooLong,
    /// It begins with `action=`, which the reply has already: Postfix would say 451 4.3.5.
    Prefixed,
}

impl fmt::Display for ActionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "an action must not be empty: Postfix would permit",
            Self::DigitsAlone => "a code needs a text behind it: Postfix reads digits alone as permit",
            Self::ControlCharacter => "an action must be one line without control characters",
            Self::TooLong => "an action must not be longer than 8192 bytes",
            Self::Prefixed => {
                "an action does not begin with `action=`, which the reply has already; leave that out"
            }
        })
    }
}

impl std::error::Error for ActionError {}

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
    /// A text that Postfix would misread, see [`ActionError`].
    pub fn parse(text: &str) -> Result<Self, ActionError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(ActionError::Empty);
        }
        if text.len() > Self::MAX_BYTES {
            return Err(ActionError::TooLong);
        }
        if text.chars().any(|c| c.is_control() && c != '\t') {
            return Err(ActionError::ControlCharacter);
        }
        if text.bytes().all(|b| b.is_ascii_digit()) {
            return Err(ActionError::DigitsAlone);
        }
        let begins = text.get(.."action".len()).is_some_and(|word| word.eq_ignore_ascii_case("action"));
        if begins && text["action".len()..].trim_start().starts_with('=') {
            return Err(ActionError::Prefixed);
        }
        Ok(Self(text.to_owned()))
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
            assert_eq!(Action::parse(text), Err(ActionError::DigitsAlone), "{text:?}");
        }
        for text in ["", " ", "\t\t"] {
            assert_eq!(Action::parse(text), Err(ActionError::Empty), "{text:?}");
        }
    }

    #[test]
    fn an_action_is_one_line() {
        for text in ["OK\naction=REJECT", "OK\r", "a\rb", "a\0b", "a\u{85}b", "a\u{1b}[0m"] {
            let trimmed_away = text.trim().chars().all(|c| !c.is_control());
            assert_eq!(Action::parse(text).is_err(), !trimmed_away, "{text:?}");
        }
        assert_eq!(Action::parse("OK\naction=REJECT"), Err(ActionError::ControlCharacter));
    }

    #[test]
    fn what_the_reply_says_already_is_no_action() {
        for text in ["action=DUNNO", " Action=OK", "action = REJECT no", "action="] {
            assert_eq!(Action::parse(text), Err(ActionError::Prefixed), "{text:?}");
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
