//! The table of an API that sends head and body of an answer in two segments, without TCP_NODELAY: it sends
//! the body when the head is acknowledged, which the kernel of the receiver delays by 40 ms.
//!
//! The API is a part of the bench, with a thread for each connection. One connection asks.

use std::io::Write;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};

use super::configuration::MAP_BODY;
use super::load::Load;
use super::options::Options;
use super::pair::{Api, Pair, Side};
use super::shown::{head, request};
use super::spread::Spread;
use super::stretch::{Stretch, ratio};
use super::{Outcome, interrupt};

/// Lookups before the measurement: at the beginning of a connection the kernel acknowledges at once.
const WARM_UP: usize = 20;

/// Both in one round.
pub(crate) struct Round {
    pub(crate) haproxy: Stretch,
    pub(crate) broker: Stretch,
}

impl Round {
    pub(crate) fn of(&self, side: Side) -> &Stretch {
        match side {
            Side::Haproxy => &self.haproxy,
            Side::Broker => &self.broker,
        }
    }

    pub(crate) fn json(&self) -> Value {
        json!({ "haproxy": self.haproxy.json(), "socketmap": self.broker.json() })
    }
}

/// The broker's p50 divided by HAProxy's.
pub(crate) fn p50(rounds: &[Round]) -> Option<Spread> {
    ratio(rounds.iter().map(|round| (round.broker.p50, round.haproxy.p50)))
}

pub(crate) fn measure(options: &Options) -> Outcome<Vec<Round>> {
    let (port, answered) = serve()?;
    let pair = Pair::start(options, Api { port, path: "/map", most: 256 })?;
    let mut asked = 0;
    let mut one = |side| {
        interrupt::check()?;
        let mut load = Load::new(pair.open(side, 1)?, &pair.script(side), asked, 80_000_000)?;
        load.in_turn(WARM_UP)?;
        let before = answered.load(Ordering::Relaxed);
        let stretch = Stretch::measure(&mut load, options.length, pair.process(side).id())?;
        asked = load.asked();
        let counted = answered.load(Ordering::Relaxed) - before;
        if counted < stretch.requests as u64 {
            return Err(format!("the API was asked {counted} times for {} answers", stretch.requests));
        }
        Ok(stretch)
    };
    let mut rounds = Vec::new();
    for round in 0..options.rounds {
        rounds.push(if round % 2 == 0 {
            let haproxy = one(Side::Haproxy)?;
            Round { haproxy, broker: one(Side::Broker)? }
        } else {
            let broker = one(Side::Broker)?;
            Round { haproxy: one(Side::Haproxy)?, broker }
        });
    }
    Ok(rounds)
}

/// Starts the API; its port, and how many answers it has begun. It ends with this program.
fn serve() -> Outcome<(u16, Arc<AtomicU64>)> {
    let bound = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| Ok((listener.local_addr()?.port(), listener)));
    let (port, listener) = bound.map_err(|error| format!("a port on 127.0.0.1: {error}"))?;
    let answered = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&answered);
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let counter = Arc::clone(&counter);
            std::thread::spawn(move || answer(stream, &counter));
        }
    });
    Ok((port, answered))
}

/// Answers until the connection ends.
fn answer(mut stream: TcpStream, answered: &AtomicU64) -> std::io::Result<()> {
    let head = head();
    while !request(&mut stream)?.is_empty() {
        answered.fetch_add(1, Ordering::Relaxed);
        stream.write_all(head.as_bytes())?;
        stream.write_all(MAP_BODY.as_bytes())?;
    }
    Ok(())
}
