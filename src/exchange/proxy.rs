//! Which proxy stands before an origin: `server.http_client.proxy` for all of them; without it
//! what HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY say (in either case), which never counts
//! for loopback.

use std::fmt;

use hyper_util::client::proxy::matcher::Matcher;
use url::{Host, Url};

use crate::hidden::Hidden;

/// The rule.
pub(super) enum Proxies {
    /// The configuration's.
    Always(Url),
    /// The environment's.
    Environment(Box<Matcher>),
}

/// A proxy, and what it is told about us.
pub(super) struct Proxy {
    pub(super) url: String,
    /// User name and password.
    pub(super) credentials: Option<(String, String)>,
}

impl Proxy {
    /// The credentials, wherever they stand.
    pub(super) fn hidden(&self) -> Hidden {
        let mut hidden = Hidden::default();
        if let Some((user, password)) = &self.credentials {
            hidden.add_pair(&format!("{user}:{password}"));
        }
        if let Ok(url) = Url::parse(&self.url) {
            let pair = format!("{}:{}", url.username(), url.password().unwrap_or_default());
            hidden.add_pair(&pair);
            // As it is sent: without `%`. A plus sign means itself here.
            let pair = pair.replace('+', "%2B");
            for (pair, _) in url::form_urlencoded::parse(pair.replace('=', "%3D").as_bytes()) {
                hidden.add_pair(&pair);
            }
        }
        hidden
    }
}

impl fmt::Debug for Proxies {
    /// Without credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Always(_) => "Always",
            Self::Environment(_) => "Environment",
        })
    }
}

impl Proxies {
    pub(super) fn new(configured: Option<&Url>) -> Self {
        match configured {
            Some(url) => Self::Always(url.clone()),
            None => Self::Environment(Box::new(Matcher::from_env())),
        }
    }

    /// The proxy before the origin of `url`; `None`: it is asked directly.
    pub(super) fn of(&self, url: &Url) -> Option<Proxy> {
        match self {
            // reqwest takes the credentials out of the URL.
            Self::Always(proxy) => Some(Proxy { url: proxy.to_string(), credentials: None }),
            Self::Environment(_) if is_loopback(url) => None,
            Self::Environment(rules) => {
                let intercept = rules.intercept(&url.as_str().parse().ok()?)?;
                let credentials =
                    intercept.raw_auth().map(|(user, password)| (user.to_owned(), password.to_owned()));
                Some(Proxy { url: intercept.uri().to_string(), credentials })
            }
        }
    }
}

/// Whether nobody but this host can be asked under `url`.
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.to_canonical().is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy(rules: &Proxies, url: &str) -> Option<String> {
        rules.of(&url.parse().expect("a URL")).map(|proxy| proxy.url)
    }

    #[test]
    fn the_environment_never_counts_for_loopback() {
        let rules = Matcher::builder().all("http://proxy.example:3128").no("intern.example").build();
        let rules = Proxies::Environment(Box::new(rules));
        for direct in
            ["http://localhost/", "http://127.0.0.2/", "https://[::1]:8443/", "http://a.intern.example/"]
        {
            assert_eq!(proxy(&rules, direct), None, "{direct}");
        }
        assert_eq!(proxy(&rules, "https://api.example/").as_deref(), Some("http://proxy.example:3128/"));
    }

    #[test]
    fn the_configuration_counts_for_all() {
        let rules = Proxies::new(Some(&"http://proxy.example:3128".parse().expect("a URL")));
        assert_eq!(proxy(&rules, "http://127.0.0.1/").as_deref(), Some("http://proxy.example:3128/"));
    }
}
