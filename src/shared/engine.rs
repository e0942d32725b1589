//! Redis or Valkey: the only file that knows its client library, with `words`.
//!
//! One connection carries the commands of all lookups. Its stream is ours ([`Dial`], or a unix socket), so that TLS
//! and names are those of connections to APIs. The library's manager of connections is not used: its commands wait
//! for many seconds if the server is gone. With `sentinel` the sentinels are asked for the master each time. Cluster
//! is not supported.
//!
//! Messages of other hosts come over the same connection (RESP3).
//!
//! Limits: a reply or message that is longer than the longest record ends the connection ([`Bounded`]).

mod words;

use std::fmt;
use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{
    AsyncConnectionConfig, Cmd, ProtocolVersion, PushInfo, PushKind, RedisConnectionInfo, RedisError,
    ServerErrorKind, Value, cmd,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;
use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::timeout;

use super::bounded::Bounded;
use super::record::MAX_RECORD;
use super::settings::{Address, Endpoint, SentinelSettings, SharedSettings};
use crate::http::settings::TlsSettings;
use crate::http::{Dial, Http};
use crate::model::secret::Secret;
use words::{is_unfit, unexpected, unreached, words};

/// The time limit for each server that is connected to, greetings included.
const CONNECT: Duration = Duration::from_secs(2);

/// A connection. It is closed when the last use of it ends.
pub(super) struct Connection {
    commands: MultiplexedConnection,
    driver: AbortHandle,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connection")
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// A change.
#[derive(Debug)]
pub(super) enum Write {
    /// A record, and how long it is kept.
    Set { name: String, record: Vec<u8>, life: Duration },
    /// Removes a record.
    Delete { name: String },
}

/// A word of a command.
pub(super) type Word<'w> = &'w (dyn AsRef<[u8]> + Sync);

/// The answer to a command.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reply {
    Number(i64),
    Bytes(Vec<u8>),
    /// A status, or nothing.
    Other,
    /// The key has a value that the command does not fit.
    Unfit,
    /// The server refused the command: why.
    Refused(String),
}

impl Reply {
    /// An error if the connection is of no use any more.
    fn of(value: Value) -> Result<Self, String> {
        Ok(match value {
            Value::Int(number) => Self::Number(number),
            Value::BulkString(bytes) => Self::Bytes(bytes),
            Value::Okay | Value::Nil | Value::SimpleString(_) => Self::Other,
            Value::ServerError(error) if is_unfit(&error) => Self::Unfit,
            Value::ServerError(error) if error.kind() != Some(ServerErrorKind::ReadOnly) => {
                Self::Refused(words(&error.into()))
            }
            other => return Err(unexpected(&other)),
        })
    }

    /// Why the server refused the command, if it did.
    pub(super) fn refused(&self) -> Option<&String> {
        if let Self::Refused(why) = self { Some(why) } else { None }
    }
}

/// Gets the messages of a channel. It must not wait.
pub(super) type Listener = Box<dyn Fn(&[u8]) + Send + Sync>;

/// What came of several changes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Written {
    /// How many were made.
    pub(super) made: usize,
    /// Why the last one was refused that was.
    pub(super) refused: Option<String>,
}

/// Connects, logs in, and waits for a first answer. The task ends with the connection. `listener` gets the messages of
/// [`Connection::subscribe`].
///
/// # Errors
/// The reason, in one line without secrets.
pub(super) async fn connect(
    settings: &SharedSettings,
    http: &Http,
    listener: Listener,
) -> Result<(Connection, JoinHandle<()>), String> {
    let tls = settings.tls.as_ref();
    let server = match &settings.sentinel {
        None => settings.server.clone(),
        Some(sentinel) => {
            let address = master(sentinel, settings.server.address.has_tls(), tls, http).await?;
            Endpoint { address, ..settings.server.clone() }
        }
    };
    open(&server, settings.password.as_ref(), tls, http, Some(listener)).await
}

/// The address of the master, as the first sentinel says it that answers.
async fn master(
    sentinel: &SentinelSettings,
    has_tls: bool,
    tls: Option<&TlsSettings>,
    http: &Http,
) -> Result<Address, String> {
    let mut why = String::new();
    for server in &sentinel.servers {
        let asked = async {
            let (connection, _driver) = open(server, sentinel.password.as_ref(), tls, http, None).await?;
            let mut question = cmd("SENTINEL");
            question.arg("GET-MASTER-ADDR-BY-NAME").arg(&sentinel.master);
            let found: Option<(String, u16)> = question
                .query_async(&mut connection.commands.clone())
                .await
                .map_err(|error| words(&error))?;
            let (host, port) = found.ok_or("it knows no master of this name (sentinel.master)")?;
            Address::tcp(has_tls, &host, port)
                .ok_or_else(|| "it names a master without an address".to_owned())
        };
        match timeout(CONNECT, asked).await.unwrap_or_else(|_| Err("timed out".to_owned())) {
            Ok(address) => return Ok(address),
            Err(error) => why = format!("the sentinel {}: {error}", server.address),
        }
    }
    Err(why)
}

async fn open(
    server: &Endpoint,
    password: Option<&Secret>,
    tls: Option<&TlsSettings>,
    http: &Http,
    listener: Option<Listener>,
) -> Result<(Connection, JoinHandle<()>), String> {
    let opened = async {
        match &server.address {
            Address::Unix(path) => {
                let stream = UnixStream::connect(path).await.map_err(|error| unreached(&error))?;
                log_in(stream, server, password, listener).await
            }
            Address::Tcp(url) => {
                let opened = Dial::new(url, tls, http)?.open().await;
                let stream =
                    opened.map_err(|why| why.replace("begins with http://", "begins with redis://"))?;
                log_in(stream, server, password, listener).await
            }
        }
    };
    timeout(CONNECT, opened).await.unwrap_or_else(|_| Err("timed out".to_owned()))
}

async fn log_in(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    server: &Endpoint,
    password: Option<&Secret>,
    listener: Option<Listener>,
) -> Result<(Connection, JoinHandle<()>), String> {
    let mut login = RedisConnectionInfo::default().set_db(server.database.into()).set_skip_set_lib_name();
    if let Some(password) = password {
        login = login.set_password(password.expose());
        if let Some(user) = &server.user {
            login = login.set_username(user);
        }
    }
    // Each use has a time limit of its own.
    let mut config = AsyncConnectionConfig::new().set_response_timeout(None);
    if let Some(listener) = listener {
        login = login.set_protocol(ProtocolVersion::RESP3);
        config = config.set_push_sender(move |push: PushInfo| {
            if let (PushKind::Message, [_, Value::BulkString(message)]) = (push.kind, &push.data[..]) {
                listener(message);
            }
            Ok::<(), ()>(())
        });
    }
    let made = MultiplexedConnection::new_with_config(&login, Bounded::new(stream), config).await;
    // The reply to a login may repeat it.
    let repeats =
        |error: &RedisError| password.is_some_and(|password| error.to_string().contains(password.expose()));
    let (commands, driver) = made.map_err(|error| match repeats(&error) {
        true => "it refuses the login".to_owned(),
        false => words(&error),
    })?;
    let driver = tokio::spawn(driver);
    let connection = Connection { commands, driver: driver.abort_handle() };
    connection.ping().await?;
    Ok((connection, driver))
}

impl Connection {
    /// The record of this name; empty if there is none. Never more than the longest record.
    pub(super) async fn get(&self, name: &str) -> Result<Vec<u8>, String> {
        let mut command = cmd("GETRANGE");
        command.arg(name).arg(0).arg(MAX_RECORD);
        match self.send(&command).await? {
            Value::BulkString(bytes) => Ok(bytes),
            other => Err(unexpected(&other)),
        }
    }

    /// Whether it answers.
    pub(super) async fn ping(&self) -> Result<(), String> {
        match self.send(&cmd("PING")).await? {
            Value::SimpleString(_) => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    /// Sets a record unless there is one of this name; says whether it did.
    pub(super) async fn set_first(&self, name: &str, record: &[u8], life: Duration) -> Result<bool, String> {
        let mut command = set(name, record, life);
        command.arg("NX");
        match self.send(&command).await? {
            Value::Okay => Ok(true),
            Value::Nil => Ok(false),
            other => Err(unexpected(&other)),
        }
    }

    /// From now on the listener gets the messages of this channel.
    pub(super) async fn subscribe(&self, channel: &str) -> Result<(), String> {
        match self.send(cmd("SUBSCRIBE").arg(channel)).await? {
            Value::Push { .. } => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    /// Sends these commands in one round trip. There is a reply for each.
    ///
    /// # Errors
    /// The connection is of no use any more.
    pub(super) async fn ask(&self, commands: &[&[Word<'_>]]) -> Result<Vec<Reply>, String> {
        let mut pipeline = redis::Pipeline::with_capacity(commands.len());
        for command in commands {
            let mut sent = Cmd::new();
            for word in *command {
                sent.arg(word.as_ref());
            }
            pipeline.add_command(sent);
        }
        let sent = self.commands.clone().req_packed_commands(&pipeline, 0, commands.len()).await;
        let replies: Result<Vec<_>, _> =
            sent.map_err(|error| words(&error))?.into_iter().map(Reply::of).collect();
        replies.and_then(|replies| match replies.len() == commands.len() {
            true => Ok(replies),
            false => Err("it answers otherwise than Redis".to_owned()),
        })
    }

    /// Makes these changes in one round trip.
    ///
    /// # Errors
    /// The connection is of no use any more.
    pub(super) async fn write(&self, writes: &[Write]) -> Result<Written, String> {
        let mut pipeline = redis::Pipeline::with_capacity(writes.len());
        for write in writes {
            pipeline.add_command(match write {
                Write::Set { name, record, life } => set(name, record, *life),
                Write::Delete { name } => {
                    let mut command = cmd("DEL");
                    command.arg(name);
                    command
                }
            });
        }
        let mut commands = self.commands.clone();
        let answers = commands.req_packed_commands(&pipeline, 0, writes.len()).await;
        let mut written = Written::default();
        for answer in answers.map_err(|error| words(&error))? {
            match answer {
                Value::ServerError(error) if error.kind() == Some(ServerErrorKind::ReadOnly) => {
                    return Err(words(&error.into()));
                }
                Value::ServerError(error) => written.refused = Some(words(&error.into())),
                _ => written.made += 1,
            }
        }
        Ok(written)
    }

    async fn send(&self, command: &Cmd) -> Result<Value, String> {
        let answer = self.commands.clone().req_packed_command(command).await;
        let answer = answer.and_then(Value::extract_error);
        answer.map_err(|error| words(&error))
    }
}

fn set(name: &str, record: &[u8], life: Duration) -> Cmd {
    let mut command = cmd("SET");
    let life = u64::try_from(life.as_millis()).unwrap_or(u64::MAX).max(1);
    command.arg(name).arg(record).arg("PX").arg(life);
    command
}
