//! `tls` and `proxy` of an entry, over `server.tls` and `server.http_client.proxy`.
//!
//! They are for the entry's API alone: identity providers and the collector have those of `server`.

use std::fmt;

use aws_lc_rs::digest::{Context, SHA256};
use url::Url;

use super::tls::{self, TlsSettings};
use super::{proxy_url, shown};
use crate::document::{Key, Section, no_effect};

/// The value of `proxy` for a direct connection.
const DIRECT: &str = "none";

/// How an entry connects to its API.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConnectionSettings {
    /// `tls`; `None`: `server.tls`.
    pub tls: Option<Box<TlsSettings>>,
    /// `proxy`; `None`: `server.http_client.proxy`, or what the environment says.
    pub proxy: Option<EntryProxy>,
    /// `transport`.
    pub protocol: Protocol,
}

/// What is spoken on connections to an API.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// gRPC, over HTTP/2 alone.
    Grpc,
}

/// `proxy` of an entry.
#[derive(Clone, PartialEq, Eq)]
pub enum EntryProxy {
    /// `none`: a direct connection, whatever `server` and the environment say.
    Direct,
    /// Through this proxy.
    Url(Box<Url>),
}

impl fmt::Debug for EntryProxy {
    /// Without the credentials for a proxy.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Direct => f.write_str("Direct"),
            Self::Url(url) => f.debug_tuple("Url").field(&url.host_str()).finish(),
        }
    }
}

impl ConnectionSettings {
    /// The same for equal settings, so that these share connections, and no others do. Zero: those of `server`.
    pub(in crate::http) fn id(&self) -> [u8; 32] {
        let mut id = [0; 32];
        if *self == Self::default() {
            return id;
        }
        let proxy = match &self.proxy {
            None => "",
            Some(EntryProxy::Direct) => DIRECT,
            Some(EntryProxy::Url(url)) => url.as_str(),
        };
        let mut hash = Context::new(&SHA256);
        hash.update(&[u8::from(self.tls.is_some()), u8::from(self.protocol == Protocol::Grpc)]);
        hash.update(&self.tls.as_ref().map(|tls| tls.inputs).unwrap_or_default());
        hash.update(proxy.as_bytes());
        id.copy_from_slice(hash.finish().as_ref());
        id
    }
}

/// Reads `tls` and `proxy` of an entry, whose target is `url`.
pub(crate) fn connection(entry: &Section<'_>, url: Option<&Url>) -> Option<ConnectionSettings> {
    let proxy = proxy(entry);
    Some(ConnectionSettings {
        proxy,
        tls: tls::of_entry(entry, url)?.map(Box::new),
        protocol: Protocol::Http1,
    })
}

/// Reads `proxy` of an entry that has `transport: grpc`, and `grpc.tls`, which is `block`.
pub(crate) fn grpc_connection(entry: &Section<'_>, block: &Section<'_>) -> Option<ConnectionSettings> {
    let (proxy, own) = (proxy(entry), entry.key("tls"));
    tls::of_entry(&entry.without_effect(), None);
    no_effect(Some(own).filter(Key::is_own), "with `transport: grpc`, which has `grpc.tls`");
    let tls = tls::of_grpc(block)?.map(Box::new);
    if tls.is_none() && matches!(proxy, Some(EntryProxy::Url(_))) {
        let told = entry.key("proxy").error("gRPC through a proxy needs TLS");
        told.hint("set `grpc.tls.enabled: true`");
    }
    Some(ConnectionSettings { proxy, tls, protocol: Protocol::Grpc })
}

fn proxy(entry: &Section<'_>) -> Option<EntryProxy> {
    let key = entry.key("proxy");
    let text = key.text().shown(|text| if text == DIRECT { text.clone() } else { shown(text) });
    match text.get()?.as_str() {
        "" => None,
        DIRECT => Some(EntryProxy::Direct),
        text => proxy_url(&key, text).map(|url| EntryProxy::Url(Box::new(url))),
    }
}
