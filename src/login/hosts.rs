//! Denials on all hosts, if there is a shared cache: they are counted there too, and a denial is held back by the greater
//! count. A shared cache that is away or slow changes nothing.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use moka::sync::Cache;
use tokio::task::JoinHandle;

use crate::shared::{SharedCache, SharedDenials};

/// The counters of all hosts; empty without a shared cache.
#[derive(Debug, Default)]
pub(super) struct Hosts(ArcSwapOption<SharedDenials>);

/// The count of a denial on all hosts, which is still to come.
#[derive(Debug, Default)]
pub(super) struct CountOfAll {
    count: Option<JoinHandle<Option<u64>>>,
    /// How long it may be waited for if the denial is not held back for longer.
    pub(super) wait: Duration,
}

impl Hosts {
    /// Uses `shared` from now on. What other hosts clear is taken out of `own`.
    pub(super) fn connect<V>(&self, shared: Option<&Arc<SharedCache>>, own: &Cache<IpAddr, V>)
    where
        V: Clone + Send + Sync + 'static,
    {
        let shared = shared.filter(|shared| shared.settings().penalties);
        let is_known = match (&*self.0.load(), shared) {
            (Some(known), Some(shared)) => known.is_in(shared),
            (known, shared) => known.is_none() && shared.is_none(),
        };
        if is_known {
            return;
        }
        self.0.store(shared.map(|shared| {
            let own = own.clone();
            let forget = move |address: Option<&[u8]>| match address {
                None => own.invalidate_all(),
                Some(bytes) => read(bytes).iter().for_each(|address| own.invalidate(address)),
            };
            Arc::new(SharedDenials::new(shared, Box::new(forget)))
        }));
    }

    /// Counts a denial.
    pub(super) fn count(&self, address: IpAddr, account: &str) -> CountOfAll {
        let shared = self.0.load();
        let Some(shared) = &*shared else { return CountOfAll::default() };
        CountOfAll { count: shared.count(&bytes(address), account), wait: shared.wait() }
    }

    /// Takes the denials of an account off its address.
    pub(super) fn forgive(&self, address: IpAddr, account: impl FnOnce() -> String) {
        if let Some(shared) = &*self.0.load() {
            shared.forgive(&bytes(address), &account());
        }
    }

    /// Clears the denials of an address, or all.
    pub(super) fn clear(&self, address: Option<IpAddr>) {
        if let Some(shared) = &*self.0.load() {
            shared.clear(address.map(bytes).as_deref());
        }
    }
}

impl CountOfAll {
    /// The count, when it is known. `None`: it will not be.
    pub(super) async fn get(self) -> Option<u64> {
        self.count?.await.ok()?
    }
}

fn bytes(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

fn read(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_as_it_was_written() {
        for text in ["192.0.2.7", "2001:db8::"] {
            let address: IpAddr = text.parse().expect("an address");
            assert_eq!(read(&bytes(address)), Some(address));
        }
        assert_eq!(read(b"12345"), None);
    }
}
