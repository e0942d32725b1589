//! HAProxy and a broker before the same API, to be asked the same, each in a process of its own.

use std::os::fd::OwnedFd;

use socket2::Socket;

use super::Outcome;
use super::configuration::{self, Route};
use super::contestant::tcp;
use super::options::Options;
use super::process::{Directory, Process};
use super::script::{self, Script};
use super::shown;
use super::site::{broker, haproxy, reserve};

/// Both, running. The directory goes last.
pub(crate) struct Pair {
    broker: Process,
    haproxy: Process,
    broker_port: u16,
    haproxy_port: u16,
    forwarded: Script,
    _directory: Directory,
    _held: Vec<Socket>,
}

/// One of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Haproxy,
    Broker,
}

/// An API of both.
#[derive(Clone, Copy)]
pub(crate) struct Api {
    pub(crate) port: u16,
    pub(crate) path: &'static str,
    /// The requests that it may get at a time: what both have to be told that have lower limits.
    pub(crate) most: usize,
}

impl Side {
    pub(crate) const ALL: [Self; 2] = [Self::Haproxy, Self::Broker];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Haproxy => "haproxy",
            Self::Broker => "socketmap",
        }
    }
}

impl Pair {
    /// Starts both. The broker has made one lookup then, of another API.
    pub(crate) fn start(options: &Options, api: Api) -> Outcome<Self> {
        let directory = Directory::make()?;
        let mut held = Vec::new();
        let (broker_port, haproxy_port) = (reserve(&mut held)?, reserve(&mut held)?);
        let shown = shown::Api::listen()?;
        let text = configuration::broker_of_a_pair(&directory.join(""), broker_port, api, shown.port);
        let broker = broker(&options.broker, &directory, &text)?;
        let route = Route { port: haproxy_port, backend: api.port, trusted: None };
        let haproxy = haproxy(&directory, &[route], api.most)?;
        let forwarded = shown.request(tcp(broker_port)?)?;
        Ok(Self { broker, haproxy, broker_port, haproxy_port, forwarded, _directory: directory, _held: held })
    }

    pub(crate) fn process(&self, side: Side) -> &Process {
        match side {
            Side::Haproxy => &self.haproxy,
            Side::Broker => &self.broker,
        }
    }

    pub(crate) fn open(&self, side: Side, connections: usize) -> Outcome<Vec<OwnedFd>> {
        let port = match side {
            Side::Haproxy => self.haproxy_port,
            Side::Broker => self.broker_port,
        };
        (0..connections).map(|_| tcp(port).map(OwnedFd::from)).collect()
    }

    /// What it is asked, and has to answer.
    pub(crate) fn script(&self, side: Side) -> Script {
        match side {
            Side::Haproxy => self.forwarded.clone(),
            Side::Broker => script::lookup("asked"),
        }
    }
}
