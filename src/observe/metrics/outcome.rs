//! The outcome of a request, as one word of a fixed set: the words of the Go program.

use crate::model::{Action, Answer, Failure, OnFailure, Protocol, is_smtp_code};
use crate::wire::reply;

/// What kind of entry is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Component {
    /// `socket_maps`.
    Map,
    /// `policy_services`.
    Policy,
    /// `dovecot_sasl`.
    Login,
    /// An identity provider.
    Oidc,
    /// The socket for clients, as a listener.
    Local,
    /// A collector of OpenTelemetry.
    Otlp,
}

impl Component {
    /// As the label `component` names it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Map => Protocol::Socketmap.label(),
            Self::Policy => Protocol::Policy.label(),
            Self::Login => Protocol::Sasl.label(),
            Self::Oidc => "oidc",
            Self::Local => "local",
            Self::Otlp => "otlp",
        }
    }

    /// The kind of an entry, as an administrator is told it.
    #[must_use]
    pub fn kind(self) -> &'static str {
        match self {
            Self::Map => "map",
            Self::Policy => "policy",
            Self::Login => "login",
            other => other.word(),
        }
    }
}

impl From<Protocol> for Component {
    fn from(protocol: Protocol) -> Self {
        match protocol {
            Protocol::Socketmap => Self::Map,
            Protocol::Policy => Self::Policy,
            Protocol::Sasl => Self::Login,
        }
    }
}

/// The outcome of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// A value, an accepted login, an action that lets pass.
    Ok,
    /// The map has no value.
    NotFound,
    /// A temporary failure, or an action that defers.
    TempFail,
    /// The time limit ended.
    Timeout,
    /// A permanent failure, or a denied login.
    Fail,
    /// A policy has no opinion.
    Dunno,
    /// `REJECT`, or a code of 5NN.
    Reject,
    /// `PREPEND`.
    Prepend,
    /// `DISCARD`.
    Discard,
    /// `HOLD`.
    Hold,
    /// `FILTER`.
    Filter,
    /// `REDIRECT`.
    Redirect,
    /// A policy that does not exist was asked.
    Error,
    /// Any other action.
    Unknown,
}

impl Outcome {
    /// All of them, in the order of their numbers.
    pub(super) const ALL: [Self; 14] = [
        Self::Ok,
        Self::NotFound,
        Self::TempFail,
        Self::Timeout,
        Self::Fail,
        Self::Dunno,
        Self::Reject,
        Self::Prepend,
        Self::Discard,
        Self::Hold,
        Self::Filter,
        Self::Redirect,
        Self::Error,
        Self::Unknown,
    ];

    /// What `answer` is to a `component`.
    #[must_use]
    pub fn of(component: Component, answer: &Answer) -> Self {
        match answer {
            Answer::Value(_) | Answer::Accepted { .. } => Self::Ok,
            Answer::NotFound if component == Component::Map => Self::NotFound,
            Answer::NotFound => Self::Dunno,
            Answer::Action(action) => Self::of_action(action),
            Answer::Denied { .. } => Self::Fail,
            Answer::Failed { failure: Failure::Timeout, .. } => Self::Timeout,
            Answer::Failed { on_failure: Some(OnFailure::Temp), .. } => Self::TempFail,
            Answer::Failed { failure, .. } => match component {
                Component::Map if is_permanent(failure) => Self::Fail,
                Component::Policy | Component::Login if *failure == Failure::UnknownName => Self::Error,
                _ => Self::TempFail,
            },
        }
    }

    fn of_action(action: &Action) -> Self {
        const WORDS: [(&str, Outcome); 11] = [
            ("OK", Outcome::Ok),
            ("PERMIT", Outcome::Ok),
            ("DUNNO", Outcome::Dunno),
            ("REJECT", Outcome::Reject),
            ("PREPEND", Outcome::Prepend),
            ("DISCARD", Outcome::Discard),
            ("HOLD", Outcome::Hold),
            ("FILTER", Outcome::Filter),
            ("REDIRECT", Outcome::Redirect),
            ("DEFER", Outcome::TempFail),
            ("DEFER_IF_PERMIT", Outcome::TempFail),
        ];
        let verb = action.verb();
        if let Some((_, outcome)) = WORDS.iter().find(|(word, _)| word.eq_ignore_ascii_case(verb)) {
            return *outcome;
        }
        match verb.as_bytes() {
            [b'4', ..] if is_smtp_code(verb) => Self::TempFail,
            [b'5', ..] if is_smtp_code(verb) => Self::Reject,
            _ if verb.eq_ignore_ascii_case("DEFER_IF_REJECT") => Self::TempFail,
            _ => Self::Unknown,
        }
    }

    /// The label `outcome`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::NotFound => "not_found",
            Self::TempFail => "tempfail",
            Self::Timeout => "timeout",
            Self::Fail => "fail",
            Self::Dunno => "dunno",
            Self::Reject => "reject",
            Self::Prepend => "prepend",
            Self::Discard => "discard",
            Self::Hold => "hold",
            Self::Filter => "filter",
            Self::Redirect => "redirect",
            Self::Error => "error",
            Self::Unknown => "unknown",
        }
    }
}

/// Whether a map replies PERM.
fn is_permanent(failure: &Failure) -> bool {
    match failure {
        Failure::Status(code) => !reply::is_temporary(*code),
        Failure::UnknownName
        | Failure::Malformed
        | Failure::EmptyValue
        | Failure::UnexpectedValue
        | Failure::ErrorField(_)
        | Failure::TooLong(_) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_action_has_a_word() {
        for (text, word) in [
            ("OK", "ok"),
            ("permit", "ok"),
            ("DUNNO", "dunno"),
            ("REJECT no", "reject"),
            ("550 5.1.1 no", "reject"),
            ("451 later", "tempfail"),
            ("defer_if_permit x", "tempfail"),
            ("DEFER_IF_REJECT", "tempfail"),
            ("HOLD", "hold"),
            ("my_restriction_class", "unknown"),
            ("5500 x", "unknown"),
        ] {
            let answer = Answer::Action(Action::parse(text).expect("an action"));
            assert_eq!(Outcome::of(Component::Policy, &answer).word(), word, "{text}");
        }
    }

    #[test]
    fn a_maps_failure_has_the_word_of_its_reply() {
        let failures = [
            Failure::Connect,
            Failure::Tls,
            Failure::Protocol,
            Failure::Body,
            Failure::Provider,
            Failure::Overload,
            Failure::UnknownName,
            Failure::Malformed,
            Failure::EmptyValue,
            Failure::UnexpectedValue,
            Failure::ErrorField("x".to_owned()),
            Failure::TooLong(1),
        ];
        let codes = [204, 301, 400, 401, 403, 404, 408, 425, 429, 500, 503, 599].map(Failure::Status);
        let each = failures.into_iter().chain(codes);
        let each = each.flat_map(|failure| [None, Some(OnFailure::Temp)].map(|then| (failure.clone(), then)));
        for (failure, on_failure) in each {
            let answer = Answer::Failed { failure, on_failure };
            let mut bytes = Vec::new();
            reply::encode(Protocol::Socketmap, &answer, &OnFailure::default(), &mut bytes);
            let says = |word: &[u8]| bytes.windows(word.len()).any(|part| part == word);
            let due = if says(b"PERM ") { Outcome::Fail } else { Outcome::TempFail };
            assert_eq!(Outcome::of(Component::Map, &answer), due, "{answer:?}");
        }
    }

    #[test]
    fn a_number_is_a_place() {
        for (number, outcome) in Outcome::ALL.into_iter().enumerate() {
            assert_eq!(outcome as usize, number);
        }
    }
}
