//! The status page (`prometheus_status_page`): HTML without scripts, which a browser loads again by itself.
//!
//! It shows what the command `status` shows, with charts of the last ten minutes. At most 200 entries and 50
//! listeners are shown, failing entries first. Every value is escaped (`html`), and the Content-Security-Policy
//! allows the style sheet of the page and nothing else.

mod chart;
mod html;
mod parts;

use std::sync::LazyLock;
use std::time::SystemTime;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::header::HeaderValue;

use crate::model::amount::{bytes, lasted, of};
use crate::model::status::{EntryStatus, Status};
use crate::observe::metrics::Readiness;
use html::Html;

/// The media type.
pub(super) const CONTENT_TYPE: &str = "text/html; charset=utf-8";

const STYLE: &str = include_str!("page.css");
const MOST_ENTRIES: usize = 200;
const MOST_LISTENERS: usize = 50;
/// In seconds; the first one is the default.
const REFRESH: [(&str, &str); 4] = [("5", "5 s"), ("1", "1 s"), ("30", "30 s"), ("0", "off")];

/// The Content-Security-Policy (CSP Level 3) of the page.
pub(super) static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let hash = STANDARD.encode(digest(&SHA256, STYLE.as_bytes()));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{hash}'; img-src data:; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'"
    );
    HeaderValue::from_str(&policy).unwrap_or_else(|_| HeaderValue::from_static("default-src 'none'"))
});

/// The page. `query` may set the time between two loads: `refresh=` and seconds.
pub(super) fn page(status: &Status, readiness: Readiness, query: Option<&str>, metrics: &str) -> String {
    let wanted = query.and_then(|query| query.split('&').find_map(|pair| pair.strip_prefix("refresh=")));
    let wanted = REFRESH.iter().find(|(seconds, _)| Some(*seconds) == wanted);
    let (refresh, _) = wanted.unwrap_or(&REFRESH[0]);
    let failing = status.entries.iter().filter(|entry| entry.is_failing()).count();
    let mut html = Html::document();
    html.element("html", &[("lang", "en")], |html| {
        html.element("head", &[], |html| head(html, refresh, failing));
        html.element("body", &[], |html| {
            html.element("header", &[], |html| title(html, status, readiness, failing));
            html.element("main", &[], |html| sections(html, status));
            html.element("footer", &[], |html| foot(html, refresh, metrics));
        });
    });
    html.finish()
}

fn head(html: &mut Html, refresh: &str, failing: usize) {
    html.void("meta", &[("charset", "utf-8")]);
    html.void("meta", &[("name", "viewport"), ("content", "width=device-width, initial-scale=1")]);
    html.void("meta", &[("name", "robots"), ("content", "noindex")]);
    html.void("meta", &[("name", "color-scheme"), ("content", "light dark")]);
    if refresh != "0" {
        html.void("meta", &[("http-equiv", "refresh"), ("content", refresh)]);
    }
    let title = match failing {
        0 => "pfxhttp".to_owned(),
        failing => format!("({failing}) pfxhttp"),
    };
    html.leaf("title", &[], &title);
    let colour = if failing == 0 { "%231a7f4b" } else { "%23c8323c" };
    let icon = format!(
        "data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'>\
         <circle cx='8' cy='8' r='7' fill='{colour}'/></svg>"
    );
    html.void("link", &[("rel", "icon"), ("href", &icon)]);
    html.style(STYLE);
}

fn title(html: &mut Html, status: &Status, readiness: Readiness, failing: usize) {
    html.element("div", &[("class", "title")], |html| {
        html.leaf("h1", &[], "pfxhttp");
        let all = of(status.entries.len() as u64, "entry", "entries");
        let (class, text) = match (readiness, failing) {
            (Readiness::Draining, _) => ("state bad", "stopping".to_owned()),
            (Readiness::Starting, _) => ("state warn", "starting".to_owned()),
            (Readiness::Ready, 0) => ("state good", format!("{all} ok")),
            (Readiness::Ready, failing) => ("state bad", format!("{failing} of {all} failing")),
        };
        html.leaf("p", &[("class", class)], &text);
    });
    let cache = &status.cache;
    let answers = of(cache.entries, "answer", "answers");
    let facts = [
        ("version", status.version.clone()),
        ("up", lasted(status.uptime_s)),
        ("configuration", status.generation.to_string()),
        ("connections", status.connections.to_string()),
        ("idle connections to APIs", status.idle_http_connections.to_string()),
        ("cache", format!("{answers}, {} of {}", bytes(cache.bytes), bytes(cache.max_bytes))),
    ];
    html.element("dl", &[("class", "facts")], |html| {
        for (name, value) in &facts {
            html.element("div", &[], |html| {
                html.leaf("dt", &[], name);
                html.leaf("dd", &[], value);
            });
        }
    });
    if status.reloaded == Some(false) {
        let text = "The last reload failed; the running configuration stays. The log has the reason.";
        html.leaf("p", &[("class", "note warn")], text);
    }
}

fn sections(html: &mut Html, status: &Status) {
    let mut entries: Vec<&EntryStatus> = status.entries.iter().collect();
    entries.sort_by_key(|entry| (!entry.is_failing(), entry.waiting == 0));
    section(html, "Entries", |html| {
        parts::entries(html, &entries[..entries.len().min(MOST_ENTRIES)]);
        parts::more(html, entries.len().saturating_sub(MOST_ENTRIES), "entry", "entries");
    });
    section(html, "Last failures", |html| parts::failures(html, &status.failures));
    section(html, "Listeners", |html| {
        parts::listeners(html, &status.listener[..status.listener.len().min(MOST_LISTENERS)]);
        parts::more(html, status.listener.len().saturating_sub(MOST_LISTENERS), "listener", "listeners");
    });
    if let Some(shared) = &status.shared {
        section(html, "Shared cache", |html| parts::shared(html, shared));
    }
    let tokens: Vec<&EntryStatus> = entries.into_iter().filter(|entry| entry.has_token.is_some()).collect();
    if !tokens.is_empty() {
        section(html, "Tokens for APIs", |html| parts::tokens(html, &tokens));
    }
}

fn section(html: &mut Html, title: &str, content: impl FnOnce(&mut Html)) {
    html.element("section", &[], |html| {
        html.leaf("h2", &[], title);
        content(html);
    });
}

fn foot(html: &mut Html, refresh: &str, metrics: &str) {
    html.element("p", &[], |html| {
        html.text(
            "Rates, times, and cache hits are of the last minute; charts and failures of the last ten. ",
        );
        let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
        html.leaf("time", &[("datetime", &now)], &now.replace('T', " ").replace('Z', " UTC"));
    });
    html.element("nav", &[], |html| {
        html.text("Refresh:");
        for (seconds, name) in REFRESH {
            let current = if seconds == refresh { [("aria-current", "true")].as_slice() } else { &[] };
            let link = format!("?refresh={seconds}");
            html.leaf("a", &[&[("href", link.as_str())], current].concat(), name);
        }
        html.leaf("a", &[("href", metrics), ("class", "apart")], "metrics");
    });
}
