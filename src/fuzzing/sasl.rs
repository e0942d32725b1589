//! SASL dialogues: PLAIN, LOGIN, OAUTHBEARER, XOAUTH2.

use super::parts::Parts;
use crate::model::{Credentials, Mechanism};
use crate::wire::sasl::{self as wire, Dialogue, DialogueStep};

/// A byte that chooses the mechanism, then the responses of a client.
///
/// Credentials that come out are legal, and another client that sends them ends with the same ones. A refusal
/// of PLAIN names the user and nothing else of the response.
pub fn sasl(bytes: &[u8]) {
    let mut parts = Parts::of(bytes);
    let mechanism = Mechanism::ALL[usize::from(parts.byte() % 4)];
    let mut dialogue = Dialogue::new(mechanism);
    for _ in 0..3 {
        let response = parts.part();
        match dialogue.respond(response) {
            DialogueStep::Challenge(challenge) => {
                assert_eq!((mechanism, challenge), (Mechanism::Login, &b"Password:"[..]));
            }
            DialogueStep::Complete(credentials) => return complete(mechanism, response, &credentials),
            DialogueStep::Fail(refusal) => {
                assert!(!refusal.reason.is_empty() && refusal.user.chars().count() <= 201);
                if mechanism == Mechanism::Plain {
                    assert_eq!(refusal.user, named(response));
                }
                return;
            }
        }
    }
    panic!("a dialogue has two responses at most");
}

/// The name in a response of PLAIN as a refusal shows it: what stands between two NULs.
fn named(response: &[u8]) -> String {
    let parts: Vec<&[u8]> = response.split(|byte| *byte == 0).collect();
    let [_, name, _, ..] = parts[..] else { return String::new() };
    let name = String::from_utf8_lossy(name);
    let shown: String = name.chars().take(200).collect();
    if shown.len() < name.len() { shown + "…" } else { shown }
}

fn complete(mechanism: Mechanism, response: &[u8], credentials: &Credentials) {
    assert!(wire::is_legal(credentials), "{credentials:?}");
    let holds = |secret: &str| response.windows(secret.len()).any(|part| part == secret.as_bytes());
    let again = match (mechanism, credentials) {
        (Mechanism::Plain | Mechanism::Login, Credentials::Password { user, password }) => {
            assert!(holds(password.expose()));
            (Mechanism::Plain, format!("\0{user}\0{}", password.expose()))
        }
        (Mechanism::Oauthbearer, Credentials::Token { user, token }) => {
            assert!(holds(token.expose()));
            let name = user.replace('=', "=3D").replace(',', "=2C");
            let acts_for = if name.is_empty() { name } else { format!("a={name}") };
            (mechanism, format!("n,{acts_for},\u{1}auth=Bearer {}\u{1}\u{1}", token.expose()))
        }
        (Mechanism::Xoauth2, Credentials::Token { user, token }) => {
            assert!(holds(token.expose()) && !user.is_empty());
            (mechanism, format!("user={user}\u{1}auth=Bearer {}\u{1}\u{1}", token.expose()))
        }
        _ => panic!("{mechanism:?} does not give {credentials:?}"),
    };
    let step = Dialogue::new(again.0).respond(again.1.as_bytes());
    assert_eq!(step, DialogueStep::Complete(credentials.clone()));
}
