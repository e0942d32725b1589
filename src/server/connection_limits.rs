//! The limits of connections: in all (`server.max_connections`), reserved for logins, and of one address
//! (`server.max_connections_per_address`).
//!
//! At a limit the oldest silent connection is closed for the new one. A connection is silent until it has
//! sent its first complete line or request; Postfix and our own clients send it at once. Other connections
//! are never closed for a new one. An IPv6 address counts as its /64.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::AbortHandle;

/// The limits that all connections of a broker share.
#[derive(Debug, Clone)]
pub(crate) struct ConnectionLimits(Arc<LimitsInner>);

#[derive(Debug)]
struct LimitsInner {
    connections: Arc<Semaphore>,
    /// Permits for logins alone: an smtpd that gets no handshake exits.
    for_logins: Arc<Semaphore>,
    per_address: Option<usize>,
    /// The default, for addresses that are neither loopback nor listed in `allow_from`.
    per_unlisted_address: usize,
    held: Mutex<HeldSlots>,
}

#[derive(Debug, Default)]
struct HeldSlots {
    serial: u64,
    /// Silent connections, the oldest first.
    silent: BTreeMap<u64, SilentConnection>,
    addresses: HashMap<Group, AddressCount>,
}

/// The key of a counter: an address, and whether the connection is for logins.
type Group = (IpAddr, bool);

/// A connection that has not sent a request yet.
#[derive(Debug)]
struct SilentConnection {
    since: Instant,
    group: Option<Group>,
    /// `None` while it waits for a permit.
    served: Option<Serving>,
}

#[derive(Debug)]
struct Serving {
    task: AbortHandle,
    /// Whether its permit is reserved for logins.
    is_reserved: bool,
}

#[derive(Debug, Default)]
struct AddressCount {
    connections: usize,
    silent: BTreeSet<u64>,
}

/// Counts a connection until it is dropped.
#[derive(Debug)]
pub(super) struct ConnectionSlot {
    limits: ConnectionLimits,
    pub(super) serial: u64,
    group: Option<Group>,
    /// Whether another connection of its address was closed for it.
    pub(super) replaces_another: bool,
}

#[derive(Debug)]
pub(super) struct Permit {
    pub(super) is_reserved: bool,
    _permit: OwnedSemaphorePermit,
}

impl ConnectionLimits {
    /// Limits of `connections` in all, `for_logins` of them reserved for logins, and `per_address` of one
    /// address; its default is three quarters of all for an address that is neither loopback nor listed.
    pub(crate) fn new(connections: usize, for_logins: usize, per_address: Option<usize>) -> Self {
        Self(Arc::new(LimitsInner {
            connections: Arc::new(Semaphore::new(connections.saturating_sub(for_logins).max(1))),
            for_logins: Arc::new(Semaphore::new(for_logins)),
            per_address,
            per_unlisted_address: connections - connections / 4,
            held: Mutex::default(),
        }))
    }

    fn held(&self) -> MutexGuard<'_, HeldSlots> {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A slot for a connection of this address; `None` if the address has reached its limit and has no silent
    /// connection. `is_named`: the listener has `allow_from`.
    pub(super) fn admit(
        &self,
        peer: Option<IpAddr>,
        is_login: bool,
        is_named: bool,
    ) -> Option<ConnectionSlot> {
        let group = peer.map(|peer| (counted_as(peer), is_login));
        let mut held = self.held();
        let mut replaces_another = false;
        if let Some(group) = group {
            // All of Postfix on a host has one address.
            let is_known = is_named || peer.is_some_and(|peer| peer.to_canonical().is_loopback());
            let most =
                self.0.per_address.unwrap_or(if is_known { usize::MAX } else { self.0.per_unlisted_address });
            let known = held.addresses.get(&group);
            replaces_another = known.is_some_and(|known| known.connections >= most);
            if replaces_another {
                let mut silent = known?.silent.iter();
                let oldest = *silent.find(|serial| held.is_served(**serial))?;
                held.close(oldest);
            }
        }
        held.serial += 1;
        let serial = held.serial;
        held.silent.insert(serial, SilentConnection { since: Instant::now(), group, served: None });
        if let Some(group) = group {
            let known = held.addresses.entry(group).or_default();
            known.connections += 1;
            known.silent.insert(serial);
        }
        drop(held);
        Some(ConnectionSlot { limits: self.clone(), serial, group, replaces_another })
    }

    pub(super) fn try_permit(&self, is_login: bool) -> Option<Permit> {
        let free = |pool: &Arc<Semaphore>| Arc::clone(pool).try_acquire_owned().ok();
        if let Some(permit) = free(&self.0.connections) {
            return Some(Permit { is_reserved: false, _permit: permit });
        }
        let permit = free(&self.0.for_logins).filter(|_| is_login)?;
        Some(Permit { is_reserved: true, _permit: permit })
    }

    pub(super) async fn permit(&self, is_login: bool) -> Option<Permit> {
        let [any, reserved] = [&self.0.connections, &self.0.for_logins].map(Arc::clone);
        let (permit, is_reserved) = tokio::select! {
            permit = any.acquire_owned() => (permit, false),
            permit = reserved.acquire_owned(), if is_login => (permit, true),
        };
        Some(Permit { is_reserved, _permit: permit.ok()? })
    }

    /// Connection `serial` is served by `task`, which is aborted if a new connection needs the slot.
    pub(super) fn is_served_by(&self, serial: u64, task: AbortHandle, is_reserved: bool) {
        // It may have sent a request by now.
        if let Some(silent) = self.held().silent.get_mut(&serial) {
            silent.served = Some(Serving { task, is_reserved });
        }
    }

    /// Closes the oldest connection that has been silent for `patience` and has a suitable permit. Returns
    /// whether there was one.
    pub(super) fn close_oldest_silent(&self, is_login: bool, patience: Duration) -> bool {
        let mut held = self.held();
        let will_do = |served: &Serving| is_login || !served.is_reserved;
        let mut silent = held.silent.iter().take_while(|(_, silent)| silent.since.elapsed() >= patience);
        let oldest = silent.find(|(_, silent)| silent.served.as_ref().is_some_and(will_do));
        let oldest = oldest.map(|(serial, _)| *serial);
        oldest.inspect(|oldest| held.close(*oldest)).is_some()
    }
}

impl HeldSlots {
    fn is_served(&self, serial: u64) -> bool {
        self.silent.get(&serial).is_some_and(|silent| silent.served.is_some())
    }

    fn close(&mut self, serial: u64) {
        if let Some(Serving { task, .. }) = self.heard(serial).and_then(|silent| silent.served) {
            task.abort();
        }
    }

    /// The connection is not silent any more.
    fn heard(&mut self, serial: u64) -> Option<SilentConnection> {
        let silent = self.silent.remove(&serial)?;
        let known = silent.group.and_then(|group| self.addresses.get_mut(&group));
        if let Some(known) = known {
            known.silent.remove(&serial);
        }
        Some(silent)
    }
}

impl ConnectionSlot {
    /// The connection has sent its first complete line or request.
    pub(super) fn heard(&self) {
        self.limits.held().heard(self.serial);
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        let mut held = self.limits.held();
        held.heard(self.serial);
        let Some(group) = self.group else { return };
        if let Some(known) = held.addresses.get_mut(&group) {
            known.connections -= 1;
            if known.connections == 0 {
                held.addresses.remove(&group);
            }
        }
    }
}

/// The owner of an IPv6 address usually has its whole /64.
fn counted_as(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from(u128::from(address) >> 64 << 64)),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A connection that is served, and can be seen to end.
    struct Serving {
        slot: ConnectionSlot,
        task: tokio::task::JoinHandle<()>,
        permit: Permit,
    }

    async fn serve(limits: &ConnectionLimits, peer: Option<IpAddr>, is_login: bool) -> Option<Serving> {
        let slot = limits.admit(peer, is_login, false)?;
        let permit = limits.try_permit(is_login)?;
        let task = tokio::spawn(std::future::pending());
        limits.is_served_by(slot.serial, task.abort_handle(), permit.is_reserved);
        Some(Serving { slot, task, permit })
    }

    async fn was_closed(served: Serving) -> bool {
        tokio::task::yield_now().await;
        served.task.is_finished()
    }

    #[tokio::test]
    async fn the_oldest_that_never_asked_makes_room() {
        let limits = ConnectionLimits::new(4, 1, Some(10));
        let mut served = Vec::new();
        for is_login in [false, false, false, true] {
            served.push(serve(&limits, None, is_login).await.expect("there is room"));
        }
        assert!(served[3].permit.is_reserved && limits.try_permit(true).is_none());
        served[0].slot.heard();
        assert!(!limits.close_oldest_silent(true, Duration::from_secs(60)), "all have just come");
        let close_oldest_silent = |is_login| limits.close_oldest_silent(is_login, Duration::ZERO);
        assert!(close_oldest_silent(false), "the second one is the oldest that never asked");
        assert!(
            close_oldest_silent(false) && !close_oldest_silent(false),
            "those for logins are no help to others"
        );
        assert!(close_oldest_silent(true) && !close_oldest_silent(true));
        let mut closed = Vec::new();
        for served in served {
            closed.push(was_closed(served).await);
        }
        assert_eq!(closed, [false, true, true, true]);
        let held = limits.held();
        assert!(held.silent.is_empty() && held.addresses.is_empty(), "{held:?}");
    }

    #[tokio::test]
    async fn the_bound_that_nobody_set_is_for_strangers() {
        let limits = ConnectionLimits::new(8, 2, None);
        let count = |text: &str, is_login, is_named| {
            let peer = Some(text.parse().expect("an address"));
            let seats: Vec<_> = (0..10).map_while(|_| limits.admit(peer, is_login, is_named)).collect();
            seats.len()
        };
        assert_eq!(count("192.0.2.1", false, false), 6);
        assert_eq!(count("192.0.2.1", false, true), 10, "a listener names it");
        for local in ["127.0.0.1", "::1", "::ffff:127.0.0.1"] {
            assert_eq!(count(local, false, false), 10, "{local}");
        }
        let peer = Some([192, 0, 2, 2].into());
        let _lookups: Vec<_> = (0..6).map_while(|_| limits.admit(peer, false, false)).collect();
        assert!(limits.admit(peer, false, false).is_none());
        assert!(limits.admit(peer, true, false).is_some(), "logins are counted apart");
    }

    #[tokio::test]
    async fn an_address_has_so_many_connections_and_no_more() {
        let limits = ConnectionLimits::new(100, 0, Some(2));
        let address = |text: &str| Some(text.parse().expect("an address"));
        let one = serve(&limits, address("192.0.2.1"), false).await.expect("the first");
        let two = serve(&limits, address("::ffff:192.0.2.1"), false).await.expect("the second");
        one.slot.heard();
        let three = serve(&limits, address("192.0.2.1"), false).await.expect("in the second one's place");
        three.slot.heard();
        assert!(was_closed(two).await, "it had never asked");
        assert!(serve(&limits, address("192.0.2.1"), false).await.is_none(), "both have asked");
        assert!(serve(&limits, address("192.0.2.2"), false).await.is_some());
        assert!(!was_closed(one).await);
        assert!(serve(&limits, address("192.0.2.1"), false).await.is_some(), "one is gone");
        let _held = [
            serve(&limits, address("2001:db8::1"), false).await,
            serve(&limits, address("2001:db8::2"), false).await,
        ];
        let held = limits.held();
        assert_eq!(held.addresses[&("2001:db8::".parse().expect("an address"), false)].connections, 2);
        assert_eq!(held.addresses.len(), 2, "{held:?}");
    }
}
