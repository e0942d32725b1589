//! `postfix` and `postfix --check` with a real Postfix: the lines that it prints work there, and each mistake
//! in main.cf or master.cf is told.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
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
    // postconf(1) does not open it.
    postfix.main_cf("smtpd_tls_chain_files = /etc/postfix/submission.pem");
    postfix.postconf(&[
        "-M",
        "submission/inet=submission inet n - n - - smtpd -o smtpd_tls_security_level=may -o smtpd_sasl_auth_enable=yes",
    ]);
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
    postfix.main_cf("smtpd_tls_chain_files = /etc/postfix/submission.pem");
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

/// Socket units make them, in `private/`; their names begin as those of services do.
#[test]
fn listeners_in_the_directory_of_services_are_known() {
    let (directory, api) = (open_directory(), api());
    let postfix = Postfix::prepare();
    let queue = PathBuf::from(postfix.postconf(&["-xh", "queue_directory"]).trim_end());
    let listen = |name: &str| {
        let address = queue.join("private").join(format!("pfxhttp-{name}"));
        format!("type: unix, address: \"{}\", systemd_socket_name: {name}", address.display())
    };
    let config = Config::new(directory.path())
        .listen(Kind::Map, "maps", &listen("maps"))
        .listen(Kind::Policy, "recipients", &listen("recipients"))
        .listen(Kind::Login, "users", &listen("users"))
        .map("mailboxes", &api.url("/"), &[])
        .policy("recipients", &api.url("/"), &[])
        .login("users", &api.url("/"), &[])
        .write();
    install(&postfix, &config);
    postfix.main_cf("virtual_mailbox_maps = socketmap:unix:private/pfxhttp-maps:mailboxes");
    postfix.main_cf("smtpd_tls_chain_files = /etc/postfix/submission.pem");
    let (code, told) = check(&config, &postfix);
    assert_eq!(code, Some(0), "{told}");
    assert!(!told.contains("error: ") && !told.contains("does not use it"), "{told}");
    postfix.main_cf("transport_maps = socketmap:unix:private/pfxhttp-recipients:mailboxes");
    postfix.main_cf("canonical_maps = socketmap:unix:private/pfxhttp-nothing:mailboxes");
    let (code, told) = check(&config, &postfix);
    assert_eq!(code, Some(78), "{told}");
    let errors: Vec<_> = told.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!(
        errors,
        [
            "error: main.cf: canonical_maps: unix:private/pfxhttp-nothing: there is no service pfxhttp-nothing in master.cf",
            "error: main.cf: transport_maps: unix:private/pfxhttp-recipients: the listener does not serve a map",
        ]
    );
}

/// A mistake.
enum Change {
    /// Lines at the end of main.cf.
    Main(&'static str),
    /// A text in master.cf, and what replaces it.
    Master(&'static str, &'static str),
}

use Change::{Main, Master};

impl Change {
    /// Makes the change in a copy of the good files.
    fn write(&self, postfix: &Postfix, [main, master]: [&str; 2]) {
        let (main, master) = match self {
            Main(lines) => (format!("{main}{lines}\n"), master.to_owned()),
            Master(from, to) => {
                assert!(master.contains(from), "{from}: {master}");
                (main.to_owned(), master.replace(from, to))
            }
        };
        for (name, text) in [("main.cf", main), ("master.cf", master)] {
            let file = postfix.configuration().join(name);
            fs::write(&file, text).expect("a file of Postfix can be written");
            // Postfix reads a file only once it is older than a second.
            let past = SystemTime::now() - Duration::from_secs(60);
            let file = fs::File::options().write(true).open(file).expect("the file");
            file.set_modified(past).expect("its time");
        }
    }
}

/// Each mistake, and what the check says.
const MISTAKES: &[(Change, &str)] = &[
    (
        Main(
            "smtpd_relay_restrictions =\nsmtpd_recipient_restrictions = check_policy_service unix:private/pfx-policy, reject_unauth_destination",
        ),
        "error: main.cf: smtpd_recipient_restrictions: pfxhttp is asked before reject_unauth_destination: an OK",
    ),
    (
        Main(
            "smtpd_relay_restrictions = check_policy_service unix:private/pfx-policy, reject_unauth_destination",
        ),
        "error: main.cf: smtpd_relay_restrictions: ",
    ),
    (
        Main(
            "smtpd_recipient_restrictions = check_policy_service {unix:private/pfx-policy, timeout=9s} reject_unauth_destination",
        ),
        "warning: main.cf: smtpd_recipient_restrictions: pfxhttp is asked before reject_unauth_destination: only smtpd_relay",
    ),
    (
        Main("virtual_mailbox_maps = socketmap:unix:private/pfx-map:Mailboxes"),
        "error: main.cf: virtual_mailbox_maps: there is no map \"Mailboxes\" in socket_maps; there are: mailboxes",
    ),
    (
        Main("transport_maps = socketmap:unix:private/pfx-maps:mailboxes"),
        "error: main.cf: transport_maps: unix:private/pfx-maps: there is no service pfx-maps in master.cf",
    ),
    (
        Main("transport_maps = socketmap:unix:private/pfx-policy:mailboxes"),
        "the service does not serve a map",
    ),
    (
        Main("pfx-map_time_limit = $command_time_limit"),
        "warning: main.cf: pfx-map_time_limit is 1000s; set it to 3600",
    ),
    (Main("pfx-sasl_time_limit = 1h"), "warning: main.cf: pfx-sasl_time_limit is 1h; set it to 10800"),
    (Main("line_length_limit = 2048"), "warning: main.cf: line_length_limit is 2048; set it to 12288"),
    (
        Main("smtpd_recipient_restrictions = reject_unauth_destination"),
        "note: policy \"recipients\": Postfix does not use it",
    ),
    (
        Main("smtpd_sasl_type = cyrus"),
        "error: master.cf: submission: smtpd_sasl_type is cyrus; it must be dovecot",
    ),
    (Main("smtpd_tls_auth_only = no"), "warning: master.cf: submission: passwords may be sent without TLS"),
    (
        Main("virtual_transport = virtual"),
        "error: main.cf: virtual_mailbox_maps: virtual(8) refuses a socketmap",
    ),
    (
        Main("alias_maps = socketmap:unix:private/pfx-map:mailboxes"),
        "error: main.cf: alias_maps: local(8) refuses",
    ),
    (
        Main(
            "smtpd_restriction_classes = checks\nchecks = check_policy_service unix:private/pfx-policy\nsmtpd_relay_restrictions = checks, reject_unauth_destination",
        ),
        "error: main.cf: smtpd_relay_restrictions: pfxhttp is asked before",
    ),
    (
        Main(
            "smtpd_relay_restrictions =\nsmtpd_recipient_restrictions = permit_mynetworks, warn_if_reject reject_unauth_destination",
        ),
        "error: master.cf: submission: smtpd(8) does not start: neither",
    ),
    (
        Main("smtpd_policy_service_try_limit = 1"),
        "warning: main.cf: smtpd_policy_service_try_limit is 1; set it to 2",
    ),
    (
        Main("smtpd_policy_service_default_action = 550 5.7.1 no"),
        "error: main.cf: smtpd_policy_service_default_action is 550 5.7.1 no: an outage rejects mail",
    ),
    (
        Main("smtpd_policy_service_timeout = 20s"),
        "warning: main.cf: smtpd_policy_service_timeout is 20s, but \"recipients\" may take 30s",
    ),
    (
        Main(
            "smtpd_recipient_restrictions = reject_unauth_destination, check_policy_service { unix:private/pfx-policy, try_limit=1 }",
        ),
        "warning: main.cf: smtpd_recipient_restrictions: try_limit is 1",
    ),
    (
        Main("smtpd_policy_service_max_ttl = 2h"),
        "warning: main.cf: pfx-policy_time_limit is 3600; set it to 7201",
    ),
    (
        Main("smtpd_tls_chain_files ="),
        "warning: master.cf: submission: there is no certificate (smtpd_tls_chain_files): smtpd offers no TLS, and so no logins",
    ),
    (
        Main("mydestination = localhost, example.com"),
        "error: main.cf: example.com is in mydestination and in virtual_mailbox_domains",
    ),
    (
        Main("virtual_mailbox_domains = $virtual_mailbox_maps"),
        "warning: main.cf: virtual_mailbox_domains is not set",
    ),
    (Master("user=nobody", "user=postfix"), "error: master.cf: pfx-map: spawn(8) refuses user=postfix"),
    (
        Master("user=nobody", "user=daemon"),
        "error: master.cf: pfx-map: user=daemon is not in server.ipc.allow_users",
    ),
    (
        Master("policy recipients", "policy receipts"),
        "error: master.cf: pfx-policy: there is no entry \"receipts\" in policy_services",
    ),
    (
        Master("sasl users", "sasl user"),
        "error: master.cf: pfx-sasl: there is no entry \"user\" in dovecot_sasl",
    ),
    (
        Master("PLAIN,LOGIN,OAUTHBEARER,XOAUTH2", "PLAIN,LOGIN"),
        "note: master.cf: pfx-sasl: \"users\" takes tokens, but",
    ),
    (
        Master("--socket /", "--socket /elsewhere/"),
        "error: master.cf: pfx-map: the client connects to /elsewhere/",
    ),
    (Master("argv=/", "argv=/elsewhere/"), "error: master.cf: pfx-map: /elsewhere/"),
    (
        Master("n       n       -       0", "n       y       -       0"),
        "error: master.cf: pfx-map: chroot must be n",
    ),
    (
        Master("n       n       -       0", "y       n       -       0"),
        "error: master.cf: pfx-map: unpriv must be n",
    ),
    (
        Master("-       0       spawn", "-       -       spawn"),
        "warning: master.cf: pfx-policy: maxproc is -; set it to 0",
    ),
    (Master("smtpd_sasl_auth_enable=yes", "x=y"), "note: no smtpd of master.cf offers logins"),
    (
        Master(
            "smtpd_sasl_auth_enable=yes",
            "{ smtpd_relay_restrictions = check_policy_service unix:private/pfx-policy }",
        ),
        "error: master.cf: submission: smtpd_relay_restrictions: ",
    ),
    (
        Master("user=nobody", "user=noone"),
        "error: master.cf: pfx-map: user=noone: there is no user \"noone\"",
    ),
    (
        Master("user=nobody", "user=nobody:nogroups"),
        "error: master.cf: pfx-map: user=nobody:nogroups: there is no group \"nogroups\"",
    ),
    (
        Master("smtpd_tls_security_level=may", "smtpd_tls_security_level=none"),
        "warning: master.cf: submission: smtpd_tls_security_level is none: smtpd offers no TLS, and so no logins",
    ),
    (
        Master("smtpd_tls_security_level=may", "smtpd_tls_security_level="),
        "warning: master.cf: submission: smtpd_tls_security_level is not set",
    ),
    (
        Main("transport_maps = socketmap:inet:127.0.0.1:23459:mailboxes"),
        "note: main.cf: transport_maps: no listener of pfxhttp is at inet:127.0.0.1:23459",
    ),
    (
        Main(
            "smtpd_recipient_restrictions = reject_unauth_destination, check_policy_service inet:127.0.0.1:23459",
        ),
        "note: main.cf: smtpd_recipient_restrictions: no listener of pfxhttp is at inet:127.0.0.1:23459",
    ),
    (
        Main("smtpd_sasl_path = private/auth"),
        "note: main.cf: smtpd_sasl_path: no listener of pfxhttp is at unix:private/auth",
    ),
    (
        Master(
            "smtpd_tls_security_level=may",
            "smtpd_relay_restrictions= -o smtpd_recipient_restrictions=permit_mynetworks",
        ),
        "error: master.cf: submission: smtpd(8) does not start",
    ),
];

#[test]
fn each_mistake_is_told() {
    let (directory, api) = (open_directory(), api());
    let config = spawned(directory.path(), &api);
    let postfix = installed(&config);
    let (code, told) = check(&config, &postfix);
    assert_eq!((code, told), (Some(0), format!("{}: OK\n", etc(&postfix))));
    let good = ["main.cf", "master.cf"]
        .map(|name| fs::read_to_string(postfix.configuration().join(name)).expect("a file of Postfix"));
    for (change, due) in MISTAKES {
        change.write(&postfix, [&good[0], &good[1]]);
        let (code, told) = check(&config, &postfix);
        let is_error = told.lines().any(|line| line.starts_with("error: "));
        assert_eq!(code, Some(if is_error { 78 } else { 0 }), "{due}: {told}");
        assert!(told.contains(due), "{due}: {told}");
    }
}

/// Settings that look like mistakes and are none.
const NO_MISTAKES: &[Change] = &[
    // A content filter gives mail back, as FILTER_README has it.
    Master(
        "submission inet",
        "127.0.0.1:10025 inet n - n - - smtpd -o smtpd_relay_restrictions= -o mynetworks=127.0.0.0/8 \
         -o { smtpd_recipient_restrictions = permit_mynetworks, check_policy_service unix:private/pfx-policy, reject }\n\
         submission inet",
    ),
    Main(
        "smtpd_restriction_classes = checks\nchecks = reject_unauth_destination\nsmtpd_relay_restrictions = checks",
    ),
    Main("smtpd_policy_service_default_action = DUNNO"),
    Main("smtpd_tls_auth_only = no\nsmtpd_sasl_security_options = noanonymous, noplaintext"),
    Main("smtpd_tls_chain_files =\nsmtpd_tls_eccert_file = /etc/postfix/ec.pem"),
    Main("local_recipient_maps = $virtual_mailbox_maps"),
    // Other programs speak these protocols, too.
    Main("sender_canonical_maps = socketmap:unix:srs:forward"),
    Main(
        "smtpd_recipient_restrictions = reject_unauth_destination, check_policy_service inet:127.0.0.1:10023, check_policy_service unix:private/pfx-policy",
    ),
];

#[test]
fn what_is_no_mistake_is_not_told() {
    let (directory, api) = (open_directory(), api());
    let config = spawned(directory.path(), &api);
    let postfix = installed(&config);
    let good = ["main.cf", "master.cf"]
        .map(|name| fs::read_to_string(postfix.configuration().join(name)).expect("a file of Postfix"));
    for change in NO_MISTAKES {
        change.write(&postfix, [&good[0], &good[1]]);
        let (code, told) = check(&config, &postfix);
        assert_eq!((code, told), (Some(0), format!("{}: OK\n", etc(&postfix))));
    }
}

#[test]
fn a_local_socket_that_is_closed_to_the_clients_is_told() {
    let (directory, api) = (open_directory(), api());
    let config = spawned(directory.path(), &api);
    let postfix = installed(&config);
    let socket = Config::ipc(directory.path());
    let _listener = UnixListener::bind(&socket).expect("a socket");
    let set_mode = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("a mode can be set");
    };
    for (of_socket, of_directory, due) in [
        (0o660, 0o755, "user=nobody: it may not open "),
        (0o660, 0o755, "broker.sock (mode 0660, user root, group root): see server.ipc.group\n"),
        (0o666, 0o700, "user=nobody: it may not enter "),
        (0o666, 0o755, ": OK\n"),
    ] {
        set_mode(&socket, of_socket);
        set_mode(directory.path(), of_directory);
        let (code, told) = check(&config, &postfix);
        assert!(told.contains(due), "{due}: {told}");
        assert_eq!(code, Some(if due.contains("OK") { 0 } else { 78 }), "{told}");
    }
}

#[test]
fn every_name_that_postfix_can_hold_is_usable() {
    const NAMES: [&str; 9] = ["a$b", "c{d,e}f", "${g}", "{h}", "m\\n", "bücher", "o=p#q", "i,j", "k{l"];
    let (directory, api) = (open_directory(), api());
    let mut config = Config::new(directory.path()).ipc_field("allow_users: [nobody]");
    for (at, name) in NAMES.iter().enumerate() {
        let name = format!("'{name}'");
        config = config.map(&name, &api.url(&format!("/map/{at}")), &[]);
        config = config.policy(&name, &api.url(&format!("/policy/{at}")), &[]);
    }
    let config = config.login("'u$v'", &api.url("/login"), &[]).write();
    let _broker = Broker::start(&config);
    let mut postfix = Postfix::prepare();
    let printed = text(&run(&config, &["postfix", "--postfix-config", &etc(&postfix)], ""));
    let impossible = "in pairs.\n#   socket_maps: i,j\n#   socket_maps: k{l\n#   policy_services: k{l\n\n";
    assert!(printed.contains(impossible), "{printed}");
    install(&postfix, &config);
    // Each table belongs to an smtpd of its own.
    let tables: Vec<&str> =
        printed.lines().filter_map(|line| line.strip_prefix("#   ")?.strip_prefix("socketmap:")).collect();
    let smtpd = |table| postfix.smtpd(&[("virtual_mailbox_maps", &format!("socketmap:{table}"))]);
    let ports: Vec<u16> = tables.into_iter().map(smtpd).collect();
    let (code, told) = check(&config, &postfix);
    assert_eq!((code, told.matches("does not use it").count()), (Some(0), 3), "{told}");
    postfix.start();
    for port in ports {
        let reply = Smtp::begin(port).rcpt("known@example.com");
        assert!(reply.starts_with("250 "), "{reply}");
    }
    let asked: Vec<String> = api.requests().iter().map(|request| request.path.clone()).collect();
    for (at, name) in NAMES[..7].iter().enumerate() {
        for (kind, due) in [("map", 1), ("policy", 7)] {
            let count = asked.iter().filter(|target| **target == format!("/{kind}/{at}")).count();
            assert_eq!(count, due, "{kind} {name}: {asked:?}");
        }
    }
    assert_eq!(asked.iter().filter(|target| *target == "/policy/7").count(), 7, "the policy i,j: {asked:?}");
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
