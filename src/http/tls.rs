//! TLS: the configurations of connections to APIs, and that of the Prometheus server.
//!
//! TLS 1.2 is the minimum (RFC 9325), or 1.3 (`min_tls_version`). Certificates are verified with the system's, or
//! with `root_ca` alone if that is set (`verifier`). Files are read with the configuration, so that errors appear
//! then.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ServerConfig, SupportedProtocolVersion};

use super::verifier::CertificateVerifier;

/// A pin (RFC 7469): the SHA-256 of a SubjectPublicKeyInfo.
pub type Pin = [u8; 32];

/// The trusted certificates.
#[derive(Debug, Clone, Copy)]
pub enum Trust<'a> {
    /// The system's (on Debian the package ca-certificates), read now.
    System,
    /// The system's, read at the first handshake: a machine without TLS may have none.
    SystemLater,
    /// Only those in this PEM file: `root_ca`.
    File(&'a Path),
    /// Any certificate: `skip_verify`.
    Anything,
}

/// The certificate to present, and its key: PEM files `cert` and `key`.
#[derive(Debug, Clone, Copy)]
pub struct Identity<'a> {
    /// The certificate, followed by its chain.
    pub cert: &'a Path,
    /// PKCS#8, PKCS#1 or SEC1.
    pub key: &'a Path,
}

/// The TLS of a client.
#[derive(Debug, Clone, Copy)]
pub struct ClientOptions<'a> {
    /// Which certificates of servers are trusted.
    pub trust: Trust<'a>,
    /// What it presents to a server that asks for a certificate.
    pub identity: Option<Identity<'a>>,
    /// The public key of the server's certificate must be one of these, if there are any.
    pub pins: &'a [Pin],
    /// Without TLS 1.2.
    pub only_1_3: bool,
}

impl<'a> ClientOptions<'a> {
    /// Without a certificate and pins.
    #[must_use]
    pub fn new(trust: Trust<'a>) -> Self {
        Self { trust, identity: None, pins: &[], only_1_3: false }
    }
}

/// The file that cannot be used, and the reason. Never contains a part of a key.
#[derive(Debug)]
pub enum Error {
    /// `root_ca`.
    RootCa(String),
    /// `cert`.
    Cert(String),
    /// `key`.
    Key(String),
    /// The system's certificates, or the crypto library.
    System(String),
}

impl Identity<'_> {
    fn read(self) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), Error> {
        let chain = certificates(self.cert).map_err(Error::Cert)?;
        let key = PrivateKeyDer::from_pem_file(self.key).map_err(|error| Error::Key(error.to_string()))?;
        Ok((chain, key))
    }
}

/// Reads the files and makes the configuration of a client.
///
/// # Errors
/// The file that cannot be used.
pub fn client(options: ClientOptions<'_>) -> Result<Arc<ClientConfig>, Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions(options.only_1_3))
        .map_err(|error| Error::System(error.to_string()))?;
    let verifier = CertificateVerifier::new(options.trust, options.pins, provider)?;
    let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier));
    let config = match options.identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let (chain, key) = identity.read()?;
            builder.with_client_auth_cert(chain, key).map_err(|error| Error::Key(error.to_string()))?
        }
    };
    Ok(Arc::new(config))
}

/// The configuration of a server that presents `identity`; with `only_1_3` without TLS 1.2.
///
/// # Errors
/// The file that cannot be used.
pub fn server(identity: Identity<'_>, only_1_3: bool) -> Result<Arc<ServerConfig>, Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions(only_1_3))
        .map_err(|error| Error::System(error.to_string()))?;
    let (chain, key) = identity.read()?;
    let config = builder.with_no_client_auth().with_single_cert(chain, key);
    config.map(Arc::new).map_err(|error| Error::Key(error.to_string()))
}

fn versions(only_1_3: bool) -> &'static [&'static SupportedProtocolVersion] {
    const BOTH: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13, &rustls::version::TLS12];
    if only_1_3 { &BOTH[..1] } else { BOTH }
}

/// Reads at least one certificate.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let read = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| error.to_string())?;
    if read.is_empty() { Err("there is no certificate in it".to_owned()) } else { Ok(read) }
}
