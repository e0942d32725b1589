//! `run_as_user`, `run_as_group`, `chroot`: the broker has exactly these privileges, or does not start.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::backend::Backend;
use crate::support::broker::{self, Broker, program, refused_start};
use crate::support::config::{Config, Kind};
use crate::support::copy_program;
use crate::support::peer::Peer;
use crate::support::site::open_directory;

/// The numbers behind a field of /proc/PID/status.
fn ids(broker: &Broker, field: &str) -> Vec<u32> {
    let path = format!("/proc/{}/status", broker.pid().as_raw_nonzero());
    let status = fs::read_to_string(path).expect("a living process has a status");
    let line = status.lines().find_map(|line| line.strip_prefix(field)).expect("the field");
    line.split_whitespace().filter_map(|id| id.parse().ok()).collect()
}

fn config(directory: &Path, api: &Backend, lines: &[&str]) -> Config {
    let config = Config::new(directory).map("m", &api.url("/"), &[]);
    let config = config.listen_unix(Kind::Map, "maps", &directory.join("maps.sock"));
    lines.iter().fold(config, |config, line| config.server(line))
}

/// A jail whose hosts file names `api.jail`.
pub(crate) fn jail(directory: &Path) -> PathBuf {
    let jail = directory.join("jail");
    fs::create_dir_all(jail.join("etc")).expect("a directory");
    for file in ["resolv.conf", "hosts", "nsswitch.conf"] {
        fs::write(jail.join("etc").join(file), "").expect("a file");
    }
    fs::write(jail.join("etc/hosts"), "127.0.0.1 api.jail\n").expect("a file");
    fs::write(jail.join("etc/nsswitch.conf"), "hosts: files\n").expect("a file");
    jail
}

/// Debian's user `nobody`; its group has the same number.
const NOBODY: u32 = 65534;

#[test]
fn the_broker_becomes_the_user_with_its_own_groups() {
    assert!(rustix::process::geteuid().is_root(), "only root can become another user");
    let directory = open_directory();
    let api = Backend::constant(r#"{"value": "v"}"#);
    for (lines, group) in
        [(&["run_as_user: nobody"][..], NOBODY), (&["run_as_user: 65534", "run_as_group: daemon"], 1)]
    {
        let broker = Broker::start(&config(directory.path(), &api, lines).write());
        assert_eq!(ids(&broker, "Uid:"), [NOBODY; 4], "{lines:?}");
        assert_eq!(ids(&broker, "Gid:"), [group; 4], "{lines:?}");
        assert!(!ids(&broker, "Groups:").contains(&0), "root's groups are dropped");
        assert_eq!(ids(&broker, "CapEff:"), [0]);
        assert_eq!(Peer::unix(&directory.path().join("maps.sock")).look_up("m", "k"), "OK v");
    }
}

/// Whether a process of nobody may read this file of another user's process.
pub(crate) fn nobody_reads(pid: u32, file: &str) -> bool {
    let path = format!("/proc/{pid}/{file}");
    let output = Command::new("cat").arg(path).uid(NOBODY).gid(NOBODY).output().expect("cat can be run");
    output.status.success()
}

/// The soft and the hard limit of the size of a core.
pub(crate) fn core_limits(pid: u32) -> Vec<String> {
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).expect("a living process has limits");
    let line = limits.lines().find_map(|line| line.strip_prefix("Max core file size"));
    line.expect("the limit").split_whitespace().take(2).map(str::to_owned).collect()
}

#[test]
fn other_processes_cannot_read_its_memory_and_it_leaves_no_core() {
    let directory = open_directory();
    let mut plain =
        Command::new("sleep").arg("60").uid(NOBODY).gid(NOBODY).spawn().expect("sleep can be run");
    let is_readable = nobody_reads(plain.id(), "environ");
    plain.kill().expect("a child can be killed");
    plain.wait().expect("a child can be waited for");
    assert!(is_readable, "another process of the same user can be read");
    let api = Backend::constant(r#"{"value": "v"}"#);
    let dropped = Broker::start(&config(directory.path(), &api, &["run_as_user: nobody"]).write());
    let look = |broker: &Broker| {
        let pid = broker.pid().as_raw_nonzero().get().unsigned_abs();
        for file in ["environ", "maps", "io"] {
            assert!(!nobody_reads(pid, file), "{file}");
        }
        assert_eq!(core_limits(pid), ["0", "0"]);
        // The broker still reads these files of its own process.
        assert!(broker.reload(), "{}", broker.log());
    };
    look(&dropped);
    drop(dropped);
    // Started as the user from the beginning, as systemd does it.
    let own = directory.path().join("own");
    fs::create_dir(&own).expect("a directory");
    std::os::unix::fs::chown(&own, Some(NOBODY), Some(NOBODY)).expect("its owner");
    let copy = own.join("pfxhttp-broker");
    copy_program(env!("CARGO_BIN_EXE_pfxhttp-broker").as_ref(), &copy);
    look(&Broker::start_as(&config(&own, &api, &[]).write(), &copy, NOBODY));
}

#[test]
fn names_are_resolved_in_a_jail() {
    let directory = open_directory();
    let jail = jail(directory.path());
    let api = Backend::constant(r#"{"value": "v"}"#);
    let chroot = format!("chroot: \"{}\"", jail.display());
    let named = api.url("/").replace("127.0.0.1", "api.jail");
    let config = config(directory.path(), &api, &[&chroot, "run_as_user: nobody"]).map("named", &named, &[]);
    let broker = Broker::start(&config.write());
    let root = fs::read_link(format!("/proc/{}/root", broker.pid().as_raw_nonzero())).expect("its root");
    assert_eq!(root, jail);
    let place = fs::read_link(format!("/proc/{}/cwd", broker.pid().as_raw_nonzero())).expect("its directory");
    assert_eq!(place, jail, "the working directory is the jail");
    let mut peer = Peer::unix(&directory.path().join("maps.sock"));
    assert_eq!(peer.look_up("m", "k"), "OK v");
    assert_eq!(peer.look_up("named", "k"), "OK v", "the jail's own hosts");
    // A reload finds its files in the jail.
    assert!(!broker.reload(), "the jail has no configuration yet");
    let inside = format!("(inside chroot {})", jail.display());
    assert!(broker.logged(&["ERROR", "pfxhttp.yml", &inside]), "{}", broker.log());
    let there = jail.join(directory.path().strip_prefix("/").expect("an absolute path"));
    fs::create_dir_all(&there).expect("a directory");
    let file = config.map("more", &api.url("/"), &[]).write();
    fs::copy(file, there.join("pfxhttp.yml")).expect("a copy");
    for path in there.ancestors().take_while(|path| *path != directory.path()) {
        fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("its mode");
    }
    fs::set_permissions(there.join("pfxhttp.yml"), std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .expect("its mode");
    assert!(broker.reload(), "{}", broker.log());
    assert_eq!(peer.look_up("more", "k"), "OK v");
}

/// Runs a copy of the program as nobody.
fn as_nobody(config: &Config, words: &[&str]) -> (Option<i32>, String) {
    let copy = config.directory().join("pfxhttp-broker");
    copy_program(env!("CARGO_BIN_EXE_pfxhttp-broker").as_ref(), &copy);
    let file = config.write();
    let output = program(&copy, &file).args(words).uid(NOBODY).gid(NOBODY).output().expect("it runs");
    (output.status.code(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

#[test]
fn check_names_what_the_user_could_not_do() {
    let directory = open_directory();
    let [own, closed] = ["own", "closed"].map(|name| directory.path().join(name));
    for path in [&own, &closed] {
        fs::create_dir(path).expect("a directory");
    }
    std::os::unix::fs::chown(&own, Some(NOBODY), Some(NOBODY)).expect("its owner");
    let config = |line: &str, socket: &Path, more: &str| {
        let endpoint = format!("type: unix, address: \"{}\", mode: \"0666\"{more}", socket.display());
        let config = Config::new(&own).map("m", "http://127.0.0.1:1/", &[]).server(line);
        config.listen(Kind::Map, "maps", &endpoint)
    };
    let (good, bad) = (own.join("maps.sock"), closed.join("maps.sock"));
    let help = "(usermod -aG daemon nobody)";
    for (config, due) in [
        (config("", &good, ""), None),
        (
            config("", &good, ", group: daemon"),
            Some(("not in its group daemon: a start by this user fails", help)),
        ),
        (config("", &bad, ""), Some(("user nobody may not write to", "a start by this user fails"))),
    ] {
        let (code, said) = as_nobody(&config, &["check"]);
        assert_eq!((code, said.contains("warning: ")), (Some(0), due.is_some()), "{due:?}: {said}");
        let Some((what, then)) = due else { continue };
        assert!(said.lines().any(|line| line.contains(what) && line.contains(then)), "{said}");
        assert_eq!(as_nobody(&config, &["check", "--strict"]).0, Some(78), "{due:?}");
        let (code, said) = as_nobody(&config, &[]);
        assert_eq!(code, Some(71), "{said}");
        let due = if what.contains("group") { help } else { "cannot lock its .lock file" };
        assert!(said.contains(due), "{said}");
    }
    // If root starts the broker, it is that user's process that reloads.
    let check = |config: &Config| {
        let output = broker::command(&config.write()).arg("check").output().expect("it runs");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let said = check(&config("run_as_user: nobody", &bad, ", group: daemon"));
    assert_eq!(said.matches("root may at the start, but no reload could").count(), 2, "{said}");
    let said = check(&config(&format!("chroot: \"{}\"", closed.display()), &good, ""));
    assert!(said.contains("lacks etc/resolv.conf, etc/hosts, etc/nsswitch.conf"), "{said}");
    assert!(check(&config("run_as_user: no-such-user", &good, "")).contains("no-such-user"));
    // A service manager that passes no sockets.
    let (_, said) = as_nobody(&config("", &bad, ", systemd_socket_name: maps"), &[]);
    let due =
        "no socket named \"maps\" was passed (is pfxhttp-postfix@maps.socket started?), and none can be made";
    assert!(said.contains(due), "{said}");
}

/// A user of this machine with more than one group: its name, and all its groups.
fn someone_in_groups() -> (String, Vec<u32>) {
    let groups = fs::read_to_string("/etc/group").expect("groups");
    let user =
        groups.lines().find_map(|line| line.rsplit(':').next()?.split(',').find(|name| !name.is_empty()));
    let user = user.expect("no user is in a group besides its own: usermod -aG mail games");
    let told = Command::new("id").args(["-G", user]).output().expect("id can be run");
    let mut groups: Vec<u32> =
        String::from_utf8_lossy(&told.stdout).split_whitespace().filter_map(|id| id.parse().ok()).collect();
    groups.sort_unstable();
    (user.to_owned(), groups)
}

#[test]
fn the_user_keeps_all_its_groups_in_a_jail() {
    let directory = open_directory();
    let api = Backend::constant(r#"{"value": "v"}"#);
    let (user, groups) = someone_in_groups();
    assert!(groups.len() > 1, "{user}: {groups:?}");
    let (user, jail) = (format!("run_as_user: {user}"), jail(directory.path()));
    let chroot = format!("chroot: \"{}\"", jail.display());
    for lines in [&[user.as_str()][..], &[&user, &chroot]] {
        let broker = Broker::start(&config(directory.path(), &api, lines).write());
        assert_eq!(ids(&broker, "Groups:"), groups, "{lines:?}");
    }
}

#[test]
fn privileges_that_cannot_be_set_prevent_the_start() {
    let directory = open_directory();
    let api = Backend::constant(r#"{"value": "v"}"#);
    let empty = directory.path().join("empty");
    fs::create_dir(&empty).expect("a directory");
    for (line, says) in [
        ("run_as_user: no-such-user", "no-such-user"),
        ("run_as_group: no-such-group", "no-such-group"),
        (&*format!("chroot: \"{}\"", empty.display()), "resolv.conf"),
        ("chroot: /no/such/directory", "directory that exists"),
    ] {
        let (code, said) = refused_start(&config(directory.path(), &api, &[line]).write());
        assert!(matches!(code, Some(71 | 78)), "{line}: {code:?} {said}");
        assert!(said.contains(says) && !said.contains(" ready"), "{line}: {said}");
        assert!(!directory.path().join("maps.sock").exists(), "{line}: no socket is left");
    }
}
