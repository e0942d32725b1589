//! The delay of denials, by remote address.
//!
//! The delay begins with the entry's `failure_delay` and grows with each further denial of one remote
//! address, up to 6 s, so that the reply still comes before Postfix gives up. A success clears the denials
//! of its own account and halves the others of its address: an attacker with an account must not clear the
//! denials of other accounts. Denials are not counted by user, or an attacker could lock out any user. An
//! address without a denial for 15 minutes is forgotten. An IPv6 address counts as its /64, which one host
//! has to itself. The tables are limited: the least recently used entries are dropped.
//!
//! With a shared cache, the denials of one address on all hosts are counted as well (`hosts`). There a success clears the
//! denials of its own account, and halves none.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use moka::ops::compute::Op;
use moka::sync::Cache;

use super::LoginSettings;
use super::attempts::{Attempt, Attempts, Subject, TooManyAttempts};
use super::hosts::{CountOfAll, Hosts};
use crate::model::Deadline;
use crate::model::domain;
use crate::shared::SharedCache;

const MAX_DELAY: Duration = Duration::from_secs(6);
/// What each further denial adds.
const DELAY_STEP: Duration = Duration::from_secs(2);
/// How long an address is remembered.
const DENIAL_MEMORY: Duration = Duration::from_mins(15);
/// Addresses that are remembered; about 6 MB.
const MAX_ADDRESSES: u64 = 16 * 1024;
/// Accounts of one address that are counted apart; the denials of older ones count for the address alone.
const MAX_ACCOUNTS: usize = 8;
/// Names and the addresses that they log in from.
const MAX_KNOWN_PLACES: u64 = 16 * 1024;
/// How long such an address is remembered.
const PLACE_MEMORY: Duration = Duration::from_hours(7 * 24);
/// A login that waits for its turn must leave this part of its time for its API.
const RESERVE: u32 = 4;

/// What is remembered of addresses and names. One for all entries.
#[derive(Debug)]
pub(crate) struct Penalties {
    denials: Cache<IpAddr, Denials>,
    known_places: Cache<(u64, IpAddr), ()>,
    attempts: Arc<Attempts>,
    hosts: Hosts,
    /// Names are kept as their hashes.
    hashes: RandomState,
}

/// How long a denial is held back.
#[derive(Debug)]
pub(super) struct Delay {
    /// By the denials on this host.
    pub(super) own: Duration,
    /// `failure_delay`.
    least: Duration,
    count: CountOfAll,
}

impl Delay {
    /// How long the count of all hosts may be waited for, at least.
    pub(super) fn wait(&self) -> Duration {
        self.count.wait
    }

    /// The delay by the denials on all hosts, when they are known.
    pub(super) async fn of_all(self) -> Option<Duration> {
        let denials = self.count.get().await?;
        Some(delay(self.least, u32::try_from(denials).unwrap_or(u32::MAX)))
    }
}

/// The denials of one address.
#[derive(Debug)]
pub(crate) struct Penalty {
    /// Of IPv6 the first address of the /64.
    pub(crate) address: IpAddr,
    pub(crate) denials: u32,
    /// When they are forgotten, if there is no further one.
    pub(crate) forgotten_in: Duration,
}

#[derive(Debug, Clone)]
struct Denials {
    all: u32,
    last: Instant,
    /// By account, the latest one last.
    accounts: Vec<(u64, u32)>,
}

impl Default for Penalties {
    fn default() -> Self {
        Self {
            denials: Cache::builder().max_capacity(MAX_ADDRESSES).time_to_idle(DENIAL_MEMORY).build(),
            known_places: Cache::builder().max_capacity(MAX_KNOWN_PLACES).time_to_idle(PLACE_MEMORY).build(),
            attempts: Arc::default(),
            hosts: Hosts::default(),
            hashes: RandomState::new(),
        }
    }
}

impl Penalties {
    /// Counts denials in `shared`, too, from now on.
    pub(crate) fn connect(&self, shared: Option<&Arc<SharedCache>>) {
        self.hosts.connect(shared, &self.denials);
    }

    /// Waits until the login of `user`, which asked `at`, may begin by `sasl_attempts` of `settings`. Fails if that
    /// is too late.
    pub(super) async fn begin(
        &self,
        settings: &LoginSettings,
        remote: Option<IpAddr>,
        user: &str,
        at: Instant,
        deadline: Deadline,
    ) -> Result<Attempt, TooManyAttempts> {
        let is_exempt = remote.is_some_and(|address| is_exempt(settings, address));
        let bounded =
            if settings.attempts == 0 || is_exempt { [None, None] } else { self.bounded(remote, user) };
        let remaining = deadline.remaining();
        let deadline = Deadline::after(remaining - remaining / RESERVE);
        self.attempts
            .begin(bounded.into_iter().flatten(), settings.attempts, at, settings.failure_delay, deadline)
            .await
    }

    /// The subjects for which a login of `user` from `remote` counts.
    fn bounded(&self, remote: Option<IpAddr>, user: &str) -> [Option<Subject>; 2] {
        // Logins without an address count as one address.
        let address = network(remote.unwrap_or(Ipv4Addr::UNSPECIFIED.into()));
        // The name of a token may be known to its provider alone.
        let name = (!user.is_empty()).then(|| self.hash(user));
        let is_known_place =
            |name: &u64| remote.is_some() && self.known_places.contains_key(&(*name, address));
        [Some(Subject::Address(address)), name.filter(|name| !is_known_place(name)).map(Subject::Name)]
    }

    /// Counts a denial of `user` by the entry of `settings`, and says how long to hold it back. An
    /// address that is not known, or excluded, costs `failure_delay` alone. With a shared cache it needs the runtime.
    pub(super) fn denied(&self, settings: &LoginSettings, remote: Option<IpAddr>, user: &str) -> Delay {
        let least = settings.failure_delay;
        let counted = remote.filter(|address| settings.penalty && !is_exempt(settings, *address));
        let Some(address) = counted else { return Delay { own: least, least, count: CountOfAll::default() } };
        let count = self.hosts.count(network(address), &normalized(user));
        let account = self.hash(user);
        let denials = self.denials.entry(network(address)).and_upsert_with(|known| {
            let mut denials = known.map(moka::Entry::into_value).unwrap_or_else(Denials::none);
            denials.add(account);
            denials
        });
        Delay { own: delay(least, denials.into_value().all), least, count }
    }

    /// Clears denials: `user` has logged in from `remote`.
    pub(super) fn accepted(&self, remote: Option<IpAddr>, user: &str) {
        if let Some(address) = remote.filter(|address| !address.to_canonical().is_loopback()) {
            self.hosts.forgive(network(address), || normalized(user).into_owned());
        }
        let Some(address) = remote.map(network) else { return };
        let account = self.hash(user);
        // A look-up renews it as well, and is cheaper.
        if self.known_places.get(&(account, address)).is_none() {
            self.known_places.insert((account, address), ());
        }
        if !self.denials.contains_key(&address) {
            return;
        }
        self.denials.entry(address).and_compute_with(|known| match known {
            None => Op::Nop,
            Some(known) => {
                let mut denials = known.into_value();
                denials.forgive(account);
                if denials.all == 0 { Op::Remove } else { Op::Put(denials) }
            }
        });
    }

    /// The addresses with denials, the most denials first: at most `most`, and how many there are.
    pub(crate) fn list(&self, most: usize) -> (Vec<Penalty>, usize) {
        let known = self.denials.iter().filter_map(|(address, denials)| {
            let forgotten_in = DENIAL_MEMORY.checked_sub(denials.last.elapsed())?;
            Some(Penalty { address: *address, denials: denials.all, forgotten_in })
        });
        let mut known: Vec<_> = known.collect();
        known.sort_unstable_by_key(|penalty| (Reverse(penalty.denials), penalty.address));
        let all = known.len();
        known.truncate(most);
        (known, all)
    }

    /// Forgets the denials of `remote`, or of all addresses. Returns how many addresses had some on this host.
    pub(crate) fn clear(&self, remote: Option<IpAddr>) -> usize {
        self.hosts.clear(remote.map(network));
        let addresses = match remote {
            Some(remote) => vec![network(remote)],
            None => self.denials.iter().map(|(address, _)| *address).collect(),
        };
        addresses.iter().filter(|address| self.denials.remove(*address).is_some()).count()
    }

    fn hash(&self, user: &str) -> u64 {
        self.hashes.hash_one(normalized(user))
    }
}

impl Denials {
    fn none() -> Self {
        Self { all: 0, last: Instant::now(), accounts: Vec::new() }
    }

    fn add(&mut self, account: u64) {
        if self.last.elapsed() >= DENIAL_MEMORY {
            *self = Self::none();
        }
        self.all = self.all.saturating_add(1);
        self.last = Instant::now();
        let before = self.take(account);
        if self.accounts.len() >= MAX_ACCOUNTS {
            self.accounts.remove(0);
        }
        self.accounts.push((account, before.saturating_add(1)));
    }

    fn forgive(&mut self, account: u64) {
        self.all = self.all.saturating_sub(self.take(account)).div_ceil(2);
        for (_, count) in &mut self.accounts {
            *count = count.div_ceil(2);
        }
    }

    fn take(&mut self, account: u64) -> u32 {
        let place = self.accounts.iter().position(|(known, _)| *known == account);
        place.map_or(0, |place| self.accounts.remove(place).1)
    }
}

/// A name in any case, with any spelling of its domain.
fn normalized(user: &str) -> Cow<'_, str> {
    // Nearly all are so.
    let is_usual = |byte: u8| byte.is_ascii_graphic() && !byte.is_ascii_uppercase();
    if user.bytes().all(is_usual) {
        return user.into();
    }
    let user = user.trim();
    let user = if user.is_ascii() { user.into() } else { domain::with_ascii(user.into()) };
    user.to_lowercase().into()
}

/// The delay after so many denials, the last one included.
fn delay(least: Duration, denials: u32) -> Duration {
    let more = DELAY_STEP.saturating_mul(denials.saturating_sub(1));
    least.saturating_add(more).min(MAX_DELAY).max(least)
}

fn is_exempt(settings: &LoginSettings, address: IpAddr) -> bool {
    let address = address.to_canonical();
    address.is_loopback() || settings.penalty_exempt.iter().any(|network| network.contains(&address))
}

/// The addresses that are counted together.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::login::tests::settings;
    use futures_util::FutureExt;

    fn seconds(penalties: &Penalties, settings: &LoginSettings, remote: &str) -> u64 {
        penalties.denied(settings, remote.parse().ok(), "u").own.as_secs()
    }

    #[test]
    fn it_grows_with_each_denial_and_ends_with_a_success() {
        let (penalties, settings) = (Penalties::default(), settings());
        let delays = [(); 5].map(|()| seconds(&penalties, &settings, "192.0.2.7"));
        assert_eq!(delays, [2, 4, 6, 6, 6]);
        assert_eq!(seconds(&penalties, &settings, "192.0.2.8"), 2, "another address");
        assert_eq!(seconds(&penalties, &settings, "::ffff:192.0.2.8"), 4, "the same one");
        penalties.accepted("192.0.2.7".parse().ok(), " U");
        assert_eq!(seconds(&penalties, &settings, "192.0.2.7"), 2);
        assert_eq!(seconds(&penalties, &settings, "2001:db8::1"), 2);
        assert_eq!(seconds(&penalties, &settings, "2001:db8::ffff:2"), 4, "the same /64");
        assert_eq!(seconds(&penalties, &settings, "2001:db8:0:1::2"), 2);
    }

    #[test]
    fn a_success_clears_its_own_and_half_of_the_rest() {
        let (penalties, settings) = (Penalties::default(), settings());
        let remote = "192.0.2.7".parse().ok();
        let all = || penalties.denials.get(&network("192.0.2.7".parse().expect("one"))).map_or(0, |d| d.all);
        for (user, times) in [("victim", 5), ("mine", 3), ("other", 2)] {
            for _ in 0..times {
                penalties.denied(&settings, remote, user);
            }
        }
        for due in [4, 2, 1, 1] {
            penalties.accepted(remote, "mine");
            assert_eq!(all(), due, "ten, less three, and half of seven; what is left is never nothing");
        }
        penalties.accepted(remote, "victim");
        assert_eq!(all(), 0);
        // More accounts than are told apart cost no less.
        for user in 0..100 {
            penalties.denied(&settings, remote, &user.to_string());
        }
        penalties.accepted(remote, "0");
        assert_eq!(all(), 50, "it was too long ago to be known");
        penalties.accepted(remote, "99");
        assert_eq!(all(), 25);
    }

    #[tokio::test]
    async fn a_name_is_not_bounded_where_it_has_come_in_from() {
        let (penalties, mut settings) = (Penalties::default(), settings());
        settings.attempts = 1;
        let at = Instant::now();
        let begin = |remote: &str, user: &'static str| {
            let deadline = Deadline::from(at, Duration::from_secs(60));
            let (remote, penalties, settings) = (remote.parse().ok(), &penalties, &settings);
            async move { penalties.begin(settings, remote, user, at, deadline).await }
        };
        penalties.accepted("127.0.0.1".parse().ok(), "Bob");
        let _guess = begin("192.0.2.7", "bob").await.expect("the first");
        assert!(begin("192.0.2.8", "bob").now_or_never().is_none(), "elsewhere");
        assert!(begin("192.0.2.7", "carol").now_or_never().is_none(), "the same address");
        assert!(begin("", "bob").now_or_never().is_none(), "no address");
        for (remote, user) in [("127.0.0.1", "bob"), ("", "dave"), ("127.0.0.1", "erin")] {
            assert!(begin(remote, user).now_or_never().is_some(), "{user} at {remote:?}");
        }
    }

    #[test]
    fn some_are_not_counted() {
        let (penalties, mut settings) = (Penalties::default(), settings());
        settings.penalty_exempt = vec!["10.0.0.0/8".parse().expect("a network")];
        for remote in ["127.0.0.1", "::1", "10.1.2.3", "::ffff:10.1.2.3", "", "unknown"] {
            assert_eq!([(); 3].map(|()| seconds(&penalties, &settings, remote)), [2, 2, 2], "{remote}");
        }
        settings.penalty = false;
        assert_eq!([(); 3].map(|()| seconds(&penalties, &settings, "192.0.2.7")), [2, 2, 2]);
        settings.penalty = true;
        settings.failure_delay = Duration::ZERO;
        assert_eq!([(); 5].map(|()| seconds(&penalties, &settings, "192.0.2.7")), [0, 2, 4, 6, 6]);
    }

    #[test]
    fn the_table_is_bounded() {
        let (penalties, settings) = (Penalties::default(), settings());
        for number in 0..2 * u32::try_from(MAX_ADDRESSES).expect("few") {
            let address = Some(IpAddr::V4((0x0100_0000 + number).into()));
            penalties.denied(&settings, address, "u");
            penalties.accepted(address, "v");
        }
        penalties.denials.run_pending_tasks();
        penalties.known_places.run_pending_tasks();
        assert!(
            penalties.denials.entry_count() <= MAX_ADDRESSES
                && penalties.known_places.entry_count() <= MAX_KNOWN_PLACES
        );
    }

    #[tokio::test]
    async fn who_is_bounded_together() {
        let (penalties, mut settings) = (Penalties::default(), settings());
        settings.attempts = 1;
        let begin = async |remote: &str, user: &str| {
            let (at, deadline) = (Instant::now(), Deadline::after(Duration::from_millis(40)));
            penalties.begin(&settings, remote.parse().ok(), user, at, deadline).await
        };
        let name = begin("192.0.2.1", "bob@b\u{fc}cher.example").await.expect("the first");
        for (last, user) in
            ["BOB@xn--bcher-kva.example", "bob@bu\u{308}cher.example", " bob@B\u{dc}CHER.example"]
                .iter()
                .enumerate()
        {
            let why = begin(&format!("192.0.2.{}", last + 2), user).await.map(|_| ());
            assert!(matches!(why, Err(TooManyAttempts(Subject::Name(_)))), "{user}: {why:?}");
        }
        assert!(begin("127.0.0.1", "bob@b\u{fc}cher.example").await.is_ok(), "an exempt address");
        let unknown = begin("", "one").await.expect("the first without an address");
        let why = begin("unknown", "two").await.map(|_| ());
        assert!(matches!(why, Err(TooManyAttempts(Subject::Address(_)))), "{why:?}");
        unknown.end();
        name.end();
    }
}
