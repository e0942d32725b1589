//! How problems are shown: in the order of the file, with their places, and without secrets.

use super::*;

#[test]
fn all_blocks_are_told_in_one_run_in_order() {
    let text = "server:\n  listen:\n    - {kind: x, type: y}\n    - {port: []}\n  logging: 5\n  bad: 1\nsocket_maps:\n  a: 5\n  b: {target: 5}\n";
    let told = told(text);
    for part in ["3:14 ", "3:23 ", "4:14 ", "5:12 ", "6:3 ", "8:6 ", "9:15 "] {
        assert!(told.iter().any(|told| told.starts_with(part)), "{part}: {told:#?}");
    }
    let lines: Vec<usize> = check(text)
        .expect_err("wrong")
        .iter()
        .filter_map(|problem| problem.place.map(|at| at.line))
        .collect();
    assert!(lines.is_sorted());
}

#[test]
fn a_problem_is_printed_with_its_place_and_without_its_line() {
    let text = map("    custom_headers: []\n    status_code: 99  # odd\n");
    assert_eq!(
        shown(&check(&text).expect_err("wrong")),
        "pfxhttp.yml:7:18: error: socket_maps.m.status_code: must be from 100 to 599\n"
    );
    let unknown = shown(&check("sever: x\n").expect_err("wrong"));
    assert_eq!(unknown, "pfxhttp.yml:1:1: error: sever: unknown key\nhint: did you mean `server`?\n");
}

#[test]
fn no_problem_shows_a_secret() {
    for text in [
        map("    custom_headers: s3cret\n"),
        map("    custom_headers: [s3cret]\n"),
        map("    custom_headers: [\"s3cret s3cret: s3cret\"]\n"),
        map("    custom_headers:\n      - \"A: s3cret\\n\"\n      - s3cret\n      - 5: s3cret\n"),
        map("    custom_headers:\n    - s3cret: s3cret\n"),
        map("    custom_headers: {A: s3cret}\n"),
        map("    \"custom\\u005fheaders\":\n      - s3cret\n      - [s3cret]\n"),
        map("    client_secert: s3cret\n"),
        map("    cache: {fresh: 5, client_secert: s3cret}\n"),
        map("    http_auth_basic: [joe:s3cret]\n"),
        map("    http_auth_basic: s3cret\n"),
        map("    http_auth_basic: joe:s3cret\n    http_auth_basic_file: /dev/null\n"),
        map("    http_auth_basic: joe:s3cret\n    status_code: 99\n"),
        map("    backend_oidc_auth: {enabled: true, client_secret: s3cret}\n"),
        map("    client_secret: \"s3cret\n   s3cret\n"),
        map("    client_secret: \"s3cret\" s3cret\n"),
        map("    client_secret: [s3cret\n    s3cret: s3cret: s3cret\n"),
        map("    client_secret: s3cret: s3cret\n"),
        map("    client_secret: @s3cret\n"),
        map("    client_secret: *s3cret\n"),
        map("    client_secret: !!int s3cret\n"),
        map("    client_secret: {s3cret: a, s3cret: b}\n"),
        map("    client_secret: a\n    client_secret: s3cret\n"),
        map("").replace("http://localhost/", "https://joe:s3cret@h/"),
        map("").replace("http://localhost/", "https://joe:s3c/s3cret@h/"),
    ] {
        let problems = check(&text).expect_err("wrong");
        assert!(!problems.is_empty());
        assert!(!shown(&problems).contains("s3cret"), "{text}\n{}", shown(&problems));
        assert!(!format!("{problems:?}").contains("s3cret"), "{text}");
    }
}
