//! One entry of `dovecot_sasl`: a login becomes a request, the response an answer.

mod settings;

pub use settings::Settings;
