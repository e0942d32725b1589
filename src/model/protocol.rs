//! The protocols of Postfix that entries of the configuration are asked in.

use serde::{Deserialize, Serialize};

/// A protocol, and with it a kind of entry. Its names in serde are those of `query` on the admin socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Protocol {
    /// socketmap_table(5).
    #[serde(rename = "map")]
    Socketmap,
    /// SMTPD_POLICY_README.
    #[serde(rename = "policy")]
    Policy,
    /// Dovecot's authentication protocol.
    #[serde(rename = "sasl")]
    Sasl,
}

impl Protocol {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Socketmap, Self::Policy, Self::Sasl];

    /// The name in settings (`kind` of a listener), logs and metrics.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Socketmap => "socket_map",
            Self::Policy => "policy_service",
            Self::Sasl => "dovecot_sasl",
        }
    }

    /// The section of the configuration that holds its entries.
    #[must_use]
    pub const fn section(self) -> &'static str {
        match self {
            Self::Socketmap => "socket_maps",
            Self::Policy => "policy_services",
            Self::Sasl => "dovecot_sasl",
        }
    }
}
