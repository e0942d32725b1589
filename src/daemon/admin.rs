//! The admin socket: `status`, `reload`, `cache`, `penalty` and `query` talk to the running broker here. It is
//! not the local socket and has mode 0600: a user that may look up mailboxes must not control the broker.
//!
//! A connection carries one request and one reply, each a line of JSON. Both ends are the same program;
//! an unknown request is refused. Limits: a line of 256 KiB, which must arrive within 30 s, and 32
//! concurrent connections.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::daemon::query::{Query, QueryReply};
use crate::daemon::stored::{Cached, Delayed, StoredRequest};

const LONGEST: u64 = 256 * 1024;
const PATIENCE: Duration = Duration::from_secs(30);
/// Concurrent connections.
const MOST: usize = 32;

/// A request of an administrator.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "snake_case")]
pub enum AdminRequest {
    /// Report the status.
    Status,
    /// Read the configuration again.
    Reload,
    /// Remove cached answers: all, those of an entry, or that of one key.
    Purge {
        /// The entry.
        name: Option<String>,
        /// A map's key.
        key: Option<String>,
    },
    /// Show or change what the broker remembers.
    Stored(StoredRequest),
    /// Handle a request as from Postfix.
    Query(Query),
}

/// The reply.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "told", rename_all = "snake_case")]
pub enum AdminReply {
    /// The request was carried out.
    Done {
        /// What was done, as a sentence.
        what: String,
    },
    /// The request was not carried out.
    Refused {
        /// The reason, as a sentence.
        why: String,
    },
    /// The status.
    Status {
        /// As JSON.
        status: serde_json::Value,
    },
    /// A cached answer, if there is one.
    Cached {
        /// The answer.
        cached: Option<Cached>,
    },
    /// The delays of denied logins.
    Penalties {
        /// The most denials first.
        listed: Vec<Delayed>,
        /// How many more there are.
        omitted: usize,
    },
    /// The reply that Postfix would get.
    #[serde(rename = "said")]
    Query(QueryReply),
}

/// A request, and the channel for its reply.
pub type Received = (AdminRequest, oneshot::Sender<AdminReply>);

/// Serves the socket and passes each request to `requests`. Never returns.
pub async fn serve(listener: UnixListener, requests: mpsc::Sender<Received>) {
    let connections = Arc::new(Semaphore::new(MOST));
    loop {
        let Ok(permit) = Arc::clone(&connections).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let requests = requests.clone();
                tokio::spawn(async move {
                    // A peer that hung up needs no reply.
                    let _ = one(stream, requests).await;
                    drop(permit);
                });
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn one(stream: UnixStream, requests: mpsc::Sender<Received>) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut line = Vec::new();
    let mut bounded = (&mut stream).take(LONGEST);
    tokio::time::timeout(PATIENCE, bounded.read_until(b'\n', &mut line)).await??;
    let reply = match serde_json::from_slice(&line) {
        Ok(request) => {
            let (answer, answered) = oneshot::channel();
            match requests.send((request, answer)).await {
                Ok(()) => {
                    answered.await.unwrap_or(AdminReply::Refused { why: "the broker stops".to_owned() })
                }
                Err(_) => AdminReply::Refused { why: "the broker stops".to_owned() },
            }
        }
        Err(_) => AdminReply::Refused { why: "this broker does not know this request".to_owned() },
    };
    let mut line = serde_json::to_vec(&reply).unwrap_or_default();
    line.push(b'\n');
    tokio::time::timeout(PATIENCE, stream.write_all(&line)).await?
}
