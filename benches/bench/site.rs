//! nginx, HAProxy and a broker, started and ready, and the request that the broker makes of a
//! lookup: those who are asked over HTTP get the same bytes.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use socket2::{Domain, Socket, Type};

use super::configuration::{self, MAP_BODY, Ports, TARGETS};
use super::contestant::unix;
use super::options::Options;
use super::process::{Directory, PATIENCE, Process, find};
use super::script::{self, Due, FIRST, Script};
use super::sharing::Sharing;
use super::{Outcome, load};

/// Everything that is running. The broker ends first, the directory goes last.
pub(crate) struct Site {
    pub(crate) broker: Process,
    pub(crate) haproxy: Process,
    pub(crate) backend: Process,
    pub(crate) backend_port: u16,
    pub(crate) haproxy_port: u16,
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
        let mut backend_ports = [backend_port; TARGETS];
        for other in &mut backend_ports[1..] {
            *other = port()?;
        }
        let ports = Ports { map: port()?, policy: port()?, login: port()? };
        let shown = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(|error| error.to_string())?;
        let shown_port = shown.local_addr().map_err(|error| error.to_string())?.port();
        let backend = nginx(&directory, &backend_ports)?;
        let haproxy = haproxy(&directory, haproxy_port, backend_port)?;
        let text = configuration::broker(&directory.join(""), &ports, backend_ports, shown_port);
        let broker = broker(&options.broker, &directory, &text)?;
        let forwarded = forwarded(&directory, &shown)?;
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

    /// How many connections nginx has accepted and requests it has had, without this one.
    pub(crate) fn asked(&self) -> Outcome<(u64, u64)> {
        let mut text = String::new();
        let mut ask = || {
            let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.backend_port))?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.write_all(b"GET /status HTTP/1.0\r\n\r\n")?;
            stream.read_to_string(&mut text)
        };
        ask().map_err(|error| format!("nginx' status: {error}"))?;
        let counts = text.lines().find(|line| line.starts_with(' ')).unwrap_or_default();
        let mut counts = counts.split_whitespace().filter_map(|word| word.parse().ok());
        match (counts.next(), counts.next(), counts.next()) {
            (Some(accepted), Some(_), Some(requests)) => Ok((accepted, requests)),
            _ => Err(format!("nginx' status says {text:?}")),
        }
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

fn write(path: &Path, text: &str) -> Outcome<()> {
    std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}

/// Writes a file that its owner alone may read.
pub(crate) fn write_secret(path: &Path, text: &str) -> Outcome<()> {
    write(path, text)?;
    let private = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(path, private).map_err(|error| format!("{}: {error}", path.display()))
}

fn accepts(port: u16) -> impl Fn() -> bool {
    move || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// Starts the backend, which listens on all of these ports.
pub(crate) fn nginx(directory: &Directory, ports: &[u16]) -> Outcome<Process> {
    let file = directory.join("nginx.conf");
    write(&file, &configuration::nginx(&directory.join(""), ports))?;
    let prefix = directory.join("");
    let arguments: [&OsStr; 6] =
        ["-e".as_ref(), "stderr".as_ref(), "-p".as_ref(), prefix.as_ref(), "-c".as_ref(), file.as_ref()];
    let mut nginx = Process::start(&find("nginx", "nginx-light")?, &arguments, &directory.join("nginx.log"))?;
    for port in ports {
        nginx.wait_until("nginx", accepts(*port))?;
    }
    Ok(nginx)
}

fn haproxy(directory: &Directory, port: u16, backend: u16) -> Outcome<Process> {
    let file = directory.join("haproxy.cfg");
    write(&file, &configuration::haproxy(port, backend))?;
    let arguments: [&OsStr; 3] = ["-db".as_ref(), "-f".as_ref(), file.as_ref()];
    let program = find("haproxy", "haproxy")?;
    let mut haproxy = Process::start(&program, &arguments, &directory.join("haproxy.log"))?;
    haproxy.wait_until("HAProxy", accepts(port))?;
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

/// Has the broker ask the listener `api`, and keeps what it sends.
fn forwarded(directory: &Directory, api: &TcpListener) -> Outcome<Script> {
    let mut script = script::lookup("shown");
    script.request.set(FIRST);
    let mut peer = unix(&directory.join("maps.sock"))?;
    let (request, reply) = std::thread::scope(|scope| {
        let answering = scope.spawn(|| answer_one(api));
        let mut reply = vec![0; 256];
        let asked = peer.write_all(&script.request.bytes).and_then(|()| peer.read(&mut reply));
        reply.truncate(asked.unwrap_or_default());
        (answering.join(), reply)
    });
    let request = request.map_err(|_| "the API that shows a request panicked")?;
    let request = request.map_err(|error| format!("what the broker sends: {error}"))?;
    if !matches!(&script.due, Due::Exactly(due) if due.bytes == reply) {
        return Err(format!("the broker answered {}", load::shown(&reply)));
    }
    Ok(script::forwarded(&request))
}

/// Takes one request of a broker, whole, and answers it as nginx does.
fn answer_one(api: &TcpListener) -> std::io::Result<Vec<u8>> {
    let (mut stream, _) = api.accept()?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut request = Vec::new();
    let mut piece = [0; 4096];
    while !request.ends_with(b"}") {
        match stream.read(&mut piece)? {
            0 => break,
            read => request.extend_from_slice(&piece[..read]),
        }
    }
    let length = MAP_BODY.len();
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{MAP_BODY}"
    )?;
    Ok(request)
}
