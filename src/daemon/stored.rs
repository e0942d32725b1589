//! Requests of an administrator for the broker's memory: `cache show`, `penalty list` and `penalty clear`.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::admin::AdminReply;
use crate::broker::Broker;

/// Addresses in one reply.
const MOST_LISTED: usize = 1000;

/// A request of an administrator.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "stored", rename_all = "snake_case")]
pub enum StoredRequest {
    /// Show a cached answer.
    Cached {
        /// The entry.
        name: String,
        /// A map's key, or the attributes of a policy request.
        words: Vec<String>,
    },
    /// List the delays of denied logins.
    Penalties,
    /// Forget the denials of an address, or of all.
    ClearPenalties {
        /// The address.
        address: Option<IpAddr>,
    },
}

/// A cached answer.
#[derive(Debug, Serialize, Deserialize)]
pub struct Cached {
    /// In words.
    pub answer: String,
    /// Its age in seconds.
    pub age_s: u64,
    /// For how many seconds it is still fresh.
    pub fresh_s: u64,
    /// For how many seconds it may still be used if the API fails.
    pub outage_s: u64,
}

/// The delay of one remote address.
#[derive(Debug, Serialize, Deserialize)]
pub struct Delayed {
    /// The address; of IPv6 the /64.
    pub address: IpAddr,
    /// Its denials.
    pub denials: u32,
    /// Seconds until they are forgotten, if there is no further one.
    pub forgotten_in_s: u64,
}

pub(super) fn answer(broker: &Broker, request: &StoredRequest) -> AdminReply {
    match request {
        StoredRequest::Cached { name, words } => match broker.cached(name, words) {
            Ok(found) => AdminReply::Cached {
                cached: found.map(|found| Cached {
                    answer: super::query::in_words(&found.answer),
                    age_s: found.age.as_secs(),
                    fresh_s: found.fresh.as_secs(),
                    outage_s: found.outage.as_secs(),
                }),
            },
            Err(why) => AdminReply::Refused { why },
        },
        StoredRequest::Penalties => {
            let (listed, all) = broker.penalties(MOST_LISTED);
            let omitted = all - listed.len();
            let listed = listed.into_iter().map(|penalty| Delayed {
                address: penalty.address,
                denials: penalty.denials,
                forgotten_in_s: penalty.forgotten_in.as_secs(),
            });
            AdminReply::Penalties { listed: listed.collect(), omitted }
        }
        StoredRequest::ClearPenalties { address } => {
            let cleared = match broker.clear_penalties(*address) {
                1 => "the denials of 1 address are forgotten".to_owned(),
                count => format!("the denials of {count} addresses are forgotten"),
            };
            AdminReply::Done { what: cleared }
        }
    }
}
