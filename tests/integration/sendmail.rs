//! Socket maps of a real Sendmail: what it does with each reply, and that `perm_as_temp` prevents
//! bounces.

use crate::support::backend::{Backend, Reply, Request};
use crate::support::config::Kind;
use crate::support::port::Port;
use crate::support::sendmail::{BROKER, Sendmail};
use crate::support::setup::Setup;
use crate::support::smtp::Smtp;

/// Sendmail's exit codes (sysexits.h): a value, no such key, a permanent failure, a temporary failure.
const FOUND: u8 = 0;
const ABSENT: u8 = 68;
const GIVEN_UP: u8 = 69;
const LATER: u8 = 75;

fn api(request: &Request) -> Reply {
    let key = request.text("key");
    match key.split('@').next().unwrap_or_default() {
        "found" => Reply::json(&format!(r#"{{"value": "box of {key}"}}"#)),
        "absent" => Reply::json("{}"),
        "gone" => Reply::status(404),
        "broken" => Reply::json(r#"{"error": "database is away"}"#),
        "odd" => Reply::json(r#"{"value": {}}"#),
        _ => Reply::status(503),
    }
}

/// Sendmail asks the map `mailboxes` over a unix socket, and the map `more` over TCP.
fn sendmail(api: &Backend, keys: &[&str]) -> (Setup, Sendmail, Port) {
    let tcp = Port::reserve();
    let setup = Setup::start(|config| {
        let config = config.map("mailboxes", &api.url("/"), keys).map("Users_1", &api.url("/"), keys);
        config.listen_tcp(Kind::Map, "tcp", tcp.number())
    });
    let (local, inet) = (format!("local:{BROKER}/maps.sock"), format!("inet:{}@127.0.0.1", tcp.number()));
    let maps = [("mailboxes", local.as_str()), ("Users_1", &inet), ("mailboxs", &local)];
    let broker = setup.socket("maps").parent().expect("its directory").to_owned();
    let sendmail = Sendmail::prepare(&broker, &maps);
    (setup, sendmail, tcp)
}

#[test]
fn perm_as_temp_keeps_sendmail_from_bouncing() {
    let api = Backend::start(api);
    for (keys, perm, reply) in
        [(&[][..], GIVEN_UP, "550 5.1.1"), (&["perm_as_temp: true", "on_failure: temp"], LATER, "451 4.3.0")]
    {
        let (_setup, sendmail, _tcp) = sendmail(&api, keys);
        for map in ["mailboxes", "Users_1"] {
            let found = sendmail.map(map, "found@example.com");
            assert_eq!(found, (Some("box of found@example.com".to_owned()), FOUND), "{map} {keys:?}");
            for (key, status) in
                [("absent", ABSENT), ("away", LATER), ("gone", perm), ("broken", perm), ("odd", perm)]
            {
                let told = sendmail.map(map, &format!("{key}@example.com"));
                assert_eq!(told, (None, status), "{map} {key} {keys:?}");
            }
        }
        assert_eq!(sendmail.map("mailboxs", "found@example.com"), (None, perm), "no such entry: {keys:?}");

        let _daemon = sendmail.start();
        let mut smtp = Smtp::begin(sendmail.port());
        let mut rcpt =
            |key: &str| smtp.rcpt(&format!("{key}@example.com")).chars().take(9).collect::<String>();
        assert_eq!(rcpt("found"), "250 2.1.5", "{keys:?}");
        assert_eq!(rcpt("absent"), "550 5.1.1", "{keys:?}");
        assert_eq!(rcpt("away"), "451 4.3.0", "{keys:?}");
        assert_eq!(rcpt("gone"), reply, "{keys:?}");
    }
}
