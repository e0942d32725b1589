//! The reader of the log ends: the broker goes on.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::backend::{Backend, Reply, Request};
use crate::support::broker::{command, has_word};
use crate::support::config::{Config, Kind};
use crate::support::peer::Peer;
use crate::support::site::open_directory;
use crate::support::{PATIENCE, wait_for_exit};

const TEMP: &str = "TEMP Temporary server problem";

/// A process that is killed at the end of the test.
struct Mortal(Child);

impl Drop for Mortal {
    fn drop(&mut self) {
        let _gone_already = self.0.kill();
        let _reaped = self.0.wait();
    }
}

#[test]
fn a_broker_without_a_log_reader_goes_on() {
    let api = Backend::start(|_: &Request| Reply::status(503));
    let directory = open_directory();
    let socket = directory.path().join("maps.sock");
    let config = Config::new(directory.path()).map("m", &api.url("/"), &[]).policy("p", &api.url("/"), &[]);
    let config = config.listen_unix(Kind::Map, "maps", &socket).write();
    let mut broker = command(&config);
    let broker = broker.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut broker = Mortal(broker.spawn().expect("the broker's program can be started"));
    let stdout = broker.0.stdout.take().expect("stdout is a pipe");
    let mut lines = BufReader::new(stdout).lines().map_while(Result::ok);
    assert!(lines.any(|line| has_word(&line, "ready")), "it becomes ready");
    drop((lines, broker.0.stderr.take()));

    let mut peers = [Peer::unix(&socket), Peer::asking(&Config::ipc(directory.path()), &["socketmap"])];
    for round in 0..5 {
        for peer in &mut peers {
            assert_eq!(peer.look_up("m", &format!("{round}")), TEMP, "round {round}");
            let reply = peer.look_up("unknown", "k");
            assert_eq!(reply, "PERM unknown map", "round {round}: a warning is not read");
        }
    }
    assert_eq!(api.count(), 10);
    kill_process(Pid::from_child(&broker.0), Signal::TERM).expect("a child can be signalled");
    let status = wait_for_exit(&mut broker.0, PATIENCE).and_then(|status| status.code());
    assert_eq!(status, Some(0), "the exit code");
}
