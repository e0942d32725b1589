//! What an administrator sees and removes of the broker's memory: a cached answer, the delays of denied logins.

use std::net::IpAddr;

use super::Broker;
use crate::login::Penalty;
use crate::lookup::cache::CachedAnswer;
use crate::lookup::template::LookupInput;
use crate::model::Question;
use crate::wire::policy;

impl Broker {
    /// The cached answer of the map or policy service `name`: of a key, or of a policy request's attributes
    /// (`name=value`). The attributes must be those of the request, but for the ones that the cache does not
    /// tell apart.
    ///
    /// # Errors
    /// A sentence, if there is no such entry, or the words are no key of it.
    pub(crate) fn cached(&self, name: &str, words: &[String]) -> Result<Option<CachedAnswer>, String> {
        if let Some(map) = self.maps.get(name) {
            let [key] = words else { return Err(format!("the map {name:?} needs one key")) };
            return Ok(map.entry.cache.show(LookupInput::Key(key)));
        }
        let Some(service) = self.policies.get(name) else { return Err(self.keeps_nothing(name)) };
        let lines: Vec<&[u8]> = words.iter().map(String::as_bytes).collect();
        match policy::decode(&policy::request(&lines), name) {
            Ok(Some((Question::Policy { attributes, .. }, _))) => {
                Ok(service.entry.cache.show(LookupInput::Request(&attributes)))
            }
            Err(error) => Err(error.to_string()),
            Ok(_) => Err("the attributes are no policy request".to_owned()),
        }
    }

    /// The delays of denied logins, the most denials first: at most `most`, and how many there are.
    pub(crate) fn penalties(&self, most: usize) -> (Vec<Penalty>, usize) {
        self.common.penalties.list(most)
    }

    /// Forgets the denials of an address, or of all. Returns of how many addresses.
    pub(crate) fn clear_penalties(&self, address: Option<IpAddr>) -> usize {
        self.common.penalties.clear(address)
    }
}
