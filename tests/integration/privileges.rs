//! `run_as_user`, `run_as_group`, `chroot`: the broker is who it is told to be, or it does not run.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::backend::Backend;
use crate::support::broker::{Broker, refused_start};
use crate::support::config::{Config, Kind};
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

/// The user that Debian has for such things, and the group that it is in.
const NOBODY: u32 = 65534;

#[test]
fn it_becomes_the_user_with_its_own_groups() {
    assert!(rustix::process::geteuid().is_root(), "only root can become another user");
    let directory = open_directory();
    let api = Backend::constant(r#"{"value": "v"}"#);
    for (lines, group) in
        [(&["run_as_user: nobody"][..], NOBODY), (&["run_as_user: 65534", "run_as_group: daemon"], 1)]
    {
        let broker = Broker::start(&config(directory.path(), &api, lines).write());
        assert_eq!(ids(&broker, "Uid:"), [NOBODY; 4], "{lines:?}");
        assert_eq!(ids(&broker, "Gid:"), [group; 4], "{lines:?}");
        assert!(!ids(&broker, "Groups:").contains(&0), "no group of root's");
        assert_eq!(ids(&broker, "CapEff:"), [0]);
        assert_eq!(Peer::unix(&directory.path().join("maps.sock")).look_up("m", "k"), "OK v");
    }
}

#[test]
fn a_jail_holds_what_names_need() {
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
    assert_eq!(place, jail, "nothing outside is left within reach");
    let mut peer = Peer::unix(&directory.path().join("maps.sock"));
    assert_eq!(peer.look_up("m", "k"), "OK v");
    assert_eq!(peer.look_up("named", "k"), "OK v", "the jail's own hosts");
}

/// A user of this machine who is in more than one group: its name, and all of them.
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
fn all_groups_of_the_user_are_taken_into_the_jail() {
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
fn what_cannot_be_had_is_fatal() {
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
        assert!(!directory.path().join("maps.sock").exists(), "{line}: nothing is left behind");
    }
}
