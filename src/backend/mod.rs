//! One HTTP API as an entry of the configuration sees it: the token that it wants, how many requests run
//! at a time, and whether it works.

pub mod api;
pub mod door;
pub mod limit;
pub(crate) mod outage;
mod service_time;
