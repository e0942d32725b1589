//! TLS towards HTTP APIs: one configuration for every connection, with or without a proxy.
//!
//! TLS 1.2 is the floor (RFC 9325). Certificates are verified against the system's, or against
//! `root_ca` alone where that is set. Files are read when the configuration is, so that a bad one
//! is an error then and never later.
//! The endpoint for Prometheus is a server of the same making.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme};

/// The certificates that a server's must lead to.
#[derive(Debug, Clone, Copy)]
pub enum Trust<'a> {
    /// The system's (on Debian the package ca-certificates), read now.
    System,
    /// The system's, read when the first server shows its certificate: where nothing is asked over
    /// TLS, a machine may be without any.
    SystemLater,
    /// Those in this PEM file, and no others: `root_ca`.
    File(&'a Path),
    /// Any: `skip_verify`.
    Anything,
}

/// The certificate that we show, and its key: PEM files `cert` and `key`.
#[derive(Debug, Clone, Copy)]
pub struct Identity<'a> {
    /// The certificate, with its chain behind it.
    pub cert: &'a Path,
    /// PKCS#8, PKCS#1 or SEC1.
    pub key: &'a Path,
}

/// Which file is unusable, and why. No key's content is part of it.
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

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::RootCa(text) | Self::Cert(text) | Self::Key(text) | Self::System(text)) = self;
        f.write_str(text)
    }
}

impl std::error::Error for Error {}

/// Reads the files and makes the configuration.
///
/// # Errors
/// The file that cannot be used.
pub fn client(trust: Trust<'_>, identity: Option<Identity<'_>>) -> Result<Arc<ClientConfig>, Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::System(error.to_string()))?;
    let verifier: Arc<dyn ServerCertVerifier> = match trust {
        Trust::System => Arc::new(
            rustls_platform_verifier::Verifier::new(provider)
                .map_err(|error| Error::System(error.to_string()))?,
        ),
        Trust::SystemLater => Arc::new(OurVerifier { provider, believes: Believes::System(OnceLock::new()) }),
        Trust::File(path) => WebPkiServerVerifier::builder_with_provider(Arc::new(roots(path)?), provider)
            .build()
            .map_err(|error| Error::RootCa(error.to_string()))?,
        Trust::Anything => Arc::new(OurVerifier { provider, believes: Believes::Anything }),
    };
    let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
    let config = match identity {
        None => builder.with_no_client_auth(),
        Some(Identity { cert, key }) => {
            let chain = certificates(cert).map_err(Error::Cert)?;
            let key = PrivateKeyDer::from_pem_file(key).map_err(|error| Error::Key(error.to_string()))?;
            builder.with_client_auth_cert(chain, key).map_err(|error| Error::Key(error.to_string()))?
        }
    };
    Ok(Arc::new(config))
}

/// A server that shows `identity`; with `only_1_3` it speaks nothing older.
///
/// # Errors
/// The file that cannot be used.
pub fn server(identity: Identity<'_>, only_1_3: bool) -> Result<Arc<ServerConfig>, Error> {
    const BOTH: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS13, &rustls::version::TLS12];
    let versions = if only_1_3 { &BOTH[..1] } else { BOTH };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .map_err(|error| Error::System(error.to_string()))?;
    let chain = certificates(identity.cert).map_err(Error::Cert)?;
    let key = PrivateKeyDer::from_pem_file(identity.key).map_err(|error| Error::Key(error.to_string()))?;
    let config = builder.with_no_client_auth().with_single_cert(chain, key);
    config.map(Arc::new).map_err(|error| Error::Key(error.to_string()))
}

fn roots(path: &Path) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path).map_err(Error::RootCa)? {
        roots.add(certificate).map_err(|error| Error::RootCa(error.to_string()))?;
    }
    Ok(roots)
}

/// At least one.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let read = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| error.to_string())?;
    if read.is_empty() { Err("there is no certificate in it".to_owned()) } else { Ok(read) }
}

/// A verifier of our own, for what rustls has none: it looks at the certificate as `believes`
/// says, and in any case whether the server holds the key of the one it shows.
#[derive(Debug)]
struct OurVerifier {
    provider: Arc<CryptoProvider>,
    believes: Believes,
}

#[derive(Debug)]
enum Believes {
    /// `skip_verify`.
    Anything,
    /// The system's certificates, read with the first handshake.
    System(OnceLock<Result<rustls_platform_verifier::Verifier, rustls::Error>>),
}

impl ServerCertVerifier for OurVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Believes::System(verifier) = &self.believes else {
            return Ok(ServerCertVerified::assertion());
        };
        let read = || rustls_platform_verifier::Verifier::new(Arc::clone(&self.provider));
        let verifier = verifier.get_or_init(read).as_ref().map_err(Clone::clone)?;
        verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
