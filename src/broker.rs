//! The one way in: whoever brings a question, [`Broker::ask`] answers it.
//!
//! Holds one generation of the configuration: every entry as a target, all of them over one HTTP
//! side. It finds the entry, gives the lookup its budget, and answers by itself what needs no API.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::ask::{Answer, Deadline, Failure, LONGEST_BUDGET, OnFailure, Question};
use crate::config::Config;
use crate::exchange::HttpClient;
use crate::ipc::Service;
use crate::target::Target;
use crate::target::template::Asked;

/// Every entry of the configuration, ready to be asked.
#[derive(Debug)]
pub struct Broker {
    maps: HashMap<String, Target>,
    policies: HashMap<String, Target>,
}

/// What a client is told about the lookups that it will ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// The longest budget among them; for a name without entry, the longest there is.
    pub budget: Duration,
    /// What a failure says; `None` for maps, and for a name without entry.
    pub on_failure: Option<OnFailure>,
}

impl Broker {
    /// The entries of `config`.
    ///
    /// # Errors
    /// Where the HTTP side cannot be set up.
    pub fn new(config: &Config) -> Result<Self, reqwest::Error> {
        let http = HttpClient::new()?;
        let targets = |entries: &[crate::target::Settings]| {
            entries
                .iter()
                .map(|settings| (settings.name.clone(), Target::new(settings.clone(), http.clone())))
                .collect()
        };
        Ok(Self { maps: targets(&config.maps), policies: targets(&config.policies) })
    }

    /// Answers one question. Its budget runs from `asked_at` on and is the entry's, or `left`
    /// where the one who asks has less.
    pub async fn ask(&self, question: &Question, asked_at: Instant, left: Duration) -> Answer {
        let (entries, name) = match question {
            Question::Map { name, .. } => (&self.maps, name),
            Question::Policy { name, .. } => (&self.policies, name),
        };
        let Some(target) = entries.get(name) else {
            return Answer::Failed { failure: Failure::UnknownName, on_failure: None };
        };
        let deadline = Deadline::from(asked_at, target.budget().min(left));
        match question {
            Question::Map { key, .. } => match std::str::from_utf8(key) {
                Ok("") => Answer::NotFound,
                Ok(key) => target.ask(Asked::Key(key), deadline).await,
                // With smtputf8_enable Postfix itself takes such a key for not found (dict_utf8.c).
                Err(_) => Answer::NotFound,
            },
            Question::Policy { attributes, .. } => target.ask(Asked::Request(attributes), deadline).await,
        }
    }

    /// What a client that serves `service` may count on.
    #[must_use]
    pub fn terms(&self, service: &Service) -> Terms {
        match service {
            Service::Socketmap => Terms {
                budget: self.maps.values().map(Target::budget).max().unwrap_or(LONGEST_BUDGET),
                on_failure: None,
            },
            Service::Policy { name } => {
                let target = self.policies.get(name);
                Terms {
                    budget: target.map_or(LONGEST_BUDGET, Target::budget),
                    on_failure: target.and_then(Target::on_failure).cloned(),
                }
            }
        }
    }
}
