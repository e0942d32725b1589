//! pfxhttp lets Postfix ask HTTP APIs. This library holds both programs.
//!
//! A request travels downwards through this list, the answer back up:
//!
//! | layer | files | knows |
//! |---|---|---|
//! | programs | `bin/`, [`command`], [`client`] | command lines, exit codes |
//! | connections | `listen`, `session`, [`threads`], [`ipc`] | sockets, frames, who is idle, on which thread |
//! | wire | [`proto`] | bytes of Postfix' protocols; no I/O |
//! | administrators | [`admin`], [`query`] | orders over a socket of their own |
//! | the one way in | [`broker`] | which entry a question is for |
//! | an HTTP API | [`target`], [`login`] | template, queue, reading of the answer |
//! | tokens | [`oidc`] | identity providers: ours for APIs, those of mail clients |
//! | HTTP | [`exchange`] | connections; one request, one complete answer |
//! | what is counted | [`metrics`] | series that the layers above hold; the endpoint for Prometheus |
//! | what is traced | [`otlp`] | spans, and the way to a collector |
//! | vocabulary | [`ask`], [`secret`] | question, answer, failure; imports nothing |
//!
//! `config` is seen by `command` and `broker` alone.

#[cfg(feature = "broker")]
pub mod admin;
#[cfg(feature = "broker")]
pub mod api;
pub mod ask;
mod brief;
#[cfg(feature = "broker")]
pub mod broker;
#[cfg(feature = "broker")]
pub mod cli;
#[cfg(feature = "client")]
pub mod client;
#[cfg(feature = "broker")]
pub mod command;
#[cfg(feature = "broker")]
pub mod config;
#[cfg(feature = "broker")]
mod counted;
#[cfg(feature = "broker")]
mod domain;
#[cfg(feature = "broker")]
pub mod exchange;
#[cfg(feature = "broker")]
mod hidden;
pub mod ipc;
#[cfg(feature = "broker")]
pub mod listen;
#[cfg(feature = "broker")]
pub mod login;
#[cfg(feature = "broker")]
pub mod metrics;
#[cfg(feature = "broker")]
pub mod oidc;
#[cfg(feature = "broker")]
pub mod otlp;
#[cfg(feature = "broker")]
mod outage;
#[cfg(feature = "broker")]
pub mod privilege;
pub mod proto;
#[cfg(feature = "broker")]
pub mod query;
pub mod secret;
#[cfg(feature = "broker")]
pub mod session;
#[cfg(feature = "broker")]
pub mod target;
#[cfg(feature = "broker")]
pub mod telemetry;
#[cfg(feature = "broker")]
pub mod threads;
#[cfg(feature = "broker")]
mod timer;
#[cfg(feature = "broker")]
mod trace;
#[cfg(feature = "broker")]
mod warned;
