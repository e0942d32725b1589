//! Answers that are kept: they replace a request while they are fresh, and a failure while they are not too old.
//!
//! One cache for all entries, bounded in bytes: an entry weighs its key, its text and what the
//! cache itself spends on it (about 480 bytes with moka 0.12, measured). Each entry has its own part of
//! it. What is kept is definitive and came out of an accepted answer; "not found" takes away what
//! was known before, and a failure changes nothing. An action is never kept if it says "later".
//!
//! What tells two policy requests apart must never be left out of a key: an OK for one user would
//! serve another. So `ALWAYS` is part of every key, whatever `cache_key` says.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use moka::sync::Cache as Moka;
use moka::{Equivalent, Expiry};

use super::template::LookupInput;
use super::{CacheSettings, Kind, LookupSettings, verb};
use crate::model::{Answer, Attributes};
use crate::observe::metrics::{CacheCounters, Metrics};
use crate::shared::{EntryShare, SharedMark};

/// Bytes that moka uses for an answer, besides key and value.
const OVERHEAD: usize = 480;

/// Attributes that are part of every policy key.
const ALWAYS: [&str; 7] = [
    "request",
    "protocol_state",
    "sasl_username",
    "sasl_method",
    "ccert_fingerprint",
    "ccert_pubkey_fingerprint",
    "server_port",
];

/// Attributes that differ from message to message, and are left out unless `cache_key` names them.
const VOLATILE: [&str; 11] = [
    "instance",
    "queue_id",
    "client_port",
    "size",
    "stress",
    "recipient_count",
    "encryption_protocol",
    "encryption_cipher",
    "encryption_keysize",
    "ccert_subject",
    "ccert_issuer",
];

/// The cache of all entries.
#[derive(Debug, Clone)]
pub(crate) struct Cache {
    entries: Moka<CacheKey, Stored>,
    numbers: Arc<AtomicU64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct CacheKey {
    entry_cache: u64,
    key: Box<[u8]>,
}

/// A key that is looked up.
#[derive(Debug, Clone, Copy, Hash)]
struct CacheKeyRef<'k> {
    entry_cache: u64,
    key: &'k [u8],
}

impl Equivalent<CacheKey> for CacheKeyRef<'_> {
    fn equivalent(&self, known: &CacheKey) -> bool {
        self.entry_cache == known.entry_cache && *self.key == *known.key
    }
}

impl CacheKeyRef<'_> {
    fn to_key(self) -> CacheKey {
        CacheKey { entry_cache: self.entry_cache, key: self.key.into() }
    }
}

#[derive(Debug, Clone)]
struct Stored {
    answer: Arc<Answer>,
    since: Instant,
    lifetime: Duration,
    /// When it was written to the shared cache.
    shared: Option<SharedMark>,
}

struct Lifetimes;

impl Expiry<CacheKey, Stored> for Lifetimes {
    fn expire_after_create(&self, _: &CacheKey, entry: &Stored, _: Instant) -> Option<Duration> {
        Some(entry.lifetime)
    }

    fn expire_after_update(
        &self,
        _: &CacheKey,
        entry: &Stored,
        _: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Some(entry.lifetime)
    }
}

/// One entry's part of the cache.
#[derive(Debug, Clone)]
pub(crate) struct EntryCache {
    /// A new number makes all kept answers unreachable; they expire in time.
    number: Arc<AtomicU64>,
    all: Cache,
    settings: CacheSettings,
    /// `None` for a map.
    policy: Option<PolicyKey>,
    cache_counters: Arc<CacheCounters>,
}

#[derive(Debug, Clone)]
enum PolicyKey {
    AllButVolatile,
    These(Vec<String>),
}

/// A cached answer, as an administrator sees it.
#[derive(Debug)]
pub(crate) struct CachedAnswer {
    pub(crate) answer: Answer,
    pub(crate) age: Duration,
    /// How long it still replaces a request.
    pub(crate) fresh: Duration,
    /// How long it may still be used if the API fails.
    pub(crate) outage: Duration,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Cached {
    Fresh(Answer),
    Stale(Answer),
    Nothing,
}

impl Cache {
    pub(crate) fn new(max_bytes: u64) -> Self {
        let entries = Moka::builder()
            .max_capacity(max_bytes)
            .weigher(|key: &CacheKey, entry: &Stored| {
                let text = match &*entry.answer {
                    Answer::Value(value) => value.len(),
                    Answer::Action(action) => action.as_str().len(),
                    Answer::NotFound
                    | Answer::Failed { .. }
                    | Answer::Accepted { .. }
                    | Answer::Denied { .. } => 0,
                };
                u32::try_from(key.key.len() + text + OVERHEAD).unwrap_or(u32::MAX)
            })
            .expire_after(Lifetimes)
            .build();
        Self { entries, numbers: Arc::default() }
    }

    /// Makes [`Self::size`] exact. This may take milliseconds.
    pub(crate) fn settle(&self) {
        self.entries.run_pending_tasks();
    }

    /// Removes what the entries with these numbers have kept, and returns how many answers that was.
    pub(crate) fn sweep(&self, numbers: &HashSet<u64>) -> usize {
        let meant = self.entries.iter().map(|(key, _)| key).filter(|key| numbers.contains(&key.entry_cache));
        meant.filter(|key| self.entries.remove(&**key).is_some()).count()
    }

    /// How many answers it holds, and the memory that they take; as of a moment ago.
    pub(crate) fn size(&self) -> (u64, u64) {
        (self.entries.entry_count(), self.entries.weighted_size())
    }

    pub(crate) fn entry_cache(&self, settings: &LookupSettings, metrics: &Metrics) -> EntryCache {
        let policy = match &settings.kind {
            Kind::Map(_) => None,
            Kind::Policy(policy) => Some(match &policy.cache_key {
                None => PolicyKey::AllButVolatile,
                Some(names) => PolicyKey::These(names.clone()),
            }),
        };
        EntryCache {
            number: Arc::new(AtomicU64::new(self.numbers.fetch_add(1, Ordering::Relaxed))),
            all: self.clone(),
            settings: settings.cache,
            policy,
            cache_counters: metrics.cache_counters(settings.component(), &settings.name),
        }
    }
}

impl EntryCache {
    /// Whether identical lookups may be one: always for a map; for a policy, whose API may count
    /// requests, only where it is cached anyway.
    pub(crate) fn shares_lookups(&self) -> bool {
        self.policy.is_none() || !self.settings.fresh.is_zero()
    }

    /// What tells a question of this entry from another; empty if nothing depends on it.
    pub(crate) fn key<'l>(&self, lookup: LookupInput<'l>) -> Cow<'l, [u8]> {
        match (lookup, &self.policy) {
            (LookupInput::Key(key), _) => key.as_bytes().into(),
            (LookupInput::Request(attributes), Some(policy)) if self.keeps() => policy.key(attributes).into(),
            (LookupInput::Request(_), _) => Cow::default(),
        }
    }

    /// Whether a kept answer may spare a request.
    pub(crate) fn spares_requests(&self) -> bool {
        !self.settings.fresh.is_zero() || !self.settings.negative.is_zero()
    }

    /// Whether a kept answer may stand in for a failure.
    pub(crate) fn has_stand_ins(&self) -> bool {
        !self.settings.outage.is_zero()
    }

    /// Whether anything is kept at all.
    fn keeps(&self) -> bool {
        let CacheSettings { outage, fresh, negative, .. } = self.settings;
        [outage, fresh, negative].iter().any(|time| !time.is_zero())
    }

    fn place<'k>(&self, key: &'k [u8]) -> CacheKeyRef<'k> {
        CacheKeyRef { entry_cache: self.number.load(Ordering::Relaxed), key }
    }

    /// Forgets the answer to `key`, and says whether there was one.
    pub(crate) fn forget(&self, key: &[u8]) -> bool {
        self.all.entries.remove(&self.place(key)).is_some()
    }

    /// Forgets all, without waiting until they are gone. Needs the runtime.
    pub(crate) fn forget_all(&self) {
        let (all, number) = (self.all.clone(), self.renumber());
        tokio::task::spawn_blocking(move || all.sweep(&HashSet::from([number])));
    }

    /// Forgets all. They are out of reach from now on, and gone after a [`Cache::sweep`] of this number.
    pub(crate) fn renumber(&self) -> u64 {
        self.number.swap(self.all.numbers.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed)
    }

    /// The cached answer to `lookup`, if there is one; not counted as a hit.
    pub(crate) fn show(&self, lookup: LookupInput<'_>) -> Option<CachedAnswer> {
        let stored = self.all.entries.get(&self.place(&self.key(lookup)))?;
        let CacheSettings { fresh, negative, outage, .. } = self.settings;
        let (fresh, outage) =
            if *stored.answer == Answer::NotFound { (negative, Duration::ZERO) } else { (fresh, outage) };
        let age = stored.since.elapsed();
        let [fresh, outage] = [fresh, outage].map(|time| time.saturating_sub(age));
        Some(CachedAnswer { answer: (*stored.answer).clone(), age, fresh, outage })
    }

    /// What may be said without asking to a request that came at `now`.
    pub(crate) fn find(&self, key: &[u8], now: Instant) -> Cached {
        if !self.spares_requests() {
            return Cached::Nothing;
        }
        let kept = self.all.entries.get(&self.place(key));
        let age = |kept: &Stored| now.saturating_duration_since(kept.since);
        let found = kept.map_or(Cached::Nothing, |kept| self.judge(&kept.answer, age(&kept)));
        match found {
            Cached::Fresh(_) => self.cache_counters.hits.add(),
            Cached::Stale(_) => self.cache_counters.stale.add(),
            Cached::Nothing => self.cache_counters.misses.add(),
        }
        found
    }

    /// What an answer of this age is.
    pub(crate) fn judge(&self, answer: &Answer, age: Duration) -> Cached {
        let CacheSettings { fresh, negative, stale_while_revalidate: stale, .. } = self.settings;
        match answer {
            Answer::NotFound if age < negative => Cached::Fresh(Answer::NotFound),
            Answer::NotFound => Cached::Nothing,
            answer if age < fresh => Cached::Fresh(answer.clone()),
            answer if !fresh.is_zero() && age < fresh + stale => Cached::Stale(answer.clone()),
            _ => Cached::Nothing,
        }
    }

    /// What may stand in for a failure.
    pub(crate) fn stand_in(&self, key: &[u8]) -> Option<Answer> {
        if !self.has_stand_ins() {
            return None;
        }
        let entry = self.all.entries.get(&self.place(key))?;
        let stands = self.stands_in(&entry.answer, entry.since.elapsed());
        stands.then(|| (*entry.answer).clone())
    }

    /// Whether an answer of this age may stand in for a failure. Counts it if so.
    pub(crate) fn stands_in(&self, answer: &Answer, age: Duration) -> bool {
        let stands = *answer != Answer::NotFound && age < self.settings.outage;
        if stands {
            self.cache_counters.stand_ins.add();
        }
        stands
    }

    /// Keeps a definitive answer, also in the shared cache, or forgets what was known.
    pub(crate) fn keep(&self, key: &Arc<[u8]>, answer: &Answer, share: Option<&EntryShare>) {
        let Some(lifetime) = self.lifetime(answer).filter(|_| self.keeps()) else { return };
        let place = self.place(key);
        let shared = share.and_then(|share| {
            let known = self.all.entries.get(&place).filter(|known| *known.answer == *answer);
            share.keep(key, answer, known.and_then(|known| known.shared))
        });
        if lifetime.is_zero() {
            self.all.entries.invalidate(&place);
        } else {
            let answer = Arc::new(answer.clone());
            self.all
                .entries
                .insert(place.to_key(), Stored { answer, since: Instant::now(), lifetime, shared });
        }
    }

    /// Keeps an answer that another host has got `age` ago, unless a newer one is known.
    pub(crate) fn adopt(&self, key: &[u8], answer: &Answer, age: Duration) {
        let lifetime = self.lifetime(answer).unwrap_or_default().saturating_sub(age);
        let Some(since) = Instant::now().checked_sub(age).filter(|_| !lifetime.is_zero()) else { return };
        let key = self.place(key);
        if self.all.entries.get(&key).is_none_or(|known| known.since < since) {
            let answer = Arc::new(answer.clone());
            self.all.entries.insert(key.to_key(), Stored { answer, since, lifetime, shared: None });
        }
    }

    /// How long an answer is kept. `None`: it is not definitive.
    fn lifetime(&self, answer: &Answer) -> Option<Duration> {
        let CacheSettings { outage, fresh, negative, stale_while_revalidate, .. } = self.settings;
        match answer {
            // It says "later", or nothing: what was known stays.
            Answer::Failed { .. } => None,
            // No credential is ever kept.
            Answer::Accepted { .. } | Answer::Denied { .. } => None,
            Answer::Action(action) if verb::is_temporary(action) => None,
            Answer::Value(_) | Answer::Action(_) => Some(outage.max(fresh + stale_while_revalidate)),
            Answer::NotFound if self.policy.is_none() => Some(negative),
            Answer::NotFound => Some(Duration::ZERO),
        }
    }
}

impl PolicyKey {
    fn key(&self, attributes: &Attributes) -> Vec<u8> {
        let mut key = Vec::with_capacity(256);
        for (name, value) in attributes.iter() {
            let is_one_of = |known: &[&str]| known.iter().any(|known| known.as_bytes() == name);
            let part = is_one_of(&ALWAYS)
                || match self {
                    Self::AllButVolatile => !is_one_of(&VOLATILE),
                    Self::These(names) => names.iter().any(|known| known.as_bytes() == name),
                };
            if part {
                // Each with its length: whatever a peer of the local socket puts into a value, no
                // two requests share a key.
                for bytes in [name, value] {
                    key.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
                    key.extend_from_slice(bytes);
                }
            }
        }
        key
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(pairs: &[(&str, &str)]) -> Attributes {
        pairs.iter().copied().collect()
    }

    #[test]
    fn what_tells_users_apart_is_in_every_key() {
        for policy in
            [PolicyKey::AllButVolatile, PolicyKey::These(Vec::new()), PolicyKey::These(vec!["sender".into()])]
        {
            for name in ALWAYS {
                let key = |value| policy.key(&request(&[("request", "x"), (name, value), ("sender", "s")]));
                assert_ne!(key("one"), key("other"), "{name} in {policy:?}");
            }
        }
    }

    #[test]
    fn what_differs_by_nature_is_left_out_unless_named() {
        for name in VOLATILE {
            let key = |policy: &PolicyKey, value| policy.key(&request(&[("sender", "s"), (name, value)]));
            let all = PolicyKey::AllButVolatile;
            assert_eq!(key(&all, "1"), key(&all, "2"), "{name}");
            let named = PolicyKey::These(vec![name.to_owned()]);
            assert_ne!(key(&named, "1"), key(&named, "2"), "{name}");
        }
    }

    #[test]
    fn what_is_kept_for_longer_stands_in_for_the_outage_time_alone() {
        let minute = Duration::from_secs(60);
        let settings = CacheSettings {
            outage: minute,
            fresh: minute * 60,
            negative: Duration::ZERO,
            stale_while_revalidate: Duration::ZERO,
            is_shared: false,
        };
        let all = Cache::new(1 << 20);
        let entry_cache = EntryCache {
            number: Arc::new(AtomicU64::new(1)),
            all: all.clone(),
            settings,
            policy: None,
            cache_counters: Arc::default(),
        };
        let value = Answer::Value("v".to_owned());
        entry_cache.keep(&b"new"[..].into(), &value, None);
        assert_eq!(entry_cache.stand_in(b"new"), Some(value.clone()));
        let since = Instant::now().checked_sub(minute * 2).expect("two minutes of uptime");
        let old = Stored { answer: Arc::new(value.clone()), since, lifetime: minute * 60, shared: None };
        all.entries.insert(CacheKey { entry_cache: 1, key: b"old"[..].into() }, old);
        assert_eq!(entry_cache.stand_in(b"old"), None);
        assert_eq!(entry_cache.find(b"old", Instant::now()), Cached::Fresh(value));
    }

    #[test]
    fn values_cannot_pose_as_other_attributes() {
        let policy = PolicyKey::AllButVolatile;
        let one = policy.key(&request(&[("sender", "a"), ("recipient", "b")]));
        for posing in ["arecipient=b", "a\0recipient=b", "a\nrecipient=b"] {
            assert_ne!(one, policy.key(&request(&[("sender", posing)])), "{posing:?}");
            assert_ne!(one, policy.key(&request(&[("sender", &format!("{posing}\0"))])), "{posing:?}");
        }
    }
}
