//! A real HTTP proxy: tinyproxy in the foreground, with its own configuration, port and log.

use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::port::Port;
use super::site::open_directory;
use super::{PATIENCE, wait_until};

const PROGRAM: &str = "/usr/bin/tinyproxy";

/// A running proxy.
pub(crate) struct Tinyproxy {
    port: Port,
    directory: TempDir,
    child: Option<Child>,
}

impl Tinyproxy {
    /// Starts one and waits until it listens.
    pub(crate) fn start() -> Self {
        assert!(Path::new(PROGRAM).is_file(), "there is no {PROGRAM}: apt-get install tinyproxy");
        let (port, directory) = (Port::reserve(), open_directory());
        let log = directory.path().join("log");
        let text = format!(
            "Port {}\nListen 127.0.0.1\nTimeout 60\nMaxClients 64\nLogLevel Connect\nLogFile \"{}\"\n\
             Allow 127.0.0.1\nViaProxyName \"testproxy\"\n",
            port.number(),
            log.display(),
        );
        fs::write(directory.path().join("conf"), text).expect("the test's directory can be written to");
        let mut command = Command::new(PROGRAM);
        command.arg("-d").arg("-c").arg(directory.path().join("conf")).stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().expect("tinyproxy can be started");
        let proxy = Self { port, directory, child: Some(child) };
        let listens = wait_until(PATIENCE, || TcpStream::connect(proxy.port.address()).is_ok());
        assert!(listens, "tinyproxy does not listen; its log: {}", proxy.log());
        proxy
    }

    /// The value of `proxy`.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.port.address())
    }

    /// Its log so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    /// Stops it: connecting is refused from now on.
    pub(crate) fn stop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        child.kill().expect("a child can be killed");
        child.wait().expect("a child can be waited for");
    }
}

impl Drop for Tinyproxy {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("the proxy's log:\n{}", self.log());
        }
        self.stop();
    }
}
