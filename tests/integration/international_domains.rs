//! Domains in every spelling: A-labels, U-labels, decomposed letters, capitals. All spellings of a
//! domain are equal; a text that is no domain is passed to the API.

use serde_json::json;

use crate::support::backend::{Backend, Reply};
use crate::support::setup::Setup;

const ABSENT: &str = "NOTFOUND ";

/// One domain, as Postfix, a mail client or an administrator may write it.
const SPELLINGS: [&str; 6] = [
    "bücher.example",
    "xn--bcher-kva.example",
    "XN--BCHER-KVA.EXAMPLE",
    "bu\u{308}cher.example",
    "BÜCHER.example",
    "bücher.example.",
];

#[test]
fn all_spellings_of_a_domain_are_equal() {
    let api = Backend::constant(r#"{"value": "v"}"#);
    let setup = Setup::start(|config| {
        let config = config.map("a_label", &api.url("/"), &["domains: [xn--bcher-kva.example]"]);
        let config = config.map("u_label", &api.url("/"), &["domains: [Bücher.example, other.example]"]);
        config.map("decomposed", &api.url("/"), &["domains: [\"bu\\u0308cher.example\"]"])
    });
    let mut peer = setup.map();
    for map in ["a_label", "u_label", "decomposed"] {
        for spelling in SPELLINGS {
            for key in [format!("bob@{spelling}"), format!("@{spelling}"), spelling.to_owned()] {
                assert_eq!(peer.look_up(map, &key), "OK v", "{map} {key:?}");
                assert_eq!(api.last().text("key"), key, "the key is sent as it came");
            }
        }
        let calls = api.count();
        for key in ["bob@bucher.example", "bob@sub.bücher.example", "xn--bcher-kva.example@evil.example"] {
            assert_eq!(peer.look_up(map, key), ABSENT, "{map} {key:?}");
        }
        assert_eq!(api.count(), calls, "no request was made: {:?}", api.last());
    }
}

#[test]
fn a_domain_that_cannot_be_converted_is_passed_to_the_api() {
    let api = Backend::constant(r#"{"value": "v"}"#);
    let setup = Setup::start(|config| config.map("m", &api.url("/"), &["domains: [example.com]"]));
    let mut peer = setup.map();
    let long = format!("bob@{}.example", "ü".repeat(2000));
    for key in ["bob@xn--0.example", "bob@xn--bcher-kva-.example", "bob@a\u{200e}b.example", &long] {
        assert_eq!(peer.look_up("m", key), "OK v", "{key:?}");
        assert_eq!(api.last().text("key"), key);
    }
}

#[test]
fn a_template_chooses_the_spelling() {
    let api = Backend::constant(r#"{"value": "v", "action": "DUNNO"}"#);
    let target = format!("target: \"{}\"", api.url("/{{ .Key | domain | ascii_domain | urlencode }}"));
    let payload = r#"payload: '{"a": "{{ .Key | ascii_domain }}", "u": "{{ .Key | unicode_domain }}"}'"#;
    let policy = r#"payload: '{"to": {{ .Recipient | ascii_domain }}}'"#;
    let setup = Setup::start(|config| {
        let config = config.map_of("m", &[&target, payload, "value_field: value"]);
        let target = format!("target: \"{}\"", api.url("/p"));
        config.policy_of("p", &[&target, policy, "value_field: action"])
    });
    let mut peer = setup.map();
    for spelling in SPELLINGS.iter().filter(|spelling| !spelling.ends_with('.')) {
        assert_eq!(peer.look_up("m", &format!("José@{spelling}")), "OK v", "{spelling}");
        let request = api.last();
        assert_eq!(request.path, "/xn--bcher-kva.example", "{spelling}");
        let due = json!({ "a": "José@xn--bcher-kva.example", "u": "José@bücher.example" });
        assert_eq!(request.json(), due, "{spelling}");
    }
    assert_eq!(peer.look_up("m", "bob@xn--0.example"), "OK v");
    assert_eq!(
        api.last().text("a"),
        "bob@xn--0.example",
        "a domain that cannot be converted is sent as it is"
    );
    assert_eq!(setup.policy("p").ask(&[("recipient", "bob@bücher.example")]), "action=DUNNO\n\n");
    assert_eq!(api.last().text("to"), "bob@xn--bcher-kva.example");
}

#[test]
fn strip_extension_removes_the_extension() {
    let api = Backend::start(|request| match request.path.as_str() {
        "/bob%40example.org" | "/bob/quota" => Reply::json(r#"{"value": "v"}"#),
        _ => Reply::status(404),
    });
    let get = |path: &str| format!("target: \"{}\"", api.url(path));
    let [whole, local] = [
        "/{{ .Key | strip_extension | urlencode }}",
        "/{{ .Key | localpart | strip_extension | urlencode }}/quota",
    ]
    .map(get);
    let common = ["method: GET", "value_field: value", "not_found_status: [404]"];
    let setup = Setup::start(|config| {
        let config = config.map_of("m", &[&common[..], &[&whole, "recipient_delimiter: \"+-\""]].concat());
        config.map_of("local", &[&common[..], &[&local, "recipient_delimiter: \"+\""]].concat())
    });
    let mut peer = setup.map();
    for (map, key, due) in [
        ("m", "bob@example.org", "OK v"),
        ("m", "bob+tag@example.org", "OK v"),
        ("m", "bob-tag+x@example.org", "OK v"),
        ("m", "bob+a+b@example.org", "OK v"),
        ("m", "bob_tag@example.org", ABSENT),
        ("m", "+bob@example.org", ABSENT),
        ("m", "owner-bob@example.org", ABSENT),
        ("local", "bob+tag@example.org", "OK v"),
        ("local", "bob-tag@example.org", ABSENT),
    ] {
        assert_eq!(peer.look_up(map, key), due, "{map} {key}: {}", api.last().path);
    }
}
