//! The accepted issuers (`iss`, RFC 7519 4.1.1): that of the discovery document, or those of `issuers`.
//!
//! A provider that serves many organisations may name itself by a pattern, as Microsoft Entra's
//! common endpoint does: `https://login.example/{tenantid}/v2.0`. Each of its tokens says which
//! tenant it is from (`tid`). Anybody may have a tenant there, so those that count are listed.

use crate::model::brief::without_controls;

/// Stands in an issuer for the tenant.
pub const TENANT: &str = "{tenantid}";

/// `issuers` and `tenants`, both empty by default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Issuers {
    /// Replace the discovered issuer. [`TENANT`] stands for each of `tenants`.
    pub names: Vec<String>,
    /// The accepted `tid`.
    pub tenants: Vec<String>,
}

impl Issuers {
    /// Whether the discovered issuer applies.
    #[must_use]
    pub fn are_discovered(&self) -> bool {
        self.names.is_empty()
    }

    /// Whether `iss` is one of them, for a token of this tenant.
    pub(super) fn hold(&self, iss: &str, tenant: Option<&str>) -> bool {
        let tenant = tenant.filter(|own| self.tenants.iter().any(|known| known.eq_ignore_ascii_case(own)));
        self.names.iter().any(|name| match tenant {
            Some(tenant) => name.replace(TENANT, tenant) == iss,
            None => name == iss && !name.contains(TENANT),
        })
    }
}

pub(super) const MISSING: &str = "discovery: issuer is missing";

/// What to do about a discovered issuer that is a pattern.
pub(super) fn pattern(discovered: &str) -> Option<String> {
    is_pattern(discovered).then(|| {
        let shown = shown(discovered);
        format!(
            "discovery: its issuer {shown:?} is a pattern: set sasl_oidc_auth.issuers, and tenants for {TENANT}"
        )
    })
}

/// Whether a discovered issuer has a placeholder: no URL holds a brace, and an issuer no escaped one.
pub(super) fn is_pattern(issuer: &str) -> bool {
    let escaped = issuer.to_ascii_lowercase();
    issuer.contains(['{', '}']) || escaped.contains("%7b") || escaped.contains("%7d")
}

pub(super) fn shown(issuer: &str) -> String {
    without_controls(issuer, 200)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_one_issuer_for_each_tenant() {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let issuers = Issuers {
            names: owned(&["https://l.test/{tenantid}/v2.0", "https://own.test"]),
            tenants: owned(&["a-1", "B-2"]),
        };
        for (iss, tenant, due) in [
            ("https://l.test/a-1/v2.0", Some("a-1"), true),
            ("https://l.test/b-2/v2.0", Some("b-2"), true),
            ("https://own.test", None, true),
            ("https://own.test", Some("c-3"), true),
            ("https://own.test", Some("a-1"), true),
            ("https://l.test/a-1/v2.0", Some("b-2"), false),
            ("https://l.test/a-1/v2.0", None, false),
            ("https://l.test/c-3/v2.0", Some("c-3"), false),
            ("https://l.test/{tenantid}/v2.0", Some("{tenantid}"), false),
            ("https://l.test/{tenantid}/v2.0", None, false),
            ("https://l.test//v2.0", Some(""), false),
            ("https://l.test/a-1/v2.0/", Some("a-1"), false),
        ] {
            assert_eq!(issuers.hold(iss, tenant), due, "{iss} {tenant:?}");
        }
    }

    #[test]
    fn a_pattern_is_told_with_what_to_set() {
        assert_eq!(pattern("https://id.test/a?b%7a"), None);
        let escaped = ["https://l.test/%7Btenantid%7D/v2.0", "https://l.test/%7b", "https://l.test/%7d"];
        for issuer in ["https://l.test/{tenantid}/v2.0", "https://l.test/{tenant}"].into_iter().chain(escaped)
        {
            let told = pattern(issuer).expect("a pattern");
            assert!(told.contains("sasl_oidc_auth.issuers") && told.contains("tenants"), "{told}");
        }
    }
}
