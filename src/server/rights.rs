//! Whether a start would find directories, users and jail, and could make the sockets, and whether Postfix
//! and its clients can open them: warnings of `check` and of `postfix --check`. Modes, owners and groups are
//! checked; access lists (acl(5)) and security modules are not.
//!
//! A broker that root starts makes its sockets as root, only in directories where no other user may write. A
//! reload makes and changes sockets with the rights of `run_as_user`. Without `run_as_user` a service manager may
//! start the broker as another user than that of `check`: root is then warned of no directory.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use nix::unistd::{Gid, Group, Uid, User, getegid, geteuid, getgroups};

use super::accounts::{group_id, group_name, groups, user, user_id, user_name};
use super::directory::{Own, other_writer_at};
use super::privilege::{self, ProcessIdentity};
use super::settings::{Endpoint, SocketSettings, UnixSocket};
use crate::document::Place;

/// Bits of others: to open a socket, to enter a directory, and to make a file in it.
const READ_WRITE: u32 = 0o6;
const SEARCH: u32 = 0o1;
const WRITE_AND_SEARCH: u32 = 0o3;
/// Of a directory's mode.
const SETGID: u32 = 0o2000;

/// The problems of a start, a sentence each.
#[derive(Debug, Default)]
pub(crate) struct Missing {
    /// Missing users and groups: a start fails.
    pub(crate) owners: Vec<String>,
    /// Problems that may be solved by then (a service manager makes directories), or concern only a user.
    pub(crate) warnings: Vec<String>,
}

/// Checks what a start by `config`, read from `file`, needs.
pub(crate) fn missing(file: &Path, settings: &SocketSettings) -> Missing {
    let mut missing = Missing::default();
    let privileges = &settings.privileges;
    let identity = ProcessIdentity::of(privileges);
    missing.owners.extend(identity.as_ref().err().cloned());
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
    // Without `run_as_user` it is not known who starts the broker: a service manager may do so as the owner of
    // the directories.
    if let Ok(identity) = identity
        && privileges.user.is_some()
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

/// A sentence for each listener that user postfix cannot open; none if there is no such user. Postfix would
/// only log "permission denied".
pub(crate) fn closed_to_postfix(settings: &SocketSettings) -> Vec<String> {
    let Some(postfix) = user("postfix").ok().and_then(|user| Visitor::of(&user)) else { return Vec::new() };
    // The first one is the local socket.
    let listeners = sockets(settings, false).skip(1);
    let obstacle = |socket: &UnixSocket| {
        let path = socket.path.display();
        if let Some(directory) = postfix.locked_out_of(&socket.path) {
            return Some(format!("warning: {path}: user postfix may not enter {}", directory.display()));
        }
        let opens = Access::to_make(socket, broker(settings))?.allows(&postfix);
        let help = "see its mode, user and group";
        (!opens).then(|| format!("warning: {path}: user postfix may not open it; {help}"))
    };
    listeners.filter_map(obstacle).collect()
}

/// Why a process of spawn(8) with `user=` this user and group cannot open the local socket. `None`: it can, or
/// that is not known before a start. spawn(8) sets one group: this one, else the primary group of the user.
pub(crate) fn closed_to_spawned(
    settings: &SocketSettings,
    user: &str,
    group: Option<&str>,
) -> Option<String> {
    let Some(found) = User::from_name(user).ok()? else { return Some(format!("there is no user {user:?}")) };
    let group = match group.map(Group::from_name) {
        Some(Ok(None)) => return Some(format!("there is no group {:?}", group.unwrap_or_default())),
        Some(found) => found.ok()??.gid,
        None => found.gid,
    };
    let visitor = Visitor { user: found.uid.as_raw(), groups: vec![group.as_raw()] };
    let socket = &settings.ipc.socket;
    let path = socket.path.display();
    if let Some(directory) = visitor.locked_out_of(&socket.path) {
        return Some(format!("it may not enter {}", directory.display()));
    }
    // A service manager may start the broker as another user than this one.
    let is_known = !geteuid().is_root() || settings.privileges.user.is_some();
    let to_make = || Access::to_make(socket, broker(settings)).filter(|_| is_known);
    let access = Access::of(&socket.path).or_else(to_make)?;
    let Access { mode, owner, group } = access;
    let (owner, group) = (user_name(Uid::from_raw(owner)), group_name(Gid::from_raw(group)));
    (!access.allows(&visitor)).then(|| {
        format!("it may not open {path} (mode {mode:04o}, user {owner}, group {group}): see server.ipc.group")
    })
}

/// The user and the group of the broker.
fn broker(settings: &SocketSettings) -> (Uid, Gid) {
    let user = settings.privileges.user.as_deref().and_then(|name| user(name).ok());
    user.map_or((geteuid(), getegid()), |user| (user.uid, user.gid))
}

/// Who may open a socket.
#[derive(Clone, Copy)]
struct Access {
    mode: u32,
    owner: u32,
    group: u32,
}

impl Access {
    /// Of the socket that is there.
    fn of(path: &Path) -> Option<Self> {
        let found = fs::metadata(path).ok().filter(|found| found.file_type().is_socket())?;
        Some(Self { mode: found.mode() & 0o7777, owner: found.uid(), group: found.gid() })
    }

    /// Of a socket that a broker with this user and group makes.
    fn to_make(socket: &UnixSocket, own: (Uid, Gid)) -> Option<Self> {
        let owner = socket.user.as_deref().map_or(Ok(own.0.as_raw()), user_id).ok()?;
        let inherited = || inherited_group(directory_of(socket)).unwrap_or(own.1.as_raw());
        let group = socket.group.as_deref().map_or_else(|| Ok(inherited()), group_id).ok()?;
        Some(Self { mode: socket.mode, owner, group })
    }

    fn allows(self, visitor: &Visitor) -> bool {
        visitor.may(READ_WRITE, self.mode, self.owner, self.group)
    }
}

/// The unix sockets, with or without those that a service manager may make.
fn sockets(settings: &SocketSettings, handed_over: bool) -> impl Iterator<Item = &UnixSocket> {
    let listeners = settings.listen.iter().filter_map(move |listener| match &listener.endpoint {
        Endpoint::Unix(socket) if handed_over || listener.systemd_socket_name.is_none() => Some(socket),
        _ => None,
    });
    std::iter::once(&settings.ipc.socket).chain(listeners)
}

fn directory_of(socket: &UnixSocket) -> &Path {
    socket.path.parent().unwrap_or(Path::new("/"))
}

/// A new file gets the group of a directory with the set-group-id bit (inode(7)).
fn inherited_group(directory: &Path) -> Option<u32> {
    fs::metadata(directory).ok().filter(|found| found.mode() & SETGID != 0).map(|found| found.gid())
}

/// User and groups of a process.
struct Visitor {
    user: u32,
    groups: Vec<u32>,
}

impl Visitor {
    fn of(user: &User) -> Option<Self> {
        let groups = groups(user, user.gid).ok()?.into_iter().map(Gid::as_raw).collect();
        Some(Self { user: user.uid.as_raw(), groups })
    }

    /// Whether `mode` allows `bits`: only the class that fits first counts (path_resolution(7)).
    fn may(&self, bits: u32, mode: u32, owner: u32, group: u32) -> bool {
        let class = match () {
            () if self.user == owner => mode >> 6,
            () if self.groups.contains(&group) => mode >> 3,
            () => mode,
        };
        class & bits == bits
    }

    /// The first directory above `path` that it may not enter.
    fn locked_out_of<'p>(&self, path: &'p Path) -> Option<&'p Path> {
        path.ancestors().skip(1).find(|directory| self.is_kept_from(directory, SEARCH))
    }

    /// Whether the mode of this directory does not allow `bits`.
    fn is_kept_from(&self, directory: &Path, bits: u32) -> bool {
        fs::metadata(directory).is_ok_and(|found| !self.may(bits, found.mode(), found.uid(), found.gid()))
    }
}

/// A user other than root who makes sockets.
struct Maker {
    visitor: Visitor,
    name: String,
    /// Why it cannot make a socket.
    fails: &'static str,
}

impl Maker {
    fn of(settings: &SocketSettings) -> Option<Self> {
        if let Some(name) = &settings.privileges.user {
            let user = user(name).ok().filter(|user| !user.uid.is_root())?;
            let fails = "root may at the start, but no reload could";
            return Some(Self { visitor: Visitor::of(&user)?, name: user.name, fails });
        }
        let user = Some(geteuid()).filter(|user| !user.is_root())?;
        // A service manager may give groups that the group database lacks.
        let groups = getgroups().ok()?.into_iter().chain([getegid()]).map(Gid::as_raw).collect();
        let visitor = Visitor { user: user.as_raw(), groups };
        Some(Self { visitor, name: user_name(user), fails: "a start by this user fails" })
    }

    fn obstacles(&self, socket: &UnixSocket) -> Vec<String> {
        let Self { visitor, name, fails } = self;
        let (path, directory) = (socket.path.display(), directory_of(socket));
        let inherited = inherited_group(directory);
        let mut obstacles = Vec::new();
        if let Some(group) = &socket.group
            && group_id(group).is_ok_and(|id| !visitor.groups.contains(&id) && inherited != Some(id))
        {
            let help = format!("usermod -aG {group} {name}");
            obstacles
                .push(format!("warning: {path}: user {name} is not in its group {group}: {fails} ({help})"));
        }
        if visitor.is_kept_from(directory, WRITE_AND_SEARCH) {
            let directory = directory.display();
            obstacles.push(format!("warning: {path}: user {name} may not write to {directory}: {fails}"));
        }
        obstacles
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_class_that_fits_counts() {
        let postfix = Visitor { user: 10, groups: vec![20] };
        for (mode, owner, group, opens) in [
            (0o666, 1, 1, true),
            (0o660, 1, 20, true),
            (0o660, 10, 1, true),
            (0o660, 1, 1, false),
            (0o606, 1, 20, false),
            (0o066, 10, 20, false),
        ] {
            assert_eq!(postfix.may(READ_WRITE, mode, owner, group), opens, "{mode:o} {owner} {group}");
        }
    }
}
