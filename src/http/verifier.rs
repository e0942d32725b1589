//! Whose certificate is believed: rustls' own rules (webpki), and in front of them what they lack.
//!
//! * A certificate that stands in `root_ca` itself is believed, byte for byte, for its names and as long as
//!   it is valid. webpki refuses it where it says CA:TRUE, as `openssl req -x509` makes them.
//! * Who signed a certificate that is not believed shows in the reason.
//! * The system's certificates may be read with the first handshake.
//!
//! In any case the server must hold the key of the certificate that it shows.

use std::error::Error as StdError;
use std::fmt;
use std::sync::{Arc, OnceLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, OtherError, RootCertStore, SignatureScheme};
use rustls_platform_verifier as platform;

use super::tls::Error;

/// Looks at the certificate as `trust` says.
#[derive(Debug)]
pub(super) struct CertificateVerifier {
    provider: Arc<CryptoProvider>,
    trust: CertificateTrust,
}

#[derive(Debug)]
enum CertificateTrust {
    /// `skip_verify`.
    Anything,
    /// The system's certificates, read with the first handshake.
    System(OnceLock<Result<platform::Verifier, rustls::Error>>),
    /// `root_ca`.
    File { rules: Arc<WebPkiServerVerifier>, certificates: Vec<CertificateDer<'static>> },
}

/// Why webpki knows no authority for a certificate.
#[derive(Debug)]
pub(super) struct UnknownAuthority {
    /// It signed itself.
    by_itself: bool,
    /// `root_ca` is set.
    of_file: bool,
}

impl fmt::Display for UnknownAuthority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.by_itself, self.of_file) {
            (true, true) => "the certificate is signed by itself, and is not in root_ca",
            (true, false) => "the certificate is signed by itself, and no root_ca names it",
            (false, true) => "the certificate is signed by an authority that is not in root_ca",
            (false, false) => {
                "the certificate is signed by an authority that this system does not know, and no root_ca names it"
            }
        })
    }
}

impl StdError for UnknownAuthority {}

impl CertificateVerifier {
    /// One that trust whoever answers.
    pub(super) fn none(provider: Arc<CryptoProvider>) -> Self {
        Self { provider, trust: CertificateTrust::Anything }
    }

    /// The system's certificates, later.
    pub(super) fn of_system(provider: Arc<CryptoProvider>) -> Self {
        Self { provider, trust: CertificateTrust::System(OnceLock::new()) }
    }

    /// The system's certificates, read now.
    pub(super) fn of_system_now(provider: Arc<CryptoProvider>) -> Result<Self, Error> {
        let read = platform::Verifier::new(Arc::clone(&provider));
        let read = read.map_err(|error| Error::System(error.to_string()))?;
        Ok(Self { provider, trust: CertificateTrust::System(OnceLock::from(Ok(read))) })
    }

    /// These certificates, and what leads to them.
    pub(super) fn of(
        certificates: Vec<CertificateDer<'static>>,
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, Error> {
        let rules = rules(&certificates, &provider).map_err(Error::RootCa)?;
        Ok(Self { provider, trust: CertificateTrust::File { rules, certificates } })
    }

    fn algorithms(&self) -> &WebPkiSupportedAlgorithms {
        &self.provider.signature_verification_algorithms
    }

    /// In place of an error that says little of a certificate which webpki knows no authority for.
    fn explained(
        &self,
        error: rustls::Error,
        shown: &CertificateDer<'_>,
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> rustls::Error {
        let by_itself = match &error {
            rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
                let itself = rules(&[shown.clone().into_owned()], &self.provider);
                itself.is_ok_and(|rules| rules.verify_server_cert(shown, &[], name, &[], now).is_ok())
            }
            // Nearly always; an authority's is no server's else.
            error if is_authority(error) => true,
            _ => return error,
        };
        let of_file = matches!(self.trust, CertificateTrust::File { .. });
        CertificateError::Other(OtherError(Arc::new(UnknownAuthority { by_itself, of_file }))).into()
    }
}

fn rules(
    certificates: &[CertificateDer<'static>],
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<WebPkiServerVerifier>, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        roots.add(certificate.clone()).map_err(|error| error.to_string())?;
    }
    let builder = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    builder.build().map_err(|error| error.to_string())
}

/// Looks at a certificate of `root_ca` itself, whatever else the server shows.
fn named(
    rules: &WebPkiServerVerifier,
    shown: &CertificateDer<'_>,
    name: &ServerName<'_>,
    now: UnixTime,
) -> Result<ServerCertVerified, rustls::Error> {
    match rules.verify_server_cert(shown, &[], name, &[], now) {
        Err(error) if is_about_its_signer(&error) => {
            verify_server_name(&ParsedCertificate::try_from(shown)?, name)?;
            Ok(ServerCertVerified::assertion())
        }
        outcome => outcome,
    }
}

/// Whether the certificate is refused for being an authority's. webpki's error is not ours to name.
fn is_authority(error: &rustls::Error) -> bool {
    let rustls::Error::InvalidCertificate(CertificateError::Other(other)) = error else { return false };
    other.0.to_string() == "CaUsedAsEndEntity"
}

/// Whether `error` is about who signed a certificate, and what for: webpki looks at its dates
/// before (RFC 5280 6.1.3), so that they are good then.
fn is_about_its_signer(error: &rustls::Error) -> bool {
    match error {
        rustls::Error::InvalidCertificate(error_of_it) => match error_of_it {
            CertificateError::UnknownIssuer
            | CertificateError::BadSignature
            | CertificateError::InvalidPurpose
            | CertificateError::InvalidPurposeContext { .. }
            | CertificateError::UnsupportedSignatureAlgorithmContext { .. }
            | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => true,
            _ => is_authority(error),
        },
        _ => false,
    }
}

impl ServerCertVerifier for CertificateVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let outcome = match &self.trust {
            CertificateTrust::Anything => return Ok(ServerCertVerified::assertion()),
            CertificateTrust::System(verifier) => {
                let read = || platform::Verifier::new(Arc::clone(&self.provider));
                let verifier = verifier.get_or_init(read).as_ref().map_err(Clone::clone)?;
                verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
            }
            CertificateTrust::File { rules, certificates } => {
                match rules.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
                    Err(_) if certificates.contains(end_entity) => named(rules, end_entity, server_name, now),
                    outcome => outcome,
                }
            }
        };
        outcome.map_err(|error| self.explained(error, end_entity, server_name, now))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, signature, self.algorithms())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, signature, self.algorithms())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms().supported_schemes()
    }
}
