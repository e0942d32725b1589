//! The certificate of the backend, made for one run by openssl(1): for 127.0.0.1, signed by itself.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::Outcome;
use super::process::{Directory, find};
use super::site::write;

const REQUEST: &str = "[req]
prompt = no
distinguished_name = name
x509_extensions = extensions
[name]
CN = pfxhttp-bench
[extensions]
basicConstraints = critical, CA:FALSE
subjectAltName = IP:127.0.0.1
";

/// The files of one certificate, in PEM.
pub(crate) struct Certificate {
    pub(crate) file: PathBuf,
    pub(crate) key: PathBuf,
}

impl Certificate {
    /// Makes one with a key on P-256, valid for two days.
    pub(crate) fn make(directory: &Directory) -> Outcome<Self> {
        let (request, file) = (directory.join("certificate.cnf"), directory.join("certificate.pem"));
        let key = directory.join("key.pem");
        write(&request, REQUEST)?;
        let mut command = Command::new(find("openssl", "openssl")?);
        command.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]);
        command.args(["-noenc", "-days", "2", "-config"]).arg(request);
        command.arg("-keyout").arg(&key).arg("-out").arg(&file).stdin(Stdio::null());
        let said = command.output().map_err(|error| format!("openssl: {error}"))?;
        if said.status.success() {
            Ok(Self { file, key })
        } else {
            Err(format!("openssl made no certificate: {}", String::from_utf8_lossy(&said.stderr)))
        }
    }
}
