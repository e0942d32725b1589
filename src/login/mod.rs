//! One entry of `dovecot_sasl`: a login becomes a request, the response an answer.
//!
//! A password goes to the entry's API, in the JSON of Nauthilus' `/api/v1/auth/json`, and the
//! answer is in the response's status and headers (`answer`), or in fields of its body (`fields`); or in a call of
//! gRPC (`nauthilus`). It is sent on a connection that is sure to be alive, not repeated but for an API that refuses
//! our own token, and kept nowhere. A token goes to `oidc`;
//! the name that logs in is the token's, and a client that claimed another one is refused.
//!
//! All of this takes at most 8 s from the line that completed the credentials. Concurrent attempts of an
//! address or a name are limited (`attempts`), and a denial is delayed (`penalty`); neither wait holds a
//! worker.

mod answer;
mod attempts;
mod fields;
mod hosts;
mod log;
mod nauthilus;
mod password;
mod penalty;
mod request;
pub mod settings;

use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use hyper::header::CONTENT_LENGTH;
use hyper::http::uri::PathAndQuery;
use tracing::{debug, warn};

use crate::backend::{Backend, BackendSettings};
use crate::http::{Http, path_of};
use crate::lookup::RequestContext;
use crate::lookup::request::REQUEST_ID;
use crate::model::domain::is_same_user;
use crate::model::secret::Secret;
use crate::model::{Answer, Credentials, Deadline, Failure, LOGIN_BUDGET, Login, Mechanism, Peer};
use crate::observe::explain;
use crate::observe::metrics::{Component, Metrics};
use crate::observe::warnings::RateLimitedWarning;
use crate::oidc::{Oidc, TokenVerdict, TokenVerifier};
use crate::upstream::Owner;
pub(crate) use penalty::{Penalties, Penalty};
pub use settings::{Fields, LoginSettings, Transport};

/// One entry, ready to be asked.
#[derive(Debug)]
pub(crate) struct LoginEntry {
    pub(crate) settings: LoginSettings,
    path: PathAndQuery,
    pub(crate) backend: Backend,
    verifier: Option<TokenVerifier>,
    penalties: Arc<Penalties>,
    /// The rate limit of log lines for logins beyond `sasl_attempts`, which are not the fault of the API.
    too_many_attempts: Mutex<RateLimitedWarning>,
    metrics: Arc<Metrics>,
}

/// The decision of an API or a token on a login.
#[derive(Debug, PartialEq, Eq)]
enum Decision {
    Accepted(String),
    /// `reason` is for the SMTP client, `detail` for the log.
    Denied {
        reason: String,
        detail: String,
    },
}

impl Decision {
    fn denied(reason: &str) -> Self {
        Self::Denied { reason: reason.to_owned(), detail: String::new() }
    }
}

impl LoginEntry {
    /// The entry of `settings`, behind what all entries share; `before` is that of the configuration before.
    pub(crate) fn new(
        settings: LoginSettings,
        http: &Http,
        oidc: &Oidc,
        penalties: &Arc<Penalties>,
        before: Option<&Self>,
    ) -> Self {
        let expected = [&[settings.status_code], &settings.denied_status[..]].concat();
        let (method, own_headers) = match settings.transport {
            Transport::Json => ("POST", &[REQUEST_ID, CONTENT_LENGTH][..]),
            Transport::Grpc { .. } => (nauthilus::METHOD, &[][..]),
        };
        let backend = BackendSettings {
            owner: Owner {
                kind: Component::Login,
                name: &settings.name,
                method,
                connection: &settings.connection,
                headers: &settings.request.headers,
                own_headers,
                timeout: settings.timeout,
                has_stand_ins: false,
                expected: &expected,
            },
            upstream: &settings.upstream,
            bearer: settings.request.bearer.as_deref(),
            workers: settings.pool.workers,
            queue: settings.pool.queue,
        };
        Self {
            backend: Backend::new(backend, http, oidc, before.map(|before| &before.backend)),
            verifier: settings.tokens.as_ref().map(|tokens| oidc.verifier(tokens)),
            penalties: Arc::clone(penalties),
            too_many_attempts: Mutex::default(),
            metrics: Arc::clone(http.metrics()),
            path: path_of(settings.upstream.url()),
            settings,
        }
    }

    /// The mechanisms on offer: those with tokens only if they can be verified.
    pub(crate) fn mechanisms(&self) -> Vec<Mechanism> {
        let tokens = self.verifier.is_some();
        Mechanism::ALL.into_iter().filter(|mechanism| tokens || !mechanism.is_oauth()).collect()
    }

    /// Asks the API or verifies the token; logs denials and failures.
    pub(crate) async fn ask(&self, login: &Login, context: &RequestContext<'_>) -> Answer {
        let deadline = Deadline::from(context.at, self.settings.timeout.min(LOGIN_BUDGET));
        let (remote, typed) = (address(&login.peer.client_ip), login.credentials.user());
        let attempt = self.penalties.begin(&self.settings, remote, typed, context.at, deadline).await;
        let attempt = match attempt {
            Ok(attempt) => attempt,
            Err(why) => return self.put_off(login, context, why),
        };
        let outcome = async {
            let _listeners_worker = context.listener.enter_or_fail(deadline).await?;
            let queued = explain::clock();
            let worker = self.backend.pool.enter_or_fail(deadline).await;
            explain::time("queue", queued);
            let _worker = worker?;
            match &login.credentials {
                Credentials::Password { user, password } => {
                    self.password(login, context, user, password, deadline).await
                }
                // Boxed, as the delay below: it is rare, and would make every login larger.
                Credentials::Token { user, token } => {
                    Box::pin(self.token(user, token, &login.peer, deadline)).await
                }
            }
        };
        match outcome.await {
            Ok(Decision::Accepted(user)) => {
                attempt.end();
                self.backend.health.end();
                self.penalties.accepted(remote, if typed.is_empty() { &user } else { typed });
                let (name, mechanism) = (self.settings.name.as_str(), login.mechanism.name());
                let remote = login.peer.client_ip.as_str();
                debug!(
                    name,
                    remote,
                    user,
                    mechanism,
                    source = context.source(),
                    session = context.session_hex(),
                    "login accepted"
                );
                Answer::Accepted { user }
            }
            Ok(Decision::Denied { reason, detail }) => {
                self.backend.health.end();
                self.log_denial(login, context, &reason, &detail);
                let delay = self.penalties.denied(&self.settings, remote, typed);
                let limit = Deadline::from(context.at, LOGIN_BUDGET).instant();
                Box::pin(attempt.hold_back(delay, limit)).await;
                Answer::Denied { reason, user: typed.to_owned() }
            }
            Err(failure) => {
                attempt.end();
                explain::note(|| format!("failed: {failure} (class {})", failure.class()));
                answer::hint(&failure).into_iter().for_each(|hint| explain::note(|| hint));
                self.log_failure(login, context, &failure);
                Answer::Failed { failure, on_failure: Some(self.settings.on_failure.clone()) }
            }
        }
    }

    async fn token(
        &self,
        claimed: &str,
        token: &Secret,
        peer: &Peer,
        deadline: Deadline,
    ) -> Result<Decision, Failure> {
        let Some(verifier) = &self.verifier else {
            // A spawned client offers the mechanisms of its command line. The token may be valid.
            warn!(
                name = self.settings.name,
                "a client offers tokens (--mechanisms), and sasl_oidc_auth of this entry is not enabled"
            );
            return Err(Failure::Provider);
        };
        explain::note(|| format!("token of {claimed:?}: verified by sasl_oidc_auth, the API is not asked"));
        let began = explain::clock();
        let verdict = verifier.verify(token, peer, self.settings.default_local_port, deadline).await;
        explain::time("token", began);
        match verdict.inspect_err(|_| verifier.explain())? {
            TokenVerdict::Account(account) if claimed.is_empty() || is_same_user(claimed, &account) => {
                Ok(Decision::Accepted(account))
            }
            TokenVerdict::Account(account) => Ok(Decision::Denied {
                reason: "invalid token".to_owned(),
                detail: format!(
                    "the token is for {account:?}; sasl_oidc_auth.account_claim says which claim names the account"
                ),
            }),
            TokenVerdict::Refused(refusal) => {
                self.metrics.tokens.theirs_refused.add();
                Ok(Decision::Denied { reason: refusal.reason.to_owned(), detail: refusal.detail })
            }
        }
    }
}

/// A remote address as clients write it: in brackets, with a zone, as in SMTP.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim().trim_start_matches('[').trim_end_matches(']');
    let text = text.strip_prefix("IPv6:").unwrap_or(text);
    text.split('%').next().unwrap_or_default().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lookup::PoolSettings;
    use crate::lookup::settings::RequestSettings;
    use crate::model::OnFailure;
    use crate::upstream::settings::UpstreamSettings;
    use std::time::Duration;

    pub(super) fn settings() -> LoginSettings {
        LoginSettings {
            name: "smtp".to_owned(),
            upstream: UpstreamSettings::one("http://127.0.0.1:1/auth"),
            connection: Default::default(),
            request: RequestSettings {
                headers: hyper::header::HeaderMap::new(),
                compress_request: false,
                compress_response: false,
                bearer: None,
            },
            timeout: LOGIN_BUDGET,
            status_code: 200,
            denied_status: Vec::new(),
            accept_bare_status: false,
            fields: None,
            on_failure: OnFailure::Auto,
            default_local_port: None,
            failure_delay: Duration::from_secs(2),
            penalty: true,
            penalty_exempt: Vec::new(),
            attempts: 8,
            tokens: None,
            pool: PoolSettings { workers: 1, queue: 1 },
            transport: Transport::Json,
        }
    }

    #[test]
    fn an_address_is_one_in_any_dress() {
        for text in ["2001:db8::1", "[2001:db8::1]", "IPv6:2001:db8::1", "2001:db8::1%eth0", " 2001:db8::1 "]
        {
            assert_eq!(address(text), "2001:db8::1".parse().ok(), "{text}");
        }
        assert_eq!(address(""), None);
    }

    #[test]
    fn the_body_holds_what_is_known() {
        let password = Secret::new("s\"\\\u{e9}".to_owned());
        let mut login = Login {
            name: "smtp".to_owned(),
            mechanism: Mechanism::Plain,
            credentials: Credentials::Password { user: "u".to_owned(), password: password.clone() },
            peer: Peer { service: "smtp".to_owned(), ..Peer::default() },
        };
        let body = |settings: &LoginSettings, login: &Login| {
            let body = request::body(settings, login, "u", &password);
            String::from_utf8(body.to_vec()).expect("UTF-8")
        };
        let mut settings = settings();
        let least = "{\"method\":\"PLAIN\",\"password\":\"s\\\"\\\\\u{e9}\",\"protocol\":\"smtp\",\"username\":\"u\"}";
        assert_eq!(body(&settings, &login), least);
        settings.default_local_port = Some(587);
        assert!(body(&settings, &login).contains("\"local_port\":\"587\""));
        login.peer = Peer {
            client_ip: "192.0.2.7".to_owned(),
            client_port: "4711".to_owned(),
            local_ip: "192.0.2.1".to_owned(),
            local_port: "465".to_owned(),
            client_id: "\"mua\"".to_owned(),
            secured: true,
            ssl_protocol: "TLSv1.3".to_owned(),
            ssl_cipher: "X".to_owned(),
            ..login.peer
        };
        assert_eq!(
            body(&settings, &login),
            "{\"client_id\":\"\\\"mua\\\"\",\"client_ip\":\"192.0.2.7\",\"client_port\":\"4711\",\
             \"local_ip\":\"192.0.2.1\",\"local_port\":\"465\",\"method\":\"PLAIN\",\
             \"password\":\"s\\\"\\\\\u{e9}\",\"protocol\":\"smtp\",\"ssl\":\"on\",\"ssl_cipher\":\"X\",\
             \"ssl_protocol\":\"TLSv1.3\",\"username\":\"u\"}"
        );
    }
}
