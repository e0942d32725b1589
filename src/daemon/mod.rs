//! The daemon: its life from start to end, what administrators ask of it, its log and its rights.

pub mod admin;
pub(crate) mod exit;
pub mod log;
mod memory;
pub mod query;
pub(crate) mod reload;
pub(crate) mod run;
mod service;
mod signals;
mod status;
pub mod stored;
