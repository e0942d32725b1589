//! How requests go to a host: over HTTP/1.1, or as calls of gRPC.

use std::sync::Arc;

use url::Url;

use super::broken::Broken;
use super::connections::Connections;
use super::connector::Connector;
use super::grpc::GrpcConnections;
use super::settings::EntryProxy;
use super::{ConnectionSettings, Http, Protocol, Reply, Request};
use crate::model::Deadline;
use crate::observe::metrics::ConnectionCounts;

/// How requests go to a host.
#[derive(Debug)]
pub(super) enum Transport {
    Http1(Box<Connections>),
    Grpc(Arc<GrpcConnections>),
}

impl Transport {
    /// # Errors
    /// The reason for which the proxy cannot be used.
    pub(super) fn new(url: &Url, settings: &ConnectionSettings, http: &Http) -> Result<Self, String> {
        let proxy = match &settings.proxy {
            None => http.proxies.of(url)?,
            Some(EntryProxy::Direct) => None,
            Some(EntryProxy::Url(proxy)) => Some(Url::clone(proxy)),
        };
        let tls = settings.tls.as_deref().unwrap_or(&http.settings.tls);
        // It would read the requests, and in a tunnel hyper-util does not expect a peer that speaks first.
        if settings.protocol == Protocol::Grpc && proxy.is_some() && url.scheme() == "http" {
            return Err(
                "gRPC through a proxy needs `grpc.tls.enabled`; `proxy: none` goes without one".to_owned()
            );
        }
        let connector = Connector::new(url, proxy.as_ref(), tls, http)?;
        Ok(match settings.protocol {
            Protocol::Http1 => Self::Http1(Box::new(Connections::new(connector, http))),
            Protocol::Grpc => Self::Grpc(Arc::new(GrpcConnections::new(connector, &http.metrics))),
        })
    }

    pub(super) fn counts(&self) -> ConnectionCounts {
        match self {
            Self::Http1(connections) => connections.counts(),
            Self::Grpc(connections) => connections.counts(),
        }
    }

    pub(super) fn connector(&self) -> &Connector {
        match self {
            Self::Http1(connections) => &connections.connector,
            Self::Grpc(connections) => &connections.connector,
        }
    }

    pub(super) async fn exchange(&self, request: &Request<'_>, deadline: Deadline) -> Result<Reply, Broken> {
        match self {
            Self::Http1(connections) => connections.exchange(request, deadline).await,
            Self::Grpc(connections) => Box::pin(connections.exchange(request, deadline)).await,
        }
    }
}
