//! `pfxhttp-client sasl NAME` on a connection that is not handed over: the dialogue of a login runs here, and
//! the broker gets one complete login. So a restart of the broker during a dialogue does no harm.
//!
//! The handshake is complete within a second even if no broker runs: an smtpd whose handshake fails exits,
//! and accepts no mail (xsasl_dovecot_server.c). Logins are answered one after the other, as Postfix sends
//! them. A failed login closes the connection, which is 454.

use std::process::ExitCode;
use std::time::Instant;

use super::hand_over::Attempted;
use super::link::BrokerLink;
use super::{read_more, syslog, write_all};
use crate::model::{Mechanism, Question};
use crate::wire::dovecot;
use crate::wire::logins::{LoginConnection, LoginStep, Refused};
use crate::wire::reply::Next;

/// Serves the connection by the entry `name`, offering `mechanisms` or what the broker names.
pub(super) fn serve(name: &str, mechanisms: Option<Vec<Mechanism>>, mut link: BrokerLink) -> ExitCode {
    if link.begin_logins(mechanisms.is_some()) == Attempted::End {
        return ExitCode::SUCCESS;
    }
    link.give_up_inherited();
    let offered = mechanisms.or_else(|| link.offered());
    let offered = offered.unwrap_or_else(|| vec![Mechanism::Plain, Mechanism::Login]);
    let mut out = Vec::new();
    // The process serves a single connection.
    dovecot::handshake(&offered, std::process::id(), &mut out);
    let mut logins = LoginConnection::new(name, offered);
    let mut received = Vec::new();
    loop {
        if write_all(&out).is_err() {
            return ExitCode::SUCCESS;
        }
        out.clear();
        match logins.next(&mut received, Instant::now(), &mut out) {
            LoginStep::Ask { id, login } => {
                let answer = link.ask(&Question::Login(login));
                let next = answer.map(|answer| logins.answer(id, &answer, false, Instant::now(), &mut out));
                if next.is_none_or(|next| next == Next::Close) {
                    return ExitCode::SUCCESS;
                }
            }
            LoginStep::Read => {
                // Replies are sent before the next read.
                if out.is_empty() && !matches!(read_more(&mut received), Ok(1..)) {
                    return ExitCode::SUCCESS;
                }
            }
            // No login is open while a line is read.
            LoginStep::Forget(_) => {}
            LoginStep::Refused(refused) => syslog::warn(&refusal(name, &refused)),
            LoginStep::Close(reason) => {
                syslog::warn(reason);
                return ExitCode::SUCCESS;
            }
        }
    }
}

/// Has the form of the broker's message, because fail2ban reads both.
fn refusal(name: &str, refused: &Refused) -> String {
    let Refused { mechanism, reason, user, remote } = refused;
    let hint = refused.hint().map(|hint| format!(" hint={hint:?}")).unwrap_or_default();
    format!(
        "login refused without asking name={name:?} remote={remote:?} user={user:?} mechanism={mechanism:?} \
         reason={reason:?}{hint}"
    )
}
