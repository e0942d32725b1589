//! Names of hosts, through the system's resolver (getaddrinfo(3), so nsswitch.conf counts).
//!
//! That resolver blocks a thread, and a dead one does so for many seconds. So a name is looked up
//! once at a time, whoever waits for it; an answer is good for 30 s, and for up to 10 min while
//! the resolver gives none. At most two addresses of a name are tried. The number of names is
//! that of the configuration. A numeric address is never looked up.

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
const ADDRESSES: usize = 2;
/// How long a new answer is waited for where there is an old one.
const PATIENCE: Duration = Duration::from_millis(250);

type Addresses = Vec<SocketAddr>;
type Lookup = Shared<BoxFuture<'static, Option<Addresses>>>;

/// What is known of all names.
#[derive(Debug, Clone, Default)]
pub(super) struct Names(Arc<Mutex<HashMap<String, Known>>>);

#[derive(Debug, Default)]
struct Known {
    addresses: Option<(Addresses, Instant)>,
    lookup: Option<Lookup>,
}

impl Names {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The addresses of `name`, with port 0.
    pub(super) async fn resolve(self, name: String) -> io::Result<Addresses> {
        let (lookup, old) = {
            let mut names = self.lock();
            let known = names.entry(name.clone()).or_default();
            let old = known.addresses.clone();
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
        found
            .or(old.map(|(addresses, _)| addresses))
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("cannot resolve {name}")))
    }

    /// Looks a name up in a task, which goes on when nobody waits any more.
    fn start(self, name: String) -> Lookup {
        let task = tokio::spawn(async move {
            let found: Option<Addresses> = match tokio::net::lookup_host((name.as_str(), 0)).await {
                Ok(found) => Some(found.take(ADDRESSES).collect()),
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

/// For hyper's connector.
impl Service<Name> for Names {
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

/// For reqwest's.
impl reqwest::dns::Resolve for Names {
    fn resolve(&self, name: reqwest::dns::Name) -> reqwest::dns::Resolving {
        let names = self.clone();
        let name = name.as_str().to_owned();
        Box::pin(async move {
            let addresses: reqwest::dns::Addrs = Box::new(names.resolve(name).await?.into_iter());
            Ok(addresses)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_old_answer_stands_in_while_the_resolver_gives_none() {
        let names = Names::default();
        let address: SocketAddr = "192.0.2.1:0".parse().expect("an address");
        let old =
            |age| Some((vec![address], Instant::now().checked_sub(age).expect("an hour of uptime or none")));
        let ask = |name: &str| names.clone().resolve(name.to_owned());
        names.lock().insert("fresh.invalid".into(), Known { addresses: old(Duration::ZERO), lookup: None });
        assert_eq!(ask("fresh.invalid").await.expect("fresh"), [address]);
        // RFC 6761: no resolver knows a name under .invalid.
        names.lock().insert("old.invalid".into(), Known { addresses: old(FRESH), lookup: None });
        assert_eq!(ask("old.invalid").await.expect("old"), [address]);
        assert!(ask("never.invalid").await.is_err());
    }

    #[tokio::test]
    async fn whoever_asks_meanwhile_waits_for_the_same_lookup() {
        let names = Names::default();
        let (send, receive) = tokio::sync::oneshot::channel();
        let lookup = receive.map(Result::unwrap_or_default).boxed().shared();
        names.lock().insert("slow.invalid".into(), Known { addresses: None, lookup: Some(lookup) });
        let address: SocketAddr = "192.0.2.1:0".parse().expect("an address");
        let ask = || names.clone().resolve("slow.invalid".to_owned());
        let (one, other, _) = tokio::join!(ask(), ask(), async { send.send(Some(vec![address])) });
        assert_eq!((one.expect("one"), other.expect("other")), (vec![address], vec![address]));
    }
}
