//! The ratios of `make bench` as an SVG: CPU time and requests/s of the broker, divided by those of HAProxy.
//!
//! Machine, date and versions of the run stand in the picture. If it was not a whole run, the picture says so.

use serde_json::Value;

use super::memory;
use super::svg::Svg;

const STYLE: &str = "
.ground { fill: #ffffff; stroke: #d5dce4; }
text { font: 13px system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', 'DejaVu Sans', sans-serif; fill: #1f2933; }
.title { font-size: 17px; font-weight: 600; }
.head { font-size: 14px; font-weight: 600; }
.row, .tick { text-anchor: end; }
.tick { text-anchor: middle; }
.small, .tick, .note { font-size: 12px; fill: #5b6774; }
.value { font-size: 11px; paint-order: stroke; stroke: #ffffff; stroke-width: 3px; stroke-linejoin: round; }
.warning { font-size: 12px; fill: #b3261e; }
.grid { stroke: #e3e8ed; }
.one { stroke: #c7681a; stroke-width: 1.5; }
.is-one { text-anchor: middle; font-size: 12px; fill: #a9540f; }
.spread { stroke: #1f2933; stroke-width: 1.2; }
.few { fill: #a9cdec; } .some { fill: #5b9fd8; } .many { fill: #1f69ab; }
@media (prefers-color-scheme: dark) {
  .ground { fill: #10161e; stroke: #303b47; }
  text { fill: #e1e7ed; }
  .value { stroke: #10161e; }
  .small, .tick, .note { fill: #9dabb9; }
  .warning { fill: #ff8a80; }
  .grid { stroke: #28323d; }
  .one { stroke: #e8964a; }
  .is-one { fill: #f0a662; }
  .spread { stroke: #e1e7ed; }
  .few { fill: #2d5f8c; } .some { fill: #3f86c4; } .many { fill: #8cc4f2; }
}
";

/// The contestants of the bench in this order, and what each is.
const ROWS: [(&str, &str); 9] = [
    ("socketmap", "map, TCP"),
    ("unix", "map, unix socket"),
    ("tls", "map, TLS to the API"),
    ("once", "a connection each"),
    ("policy", "policy, TCP"),
    ("sasl", "login, TCP"),
    ("fresh", "cached answer, TCP"),
    ("handed", "map, handed over"),
    ("forwarded", "map, forwarded"),
];

/// The numbers of connections, and their colours.
const BARS: [(u64, &str); 3] = [(1, "few"), (8, "some"), (64, "many")];

/// The tables of a whole run.
const TABLES: [&str; 6] = ["lookups", "pieces", "slow", "maps", "starts", "idle"];

/// The figures, and what is better.
const PANELS: [(&str, &str); 2] =
    [("cpu", "CPU time of a request: less is better"), ("requests_per_second", "Requests/s: more is better")];

const WIDTH: f64 = 900.0;
const LEFT: f64 = 160.0;
const PANEL: f64 = 340.0;
const BETWEEN: f64 = 30.0;
const TOP: f64 = 118.0;
const BAR: f64 = 12.0;
const ROW: f64 = 3.0 * BAR + 14.0;

/// The chart of these results.
///
/// # Errors
/// There is no ratio to HAProxy in them.
pub(super) fn draw(results: &Value) -> Result<String, String> {
    let most = PANELS.map(|(figure, _)| most(results, figure));
    if most.contains(&0.0) {
        return Err("these results have no ratios to HAProxy: it was left out of the run".to_owned());
    }
    let mut svg = Svg::new("Lookups through pfxhttp, divided by those through HAProxy", STYLE);
    let bottom = TOP + ROWS.len() as f64 * ROW;
    let notes = notes(results);
    let memory = bottom + 26.0;
    let below = memory + memory::height(results) + 24.0;
    let height = below + 17.0 * notes.len() as f64;
    svg.rect("ground", [0.5, 0.5, WIDTH - 1.0, height - 1.0], 8.0);
    svg.text("title", (20.0, 32.0), "A lookup through pfxhttp, divided by a request through HAProxy");
    legend(&mut svg);
    for (nth, (_, name)) in ROWS.iter().enumerate() {
        svg.text("row", (LEFT - 12.0, TOP + nth as f64 * ROW + 1.5 * BAR + 4.5), name);
    }
    for (nth, ((figure, title), most)) in PANELS.iter().zip(most).enumerate() {
        let left = LEFT + nth as f64 * (PANEL + BETWEEN);
        // At the right is room for the number behind the longest bar.
        let most = most.max(1.0);
        let scale = Scale { left, unit: (PANEL - 40.0) / most };
        svg.text("head", (left, TOP - 30.0), title);
        axis(&mut svg, &scale, most, bottom);
        bars(&mut svg, &scale, results, figure);
    }
    memory::draw(&mut svg, results, memory);
    for (nth, (class, note)) in notes.iter().enumerate() {
        svg.text(class, (20.0, below + 17.0 * nth as f64), note);
    }
    Ok(svg.finish(WIDTH, height))
}

/// Where a ratio stands.
struct Scale {
    left: f64,
    unit: f64,
}

impl Scale {
    fn x(&self, ratio: f64) -> f64 {
        self.left + ratio * self.unit
    }
}

fn legend(svg: &mut Svg) {
    for (nth, (connections, class)) in BARS.iter().enumerate() {
        let x = 20.0 + 125.0 * nth as f64;
        svg.rect(class, [x, 45.0, 12.0, 12.0], 2.0);
        let plural = if *connections == 1 { "" } else { "s" };
        svg.text("small", (x + 18.0, 55.5), &format!("{connections} connection{plural}"));
    }
    svg.text("small", (400.0, 55.5), "thin lines: the lowest and the highest round");
}

fn axis(svg: &mut Svg, scale: &Scale, most: f64, bottom: f64) {
    let step = if most > 1.5 { 0.5 } else { 0.25 };
    for nth in 0..=(most / step) as usize {
        let ratio = nth as f64 * step;
        let x = scale.x(ratio);
        if (ratio - 1.0).abs() > 1e-9 {
            svg.line("grid", [x, TOP - 6.0, x, bottom]);
            svg.text("tick", (x, bottom + 16.0), &format!("{ratio}"));
        }
    }
    svg.line("one", [scale.x(1.0), TOP - 6.0, scale.x(1.0), bottom]);
    svg.text("is-one", (scale.x(1.0), TOP - 11.0), "HAProxy");
    svg.text("is-one", (scale.x(1.0), bottom + 16.0), "1");
}

fn bars(svg: &mut Svg, scale: &Scale, results: &Value, figure: &str) {
    for (row, (contestant, _)) in ROWS.iter().enumerate() {
        for (nth, (connections, class)) in BARS.iter().enumerate() {
            let Some([low, median, high]) = ratio(results, contestant, *connections, figure) else {
                continue;
            };
            let y = TOP + row as f64 * ROW + nth as f64 * BAR;
            let middle = y + BAR / 2.0 - 0.5;
            svg.rect(class, [scale.left, y, scale.x(median) - scale.left, BAR - 1.0], 1.5);
            svg.line("spread", [scale.x(low), middle, scale.x(high), middle]);
            svg.text("value", (scale.x(high) + 5.0, middle + 4.0), &format!("{median:.2}"));
        }
    }
}

/// Lowest, median and highest ratio of all rounds.
fn ratio(results: &Value, contestant: &str, connections: u64, figure: &str) -> Option<[f64; 3]> {
    let mut cells = results["lookups"]["summary"].as_array()?.iter();
    let cell = cells.find(|cell| cell["contestant"] == contestant && cell["connections"] == connections)?;
    let spread = &cell[figure]["to_haproxy"];
    Some([spread["low"].as_f64()?, spread["median"].as_f64()?, spread["high"].as_f64()?])
}

/// The highest ratio of all rows; 0 if there is none.
fn most(results: &Value, figure: &str) -> f64 {
    let all = ROWS.iter().flat_map(|(contestant, _)| {
        BARS.iter().filter_map(|(connections, _)| ratio(results, contestant, *connections, figure))
    });
    all.map(|[_, _, high]| high).fold(0.0, f64::max)
}

/// Where, when and how, with the class of each line.
fn notes(results: &Value) -> Vec<(&'static str, String)> {
    let machine = &results["machine"];
    let word = |name: &str| machine[name].as_str().unwrap_or("unknown").to_owned();
    let number = |value: &Value| value.as_f64().map_or_else(|| "?".to_owned(), |number| format!("{number}"));
    let (date, cpu) = (word("date"), word("cpu").replace("(R)", "").replace("(TM)", ""));
    let proxy = word("haproxy");
    let proxy = proxy.split([' ', '-']).nth(2).unwrap_or("?");
    let backend = word("nginx");
    let backend = backend.rsplit('/').next().unwrap_or("?");
    let kernel = word("kernel");
    let kernel: Vec<&str> = kernel.split(['.', '-']).take(2).collect();
    let options = &results["options"];
    let others = results["machine_time_percent"]["others"].as_f64().unwrap_or(f64::NAN);
    let mut notes = vec![
        (
            "note",
            format!(
                "Medians of {} rounds of {} s, {}: {} cores of {}, Linux {}; HAProxy {proxy}, nginx {backend}, {}.",
                number(&options["rounds"]),
                number(&options["seconds"]),
                date.split('T').next().unwrap_or_default(),
                number(&machine["cores"]),
                cpu.split_whitespace().collect::<Vec<_>>().join(" "),
                kernel.join("."),
                word("broker"),
            ),
        ),
        (
            "note",
            format!(
                "TLS: divided by HAProxy with TLS. Load, proxy and nginx share the cores; other processes took {others:.0} % of the machine's time."
            ),
        ),
    ];
    // As many as one line has room for.
    for (nth, missing) in missing(results).chunks(3).enumerate() {
        let begin = if nth == 0 { "Not a whole run of make bench: " } else { "" };
        notes.push(("warning", format!("{begin}{}", missing.join(", "))));
    }
    notes
}

/// What makes this less than a whole run on a quiet machine (benches/README.md, "Options").
fn missing(results: &Value) -> Vec<&'static str> {
    let options = &results["options"];
    let has = |name: &str, due: &[Value]| {
        options[name].as_array().is_some_and(|all| due.iter().all(|one| all.contains(one)))
    };
    let at_least = |name: &str, least: f64| options[name].as_f64().is_some_and(|number| number >= least);
    let rows = ROWS.map(|(contestant, _)| Value::from(contestant));
    let busy = results["machine_time_percent"]["others"].as_f64().is_none_or(|others| others > 5.0);
    [
        (!at_least("rounds", 7.0), "fewer than 7 rounds"),
        (!at_least("seconds", 1.5), "rounds shorter than 1.5 s"),
        (!has("connections", &BARS.map(|(connections, _)| connections.into())), "not all connections"),
        (!has("only", &rows), "not all ways to ask"),
        (!has("tables", &TABLES.map(Value::from)), "not all tables"),
        (busy, "other processes were at work"),
    ]
    .into_iter()
    .filter_map(|(is_missing, what)| is_missing.then_some(what))
    .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn results(rounds: u64, others: f64) -> Value {
        let spread = |median: f64| json!({"to_haproxy": {"low": median, "median": median, "high": median}});
        let cells = ROWS.iter().flat_map(|(contestant, _)| {
            BARS.iter().map(move |(connections, _)| {
                json!({"contestant": contestant, "connections": connections,
                    "cpu": spread(1.26), "requests_per_second": spread(0.76)})
            })
        });
        json!({
            "lookups": {"summary": cells.collect::<Vec<_>>()},
            "machine": {"broker": "pfxhttp-broker 0.1.0", "cores": 4, "cpu": "A(R)  <CPU>", "date": "2026-01-02T03:04:05Z",
                "haproxy": "HAProxy version 2.6.12-1+deb12u4 2026/10/17", "kernel": "6.18.44-x",
                "nginx": "nginx version: nginx/1.22.1"},
            "machine_time_percent": {"others": others},
            "options": {"rounds": rounds, "seconds": 1.5, "connections": [1, 8, 64],
                "only": ROWS.map(|(contestant, _)| contestant), "tables": TABLES},
        })
    }

    #[test]
    fn a_plot_shows_every_ratio_and_where_it_comes_from() {
        let picture = draw(&results(7, 0.4)).expect("ratios");
        assert_eq!(picture.matches(">1.26</text>").count(), 3 * ROWS.len(), "{picture}");
        assert_eq!(picture.matches(">0.76</text>").count(), 3 * ROWS.len(), "{picture}");
        let due = "Medians of 7 rounds of 1.5 s, 2026-01-02: 4 cores of A &lt;CPU&gt;, Linux 6.18; HAProxy 2.6.12, nginx \
                   1.22.1, pfxhttp-broker 0.1.0.";
        assert!(picture.contains(due), "{picture}");
        assert!(!picture.contains("Not a whole run"), "{picture}");
    }

    #[test]
    fn a_plot_says_what_makes_its_run_less_than_whole() {
        for (results, due) in [
            (results(2, 0.0), "Not a whole run of make bench: fewer than 7 rounds<"),
            (results(7, 30.0), "Not a whole run of make bench: other processes were at work<"),
        ] {
            let picture = draw(&results).expect("ratios");
            assert!(picture.contains(due), "{picture}");
        }
        let mut alone = results(7, 0.0);
        alone["lookups"]["summary"].as_array_mut().expect("cells").clear();
        assert!(draw(&alone).is_err());
    }
}
