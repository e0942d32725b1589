//! The first table. Each round measures each contestant once at each number of connections, all
//! of one number in a row, and begins with another one each time: what the machine does
//! meanwhile falls on all of them, and ratios are made within a round.
//!
//! A cell opens its connections, warms up, and is measured from the first request to the last
//! reply; the processes have nothing to do when their times are read. nginx counts what reached
//! it: a lookup that it was not asked for, or a cache hit that it was, ends the run.

use std::time::Duration;

use serde_json::{Value, json};

use super::contestant::Contestant;
use super::interrupt;
use super::load::Load;
use super::nginx::asked as asked_backend;
use super::options::Options;
use super::process::{cpu, memory, own_cpu};
use super::site::Site;
use super::stretch::percentile;
use super::{Outcome, process::Reaped};

/// One contestant at one number of connections in one round.
pub(crate) struct Cell {
    pub(crate) contestant: Contestant,
    pub(crate) connections: usize,
    pub(crate) round: usize,
    pub(crate) requests: usize,
    pub(crate) rate: f64,
    /// In microseconds.
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    /// In microseconds for each request.
    pub(crate) cpu: Cpu<f64>,
    /// Of HAProxy or the broker, in kB; of the clients, all together.
    pub(crate) resident: u64,
    pub(crate) resident_clients: u64,
    /// Connections that were made to the backend while this was measured.
    pub(crate) reconnects: u64,
}

/// CPU times by whose they are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cpu<T> {
    /// What stands between: HAProxy or the broker; nothing for the backend.
    pub(crate) proxy: T,
    pub(crate) clients: T,
    pub(crate) backend: T,
    pub(crate) load: T,
}

impl Cell {
    pub(crate) fn json(&self) -> Value {
        json!({
            "contestant": self.contestant.name(),
            "connections": self.connections,
            "round": self.round,
            "requests": self.requests,
            "requests_per_second": self.rate,
            "p50_us": self.p50,
            "p99_us": self.p99,
            "cpu_us_per_request": {
                "proxy": self.cpu.proxy,
                "clients": self.cpu.clients,
                "backend": self.cpu.backend,
                "load": self.cpu.load,
            },
            "rss_kb": self.resident,
            "rss_clients_kb": self.resident_clients,
            "backend_connections_made": self.reconnects,
        })
    }
}

/// All cells, in the order they were measured.
pub(crate) fn measure(options: &Options) -> Outcome<Vec<Cell>> {
    let site = Site::start(options)?;
    println!("broker {}, HAProxy {}, nginx {}", site.broker.id(), site.haproxy.id(), site.backend.id());
    let mut cells = Vec::new();
    let mut asked = 0;
    for round in 0..options.rounds {
        for connections in &options.connections {
            let mut order = options.contestants.clone();
            let turns = round % order.len();
            order.rotate_left(turns);
            for contestant in order {
                let cell = Measured { contestant, connections: *connections, round, site: &site, options };
                let cell = cell.measure(&mut asked);
                interrupt::check()?;
                let cell = cell.map_err(|error| {
                    let log = site.broker.log();
                    let name = contestant.name();
                    format!("{name}, {connections} connections: {error}\nthe broker wrote:\n{log}")
                })?;
                cells.push(cell);
            }
        }
    }
    Ok(cells)
}

struct Measured<'s> {
    contestant: Contestant,
    connections: usize,
    round: usize,
    site: &'s Site,
    options: &'s Options,
}

impl Measured<'_> {
    fn measure(&self, asked: &mut u32) -> Outcome<Cell> {
        let (contestant, site) = (self.contestant, self.site);
        let (mut sockets, mut clients) = (Vec::new(), Vec::new());
        for _ in 0..self.connections {
            let (socket, client) = contestant.open(site, self.options)?;
            sockets.push(socket);
            clients.extend(client);
        }
        let mut load = Load::new(sockets, &contestant.script(site), *asked, contestant.numbers())?;
        if contestant == Contestant::Once {
            load = load.reopening(|| Ok(contestant.open(site, self.options)?.0));
        }
        if contestant.numbers() <= 1000 {
            load.in_turn(contestant.numbers() as usize)?;
        }
        load.run(self.options.length.mul_f64(0.1).max(Duration::from_millis(50)))?;
        let (accepted, requests) = asked_backend(site.backend_port)?;
        let before = self.times(&clients)?;
        let mut run = load.run(self.options.length)?;
        let after = self.times(&clients)?;
        let (accepted_then, requests_then) = asked_backend(site.backend_port)?;
        *asked = load.asked();
        let count = run.latencies.len();
        self.see_to(requests_then - requests - 1, count as u64)?;
        run.latencies.sort_unstable();
        let each = |take: fn(&Cpu<Duration>) -> Duration| {
            take(&after).saturating_sub(take(&before)).as_secs_f64() * 1e6 / count as f64
        };
        let (resident, resident_clients) = self.resident(&clients)?;
        Ok(Cell {
            contestant,
            connections: self.connections,
            round: self.round,
            requests: count,
            rate: run.rate(),
            p50: percentile(&run.latencies, 50),
            p99: percentile(&run.latencies, 99),
            cpu: Cpu {
                proxy: each(|cpu| cpu.proxy),
                clients: each(|cpu| cpu.clients),
                backend: each(|cpu| cpu.backend),
                load: each(|cpu| cpu.load),
            },
            resident,
            resident_clients,
            reconnects: accepted_then - accepted - 1,
        })
    }

    /// The process between load and backend.
    fn proxy(&self) -> Outcome<Option<u32>> {
        Ok(match self.contestant {
            Contestant::Backend => None,
            Contestant::Haproxy | Contestant::HaproxyTls => Some(self.site.haproxy.id()),
            sharing if sharing.has_sharing_broker() => Some(self.site.sharing()?.broker.id()),
            _ => Some(self.site.broker.id()),
        })
    }

    fn times(&self, clients: &[Reaped]) -> Outcome<Cpu<Duration>> {
        let clients: Outcome<Vec<Duration>> = clients.iter().map(|client| cpu(client.0.id())).collect();
        Ok(Cpu {
            proxy: self.proxy()?.map_or(Ok(Duration::ZERO), cpu)?,
            clients: clients?.iter().sum(),
            backend: cpu(self.site.backend.id())?,
            load: own_cpu()?,
        })
    }

    fn resident(&self, clients: &[Reaped]) -> Outcome<(u64, u64)> {
        let of = |process| memory(process, "VmRSS");
        let clients: Outcome<Vec<u64>> = clients.iter().map(|client| of(client.0.id())).collect();
        Ok((self.proxy()?.map_or(Ok(0), of)?, clients?.iter().sum()))
    }

    /// What the backend was asked has to be what was answered. A proxy may repeat a request whose
    /// connection broke; it may not answer without asking, unless that is what is measured.
    fn see_to(&self, asked: u64, answered: u64) -> Outcome<()> {
        let due = if self.contestant.is_hit() { 0..=0 } else { answered..=answered + answered / 100 };
        if due.contains(&asked) {
            return Ok(());
        }
        Err(format!("nginx was asked {asked} times for {answered} answers"))
    }
}
