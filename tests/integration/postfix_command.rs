//! `postfix` and `postfix --check` with a real Postfix: the lines that it prints work there, and each mistake
//! in main.cf or master.cf is told.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::support::backend::{Backend, Reply};
use crate::support::broker::Broker;
use crate::support::command_line::{run, text};
use crate::support::config::{Config, Kind};
use crate::support::postfix::Postfix;
use crate::support::site::open_directory;
use crate::support::smtp::Smtp;

/// A configuration with a map, a policy and logins with tokens, all through spawned clients of user nobody.
fn spawned(directory: &Path, api: &Backend) -> PathBuf {
    let tokens = "sasl_oidc_auth: {enabled: true, validation: jwks, configuration_uri: \"https://id.example.org/.well-known/openid-configuration\", audiences: [mail], client_id: mail, account_claim: email}";
    Config::new(directory)
        .ipc_field("allow_users: [nobody]")
        .map("mailboxes", &api.url("/"), &[])
        .policy("recipients", &api.url("/"), &[])
        .login("users", &api.url("/"), &[tokens])
        .write()
}

fn api() -> Backend {
    Backend::start(|_| Reply::with_header("Auth-User", "u", r#"{"value": "yes", "action": "DUNNO"}"#))
}

/// Puts the lines that `postfix` prints into `postfix`, with the client of the tests.
fn install(postfix: &Postfix, config: &Path) {
    let printed = run(config, &["postfix", "--postfix-config", &etc(postfix)], "");
    assert!(printed.status.success(), "{}", text(&printed));
    let printed = text(&printed);
    let (main, master) = printed.split_once("# master.cf\n").expect("two parts");
    let lines = main.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    for setting in lines.collect::<Vec<_>>().join("\n").replace("\n ", " ").lines() {
        postfix.main_cf(setting);
    }
    let client = |line: &str| match line
        .split_once("argv=")
        .and_then(|(head, rest)| Some((head, rest.split_once(' ')?)))
    {
        Some((head, (_, arguments))) => format!("{head}argv={} {arguments}\n", postfix.program().display()),
        None => format!("{line}\n"),
    };
    postfix.master_cf(&master.lines().map(client).collect::<String>());
}

fn etc(postfix: &Postfix) -> String {
    postfix.configuration().display().to_string()
}

/// What `postfix --check` says, and its exit code.
fn check(config: &Path, postfix: &Postfix) -> (Option<i32>, String) {
    let told = run(config, &["postfix", "--check", "--postfix-config", &etc(postfix)], "");
    (told.status.code(), text(&told))
}

/// A Postfix with the printed lines, a table in use, and logins that an smtpd offers.
fn installed(config: &Path) -> Postfix {
    let postfix = Postfix::prepare();
    install(&postfix, config);
    postfix.main_cf("virtual_mailbox_maps = socketmap:unix:private/pfx-map:mailboxes");
    postfix
        .postconf(&["-M", "submission/inet=submission inet n - n - - smtpd -o smtpd_sasl_auth_enable=yes"]);
    postfix
}

#[test]
fn the_printed_lines_work() {
    let (directory, api) = (open_directory(), api());
    let config = spawned(directory.path(), &api);
    let _broker = Broker::start(&config);
    let mut postfix = Postfix::prepare();
    install(&postfix, &config);
    postfix.main_cf("virtual_mailbox_maps = socketmap:unix:private/pfx-map:mailboxes");
    let port = postfix.smtpd(&[("smtpd_sasl_auth_enable", "yes"), ("smtpd_tls_auth_only", "no")]);
    assert_eq!(postfix.check(), "", "postfix check is silent");
    let (code, told) = check(&config, &postfix);
    assert!(told.contains("passwords may be sent without TLS"), "{told}");
    assert_eq!((code, told.lines().count()), (Some(0), 2), "{told}");
    postfix.start();
    let mut smtp = Smtp::begin(port);
    let reply = smtp.rcpt("known@example.com");
    assert!(reply.starts_with("250 "), "{reply}");
    assert_eq!(api.count(), 2, "the policy and the map were asked");
}

#[test]
fn the_lines_of_listeners_name_their_sockets() {
    let (directory, api) = (open_directory(), api());
    let path = directory.path().join("users.sock");
    let config = Config::new(directory.path())
        .listen_tcp(Kind::Map, "maps", 23450)
        .listen(Kind::Policy, "p", "type: tcp6, address: \"[::]\", port: 23451")
        .listen_unix(Kind::Login, "users", &path)
        .map("m", &api.url("/"), &[])
        .policy("p", &api.url("/"), &[])
        .login("users", &api.url("/"), &[])
        .write();
    let postfix = Postfix::prepare();
    let printed = text(&run(&config, &["postfix", "--postfix-config", &etc(&postfix)], ""));
    for line in [
        "#   socketmap:inet:127.0.0.1:23450:m\n".to_owned(),
        "  check_policy_service inet:[::1]:23451\n".to_owned(),
        format!("smtpd_sasl_path = {}\n", path.display()),
        "# No service is needed".to_owned(),
    ] {
        assert!(printed.contains(&line), "{line}: {printed}");
    }
    assert!(!printed.contains("time_limit") && !printed.contains("spawn"), "{printed}");
    let (code, told) = check(&config, &postfix);
    assert_eq!((code, told.matches("Postfix does not use it").count()), (Some(0), 3), "{told}");
    install(&postfix, &config);
    postfix.main_cf("transport_maps = pipemap:{socketmap:inet:localhost:23450:m}");
    let (code, told) = check(&config, &postfix);
    assert_eq!(code, Some(0), "{told}");
    assert!(!told.contains("does not use"), "{told}");
    postfix.postconf(&["-M", "smtp/inet=smtp inet n - n - - smtpd"]);
    postfix.main_cf("relay_domains = socketmap:inet:[::1]:23451:m");
    postfix.main_cf(
        "smtpd_relay_restrictions = check_recipient_access socketmap:inet:localhost:23450:m, reject",
    );
    let (code, told) = check(&config, &postfix);
    assert_eq!(code, Some(78), "{told}");
    for due in [
        "error: main.cf: relay_domains: inet:[::1]:23451: the listener does not serve a map",
        "error: main.cf: smtpd_relay_restrictions: pfxhttp is asked before reject_unauth_destination: an OK",
    ] {
        assert!(told.contains(due), "{due}: {told}");
    }
}

/// Lines at the end of main.cf, and what the check says.
const MAIN_CF: &[(&str, &str)] = &[
    (
        "smtpd_relay_restrictions =\nsmtpd_recipient_restrictions = check_policy_service unix:private/pfx-policy, reject_unauth_destination",
        "error: main.cf: smtpd_recipient_restrictions: pfxhttp is asked before reject_unauth_destination: an OK",
    ),
    (
        "smtpd_relay_restrictions = check_policy_service unix:private/pfx-policy, reject_unauth_destination",
        "error: main.cf: smtpd_relay_restrictions: ",
    ),
    (
        "smtpd_recipient_restrictions = check_policy_service {unix:private/pfx-policy, timeout=9s} reject_unauth_destination",
        "warning: main.cf: smtpd_recipient_restrictions: pfxhttp is asked before reject_unauth_destination: only smtpd_relay",
    ),
    (
        "virtual_mailbox_maps = socketmap:unix:private/pfx-map:Mailboxes",
        "error: main.cf: virtual_mailbox_maps: there is no map \"Mailboxes\" in socket_maps; there are: mailboxes",
    ),
    (
        "transport_maps = socketmap:unix:private/pfx-maps:mailboxes",
        "error: main.cf: transport_maps: unix:private/pfx-maps: there is no service pfx-maps in master.cf",
    ),
    ("transport_maps = socketmap:unix:private/pfx-policy:mailboxes", "the service does not serve a map"),
    (
        "pfx-map_time_limit = $command_time_limit",
        "warning: main.cf: pfx-map_time_limit is 1000s; set it to 3600",
    ),
    ("pfx-sasl_time_limit = 1h", "warning: main.cf: pfx-sasl_time_limit is 1h; set it to 10800"),
    ("line_length_limit = 2048", "warning: main.cf: line_length_limit is 2048; set it to 12288"),
    (
        "smtpd_recipient_restrictions = reject_unauth_destination",
        "note: policy \"recipients\": Postfix does not use it",
    ),
    ("smtpd_sasl_type = cyrus", "error: master.cf: submission: smtpd_sasl_type is cyrus; it must be dovecot"),
    ("smtpd_tls_auth_only = no", "warning: master.cf: submission: passwords may be sent without TLS"),
    ("virtual_transport = virtual", "error: main.cf: virtual_mailbox_maps: virtual(8) refuses a socketmap"),
    ("alias_maps = socketmap:unix:private/pfx-map:mailboxes", "error: main.cf: alias_maps: local(8) refuses"),
];

/// A replacement in master.cf, and what the check says.
const MASTER_CF: &[(&str, &str, &str)] = &[
    ("user=nobody", "user=postfix", "error: master.cf: pfx-map: spawn(8) refuses user=postfix"),
    ("user=nobody", "user=daemon", "error: master.cf: pfx-map: user=daemon is not in server.ipc.allow_users"),
    (
        "policy recipients",
        "policy receipts",
        "error: master.cf: pfx-policy: there is no entry \"receipts\" in policy_services",
    ),
    ("sasl users", "sasl user", "error: master.cf: pfx-sasl: there is no entry \"user\" in dovecot_sasl"),
    (
        "PLAIN,LOGIN,OAUTHBEARER,XOAUTH2",
        "PLAIN,LOGIN",
        "note: master.cf: pfx-sasl: \"users\" takes tokens, but",
    ),
    ("--socket /", "--socket /elsewhere/", "error: master.cf: pfx-map: the client connects to /elsewhere/"),
    ("argv=/", "argv=/elsewhere/", "error: master.cf: pfx-map: /elsewhere/"),
    ("n       n       -       0", "n       y       -       0", "error: master.cf: pfx-map: chroot must be n"),
    ("n       n       -       0", "y       n       -       0", "error: master.cf: pfx-map: unpriv must be n"),
    (
        "-       0       spawn",
        "-       -       spawn",
        "warning: master.cf: pfx-policy: maxproc is -; set it to 0",
    ),
    ("smtpd_sasl_auth_enable=yes", "x=y", "note: no smtpd of master.cf offers logins"),
    (
        "smtpd_sasl_auth_enable=yes",
        "{ smtpd_relay_restrictions = check_policy_service unix:private/pfx-policy }",
        "error: master.cf: submission: smtpd_relay_restrictions: ",
    ),
];

#[test]
fn each_mistake_is_told() {
    let (directory, api) = (open_directory(), api());
    let config = spawned(directory.path(), &api);
    let postfix = installed(&config);
    let (code, told) = check(&config, &postfix);
    assert_eq!((code, told), (Some(0), format!("{}: OK\n", etc(&postfix))));
    let expect = |what: &str, due: &str| {
        let (code, told) = check(&config, &postfix);
        let is_error = told.lines().any(|line| line.starts_with("error: "));
        assert_eq!(code, Some(if is_error { 78 } else { 0 }), "{what}: {told}");
        assert!(told.contains(due), "{what}: {told}");
    };
    // Postfix reads a file only once it is older than a second.
    let write = |file: &Path, text: &str| {
        fs::write(file, text).expect("a file of Postfix can be written");
        let past = SystemTime::now() - Duration::from_secs(60);
        fs::File::options()
            .write(true)
            .open(file)
            .and_then(|file| file.set_modified(past))
            .expect("its time");
    };
    let [main, master] = ["main.cf", "master.cf"].map(|name| postfix.configuration().join(name));
    let good = fs::read_to_string(&main).expect("main.cf");
    for (lines, due) in MAIN_CF {
        write(&main, &format!("{good}{lines}\n"));
        expect(lines, due);
    }
    write(&main, &good);
    let good = fs::read_to_string(&master).expect("master.cf");
    for (from, to, due) in MASTER_CF {
        assert!(good.contains(from), "{from}: {good}");
        write(&master, &good.replace(from, to));
        expect(to, due);
    }
}

#[test]
fn without_a_postfix_the_check_says_so() {
    let (directory, api) = (open_directory(), api());
    let config = spawned(directory.path(), &api);
    let nowhere = directory.path().join("nowhere");
    let nowhere = nowhere.to_str().expect("UTF-8");
    let told = run(&config, &["postfix", "--check", "--postfix-config", nowhere], "");
    assert_eq!(told.status.code(), Some(69), "{}", text(&told));
    assert!(text(&told).starts_with("pfxhttp-broker: postconf(1) fails: "), "{}", text(&told));
    // The lines are printed all the same.
    assert!(run(&config, &["postfix", "--postfix-config", nowhere], "").status.success());
}
