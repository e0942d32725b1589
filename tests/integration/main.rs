//! The two programs as Postfix sees them: everything here talks to real processes, over real
//! sockets, with an HTTP API of the tests behind them.
//!
//! Tests that use these parts of `support` need packages, which `make packages`, `make provider` and
//! `make grpc-peer` install:
//!
//! * `postfix` starts a private Postfix 3.7 (package `postfix`, and root).
//! * `tinyproxy` starts a real proxy (package `tinyproxy`).
//! * `exim` and `sendmail` start those programs, unpacked below target/.
//! * `mail_clients` and `doveadm` log in with real programs (packages `swaks`, `curl`, `dovecot-core`).
//! * `oidc` starts a real identity provider (`make provider`, which needs npm).
//! * `grpc_service` starts a real gRPC service (`make grpc-peer`, which needs `python3-venv`).
//! * `metrics` has its numbers checked by promtool (package `prometheus`).
//! * `redis` starts a real redis-server (package `redis-server`).
//! * `machine` runs the commands of the documentation (root, and packages `postfix`, `python3`, `libnet-ssleay-perl`);
//!   `docs_samples` runs its sample APIs (packages `python3` and `php-cli`).
//! * `browser` starts Chromium (packages `chromium` and `chromium-driver`), for `make test-page` and `make pictures` alone.
//!
//! All other tests speak the protocols of these programs themselves. The client is the shipped static
//! program: `make build` makes it, `PFXHTTP_CLIENT` names another. No test is skipped: where a program
//! is missing, the test fails and says so.

mod admin_commands;
mod api_connect;
mod api_exchange;
mod api_faults;
mod api_tokens;
mod bare_json_answers;
mod book_identity;
mod book_reference;
mod broker_restart;
mod cache_fresh;
mod cache_memory;
mod cache_outage;
mod cache_policy;
mod check_online_apis;
mod check_online_providers;
mod client_link_faults;
mod client_terminal;
mod client_upgrade;
mod compatible_input;
mod config_dump;
mod connection_limits;
mod connection_pool;
mod credential_files;
mod delayed_ack;
mod dialogues;
mod docs_commands;
mod docs_examples;
mod docs_links;
mod docs_samples;
mod drain;
mod entry_certificates;
mod entry_connections;
mod entry_pins;
mod exim;
mod failure_reasons;
mod framing;
mod gzip_bodies;
mod hand_over;
mod hand_over_faults;
mod hand_over_postfix;
mod harness_backend;
mod harness_http;
mod harness_login_clients;
mod harness_provider;
mod idle_connections;
mod injection;
mod international_domains;
mod key_as_json;
mod large_answers;
mod layers;
mod lifecycle;
mod local_socket;
mod log_faults;
mod log_reader_gone;
mod login_attempts;
mod login_delay;
mod login_dialogue;
mod login_grpc;
mod login_grpc_faults;
mod login_grpc_fields;
mod login_grpc_frames;
mod login_grpc_postfix;
mod login_grpc_tls;
mod login_json_fields;
mod login_refusals;
mod login_token_faults;
mod login_token_names;
mod login_tokens;
mod logins;
mod logins_postfix;
mod logins_postfix_tokens;
mod logs;
mod malformed_input;
mod manuals;
mod map_outcomes;
mod master_cf_example;
mod metrics;
mod otlp_export;
mod outcome_options;
mod overload;
mod package;
mod peer_hangup;
mod pictures;
mod policy_actions;
mod postfix;
mod postfix_command;
mod privileges;
mod proxy;
mod query_answers;
mod query_input;
mod query_output;
mod reload;
mod reload_effects;
mod reload_refused;
mod request_headers;
mod secrets_in_every_key;
mod secrets_in_output;
mod secrets_known_keys;
mod sendmail;
mod service_manager;
mod shared_cache;
mod shared_cache_counts;
mod shared_cache_faults;
mod shared_cache_ledger;
mod shared_cache_load;
mod shared_cache_logins;
mod shared_cache_purges;
mod shared_cache_records;
mod shared_cache_servers;
mod shared_cache_writers;
mod short_connections;
mod socket_activation;
mod status_browser;
mod status_failing;
mod status_numbers;
mod status_page;
mod status_terminal;
mod support;
mod target_balance;
mod target_choice;
mod target_faults;
mod target_health;
mod target_logins;
mod target_outage;
mod target_reload;
mod target_templates;
mod targets;
mod targets_postfix;
mod tls;
mod unix_sockets_of_root;
mod unsolicited_answers;
mod worker_pool;
