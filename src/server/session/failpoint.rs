//! A failpoint, in debug builds alone: the session of a chosen request panics. `tests/faults/` plays it.

use std::sync::LazyLock;

use crate::model::Question;

/// The environment variable that names the key: that of a map, the recipient of a policy request, the user of a login.
const VARIABLE: &str = "PFX_PANIC_AT_KEY";

/// Panics if this request has the key that the environment names.
pub(super) fn panic_at(question: &Question) {
    static CHOSEN: LazyLock<Option<String>> = LazyLock::new(|| std::env::var(VARIABLE).ok());
    let Some(chosen) = &*CHOSEN else { return };
    let key = match question {
        Question::Map { key, .. } => key,
        Question::Policy { attributes, .. } => attributes.get("recipient").unwrap_or_default(),
        Question::Login(login) => login.credentials.user().as_bytes(),
    };
    // A message that is no constant, and quotes the request.
    assert!(key != chosen.as_bytes(), "the failpoint, at {chosen}");
}
