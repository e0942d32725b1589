//! The part of the plot of `make bench` with the memory of what the broker holds many of.
//!
//! A row whose table was not measured is left out.

use serde_json::Value;

use super::svg::Svg;

const LEFT: f64 = 260.0;
const WIDTH: f64 = 560.0;
const ROW: f64 = 20.0;

/// The height of the part, which is 0 if nothing was measured.
pub(super) fn height(results: &Value) -> f64 {
    let rows = rows(results).len();
    if rows == 0 { 0.0 } else { 40.0 + rows as f64 * ROW }
}

/// Draws the part below `top`.
pub(super) fn draw(svg: &mut Svg, results: &Value, top: f64) {
    let rows = rows(results);
    let most = rows.iter().map(|(_, kilobytes)| *kilobytes).fold(0.0, f64::max);
    if most <= 0.0 {
        return;
    }
    svg.text("head", (20.0, top + 20.0), "Memory for each, in KiB: less is better");
    for (nth, (name, kilobytes)) in rows.iter().enumerate() {
        let y = top + 32.0 + nth as f64 * ROW;
        svg.text("row", (LEFT - 12.0, y + 11.0), name);
        svg.rect("many", [LEFT, y, (kilobytes / most * WIDTH).max(1.0), 13.0], 1.5);
        svg.text("value", (LEFT + kilobytes / most * WIDTH + 5.0, y + 10.5), &format!("{kilobytes:.1}"));
    }
}

/// What takes memory, and how much.
fn rows(results: &Value) -> Vec<(String, f64)> {
    let count = |name: &str| results["options"][name].as_u64().unwrap_or_default();
    let in_flight = |contestant: &str| {
        let mut sides = results["slow"]["summary"].as_array()?.iter();
        sides.find(|side| side["contestant"] == contestant)?["kb_for_each"]["median"].as_f64()
    };
    [
        (format!("idle connection, of {IDLE}"), idle(results)),
        (format!("map, of {}", count("maps")), results["maps"]["summary"]["kb_for_each"]["median"].as_f64()),
        (format!("lookup in flight, of {}", count("in_flight")), in_flight("socketmap")),
        ("the same in HAProxy".to_owned(), in_flight("haproxy")),
    ]
    .into_iter()
    .filter_map(|(name, kilobytes)| Some((name, kilobytes?)))
    .collect()
}

const IDLE: u64 = 1000;

/// The median of what a connection adds that has asked once.
fn idle(results: &Value) -> Option<f64> {
    let readings = results["idle"].as_array()?.iter().filter(|reading| reading["connections"] == IDLE);
    let each = readings.filter_map(|reading| {
        let rss = |name: &str| reading["rss_kb"][name].as_f64();
        Some((rss("asked")? - rss("first_lookup")?) / IDLE as f64)
    });
    let mut each: Vec<f64> = each.collect();
    each.sort_by(f64::total_cmp);
    each.get(each.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_memory_of_each_has_a_row_if_it_was_measured() {
        let results = json!({
            "options": {"maps": 1000, "in_flight": 5000},
            "idle": [{"connections": 1000, "rss_kb": {"first_lookup": 9000.0, "asked": 12100.0}}],
            "slow": {"summary": [{"contestant": "socketmap", "kb_for_each": {"median": 11.94}},
                {"contestant": "haproxy", "kb_for_each": {"median": 21.25}}]},
            "maps": {"summary": {"kb_for_each": {"median": 5.25}}},
        });
        let mut svg = Svg::new("", "");
        draw(&mut svg, &results, 0.0);
        assert_eq!(height(&results), 120.0);
        let picture = svg.finish(900.0, 200.0);
        for due in [">3.1<", ">5.2<", ">11.9<", ">21.2<", "lookup in flight, of 5000"] {
            assert!(picture.contains(due), "{due} in {picture}");
        }
        assert_eq!(height(&json!({})), 0.0);
    }
}
