//! OpenID Connect: our own tokens for the APIs that are asked (RFC 6749 4.4), and the tokens that
//! mail clients log in with (RFC 7662, RFC 7519).

mod settings;

pub use settings::{Authentication, ClientSettings, PrivateKey, TokenSettings, Validation};
