//! One HTTP API as an entry of the configuration sees it: the token that it wants, how many requests run
//! at a time, and whether it works.

pub mod api;
pub(crate) mod health;
pub mod listener_context;
mod service_time;
pub mod worker_pool;
