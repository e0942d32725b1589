//! `NO_PROXY`: the hosts without a proxy. The rules are those of Go's `httpproxy`. curl has one other: its
//! leading dot also stands for the name itself.
//!
//! | entry | stands for |
//! |---|---|
//! | `example.test` | that name and all below it |
//! | `.example.test`, `*.example.test` | all below it |
//! | `192.0.2.7`, `2001:db8::7`, `192.0.2.0/24` | an address, a network |
//! | any of these but a network, with `:port` behind it | the same, at that port |
//! | `*` | every host |
//!
//! Entries are separated by commas or blanks. Names are compared without case, as A-labels. A name is
//! not looked up: an address stands for a URL that holds one.

use std::net::IpAddr;

use ipnet::IpNet;
use url::{Host, Url};

pub(super) struct NoProxy(Vec<Rule>);

struct Rule {
    hosts: HostPattern,
    /// `None`: any.
    port: Option<u16>,
}

enum HostPattern {
    All,
    Network(IpNet),
    /// All names below this one; also the name itself, if so.
    Domain(String, bool),
}

impl NoProxy {
    /// The rules of `list`, and its invalid entries.
    pub(super) fn read(list: &str) -> (Self, Vec<String>) {
        let entries = list.split(|c: char| c == ',' || c.is_whitespace()).filter(|entry| !entry.is_empty());
        let (mut rules, mut invalid) = (Vec::new(), Vec::new());
        for entry in entries {
            match rule(entry) {
                Some(rule) => rules.push(rule),
                None => invalid.push(entry.to_owned()),
            }
        }
        (Self(rules), invalid)
    }

    pub(super) fn has(&self, url: &Url) -> bool {
        let port = url.port_or_known_default();
        let Some(host) = url.host() else { return false };
        self.0.iter().any(|rule| (rule.port.is_none() || rule.port == port) && rule.hosts.has(&host))
    }
}

impl HostPattern {
    fn has(&self, host: &Host<&str>) -> bool {
        let address = match host {
            Host::Domain(_) => None,
            Host::Ipv4(address) => Some(IpAddr::V4(*address)),
            Host::Ipv6(address) => Some(IpAddr::V6(*address).to_canonical()),
        };
        match (self, host) {
            (Self::All, _) => true,
            (Self::Network(network), _) => address.is_some_and(|address| network.contains(&address)),
            (Self::Domain(name, itself), Host::Domain(host)) => {
                match host.trim_end_matches('.').strip_suffix(name.as_str()) {
                    Some("") => *itself,
                    Some(below) => below.ends_with('.'),
                    None => false,
                }
            }
            (Self::Domain(..), _) => false,
        }
    }
}

fn rule(entry: &str) -> Option<Rule> {
    if entry == "*" {
        return Some(Rule { hosts: HostPattern::All, port: None });
    }
    if let Some(network) = network(entry) {
        return Some(Rule { hosts: HostPattern::Network(network), port: None });
    }
    let (host, port) = match entry.rsplit_once(':') {
        Some((host, port)) => (host, Some(port.parse().ok()?)),
        None => (entry, None),
    };
    let hosts = match network(host).filter(|_| !host.contains('/')) {
        Some(network) => HostPattern::Network(network),
        None => domain(host)?,
    };
    Some(Rule { hosts, port })
}

/// A network, or an address, in brackets or not.
fn network(text: &str) -> Option<IpNet> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse::<IpAddr>().ok().map(|address| IpNet::from(address.to_canonical()));
    address.or_else(|| text.parse::<IpNet>().ok())
}

fn domain(text: &str) -> Option<HostPattern> {
    let below = text.strip_prefix("*.").or_else(|| text.strip_prefix('.'));
    match Host::parse(below.unwrap_or(text).trim_end_matches('.')) {
        Ok(Host::Domain(name)) if is_name(&name) => Some(HostPattern::Domain(name, below.is_none())),
        _ => None,
    }
}

/// Whether it can be the name of a host, as A-labels. A URL's rules let more through.
pub(super) fn is_name(name: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    name.trim_end_matches('.').split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_direct(list: &str, url: &str) -> bool {
        let (rules, invalid) = NoProxy::read(list);
        assert!(invalid.is_empty(), "{invalid:?} of {list}");
        rules.has(&url.parse().expect("a URL"))
    }

    #[test]
    fn names() {
        for list in
            ["example.test", "EXAMPLE.test.", "a,example.test b", " example.test ,", "example.test:80"]
        {
            assert!(is_direct(list, "http://example.test/"), "{list}");
            assert!(is_direct(list, "http://api.example.test/"), "{list}");
            assert!(is_direct(list, "http://a.b.Example.Test./"), "{list}");
            assert!(!is_direct(list, "http://myexample.test/"), "{list}");
            assert!(!is_direct(list, "http://example.test.org/"), "{list}");
        }
        for list in ["*.example.test", ".example.test", "*.EXAMPLE.test:80"] {
            assert!(is_direct(list, "http://api.example.test/"), "{list}");
            assert!(is_direct(list, "http://a.b.example.test/"), "{list}");
            assert!(!is_direct(list, "http://example.test/"), "{list}: subdomains alone");
            assert!(!is_direct(list, "http://myexample.test/"), "{list}");
        }
        for list in [
            "bücher.example",
            "xn--bcher-kva.example",
            "BÜCHER.example",
            "*.example",
            "bu\u{308}cher.example",
        ] {
            assert!(is_direct(list, "http://bücher.example/"), "{list}");
            assert!(is_direct(list, "http://xn--bcher-kva.example/"), "{list}");
        }
        assert!(is_direct("*", "https://api.example.test:8443/") && is_direct("x, *", "http://192.0.2.1/"));
        assert!(!is_direct("", "http://example.test/"));
        assert!(is_direct("under_score.test", "http://under_score.test/"));
    }

    #[test]
    fn ports() {
        for (list, yes, no) in [
            ("a.test:8080", "http://a.test:8080/", "http://a.test/"),
            ("a.test:443", "https://a.test/", "http://a.test/"),
            ("192.0.2.7:8080", "http://192.0.2.7:8080/", "http://192.0.2.7/"),
            ("[2001:db8::7]:8080", "http://[2001:db8::7]:8080/", "http://[2001:db8::7]/"),
        ] {
            assert!(is_direct(list, yes), "{list}");
            assert!(!is_direct(list, no), "{list}");
        }
    }

    #[test]
    fn addresses_and_networks() {
        for (list, yes, no) in [
            ("192.0.2.7", "http://192.0.2.7:99/", "http://192.0.2.70/"),
            ("192.0.2.0/24", "http://192.0.2.200/", "http://192.0.3.1/"),
            ("2001:db8::7", "http://[2001:db8:0::7]/", "http://[2001:db8::70]/"),
            ("[2001:db8::7]", "http://[2001:db8::7]/", "http://[2001:db8::8]/"),
            ("2001:db8::/32", "http://[2001:db8:1::7]/", "http://[2001:db9::7]/"),
            ("192.0.2.7", "http://[::ffff:192.0.2.7]/", "http://192.0.2.7.example/"),
        ] {
            assert!(is_direct(list, yes), "{list}");
            assert!(!is_direct(list, no), "{list}");
        }
    }

    #[test]
    fn what_means_nothing_is_told() {
        let list = "a.test,foo*,a.*.test,192.0.2,192.0.2.0/33,192.0.2.0/24:80,a.test:http,a.test:99999,\"b.test\",http://c.test,.,*.";
        let (rules, invalid) = NoProxy::read(list);
        assert_eq!(rules.0.len(), 1);
        assert_eq!(invalid, list.split(',').skip(1).collect::<Vec<_>>());
    }
}
