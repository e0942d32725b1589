//! Tests of the programs that log in (doveadm, swaks, curl, Postfix) against a server in a thread of
//! the test: they report success, denial and silence as the other tests assume.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use crate::support::auth_server::{AuthServer, Says};
use crate::support::doveadm;
use crate::support::mail_clients::{curl, swaks};
use crate::support::peer::Peer;
use crate::support::postfix::Postfix;
use crate::support::sasl::{Heard, Sasl};
use crate::support::site::open_directory;
use crate::support::smtp::Smtp;

#[test]
fn a_raw_peer_distinguishes_answer_silence_and_end() {
    let server = AuthServer::usual();
    let peers = [
        (Peer::unix(&server.path()), Heard::Closed(Vec::new())),
        (Peer::tcp(server.address()), Heard::Reset),
    ];
    for (peer, end) in peers {
        let mut sasl = Sasl::begin(peer);
        assert_eq!(sasl.mechanisms(), ["PLAIN", "LOGIN", "OAUTHBEARER", "XOAUTH2"]);
        assert_eq!(sasl.handshake()[0], "VERSION\t1\t2");
        sasl.plain(7, "u@example.com", "secret");
        assert_eq!(sasl.line(), "OK\t7\tuser=u@example.com");
        sasl.plain(8, "u@example.com", "wrong");
        assert_eq!(sasl.line(), "FAIL\t8\treason=no");
        sasl.auth(9, "LOGIN", None);
        assert_eq!(sasl.line(), "CONT\t9\tVXNlcm5hbWU6");
        sasl.cont(9, "u@example.com");
        assert_eq!(sasl.line(), "CONT\t9\tUGFzc3dvcmQ6");
        sasl.cont(9, "secret");
        assert_eq!(sasl.line(), "OK\t9\tuser=u@example.com");
        sasl.xoauth2(10, "u@example.com", "good-token");
        assert_eq!(sasl.line(), "OK\t10\tuser=u@example.com");
        sasl.oauthbearer(11, "u@example.com", "bad-token");
        assert!(sasl.line().starts_with("CONT\t11\t"));
        sasl.cancel(11);
        assert_eq!(sasl.next(Duration::from_millis(200)), Heard::Nothing);
        sasl.plain(12, "u@example.com", "broken");
        assert_eq!(sasl.next(Duration::from_secs(5)), end);
        assert!(sasl.peer().rest().is_empty(), "no other line was sent");
    }
    let heard = server.heard();
    let auth = heard.iter().find(|line| line.starts_with("AUTH\t7\t")).expect("it was sent");
    assert!(auth.ends_with("\tresp=AHVAZXhhbXBsZS5jb20Ac2VjcmV0"), "{auth}");
}

#[test]
fn doveadm_distinguishes_acceptance_and_denial() {
    let server = AuthServer::usual();
    let accepted = doveadm::auth_test(&server.path(), "u@example.com", "secret");
    assert_eq!(accepted.accepted, Some(true), "{accepted:?}");
    assert_eq!(accepted.fields.get("user").map(String::as_str), Some("u@example.com"), "{accepted:?}");
    let denied = doveadm::auth_test(&server.path(), "u@example.com", "wrong");
    assert_eq!(denied.accepted, Some(false), "{denied:?}");
    assert_eq!(denied.fields.get("reason").map(String::as_str), Some("no"), "{denied:?}");
    let failing =
        AuthServer::start(|fields| Says::Lines(format!("FAIL\t{}\tcode=temp_fail\ttemp\n", fields[1])));
    let failed = doveadm::auth_test(&failing.path(), "u@example.com", "secret");
    assert_eq!(failed.accepted, None, "{failed:?}");
    let heard = server.heard();
    let auth = heard.iter().find(|line| line.starts_with("AUTH\t")).expect("it asked");
    assert!(auth.contains("\tservice=smtp\t") && auth.contains("\trip=192.0.2.7\t"), "{auth}");
}

#[test]
fn postfix_and_mail_programs_log_in() {
    let server = AuthServer::usual();
    let mut postfix = Postfix::prepare();
    let unix = postfix.sasl_smtpd(&server.path().display().to_string(), &[]);
    let tcp = postfix.sasl_smtpd(&format!("inet:{}", server.address()), &[]);
    let by_token = ["XOAUTH2", "OAUTHBEARER"].map(|mechanism| {
        let filter = [("smtpd_sasl_mechanism_filter", mechanism)];
        (mechanism, postfix.sasl_smtpd(&server.path().display().to_string(), &filter))
    });
    postfix.start();
    for port in [unix, tcp] {
        let (mut smtp, ehlo) = Smtp::greet(port);
        assert!(ehlo.contains("250-AUTH PLAIN LOGIN OAUTHBEARER XOAUTH2"), "{ehlo}");
        let wrong = smtp.auth_plain("u@example.com", "wrong");
        assert_eq!(wrong.get(..9), Some("535 5.7.8"), "{wrong}");
        let broken = smtp.auth_plain("u@example.com", "broken");
        assert_eq!(broken.get(..9), Some("454 4.7.0"), "{broken}");
        assert_eq!(smtp.command("AUTH LOGIN"), "334 VXNlcm5hbWU6");
        assert_eq!(smtp.respond("u@example.com"), "334 UGFzc3dvcmQ6");
        let right = smtp.respond("secret");
        assert_eq!(right.get(..9), Some("235 2.7.0"), "{right}");
    }
    for mechanism in ["PLAIN", "LOGIN"] {
        let codes = ["secret", "wrong"].map(|password| swaks(unix, mechanism, "u@example.com", password));
        assert_eq!(codes.each_ref().map(|login| login.code), [235, 535], "{mechanism}: {codes:?}");
    }
    for ((mechanism, port), refusal) in by_token.into_iter().zip([334, 535]) {
        for at_once in [true, false] {
            let codes = ["good-token", "bad-token"]
                .map(|token| curl(port, mechanism, "u@example.com", token, at_once));
            assert_eq!(codes.each_ref().map(|login| login.code), [235, refusal], "{mechanism}: {codes:?}");
        }
        let (mut smtp, _) = Smtp::greet(port);
        let challenge = smtp.auth(mechanism, "user=u\x01auth=Bearer bad-token\x01\x01");
        assert!(challenge.starts_with("334 eyJ"), "{challenge}");
        let refused = smtp.respond(if mechanism == "XOAUTH2" { "" } else { "\x01" });
        assert_eq!(refused.get(..9), Some("535 5.7.8"), "{refused}");
    }
}

/// A shell script in place of the client, for PLAIN alone. It accepts every login if its arguments are
/// the expected ones.
const STAND_IN: &str = r#"#!/bin/sh
printf 'VERSION\t1\t2\nMECH\tPLAIN\tplaintext\nSPID\t1\nCUID\t1\n'
printf 'COOKIE\t0123456789abcdef0123456789abcdef\nDONE\n'
tab=$(printf '\t')
while IFS=$tab read -r word id rest; do
    [ "$word" = AUTH ] || continue
    case $* in
    "--socket "*" --mechanisms PLAIN,LOGIN sasl login") printf 'OK\t%s\tuser=u\n' "$id" ;;
    *) printf 'FAIL\t%s\treason=%s\n' "$id" "$*" ;;
    esac
done
"#;

#[test]
fn postfix_spawns_a_client_for_logins() {
    let directory = open_directory();
    let stand_in = directory.path().join("client");
    std::fs::write(&stand_in, STAND_IN).expect("a script can be written");
    std::fs::set_permissions(&stand_in, PermissionsExt::from_mode(0o755)).expect("its mode can be set");
    let mut postfix = Postfix::prepare();
    postfix.replace_program(&stand_in);
    let socket = directory.path().join("none.sock");
    postfix.spawn("pfx-sasl", &socket, "--mechanisms PLAIN,LOGIN sasl login");
    let port = postfix.sasl_smtpd("private/pfx-sasl", &[]);
    postfix.start();
    let (mut smtp, ehlo) = Smtp::greet(port);
    assert!(ehlo.contains("\n250-AUTH PLAIN\n"), "{ehlo}");
    let reply = smtp.auth_plain("u@example.com", "secret");
    assert_eq!(reply.get(..9), Some("235 2.7.0"), "{reply}");
}
