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
pub mod backend;
#[cfg(feature = "broker")]
pub mod broker;
#[cfg(feature = "client")]
pub mod client;
#[cfg(feature = "broker")]
pub mod command;
#[cfg(feature = "broker")]
pub mod daemon;
#[cfg(feature = "broker")]
pub mod document;
#[cfg(feature = "broker")]
pub mod export;
#[cfg(feature = "broker")]
pub mod http;
#[cfg(feature = "broker")]
pub mod login;
#[cfg(feature = "broker")]
pub mod lookup;
pub mod model;
#[cfg(feature = "broker")]
pub mod observe;
#[cfg(feature = "broker")]
pub mod oidc;
#[cfg(feature = "broker")]
pub mod server;
#[cfg(feature = "broker")]
pub mod settings;
pub mod wire;
