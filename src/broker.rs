//! The one way in: whoever brings a question, [`Broker::ask`] answers it.
//!
//! Holds one generation of the configuration: every entry as a target, all of them over one HTTP
//! side and one cache. It finds the entry, and answers by itself what needs no API.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tracing::warn;

use crate::ask::{Answer, Failure, LOGIN_BUDGET, LONGEST_BUDGET, Mechanism, OnFailure, Question};
use crate::config::Config;
use crate::exchange::Http;
use crate::ipc::Service;
use crate::login::Logins;
use crate::oidc::Oidc;
use crate::target::cache::Cache;
use crate::target::template::Asked;
use crate::target::{Asker, Settings, Target};
use crate::warned::Warned;

/// Every entry of the configuration, ready to be asked.
#[derive(Debug)]
pub struct Broker {
    maps: HashMap<String, Arc<Target>>,
    policies: HashMap<String, Arc<Target>>,
    logins: HashMap<String, Logins>,
    /// Names without entry.
    warned: Warned,
}

/// What a client is told about the lookups that it will ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// The longest budget among them; for a name without entry, the longest there is.
    pub budget: Duration,
    /// What a failure says; `None` for maps, and for a name without entry.
    pub on_failure: Option<OnFailure>,
    /// What a login may use; empty for lookups, and for a name without entry.
    pub mechanisms: Vec<Mechanism>,
}

impl Broker {
    /// The entries of `config`.
    ///
    /// # Errors
    /// Where the HTTP side cannot be set up.
    pub fn new(config: &Config) -> Result<Self, reqwest::Error> {
        let http = Arc::new(Http::new(config.server.http.clone()));
        let oidc = Oidc::new(Arc::clone(&http));
        let cache = Cache::new(config.server.cache_bytes);
        let targets = |entries: &[Settings]| {
            let targets = entries.iter().map(|settings| {
                let target = Target::new(settings.clone(), &http, &oidc, &cache)?;
                Ok((settings.name.clone(), Arc::new(target)))
            });
            targets.collect::<Result<_, reqwest::Error>>()
        };
        let penalties = Arc::default();
        let logins = config.logins.iter().map(|settings| {
            let logins = Logins::new(settings.clone(), &http, &oidc, &penalties)?;
            Ok((settings.name.clone(), logins))
        });
        Ok(Self {
            logins: logins.collect::<Result<_, reqwest::Error>>()?,
            maps: targets(&config.maps)?,
            policies: targets(&config.policies)?,
            warned: Warned::default(),
        })
    }

    /// Answers one question.
    pub async fn ask(&self, question: &Question, asker: &Asker) -> Answer {
        match question {
            Question::Map { name, key } => match (self.maps.get(name), std::str::from_utf8(key)) {
                (None, _) => self.unknown("socket_maps", name),
                (Some(_), Ok("")) => Answer::NotFound,
                (Some(target), Ok(key)) => target.ask(Asked::Key(key), asker).await,
                // With smtputf8_enable Postfix itself takes such a key for not found (dict_utf8.c).
                (Some(_), Err(_)) => Answer::NotFound,
            },
            Question::Policy { name, attributes } => match self.policies.get(name) {
                None => self.unknown("policy_services", name),
                Some(target) => target.ask(Asked::Request(attributes), asker).await,
            },
            Question::Login(login) => match self.logins.get(&login.name) {
                None => self.unknown("dovecot_sasl", &login.name),
                Some(logins) => logins.ask(login, asker).await,
            },
        }
    }

    fn unknown(&self, section: &str, name: &str) -> Answer {
        if self.warned.is_news(name) {
            warn!(name, "there is no such entry in {section}");
        }
        Answer::Failed { failure: Failure::UnknownName, on_failure: None }
    }

    /// What logins by the entry `name` may use; nothing where there is no such entry.
    #[must_use]
    pub fn mechanisms(&self, name: &str) -> Vec<Mechanism> {
        self.logins.get(name).map(Logins::mechanisms).unwrap_or_default()
    }

    /// What a client that serves `service` may count on.
    #[must_use]
    pub fn terms(&self, service: &Service) -> Terms {
        match service {
            Service::Socketmap => Terms {
                budget: self.maps.values().map(|target| target.budget()).max().unwrap_or(LONGEST_BUDGET),
                on_failure: None,
                mechanisms: Vec::new(),
            },
            Service::Policy { name } => {
                let target = self.policies.get(name);
                Terms {
                    budget: target.map_or(LONGEST_BUDGET, |target| target.budget()),
                    on_failure: target.and_then(|target| target.on_failure()).cloned(),
                    mechanisms: Vec::new(),
                }
            }
            Service::Login { name } => Terms {
                budget: LOGIN_BUDGET,
                on_failure: self.logins.get(name).map(|logins| logins.on_failure().clone()),
                mechanisms: self.mechanisms(name),
            },
        }
    }
}
