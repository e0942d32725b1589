//! Connections to one origin, and exchanges on them.
//!
//! The task that makes the request moves the bytes: neither another task nor a channel is involved. It takes an
//! idle connection (`pool`) or makes a new one. If an answer is not read to its end, or a lookup is dropped, the
//! connection is closed.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::broken::{Broken, Stage};
use super::connection::ApiConnection;
use super::connector::Connector;
use super::pool::Pools;
use super::thread_index;
use super::{Http, Reply, Request, timely};
use crate::model::{Deadline, Failure};
use crate::observe::count_guard::CountGuard;
use crate::observe::explain;
use crate::observe::metrics::{ConnectionCounts, Metrics};
use crate::observe::redact::Redactor;

/// A connection that was used this recently is not about to be closed.
const SURE: Duration = Duration::from_secs(1);
const MALFORMED: Broken =
    Broken { stage: Stage::Refused, failure: Failure::Malformed, reason: Cow::Borrowed("") };

#[derive(Debug)]
pub(super) struct Connections {
    pub(super) connector: Connector,
    credentials: Option<Redactor>,
    idle: Pools<KeptConnection>,
    open: Arc<AtomicUsize>,
    metrics: Arc<Metrics>,
}

/// Boxed, because it is large and often moved.
type KeptConnection = Box<Counted>;

/// One connection.
#[derive(Debug)]
struct Counted {
    connection: ApiConnection,
    /// The index of the thread that made it.
    home: usize,
    _open: CountGuard,
}

impl Connections {
    pub(super) fn new(connector: Connector, http: &Http) -> Self {
        Self {
            credentials: connector.proxy_authorization().map(|value| Redactor::of_values([value])),
            connector,
            idle: Pools::new(&http.settings, &http.idle, |kept| kept.connection.is_alive()),
            open: Arc::default(),
            metrics: Arc::clone(&http.metrics),
        }
    }

    pub(super) fn counts(&self) -> ConnectionCounts {
        ConnectionCounts { idle: self.idle.len(), open: self.open.load(Ordering::Relaxed) }
    }

    /// Exchanges on a kept connection, otherwise on a new one. If the kept one fails, a repeatable request is
    /// sent on a new one. If the API has closed it before a byte is written, the next kept one is used.
    pub(super) async fn exchange(&self, request: &Request<'_>, deadline: Deadline) -> Result<Reply, Broken> {
        if let Some(credentials) = &self.credentials {
            explain::redact(|| credentials.clone());
        }
        let mut is_lost = false;
        while let Some(kept) = self.kept(request.repeatable) {
            // The poller of this thread has reported bytes that came before its last turn, but not those of other
            // threads' connections. For a password the socket itself is asked. Bytes that an API sends unasked after
            // the request are taken for its answer: HTTP/1.1 has nothing to tell them apart.
            let looks = !request.repeatable || kept.home != thread_index();
            match self.ask(kept, request, looks, deadline).await {
                Err(Broken { stage: Stage::Unsent, .. }) => {}
                Err(Broken { stage: Stage::Lost, .. }) if request.repeatable => {
                    is_lost = true;
                    break;
                }
                other => return other,
            }
        }
        let anew = match Box::pin(timely(deadline, self.connect(deadline))).await {
            Ok(Ok(new)) => self.ask(new, request, false, deadline).await,
            Ok(Err(broken)) => Err(broken),
            Err(_) => Err(Broken::not_connected_in_time()),
        };
        if is_lost { anew.map_err(Broken::after_lost) } else { anew }
    }

    /// A request that is not repeatable needs a connection that was used a moment ago. Through a proxy it
    /// needs a new one: the proxy may hold a connection that the API has closed.
    fn kept(&self, repeatable: bool) -> Option<KeptConnection> {
        if repeatable {
            return self.idle.take(None);
        }
        (!self.connector.is_proxied()).then(|| self.idle.take(Some(SURE))).flatten()
    }

    async fn ask(
        &self,
        mut counted: KeptConnection,
        request: &Request<'_>,
        looks: bool,
        deadline: Deadline,
    ) -> Result<Reply, Broken> {
        let target = self.connector.target(&request.path).ok_or(MALFORMED)?;
        let credentials = self.connector.proxy_authorization().filter(|_| self.connector.is_forwarded());
        let encoded = request.encode(target, credentials);
        let answer = counted.connection.exchange(encoded, request.repeatable, looks, deadline).await?;
        let at = Instant::now();
        // Whether it is still alive is checked when it is used, and when the pool is swept.
        if answer.is_kept && !request.headers.close() {
            let home = counted.home;
            self.idle.put(counted, home, at);
        }
        Ok(Reply { at, status: answer.status, headers: answer.fields, body: answer.body })
    }

    async fn connect(&self, deadline: Deadline) -> Result<KeptConnection, Broken> {
        let opened = self.connector.open().await;
        let stream = opened.map_err(|error| Broken::unconnected(&*error, &self.connector))?;
        self.metrics.connections.add();
        let connection = ApiConnection::new(stream, self.connector.keys(), deadline);
        Ok(Box::new(Counted { connection, home: thread_index(), _open: CountGuard::new(&self.open) }))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{HttpSettings, Transport};
    use super::*;
    use hyper::Method;
    use hyper::body::Bytes;
    use std::future::poll_fn;
    use std::io::{Read, Write};
    use std::pin::pin;
    use std::sync::mpsc;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::task::{JoinSet, consume_budget, yield_now};
    use url::Url;

    /// Sends a request that is not repeatable, after so many steps of the task's budget.
    async fn ask_once(http: Arc<Http>, url: Url, steps: usize) -> Option<u16> {
        for _ in 0..steps {
            consume_budget().await;
        }
        let host = http.host(&url);
        let Ok(Transport::Http1(connections)) = &host.transport else { panic!("no proxy") };
        let headers = host.headers(&Default::default());
        let (path, body) = ("/".parse().expect("a path"), Bytes::from_static(b"{}"));
        let (method, headers, own) = (Method::POST, &headers, &[]);
        let request = Request { method, path, headers, own, authorization: None, body, repeatable: false };
        let deadline = Deadline::after(Duration::from_secs(10));
        connections.exchange(&request, deadline).await.ok().map(|reply| reply.status)
    }

    async fn answer(stream: &mut TcpStream) {
        let _ = stream.read(&mut [0; 4096]).await.expect("a request");
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}").await.expect("it is read");
    }

    #[tokio::test]
    async fn however_many_were_closed_nothing_is_lost() {
        const KEPT: usize = 100;
        for steps in 0..4 {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
            let address = listener.local_addr().expect("an address");
            let url: Url = format!("http://{address}/").parse().expect("a URL");
            let http = Arc::new(Http::new(HttpSettings::plain(KEPT), &Arc::default()));
            let _held = http.host(&url);
            let mut asking = JoinSet::new();
            let mut backend = Vec::new();
            for _ in 0..KEPT {
                asking.spawn(ask_once(Arc::clone(&http), url.clone(), 0));
                backend.push(listener.accept().await.expect("a connection").0);
            }
            for stream in &mut backend {
                answer(stream).await;
            }
            while let Some(status) = asking.join_next().await {
                assert_eq!(status.expect("no panic"), Some(200));
            }
            assert_eq!(http.idle(), KEPT);
            drop(backend);
            // The poller notices it.
            yield_now().await;
            let asking = tokio::spawn(ask_once(Arc::clone(&http), url, steps));
            let accepted = tokio::time::timeout(Duration::from_secs(10), listener.accept()).await;
            let mut stream = accepted.expect("asked anew").expect("a new connection").0;
            answer(&mut stream).await;
            assert_eq!(asking.await.expect("no panic"), Some(200), "after {steps} steps");
        }
    }

    #[tokio::test]
    async fn a_request_does_not_wake_the_task_that_sends_it() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url: Url =
            format!("http://{}/", listener.local_addr().expect("an address")).parse().expect("a URL");
        let http = Arc::new(Http::new(HttpSettings::plain(1), &Arc::default()));
        let _held = http.host(&url);
        let backend = tokio::spawn(async move {
            let mut stream = listener.accept().await.expect("a connection").0;
            for _ in 0..2 {
                answer(&mut stream).await;
            }
        });
        assert_eq!(ask_once(Arc::clone(&http), url.clone(), 0).await, Some(200));
        // The first answer woke this task while it ran.
        yield_now().await;
        let (mut asking, mut polls) = (pin!(ask_once(http, url, 0)), 0);
        let status = poll_fn(|cx| {
            polls += 1;
            asking.as_mut().poll(cx)
        });
        assert_eq!(status.await, Some(200), "on the kept connection");
        assert_eq!(polls, 2, "the request, and the answer");
        backend.await.expect("no panic");
    }

    fn says(stream: &mut std::net::TcpStream, status: u16) {
        let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: 2\r\n\r\n{{}}");
        stream.write_all(answer.as_bytes()).expect("it is read");
    }

    /// The poller of this test's only thread does not run between the two requests.
    #[tokio::test]
    async fn what_came_before_a_password_is_no_answer_to_it() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url: Url =
            format!("http://{}/", listener.local_addr().expect("an address")).parse().expect("a URL");
        let (ask, asked) = mpsc::channel();
        let (tell, told) = mpsc::channel();
        let backend = std::thread::spawn(move || {
            let mut first = listener.accept().expect("a connection").0;
            let _ = first.read(&mut [0; 4096]).expect("a request");
            says(&mut first, 200);
            asked.recv().expect("the answer has come");
            says(&mut first, 201);
            tell.send(()).expect("it is waited for");
            let mut second = listener.accept().expect("another connection").0;
            let _ = second.read(&mut [0; 4096]).expect("a request");
            says(&mut second, 202);
            let mut rest = Vec::new();
            let _ = first.read_to_end(&mut rest);
            rest.len()
        });
        let http = Arc::new(Http::new(HttpSettings::plain(8), &Arc::default()));
        let held = http.host(&url);
        assert_eq!(ask_once(Arc::clone(&http), url.clone(), 0).await, Some(200));
        assert_eq!(http.idle(), 1);
        ask.send(()).expect("it waits");
        told.recv().expect("the other answer is written");
        assert_eq!(ask_once(Arc::clone(&http), url, 0).await, Some(202));
        drop((held, http));
        assert_eq!(backend.join().expect("no panic"), 0, "not a byte went out there");
    }
}
