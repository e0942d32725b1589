//! Whether a start would find directories, users and jail, and could make the sockets: warnings of `check`.
//! Modes, owners and groups are checked; access lists (acl(5)) and security modules are not.
//!
//! A broker that root starts makes its sockets as root, only in directories where no other user may write. A
//! reload makes and changes sockets with the rights of `run_as_user`.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::unistd::{User, getegid, geteuid, getgroups};

use super::accounts::{group_id, user_id};
use super::directory::{Own, other_writer_at};
use super::privilege::{self, ProcessIdentity};
use super::reach::Visitor;
use super::settings::{Endpoint, SocketSettings, UnixSocket};
use crate::document::Place;

/// The bits that creating a file in a directory needs.
const WRITE_AND_SEARCH: u32 = 0o3;

/// The problems of a start, a sentence each.
#[derive(Debug, Default)]
pub struct Missing {
    /// Missing users and groups: a start fails.
    pub owners: Vec<String>,
    /// Problems that may be solved by then (a service manager makes directories), or concern only a user.
    pub warnings: Vec<String>,
}

/// Checks what a start by `config`, read from `file`, needs.
#[must_use]
pub fn missing(file: &Path, settings: &SocketSettings) -> Missing {
    let mut missing = Missing::default();
    let privileges = &settings.privileges;
    let identity = ProcessIdentity::of(privileges);
    missing.owners.extend(identity.as_ref().err().map(ToString::to_string));
    let ipc = &settings.ipc;
    for (user, place) in ipc.allow_users.iter().zip(&ipc.allowed_at) {
        let Err(error) = user_id(user) else { continue };
        let place = place.map(|Place { line, column }| format!("{line}:{column}:")).unwrap_or_default();
        missing.owners.push(format!("{}:{place} error: server.ipc.allow_users: {error}", file.display()));
    }
    for socket in sockets(settings, true) {
        let path = socket.path.display();
        let user = socket.user.as_deref().and_then(|user| user_id(user).err());
        let group = socket.group.as_deref().and_then(|group| group_id(group).err());
        missing.owners.extend(user.into_iter().chain(group).map(|error| format!("{path}: {error}")));
        if let Some(directory) = socket.path.parent().filter(|directory| !directory.is_dir()) {
            let directory = directory.display();
            missing.warnings.push(format!("warning: {path}: there is no directory {directory} now"));
        }
    }
    if let Some(maker) = Maker::of(settings) {
        missing.warnings.extend(sockets(settings, false).flat_map(|socket| maker.obstacles(socket)));
    }
    if let Ok(identity) = identity
        && (privileges.user.is_some() || geteuid().is_root())
    {
        let made = sockets(settings, false).chain([&settings.admin]);
        missing.warnings.extend(made.filter_map(|socket| {
            let writer = other_writer_at(&socket.path, Own::of(&identity))?;
            Some(format!("warning: {}: {writer}: a start as root fails", socket.path.display()))
        }));
    }
    let jail = privileges.chroot.as_deref().map(privilege::furnished).and_then(Result::err);
    missing.warnings.extend(jail.map(|error| format!("warning: {error}: a start as root fails")));
    missing
}

/// The unix sockets, with or without those that a service manager may make.
fn sockets(settings: &SocketSettings, handed_over: bool) -> impl Iterator<Item = &UnixSocket> {
    let listeners = settings.listen.iter().filter_map(move |listener| match &listener.endpoint {
        Endpoint::Unix(socket) if handed_over || listener.systemd_socket_name.is_none() => Some(socket),
        _ => None,
    });
    std::iter::once(&settings.ipc.socket).chain(listeners)
}

/// Of a directory's mode.
const SETGID: u32 = 0o2000;

/// A user other than root who makes sockets.
struct Maker {
    visitor: Visitor,
    name: String,
    /// Why it cannot make a socket.
    fails: &'static str,
}

impl Maker {
    fn of(settings: &SocketSettings) -> Option<Self> {
        let (maker, is_root) = match settings.privileges.user.as_deref() {
            Some(name) => {
                let uid = user_id(name).ok()?;
                let user = User::from_uid(uid.into()).ok().flatten()?;
                let visitor = Visitor::named(&user.name)?;
                let fails = "root may at the start, but no reload could";
                (Self { visitor, name: user.name, fails }, uid == 0)
            }
            None => {
                let user = geteuid();
                // A service manager may give groups that the group database lacks.
                let groups = getgroups().ok()?.into_iter().chain([getegid()]);
                let visitor =
                    Visitor { user: user.as_raw(), groups: groups.map(nix::unistd::Gid::as_raw).collect() };
                let name = User::from_uid(user).ok().flatten().map(|user| user.name);
                let name = name.unwrap_or_else(|| user.to_string());
                (Self { visitor, name, fails: "a start by this user fails" }, user.is_root())
            }
        };
        (!is_root).then_some(maker)
    }

    fn obstacles(&self, socket: &UnixSocket) -> Vec<String> {
        let Self { visitor, name, fails } = self;
        let path = socket.path.display();
        let mut obstacles = Vec::new();
        let directory = socket.path.parent().unwrap_or(Path::new("/"));
        // With this bit a new file gets the group of the directory.
        let given = fs::metadata(directory).ok().filter(|found| found.mode() & SETGID != 0);
        let given = given.map(|found| found.gid());
        if let Some(group) = &socket.group
            && group_id(group).is_ok_and(|id| !visitor.groups.contains(&id) && given != Some(id))
        {
            let help = format!("usermod -aG {group} {name}");
            obstacles
                .push(format!("warning: {path}: user {name} is not in its group {group}: {fails} ({help})"));
        }
        let is_closed = fs::metadata(directory)
            .is_ok_and(|found| !visitor.may(WRITE_AND_SEARCH, found.mode(), found.uid(), found.gid()));
        if is_closed {
            let directory = directory.display();
            obstacles.push(format!("warning: {path}: user {name} may not write to {directory}: {fails}"));
        }
        obstacles
    }
}
