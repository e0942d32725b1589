//! Credentials that the API is not asked about: each reason has its own text in the reply and in the
//! log, with user, remote address and entry, as fail2ban reads it. Texts of clients are bounded
//! wherever they are written.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::support::PATIENCE;
use crate::support::backend::{Backend, Reply, Request};
use crate::support::client::{Client, program};
use crate::support::peer::Peer;
use crate::support::postfix::Postfix;
use crate::support::sasl::{Heard, Sasl};
use crate::support::setup::Setup;
use crate::support::site::{Way, open_directory};
use crate::support::smtp::Smtp;

/// The longest password that is accepted.
const LONGEST: usize = 8192;

/// An API that accepts any password but one.
fn api() -> Backend {
    Backend::start(|request: &Request| match request.text("password").as_str() {
        "wrong" => Reply::with_header("Auth-Status", "no", ""),
        _ => Reply::with_header("Auth-Status", "OK", ""),
    })
}

fn setup(api: &Backend) -> Setup {
    Setup::start(|config| config.login("users", &api.url("/auth"), &[]))
}

/// A token of three parts of this total length, as JSON web tokens are.
fn jwt(length: usize) -> String {
    let head = STANDARD.encode(r#"{"alg":"RS256","typ":"JWT"}"#).replace('=', "");
    format!("{head}.{}.{}", "eyJzdWIiOiIxIn0".repeat(4), "s-_9".repeat(length / 4))
}

/// A response of PLAIN, the reason why it is refused, and the user that the log names.
fn refusals() -> Vec<(Vec<u8>, &'static str, &'static str)> {
    let long = |count: usize| [b"\0u@example.com\0".as_slice(), &vec![b'x'; count]].concat();
    vec![
        (b"\0u@example.com\0".to_vec(), "empty password", "u@example.com"),
        (long(LONGEST + 1), "the password is longer than 8192 bytes", "u@example.com"),
        (b"\0u@example.com\0p\xe9".to_vec(), "the password is not UTF-8", "u@example.com"),
        (b"\0\0secret".to_vec(), "empty user name", ""),
        (b"\0a\tb\0secret".to_vec(), "control character in the user name", "a\\tb"),
        (b"\0a\n\" login denied\0secret".to_vec(), "control character in the user name", "a\\n\\\" login"),
        (b"\0a\xffb\0secret".to_vec(), "the user name is not UTF-8", "a\u{fffd}b"),
        (
            [b"\0".as_slice(), &[b'n'; 256], b"\0secret"].concat(),
            "the user name is longer than 255 bytes",
            "nnnn",
        ),
        (b"boss\0u@example.com\0secret".to_vec(), "not allowed to act for another user", "u@example.com"),
        (b"\0u@example.com\0sec\0ret".to_vec(), "invalid PLAIN data format", "u@example.com"),
        (b"no NUL at all".to_vec(), "invalid PLAIN data format", ""),
    ]
}

#[test]
fn long_passwords_and_control_characters_reach_the_api() {
    let api = api();
    let setup = setup(&api);
    let control: String = (1..32u8).chain([127]).map(char::from).chain(['\u{85}', '\u{2028}']).collect();
    for way in Way::ALL {
        for password in [
            "x".repeat(256),
            "\u{e9}".repeat(LONGEST / 2),
            "tab\there".to_owned(),
            control.clone(),
            jwt(3000),
        ] {
            let mut sasl = setup.login(way, "users");
            let before = api.count();
            sasl.plain(1, "u", &password);
            assert_eq!(sasl.line(), "OK\t1\tuser=u", "{way:?} {} bytes by PLAIN", password.len());
            assert_eq!(api.last().text("password"), password, "{way:?}");
            sasl.auth(2, "LOGIN", Some(b"u"));
            assert_eq!(sasl.line(), "CONT\t2\tUGFzc3dvcmQ6");
            sasl.cont(2, &password);
            assert_eq!(sasl.line(), "OK\t2\tuser=u", "{way:?} {} bytes by LOGIN", password.len());
            assert_eq!(api.last().text("password"), password, "{way:?}");
            assert_eq!(api.count() - before, 2, "{way:?}: each is sent once");
        }
    }
    assert!(!setup.broker.log().contains("here"), "{}", setup.broker.log());
}

#[test]
fn each_reason_has_its_own_text_in_reply_and_log() {
    let api = api();
    let setup = setup(&api);
    for way in [Way::Unix, Way::Tcp] {
        let mut sasl = setup.login(way, "users");
        for (id, (response, reason, user)) in (1..).zip(refusals()) {
            sasl.auth(id, "PLAIN", Some(&response));
            assert_eq!(sasl.line(), format!("FAIL\t{id}\treason={reason}"), "{way:?}");
            assert!(logged(&setup, "PLAIN", reason, user), "{way:?}: {reason}: {}", setup.broker.log());
        }
        sasl.auth(100, "LOGIN", Some(b"bob"));
        assert_eq!(sasl.line(), "CONT\t100\tUGFzc3dvcmQ6");
        sasl.cont(100, b"NUL\0inside");
        assert_eq!(sasl.line(), "FAIL\t100\treason=NUL in the password", "{way:?}");
        assert!(logged(&setup, "LOGIN", "NUL in the password", "bob"), "{}", setup.broker.log());
        sasl.auth(101, "LOGIN", Some(b"carol"));
        assert_eq!(sasl.line(), "CONT\t101\tUGFzc3dvcmQ6");
        sasl.say("CONT\t101\t!!");
        assert_eq!(sasl.line(), "FAIL\t101\treason=invalid base64 data", "{way:?}");
        assert!(logged(&setup, "LOGIN", "invalid base64 data", "carol"), "{}", setup.broker.log());
        sasl.auth(102, "CRAM-MD5", None);
        assert_eq!(sasl.line(), "FAIL\t102\treason=unsupported mechanism", "{way:?}");
        assert!(logged(&setup, "CRAM-MD5", "unsupported mechanism", ""), "{}", setup.broker.log());
    }
    assert_eq!(api.count(), 0, "no request is sent");
    let log = setup.broker.log();
    assert!(!log.contains("secret") && !log.contains("xxxx") && !log.contains("no NUL"), "{log}");
    for line in log.lines().filter(|line| line.contains("login refused")) {
        assert!(line.len() < 600, "{} bytes: {line}", line.len());
    }
}

/// Whether the log has such a line, with the address before any text of the user, as fail2ban needs it.
fn logged(setup: &Setup, mechanism: &str, reason: &str, user: &str) -> bool {
    let begin = format!("login refused without asking name=\"users\" remote=\"192.0.2.7\" user=\"{user}");
    let end = format!("mechanism=\"{mechanism}\" reason=\"{reason}\"");
    setup.broker.logged(&[&begin, &end])
}

#[test]
fn the_fail2ban_filter_matches_refusals_in_both_log_formats() {
    let filter = Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib/fail2ban/pfxhttp.conf");
    let filter = fs::read_to_string(filter).expect("the filter");
    for (json, due) in [
        ("false", "\\blogin (?:denied|refused without asking) name=\"[^\"]*\" remote=\"<HOST>\" user=\""),
        (
            "true",
            "\"message\":\"login (?:denied|refused without asking)\",\"name\":\"[^\"]*\",\"remote\":\"<HOST>\",\"user\":\"",
        ),
    ] {
        assert!(filter.contains(due), "{due}");
        let api = api();
        let setup = Setup::start_with(&[("PFXHTTP_SERVER_LOGGING_JSON", json)], |config| {
            config.login("users", &api.url("/"), &[])
        });
        let mut sasl = setup.login(Way::Unix, "users");
        sasl.auth(1, "PLAIN", Some(b"\0u\" remote=\"198.51.100.1\0"));
        assert_eq!(sasl.line(), "FAIL\t1\treason=empty password", "json: {json}");
        let due = due.replace("(?:denied|refused without asking)", "refused without asking");
        let due = due.replace("[^\"]*", "users").replace("<HOST>", "192.0.2.7").replace("\\b", "");
        assert!(setup.broker.logged(&[&due]), "{due}: {}", setup.broker.log());
    }
}

/// A client in a mount namespace of its own, where /dev/log is a socket of the test.
fn client_with_syslog(setup: &Setup, dev: &Path) -> Peer {
    let made = Command::new("cp").args(["-a", "/dev/null"]).arg(dev.join("null")).status();
    assert!(made.expect("cp").success(), "a null device");
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", r#"mount --bind "$0" /dev && exec "$@""#]).arg(dev);
    command.arg(program()).arg("--socket").arg(setup.ipc()).args(["--no-hand-over", "sasl", "users"]);
    Peer::client(Client::launch(command))
}

#[test]
fn a_spawned_client_logs_the_same_to_syslog() {
    let api = api();
    let setup = setup(&api);
    let dev = open_directory();
    let syslog = UnixDatagram::bind(dev.path().join("log")).expect("a socket");
    syslog.set_read_timeout(Some(PATIENCE)).expect("a time limit");
    let mut sasl = Sasl::begin(client_with_syslog(&setup, dev.path()));
    let said = || {
        let mut line = vec![0; 8192];
        let count = syslog.recv(&mut line).expect("a line in time");
        String::from_utf8(line[..count].to_vec()).expect("UTF-8")
    };
    for (id, (response, reason, user)) in (1..).zip(refusals()) {
        sasl.auth(id, "PLAIN", Some(&response));
        assert_eq!(sasl.line(), format!("FAIL\t{id}\treason={reason}"));
        let line = said();
        let begin =
            format!(": login refused without asking name=\"users\" remote=\"192.0.2.7\" user=\"{user}");
        assert!(line.contains(&begin), "{begin}: {line}");
        assert!(line.contains(&format!(" mechanism=\"PLAIN\" reason=\"{reason}\"")), "{line}");
        assert!(!line.contains('\n') && !line.contains("secret") && line.len() < 600, "{line:?}");
    }
    sasl.say("AUTH\t90\tPLAIN\tservice=smtp\trip=192.0.2.7\tresp=AHUAYW");
    assert_eq!(sasl.line(), "FAIL\t90\treason=invalid base64 data");
    assert!(said().contains("line_length_limit"), "the log names Postfix' line_length_limit");
    assert_eq!(api.count(), 0, "no request is sent");
}

#[test]
fn long_texts_are_cut_in_replies_and_logs() {
    let status = format!("no such user {}", "s".repeat(20_000));
    let api = Backend::start(move |_| Reply::with_header("Auth-Status", &status, ""));
    let setup = setup(&api);
    let long = |begin: &str| format!("{begin}{}", "9".repeat(1500));
    for way in Way::ALL {
        let mut sasl = setup.login(way, "users");
        let [rip, lip, rport, service, id, cipher] =
            ["192.0.2.7", "127.0.0.1", "4711", "smtp", "mua", "X"].map(long);
        sasl.say(format!(
            "AUTH\t1\tPLAIN\tservice={service}\trip={rip}\tlip={lip}\trport={rport}\tlport={rport}\t\
             client_id={id}\tssl_cipher={cipher}\tresp=AHUAd3Jvbmc="
        ));
        let line = sasl.line();
        assert!(line.starts_with("FAIL\t1\treason=no such user sss") && line.len() < 300, "{way:?}: {line}");
        let body = api.last().json();
        for (name, value) in body.as_object().expect("an object") {
            let value = value.as_str().expect("a text");
            assert!(value.len() <= 255, "{way:?}: {name} has {} bytes", value.len());
        }
        assert!(api.last().text("client_ip").len() <= 64, "{way:?}");
    }
    // A name that no entry has.
    let name = "m".repeat(50_000);
    assert_eq!(setup.map().look_up(&name, "k"), "PERM unknown map");
    let mut stranger = Sasl::begin(setup.client(&["sasl", &name]));
    stranger.plain(1, "u", "wrong");
    assert_eq!(stranger.next(PATIENCE), Heard::Closed(Vec::new()));
    assert!(setup.broker.logged(&["there is no such entry in dovecot_sasl"]));
    let log = setup.broker.log();
    assert_eq!(
        log.lines().filter(|line| line.contains("login denied")).count(),
        Way::ALL.len(),
        "{}",
        log.len()
    );
    for line in log.lines() {
        assert!(line.len() < 1000, "{} bytes: {}", line.len(), &line[..200]);
    }
}

#[test]
fn a_password_that_a_cut_divides_is_not_shown_in_part() {
    let api = Backend::start(|request| {
        let said = format!("{} {}", "s".repeat(190), request.text("password"));
        Reply::with_header("Auth-Status", &said, "")
    });
    let setup = setup(&api);
    let mut sasl = setup.login(Way::Unix, "users");
    sasl.plain(1, "u", "hush-hush-hush-hush");
    assert_eq!(sasl.line(), "FAIL\t1\treason=authentication failed\tuser=u");
    assert!(!setup.broker.log().contains("hush"), "{}", setup.broker.log());
}

#[test]
fn postfix_passes_tokens_on_as_passwords() {
    let api = api();
    let setup = setup(&api);
    let mut postfix = Postfix::prepare();
    postfix.spawn("pfx-sasl", &setup.ipc(), "--mechanisms PLAIN,LOGIN sasl users");
    let forwarding = "--no-hand-over --mechanisms PLAIN,LOGIN sasl users";
    postfix.spawn("pfx-sasl-forwarding", &setup.ipc(), forwarding);
    let ports = Way::ALL.map(|way| {
        let settings = [("line_length_limit", "12288")];
        (way, postfix.sasl_smtpd(&setup.sasl_path(way, "users"), &settings))
    });
    postfix.start();
    let token = jwt(1500);
    for (way, port) in ports {
        let (mut smtp, _) = Smtp::greet(port);
        let reply = smtp.auth_plain("u@example.com", &token);
        assert!(reply.starts_with("235 2.7.0"), "{way:?} by PLAIN: {reply}");
        assert_eq!(api.last().text("password"), token, "{way:?}");
        let (mut smtp, _) = Smtp::greet(port);
        assert_eq!(smtp.command("AUTH LOGIN"), "334 VXNlcm5hbWU6");
        assert_eq!(smtp.respond("u@example.com"), "334 UGFzc3dvcmQ6");
        let reply = smtp.respond("x".repeat(LONGEST));
        assert!(reply.starts_with("235 2.7.0"), "{way:?} by LOGIN: {reply}");
        assert_eq!(api.last().text("password").len(), LONGEST, "{way:?}");
        let (mut smtp, _) = Smtp::greet(port);
        let reply = smtp.auth("PLAIN", b"\0u\0p\xe9");
        assert!(reply.starts_with("535 5.7.8") && reply.contains("the password is not UTF-8"), "{reply}");
    }
}
