//! `check --online`: whether what the configuration names is there. Each origin and each provider
//! once, all of them at the same time, and no API is asked anything: `exchange::reach` connects and
//! hangs up, `oidc::reach` fetches what a provider tells everybody.

use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use url::{Position, Url};

use crate::ask::Deadline;
use crate::config::Config;
use crate::exchange::{Http, Reached};
use crate::oidc::{ClientSettings, Endpoint, Oidc};

/// All of it is over by then.
const LIMIT: Duration = Duration::from_secs(10);
/// The longest that is told of one.
const LONGEST: usize = 600;

/// How many were looked for, and how many of them are not there.
pub(super) struct Counts {
    origins: usize,
    providers: usize,
    /// Origins and providers that cannot be used.
    pub(super) bad: usize,
}

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { origins, providers, bad } = self;
        write!(f, "origins: {origins}; providers: {providers}")?;
        if *bad > 0 { write!(f, "; not good: {bad}") } else { Ok(()) }
    }
}

/// What is looked for, and for whom.
struct Goal<'c> {
    url: &'c Url,
    what: What,
    used_by: Vec<String>,
}

enum What {
    Origin,
    /// With the endpoints that are needed.
    Provider(Vec<Endpoint>),
}

/// Looks for everything, and says of each whether it is there: what is, on standard output, what is
/// not, on standard error.
///
/// # Errors
/// Where there is no runtime.
pub(super) fn check(config: &Config) -> std::io::Result<Counts> {
    let runtime = tokio::runtime::Runtime::new()?;
    let Goals { origins, providers } = Goals::of(config);
    let counts = (origins.len(), providers.len());
    let goals: Vec<_> = origins.into_iter().chain(providers).collect();
    let http = Arc::new(Http::new(config.server.http.clone(), &Arc::default()));
    let oidc = Oidc::new(Arc::clone(&http));
    let deadline = Deadline::from(Instant::now(), LIMIT);
    let found = runtime.block_on(join_all(goals.iter().map(|goal| goal.look(&http, &oidc, deadline))));
    // A resolver that is dead holds up a thread for longer.
    runtime.shutdown_background();
    let mut bad = 0;
    for (goal, found) in goals.iter().zip(found) {
        match found {
            // Whoever reads there may be gone.
            Ok(good) => drop(writeln!(std::io::stdout(), "{}", goal.line(good))),
            Err(why) => {
                bad += 1;
                super::say(&[goal.line(&why)]);
            }
        }
    }
    Ok(Counts { origins: counts.0, providers: counts.1, bad })
}

impl Goal<'_> {
    async fn look(&self, http: &Http, oidc: &Oidc, deadline: Deadline) -> Result<&'static str, String> {
        match &self.what {
            What::Origin => {
                let host = http.host(self.url).map_err(|_| "not reached: its proxy cannot be used")?;
                match host.reach(deadline).await {
                    Ok(Reached::Origin) => Ok("reached"),
                    Ok(Reached::Proxy) => Ok("its proxy is reached, which goes no further without a request"),
                    Err(why) => Err(format!("not reached: {why}")),
                }
            }
            What::Provider(endpoints) => oidc.reach(self.url, endpoints, deadline).await.map(|()| "good"),
        }
    }

    /// One line. A query may hold a secret, and what is wrong may quote a certificate.
    fn line(&self, told: &str) -> String {
        let told: String = told.chars().filter(|c| !c.is_control()).take(LONGEST).collect();
        let used_by = self.used_by.join(", ");
        match self.what {
            What::Origin => {
                format!("{}: {told} (used by: {used_by})", self.url.origin().ascii_serialization())
            }
            What::Provider(_) => {
                format!("provider {}: {told} (used by: {used_by})", &self.url[..Position::AfterPath])
            }
        }
    }
}

/// What there is to look for, in the order of the configuration.
#[derive(Default)]
struct Goals<'c> {
    origins: Vec<Goal<'c>>,
    providers: Vec<Goal<'c>>,
}

impl<'c> Goals<'c> {
    fn of(config: &'c Config) -> Self {
        let mut goals = Self::default();
        for (kind, entries) in [("map", &config.maps), ("policy", &config.policies)] {
            for entry in entries {
                let user = format!("{kind} {}", entry.name);
                goals.origin(&entry.url, &user);
                goals.bearer(entry.bearer.as_ref(), &user);
            }
        }
        for entry in &config.logins {
            let user = format!("login {}", entry.name);
            goals.origin(&entry.url, &user);
            goals.bearer(entry.bearer.as_ref(), &user);
            if let Some(tokens) = &entry.tokens {
                goals.provider(&tokens.client.configuration_uri, tokens.validation.endpoints(), &user);
            }
        }
        goals
    }

    fn origin(&mut self, url: &'c Url, user: &str) {
        let known = self.origins.iter_mut().find(|goal| goal.url.origin() == url.origin());
        match known {
            Some(goal) => goal.used_by.push(user.to_owned()),
            None => self.origins.push(Goal { url, what: What::Origin, used_by: vec![user.to_owned()] }),
        }
    }

    fn bearer(&mut self, client: Option<&'c ClientSettings>, user: &str) {
        if let Some(client) = client {
            self.provider(&client.configuration_uri, &[Endpoint::Token], user);
        }
    }

    fn provider(&mut self, url: &'c Url, needed: &[Endpoint], user: &str) {
        let known = self.providers.iter().position(|goal| goal.url == url);
        let place = known.unwrap_or_else(|| {
            self.providers.push(Goal { url, what: What::Provider(Vec::new()), used_by: Vec::new() });
            self.providers.len() - 1
        });
        let goal = &mut self.providers[place];
        if let What::Provider(endpoints) = &mut goal.what {
            let others = needed.iter().filter(|endpoint| !endpoints.contains(endpoint));
            let others: Vec<_> = others.copied().collect();
            endpoints.extend(others);
        }
        // An entry may use one for both of its ends.
        if goal.used_by.last().is_none_or(|last| last != user) {
            goal.used_by.push(user.to_owned());
        }
    }
}
