//! What `make install` installs, what packages contain, and the notes of a release.
//!
//! `make test-package` tries a package in a Debian of its own. It takes minutes and is not part of
//! these tests.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use pfxhttp::settings;
use tempfile::TempDir;

use crate::support::book::Page;

const MANIFEST: &str = include_str!("../../Cargo.toml");

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn make(arguments: &[&str]) -> Output {
    Command::new("make").current_dir(root()).arg("-s").args(arguments).output().expect("make")
}

/// Installs what `make build` built.
fn installed(prefix: &str) -> TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    let destination = format!("DESTDIR={}", directory.path().display());
    let output = make(&["install", &destination, &format!("PREFIX={prefix}")]);
    assert!(output.status.success(), "make install: {}", String::from_utf8_lossy(&output.stderr));
    directory
}

/// Every file below `directory`, with its mode.
fn files(directory: &Path) -> BTreeMap<String, u32> {
    let mut found = BTreeMap::new();
    let mut left = vec![directory.to_owned()];
    while let Some(next) = left.pop() {
        for entry in fs::read_dir(next).expect("a directory") {
            let entry = entry.expect("an entry");
            let metadata = entry.metadata().expect("metadata");
            if metadata.is_dir() {
                left.push(entry.path());
            } else {
                let path = entry.path();
                let path = path.strip_prefix(directory).expect("below").to_str().expect("UTF-8");
                found.insert(path.to_owned(), metadata.permissions().mode() & 0o7777);
            }
        }
    }
    found
}

/// The assets of a package: each file with its mode. A `*` stands for the names in one directory.
fn assets(prefix: &str, files: &BTreeMap<String, u32>) -> BTreeMap<String, u32> {
    let mut assets = BTreeMap::new();
    for line in MANIFEST.lines().filter_map(|line| line.trim().strip_prefix(prefix)) {
        let words: Vec<_> = line.split('"').collect();
        let mode = u32::from_str_radix(words[4], 8).expect("a mode");
        let source = words[0].trim_end_matches(".gz");
        let Some((directory, end)) = source.split_once('*') else {
            assert_eq!(
                words[2].trim_start_matches('/').replace("zsh/site-functions", "zsh/vendor-completions"),
                words[0]
            );
            assets.insert(source.to_owned(), mode);
            continue;
        };
        assert_eq!(words[2].trim_start_matches('/'), directory, "a package changes no path");
        let names = files.keys().filter(|path| {
            path.strip_prefix(directory).is_some_and(|name| !name.contains('/') && name.ends_with(end))
        });
        assets.extend(names.map(|path| (path.clone(), mode)));
    }
    assets
}

#[test]
fn packages_hold_what_is_installed() {
    let tree = installed("/usr");
    let files = files(tree.path());
    assert!(files.len() > 40, "{files:?}");
    assert_eq!(assets("{ source = \"target/staged/", &files), files, "package.metadata.generate-rpm");
    // The licence of a Debian package is its file `copyright`.
    let is_licence = |path: &str| path.ends_with("/LICENSE");
    let files: BTreeMap<_, _> = files.into_iter().filter(|(path, _)| !is_licence(path)).collect();
    assert_eq!(assets("[\"target/staged/", &files), files, "package.metadata.deb");
    for (path, mode) in files {
        let due = match path.as_str() {
            "usr/sbin/pfxhttp-broker" | "usr/libexec/pfxhttp/pfxhttp-client" => 0o755,
            "etc/pfxhttp/pfxhttp.yml" => 0o640,
            _ => 0o644,
        };
        assert_eq!(mode, due, "{path}: {mode:o}");
    }
}

#[test]
fn an_installation_keeps_the_configuration_and_knows_its_prefix() {
    let tree = installed("/usr/local");
    let path = |path: &str| tree.path().join(path);
    let text = |name: &str| fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    let unit = text("usr/local/lib/systemd/system/pfxhttp.service");
    assert!(unit.contains("ExecStart=/usr/local/sbin/pfxhttp-broker\n"), "{unit}");
    let example = text("usr/local/share/doc/pfxhttp/master.cf.example");
    assert!(example.contains("argv=/usr/local/libexec/pfxhttp/pfxhttp-client"), "{example}");
    for page in ["man5/pfxhttp.yml.5", "man8/pfxhttp.8", "man8/pfxhttp-broker.8", "man8/pfxhttp-client.8"] {
        let page = text(&format!("usr/local/share/man/{page}"));
        for directory in ["lib", "libexec", "sbin", "share"] {
            assert!(!page.contains(&format!("/usr/{directory}/")), "{page}");
        }
    }
    let manual = text("usr/local/share/man/man8/pfxhttp.8");
    assert!(manual.contains("Pa /usr/local/share/doc/pfxhttp/docs/src/start/install.md"), "{manual}");

    fs::write(path("etc/pfxhttp/pfxhttp.yml"), "# mine\n").expect("a file");
    let destination = format!("DESTDIR={}", tree.path().display());
    assert!(make(&["install", &destination, "PREFIX=/usr/local"]).status.success());
    assert_eq!(text("etc/pfxhttp/pfxhttp.yml"), "# mine\n");
}

/// README.md is installed with the pages that it names.
#[test]
fn the_links_of_the_installed_readme_resolve() {
    let tree = installed("/usr");
    let links: Vec<_> = Page::read("README.md").links().into_iter().map(|(_, target)| target).collect();
    assert!(links.len() > 20, "{links:?}");
    for link in links.iter().filter(|link| !link.contains("://")) {
        let path = link.split('#').next().expect("a path");
        assert!(tree.path().join("usr/share/doc/pfxhttp").join(path).is_file(), "{link}");
    }
}

#[test]
fn the_default_configuration_is_safe() {
    let text = fs::read_to_string(root().join("contrib/pfxhttp.yml")).expect("a file");
    let (config, warnings) = settings::parse(Path::new("pfxhttp.yml"), &text).expect("it is good");
    assert!(warnings.is_empty(), "{warnings:?}");
    assert!(config.server.sockets.listen.is_empty());
    assert!(config.maps.is_empty() && config.policies.is_empty() && config.logins.is_empty());
    assert_eq!(config.server.sockets.ipc.socket.path, PathBuf::from("/run/pfxhttp/broker.sock"));
    assert_eq!(config.server.sockets.ipc.socket.mode, 0o660);
    assert_eq!(config.server.sockets.ipc.socket.group.as_deref(), Some("pfxhttp-client"));
    for word in ["skip_verify", "secret:", "password", "0.0.0.0", "[::]"] {
        assert!(!text.contains(word), "{word}");
    }
    // The settings that its comments suggest work as they are.
    let entries = text.lines().filter_map(|line| line.strip_prefix('#'));
    let entries = entries.filter(|line| !line.is_empty() && !line.starts_with(' ') || line.starts_with("  "));
    let entries = format!("{text}{}\n", entries.collect::<Vec<_>>().join("\n"));
    match settings::parse(Path::new("pfxhttp.yml"), &entries) {
        Ok((config, warnings)) => {
            assert!(warnings.is_empty(), "{warnings:?}");
            assert_eq!((config.maps.len(), config.policies.len(), config.logins.len()), (1, 1, 1));
        }
        Err(problems) => panic!("{}\n{entries}", problems[0]),
    }
}

/// Runs systemd-analyze on the installed tree, with the systemd units that ours refer to.
fn analyze(tree: &Path, arguments: &[&str]) -> String {
    let units = tree.join("usr/lib/systemd/system");
    for entry in fs::read_dir("/usr/lib/systemd/system").expect("systemd: make packages") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|extension| extension == "target") && path.is_file() {
            fs::copy(&path, units.join(path.file_name().expect("a name"))).expect("a copy");
        }
    }
    for program in ["bin/kill", "bin/sh", "usr/bin/systemd-tmpfiles"] {
        let copy = tree.join(program);
        fs::create_dir_all(copy.parent().expect("a directory")).expect("a directory");
        fs::copy(Path::new("/").join(program), copy).expect("a copy");
    }
    let output = Command::new("systemd-analyze").args(arguments).env("NO_COLOR", "1").output();
    let output = output.expect("systemd-analyze: apt-get install systemd, or make packages");
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(output.status.success(), "{arguments:?}: {text}");
    text
}

#[test]
fn systemd_takes_the_units() {
    let tree = installed("/usr");
    let root = format!("--root={}", tree.path().display());
    let units = ["pfxhttp.service", "pfxhttp.socket", "pfxhttp-postfix@recipients.socket"];
    let said = analyze(tree.path(), &[["verify", &root, "--man=no"].as_slice(), &units].concat());
    assert_eq!(said, "");
    for (section, page) in [("man5", "pfxhttp.yml.5"), ("man8", "pfxhttp.8")] {
        assert!(tree.path().join("usr/share/man").join(section).join(page).exists(), "{page}");
    }
    // 1.2, in tenths.
    analyze(tree.path(), &["security", &root, "--offline=true", "--threshold=12", "pfxhttp.service"]);
    let unit =
        fs::read_to_string(tree.path().join("usr/lib/systemd/system/pfxhttp.service")).expect("a unit");
    let users = unit.lines().find(|line| line.starts_with("PrivateUsers"));
    assert_eq!(users, None, "with PrivateUsers, SO_PEERCRED would show user nobody");
}

/// `contrib/test-systemd` tries the same with a running systemd.
#[test]
fn a_broken_configuration_does_not_leave_the_units_failed() {
    let tree = installed("/usr/local");
    let units = tree.path().join("usr/local/lib/systemd/system");
    let unit = |name: &str| fs::read_to_string(units.join(name)).expect("a unit");
    let lines = |text: &str, key: &str| -> Vec<String> {
        let lines = text.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        lines.map(str::to_owned).collect()
    };
    for name in ["pfxhttp.socket", "pfxhttp-postfix@.socket"] {
        let text = unit(name);
        // A start of the broker starts the sockets, and a waiting client does not make them fail.
        assert_eq!(lines(&text, "WantedBy"), ["sockets.target pfxhttp.service"], "{name}");
        assert_eq!(lines(&text, "TriggerLimitIntervalSec"), ["0"], "{name}");
    }
    let text = unit("pfxhttp.service");
    assert_eq!(lines(&text, "StartLimitIntervalSec"), ["0"]);
    // systemd without a start limit needs a pause between two attempts.
    let pause = lines(&text, "ExecStopPost");
    let [pause] = &pause[..] else { panic!("{pause:?}") };
    let script =
        pause.strip_prefix("/bin/sh -c '").and_then(|rest| rest.strip_suffix('\'')).expect("a shell");
    for (result, pauses) in [("success", false), ("exit-code", true), ("watchdog", true)] {
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", &script.replace("$$", "$").replace("exec sleep 1", "exit 9")]);
        let status = shell.env("SERVICE_RESULT", result).status().expect("a shell");
        assert_eq!(status.code(), Some(if pauses { 9 } else { 0 }), "{result}");
    }
    let before = lines(&text, "ExecStartPre");
    assert!(before.contains(&"/usr/local/sbin/pfxhttp-broker check".to_owned()), "{before:?}");
    // Orderings and requirements between the check, the start and the socket's directory.
    let made = fs::read_to_string(tree.path().join("usr/local/lib/tmpfiles.d/pfxhttp.conf")).expect("a file");
    assert!(made.lines().any(|line| line == "d /run/pfxhttp 2755 pfxhttp pfxhttp-client -"), "{made}");
    assert!(lines(&text, "ReadWritePaths")[0].split(' ').any(|path| path == "-/run/pfxhttp"));
}

/// contrib/release-notes, in a copy of the files that it reads, with these two changelogs.
fn notes(tag: &str, changelog: &str, of_debian: &str) -> Output {
    let copy = tempfile::tempdir().expect("a directory");
    let path = |path: &str| copy.path().join(path);
    fs::create_dir_all(path("contrib/debian")).expect("a directory");
    fs::copy(root().join("contrib/release-notes"), path("contrib/release-notes")).expect("a copy");
    fs::write(path("Cargo.toml"), MANIFEST).expect("a file");
    fs::write(path("CHANGELOG.md"), changelog).expect("a file");
    fs::write(path("contrib/debian/changelog"), of_debian).expect("a file");
    // sh reads it: a copy that this process has just written may not be executable yet.
    Command::new("/bin/sh").arg(path("contrib/release-notes")).arg(tag).output().expect("a shell")
}

#[test]
fn a_release_has_one_version_and_its_notes() {
    let version = env!("CARGO_PKG_VERSION");
    let changelog =
        format!("# Changelog\n\n## {version} – 2026-12-01\n\n- new\n\n## {version}1\n\n- other\n");
    let of_debian = format!("pfxhttp ({version}-1) unstable; urgency=medium\n");
    let tag = format!("v{version}");
    let printed = notes(&tag, &changelog, &of_debian);
    assert!(printed.status.success(), "{}", String::from_utf8_lossy(&printed.stderr));
    assert_eq!(String::from_utf8_lossy(&printed.stdout).trim(), "- new");
    for (tag, changelog, of_debian, why) in [
        ("v99.0.0", changelog.as_str(), of_debian.as_str(), "Cargo.toml has version"),
        (version, &changelog, &of_debian, "begins with v"),
        (&tag, "# Changelog\n\n## Unreleased\n\n- new\n", &of_debian, "CHANGELOG.md has no section"),
        (&tag, &changelog, "pfxhttp (99.0.0-1) unstable; urgency=medium\n", "contrib/debian/changelog"),
    ] {
        let refused = notes(tag, changelog, of_debian);
        let said = String::from_utf8_lossy(&refused.stderr);
        assert!(!refused.status.success() && said.contains(why), "{tag}: {said}");
    }
}
