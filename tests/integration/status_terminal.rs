//! What `status` shows on a terminal: a table with the failing entries first, in colour, within the width;
//! `--watch` and `--failures`.

use rustix::process::{Pid, Signal, kill_process};

use crate::admin_commands;
use crate::support::PATIENCE;
use crate::support::backend::{Backend, Reply};
use crate::support::command_line::{run, text};
use crate::support::setup::Setup;
use crate::support::terminal::{Terminal, last_frame};

/// The command line of `status` with these words.
fn line(setup: &Setup, words: &str) -> String {
    let (broker, file) = (env!("CARGO_BIN_EXE_pfxhttp-broker"), setup.broker.config().display().to_string());
    format!("{broker} --config {file} status {words}")
}

/// What a terminal shows of `status` with these words.
fn shown(setup: &Setup, size: (u16, u16), variables: &str, words: &str) -> String {
    let terminal = Terminal::run(size, &format!("{variables} {}", line(setup, words)));
    let (status, shown) = terminal.end(PATIENCE);
    assert!(status.success(), "{shown:?}");
    shown
}

fn plain(shown: &str) -> String {
    let parts = shown.split("\x1b[").enumerate();
    parts.map(|(nth, part)| if nth == 0 { part } else { part.split_once('m').expect("a colour").1 }).collect()
}

fn setup(api: &Backend) -> Setup {
    Setup::start(|config| {
        let config = config.map("aliases", &api.url("/"), &[]).map("broken", &api.url("/down"), &[]);
        let config =
            config.policy("a-policy-with-a-name-that-is-much-too-long-for-a-table", &api.url("/"), &[]);
        (0..20).fold(config, |config, nth| config.map(&format!("map{nth}"), &api.url("/"), &[]))
    })
}

fn api() -> Backend {
    Backend::start(|request| match request.path.as_str() {
        "/down" => Reply::status(503),
        _ => Reply::json(r#"{"value": "v", "action": "DUNNO"}"#),
    })
}

#[test]
fn a_terminal_shows_failing_entries_first_within_its_width() {
    let api = api();
    let setup = setup(&api);
    setup.map().look_up("broken", "k");
    setup.map().look_up("aliases", "k");
    let seen = shown(&setup, (120, 30), "", "");
    assert!(seen.contains("\x1b[1;31mfailing 0s (1/1)\x1b[0m  map     \x1b[1mbroken\x1b[0m"), "{seen:?}");
    let seen = plain(&seen);
    let lines: Vec<&str> = seen.lines().collect();
    assert!(
        lines[0].starts_with("pfxhttp-broker 0.") && lines[0].contains(" · configuration 1 · "),
        "{seen}"
    );
    assert_eq!(lines[1], "23 entries: 1 failing");
    assert!(
        lines[3].starts_with("STATE             KIND    NAME ") && lines[3].ends_with("LAST FAILURE"),
        "{seen}"
    );
    assert!(
        lines[4].starts_with("failing ") && lines[4].contains("status ") && lines[4].ends_with('s'),
        "{seen}"
    );
    assert!(lines[5].starts_with("ok                map     aliases "), "{seen}");
    assert_eq!(lines.iter().filter(|line| line.starts_with("ok ")).count(), 22, "all of them: {seen}");
    assert!(lines.iter().any(|line| line.contains("maps.sock") && line.contains("socket_map")), "{seen}");
    for width in [80, 40] {
        let seen = plain(&shown(&setup, (width, 24), "", ""));
        let too_long = seen.lines().find(|line| line.chars().count() > usize::from(width));
        assert_eq!(too_long, None, "{width}: {seen}");
        assert!(seen.contains("a-policy-with") && seen.contains('…'), "{width}: {seen}");
    }
}

#[test]
fn colour_is_for_terminals_that_want_it() {
    let api = api();
    let setup = setup(&api);
    setup.map().look_up("broken", "k");
    assert!(shown(&setup, (100, 30), "", "").contains("\x1b["));
    for variables in ["NO_COLOR=1", "TERM=dumb"] {
        assert!(!shown(&setup, (100, 30), variables, "").contains('\x1b'), "{variables}");
    }
    assert!(shown(&setup, (100, 30), "NO_COLOR=", "").contains("\x1b["), "an empty variable says nothing");
    let piped = text(&run(setup.broker.config(), &["status"], ""));
    assert!(piped.contains("target: name=broken kind=map ") && !piped.contains('\x1b'), "{piped}");
    assert!(piped.contains(" state=failing"), "{piped}");
}

#[test]
fn the_last_failures_are_listed() {
    let api = api();
    let setup = setup(&api);
    assert!(plain(&shown(&setup, (100, 30), "", "--failures")).contains("\nNo failure since the start.\n"));
    (0..3).for_each(|_| drop(setup.map().look_up("broken", "k")));
    let seen = plain(&shown(&setup, (100, 30), "", "--failures"));
    let last = seen.lines().last().expect("a line");
    assert!(
        last.contains("map broken ") && last.ends_with(" 3  status  unexpected status code 503"),
        "{seen}"
    );
    let piped = text(&run(setup.broker.config(), &["status", "--failures"], ""));
    assert!(piped.starts_with("failure: name=broken kind=map class=status count=3 "), "{piped}");
    assert_eq!(piped.lines().count(), 1, "{piped}");
    let json = text(&run(setup.broker.config(), &["status", "--failures", "--json"], ""));
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json[0]["count"], 3, "{json:#}");
}

const BEGIN: &str = "\x1b[?1049h\x1b[?25l";
const END: &str = "\x1b[?25h\x1b[?1049l";

#[test]
fn a_watch_redraws_until_ctrl_c_and_gives_the_terminal_back() {
    let api = api();
    let mut setup = setup(&api);
    let watch = line(&setup, "--watch");
    let mut terminal = Terminal::run((100, 12), &format!("stty -g; {watch}; echo code $?; stty -g"));
    terminal.wait_for(|shown| last_frame(shown).contains("23 entries: ok"));
    let frame = last_frame(&terminal.shown()).to_owned();
    assert_eq!(frame.lines().count(), 12, "{frame:?}");
    assert!(frame.contains("… 17 more entries"), "{frame:?}");
    setup.map().look_up("broken", "k");
    terminal.wait_for(|shown| last_frame(shown).contains("23 entries: 1 failing"));
    // A broker that is away is told, and looked for.
    setup.broker.kill();
    terminal.wait_for(|shown| last_frame(shown).contains("no broker answers at "));
    setup.broker.start_again();
    terminal.wait_for(|shown| last_frame(shown).contains("23 entries: ok") && shown.ends_with("\x1b[J"));
    terminal.press("\x03");
    let (_, shown) = terminal.end(PATIENCE);
    let (before, rest) = shown.split_once(BEGIN).expect("the other screen");
    let (_, after) = rest.split_once(END).expect("this screen");
    assert!(!after.contains('\x1b'), "{after:?}");
    let after: Vec<&str> = after.trim().lines().collect();
    assert_eq!(after, ["code 0", before.trim()]);
}

#[test]
fn a_watch_that_is_ended_by_another_signal_gives_the_terminal_back() {
    let api = api();
    let setup = setup(&api);
    let watch = line(&setup, "--watch");
    for signal in [Signal::QUIT, Signal::HUP, Signal::TERM] {
        let begun = format!("sh -c 'echo pid $$; exec {watch}'");
        let mut terminal = Terminal::run((100, 12), &format!("stty -g; {begun}; echo code $?; stty -g"));
        terminal.wait_for(|shown| shown.contains("23 entries: ok") && shown.ends_with("\x1b[J"));
        if signal == Signal::QUIT {
            terminal.press("\x1c");
        } else {
            let shown = terminal.shown();
            let pid = shown.split("pid ").nth(1).and_then(|rest| rest.lines().next()).expect("a process id");
            let pid = Pid::from_raw(pid.parse().expect("a number")).expect("a process");
            kill_process(pid, signal).expect("it runs");
        }
        let (_, shown) = terminal.end(PATIENCE);
        let (before, _) = shown.split_once("pid ").expect("the process id");
        let (_, after) = shown.rsplit_once(END).unwrap_or_else(|| panic!("{signal:?}: {shown:?}"));
        let after: Vec<&str> = after.trim().lines().collect();
        assert_eq!(after, ["code 0", before.trim()], "{signal:?}");
    }
}

#[test]
fn a_low_window_says_how_many_entries_are_missing() {
    let api = api();
    let setup = setup(&api);
    for (rows, due) in [(3, Some(23)), (4, Some(23)), (5, Some(22)), (2, None)] {
        let mut terminal = Terminal::run((100, rows), &line(&setup, "--watch"));
        terminal.wait_for(|shown| shown.contains("23 entries: ok") && shown.ends_with("\x1b[J"));
        let shown = terminal.shown();
        let frame = shown.rsplit("\x1b[H").next().unwrap_or_default();
        assert!(frame.lines().count() <= usize::from(rows), "{rows}: {frame:?}");
        let told = frame.split("… ").nth(1).and_then(|rest| rest.split(" more entries").next());
        assert_eq!(told.map(|count| count.parse::<usize>().expect("a number")), due, "{rows}: {frame:?}");
        terminal.press("\x03");
        terminal.end(PATIENCE);
    }
}

#[test]
fn a_watch_that_is_suspended_gives_the_terminal_to_the_shell() {
    let api = api();
    let setup = setup(&api);
    let watch = line(&setup, "--watch=1");
    let mut terminal = Terminal::run((100, 12), "bash --norc -i");
    terminal.press(&format!("{watch}\n"));
    terminal.wait_for(|shown| shown.contains("23 entries: ok"));
    terminal.press("\x1a");
    terminal.wait_for(|shown| shown.contains(END) && shown.contains("Stopped"));
    terminal.press("fg\n");
    terminal.wait_for(|shown| shown.matches(BEGIN).count() == 2);
    terminal.press("\x03");
    terminal.wait_for(|shown| shown.matches(END).count() == 2);
    terminal.press("exit\n");
    terminal.end(PATIENCE);
}

#[test]
fn a_watch_needs_a_terminal_and_a_broker() {
    let directory = crate::support::site::open_directory();
    let api = Backend::constant("{}");
    let file = admin_commands::config(directory.path(), &api).write();
    for words in [&["status", "--watch"][..], &["status", "--watch=0"], &["status", "--watch", "--json"]] {
        let told = run(&file, words, "");
        assert_eq!(told.status.code(), Some(64), "{words:?}: {}", text(&told));
    }
    let broker = env!("CARGO_BIN_EXE_pfxhttp-broker");
    let line = format!("{broker} --config {} status --watch", file.display());
    let terminal = Terminal::run((80, 24), &format!("{line}; echo code $?"));
    let (_, shown) = terminal.end(PATIENCE);
    assert!(shown.contains("no broker answers at ") && shown.ends_with("code 75\n"), "{shown:?}");
    assert!(!shown.contains('\x1b'), "{shown:?}");
}
