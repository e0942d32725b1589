//! Networks in CIDR, and single addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use super::key::Key;
use super::refusal::Refusal;
use super::value::Found;

impl<'d> Key<'d> {
    /// A network in CIDR, or one address; IPv6 may stand in brackets, as in Postfix's `mynetworks`.
    pub fn network(&self) -> Found<'d, IpNet> {
        self.text().read_as(|text| network(&text))
    }
}

fn network(text: &str) -> Result<IpNet, Refusal> {
    let network = any_network(text).ok_or_else(|| {
        let refusal = Refusal::from("must be a network or an address");
        refusal.hint("as \"10.0.0.0/8\", \"192.0.2.1\" or \"2001:db8::/32\"")
    })?;
    // Addresses are compared as IPv4 if they can be.
    let mapped = match network {
        IpNet::V6(v6) => v6.addr().to_ipv4_mapped().zip(v6.prefix_len().checked_sub(96)),
        IpNet::V4(_) => None,
    };
    let mapped = mapped.and_then(|(address, prefix)| IpNet::new(address.into(), prefix).ok());
    let (message, meant) = match mapped {
        Some(mapped) => ("an IPv4 network is written as such", mapped.trunc()),
        None if network == network.trunc() => return Ok(network),
        None => ("the address has bits beyond its network", network.trunc()),
    };
    Err(Refusal::from(message).hint(format!("write \"{meant}\"")))
}

fn any_network(text: &str) -> Option<IpNet> {
    let Some((address, digits)) = text.split_once('/') else { return in_brackets(text).map(IpNet::from) };
    // A sign is none of the prefix, though it would be parsed.
    let is_prefix = digits.bytes().all(|byte| byte.is_ascii_digit());
    IpNet::new(in_brackets(address)?, digits.parse().ok().filter(|_| is_prefix)?).ok()
}

/// An address without or with brackets; `localhost` is the one name that needs no resolver, and stands for
/// IPv6 if `is_v6`.
#[must_use]
pub fn numeric(text: &str, is_v6: bool) -> Option<IpAddr> {
    if text == "localhost" {
        return Some(if is_v6 { Ipv6Addr::LOCALHOST.into() } else { Ipv4Addr::LOCALHOST.into() });
    }
    in_brackets(text)
}

/// An address; IPv6 may stand in brackets.
fn in_brackets(text: &str) -> Option<IpAddr> {
    match text.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']')?.parse().ok().map(IpAddr::V6),
        None => text.parse().ok(),
    }
}
