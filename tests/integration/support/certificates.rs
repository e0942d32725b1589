//! Certificates of the tests: an authority, what it signs, and servers that show it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    PublicKeyData, date_time_ymd,
};
use rustls::crypto::aws_lc_rs::{default_provider, sign};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};

/// A certificate authority.
pub(crate) struct Authority {
    certificate: Certificate,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key.
pub(crate) struct Identity {
    certificate: Certificate,
    key: KeyPair,
}

/// A flaw of a certificate; its server is 127.0.0.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flaw {
    None,
    Expired,
    NotYetValid,
    WrongHost,
}

impl Authority {
    /// Makes one of its own.
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("an authority signs itself");
        Self { certificate, issuer: Issuer::new(params, key) }
    }

    /// A certificate for a server on 127.0.0.1, or one with a flaw.
    pub(crate) fn server(&self, flaw: Flaw) -> Identity {
        self.sign(&params(flaw, ExtendedKeyUsagePurpose::ServerAuth))
    }

    /// A certificate for a client.
    pub(crate) fn client(&self) -> Identity {
        self.sign(&params(Flaw::None, ExtendedKeyUsagePurpose::ClientAuth))
    }

    fn sign(&self, params: &CertificateParams) -> Identity {
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("an authority signs");
        Identity { certificate, key }
    }

    /// Writes its certificate as PEM.
    pub(crate) fn write(&self, directory: &Path, name: &str) -> PathBuf {
        write(directory, name, &self.certificate.pem())
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.der().clone()).expect("a root");
        roots
    }
}

fn params(flaw: Flaw, usage: ExtendedKeyUsagePurpose) -> CertificateParams {
    let host = if flaw == Flaw::WrongHost { "other.test.example" } else { "127.0.0.1" };
    let mut params = CertificateParams::new([host.to_owned()]).expect("a name that can be certified");
    params.distinguished_name.push(DnType::CommonName, host);
    params.extended_key_usages = vec![usage];
    match flaw {
        Flaw::Expired => params.not_after = date_time_ymd(2020, 1, 1),
        Flaw::NotYetValid => params.not_before = date_time_ymd(2090, 1, 1),
        Flaw::None | Flaw::WrongHost => {}
    }
    params
}

impl Identity {
    /// A self-signed certificate.
    pub(crate) fn self_signed() -> Self {
        Self::signs_itself(&params(Flaw::None, ExtendedKeyUsagePurpose::ServerAuth))
    }

    /// A certificate as `openssl req -x509` makes it: CA:TRUE, and no extended key usage.
    pub(crate) fn openssls(flaw: Flaw) -> Self {
        let mut params = params(flaw, ExtendedKeyUsagePurpose::ServerAuth);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.extended_key_usages = Vec::new();
        Self::signs_itself(&params)
    }

    fn signs_itself(params: &CertificateParams) -> Self {
        let key = KeyPair::generate().expect("a key");
        Self { certificate: params.self_signed(&key).expect("it signs itself"), key }
    }

    /// A server that shows this certificate and holds the key of `other`.
    pub(crate) fn serve_with_key_of(&self, other: &Self) -> Arc<ServerConfig> {
        let provider = Arc::new(default_provider());
        let builder = ServerConfig::builder_with_provider(provider);
        let builder = builder.with_protocol_versions(rustls::ALL_VERSIONS).expect("versions of TLS");
        let key = PrivateKeyDer::Pkcs8(other.key.serialize_der().into());
        let key = sign::any_supported_type(&key).expect("a key");
        let shown = CertifiedKey::new(vec![self.certificate.der().clone()], key);
        let resolver = Arc::new(SingleCertAndKey::from(shown));
        Arc::new(builder.with_no_client_auth().with_cert_resolver(resolver))
    }

    /// Writes certificate and key as PEM files.
    pub(crate) fn write(&self, directory: &Path, name: &str) -> (PathBuf, PathBuf) {
        let certificate = write(directory, &format!("{name}.crt"), &self.certificate.pem());
        let key = write(directory, &format!("{name}.key"), &self.key.serialize_pem());
        fs::set_permissions(&key, PermissionsExt::from_mode(0o600)).expect("its owner may");
        (certificate, key)
    }

    /// The pin of its key (RFC 7469).
    pub(crate) fn pin(&self) -> String {
        STANDARD.encode(digest(&SHA256, &self.key.subject_public_key_info()))
    }

    /// Certificate and key in PEM.
    pub(crate) fn pem(&self) -> (String, String) {
        (self.certificate.pem(), self.key.serialize_pem())
    }

    /// A server that shows this certificate; with `clients` it requests one of theirs.
    pub(crate) fn serve(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        clients: Option<&Authority>,
    ) -> Arc<ServerConfig> {
        let provider = Arc::new(default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder.with_protocol_versions(versions).expect("versions of TLS");
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(authority) => {
                let roots = Arc::new(authority.roots());
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider).build();
                builder.with_client_cert_verifier(verifier.expect("a verifier"))
            }
        };
        let chain: Vec<CertificateDer<'static>> = vec![self.certificate.der().clone()];
        let key = PrivateKeyDer::Pkcs8(self.key.serialize_der().into());
        Arc::new(builder.with_single_cert(chain, key).expect("certificate and key belong together"))
    }
}

fn write(directory: &Path, name: &str, text: &str) -> PathBuf {
    let path = directory.join(name);
    fs::write(&path, text).expect("the test's directory can be written to");
    path
}
