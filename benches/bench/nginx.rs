//! The backend: nginx as one process, and its own count of connections and requests.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};

use super::Outcome;
use super::configuration::{self, Backend};
use super::process::{Directory, PATIENCE, Process, find};
use super::site::{accepts, write};

/// Starts it, until it accepts connections on all of its ports.
pub(crate) fn nginx(directory: &Directory, backend: &Backend<'_>) -> Outcome<Process> {
    let file = directory.join("nginx.conf");
    write(&file, &configuration::nginx(&directory.join(""), backend))?;
    let prefix = directory.join("");
    let arguments: [&OsStr; 6] =
        ["-e".as_ref(), "stderr".as_ref(), "-p".as_ref(), prefix.as_ref(), "-c".as_ref(), file.as_ref()];
    let mut nginx = Process::start(&find("nginx", "nginx-light")?, &arguments, &directory.join("nginx.log"))?;
    for port in backend.ports {
        nginx.wait_until("nginx", accepts(*port))?;
    }
    Ok(nginx)
}

/// The module that lets an answer take its time; nginx itself has none.
pub(crate) fn echo_module() -> Outcome<PathBuf> {
    let module = Path::new("/usr/lib/nginx/modules/ngx_http_echo_module.so");
    if module.is_file() {
        return Ok(module.to_owned());
    }
    Err(format!("there is no {}: `make bench`, as root, installs libnginx-mod-http-echo", module.display()))
}

/// How many connections it has accepted and requests it has had, with those for this answer.
pub(crate) fn asked(port: u16) -> Outcome<(u64, u64)> {
    let mut text = String::new();
    let mut ask = || {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
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
