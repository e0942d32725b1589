//! What Postfix makes of a reply, in a sentence for people (socketmap_table(5), access(5), SMTPD_POLICY_README;
//! dict_sockmap.c, smtpd_check.c, xsasl_dovecot_server.c). The codes are Postfix' defaults.

use crate::model::{Protocol, is_smtp_code};

/// The meaning of the bytes of a reply; of none, if the connection was closed.
pub(super) fn of(protocol: Protocol, reply: &[u8]) -> String {
    let text = String::from_utf8_lossy(reply);
    match protocol {
        Protocol::Socketmap => map(text.split_once(':').map_or("", |(_, rest)| rest.trim_end_matches(','))),
        Protocol::Policy => policy(text.trim_end_matches('\n').strip_prefix("action=").unwrap_or_default()),
        Protocol::Sasl => login(text.lines().next_back().unwrap_or_default()),
    }
}

fn map(reply: &str) -> String {
    let (status, rest) = reply.split_once(' ').unwrap_or((reply, ""));
    match status {
        "OK" => format!("found, with the value {rest:?}"),
        "NOTFOUND" => "no such key: Postfix rejects with 550 if the map lists the valid addresses, \
                       else it looks on"
            .to_owned(),
        "TEMP" => "a temporary failure: Postfix replies 451 or keeps the mail in its queue, and tries again"
            .to_owned(),
        "PERM" => format!(
            "an error that an administrator must correct ({rest}): Postfix replies 451 or keeps the mail in its \
             queue, and tries again"
        ),
        _ => "no reply: Postfix replies 451 or keeps the mail in its queue, and tries again".to_owned(),
    }
}

fn policy(action: &str) -> String {
    let (verb, rest) = action.split_once([' ', '\t']).unwrap_or((action, ""));
    let known = match verb.to_ascii_uppercase().as_str() {
        "" => "no reply: Postfix asks again, then uses smtpd_policy_service_default_action (451 4.3.5)",
        "DUNNO" => "no decision: Postfix goes on with the next restriction",
        "OK" | "PERMIT" | "RELAY" => "permitted: Postfix skips the rest of this list of restrictions",
        "REJECT" => "rejected with 554 5.7.1",
        "DEFER" => "put off with 450 4.7.1: the client tries again",
        "DEFER_IF_PERMIT" => "put off with 450 4.7.1, unless a later restriction rejects",
        "DEFER_IF_REJECT" => "if a later restriction rejects, Postfix replies 450 4.7.1 instead",
        "DISCARD" => "accepted with 250, and deleted without a notice",
        "HOLD" => "accepted, if no restriction rejects, into the hold queue",
        "FILTER" => "accepted, if no restriction rejects, and sent through the named filter",
        "REDIRECT" => "accepted, if no restriction rejects, and sent to the named address instead",
        "BCC" => "accepted, if no restriction rejects, with a copy to the named address",
        "PREPEND" => "Postfix adds the header, and goes on with the next restriction",
        "INFO" | "WARN" => "Postfix logs the text, and goes on with the next restriction",
        "HANGUP" => "Postfix closes the connection of the client",
        "421" => "put off with 421: Postfix closes the connection, and the client tries again",
        "521" => "rejected with 521: Postfix closes the connection",
        code if is_smtp_code(code) && code.starts_with('4') => {
            return format!("put off with {code}: the client tries again");
        }
        code if is_smtp_code(code) => return format!("rejected with {code}"),
        _ => {
            return format!(
                "the restriction or restriction class {verb:?} of main.cf; if there is none, Postfix replies 451 4.3.5"
            );
        }
    };
    if rest.is_empty() { known.to_owned() } else { format!("{known} ({rest:?})") }
}

fn login(line: &str) -> String {
    let fields: Vec<&str> = line.split('\t').collect();
    let field = |name: &str| fields.iter().find_map(|field| field.strip_prefix(name)).unwrap_or_default();
    match fields[0] {
        "OK" => format!("235: logged in as {:?}", field("user=")),
        "FAIL" if fields.contains(&"temp") => {
            format!(
                "a temporary failure ({}) for Dovecot's own clients; Postfix replies 535",
                field("reason=")
            )
        }
        "FAIL" => format!("535: denied ({})", field("reason=")),
        _ => "454: no decision; the client may try again".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reply_has_its_meaning() {
        for (protocol, reply, due) in [
            (Protocol::Socketmap, "7:OK a, b,", "found, with the value \"a, b\""),
            (Protocol::Socketmap, "9:NOTFOUND ,", "rejects with 550 if"),
            (Protocol::Socketmap, "29:TEMP Temporary server problem,", "replies 451"),
            (Protocol::Socketmap, "16:PERM unknown map,", "must correct (unknown map): Postfix replies 451"),
            (Protocol::Socketmap, "", "no reply: Postfix replies 451"),
            (Protocol::Policy, "action=DUNNO\n\n", "next restriction"),
            (Protocol::Policy, "action=reject no way\n\n", "rejected with 554 5.7.1 (\"no way\")"),
            (Protocol::Policy, "action=DEFER x\n\n", "450 4.7.1"),
            (Protocol::Policy, "action=450 4.2.0 x\n\n", "put off with 450"),
            (Protocol::Policy, "action=421 x\n\n", "closes the connection"),
            (Protocol::Policy, "action=550 5.1.1 x\n\n", "rejected with 550"),
            (Protocol::Policy, "action=PREPEND X-A: b\n\n", "adds the header"),
            (Protocol::Policy, "action=greylist\n\n", "restriction class \"greylist\""),
            (Protocol::Policy, "", "smtpd_policy_service_default_action"),
            (Protocol::Sasl, "OK\t1\tuser=u\n", "235: logged in as \"u\""),
            (Protocol::Sasl, "FAIL\t1\treason=no such user\tuser=u\n", "535: denied (no such user)"),
            (Protocol::Sasl, "FAIL\t1\treason=x\tcode=temp_fail\ttemp\n", "temporary failure (x)"),
            (Protocol::Sasl, "", "454"),
        ] {
            let meaning = of(protocol, reply.as_bytes());
            assert!(meaning.contains(due), "{reply:?}: {meaning}");
        }
    }
}
