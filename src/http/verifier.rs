//! The verification of a server's certificate: the rules of rustls (webpki), with four additions.
//!
//! * A certificate that is itself in `root_ca` is trusted for its names while it is valid. webpki refuses it if
//!   it has CA:TRUE, as `openssl req -x509` makes it.
//! * The reason of a refusal says whether the certificate is self-signed, and whether `root_ca` is set.
//! * The system's certificates may be read at the first handshake.
//! * `pin_sha256`: the public key of the certificate must be one of the pins, besides the rest; with `skip_verify`
//!   the pins alone decide.
//!
//! The server must always prove that it has the key of the certificate.

use std::error::Error as StdError;
use std::sync::{Arc, OnceLock};

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, OtherError, RootCertStore, SignatureScheme};
use rustls_platform_verifier as platform;

use super::tls::{Error, Pin, Trust, certificates};

#[derive(Debug)]
pub(super) struct CertificateVerifier {
    provider: Arc<CryptoProvider>,
    trust: CertificateTrust,
    /// Empty: any key.
    pins: Vec<Pin>,
}

#[derive(Debug)]
enum CertificateTrust {
    /// `skip_verify`.
    Anything,
    /// The system's certificates, read at the first handshake.
    System(OnceLock<Result<platform::Verifier, rustls::Error>>),
    /// `root_ca`.
    File { rules: Arc<WebPkiServerVerifier>, certificates: Vec<CertificateDer<'static>> },
}

impl CertificateVerifier {
    pub(super) fn new(trust: Trust<'_>, pins: &[Pin], provider: Arc<CryptoProvider>) -> Result<Self, Error> {
        let trust = match trust {
            Trust::Anything => CertificateTrust::Anything,
            Trust::SystemLater => CertificateTrust::System(OnceLock::new()),
            Trust::System => {
                let read = platform::Verifier::new(Arc::clone(&provider));
                let read = read.map_err(|error| Error::System(error.to_string()))?;
                CertificateTrust::System(OnceLock::from(Ok(read)))
            }
            Trust::File(path) => {
                let certificates = certificates(path).map_err(Error::RootCa)?;
                let rules = rules(&certificates, &provider).map_err(Error::RootCa)?;
                CertificateTrust::File { rules, certificates }
            }
        };
        Ok(Self { provider, trust, pins: pins.to_vec() })
    }

    /// Whether the public key of the certificate is pinned.
    fn check_pins(&self, shown: &CertificateDer<'_>) -> Result<(), rustls::Error> {
        if self.pins.is_empty() {
            return Ok(());
        }
        let key = ParsedCertificate::try_from(shown)?.subject_public_key_info();
        let pin = digest(&SHA256, &key);
        if self.pins.iter().any(|known| known == pin.as_ref()) {
            return Ok(());
        }
        let reason = format!(
            "the public key of the certificate is {}, which is not in pin_sha256",
            STANDARD.encode(pin)
        );
        Err(other(reason))
    }

    fn algorithms(&self) -> &WebPkiSupportedAlgorithms {
        &self.provider.signature_verification_algorithms
    }

    /// Replaces the error of webpki for an unknown authority by one that explains it.
    fn explained(
        &self,
        error: rustls::Error,
        shown: &CertificateDer<'_>,
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> rustls::Error {
        let is_self_signed = match &error {
            rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
                let itself = rules(&[shown.clone().into_owned()], &self.provider);
                itself.is_ok_and(|rules| rules.verify_server_cert(shown, &[], name, &[], now).is_ok())
            }
            // An authority's certificate is hardly ever used by a server, unless it is self-signed.
            error if is_authority(error) => true,
            _ => return error,
        };
        let has_root_ca = matches!(self.trust, CertificateTrust::File { .. });
        other(match (is_self_signed, has_root_ca) {
            (true, true) => "the certificate is signed by itself, and is not in root_ca",
            (true, false) => "the certificate is signed by itself, and no root_ca names it",
            (false, true) => "the certificate is signed by an authority that is not in root_ca",
            (false, false) => {
                "the certificate is signed by an authority that this system does not know, and no root_ca names it"
            }
        })
    }
}

fn other(reason: impl Into<Box<dyn StdError + Send + Sync>>) -> rustls::Error {
    CertificateError::Other(OtherError(reason.into().into())).into()
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

/// Verifies a certificate that is itself in `root_ca`.
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

/// Whether the certificate is refused because it is an authority's. The error type is private to webpki.
fn is_authority(error: &rustls::Error) -> bool {
    let rustls::Error::InvalidCertificate(CertificateError::Other(other)) = error else { return false };
    other.0.to_string() == "CaUsedAsEndEntity"
}

/// Whether `error` is about the signer or the purpose of a certificate. webpki checks the dates before
/// (RFC 5280 6.1.3).
fn is_about_its_signer(error: &rustls::Error) -> bool {
    matches!(
        error,
        rustls::Error::InvalidCertificate(
            CertificateError::UnknownIssuer
                | CertificateError::BadSignature
                | CertificateError::InvalidPurpose
                | CertificateError::InvalidPurposeContext { .. }
                | CertificateError::UnsupportedSignatureAlgorithmContext { .. }
                | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. }
        )
    ) || is_authority(error)
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
            CertificateTrust::Anything => Ok(ServerCertVerified::assertion()),
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
        let verified = outcome.map_err(|error| self.explained(error, end_entity, server_name, now))?;
        self.check_pins(end_entity).map(|()| verified)
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
