//! A server that speaks the protocol of Redis as a closure says, and keeps all commands that it got.

use std::io::{BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use super::redis::{Told, reply};

type Answer = Arc<dyn Fn(&[String]) -> Vec<u8> + Send + Sync>;

/// A running server.
pub(crate) struct FakeRedis {
    address: SocketAddr,
    seen: Arc<Mutex<String>>,
    closing: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl FakeRedis {
    /// Starts one. `answer` gets the words of a command, and returns the bytes of the reply.
    pub(crate) fn start(answer: impl Fn(&[String]) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (seen, closing) = (Arc::<Mutex<String>>::default(), Arc::<AtomicBool>::default());
        let (kept, stop, answer) = (Arc::clone(&seen), Arc::clone(&closing), Arc::new(answer) as Answer);
        let thread = std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept()
                && !stop.load(Ordering::SeqCst)
            {
                let (kept, answer) = (Arc::clone(&kept), Arc::clone(&answer));
                std::thread::spawn(move || talk(&stream, &kept, &answer));
            }
        });
        Self { address, seen, closing, thread: Some(thread) }
    }

    /// Its port.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// All words that it got, each in a line.
    pub(crate) fn seen(&self) -> String {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for FakeRedis {
    fn drop(&mut self) {
        self.closing.store(true, Ordering::SeqCst);
        let _woken = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the accepting thread does not panic");
        }
    }
}

fn talk(mut stream: &TcpStream, seen: &Mutex<String>, answer: &Answer) {
    let mut reader = BufReader::new(stream);
    while let Some(Told::List(words)) = reply(&mut reader) {
        let words: Vec<String> = words.into_iter().map(Told::text).collect();
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        words.iter().for_each(|word| seen.extend([word, "\n"]));
        drop(seen);
        if stream.write_all(&answer(&words)).is_err() {
            return;
        }
    }
}
