//! `targets`: what is read, what is inherited, and what is refused.

use super::*;
use crate::upstream::settings::{Balance, HealthSettings, PolicyRetry};

/// A map with these lines.
fn map(lines: &str) -> String {
    format!("socket_maps:\n  m:\n    {lines}\n    payload: '{{{{ .Key | json }}}}'\n    value_field: v\n")
}

/// The URLs in the order in which they are asked.
fn urls(config: &Configuration) -> Vec<&str> {
    config.maps[0].upstream.urls().map(url::Url::as_str).collect()
}

#[test]
fn targets_are_urls_or_blocks_and_a_backup_is_the_last() {
    let text = map("targets: [{url: 'http://a/x', backup: true}, 'http://b/x', {url: 'https://c/x'}]");
    let config = good(&text);
    assert_eq!(urls(&config), ["http://b/x", "https://c/x", "http://a/x"]);
    assert!(config.maps[0].path.is_none());
    let config =
        good(&map("targets: ['http://a/{{ .Key | urlencode }}', 'http://b:81/{{ .Key | urlencode }}']"));
    assert_eq!(urls(&config), ["http://a/", "http://b:81/"]);
    assert!(config.maps[0].path.is_some());
    assert_eq!(urls(&good(&map("target: 'http://a/x'"))), ["http://a/x"]);
    let variables = [("PFXHTTP_SOCKET_MAPS_M_TARGETS".to_owned(), "http://c/x,http://d/x".to_owned())];
    let text = map("targets: ['http://a/', 'http://b/']");
    let read = parse_as(Path::new("pfxhttp.yml"), &text, options(Syntax::Yaml, &variables));
    let (config, _) = read.unwrap_or_else(|problems| panic!("{}", shown(&problems)));
    assert_eq!(urls(&config), ["http://c/x", "http://d/x"]);
}

#[test]
fn the_nearer_one_of_target_and_targets_holds() {
    let with = |defaults: &str, own: &str| {
        format!(
            "socket_maps:\n  defaults: {{{defaults}}}\n  m: {{{own}, payload: '{{{{ .Key | json }}}}', value_field: v}}\n"
        )
    };
    let (one, two) = ("target: 'http://a/'", "targets: ['http://b/', 'http://c/']");
    assert_eq!(urls(&good(&with(one, two))), ["http://b/", "http://c/"]);
    assert_eq!(urls(&good(&with(two, one))), ["http://a/"]);
    super::one(
        &with("timeout: 1s", &format!("{one}, {two}")),
        "socket_maps.m.targets: `target` is given as well; only one of them can hold",
    );
}

#[test]
fn a_breaker_is_a_block_or_off_and_inherited_key_by_key() {
    let with = |defaults: &str, own: &str| {
        let targets = "targets: ['http://b/', 'http://c/']";
        good(&format!(
            "socket_maps:\n  defaults: {{{defaults}}}\n  m: {{{targets}, payload: '{{{{ .Key | json }}}}', value_field: v, {own}}}\n"
        ))
    };
    let read = |defaults, own| {
        let breaker = with(defaults, own).maps[0].upstream.breaker;
        breaker.map(|breaker| (breaker.failures, breaker.pause.as_secs(), breaker.max_pause.as_secs()))
    };
    assert_eq!(read("timeout: 1s", "timeout: 1s"), Some((5, 1, 30)));
    assert_eq!(read("breaker: {failures: 2, pause: 2s}", "breaker: {pause: 3s}"), Some((2, 3, 30)));
    assert_eq!(read("timeout: 1s", "breaker: {pause: 1m}"), Some((5, 60, 60)));
    for (defaults, own, due) in [
        ("breaker: false", "timeout: 1s", None),
        ("breaker: {failures: 2}", "breaker: false", None),
        ("breaker: {failures: 2}", "breaker: 'false'", None),
        ("breaker: false", "breaker: {pause: 2s}", Some((5, 2, 30))),
        ("breaker: false", "breaker: ~", Some((5, 1, 30))),
    ] {
        assert_eq!(read(defaults, own), due, "{defaults}, {own}");
    }
    let retry = with("retry: {others: 2, budget: 5%}", "retry: {policy: sent}").maps[0].upstream.retry;
    assert_eq!((retry.others, retry.percent, retry.policy), (2, 5, PolicyRetry::Sent));
    for (lines, expected) in [
        ("breaker: {pause: 5s, max_pause: 4s}", "max_pause: must not be shorter than `pause`"),
        ("breaker: true", "breaker: expected keys and values, found a boolean"),
        ("retry: {budget: 20}", "retry.budget: must be from 0% to 100%, as 20%"),
        ("retry: {budget: 101%}", "retry.budget: must be from 0% to 100%"),
        ("retry: {policy: all}", "retry.policy: must be one of: unsent, sent"),
    ] {
        super::one(&map(&format!("targets: ['http://b/', 'http://c/']\n    {lines}")), expected);
    }
    super::one(
        &map("target: 'http://b/'\n    breaker: false"),
        "breaker: has no effect without `targets`, or a cache for outages",
    );
}

/// `health` of a map with these lines, whose `defaults` have others.
fn health(defaults: &str, own: &str, variables: &[(String, String)]) -> Option<HealthSettings> {
    let targets = "targets: ['http://b/', 'http://c/'], payload: '{{ .Key | json }}', value_field: v";
    let text = format!("socket_maps:\n  defaults: {{{defaults}}}\n  m: {{{targets}, {own}}}\n");
    let read = parse_as(Path::new("pfxhttp.yml"), &text, options(Syntax::Yaml, variables));
    let (config, warnings) = read.unwrap_or_else(|problems| panic!("{}", shown(&problems)));
    assert_eq!(shown(&warnings), "", "{text}");
    config.maps[0].upstream.health.as_deref().cloned()
}

#[test]
fn health_is_off_without_a_path_and_inherited_key_by_key() {
    let read = |defaults, own| {
        let HealthSettings { path, every, fall, rise, timeout, status } = health(defaults, own, &[])?;
        Some((path.to_string(), every.as_millis(), fall, rise, timeout.as_millis(), status))
    };
    let usual = |status: &[u16]| Some(("/h".to_owned(), 5000, 2, 2, 1000, status.to_vec()));
    for (defaults, own, due) in [
        ("timeout: 1s", "timeout: 1s", None),
        ("timeout: 1s", "health: {path: /h}", usual(&[200])),
        ("health: {every: 5s, status: [204]}", "health: {path: /h}", usual(&[204])),
        ("health: {path: /h, status: [204]}", "health: {status: 200}", usual(&[200])),
        ("health: {status: 204}", "health: {path: /h, status: ~}", usual(&[200])),
        ("timeout: 1s", "health: {path: /h, status: '204'}", usual(&[204])),
        ("timeout: 1s", "health: {path: /h, status: [200, 401]}", usual(&[200, 401])),
        ("health: {path: /h}", "health: ~", None),
        ("health: {path: /h}", "health: {path: ~}", None),
        (
            "timeout: 1s",
            "health: {path: '/h?a=%20b', every: 500ms, fall: 3, rise: 1}",
            Some(("/h?a=%20b".to_owned(), 500, 3, 1, 500, vec![200])),
        ),
    ] {
        assert_eq!(read(defaults, own), due, "{defaults}, {own}");
    }
    for (text, due) in [("204", vec![204]), ("200,204", vec![200, 204]), ("[401]", vec![401])] {
        let variables = [("PFXHTTP_SOCKET_MAPS_M_HEALTH_STATUS".to_owned(), text.to_owned())];
        let read = health("timeout: 1s", "health: {path: /h, status: 418}", &variables);
        assert_eq!(read.map(|health| health.status), Some(due));
    }
}

#[test]
fn what_is_wrong_with_health_is_said_at_its_key() {
    for (lines, expected) in [
        ("path: h", "health.path: must begin with `/`: the host is that of each target"),
        ("path: 'http://a/h'", "health.path: must begin with `/`"),
        ("path: '/{{ .Key }}'", "health.path: holds no insertions"),
        ("path: '/a b'", "health.path: must be a path as it is sent"),
        ("path: '/a#b'", "health.path: must be a path as it is sent"),
        ("path: '/a?…'", "health.path: must be a path as it is sent"),
        ("path: /h, every: 1s, timeout: 2s", "health.timeout: must not be longer than `every`"),
        ("path: /h, every: 50ms", "health.every: must be from 100ms to 1h"),
        ("path: /h, fall: 0", "health.fall: must be from 1 to 1000"),
        ("path: /h, status: []", "health.status: must hold a status"),
        ("path: /h, status: 99", "health.status: must be from 100 to 599"),
        ("path: /h, status: [200, ok]", "health.status[1]: expected a whole number"),
        ("path: /h, status: {a: 1}", "m.health.status: expected a whole number"),
        ("fall: 3", "health.fall: has no effect without `path`"),
    ] {
        super::one(&map(&format!("targets: ['http://b/', 'http://c/']\n    health: {{{lines}}}")), expected);
    }
    super::one(
        &map("target: 'http://b/'\n    health: {path: /h}"),
        "health: has no effect without `targets`, or a cache for outages",
    );
    let with_cache = "server: {response_cache: {enabled: true}}\n";
    let text = with_cache.to_owned() + &map("target: 'http://b/'\n    health: {path: /h}");
    assert!(good(&text).maps[0].upstream.health.is_some());
}

#[test]
fn the_balance_is_a_word() {
    let read = |lines: &str| good(&map(&format!("targets: ['http://b/', 'http://c/']\n    {lines}")));
    let balance = |lines| read(lines).maps[0].upstream.balance;
    assert_eq!((balance("timeout: 1s"), balance("balance: least")), (Balance::First, Balance::Least));
}

#[test]
fn what_is_wrong_with_a_list_of_targets_is_said_at_its_place() {
    for (lines, expected) in [
        (
            "targets: []",
            "socket_maps.m.targets: must hold 2 to 8 targets (the URL of a single one is `target`)",
        ),
        ("targets: ['http://a/']", "socket_maps.m.targets: must hold 2 to 8 targets"),
        ("targets: ['http://a/', 5]", "socket_maps.m.targets[1]: expected a string, found a number"),
        ("targets: ['http://a/', {backup: true}]", "socket_maps.m.targets[1]: `url` is missing"),
        (
            "targets: ['http://a/x', 'http://b/y']",
            "socket_maps.m.targets[1]: the path and the query must be those",
        ),
        (
            "targets: ['http://a/x', 'http://b/x?k=1']",
            "socket_maps.m.targets[1]: the path and the query must",
        ),
        (
            "targets: ['http://a/{{ .Key | raw }}', 'http://b/{{ .Key | urlencode }}']",
            "socket_maps.m.targets[1]: the path and the query must",
        ),
        (
            "targets: ['http://a/x', {url: 'http://a:80/x'}]",
            "socket_maps.m.targets[1].url: this host and port is in the list already",
        ),
        (
            "targets: ['http://a/', 'http://u:pw@b/']",
            "socket_maps.m.targets[1]: the URL must not hold a user name",
        ),
        ("target: 'http://a/'\n    balance: first", "socket_maps.m.balance: has no effect without `targets`"),
        ("targets: ['http://a/', {url: 'http://b/', bakcup: true}]", "unknown key (did you mean `backup`?)"),
    ] {
        super::one(&map(lines), expected);
    }
    let nine: Vec<_> = (0..9).map(|number| format!("'http://h{number}/'")).collect();
    super::one(&map(&format!("targets: [{}]", nine.join(", "))), "must hold 2 to 8 targets");
}

#[test]
fn a_login_warns_of_each_target_without_tls() {
    let text = "dovecot_sasl:\n  l:\n    targets: ['https://a/x', 'http://b/x', 'http://localhost/x']\n";
    super::one(text, "dovecot_sasl.l.targets[1]: passwords go over the network without TLS");
}
