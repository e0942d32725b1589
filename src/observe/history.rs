//! The last ten minutes of every entry and listener, as samples of five seconds.
//!
//! The history reads counters, so a request costs nothing more. A sample takes 16 bytes, and 140 if there were
//! requests; those since the last request take nothing: at most 18 KiB for each entry, and half a KiB for each listener. Entries and listeners that
//! are removed are forgotten at the next sample. What happened since the last sample counts, too: a reader
//! sees a request at once.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::metrics::failures::CLASSES;
use super::metrics::histogram::quantile;
use super::metrics::totals::{EntryCounts, ListenerTotals, Totals};
use super::metrics::{Component, DEFAULT, Load, Metrics, WorkerCounts};
use crate::model::status::{ListenerStatus, Sample, Traffic};

/// The time between two samples.
pub const INTERVAL: Duration = Duration::from_secs(5);
/// Ten minutes.
const SAMPLES: usize = 120;
/// The samples of the last minute, which rates and times are about.
const MINUTE: usize = 12;

type Name = (Component, String);

/// The samples.
#[derive(Debug)]
pub struct History(Mutex<Series>);

#[derive(Debug)]
struct Series {
    /// The end of the last sample.
    at: Instant,
    /// How long each sample lasted, the newest last.
    spans: VecDeque<Duration>,
    entries: HashMap<Name, EntrySeries>,
    listeners: HashMap<Name, ListenerSeries>,
}

#[derive(Debug, Default)]
struct EntrySeries {
    /// At the end of the last sample; `None` if nothing was counted yet.
    before: Option<Box<EntryCounts>>,
    samples: VecDeque<EntrySample>,
    /// How many samples without anything come after them.
    idle: usize,
}

#[derive(Debug, Default)]
struct ListenerSeries {
    before: u64,
    /// Requests.
    samples: VecDeque<u32>,
}

/// A sample of an entry that is not asked.
static IDLE: EntrySample = EntrySample { busy: 0, waiting: 0, counted: None };

/// Five seconds of an entry.
#[derive(Debug, Default)]
struct EntrySample {
    busy: u32,
    waiting: u32,
    /// `None` if nothing was counted.
    counted: Option<Box<EntryCounts<u32>>>,
}

impl Default for History {
    fn default() -> Self {
        Self(Mutex::new(Series {
            at: Instant::now(),
            spans: VecDeque::new(),
            entries: HashMap::new(),
            listeners: HashMap::new(),
        }))
    }
}

impl History {
    /// Ends a sample: everything that was counted since the last one.
    pub fn sample(&self, metrics: &Metrics, load: &Load) {
        self.sample_at(Instant::now(), &metrics.totals(), load);
    }

    fn sample_at(&self, now: Instant, totals: &Totals, load: &Load) {
        let mut series = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let span = now.saturating_duration_since(series.at);
        series.at = now;
        push(&mut series.spans, span);
        let mut entries = std::mem::take(&mut series.entries);
        for (component, name, workers) in &load.queues {
            let key = (*component, name.clone());
            let mut entry = entries.remove(&key).unwrap_or_default();
            entry.sample(totals.entries.get(&key), workers);
            series.entries.insert(key, entry);
        }
        let mut listeners = std::mem::take(&mut series.listeners);
        for (key, totals) in &totals.listeners {
            let mut listener = listeners.remove(key).unwrap_or_default();
            push(&mut listener.samples, since(listener.before, totals.requests));
            listener.before = totals.requests;
            series.listeners.insert(key.clone(), listener);
        }
    }

    /// Reads the history, up to this moment.
    #[must_use]
    pub fn read(&self, metrics: &Metrics) -> Recent<'_> {
        Recent { history: self, now: Instant::now(), totals: metrics.totals() }
    }
}

/// The history at one moment.
#[derive(Debug)]
pub struct Recent<'h> {
    history: &'h History,
    now: Instant,
    totals: Totals,
}

impl Recent<'_> {
    /// The requests of an entry.
    #[must_use]
    pub fn entry(&self, component: Component, name: &str, workers: &WorkerCounts) -> Traffic {
        let series = self.history.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (key, none) = ((component, name.to_owned()), EntrySeries::default());
        let entry = series.entries.get(&key).unwrap_or(&none);
        let totals = self.totals.entries.get(&key).cloned().unwrap_or_default();
        let last = EntrySample::between(&entry.before(), &totals, workers);
        let samples: Vec<&EntrySample> = entry.samples().chain([&last]).collect();
        let spans = self.spans(&series, samples.len());
        let minute = sum(&samples[samples.len().saturating_sub(MINUTE + 1)..]);
        let all = sum(&samples);
        let by_class = CLASSES.iter().zip(all.failures).filter(|(_, count)| *count > 0);
        let by_class: BTreeMap<_, _> = by_class.map(|(class, count)| ((*class).to_owned(), count)).collect();
        let percent = |hits: u64| hits as f64 * 100.0 / minute.cache_lookups as f64;
        Traffic {
            requests: totals.requests,
            failures: totals.failures.iter().sum(),
            requests_per_s: rate(minute.requests, &spans),
            p50_ms: quantile(&minute.durations, 0.5).map(rounded),
            p95_ms: quantile(&minute.durations, 0.95).map(rounded),
            cache_hits_percent: (minute.cache_lookups > 0).then(|| rounded(percent(minute.cache_hits))),
            recent_failures: all.failures.iter().sum(),
            recent_failures_by_class: by_class,
            // Without the last one, which is not complete.
            samples: entry.samples().zip(&spans).map(|(sample, span)| sample.shown(*span)).collect(),
        }
    }

    /// Adds the counts of a listener to its status.
    pub fn listener(&self, component: Component, label: &str, status: &mut ListenerStatus) {
        let series = self.history.0.lock().unwrap_or_else(PoisonError::into_inner);
        let label = if label.is_empty() { DEFAULT } else { label };
        let (key, none) = ((component, label.to_owned()), ListenerSeries::default());
        let listener = series.listeners.get(&key).unwrap_or(&none);
        let totals = self.totals.listeners.get(&key).copied().unwrap_or_default();
        let ListenerTotals { requests, active, handed_over, accepted, refused } = totals;
        let samples: Vec<u32> =
            listener.samples.iter().copied().chain([since(listener.before, requests)]).collect();
        let spans = self.spans(&series, samples.len());
        let minute = samples.iter().rev().take(MINUTE + 1).map(|count| u64::from(*count)).sum();
        let shown = listener.samples.iter().zip(&spans);
        *status = ListenerStatus {
            connections: active,
            handed_over,
            accepted,
            refused,
            requests,
            requests_per_s: rate(minute, &spans),
            samples: shown.map(|(count, span)| per_second(u64::from(*count), *span)).collect(),
            ..std::mem::take(status)
        };
    }

    /// Open connections at all listeners.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.totals.listeners.values().map(|listener| listener.active).sum()
    }

    /// The spans of the last `count` samples, that of the present one among them.
    fn spans(&self, series: &Series, count: usize) -> Vec<Duration> {
        let present = self.now.saturating_duration_since(series.at);
        let skipped = (series.spans.len() + 1).saturating_sub(count);
        series.spans.iter().copied().chain([present]).skip(skipped).collect()
    }
}

impl EntrySeries {
    fn before(&self) -> EntryCounts {
        self.before.as_deref().cloned().unwrap_or_default()
    }

    /// The oldest one first.
    fn samples(&self) -> impl Iterator<Item = &EntrySample> {
        self.samples.iter().chain(std::iter::repeat_n(&IDLE, self.idle))
    }

    /// Ends a sample; `now` is what was counted up to this moment.
    fn sample(&mut self, now: Option<&EntryCounts>, workers: &WorkerCounts) {
        let sample = EntrySample::between(&self.before(), &now.cloned().unwrap_or_default(), workers);
        self.before = now.cloned().map(Box::new);
        if !sample.is_idle() {
            let idle = std::mem::take(&mut self.idle);
            self.samples.extend(std::iter::repeat_with(EntrySample::default).take(idle));
            push(&mut self.samples, sample);
            return;
        }
        self.idle = (self.idle + 1).min(SAMPLES);
        if self.samples.len() + self.idle > SAMPLES {
            self.samples.pop_front();
        }
        if self.samples.is_empty() {
            self.samples = VecDeque::new();
        }
    }
}

impl EntrySample {
    fn is_idle(&self) -> bool {
        self.busy == 0 && self.waiting == 0 && self.counted.is_none()
    }

    fn between(before: &EntryCounts, now: &EntryCounts, workers: &WorkerCounts) -> Self {
        let small = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let counted = EntryCounts {
            requests: since(before.requests, now.requests),
            cache_hits: since(before.cache_hits, now.cache_hits),
            cache_lookups: since(before.cache_lookups, now.cache_lookups),
            failures: each_since(&before.failures, &now.failures),
            durations: each_since(&before.durations, &now.durations),
        };
        let counted = (counted != EntryCounts::default()).then(|| Box::new(counted));
        Self { busy: small(workers.busy), waiting: small(workers.waiting), counted }
    }

    fn shown(&self, span: Duration) -> Sample {
        let counted = sum(&[self]);
        Sample {
            requests_per_s: per_second(counted.requests, span),
            failures: counted.failures.iter().sum(),
            p95_ms: quantile(&counted.durations, 0.95),
            busy: self.busy.into(),
            waiting: self.waiting.into(),
        }
    }
}

/// Several samples together.
fn sum(samples: &[&EntrySample]) -> EntryCounts {
    let mut sum = EntryCounts::default();
    for counted in samples.iter().filter_map(|sample| sample.counted.as_deref()) {
        sum.requests += u64::from(counted.requests);
        sum.cache_hits += u64::from(counted.cache_hits);
        sum.cache_lookups += u64::from(counted.cache_lookups);
        sum.failures.iter_mut().zip(counted.failures).for_each(|(sum, one)| *sum += u64::from(one));
        sum.durations.iter_mut().zip(counted.durations).for_each(|(sum, one)| *sum += u64::from(one));
    }
    sum
}

/// What a counter has counted. One that is less than before began anew, with an entry that was away.
fn since(before: u64, now: u64) -> u32 {
    u32::try_from(now.checked_sub(before).unwrap_or(now)).unwrap_or(u32::MAX)
}

fn each_since<const N: usize>(before: &[u64; N], now: &[u64; N]) -> [u32; N] {
    std::array::from_fn(|place| since(before[place], now[place]))
}

/// The rate of the last minute. The first seconds after a start count as a whole sample.
fn rate(count: u64, spans: &[Duration]) -> f64 {
    let minute: Duration = spans.iter().rev().take(MINUTE + 1).sum();
    per_second(count, minute.max(INTERVAL))
}

fn per_second(count: u64, span: Duration) -> f64 {
    rounded(count as f64 / span.max(Duration::from_millis(1)).as_secs_f64())
}

/// Three digits after the point say enough.
fn rounded(number: f64) -> f64 {
    (number * 1000.0).round() / 1000.0
}

fn push<T>(samples: &mut VecDeque<T>, sample: T) {
    if samples.len() >= SAMPLES {
        samples.pop_front();
    }
    samples.push_back(sample);
}

#[cfg(test)]
mod tests {
    use super::*;

    const FREE: WorkerCounts = WorkerCounts { waiting: 0, busy: 0, workers: 8 };

    fn load(names: &[&str]) -> Load {
        let queues = names.iter().map(|name| (Component::Map, (*name).to_owned(), FREE));
        Load { queues: queues.collect(), ..Load::default() }
    }

    fn totals(requests: u64) -> Totals {
        let mut totals = Totals::default();
        let mut entry = EntryCounts { requests, cache_hits: requests / 2, ..EntryCounts::default() };
        (entry.cache_lookups, entry.durations[1], entry.failures[0]) = (requests, requests, requests / 10);
        totals.entries.insert((Component::Map, "m".to_owned()), entry);
        let listener = ListenerTotals { requests, active: 1, ..ListenerTotals::default() };
        totals.listeners.insert((Component::Map, "maps".to_owned()), listener);
        totals
    }

    fn entry(history: &History, now: Instant, requests: u64) -> Traffic {
        Recent { history, now, totals: totals(requests) }.entry(Component::Map, "m", &FREE)
    }

    #[test]
    fn the_last_minute_and_the_last_ten() {
        let (history, start) = (History::default(), Instant::now());
        for nth in 1..=240 {
            // 10 requests per second for 15 minutes, then none.
            let requests = 50 * nth.min(180);
            history.sample_at(
                start + INTERVAL * u32::try_from(nth).expect("small"),
                &totals(requests),
                &load(&["m"]),
            );
        }
        let end = start + INTERVAL * 240;
        let seen = entry(&history, end, 9000);
        assert_eq!((seen.requests, seen.requests_per_s, seen.p95_ms), (9000, 0.0, None));
        assert_eq!((seen.failures, seen.recent_failures), (900, 300));
        assert_eq!(seen.recent_failures_by_class, BTreeMap::from([("connect".to_owned(), 300)]));
        assert_eq!(seen.samples.len(), SAMPLES);
        assert_eq!((seen.samples[0].requests_per_s, seen.samples[119].requests_per_s), (10.0, 0.0));
        // The sample that has begun counts.
        let seen = entry(&history, end, 9130);
        assert_eq!(seen.requests_per_s, 2.167);
        assert_eq!((seen.cache_hits_percent, seen.p50_ms), (Some(50.0), Some(0.75)));
        let mut listener = ListenerStatus { endpoint: "x".to_owned(), ..ListenerStatus::default() };
        let recent = Recent { history: &history, now: end, totals: totals(9130) };
        recent.listener(Component::Map, "maps", &mut listener);
        assert_eq!((listener.endpoint.as_str(), listener.requests, listener.connections), ("x", 9130, 1));
        assert_eq!((listener.samples[0], recent.connections()), (10.0, 1));
        let series = history.0.lock().expect("the samples");
        let taken: usize = series.entries.values().map(|entry| entry.samples.capacity()).sum();
        assert!(taken * size_of::<EntrySample>() + SAMPLES * size_of::<EntryCounts<u32>>() < 18 * 1024);
    }

    #[test]
    fn samples_of_an_entry_that_is_not_asked_take_no_memory() {
        let (history, start) = (History::default(), Instant::now());
        let sample = |nth: u32, requests| {
            let totals = if requests == 0 { Totals::default() } else { totals(requests) };
            history.sample_at(start + INTERVAL * nth, &totals, &load(&["m"]));
            let series = history.0.lock().expect("the samples");
            let entry = &series.entries[&(Component::Map, "m".to_owned())];
            (entry.samples.len(), entry.samples.capacity(), entry.samples().count())
        };
        let all: Vec<_> = (1..=130).map(|nth| sample(nth, 0)).collect();
        assert_eq!(all[..3], [(0, 0, 1), (0, 0, 2), (0, 0, 3)]);
        assert_eq!(all.last(), Some(&(0, 0, SAMPLES)));
        assert_eq!(sample(131, 50).2, SAMPLES);
        let seen = entry(&history, start + INTERVAL * 131, 50);
        assert_eq!((seen.samples.len(), seen.samples[119].requests_per_s), (SAMPLES, 10.0));
        for nth in 132..131 + 120 {
            assert_eq!(sample(nth, 50).2, SAMPLES);
        }
        assert_eq!(entry(&history, start + INTERVAL * 250, 50).samples[0].requests_per_s, 10.0);
        assert_eq!(sample(251, 50), (0, 0, SAMPLES), "the request was ten minutes ago");
    }

    #[test]
    fn an_entry_that_is_away_is_forgotten_and_begins_anew() {
        let (history, start) = (History::default(), Instant::now());
        let end = start + INTERVAL * 2;
        history.sample_at(start + INTERVAL, &totals(100), &load(&["m", "n"]));
        history.sample_at(end, &Totals::default(), &load(&["n"]));
        assert_eq!(history.0.lock().expect("the samples").entries.len(), 1);
        assert!(history.0.lock().expect("the samples").listeners.is_empty());
        let seen = entry(&history, end, 3);
        assert_eq!((seen.requests, seen.samples.len(), seen.requests_per_s), (3, 0, 3.0 / 5.0));
        // Counters of an entry that came back between two samples are less than before.
        history.sample_at(end, &totals(7), &load(&["m"]));
        assert_eq!(entry(&history, end, 4).requests_per_s, 11.0 / 5.0);
    }
}
