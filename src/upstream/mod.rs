//! The targets of an entry: which one is asked, and whether a request goes on to the next one.
//!
//! A request that was not sent at all may go to any other target. A lookup in a map may be repeated, so it also
//! moves on if its try fails after it was sent. A policy request may be counted twice by an API that sees
//! it twice, and a password is sent once: these stay where they were sent.
//!
//! All tries share one deadline. A map's try gets half of the remaining time as long as there is another target.
//! A login makes at most two connections that do not come about in time (2 s each), which leaves it half
//! of its time.

pub(crate) mod settings;

use std::sync::Arc;

use hyper::header::{HeaderMap, HeaderName};

use crate::http::{Headers, Host, Http, NoReply, Reply, Request, Stage};
use crate::model::{Deadline, Failure};
use crate::observe::explain;
use crate::observe::metrics::{Calls, Component};
use settings::UpstreamSettings;

/// How many connections of a login may fail by their time limit.
const LOGIN_CONNECTS: usize = 2;

/// The targets of one entry.
#[derive(Debug)]
pub(crate) struct Upstream {
    /// In the order in which they are asked; never empty.
    targets: Box<[Target]>,
    kind: Component,
    calls: Arc<Calls>,
}

/// One target.
#[derive(Debug)]
pub(crate) struct Target {
    host: Arc<Host>,
    /// The headers of every request; `Host` is the target's own.
    headers: Headers,
    origin: String,
}

/// The targets that a request has tried, one bit for each.
#[derive(Debug, Clone, Copy, Default)]
struct Tried(u8);

impl Tried {
    fn add(&mut self, index: usize) {
        self.0 |= 1 << index;
    }

    fn has(self, index: usize) -> bool {
        self.0 & 1 << index != 0
    }
}

impl Upstream {
    /// The targets of `settings`, for an entry of the kind `kind`. All requests have `headers`, and set
    /// `own_headers` themselves.
    pub(crate) fn new(
        settings: &UpstreamSettings,
        kind: Component,
        headers: &HeaderMap,
        own_headers: &[HeaderName],
        calls: Arc<Calls>,
        http: &Http,
    ) -> Self {
        let targets = settings.urls().map(|url| {
            let host = http.host(url);
            Target {
                headers: host.headers(headers).with_places(own_headers),
                host,
                origin: url.origin().ascii_serialization(),
            }
        });
        Self { targets: targets.collect(), kind, calls }
    }

    /// The headers of requests to the first target.
    pub(crate) fn headers(&self) -> &Headers {
        &self.targets[0].headers
    }

    /// Sends `request`, which has the headers of the first target, to the targets in their order, until one
    /// answers or the request must not go to another one. Returns the target that answered.
    pub(crate) async fn exchange(
        &self,
        request: &Request<'_>,
        deadline: Deadline,
    ) -> Result<(Reply, &Target), Failure> {
        match &*self.targets {
            // Nothing else on the way of a lookup with one target.
            [only] => match only.host.exchange(request, &self.calls, deadline).await {
                Ok(reply) => Ok((reply, only)),
                Err(no_reply) => Err(no_reply.failure),
            },
            _ => Box::pin(self.in_turn(request, deadline)).await,
        }
    }

    /// Sends `request` to `target` alone.
    pub(crate) async fn again(
        &self,
        target: &Target,
        request: &Request<'_>,
        deadline: Deadline,
    ) -> Result<Reply, Failure> {
        self.ask(target, request, deadline).await.map_err(Failure::from)
    }

    async fn ask(
        &self,
        target: &Target,
        request: &Request<'_>,
        deadline: Deadline,
    ) -> Result<Reply, NoReply> {
        let request = Request { headers: &target.headers, ..request.clone() };
        target.host.exchange(&request, &self.calls, deadline).await
    }

    async fn in_turn(&self, request: &Request<'_>, deadline: Deadline) -> Result<(Reply, &Target), Failure> {
        let (mut tried, mut late) = (Tried::default(), 0);
        let mut last = Failure::Connect;
        while let Some((index, target)) = self.next(tried) {
            tried.add(index);
            explain::note(|| format!("target: {}", target.origin));
            let no_reply = match self.ask(target, request, self.share(tried, deadline)).await {
                Ok(reply) => return Ok((reply, target)),
                Err(no_reply) => no_reply,
            };
            late += usize::from(no_reply.stage != Stage::Closed);
            let is_over = self.kind == Component::Login && late >= LOGIN_CONNECTS;
            let moves = may_move(self.kind, &no_reply) && !is_over && !deadline.remaining().is_zero();
            last = no_reply.failure;
            if !moves {
                break;
            }
        }
        Err(last)
    }

    /// The target to ask next.
    fn next(&self, tried: Tried) -> Option<(usize, &Target)> {
        self.targets.iter().enumerate().find(|(index, _)| !tried.has(*index))
    }

    /// The deadline of a try.
    fn share(&self, tried: Tried, deadline: Deadline) -> Deadline {
        match self.kind {
            Component::Map if self.next(tried).is_some() => Deadline::after(deadline.remaining() / 2),
            _ => deadline,
        }
    }
}

/// Whether a request of an entry of the kind `kind` may go to another target after this failure.
fn may_move(kind: Component, no_reply: &NoReply) -> bool {
    match no_reply.failure {
        Failure::Connect | Failure::Tls | Failure::Timeout | Failure::Protocol => {
            kind == Component::Map || !no_reply.stage.is_sent()
        }
        // What cannot be sent to one target cannot be sent to another, and a body that is too long is an answer.
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sent_stays_unless_it_is_of_a_map() {
        let all = [Stage::Closed, Stage::Unconnected, Stage::Unsent, Stage::Lost, Stage::Refused];
        for failure in [Failure::Connect, Failure::Tls, Failure::Timeout, Failure::Protocol] {
            let moves = |kind, stage| may_move(kind, &NoReply { failure: failure.clone(), stage });
            assert_eq!(all.map(|stage| moves(Component::Map, stage)), [true; 5], "{failure:?}");
            for kind in [Component::Policy, Component::Login] {
                assert_eq!(
                    all.map(|stage| moves(kind, stage)),
                    [true, true, true, false, false],
                    "{failure:?}"
                );
            }
        }
        for failure in [Failure::Malformed, Failure::Body, Failure::Provider, Failure::Overload] {
            for stage in all {
                let no_reply = NoReply { failure: failure.clone(), stage };
                assert!(!may_move(Component::Map, &no_reply), "{no_reply:?}");
            }
        }
    }
}
