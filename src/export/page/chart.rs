//! Small charts of the last ten minutes as inline SVG: lines, bars, and how full something is. Colours come
//! from classes of the style sheet; a chart of a short history stands at the right.

use std::fmt::Write;

use super::html::Html;

/// One unit for each sample.
const WIDTH: usize = 120;
const HEIGHT: f64 = 28.0;
/// The line stays below the upper edge.
const TOP: f64 = 2.0;

/// A line of values, with the area below it; `None` is a gap. `label` says what it shows.
pub(super) fn line(html: &mut Html, class: &'static str, values: &[Option<f64>], label: &str) {
    let values = &values[values.len().saturating_sub(WIDTH)..];
    let most = values.iter().flatten().fold(0.0_f64, |most, value| most.max(*value));
    let first = WIDTH - values.len();
    let (mut stroke, mut area, mut begun) = (String::new(), String::new(), None);
    for (at, value) in values.iter().enumerate() {
        let x = first + at;
        let Some(value) = value else {
            end(&mut area, begun.take(), x);
            continue;
        };
        let y = height_of(*value, most);
        match begun {
            None => {
                begun = Some(x);
                // A single sample is a point.
                let _ = write!(stroke, "M{x} {y:.1}h.5");
                let _ = write!(area, "M{x} {HEIGHT}V{y:.1}");
            }
            Some(_) => {
                let _ = write!(stroke, "L{x} {y:.1}");
                let _ = write!(area, "L{x} {y:.1}");
            }
        }
    }
    end(&mut area, begun, WIDTH);
    chart(html, class, label, |html| {
        html.element("path", &[("class", "area"), ("d", &area)], |_| ());
        html.element(
            "path",
            &[("class", "line"), ("d", &stroke), ("vector-effect", "non-scaling-stroke")],
            |_| (),
        );
    });
}

/// Closes an area that began at `begun`.
fn end(area: &mut String, begun: Option<usize>, x: usize) {
    if begun.is_some() {
        let _ = write!(area, "L{} {HEIGHT}Z", x.saturating_sub(1));
    }
}

/// A bar for each count that is not zero.
pub(super) fn bars(html: &mut Html, class: &'static str, counts: &[u64], label: &str) {
    let counts = &counts[counts.len().saturating_sub(WIDTH)..];
    let most = counts.iter().copied().max().unwrap_or(0) as f64;
    let first = WIDTH - counts.len();
    let mut path = String::new();
    for (at, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
        // The smallest one can be seen, too.
        let top = height_of(*count as f64, most).min(HEIGHT - 4.0);
        let _ = write!(path, "M{} {HEIGHT}V{top:.1}", first + at);
    }
    chart(html, class, label, |html| {
        html.element("path", &[("class", "bars"), ("d", &path)], |_| ());
    });
}

/// How much of `whole` is `part`.
pub(super) fn meter(html: &mut Html, part: u64, whole: u64, label: &str) {
    let share = if whole == 0 { 0.0 } else { (part as f64 / whole as f64).min(1.0) };
    let (width, class) = (format!("{:.1}", share * 100.0), if share >= 1.0 { "full" } else { "part" });
    let view = [("class", "meter"), ("viewBox", "0 0 100 6"), ("preserveAspectRatio", "none")];
    html.element("svg", &[&view[..], &[("role", "img"), ("aria-label", label)]].concat(), |html| {
        html.element("rect", &[("class", "whole"), ("width", "100"), ("height", "6"), ("rx", "3")], |_| ());
        html.element("rect", &[("class", class), ("width", &width), ("height", "6"), ("rx", "3")], |_| ());
    });
}

fn height_of(value: f64, most: f64) -> f64 {
    let share = if most > 0.0 { value / most } else { 0.0 };
    (HEIGHT - 1.0) - share * (HEIGHT - 1.0 - TOP)
}

fn chart(html: &mut Html, class: &'static str, label: &str, content: impl FnOnce(&mut Html)) {
    let view = [("class", class), ("viewBox", "0 0 120 28"), ("preserveAspectRatio", "none")];
    html.element("svg", &[&view[..], &[("role", "img"), ("aria-label", label)]].concat(), |html| {
        html.leaf("title", &[], label);
        // The ten minutes, also where nothing is known of them.
        html.element("path", &[("class", "base"), ("d", "M0 27.5H120")], |_| ());
        content(html);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(draw: impl FnOnce(&mut Html)) -> String {
        let mut html = Html::default();
        draw(&mut html);
        html.finish()
    }

    #[test]
    fn a_line_has_gaps_and_ends_at_the_right() {
        let svg = drawn(|html| line(html, "spark", &[Some(0.0), Some(10.0), None, Some(5.0)], "a \"label\""));
        assert!(svg.contains("d=\"M116 27.0h.5L117 2.0M119 14.5h.5\""), "{svg}");
        assert!(svg.contains("d=\"M116 28V27.0L117 2.0L117 28ZM119 28V14.5L119 28Z\""), "{svg}");
        assert!(svg.contains("aria-label=\"a &quot;label&quot;\""), "{svg}");
        let long = vec![Some(1.0); 500];
        assert!(drawn(|html| line(html, "spark", &long, "")).contains("M0 2.0h.5L1 2.0"));
        assert!(drawn(|html| line(html, "spark", &[], "")).contains("d=\"\""));
    }

    #[test]
    fn a_bar_is_seen_and_a_meter_is_never_more_than_full() {
        let svg = drawn(|html| bars(html, "spark", &[0, 1, 1000], ""));
        assert!(svg.contains("d=\"M118 28V24.0M119 28V2.0\""), "{svg}");
        assert!(drawn(|html| meter(html, 3, 12, "")).contains("class=\"part\" width=\"25.0\""));
        assert!(drawn(|html| meter(html, 13, 12, "")).contains("class=\"full\" width=\"100.0\""));
        assert!(drawn(|html| meter(html, 0, 0, "")).contains("width=\"0.0\""));
    }
}
