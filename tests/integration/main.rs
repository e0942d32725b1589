//! The two programs as Postfix sees them: everything here talks to real processes, over real
//! sockets, with an HTTP API of the tests behind them.
//!
//! `postfix`, `restart`, `upgrade` and `example` put a private Postfix 3.7 in front (package
//! `postfix`, and root, are needed); `proxy` asks through a real proxy (package `tinyproxy`);
//! `exim` and `sendmail` run those programs (`make packages` unpacks them below target/);
//! `login_peers` tries real programs that log in (packages `swaks`, `curl`, `dovecot-core`),
//! `provider_peers` a real identity provider (`make provider`, which needs npm); the others speak
//! its protocols themselves; `metrics` has its numbers checked (package `prometheus`). The client is the shipped static program: `make build` makes it,
//! `PFXHTTP_CLIENT` names another. Nothing is skipped: what is missing makes a test fail with a
//! sentence that says so.

mod actions;
mod activation;
mod admin;
mod bearer;
mod bulkhead;
mod cache;
mod cache_fresh;
mod cache_memory;
mod cache_policy;
mod client_program;
mod crowd;
mod deaf;
mod dialogues;
mod drain;
mod example;
mod exim;
mod faults;
mod files;
mod framing;
mod gzip;
mod hangup;
mod harness;
mod harness_wire;
mod headers;
mod idle;
mod international;
mod keys;
mod large_answers;
mod lifecycle;
mod link;
mod local_socket;
mod log_faults;
mod login_attempts;
mod login_delay;
mod login_fields;
mod login_peers;
mod login_refusals;
mod logins;
mod logins_postfix;
mod logs;
mod malformed;
mod manuals;
mod metrics;
mod online;
mod online_providers;
mod outcome_options;
mod outcomes;
mod overload;
mod package;
mod pieces;
mod planted;
mod planted_keys;
mod pool;
mod postfix;
mod privileges;
mod provider_peers;
mod proxy;
mod query_shown;
mod readme;
mod reasons;
mod reload;
mod reload_broken;
mod reload_fixed;
mod restart;
mod secrets;
mod sendmail;
mod service_manager;
mod spellings;
mod structure;
mod support;
mod targets;
mod tls;
mod token_faults;
mod token_names;
mod tokens;
mod traces;
mod unasked;
mod unix_sockets;
mod upgrade;
mod whole_documents;
