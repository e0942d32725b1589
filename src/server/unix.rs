//! Unix sockets: creation, mode and owner, removal.
//!
//! A socket is made under a temporary name in its directory, gets its mode and owner, and is renamed to its
//! path, so that no peer can connect before it has its rights. A lock file `<path>.lock` shows that the owner
//! runs; it remains, empty. `directory` makes sure that no file outside of the directory is changed.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use nix::unistd::{getegid, geteuid, getgroups};

use super::accounts::{group_id, user_id, user_name};
use super::bind::{BACKLOG, Error};
use super::directory::{Directory, FoundFile, Inode, Own};
use super::settings::UnixSocket;

/// A unix socket and its path. When dropped, the path is removed and the lock released.
#[derive(Debug)]
pub(crate) struct UnixEndpoint {
    pub(crate) listener: UnixListener,
    /// `None`: the path belongs to the service manager.
    pub(super) name: Option<OwnedName>,
}

#[derive(Debug)]
pub(super) struct OwnedName {
    path: PathBuf,
    /// The socket that has it.
    inode: Inode,
    _lock: File,
}

impl Drop for OwnedName {
    fn drop(&mut self) {
        let Ok(directory) = Directory::of(&self.path, None) else { return };
        let Some(name) = self.path.file_name() else { return };
        // It may be the socket of another program by now.
        if directory.find(name).is_ok_and(|found| found.inode() == self.inode) {
            let _ = directory.remove(name);
        }
    }
}

impl UnixEndpoint {
    /// Changes mode and owner of the listening socket.
    pub(super) fn change_rights(&self, socket: &UnixSocket, own: Option<Own>) -> Result<(), Error> {
        let Some(name) = &self.name else { return Ok(()) };
        let (directory, name_there) = place(&socket.path, own)?;
        let found = directory.find(name_there).and_then(|found| match found.inode() == name.inode {
            true => Ok(found),
            false => Err(io::Error::new(ErrorKind::NotFound, "another file has its name")),
        });
        let found = found.map_err(Error::of(socket.path.display(), "cannot find it"))?;
        set_rights(&directory, name_there, &found, socket)
    }
}

/// Makes a socket where one of another user may be left, which cannot be tested by connecting.
pub(super) fn make_anew(socket: &UnixSocket, own: Option<Own>) -> Result<UnixEndpoint, Error> {
    if let Ok((directory, name)) = place(&socket.path, own)
        && matches!(directory.is_vacant(name), Err(error) if error.kind() == ErrorKind::PermissionDenied)
    {
        let _ = directory.remove(name);
    }
    make(socket, own)
}

fn place(path: &Path, own: Option<Own>) -> Result<(Directory, &OsStr), Error> {
    let directory =
        Directory::of(path, own).map_err(Error::of(path.display(), "cannot use its directory"))?;
    let name = path.file_name().ok_or_else(|| ErrorKind::InvalidInput.into());
    Ok((directory, name.map_err(Error::of(path.display(), "it names no socket"))?))
}

pub(super) fn make(socket: &UnixSocket, own: Option<Own>) -> Result<UnixEndpoint, Error> {
    let failed = |step: &'static str| Error::of(socket.path.display(), step);
    let (directory, name) = place(&socket.path, own)?;
    let mut lock = OsString::from(name);
    lock.push(".lock");
    let lock = directory.lock(&lock).map_err(failed("cannot lock its .lock file"))?;
    directory.is_vacant(name).map_err(failed("the path is taken"))?;
    let bound = directory.bind(name, BACKLOG);
    let (listener, temporary) = bound.map_err(failed("cannot bind in its directory"))?;
    let placed = directory.find_new(&temporary).map_err(failed("cannot find what was bound"));
    let placed = placed.and_then(|found| {
        set_rights(&directory, &temporary, &found, socket)?;
        directory.rename(&temporary, name).map_err(failed("cannot give it its name"))?;
        Ok(found.inode())
    });
    let inode = placed.inspect_err(|_| {
        let _ = directory.remove(&temporary);
    })?;
    let name = Some(OwnedName { path: socket.path.clone(), inode, _lock: lock });
    Ok(UnixEndpoint { listener, name })
}

/// Sets mode and owner of a socket. The error names the one that fails.
fn set_rights(
    directory: &Directory,
    name: &OsStr,
    found: &FoundFile,
    socket: &UnixSocket,
) -> Result<(), Error> {
    let path = socket.path.display();
    if let Some(group) = &socket.group {
        let given = group_id(group).and_then(|id| {
            // The directory may have set the group already, and the unit may forbid chown(2).
            if found.group() == id { Ok(()) } else { found.give_to(None, Some(id)) }
        });
        let given = given.map_err(|error| not_a_member(group, error));
        given.map_err(Error::of(&path, format!("cannot give it the group {group}")))?;
    }
    // Last, because only the owner may do the rest.
    let mode = directory.set_mode(name, found, socket.mode);
    mode.map_err(Error::of(&path, "cannot give it its mode"))?;
    if let Some(user) = &socket.user {
        let given = user_id(user).and_then(|id| found.give_to(Some(id), None));
        given.map_err(Error::of(&path, format!("cannot give it the user {user}")))?;
    }
    Ok(())
}

/// Explains an error of chown(2), with a hint.
fn not_a_member(group: &str, error: io::Error) -> io::Error {
    if error.kind() != ErrorKind::PermissionDenied {
        return error;
    }
    let is_member = group_id(group).is_ok_and(|id| {
        let groups = getgroups().unwrap_or_default();
        groups.into_iter().chain([getegid()]).any(|own| own.as_raw() == id)
    });
    let user = user_name(geteuid());
    let cause = if is_member {
        "the unit of this process allows no chown(2) (SystemCallFilter=@chown in a drop-in does)".to_owned()
    } else {
        format!("this process is not in it (usermod -aG {group} {user}), or its unit allows no chown(2)")
    };
    let message = format!("{cause}; a directory of this group with the setgid bit gives it, too");
    io::Error::new(error.kind(), message)
}

#[cfg(test)]
mod tests {
    use super::super::accounts::group_name;
    use super::*;

    #[test]
    fn a_member_of_the_group_is_not_told_to_become_one() {
        let denied = |group: &str| not_a_member(group, ErrorKind::PermissionDenied.into()).to_string();
        let own = denied(&group_name(getegid()));
        assert!(own.starts_with("the unit of this process allows no chown(2)"), "{own}");
        let other = denied("no-such-group");
        assert!(other.starts_with("this process is not in it (usermod -aG no-such-group "), "{other}");
    }
}
