//! The signature algorithms of JOSE (RFC 7518 3.1, RFC 8037 3.1, RFC 9864) that are supported:
//! none with a shared secret, and never `none`.

use aws_lc_rs::signature::{self, RsaEncoding, RsaParameters};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Algorithm {
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    Es512,
    EdDsa,
}

const NAMES: [(&str, Algorithm); 10] = [
    ("RS256", Algorithm::Rs256),
    ("RS384", Algorithm::Rs384),
    ("RS512", Algorithm::Rs512),
    ("PS256", Algorithm::Ps256),
    ("PS384", Algorithm::Ps384),
    ("PS512", Algorithm::Ps512),
    ("ES256", Algorithm::Es256),
    ("ES384", Algorithm::Es384),
    ("ES512", Algorithm::Es512),
    ("EdDSA", Algorithm::EdDsa),
];

impl Algorithm {
    /// Those of an RSA key, in order of preference.
    pub(super) const RSA: [Self; 6] =
        [Self::Rs256, Self::Rs384, Self::Rs512, Self::Ps256, Self::Ps384, Self::Ps512];

    /// The algorithm of this name, which is case-sensitive (RFC 7515 4.1.1).
    pub(super) fn of(name: &str) -> Option<Self> {
        // RFC 9864 gives EdDSA with this curve a name of its own.
        let name = if name == "Ed25519" { "EdDSA" } else { name };
        NAMES.into_iter().find(|(known, _)| *known == name).map(|(_, algorithm)| algorithm)
    }

    pub(super) fn name(self) -> &'static str {
        NAMES.into_iter().find(|(_, known)| *known == self).map_or("", |(name, _)| name)
    }

    /// How a signature of an RSA key is verified and made.
    pub(super) fn rsa(self) -> Option<(&'static RsaParameters, &'static dyn RsaEncoding)> {
        Some(match self {
            Self::Rs256 => (&signature::RSA_PKCS1_2048_8192_SHA256, &signature::RSA_PKCS1_SHA256),
            Self::Rs384 => (&signature::RSA_PKCS1_2048_8192_SHA384, &signature::RSA_PKCS1_SHA384),
            Self::Rs512 => (&signature::RSA_PKCS1_2048_8192_SHA512, &signature::RSA_PKCS1_SHA512),
            Self::Ps256 => (&signature::RSA_PSS_2048_8192_SHA256, &signature::RSA_PSS_SHA256),
            Self::Ps384 => (&signature::RSA_PSS_2048_8192_SHA384, &signature::RSA_PSS_SHA384),
            Self::Ps512 => (&signature::RSA_PSS_2048_8192_SHA512, &signature::RSA_PSS_SHA512),
            Self::Es256 | Self::Es384 | Self::Es512 | Self::EdDsa => return None,
        })
    }
}
