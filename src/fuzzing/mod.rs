//! The fuzz targets of `fuzz/`: a function for each, which takes any bytes. It asserts what must hold for all
//! of them; a panic is a finding.
//!
//! This is built with `--cfg fuzzing` and for the tests alone. A test runs each function over its corpus
//! (`replay`). A target for what is private to a room stands in that room, in its file `fuzzing`.

mod domains;
mod frames;
mod login;
mod parts;
mod policy;
#[cfg(test)]
mod replay;
mod replies;
mod sasl;
mod socketmap;
mod stream;
mod values;

pub use crate::document::fuzzing::trees;
pub use crate::http::answers;
pub use crate::lookup::template::fuzzing::templates;
pub use crate::oidc::fuzzing::{claims, discovery, tokens};
pub use crate::settings::fuzzing::configuration;
pub use crate::shared::fuzzing::records;
pub use crate::upstream::fuzzing::retry_after;
pub use domains::domains;
pub use frames::{frames, hand_over};
pub use login::login;
pub use policy::policy;
pub use replies::replies;
pub use sasl::sasl;
pub use socketmap::socketmap;
pub use values::values;

/// A target: its name, which its corpus has, too, and its function.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: [Target; 18] = [
    ("answers", answers),
    ("claims", claims),
    ("configuration", configuration),
    ("discovery", discovery),
    ("domains", domains),
    ("frames", frames),
    ("hand_over", hand_over),
    ("login", login),
    ("policy", policy),
    ("records", records),
    ("replies", replies),
    ("retry_after", retry_after),
    ("sasl", sasl),
    ("socketmap", socketmap),
    ("templates", templates),
    ("tokens", tokens),
    ("trees", trees),
    ("values", values),
];
