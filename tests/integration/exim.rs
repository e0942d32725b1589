//! A real Exim authenticates users with its Dovecot authenticator, over a unix and a TCP listener.

use crate::support::backend::{Backend, Reply, Request};
use crate::support::exim::Exim;
use crate::support::mail_clients::swaks;
use crate::support::setup::Setup;
use crate::support::site::Way;

fn users(request: &Request) -> Reply {
    match request.text("password").as_str() {
        "secret" => Reply::with_header("Auth-Status", "OK", ""),
        _ => Reply::with_header("Auth-Status", "Invalid login or password", ""),
    }
}

#[test]
fn exim_sees_success_denial_and_temporary_failure() {
    let mut api = Backend::start(users);
    let setup = Setup::start(|config| config.login("users", &api.url("/auth"), &[]));
    for way in [Way::Unix, Way::Tcp] {
        let exim = Exim::start(&match way {
            Way::Tcp => format!("127.0.0.1 {}", setup.login_port("users").number()),
            _ => setup.socket("users").display().to_string(),
        });
        let log_in = |mechanism: &str, password: &str| {
            let login = swaks(exim.port(), mechanism, "u@example.com", password);
            (login.code, login.reply)
        };
        for mechanism in ["PLAIN", "LOGIN"] {
            let what = format!("{way:?} {mechanism}");
            assert_eq!(log_in(mechanism, "secret").0, 235, "{what}: {}", exim.log());
            assert_eq!(api.last().text("username"), "u@example.com", "{what}");
            assert_eq!(log_in(mechanism, "wrong").0, 535, "{what}: {}", exim.log());
            for trouble in [Reply::status(503), Reply::status(404), Reply::status(401), Reply::json("{}")] {
                let answer = trouble.clone();
                api.answer_with(move |_| answer.clone());
                let (code, reply) = log_in(mechanism, "secret");
                assert_eq!(code, 435, "{what}: {trouble:?}: {reply}\n{}", exim.log());
            }
            api.answer_with(users);
            api.down();
            assert_eq!(log_in(mechanism, "secret").0, 435, "{what}, no API: {}", exim.log());
            api.up();
            assert_eq!(log_in(mechanism, "secret").0, 235, "{what}, after the outage: {}", exim.log());
        }
    }
}
