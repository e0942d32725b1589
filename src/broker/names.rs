//! Unknown names: requests for entries that do not exist. A peer chooses the name, so the warnings, and the
//! search for similar names with them, are limited in rate.

use tracing::warn;

use super::Broker;
use crate::document::nearest;
use crate::lookup::{Kind, LookupSettings, RequestContext};
use crate::model::brief::brief;
use crate::model::{Answer, Failure, OnFailure, Protocol};

/// How many entries are compared with a name at most. This takes some milliseconds.
const MOST_COMPARED: usize = 1000;

impl Broker {
    /// The answer to a request for an entry that does not exist. A warning is logged.
    pub(super) fn unknown(&self, protocol: Protocol, name: &str, context: &RequestContext<'_>) -> Answer {
        let (section, name) = (protocol.section(), &*brief(name));
        if self.warnings.is_due(&format!("{section} {name}")) {
            let did_you_mean = self.nearest(protocol, name);
            let source = context.source();
            warn!(name, did_you_mean, source, "there is no such entry in {section}: its requests fail");
        }
        let on_failure = self.unknown_map.clone().filter(|_| protocol == Protocol::Socketmap);
        Answer::Failed { failure: Failure::UnknownName, on_failure }
    }

    /// The names of the entries of a protocol, in their order.
    fn names(&self, protocol: Protocol) -> Vec<&str> {
        let mut names: Vec<&str> = match protocol {
            Protocol::Socketmap => self.maps.keys().map(String::as_str).collect(),
            Protocol::Policy => self.policies.keys().map(String::as_str).collect(),
            Protocol::Sasl => self.logins.keys().map(String::as_str).collect(),
        };
        names.sort_unstable();
        names
    }

    /// The entry with the most similar name.
    fn nearest(&self, protocol: Protocol, name: &str) -> Option<&str> {
        nearest(name, self.names(protocol).into_iter().take(MOST_COMPARED))
    }

    /// A sentence about an unknown name; `None` if there is such an entry.
    pub(crate) fn no_entry(&self, protocol: Protocol, name: &str) -> Option<String> {
        if self.names(protocol).contains(&name) {
            return None;
        }
        let near = did_you_mean(self.nearest(protocol, name));
        Some(format!("there is no entry {name:?} in {}{near}", protocol.section()))
    }

    /// Why no cached answers are removed for `name`.
    pub(super) fn keeps_nothing(&self, name: &str) -> String {
        match self.logins.contains_key(name) {
            true => format!("{name:?} is an entry of dovecot_sasl, and no login is ever kept"),
            false => {
                let names =
                    [Protocol::Socketmap, Protocol::Policy].map(|protocol| self.names(protocol)).concat();
                let near = nearest(name, names.into_iter().take(MOST_COMPARED));
                format!("there is no entry {name:?}{}", did_you_mean(near))
            }
        }
    }
}

fn did_you_mean(near: Option<&str>) -> String {
    near.map(|near| format!("; did you mean {near:?}?")).unwrap_or_default()
}

/// The `on_failure` of a lookup in an unknown map: TEMP if any map is for Sendmail, because PERM would
/// bounce mail there.
pub(super) fn unknown_map(maps: &[LookupSettings]) -> Option<OnFailure> {
    let is_told_temp = |map: &LookupSettings| matches!(&map.kind, Kind::Map(map) if map.perm_as_temp);
    maps.iter().any(is_told_temp).then_some(OnFailure::Temp)
}
