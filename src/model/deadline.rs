//! Time limits.

use std::time::{Duration, Instant};

/// The longest time limit of a map or policy lookup: Postfix gives up after 100 s (dict_sockmap.c,
/// `smtpd_policy_service_timeout`).
pub const LONGEST_BUDGET: Duration = Duration::from_secs(90);

/// The time limit of a login: Postfix gives up after 10 s (`AUTH_TIMEOUT`, xsasl_dovecot_server.c).
pub const LOGIN_BUDGET: Duration = Duration::from_secs(8);

/// When the time limit of a lookup ends, on the monotonic clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(Instant);

impl Deadline {
    /// The end of `budget` from now on.
    #[must_use]
    pub fn after(budget: Duration) -> Self {
        Self(Instant::now() + budget)
    }

    /// The end of `budget` from `start` on.
    #[must_use]
    pub fn from(start: Instant, budget: Duration) -> Self {
        Self(start + budget)
    }

    /// The remaining time; zero at the end.
    #[must_use]
    pub fn remaining(self) -> Duration {
        self.remaining_at(Instant::now())
    }

    /// The time from `now` on; zero at the end.
    #[must_use]
    pub fn remaining_at(self, now: Instant) -> Duration {
        self.0.saturating_duration_since(now)
    }

    /// The instant itself, for timers.
    #[must_use]
    pub fn instant(self) -> Instant {
        self.0
    }
}
