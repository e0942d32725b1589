//! nginx, HAProxy and a broker, started and ready, and how each broker and HAProxy are started.

use std::ffi::OsStr;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use socket2::{Domain, Socket, Type};

use super::Outcome;
use super::certificate::Certificate;
use super::configuration::{self, Apis, Backend, Ports, Route, TARGETS};
use super::contestant::unix;
use super::nginx::nginx;
use super::options::Options;
use super::process::{Directory, Process, find};
use super::script::Script;
use super::sharing::Sharing;
use super::shown::Api;

/// Everything that is running. The broker ends first, the directory goes last.
pub(crate) struct Site {
    pub(crate) broker: Process,
    pub(crate) haproxy: Process,
    pub(crate) backend: Process,
    pub(crate) backend_port: u16,
    pub(crate) haproxy_port: u16,
    /// The port of HAProxy that asks over TLS.
    pub(crate) haproxy_tls_port: u16,
    pub(crate) ports: Ports,
    /// The HTTP request of a lookup, and the answer.
    pub(crate) forwarded: Script,
    pub(crate) directory: Directory,
    /// Unless no contestant needs it.
    sharing: Option<Sharing>,
    _held: Vec<Socket>,
}

impl Site {
    pub(crate) fn start(options: &Options) -> Outcome<Self> {
        let directory = Directory::make()?;
        let mut held = Vec::new();
        let mut port = || reserve(&mut held);
        let (backend_port, haproxy_port) = (port()?, port()?);
        let (secure_port, haproxy_tls_port) = (port()?, port()?);
        let mut backend_ports = [backend_port; TARGETS];
        for other in &mut backend_ports[1..] {
            *other = port()?;
        }
        let ports = Ports { map: port()?, policy: port()?, login: port()? };
        let shown = Api::listen()?;
        let certificate = Certificate::make(&directory)?;
        let secure = (secure_port, &certificate);
        let backend =
            nginx(&directory, &Backend { ports: &backend_ports, secure: Some(secure), echo: None })?;
        let routes = [
            Route { port: haproxy_port, backend: backend_port, trusted: None },
            Route { port: haproxy_tls_port, backend: secure_port, trusted: Some(&certificate) },
        ];
        let haproxy = haproxy(&directory, &routes, 0)?;
        let apis = Apis { backends: backend_ports, secure, shown: shown.port };
        let text = configuration::broker(&directory.join(""), &ports, &apis);
        let broker = broker(&options.broker, &directory, &text)?;
        let forwarded = shown.request(unix(&directory.join("maps.sock"))?)?;
        let is_wanted = options.contestants.iter().any(|contestant| contestant.has_sharing_broker());
        let sharing = match is_wanted {
            true => Some(Sharing::start(&options.broker, reserve(&mut held)?, backend_port)?),
            false => None,
        };
        Ok(Self {
            broker,
            haproxy,
            backend,
            backend_port,
            haproxy_port,
            haproxy_tls_port,
            ports,
            forwarded,
            directory,
            sharing,
            _held: held,
        })
    }

    /// The broker that shares answers.
    pub(crate) fn sharing(&self) -> Outcome<&Sharing> {
        self.sharing.as_ref().ok_or_else(|| "no contestant shares answers".to_owned())
    }
}

/// A port that stays ours: bound, with SO_REUSEADDR, never listening. The programs, which set
/// that too, may listen on it, and nobody else gets it.
pub(crate) fn reserve(held: &mut Vec<Socket>) -> Outcome<u16> {
    let mut bind = || {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
        let port = socket.local_addr()?.as_socket().map_or(0, |address| address.port());
        held.push(socket);
        Ok(port)
    };
    bind().map_err(|error: std::io::Error| format!("a port on 127.0.0.1: {error}"))
}

pub(crate) fn write(path: &Path, text: &str) -> Outcome<()> {
    std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}

/// Writes a file that its owner alone may read.
pub(crate) fn write_secret(path: &Path, text: &str) -> Outcome<()> {
    write(path, text)?;
    let private = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(path, private).map_err(|error| format!("{}: {error}", path.display()))
}

pub(crate) fn accepts(port: u16) -> impl Fn() -> bool {
    move || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// Starts HAProxy, until it accepts connections on all of its ports; it gets at most `most` requests at a time.
pub(crate) fn haproxy(directory: &Directory, routes: &[Route<'_>], most: usize) -> Outcome<Process> {
    let file = directory.join("haproxy.cfg");
    write(&file, &configuration::haproxy(routes, most))?;
    let arguments: [&OsStr; 3] = ["-db".as_ref(), "-f".as_ref(), file.as_ref()];
    let program = find("haproxy", "haproxy")?;
    let mut haproxy = Process::start(&program, &arguments, &directory.join("haproxy.log"))?;
    for route in routes {
        haproxy.wait_until("HAProxy", accepts(route.port))?;
    }
    Ok(haproxy)
}

/// Starts a broker with this configuration, until it says that it is ready.
pub(crate) fn broker(program: &Path, directory: &Directory, text: &str) -> Outcome<Process> {
    let (file, log): (PathBuf, PathBuf) = (directory.join("pfxhttp.yml"), directory.join("broker.log"));
    write(&file, text)?;
    let arguments: [&OsStr; 2] = ["--config".as_ref(), file.as_ref()];
    let mut broker = Process::start(program, &arguments, &log)?;
    let is_ready = || {
        let said = std::fs::read_to_string(&log).unwrap_or_default();
        said.split_whitespace().any(|word| word == "ready")
    };
    broker.wait_until("the broker", is_ready)?;
    Ok(broker)
}
