//! Notifications to a service manager (sd_notify(3)), if there is one.
//!
//! The socket is connected at the start, because a jail (`server.chroot`) has no path to it. The broker
//! does not wait for the manager: a notification that does not fit into its queue is dropped.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;

use sd_notify::NotifyState;
use tracing::warn;

/// The connection to it.
#[derive(Debug, Clone)]
pub(super) struct ServiceManager(Option<Arc<UnixDatagram>>);

impl ServiceManager {
    /// The one that `NOTIFY_SOCKET` names.
    pub(super) fn from_environment() -> Self {
        let Some(name) = env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else {
            return Self(None);
        };
        let socket = connect(&name).inspect_err(|error| warn!(%error, "cannot notify the service manager"));
        Self(socket.ok().map(Arc::new))
    }

    pub(super) fn tell(&self, states: &[NotifyState<'_>]) {
        let Some(socket) = &self.0 else { return };
        let message: String = states.iter().map(|state| format!("{state}\n")).collect();
        if let Err(error) = socket.send(message.as_bytes()) {
            warn!(%error, "cannot notify the service manager");
        }
    }

    /// Tells it that the configuration is read again.
    pub(super) fn tell_of_reload(&self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => self.tell(&[NotifyState::Reloading, now]),
            Err(_) => self.tell(&[NotifyState::Reloading]),
        }
    }
}

fn connect(name: &OsStr) -> io::Result<UnixDatagram> {
    let address = match name.as_bytes() {
        [b'@', abstract_name @ ..] => SocketAddr::from_abstract_name(abstract_name)?,
        _ => SocketAddr::from_pathname(name)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(&address)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}
