//! The proxy of an origin: `server.http_client.proxy` for all origins; without it HTTP_PROXY,
//! HTTPS_PROXY, ALL_PROXY and NO_PROXY, or their names in lower case. These have no effect for loopback. The
//! rules are those of Go; ALL_PROXY, which Go does not know, is curl's.
//!
//! If a proxy cannot be used, each exchange through it fails: nothing bypasses a proxy. [`unusable`] reports
//! this when the configuration is read.

use std::fmt;

use url::{Host, Url};

use super::no_proxy::{self, NoProxy};

/// The variables, in either case.
const NAMES: [&str; 4] = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"];
/// With this variable set (CGI), HTTP_PROXY is the header `Proxy:` of a client.
const CGI: &str = "REQUEST_METHOD";

pub(super) struct Proxies {
    http: ProxyChoice,
    https: ProxyChoice,
    /// The hosts without a proxy, loopback included; `None`: all have the proxy of the configuration.
    no: Option<NoProxy>,
    /// Entries of NO_PROXY.
    invalid: Vec<UnusableProxy>,
}

/// The proxy of one scheme, with its credentials; `None`: direct connections.
type ProxyChoice = Result<Option<Url>, UnusableProxy>;

/// A variable that cannot be used, and the reason. Never contains its value, which may hold a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UnusableProxy {
    pub(crate) variable: String,
    pub(crate) why: String,
}

impl fmt::Debug for Proxies {
    /// Without credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxies").finish_non_exhaustive()
    }
}

impl Proxies {
    pub(super) fn new(configured: Option<&Url>) -> Self {
        if let Some(url) = configured {
            let choice = || Ok(Some(url.clone()));
            return Self { http: choice(), https: choice(), no: None, invalid: Vec::new() };
        }
        Self::read(|name| std::env::var_os(name).map(|text| text.to_string_lossy().into_owned()))
    }

    /// The proxy for `url`; `None`: a direct connection.
    ///
    /// # Errors
    /// The reason for which its proxy cannot be used.
    pub(super) fn of(&self, url: &Url) -> Result<Option<Url>, String> {
        if self.no.as_ref().is_some_and(|no| is_loopback(url) || no.has(url)) {
            return Ok(None);
        }
        let choice = if url.scheme() == "https" { &self.https } else { &self.http };
        choice.clone().map_err(|UnusableProxy { variable, why }| format!("{variable} {why}"))
    }

    fn read(variable: impl Fn(&str) -> Option<String>) -> Self {
        let is_cgi = variable(CGI).is_some();
        let first = |name: &str| {
            let small = name.to_lowercase();
            let names =
                if is_cgi && name == "HTTP_PROXY" { vec![small] } else { vec![name.to_owned(), small] };
            let said = |name: String| Some((variable(&name)?, name)).filter(|(text, _)| !text.is_empty());
            names.into_iter().find_map(said)
        };
        let choice = |name: &str| match first(name).or_else(|| first("ALL_PROXY")) {
            None => Ok(None),
            Some((text, variable)) => match proxy(&text) {
                Ok(url) => Ok(Some(url)),
                Err(why) => Err(UnusableProxy { variable, why }),
            },
        };
        let (list, variable) = first("NO_PROXY").unwrap_or_default();
        let (no, invalid) = NoProxy::read(&list);
        let invalid = invalid.into_iter().map(|entry| UnusableProxy {
            variable: variable.clone(),
            why: format!("has an entry that is no name, address or network, and has no effect: {entry}"),
        });
        Self {
            http: choice("HTTP_PROXY"),
            https: choice("HTTPS_PROXY"),
            no: Some(no),
            invalid: invalid.collect(),
        }
    }
}

/// Whether the variable `name` is read here.
pub(crate) fn is_read(name: &str) -> bool {
    name == CGI || NAMES.iter().any(|known| *known == name || known.to_lowercase() == name)
}

pub(crate) fn unusable(variable: impl Fn(&str) -> Option<String>) -> Vec<UnusableProxy> {
    let Proxies { http, https, invalid, .. } = Proxies::read(variable);
    let mut unusable: Vec<_> = [http, https].into_iter().filter_map(Result::err).collect();
    for unusable in &mut unusable {
        unusable.why.push_str("; what would go through it fails");
    }
    // ALL_PROXY may be used for both schemes.
    unusable.dedup();
    unusable.into_iter().chain(invalid).collect()
}

/// The proxy in the value of a variable; the scheme is http by default.
fn proxy(text: &str) -> Result<Url, String> {
    let text = text.trim();
    if text.starts_with(['"', '\'']) || text.ends_with(['"', '\'']) {
        return Err("holds quotes, which are no part of a URL".to_owned());
    }
    if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err("is no URL: it holds a blank or a control character".to_owned());
    }
    let scheme = text.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
    let with_scheme = match scheme.as_deref() {
        None => format!("http://{text}"),
        Some("http" | "https") => text.to_owned(),
        Some(socks) if socks.starts_with("socks") => {
            return Err("names a SOCKS proxy, which is not spoken here: an HTTP proxy is".to_owned());
        }
        Some(_) => return Err("is no proxy's URL, which begins with http:// or https://".to_owned()),
    };
    let mut url = Url::parse(&with_scheme).map_err(|error| format!("is no URL: {error}"))?;
    let is_host = url.host().is_some_and(|host| match host {
        Host::Domain(name) => no_proxy::is_name(name),
        Host::Ipv4(_) | Host::Ipv6(_) => true,
    });
    if !is_host || url.port() == Some(0) {
        return Err("is no proxy's URL: it needs a host, and a port that is not 0".to_owned());
    }
    url.set_path("");
    url.set_query(None);
    url.set_fragment(None);
    Ok(url)
}

/// Whether `url` names this host.
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

    type Variables<'v> = &'v [(&'v str, &'v str)];

    fn of(variables: Variables<'_>, name: &str) -> Option<String> {
        let found = variables.iter().find(|(known, _)| *known == name);
        found.map(|(_, text)| (*text).to_owned())
    }

    fn proxies(variables: Variables<'_>) -> Proxies {
        Proxies::read(|name| of(variables, name))
    }

    fn complaints_of(variables: Variables<'_>) -> Vec<(String, String)> {
        let unusable = unusable(|name| of(variables, name));
        unusable.into_iter().map(|UnusableProxy { variable, why }| (variable, why)).collect()
    }

    fn proxy_of(rules: &Proxies, url: &str) -> Option<String> {
        let proxy = rules.of(&url.parse().expect("a URL")).expect("it can be used");
        proxy.map(|proxy| proxy.to_string())
    }

    #[test]
    fn the_environment_never_counts_for_loopback() {
        let rules = proxies(&[("ALL_PROXY", "http://proxy.example:3128"), ("NO_PROXY", "*.intern.example")]);
        for direct in
            ["http://localhost/", "http://127.0.0.2/", "https://[::1]:8443/", "http://a.intern.example/"]
        {
            assert_eq!(proxy_of(&rules, direct), None, "{direct}");
        }
        assert_eq!(proxy_of(&rules, "https://api.example/").as_deref(), Some("http://proxy.example:3128/"));
    }

    #[test]
    fn the_configuration_counts_for_all() {
        let rules = Proxies::new(Some(&"http://proxy.example:3128".parse().expect("a URL")));
        assert_eq!(proxy_of(&rules, "http://127.0.0.1/").as_deref(), Some("http://proxy.example:3128/"));
    }

    #[test]
    fn each_scheme_has_its_variable_and_all_proxy_is_for_the_rest() {
        let (http, https) = ("http://api.example/", "https://api.example/");
        for (variables, due) in [
            (&[("HTTP_PROXY", "http://a")][..], [Some("http://a/"), None]),
            (&[("https_proxy", "https://b:99/x?y#z")], [None, Some("https://b:99/")]),
            (&[("HTTP_PROXY", "a:8080"), ("all_proxy", "b")], [Some("http://a:8080/"), Some("http://b/")]),
            (&[("HTTP_PROXY", ""), ("http_proxy", "http://a")], [Some("http://a/"), None]),
            (&[("HTTP_PROXY", "http://a"), ("http_proxy", "http://b")], [Some("http://a/"), None]),
            (&[("HTTP_PROXY", "http://u:p@a"), ("REQUEST_METHOD", "GET")], [None, None]),
            (&[("http_proxy", "http://u:p@a"), ("REQUEST_METHOD", "GET")], [Some("http://u:p@a/"), None]),
            (&[("HTTP_PROXY", "http://[2001:db8::1]:3128")], [Some("http://[2001:db8::1]:3128/"), None]),
            (&[], [None, None]),
        ] {
            let rules = proxies(variables);
            let got = [http, https].map(|url| proxy_of(&rules, url));
            assert_eq!(got.each_ref().map(Option::as_deref), due, "{variables:?}");
            assert_eq!(complaints_of(variables), [], "{variables:?}");
        }
    }

    #[test]
    fn what_cannot_be_used_is_told_and_never_gone_around() {
        for (text, why) in [
            ("socks5://secret@proxy.example:1080", "names a SOCKS proxy"),
            ("SOCKS5H://proxy.example", "names a SOCKS proxy"),
            ("\"http://secret@proxy.example:3128\"", "holds quotes"),
            ("'proxy.example:3128'", "holds quotes"),
            ("http://proxy.example:3128\"", "holds quotes"),
            ("http://proxy example", "blank"),
            ("ftp://proxy.example", "begins with http"),
            ("http://", "is no URL"),
            ("http://proxy.example:port", "is no URL"),
            ("http://proxy.example:0", "a port that is not 0"),
            ("http://pro\"xy.example", "it needs a host"),
        ] {
            let variables = [("ALL_PROXY", text)];
            let rules = proxies(&variables);
            for url in ["http://api.example/", "https://api.example/"] {
                let barred = rules.of(&url.parse().expect("a URL")).expect_err(text);
                assert!(barred.starts_with("ALL_PROXY ") && barred.contains(why), "{barred}");
            }
            assert_eq!(rules.of(&"http://localhost/".parse().expect("a URL")), Ok(None));
            let [(variable, told)] = &complaints_of(&variables)[..] else { panic!("{text}") };
            assert!(variable == "ALL_PROXY" && told.contains(why) && !told.contains("secret"), "{told}");
        }
        let both =
            complaints_of(&[("HTTP_PROXY", "socks5://a"), ("HTTPS_PROXY", "'b'"), ("no_proxy", "x*,y")]);
        let variables: Vec<_> = both.iter().map(|(variable, _)| variable.as_str()).collect();
        assert_eq!(variables, ["HTTP_PROXY", "HTTPS_PROXY", "no_proxy"]);
    }
}
