//! Logins over gRPC through a real Postfix: what each answer of a real service is in SMTP.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::login_grpc::setup;
use crate::logins_postfix::{LATER, RIGHT, WRONG, postfix};
use crate::support::grpc_service::{GrpcService, denied, status, users};
use crate::support::mail_clients::swaks;
use crate::support::smtp::Smtp;

/// Logs in; returns the reply's codes, within 9 s.
fn log_in(port: u16, password: &str, what: &str) -> String {
    let (mut smtp, _) = Smtp::greet(port);
    let started = Instant::now();
    let reply = smtp.auth_plain("u@example.com", password);
    let took = started.elapsed();
    assert!(took < Duration::from_secs(9), "{what}: {took:?} for {reply:?}");
    reply.chars().take(9).collect()
}

#[test]
fn each_answer_has_its_smtp_reply() {
    let mut service = GrpcService::start();
    let setup = setup(&service, "timeout: 1h", &[]);
    let (_postfix, ports) = postfix(&setup, "users");
    let response = |response: Value| json!({"response": response});
    let mut cases = vec![
        (response(json!({"decision": 1})), RIGHT),
        (denied("no"), WRONG),
        (response(json!({"decision": 3})), LATER),
        (response(json!({"ok": true})), LATER),
        (json!({"raw": "ff"}), LATER),
    ];
    cases.extend((1..=16).map(|code| (status(code), LATER)));
    for (way, port) in &ports {
        for (answer, due) in &cases {
            service.answer_all(answer);
            assert_eq!(log_in(*port, "secret", &answer.to_string()), *due, "{way:?}: {answer}");
        }
        service.answer(users());
        for mechanism in ["PLAIN", "LOGIN"] {
            assert_eq!(swaks(*port, mechanism, "u@example.com", "secret").code, 235, "{way:?} {mechanism}");
            assert_eq!(swaks(*port, mechanism, "u@example.com", "wrong").code, 535, "{way:?} {mechanism}");
        }
    }
    let (way, port) = ports[0];
    for fault in ["hangs", "is stopped", "is killed"] {
        match fault {
            "hangs" => service.answer_all(&json!({"hang": true})),
            "is stopped" => service.freeze(),
            _ => service.kill(),
        }
        for _ in 0..2 {
            assert_eq!(log_in(port, "secret", fault), LATER, "{way:?}: it {fault}");
        }
        service.kill();
        service.up();
        service.answer(users());
        assert_eq!(log_in(port, "secret", fault), RIGHT, "{way:?}: the first login after it {fault}");
        assert_eq!(log_in(port, "wrong", fault), WRONG, "{way:?}");
    }
}
