//! The metrics as messages of OTLP: cumulative since the start, without the suffixes of Prometheus.

use super::message::{
    CUMULATIVE, Data, Gauge, Histogram, HistogramPoint, KeyValue, Metric, Number, Point, Sum,
};
use crate::observe::metrics::family::{Family, Labels, MetricKind, Sample, SampleValue};
use crate::observe::metrics::histogram::BOUNDS;

/// Families as metrics, of what happened between `start` and `now` (nanoseconds since the epoch).
pub(super) fn metrics(families: Vec<Family>, start: u64, now: u64) -> Vec<Metric> {
    families.into_iter().map(|family| metric(family, start, now)).collect()
}

fn metric(family: Family, start: u64, now: u64) -> Metric {
    let Family { name, help, kind, samples } = family;
    let (name, unit) = plain(name);
    let point = |sample: Sample| point(sample, start, now);
    let data = match kind {
        MetricKind::Counter => Data::Sum(Sum {
            data_points: samples.into_iter().filter_map(point).collect(),
            aggregation_temporality: CUMULATIVE,
            is_monotonic: true,
        }),
        // An up-down counter, as in the Go program.
        MetricKind::Gauge if name == "pfxhttp_listener_active_connections" => Data::Sum(Sum {
            data_points: samples.into_iter().filter_map(point).collect(),
            aggregation_temporality: CUMULATIVE,
            is_monotonic: false,
        }),
        MetricKind::Gauge => {
            Data::Gauge(Gauge { data_points: samples.into_iter().filter_map(point).collect() })
        }
        MetricKind::Histogram => Data::Histogram(Histogram {
            data_points: samples.into_iter().filter_map(|sample| histogram(sample, start, now)).collect(),
            aggregation_temporality: CUMULATIVE,
        }),
    };
    Metric { name: name.to_owned(), description: help.to_owned(), unit: unit.to_owned(), data: Some(data) }
}

/// The name without its suffixes, and the unit (UCUM).
fn plain(name: &str) -> (&str, &'static str) {
    let name = name.strip_suffix("_total").unwrap_or(name);
    if let Some(name) = name.strip_suffix("_seconds") {
        return (name, "s");
    }
    name.strip_suffix("_bytes").map_or((name, "1"), |name| (name, "By"))
}

fn point(sample: Sample, start: u64, now: u64) -> Option<Point> {
    let value = match sample.value {
        SampleValue::Whole(number) => Number::Whole(i64::try_from(number).unwrap_or(i64::MAX)),
        SampleValue::Real(number) => Number::Real(number),
        SampleValue::Histogram(_) => return None,
    };
    Some(Point {
        start_time_unix_nano: start,
        time_unix_nano: now,
        value: Some(value),
        attributes: attributes(sample.labels),
    })
}

fn histogram(sample: Sample, start: u64, now: u64) -> Option<HistogramPoint> {
    let SampleValue::Histogram(reading) = sample.value else { return None };
    Some(HistogramPoint {
        start_time_unix_nano: start,
        time_unix_nano: now,
        count: reading.count(),
        sum: Some(reading.sum),
        bucket_counts: reading.buckets.to_vec(),
        explicit_bounds: BOUNDS.iter().map(|(nanos, _)| *nanos as f64 / 1e9).collect(),
        attributes: attributes(sample.labels),
    })
}

fn attributes(labels: Labels) -> Vec<KeyValue> {
    labels.into_iter().map(|(name, value)| KeyValue::text(name, &value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suffix_becomes_a_unit() {
        assert_eq!(plain("a_requests_total"), ("a_requests", "1"));
        assert_eq!(plain("a_duration_seconds"), ("a_duration", "s"));
        assert_eq!(plain("process_cpu_seconds_total"), ("process_cpu", "s"));
        assert_eq!(plain("a_size_bytes"), ("a_size", "By"));
    }
}
