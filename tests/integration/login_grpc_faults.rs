//! Logins over gRPC while the service is in trouble: no password goes out twice, and none to a stranger.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::login_grpc::{log_in, setup};
use crate::support::backend::Backend;
use crate::support::certificates::Identity;
use crate::support::grpc_service::{GrpcService, users};
use crate::support::sasl::Heard;
use crate::support::setup::Setup;
use crate::support::site::Way;
use crate::support::{PATIENCE, alone, wait_until};

const RIGHT: &str = "OK\t1\tuser=u";

#[test]
fn no_password_goes_out_twice_while_the_service_restarts() {
    const CONNECTIONS: usize = 100;
    const LOGINS: usize = 10;
    let _alone = alone();
    let mut service = GrpcService::start();
    service.answer_all(&json!({"response": {"decision": 1}}));
    let setup = setup(&service, "", &[]);
    let (ended, accepted) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let (ways, is_up) = ([Way::Unix, Way::Tcp], AtomicBool::new(true));
    std::thread::scope(|scope| {
        for number in 0..CONNECTIONS {
            let (setup, ended, accepted, is_up) = (&setup, &ended, &accepted, &is_up);
            scope.spawn(move || {
                let mut sasl = setup.login(ways[number % 2], "users");
                for nth in 0..LOGINS {
                    let password = format!("password-{number}-{nth}");
                    sasl.plain(1, "u", &password);
                    match sasl.next(Duration::from_secs(9)) {
                        Heard::Line(line) => {
                            assert_eq!(line, RIGHT);
                            accepted.lock().expect("a list").push(password);
                        }
                        Heard::Closed(_) | Heard::Reset => {
                            // Else all logins would be over before the service is back.
                            assert!(wait_until(PATIENCE, || is_up.load(Ordering::Relaxed)));
                            sasl = setup.login(ways[number % 2], "users");
                        }
                        Heard::Nothing => panic!("no reply within 9 s"),
                    }
                    ended.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for restart in 1..=4 {
            let due = restart * CONNECTIONS * LOGINS / 5;
            assert!(wait_until(PATIENCE, || ended.load(Ordering::Relaxed) >= due));
            is_up.store(false, Ordering::Relaxed);
            service.kill();
            service.up();
            is_up.store(true, Ordering::Relaxed);
        }
    });
    assert_eq!(ended.load(Ordering::Relaxed), CONNECTIONS * LOGINS);
    let mut sent: BTreeMap<String, usize> = BTreeMap::new();
    for call in service.calls() {
        *sent.entry(call["request"]["password"].as_str().expect("a text").to_owned()).or_default() += 1;
    }
    let twice: Vec<_> = sent.iter().filter(|(_, count)| **count > 1).collect();
    assert!(twice.is_empty(), "{twice:?}");
    let accepted = accepted.into_inner().expect("a list");
    assert!(accepted.iter().all(|password| sent.contains_key(password)));
    assert!(accepted.len() > CONNECTIONS * LOGINS / 2, "{} were accepted", accepted.len());
    assert_eq!(log_in(&setup, "users", "u", "last"), RIGHT);
}

#[test]
fn the_first_login_after_an_outage_is_accepted() {
    let mut service = GrpcService::start();
    let setup = setup(&service, "timeout: 1s", &[]);
    for _ in 0..3 {
        assert_eq!(log_in(&setup, "users", "u", "secret"), RIGHT);
        service.kill();
        for _ in 0..3 {
            let started = Instant::now();
            assert_eq!(log_in(&setup, "users", "u", "secret"), "closed");
            assert!(started.elapsed() < Duration::from_millis(500), "nobody listens, and it fails at once");
        }
        service.up();
        assert_eq!(log_in(&setup, "users", "u", "secret"), RIGHT);
        service.freeze();
        for _ in 0..2 {
            let started = Instant::now();
            assert_eq!(log_in(&setup, "users", "u", "secret"), "closed");
            let took = started.elapsed();
            assert!(took >= Duration::from_millis(900) && took < Duration::from_secs(3), "{took:?}");
        }
        service.kill();
        service.up();
    }
}

#[test]
fn a_service_that_hangs_or_is_none_has_its_reason_in_the_log() {
    let service = GrpcService::start();
    let hanging = setup(&service, "timeout: 1s", &[]);
    assert_eq!(log_in(&hanging, "users", "u", "secret"), RIGHT);
    service.freeze();
    assert_eq!(log_in(&hanging, "users", "u", "secret"), "closed");
    let due = ["trouble with a target", "class=\"timeout\"", "reason=\"no complete answer within 1s\""];
    assert!(hanging.broker.logged(&due), "{}", hanging.broker.log());
    let (http, secure) = (Backend::constant("{}"), GrpcService::start_tls(&Identity::self_signed(), None));
    let http = http.url("").replace("http://", "");
    for (address, tls, reason) in [
        (&*http, false, "does not speak HTTP/2, which gRPC needs"),
        (&secure.address(), false, "not speak HTTP/2, which gRPC needs"),
        (&http, true, "(does that port speak TLS? else set `grpc.tls.enabled: false`)"),
    ] {
        let grpc = format!("grpc: {{address: \"{address}\", tls: {{enabled: {tls}}}}}");
        let setup = Setup::start(|config| config.login_of("users", &["transport: grpc", &grpc]));
        assert_eq!(log_in(&setup, "users", "u", "secret"), "closed");
        assert!(setup.broker.logged(&["trouble with a target", reason]), "{reason}: {}", setup.broker.log());
    }
}

#[test]
fn a_call_without_an_answer_holds_up_no_other_one() {
    let mut service = GrpcService::start();
    let mut answers = users();
    answers["slow"] = json!({"hang": true});
    service.answer(answers);
    let setup = setup(&service, "", &[]);
    let mut slow: Vec<_> = (0..20).map(|_| setup.login(Way::Unix, "users")).collect();
    slow.iter_mut().for_each(|sasl| sasl.plain(1, "u", "slow"));
    service.wait_for(20);
    let started = Instant::now();
    for _ in 0..20 {
        assert_eq!(log_in(&setup, "users", "u", "secret"), RIGHT);
    }
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    for mut sasl in slow {
        assert!(matches!(sasl.next(Duration::from_secs(9)), Heard::Closed(_) | Heard::Reset));
    }
    assert_eq!(log_in(&setup, "users", "u", "secret"), RIGHT);
}

/// A peer that is no gRPC service: it says `greeting`, and hangs up if `closes`. Returns what it was sent.
fn stranger(greeting: &'static [u8], closes: bool) -> Vec<u8> {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    let heard = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        stream.set_read_timeout(Some(Duration::from_millis(500))).expect("a time limit");
        let _gone_already = stream.write_all(greeting);
        let (mut all, mut piece) = (Vec::new(), [0; 4096]);
        while let Ok(read @ 1..) = stream.read(&mut piece) {
            all.extend(&piece[..read]);
            if closes {
                break;
            }
        }
        all
    });
    let grpc = format!("grpc: {{address: \"{address}\", timeout: 2s}}");
    let setup =
        Setup::start(|config| config.login_of("users", &["transport: grpc", &grpc, "failure_delay: 0s"]));
    let started = Instant::now();
    assert_eq!(log_in(&setup, "users", "u", "hunter-two"), "closed", "{greeting:?}");
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
    heard.join().expect("a thread")
}

#[test]
fn a_stranger_gets_no_password() {
    for (greeting, closes) in [
        (&b""[..], false),
        (b"", true),
        (b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n", false),
        (b"220 mail.example ESMTP\r\n", true),
        // GOAWAY instead of SETTINGS.
        (b"\0\0\x08\x07\0\0\0\0\0\0\0\0\0\0\0\0\0", false),
    ] {
        let heard = stranger(greeting, closes);
        assert!(heard.starts_with(b"PRI * HTTP/2.0"), "{}", crate::support::shown(&heard));
        let has = |word: &[u8]| heard.windows(word.len()).any(|part| part == word);
        assert!(!has(b"hunter") && !has(b"Authenticate"), "{}", crate::support::shown(&heard));
    }
}
