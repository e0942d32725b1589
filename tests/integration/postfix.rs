//! Lookups of a real Postfix: what each outcome is in SMTP, in each way.

use serde_json::json;

use crate::support::backend::{Reply, Request};
use crate::support::postfix::{Postfix, trouble};
use crate::support::site::{Site, Way};
use crate::support::smtp::Smtp;

/// One API for all requests: which recipients exist, and which ones are refused.
pub(crate) fn api(request: &Request) -> Reply {
    let body = match request.path.as_str() {
        "/map" => match request.text("key").as_str() {
            key if key.starts_with("known") => json!({ "value": format!("box of {key}") }),
            _ => json!({}),
        },
        _ if request.text("recipient").contains("refused") => json!({ "action": "REJECT no" }),
        _ => json!({ "action": "DUNNO" }),
    };
    Reply::json(&body.to_string())
}

/// The table with which Postfix asks by this way.
pub(crate) fn table(site: &Site, way: Way) -> String {
    match way {
        Way::Client => "socketmap:unix:private/pfx-map:demo".to_owned(),
        Way::Forwarding => "socketmap:unix:private/pfx-map-forwarding:demo".to_owned(),
        Way::Unix => format!("socketmap:unix:{}:demo", site.socket("maps").display()),
        Way::Tcp => format!("socketmap:inet:{}:demo", site.map_port().address()),
    }
}

/// The policy service with which Postfix asks by this way.
pub(crate) fn service(site: &Site, way: Way, name: &str) -> String {
    match way {
        Way::Client => format!("unix:private/pfx-{name}"),
        Way::Forwarding => format!("unix:private/pfx-{name}-forwarding"),
        Way::Unix => format!("unix:{}", site.socket(name).display()),
        Way::Tcp => format!("inet:{}", site.policy_port(name).address()),
    }
}

/// Spawn entries for the map and for both policy services.
pub(crate) fn add_spawn_entries(postfix: &Postfix, site: &Site) {
    for (name, service) in
        [("pfx-map", "socketmap"), ("pfx-checks", "policy checks"), ("pfx-strict", "policy strict")]
    {
        postfix.spawn(name, &site.ipc(), service);
        postfix.spawn(&format!("{name}-forwarding"), &site.ipc(), &format!("--no-hand-over {service}"));
    }
}

/// Adds an smtpd that asks by this way, with this policy service.
pub(crate) fn add_smtpd(postfix: &mut Postfix, site: &Site, way: Way, policy: &str) -> u16 {
    let asked = format!("check_policy_service {}", service(site, way, policy));
    let table = table(site, way);
    postfix.smtpd(&[("virtual_mailbox_maps", &table), ("smtpd_recipient_restrictions", &asked)])
}

/// A running Postfix, and the port of an smtpd that asks through clients.
pub(crate) fn started(site: &Site) -> (Postfix, u16) {
    let mut postfix = Postfix::prepare();
    add_spawn_entries(&postfix, site);
    let port = add_smtpd(&mut postfix, site, Way::Client, "checks");
    postfix.start();
    (postfix, port)
}

/// The parts of a reply that identify its outcome: code, enhanced code, and the text behind the last
/// colon.
fn gist(reply: &str) -> String {
    let codes = reply.get(..9).unwrap_or(reply).trim_end();
    let text = reply.rsplit(": ").next().unwrap_or_default();
    format!("{codes} … {text}")
}

/// What each outcome is in SMTP. The backends stop and start in between.
fn outcomes(site: &mut Site, port: u16, strict_port: u16) -> Vec<(&'static str, String)> {
    let once = |port: u16, recipient: &str| gist(&Smtp::begin(port).rcpt(recipient));
    let mut smtp = Smtp::begin(port);
    let mut seen = vec![
        ("known", gist(&smtp.rcpt("known@example.com"))),
        ("unknown", gist(&smtp.rcpt("unknown@example.com"))),
        ("refused by policy", gist(&smtp.rcpt("known.refused@example.com"))),
        ("known again", gist(&smtp.rcpt("known2@example.com"))),
        ("strict, known", once(strict_port, "known@example.com")),
    ];
    site.maps.down();
    seen.push(("map's API down", gist(&smtp.rcpt("known3@example.com"))));
    seen.push(("map's API down, unknown", gist(&smtp.rcpt("unknown@example.com"))));
    site.maps.up();
    site.policies.down();
    seen.push(("policy's API down", gist(&smtp.rcpt("known4@example.com"))));
    seen.push(("strict, policy's API down", once(strict_port, "known@example.com")));
    site.policies.up();
    seen.push(("all well again", gist(&smtp.rcpt("known5@example.com"))));
    seen
}

const DUE: [(&str, &str); 10] = [
    ("known", "250 2.1.5 … 250 2.1.5 Ok"),
    ("unknown", "550 5.1.1 … User unknown in virtual mailbox table"),
    ("refused by policy", "554 5.7.1 … no"),
    ("known again", "250 2.1.5 … 250 2.1.5 Ok"),
    ("strict, known", "250 2.1.5 … 250 2.1.5 Ok"),
    ("map's API down", "451 4.3.0 … Temporary lookup failure"),
    ("map's API down, unknown", "451 4.3.0 … Temporary lookup failure"),
    ("policy's API down", "450 4.7.1 … Temporary server problem"),
    ("strict, policy's API down", "451 4.3.5 … Server configuration problem"),
    ("all well again", "250 2.1.5 … 250 2.1.5 Ok"),
];

#[test]
fn each_outcome_is_the_same_by_each_way() {
    let mut site = Site::start(api);
    let mut postfix = Postfix::prepare();
    add_spawn_entries(&postfix, &site);
    let ports = Way::ALL.map(|way| {
        let mut port = |policy| add_smtpd(&mut postfix, &site, way, policy);
        (port("checks"), port("strict"))
    });
    postfix.start();
    let due: Vec<String> = DUE.map(|(what, reply)| format!("{what}: {reply}")).to_vec();
    for (way, (port, strict_port)) in Way::ALL.into_iter().zip(ports) {
        let seen = outcomes(&mut site, port, strict_port);
        let seen: Vec<String> = seen.into_iter().map(|(what, reply)| format!("{what}: {reply}")).collect();
        assert_eq!(seen, due, "by {way:?}");
    }
    postmap_prints_the_value(&postfix, &site);
}

fn postmap_prints_the_value(postfix: &Postfix, site: &Site) {
    for way in Way::ALL {
        let found = postfix.postmap("known one", "", &table(site, way));
        assert_eq!(found.stdout, b"box of known one\n", "by {way:?}: {found:?}");
        let absent = postfix.postmap("nobody", "", &table(site, way));
        let silent = absent.stdout.is_empty() && absent.stderr.is_empty();
        assert!(silent && absent.status.code() == Some(1), "by {way:?}: {absent:?}");
    }
}

/// A whole session logs no warning if nothing is wrong.
#[test]
fn a_session_without_faults_leaves_no_warning() {
    let site = Site::start(api);
    let (postfix, port) = started(&site);
    let mark = postfix.mark();
    let mut smtp = Smtp::begin(port);
    for recipient in ["known@example.com", "unknown@example.com", "known.refused@example.com"] {
        smtp.rcpt(recipient);
    }
    drop(smtp);
    let log = postfix.logged_since(mark, "disconnect from");
    assert_eq!(trouble(&log), Vec::<&str>::new(), "the mail log");
}
