//! `server.tls`, and `tls` of an entry over it.
//!
//! Two configurations of rustls cannot be compared: a hash of what they are made of is, contents of files
//! included.

mod grpc;

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use aws_lc_rs::digest::{Context, SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use url::Url;

use super::{identity, usable};
use crate::document::{Found, Holds, Key, Kind, Refusal, Section, no_effect};
use crate::http::reason::TlsKeys;
use crate::http::tls::{self, ClientOptions, Identity, Pin, Trust};
use crate::model::weak_map::WeakMap;
pub(super) use grpc::of_grpc;

const VERSIONS: &[(&str, bool)] = &[("1.2", false), ("1.3", true)];
const NO_PIN: &str = "must be a pin: the SHA-256 of a public key in base64, 44 characters (RFC 7469)";
const MAKE_PIN: &str = "openssl x509 -in FILE -noout -pubkey | openssl pkey -pubin -outform DER | openssl dgst -sha256 -binary | base64";

/// The configurations of entries that are in use, by [`TlsSettings::inputs`]. Many entries may inherit one: to read
/// the system's certificates takes milliseconds, and they take memory.
static CLIENTS: LazyLock<WeakMap<[u8; 32], ClientConfig>> = LazyLock::new(WeakMap::default);

/// TLS to an API.
#[derive(Clone)]
pub struct TlsSettings {
    /// The configuration of its connections.
    pub client: Arc<ClientConfig>,
    /// `server_name`: the name that the certificate must have instead of the host.
    pub server_name: Option<ServerName<'static>>,
    pub(in crate::http) keys: TlsKeys,
    /// A hash of what this was made of, files included.
    pub(super) inputs: [u8; 32],
}

#[cfg(test)]
impl TlsSettings {
    /// For tests: the system's certificates.
    pub(super) fn plain() -> Self {
        let client = tls::client(ClientOptions::new(Trust::SystemLater)).expect("TLS");
        Self { client, server_name: None, keys: TlsKeys::default(), inputs: [0; 32] }
    }
}

impl PartialEq for TlsSettings {
    fn eq(&self, other: &Self) -> bool {
        self.inputs == other.inputs
    }
}

impl Eq for TlsSettings {}

impl fmt::Debug for TlsSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsSettings").finish_non_exhaustive()
    }
}

/// The names of the keys in which the blocks differ.
struct Names {
    cert: &'static str,
    key: &'static str,
    /// `grpc.tls`: it takes no pins, and has no former names.
    is_grpc: bool,
}

/// Those of `server.tls`, and of `tls` of an entry.
const TLS: Names = Names { cert: "cert", key: "key", is_grpc: false };

/// The keys of a block.
struct Block<'s, 'd> {
    section: &'s Section<'d>,
    root_ca: Found<'d, String>,
    cert: Found<'d, String>,
    key: Found<'d, String>,
    skip_verify: Key<'d>,
    skips: bool,
    only_1_3: bool,
    pins: Vec<Pin>,
    /// Read of entries alone: `server.tls` is for many hosts.
    server_name: Option<ServerName<'static>>,
    /// Whether `cert` is the entry's, or would be.
    has_own_cert: bool,
    /// Whether one of `cert` and `key` is the entry's, and the other that of `server.tls`.
    is_mixed: bool,
    names: &'static Names,
}

/// The files of a block, which can be opened.
struct Files {
    root: Option<PathBuf>,
    identity: Option<(PathBuf, PathBuf)>,
}

/// Reads `server.tls`. Beside it stands the configuration for proxies that speak TLS, to which no pin applies.
/// `needs_tls` says whether any target or provider is https.
pub(super) fn of_server(section: &Section<'_>, needs_tls: bool) -> Option<(TlsSettings, Arc<ClientConfig>)> {
    let system = if needs_tls { Trust::System } else { Trust::SystemLater };
    let is_enabled = section.key("enabled").flag().or(false);
    let block = Block::read(section, &TLS);
    let inputs = block.inputs(&[needs_tls, is_enabled]);
    let keys = block.tls_keys();
    if !is_enabled {
        let flag = Some(block.skip_verify.clone()).filter(|_| block.skips);
        let others =
            ["root_ca", "cert", "key", "min_tls_version", "pin_sha256"].map(|name| section.key(name));
        no_effect(others.into_iter().chain(flag), "without `enabled: true`");
        let client = usable(section, tls::client(ClientOptions::new(system)))?;
        let keys = TlsKeys::default();
        return Some((TlsSettings { client: Arc::clone(&client), server_name: None, keys, inputs }, client));
    }
    let files = block.files()?;
    let client = block.client(&files, system, &block.pins)?;
    let of_proxy =
        if block.pins.is_empty() { Arc::clone(&client) } else { block.client(&files, system, &[])? };
    block.warn_of_no_check(&files);
    Some((TlsSettings { client, server_name: None, keys, inputs }, of_proxy))
}

/// Reads `tls` of an entry, whose target is `url`. A key that it does not say is that of `server.tls`, if that
/// is enabled. Within `Some` there is nothing if it says none.
pub(super) fn of_entry(entry: &Section<'_>, url: Option<&Url>) -> Option<Option<TlsSettings>> {
    of_block(entry, url.map(|url| url.scheme() == "https"), "`target` begins with http://")
}

/// Reads `tls` of a block, whose connections are made with TLS or without; `plain` says why they are not.
pub(crate) fn of_block(
    entry: &Section<'_>,
    has_tls: Option<bool>,
    plain: &str,
) -> Option<Option<TlsSettings>> {
    let key = entry.key("tls");
    let own = key.section("EntryTls");
    let names = ["root_ca", "cert", "key", "server_name", "min_tls_version", "pin_sha256"];
    let is_given = names.iter().any(|name| own.key(name).is_given()) || skip_verify(&own).is_given();
    let server = entry.top("Top").without_effect().key("server").section("Server").key("tls").section("Tls");
    let inherits = is_given && server.key("enabled").flag().or(false);
    let is_mixed = inherits && own.key("cert").is_given() != own.key("key").is_given();
    let has_own_cert = !(inherits && server.key("cert").is_set()) || own.key("cert").is_given();
    if inherits {
        names.iter().for_each(|name| own.key(name).note_taken_back());
    }
    let section = match (is_given, inherits) {
        // Shows no defaults: those of `server.tls` hold.
        (false, _) => own.without_effect(),
        (true, false) => own,
        (true, true) => own.over(&server),
    };
    let name = server_name(&section);
    let block = Block { server_name: name, has_own_cert, is_mixed, ..Block::read(&section, &TLS) };
    if !is_given {
        return Some(None);
    }
    let is_https = has_tls.unwrap_or_default();
    if has_tls == Some(false) && key.is_own() {
        key.warning(format!("has no effect: {plain}"));
    }
    block.of_one_api(is_https).map(Some)
}

fn skip_verify<'d>(section: &Section<'d>) -> Key<'d> {
    section.renamed_key("skip_verify", "http_client_skip_verify")
}

/// Reads `server_name`.
fn server_name(section: &Section<'_>) -> Option<ServerName<'static>> {
    let name = |text| ServerName::try_from(text).map_err(|_| "must be the name of a host, or an address");
    section.key("server_name").text().read_as(name).get()
}

fn pin(text: &str) -> Result<Pin, Refusal> {
    let bytes = STANDARD.decode(text).ok().and_then(|bytes| bytes.try_into().ok());
    bytes.ok_or_else(|| Refusal::from(NO_PIN).hint(MAKE_PIN))
}

impl<'s, 'd> Block<'s, 'd> {
    fn read(section: &'s Section<'d>, names: &'static Names) -> Self {
        let [root_ca, cert, key] = ["root_ca", names.cert, names.key].map(|name| section.key(name).text());
        let (skip_verify, pins) = if names.is_grpc {
            (section.key("skip_verify"), Vec::new())
        } else {
            (skip_verify(section), section.key("pin_sha256").list(Kind::Text))
        };
        Self {
            section,
            root_ca,
            cert,
            key,
            skips: skip_verify.flag().or(false),
            skip_verify,
            only_1_3: section.key("min_tls_version").word_choice(VERSIONS).or(false),
            pins: pins.iter().filter_map(|item| item.text().read_as(|text| pin(&text)).get()).collect(),
            server_name: None,
            has_own_cert: false,
            is_mixed: false,
            names,
        }
    }

    /// The settings of one API. `is_https` says whether its URL is https.
    fn of_one_api(self, is_https: bool) -> Option<TlsSettings> {
        // Before the files are read for good: a change in between is one of the next reload.
        let inputs = self.inputs(&[is_https]);
        let files = self.files()?;
        let system = if is_https { Trust::System } else { Trust::SystemLater };
        let client = match CLIENTS.get(&inputs) {
            Some(client) => client,
            None => {
                let made = self.client(&files, system, &self.pins)?;
                CLIENTS.get_or_make(inputs, || Arc::unwrap_or_clone(made))
            }
        };
        self.warn_of_no_check(&files);
        Some(TlsSettings { client, keys: self.tls_keys(), server_name: self.server_name, inputs })
    }

    fn tls_keys(&self) -> TlsKeys {
        TlsKeys { has_own_cert: self.has_own_cert, is_grpc: self.names.is_grpc, only_1_3: self.only_1_3 }
    }

    /// A hash of the values, of the contents of the files and of `flags`. A file that cannot be read is reported
    /// elsewhere.
    fn inputs(&self, flags: &[bool]) -> [u8; 32] {
        let mut hash = Context::new(&SHA256);
        let flags = flags.iter().chain([&self.skips, &self.only_1_3, &self.has_own_cert]);
        hash.update(&flags.map(|flag| u8::from(*flag)).collect::<Vec<_>>());
        let mut add = |part: &[u8]| {
            hash.update(&(part.len() as u64).to_le_bytes());
            hash.update(part);
        };
        for file in [&self.root_ca, &self.cert, &self.key] {
            add(file.as_ref().map(String::as_bytes).unwrap_or_default());
            add(&file.content().unwrap_or_default());
        }
        add(self.server_name.as_ref().map(ServerName::to_str).unwrap_or_default().as_bytes());
        self.pins.iter().for_each(|pin| add(pin));
        let mut inputs = [0; 32];
        inputs.copy_from_slice(hash.finish().as_ref());
        inputs
    }

    fn files(&self) -> Option<Files> {
        let root = if self.root_ca.is_set() { Some(self.root_ca.open(Holds::Certificates)?.1) } else { None };
        let has_identity = self.cert.is_set() || self.key.is_set();
        Some(Files { root, identity: if has_identity { identity(&self.cert, &self.key)? } else { None } })
    }

    fn client(&self, files: &Files, system: Trust<'_>, pins: &[Pin]) -> Option<Arc<ClientConfig>> {
        let identity = files.identity.as_ref().map(|(cert, key)| Identity { cert, key });
        let trust = files.root.as_deref().map_or(system, Trust::File);
        let options = ClientOptions { trust, identity, pins, only_1_3: self.only_1_3 };
        let made = |options| self.usable(tls::client(options).map_err(|error| self.explained(error)));
        if !self.skips {
            return made(options);
        }
        // A file that is named must be good all the same: it is used as soon as this ends.
        if files.root.is_some() {
            made(options)?;
        }
        made(ClientOptions { trust: Trust::Anything, ..options })
    }

    /// What was made of its files; reports one that cannot be used.
    fn usable<T>(&self, made: Result<T, tls::Error>) -> Option<T> {
        let told = |error| match error {
            tls::Error::RootCa(text) => self.root_ca.key.error(text),
            tls::Error::Cert(text) => self.cert.key.error(text),
            tls::Error::Key(text) => self.key.key.error(text),
            tls::Error::System(text) => self.section.error(text),
        };
        made.map_err(told).ok()
    }

    /// An error of `key` alone would not say that its certificate stands elsewhere.
    fn explained(&self, error: tls::Error) -> tls::Error {
        match error {
            tls::Error::Key(text) if self.is_mixed => tls::Error::System(format!(
                "`cert` and `key` do not belong together, and one of them is that of server.tls: {text}"
            )),
            error => error,
        }
    }

    /// Warns of `skip_verify`, unless a pin decides.
    fn warn_of_no_check(&self, files: &Files) {
        if !self.skips || !self.pins.is_empty() {
            return;
        }
        let warning = "any certificate is accepted: the identity of an API is not checked";
        self.skip_verify.warning(warning).hint(match files.root {
            Some(_) => "leave it out: root_ca then says which certificates are accepted",
            None => "name the certificate of the APIs' authority in root_ca",
        });
    }
}
