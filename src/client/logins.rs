//! `pfxhttp-client sasl NAME`: the dialogue of a login runs here, and one complete question goes to
//! the broker, so that one which is restarted in mid-dialogue costs nothing.
//!
//! The handshake is complete within a second, whatever becomes of the broker: an smtpd whose
//! handshake fails exits, and takes no mail either (xsasl_dovecot_server.c). LoginConnection are answered
//! one at a time, as Postfix asks them. A login that fails closes the connection, which is 454.

use std::hash::{BuildHasher, RandomState};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use super::link::{BrokerLink, LookupResult};
use super::{read_more, syslog, write_all};
use crate::model::{Mechanism, Question};
use crate::wire::dovecot::Greeting;
use crate::wire::logins::{LoginConnection, LoginStep, Refused};
use crate::wire::reply::Next;

/// How long the broker is waited for to say what is on offer.
const GREETING: Duration = Duration::from_millis(800);

/// Serves the connection by the entry `name`, offering `mechanisms` or what the broker names.
pub(super) fn serve(name: &str, mechanisms: Option<Vec<Mechanism>>, mut link: BrokerLink) -> ExitCode {
    let offered = mechanisms.or_else(|| link.mechanisms(GREETING));
    let offered = offered.unwrap_or_else(|| vec![Mechanism::Plain, Mechanism::Login]);
    let mut out = Vec::new();
    greet(&offered, &mut out);
    let mut logins = LoginConnection::new(name, offered);
    let mut received = Vec::new();
    loop {
        if write_all(&out).is_err() {
            return ExitCode::SUCCESS;
        }
        out.clear();
        match logins.next(&mut received, Instant::now(), &mut out) {
            LoginStep::Ask { id, login } => match link.ask(&Question::Login(login)) {
                LookupResult::Answered(answer) => {
                    if logins.answer(id, &answer, false, Instant::now(), &mut out) == Next::Close {
                        return ExitCode::SUCCESS;
                    }
                }
                LookupResult::HungUp | LookupResult::Replaced => return ExitCode::SUCCESS,
            },
            LoginStep::Read => {
                // What is to be said is said first.
                if out.is_empty() && !matches!(read_more(&mut received), Ok(1..)) {
                    return ExitCode::SUCCESS;
                }
            }
            // Nothing is ever under way while a line is read.
            LoginStep::Forget(_) => {}
            LoginStep::Refused(refused) => syslog::warn(&refusal(name, &refused)),
            LoginStep::Close(reason) => {
                syslog::warn(reason);
                return ExitCode::SUCCESS;
            }
        }
    }
}

/// As the broker logs one that it has refused itself: fail2ban reads both.
fn refusal(name: &str, refused: &Refused) -> String {
    let Refused { mechanism, reason, user, remote } = refused;
    let hint = refused.hint().map(|hint| format!(" hint={hint:?}")).unwrap_or_default();
    format!(
        "login refused without asking name={name:?} remote={remote:?} user={user:?} mechanism={mechanism:?} \
         reason={reason:?}{hint}"
    )
}

fn greet(mechanisms: &[Mechanism], out: &mut Vec<u8>) {
    let names: Vec<_> = mechanisms.iter().map(|mechanism| mechanism.name()).collect();
    let pid = std::process::id();
    let half = || u128::from(RandomState::new().hash_one(pid));
    // One connection is all that this process has.
    Greeting { mechanisms: &names, pid, connection: pid, cookie: (half() << 64) | half() }.encode(out);
}
