//! How long a denial is held back: whoever guesses passwords learns slowly that they are wrong.
//!
//! It begins with the entry's `failure_delay` and grows with each further denial of one remote
//! address, up to 6 s, so that the answer still comes within the 8 s that Postfix waits for. Nothing
//! is counted for a user, whom anybody could lock out that way; a success clears its address, and
//! so do 15 minutes without a denial. An IPv6 address counts as its /64, which one host has to
//! itself. The table is bounded: what was heard of least makes room.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use moka::sync::Cache;

use super::Settings;

/// The longest delay.
const MOST: Duration = Duration::from_secs(6);
/// What each further denial adds.
const STEP: Duration = Duration::from_secs(2);
/// How long an address is remembered.
const MEMORY: Duration = Duration::from_mins(15);
/// Addresses that are remembered; about 2 MB.
const ADDRESSES: u64 = 16 * 1024;

/// The denials of each remote address. One table for all entries.
#[derive(Debug)]
pub struct Penalties(Cache<IpAddr, u32>);

impl Default for Penalties {
    fn default() -> Self {
        Self(Cache::builder().max_capacity(ADDRESSES).time_to_idle(MEMORY).build())
    }
}

impl Penalties {
    /// Counts a denial by the entry of `settings`, and says how long to hold it back. An address
    /// that is not known, or excluded, costs `failure_delay` alone.
    pub(super) fn denied(&self, settings: &Settings, remote: Option<IpAddr>) -> Duration {
        let counted = remote.filter(|address| settings.penalty && !is_exempt(settings, *address));
        let Some(address) = counted else { return settings.failure_delay };
        let before = self
            .0
            .entry(network(address))
            .and_upsert_with(|known| known.map_or(1, |entry| entry.into_value().saturating_add(1)));
        let before = before.into_value() - 1;
        settings
            .failure_delay
            .saturating_add(STEP.saturating_mul(before))
            .min(MOST)
            .max(settings.failure_delay)
    }

    /// Forgets the denials of an address: somebody who belongs here has come in from there.
    pub(super) fn clear(&self, remote: Option<IpAddr>) {
        if let Some(address) = remote {
            self.0.invalidate(&network(address));
        }
    }
}

fn is_exempt(settings: &Settings, address: IpAddr) -> bool {
    let address = address.to_canonical();
    address.is_loopback() || settings.penalty_exempt.iter().any(|network| network.contains(&address))
}

/// What is counted together.
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

    fn seconds(penalties: &Penalties, settings: &Settings, remote: &str) -> u64 {
        penalties.denied(settings, remote.parse().ok()).as_secs()
    }

    #[test]
    fn it_grows_with_each_denial_and_ends_with_a_success() {
        let (penalties, settings) = (Penalties::default(), settings());
        let delays = [(); 5].map(|()| seconds(&penalties, &settings, "192.0.2.7"));
        assert_eq!(delays, [2, 4, 6, 6, 6]);
        assert_eq!(seconds(&penalties, &settings, "192.0.2.8"), 2, "another address");
        assert_eq!(seconds(&penalties, &settings, "::ffff:192.0.2.8"), 4, "the same one");
        penalties.clear("192.0.2.7".parse().ok());
        assert_eq!(seconds(&penalties, &settings, "192.0.2.7"), 2);
        assert_eq!(seconds(&penalties, &settings, "2001:db8::1"), 2);
        assert_eq!(seconds(&penalties, &settings, "2001:db8::ffff:2"), 4, "the same /64");
        assert_eq!(seconds(&penalties, &settings, "2001:db8:0:1::2"), 2);
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
        for number in 0..2 * u32::try_from(ADDRESSES).expect("few") {
            penalties.denied(&settings, Some(IpAddr::V4((0x0100_0000 + number).into())));
        }
        penalties.0.run_pending_tasks();
        assert!(penalties.0.entry_count() <= ADDRESSES);
    }
}
