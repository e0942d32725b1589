//! A broker that shares its answers, and its redis-server, in a directory of their own. Its maps are like those of
//! the other broker; one of them is not shared, for comparison.

use std::ffi::OsStr;
use std::path::Path;

use super::Outcome;
use super::configuration;
use super::contestant::unix;
use super::process::{Directory, Process, find};
use super::site::{broker, write_secret};

/// Both of them. The broker ends first, the directory goes last.
pub(crate) struct Sharing {
    pub(crate) broker: Process,
    pub(crate) port: u16,
    _redis: Process,
    _directory: Directory,
}

impl Sharing {
    /// Starts both, and waits for the connection. Maps are asked at `port`.
    pub(crate) fn start(program: &Path, port: u16, backend: u16) -> Outcome<Self> {
        let directory = Directory::make()?;
        let redis = redis(&directory)?;
        write_secret(&directory.join("secret"), &"s".repeat(32))?;
        let text = configuration::sharing_broker(&directory.join(""), port, backend);
        let mut broker = broker(program, &directory, &text)?;
        let log = directory.join("broker.log");
        let is_connected =
            || std::fs::read_to_string(&log).unwrap_or_default().contains("shared cache connected");
        broker.wait_until("the connection to redis-server", is_connected)?;
        Ok(Self { broker, port, _redis: redis, _directory: directory })
    }
}

fn redis(directory: &Directory) -> Outcome<Process> {
    let (socket, home) = (directory.join("redis.sock"), directory.join(""));
    let mut arguments: Vec<&OsStr> =
        ["--port", "0", "--save", "", "--daemonize", "no"].map(OsStr::new).into();
    arguments.extend(["--unixsocket".as_ref(), socket.as_os_str(), "--dir".as_ref(), home.as_os_str()]);
    let program = find("redis-server", "redis-server")?;
    let mut redis = Process::start(&program, &arguments, &directory.join("redis.log"))?;
    redis.wait_until("redis-server", || unix(&socket).is_ok())?;
    Ok(redis)
}
