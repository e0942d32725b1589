//! Internal hosts: this host, those of private networks, those behind carrier grade NAT. A public discovery
//! document must not send requests to them.
//!
//! Both the name and all its current addresses are checked. Limits: it may have other addresses later; behind
//! a proxy, which resolves names itself, a name counts as public.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use tokio::time::timeout;
use url::{Host, Url};

use super::{CONNECT, Http, is_loopback};

/// Domains that are not public (RFC 6761, 6762, 8375; `internal` is reserved by ICANN).
const DOMAINS: [&str; 4] = [".local", ".internal", ".localdomain", ".home.arpa"];

impl Http {
    /// Whether the host of `url` is internal, as far as is known now.
    pub(crate) async fn is_internal(&self, url: &Url) -> bool {
        let name = match url.host() {
            Some(Host::Ipv4(address)) => return is_internal_v4(address),
            Some(Host::Ipv6(address)) => return is_internal_v6(address),
            Some(Host::Domain(name)) => name.trim_end_matches('.'),
            None => return false,
        };
        if is_loopback(url) || !name.contains('.') || DOMAINS.iter().any(|domain| name.ends_with(domain)) {
            return true;
        }
        if !matches!(self.proxies.of(url), Ok(None)) {
            return false;
        }
        let found = timeout(CONNECT, self.resolver.clone().all(name)).await.unwrap_or_default();
        found.iter().any(|address| match address.ip() {
            IpAddr::V4(address) => is_internal_v4(address),
            IpAddr::V6(address) => is_internal_v6(address),
        })
    }
}

fn is_internal_v4(address: Ipv4Addr) -> bool {
    let [first, second, third, _] = address.octets();
    address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_broadcast()
        // "This network" (RFC 791): Linux takes it for loopback.
        || first == 0
        // Carrier grade NAT (RFC 6598), protocol assignments (RFC 6890).
        || (first == 100 && (64..128).contains(&second))
        || (first, second, third) == (192, 0, 0)
}

fn is_internal_v6(address: Ipv6Addr) -> bool {
    let [first, second, third, _, _, _, seventh, eighth] = address.segments();
    let v4 = |high: u16, low: u16| Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low));
    match address.segments() {
        // IPv4: mapped (RFC 4291 2.5.5) or translated (RFC 6052).
        [0, 0, 0, 0, 0, 0 | 0xffff, _, _] | [0x64, 0xff9b, 0, 0, 0, 0, _, _] => {
            // `::` and `::1` are in 0.0.0.0/8.
            is_internal_v4(v4(seventh, eighth))
        }
        // 6to4 (RFC 3056).
        [0x2002, ..] => is_internal_v4(v4(second, third)),
        // Local-use translation (RFC 8215).
        [0x64, 0xff9b, 1, ..] => true,
        // Unique-local, link-local, and what was site-local.
        _ => first & 0xfe00 == 0xfc00 || matches!(first & 0xffc0, 0xfe80 | 0xfec0),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::HttpSettings;
    use super::*;

    fn http(proxy: Option<&str>) -> Http {
        let proxy = proxy.map(|url| url.parse().expect("a URL"));
        Http::new(HttpSettings { proxy, ..HttpSettings::plain(1) }, &Arc::default())
    }

    async fn is_internal(http: &Http, host: &str) -> bool {
        http.is_internal(&format!("https://{host}/").parse().expect("a URL")).await
    }

    #[tokio::test]
    async fn an_internal_host_is_told_in_every_spelling() {
        let http = http(None);
        for internal in [
            "127.0.0.1",
            "127.9.9.9",
            "0.0.0.0",
            "0.1.2.3",
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.0.1",
            "169.254.169.254",
            "100.64.0.1",
            "100.127.255.255",
            "192.0.0.8",
            "255.255.255.255",
            "2130706433",
            "0x7f.1",
            "0177.0.0.1",
            "127.1",
            "[::]",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "[::ffff:10.0.0.1]",
            "[::10.0.0.1]",
            "[64:ff9b::10.0.0.1]",
            "[64:ff9b:1::1]",
            "[2002:a00:1::1]",
            "[fe80::1]",
            "[febf::1]",
            "[fc00::1]",
            "[fd12:3456::1]",
            "[fec0::1]",
            "localhost",
            "LOCALHOST",
            "localhost.",
            "a.localhost",
            "idp",
            "idp.",
            "idp.local",
            "metadata.google.internal",
            "localhost.localdomain",
            "idp.home.arpa.",
        ] {
            assert!(is_internal(&http, internal).await, "{internal}");
        }
        for public in [
            "192.0.2.1",
            "1.1.1.1",
            "172.15.0.1",
            "172.32.0.1",
            "100.63.0.1",
            "100.128.0.1",
            "192.169.0.1",
            "[2001:db8::1]",
            "[::ffff:1.1.1.1]",
            "[64:ff9b::1.1.1.1]",
            "[2002:101:101::1]",
            "[fe00::1]",
            // RFC 6761: no resolver knows it.
            "idp.invalid",
            "local.invalid",
        ] {
            assert!(!is_internal(&http, public).await, "{public}");
        }
    }

    #[tokio::test]
    async fn a_name_is_where_its_addresses_are() {
        let direct = http(None);
        let behind_a_proxy = http(Some("http://proxy.example:3128"));
        for (name, addresses, due) in [
            ("public.invalid", &["192.0.2.1:0", "[2001:db8::1]:0"][..], false),
            ("inside.invalid", &["10.0.0.1:0"], true),
            ("both.invalid", &["192.0.2.1:0", "[2001:db8::1]:0", "192.0.2.2:0", "[::1]:0"], true),
        ] {
            let addresses: Vec<_> = addresses.iter().map(|text| text.parse().expect("an address")).collect();
            for http in [&direct, &behind_a_proxy] {
                http.resolver.know(name, &addresses);
            }
            assert_eq!(is_internal(&direct, name).await, due, "{name}");
            assert!(!is_internal(&behind_a_proxy, name).await, "{name}: nobody here looks it up");
        }
    }
}
