//! One configuration in three syntaxes: the same settings, and the same mistakes at their places.

use super::*;

const YAML: &str = r#"
server:
  listen:
    - {kind: socket_map, name: users, type: tcp, address: "127.0.0.1", port: 23450}
  logging: {json: true, level: debug}
  http_client: {timeout: 5s, max_connections_per_host: 7}
socket_maps:
  users:
    target: "http://h/u?k={{ .Key | urlencode }}"
    method: GET
    custom_headers: ["X-Smile: a", "B: c"]
    value_field: data.result
    no_error_value: "ä 😀"
    error_field: error
    not_found_status: [404]
"#;

const TOML: &str = r#"
[server]
logging = {json = true, level = "debug"}
[[server.listen]]
kind = "socket_map"
name = "users"
type = "tcp"
address = "127.0.0.1"
port = 23_450
[server.http_client]
timeout = "5s"
max_connections_per_host = 0x7
[socket_maps.users]
target = "http://h/u?k={{ .Key | urlencode }}"
method = "GET"
custom_headers = ["X-Smile: a", "B: c"]
value_field = "data.result"
no_error_value = "ä \U0001F600"
error_field = 'error'
not_found_status = [
  404,
]
"#;

const JSON: &str = r#"{
	"server": {
		"listen": [{"kind":"socket_map","name":"users","type":"tcp","address":"127.0.0.1","port":23450}],
		"logging": {"json": true, "level": "debug"},
		"http_client": {"timeout": "5s", "max_connections_per_host": 7}
	},
	"socket_maps": {"users": {
		"target": "http:\/\/h/u?k={{ .Key | urlencode }}", "method": "GET",
		"custom_headers": ["X-Smile: a", "B: c"], "value_field": "data.result",
		"no_error_value": "\u00e4 \ud83d\ude00", "error_field": "error",
		"not_found_status": [404]
	}}
}
"#;

fn read(syntax: Syntax, text: &str) -> Read {
    parse_as(Path::new("pfxhttp"), text, options(syntax, &[]))
}

fn problems(syntax: Syntax, text: &str) -> Vec<String> {
    let (Ok((_, problems)) | Err(problems)) = read(syntax, text);
    problems.iter().map(brief).collect()
}

#[test]
fn the_same_configuration_gives_the_same_settings() {
    let shown = |syntax, text| {
        let (config, warnings) = read(syntax, text).unwrap_or_else(|problems| panic!("{}", shown(&problems)));
        assert!(warnings.is_empty(), "{warnings:?}");
        let Configuration { server, maps, .. } = config;
        format!(
            "{:?} {:?} {:?} {maps:?}",
            server.sockets.listen, server.logging, server.http.max_connections_per_host
        )
    };
    let yaml = shown(Syntax::Yaml, YAML);
    assert_eq!(shown(Syntax::Toml, TOML), yaml);
    assert_eq!(shown(Syntax::Json, JSON), yaml);
    assert!(yaml.contains("ä 😀"), "{yaml}");
}

#[test]
fn mistakes_have_their_places_in_toml() {
    for (from, to, expected) in [
        ("port = 23_450", "port = 70000", "9:8 server.listen[0].port: must be from 1 to 65535"),
        ("[server.http_client]", "[server.http_clients]", "10:9 server.http_clients: unknown key (did you"),
        ("method = \"GET\"", "methd = \"GET\"", "15:1 socket_maps.users.methd: unknown key"),
        ("\"data.result\"", "7.5", "expected a string, found a number that is not whole"),
        ("\"data.result\"", "1979-05-27", "17:15 socket_maps.users.value_field: a date has no meaning"),
        ("  404,", "  99,", "21:3 socket_maps.users.not_found_status[0]: must be from"),
        (".Key |", ".Kye |", "14:24 socket_maps.users.target: a map has no `.Kye`"),
        (
            "name = \"users\"\n",
            "name = \"users\"\nname = \"x\"\n",
            "7:1 : duplicate key; first at line 6, column 1",
        ),
        ("type = \"tcp\"", "type = tcp", "7:8 : this is not TOML"),
    ] {
        let told = problems(Syntax::Toml, &TOML.replace(from, to));
        assert!(told.iter().any(|told| told.contains(expected)), "{told:#?}\nand not {expected}");
    }
}

#[test]
fn mistakes_have_their_places_in_json() {
    for (from, to, expected) in [
        ("23450", "70000", "3:92 server.listen[0].port: must be from 1 to 65535"),
        ("\"json\": true,", "\"json\": true,,", "4:28 : this is not JSON: "),
        ("\"level\"", "\"json\"", "4:29 server.logging.json: duplicate key; first at line 4, column 15"),
        ("\"GET\"", "'GET'", ": this is not JSON: "),
        ("[404]", "[404,]", ": this is not JSON: trailing comma"),
        ("[404]", "[99]", "11:24 socket_maps.users.not_found_status[0]: must be from"),
    ] {
        let told = problems(Syntax::Json, &JSON.replace(from, to));
        assert!(told.len() == 1 && told[0].contains(expected), "{told:#?}\nand not {expected}");
    }
}

#[test]
fn the_extension_names_the_syntax() {
    for (name, syntax) in [
        ("a.yml", Syntax::Yaml),
        ("a.yaml", Syntax::Yaml),
        ("a", Syntax::Yaml),
        ("a.toml", Syntax::Toml),
        ("a.JSON", Syntax::Json),
    ] {
        assert_eq!(Syntax::of(Path::new(name)), syntax, "{name}");
    }
}

#[test]
fn no_syntax_shows_a_secret() {
    for (syntax, text) in [
        (Syntax::Toml, "[socket_maps.m]\nhttp_auth_basic = \"s3cret\"\n"),
        (Syntax::Toml, "[socket_maps.m]\nhttp_auth_basic = [\"s3cret\"]\n"),
        (Syntax::Toml, "[socket_maps.m]\nhttp_auth_basic = \"\"\"\ns3cret\ns3cret\"\"\"\n"),
        (Syntax::Toml, "[socket_maps.m]\nhttp_auth_basic = \"\"\"\ns3cret\n  s3cret = 5\n"),
        (Syntax::Toml, "[socket_maps.m]\nhttp_auth_basic = \"s3cret\ns3cret\n"),
        (Syntax::Toml, "[socket_maps.m]\nclient_secret = s3cret\n"),
        (
            Syntax::Toml,
            r#"[socket_maps.m]
custom_headers = [
"A: s3cret",
s3cret
]
"#,
        ),
        (Syntax::Toml, "[socket_maps.m]\nbackend_oidc_auth.client_secret = {s3cret = \"s3cret\"}\n"),
        (Syntax::Json, "{\"socket_maps\": {\"m\": {\"http_auth_basic\": \"s3cret\"}}}"),
        (Syntax::Json, "{\"client_secret\": \"s3cret\" \"s3cret\"}"),
        (Syntax::Json, "{\"client_secret\":\n\"s3cret\n\"}"),
        (Syntax::Json, "{\"client_secret\": {\"s3cret\": 1, \"s3cret\": 1}}"),
    ] {
        let problems = read(syntax, text).expect_err("wrong");
        assert!(!shown(&problems).contains("s3cret"), "{text}\n{}", shown(&problems));
    }
}

#[test]
fn hopeless_texts_are_refused_in_time() {
    for text in [
        "[".repeat(100_000),
        "{a=".repeat(100_000),
        format!("{}x = 1", "a.".repeat(100_000)),
        format!("[{}x]", "a.".repeat(100_000)),
        format!("{}x = 1", "\"a\".".repeat(100_000)),
        format!("a = {{{}x = 1}}", "b.".repeat(100_000)),
        format!("a{}x = 1", " . a".repeat(100_000)),
    ] {
        assert!(read(Syntax::Toml, &text).is_err(), "{}", &text[..4]);
    }
    assert!(read(Syntax::Json, &"{\"a\":".repeat(100_000)).is_err());
}

proptest! {
    #[test]
    fn no_text_makes_a_syntax_panic(text in ".{0,200}") {
        let _ = problems(Syntax::Toml, &text);
        let _ = problems(Syntax::Json, &text);
    }

    #[test]
    fn no_cut_makes_a_syntax_panic(from in 0..600_usize, length in 0..40_usize, put in ".{0,4}") {
        for (syntax, text) in [(Syntax::Toml, TOML), (Syntax::Json, JSON), (Syntax::Yaml, YAML)] {
            let cut = |at: usize| (0..=at.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
            let (from, end) = (cut(from), cut(from + length));
            let _ = problems(syntax, &format!("{}{put}{}", &text[..from], &text[end..]));
        }
    }
}
