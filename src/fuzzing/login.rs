//! Dovecot's authentication protocol: the dialogues of a connection.

use std::time::Instant;

use super::parts::Parts;
use super::stream;
use crate::model::{Answer, Failure, Mechanism, OnFailure};
use crate::wire::logins::{LoginConnection, LoginStep};
use crate::wire::reply::Next;
use crate::wire::sasl;

/// What was said on a connection, and the reason for which it ended.
#[derive(Debug, Default, PartialEq)]
struct Talk {
    said: Vec<u8>,
    closed: Option<&'static str>,
}

/// Three parts: how each login ends (one byte each), a text of the API, and the bytes of a connection.
///
/// Each AUTH and each CONT has one reply: a challenge, a refusal, or the answer to the login that it completes.
/// No reply holds a TAB or LF that came from the client or the API. The credentials of a login that the API is
/// asked for are legal. The pieces in which the bytes arrive make no difference.
pub fn login(bytes: &[u8]) {
    let mut parts = Parts::of(bytes);
    let (script, text, stream) = (parts.part(), parts.text(), parts.rest());
    let whole = talk(script, &text, stream, stream.len());
    for size in stream::sizes(stream) {
        assert_eq!(talk(script, &text, stream, size), whole, "in pieces of {size} bytes");
    }
}

fn talk(script: &[u8], text: &str, stream: &[u8], size: usize) -> Talk {
    let mut logins = LoginConnection::new("login", Mechanism::ALL.to_vec());
    let (mut received, mut talk, mut asked) = (Vec::new(), Talk::default(), 0);
    let (mut pending, now, mut due) = (Vec::new(), Instant::now(), 0);
    'stream: for piece in stream.chunks(size.max(1)) {
        received.extend_from_slice(piece);
        loop {
            let (before, start) = (requests(&received), talk.said.len());
            let step = logins.next(&mut received, now, &mut talk.said);
            due += before - requests(&received);
            due -= replies(&talk.said[start..]);
            match step {
                LoginStep::Read => {
                    assert_eq!(due, 0, "each request has its reply");
                    break;
                }
                LoginStep::Close(reason) => {
                    talk.closed = Some(reason);
                    break 'stream;
                }
                LoginStep::Forget(id) => pending.retain(|(known, _)| *known != id),
                LoginStep::Refused(refused) => assert!(refused.mechanism.chars().count() <= 20),
                LoginStep::Ask { id, login } => {
                    due -= 1;
                    assert!(sasl::is_legal(&login.credentials), "{login:?}");
                    let kind = script.get(asked).copied().unwrap_or_default();
                    asked += 1;
                    let answer = answer(kind, text, login.credentials.user());
                    if kind & 0x80 == 0 {
                        reply(&mut logins, id, &answer, kind & 0x40 != 0, now, &mut talk);
                    } else {
                        pending.push((id, answer));
                    }
                }
            }
        }
    }
    for (id, answer) in pending {
        reply(&mut logins, id, &answer, true, now, &mut talk);
    }
    talk
}

fn reply(
    logins: &mut LoginConnection,
    id: u32,
    answer: &Answer,
    is_last: bool,
    now: Instant,
    talk: &mut Talk,
) {
    let start = talk.said.len();
    let next = logins.answer(id, answer, is_last, now, &mut talk.said);
    let said = replies(&talk.said[start..]);
    assert_eq!(said, usize::from(next == Next::Stay), "a reply, or the end of the connection");
    // A second answer is none.
    if !talk.said[start..].starts_with(b"CONT") {
        assert_eq!(logins.answer(id, answer, is_last, now, &mut talk.said), Next::Stay);
        assert_eq!(replies(&talk.said[start..]), said);
    }
}

/// How many lines of `received` ask for a reply.
fn requests(received: &[u8]) -> usize {
    let lines = received.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n"));
    let name = |line: &[u8]| line[..line.len() - 1].split(|byte| *byte == b'\t').next().map(<[u8]>::to_vec);
    lines.filter(|line| matches!(name(line).as_deref(), Some(b"AUTH" | b"CONT"))).count()
}

/// How many replies `said` holds; each is one line of the form that Postfix reads.
fn replies(said: &[u8]) -> usize {
    let said = std::str::from_utf8(said).expect("UTF-8");
    assert!(said.is_empty() || said.ends_with('\n'), "{said:?}");
    for line in said.split_terminator('\n') {
        assert!(!line.chars().any(|c| c.is_control() && c != '\t'), "{line:?}");
        let fields: Vec<&str> = line.split('\t').collect();
        let id = fields.get(1).copied().unwrap_or_default();
        assert!(id.parse::<u32>().is_ok_and(|id| id > 0), "{line:?}");
        let is_legal = match fields[..] {
            ["CONT", _, _] => true,
            ["OK", _, user] => user.starts_with("user="),
            ["FAIL", _, reason] => reason.starts_with("reason="),
            ["FAIL", _, reason, user] => reason.starts_with("reason=") && user.starts_with("user="),
            ["FAIL", _, reason, "code=temp_fail", "temp"] => reason.starts_with("reason="),
            _ => false,
        };
        assert!(is_legal, "{line:?}");
    }
    said.split_terminator('\n').count()
}

fn answer(kind: u8, text: &str, user: &str) -> Answer {
    let (text, user) = (text.to_owned(), user.to_owned());
    let failed = |on_failure| Answer::Failed { failure: Failure::Timeout, on_failure };
    match kind & 7 {
        0 => Answer::Accepted { user },
        1 => Answer::Accepted { user: text },
        2 => Answer::Denied { reason: text, user },
        3 => Answer::Denied { reason: text.clone(), user: text },
        4 => failed(Some(OnFailure::Auto)),
        5 => failed(Some(OnFailure::Fail)),
        6 => failed(Some(OnFailure::Disconnect)),
        _ => failed(None),
    }
}
