//! Prometheus' text format, version 0.0.4 (Exposition formats, "Text-based format").

use std::fmt::Write;

use crate::observe::metrics::family::{Family, Labels, MetricKind, SampleValue};
use crate::observe::metrics::histogram::BOUNDS;

/// The media type.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The families as text.
pub(super) fn encode(families: &[Family]) -> String {
    let mut out = String::with_capacity(16 * 1024);
    for family in families {
        let kind = match family.kind {
            MetricKind::Counter => "counter",
            MetricKind::Gauge => "gauge",
            MetricKind::Histogram => "histogram",
        };
        let name = family.name;
        let _ = writeln!(out, "# HELP {name} {}\n# TYPE {name} {kind}", family.help);
        for sample in &family.samples {
            value(&mut out, name, &sample.labels, sample.value);
        }
    }
    out
}

fn value(out: &mut String, name: &str, labels: &Labels, value: SampleValue) {
    match value {
        SampleValue::Whole(number) => line(out, (name, ""), labels, None, &number),
        SampleValue::Real(number) => line(out, (name, ""), labels, None, &number),
        SampleValue::Histogram(reading) => {
            let mut below = 0;
            let bounds = BOUNDS.iter().map(|(_, bound)| *bound).chain(["+Inf"]);
            for (bound, count) in bounds.zip(reading.buckets) {
                below += count;
                line(out, (name, "_bucket"), labels, Some(bound), &below);
            }
            line(out, (name, "_sum"), labels, None, &reading.sum);
            line(out, (name, "_count"), labels, None, &below);
        }
    }
}

fn line(
    out: &mut String,
    (name, suffix): (&str, &str),
    labels: &Labels,
    bound: Option<&str>,
    value: &dyn std::fmt::Display,
) {
    out.push_str(name);
    out.push_str(suffix);
    let labels = labels.iter().map(|(name, value)| (*name, value.as_str()));
    let mut before = '{';
    for (name, value) in labels.chain(bound.map(|bound| ("le", bound))) {
        out.push(before);
        before = ',';
        out.push_str(name);
        out.push_str("=\"");
        for c in value.chars() {
            match c {
                '\\' => out.push_str("\\\\"),
                '"' => out.push_str("\\\""),
                '\n' => out.push_str("\\n"),
                c => out.push(c),
            }
        }
        out.push('"');
    }
    if before == ',' {
        out.push('}');
    }
    let _ = writeln!(out, " {value}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::metrics::family::Families;
    use crate::observe::metrics::histogram::Histogram;
    use std::time::Duration;

    #[test]
    fn a_label_holds_any_text() {
        let mut families = Families::default();
        let labels = vec![("name", "a\"b\\c\nd".to_owned()), ("other", "é".to_owned())];
        families.add(MetricKind::Counter, "x_total", "What.", [(labels, SampleValue::Whole(3))]);
        families.one(MetricKind::Gauge, "y", "That.", SampleValue::Real(0.5));
        families.add(MetricKind::Gauge, "z", "Nothing.", []);
        assert_eq!(
            encode(&families.0),
            "# HELP x_total What.\n# TYPE x_total counter\n\
             x_total{name=\"a\\\"b\\\\c\\nd\",other=\"é\"} 3\n\
             # HELP y That.\n# TYPE y gauge\ny 0.5\n"
        );
    }

    #[test]
    fn buckets_hold_those_below() {
        let histogram = Histogram::default();
        for millis in [1, 7, 20_000] {
            histogram.observe(Duration::from_millis(millis));
        }
        let mut families = Families::default();
        families.one(MetricKind::Histogram, "t_seconds", "Time.", SampleValue::Histogram(histogram.read()));
        let text = encode(&families.0);
        for line in [
            "t_seconds_bucket{le=\"0.0005\"} 0\n",
            "t_seconds_bucket{le=\"0.001\"} 1\n",
            "t_seconds_bucket{le=\"0.0025\"} 1\n",
            "t_seconds_bucket{le=\"0.005\"} 1\n",
            "t_seconds_bucket{le=\"0.01\"} 2\n",
            "t_seconds_bucket{le=\"10\"} 2\n",
            "t_seconds_bucket{le=\"+Inf\"} 3\n",
            "t_seconds_sum 20.008\n",
            "t_seconds_count 3\n",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }
}
