//! An entry with three targets through a real Postfix: as long as one of them works, no reply says that the others
//! fail, each in its way.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::postfix::api;
use crate::support::backend::{Backend, Reply};
use crate::support::metrics::Scrape;
use crate::support::port::Port;
use crate::support::postfix::{Postfix, trouble};
use crate::support::setup::Setup;
use crate::support::smtp::Smtp;
use crate::support::{PATIENCE, alone, pause, wait_until};
use crate::targets::targets;

/// As many as a breaker's failures in a row: a target that hangs costs each session one wait.
const SESSIONS: usize = 5;
/// RCPT in each stage; more than 500 in all.
const EACH: usize = 84;
/// The time between two RCPT of a session.
const STEP: Duration = Duration::from_millis(20);
/// Of the breaker; it varies by a fifth.
const PAUSE: Duration = Duration::from_secs(1);

/// What a target does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Works,
    /// It refuses connections.
    Refuses,
    /// It takes requests and does not answer.
    Hangs,
    /// It answers 503.
    Fails,
}

use Role::{Fails, Hangs, Refuses, Works};

/// One works in each stage, and each target has each role in one of them.
const STAGES: [[Role; 3]; 6] = [
    [Refuses, Hangs, Works],
    [Hangs, Works, Fails],
    [Works, Fails, Refuses],
    [Fails, Refuses, Works],
    [Hangs, Fails, Works],
    [Refuses, Works, Hangs],
];

/// A broker with the map `demo`, whose targets are these, and a Postfix that asks it.
struct Mail {
    metrics: Port,
    port: u16,
    postfix: Postfix,
    _setup: Setup,
    targets: [Backend; 3],
    roles: [Role; 3],
}

impl Mail {
    fn start(timeout: &str) -> Self {
        let timeout = format!("timeout: {timeout}");
        let apis = [(); 3].map(|()| Backend::start(api));
        let metrics = Port::reserve();
        let setup = Setup::start(|config| {
            let lines = [
                &*targets(&apis.each_ref().map(|api| api.url("/map"))),
                r#"payload: '{"key": "{{ .Key }}"}'"#,
                "value_field: value",
                &timeout,
                "retry: {others: 2}",
                "breaker: {max_pause: 1s}",
            ];
            config.prometheus(metrics.number(), &[]).map_of("demo", &lines)
        });
        let mut postfix = Postfix::prepare();
        postfix.spawn("pfx-map", &setup.ipc(), "socketmap");
        for limit in ["soft", "hard"] {
            postfix.main_cf(&format!("smtpd_{limit}_error_limit = 100000"));
        }
        postfix.main_cf("smtpd_recipient_limit = 100000");
        let table = "socketmap:unix:private/pfx-map:demo";
        let port = postfix.smtpd(&[("virtual_mailbox_maps", table)]);
        postfix.start();
        Self { metrics, port, postfix, _setup: setup, targets: apis, roles: [Works; 3] }
    }

    /// From now on the targets do this. What hung before goes on to hang.
    fn set(&mut self, roles: [Role; 3]) {
        for ((target, before), role) in self.targets.iter_mut().zip(&mut self.roles).zip(roles) {
            match role {
                Works | Refuses => target.answer_with(api),
                Hangs => target.answer_with(|_| Reply::stall()),
                Fails => target.answer_with(|_| Reply::status(503)),
            }
            match (*before == Refuses, role == Refuses) {
                (false, true) => target.down(),
                (true, false) => target.up(),
                _ => {}
            }
            *before = role;
        }
    }

    fn scrape(&self, name: &str, label: (&str, &str)) -> f64 {
        Scrape::of(self.metrics.address()).sum(name, &[("name", "demo"), label])
    }

    /// Whether the broker asks the first target again. The others are not tried as long as it is up.
    fn is_first_up(&self) -> bool {
        self.scrape("pfxhttp_target_up", ("target", &self.targets[0].url(""))) == 1.0
    }

    /// What the targets saw of this many RCPT.
    fn assert_ledger(&self, asked: usize, seconds: f64) {
        let moves = ["unsent", "retried", "denied"]
            .map(|result| self.scrape("pfxhttp_target_moves_total", ("result", result)));
        let counts = self.targets.each_ref().map(Backend::count);
        println!(
            "{asked} RCPT in {seconds:.1} s, targets saw {counts:?}, moves (unsent, retried, denied) {moves:?}"
        );
        assert!(
            asked > EACH * STAGES.len() && counts.iter().all(|count| *count > EACH / 4),
            "{asked}: {counts:?}"
        );
        assert!(moves[0] > 0.0 && moves[1] > 0.0, "{moves:?}");
        let most = 1.2 * asked as f64 + 3.0 * (seconds + 1.0);
        let seen: usize = counts.iter().sum();
        assert!((asked..=most as usize).contains(&seen), "{seen} requests, at most {most}");
    }
}

#[test]
fn as_long_as_one_of_three_targets_works_each_rcpt_is_accepted() {
    let _alone = alone();
    let mut mail = Mail::start("4s");
    let (mark, began, port) = (mail.postfix.mark(), Instant::now(), mail.port);
    let (is_over, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    let session = |nth: usize| {
        let (mut smtp, mut wrong) = (Smtp::begin(port), Vec::new());
        for number in 0.. {
            if is_over.load(Ordering::SeqCst) {
                break;
            }
            let reply = smtp.rcpt(&format!("known{nth}x{number}@example.com"));
            if !reply.starts_with("250 ") {
                wrong.push((began.elapsed(), reply));
            }
            asked.fetch_add(1, Ordering::SeqCst);
            pause(STEP);
        }
        wrong
    };
    let session = &session;
    let wrong = std::thread::scope(|scope| {
        let sessions: Vec<_> = (0..SESSIONS).map(|nth| scope.spawn(move || session(nth))).collect();
        let more = || {
            let due = asked.load(Ordering::SeqCst) + EACH;
            wait_until(PATIENCE, || asked.load(Ordering::SeqCst) >= due)
        };
        let mut is_done = more();
        for roles in STAGES {
            println!("{roles:?} after {:?}, {asked:?} RCPT", began.elapsed());
            mail.set(roles);
            is_done &= more();
            mail.set([Works; 3]);
            // The pauses of all targets are over.
            let back = Instant::now();
            is_done &= wait_until(PATIENCE, || back.elapsed() > PAUSE * 6 / 5 && mail.is_first_up());
        }
        is_over.store(true, Ordering::SeqCst);
        assert!(is_done, "all go on: {asked:?} RCPT in {:?}", began.elapsed());
        sessions.into_iter().flat_map(|session| session.join().expect("no panic")).collect::<Vec<_>>()
    });
    let asked = asked.into_inner();
    mail.assert_ledger(asked, began.elapsed().as_secs_f64());
    assert!(wrong.is_empty(), "{} of {asked} RCPT: {wrong:?}", wrong.len());
    let log = mail.postfix.logged_since(mark, "disconnect from");
    assert_eq!(trouble(&log), Vec::<&str>::new(), "the mail log");
}

#[test]
fn if_all_targets_are_away_mail_waits_and_goes_on_within_a_pause() {
    let mut mail = Mail::start("2s");
    let mut smtp = Smtp::begin(mail.port);
    let mut number = 0;
    let mut rcpt = || {
        number += 1;
        smtp.rcpt(&format!("known{number}@example.com"))
    };
    assert!(rcpt().starts_with("250 "));
    for roles in [[Refuses; 3], [Refuses, Hangs, Fails], [Hangs, Fails, Refuses]] {
        mail.set(roles);
        for _ in 0..6 {
            let (began, reply) = (Instant::now(), rcpt());
            assert!(reply.starts_with("451 4.3.0 "), "{roles:?}: {reply}");
            assert!(began.elapsed() < Duration::from_secs(3), "{roles:?}: {:?}", began.elapsed());
        }
        mail.set([Works; 3]);
        let back = Instant::now();
        assert!(wait_until(PATIENCE, || rcpt().starts_with("250 ")));
        println!("{roles:?}: 250 after {:?}", back.elapsed());
        assert!(back.elapsed() <= PAUSE * 6 / 5, "{roles:?}: {:?}", back.elapsed());
    }
}
