//! What entries inherit from `defaults`, and how they take it back.

use super::*;
use crate::model::secret::Secret;
use crate::oidc::Authentication;

const TEXT: &str = "socket_maps:
  defaults:
    target: http://localhost/
    payload: '{{ .Key | json }}'
    value_field: v
    http_request_compression: true
    http_auth_basic: joe:pw
    status_code: 201
    cache: {fresh: 5s, negative: 3s}
    custom_headers: ['A: 1', 'B: 2']
  plain: ~
  own:
    http_request_compression: false
    http_auth_basic: ~
    status_code: ~
    cache: {fresh: 0s}
    custom_headers: ['b: 3', 'C: 4']
  none:
    target: http://other.localhost/
    cache: ~
    custom_headers: ~
";

#[test]
fn an_entry_takes_and_takes_back() {
    let config = good(TEXT);
    let [plain, own, none] = &config.maps[..] else { panic!("three maps") };
    assert_eq!((plain.request.compress_request, plain.status_code), (true, 201));
    assert_eq!(plain.request.headers["authorization"], "Basic am9lOnB3");
    assert_eq!(plain.request.headers["b"], "2");
    assert_eq!((own.request.compress_request, own.status_code), (false, 200));
    assert!(!own.request.headers.contains_key("authorization"));
    let names: Vec<_> =
        ["a", "b", "c"].iter().map(|name| own.request.headers[*name].to_str().expect("text")).collect();
    assert_eq!(names, ["1", "3", "4"]);
    assert_eq!((own.cache.fresh, own.cache.negative), (Duration::ZERO, Duration::from_secs(3)));
    assert_eq!(none.upstream.url().host_str(), Some("other.localhost"));
    assert_eq!(none.cache.negative, Duration::ZERO);
    assert!(!none.request.headers.contains_key("a"));
}

#[test]
fn a_mistake_that_many_inherit_is_told_once_where_it_stands() {
    let text = TEXT
        .replace("fresh: 5s", "fresh: 5")
        .replace("'B: 2'", "B")
        .replace("status_code: 201", "status_code: 99\n    levle: x")
        .replace("payload: '{{ .Key | json }}'", "payload: '{{ .Kye }}'");
    let told = told(&text);
    assert_eq!(told.len(), 5, "{told:#?}");
    for (told, expected) in told.iter().zip([
        "4:15 socket_maps.defaults.payload: a map has no `.Kye`",
        "8:18 socket_maps.defaults.status_code: must be from 100 to 599",
        "9:5 socket_maps.defaults.levle: unknown key",
        "10:20 socket_maps.defaults.cache.fresh: a duration needs a unit",
        "11:30 socket_maps.defaults.custom_headers[1]: a header is written",
    ]) {
        assert!(told.starts_with(expected), "{told}\nand not {expected}");
    }
}

#[test]
fn defaults_alone_are_looked_at_and_are_no_entry() {
    assert!(good("socket_maps:\n  defaults: {target: http://localhost/}\n").maps.is_empty());
    one("socket_maps:\n  defaults: {tarket: x}\n", "2:14 socket_maps.defaults.tarket: unknown key");
    one("policy_services:\n  defaults: 5\n", "2:13 policy_services.defaults: expected keys and values");
    let listener = listener(
        r"kind: policy_service
name: defaults
type: tcp
address: ::1",
    );
    let text = listener.replace("  p: {", "  defaults: {");
    one(&text, "there is no entry \"defaults\" in policy_services");
}

#[test]
fn blocks_are_switched_off_key_by_key() {
    let text = map("")
        + "  defaults:\n    backend_oidc_auth: {enabled: true, configuration_uri: 'https://i/', client_id: x, client_secret: s3cret}\n";
    let with = |own: &str| {
        let lines = format!("    value_field: v\n    backend_oidc_auth: {own}\n");
        text.replace("    value_field: v\n", &lines)
    };
    let bearer = good(&text).maps.remove(0).request.bearer.expect("inherited");
    assert_eq!(bearer.authentication, Authentication::SecretBasic(Secret::new("s3cret".to_owned())));
    assert_eq!(good(&with("{enabled: false}")).maps[0].request.bearer, None);
    let bearer =
        good(&with("{client_id: y, client_secret: ~}")).maps.remove(0).request.bearer.expect("enabled");
    assert_eq!((bearer.client_id.as_str(), bearer.authentication), ("y", Authentication::None));
    one(
        &with("{client_secret_file: /dev/null}"),
        "6:45 socket_maps.m.backend_oidc_auth.client_secret_file: the file cannot be read: it is not a regular file",
    );
}

#[test]
fn an_old_name_is_read_as_the_new_one() {
    let oidc = "{enabled: true, configuration_uri: 'https://i/', client_id: x}";
    let text = map(&format!("    oidc_auth: {oidc}\n"));
    one(&text, "6:5 warning socket_maps.m.oidc_auth: is read as `backend_oidc_auth`, its name today");
    let (config, _) = check(&text).expect("one warning");
    assert_eq!(config.maps[0].request.bearer.as_ref().map(|bearer| bearer.client_id.as_str()), Some("x"));
    one(
        &map("    oidc_auth: {}\n    backend_oidc_auth: {}\n"),
        "6:5 socket_maps.m.oidc_auth: `backend_oidc_auth` is given as well",
    );
}

#[test]
fn keys_of_the_first_go_versions_are_renamed_or_told_apart() {
    let old = "server: {tls: {enabled: true, http_client_skip_verify: true}}\n";
    assert_eq!(
        told(old),
        [
            "1:31 warning server.tls.http_client_skip_verify: is read as `skip_verify`, its name today",
            "1:31 warning server.tls.skip_verify: any certificate is accepted: the identity of an API is not checked (name the certificate of the APIs' authority in root_ca)",
        ]
    );
    one(
        "server: {tls: {http_client_skip_verify: false, skip_verify: false}}\n",
        "1:16 server.tls.http_client_skip_verify: `skip_verify` is given as well",
    );
    one(
        "server: {jwt_db_path: /x}\n",
        "1:10 server.jwt_db_path: unknown key (leave it out: tokens are kept in memory",
    );
    one(
        &map("    jwt_auth: {enabled: true}\n"),
        "6:5 socket_maps.m.jwt_auth: unknown key (removed: `backend_oidc_auth`",
    );
}
