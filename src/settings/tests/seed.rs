//! The specification's own examples, each pasted as it is.

use super::*;

/// The errors, and the warnings, of an example.
fn verdict(name: &str) -> [Vec<String>; 2] {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/seed").join(format!("{name}.yml"));
    let text = std::fs::read_to_string(path).expect("an example");
    // The one file that an example names is there on most hosts, and not on all.
    let told = told(&text).into_iter().filter(|told| !told.contains("tls.root_ca: "));
    let (warnings, errors) = told.partition(|told| told.contains(" warning "));
    [errors, warnings]
}

#[test]
fn the_whole_example_lacks_nothing() {
    let [errors, warnings] = verdict("server_settings");
    assert_eq!(errors, [""; 0]);
    assert_eq!(warnings.len(), 5, "three listeners, skip_verify and account_claim: {warnings:#?}");
}

#[test]
fn parts_of_server_load() {
    for name in ["response_cache", "worker_pool", "compression"] {
        assert_eq!(verdict(name), [vec![], Vec::<String>::new()], "{name}");
    }
    let [errors, warnings] = verdict("listener_pool");
    assert_eq!((errors.len(), warnings.len()), (0, 1), "it listens on every address");
}

#[test]
fn fragments_are_told_what_they_lack() {
    let lacks = [
        "2:3 socket_maps.example: `payload` is missing",
        "2:3 socket_maps.example: `value_field` is missing",
    ];
    assert_eq!(verdict("oidc"), [lacks.map(str::to_owned).to_vec(), vec![]]);
    let [errors, warnings] = verdict("advanced_oidc");
    assert_eq!(errors, lacks);
    assert_eq!(
        warnings,
        ["12:5 warning socket_maps.example.sasl_oidc_auth: has no effect outside dovecot_sasl"]
    );
    let [errors, warnings] = verdict("dovecot_sasl");
    assert_eq!(errors, ["7:5 dovecot_sasl.login_smtp.sasl_oidc_auth: `client_id` is missing"]);
    let [warning] = &warnings[..] else { panic!("{warnings:#?}") };
    assert!(warning.contains("sasl_oidc_auth.account_claim: is not set"), "{warning}");
}
