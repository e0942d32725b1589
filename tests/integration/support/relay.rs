//! A TCP port of the test that passes all bytes on to another one, and can stop doing so: while it is a black hole,
//! connections are accepted, and nothing that is sent arrives.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;

/// A running relay.
pub(crate) struct Relay {
    address: SocketAddr,
    gate: Arc<Gate>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    is_hole: bool,
    is_closing: bool,
}

impl Gate {
    /// Waits while it is a black hole; false if the relay ends.
    fn pass(&self) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let state = self.changed.wait_while(state, |state| state.is_hole && !state.is_closing);
        !state.unwrap_or_else(PoisonError::into_inner).is_closing
    }

    fn set(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_all();
    }
}

impl Relay {
    /// Starts a relay to this address.
    pub(crate) fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let gate = Arc::<Gate>::default();
        let ours = Arc::clone(&gate);
        let thread = std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                if ours.state.lock().unwrap_or_else(PoisonError::into_inner).is_closing {
                    return;
                }
                let gate = Arc::clone(&ours);
                std::thread::spawn(move || join(stream, target, &gate));
            }
        });
        Self { address, gate, thread: Some(thread) }
    }

    /// Its port.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on nothing is passed on, or all again: also what was sent meanwhile.
    pub(crate) fn be_hole(&self, is_hole: bool) {
        self.gate.set(|state| state.is_hole = is_hole);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.gate.set(|state| state.is_closing = true);
        let _woken = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the accepting thread does not panic");
        }
    }
}

/// Passes on both directions until one side closes.
fn join(from: TcpStream, target: SocketAddr, gate: &Arc<Gate>) {
    if !gate.pass() {
        return;
    }
    let Ok(to) = TcpStream::connect(target) else { return };
    let (Ok(back), Ok(forth)) = (from.try_clone(), to.try_clone()) else { return };
    let answers = Arc::clone(gate);
    std::thread::spawn(move || pass_on(forth, back, &answers));
    pass_on(from, to, gate);
}

fn pass_on(mut from: TcpStream, mut to: TcpStream, gate: &Gate) {
    let mut piece = [0; 16 * 1024];
    while let Ok(read @ 1..) = from.read(&mut piece) {
        if !gate.pass() || to.write_all(&piece[..read]).is_err() {
            break;
        }
    }
    for stream in [from, to] {
        let _gone_already = stream.shutdown(Shutdown::Both);
    }
}
