//! Files that the configuration names: systemd's credentials, by name and by path; and the warning
//! about files that any user may read or write.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::support::backend::Backend;
use crate::support::broker::{self, Broker, refused_start, refused_start_with};
use crate::support::certificates::{Authority, Flaw};
use crate::support::command_line::check;
use crate::support::config::{Config, Kind};
use crate::support::peer::Peer;
use crate::support::port::Port;
use crate::support::site::open_directory;

const VARIABLE: &str = "CREDENTIALS_DIRECTORY";

/// A directory of credentials, as systemd makes it.
fn credentials(directory: &Path, files: &[(&str, &str)]) -> PathBuf {
    let credentials = directory.join("credentials");
    fs::create_dir_all(&credentials).expect("a directory");
    for (name, content) in files {
        write(&credentials.join(name), content, 0o400);
    }
    credentials
}

fn write(path: &Path, content: &str, mode: u32) {
    // A read-only file is replaced.
    let _absent = fs::remove_file(path);
    fs::write(path, content).expect("a file");
    fs::set_permissions(path, PermissionsExt::from_mode(mode)).expect("its owner may");
}

fn asking(directory: &Path, api: &Backend, auth: &str) -> Config {
    let more = [format!("http_auth_basic_file: \"{auth}\"")];
    let config = Config::new(directory).map("m", &api.url("/"), &[more[0].as_str()]);
    config.listen_unix(Kind::Map, "maps", &directory.join("maps.sock"))
}

#[test]
fn credentials_are_read_by_name_and_by_path_and_read_again_at_a_reload() {
    let directory = open_directory();
    let api = Backend::constant(r#"{"value": "v"}"#);
    let sent = || api.last().headers.iter().find(|(name, _)| name == "authorization").map(|it| it.1.clone());
    let credentials = credentials(directory.path(), &[("api", "user:one\n")]);
    let environment = [(VARIABLE, credentials.to_str().expect("UTF-8"))];
    let file = asking(directory.path(), &api, "credential:api").write();
    let broker = Broker::start_with(&file, &environment);
    let ask = || Peer::unix(&directory.path().join("maps.sock")).look_up("m", "k");
    assert_eq!(ask(), "OK v");
    assert_eq!(sent().as_deref(), Some("Basic dXNlcjpvbmU="));

    // An order that is run by hand has no credentials, and needs none.
    let output = broker::command(&file).arg("status").output().expect("it runs");
    assert_eq!((output.status.code(), &*output.stderr), (Some(0), &b""[..]), "{output:?}");

    write(&credentials.join("api"), "user:two\n", 0o400);
    asking(directory.path(), &api, "${CREDENTIALS_DIRECTORY}/api").write();
    assert!(broker.reload(), "{}", broker.log());
    assert_eq!(ask(), "OK v");
    assert_eq!(sent().as_deref(), Some("Basic dXNlcjp0d28="));
}

#[test]
fn keys_and_certificates_are_credentials_too() {
    let directory = open_directory();
    let authority = Authority::new("credentials");
    let (cert, key) = authority.server(Flaw::None).pem();
    let root = fs::read_to_string(authority.write(directory.path(), "root.crt")).expect("a certificate");
    let files = [("cert", cert.as_str()), ("key", &key), ("root", &root), ("scraper", "me:it")];
    let credentials = credentials(directory.path(), &files);
    let api = Backend::constant(r#"{"value": "v"}"#);
    let port = Port::reserve();
    let config = Config::new(directory.path())
        .map("m", &api.url("/"), &[])
        .server(
            r#"
            tls:
              enabled: true
              cert: "${CREDENTIALS_DIRECTORY}/cert"
              key: "credential:key"
              root_ca: "credential:root"
            "#,
        )
        .prometheus(
            port.number(),
            &[r#"
            prometheus_http_auth_basic_file: "credential:scraper"
            prometheus_tls:
              enabled: true
              cert: "${CREDENTIALS_DIRECTORY}/cert"
              key: "credential:key"
            "#],
        );
    let file = config.write();
    let broker = Broker::start_with(&file, &[(VARIABLE, credentials.to_str().expect("UTF-8"))]);
    let scrape = std::process::Command::new("curl")
        .args(["-sS", "--max-time", "10", "--user", "me:it", "--cacert"])
        .arg(directory.path().join("root.crt"))
        .arg(format!("https://{}/metrics", port.address()))
        .output()
        .expect("curl: see `make packages`");
    assert!(String::from_utf8_lossy(&scrape.stdout).contains("pfxhttp_build_info"), "{}", broker.log());

    // Credentials are compared by content: another certificate is another TLS identity.
    let (cert, key) = authority.server(Flaw::None).pem();
    write(&credentials.join("cert"), &cert, 0o400);
    assert!(!broker.reload(), "a certificate with the key of another one");
    write(&credentials.join("key"), &key, 0o400);
    assert!(broker.reload(), "{}", broker.log());
}

#[test]
fn a_credential_that_cannot_be_read_is_reported_with_its_place() {
    let directory = open_directory();
    let api = Backend::constant("{}");
    let credentials = credentials(directory.path(), &[("api", "user:one\n")]);
    write(&directory.path().join("outside"), "user:two\n", 0o400);
    let there = credentials.to_str().expect("UTF-8").to_owned();
    for (auth, variable, due) in [
        ("credential:api", None, "CREDENTIALS_DIRECTORY is not set"),
        ("${CREDENTIALS_DIRECTORY}/api", None, "CREDENTIALS_DIRECTORY is not set"),
        ("credential:api", Some(""), "CREDENTIALS_DIRECTORY is not set"),
        ("credential:api", Some("credentials"), "or is no absolute path"),
        ("credential:../outside", Some(there.as_str()), "\"../outside\" is no name of a credential"),
        ("credential:/etc/passwd", Some(&there), "is no name of a credential"),
        ("credential:..", Some(&there), "is no name of a credential"),
        ("credential:", Some(&there), "is no name of a credential"),
        ("credential:other", Some(&there), "the file cannot be read: No such file"),
    ] {
        let file = asking(directory.path(), &api, auth).write();
        let environment: Vec<_> = variable.map(|value| (VARIABLE, value)).into_iter().collect();
        let (code, said) = refused_start_with(&file, &environment);
        assert_eq!(code, Some(78), "{auth}: {said}");
        let place = said.lines().find(|line| line.contains(due)).expect("a line with it");
        assert!(place.contains("pfxhttp.yml:") && place.contains("http_auth_basic_file: "), "{auth}: {said}");
        assert_eq!(said.matches("error: ").count(), 1, "{auth}: one error: {said}");
    }
}

#[test]
fn a_file_that_any_user_may_read_or_write_is_warned_of_once() {
    let directory = open_directory();
    let path = |name: &str| directory.path().join(name);
    let authority = Authority::new("modes");
    let root = authority.write(directory.path(), "root.crt");
    let (cert, key) = authority.client().write(directory.path(), "client");
    let api = Backend::constant(r#"{"value": "v"}"#);
    let secret = path("secret");
    let auth = format!("http_auth_basic_file: \"{}\"", secret.display());
    let tls = format!(
        r#"
        tls:
          enabled: true
          cert: "{}"
          key: "{}"
          root_ca: "{}"
        "#,
        cert.display(),
        key.display(),
        root.display()
    );
    let config = Config::new(directory.path()).server(&tls);
    // Two entries use one file.
    let config = config.map("m", &api.url("/"), &[&auth]).map("n", &api.url("/"), &[&auth]);
    let file = config.write();
    let modes = |modes: [(&Path, u32); 5]| {
        write(&secret, "user:word\n", 0o600);
        for (path, mode) in modes {
            fs::set_permissions(path, PermissionsExt::from_mode(mode)).expect("its owner may");
        }
    };
    let warned = |said: &str| -> Vec<String> {
        said.lines().filter(|line| line.contains("any user may")).map(str::to_owned).collect()
    };

    modes([(&file, 0o640), (&secret, 0o640), (&key, 0o440), (&cert, 0o644), (&root, 0o644)]);
    let (code, said) = check(&file, &["--strict"]);
    assert_eq!((code, warned(&said)), (Some(0), vec![]), "{said}");

    modes([(&file, 0o644), (&secret, 0o604), (&key, 0o646), (&cert, 0o644), (&root, 0o666)]);
    let due = [
        ("pfxhttp.yml: ", "any user may read this file: its mode is 0644"),
        ("server.tls.key: ", "any user may read and write this file: its mode is 0646"),
        ("server.tls.root_ca: ", "any user may write this file: its mode is 0666"),
        (".http_auth_basic_file: ", "any user may read this file: its mode is 0604"),
    ];
    let (code, said) = check(&file, &[]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(check(&file, &["--strict"]).0, Some(78));
    let broker = Broker::start(&file);
    for said in [said, broker.log()] {
        let lines = warned(&said);
        assert_eq!(lines.len(), due.len(), "{said}");
        for (key, message) in due {
            let told = lines.iter().filter(|line| line.contains(key) && line.contains(message)).count();
            assert_eq!(told, 1, "{key}: {said}");
        }
        assert!(!said.contains("user:word"), "{said}");
    }

    // The warning is also printed if the configuration is refused for another reason.
    let broken = path("broken.yml");
    write(&broken, "server: {nonsense: 1}\n", 0o644);
    let (code, said) = refused_start(&broken);
    assert_eq!((code, warned(&said).len()), (Some(78), 1), "{said}");
}
