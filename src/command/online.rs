//! `check --online`: whether the APIs and providers of the configuration can be used. It tries each origin, with
//! each `tls` and `proxy` of the entries that use it, each provider once, and the shared cache, all at the same
//! time. An API gets no request but its health check: `http::reach` connects and hangs up, `oidc::reach` fetches the
//! public documents of a provider.

use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::{OptionFuture, join, join_all};
use hyper::header::HeaderMap;
use url::{Position, Url};

use crate::daemon::exit::say;
use crate::http::{ConnectionSettings, Http, Reached};
use crate::model::Deadline;
use crate::model::brief::without_controls;
use crate::oidc::{ClientSettings, Needs, Oidc};
use crate::settings::Configuration;
use crate::shared::{self, SharedSettings};
use crate::upstream::settings::{HealthSettings, UpstreamSettings};

/// The time limit of the whole check.
const LIMIT: Duration = Duration::from_secs(10);
/// The longest text about one of them.
const LONGEST: usize = 600;

/// The counts of a check.
pub(super) struct Counts {
    origins: usize,
    health_checks: usize,
    providers: usize,
    /// Whether there is a shared cache.
    has_shared: bool,
    /// Origins, health checks, providers and the shared cache that cannot be used.
    pub(super) bad: usize,
    /// Warnings about providers that can be used.
    pub(super) warnings: usize,
}

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { origins, health_checks, providers, has_shared, warnings, .. } = self;
        write!(f, "origins: {origins}; providers: {providers}")?;
        if *health_checks > 0 {
            write!(f, "; health checks: {health_checks}")?;
        }
        if *has_shared {
            write!(f, "; shared cache: 1")?;
        }
        if *warnings > 0 { write!(f, "; warnings: {warnings}") } else { Ok(()) }
    }
}

/// An origin or a provider to try, and the entries that use it.
struct Goal<'c> {
    url: &'c Url,
    what: What<'c>,
    used_by: Vec<String>,
}

enum What<'c> {
    Origin(&'c ConnectionSettings),
    HealthCheck(Check<'c>),
    Provider(Needs),
}

/// A health check, with what the requests of its entry carry.
#[derive(PartialEq)]
struct Check<'c> {
    settings: &'c HealthSettings,
    connection: &'c ConnectionSettings,
    headers: &'c HeaderMap,
}

/// What is printed about one that can be used.
struct Good {
    told: String,
    warning: Option<String>,
}

impl Good {
    fn new(told: &str) -> Self {
        Self { told: told.to_owned(), warning: None }
    }
}

/// Tries all of them. Prints those that can be used on standard output, the others on standard error.
///
/// # Errors
/// The runtime cannot be started.
pub(super) fn check(config: &Configuration) -> std::io::Result<Counts> {
    let runtime = tokio::runtime::Runtime::new()?;
    let Goals { origins, checks, providers } = Goals::of(config);
    let counts = (origins.len(), checks.len(), providers.len());
    let goals: Vec<_> = origins.into_iter().chain(checks).chain(providers).collect();
    let http = Arc::new(Http::new(config.server.http.clone(), &Arc::default()));
    let oidc = Oidc::new(Arc::clone(&http));
    let deadline = Deadline::from(Instant::now(), LIMIT);
    let looks = join_all(goals.iter().map(|goal| goal.look(&http, &oidc, deadline)));
    let shared = config.server.shared.as_ref();
    let tried = OptionFuture::from(shared.map(|shared| try_out(shared, &http, deadline)));
    let (found, tried) = runtime.block_on(join(looks, tried));
    // A resolver that is dead holds up a thread for longer.
    runtime.shutdown_background();
    let (mut bad, mut warnings) = (0, 0);
    for (goal, found) in goals.iter().zip(found) {
        match found {
            Ok(good) => {
                // The reader may have closed the stream.
                drop(writeln!(std::io::stdout(), "{}", goal.line(&good.told)));
                if let Some(warning) = good.warning {
                    warnings += 1;
                    say(&[goal.line(&format!("warning: {warning}"))]);
                }
            }
            Err(why) => {
                bad += 1;
                say(&[goal.line(&why)]);
            }
        }
    }
    let (origins, health_checks, providers) = counts;
    match tried {
        Some(Ok(told)) => drop(writeln!(std::io::stdout(), "{told}")),
        Some(Err(why)) => {
            bad += 1;
            say(&[why]);
        }
        None => {}
    }
    let has_shared = shared.is_some();
    Ok(Counts { origins, health_checks, providers, has_shared, bad, warnings })
}

/// Tries the shared cache out; the line about that.
async fn try_out(settings: &SharedSettings, http: &Http, deadline: Deadline) -> Result<String, String> {
    let tried = tokio::time::timeout_at(deadline.instant().into(), shared::try_out(settings, http)).await;
    let line = |told: &str| without_controls(&format!("shared cache {}: {told}", settings.name()), LONGEST);
    match tried.unwrap_or_else(|_| Err("not reached: timed out".to_owned())) {
        Ok(()) => Ok(line("good: a record was written and read, and no command is refused")),
        Err(why) => Err(line(&why)),
    }
}

impl Goal<'_> {
    async fn look(&self, http: &Http, oidc: &Oidc, deadline: Deadline) -> Result<Good, String> {
        match &self.what {
            What::Origin(connection) => match http.host_by(self.url, connection).reach(deadline).await {
                Ok(Reached::Origin) => Ok(Good::new("reached")),
                Ok(Reached::Proxy) => {
                    Ok(Good::new("its proxy is reached, which goes no further without a request"))
                }
                Err(why) => Err(format!("not reached: {why}")),
            },
            What::HealthCheck(Check { settings, connection, headers }) => {
                let host = http.host_by(self.url, connection);
                settings.check(&host, headers, deadline).await.map(|status| Good::new(&status.to_string()))
            }
            What::Provider(needs) => {
                let found = oidc.reach(self.url, needs, deadline).await?;
                let told = match &found.told[..] {
                    [] => "good".to_owned(),
                    origins => {
                        format!("good; client_secret is not tested, it would go to {}", origins.join(", "))
                    }
                };
                let warning = found.remark.map(|remark| format!("{remark}; its tokens are accepted"));
                Ok(Good { told, warning })
            }
        }
    }

    /// One line. A query may hold a secret, and what is wrong may quote a certificate.
    fn line(&self, told: &str) -> String {
        let told = without_controls(told, LONGEST);
        let used_by = self.used_by.join(", ");
        let origin = self.url.origin().ascii_serialization();
        match &self.what {
            What::Origin(_) => format!("{origin}: {told} (used by: {used_by})"),
            What::HealthCheck(Check { settings, .. }) => {
                format!("{origin}: health check {}: {told} (used by: {used_by})", settings.path.path())
            }
            What::Provider(_) => {
                format!("provider {}: {told} (used by: {used_by})", &self.url[..Position::AfterPath])
            }
        }
    }
}

/// The origins and providers to try, in the order of the configuration.
#[derive(Default)]
struct Goals<'c> {
    origins: Vec<Goal<'c>>,
    checks: Vec<Goal<'c>>,
    providers: Vec<Goal<'c>>,
}

impl<'c> Goals<'c> {
    fn of(config: &'c Configuration) -> Self {
        let mut goals = Self::default();
        for (kind, entries) in [("map", &config.maps), ("policy", &config.policies)] {
            for entry in entries {
                let user = format!("{kind} {}", entry.name);
                goals.targets(&entry.upstream, &entry.connection, &entry.request.headers, &user);
                goals.bearer(entry.request.bearer.as_deref(), &user);
            }
        }
        for entry in &config.logins {
            let user = format!("login {}", entry.name);
            goals.targets(&entry.upstream, &entry.connection, &entry.request.headers, &user);
            goals.bearer(entry.request.bearer.as_deref(), &user);
            if let Some(tokens) = &entry.tokens {
                goals.provider(&tokens.client.configuration_uri, Needs::of_tokens(tokens), &user);
            }
        }
        goals
    }

    /// The targets of the entry `user`, and their health checks.
    fn targets(
        &mut self,
        upstream: &'c UpstreamSettings,
        connection: &'c ConnectionSettings,
        headers: &'c HeaderMap,
        user: &str,
    ) {
        for url in upstream.urls() {
            self.origin(url, connection, user);
            if let Some(settings) = &upstream.health {
                self.check(url, Check { settings, connection, headers }, user);
            }
        }
    }

    fn check(&mut self, url: &'c Url, check: Check<'c>, user: &str) {
        let is_same = |goal: &&mut Goal<'_>| {
            matches!(&goal.what, What::HealthCheck(known) if *known == check)
                && goal.url.origin() == url.origin()
        };
        match self.checks.iter_mut().find(is_same) {
            Some(goal) => goal.used_by.push(user.to_owned()),
            None => {
                let what = What::HealthCheck(check);
                self.checks.push(Goal { url, what, used_by: vec![user.to_owned()] });
            }
        }
    }

    /// Entries with another `tls` or `proxy` reach the same origin in another way.
    fn origin(&mut self, url: &'c Url, connection: &'c ConnectionSettings, user: &str) {
        let is_same = |goal: &&mut Goal<'_>| {
            matches!(goal.what, What::Origin(known) if known == connection)
                && goal.url.origin() == url.origin()
        };
        match self.origins.iter_mut().find(is_same) {
            Some(goal) => goal.used_by.push(user.to_owned()),
            None => {
                let what = What::Origin(connection);
                self.origins.push(Goal { url, what, used_by: vec![user.to_owned()] });
            }
        }
    }

    fn bearer(&mut self, client: Option<&'c ClientSettings>, user: &str) {
        if let Some(client) = client {
            self.provider(&client.configuration_uri, Needs::of_client(client), user);
        }
    }

    fn provider(&mut self, url: &'c Url, needs: Needs, user: &str) {
        let known = self.providers.iter().position(|goal| goal.url == url);
        let place = known.unwrap_or_else(|| {
            self.providers.push(Goal { url, what: What::Provider(Needs::default()), used_by: Vec::new() });
            self.providers.len() - 1
        });
        let goal = &mut self.providers[place];
        if let What::Provider(all) = &mut goal.what {
            all.add(needs);
        }
        // An entry may use one for both of its ends.
        if goal.used_by.last().is_none_or(|last| last != user) {
            goal.used_by.push(user.to_owned());
        }
    }
}
