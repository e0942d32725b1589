//! TCP ports that stay reserved from the moment the system assigns them.
//!
//! A port that is assigned and closed again may go to any other program before it is used. Here the
//! socket stays bound with SO_REUSEADDR and does not listen. The system assigns the port to no other
//! program, programs that set SO_REUSEADDR (ours and Postfix) can listen on it, and until then
//! connecting is refused.

use std::net::{Ipv4Addr, SocketAddr};

use socket2::{Domain, Socket, Type};

/// A port of 127.0.0.1.
pub(crate) struct Port {
    address: SocketAddr,
    _held: Socket,
}

impl Port {
    /// Reserves a free port.
    pub(crate) fn reserve() -> Self {
        Self::at(0)
    }

    /// Reserves this port, on a machine of the test's own.
    pub(crate) fn at(number: u16) -> Self {
        let held = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a TCP socket");
        held.set_reuse_address(true).expect("SO_REUSEADDR");
        held.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, number)).into()).expect("a free port on 127.0.0.1");
        let address = held.local_addr().expect("a bound socket has an address");
        Self { address: address.as_socket().expect("an internet address"), _held: held }
    }

    /// `127.0.0.1:` and the number.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The number.
    pub(crate) fn number(&self) -> u16 {
        self.address.port()
    }
}
