//! `backend_oidc_auth` and `sasl_oidc_auth`: what they become, and what they are told.

use std::path::PathBuf;

use super::*;
use crate::model::secret::Secret;
use crate::oidc::{Authentication, ClientSettings};

/// What an enabled block needs, and no more.
const LEAST: &str = "enabled: true, configuration_uri: 'https://i/', client_id: x";

/// A map with a `backend_oidc_auth`, whose keys begin in line 6, column 25.
fn backend(keys: &str) -> String {
    map(&format!("    backend_oidc_auth: {{{keys}}}\n"))
}

fn bearer(keys: &str) -> ClientSettings {
    *good(&backend(keys)).maps.remove(0).request.bearer.expect("it is enabled")
}

fn secret(text: &str) -> Secret {
    Secret::new(text.to_owned())
}

/// A directory with the file `secret`, and with a private key in `key`.
fn files() -> (tempfile::TempDir, PathBuf, PathBuf) {
    let directory = tempfile::tempdir().expect("a directory");
    let [secret, key] = ["secret", "key"].map(|name| directory.path().join(name));
    private(&secret, "s3cret\n");
    let pair = rcgen::KeyPair::generate().expect("a key");
    private(&key, pair.serialize_pem());
    (directory, secret, key)
}

#[test]
fn a_block_says_who_we_are() {
    let client = bearer(&format!("{LEAST}, client_secret: s3cret, scopes: [api.read, 5]"));
    assert_eq!(client.configuration_uri.as_str(), "https://i/");
    assert_eq!(client.client_id, "x");
    assert_eq!(client.scopes, ["api.read", "5"]);
    assert_eq!(client.authentication, Authentication::SecretBasic(secret("s3cret")));
    let client = bearer(&LEAST.replace('x', "4711"));
    assert_eq!((client.client_id.as_str(), client.scopes.len()), ("4711", 0));
    let policy = backend(LEAST).replace("socket_maps", "policy_services");
    assert!(good(&policy).policies[0].request.bearer.is_some());
    assert!(good(&map("")).maps[0].request.bearer.is_none());
}

#[test]
fn the_method_follows_from_what_there_is() {
    let (_directory, secret_file, key_file) = files();
    let with_secret = "client_secret: s3cret".to_owned();
    let with_file = format!("client_secret_file: {}", secret_file.display());
    let with_key = format!("private_key_file: {}", key_file.display());
    let resolved = |method: &str, keys: &[&String]| {
        let mut text = LEAST.to_owned();
        for key in keys {
            text = format!("{text}, {key}");
        }
        if !method.is_empty() {
            text = format!("{text}, auth_method: {method}");
        }
        bearer(&text).authentication
    };
    let basic = Authentication::SecretBasic(secret("s3cret"));
    let post = Authentication::SecretPost(secret("s3cret"));
    for method in ["", "auto", "~"] {
        assert_eq!(resolved(method, &[]), Authentication::None, "{method}");
        assert_eq!(resolved(method, &[&with_secret]), basic, "{method}");
        assert_eq!(resolved(method, &[&with_file]), basic, "{method}");
        assert!(matches!(resolved(method, &[&with_key]), Authentication::PrivateKey(_)), "{method}");
    }
    for keys in [&with_secret, &with_file] {
        assert_eq!(resolved("client_secret_basic", &[keys]), basic, "{keys}");
        assert_eq!(resolved("client_secret_post", &[keys]), post, "{keys}");
    }
    assert!(matches!(resolved("private_key_jwt", &[&with_key]), Authentication::PrivateKey(_)));
    assert_eq!(resolved("none", &[]), Authentication::None);
}

/// What is not used is told, and not read.
#[test]
fn a_secret_that_the_method_does_not_use_is_told() {
    let (_directory, secret_file, key_file) = files();
    let key = key_file.display();
    let secret_file = secret_file.display();
    let at = "warning socket_maps.m.backend_oidc_auth";
    for (keys, expected) in [
        (
            format!("client_secret: a, private_key_file: {key}"),
            format!("{at}.client_secret: has no effect with auth_method private_key_jwt, which `auto` means"),
        ),
        (
            format!("client_secret_file: /nowhere, private_key_file: {key}, auth_method: private_key_jwt"),
            format!("{at}.client_secret_file: has no effect with auth_method private_key_jwt"),
        ),
        (
            "client_secret: a, private_key_file: /nowhere, auth_method: client_secret_basic".to_owned(),
            format!("{at}.private_key_file: has no effect with auth_method client_secret_basic"),
        ),
        (
            format!(
                "client_secret_file: {secret_file}, private_key_file: {key}, auth_method: client_secret_post"
            ),
            format!("{at}.private_key_file: has no effect with auth_method client_secret_post"),
        ),
        (
            "client_secret: a, auth_method: none".to_owned(),
            format!("{at}.client_secret: has no effect with auth_method none"),
        ),
        (
            "private_key_file: /nowhere, auth_method: none".to_owned(),
            format!("{at}.private_key_file: has no effect with auth_method none"),
        ),
    ] {
        one(&backend(&format!("{LEAST}, {keys}")), &expected);
    }
    let text = backend(&format!("{LEAST}, auth_method: none, client_secret: a"));
    assert!(told(&text)[0].starts_with("6:106 warning "), "{:?}", told(&text));
    let (config, _) = check(&text).expect("a warning");
    assert_eq!(
        config.maps[0].request.bearer.as_ref().map(|bearer| &bearer.authentication),
        Some(&Authentication::None)
    );
}

#[test]
fn each_mistake_in_a_block_is_told_at_its_place() {
    for (keys, expected) in [
        ("client_id: x", "6:5 socket_maps.m.backend_oidc_auth: `configuration_uri` is missing"),
        ("configuration_uri: 'https://i/'", "6:5 socket_maps.m.backend_oidc_auth: `client_id` is missing"),
        (
            "configuration_uri: 'https://i/', client_id: ''",
            "6:84 socket_maps.m.backend_oidc_auth.client_id: must not be",
        ),
        ("configuration_uri: 'https://i/', client_id: \"a\\nb\"", "holds no control characters"),
        (
            "client_id: x, configuration_uri: 'ftp://i/'",
            "6:73 socket_maps.m.backend_oidc_auth.configuration_uri: a URL begins",
        ),
        ("client_id: x, configuration_uri: 'https://joe:s3cret@i/'", "must not hold a user name or password"),
        ("client_id: x, configuration_uri: 'https://i/#a'", "must not hold a fragment"),
        (
            "client_id: x, configuration_uri: 'http://i/'",
            "6:54 warning socket_maps.m.backend_oidc_auth.configuration_uri: credentials and tokens go over the network without TLS",
        ),
    ] {
        let text = backend(&format!("enabled: true, {keys}"));
        one(&text, expected);
        let (Ok((_, problems)) | Err(problems)) = check(&text);
        assert!(!shown(&problems).contains("s3cret"), "{}", shown(&problems));
    }
    for (keys, expected) in [
        (
            "auth_method: basic",
            "6:100 socket_maps.m.backend_oidc_auth.auth_method: must be one of: auto, client_secret_basic, client_secret_post, private_key_jwt, none",
        ),
        (
            "auth_method: client_secret_post",
            "6:5 socket_maps.m.backend_oidc_auth: `client_secret` is missing",
        ),
        (
            "auth_method: client_secret_basic",
            "6:5 socket_maps.m.backend_oidc_auth: `client_secret` is missing",
        ),
        (
            "auth_method: private_key_jwt",
            "6:5 socket_maps.m.backend_oidc_auth: `private_key_file` is missing",
        ),
        ("client_secret: ''", "6:102 socket_maps.m.backend_oidc_auth.client_secret: must not be empty"),
        ("client_secret: 5", "client_secret: expected a string, found a number"),
        (
            "client_secret_file: /nowhere",
            "6:107 socket_maps.m.backend_oidc_auth.client_secret_file: the file cannot be read",
        ),
        ("client_secret: a, client_secret_file: /dev/null", "`client_secret` is given as well"),
        (
            "scopes: ['a', 'b c']",
            "6:101 socket_maps.m.backend_oidc_auth.scopes[1]: a scope is printable ASCII",
        ),
        ("validation: jwks", "6:87 socket_maps.m.backend_oidc_auth.validation: unknown key"),
    ] {
        one(&backend(&format!("{LEAST}, {keys}")), expected);
    }
    good(&backend("enabled: true, configuration_uri: 'http://[::1]:8/', client_id: x, client_secret: s"));
    // What is switched off says nothing, and may lack anything.
    good(&backend("enabled: false, client_id: x, client_secret: a, private_key_file: /nowhere"));
    good(&backend("enabled: false, configuration_uri: 'http://i/'"));
}

#[test]
fn a_private_key_is_read_at_load() {
    let (_directory, _, key_file) = files();
    let text = backend(&format!("{LEAST}, private_key_file: {}", key_file.display()));
    let pem = std::fs::read_to_string(&key_file).expect("the key");
    let config = good(&text);
    for line in pem.lines() {
        assert!(!format!("{config:?}").contains(line));
    }
    let at = "6:105 socket_maps.m.backend_oidc_auth.private_key_file: ";
    private(&key_file, "\n");
    one(&text, &format!("{at}the file is empty"));
    private(&key_file, b"s3cret\xff");
    one(&text, &format!("{at}the file is not UTF-8"));
    private(&key_file, vec![b'x'; 70_000]);
    one(&text, &format!("{at}the file is larger than 64 KiB"));
    // What is no key is told without what it is.
    private(&key_file, "-----BEGIN PRIVATE KEY-----\ns3cret\n-----END PRIVATE KEY-----\n");
    let (Ok((_, problems)) | Err(problems)) = check(&text);
    assert!(problems.iter().map(brief).all(|told| told.starts_with(at)), "{}", shown(&problems));
    assert!(!shown(&problems).contains("s3cret"), "{}", shown(&problems));
    std::fs::remove_file(&key_file).expect("the file");
    one(&text, &format!("{at}the file cannot be read"));
}

#[test]
fn a_token_takes_the_place_of_authorization() {
    let lines = "    custom_headers: ['Authorization: Bearer s3cret', 'A: b']\n";
    let config = good(&(backend(LEAST) + lines));
    assert!(!config.maps[0].request.headers.contains_key("authorization"));
    assert_eq!(config.maps[0].request.headers["a"], "b");
    let off = backend("enabled: false") + lines;
    assert!(good(&off).maps[0].request.headers.contains_key("authorization"));
    one(
        &(backend(LEAST) + "    http_auth_basic: a:b\n"),
        "7:5 socket_maps.m.http_auth_basic: `backend_oidc_auth` is enabled as well",
    );
}

#[test]
fn no_secret_is_shown_by_debug() {
    let (_directory, secret_file, _) = files();
    for keys in ["client_secret: s3cret".to_owned(), format!("client_secret_file: {}", secret_file.display())]
    {
        let config = good(&backend(&format!("{LEAST}, {keys}")));
        let shown = format!("{config:?}");
        assert!(shown.contains("SecretBasic") && !shown.contains("s3cret"), "{shown}");
    }
}
