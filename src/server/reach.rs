//! Whether Postfix can open a unix listener, according to modes and owners. `check` warns if it cannot: Postfix
//! would only log "permission denied". Access lists (acl(5)) and security modules are not checked.

use std::ffi::CString;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::unistd::{Gid, User, getegid, geteuid, getgrouplist};

use super::settings::{Endpoint, SocketSettings, UnixSocket};

/// Bits of others: read and write, and search of a directory.
const READ_WRITE: u32 = 0o6;
const SEARCH: u32 = 0o1;

/// User and groups of a process.
pub(super) struct Visitor {
    pub(super) user: u32,
    pub(super) groups: Vec<u32>,
}

impl Visitor {
    pub(super) fn named(name: &str) -> Option<Self> {
        let user = User::from_name(name).ok().flatten()?;
        let groups = getgrouplist(&CString::new(name).ok()?, user.gid).ok()?;
        let groups = groups.into_iter().map(Gid::as_raw).collect();
        Some(Self { user: user.uid.as_raw(), groups })
    }

    /// Whether `mode` allows `bits`: only the class that fits first counts (path_resolution(7)).
    pub(super) fn may(&self, bits: u32, mode: u32, owner: u32, group: u32) -> bool {
        let class = match () {
            () if self.user == owner => mode >> 6,
            () if self.groups.contains(&group) => mode >> 3,
            () => mode,
        };
        class & bits == bits
    }
}

/// A sentence for each listener that user postfix cannot open; none if there is no such user.
#[must_use]
pub fn closed_to_postfix(settings: &SocketSettings) -> Vec<String> {
    let Some(postfix) = Visitor::named("postfix") else { return Vec::new() };
    let broker = settings.privileges.user.as_deref();
    let broker = broker.and_then(|name| User::from_name(name).ok().flatten());
    let own = broker
        .map_or((geteuid().as_raw(), getegid().as_raw()), |user| (user.uid.as_raw(), user.gid.as_raw()));
    let sockets = settings.listen.iter().filter_map(|listener| match &listener.endpoint {
        Endpoint::Unix(socket) if listener.systemd_socket_name.is_none() => Some(socket),
        _ => None,
    });
    sockets.filter_map(|socket| obstacle(socket, own, &postfix)).collect()
}

fn obstacle(socket: &UnixSocket, own: (u32, u32), postfix: &Visitor) -> Option<String> {
    let path = socket.path.display();
    let closed = socket.path.ancestors().skip(1).find(|directory| {
        fs::metadata(directory)
            .is_ok_and(|found| !postfix.may(SEARCH, found.mode(), found.uid(), found.gid()))
    });
    if let Some(directory) = closed {
        let directory = directory.display();
        return Some(format!("warning: {path}: user postfix may not enter {directory}"));
    }
    let owner = socket.user.as_deref().map_or(Some(own.0), |name| super::accounts::user_id(name).ok())?;
    let group = socket
        .group
        .as_deref()
        .map_or(Some(own_group(socket, own)), |name| super::accounts::group_id(name).ok())?;
    let opens = postfix.may(READ_WRITE, socket.mode, owner, group);
    (!opens).then(|| format!("warning: {path}: user postfix may not open it; see its mode, user and group"))
}

/// A new file gets the group of a directory with the set-group-id bit (inode(7)).
fn own_group(socket: &UnixSocket, own: (u32, u32)) -> u32 {
    let directory = socket.path.parent().unwrap_or(Path::new("/"));
    match fs::metadata(directory) {
        Ok(found) if found.mode() & 0o2000 != 0 => found.gid(),
        _ => own.1,
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
