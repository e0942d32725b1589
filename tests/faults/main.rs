//! The fault matrix: each row plays one fault under traffic of unique keys, and three ledgers say what became of
//! each request. `row_NN_…` is the test of row NN; `rows` has the text of each row.
//!
//! ```text
//!  driver ─▶ (postfix ─▶) client or listener ─▶ broker ─▶ answers, or a fault
//!    │                                                      │
//!  asked, heard, smtp ────────▶ ledger::reconcile ◀──────── called
//! ```
//!
//! The ledgers are kept by threads of the test, which no fault touches. Rows that take longer than some seconds are
//! ignored here; `make faults` runs all of them, and writes docs/src/faults.md. `make soak` runs `soak`.

mod amplification;
mod answers;
mod api;
mod api_answers;
mod beyond;
mod driver;
mod ledger;
mod limits;
mod local_socket;
mod logins;
mod page;
mod panics;
mod postfix_side;
mod process;
mod protocol;
mod providers;
mod rig;
mod rows;
mod soak;
#[allow(dead_code, reason = "the tests of the programs use the other half of it")]
#[path = "../integration/support/mod.rs"]
mod support;
mod tls_and_dns;
