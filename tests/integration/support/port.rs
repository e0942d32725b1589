//! TCP ports that stay ours from the moment the system names them.
//!
//! A port that is asked for and given back can go to anyone before it is used. Here the socket
//! that asked for it stays bound with SO_REUSEADDR and never listens: the system gives the port
//! to nobody else, a program that sets SO_REUSEADDR (all of ours, and Postfix) can listen on it,
//! and while nobody does, connecting is refused.

use std::net::{Ipv4Addr, SocketAddr};

use socket2::{Domain, Socket, Type};

/// A port of 127.0.0.1.
pub(crate) struct Port {
    address: SocketAddr,
    _held: Socket,
}

impl Port {
    /// Takes a port that nobody uses.
    pub(crate) fn reserve() -> Self {
        let held = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a TCP socket");
        held.set_reuse_address(true).expect("SO_REUSEADDR");
        held.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).expect("a free port on 127.0.0.1");
        let address = held.local_addr().expect("a bound socket has an address");
        Self { address: address.as_socket().expect("an internet address"), _held: held }
    }

    /// `127.0.0.1` and the number.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The number alone.
    pub(crate) fn number(&self) -> u16 {
        self.address.port()
    }
}
