//! The two programs as Postfix sees them: everything here talks to real processes, over real
//! sockets, with an HTTP API of the tests behind them.
//!
//! `postfix`, `restart`, `upgrade` and `example` put a private Postfix 3.7 in front (package `postfix`, and
//! root, are needed); the others speak its protocols themselves. The client is the shipped static
//! program: `make build` makes it, `PFXHTTP_CLIENT` names another. Nothing is skipped: what is
//! missing makes a test fail with a sentence that says so.

mod support;

mod actions;
mod dialogues;
mod example;
mod framing;
mod harness;
mod idle;
mod keys;
mod lifecycle;
mod malformed;
mod outcomes;
mod postfix;
mod readme;
mod restart;
mod upgrade;
