//! Names of hosts, through the system's resolver (getaddrinfo(3), so nsswitch.conf applies).
//!
//! That resolver blocks a thread, for many seconds if its server is dead. So there is one lookup of a name at
//! a time, which all requests share. An answer is fresh for 30 s, and is used for up to 10 min if the resolver
//! fails. At most two addresses are tried, one of each family if there are both; if neither can be connected
//! to, the next ones are tried. Names that were not used for 10 min are removed when a new one is added.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use hyper_util::client::legacy::connect::dns::Name;
use tower_service::Service;

const FRESH: Duration = Duration::from_secs(30);
const STALE: Duration = Duration::from_secs(600);
/// Addresses of a name that are kept.
const MOST: usize = 32;
/// The wait for a new answer if there is an old one.
const PATIENCE: Duration = Duration::from_millis(250);

type Addresses = Vec<SocketAddr>;
type PendingLookup = Shared<BoxFuture<'static, Option<Addresses>>>;

#[derive(Debug, Clone, Default)]
pub(super) struct Resolver(Arc<Mutex<HashMap<String, KnownName>>>);

#[derive(Debug, Default)]
struct KnownName {
    addresses: Option<(Addresses, Instant)>,
    /// The index of the address that is tried first.
    turn: usize,
    lookup: Option<PendingLookup>,
}

impl KnownName {
    fn is_of_use(&self) -> bool {
        self.lookup.is_some() || self.addresses.as_ref().is_some_and(|(_, at)| at.elapsed() < STALE)
    }
}

impl Resolver {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, KnownName>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The addresses of `name`, with port 0.
    pub(super) async fn resolve(self, name: String) -> io::Result<Addresses> {
        let (lookup, old) = {
            let mut names = self.lock();
            if !names.contains_key(&name) {
                names.retain(|_, known| known.is_of_use());
            }
            let known = names.entry(name.clone()).or_default();
            let turn = known.turn;
            let old = known.addresses.as_ref().map(|(addresses, at)| (choose(addresses, turn), *at));
            match old {
                Some((addresses, at)) if at.elapsed() < FRESH => return Ok(addresses),
                _ => {}
            }
            let lookup = known.lookup.get_or_insert_with(|| self.clone().start(name.clone())).clone();
            (lookup, old.filter(|(_, at)| at.elapsed() < STALE))
        };
        let found = match &old {
            Some(_) => tokio::time::timeout(PATIENCE, lookup).await.unwrap_or(None),
            None => lookup.await,
        };
        let turn = self.lock().get(&name).map_or(0, |known| known.turn);
        found
            .map(|addresses| choose(&addresses, turn))
            .or(old.map(|(addresses, _)| addresses))
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("cannot resolve {name}")))
    }

    /// All addresses of `name`, with port 0; none if there is no answer.
    pub(super) async fn all(self, name: &str) -> Addresses {
        let found = self.clone().resolve(name.to_owned()).await.unwrap_or_default();
        let known = self.lock().get(name).and_then(|known| known.addresses.clone());
        known.map_or(found, |(addresses, _)| addresses)
    }

    /// Uses other addresses of `name` from now on: these could not be connected to.
    pub(super) fn turn(&self, name: &str) {
        if let Some(known) = self.lock().get_mut(name) {
            known.turn = known.turn.wrapping_add(1);
        }
    }

    /// Looks a name up in a task of its own, which continues if no request waits for it.
    fn start(self, name: String) -> PendingLookup {
        let task = tokio::spawn(async move {
            let found: Option<Addresses> = match tokio::net::lookup_host((name.as_str(), 0)).await {
                Ok(found) => Some(found.take(MOST).collect()),
                Err(_) => None,
            };
            let found = found.filter(|addresses| !addresses.is_empty());
            let mut names = self.lock();
            let known = names.entry(name).or_default();
            known.lookup = None;
            if let Some(addresses) = &found {
                known.addresses = Some((addresses.clone(), Instant::now()));
            }
            found
        });
        task.map(Result::unwrap_or_default).boxed().shared()
    }
}

#[cfg(test)]
impl Resolver {
    pub(super) fn know(&self, name: &str, addresses: &[SocketAddr]) {
        let addresses = Some((addresses.to_vec(), Instant::now()));
        self.lock().insert(name.to_owned(), KnownName { addresses, ..KnownName::default() });
    }
}

/// Two of the addresses, from the `turn`th on; one of each family if there are both.
fn choose(addresses: &[SocketAddr], turn: usize) -> Addresses {
    let mut rest = addresses.iter().cycle().skip(turn % addresses.len().max(1)).take(addresses.len());
    let Some(first) = rest.next() else { return Vec::new() };
    let rest: Vec<_> = rest.collect();
    let other_family = rest.iter().find(|address| address.is_ipv4() != first.is_ipv4());
    std::iter::once(first).chain(other_family.or(rest.first()).copied()).copied().collect()
}

impl Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let names = self.clone();
        let name = name.as_str().to_owned();
        async move { Ok(names.resolve(name).await?.into_iter()) }.boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_old_answer_stands_in_while_the_resolver_gives_none() {
        let names = Resolver::default();
        let address: SocketAddr = "192.0.2.1:0".parse().expect("an address");
        let old =
            |age| Some((vec![address], Instant::now().checked_sub(age).expect("an hour of uptime or none")));
        let ask = |name: &str| names.clone().resolve(name.to_owned());
        names.lock().insert(
            "fresh.invalid".into(),
            KnownName { addresses: old(Duration::ZERO), ..KnownName::default() },
        );
        assert_eq!(ask("fresh.invalid").await.expect("fresh"), [address]);
        // RFC 6761: no resolver knows a name under .invalid.
        names
            .lock()
            .insert("old.invalid".into(), KnownName { addresses: old(FRESH), ..KnownName::default() });
        assert_eq!(ask("old.invalid").await.expect("old"), [address]);
        assert!(ask("never.invalid").await.is_err());
    }

    #[tokio::test]
    async fn a_name_that_is_no_longer_asked_for_is_forgotten() {
        let names = Resolver::default();
        let address: SocketAddr = "192.0.2.1:0".parse().expect("an address");
        let ask = |name: &str| names.clone().resolve(name.to_owned());
        for number in 0..3 {
            assert!(ask(&format!("gone{number}.invalid")).await.is_err());
            assert_eq!(names.lock().len(), 1, "the last one");
        }
        let old = |age| Instant::now().checked_sub(age).expect("an hour of uptime or none");
        for (name, age) in [("fresh.invalid", FRESH), ("ended.invalid", STALE)] {
            let addresses = Some((vec![address], old(age)));
            names.lock().insert(name.to_owned(), KnownName { addresses, turn: 7, ..KnownName::default() });
        }
        assert_eq!(ask("fresh.invalid").await.expect("an old answer"), [address]);
        assert!(names.lock().contains_key("ended.invalid"), "no name is new");
        assert!(ask("new.invalid").await.is_err());
        let known: Vec<_> = names.lock().keys().cloned().collect();
        assert!(known.contains(&"fresh.invalid".to_owned()), "{known:?}");
        assert!(!known.contains(&"ended.invalid".to_owned()), "{known:?}");
    }

    #[test]
    fn every_address_has_its_turn_and_every_family() {
        let parse =
            |texts: &[&str]| texts.iter().map(|t| t.parse().expect("an address")).collect::<Addresses>();
        let (four, six) = (
            parse(&["192.0.2.1:0", "192.0.2.2:0", "192.0.2.3:0"]),
            parse(&["[2001:db8::1]:0", "[2001:db8::2]:0"]),
        );
        assert_eq!(choose(&four, 0), four[..2]);
        assert_eq!(choose(&four, 2), [four[2], four[0]]);
        let both = [six.as_slice(), &four].concat();
        assert_eq!(choose(&both, 0), [six[0], four[0]]);
        assert_eq!(choose(&both, 2), [four[0], six[0]]);
        assert_eq!((choose(&[], 3), choose(&four[..1], 7)), (Vec::new(), four[..1].to_vec()));
    }

    #[tokio::test]
    async fn whoever_asks_meanwhile_waits_for_the_same_lookup() {
        let names = Resolver::default();
        let (send, receive) = tokio::sync::oneshot::channel();
        let lookup = receive.map(Result::unwrap_or_default).boxed().shared();
        names
            .lock()
            .insert("slow.invalid".into(), KnownName { lookup: Some(lookup), ..KnownName::default() });
        let address: SocketAddr = "192.0.2.1:0".parse().expect("an address");
        let ask = || names.clone().resolve("slow.invalid".to_owned());
        let (one, other, _) = tokio::join!(ask(), ask(), async { send.send(Some(vec![address])) });
        assert_eq!((one.expect("one"), other.expect("other")), (vec![address], vec![address]));
    }
}
