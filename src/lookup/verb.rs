//! First words of actions. An unknown one may be a restriction class of main.cf, so it passes; a
//! typing error would be 451 4.3.5 for every mail, so it is said once per word.

use tracing::warn;

use crate::model::{Action, is_smtp_code};
use crate::observe::warnings::RateLimitedWarnings;

pub(super) fn warn_of_unknown(warnings: &RateLimitedWarnings, name: &str, action: &Action) {
    let verb = action.verb();
    if !is_known(verb) && warnings.is_first(verb) {
        warn!(name, verb, "the API answered with an action that access(5) does not know");
    }
}

/// access(5), and the restrictions of postconf(5) that may stand in its place.
fn is_known(verb: &str) -> bool {
    const ACTIONS: [&str; 16] = [
        "OK",
        "RELAY",
        "DUNNO",
        "REJECT",
        "DEFER",
        "DEFER_IF_REJECT",
        "DEFER_IF_PERMIT",
        "BCC",
        "DISCARD",
        "FILTER",
        "HOLD",
        "PREPEND",
        "REDIRECT",
        "INFO",
        "WARN",
        "HANGUP",
    ];
    const RESTRICTIONS: [&str; 5] = ["permit", "reject_", "check_", "defer", "warn_if_reject"];
    let begins = |start: &str| verb.get(..start.len()).is_some_and(|head| head.eq_ignore_ascii_case(start));
    is_smtp_code(verb)
        || ACTIONS.iter().any(|action| action.eq_ignore_ascii_case(verb))
        || RESTRICTIONS.into_iter().any(begins)
}

/// Whether the action says "later": such an answer is not kept.
pub(super) fn is_temporary(action: &Action) -> bool {
    let verb = action.verb();
    let defers = verb.get(..5).is_some_and(|head| head.eq_ignore_ascii_case("defer"));
    defers || (is_smtp_code(verb) && verb.starts_with('4'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_access_and_restrictions_are_known() {
        for verb in [
            "ok",
            "DUNNO",
            "Reject",
            "550",
            "421",
            "permit_mynetworks",
            "reject_unauth_destination",
            "PREPEND",
        ] {
            assert!(is_known(verb), "{verb}");
        }
        for verb in ["okay", "55", "650", "greylist", "", "\u{e9}\u{e9}"] {
            assert!(!is_known(verb), "{verb}");
        }
    }

    #[test]
    fn what_says_later_is_temporary() {
        let temporary = |text| is_temporary(&Action::parse(text).expect("an action"));
        assert!(
            temporary("DEFER")
                && temporary("defer_if_permit x")
                && temporary("450 later")
                && temporary("421 bye")
        );
        assert!(!temporary("REJECT") && !temporary("550 no") && !temporary("OK") && !temporary("45 x"));
    }
}
