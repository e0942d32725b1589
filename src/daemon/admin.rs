//! The administrator's socket: what `status`, `reload`, `cache purge` and `query` ask of a broker
//! that runs. It is another one than that of the clients, with mode 0600: who may ask for a mailbox
//! may not ask for everything.
//!
//! One order a connection, as a line of JSON, and one line of JSON back. Both ends are the same
//! program; an order that is not understood is refused. Limits: a line of 256 KiB, 30 s to bring it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::daemon::query::{Query, QueryReply};

const LONGEST: u64 = 256 * 1024;
const PATIENCE: Duration = Duration::from_secs(30);
/// Connections at a time.
const MOST: usize = 32;

/// What may be ordered.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "snake_case")]
pub enum AdminRequest {
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

/// What comes back.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "told", rename_all = "snake_case")]
pub enum AdminReply {
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
    #[serde(rename = "said")]
    Query(QueryReply),
}

/// An order, and where its answer goes.
pub type Received = (AdminRequest, oneshot::Sender<AdminReply>);

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
                Ok(()) => {
                    answered.await.unwrap_or(AdminReply::Refused { why: "the broker stops".to_owned() })
                }
                Err(_) => AdminReply::Refused { why: "the broker stops".to_owned() },
            }
        }
        Err(_) => AdminReply::Refused { why: "this broker does not know that order".to_owned() },
    };
    let mut line = serde_json::to_vec(&told).unwrap_or_default();
    line.push(b'\n');
    tokio::time::timeout(PATIENCE, stream.write_all(&line)).await?
}
