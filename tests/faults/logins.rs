//! Rows 56 and 57: logins that try to be more than they are.

use crate::driver::{next_id, once};
use crate::ledger::{Asked, Heard, Ledgers, Rules, Said};
use crate::rig::{PASSWORD, Rig};
use crate::rows::row;
use crate::support::PATIENCE;
use crate::support::postfix::Postfix;
use crate::support::sasl::Heard as Event;
use crate::support::site::Way;
use crate::support::smtp::Smtp;
use std::time::Instant;

/// A login through Postfix; the ledger of SMTP keeps the code.
fn by_smtp(ledgers: &Ledgers, smtp: &mut Smtp, key: &str, user: &str, due: &str, id: u64) {
    let (key, due, at) = (key.to_owned(), due.to_owned(), Instant::now());
    ledgers.asked.append(Asked { id, lane: "smtp", key, due, at });
    let reply = smtp.auth_plain(user, PASSWORD);
    let code = reply.get(..3).unwrap_or_default().to_owned();
    let said = if code.starts_with('4') { Said::Temporary(reply) } else { Said::Definitive(code) };
    ledgers.smtp.append(Heard { id, said, at: Instant::now() });
}

#[test]
fn row_56_control_characters_through_postfix() {
    let row = row("56");
    let rig = Rig::start(&[]);
    let mut postfix = Postfix::prepare();
    postfix.spawn("pfx-sasl", &rig.setup.ipc(), "sasl users");
    let errors = [("smtpd_hard_error_limit", "1000"), ("smtpd_soft_error_limit", "999")];
    let ports =
        [Way::Client, Way::Unix].map(|way| postfix.sasl_smtpd(&rig.setup.sasl_path(way, "users"), &errors));
    postfix.start();
    let traffic = rig.traffic(&rig.lanes(Way::Unix));
    for port in ports {
        for text in ["a\nb", "a\tb", "a\rb", "a\0b", "a\u{1}b", "a\nOK\t1\tuser=boss\nb", "\u{85}"] {
            let user = format!("{text}k1");
            by_smtp(&rig.ledgers, &mut Smtp::greet(port).0, "of no request", &user, "535", next_id());
        }
        for _ in 0..8 {
            let id = next_id();
            let (user, due) = (format!("k{id}"), if id % 4 == 3 { "535" } else { "235" });
            by_smtp(&rig.ledgers, &mut Smtp::greet(port).0, &user, &user, due, id);
        }
    }
    traffic.more(20);
    row.counted(traffic.end(Rules { budget: PATIENCE, ..Rules::default() }));
}

#[test]
fn row_57_logins_for_another_user() {
    let row = row("57");
    let rig = Rig::start(&[]);
    let traffic = rig.traffic(&rig.lanes(Way::Unix));
    for way in Way::ALL {
        let mut sasl = rig.setup.login(way, "users");
        for (nth, other) in ["boss", "k2", " k1", "k1\u{301}", "root@example.com"].iter().enumerate() {
            let id = nth as u32 + 1;
            once(&rig.ledgers, "other", "of no request", "FAIL", || {
                sasl.auth(id, "PLAIN", Some(format!("{other}\0k1\0{PASSWORD}").as_bytes()));
                match sasl.next(PATIENCE) {
                    Event::Line(line) if line.starts_with(&format!("FAIL\t{id}\t")) => {
                        Some(Said::Definitive("FAIL".to_owned()))
                    }
                    Event::Line(line) => Some(Said::Definitive(line)),
                    Event::Closed(_) | Event::Reset => Some(Said::Temporary("closed".to_owned())),
                    Event::Nothing => None,
                }
            });
        }
    }
    traffic.more(20);
    row.counted(traffic.end(Rules::default()));
}
