//! The largest answers are read in time linear to their size, so that no thread is busy with one for
//! long.

use std::time::{Duration, Instant};

use crate::support::alone;
use crate::support::backend::{Backend, Reply};
use crate::support::setup::Setup;

/// Answers that an earlier reader took quadratic time for: per list element, or per level of nesting.
fn answers() -> Vec<(&'static str, String, &'static str)> {
    let lists = ["[1]"; 250_000].join(",");
    let (open, close) = ("{\"a\":".repeat(60), "}".repeat(60));
    let numbers = ["1"; 500_000].join(",");
    vec![
        ("a list of lists", format!("{{\"value\":[{lists}]}}"), "PERM value too long: 500002"),
        ("a deep object", format!("{open}[{numbers}]{close}"), "NOTFOUND "),
        ("lists alone", format!("{{\"value\":[{}]}}", ["[]"; 250_000].join(",")), "PERM unexpected value"),
    ]
}

#[test]
fn the_largest_answers_are_read_in_linear_time() {
    let _alone = alone();
    for (name, body, due) in answers() {
        let api = Backend::start(move |_| Reply::json(&body));
        let setup = Setup::start(|config| config.map("m", &api.url("/"), &[]));
        let start = Instant::now();
        assert_eq!(setup.map().look_up("m", "k"), due, "{name}");
        let took = start.elapsed();
        // The tested broker is not optimised. With quadratic time this took minutes, and 5 s for the
        // deep object.
        assert!(took < Duration::from_secs(3), "{name}: {took:?}");
    }
}
