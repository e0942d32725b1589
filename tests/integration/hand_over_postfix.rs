//! Connections that spawned clients hand over, through a real Postfix: no client is left, no time limit ends a
//! connection, and a broker that dies or restarts delays a session.

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::broker_restart::during_an_outage;
use crate::postfix::api;
use crate::support::backend::{Backend, Reply, Request};
use crate::support::config::Config;
use crate::support::postfix::{Postfix, trouble};
use crate::support::setup::Setup;
use crate::support::smtp::Smtp;
use crate::support::{PATIENCE, alone, pause, wait_until};

const AWAY: Duration = Duration::from_secs(2);
/// How many smtpd ask. Each has an SMTP session of its own.
const SMTPD: usize = 200;

/// Maps and policies as in the other tests with Postfix, and logins whose password is "secret".
fn site_api(request: &Request) -> Reply {
    if request.path != "/auth" {
        return api(request);
    }
    match request.text("password").as_str() {
        "secret" => Reply::with_headers(200, &[("Auth-Status", "OK"), ("Auth-User", "u")], "{}"),
        _ => Reply::with_headers(200, &[("Auth-Status", "Invalid login or password")], "{}"),
    }
}

/// A broker with a map, a policy and logins, and a Postfix whose smtpd asks all of them through clients.
struct Mail {
    setup: Setup,
    postfix: Postfix,
    port: u16,
    /// The port of an smtpd without policies and logins: Postfix repeats a request to a policy after a second.
    maps_alone: u16,
    _api: Backend,
}

fn mail(time_limit: &str) -> Mail {
    let api = Backend::start(site_api);
    let setup = Setup::start(|config: Config| {
        config.map("demo", &api.url("/map"), &[]).policy("checks", &api.url("/policy"), &[]).login(
            "users",
            &api.url("/auth"),
            &[],
        )
    });
    let mut postfix = Postfix::prepare();
    for (name, service) in [
        ("pfx-map", "socketmap"),
        ("pfx-checks", "policy checks"),
        ("pfx-sasl", "--mechanisms PLAIN sasl users"),
    ] {
        postfix.spawn(name, &setup.ipc(), service);
        postfix.main_cf(&format!("{name}_time_limit = {time_limit}"));
    }
    for limit in ["soft", "hard"] {
        postfix.main_cf(&format!("smtpd_{limit}_error_limit = 100000"));
    }
    postfix.main_cf("smtpd_recipient_limit = 100000");
    postfix.main_cf("default_process_limit = 250");
    postfix.main_cf("smtpd_client_connection_count_limit = 0");
    postfix.main_cf("ipc_idle = 1h");
    postfix.main_cf("smtpd_policy_service_max_idle = 1h");
    postfix.main_cf("smtpd_policy_service_max_ttl = 1h");
    let port = postfix.smtpd(&[
        ("smtpd_sasl_auth_enable", "yes"),
        ("smtpd_sasl_type", "dovecot"),
        ("smtpd_sasl_path", "private/pfx-sasl"),
        ("virtual_mailbox_maps", "socketmap:unix:private/pfx-map:demo"),
        ("smtpd_recipient_restrictions", "check_policy_service unix:private/pfx-checks"),
    ]);
    let maps_alone = postfix.smtpd(&[("virtual_mailbox_maps", "socketmap:unix:private/pfx-map:demo")]);
    postfix.start();
    Mail { setup, postfix, port, maps_alone, _api: api }
}

/// The processes of this program that have a parent or an ancestor in `postfix`.
fn processes(postfix: &Postfix, program: &str) -> usize {
    let configuration = postfix.configuration().display().to_string();
    let is_ours = |pid: &str| {
        fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe.ends_with(program))
            && fs::read(format!("/proc/{pid}/environ"))
                .is_ok_and(|all| String::from_utf8_lossy(&all).contains(&configuration))
    };
    let all = fs::read_dir("/proc").expect("proc(5)").map_while(Result::ok);
    all.filter(|entry| entry.file_name().to_str().is_some_and(is_ours)).count()
}

#[test]
fn two_hundred_smtpd_leave_no_client_and_no_time_limit_ends_a_connection() {
    let _alone = alone();
    let mail = mail("3s");
    let mut sessions: Vec<Smtp> = (0..SMTPD).map(|_| Smtp::begin(mail.port)).collect();
    for (nth, smtp) in sessions.iter_mut().enumerate() {
        let reply = smtp.rcpt(&format!("known{nth}@example.com"));
        assert!(reply.starts_with("250 "), "{nth}: {reply}");
    }
    let count = |program| processes(&mail.postfix, program);
    assert_eq!(count("smtpd"), SMTPD, "each session has an smtpd");
    assert!(wait_until(PATIENCE, || count("pfxhttp-client") == 0), "{} clients", count("pfxhttp-client"));
    let shown = || format!("{} spawn(8)", count("spawn"));
    assert!(count("spawn") <= 5, "{}", shown());
    pause(Duration::from_secs(4));
    let mark = mail.postfix.mark();
    for (nth, smtp) in sessions.iter_mut().enumerate() {
        let reply = smtp.rcpt(&format!("known-again{nth}@example.com"));
        assert!(reply.starts_with("250 "), "after time_limit: {reply}");
    }
    drop(sessions);
    let log = mail.postfix.logged_since(mark, "disconnect from");
    assert_eq!(trouble(&log), Vec::<&str>::new(), "the mail log");
}

/// A session after a login that was denied. The denial is held back, so spawn(8) has closed the connection by
/// then.
fn idle_login(mail: &Mail) -> Smtp {
    let (mut smtp, _) = Smtp::greet(mail.port);
    let reply = smtp.auth_plain("u", "wrong");
    assert!(reply.starts_with("535 "), "{reply}");
    smtp
}

/// RCPT and AUTH in a session, before, during and after each way in which a broker is away.
#[test]
fn a_broker_that_ends_delays_maps_policies_and_logins() {
    let mut mail = mail("1h");
    let mark = mail.postfix.mark();
    let mut smtp = Smtp::begin(mail.port);
    let mut idle = idle_login(&mail);
    assert!(smtp.rcpt("known@example.com").starts_with("250 "));
    mail.setup.broker.kill();
    mail.setup.broker.start_again();
    let reply = smtp.rcpt("known2@example.com");
    assert!(reply.starts_with("250 "), "after SIGKILL: {reply}");
    let reply = idle.auth_plain("u", "secret");
    assert!(reply.starts_with("235 "), "a login after SIGKILL: {reply}");

    let mut idle = idle_login(&mail);
    mail.setup.broker.terminate();
    assert!(mail.setup.broker.wait(PATIENCE).is_some());
    mail.setup.broker.start_again();
    let reply = smtp.rcpt("known3@example.com");
    assert!(reply.starts_with("250 "), "after SIGTERM: {reply}");
    let reply = idle.auth_plain("u", "secret");
    assert!(reply.starts_with("235 "), "a login after SIGTERM: {reply}");

    let mut login = idle_login(&mail);
    let start = Instant::now();
    let (auth, rcpt) = during_an_outage(&mut mail.setup.broker, AWAY, || {
        std::thread::scope(|scope| {
            let rcpt = scope.spawn(|| smtp.rcpt("known4@example.com"));
            (login.auth_plain("u", "secret"), rcpt.join().expect("no panic"))
        })
    });
    assert!(start.elapsed() >= AWAY);
    assert!(auth.starts_with("235 "), "a login while it is away: {auth}");
    assert!(rcpt.starts_with("250 "), "a lookup while it is away: {rcpt}");
    // A session that begins after all that.
    assert!(Smtp::begin(mail.port).rcpt("unknown@example.com").starts_with("550 "));
    drop((smtp, login, idle));
    let log = mail.postfix.logged_since(mark, "disconnect from");
    let mut trouble = trouble(&log);
    trouble.retain(|line| !line.contains("authentication failed: Invalid login or password"));
    assert_eq!(trouble, Vec::<&str>::new(), "the mail log");
}

/// A lookup meets one kill at most: Postfix repeats a request once.
#[test]
fn fifty_kills_under_load_lose_and_confuse_nothing() {
    const SESSIONS: usize = 4;
    let _alone = alone();
    let mut mail = mail("1h");
    let (is_over, port) = (AtomicBool::new(false), mail.maps_alone);
    let asked = [(); SESSIONS].map(|()| AtomicUsize::new(0));
    let load = |worker: usize| {
        let mut wrong = Vec::new();
        let mut smtp = Smtp::begin(port);
        for nth in 0.. {
            if is_over.load(Ordering::Relaxed) {
                break;
            }
            let (name, due) = if nth % 2 == 0 { ("known", "250 ") } else { ("unknown", "550 ") };
            let reply = smtp.rcpt(&format!("{name}{worker}x{nth}@example.com"));
            if !reply.starts_with(due) {
                wrong.push(format!("{name}: {reply}"));
            }
            asked[worker].fetch_add(1, Ordering::SeqCst);
        }
        wrong
    };
    let load = &load;
    let wrong = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..SESSIONS).map(|worker| scope.spawn(move || load(worker))).collect();
        let counts = || asked.iter().map(|count| count.load(Ordering::SeqCst)).collect::<Vec<_>>();
        for round in 0..50 {
            let before = counts();
            let go_on = || counts().iter().zip(&before).all(|(now, before)| *now >= before + 3);
            assert!(wait_until(PATIENCE, go_on), "all sessions go on in round {round}: {:?}", counts());
            mail.setup.broker.kill();
            mail.setup.broker.start_again();
        }
        is_over.store(true, Ordering::Relaxed);
        workers.into_iter().flat_map(|worker| worker.join().expect("no panic")).collect::<Vec<_>>()
    });
    assert!(wrong.is_empty(), "{} of {asked:?} recipients: {wrong:?}", wrong.len());
}
