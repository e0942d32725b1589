//! How much memory of the broker a byte of hostile input takes, from Postfix' side and from the API's.
//!
//! Inputs are as long as they may be. What a connection or a dialogue takes for any input is bounded by their number
//! and does not count (rows 42 and 55), nor does a compressed answer, of which 1 MiB is unpacked at most (row 09).

use std::mem::replace;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pfxhttp::wire::ipc::{self, Service};

use crate::driver::next_id;
use crate::ledger::Rules;
use crate::rig::{Rig, entries};
use crate::rows::row;
use crate::support::backend::Reply;
use crate::support::frames::{Frames, map_question};
use crate::support::peer::{Peer, netstring};
use crate::support::site::Way;
use crate::support::{PATIENCE, alone, pause, wait_until};

/// The most memory for each byte of input. A control character is six in JSON.
const MOST: f64 = 10.0;
/// Connections with a request that does not end.
const OPEN: usize = 100;
/// Lookups at a time.
const LOOKUPS: usize = 32;
/// Long answers at a time: a debug build needs a second for them.
const ANSWERS: usize = 4;

/// An input of the connection of this number, and how that is opened.
struct Input {
    what: &'static str,
    bytes: fn(usize, &str) -> Vec<u8>,
    open: fn(&Rig) -> Peer,
}

const INPUTS: [Input; 3] = [
    Input {
        what: "a key",
        bytes: |number, part| netstring(format!("m {number}-{}", part.repeat(100_000))),
        open: |rig| rig.setup.map(),
    },
    Input {
        what: "attributes",
        bytes: |number, part| {
            let lines = ["a", "b", "c"].map(|name| format!("{name}={}\n", part.repeat(16_000)));
            format!("request=smtpd_access_policy\nrecipient={number}\n{}\n", lines.concat()).into_bytes()
        },
        open: |rig| rig.setup.policy("p"),
    },
    Input {
        what: "a password",
        bytes: |number, part| {
            let response = STANDARD.encode(format!("\0u{number}\0{}", part.repeat(8192)));
            let login = format!("AUTH\t1\tPLAIN\tservice=smtp\tresp={response}\n");
            format!("VERSION\t1\t2\nCPID\t1\n{login}").into_bytes()
        },
        open: |rig| Peer::unix(&rig.setup.socket("users")),
    },
];

/// The broker, and the most memory for a byte so far.
struct Measured {
    rig: Rig,
    most: f64,
}

impl Measured {
    /// Plays `count` inputs of `bytes` to a broker that has answered some lookups since its start, so that it has no
    /// memory of inputs before. What `play` returns is kept until the memory of the broker is at rest.
    fn play<T>(&mut self, what: &str, count: usize, bytes: usize, play: impl FnOnce(&Rig) -> T) -> T {
        self.rig.setup.broker.kill();
        self.rig.setup.broker.start_again();
        drop(ask(&self.rig, LOOKUPS, ""));
        let broker = &self.rig.setup.broker;
        let before = broker.resident_kib();
        broker.forget_peak();
        let kept = play(&self.rig);
        let mut last = 0;
        let is_at_rest = wait_until(PATIENCE, || {
            pause(Duration::from_millis(100));
            replace(&mut last, broker.peak_kib()) == last
        });
        assert!(is_at_rest, "the memory does not come to rest");
        let times = last.saturating_sub(before) as f64 * 1024.0 / (count * bytes) as f64;
        println!("{what}: {count} inputs of {bytes} bytes take {times:.1} times their memory");
        self.most = self.most.max(times);
        self.rig.api.mend();
        kept
    }

    /// Inputs whose last byte does not come before the memory was measured. Then the API is asked for each.
    fn unfinished(&mut self, input: &Input) {
        let inputs: Vec<Vec<u8>> = (0..OPEN).map(|number| (input.bytes)(number, "a")).collect();
        let mut peers = self.play(&format!("the most of {}", input.what), OPEN, inputs[0].len(), |rig| {
            let mut peers: Vec<Peer> = (0..OPEN).map(|_| (input.open)(rig)).collect();
            for (peer, input) in peers.iter_mut().zip(&inputs) {
                peer.send(&input[..input.len() - 1]);
            }
            peers
        });
        let before = self.rig.api.backend.count();
        for (peer, input) in peers.iter_mut().zip(&inputs) {
            peer.send(&input[input.len() - 1..]);
        }
        self.is_asked(input.what, before + OPEN);
    }

    /// The same on the local socket.
    fn unfinished_frames(&mut self) {
        let mut frame = Vec::new();
        let question = map_question("m", &"a".repeat(200_000));
        ipc::encode_request(1, 0, &question, &mut frame).expect("short enough");
        let last = frame.pop().expect("bytes");
        let mut open = self.play("the most of a frame of the local socket", OPEN, frame.len(), |rig| {
            let mut open: Vec<Frames> = (0..OPEN).map(|_| Frames::connect(&rig.setup.ipc())).collect();
            for frames in &mut open {
                frames.say_hello(&Service::Socketmap);
                frames.send(&frame);
            }
            open
        });
        let before = self.rig.api.backend.count();
        open.iter_mut().for_each(|frames| frames.send(&[last]));
        self.is_asked("a frame", before + 1);
    }

    /// Inputs while the API hangs.
    fn waiting(&mut self, input: &Input, kind: &str, part: &str) {
        let what = format!("{} of {kind}, and the API hangs", input.what);
        let inputs: Vec<Vec<u8>> = (0..LOOKUPS).map(|number| (input.bytes)(number, part)).collect();
        // With the lookups before the measurement.
        let before = self.rig.api.backend.count() + LOOKUPS;
        let peers = self.play(&what, LOOKUPS, inputs[0].len(), |rig| {
            rig.api.fault(|_| Some(Reply::stall()));
            let mut peers: Vec<Peer> = (0..LOOKUPS).map(|_| (input.open)(rig)).collect();
            peers.iter_mut().zip(&inputs).for_each(|(peer, input)| peer.send(input));
            peers
        });
        self.is_asked(&what, before + LOOKUPS);
        drop(peers);
    }

    /// Answers whose value is a long list of this part, and what the reply begins with.
    fn answered(&mut self, what: &str, part: &str, due: &str) {
        let body = format!("{{\"value\": [{}0]}}", part.repeat(1_000_000 / part.len()));
        self.play(what, ANSWERS, body.len(), |rig| {
            rig.api.fault(move |_| Some(Reply::json(&body)));
            ask(rig, ANSWERS, due)
        });
    }

    /// The API has seen so many requests: the inputs were taken.
    fn is_asked(&self, what: &str, due: usize) {
        let asked = || self.rig.api.backend.count();
        assert!(wait_until(PATIENCE, || asked() >= due), "{what}: {} requests, not {due}", asked());
    }
}

/// Some lookups at a time, and their replies, which begin with `due`.
fn ask(rig: &Rig, count: usize, due: &str) -> Vec<Peer> {
    let mut peers: Vec<Peer> = (0..count).map(|_| rig.setup.map()).collect();
    peers.iter_mut().for_each(|peer| peer.send(netstring(format!("m k{}", next_id()))));
    for peer in &mut peers {
        let reply = peer.reply();
        assert!(reply.starts_with(due), "{reply}");
    }
    peers
}

#[test]
#[ignore = "long: make faults"]
fn row_amplification_by_hostile_input() {
    let (row, _alone) = (row("amplification"), alone());
    let rig = Rig::start_with(|config, api| entries(config, api, &["timeout: 8s"]));
    let traffic = rig.traffic(&rig.lanes(Way::Unix));
    traffic.more(20);
    row.counted(traffic.end(Rules::default()));
    let mut measured = Measured { rig, most: 0.0 };
    for input in &INPUTS {
        measured.unfinished(input);
        measured.waiting(input, "letters", "a");
        measured.waiting(input, "control characters", "\x01");
    }
    measured.unfinished_frames();
    measured.answered("an answer of lists", "[],", "OK 0");
    measured.answered("an answer of numbers", "0.000000,", "PERM ");
    measured.answered("an answer of escapes", "\"\\u0041\",", "PERM ");
    assert!(measured.most < MOST, "{:.1} times", measured.most);
}
