//! pfxhttp lets Postfix ask HTTP APIs. This library holds both programs.
//!
//! Every directory here is a room. A room imports only the rooms that the last column names, and all of
//! them stand below it; the test `layers` holds this table against the sources. `ARCHITECTURE.md` shows the
//! way of a lookup, a login, a configuration and a reload through them.
//!
//! | room | what it is for | it imports |
//! |---|---|---|
//! | [`client`] | the program that Postfix' spawn(8) starts for each connection | wire, model |
//! | [`command`] | the broker's command line: what a user types | daemon, settings, server, broker, lookup, shared, upstream, oidc, http, wire, model |
//! | [`daemon`] | the broker as a process: start, reload, end, log, requests of administrators | settings, export, server, broker, lookup, backend, observe, wire, model |
//! | [`settings`] | the configuration: every room's settings from one document | export, server, broker, login, lookup, shared, http, observe, document |
//! | [`export`] | metrics and spans for Prometheus and an OTLP collector; the status page | http, observe, document, model |
//! | [`server`] | sockets, connections, sessions, threads | broker, lookup, backend, http, observe, document, wire, model |
//! | [`broker`] | the one way in: which entry a request is for; the generations of a reload | login, lookup, shared, backend, oidc, http, observe, document, wire, model |
//! | [`login`] | a login: request, answer, delay of denials | lookup, shared, backend, upstream, oidc, http, observe, document, model |
//! | [`lookup`] | a lookup: template, cache, request, answer | shared, backend, upstream, oidc, http, observe, document, model |
//! | [`shared`] | what several brokers share, in Redis or Valkey: answers, counts of denied logins | http, observe, document, model |
//! | [`backend`] | one API as an entry sees it: its token, its workers, its health | upstream, oidc, http, observe, model |
//! | [`upstream`] | the targets of an entry: which one is asked, and which one next | http, observe, document, model |
//! | [`oidc`] | identity providers: the broker's tokens for APIs, the tokens of mail clients | http, observe, document, model |
//! | [`http`] | connections to APIs; one request, one complete answer | observe, document, model |
//! | [`observe`] | counters, spans and warnings, for the rooms that count, trace and warn | wire, model |
//! | [`document`] | YAML, TOML or JSON and the environment as one tree that is read by a cursor | model |
//! | [`wire`] | the bytes of Postfix' protocols, and of the frames between client and broker; no I/O | model |
//! | [`model`] | request, answer, failure, account, secret | nothing |
//!
//! `fuzzing` is no room: it is built for the tests and for `fuzz/` alone, and calls all of them.

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
#[cfg(all(any(test, fuzzing), feature = "broker"))]
pub mod fuzzing;
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
#[cfg(feature = "broker")]
pub mod shared;
#[cfg(feature = "broker")]
pub mod upstream;
pub mod wire;
