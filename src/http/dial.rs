//! Connections for another protocol than HTTP: name, TCP and TLS are those of connections to APIs. No proxy is
//! used.

use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use url::Url;

use super::connector::Connector;
use super::settings::TlsSettings;
use super::{Http, reason};

/// Connects to one host and port.
pub(crate) struct Dial(Connector);

impl Dial {
    /// For the host and port of `url`; https means TLS, by `tls` or else by `server.tls`.
    ///
    /// # Errors
    /// The URL cannot be connected to, as a sentence.
    pub(crate) fn new(url: &Url, tls: Option<&TlsSettings>, http: &Http) -> Result<Self, String> {
        Connector::new(url, None, tls.unwrap_or(&http.settings.tls), http).map(Self)
    }

    /// Connects within 2 s.
    ///
    /// # Errors
    /// The reason, in one line.
    pub(crate) async fn open(
        &self,
    ) -> Result<impl AsyncRead + AsyncWrite + Unpin + Send + 'static + use<>, String> {
        match self.0.open().await {
            Ok(stream) => Ok(TokioIo::new(stream)),
            Err(error) => Err(reason::of(&*error, self.0.keys())),
        }
    }
}
