//! All metrics at one moment. Their names and labels are here, but for those of targets (`targets`) and of the
//! process (`process`).

use std::sync::atomic::Ordering;

use super::family::{Families, Family, Labels, MetricKind, SampleValue};
use super::{Component, HandOver, Metrics, process};

/// The current load, which is read when metrics are gathered.
#[derive(Debug, Default)]
pub struct Load {
    /// For each entry.
    pub queues: Vec<(Component, String, WorkerCounts)>,
    /// For each target that may be left alone: its origin, and whether it is up.
    pub targets: Vec<(Component, String, String, bool)>,
    /// For each origin.
    pub pools: Vec<(String, ConnectionCounts)>,
    /// Answers in the cache.
    pub cached: u64,
    /// The memory that they take.
    pub cached_bytes: u64,
    /// Whether there is a connection to the shared cache; `None` without such a cache.
    pub is_shared_up: Option<bool>,
}

/// The workers of an entry, and its queue.
#[derive(Debug, Clone, Copy)]
pub struct WorkerCounts {
    /// Lookups that wait.
    pub waiting: usize,
    /// Workers in use.
    pub busy: usize,
    /// All workers.
    pub workers: usize,
}

/// The connections to one origin.
#[derive(Debug, Clone, Copy)]
pub struct ConnectionCounts {
    /// Idle connections.
    pub idle: usize,
    /// All connections.
    pub open: usize,
}

impl Metrics {
    /// All families; with `runtime` also those of the process.
    pub(crate) fn families(&self, load: &Load, runtime: bool) -> Vec<Family> {
        let mut families = Families::default();
        self.lifecycle(&mut families);
        self.listeners(&mut families);
        self.connections(&mut families);
        self.hand_overs(&mut families);
        self.application(&mut families);
        self.backends(&mut families);
        self.grpc(&mut families);
        self.targets(&mut families, load);
        self.cache(&mut families, load);
        if let Some(is_up) = load.is_shared_up {
            self.shared.families(is_up, &mut families);
        }
        load_gauges(&mut families, load);
        self.tokens(&mut families);
        self.spans(&mut families);
        if runtime {
            process::add(&mut families);
        }
        families.0
    }

    fn lifecycle(&self, families: &mut Families) {
        let version = vec![("version", env!("CARGO_PKG_VERSION").to_owned())];
        families.add(
            MetricKind::Gauge,
            "pfxhttp_build_info",
            "Which version this is.",
            [(version, SampleValue::Whole(1))],
        );
        let ok = |count| [(vec![("result", "ok".to_owned())], SampleValue::Whole(count))];
        let (name, help) = ("pfxhttp_observability_startups_total", "Starts that became ready.");
        families.add(MetricKind::Counter, name, help, ok(self.startups.read()));
        let (name, help) = ("pfxhttp_observability_shutdowns_total", "Stops that were asked for.");
        families.add(MetricKind::Counter, name, help, ok(self.shutdowns.read()));
        let reloads = ["ok", "error"].into_iter().zip(&self.reloads);
        let reloads = reloads
            .map(|(result, count)| (vec![("result", result.to_owned())], SampleValue::Whole(count.read())));
        families.add(
            MetricKind::Counter,
            "pfxhttp_config_reloads_total",
            "Reloads of the configuration.",
            reloads,
        );
        families.one(
            MetricKind::Gauge,
            "pfxhttp_config_last_reload_successful",
            "Whether the last reload, or the start, took the configuration.",
            SampleValue::Whole(u64::from(!self.last_reload_failed.load(Ordering::Relaxed))),
        );
        families.one(
            MetricKind::Gauge,
            "pfxhttp_config_last_reload_success_timestamp_seconds",
            "When the configuration was read that is served.",
            SampleValue::Whole(self.configured.load(Ordering::Relaxed)),
        );
    }

    /// Connections by the way they came: through a listener, handed over by a client, or forwarded by one.
    fn connections(&self, families: &mut Families) {
        let (mut direct, mut handed, mut forwarded) = (0, 0, 0);
        for ((component, _), listener) in self.listeners.all() {
            let active = listener.active.load(Ordering::Relaxed);
            if component == Component::Local {
                let taken = listener.handed.load(Ordering::Relaxed) as u64;
                handed += taken;
                forwarded += active.saturating_sub(taken);
            } else {
                direct += active;
            }
        }
        let counts = [("listener", direct), ("handed_over", handed), ("forwarded", forwarded)];
        let counts =
            counts.map(|(origin, count)| (vec![("origin", origin.to_owned())], SampleValue::Whole(count)));
        let help = "Connections that are open, by the way they came.";
        families.add(MetricKind::Gauge, "pfxhttp_connections", help, counts);
    }

    fn hand_overs(&self, families: &mut Families) {
        let local =
            self.listeners.all().into_iter().filter(|((component, _), _)| *component == Component::Local);
        let mut offers = [0; HandOver::ALL.len()];
        for (_, listener) in local {
            for (sum, counter) in offers.iter_mut().zip(&listener.offers) {
                *sum += counter.read();
            }
        }
        let counts = HandOver::ALL
            .into_iter()
            .zip(offers)
            .map(|(result, count)| (vec![("result", result.label().to_owned())], SampleValue::Whole(count)));
        let help = "Connections that clients offered to hand over, by what became of them.";
        families.add(MetricKind::Counter, "pfxhttp_hand_overs_total", help, counts);
    }

    fn listeners(&self, families: &mut Families) {
        let (mut events, mut active, mut lasted) = (Vec::new(), Vec::new(), Vec::new());
        for ((component, name), listener) in self.listeners.all() {
            let base = labels(component, &name);
            let (ended, panicked) = (listener.ended.read(), listener.panicked.read());
            for (event, result, count) in [
                ("accept", "ok", listener.accepted.read()),
                ("accept", "error", listener.refused.read()),
                ("close", "ok", ended.count()),
                ("close", "error", panicked.count()),
                ("queue_full", "error", listener.held_up.read()),
            ] {
                events
                    .push((with(&base, &[("event", event), ("result", result)]), SampleValue::Whole(count)));
            }
            for (result, reading) in [("ok", ended), ("error", panicked)] {
                if reading.count() > 0 {
                    lasted.push((with(&base, &[("result", result)]), SampleValue::Histogram(reading)));
                }
            }
            active.push((base, SampleValue::Whole(listener.active.load(Ordering::Relaxed))));
        }
        let name = "pfxhttp_listener_connections_total";
        families.add(MetricKind::Counter, name, "What happened to connections of listeners.", events);
        let name = "pfxhttp_listener_active_connections";
        families.add(MetricKind::Gauge, name, "Connections that are open, idle ones among them.", active);
        let name = "pfxhttp_listener_connection_duration_seconds";
        families.add(MetricKind::Histogram, name, "How long connections lasted.", lasted);
    }

    fn application(&self, families: &mut Families) {
        let (mut totals, mut took) = (Vec::new(), Vec::new());
        for ((component, name, listener), requests) in self.requests.all() {
            let base = with(&labels(component, &name), &[("listener", &listener)]);
            for (outcome, reading) in requests.read() {
                let labels = with(&base, &[("outcome", outcome.word())]);
                totals.push((labels.clone(), SampleValue::Whole(reading.count())));
                took.push((labels, SampleValue::Histogram(reading)));
            }
        }
        let name = "pfxhttp_application_requests_total";
        families.add(
            MetricKind::Counter,
            name,
            "Requests of Postfix and others, by what came of them.",
            totals,
        );
        let name = "pfxhttp_application_request_duration_seconds";
        families.add(MetricKind::Histogram, name, "From the last byte of a request to its answer.", took);
    }

    fn backends(&self, families: &mut Families) {
        let (mut totals, mut took) = (Vec::new(), Vec::new());
        for ((component, name, method), calls) in self.calls.all() {
            let base = with(&labels(component, &name), &[("method", method)]);
            for (class, result, reading) in calls.read() {
                let labels = with(&base, &[("status_class", class), ("result", result)]);
                totals.push((labels.clone(), SampleValue::Whole(reading.count())));
                took.push((labels, SampleValue::Histogram(reading)));
            }
        }
        let name = "pfxhttp_backend_http_requests_total";
        families.add(MetricKind::Counter, name, "Requests to HTTP APIs and identity providers.", totals);
        let name = "pfxhttp_backend_http_request_duration_seconds";
        families.add(MetricKind::Histogram, name, "From sending a request to the end of its answer.", took);
        families.one(
            MetricKind::Counter,
            "pfxhttp_backend_connections_opened_total",
            "Connections that were made to HTTP APIs; far fewer than requests where they are kept.",
            SampleValue::Whole(self.connections.read()),
        );
    }

    /// Entries with `transport: grpc`.
    fn grpc(&self, families: &mut Families) {
        let (mut totals, mut took) = (Vec::new(), Vec::new());
        for ((component, name, method), calls) in self.calls.all() {
            let base = with(&labels(component, &name), &[("method", method)]);
            for (status, result, reading) in calls.read_grpc() {
                let labels = with(&base, &[("status", status), ("result", result)]);
                totals.push((labels.clone(), SampleValue::Whole(reading.count())));
                took.push((labels, SampleValue::Histogram(reading)));
            }
        }
        let name = "pfxhttp_backend_grpc_requests_total";
        families.add(MetricKind::Counter, name, "Calls of gRPC, by their status.", totals);
        let name = "pfxhttp_backend_grpc_request_duration_seconds";
        families.add(MetricKind::Histogram, name, "From a call of gRPC to the end of its answer.", took);
    }

    fn cache(&self, families: &mut Families, load: &Load) {
        let mut lookups = Vec::new();
        let mut stand_ins = Vec::new();
        for ((component, name), cache_counters) in self.cache_counters.all() {
            let base = labels(component, &name);
            for (result, count) in [
                ("hit", &cache_counters.hits),
                ("stale", &cache_counters.stale),
                ("miss", &cache_counters.misses),
            ] {
                lookups.push((with(&base, &[("result", result)]), SampleValue::Whole(count.read())));
            }
            stand_ins.push((base, SampleValue::Whole(cache_counters.stand_ins.read())));
        }
        let name = "pfxhttp_cache_lookups_total";
        families.add(MetricKind::Counter, name, "Lookups in the cache before an API is asked.", lookups);
        let name = "pfxhttp_cache_stand_ins_total";
        families.add(
            MetricKind::Counter,
            name,
            "Answers from before that were given instead of failures.",
            stand_ins,
        );
        let (name, help) = ("pfxhttp_cache_entries", "Answers in the cache.");
        families.one(MetricKind::Gauge, name, help, SampleValue::Whole(load.cached));
        let (name, help) = ("pfxhttp_cache_size_bytes", "The memory that the cache takes.");
        families.one(MetricKind::Gauge, name, help, SampleValue::Whole(load.cached_bytes));
    }

    fn spans(&self, families: &mut Families) {
        let (exported, dropped) = (self.spans.exported.read(), self.spans.dropped.read());
        if exported + dropped > 0 {
            let results = [("ok", exported), ("dropped", dropped)];
            let results = results
                .map(|(result, count)| (vec![("result", result.to_owned())], SampleValue::Whole(count)));
            let name = "pfxhttp_otlp_spans_total";
            families.add(MetricKind::Counter, name, "Finished spans, by what became of them.", results);
        }
    }

    fn tokens(&self, families: &mut Families) {
        let tokens = &self.tokens;
        let fetches = [("ok", &tokens.fetched), ("error", &tokens.failed)];
        let fetches = fetches
            .map(|(result, count)| (vec![("result", result.to_owned())], SampleValue::Whole(count.read())));
        let name = "pfxhttp_oidc_token_fetches_total";
        families.add(MetricKind::Counter, name, "Tokens of our own that were asked for.", fetches);
        let refusals = [("backend", &tokens.ours_refused), ("client", &tokens.theirs_refused)];
        let refusals = refusals
            .map(|(whose, count)| (vec![("token", whose.to_owned())], SampleValue::Whole(count.read())));
        let name = "pfxhttp_oidc_token_refusals_total";
        families.add(
            MetricKind::Counter,
            name,
            "Tokens that were refused: ours by a backend, or a mail client's by us.",
            refusals,
        );
    }
}

/// Gauges of the current load.
fn load_gauges(families: &mut Families, load: &Load) {
    let each = |pick: fn(&WorkerCounts) -> usize| {
        let queues = load.queues.iter();
        queues.map(move |(component, name, queue)| {
            (labels(*component, name), SampleValue::Whole(pick(queue) as u64))
        })
    };
    let name = "pfxhttp_target_queue_waiting";
    families.add(MetricKind::Gauge, name, "Lookups that wait for a worker.", each(|queue| queue.waiting));
    let name = "pfxhttp_target_workers_busy";
    families.add(MetricKind::Gauge, name, "Workers in use.", each(|queue| queue.busy));
    let name = "pfxhttp_target_workers";
    families.add(
        MetricKind::Gauge,
        name,
        "Workers that there are (max_workers).",
        each(|queue| queue.workers),
    );
    let pools = load.pools.iter().flat_map(|(origin, pool)| {
        let active = pool.open.saturating_sub(pool.idle);
        [("idle", pool.idle), ("active", active)].map(|(state, count)| {
            let labels = vec![("backend", origin.clone()), ("state", state.to_owned())];
            (labels, SampleValue::Whole(count as u64))
        })
    });
    let name = "pfxhttp_backend_connections";
    families.add(MetricKind::Gauge, name, "Connections to HTTP APIs.", pools);
}

pub(super) fn labels(component: Component, name: &str) -> Labels {
    vec![("component", component.word().to_owned()), ("name", name.to_owned())]
}

pub(super) fn with(base: &Labels, more: &[(&'static str, &str)]) -> Labels {
    let mut labels = base.clone();
    labels.extend(more.iter().map(|(name, value)| (*name, (*value).to_owned())));
    labels
}
