//! The bytes of replies, for any text of an API.

use super::parts::Parts;
use crate::model::{Action, Answer, Failure, OnFailure, Protocol};
use crate::wire::reply::{self, Next};

/// The texts that a map's reply begins with (socketmap_table(5)).
const MAP: [&[u8]; 4] = [b"OK ", b"NOTFOUND ", b"TEMP ", b"PERM "];

/// A byte that chooses the answer, one for the number in it, then its texts.
///
/// Any answer is exactly one reply in each protocol, or the end of the connection. A failure is never a value, an
/// action that permits, or a refusal of the lookup.
pub fn replies(bytes: &[u8]) {
    let mut parts = Parts::of(bytes);
    let (kind, number) = (parts.byte(), parts.byte());
    let (text, other) = (parts.text(), parts.text());
    let on_failure = OnFailure::parse(&other).ok();
    let Some(answer) = answer(kind, number, text, other, on_failure.clone()) else { return };
    let fallback = on_failure.unwrap_or_default();
    map(&answer, &fallback);
    policy(&answer, &fallback);
    for minor in [0, 2] {
        login(&answer, minor);
    }
}

fn map(answer: &Answer, fallback: &OnFailure) {
    let mut said = Vec::new();
    assert_eq!(reply::encode(Protocol::Socketmap, answer, fallback, &mut said), Next::Stay);
    let colon = said.iter().position(|byte| *byte == b':').expect("a netstring");
    let length = std::str::from_utf8(&said[..colon]).expect("digits").parse::<usize>().expect("a number");
    assert_eq!((said.len(), said.last()), (colon + length + 2, Some(&b',')));
    let payload = &said[colon + 1..=colon + length];
    let status = MAP.iter().position(|status| payload.starts_with(status)).expect("a status");
    let rest = &payload[MAP[status].len()..];
    match answer {
        Answer::Value(value) => assert_eq!((status, rest), (0, value.as_bytes())),
        Answer::NotFound => assert_eq!((status, rest), (1, &b""[..])),
        _ => {
            assert!(status > 1, "no answer of a map: {answer:?}");
            let text = std::str::from_utf8(rest).expect("UTF-8");
            assert!(text.chars().count() < 300 && !text.chars().any(char::is_control), "{text:?}");
        }
    }
}

fn policy(answer: &Answer, fallback: &OnFailure) {
    let mut said = Vec::new();
    if reply::encode(Protocol::Policy, answer, fallback, &mut said) == Next::Close {
        assert!(said.is_empty() && !matches!(answer, Answer::Action(_) | Answer::NotFound));
        return;
    }
    let said = std::str::from_utf8(&said).expect("UTF-8");
    let [line, "", ""] = said.split('\n').collect::<Vec<_>>()[..] else { panic!("not one reply: {said:?}") };
    let action = line.strip_prefix("action=").expect("an action");
    assert!(!action.chars().any(|c| c.is_control() && c != '\t'), "{action:?}");
    // Postfix takes what is empty and digits alone for a permit.
    let is_permit = |action: &str| action.trim().bytes().all(|byte| byte.is_ascii_digit());
    assert!(!is_permit(action), "{action:?}");
    match answer {
        Answer::Action(due) => assert_eq!(action, due.as_str()),
        Answer::NotFound => assert_eq!(action, "DUNNO"),
        Answer::Failed { on_failure: Some(OnFailure::Action(due)), .. } => assert_eq!(action, due.as_str()),
        _ => assert_eq!(Some(action), action_of(fallback)),
    }
}

fn action_of(on_failure: &OnFailure) -> Option<&str> {
    match on_failure {
        OnFailure::Action(action) => Some(action.as_str()),
        _ => None,
    }
}

fn login(answer: &Answer, minor: u32) {
    let mut said = Vec::new();
    if reply::login(7, minor, answer, &mut said) == Next::Close {
        assert!(said.is_empty());
        return;
    }
    let said = std::str::from_utf8(&said).expect("UTF-8");
    let line = said.strip_suffix('\n').expect("a line");
    let fields: Vec<&str> = line.split('\t').collect();
    assert!(!fields.iter().any(|field| field.chars().any(char::is_control)), "{line:?}");
    match answer {
        Answer::Accepted { user } => assert_eq!(fields, ["OK", "7", &format!("user={user}")]),
        Answer::Denied { user, .. } => {
            let named = format!("user={user}");
            assert!(fields[..2] == ["FAIL", "7"] && fields[2].starts_with("reason="), "{line:?}");
            assert!(fields.len() == 3 || fields[3..] == [named.as_str()], "{line:?}");
        }
        _ => {
            assert!(matches!(answer, Answer::Failed { .. }), "{answer:?} is no answer to a login");
            assert_eq!((fields[0], &fields[3..]), ("FAIL", &["code=temp_fail", "temp"][..]));
        }
    }
}

fn answer(kind: u8, number: u8, text: String, user: String, on_failure: Option<OnFailure>) -> Option<Answer> {
    let failure = match kind / 8 % 16 {
        0 => Failure::Connect,
        1 => Failure::Timeout,
        2 => Failure::Tls,
        3 => Failure::Protocol,
        4 => Failure::Status(u16::from(number) * 4),
        5 => Failure::Body,
        6 => Failure::Provider,
        7 => Failure::Overload,
        8 => Failure::NoBroker,
        9 => Failure::UnknownName,
        10 => Failure::Malformed,
        11 => Failure::EmptyValue,
        12 => Failure::UnexpectedValue,
        13 => Failure::ErrorField(text.clone()),
        14 => Failure::TooLong(u64::from(number)),
        _ => Failure::NoEvidence,
    };
    Some(match kind % 8 {
        0 => Answer::Value(text),
        1 => Answer::NotFound,
        2 => Answer::Action(Action::parse(&text).ok()?),
        3 => Answer::Accepted { user: text },
        4 => Answer::Denied { reason: text, user },
        5 => Answer::Failed { failure, on_failure },
        6 => {
            let others = [OnFailure::Disconnect, OnFailure::Auto, OnFailure::Fail, OnFailure::Temp];
            Answer::Failed { failure, on_failure: others.get(usize::from(number % 4)).cloned() }
        }
        _ => Answer::Failed { failure, on_failure: None },
    })
}
