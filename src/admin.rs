//! The administrator's socket: what `status`, `reload`, `cache purge` and `query` ask of a broker
//! that runs. It is another one than that of the clients, with mode 0600: who may ask for a mailbox
//! may not ask for everything.
//!
//! One order a connection, as a line of JSON, and one line of JSON back. Both ends are the same
//! program; an order that is not understood is refused. Limits: a line of 256 KiB, 30 s to bring it.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::ask::{Answer, Attribute, Credentials, Failure, Login, Mechanism, OnFailure, Peer, Question};
use crate::broker::Broker;
use crate::proto::reply::{self, Next, Protocol};
use crate::secret::Secret;
use crate::target::Asker;
use crate::target::limit::Door;
use crate::trace;

const LONGEST: u64 = 256 * 1024;
const PATIENCE: Duration = Duration::from_secs(30);
/// Connections at a time.
const MOST: usize = 32;

/// What may be ordered.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "snake_case")]
pub enum Order {
    /// How it goes.
    Status,
    /// Read the configuration again.
    Reload,
    /// Forget cached answers: all, those of an entry, or that of one key.
    Purge {
        /// The entry.
        name: Option<String>,
        /// A map's key.
        key: Option<String>,
    },
    /// Ask as Postfix would.
    Query(Query),
}

/// A question of an administrator.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Query {
    /// A map.
    Map {
        /// Its entry.
        name: String,
        /// The key.
        key: String,
    },
    /// A policy service.
    Policy {
        /// Its entry.
        name: String,
        /// `name=value` of each attribute.
        attributes: Vec<(String, String)>,
    },
    /// A login by PLAIN.
    Sasl {
        /// Its entry.
        name: String,
        /// Who.
        user: String,
        /// With what.
        password: Secret,
    },
}

/// What comes back.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "told", rename_all = "snake_case")]
pub enum Told {
    /// It is done; a sentence.
    Done {
        /// What was done.
        what: String,
    },
    /// It is not; a sentence.
    Refused {
        /// Why.
        why: String,
    },
    /// How it goes.
    Status {
        /// As JSON.
        status: serde_json::Value,
    },
    /// What Postfix would get.
    Said(Said),
}

/// The reply to a [`Query`].
#[derive(Debug, Serialize, Deserialize)]
pub struct Said {
    /// The bytes; empty where the connection is closed.
    pub bytes: Vec<u8>,
    /// What happened on the way.
    pub trace: Vec<String>,
    /// A sentence where there is no entry of that name.
    #[serde(default)]
    pub unknown: Option<String>,
}

/// An order, and where its answer goes.
pub type Received = (Order, oneshot::Sender<Told>);

/// Asks `broker` as a socket client would.
pub async fn ask(broker: &Arc<Broker>, query: &Query) -> Said {
    let question = match query {
        Query::Map { name, key } => Question::Map { name: name.clone(), key: key.clone().into_bytes() },
        Query::Policy { name, attributes } => {
            let attributes = attributes
                .iter()
                .map(|(name, value)| Attribute { name: name.clone(), value: value.clone().into_bytes() });
            Question::Policy { name: name.clone(), attributes: attributes.collect() }
        }
        Query::Sasl { name, user, password } => {
            let credentials = Credentials::Password { user: user.clone(), password: password.clone() };
            let peer = Peer { service: "smtp".to_owned(), ..Peer::default() };
            let login = Login { name: name.clone(), mechanism: Mechanism::Plain, credentials, peer };
            Question::Login(Box::new(login))
        }
    };
    let asker = Asker { at: Instant::now(), id: 0, session: 0, door: Door::default() };
    let asked = async {
        let answer = broker.ask(&question, &asker).await;
        trace::note(|| format!("answer: {}", in_words(&answer)));
        answer
    };
    let (answer, trace) = trace::collect(asked).await;
    let (mut bytes, fallback) = (Vec::new(), OnFailure::default());
    let next = match query {
        Query::Map { .. } => reply::encode(Protocol::Socketmap, &answer, &fallback, &mut bytes),
        Query::Policy { .. } => reply::encode(Protocol::Policy, &answer, &fallback, &mut bytes),
        // As Postfix, which announces 0.
        Query::Sasl { .. } => reply::login(1, 0, &answer, &mut bytes),
    };
    if next == Next::Close {
        bytes.clear();
    }
    let is_unknown = matches!(answer, Answer::Failed { failure: Failure::UnknownName, .. });
    Said { bytes, trace, unknown: is_unknown.then(|| query.unknown()) }
}

impl Query {
    /// What is said of a name that has no entry.
    fn unknown(&self) -> String {
        let (name, section) = match self {
            Self::Map { name, .. } => (name, "socket_maps"),
            Self::Policy { name, .. } => (name, "policy_services"),
            Self::Sasl { name, .. } => (name, "dovecot_sasl"),
        };
        format!("there is no entry {name:?} in {section}")
    }
}

fn in_words(answer: &Answer) -> String {
    match answer {
        Answer::Value(value) => format!("the value {value}"),
        Answer::NotFound => "not found".to_owned(),
        Answer::Action(action) => format!("the action {}", action.as_str()),
        Answer::Accepted { user } => format!("accepted, as {user}"),
        Answer::Denied { reason, .. } => format!("denied: {reason}"),
        Answer::Failed { failure, on_failure } => {
            let then = on_failure.as_ref().map(|then| match then {
                OnFailure::Action(action) => action.as_str(),
                OnFailure::Disconnect => "disconnect",
                OnFailure::Auto => "auto",
                OnFailure::Fail => "fail",
            });
            let then = then.map(|then| format!("; on_failure: {then}")).unwrap_or_default();
            format!("none ({failure}){then}")
        }
    }
}

/// Serves the socket, handing each order to `orders`. Never returns.
pub async fn serve(listener: UnixListener, orders: mpsc::Sender<Received>) {
    let connections = Arc::new(Semaphore::new(MOST));
    loop {
        let Ok(permit) = Arc::clone(&connections).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let orders = orders.clone();
                tokio::spawn(async move {
                    // Whoever ordered and left wants no answer.
                    let _ = one(stream, orders).await;
                    drop(permit);
                });
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn one(stream: UnixStream, orders: mpsc::Sender<Received>) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut line = Vec::new();
    let mut bounded = (&mut stream).take(LONGEST);
    tokio::time::timeout(PATIENCE, bounded.read_until(b'\n', &mut line)).await??;
    let told = match serde_json::from_slice(&line) {
        Ok(order) => {
            let (answer, answered) = oneshot::channel();
            match orders.send((order, answer)).await {
                Ok(()) => answered.await.unwrap_or(Told::Refused { why: "the broker stops".to_owned() }),
                Err(_) => Told::Refused { why: "the broker stops".to_owned() },
            }
        }
        Err(_) => Told::Refused { why: "this broker does not know that order".to_owned() },
    };
    let mut line = serde_json::to_vec(&told).unwrap_or_default();
    line.push(b'\n');
    tokio::time::timeout(PATIENCE, stream.write_all(&line)).await?
}
