//! A machine of its own for the commands of the documentation: `tests/peers/machine` makes it of namespaces and
//! overlays, with both programs installed, a sample API, and Postfix. Needs root.
//!
//! A script runs in it as root. What it starts ends with it, and nothing that it writes stays.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tempfile::TempDir;

use super::{book, client};

/// The names under which the sample API answers, at port 443.
const NAMES: [&str; 3] = ["api.example.org", "login.example.org", "nauthilus.example.org"];

/// A machine that has not started yet.
pub(crate) struct Machine {
    directory: TempDir,
}

/// What a script did.
pub(crate) struct Ran {
    /// Whether it ran to its end.
    pub(crate) is_complete: bool,
    /// All its output, the end of the broker's log, and that of the mail log.
    pub(crate) log: String,
    directory: TempDir,
}

impl Machine {
    /// Makes what the machine needs: a certificate for the API and Postfix.
    pub(crate) fn new() -> Self {
        assert!(rustix::process::geteuid().is_root(), "only root can make a machine of namespaces");
        let directory = tempfile::tempdir().expect("a directory");
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "authority of the documentation");
        let authority = params.self_signed(&key).expect("an authority signs itself");
        let issuer = Issuer::new(params, key);
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(NAMES.map(str::to_owned)).expect("names");
        let certificate = params.signed_by(&key, &issuer).expect("an authority signs");
        let write = |name: &str, text: &str| fs::write(directory.path().join(name), text).expect("a file");
        write("authority.pem", &authority.pem());
        write("api.pem", &format!("{}{}", certificate.pem(), key.serialize_pem()));
        // Postfix wants the key first.
        write("chain.pem", &format!("{}{}", key.serialize_pem(), certificate.pem()));
        Self { directory }
    }

    /// Where a script may leave files for the test.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Runs the script, in the directory of the sources.
    pub(crate) fn run(self, script: &str) -> Ran {
        fs::write(self.path("script"), script).expect("a script");
        let mut command = Command::new(book::root().join("tests/peers/machine"));
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.arg(book::root()).arg(self.directory.path());
        command.arg(Path::new(env!("CARGO_BIN_EXE_pfxhttp-broker"))).arg(client::program());
        let output = command.output().expect("tests/peers/machine");
        let mut log = String::from_utf8_lossy(&output.stdout).into_owned();
        log.push_str(&String::from_utf8_lossy(&output.stderr));
        Ran { is_complete: output.status.success(), log, directory: self.directory }
    }
}

impl Ran {
    /// A file that the script has left.
    pub(crate) fn left(&self, name: &str) -> String {
        fs::read_to_string(self.directory.path().join(name)).unwrap_or_default()
    }
}
