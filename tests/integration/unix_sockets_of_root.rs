//! Unix sockets that root makes for a broker with `run_as_user`: another user who may write to their
//! directory, or replace it, gains nothing of root's rights.

use std::fs::{self, Permissions};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use pfxhttp::server::activation::Activated;
use pfxhttp::server::bind;

use crate::privileges::jail;
use crate::support::PATIENCE;
use crate::support::backend::Backend;
use crate::support::broker::{self, Broker, refused_start};
use crate::support::config::{Config, Kind};
use crate::support::peer::Peer;
use crate::support::site::open_directory;

const NOBODY: u32 = 65534;
const DAEMON: u32 = 1;

fn directory(path: PathBuf, owner: u32, group: u32, mode: u32) -> PathBuf {
    fs::create_dir(&path).expect("a directory");
    chown(&path, Some(owner), Some(group)).expect("root may give it away");
    fs::set_permissions(&path, Permissions::from_mode(mode)).expect("its mode can be set");
    path
}

/// A broker that becomes nobody, with a listener for maps at `socket`.
fn config(own: &Path, socket: &Path) -> Config {
    let config = Config::new(own).map("m", "http://127.0.0.1:1/", &[]).server("run_as_user: nobody");
    config.listen_unix(Kind::Map, "maps", socket)
}

fn check(config: &Config) -> String {
    let output = broker::command(&config.write()).arg("check").output().expect("it runs");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The owner, group, mode and content of a file of root's, which must not change.
#[derive(Debug, PartialEq, Eq)]
struct Kept(u32, u32, u32, String);

fn kept(path: &Path) -> Kept {
    let found = fs::symlink_metadata(path).expect("the file is there");
    let text = fs::read_to_string(path).expect("it can be read");
    Kept(found.uid(), found.gid(), found.mode(), text)
}

fn precious(directory: &Path) -> PathBuf {
    let path = directory.join("precious");
    fs::write(&path, "root's own").expect("a file");
    fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("its mode can be set");
    path
}

#[test]
fn root_makes_no_socket_where_a_stranger_may_write() {
    let base = open_directory();
    let at = |name: &str| base.path().join(name);
    let theirs = directory(at("theirs"), DAEMON, 0, 0o755);
    let below_theirs = directory(theirs.join("ours"), NOBODY, 0, 0o755);
    let shared = directory(at("shared"), 0, 0, 0o777);
    let link = at("link");
    symlink(directory(at("real"), 0, 0, 0o755), &link).expect("a link");
    std::os::unix::fs::lchown(&link, Some(DAEMON), Some(DAEMON)).expect("root may give it away");
    // Two links: the first is root's, the second is not.
    symlink(&link, at("links")).expect("a link");
    for (directory, says) in [
        (theirs, "user daemon may write to"),
        (below_theirs, "user daemon may write to"),
        (directory(shared.join("ours"), NOBODY, 0, 0o755), "every user may write to"),
        (shared, "every user may write to"),
        (directory(at("sticky"), 0, 0, 0o1777), "every user may write to"),
        (directory(at("of-a-group"), NOBODY, DAEMON, 0o2770), "group daemon may write to"),
        (link, "is a symbolic link that is not root's"),
        (at("links"), "is a symbolic link that is not root's"),
    ] {
        let config = config(base.path(), &directory.join("maps.sock"));
        let foreseen = check(&config);
        assert!(foreseen.contains(says) && foreseen.contains("a start as root fails"), "{says}: {foreseen}");
        let (code, said) = refused_start(&config.write());
        assert_eq!(code, Some(71), "{says}: {said}");
        assert!(said.contains("maps.sock: ") && said.contains(says), "{says}: {said}");
        assert!(fs::read_dir(&directory).expect("it is there").count() <= 1, "{says}: no file is made");
    }
}

/// Without `run_as_user` systemd starts the broker as the owner of the directory, and `check` by root must not
/// warn of it. A start by root is refused.
#[test]
fn check_by_root_does_not_warn_of_the_directory_of_the_brokers_user() {
    let base = open_directory();
    let socket = directory(base.path().join("theirs"), DAEMON, DAEMON, 0o2755).join("maps.sock");
    let config = Config::new(base.path()).map("m", "http://127.0.0.1:1/", &[]);
    let config = config.listen_unix(Kind::Map, "maps", &socket);
    let said = check(&config);
    assert!(!said.contains("may write to") && !said.contains("a start as root fails"), "{said}");
    let (code, said) = refused_start(&config.write());
    assert!(code == Some(71) && said.contains("user daemon may write to"), "{code:?}: {said}");
}

#[test]
fn root_makes_sockets_for_its_user_and_where_it_alone_may_write() {
    let base = open_directory();
    let at = |name: &str| base.path().join(name);
    let api = Backend::constant(r#"{"value": "v"}"#);
    symlink(directory(at("real"), 0, 0, 0o755), at("link")).expect("a link");
    let deep = directory(directory(at("sticky"), 0, 0, 0o1777).join("ours"), NOBODY, NOBODY, 0o755);
    directory(at("of-its-group"), NOBODY, NOBODY, 0o770);
    for (directory, group) in [
        (at("link"), 0),
        (at("link").join("..").join("real"), 0),
        (directory(at("postfix"), NOBODY, DAEMON, 0o2750), DAEMON),
        (at("of-its-group"), 0),
        (deep, 0),
    ] {
        let socket = directory.join("maps.sock");
        let config = config(base.path(), &socket).map("v", &api.url("/"), &[]);
        assert!(!check(&config).contains("a start as root fails"), "{}", socket.display());
        let mut broker = Broker::start(&config.write());
        assert_eq!(Peer::unix(&socket).look_up("v", "k"), "OK v", "{}", socket.display());
        let found = fs::symlink_metadata(&socket).expect("the socket");
        let got = (found.file_type().is_socket(), found.mode() & 0o7777, found.gid());
        assert_eq!(got, (true, 0o666, group), "{}", socket.display());
        let hidden = |entry: &fs::DirEntry| entry.file_name().as_encoded_bytes().starts_with(b".");
        let mut entries = fs::read_dir(&directory).expect("it is there").map_while(Result::ok);
        assert!(!entries.any(|entry| hidden(&entry)), "{}: no temporary name stays behind", socket.display());
        broker.terminate();
        assert!(broker.wait(PATIENCE).is_some_and(|status| status.success()));
    }
}

#[test]
fn a_lock_that_is_a_link_or_a_fifo_is_refused() {
    let base = open_directory();
    let own = directory(base.path().join("own"), NOBODY, NOBODY, 0o755);
    let (secret, absent) = (precious(base.path()), base.path().join("absent"));
    let before = kept(&secret);
    let lock = own.join("maps.sock.lock");
    let plants: [(&str, &dyn Fn()); 4] = [
        ("it is a symbolic link", &|| symlink(&absent, &lock).expect("a link")),
        ("it is a symbolic link", &|| symlink(&secret, &lock).expect("a link")),
        ("it is not a file of its own", &|| fs::hard_link(&secret, &lock).expect("a link")),
        ("cannot lock its .lock file", &|| {
            let mode = rustix::fs::Mode::from_raw_mode(0o666);
            rustix::fs::mknodat(rustix::fs::CWD, &lock, rustix::fs::FileType::Fifo, mode, 0).expect("a pipe");
        }),
    ];
    for (says, plant) in plants {
        plant();
        let (code, said) = refused_start(&config(base.path(), &own.join("maps.sock")).write());
        assert_eq!(code, Some(71), "{says}: {said}");
        assert!(said.contains(says), "{says}: {said}");
        assert!(!absent.exists(), "{says}: no file is made through a link");
        assert_eq!(kept(&secret), before, "{says}");
        fs::remove_file(&lock).expect("what was planted is there");
    }
}

/// A jail has no /proc. There, sockets are made only in a directory that belongs to the user alone.
#[test]
fn a_reload_makes_sockets_in_a_jail() {
    let base = open_directory();
    let jail = jail(base.path());
    let api = Backend::constant(r#"{"value": "v"}"#);
    let config = |more: &[&str]| {
        let config = Config::new(base.path()).map("v", &api.url("/"), &[]).server("run_as_user: nobody");
        let config = config.server(&format!("chroot: \"{}\"", jail.display()));
        more.iter().fold(config, |config, name| {
            config.listen_unix(
                Kind::Map,
                &name.replace("/", "-"),
                &Path::new("/run").join(format!("{name}.sock")),
            )
        })
    };
    let broker = Broker::start(&config(&[]).write());
    let (own, open) = (jail.join("run"), jail.join("run/open"));
    directory(own.clone(), NOBODY, NOBODY, 0o750);
    directory(open.clone(), DAEMON, NOBODY, 0o770);
    let inside = jail.join(base.path().strip_prefix("/").expect("an absolute path"));
    fs::create_dir_all(&inside).expect("a directory");
    for path in inside.ancestors().take_while(|path| *path != jail) {
        fs::set_permissions(path, Permissions::from_mode(0o755)).expect("its mode");
    }
    let reload = |more: &[&str]| {
        let file = inside.join("pfxhttp.yml");
        fs::copy(config(more).write(), &file).expect("a copy");
        fs::set_permissions(&file, Permissions::from_mode(0o644)).expect("its mode");
        broker.reload()
    };
    assert!(reload(&["maps"]), "{}", broker.log());
    let socket = own.join("maps.sock");
    assert_eq!(fs::metadata(&socket).expect("the socket").mode() & 0o777, 0o666);
    assert_eq!(Peer::unix(&socket).look_up("v", "k"), "OK v");
    assert!(!reload(&["maps", "open/maps"]), "{}", broker.log());
    assert!(broker.logged(&["there is no /proc here, and user 1 may write"]), "{}", broker.log());
}

#[test]
fn a_socket_of_another_program_is_not_removed() {
    let base = open_directory();
    let socket = directory(base.path().join("own"), NOBODY, NOBODY, 0o755).join("maps.sock");
    let mut broker = Broker::start(&config(base.path(), &socket).write());
    fs::remove_file(&socket).expect("it is there");
    let foreign = UnixListener::bind(&socket).expect("the name is free");
    broker.terminate();
    assert!(broker.wait(PATIENCE).is_some_and(|status| status.success()));
    let _peer = Peer::unix(&socket);
    foreign.accept().expect("it still leads to its owner");
}

/// Replaces every new name in `directory` by a link, and counts the replacements.
fn replace_names(directory: &Path, targets: &[&Path], ended: &AtomicBool, exchanged: &AtomicUsize) {
    let evil = directory.join("evil");
    while !ended.load(Ordering::Relaxed) {
        let entries = fs::read_dir(directory).expect("it is there").map_while(Result::ok);
        for name in entries.map(|entry| entry.file_name()) {
            if name == "evil" || name == "maps.sock" {
                continue;
            }
            // The rename leaves it if both names are links to one file.
            let _ = fs::remove_file(&evil);
            // A hard link or a symbolic link to a file of root's, or a symbolic link to a file that
            // could be made.
            let nth = exchanged.load(Ordering::Relaxed);
            let target = targets[nth % targets.len()];
            let planted = match nth % 3 {
                0 if target.exists() => fs::hard_link(target, &evil),
                _ => symlink(target, &evil),
            };
            if planted.is_ok() && fs::rename(&evil, directory.join(&name)).is_ok() {
                exchanged.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

#[test]
fn a_thousand_replaced_names_change_no_file_of_roots() {
    let base = open_directory();
    let own = directory(base.path().join("own"), NOBODY, NOBODY, 0o755);
    let (secret, absent) = (precious(base.path()), base.path().join("absent"));
    let before = kept(&secret);
    let socket = own.join("maps.sock");
    let endpoint = format!(
        "type: unix, address: \"{}\", mode: \"0666\", user: nobody, group: nogroup",
        socket.display()
    );
    let config = Config::new(base.path()).map("m", "http://127.0.0.1:1/", &[]).server("run_as_user: nobody");
    let file = config.listen(Kind::Map, "maps", &endpoint).write();
    let location = pfxhttp::settings::Location { file: Some(file.clone()), syntax: None };
    let (config, _) = location.read(false).1.expect("a configuration");
    let (ended, exchanged) = (AtomicBool::new(false), AtomicUsize::new(0));
    let count = || exchanged.load(Ordering::Relaxed);
    std::thread::scope(|scope| {
        scope.spawn(|| replace_names(&own, &[&secret, &absent], &ended, &exchanged));
        let (mut tries, begun) = (0, Instant::now());
        while (tries < 1000 || count() < 1000) && begun.elapsed() < Duration::from_secs(60) {
            tries += 1;
            // It fails if a name was replaced in time.
            let _ = bind::all(&config.server.sockets, &Activated::default());
            for name in ["maps.sock", "maps.sock.lock"] {
                let _ = fs::remove_file(own.join(name));
            }
        }
        ended.store(true, Ordering::Relaxed);
    });
    assert_eq!(kept(&secret), before, "{} names were replaced", count());
    assert!(!absent.exists(), "no file is made through a link");
    assert!(count() >= 1000, "{} replacements are too few for a race", count());
}
