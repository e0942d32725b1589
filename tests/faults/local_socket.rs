//! Rows 43 to 46: the socket between client and broker.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use pfxhttp::model::{Answer, Question};
use pfxhttp::wire::ipc::Service;
use rustix::process::{Signal, kill_process};

use crate::answers::due;
use crate::driver::{Lane, Talk, Traffic, key};
use crate::ledger::{Ledgers, Rules};
use crate::rig::{ALL, Rig, entries};
use crate::rows::row;
use crate::support::client::{Client, program};
use crate::support::config::{Config, Kind};
use crate::support::copy_program;
use crate::support::frames::{FakeBroker, Frames, map_question};
use crate::support::pause;
use crate::support::peer::Peer;
use crate::support::site::{Way, open_directory};

const NOBODY: u32 = 65534;

/// Fills a connection of the local socket with requests until it takes no more.
fn filled(rig: &Rig) -> UnixStream {
    let mut stream = UnixStream::connect(rig.setup.ipc()).expect("the broker listens");
    stream.set_write_timeout(Some(Duration::from_millis(50))).expect("a time limit can be set");
    while stream.write_all(&[0x55; 1 << 16]).is_ok() {}
    stream
}

#[test]
fn row_43_the_local_socket_is_full() {
    let row = row("43");
    let rig = Rig::start(&[]);
    let mut traffic = rig.traffic(&rig.lanes(Way::Forwarding));
    traffic.more(20);
    traffic.fault(&ALL);
    kill_process(rig.setup.broker.pid(), Signal::STOP).expect("a child can be signalled");
    let full: Vec<UnixStream> = (0..20).map(|_| filled(&rig)).collect();
    pause(Duration::from_secs(4));
    kill_process(rig.setup.broker.pid(), Signal::CONT).expect("a child can be signalled");
    traffic.mended();
    drop(full);
    traffic.more(40);
    let outcome = row.counted(traffic.end(Rules { budget: Duration::from_secs(10), ..Rules::default() }));
    assert!(["m", "p"].iter().all(|lane| outcome.temporary_of(lane) > 0), "{:?}", outcome.temporary);
}

#[test]
fn row_44_garbage_on_the_local_socket() {
    let row = row("44");
    let mut rig = Rig::start(&[]);
    let lanes = [rig.lanes(Way::Forwarding), rig.lanes(Way::Client)].concat();
    let traffic = rig.traffic(&lanes);
    traffic.more(20);
    let before = rig.setup.broker.resident_kib();
    for round in 0..20_u32 {
        for input in [
            b"\xff\xff\xff\xff".to_vec(),
            b"\xff\xff\xff\x7f\xff\xff\xff\x7f".to_vec(),
            vec![0; 4096],
            (0..512).map(|byte: u32| (byte.wrapping_mul(2_654_435_761 + round) >> 13) as u8).collect(),
            b"4:m k1,".to_vec(),
        ] {
            let mut peer = Peer::unix(&rig.setup.ipc());
            let _closed_meanwhile = peer.try_send(&input);
            peer.half_close();
            let rest = peer.rest();
            assert!(!rest.windows(8).any(|window| window == b"value-of"), "an answer to garbage");
        }
        let mut frames = Frames::connect(&rig.setup.ipc());
        frames.say_hello_as(u16::try_from(round + 100).expect("small"), &Service::Socketmap);
        frames.ask(1, Duration::ZERO, &map_question("m", "old"));
        let _refused = frames.welcome();
        assert_eq!(frames.told(), None, "another version gets no answer");
    }
    traffic.more(40);
    let grown = rig.setup.broker.resident_kib().saturating_sub(before);
    row.counted(traffic.end(Rules::default()));
    assert!(grown < 8 * 1024, "the broker grew by {grown} KiB");
    assert!(rig.setup.broker.is_alive());
}

#[test]
fn row_45_another_user() {
    let row = row("45");
    let rig = Rig::start_with(|config, api| entries(config, api, &[]).ipc_field("allow_users: [root]"));
    let directory = open_directory();
    let copy = directory.path().join("pfxhttp-client");
    copy_program(&program(), &copy);
    let ipc = rig.setup.ipc();
    let open = move || {
        let mut command = Command::new(&copy);
        command.arg("--socket").arg(&ipc).args(["--timeout", "1", "socketmap"]).uid(NOBODY).gid(NOBODY);
        Peer::client(Client::launch(command))
    };
    let nobody = Lane::new("nobody", Talk::Map("m", key), Arc::new(open));
    let mut traffic = rig.traffic(&[rig.map(Way::Forwarding, "m"), rig.map(Way::Client, "m"), nobody]);
    traffic.fault(&["nobody"]);
    traffic.more_of(3, &["nobody"]);
    traffic.more_of(20, &["m"]);
    let outcome = row.counted(traffic.end(Rules::default()));
    assert!(outcome.temporary_of("nobody") >= 3);
    assert!(outcome.definitive.iter().all(|(lane, _)| *lane != "nobody"), "nobody got an answer");
    let asked = rig.ledgers.asked.entries();
    let refused: Vec<u64> = asked.iter().filter(|one| one.lane == "nobody").map(|one| one.id).collect();
    let called = rig.ledgers.called.entries();
    assert!(called.iter().all(|call| !refused.contains(&call.id)), "the API was asked for nobody");
}

/// f(key) as an answer of a broker.
fn answer(question: &Question) -> Answer {
    let Question::Map { key, .. } = question else { return Answer::NotFound };
    let digits = String::from_utf8_lossy(key).trim_start_matches('k').parse().unwrap_or_default();
    match due(Kind::Map, digits).strip_prefix("OK ") {
        Some(value) => Answer::Value(value.to_owned()),
        None => Answer::NotFound,
    }
}

#[test]
fn row_46_foreign_and_used_numbers() {
    let row = row("46");
    let directory = open_directory();
    let socket = Config::ipc(directory.path());
    let broker = FakeBroker::start(&socket, |_, frames| {
        frames.greet(Duration::from_secs(5), None);
        let mut last = 0;
        while let Some(ask) = frames.asked() {
            for foreign in [last, ask.id.wrapping_add(1), ask.id.wrapping_sub(1), 0] {
                frames.tell(foreign, Answer::Value("of another".to_owned()));
            }
            for _ in 0..2 {
                frames.tell(ask.id, answer(&ask.question));
            }
            last = ask.id;
        }
    });
    let ledgers = Arc::<Ledgers>::default();
    let open = move || Peer::asking(&socket, &["--no-hand-over", "socketmap"]);
    let traffic = Traffic::start(&ledgers, &[Lane::new("m", Talk::Map("m", key), Arc::new(open))]);
    traffic.more(300);
    let outcome = row.counted(traffic.end(Rules::default()));
    assert!(outcome.temporary.is_empty() && broker.asks().len() >= 300);
}
