//! What Postfix makes of a reply, in words, for `query` on a terminal.
//!
//! The codes are those of Postfix with its defaults: socketmap_table(5), access(5), `access_map_reject_code` and
//! `access_map_defer_code` of postconf(5).

use crate::model::Protocol;

/// What Postfix does with `reply`; empty if the connection was closed.
pub(super) fn of(protocol: Protocol, reply: &[u8]) -> String {
    let reply = String::from_utf8_lossy(reply);
    match protocol {
        Protocol::Socketmap => map(&reply),
        Protocol::Policy => policy(&reply),
        Protocol::Sasl => login(&reply),
    }
}

fn map(reply: &str) -> String {
    let answer = reply.split_once(':').map_or("", |(_, answer)| answer.trim_end_matches(','));
    let (status, text) = answer.split_once(' ').unwrap_or((answer, ""));
    match status {
        "OK" => format!("found: {text}"),
        "NOTFOUND" => "not found; as a recipient in virtual_mailbox_maps: 550, no such mailbox".to_owned(),
        "PERM" => {
            format!("451, mail waits, and Postfix logs \"{text}\": the cause does not go away by itself")
        }
        "" => "451, mail waits: there is no reply".to_owned(),
        _ => format!("451, mail waits: {text}"),
    }
}

fn policy(reply: &str) -> String {
    let Some(action) = reply.trim_end().strip_prefix("action=") else {
        return "asks again, then smtpd_policy_service_default_action: 451 4.3.5, mail waits".to_owned();
    };
    let (verb, text) = action.split_once(' ').unwrap_or((action, ""));
    let with = |start: &str| if text.is_empty() { start.to_owned() } else { format!("{start}: {text}") };
    match verb.to_ascii_uppercase().as_str() {
        "DUNNO" => "no decision: the next restriction decides".to_owned(),
        "OK" | "PERMIT" => "accepted by this list of restrictions".to_owned(),
        "REJECT" => with("554, rejected"),
        "DEFER" => with("450, mail waits"),
        "DEFER_IF_PERMIT" => with("450, mail waits, unless another restriction rejects it"),
        "DEFER_IF_REJECT" => with("450, mail waits, if another restriction would reject it"),
        "DISCARD" => "accepted, and thrown away".to_owned(),
        "HOLD" => "accepted, and kept in the hold queue".to_owned(),
        "REDIRECT" | "BCC" | "FILTER" | "PREPEND" | "INFO" | "WARN" => {
            format!("{verb}, then the next restriction")
        }
        code if is_code(code, '4') => with(&format!("{code}, mail waits")),
        code if is_code(code, '5') => with(&format!("{code}, rejected")),
        code if !code.is_empty() && code.bytes().all(|byte| byte.is_ascii_digit()) => {
            "accepted by this list of restrictions".to_owned()
        }
        _ => format!("the restriction {action}"),
    }
}

fn is_code(word: &str, class: char) -> bool {
    word.len() == 3 && word.starts_with(class) && word.bytes().all(|byte| byte.is_ascii_digit())
}

fn login(reply: &str) -> String {
    let last = reply.lines().rfind(|line| line.starts_with("OK\t") || line.starts_with("FAIL\t"));
    let Some(last) = last else {
        return "454, a temporary failure: the mail client may try again".to_owned();
    };
    let field = |name: &str| last.split('\t').find_map(|field| field.strip_prefix(name));
    if last.starts_with("OK\t") {
        return format!("235, logged in as {}", field("user=").unwrap_or("?"));
    }
    match field("reason=") {
        Some(reason) => format!("535, refused: {reason}"),
        None => "535, refused".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::of;
    use crate::model::Protocol::{self, Policy, Sasl, Socketmap};

    #[test]
    fn each_reply_has_a_meaning() {
        let cases: &[(Protocol, &str, &str)] = &[
            (Socketmap, "8:OK a@b c,", "found: a@b c"),
            (
                Socketmap,
                "9:NOTFOUND ,",
                "not found; as a recipient in virtual_mailbox_maps: 550, no such mailbox",
            ),
            (Socketmap, "29:TEMP Temporary server problem,", "451, mail waits: Temporary server problem"),
            (
                Socketmap,
                "16:PERM unknown map,",
                "451, mail waits, and Postfix logs \"unknown map\": the cause",
            ),
            (Socketmap, "", "451, mail waits: there is no reply"),
            (Policy, "action=DUNNO\n\n", "no decision: the next restriction decides"),
            (Policy, "action=reject go away\n\n", "554, rejected: go away"),
            (Policy, "action=DEFER\n\n", "450, mail waits"),
            (Policy, "action=450 4.2.0 later\n\n", "450, mail waits: 4.2.0 later"),
            (Policy, "action=550 no\n\n", "550, rejected: no"),
            (Policy, "action=PREPEND X: y\n\n", "PREPEND, then the next restriction"),
            (Policy, "action=12345\n\n", "accepted by this list"),
            (Policy, "action=greylist\n\n", "the restriction greylist"),
            (Policy, "", "asks again, then smtpd_policy_service_default_action: 451 4.3.5"),
            (Sasl, "VERSION\t1\t2\nDONE\nOK\t1\tuser=u\n", "235, logged in as u"),
            (Sasl, "DONE\nFAIL\t1\tuser=u\treason=locked\n", "535, refused: locked"),
            (Sasl, "DONE\nFAIL\t1\tuser=u\n", "535, refused"),
            (Sasl, "VERSION\t1\t2\nDONE\n", "454, a temporary failure"),
        ];
        for (protocol, reply, meaning) in cases {
            let told = of(*protocol, reply.as_bytes());
            assert!(told.starts_with(meaning), "{reply:?}: {told}");
        }
    }
}
