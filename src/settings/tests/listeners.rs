//! `server.listen`: what is told of a listener, and of two of them.

use super::*;

#[test]
fn each_mistake_in_a_listener_is_told_at_its_place() {
    let tcp = r"kind: socket_map
type: tcp
address: 127.0.0.1
";
    let unix = r"kind: socket_map
type: unix
address: /a
";
    let long = format!(
        r"kind: socket_map
type: unix
address: /{}
",
        "a".repeat(99)
    );
    let item = "server.listen[0]";
    let cases: &[(&str, &str)] = &[
        ("~", "3:7 server.listen[0]: this item is empty"),
        ("5", "3:7 server.listen[0]: expected keys and values, found a number"),
        ("type: tcp\naddress: 127.0.0.1", "3:7 server.listen[0]: `kind` is missing (one of: socket_map"),
        ("kind: socket_map\naddress: 127.0.0.1", "3:7 server.listen[0]: `type` is missing"),
        ("kind: socket_map\ntype: tcp", "3:7 server.listen[0]: `address` is missing"),
        (
            r"kind: 5
type: tcp
address: ::1",
            "3:13 server.listen[0].kind: expected a string, found a number",
        ),
        (
            r"kind: socketmap
type: tcp
address: ::1",
            "3:13 server.listen[0].kind: must be one of: socket_map, policy_service, dovecot_sasl (did you mean `socket_map`?)",
        ),
        (
            r"kind: socket_map
type: udp
address: ::1",
            "4:13 server.listen[0].type: must be one of: tcp, tcp6, unix",
        ),
        (
            r"kind: policy_service
type: tcp
address: ::1",
            "3:7 server.listen[0]: `name` is missing",
        ),
        (
            r"kind: policy_service
name: q1234
type: tcp
address: ::1",
            "4:13 server.listen[0].name: there is no entry \"q1234\" in policy_services",
        ),
        (
            r"kind: policy_service
name: P
type: tcp
address: ::1",
            "(there is \"p\": names are case-sensitive)",
        ),
        (
            r"kind: socket_map
name: a b
type: tcp
address: ::1",
            "4:13 server.listen[0].name: a name holds letters",
        ),
        (
            r"kind: socket_map
type: tcp
address: example.org",
            "5:16 server.listen[0].address: numeric addresses only",
        ),
        (
            r"kind: socket_map
type: tcp
address: '[127.0.0.1]'",
            "numeric addresses only",
        ),
        (
            r"kind: socket_map
type: tcp6
address: 127.0.0.1",
            "5:16 server.listen[0].address: tcp6 needs an IPv6 address",
        ),
        (
            r"kind: socket_map
type: tcp
address: '[::]'",
            "5:7 warning server.listen[0].address: listens beyond loopback",
        ),
        (&format!("{tcp}port: 0"), "6:13 server.listen[0].port: must be from 1 to 65535"),
        (&format!("{tcp}port: 65536"), "6:13 server.listen[0].port: must be from 1 to 65535"),
        (&format!("{tcp}port: x"), "6:13 server.listen[0].port: expected a whole number, found a string"),
        (&format!("{tcp}mode: '0600'"), "6:7 warning server.listen[0].mode: has no effect"),
        (
            &format!("{tcp}worker_pool: {{max_workers: 0}}"),
            "6:34 server.listen[0].worker_pool.max_workers: must be from 1 to 1048576",
        ),
        (
            &format!("{tcp}worker_pool: {{max_queue: 5}}"),
            "6:21 warning server.listen[0].worker_pool.max_queue",
        ),
        (
            &format!("{tcp}systemd_socket_name: 'a:b'"),
            "6:28 server.listen[0].systemd_socket_name: must be printable",
        ),
        (&format!("{tcp}systemd_socket_name: ipc"), "another listener has \"ipc\", too"),
        (
            &format!("{unix}allow_from: [10.0.0.0/8]"),
            "6:19 server.listen[0].allow_from: a unix socket has no addresses",
        ),
        (&format!("{tcp}allow_from: 10.0.0.0/8"), "6:19 server.listen[0].allow_from: expected a list"),
        (
            &format!("{tcp}allow_from: [10.1.0.0/8]"),
            "6:20 server.listen[0].allow_from[0]: the address has bits beyond its network",
        ),
        (&format!("{tcp}allow_from: [localhost]"), "must be a network or an address"),
        (&format!("{unix}port: 5"), "6:7 warning server.listen[0].port: has no effect"),
        (
            &format!("{unix}mode: 660"),
            "6:13 server.listen[0].mode: a mode must stand in quotes (as \"0660\")",
        ),
        (&format!("{unix}user: 'a:b'"), "6:13 server.listen[0].user: must be a name or a number"),
        (&long, "5:16 server.listen[0].address: a socket's path has at most 99 bytes"),
        (
            r"kind: socket_map
type: unix
address: a",
            "5:16 server.listen[0].address: must be an absolute path",
        ),
        (
            r"kind: socket_map
type: unix
address: /a/",
            "must name a socket",
        ),
        (
            r"kind: socket_map
type: unix
address: /run//pfxhttp/broker.sock",
            "the path of the socket of server.ipc",
        ),
    ];
    for (keys, expected) in cases {
        assert!(!expected.contains("[0]") || expected.contains(item));
        one(&listener(keys), expected);
    }
}

#[test]
fn two_listeners_need_two_endpoints() {
    let two = |one: &str, other: &str| {
        told(&format!(
            r"server:
  listen:
    - {{kind: socket_map, {one}}}
    - {{kind: socket_map, {other}}}
"
        ))
        .into_iter()
        .filter(|told| !told.contains("warning"))
        .collect::<Vec<_>>()
    };
    let same = "type: tcp, address: 127.0.0.1, port: 5";
    assert_eq!(
        two(same, same),
        ["4:46 server.listen[1].address: the same endpoint as server.listen[0] at line 3, column 46"]
    );
    let any = "type: tcp, address: '::', port: 5";
    assert_eq!(two(same, any).len(), 1, "dual-stack");
    assert_eq!(two(same, "type: tcp6, address: '::', port: 5").len(), 0);
    assert_eq!(two(same, "type: tcp, address: 127.0.0.2, port: 5").len(), 0);
    assert_eq!(two("type: tcp, address: '::1'", "type: tcp, address: '::1'"), [""; 0], "the system chooses");
    assert_eq!(two("type: unix, address: /a/b", "type: unix, address: /a/./b").len(), 1);
}

#[test]
fn networks_that_may_connect_are_read() {
    let text = listener(
        r"kind: socket_map
type: tcp
address: '[::]'
allow_from: [10.0.0.0/8, '[::1]']",
    );
    // No word of what is beyond loopback: not everybody may ask.
    let listeners = good(&text).server.sockets.listen;
    let networks: Vec<String> = listeners[0].allow_from.iter().map(ToString::to_string).collect();
    assert_eq!(networks, ["10.0.0.0/8", "::1/128"]);
    assert!(
        good(&listener(
            r"kind: socket_map
type: unix
address: /a
allow_from: []"
        ))
        .server
        .sockets
        .listen[0]
            .allow_from
            .is_empty()
    );
}
