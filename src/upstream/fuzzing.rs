//! The fuzz target of `Retry-After`.

use std::time::{Duration, Instant, UNIX_EPOCH};

use hyper::header::{DATE, HeaderMap, HeaderValue, RETRY_AFTER};

use super::rule::{self, Says};
use crate::http::Reply;

const LONGEST: Duration = Duration::from_secs(30);

/// The values of `Retry-After` and of `Date`, with a line feed between them.
///
/// The pause is at most 30 s. A number of seconds is that, and a time is that long after the time of the API.
pub fn retry_after(bytes: &[u8]) {
    let mut lines = bytes.splitn(2, |byte| *byte == b'\n');
    let mut value = || HeaderValue::from_bytes(lines.next().unwrap_or_default()).ok();
    let (after, date) = (value(), value());
    let pause = pause(after.as_ref(), date.as_ref());
    assert!(pause <= LONGEST, "{pause:?}");
    let text = after.as_ref().and_then(|after| after.to_str().ok()).unwrap_or_default().trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        let digits = text.trim_start_matches('0');
        let seconds = if digits.len() > 2 { 30 } else { digits.parse().unwrap_or(0).min(30) };
        assert_eq!(pause, Duration::from_secs(seconds), "{text}");
    } else if !text.contains([',', ' ']) {
        assert_eq!(pause, Duration::from_secs(1), "neither a number nor a time: {text:?}");
    }
    let mut seconds = bytes.iter().fold(0u64, |sum, byte| sum.wrapping_mul(31).wrapping_add((*byte).into()));
    // Until the year 9999, which is the last that a date can name.
    seconds %= 253_000_000_000;
    let date = |seconds| {
        let text = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(seconds));
        HeaderValue::from_str(&text).expect("a date")
    };
    let wait = seconds % 64;
    let due = Duration::from_secs(wait).min(LONGEST);
    assert_eq!(self::pause(Some(&date(seconds + wait)), Some(&date(seconds))), due, "{seconds}");
    assert_eq!(self::pause(Some(&date(seconds)), Some(&date(seconds + wait))), Duration::ZERO, "{seconds}");
}

fn pause(after: Option<&HeaderValue>, date: Option<&HeaderValue>) -> Duration {
    let mut headers = HeaderMap::new();
    after.map(|after| headers.insert(RETRY_AFTER, after.clone()));
    date.map(|date| headers.insert(DATE, date.clone()));
    let reply = Reply { at: Instant::now(), status: 429, headers: (&headers).into(), body: Vec::new() };
    match rule::says(&[200], &Ok(reply), true) {
        Says::Pause(pause) => pause,
        other => panic!("429 says {other:?}"),
    }
}
