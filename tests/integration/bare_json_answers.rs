//! APIs whose whole answer is the value: a bare JSON text, boolean or list. Mailu and Userli are two of
//! them; their maps are taken from the manual.

use std::path::Path;

use crate::support::backend::{Backend, Reply, Request};
use crate::support::broker::Broker;
use crate::support::config::Config;
use crate::support::peer::Peer;
use crate::support::setup::Setup;
use crate::support::site::open_directory;

const ABSENT: &str = "NOTFOUND ";
const TEMP: &str = "TEMP Temporary server problem";

/// Starts entries of these lines and asks row by row: the map, what the API says, the reply.
fn play(maps: &[(&str, &[&str])], rows: &[(&str, &str, &str)]) {
    let bodies: Vec<String> = rows.iter().map(|(_, body, _)| (*body).to_owned()).collect();
    let api = Backend::start(move |request: &Request| {
        let number: usize = request.text("key").parse().expect("the key is a number");
        Reply::json(&bodies[number])
    });
    let target = format!("target: \"{}\"", api.url("/"));
    let payload = r#"payload: '{"key": "{{ .Key }}"}'"#;
    let setup = Setup::start(|config| {
        maps.iter().fold(config, |config, (name, lines)| {
            config.map_of(name, &[&[target.as_str(), payload], *lines].concat())
        })
    });
    let mut peer = setup.map();
    let mut got = Vec::new();
    for (number, (map, body, _)) in rows.iter().enumerate() {
        got.push(format!("{map} {body}: {}", peer.look_up(map, &number.to_string())));
    }
    let due: Vec<_> = rows.iter().map(|(map, body, due)| format!("{map} {body}: {due}")).collect();
    assert_eq!(got, due);
}

#[test]
fn a_whole_document_is_a_value() {
    play(
        &[
            ("m", &["value_field: \"\""]),
            ("slash", &["value_field: /"]),
            ("lenient", &["value_field: \"\"", "false_is_not_found: true", "empty_value: not_found"]),
            ("checked", &["value_field: \"\"", "error_field: error", "no_error_value: none"]),
            ("named", &["value_field: value"]),
        ],
        &[
            ("m", r#""bob@example.org""#, "OK bob@example.org"),
            ("slash", " \"a b\"\n", "OK a b"),
            ("m", "true", "OK true"),
            ("m", "false", "OK false"),
            ("m", "12.50", "OK 12.5"),
            ("m", r#"["a", ["b", null]]"#, "OK a,b"),
            ("m", "[]", "PERM unexpected value"),
            ("m", "null", "PERM empty value"),
            ("m", r#""""#, "PERM empty value"),
            ("m", r#"{"value": "v"}"#, "PERM unexpected value"),
            ("m", r#""a\nb""#, "PERM unexpected value"),
            ("m", "<html>", TEMP),
            ("m", "Not Found", TEMP),
            ("m", "", TEMP),
            ("m", r#""a" "b""#, TEMP),
            ("m", "[[", TEMP),
            ("lenient", "false", ABSENT),
            ("lenient", r#""false""#, "OK false"),
            ("lenient", "[false]", "OK false"),
            ("lenient", "true", "OK true"),
            ("lenient", "0", "OK 0"),
            ("lenient", "[]", ABSENT),
            ("lenient", r#"[null, ""]"#, ABSENT),
            ("lenient", "null", ABSENT),
            ("lenient", "[{}]", "PERM unexpected value"),
            ("lenient", "{}", "PERM unexpected value"),
            ("checked", r#""v""#, "OK v"),
            ("checked", r#"["error"]"#, "OK error"),
            ("checked", r#"{"error": "no luck"}"#, "PERM unexpected error received: no luck"),
            ("named", r#""v""#, TEMP),
            ("named", "true", TEMP),
        ],
    );
}

#[test]
fn false_may_mean_not_found_in_a_field() {
    play(
        &[("m", &["value_field: value", "false_is_not_found: true"])],
        &[
            ("m", r#"{"value": false}"#, ABSENT),
            ("m", r#"{"value": true}"#, "OK true"),
            ("m", r#"{"value": "false"}"#, "OK false"),
            ("m", r#"{"value": null}"#, "PERM empty value"),
        ],
    );
}

#[test]
fn a_whole_document_may_be_an_action() {
    let api = Backend::constant(r#""REJECT not yours""#);
    let setup = Setup::start(|config| {
        let target = format!("target: \"{}\"", api.url("/"));
        config.policy_of("p", &[&target, "payload: \"{{ .Key }}\"", "value_field: \"\""])
    });
    let mut peer = setup.policy("p");
    assert_eq!(peer.ask(&[("sender", "a@example.org")]), "action=REJECT not yours\n\n");
    for (body, due) in [
        ("null", "action=DUNNO\n\n"),
        ("true", "action=DEFER Temporary server problem\n\n"),
        ("[\"OK\"]", "action=DEFER Temporary server problem\n\n"),
    ] {
        api.answer_with(move |_| Reply::json(body));
        assert_eq!(peer.ask(&[("sender", "a@example.org")]), due, "{body}");
    }
}

/// The configuration below EXAMPLES in the manual that begins with this line, with `origin` replaced by
/// the API's.
fn example(first: &str, origin: &str, api: &Backend) -> String {
    let manual = Path::new(env!("CARGO_MANIFEST_DIR")).join("man/pfxhttp.yml.5");
    let manual = std::fs::read_to_string(manual).expect("the manual");
    let (_, examples) = manual.split_once(".Sh EXAMPLES").expect("examples");
    let mut blocks =
        examples.split(".Bd -literal -offset indent\n").filter_map(|part| part.split_once(".Ed"));
    let found = blocks.find(|(block, _)| block.starts_with(first)).expect("the example");
    assert!(found.0.contains(origin), "{origin} is in the example");
    found.0.replace(origin, &api.url(""))
}

/// A broker with the maps of an example, and a connection to ask them.
fn asked(entries: &str) -> (Broker, Peer, tempfile::TempDir) {
    let directory = open_directory();
    let socket = directory.path().join("maps.sock");
    let file =
        Config::new(directory.path()).listen_unix(crate::support::config::Kind::Map, "maps", &socket).write();
    let text = std::fs::read_to_string(&file).expect("the file");
    std::fs::write(&file, format!("{text}\n{entries}")).expect("the file");
    let broker = Broker::start(&file);
    (broker, Peer::unix(&socket), directory)
}

/// Answers as core/admin/mailu/internal/views/postfix.py of Mailu does: a JSON text, or 404 and a page.
fn mailu(request: &Request) -> Reply {
    let known = [
        ("/internal/postfix/domain/example.org", "example.org"),
        ("/internal/postfix/domain/alternative.example", "example.org"),
        ("/internal/postfix/mailbox/bob%40example.org", "bob@example.org"),
        ("/internal/postfix/alias/team%40example.org", "bob@example.org,eve@example.net"),
        ("/internal/postfix/transport/x%40relay.example", "smtp:[192.0.2.1]"),
        ("/internal/postfix/sender/login/bob%40example.org", "bob@example.org"),
    ];
    match known.iter().find(|(path, _)| *path == request.path) {
        Some((_, value)) => Reply::json(&format!("{}\n", serde_json::Value::from(*value))),
        None => Reply::status_json(404, "<!doctype html>\n<title>404 Not Found</title>\n"),
    }
}

#[test]
fn the_manuals_maps_work_with_mailu() {
    let api = Backend::start(mailu);
    let (_broker, mut peer, _directory) = asked(&example("# Mailu", "http://admin:8080", &api));
    for (map, key, due) in [
        ("domains", "example.org", "OK example.org"),
        ("domains", "alternative.example", "OK example.org"),
        ("domains", "example.net", ABSENT),
        ("mailboxes", "bob@example.org", "OK bob@example.org"),
        ("mailboxes", "eve@example.org", ABSENT),
        ("aliases", "team@example.org", "OK bob@example.org,eve@example.net"),
        ("aliases", "eve@example.org", ABSENT),
        ("transports", "x@relay.example", "OK smtp:[192.0.2.1]"),
        ("transports", "*", ABSENT),
        ("senders", "bob@example.org", "OK bob@example.org"),
        ("senders", "../domain/example.org", ABSENT),
    ] {
        assert_eq!(peer.look_up(map, key), due, "{map} {key}");
    }
    api.answer_with(|_| Reply::status(500));
    assert_eq!(peer.look_up("mailboxes", "bob@example.org"), TEMP);
}

/// Answers as src/Controller/Api/PostfixController.php of Userli does: booleans and lists, always 200.
fn userli(request: &Request) -> Reply {
    if request.header("authorization") != Some("Bearer secret") {
        return Reply::status(401);
    }
    let (kind, name) =
        request.path.strip_prefix("/api/postfix/").and_then(|path| path.split_once('/')).expect("a path");
    Reply::json(match (kind, name) {
        ("domain", "example.org") | ("mailbox", "bob%40example.org") => "true",
        ("domain" | "mailbox", _) => "false",
        ("alias", "team%40example.org") => r#"["bob@example.org","eve@example.org"]"#,
        ("senders", "bob%40example.org") => r#"["bob@example.org"]"#,
        _ => "[]",
    })
}

#[test]
fn the_manuals_maps_work_with_userli() {
    let api = Backend::start(userli);
    let entries = example("# Userli", "https://users.example.org", &api);
    let (_broker, mut peer, _directory) = asked(&entries);
    for (map, key, due) in [
        ("domains", "example.org", "OK true"),
        ("domains", "example.net", ABSENT),
        ("mailboxes", "bob@example.org", "OK true"),
        ("mailboxes", "bob+tag@example.org", "OK true"),
        ("mailboxes", "eve@example.org", ABSENT),
        ("aliases", "team@example.org", "OK bob@example.org,eve@example.org"),
        ("aliases", "bob@example.org", ABSENT),
        ("senders", "bob@example.org", "OK bob@example.org"),
        ("senders", "eve@example.org", ABSENT),
    ] {
        assert_eq!(peer.look_up(map, key), due, "{map} {key}");
    }
    let without = asked(&entries.replace("Bearer secret", "Bearer other"));
    let (_other, mut peer, _elsewhere) = without;
    assert_eq!(peer.look_up("mailboxes", "bob@example.org"), TEMP, "a wrong token is a temporary failure");
}
