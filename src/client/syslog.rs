//! One line to the system log: a datagram to /dev/log, facility mail (RFC 3164, without the
//! timestamp, which the receiver sets). Without a receiver the line is lost.

use std::os::unix::net::UnixDatagram;

use crate::model::brief::on_one_line;

/// Facility mail (2), severity warning (4).
const PRIORITY: u8 = (2 << 3) | 4;

/// Logs `message` with control characters taken out, at most 800 characters of it.
pub(super) fn warn(message: &str) {
    let line = on_one_line(message.chars().take(800));
    let line = format!("<{PRIORITY}>pfxhttp-client[{}]: {line}", std::process::id());
    if let Ok(socket) = UnixDatagram::unbound() {
        // A receiver that hangs must not delay a reply.
        let _ = socket.set_nonblocking(true);
        let _ = socket.send_to(line.as_bytes(), "/dev/log");
    }
}
