//! A password login: the request to the API, and its answer.

use hyper::Method;

use super::{Decision, LoginEntry, Transport, answer, nauthilus, request};
use crate::http::{Reply, Request, compress};
use crate::lookup::RequestContext;
use crate::lookup::request::{REQUEST_ID, request_id};
use crate::lookup::template::shown;
use crate::model::brief::{brief, on_one_line};
use crate::model::secret::Secret;
use crate::model::{Deadline, Failure, Login};
use crate::observe::explain;
use crate::observe::redact::{REDACTED, Redactor};

/// Bytes of a body before whose reading other tasks have a turn.
const LONG_BODY: usize = 128 * 1024;

impl LoginEntry {
    pub(super) async fn password(
        &self,
        login: &Login,
        context: &RequestContext<'_>,
        user: &str,
        password: &Secret,
        deadline: Deadline,
    ) -> Result<Decision, Failure> {
        let settings = &self.settings;
        let own = match settings.transport {
            Transport::Json => Vec::from([(REQUEST_ID, request_id(context))]),
            Transport::Grpc { .. } => Vec::new(),
        };
        let (body, form, deadline) = match settings.transport {
            Transport::Json => (request::body(settings, login, user, password), "as JSON", deadline),
            Transport::Grpc { timeout } => {
                let body = nauthilus::body(settings, login, context, user, password);
                (body, "by gRPC", deadline.min(Deadline::after(timeout)))
            }
        };
        let request = Request {
            method: Method::POST,
            path: self.path.clone(),
            headers: self.backend.headers(),
            own: &own,
            authorization: None,
            body,
            // A password is sent once.
            repeatable: false,
        };
        // A 401 without `Auth-Status` refuses the broker's credentials, not the user's.
        let refuses = |reply: &_| match settings.transport {
            Transport::Json => answer::refuses_our_token(settings, reply),
            Transport::Grpc { .. } => nauthilus::refuses_our_token(reply),
        };
        let ours = || Redactor::of_headers(&self.settings.request.headers);
        self.settings.upstream.note_request(|| {
            let path = shown::path(request.path.as_str());
            explain::redact(ours);
            explain::redact(|| path.redactor);
            let names = self.settings.request.headers.keys().chain(own.iter().map(|(name, _)| name));
            let names = names.map(|name| name.as_str()).collect::<Vec<_>>().join(", ");
            let behind = format!("{} ({names}), the login of {user:?} {form}", path.text);
            ["request: POST ".to_owned(), behind]
        });
        let reply = self.backend.exchange(&request, deadline, refuses).await?;
        if reply.body.len() > LONG_BODY {
            tokio::task::yield_now().await;
        }
        let theirs = || {
            let mut redactor = Redactor::default();
            redactor.add(password.expose());
            redactor
        };
        explain::note(|| {
            let said = theirs().redact(&self.said(&reply)).replace(password.expose(), REDACTED);
            format!("API: {said}")
        });
        let decision = match settings.transport {
            Transport::Json => answer::read(settings, user, &reply),
            Transport::Grpc { .. } => nauthilus::read(user, &reply),
        };
        Ok(match decision? {
            // The API may repeat the password or its credentials; the reply must not.
            Decision::Denied { reason, .. }
                if reason.contains(password.expose())
                    || theirs().matches(&reason)
                    || ours().matches(&reason) =>
            {
                Decision::denied(answer::DENIED)
            }
            // Shortened after the search: half of a secret would not be found.
            Decision::Denied { reason, .. } => Decision::denied(&one_line(&reason)),
            accepted => accepted,
        })
    }

    /// A response for `query --trace`.
    fn said(&self, reply: &Reply) -> String {
        match self.settings.transport {
            Transport::Json => self.said_in_json(reply),
            Transport::Grpc { .. } => nauthilus::said(reply),
        }
    }

    fn said_in_json(&self, reply: &Reply) -> String {
        let header =
            |name| reply.headers.get(name).map(|_| reply.headers.text(name).unwrap_or("(not ASCII)"));
        let headers = ["auth-status", "auth-user", "auth-error-code"]
            .into_iter()
            .filter_map(|name| header(name).map(|value| format!(" {name}: {value}")));
        let mut said = format!("{}{}", reply.status, headers.collect::<String>());
        if self.settings.fields.is_some() {
            let inflated = compress::inflate(reply, self.settings.request.compress_response).ok().flatten();
            said.push(' ');
            said.push_str(&explain::shown(inflated.as_deref().unwrap_or(&reply.body)));
        }
        said
    }
}

fn one_line(reason: &str) -> String {
    on_one_line(brief(reason).chars())
}
