//! The reasons for which a token is refused.

/// Why a token is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRefusal {
    /// For the SMTP client.
    pub reason: &'static str,
    /// For the log. Never contains the token.
    pub detail: String,
}

impl TokenRefusal {
    /// Refuses the token as invalid.
    pub(super) fn invalid(detail: String) -> Self {
        Self { reason: "invalid token", detail }
    }

    /// Refuses a token without this claim.
    pub(super) fn missing(claim: &str) -> Self {
        Self::invalid(format!("it has no {claim}"))
    }
}
