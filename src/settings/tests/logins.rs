//! `dovecot_sasl`: what an entry becomes, and what it is told.

use super::*;
use crate::login::{Fields, LoginSettings};
use crate::lookup::PoolSettings;
use crate::lookup::value::Field;
use crate::model::secret::Secret;
use crate::model::{LOGIN_BUDGET, Protocol};
use crate::oidc::{Authentication, TokenSettings, Validation};

/// What an enabled `sasl_oidc_auth` needs, and no more.
const LEAST: &str = "enabled: true, configuration_uri: 'https://i/', client_id: x";

/// A login with these lines, which begin in line 4.
pub(super) fn login(lines: &str) -> String {
    format!(
        r"dovecot_sasl:
  l:
    target: http://127.9.9.9/auth
{lines}"
    )
}

fn settings(lines: &str) -> LoginSettings {
    good(&login(lines)).logins.remove(0)
}

/// A login with a `sasl_oidc_auth`, whose keys begin in line 4, column 22, and which names a claim and needs no
/// secret.
fn sasl(keys: &str) -> String {
    let claim = if keys.contains("account_claim") { "" } else { ", account_claim: sub" };
    let is_named = ["client_sec", "private_key", "auth_method"].iter().any(|key| keys.contains(key));
    let method = if is_named { "" } else { ", auth_method: none" };
    login(&format!("    sasl_oidc_auth: {{{keys}{claim}{method}}}\n"))
}

fn tokens(keys: &str) -> TokenSettings {
    good(&sasl(keys)).logins.remove(0).tokens.expect("it is enabled")
}

#[test]
fn a_login_needs_its_target_alone() {
    let login = settings("");
    assert_eq!((login.name.as_str(), login.upstream.url().as_str()), ("l", "http://127.9.9.9/auth"));
    assert_eq!(login.request.headers["content-type"], "application/json");
    assert_eq!(login.request.headers.len(), 1);
    assert!(!login.request.compress_request && !login.request.compress_response);
    assert_eq!(login.timeout, LOGIN_BUDGET, "what http_client says is more");
    assert_eq!((login.status_code, login.denied_status.len()), (200, 0));
    assert!(!login.accept_bare_status);
    assert_eq!(login.on_failure, OnFailure::Auto);
    assert_eq!(login.default_local_port, None);
    assert_eq!(login.failure_delay, Duration::from_secs(2));
    assert!(login.penalty && login.penalty_exempt.is_empty());
    assert_eq!((login.attempts, login.fields), (8, None));
    assert!(login.request.bearer.is_none() && login.tokens.is_none());
    assert_eq!(login.pool, PoolSettings { workers: 256, queue: 2560 });
}

#[test]
fn each_key_has_its_effect() {
    let login = settings(
        r#"    http_auth_basic: joe:pw
    custom_headers: ['Content-Type: application/vnd.x', 'A: b']
    http_request_compression: true
    http_response_compression: true
    timeout: 500ms
    status_code: 204
    denied_status: [401, "403"]
    on_failure: fail
    default_local_port: "587"
    failure_delay: 6s
    transport: json
    penalty_exempt: [10.0.0.0/8, 192.0.2.1, '2001:db8::/32', '[2001:db8::1]', '[fe80::]/64']
"#,
    );
    assert_eq!(login.request.headers["authorization"], "Basic am9lOnB3");
    assert!(login.request.headers["authorization"].is_sensitive());
    assert_eq!(login.request.headers["content-type"], "application/vnd.x");
    assert_eq!(login.request.headers["a"], "b");
    assert!(login.request.compress_request && login.request.compress_response);
    assert_eq!((login.timeout, login.status_code), (Duration::from_millis(500), 204));
    assert_eq!(login.denied_status, [401, 403]);
    assert_eq!(login.on_failure, OnFailure::Fail);
    assert_eq!(login.default_local_port, Some(587));
    assert_eq!(login.failure_delay, Duration::from_secs(6));
    let exempt: Vec<String> = login.penalty_exempt.iter().map(ToString::to_string).collect();
    assert_eq!(exempt, ["10.0.0.0/8", "192.0.2.1/32", "2001:db8::/32", "2001:db8::1/128", "fe80::/64"]);
    let login = settings(
        r"    on_failure: disconnect
    default_local_port: 25
    failure_delay: 0s
    sasl_penalty: false
",
    );
    assert_eq!((login.on_failure, login.default_local_port), (OnFailure::Disconnect, Some(25)));
    assert_eq!((login.failure_delay, login.penalty), (Duration::ZERO, false));
    assert_eq!(settings("    on_failure: auto\n").on_failure, OnFailure::Auto);
    assert_eq!(settings("    sasl_attempts: 0\n").attempts, 0);
}

#[test]
fn a_json_answer_has_fields_of_its_own() {
    let field = |text: &str| Field::parse(text).expect("a field");
    let all = settings(
        r"    accept_field: data.ok
    account_field: /user/name
    reason_field: why
",
    );
    let (accept, account, reason) = (field("data.ok"), Some(field("/user/name")), Some(field("why")));
    assert_eq!(all.fields, Some(Fields { accept, account, reason }));
    let least = settings("    accept_field: ok\n    denied_status: [401]\n");
    assert_eq!(least.fields, Some(Fields { accept: field("ok"), account: None, reason: None }));
}

#[test]
fn a_login_inherits_and_stays_within_its_budget() {
    let server = r"server:
  http_client: {timeout: 3s}
  worker_pool: {max_workers: 7}
";
    let login = good(&(login("") + server)).logins.remove(0);
    assert_eq!(login.timeout, Duration::from_secs(3));
    assert_eq!(login.pool, PoolSettings { workers: 7, queue: 70 });
    let text = r"dovecot_sasl:
  defaults:
    failure_delay: 1s
    penalty_exempt: [10.0.0.0/8]
    custom_headers: ['A: b']
    sasl_oidc_auth: {enabled: true, configuration_uri: 'https://i/', client_id: x, auth_method: none, account_claim: sub}
  one: {target: http://127.9.9.9/}
  other: {target: http://127.9.9.9/, failure_delay: 0s, penalty_exempt: [], sasl_oidc_auth: {enabled: false}}
";
    let config = good(text);
    let [one, other] = &config.logins[..] else { panic!("two logins") };
    assert_eq!((one.failure_delay, one.penalty_exempt.len()), (Duration::from_secs(1), 1));
    assert_eq!((other.failure_delay, other.penalty_exempt.len()), (Duration::ZERO, 0));
    assert!(one.tokens.is_some() && other.tokens.is_none());
    assert!(one.request.headers.contains_key("a") && other.request.headers.contains_key("a"));
}

#[test]
fn each_mistake_in_a_login_is_told_at_its_place() {
    let penalty = "dovecot_sasl.l.penalty_exempt";
    for (lines, expected) in [
        (
            "    timeout: 9s\n",
            "4:14 dovecot_sasl.l.timeout: must be from 1ms to 8s (Postfix gives up a login after 10 s)",
        ),
        ("    timeout: 0s\n", "4:14 dovecot_sasl.l.timeout: must be from 1ms to 8s"),
        ("    timeout: 5\n", "4:14 dovecot_sasl.l.timeout: a duration needs a unit (write 5s)"),
        ("    failure_delay: 7s\n", "4:20 dovecot_sasl.l.failure_delay: must be from 0s to 6s"),
        ("    failure_delay: 2\n", "4:20 dovecot_sasl.l.failure_delay: a duration needs a unit"),
        ("    sasl_attempts: 65536\n", "4:20 dovecot_sasl.l.sasl_attempts: must be from 0 to 65535"),
        ("    sasl_attempts: -1\n", "dovecot_sasl.l.sasl_attempts:"),
        ("    accept_field: [ok]\n", "4:19 dovecot_sasl.l.accept_field: expected a string"),
        ("    sasl_penalty: often\n", "4:19 dovecot_sasl.l.sasl_penalty: expected true or false"),
        ("    status_code: 99\n", "4:18 dovecot_sasl.l.status_code: must be from 100 to 599"),
        (
            "    denied_status: [401, 200]\n",
            "4:26 dovecot_sasl.l.denied_status[1]: is `status_code`, which accepts",
        ),
        ("    denied_status: [99]\n", "4:21 dovecot_sasl.l.denied_status[0]: must be from 100 to 599"),
        (
            "    default_local_port: smtp\n",
            "4:25 dovecot_sasl.l.default_local_port: must be a port from 1 to 65535",
        ),
        ("    default_local_port: 65536\n", "must be a port"),
        ("    default_local_port: 0\n", "must be a port"),
        ("    on_failure: temp\n", "4:17 dovecot_sasl.l.on_failure: must be one of: auto, disconnect, fail"),
        ("    transport: xml\n", "4:16 dovecot_sasl.l.transport: must be one of: json, grpc"),
        ("    method: GET\n", "4:5 dovecot_sasl.l.method: unknown key"),
        ("    cache: {}\n", "4:5 dovecot_sasl.l.cache: unknown key"),
        ("    http_auth_basic: joe\n", "4:22 dovecot_sasl.l.http_auth_basic: must be `user:password`"),
        (
            "    penalty_exempt: 10.0.0.0/8\n",
            "4:21 dovecot_sasl.l.penalty_exempt: expected a list, found a string",
        ),
        (
            "    penalty_exempt: [10.0.0.0/8, 10.1.0.0/8]\n",
            &format!("4:34 {penalty}[1]: the address has bits beyond its network (write \"10.0.0.0/8\")"),
        ),
        (
            "    penalty_exempt: ['2001:db8::1/32']\n",
            &format!("4:22 {penalty}[0]: the address has bits beyond its network (write \"2001:db8::/32\")"),
        ),
        (
            "    penalty_exempt: ['::ffff:10.1.0.0/104']\n",
            "an IPv4 network is written as such (write \"10.0.0.0/8\")",
        ),
        ("    penalty_exempt: ['::ffff:192.0.2.1']\n", "(write \"192.0.2.1/32\")"),
        (
            "    penalty_exempt: [localhost]\n",
            &format!("4:22 {penalty}[0]: must be a network or an address (as \"10.0.0.0/8\""),
        ),
        ("    penalty_exempt: [10.0.0.0/33]\n", "must be a network or an address"),
        ("    penalty_exempt: [10.0.0.0/]\n", "must be a network or an address"),
        ("    penalty_exempt: [10.0.0.0/+8]\n", "must be a network or an address"),
        ("    penalty_exempt: ['[10.0.0.0]/8']\n", "must be a network or an address"),
        ("    penalty_exempt: ['[::1']\n", "must be a network or an address"),
        ("    penalty_exempt: ['']\n", "must be a network or an address"),
    ] {
        one(&login(lines), expected);
    }
    for (target, expected) in [
        ("ftp://h/", "3:13 dovecot_sasl.l.target: a URL begins with http:// or https://"),
        ("https://joe:s3cret@h/", "3:13 dovecot_sasl.l.target: the URL must not hold a user name"),
        (
            "'http://127.9.9.9/{{ .Name | urlencode }}'",
            "3:13 dovecot_sasl.l.target: the target of a login holds no insertion",
        ),
    ] {
        one(&login("").replace("http://127.9.9.9/auth", target), expected);
    }
    one("dovecot_sasl:\n  l: {status_code: 200}\n", "2:3 dovecot_sasl.l: `target` is missing");
    // The hint says it.
    one(
        "dovecot_sasl:\n  l: {targte: 'https://a/'}\n",
        "2:7 dovecot_sasl.l.targte: unknown key (did you mean `target`?)",
    );
    one("dovecot_sasl: {l: ~}\n", "1:16 dovecot_sasl.l: `target` is missing");
}

#[test]
fn each_warning_is_told_once() {
    let cases = [
        ("    payload: x\n", "4:5 warning dovecot_sasl.l.payload: has no effect in dovecot_sasl"),
        ("    value_field: x\n", "4:5 warning dovecot_sasl.l.value_field: has no effect in"),
        ("    error_field: x\n", "4:5 warning dovecot_sasl.l.error_field: has no effect in"),
        ("    no_error_value: x\n", "4:5 warning dovecot_sasl.l.no_error_value: has no effect in"),
        (
            "    accept_bare_status: true\n",
            "4:5 warning dovecot_sasl.l.accept_bare_status: every password is accepted",
        ),
        (
            "    account_field: a\n",
            "4:5 warning dovecot_sasl.l.account_field: has no effect without `accept_field`",
        ),
        (
            "    reason_field: a\n",
            "4:5 warning dovecot_sasl.l.reason_field: has no effect without `accept_field`",
        ),
        (
            "    accept_field: ok\n    accept_bare_status: true\n",
            "5:5 warning dovecot_sasl.l.accept_bare_status: has no effect with `accept_field`",
        ),
        (
            "    sasl_penalty: false\n    penalty_exempt: ['::1']\n",
            "5:5 warning dovecot_sasl.l.penalty_exempt: has no effect with `sasl_penalty: false`",
        ),
    ];
    for (lines, expected) in cases {
        one(&login(lines), expected);
    }
    assert!(
        check(&login("    accept_bare_status: true\n")).expect("a warning").0.logins[0].accept_bare_status
    );
    settings(
        r"    sasl_penalty: false
    penalty_exempt: []
    accept_bare_status: false
",
    );
    let at = "warning dovecot_sasl.l.sasl_oidc_auth";
    for (keys, expected) in [
        (
            "check_audience: false",
            format!("4:84 {at}.check_audience: accepts tokens that were issued for any other"),
        ),
        (
            "validation: jwks, client_secret: a, auth_method: none",
            format!("{at}.client_secret: has no effect with auth_method none"),
        ),
    ] {
        one(&sasl(&format!("{LEAST}, {keys}")), &expected);
    }
    one(
        &sasl(&LEAST.replace("https", "http")),
        &format!("{at}.configuration_uri: credentials and tokens go"),
    );
    let both = sasl(&format!("{LEAST}, check_audience: false, audiences: [a], require_audience: true"));
    let told = told(&both);
    assert_eq!(told.len(), 3, "{told:#?}");
    for (told, key) in told.iter().zip([
        "check_audience: accepts tokens",
        "audiences: has no effect with `check",
        "require_audience: has no",
    ]) {
        assert!(told.contains(key), "{told}");
    }
    // What is switched off says nothing.
    good(&sasl(
        "enabled: false, check_audience: false, client_secret: a, auth_method: none, configuration_uri: 'http://i/'",
    ));
}

#[test]
fn tokens_may_log_in() {
    let least = tokens(LEAST);
    assert_eq!(least.client.configuration_uri.as_str(), "https://i/");
    assert_eq!((least.client.client_id.as_str(), &least.client.authentication), ("x", &Authentication::None));
    assert!(least.client.scopes.is_empty());
    assert_eq!(
        (least.validation, least.jwks_cache_ttl),
        (Validation::Introspection, Duration::from_secs(300))
    );
    assert_eq!((least.account_claim.as_deref(), least.audiences), (Some("sub"), Some(vec!["x".to_owned()])));
    assert!(!least.require_audience);

    let all = tokens(&format!(
        "{LEAST}, client_secret: s3cret, auth_method: client_secret_post, scopes: [introspect], validation: auto, jwks_cache_ttl: 1h, account_claim: mail, audiences: [a, 5], require_audience: true, check_audience: true"
    ));
    assert_eq!(all.client.authentication, Authentication::SecretPost(Secret::new("s3cret".to_owned())));
    assert_eq!(all.client.scopes, ["introspect"]);
    assert_eq!((all.validation, all.jwks_cache_ttl), (Validation::Auto, Duration::from_secs(3600)));
    assert_eq!(all.account_claim.as_deref(), Some("mail"));
    assert_eq!(all.audiences, Some(vec!["a".to_owned(), "5".to_owned()]));
    assert!(all.require_audience);

    let (config, _) = check(&sasl(&format!("{LEAST}, validation: jwks, account_claim: '', audiences: []")))
        .expect("one warning");
    let some = config.logins[0].tokens.clone().expect("it is enabled");
    assert_eq!((some.validation, some.account_claim), (Validation::Jwks, None));
    assert_eq!(some.audiences, Some(vec!["x".to_owned()]));
    assert_eq!(tokens(&format!("{LEAST}, validation: introspection")).validation, Validation::Introspection);
    let (config, _) = check(&sasl(&format!("{LEAST}, check_audience: false"))).expect("one warning");
    assert_eq!(config.logins[0].tokens.as_ref().map(|tokens| &tokens.audiences), Some(&None));
    assert!(settings("    sasl_oidc_auth: {enabled: false, client_id: x}\n").tokens.is_none());
}

#[test]
fn both_blocks_take_every_auth_method() {
    let directory = tempfile::tempdir().expect("a directory");
    let [secret, key] = ["secret", "key"].map(|name| directory.path().join(name));
    private(&secret, "s3cret\n");
    private(&key, rcgen::KeyPair::generate().expect("a key").serialize_pem());
    for block in ["backend_oidc_auth", "sasl_oidc_auth"] {
        let resolved = |keys: &str| {
            let claim = if block == "sasl_oidc_auth" { ", account_claim: sub, validation: jwks" } else { "" };
            let mut login = settings(&format!("    {block}: {{{LEAST}{keys}{claim}}}\n"));
            assert!(!format!("{login:?}").contains("s3cret"));
            let client = if block == "sasl_oidc_auth" {
                login.tokens.take().map(|tokens| tokens.client)
            } else {
                login.request.bearer.take().map(|client| *client)
            };
            client.expect("it is enabled").authentication
        };
        let file = format!(", client_secret_file: {}", secret.display());
        let key = format!(", private_key_file: {}", key.display());
        let s3cret = || Secret::new("s3cret".to_owned());
        assert_eq!(resolved(""), Authentication::None);
        assert_eq!(resolved(", auth_method: none"), Authentication::None);
        assert_eq!(resolved(&file), Authentication::SecretBasic(s3cret()));
        assert_eq!(
            resolved(&format!("{file}, auth_method: client_secret_post")),
            Authentication::SecretPost(s3cret())
        );
        assert!(matches!(resolved(&key), Authentication::PrivateKey(_)));
        assert!(matches!(
            resolved(&format!("{key}, auth_method: private_key_jwt")),
            Authentication::PrivateKey(_)
        ));
    }
}

#[test]
fn each_mistake_in_a_token_block_is_told_at_its_place() {
    let at = "dovecot_sasl.l.sasl_oidc_auth";
    for (keys, expected) in [
        ("validation: x", format!("4:96 {at}.validation: must be one of: introspection, jwks, auto")),
        ("jwks_cache_ttl: 5s", format!("4:100 {at}.jwks_cache_ttl: must be from 1m to 7days")),
        ("account_claim: 'a b'", format!("4:99 {at}.account_claim: a claim's name is printable ASCII")),
        ("audiences: [a, '']", format!("4:99 {at}.audiences[1]: an audience is not empty")),
        (
            "issuers: ['https://l/{tenantid}/v2']",
            format!("4:5 {at}: `tenants` is missing (`{{tenantid}}` in issuers stands for each of them)"),
        ),
        ("issuers: [a, '']", format!("4:97 {at}.issuers[1]: an issuer is what `iss` of its tokens says")),
        ("issuers: ['a b']", format!("4:94 {at}.issuers[0]: an issuer is what")),
        ("issuers: ['https://l/{tenant}']", format!("4:94 {at}.issuers[0]: an issuer is what")),
        (
            "issuers: ['{tenantid}{tenantid}'], tenants: [a]",
            format!("4:94 {at}.issuers[0]: an issuer is what"),
        ),
        ("issuers: ['{tenantid}'], tenants: [a]", format!("4:94 {at}.issuers[0]: an issuer is what")),
        (
            "issuers: ['https://l/{tenantid}'], tenants: [a-1, 'a/b']",
            format!("{at}.tenants[1]: a tenant is what `tid` of its tokens says"),
        ),
        (
            "issuers: ['https://l/'], tenants: [a-1]",
            format!("warning {at}.tenants: has no effect without `{{tenantid}}` in `issuers`"),
        ),
        ("audiences: a", format!("4:95 {at}.audiences: expected a list, found a string")),
        ("auth_method: private_key_jwt", format!("4:5 {at}: `private_key_file` is missing")),
        ("auth_method: client_secret_basic", format!("4:5 {at}: `client_secret` is missing")),
        ("private_key_file: /nowhere", format!("4:102 {at}.private_key_file: the file cannot be read")),
        ("scopes: ['a b']", format!("4:93 {at}.scopes[0]: a scope is printable ASCII")),
        ("realm: x", format!("4:84 {at}.realm: unknown key")),
    ] {
        one(&sasl(&format!("{LEAST}, {keys}")), &expected);
    }
    one(
        &sasl("enabled: true, configuration_uri: 'https://i/'"),
        "4:5 dovecot_sasl.l.sasl_oidc_auth: `client_id` is missing",
    );
    one(
        &sasl("enabled: true, client_id: x"),
        "4:5 dovecot_sasl.l.sasl_oidc_auth: `configuration_uri` is missing",
    );
}

#[test]
fn an_issuer_with_a_placeholder_has_tenants() {
    let issuers = |keys: &str| tokens(&format!("{LEAST}{keys}")).issuers;
    assert!(issuers("").are_discovered());
    let own = issuers(", issuers: ['https://own/']");
    assert_eq!((own.names, own.tenants), (vec!["https://own/".to_owned()], Vec::new()));
    let many = issuers(", issuers: ['https://l/{tenantid}/v2', 'https://own/'], tenants: [a-1, 5]");
    assert_eq!(many.names, ["https://l/{tenantid}/v2", "https://own/"]);
    assert_eq!(many.tenants, ["a-1", "5"]);
    // What is switched off may lack anything.
    settings("    sasl_oidc_auth: {enabled: false, issuers: ['https://l/{tenantid}/v2']}\n");
}

#[test]
fn a_login_by_a_claim_that_nobody_chose_is_told() {
    let at = "warning dovecot_sasl.l.sasl_oidc_auth.account_claim: is not set: `username`";
    for text in ["", ", account_claim: ''"] {
        one(&login(&format!("    sasl_oidc_auth: {{{LEAST}, auth_method: none{text}}}\n")), at);
    }
    settings("    sasl_oidc_auth: {enabled: false, client_id: x}\n");
}

/// RFC 7662 2.1: a provider must not answer a client that it does not know.
#[test]
fn introspection_without_a_secret_is_told() {
    let block = |keys: &str| login(&format!("    sasl_oidc_auth: {{{LEAST}, account_claim: sub{keys}}}\n"));
    let due = "4:5 warning dovecot_sasl.l.sasl_oidc_auth: asks the provider about tokens without a client_secret, \
               which most providers refuse (set client_secret_file, or private_key_file, or `validation: jwks`)";
    for keys in ["", ", validation: introspection", ", auth_method: auto"] {
        one(&block(keys), due);
    }
    for keys in [", validation: jwks", ", validation: auto", ", auth_method: none", ", client_secret: s3cret"]
    {
        good(&block(keys));
    }
    good(&login(&format!("    backend_oidc_auth: {{{LEAST}}}\n")));
}

#[test]
fn a_login_listener_needs_its_entry() {
    let text = r"server:
  listen:
    - {kind: dovecot_sasl, name: l, type: tcp, address: '::1', port: 5}
    - {kind: dovecot_sasl, name: L, type: tcp, address: '::1', port: 5}
dovecot_sasl: {l: {target: http://127.9.9.9/}}
";
    assert_eq!(
        told(text),
        [
            "4:34 server.listen[1].name: there is no entry \"L\" in dovecot_sasl (there is \"l\": names are case-sensitive)",
            "4:57 server.listen[1].address: the same endpoint as server.listen[0] at line 3, column 57",
        ]
    );
    let config = good(
        &text.replace("name: L, type: tcp, address: '::1', port: 5", "name: l, type: unix, address: /a"),
    );
    for listener in &config.server.sockets.listen {
        assert_eq!((listener.protocol, listener.name.as_str()), (Protocol::Sasl, "l"));
    }
    one(
        &text.replace("name: L", "name: l").replacen("'::1'", "'::'", 1).replacen("port: 5", "port: 6", 1),
        "3:48 warning server.listen[0].address: listens beyond loopback",
    );
    one(
        &text
            .replace("    - {kind: dovecot_sasl, name: L, type: tcp, address: '::1', port: 5}\n", "")
            .replace("name: l, ", ""),
        "`name` is missing (it says which entry of dovecot_sasl is asked)",
    );
}

#[test]
fn variables_reach_the_keys_of_logins() {
    let text = sasl("client_id: x, client_secret_file: /nowhere");
    let variables = [
        ("PFXHTTP_DOVECOT_SASL_L_PENALTY_EXEMPT", "10.0.0.0/8, ::1"),
        ("PFXHTTP_DOVECOT_SASL_L_FAILURE_DELAY", "3s"),
        ("PFXHTTP_DOVECOT_SASL_L_SASL_OIDC_AUTH_ENABLED", "true"),
        ("PFXHTTP_DOVECOT_SASL_L_SASL_OIDC_AUTH_CONFIGURATION_URI", "https://i/"),
        ("PFXHTTP_DOVECOT_SASL_L_SASL_OIDC_AUTH_CLIENT_SECRET", "s3cret"),
        ("PFXHTTP_DOVECOT_SASL_L_SASL_OIDC_AUTH_AUDIENCES", "[a, b]"),
        ("PFXHTTP_DOVECOT_SASL_L_BACKEND_OIDC_AUTH_ENABLED", "yes"),
        ("PFXHTTP_DOVECOT_SASL_L_BACKEND_OIDC_AUTH_PRIVATE_KEY_FILE", "/s3cret"),
    ];
    let under = |count: usize| {
        let variables: Vec<_> =
            variables.iter().take(count).map(|(name, value)| ((*name).into(), (*value).into())).collect();
        parse_as(Path::new("pfxhttp.yml"), &text, options(Syntax::Yaml, &variables))
    };
    let (mut config, warnings) = under(6).unwrap_or_else(|problems| panic!("{}", shown(&problems)));
    assert!(warnings.is_empty(), "{}", shown(&warnings));
    let login = config.logins.remove(0);
    assert_eq!((login.penalty_exempt.len(), login.failure_delay), (2, Duration::from_secs(3)));
    let tokens = login.tokens.expect("it is enabled");
    assert_eq!(tokens.client.authentication, Authentication::SecretBasic(Secret::new("s3cret".to_owned())));
    assert_eq!(tokens.audiences, Some(vec!["a".to_owned(), "b".to_owned()]));
    let problems = shown(&under(8).expect_err("no boolean"));
    assert!(problems.starts_with("PFXHTTP_DOVECOT_SASL_L_BACKEND_OIDC_AUTH_ENABLED: error: "), "{problems}");
    assert!(!problems.contains("s3cret"), "{problems}");
}

#[test]
fn no_secret_of_a_login_is_shown() {
    let lines = r"    http_auth_basic: joe:s3cret
    custom_headers: ['X-Key: s3cret']
    sasl_oidc_auth: {enabled: true, configuration_uri: 'https://i/', client_id: x, client_secret: s3cret, account_claim: sub}
";
    let config = good(&login(lines));
    let debug = format!("{config:?}");
    assert!(
        debug.contains("SecretBasic") && !debug.contains("s3cret") && !debug.contains("czNjcmV0"),
        "{debug}"
    );
    for text in [
        sasl("enabled: true, client_secret: s3cret"),
        sasl("enabled: true, client_secret: [s3cret]"),
        sasl("enabled: true, client_secert: s3cret"),
        sasl("enabled: true, private_key_file: s3cret, client_secret_file: s3cret"),
        sasl("enabled: true, configuration_uri: 'https://joe:s3cret@i/', client_id: x"),
        sasl("client_secret: s3cret, validation: x"),
        sasl("client_secret: \"s3cret\" s3cret"),
        login("    grpc: {metadata: {authorization: [s3cret]}}\n"),
        login("    grpc: {metadata: {authorization: s3cret}}\n"),
    ] {
        let problems = check(&text).expect_err("wrong");
        assert!(!shown(&problems).contains("s3cret"), "{text}\n{}", shown(&problems));
        assert!(!format!("{problems:?}").contains("s3cret"), "{text}");
    }
}
