//! The directory of a unix socket, opened once. Files in it are made, checked and removed relative to this
//! descriptor, without following symbolic links. Mode and owner are set through a descriptor of the checked
//! socket. So no file outside of the directory is changed, even if its owner exchanges names meanwhile.
//!
//! Root opens a directory only if no one but root, the broker's user and its group may write to it and to all
//! directories of its path; a symbolic link in the path must belong to root. Other users have no such check.
//!
//! Limits: bind(2), chmod(2) and connect(2) take only paths, and use `/proc/self/fd`. Without /proc, as in a
//! jail, they use the name, and only in a directory that no other user may write to.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Permissions, TryLockError};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Component, Path, PathBuf};

use nix::unistd::{Gid, Uid, geteuid};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use socket2::{Domain, SockAddr, Type};

use super::accounts::{group_name, user_name};
use super::privilege::ProcessIdentity;

/// The most symbolic links in a path, as in the kernel.
const LINKS: usize = 40;
/// The longest address (unix(7)), without the final NUL.
const ADDRESS: usize = 107;
const OTHERS_WRITE: u32 = 0o2;
const GROUP_WRITES: u32 = 0o20;
const STICKY: u32 = 0o1000;

/// The user and the group that the broker will run as. Besides root, only they may write to directories in
/// which root makes sockets.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Own {
    user: Option<u32>,
    group: Option<u32>,
}

impl Own {
    pub(super) fn of(identity: &ProcessIdentity) -> Self {
        Self {
            user: identity.user.as_ref().map(|user| user.uid.as_raw()),
            group: identity.group.map(Gid::as_raw),
        }
    }

    /// Another user or group that may write to the directory or rename its files.
    fn other_writer(self, directory: &Stat, is_end: bool) -> Option<String> {
        let (user, group, mode) = (directory.st_uid, directory.st_gid, directory.st_mode);
        if user != 0 && Some(user) != self.user {
            return Some(format!("user {}", user_name(Uid::from_raw(user))));
        }
        // With the sticky bit others can add files, but not replace the next directory.
        if mode & STICKY != 0 && !is_end {
            return None;
        }
        if mode & OTHERS_WRITE != 0 {
            return Some("every user".to_owned());
        }
        let group_writes = mode & GROUP_WRITES != 0 && group != 0 && Some(group) != self.group;
        group_writes.then(|| format!("group {}", group_name(Gid::from_raw(group))))
    }
}

#[derive(Debug)]
pub(super) struct Directory {
    fd: OwnedFd,
    path: PathBuf,
}

#[derive(Debug)]
pub(super) struct FoundFile {
    fd: OwnedFd,
    stat: Stat,
}

/// The identity of a file, independent of its name.
pub(super) type Inode = (u64, u64);

impl FoundFile {
    pub(super) fn is_socket(&self) -> bool {
        FileType::from_raw_mode(self.stat.st_mode).is_socket()
    }

    pub(super) fn inode(&self) -> Inode {
        (self.stat.st_dev, self.stat.st_ino)
    }

    pub(super) fn group(&self) -> u32 {
        self.stat.st_gid
    }

    pub(super) fn give_to(&self, user: Option<u32>, group: Option<u32>) -> io::Result<()> {
        let (user, group) = (user.map(rustix::fs::Uid::from_raw), group.map(rustix::fs::Gid::from_raw));
        Ok(rustix::fs::chownat(&self.fd, "", user, group, AtFlags::EMPTY_PATH)?)
    }
}

impl Directory {
    /// Opens the directory of `path`. With `own` the writers are checked, for root.
    pub(super) fn of(path: &Path, own: Option<Own>) -> io::Result<Self> {
        let path = path.parent().ok_or(ErrorKind::InvalidInput)?.to_owned();
        let fd = match own {
            Some(own) => walk(&path, own)?,
            None => open(CWD, path.as_os_str(), OFlags::DIRECTORY)?,
        };
        Ok(Self { fd, path })
    }

    /// The file of this name. Symbolic links are not followed.
    pub(super) fn find(&self, name: &OsStr) -> io::Result<FoundFile> {
        let fd = open(self.fd.as_fd(), name, OFlags::NOFOLLOW)?;
        let stat = rustix::fs::fstat(&fd)?;
        Ok(FoundFile { fd, stat })
    }

    /// Locks the file of this name, which is created if necessary, as long as it is open.
    pub(super) fn lock(&self, name: &OsStr) -> io::Result<File> {
        let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::APPEND | OFlags::CLOEXEC;
        // Opening a pipe must not block.
        let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let open = || rustix::fs::openat(&self.fd, name, flags, Mode::from_raw_mode(0o600));
        let file = match open() {
            // A broker of another user left it. It may be removed if the directory is ours. If that broker
            // still runs, its socket shows it.
            Err(Errno::ACCESS) => {
                self.remove(name).map_err(|_| Errno::ACCESS)?;
                open()
            }
            file => file,
        };
        let file = match file {
            Err(Errno::LOOP) => return Err(exists("it is a symbolic link")),
            file => file?,
        };
        let stat = rustix::fs::fstat(&file)?;
        if !FileType::from_raw_mode(stat.st_mode).is_file() || stat.st_nlink > 1 {
            return Err(exists("it is not a file of its own"));
        }
        let file = File::from(file);
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => {
                Err(io::Error::new(ErrorKind::AddrInUse, "another pfxhttp-broker listens there"))
            }
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Only a socket that no process listens on may be replaced.
    pub(super) fn is_vacant(&self, name: &OsStr) -> io::Result<()> {
        let found = match self.find(name) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            found => found?,
        };
        if !found.is_socket() {
            return Err(exists("there is a file that is not a socket"));
        }
        let path = match through_proc(found.fd.as_fd()) {
            Some(path) => path,
            None => self.own_path()?.join(name),
        };
        match UnixStream::connect(path) {
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(()),
            Err(error) => Err(error),
            Ok(_) => Err(io::Error::new(ErrorKind::AddrInUse, "another program listens there")),
        }
    }

    /// A listening socket with a random temporary name, which is the second value. Only its owner can connect
    /// to it yet.
    pub(super) fn bind(&self, name: &OsStr, backlog: i32) -> io::Result<(UnixListener, OsString)> {
        let way = match through_proc(self.fd.as_fd()) {
            Some(way) => way,
            None => self.own_path()?.to_owned(),
        };
        let longest = ADDRESS.saturating_sub(way.as_os_str().len() + 1);
        let temporary = unguessable(name, longest);
        let socket = socket2::Socket::new(Domain::UNIX, Type::STREAM, None)?;
        // The initial mode of the file, less the umask.
        rustix::fs::fchmod(&socket, Mode::from_raw_mode(0o600))?;
        socket.bind(&SockAddr::unix(way.join(&temporary))?)?;
        let listen = socket.listen(backlog).and_then(|()| socket.set_nonblocking(true));
        if let Err(error) = listen {
            let _ = self.remove(&temporary);
            return Err(error);
        }
        Ok((UnixListener::from(OwnedFd::from(socket)), temporary))
    }

    /// The socket that was just bound to this name, unless it was replaced.
    pub(super) fn find_new(&self, name: &OsStr) -> io::Result<FoundFile> {
        let found = self.find(name)?;
        // A socket without another hard link.
        let is_own = found.stat.st_nlink == 1 && found.stat.st_uid == geteuid().as_raw();
        if found.is_socket() && is_own { Ok(found) } else { Err(exists("another file has taken its name")) }
    }

    pub(super) fn set_mode(&self, name: &OsStr, found: &FoundFile, mode: u32) -> io::Result<()> {
        if let Some(path) = through_proc(found.fd.as_fd()) {
            return fs::set_permissions(path, Permissions::from_mode(mode));
        }
        self.own_path()?;
        Ok(rustix::fs::chmodat(&self.fd, name, Mode::from_raw_mode(mode), AtFlags::empty())?)
    }

    pub(super) fn rename(&self, from: &OsStr, to: &OsStr) -> io::Result<()> {
        Ok(rustix::fs::renameat(&self.fd, from, &self.fd, to)?)
    }

    pub(super) fn remove(&self, name: &OsStr) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(&self.fd, name, AtFlags::empty())?)
    }

    /// Its path, if no other user can exchange names in it.
    fn own_path(&self) -> io::Result<&Path> {
        let own = Own { user: Some(geteuid().as_raw()), group: None };
        match own.other_writer(&rustix::fs::fstat(&self.fd)?, false) {
            None => Ok(&self.path),
            Some(writer) => {
                let message = format!("there is no /proc here, and {writer} may write to the directory");
                Err(io::Error::new(ErrorKind::Unsupported, message))
            }
        }
    }
}

/// The user or group besides root and `own` that may write to a directory of the socket's path; `None` if
/// there is none or it is not known.
pub(super) fn other_writer_at(path: &Path, own: Own) -> Option<String> {
    let error = Directory::of(path, Some(own)).err()?;
    // The system's own errors have a number.
    (error.kind() == ErrorKind::PermissionDenied && error.raw_os_error().is_none()).then(|| error.to_string())
}

fn unsafe_directory(message: String) -> io::Error {
    io::Error::new(ErrorKind::PermissionDenied, message)
}

/// Opens `path` for root, one name after the other, and checks each directory.
fn walk(path: &Path, own: Own) -> io::Result<OwnedFd> {
    let mut way = vec![(open(CWD, OsStr::new("/"), OFlags::DIRECTORY)?, PathBuf::from("/"))];
    let mut names = backwards(path);
    let mut links = 0;
    while let (Some(name), Some((here, shown))) = (names.pop(), way.last()) {
        if name == ".." {
            way.truncate(way.len().saturating_sub(1).max(1));
            continue;
        }
        let next = open(here.as_fd(), &name, OFlags::NOFOLLOW)?;
        let stat = rustix::fs::fstat(&next)?;
        let shown = shown.join(&name);
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                look_at(&stat, own, false, &shown)?;
                way.push((next, shown));
            }
            FileType::Symlink if stat.st_uid != 0 => {
                let shown = shown.display();
                return Err(unsafe_directory(format!("{shown} is a symbolic link that is not root's")));
            }
            FileType::Symlink if links < LINKS => {
                links += 1;
                let target = rustix::fs::readlinkat(&next, "", Vec::new())?;
                let target = PathBuf::from(OsString::from_vec(target.into_bytes()));
                if target.is_absolute() {
                    way.truncate(1);
                }
                names.extend(backwards(&target));
            }
            FileType::Symlink => return Err(Errno::LOOP.into()),
            _ => return Err(Errno::NOTDIR.into()),
        }
    }
    let (end, shown) = way.pop().ok_or(ErrorKind::NotFound)?;
    look_at(&rustix::fs::fstat(&end)?, own, true, &shown)?;
    Ok(end)
}

fn look_at(directory: &Stat, own: Own, is_end: bool, shown: &Path) -> io::Result<()> {
    let writer = own.other_writer(directory, is_end);
    let message = writer.map(|writer| format!("{writer} may write to {}", shown.display()));
    message.map_or(Ok(()), |message| Err(unsafe_directory(message)))
}

/// The names of `path`, the last one first.
fn backwards(path: &Path) -> Vec<OsString> {
    let names = path.components().rev().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    });
    names.collect()
}

/// A descriptor that only refers to a file (O_PATH).
fn open(from: BorrowedFd<'_>, name: &OsStr, flags: OFlags) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::CLOEXEC | flags;
    Ok(rustix::fs::openat(from, name, flags, Mode::empty())?)
}

/// A path to the file of `fd` that does not depend on its name.
fn through_proc(fd: BorrowedFd<'_>) -> Option<PathBuf> {
    let path = PathBuf::from(format!("/proc/self/fd/{}", fd.as_raw_fd()));
    fs::symlink_metadata(&path).is_ok().then_some(path)
}

/// A random hidden name of at most `longest` bytes. It contains the beginning of `name`, for lists of sockets.
fn unguessable(name: &OsStr, longest: usize) -> OsString {
    let random = format!(".{:016x}", RandomState::new().hash_one(name));
    let kept = name.len().min(longest.saturating_sub(1 + random.len()));
    let kept = OsStr::from_bytes(&name.as_bytes()[..kept]);
    [OsStr::new("."), kept, OsStr::new(&random)].into_iter().collect()
}

fn exists(message: &str) -> io::Error {
    io::Error::new(ErrorKind::AlreadyExists, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_temporary_name_fits_and_differs() {
        let (name, long) = (OsStr::new("maps.sock"), "x".repeat(98));
        let made = unguessable(name, 60);
        assert!(made.to_string_lossy().starts_with(".maps.sock.") && made != unguessable(name, 60));
        assert_eq!(unguessable(OsStr::new(&long), 60).len(), 60);
        assert_eq!(unguessable(name, 0).len(), 18, "where nothing fits, bind says so");
    }

    #[test]
    fn without_proc_only_an_own_directory_will_do() {
        let directory = tempfile::tempdir().expect("a directory");
        let at = |mode| {
            fs::set_permissions(directory.path(), Permissions::from_mode(mode)).expect("its mode");
            let opened = Directory::of(&directory.path().join("s"), None).expect("it is there");
            opened.own_path().map(Path::to_owned).map_err(|error| error.kind())
        };
        assert_eq!(at(0o750), Ok(directory.path().to_owned()));
        assert_eq!(at(0o770), if geteuid().is_root() { at(0o750) } else { Err(ErrorKind::Unsupported) });
        assert_eq!(at(0o757), Err(ErrorKind::Unsupported));
    }
}
