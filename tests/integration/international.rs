//! Domains in every spelling: A-labels, U-labels, decomposed letters, capitals. Whatever names the
//! same domain is the same domain, and what names none is for the API to judge.

use crate::support::backend::Backend;
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
fn domains_are_one_in_every_spelling() {
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
        assert_eq!(api.count(), calls, "no call was made: {:?}", api.last());
    }
}

#[test]
fn a_domain_that_cannot_be_converted_is_asked_about() {
    let api = Backend::constant(r#"{"value": "v"}"#);
    let setup = Setup::start(|config| config.map("m", &api.url("/"), &["domains: [example.com]"]));
    let mut peer = setup.map();
    let long = format!("bob@{}.example", "ü".repeat(2000));
    for key in ["bob@xn--0.example", "bob@xn--bcher-kva-.example", "bob@a\u{200e}b.example", &long] {
        assert_eq!(peer.look_up("m", key), "OK v", "{key:?}");
        assert_eq!(api.last().text("key"), key);
    }
}
