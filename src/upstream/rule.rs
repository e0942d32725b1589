//! What goes to the next target, and what a try says about the target it asked.
//!
//! | event | map | policy | login |
//! |---|---|---|---|
//! | nothing was sent | next | next | next |
//! | sent, and the connection is lost | next | with `policy: sent` | ends |
//! | the time is over | next | ends | ends |
//! | 5xx, 408, 425, 429 | next | with `policy: sent`; 429 ends | ends |
//! | any other answer | ends | ends | ends |

use std::time::{Duration, SystemTime};

use hyper::header::{DATE, HeaderName, RETRY_AFTER};

use super::settings::PolicyRetry;
use crate::http::{NoReply, Reply, Stage};
use crate::model::Failure;
use crate::observe::metrics::Component;

/// The longest pause that a 429 may ask for, and the one without a time that can be read.
const LONGEST: Duration = Duration::from_secs(30);
const USUAL: Duration = Duration::from_secs(1);

/// What becomes of a request after a try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    /// It ends with this result.
    Ends,
    /// It goes on: no API has seen it.
    Moves,
    /// It goes on, if the retry budget allows it.
    Retries,
}

/// What a try says about its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Says {
    Works,
    Fails,
    /// It asks for a pause.
    Pause(Duration),
    Nothing,
}

/// Whether a status ends the request and speaks for the target.
pub(super) fn is_answer(expected: &[u16], status: u16) -> bool {
    !matches!(status, 408 | 425 | 429 | 500..) || expected.contains(&status)
}

/// What becomes of a request of the kind `kind`. `expected` are the statuses that are answers to this entry.
pub(super) fn then(
    kind: Component,
    policy: PolicyRetry,
    expected: &[u16],
    outcome: &Result<Reply, NoReply>,
) -> Then {
    let may_repeat = match kind {
        Component::Map => true,
        Component::Policy => policy == PolicyRetry::Sent,
        _ => false,
    };
    match outcome {
        Ok(reply) if is_answer(expected, reply.status) => Then::Ends,
        Ok(reply) => match reply.status {
            429 if kind == Component::Map => Then::Retries,
            429 => Then::Ends,
            _ if may_repeat => Then::Retries,
            _ => Then::Ends,
        },
        Err(NoReply { failure, stage, .. }) => match failure {
            Failure::Connect | Failure::Tls | Failure::Timeout | Failure::Protocol if !stage.is_sent() => {
                Then::Moves
            }
            Failure::Timeout if kind == Component::Map => Then::Retries,
            // A kept connection was lost, and there was no new one.
            Failure::Connect | Failure::Tls | Failure::Protocol if may_repeat => Then::Retries,
            // What cannot be sent to one target cannot be sent to another; a body that is too long is an answer.
            _ => Then::Ends,
        },
    }
}

/// What a try says about its target. `was_granted`: it had the time that a try usually has.
pub(super) fn says(expected: &[u16], outcome: &Result<Reply, NoReply>, was_granted: bool) -> Says {
    match outcome {
        Ok(reply) if is_answer(expected, reply.status) => Says::Works,
        Ok(reply) => match reply.status {
            500.. => Says::Fails,
            429 => Says::Pause(retry_after(reply)),
            _ => Says::Nothing,
        },
        Err(NoReply { failure, stage, .. }) => match failure {
            Failure::Connect | Failure::Tls | Failure::Protocol => Says::Fails,
            // If nothing was sent, it waited for a place among the connections.
            Failure::Timeout if was_granted && *stage != Stage::Unsent => Says::Fails,
            Failure::Body => Says::Works,
            _ => Says::Nothing,
        },
    }
}

/// The pause that an answer asks for (RFC 9110 10.2.3): a number of seconds, or a date, by the clock of the API if
/// the answer has its time.
fn retry_after(reply: &Reply) -> Duration {
    let text = |name: HeaderName| reply.headers.text(name.as_str());
    let date = |name| httpdate::parse_http_date(text(name)?).ok();
    // More than fits into a number is more than the longest pause.
    let number = |text: &str| Duration::from_secs(text.parse().unwrap_or(u64::MAX));
    let is_number = |text: &&str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let seconds = || text(RETRY_AFTER).filter(is_number).map(number);
    let until = || {
        let now = date(DATE).unwrap_or_else(SystemTime::now);
        // What is over asks for no pause.
        date(RETRY_AFTER).map(|until| until.duration_since(now).unwrap_or_default())
    };
    seconds().or_else(until).unwrap_or(USUAL).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    const FAILURES: [Failure; 4] = [Failure::Connect, Failure::Tls, Failure::Timeout, Failure::Protocol];
    const KINDS: [Component; 3] = [Component::Map, Component::Policy, Component::Login];

    fn reply(status: u16, retry_after: Option<&'static str>) -> Result<Reply, NoReply> {
        let headers = retry_after.into_iter().map(|value| (RETRY_AFTER, value)).collect();
        Ok(Reply { at: Instant::now(), status, headers, body: Vec::new() })
    }

    fn no_reply(failure: Failure, stage: Stage) -> Result<Reply, NoReply> {
        let (granted, took) = (Duration::from_secs(1), Duration::ZERO);
        Err(NoReply { failure, stage, reason: String::new(), granted, took })
    }

    fn each(policy: PolicyRetry, outcome: &Result<Reply, NoReply>) -> [Then; 3] {
        KINDS.map(|kind| then(kind, policy, &[200, 404], outcome))
    }

    #[test]
    fn what_was_not_sent_moves_and_what_was_sent_by_a_map_alone() {
        use Then::{Ends, Moves, Retries};
        for failure in FAILURES {
            let lost = if failure == Failure::Timeout { Ends } else { Retries };
            for stage in [Stage::Closed, Stage::Unconnected, Stage::Unsent] {
                let outcome = no_reply(failure.clone(), stage);
                assert_eq!(each(PolicyRetry::Unsent, &outcome), [Moves; 3], "{outcome:?}");
            }
            for stage in [Stage::Lost, Stage::Refused] {
                let outcome = no_reply(failure.clone(), stage);
                assert_eq!(each(PolicyRetry::Unsent, &outcome), [Retries, Ends, Ends], "{outcome:?}");
                assert_eq!(each(PolicyRetry::Sent, &outcome), [Retries, lost, Ends], "{outcome:?}");
            }
        }
        for failure in [Failure::Malformed, Failure::Body, Failure::Provider, Failure::Overload] {
            for stage in [Stage::Unsent, Stage::Refused] {
                let outcome = no_reply(failure.clone(), stage);
                assert_eq!(each(PolicyRetry::Sent, &outcome), [Ends; 3], "{outcome:?}");
            }
        }
        for status in [500, 502, 503, 504, 599, 408, 425] {
            let outcome = reply(status, None);
            assert_eq!(each(PolicyRetry::Unsent, &outcome), [Retries, Ends, Ends], "{status}");
            assert_eq!(each(PolicyRetry::Sent, &outcome), [Retries, Retries, Ends], "{status}");
        }
        assert_eq!(each(PolicyRetry::Sent, &reply(429, None)), [Retries, Ends, Ends]);
        for status in [200, 204, 301, 400, 401, 403, 404, 499] {
            assert_eq!(each(PolicyRetry::Sent, &reply(status, None)), [Ends; 3], "{status}");
        }
        assert_eq!(then(Component::Map, PolicyRetry::Sent, &[503], &reply(503, None)), Ends, "an answer");
    }

    #[test]
    fn a_try_speaks_for_its_target_or_against_it() {
        let of = |outcome: &_, was_granted| says(&[200], outcome, was_granted);
        for (status, due) in [
            (200, Says::Works),
            (401, Says::Works),
            (404, Says::Works),
            (408, Says::Nothing),
            (425, Says::Nothing),
            (500, Says::Fails),
            (503, Says::Fails),
        ] {
            assert_eq!(of(&reply(status, None), true), due, "{status}");
        }
        assert_eq!(says(&[503], &reply(503, None), true), Says::Works);
        for (text, seconds) in [
            (Some("7"), 7),
            (Some("3600"), 30),
            (Some("99999999999999999999"), 30),
            (Some("+5"), 1),
            (Some("-1"), 1),
            (Some("soon"), 1),
            (None, 1),
        ] {
            assert_eq!(of(&reply(429, text), true), Says::Pause(Duration::from_secs(seconds)), "{text:?}");
        }
        let failed = |failure, stage, was_granted| of(&no_reply(failure, stage), was_granted);
        for failure in [Failure::Connect, Failure::Tls, Failure::Protocol] {
            assert_eq!(failed(failure, Stage::Lost, false), Says::Fails);
        }
        assert_eq!(failed(Failure::Timeout, Stage::Refused, true), Says::Fails);
        assert_eq!(failed(Failure::Timeout, Stage::Refused, false), Says::Nothing, "it had little time");
        assert_eq!(failed(Failure::Timeout, Stage::Unsent, true), Says::Nothing);
        for failure in [Failure::Provider, Failure::Overload, Failure::Malformed] {
            assert_eq!(failed(failure, Stage::Refused, true), Says::Nothing);
        }
    }

    #[test]
    fn a_pause_may_end_at_a_date() {
        for (text, date, seconds) in [
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some("Sun, 06 Nov 1994 08:49:30 GMT"), 7),
            ("Sunday, 06-Nov-94 08:49:37 GMT", Some("Sun, 06 Nov 1994 08:49:30 GMT"), 7),
            ("Sun Nov  6 08:49:37 1994", Some("Sun, 06 Nov 1994 08:49:30 GMT"), 7),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some("Sun, 06 Nov 1994 08:00:00 GMT"), 30),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some("Sun, 06 Nov 1994 08:50:00 GMT"), 0),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some("today"), 0),
            ("Sun, 06 Nov 1994 08:49:37 GMT", None, 0),
            ("Fri, 31 Dec 9999 23:59:59 GMT", None, 30),
            ("Sun, 06 Nov 1994", None, 1),
            ("-7", None, 1),
        ] {
            let mut outcome = reply(429, Some(text));
            if let (Ok(reply), Some(date)) = (&mut outcome, date) {
                reply.headers = [("Retry-After", text), ("Date", date)].into_iter().collect();
            }
            assert_eq!(
                says(&[200], &outcome, true),
                Says::Pause(Duration::from_secs(seconds)),
                "{text}, {date:?}"
            );
        }
    }
}
