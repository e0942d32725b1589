//! How much memory of the broker a byte of hostile input takes, from Postfix' side and from the API's.
//!
//! What a connection takes without input does not count (row 42), nor does a compressed answer, of which 1 MiB is
//! unpacked at most (row 09).

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

/// The broker, and the most memory for a byte so far.
struct Measured {
    rig: Rig,
    most: f64,
}

impl Measured {
    /// Plays `count` inputs of `bytes` to a broker that has answered some lookups since its start, so that it has no
    /// memory of inputs before. What `play` returns is kept until the memory of the broker is at rest.
    fn play<T>(&mut self, what: &str, count: usize, bytes: usize, play: impl FnOnce(&Rig) -> T) {
        self.rig.setup.broker.kill();
        self.rig.setup.broker.start_again();
        drop(ask(&self.rig));
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
        drop(kept);
        self.rig.api.mend();
    }

    /// Requests whose last byte does not come.
    fn unfinished(&mut self, what: &str, input: &[u8], open: impl Fn(&Rig) -> Peer) {
        self.play(what, OPEN, input.len(), |rig| {
            let mut peers: Vec<Peer> = (0..OPEN).map(|_| open(rig)).collect();
            peers.iter_mut().for_each(|peer| peer.send(input));
            peers
        });
    }

    /// The same on the local socket.
    fn unfinished_frames(&mut self) {
        let mut frame = Vec::new();
        let question = map_question("m", &"a".repeat(200_000));
        ipc::encode_request(1, 0, &question, &mut frame).expect("short enough");
        frame.pop();
        self.play("a frame of the local socket", OPEN, frame.len(), |rig| {
            let mut open: Vec<Frames> = (0..OPEN).map(|_| Frames::connect(&rig.setup.ipc())).collect();
            for frames in &mut open {
                frames.say_hello(&Service::Socketmap);
                frames.send(&frame);
            }
            open
        });
    }

    /// Complete requests while the API hangs.
    fn waiting(&mut self, what: &str, input: &[u8], open: impl Fn(&Rig) -> Peer) {
        self.play(what, LOOKUPS, input.len(), |rig| {
            rig.api.fault(|_| Some(Reply::stall()));
            let mut peers: Vec<Peer> = (0..LOOKUPS).map(|_| open(rig)).collect();
            peers.iter_mut().for_each(|peer| peer.send(input));
            peers
        });
    }

    /// Answers whose value is a long list of this part.
    fn answered(&mut self, what: &str, part: &str) {
        let body = format!("{{\"value\": [{}0]}}", part.repeat(1_000_000 / part.len()));
        self.play(what, LOOKUPS, body.len(), |rig| {
            rig.api.fault(move |_| Some(Reply::json(&body)));
            ask(rig)
        });
    }
}

/// Without its last byte.
fn cut(request: &[u8]) -> &[u8] {
    &request[..request.len() - 1]
}

/// Some lookups at a time, and their replies.
fn ask(rig: &Rig) -> Vec<Peer> {
    let mut peers: Vec<Peer> = (0..LOOKUPS).map(|_| rig.setup.map()).collect();
    peers.iter_mut().for_each(|peer| peer.send(netstring(format!("m k{}", next_id()))));
    peers.iter_mut().for_each(|peer| drop(peer.reply()));
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

    let [map, policy, users]: [fn(&Rig) -> Peer; 3] =
        [|rig| rig.setup.map(), |rig| rig.setup.policy("p"), |rig| Peer::unix(&rig.setup.socket("users"))];
    let key = |part: &str| netstring(format!("m {}", part.repeat(100_000)));
    let attributes = |part: &str| {
        let lines = format!("a={}\n", part.repeat(16_000)).repeat(3);
        format!("request=smtpd_access_policy\n{lines}\n").into_bytes()
    };
    let login = |part: &str| {
        let response = STANDARD.encode(format!("\0u\0{}", part.repeat(8192)));
        format!("VERSION\t1\t2\nCPID\t1\nAUTH\t1\tPLAIN\tservice=smtp\tresp={response}\n").into_bytes()
    };
    measured.unfinished("a map's request", cut(&key("a")), map);
    measured.unfinished("a policy request", cut(&attributes("a")), policy);
    measured.unfinished("a login", cut(&login("a")), users);
    measured.unfinished_frames();
    for (kind, part) in [("letters", "a"), ("control characters", "\x01")] {
        measured.waiting(&format!("a key of {kind}, and the API hangs"), &key(part), map);
        measured.waiting(&format!("attributes of {kind}, and the API hangs"), &attributes(part), policy);
        measured.waiting(&format!("a password of {kind}, and the API hangs"), &login(part), users);
    }
    measured.answered("an answer of lists", "[],");
    measured.answered("an answer of numbers", "0,");
    measured.answered("an answer of escapes", "\"\\u0041\",");
    assert!(measured.most < MOST, "{:.1} times", measured.most);
}
